//! What this machine was told about proxies, and where its adapters lead.

use std::net::IpAddr;

use super::{Confidence, Suspect, suspect};
use crate::diag::code::Code;
use crate::diag::evidence::{Evidence, Found, is_public};
use crate::diag::fact::{
    Adapter, Adapters, CheckId, HostsFile, HostsLine, Nat64, Outcome, ProxySetting, ProxySettings,
    Reference, SetProxy, SettingOf,
};
use crate::diag::llm::PROVIDERS;
use crate::diag::settings::{Dialect, bypasses};
use crate::target::Target;

fn settings(evidence: &Evidence) -> Option<Found<'_, ProxySettings>> {
    evidence.one(CheckId::SystemProxy)
}

/// What programs without a port in their settings connect to.
fn port(proxy: &SetProxy) -> u16 {
    let scheme = proxy.scheme.as_deref().unwrap_or(&proxy.name);
    proxy.port.unwrap_or(if scheme.starts_with("socks") { 1080 } else { 80 })
}

/// Whether `proxy` is the one under test; `None` when one is given by name and the other by address,
/// and only a name server could tell.
fn is_tested(proxy: &SetProxy, evidence: &Evidence) -> Option<bool> {
    let subject = &evidence.subject;
    let plain = |host: &str| host.trim_end_matches('.').to_ascii_lowercase();
    if port(proxy) != subject.port {
        return Some(false);
    }
    if plain(&proxy.host) == plain(&subject.host) {
        return Some(true);
    }
    let known: Vec<IpAddr> =
        evidence.candidates().iter().map(|it| it.ip().to_canonical()).collect();
    match proxy.ip() {
        Some(ip) if known.is_empty() => {
            (ip.is_loopback() && subject.host == "localhost").then_some(true)
        }
        Some(ip) => Some(known.contains(&ip.to_canonical())),
        None if subject.ip().is_none() => Some(false),
        None => None,
    }
}

/// The name that fixes know a setting by.
fn word(setting: &ProxySetting) -> &'static str {
    match setting.of {
        SettingOf::Environment | SettingOf::UserEnvironment => "variables",
        SettingOf::Windows if setting.machine_wide == Some(true) => "windows-for-all",
        SettingOf::Windows => "windows",
        SettingOf::WindowsServices => "windows-services",
        SettingOf::Gnome => "gnome",
        SettingOf::Macos => "macos",
    }
}

/// Whether the settings are those of a Windows.
fn of_windows(all: &ProxySettings) -> bool {
    let windows = |of: &SettingOf| matches!(of, SettingOf::Windows | SettingOf::WindowsServices);
    all.unread.iter().any(windows) || all.settings.iter().any(|it| windows(&it.of))
}

/// A setting names another proxy than the one under test.
pub(super) fn system_proxy_differs(evidence: &Evidence) -> Option<Suspect> {
    let (reference, all) = settings(evidence)?;
    let mut others: Vec<(&ProxySetting, &SetProxy)> = Vec::new();
    for setting in &all.settings {
        let used = setting.used().iter();
        others.extend(
            used.filter(|it| is_tested(it, evidence) == Some(false)).map(|it| (setting, it)),
        );
    }
    let dead = |proxy: &SetProxy| proxy.knock == Some(Outcome::Refused);
    // One behind which nobody is breaks more than one that works.
    others.sort_by_key(|(_, proxy)| !dead(proxy));
    if let Some((setting, proxy)) = others.first() {
        let mut found = suspect(Code::SystemProxyDiffers, Confidence::Certain, [reference])
            .with("other", &proxy.authority())
            .with("setting", &word(setting));
        if word(setting) == "variables" {
            found = found.with(if of_windows(all) { "variable" } else { "unset" }, &proxy.name);
        }
        return Some(found);
    }
    let script = all.settings.iter().find_map(|it| Some((it, it.script.as_ref()?)))?;
    // Ours offers a script, too.
    let ours = script.1.contains(&evidence.subject.authority());
    (!ours).then(|| {
        let windows = script.0.of == SettingOf::Windows && script.0.machine_wide != Some(true);
        suspect(Code::SystemProxyDiffers, Confidence::Possible, [reference])
            .with("other", script.1)
            .with("setting", &if windows { "windows-script" } else { "script" })
    })
}

/// Where the application wants to go: host and port of each target.
fn goals(evidence: &Evidence) -> Vec<(String, u16)> {
    let asked = evidence.asked.targets.iter().map(String::as_str);
    let services = PROVIDERS.iter().map(|it| it.url).filter(|_| evidence.asked.llm);
    let goal = |url: &str| {
        let (scheme, rest) = url.split_once("://")?;
        let authority = rest.split(['/', '?', '#']).next()?;
        let target = match scheme {
            "http" => Target::from_http_authority(authority),
            _ => Target::from_https_authority(authority),
        };
        let target = target.ok()?;
        Some((target.host.to_string(), target.port.get()))
    };
    asked.chain(services).filter_map(goal).collect()
}

/// A list of exceptions leads past the proxy, or a variable that names it came too late.
pub(super) fn app_bypasses_proxy(evidence: &Evidence) -> Option<Suspect> {
    let (reference, all) = settings(evidence)?;
    let goals = goals(evidence);
    let hit = |setting: &ProxySetting| {
        let dialect = match setting.of {
            SettingOf::Windows | SettingOf::WindowsServices => Dialect::Windows,
            SettingOf::Environment
            | SettingOf::UserEnvironment
            | SettingOf::Gnome
            | SettingOf::Macos => Dialect::Unix,
        };
        goals.iter().find_map(|(host, port)| {
            let host = host.trim_matches(['[', ']']);
            let entry = bypasses(&setting.bypass, dialect, (host, *port))?;
            Some((entry.to_owned(), host.to_owned()))
        })
    };
    // Without a proxy its exceptions mean nothing, except to programs that have one of their own.
    let counts = |it: &&ProxySetting| !it.used().is_empty() || it.of == SettingOf::Environment;
    let found = all.settings.iter().filter(counts).find_map(|it| Some((it, hit(it)?)));
    if let Some((setting, (entry, target))) = found {
        let meant = setting.used().iter().any(|it| is_tested(it, evidence) != Some(false));
        let confidence = if meant { Confidence::Likely } else { Confidence::Possible };
        let found = suspect(Code::AppBypassesProxy, confidence, [reference]);
        return Some(
            found.with("other", &entry).with("target", &target).with("setting", &word(setting)),
        );
    }
    let of = |of| all.settings.iter().find(move |it: &&ProxySetting| it.of == of);
    let named = |it: &ProxySetting| {
        let mut used = it.used().iter();
        used.find(|it| is_tested(it, evidence) == Some(true)).map(|it| it.name.clone())
    };
    let late = named(of(SettingOf::UserEnvironment)?)?;
    named(of(SettingOf::Environment)?).is_none().then(|| {
        let found = suspect(Code::AppBypassesProxy, Confidence::Possible, [reference]);
        found.with("other", &late).with("setting", &"late")
    })
}

/// All adapters, if they could be asked.
pub(super) fn adapters(evidence: &Evidence) -> Option<Found<'_, Adapters>> {
    evidence.one(CheckId::Adapters)
}

/// Whether IPv4 addresses can be reached.
pub(super) fn nat64(evidence: &Evidence) -> Option<Found<'_, Nat64>> {
    evidence.one(CheckId::Nat64)
}

/// A line of the hosts file that names the proxy, and from which its address is.
pub(super) fn hosts_line(evidence: &Evidence) -> Option<(&Reference, &HostsFile, &HostsLine)> {
    let (reference, file) = evidence.one::<HostsFile>(CheckId::HostsFile)?;
    let host = evidence.subject.host.trim_end_matches('.');
    let found = evidence.addresses().map(|(_, it)| it.addresses.as_slice()).unwrap_or_default();
    let mut lines = file.lines.iter();
    let line =
        lines.find(|it| it.name.eq_ignore_ascii_case(host) && found.contains(&it.address))?;
    Some((reference, file, line))
}

/// The way out that is no VPN: an adapter with a gateway.
fn plain_way(all: &Adapters) -> Option<(&Adapter, IpAddr)> {
    let mut ways = all.connected().filter(|it| it.vpn().is_none());
    ways.find_map(|it| Some((it, it.gateways.iter().copied().find(IpAddr::is_ipv4)?)))
}

/// Packets to the proxy leave by the adapter of a VPN, though there is another way out.
///
/// A dial-up line looks like a VPN, but there is no other way; a proxy inside the VPN is reached by
/// it on purpose.
pub(super) fn vpn_captures_route(evidence: &Evidence) -> Option<Suspect> {
    let (reference, all) = adapters(evidence)?;
    let proxy = evidence.primary()?.ip().to_canonical();
    let (route, source) = evidence
        .routes()
        .filter(|(_, it)| it.to.to_canonical() == proxy)
        .filter_map(|(reference, it)| Some((reference, it.source?)))
        .min_by_key(|(reference, _)| *reference)?;
    let used = all.of(source)?;
    let product = used.vpn()?;
    let (_, gateway) = plain_way(all).filter(|_| is_public(proxy))?;
    let confidence = if product.is_some() { Confidence::Certain } else { Confidence::Likely };
    let found = suspect(Code::VpnCapturesRoute, confidence, [reference, route])
        .with("name", &product.unwrap_or(&used.name));
    let v4 = proxy.is_ipv4();
    Some(
        found.with_some("gateway", v4.then_some(gateway)).with_some("address", v4.then_some(proxy)),
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::diag::code::Code;
    use crate::diag::diagnosis::diagnose;
    use crate::diag::evidence::{Asked, Command, Evidence, Family, Subject};
    use crate::diag::fact::{
        Adapter, AdapterKind, Adapters, Addresses, Answer, Attempt, CheckId, Connects, Data, Fact,
        HostsFile, HostsLine, Journey, Nat64, Outcome, Prefix, ProxySetting, ProxySettings,
        Reference, Route, SettingOf, Status, Trip,
    };
    use crate::diag::fix::fixes_of;
    use crate::diag::infer::{Confidence, Suspect, infer};
    use crate::diag::plan::PORTAL;
    use crate::diag::settings::{entries, proxy};

    const HOST: &str = "81.85.76.160";

    struct Case(Evidence);

    fn about(host: &str) -> Case {
        let asked = Asked {
            command: Command::Doctor,
            targets: vec!["https://api.openai.com/".to_owned()],
            ..Asked::default()
        };
        let subject = Subject { host: host.into(), port: 8080, family: Family::Any };
        Case(Evidence::new(subject, asked))
    }

    impl Case {
        fn fact(mut self, check: CheckId, data: Data) -> Self {
            let reference = Reference::number(self.0.facts.len() + 1);
            let (subject, status) = (String::new(), Status::Worked);
            let data = Some(data);
            self.0.facts.push(Fact { reference, check, subject, status, data, took_ms: 1 });
            self
        }

        fn set(self, settings: Vec<ProxySetting>) -> Self {
            let settings = ProxySettings { settings, unread: Vec::new() };
            self.fact(CheckId::SystemProxy, Data::ProxySettings(settings))
        }

        fn adapters(self, adapters: Vec<Adapter>) -> Self {
            let v6 = adapters.iter().flat_map(|it| &it.addresses).find(|it| it.addr().is_ipv6());
            let usual_source = v6.map(ipnet::IpNet::addr);
            let all = Adapters { adapters, usual_source, ..Adapters::default() };
            self.fact(CheckId::Adapters, Data::Adapters(all))
        }

        fn route(self, source: Option<&str>, others: Option<bool>) -> Self {
            let source = source.map(|it| it.parse().unwrap());
            let failure = source.is_none().then_some(Outcome::NetworkUnreachable);
            let to = HOST.parse().unwrap();
            self.fact(
                CheckId::Route,
                Data::Route(Route { to, source, failure, os_error: None, others }),
            )
        }

        fn connects(self, outcome: Outcome) -> Self {
            let address = format!("{HOST}:8080").parse().unwrap();
            let one = Attempt { address, outcome, os_error: None, elapsed_us: 40_000, ttl: None };
            self.fact(CheckId::TcpConnect, Data::Connects(Connects { attempts: vec![one; 3] }))
        }

        fn resolved(self, address: &str) -> Self {
            let addresses = vec![address.parse().unwrap()];
            let found = Addresses { addresses, failure: None, os_error: None, elapsed_us: 900 };
            self.fact(CheckId::Resolve, Data::Addresses(found))
        }

        fn hosts(self, address: &str, name: &str) -> Self {
            let (address, name) = (address.parse().unwrap(), name.to_owned());
            let lines = vec![HostsLine { number: 3, address, name }];
            let path = r"C:\Windows\System32\drivers\etc\hosts".to_owned();
            self.fact(CheckId::HostsFile, Data::HostsFile(HostsFile { path, read: true, lines }))
        }

        fn page(self, number: usize, status: u16, body: &str) -> Self {
            let body = body.to_owned();
            let answer = Some(Answer {
                status,
                server: None,
                location: None,
                mitigated: None,
                retry_after_s: None,
                clock: None,
                bytes: 9,
                body,
            });
            let trip = Trip { answer, ..Trip::default() };
            let target = PORTAL[number].0.to_owned();
            self.fact(CheckId::Portal, Data::Journey(Journey { target, trips: vec![trip] }))
        }

        fn finds(&self, code: Code) -> Option<Suspect> {
            infer(&self.0).into_iter().find(|it| it.code == code)
        }

        fn verdict(&self) -> Option<(Code, Confidence)> {
            diagnose(&self.0).verdict.map(|it| (it.code, it.confidence))
        }

        fn commands(&self, code: Code) -> Vec<String> {
            let found = self.finds(code).unwrap();
            fixes_of(&found, &self.0.subject).into_iter().filter_map(|it| it.command).collect()
        }
    }

    fn setting(of: SettingOf, proxies: &[(&str, &str)], bypass: &str) -> ProxySetting {
        ProxySetting {
            proxies: proxies.iter().filter_map(|(name, text)| proxy(name, text)).collect(),
            bypass: entries(bypass),
            ..ProxySetting::of(of)
        }
    }

    fn adapter(name: &str, kind: AdapterKind, address: &str, gateway: Option<&str>) -> Adapter {
        Adapter {
            name: name.to_owned(),
            kind,
            up: Some(true),
            addresses: (!address.is_empty())
                .then(|| address.parse().unwrap())
                .into_iter()
                .collect(),
            gateways: gateway.map(|it| it.parse().unwrap()).into_iter().collect(),
            ..Adapter::default()
        }
    }

    #[test]
    fn another_proxy_is_told_from_the_one_under_test() {
        use SettingOf::{Environment, UserEnvironment, Windows, WindowsServices};
        let code = Code::SystemProxyDiffers;
        for (of, name, value, other) in [
            (Windows, "all", "127.0.0.1:7890", Some("127.0.0.1:7890")),
            (Windows, "all", "81.85.76.160:8080", None),
            (Windows, "all", "81.85.76.160:8081", Some("81.85.76.160:8081")),
            (Windows, "all", "81.85.76.160", Some("81.85.76.160")),
            // Only a name server could tell.
            (Windows, "all", "proxy.example.org:8080", None),
            (Environment, "HTTPS_PROXY", "http://u:p@81.85.76.160:8080/", None),
            (Environment, "HTTPS_PROXY", "http://10.0.0.1:8080/", Some("10.0.0.1:8080")),
            (UserEnvironment, "ALL_PROXY", "socks5://10.0.0.1", Some("10.0.0.1")),
            (WindowsServices, "all", "10.0.0.1:3128", Some("10.0.0.1:3128")),
        ] {
            let found = about(HOST).set(vec![setting(of, &[(name, value)], "")]).finds(code);
            let told = found.map(|it| it.arguments["other"].clone());
            assert_eq!(told.as_deref(), other, "{value}");
        }
        let off = ProxySetting { enabled: Some(false), ..setting(Windows, &[("all", "h:1")], "") };
        assert!(about(HOST).set(vec![off]).finds(code).is_none());
        // By name, as it resolves.
        let named = |text| vec![setting(Windows, &[("all", text)], "")];
        let proxy = || about("proxy.example.org").resolved(HOST);
        for (text, differs) in
            [("81.85.76.160:8080", false), ("Proxy.Example.org:8080", false), ("other:8080", true)]
        {
            assert_eq!(proxy().set(named(text)).finds(code).is_some(), differs, "{text}");
        }
    }

    #[test]
    fn each_setting_has_the_command_that_mends_it() {
        let code = Code::SystemProxyDiffers;
        let services = ProxySetting::of(SettingOf::WindowsServices);
        for (of, expected) in [
            (SettingOf::Windows, "reg add \"HKCU\\Software"),
            (SettingOf::WindowsServices, "netsh winhttp reset proxy"),
            (
                SettingOf::UserEnvironment,
                "[Environment]::SetEnvironmentVariable('x', $null, 'User')",
            ),
            (SettingOf::Gnome, "gsettings set"),
            (SettingOf::Macos, "networksetup"),
        ] {
            let case =
                about(HOST).set(vec![setting(of, &[("x", "10.0.0.1:1")], ""), services.clone()]);
            let commands = case.commands(code);
            assert!(commands.len() == 1 && commands[0].starts_with(expected), "{commands:?}");
        }
        let linux = about(HOST).set(vec![setting(SettingOf::Environment, &[("x", "h:1")], "")]);
        assert_eq!(linux.commands(code), ["unset x"]);
        let all = setting(SettingOf::Windows, &[("all", "10.0.0.1:1")], "");
        let all = ProxySetting { machine_wide: Some(true), ..all };
        assert!(about(HOST).set(vec![all]).commands(code)[0].starts_with("reg add \"HKLM"));
        let script = ProxySetting {
            script: Some("http://wpad/x.pac".into()),
            ..ProxySetting::of(SettingOf::Windows)
        };
        let case = about(HOST).set(vec![script.clone()]);
        assert_eq!(case.finds(code).unwrap().confidence, Confidence::Possible);
        assert!(case.commands(code)[0].starts_with("reg delete"));
        let ours = ProxySetting { script: Some(format!("http://{HOST}:8080/proxy.pac")), ..script };
        assert!(about(HOST).set(vec![ours]).finds(code).is_none());
    }

    #[test]
    fn a_hostile_report_gives_no_command_to_copy() {
        let mut bad = setting(SettingOf::Environment, &[("x", "h:1")], "");
        bad.proxies[0].name = "x; rm -rf /".to_owned();
        assert!(about(HOST).set(vec![bad]).commands(Code::SystemProxyDiffers).is_empty());
    }

    #[test]
    fn exceptions_count_when_they_name_a_target() {
        use Confidence::{Likely, Possible};
        use SettingOf::{Environment, Windows};
        let ours = [("all", "81.85.76.160:8080")];
        for (of, proxies, bypass, expected) in [
            (Windows, &ours[..], "*.openai.com", Some(Likely)),
            (Windows, &ours, "openai.com;<local>;10.*", None),
            (Windows, &[], "*.openai.com", None),
            (Environment, &ours, "openai.com", Some(Likely)),
            (Environment, &[], "openai.com", Some(Possible)),
            (Environment, &ours, "localhost,127.0.0.1,.corp", None),
            (Windows, &[("all", "10.0.0.1:1")], "*", Some(Possible)),
        ] {
            let case = about(HOST).set(vec![setting(of, proxies, bypass)]);
            let found = case.finds(Code::AppBypassesProxy).map(|it| it.confidence);
            assert_eq!(found, expected, "{of:?} {proxies:?} {bypass}");
        }
    }

    #[test]
    fn a_variable_that_this_process_has_not_inherited_is_seen() {
        let of = |of, text: &str| setting(of, &[("HTTPS_PROXY", text)], "");
        let new = || of(SettingOf::UserEnvironment, "http://81.85.76.160:8080");
        let none = || of(SettingOf::Environment, "");
        let found = about(HOST).set(vec![none(), new()]).finds(Code::AppBypassesProxy).unwrap();
        assert_eq!(found.arguments["other"], "HTTPS_PROXY");
        let known = of(SettingOf::Environment, "http://81.85.76.160:8080");
        assert!(about(HOST).set(vec![known, new()]).finds(Code::AppBypassesProxy).is_none());
    }

    #[test]
    fn a_vpn_is_told_from_a_dial_up_line_and_from_a_proxy_inside_it() {
        use AdapterKind::{Ethernet, Ppp, Tunnel};
        let code = Code::VpnCapturesRoute;
        let home = || adapter("Ethernet", Ethernet, "192.168.1.5/24", Some("192.168.1.1"));
        let vpn = || adapter("WireGuard", Tunnel, "10.8.0.2/24", None);
        let by = |source, adapters| {
            about(HOST).adapters(adapters).route(Some(source), None).connects(Outcome::Open)
        };
        let found = by("10.8.0.2", vec![home(), vpn()]);
        assert_eq!(found.finds(code).unwrap().confidence, Confidence::Certain);
        let expected = "route add 81.85.76.160 mask 255.255.255.255 192.168.1.1";
        assert_eq!(found.commands(code), [expected]);
        let nameless = by("10.8.0.2", vec![home(), adapter("x", Tunnel, "10.8.0.2/24", None)]);
        assert_eq!(nameless.finds(code).unwrap().confidence, Confidence::Likely);
        // It is there, and packets do not leave by it.
        assert!(by("192.168.1.5", vec![home(), vpn()]).finds(code).is_none());
        // PPPoE: the way out itself.
        let line = || adapter("PPPoE", Ppp, "95.24.10.7/32", Some("95.24.10.1"));
        let modem = adapter("Ethernet", Ethernet, "", None);
        assert!(by("95.24.10.7", vec![line(), modem]).finds(code).is_none());
        // A bridge of containers is no other way.
        let bridge = adapter("docker0", Ethernet, "172.17.0.1/16", Some("172.17.0.254"));
        assert!(by("95.24.10.7", vec![line(), bridge]).finds(code).is_none());
        // A proxy that lives in the VPN.
        let mut inside = about("10.8.0.1").adapters(vec![home(), vpn()]);
        inside = inside.fact(
            CheckId::Route,
            Data::Route(Route {
                to: "10.8.0.1".parse().unwrap(),
                source: Some("10.8.0.2".parse().unwrap()),
                failure: None,
                os_error: None,
                others: None,
            }),
        );
        assert!(inside.finds(code).is_none());
    }

    #[test]
    fn adapters_tell_no_network_from_no_route() {
        use AdapterKind::{Ethernet, Loopback};
        use Confidence::Certain;
        let down = Adapter { up: Some(false), ..adapter("Ethernet", Ethernet, "", None) };
        let up = || adapter("Ethernet", Ethernet, "169.254.3.4/16", None);
        let lo = || adapter("lo", Loopback, "127.0.0.1/8", None);
        let cut = |adapters, others| {
            about(HOST).adapters(adapters).route(None, others).connects(Outcome::NetworkUnreachable)
        };
        for others in [None, Some(false)] {
            let verdict = cut(vec![lo(), down.clone()], others).verdict();
            assert_eq!(verdict, Some((Code::NoNetwork, Certain)), "{others:?}");
            let verdict = cut(vec![lo(), up()], others).verdict();
            assert_eq!(verdict, Some((Code::NoRoute, Certain)), "{others:?}");
        }
        let bridge = adapter("docker0", Ethernet, "172.17.0.1/16", None);
        assert_eq!(cut(vec![lo(), bridge], None).verdict(), Some((Code::NoNetwork, Certain)));
    }

    #[test]
    fn a_network_of_ipv6_alone_has_a_deed_of_its_own() {
        let v6 = || adapter("wlan0", AdapterKind::WiFi, "2a01:4f8::5/64", Some("fe80::1"));
        let case = |ipv4, prefixes| {
            let cut = about(HOST).adapters(vec![v6()]).route(None, Some(true));
            let cut = cut.connects(Outcome::NetworkUnreachable);
            cut.fact(CheckId::Nat64, Data::Nat64(Nat64 { ipv4, prefixes }))
        };
        let prefix = Prefix { address: "64:ff9b::".parse().unwrap(), length: 96 };
        let translated = case(false, vec![prefix]);
        assert_eq!(translated.verdict(), Some((Code::NoRoute, Confidence::Certain)));
        let first = translated.commands(Code::NoRoute)[0].clone();
        assert_eq!(first, "sami-proxy probe [64:ff9b::5155:4ca0]:8080");
        let texts = |case: &Case| -> Vec<&str> {
            let found = case.finds(Code::NoRoute).unwrap();
            fixes_of(&found, &case.0.subject).iter().map(|it| it.text).collect()
        };
        assert_eq!(texts(&case(false, vec![]))[0], "fix-use-ipv-six");
        assert_eq!(texts(&case(true, vec![])), ["fix-renew-the-address"]);
    }

    #[test]
    fn a_line_of_the_hosts_file_is_suspected_where_no_proxy_is() {
        let name = "proxy.example.org";
        let silent = || about(name).resolved(HOST).connects(Outcome::Silent);
        let case = silent().hosts(HOST, name);
        assert_eq!(case.verdict(), Some((Code::ProxyNamePoisoned, Confidence::Likely)));
        assert_eq!(
            case.commands(Code::ProxyNamePoisoned)[0],
            r"notepad C:\Windows\System32\drivers\etc\hosts"
        );
        // The line is of another address than the one that was used, or of another name.
        for (address, line) in [("10.0.0.1", name), (HOST, "api.openai.com")] {
            assert!(silent().hosts(address, line).finds(Code::ProxyNamePoisoned).is_none());
        }
        // No packet was sent.
        let cut = about(name).resolved(HOST).connects(Outcome::NetworkUnreachable);
        assert!(cut.hosts(HOST, name).finds(Code::ProxyNamePoisoned).is_none());
    }

    #[test]
    fn pages_tell_a_sign_in_from_the_internet() {
        let silent = || about(HOST).route(Some("10.0.0.1"), None).connects(Outcome::Silent);
        let genuine = silent().page(0, 200, "Microsoft Connect Test").page(1, 204, "");
        assert!(genuine.finds(Code::CaptivePortal).is_none());
        assert!(genuine.finds(Code::NoInternet).is_none());
        for (pages, expected) in [
            (&[(302, ""), (302, "")][..], Some(Confidence::Likely)),
            (&[(200, "<html>sign in")], Some(Confidence::Possible)),
            (&[(511, "")], Some(Confidence::Certain)),
            (&[(503, "busy"), (500, "")], None),
            // One of the two is as it should be.
            (&[(200, "Microsoft Connect Test"), (200, "x")], None),
        ] {
            let mut case = silent();
            for (number, (status, body)) in pages.iter().enumerate() {
                case = case.page(number, *status, body);
            }
            let found = case.finds(Code::CaptivePortal).map(|it| it.confidence);
            assert_eq!(found, expected, "{pages:?}");
        }
        let forged = silent().page(0, 302, "").page(1, 302, "");
        assert_eq!(forged.verdict(), Some((Code::CaptivePortal, Confidence::Likely)));
    }

    proptest! {
        #[test]
        fn no_setting_makes_a_rule_fail(
            server in ".{0,60}", bypass in ".{0,60}", host in "[a-z0-9.:]{1,30}", of in 0_usize..6,
        ) {
            use SettingOf::{Environment, Gnome, Macos, UserEnvironment, Windows, WindowsServices};
            let of = [Environment, UserEnvironment, Windows, WindowsServices, Gnome, Macos][of];
            let case = about(&host).set(vec![setting(of, &[("all", &server)], &bypass)]);
            let _any = diagnose(&case.0);
        }
    }
}
