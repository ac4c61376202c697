//! `doctor`: everything that can be found out from where it runs.
//!
//! With an address it is asked by the person who uses the proxy; without one it looks at the server
//! on which it runs, if there is anything of a proxy there.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::args::{self, Flags};
use super::{beside, examine, probe};
use crate::diag::ask::Ask;
use crate::diag::evidence::{Asked, Command, Evidence, Family, Role, Subject};
use crate::diag::report::Report;
use crate::diag::server::{By, Digest, Heard, Server};
use crate::diag::ssh::Shell;
use crate::diag::token;
use crate::net::knock::source_for;
use crate::proxy::crew;
use crate::render::look::Look;
use crate::render::words::Words;

/// Docker is looked at twice, and names and connections are tried from inside the container.
const ON_SERVER: Duration = Duration::from_secs(20);
/// The server counts for ten seconds who knocks, and looks around before and after.
const BOTH_ENDS: Duration = Duration::from_secs(30);
const LONGEST_WITNESS: u64 = 300;
/// README's.
const PORT: u16 = 8080;
/// Where Docker can be asked.
const SOCKET: &str = "/var/run/docker.sock";
/// What a container has, of Docker and of Podman.
const OF_CONTAINERS: [&str; 2] = ["/.dockerenv", "/run/.containerenv"];
/// Where a proxy may be named that nobody has typed.
const VARIABLES: [&str; 5] =
    ["SAMI_PROXY_TARGET", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];

/// Asked with `--online`, of the addresses themselves: Cloudflare and Google.
const PUBLIC: [&str; 2] = ["https://1.1.1.1/dns-query", "https://8.8.8.8/dns-query"];

/// What has no sense on a server.
const OF_CLIENTS: [&str; 13] = [
    args::DNS,
    args::IPV4,
    args::IPV6,
    args::REPEATS,
    args::TARGET,
    args::LLM,
    args::IDLE,
    args::CA,
    args::PIN,
    args::USER,
    args::ONLINE,
    args::SSH,
    args::WITH,
];

/// What has no sense with a saved report, besides.
const OF_DOCTORS: [&str; 4] = [args::ONLINE, args::ROLE, args::SSH, args::WITH];

/// What has no sense for who uses a proxy.
const OF_SERVERS: [&str; 4] = [args::CONTAINER, args::PORT, args::WITNESS, args::TOKEN];

/// 0 it works, 1 a problem, 2 bad usage, 3 it could not be told.
pub(super) fn run(flags: Flags<'_>, words: &Words, look: Look) -> ExitCode {
    beside::run(flags, (words, look), || evidence(flags, words))
}

/// The token of a server's report.
pub(super) fn token_of(report: &Report) -> String {
    token::write(&Digest::new(&report.evidence, &report.diagnosis, now()))
}

/// Measured now, or read from a saved report.
fn evidence(flags: Flags<'_>, words: &Words) -> Result<Vec<Evidence>, String> {
    if let Some(file) = flags.one(args::FROM) {
        let live = [&probe::LIVE[..], &OF_DOCTORS[..], &OF_SERVERS[..]].concat();
        return examine::saved(file, flags, &live);
    }
    let (ask, budget) = match role(flags)? {
        Asker::Client(proxy) => client(flags, proxy.as_deref())?,
        Asker::Server(role) => server(flags, role)?,
    };
    examine::measure(vec![ask], budget, words)
}

/// From where it is looked.
#[derive(Debug, PartialEq, Eq)]
enum Asker {
    /// By who uses a proxy: the one that was typed, or this one.
    Client(Option<String>),
    /// On the server, or in the container.
    Server(Role),
}

/// What is known without a question.
struct Here {
    /// A proxy was named.
    typed: bool,
    in_container: bool,
    has_docker: bool,
    proxy: Option<String>,
}

impl Here {
    fn look(flags: Flags<'_>) -> Self {
        let named = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        Self {
            typed: flags.many(args::PROXY).next().is_some(),
            in_container: in_container(),
            has_docker: std::env::var_os("DOCKER_HOST").is_some() || Path::new(SOCKET).exists(),
            proxy: VARIABLES.into_iter().find_map(named),
        }
    }
}

fn role(flags: Flags<'_>) -> Result<Asker, String> {
    let wanted = match flags.one(args::ROLE) {
        Some("client") => Some(Role::Client),
        Some("host") => Some(Role::Host),
        Some("container") => Some(Role::Container),
        _ => None,
    };
    decide(wanted, &Here::look(flags))
}

fn decide(wanted: Option<Role>, here: &Here) -> Result<Asker, String> {
    match (wanted, here.typed) {
        (Some(Role::Host | Role::Container), true) => {
            Err("--role host and container look at this machine: leave out the proxy".to_owned())
        }
        (Some(role @ (Role::Host | Role::Container)), false) => Ok(Asker::Server(role)),
        (Some(Role::Client) | None, true) => Ok(Asker::Client(None)),
        (None, false) if here.in_container => Ok(Asker::Server(Role::Container)),
        (None, false) if here.has_docker => Ok(Asker::Server(Role::Host)),
        (Some(Role::Client) | None, false) => match &here.proxy {
            Some(proxy) => Ok(Asker::Client(Some(proxy.clone()))),
            None => Err("doctor needs a proxy, such as 81.85.76.160:8080; on the server without \
Docker: doctor --role host"
                .to_owned()),
        },
    }
}

fn client(flags: Flags<'_>, proxy: Option<&str>) -> Result<(Ask, Duration), String> {
    forbid(flags, &OF_SERVERS, "is for the server; with a proxy leave it out")?;
    let (mut ask, budget) = probe::request(flags, proxy)?;
    ask.asked.command = Command::Doctor;
    ask.asked.online = flags.has(args::ONLINE);
    if ask.asked.online && ask.name_servers.is_empty() {
        ask = ask.comparing(examine::name_servers(flags, &PUBLIC)?);
    }
    match (flags.one(args::SSH), flags.one(args::WITH)) {
        (Some(_), Some(_)) => Err("--ssh asks the server itself: leave out --with".to_owned()),
        (Some(text), None) => {
            let shell = Shell::parse(text);
            ask.ssh = Some(shell.map_err(|why| format!("--ssh {}: {why}", text.escape_debug()))?);
            let longer = if flags.is_given(args::TIMEOUT) { budget } else { budget.max(BOTH_ENDS) };
            Ok((ask, longer))
        }
        (None, Some(text)) => {
            let digest = token::read(text).map_err(|flaw| format!("--with: {flaw}"))?;
            if digest.port != ask.subject.port {
                let port = digest.port;
                return Err(format!("--with: the server looked at port {port}, not at that one"));
            }
            let age_s = now().checked_sub(digest.when);
            let told = Server::new(By::Token, Heard::Digest(Box::new(digest)));
            ask.told = Some(Server { age_s, ..told });
            Ok((ask, budget))
        }
        (None, None) => Ok((ask, budget)),
    }
}

fn server(flags: Flags<'_>, role: Role) -> Result<(Ask, Duration), String> {
    forbid(flags, &OF_CLIENTS, "is for who uses a proxy; give HOST:PORT with it")?;
    let port = match flags.one(args::PORT) {
        None => PORT,
        Some(text) => text.parse().ok().filter(|port| *port > 0).ok_or_else(|| {
            format!("--port {}: not a number from 1 to 65535", text.escape_debug())
        })?,
    };
    let witness_s = witness(flags)?;
    let budget = ON_SERVER + Duration::from_secs(witness_s.unwrap_or_default());
    let container = flags.one(args::CONTAINER).map(str::to_owned);
    let port_given = flags.is_given(args::PORT);
    let command = Command::Doctor;
    let asked = Asked { command, role, container, port_given, witness_s, ..Asked::default() };
    let ask = of_this_machine(role, port);
    Ok((Ask { asked, ..ask }, examine::budget(flags, budget)?))
}

/// What is asked of the machine on which this runs, and of its `port`.
pub(super) fn of_this_machine(role: Role, port: u16) -> Ask {
    let asked = Asked { command: Command::Doctor, role, ..Asked::default() };
    let subject = Subject { host: own_address().to_string(), port, family: Family::Any };
    Ask { asked, ..Ask::port(subject) }
}

/// What this machine is to a proxy that runs on it.
pub(super) fn role_here() -> Role {
    if in_container() { Role::Container } else { Role::Host }
}

fn in_container() -> bool {
    OF_CONTAINERS.iter().any(|path| Path::new(path).exists())
}

/// Seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn witness(flags: Flags<'_>) -> Result<Option<u64>, String> {
    let Some(text) = flags.one(args::WITNESS) else { return Ok(None) };
    let seconds = text.parse().ok().filter(|seconds| (1..=LONGEST_WITNESS).contains(seconds));
    seconds.map(Some).ok_or_else(|| {
        format!(
            "--witness {}: not a number of seconds from 1 to {LONGEST_WITNESS}",
            text.escape_debug()
        )
    })
}

fn forbid(flags: Flags<'_>, names: &[&str], why: &str) -> Result<(), String> {
    match names.iter().find(|name| flags.is_given(name)) {
        Some(name) => Err(format!("{} {why}", args::spelled(name))),
        None => Ok(()),
    }
}

/// The address from which this machine goes out; nothing is sent to find it.
fn own_address() -> IpAddr {
    let anywhere = IpAddr::V4(Ipv4Addr::new(1, 1, 1, 1));
    let found = crew::single().map(|runtime| runtime.block_on(source_for(anywhere)));
    match found {
        Ok(Ok(address)) => address,
        Ok(Err(_)) | Err(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
    }
}

#[cfg(test)]
mod tests {
    use super::{Asker, Here, decide};
    use crate::diag::evidence::Role;

    #[test]
    fn where_it_runs_is_found_out() {
        let here = |in_container, has_docker, proxy: Option<&str>| Here {
            typed: false,
            in_container,
            has_docker,
            proxy: proxy.map(str::to_owned),
        };
        let (nowhere, server) = (here(false, false, None), here(false, true, Some("p:1")));
        let inside = here(true, true, None);
        let user = here(false, false, Some("p:1"));
        let (host, container) = (Asker::Server(Role::Host), Asker::Server(Role::Container));
        let typed = Here { typed: true, ..here(true, true, None) };
        assert_eq!(decide(None, &typed), Ok(Asker::Client(None)));
        assert!(decide(Some(Role::Host), &typed).is_err());
        assert_eq!(decide(None, &server), Ok(host));
        assert_eq!(decide(None, &inside), Ok(container));
        assert_eq!(decide(None, &user), Ok(Asker::Client(Some("p:1".to_owned()))));
        assert_eq!(decide(Some(Role::Client), &server), Ok(Asker::Client(Some("p:1".to_owned()))));
        assert_eq!(decide(Some(Role::Host), &inside), Ok(Asker::Server(Role::Host)));
        assert!(decide(None, &nowhere).is_err());
    }
}
