//! What is different in two runs about the same proxy: now, and when it worked. Pure.
//!
//! Only what both runs have seen is compared: what one of them could not see is no change.

mod rules;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use serde::Serialize;

use self::rules::{Rules, rules};
use super::diagnosis::diagnose;
use super::evidence::Evidence;
use super::fact::{
    Adapters, CheckId, Fact, HostsFile, Journey, Kernel, OwnAddresses, ProxySettings, Status,
};
use super::infer::reach;
use super::llm::provider_of;
use super::report::{Health, Report, health};

/// What may have changed, in the order of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// What was examined: `host:port`.
    Target,
    /// The code of the verdict.
    Verdict,
    /// The codes of the warnings.
    Warnings,
    /// How a check went; the worst of those of one kind.
    Check,
    /// What the proxy's name stands for.
    Addresses,
    /// Our address, as the proxy sees it.
    PublicAddress,
    /// The public addresses of the server.
    ServerAddresses,
    /// The next routers.
    Gateways,
    /// The name servers.
    NameServers,
    /// The networks of the adapters that are connected.
    Adapters,
    /// Adapters of VPNs.
    Vpns,
    /// Proxies that this machine was told of.
    SystemProxy,
    /// Lines of the hosts file.
    HostsFile,
    /// Who signed a certificate.
    CertificateIssuer,
    /// The hop that answers.
    Distance,
    /// The number of the container.
    Container,
    /// The image of the container.
    Image,
    /// When the container was started.
    ContainerStarted,
    /// Ports that are published.
    PublishedPorts,
    /// The release of Docker.
    DockerVersion,
    /// Rules that send packets elsewhere.
    Dnat,
    /// Other rules of the packet filters.
    FirewallRules,
    /// The largest packets, in bytes.
    Mtu,
    /// What answers on the port, and its release.
    ProxyVersion,
    /// What became of the request to a target.
    Reached,
    /// What became of the request to an LLM provider.
    Provider,
    /// How long something takes, in milliseconds; only when it differs much.
    Timing,
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// What.
    pub what: What,
    /// Of what, where there are several: an adapter, a check, a URL.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub subject: String,
    /// What was there; `None`: nothing.
    pub before: Option<String>,
    /// What is there.
    pub after: Option<String>,
}

/// Subject → what was seen of it; not there when nothing can be said.
type Seen = BTreeMap<String, BTreeSet<String>>;

/// How two looks at the same are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    /// What only one has is a change, too.
    Whole,
    /// Only subjects that both have.
    Shared,
    /// Values that came and went, one by one.
    EachValue,
}

type Look = fn(&Evidence) -> Option<Seen>;

const LOOKS: [(What, How, Look); 26] = [
    (What::Target, How::Whole, |it| one([it.subject.authority()])),
    (What::Verdict, How::Whole, verdict),
    (What::Warnings, How::EachValue, warnings),
    (What::Check, How::Shared, checks),
    (What::Addresses, How::Whole, |it| one(it.addresses()?.1.addresses.iter())),
    (What::PublicAddress, How::Whole, public_address),
    (What::ServerAddresses, How::Whole, server_addresses),
    (What::Gateways, How::Whole, |it| one(adapters(it)?.connected().flat_map(|it| &it.gateways))),
    (What::NameServers, How::Whole, name_servers),
    (What::Adapters, How::Whole, networks),
    (What::Vpns, How::Whole, vpns),
    (What::SystemProxy, How::Whole, system_proxy),
    (What::HostsFile, How::EachValue, hosts_file),
    (What::CertificateIssuer, How::Shared, issuers),
    (What::Distance, How::Whole, |it| one([it.ladder()?.1.answers_from?])),
    (What::Container, How::Whole, |it| one([&it.container()?.1.id])),
    (What::Image, How::Whole, |it| one([&it.container()?.1.image.name])),
    (What::ContainerStarted, How::Whole, |it| {
        one([it.container()?.1.last().started_at.as_ref()?])
    }),
    (What::PublishedPorts, How::Whole, published),
    (What::DockerVersion, How::Whole, |it| one([it.engine()?.1.version.as_ref()?])),
    (What::Dnat, How::EachValue, |it| rules(it, Rules::Dnat)),
    (What::FirewallRules, How::EachValue, |it| rules(it, Rules::Other)),
    (What::Mtu, How::Shared, mtu),
    (What::ProxyVersion, How::Whole, proxy_version),
    (What::Reached, How::Shared, |it| reached(it, CheckId::ThroughProxy)),
    (What::Provider, How::Shared, |it| reached(it, CheckId::Llm)),
];

/// A time that is so many times the other, and so many milliseconds more, is another one.
const MUCH: (u64, u64) = (2, 50);

/// More values of one kind would bury the rest; the last change then tells how many there are in all.
const MOST_VALUES: usize = 20;

/// What is told of the server where its evidence came along; whose the rest is would not be clear.
const OF_SERVER: [What; 9] = [
    What::Check,
    What::ServerAddresses,
    What::Container,
    What::Image,
    What::ContainerStarted,
    What::PublishedPorts,
    What::DockerVersion,
    What::Dnat,
    What::FirewallRules,
];

/// What is different in `new`.
pub fn changes(old: &Evidence, new: &Evidence) -> Vec<Change> {
    let mut found = Vec::new();
    let mut look_at = |old: &Evidence, new: &Evidence, only: Option<&[What]>| {
        for (what, how, look) in LOOKS {
            if only.is_some_and(|only| !only.contains(&what)) {
                continue;
            }
            if let (Some(before), Some(after)) = (look(old), look(new)) {
                compare(what, how, (&before, &after), &mut found);
            }
        }
    };
    look_at(old, new, None);
    if let (Some(old), Some(new)) = (old.of_server(), new.of_server()) {
        look_at(old, new, Some(&OF_SERVER));
    }
    timings(old, new, &mut found);
    found
}

fn compare(what: What, how: How, (before, after): (&Seen, &Seen), found: &mut Vec<Change>) {
    let subjects: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let nothing = BTreeSet::new();
    for subject in subjects {
        let (was, is) = (before.get(subject), after.get(subject));
        if was == is || (how == How::Shared && (was.is_none() || is.is_none())) {
            continue;
        }
        let (was, is) = (was.unwrap_or(&nothing), is.unwrap_or(&nothing));
        let mut add = |before, after| {
            found.push(Change { what, subject: subject.clone(), before, after });
        };
        match how {
            How::Whole | How::Shared => add(joined(was), joined(is)),
            How::EachValue => {
                let gone = was.difference(is).map(|it| (Some(it.clone()), None));
                let come = is.difference(was).map(|it| (None, Some(it.clone())));
                let all: Vec<_> = gone.chain(come).collect();
                for (before, after) in all.iter().take(MOST_VALUES).cloned() {
                    add(before, after);
                }
                if all.len() > MOST_VALUES {
                    add(Some(was.len().to_string()), Some(is.len().to_string()));
                }
            }
        }
    }
}

fn joined(values: &BTreeSet<String>) -> Option<String> {
    let all: Vec<&str> = values.iter().map(String::as_str).collect();
    (!all.is_empty()).then(|| all.join(", "))
}

/// What has no several subjects.
#[allow(clippy::unnecessary_wraps, reason = "all looks have one form")]
fn one<T: ToString>(values: impl IntoIterator<Item = T>) -> Option<Seen> {
    let values: BTreeSet<String> = values.into_iter().map(|it| it.to_string()).collect();
    Some(BTreeMap::from([(String::new(), values)]))
}

fn verdict(it: &Evidence) -> Option<Seen> {
    one([diagnose(it).verdict.map_or("inconclusive", |it| it.code.word())])
}

fn warnings(it: &Evidence) -> Option<Seen> {
    one(diagnose(it).warnings.iter().map(|it| it.code.word()))
}

#[allow(clippy::unnecessary_wraps, reason = "all looks have one form")]
fn checks(it: &Evidence) -> Option<Seen> {
    let mut worst: BTreeMap<String, Health> = BTreeMap::new();
    let rank = |it: Health| match it {
        Health::Ok | Health::Skipped => 0,
        Health::Unknown => 1,
        Health::Warn => 2,
        Health::Bad => 3,
    };
    let made = |fact: &&Fact| !matches!(fact.status, Status::Skipped(_));
    for fact in it.facts.iter().filter(made) {
        let now = health(fact);
        let worst = worst.entry(fact.check.word().to_owned()).or_insert(now);
        if rank(now) > rank(*worst) {
            *worst = now;
        }
    }
    let word = |it: Health| BTreeSet::from([it.word().to_owned()]);
    Some(worst.into_iter().map(|(check, health)| (check, word(health))).collect())
}

fn public_address(it: &Evidence) -> Option<Seen> {
    let client = it.hello()?.1.client.as_ref()?;
    let ip = client.parse::<SocketAddr>().map(|it| it.ip()).or_else(|_| client.parse::<IpAddr>());
    one([ip.ok()?.to_canonical()])
}

fn server_addresses(it: &Evidence) -> Option<Seen> {
    let (_, found) = it.one::<OwnAddresses>(CheckId::PublicAddress)?;
    let all: BTreeSet<&IpAddr> = found.public.iter().chain(&found.outward).collect();
    one(all)
}

fn adapters(it: &Evidence) -> Option<&Adapters> {
    it.one(CheckId::Adapters).map(|(_, it)| it)
}

fn name_servers(it: &Evidence) -> Option<Seen> {
    if let Some(found) = adapters(it) {
        return one(found.connected().flat_map(|it| &it.name_servers));
    }
    one(it.egress()?.1.nameservers.iter().map(|it| it.ip))
}

/// Of IPv6 the networks only: computers take new addresses in them every day (RFC 8981).
fn networks(it: &Evidence) -> Option<Seen> {
    let shown = |net: &IpNet| match net {
        IpNet::V4(net) => net.to_string(),
        IpNet::V6(net) => net.trunc().to_string(),
    };
    let all = adapters(it)?.connected();
    Some(all.map(|it| (it.name.clone(), it.addresses.iter().map(shown).collect())).collect())
}

fn vpns(it: &Evidence) -> Option<Seen> {
    one(adapters(it)?.connected().filter(|it| it.vpn().is_some()).map(|it| &it.name))
}

fn system_proxy(it: &Evidence) -> Option<Seen> {
    let (_, all) = it.one::<ProxySettings>(CheckId::SystemProxy)?;
    let word = |of| serde_json::to_value(of).ok().and_then(|it| Some(it.as_str()?.to_owned()));
    let said = |it: &super::fact::ProxySetting| -> BTreeSet<String> {
        let proxies = it.used().iter().map(|it| format!("{} {}", it.name, it.authority()));
        let script = it.script.iter().cloned();
        let bypass = (!it.bypass.is_empty()).then(|| format!("({})", it.bypass.join(" ")));
        proxies.chain(script).chain(bypass).collect()
    };
    Some(all.settings.iter().filter_map(|it| Some((word(it.of)?, said(it)))).collect())
}

fn hosts_file(it: &Evidence) -> Option<Seen> {
    let (_, found) = it.one::<HostsFile>(CheckId::HostsFile)?;
    let lines = found.lines.iter().map(|it| format!("{} {}", it.address, it.name));
    found.read.then(|| one(lines))?
}

#[allow(clippy::unnecessary_wraps, reason = "all looks have one form")]
fn issuers(it: &Evidence) -> Option<Seen> {
    let mut all = Seen::new();
    for (_, journey) in it.journeys() {
        let Some(trip) = journey.typical() else { continue };
        let proxy = it.subject.authority();
        for (of, certificate) in
            [(&journey.target, &trip.certificate), (&proxy, &trip.proxy_certificate)]
        {
            if let Some(certificate) = certificate {
                all.entry(of.clone()).or_default().insert(certificate.issuer.clone());
            }
        }
    }
    Some(all)
}

fn published(it: &Evidence) -> Option<Seen> {
    let (_, container) = it.container()?;
    let any = IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED);
    one(container.ports.iter().filter_map(|it| {
        Some(format!("{}->{}", SocketAddr::new(it.ip.unwrap_or(any), it.port?), it.inside))
    }))
}

/// By adapter, by interface of the server, and of the container.
#[allow(clippy::unnecessary_wraps, reason = "all looks have one form")]
fn mtu(it: &Evidence) -> Option<Seen> {
    let mut all: BTreeMap<String, u32> = BTreeMap::new();
    let connected = adapters(it).into_iter().flat_map(Adapters::connected);
    all.extend(connected.filter_map(|it| Some((it.name.clone(), it.mtu?))));
    let kernel = it.one::<Kernel>(CheckId::KernelSettings);
    let interfaces = kernel.into_iter().flat_map(|(_, it)| &it.interfaces);
    all.extend(interfaces.filter_map(|it| Some((it.name.clone(), it.mtu?))));
    if let Some((_, egress)) = it.egress() {
        all.extend(egress.mtu.map(|mtu| (egress.container.clone(), mtu)));
    }
    let value = |mtu: u32| BTreeSet::from([mtu.to_string()]);
    Some(all.into_iter().map(|(of, mtu)| (of, value(mtu))).collect())
}

fn proxy_version(it: &Evidence) -> Option<Seen> {
    let (_, hello) = it.hello()?;
    let speaks = serde_json::to_value(hello.speaks?).ok()?;
    let name = hello.version.as_ref().or(hello.name.as_ref());
    let name = name.map_or_else(String::new, |it| format!(" {it}"));
    one([format!("{}{name}", speaks.as_str()?)])
}

fn reached(it: &Evidence, check: CheckId) -> Option<Seen> {
    let mut all = Seen::new();
    for (_, journey) in it.all::<Journey>(check) {
        let name = provider_of(&journey.target).filter(|_| check == CheckId::Llm);
        let name = name.map_or(journey.target.as_str(), |it| it.name);
        let word = serde_json::to_value(reach(journey)).ok()?.as_str()?.to_owned();
        all.entry(name.to_owned()).or_default().insert(word);
    }
    Some(all)
}

fn timings(old: &Evidence, new: &Evidence, found: &mut Vec<Change>) {
    let times = |it: &Evidence| {
        let it = Report::new(it.clone()).timings;
        [
            ("resolve", it.dns_ms),
            ("connect", it.connect_ms),
            ("proxy", it.proxy_ms),
            ("target-tls", it.tls_ms),
            ("first-byte", it.first_byte_ms),
        ]
    };
    for ((phase, before), (_, after)) in times(old).into_iter().zip(times(new)) {
        let (Some(before), Some(after)) = (before, after) else { continue };
        let (less, more) = (before.min(after), before.max(after));
        if more > less.saturating_mul(MUCH.0) && more - less > MUCH.1 {
            found.push(Change {
                what: What::Timing,
                subject: phase.to_owned(),
                before: Some(before.to_string()),
                after: Some(after.to_string()),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::{Value, json};

    use super::{Change, MOST_VALUES, What, changes};
    use crate::diag::evidence::Evidence;
    use crate::diag::server::{By, Heard, Server};

    fn case(name: &str) -> Value {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases").join(name);
        let text = std::fs::read_to_string(folder.join("evidence.json")).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    fn evidence(value: &Value) -> Evidence {
        serde_json::from_value(value.clone()).unwrap()
    }

    /// What the fact of `check` has measured.
    fn data<'v>(value: &'v mut Value, check: &str) -> &'v mut Value {
        let facts = value["facts"].as_array_mut().unwrap().iter_mut();
        let mut of_check = facts.filter(|it| it["check"] == check && it.get("data").is_some());
        &mut of_check.next().unwrap()["data"]
    }

    /// Case, what is put where in what was measured by a check, and what has changed then.
    type Row = (&'static str, &'static str, &'static str, Value, What, &'static str, &'static str);

    #[allow(clippy::too_many_lines, reason = "a table")]
    fn table() -> Vec<Row> {
        vec![
            (
                "proxy-name-poisoned",
                "resolve",
                "/addresses",
                json!(["127.0.0.2"]),
                What::Addresses,
                "",
                "127.0.0.2",
            ),
            (
                "ok",
                "hello",
                "/client",
                json!("95.24.10.8:1"),
                What::PublicAddress,
                "",
                "95.24.10.8",
            ),
            ("ok", "hello", "/version", json!("9.9.9"), What::ProxyVersion, "", "sami-proxy 9.9.9"),
            ("ok", "ttl-ladder", "/answers_from", json!(13), What::Distance, "", "13"),
            (
                "behind-nat",
                "public-address",
                "/public",
                json!(["81.85.76.98"]),
                What::ServerAddresses,
                "",
                "81.85.76.98",
            ),
            (
                "vpn-captures-route",
                "adapters",
                "/adapters/1/gateways",
                json!(["192.168.7.1"]),
                What::Gateways,
                "",
                "192.168.7.1",
            ),
            (
                "vpn-captures-route",
                "adapters",
                "/adapters/1/name_servers",
                json!(["9.9.9.9"]),
                What::NameServers,
                "",
                "9.9.9.9",
            ),
            (
                "vpn-captures-route",
                "adapters",
                "/adapters/1/mtu",
                json!(1280),
                What::Mtu,
                "Happ",
                "1280",
            ),
            (
                "system-proxy-differs",
                "system-proxy",
                "/settings/0/bypass",
                json!(["*.ru"]),
                What::SystemProxy,
                "",
                "(*.ru)",
            ),
            (
                "system-proxy-differs",
                "hosts-file",
                "/lines",
                json!([{ "number": 1, "address": "10.0.0.1", "name": "x" }]),
                What::HostsFile,
                "",
                "10.0.0.1 x",
            ),
            (
                "tls-intercepted",
                "through-proxy",
                "/trips/0/certificate/issuer",
                json!("Other CA"),
                What::CertificateIssuer,
                "",
                "Other CA",
            ),
            (
                "container-mtu",
                "container",
                "/containers/0/id",
                json!("000000000000"),
                What::Container,
                "",
                "000000000000",
            ),
            (
                "container-mtu",
                "container",
                "/containers/0/image/name",
                json!("other:2"),
                What::Image,
                "",
                "other:2",
            ),
            (
                "container-mtu",
                "container",
                "/containers/0/ports",
                json!([{ "port": 8081, "inside": 8080 }]),
                What::PublishedPorts,
                "",
                "0.0.0.0:8081->8080",
            ),
            (
                "container-mtu",
                "docker-engine",
                "/version",
                json!("29.0.1"),
                What::DockerVersion,
                "",
                "29.0.1",
            ),
            ("container-mtu", "container-egress", "/mtu", json!(1400), What::Mtu, "", "1400"),
            (
                "target-rate-limited",
                "llm",
                "/trips",
                json!([]),
                What::Provider,
                "Anthropic",
                "untold",
            ),
            (
                "target-region-blocked",
                "through-proxy",
                "/trips",
                json!([]),
                What::Reached,
                "",
                "untold",
            ),
        ]
    }

    #[test]
    fn what_matters_is_seen() {
        for (name, check, place, value, what, subject, after) in table() {
            let old = case(name);
            let mut new = old.clone();
            let found = data(&mut new, check);
            let (parent, key) = place.rsplit_once('/').unwrap();
            let parent = if parent.is_empty() { found } else { found.pointer_mut(parent).unwrap() };
            parent.as_object_mut().unwrap().insert(key.to_owned(), value);
            assert_ne!(old, new, "{name} {place}");
            let seen = changes(&evidence(&old), &evidence(&new));
            let it = seen.iter().find(|it| it.what == what && it.subject.contains(subject));
            let it = it.unwrap_or_else(|| panic!("{name} {place}: {seen:?}"));
            let told = it.after.as_deref().unwrap_or_default();
            assert!(told.contains(after), "{name} {place}: {it:?}");
            // And back it is the reverse.
            let back = changes(&evidence(&new), &evidence(&old));
            assert!(
                back.iter().any(|other| other.what == what && other.before == it.after),
                "{back:?}"
            );
        }
    }

    #[test]
    fn nothing_changes_in_the_same_and_other_cases_differ() {
        let all =
            std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases")).unwrap();
        let ok = evidence(&case("ok"));
        for name in all.map(|it| it.unwrap().file_name().into_string().unwrap()) {
            let it = evidence(&case(&name));
            assert_eq!(changes(&it, &it), [], "{name}");
            let other = changes(&ok, &it);
            let same = crate::diag::diagnosis::diagnose(&it)
                .verdict
                .is_some_and(|it| it.code.word() == "ok");
            assert_eq!(same, !other.iter().any(|it| it.what == What::Verdict), "{name}");
        }
    }

    #[test]
    fn rules_come_and_go_one_by_one() {
        let old = case("docker-user-drop");
        let mut new = old.clone();
        let chains = &mut data(&mut new, "packet-filter")["tables"][0]["chains"];
        let rules = chains[1]["rules"].as_array_mut().unwrap();
        let last = rules.pop().unwrap();
        rules.push(json!({ "number": 99, "text": "-A FORWARD -j DROP", "verdict": "drop" }));
        let seen = changes(&evidence(&old), &evidence(&new));
        let rules: Vec<&Change> = seen.iter().filter(|it| it.what == What::FirewallRules).collect();
        let [gone, come] = rules.as_slice() else { panic!("{seen:?}") };
        assert!(
            gone.before.as_ref().unwrap().ends_with(last["text"].as_str().unwrap())
                && gone.after.is_none()
        );
        assert!(
            come.after.as_ref().unwrap().ends_with("-A FORWARD -j DROP") && come.before.is_none()
        );
        // All of them: some are named, and then how many there were and are.
        data(&mut new, "packet-filter")["tables"] = json!([]);
        let seen = changes(&evidence(&old), &evidence(&new));
        let count = seen.iter().filter(|it| it.what == What::FirewallRules).count();
        assert_eq!(count, MOST_VALUES + 1, "{seen:?}");
        assert!(seen.iter().any(|it| it.what == What::Dnat && it.after.is_none()), "{seen:?}");
        // Who could not read them has not seen that they are gone.
        data(&mut new, "packet-filter")["read"][0]["outcome"] = json!("forbidden");
        let seen = changes(&evidence(&old), &evidence(&new));
        assert!(
            !seen.iter().any(|it| [What::FirewallRules, What::Dnat].contains(&it.what)),
            "{seen:?}"
        );
    }

    #[test]
    fn a_time_is_another_one_only_when_it_differs_much() {
        let old = case("ok");
        for (us, expected) in [(30_000, false), (45_000, false), (300_000, true)] {
            let mut new = old.clone();
            for it in data(&mut new, "tcp-connect")["attempts"].as_array_mut().unwrap() {
                it["elapsed_us"] = json!(us);
            }
            let seen = changes(&evidence(&old), &evidence(&new));
            let told = seen.iter().any(|it| it.what == What::Timing && it.subject == "connect");
            assert_eq!(told, expected, "{us}: {seen:?}");
        }
    }

    #[test]
    fn of_the_server_is_told_what_can_only_be_its_own() {
        let joined = |server: &str| {
            let mut all = evidence(&case("port-refused"));
            let heard = Heard::Evidence(Box::new(evidence(&case(server))));
            all.server = Some(Box::new(Server::new(By::Ssh, heard)));
            all
        };
        let (old, new) = (joined("port-published-loopback-only"), joined("port-not-published"));
        let found = changes(&old, &new);
        let of = |what| found.iter().filter(|it| it.what == what).count();
        assert_eq!(of(What::PublishedPorts), 1, "{found:?}");
        assert_eq!(of(What::Verdict), 1, "{found:?}");
        assert_eq!(of(What::Target) + of(What::Mtu), 0, "{found:?}");
        assert!(changes(&old, &old).is_empty());
        let unseen = evidence(&case("port-refused"));
        let verdicts = [What::Verdict, What::Warnings];
        assert!(changes(&unseen, &new).iter().all(|it| verdicts.contains(&it.what)));
    }
}
