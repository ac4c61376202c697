//! Texts → [`Settings`].

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;
use tracing::Level;

use super::layer::{Given, Layers, Origin};
use super::parent_url::{self, ParentUrl};
use super::{ConfigError, table};
use crate::net::parent::{Parent, Protocol};
use crate::net::pin::Pin;
use crate::net::resolve::{Family, NameServer, Transport};
use crate::net::sweep::Patience;
use crate::proxy::Settings;
use crate::proxy::access_log::Format;
use crate::proxy::origins;
use crate::proxy::policy::{Policy, Rule};
use crate::proxy::settings::{Access, Certificate, Limits, Page, Times};
use crate::proxy::upstream::Upstream;
use crate::secret::Secret;
use crate::target::{Host, Target};

/// What `serve` is told: the proxy's settings and its own.
#[derive(Debug, Clone)]
pub struct Serve {
    /// For the proxy.
    pub settings: Settings,
    /// Worker threads; `None` is one a core.
    pub workers: Option<usize>,
    /// How lines look.
    pub log_format: Format,
    /// Which lines there are.
    pub log_level: Level,
}

/// What the machine offers.
#[derive(Debug, Clone, Default)]
pub struct Machine {
    /// The limit of open files.
    pub descriptors: Option<u64>,
    /// Where programs keep what they have made, for this user.
    pub state_dir: Option<PathBuf>,
}

/// Converts what was given, on this `machine`.
///
/// # Errors
///
/// [`ConfigError`], the first value that is wrong, with its origin.
pub fn convert(layers: &Layers, machine: &Machine) -> Result<Serve, ConfigError> {
    let read = Reader(layers);
    Ok(Serve {
        settings: Settings {
            listen: read.all("listen", address)?,
            access: access(&read)?,
            policy: Policy {
                allow_private: read.one("allow-private", switch)?,
                allow: read.all("allow-to", parsed::<Rule>)?,
                deny: read.all("deny-to", parsed::<Rule>)?,
            },
            dns: read.all("dns", name_server)?,
            family: read.one("prefer-family", family)?,
            times: times(&read)?,
            limits: Limits {
                connections: read
                    .one("max-connections", auto_number)?
                    .unwrap_or_else(|| connections_for(machine.descriptors)),
                per_client: read.one("max-per-client", number)?,
            },
            tls: tls(&read, machine)?,
            proxy_protocol_from: read.all("proxy-protocol-from", network)?,
            upstream: upstream(&read)?,
            page: if read.one("no-page", switch)? { Page::Hidden } else { Page::Shown },
            admin: read.maybe("admin", address)?,
        },
        workers: read.one("workers", auto_number)?,
        log_format: read.one("log-format", format)?,
        log_level: read.one("log-level", level)?,
    })
}

/// Two descriptors a tunnel; some are kept for listeners, name servers, files, refusals, the pipes of
/// bulk transfers, and idle connections to origins.
fn connections_for(descriptors: Option<u64>) -> usize {
    let limit = descriptors.unwrap_or(1 << 20);
    usize::try_from(limit.saturating_sub(200 + origins::MOST as u64) / 2)
        .unwrap_or(usize::MAX)
        .max(1)
}

fn access(read: &Reader<'_>) -> Result<Access, ConfigError> {
    Ok(Access {
        users: read.all("auth", user)?,
        users_file: read.maybe("auth-file", path)?,
        open: read.one("open", switch)?,
        trust_client: read.all("trust-client", network)?,
        allow_client: read.all("allow-client", network)?,
    })
}

fn times(read: &Reader<'_>) -> Result<Times, ConfigError> {
    Ok(Times {
        connect: read.one("connect-timeout", time)?,
        header: read.one("header-timeout", time)?,
        handshake: read.one("handshake-timeout", time)?,
        patience: Patience {
            half_close: read.one("half-close-timeout", time)?,
            idle: read.one("tunnel-idle-timeout", time_or_off)?,
        },
        drain: read.one("drain-timeout", time_or_zero)?,
    })
}

fn upstream(read: &Reader<'_>) -> Result<Option<Upstream>, ConfigError> {
    let bypass = read.all("no-upstream", parsed::<Rule>)?;
    let pin =
        read.maybe("upstream-pin", |text| Pin::parse(text).map_err(|it| format!("no pin: {it}")))?;
    let Some(given) = read.maybe("upstream", parent_url::parse)? else {
        let alone = ["upstream-pin", "no-upstream"].into_iter().find_map(|key| read.0.get(key));
        return alone.map_or(Ok(None), |given| Err(given.needs("upstream")));
    };
    let ParentUrl { protocol, address, credentials } = given;
    match Parent::new(protocol, address, credentials, pin) {
        Ok(parent) => Ok(Some(Upstream { parent, bypass })),
        Err(error) => {
            let key = if pin.is_some() && protocol != Protocol::Https {
                "upstream-pin"
            } else {
                "upstream"
            };
            let origin = read.0.get(key).map_or(Origin::Default(key), |it| it.origin.clone());
            Err(ConfigError { origin, problem: error.to_string() })
        }
    }
}

fn tls(read: &Reader<'_>, machine: &Machine) -> Result<Option<Certificate>, ConfigError> {
    if read.one("tls-self-signed", switch)? {
        if let Some(given) = read.0.get("tls-cert") {
            return Err(ConfigError {
                origin: given.origin.clone(),
                problem: "not beside --tls-self-signed: one certificate is enough".to_owned(),
            });
        }
        return self_signed(read, machine).map(Some);
    }
    let alone = |given: Option<&Given>, other: &str| match given {
        Some(given) => Err(given.needs(other)),
        None => Ok(None),
    };
    match (read.maybe("tls-cert", path)?, read.maybe("tls-key", path)?) {
        (Some(certificate), Some(key)) => Ok(Some(Certificate::Files { certificate, key })),
        (_, None) => alone(read.0.get("tls-cert"), "tls-key"),
        (None, _) => alone(read.0.get("tls-key"), "tls-cert"),
    }
}

fn self_signed(read: &Reader<'_>, machine: &Machine) -> Result<Certificate, ConfigError> {
    let folder = match read.one("state-dir", path)? {
        auto if auto.as_os_str() == "auto" => machine.state_dir.clone(),
        folder => Some(folder),
    };
    match folder {
        Some(folder) => Ok(Certificate::SelfSigned { folder }),
        None => Err(ConfigError {
            origin: Origin::Default("state-dir"),
            problem: "is not known for this user; give one, to keep the certificate in".to_owned(),
        }),
    }
}

/// What is wrong with a text: what a right one looks like.
type Wrong = String;

/// Reads values and puts their origin to what is wrong with them.
struct Reader<'l>(&'l Layers);

impl Reader<'_> {
    fn all<T>(
        &self,
        key: &'static str,
        read: impl Fn(&str) -> Result<T, Wrong>,
    ) -> Result<Vec<T>, ConfigError> {
        let Some(given) = self.0.get(key) else { return Ok(Vec::new()) };
        let values = given.values.iter().map(|value| {
            read(value).map_err(|wrong| {
                let secret = table::row(key).is_some_and(|row| row.secret);
                let problem = if secret { wrong } else { format!("{value:?} is {wrong}") };
                ConfigError { origin: given.origin.clone(), problem }
            })
        });
        values.collect()
    }

    fn maybe<T>(
        &self,
        key: &'static str,
        read: impl Fn(&str) -> Result<T, Wrong>,
    ) -> Result<Option<T>, ConfigError> {
        Ok(self.all(key, read)?.pop())
    }

    /// A setting that always has a value, if only its default.
    fn one<T>(
        &self,
        key: &'static str,
        read: impl Fn(&str) -> Result<T, Wrong>,
    ) -> Result<T, ConfigError> {
        self.maybe(key, read)?.ok_or_else(|| ConfigError {
            origin: Origin::Default(key),
            problem: "has no value".to_owned(),
        })
    }
}

fn parsed<T: FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T, Wrong> {
    text.parse().map_err(|error: T::Err| error.to_string())
}

fn address(text: &str) -> Result<SocketAddr, Wrong> {
    text.parse()
        .map_err(|_| "not an address with a port, like 0.0.0.0:8080 or [::]:8080".to_owned())
}

fn network(text: &str) -> Result<IpNet, Wrong> {
    text.parse::<IpNet>()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
        .map_err(|_| "not an address or CIDR, like 81.85.76.160 or 192.168.0.0/16".to_owned())
}

fn path(text: &str) -> Result<PathBuf, Wrong> {
    if text.is_empty() { Err("not a file".to_owned()) } else { Ok(text.into()) }
}

fn user(text: &str) -> Result<(Box<str>, Secret), Wrong> {
    match text.split_once(':') {
        Some((user, password)) if !user.is_empty() && !password.is_empty() => {
            Ok((user.into(), Secret::new(password)))
        }
        _ => Err("must be USER:PASSWORD, neither of them empty".to_owned()),
    }
}

fn switch(text: &str) -> Result<bool, Wrong> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" => Ok(false),
        _ => Err("neither true nor false".to_owned()),
    }
}

fn time(text: &str) -> Result<Duration, Wrong> {
    time_or_zero(text).and_then(|time| {
        if time.is_zero() { Err("no time at all; the least is 1ms".to_owned()) } else { Ok(time) }
    })
}

fn time_or_zero(text: &str) -> Result<Duration, Wrong> {
    humantime::parse_duration(text)
        .map_err(|_| "not a time with a unit, like 500ms, 10s or 2m".to_owned())
}

fn time_or_off(text: &str) -> Result<Option<Duration>, Wrong> {
    if text == "off" {
        return Ok(None);
    }
    time(text).map(Some).map_err(|wrong| format!("{wrong}, nor off"))
}

fn number(text: &str) -> Result<usize, Wrong> {
    text.parse()
        .ok()
        .filter(|number| *number > 0)
        .ok_or_else(|| "not a number from 1 up".to_owned())
}

fn auto_number(text: &str) -> Result<Option<usize>, Wrong> {
    if text == "auto" {
        return Ok(None);
    }
    number(text).map(Some).map_err(|wrong| format!("{wrong}, nor auto"))
}

fn family(text: &str) -> Result<Family, Wrong> {
    match text {
        "auto" => Ok(Family::Auto),
        "ipv4" => Ok(Family::Ipv4),
        "ipv6" => Ok(Family::Ipv6),
        "ipv4-only" => Ok(Family::Ipv4Only),
        "ipv6-only" => Ok(Family::Ipv6Only),
        _ => Err("none of auto, ipv4, ipv6, ipv4-only, ipv6-only".to_owned()),
    }
}

fn format(text: &str) -> Result<Format, Wrong> {
    match text {
        "text" => Ok(Format::Text),
        "json" => Ok(Format::Json),
        _ => Err("neither text nor json".to_owned()),
    }
}

fn level(text: &str) -> Result<Level, Wrong> {
    text.parse().map_err(|_| "none of error, warn, info, debug, trace".to_owned())
}

/// Reads a name server as `--dns` takes it.
///
/// # Errors
///
/// What it should look like.
pub fn name_server(text: &str) -> Result<NameServer, Wrong> {
    let wrong = || "not IP[:PORT], tls://HOST[:PORT] or https://HOST[:PORT]/PATH".to_owned();
    if let Some(authority) = text.strip_prefix("tls://") {
        let (host, port) = host_port(authority, 853).ok_or_else(wrong)?;
        return Ok(NameServer { host, port, transport: Transport::Tls });
    }
    if let Some(rest) = text.strip_prefix("https://") {
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (host, port) = host_port(authority, 443).ok_or_else(wrong)?;
        let path = if path.is_empty() { "/dns-query" } else { path };
        return Ok(NameServer { host, port, transport: Transport::Https(path.into()) });
    }
    let (ip, port) = match (text.parse::<IpAddr>(), text.parse::<SocketAddr>()) {
        (Ok(ip), _) => (ip, 53),
        (_, Ok(address)) => (address.ip(), address.port()),
        _ => return Err(wrong()),
    };
    Ok(NameServer { host: Host::Ip(ip), port, transport: Transport::Plain })
}

fn host_port(authority: &str, default: u16) -> Option<(Host, u16)> {
    match Target::from_authority(authority) {
        Ok(target) => Some((target.host, target.port.get())),
        Err(_) => Host::parse(authority).ok().map(|host| (host, default)),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Machine, Serve, convert};
    use crate::config::Layers;
    use crate::net::resolve::{Family, Transport};
    use crate::proxy::origins;

    fn machine() -> Machine {
        Machine { descriptors: Some(1200), state_dir: Some("/var/lib/sami-proxy".into()) }
    }

    fn with(flags: &[(&str, &str)]) -> Result<Serve, String> {
        let mut layers = Layers::defaults();
        for (key, value) in flags {
            layers.add_flag(key, &[(*value).to_owned()]);
        }
        convert(&layers, &machine()).map_err(|error| error.to_string())
    }

    #[test]
    fn the_defaults_are_those_of_the_design() {
        let serve = with(&[]).unwrap();
        let settings = serve.settings;
        assert_eq!(settings.listen, ["0.0.0.0:8080".parse().unwrap()]);
        assert_eq!(settings.times.connect, Duration::from_secs(10));
        assert_eq!(settings.times.patience.idle, None);
        assert_eq!(settings.times.patience.half_close, Duration::from_secs(60));
        assert_eq!(settings.times.drain, Duration::from_secs(25));
        assert_eq!(settings.limits.connections, (1200 - 200 - origins::MOST) / 2);
        assert_eq!(settings.limits.per_client, 1024);
        assert_eq!(settings.family, Family::Auto);
        assert!(!settings.access.open && !settings.policy.allow_private);
        assert!(settings.access.users.is_empty() && settings.dns.is_empty());
    }

    #[test]
    fn name_servers_are_read() {
        let serve = with(&[("dns", "9.9.9.9,[::1]:5353,tls://1.1.1.1,https://dns.example:8443/q")]);
        let dns = serve.unwrap().settings.dns;
        let shown: Vec<_> =
            dns.iter().map(|server| format!("{}:{}", server.host, server.port)).collect();
        assert_eq!(shown, ["9.9.9.9:53", "[::1]:5353", "1.1.1.1:853", "dns.example:8443"]);
        assert_eq!(dns[3].transport, Transport::Https("/q".into()));
    }

    #[test]
    fn a_wrong_value_is_named_with_a_right_one() {
        let cases = [
            (
                ("listen", "8080"),
                "--listen: \"8080\" is not an address with a port, like 0.0.0.0:8080",
            ),
            (
                ("trust-client", "10.0.0.0/33"),
                "--trust-client: \"10.0.0.0/33\" is not an address or CIDR",
            ),
            (("connect-timeout", "10"), "--connect-timeout: \"10\" is not a time with a unit"),
            (("header-timeout", "0s"), "--header-timeout: \"0s\" is no time at all"),
            (
                ("tunnel-idle-timeout", "x"),
                "--tunnel-idle-timeout: \"x\" is not a time with a unit",
            ),
            (
                ("max-connections", "0"),
                "--max-connections: \"0\" is not a number from 1 up, nor auto",
            ),
            (("open", "maybe"), "--open: \"maybe\" is neither true nor false"),
            (("allow-to", "a b"), "--allow-to: \"a b\" is not a host, .suffix, address or CIDR"),
            (("dns", "dns.google"), "--dns: \"dns.google\" is not IP[:PORT]"),
            (("prefer-family", "6"), "--prefer-family: \"6\" is none of auto"),
            (("log-level", "loud"), "--log-level: \"loud\" is none of error"),
            (("log-format", "xml"), "--log-format: \"xml\" is neither text nor json"),
            (("tls-cert", "c.pem"), "--tls-cert: needs --tls-key beside it"),
            (("tls-key", "k.pem"), "--tls-key: needs --tls-cert beside it"),
            (("upstream-pin", "sha256:x"), "--upstream-pin: \"sha256:x\" is no pin: a pin is the"),
            (("no-upstream", ".lan"), "--no-upstream: needs --upstream beside it"),
        ];
        for (flag, message) in cases {
            let found = with(&[flag]).unwrap_err();
            assert!(found.starts_with(message), "{found}");
        }
    }

    #[test]
    fn a_secret_is_never_in_a_message() {
        for value in ["hunter2", ":hunter2", "hunter2:"] {
            let found = with(&[("auth", value)]).unwrap_err();
            assert_eq!(found, "--auth: must be USER:PASSWORD, neither of them empty");
        }
        let shown = format!("{:?}", with(&[("auth", "sami:hunter2")]).unwrap());
        assert!(!shown.contains("hunter2"));
    }
}
