use std::net::{IpAddr, SocketAddr};

use proptest::prelude::*;

use super::{Confidence, RULES, infer};
use crate::diag::code::Code;
use crate::diag::diagnosis::{State, diagnose};
use crate::diag::evidence::{Asked, Evidence, Family, Subject};
use crate::diag::fact::{
    Addresses, Attempt, CheckId, Connects, Control, Data, Exchange, Fact, Hello, Ladder,
    NameFailure, Outcome, Reference, Route, Skip, Speaks, Status,
};

const HOST: &str = "81.85.76.160";
const MS: u64 = 1000;

fn attempt(address: &str, outcome: Outcome, elapsed_us: u64) -> Attempt {
    Attempt { address: address.parse().unwrap(), outcome, os_error: None, elapsed_us, ttl: None }
}

fn about(host: &str) -> Evidence {
    Evidence::new(Subject { host: host.into(), port: 8080, family: Family::Any }, Asked::default())
}

impl Evidence {
    fn and(mut self, check: CheckId, data: Data) -> Self {
        let reference = Reference::number(self.facts.len() + 1);
        let subject = String::new();
        let status = Status::Worked;
        self.facts.push(Fact { reference, check, subject, status, data: Some(data), took_ms: 1 });
        self
    }

    fn route(self, source: Option<&str>, others: Option<bool>) -> Self {
        let to = HOST.parse().unwrap();
        let source = source.map(|it| it.parse().unwrap());
        let failure = source.is_none().then_some(Outcome::NetworkUnreachable);
        self.and(CheckId::Route, Data::Route(Route { to, source, failure, os_error: None, others }))
    }

    /// Three attempts that came to `outcome`.
    fn port(self, outcome: Outcome, elapsed_us: u64) -> Self {
        let one = attempt("81.85.76.160:8080", outcome, elapsed_us);
        self.and(CheckId::TcpConnect, Data::Connects(Connects { attempts: vec![one; 3] }))
    }

    fn with_siblings(self, outcomes: &[(u16, Outcome, u64)]) -> Self {
        let attempts = outcomes
            .iter()
            .map(|(port, outcome, us)| attempt(&format!("{HOST}:{port}"), *outcome, *us))
            .collect();
        self.and(CheckId::SiblingPorts, Data::Connects(Connects { attempts }))
    }

    fn with_hello(self, speaks: Speaks, nonce_returned: Option<bool>) -> Self {
        let exchanges = Vec::<Exchange>::new();
        let (name, version, client) = (None, None, None);
        let speaks = Some(speaks);
        let hello =
            Hello { speaks, name, version, client, nonce_returned, exchanges, ..Hello::default() };
        self.and(CheckId::Hello, Data::Hello(hello))
    }

    fn with_control(self, outcome: Outcome) -> Self {
        let attempt = attempt("192.0.2.77:8080", outcome, 800 * MS);
        self.and(CheckId::ControlAddress, Data::Control(Control { attempt }))
    }

    fn name(self, failure: NameFailure, elapsed_us: u64) -> Self {
        let failure = Some(failure);
        let found = Addresses { addresses: Vec::new(), failure, os_error: None, elapsed_us };
        self.and(CheckId::Resolve, Data::Addresses(found))
    }
}

fn comes_to(evidence: &Evidence, code: Code, confidence: Confidence) {
    let diagnosis = diagnose(evidence);
    let verdict = diagnosis.verdict.unwrap_or_else(|| panic!("no verdict: {evidence:?}"));
    assert_eq!((verdict.code, verdict.confidence), (code, confidence), "{evidence:#?}");
}

#[test]
fn what_answers_on_an_open_port_is_named() {
    use Confidence::{Certain, Likely, Possible};
    let open = || about(HOST).route(Some("10.0.0.1"), Some(true)).port(Outcome::Open, 30 * MS);
    let real = || open().with_control(Outcome::Silent);
    comes_to(&real().with_hello(Speaks::SamiProxy, Some(true)), Code::Ok, Certain);
    comes_to(&real().with_hello(Speaks::SamiProxy, None), Code::Ok, Likely);
    comes_to(&real().with_hello(Speaks::HttpProxy, None), Code::Ok, Likely);
    comes_to(&open(), Code::Ok, Possible);
    comes_to(&real().with_hello(Speaks::Ssh, None), Code::NotAProxy, Certain);
    comes_to(&open().with_hello(Speaks::Ssh, None), Code::NotAProxy, Likely);
    comes_to(&real().with_hello(Speaks::WebServer, None), Code::NotAProxy, Certain);
    comes_to(&real().with_hello(Speaks::Socks, None), Code::Ok, Likely);
    comes_to(&real().with_hello(Speaks::Tls, None), Code::TlsRequired, Likely);
    comes_to(&real().with_hello(Speaks::Nothing, None), Code::SilentPeer, Likely);
    comes_to(&real().with_hello(Speaks::Closes, None), Code::AcceptedThenClosed, Likely);
}

#[test]
fn a_box_that_accepts_everything_is_not_taken_for_the_host() {
    let open = || about(HOST).port(Outcome::Open, 2 * MS).with_control(Outcome::Open);
    for speaks in [Speaks::Nothing, Speaks::WebServer, Speaks::Closes, Speaks::HttpProxy] {
        comes_to(&open().with_hello(speaks, None), Code::CaptivePortal, Confidence::Likely);
    }
    // Whoever returns our nonce was reached.
    comes_to(&open().with_hello(Speaks::SamiProxy, Some(true)), Code::Ok, Confidence::Certain);
}

#[test]
fn silence_is_the_ports_or_the_hosts() {
    let silent =
        || about(HOST).route(Some("10.0.0.1"), Some(true)).port(Outcome::Silent, 3000 * MS);
    let ssh = [(22, Outcome::Open, 30 * MS), (443, Outcome::Silent, 3000 * MS)];
    comes_to(&silent().with_siblings(&ssh), Code::PortFiltered, Confidence::Likely);
    let refused = [(80, Outcome::Refused, 30 * MS)];
    comes_to(&silent().with_siblings(&refused), Code::PortFiltered, Confidence::Likely);
    let none = [(22, Outcome::Silent, 3000 * MS), (443, Outcome::Silent, 3000 * MS)];
    comes_to(&silent().with_siblings(&none), Code::HostSilent, Confidence::Likely);
    comes_to(&silent(), Code::HostSilent, Confidence::Possible);
}

#[test]
fn a_no_is_the_hosts_a_routers_or_our_own() {
    use Confidence::{Certain, Likely, Possible};
    let port = |outcome, us| about(HOST).route(Some("10.0.0.1"), Some(true)).port(outcome, us);
    let open = [(22, Outcome::Open, 30 * MS)];
    let none = [(22, Outcome::HostUnreachable, 3100 * MS)];
    comes_to(&port(Outcome::Refused, 30 * MS).with_siblings(&open), Code::PortRefused, Likely);
    comes_to(&port(Outcome::Refused, 100).with_siblings(&open), Code::LocalFirewall, Likely);
    comes_to(&port(Outcome::Forbidden, 100), Code::LocalFirewall, Certain);
    comes_to(
        &port(Outcome::HostUnreachable, 30 * MS).with_siblings(&open),
        Code::PortRejected,
        Certain,
    );
    comes_to(&port(Outcome::HostUnreachable, 30 * MS), Code::HostUnreachable, Possible);
    comes_to(
        &port(Outcome::HostUnreachable, 3100 * MS).with_siblings(&none),
        Code::HostUnreachable,
        Likely,
    );
    comes_to(
        &port(Outcome::HostUnreachable, 4100 * MS).with_siblings(&open),
        Code::PortRejected,
        Possible,
    );
    comes_to(&port(Outcome::ProtocolUnreachable, 30 * MS), Code::PortRejected, Likely);
    comes_to(
        &port(Outcome::NetworkUnreachable, 30 * MS).with_siblings(&open),
        Code::PortRejected,
        Certain,
    );
}

#[test]
fn a_machine_without_a_way_is_told_from_a_silent_world() {
    use Confidence::{Certain, Likely};
    let none = |others| about(HOST).route(None, others).port(Outcome::NetworkUnreachable, 50);
    comes_to(&none(Some(false)), Code::NoNetwork, Certain);
    comes_to(&none(Some(true)), Code::NoRoute, Certain);
    comes_to(&none(None), Code::NoRoute, Likely);
    // Names can't be found without a network: that is a symptom.
    let name = about("proxy.example").route(None, Some(false));
    comes_to(&name.name(NameFailure::TryAgain, 200), Code::NoNetwork, Certain);
}

#[test]
fn a_name_that_is_not_there_is_told_from_a_server_that_is_not() {
    use Confidence::{Likely, Possible};
    let name =
        |failure, us| about("proxy.example").name(failure, us).route(Some("10.0.0.1"), Some(true));
    comes_to(&name(NameFailure::NoSuchName, 20 * MS), Code::ProxyNameNotFound, Likely);
    comes_to(&name(NameFailure::NoAddress, 20 * MS), Code::ProxyNameNotFound, Likely);
    comes_to(&name(NameFailure::Silent, 6000 * MS), Code::DnsServerUnreachable, Likely);
    comes_to(&name(NameFailure::TryAgain, 5000 * MS), Code::DnsServerUnreachable, Likely);
    comes_to(&name(NameFailure::TryAgain, 5 * MS), Code::DnsServerFailing, Possible);
    comes_to(&name(NameFailure::Failed, 5 * MS), Code::DnsServerFailing, Likely);
}

#[test]
fn ipv6_that_does_not_work_is_a_warning() {
    let both = Connects {
        attempts: vec![
            attempt("81.85.76.160:8080", Outcome::Open, 30 * MS),
            attempt("[2001:db8::1]:8080", Outcome::Silent, 3000 * MS),
        ],
    };
    let evidence = about("proxy.example").and(CheckId::TcpConnect, Data::Connects(both));
    let diagnosis = diagnose(&evidence.with_hello(Speaks::SamiProxy, Some(true)));
    assert_eq!(diagnosis.state, State::Degraded);
    assert_eq!(diagnosis.warnings[0].code, Code::Ipv6Broken);
}

#[test]
fn what_was_cut_short_is_not_judged() {
    assert_eq!(diagnose(&about(HOST)).state, State::Inconclusive);
    let cut = about(HOST).route(Some("10.0.0.1"), Some(true)).port(Outcome::Unfinished, 100 * MS);
    assert_eq!(diagnose(&cut).state, State::Inconclusive);
}

fn any_outcome() -> impl Strategy<Value = Outcome> {
    prop::sample::select(vec![
        Outcome::Open,
        Outcome::Refused,
        Outcome::Silent,
        Outcome::HostUnreachable,
        Outcome::NetworkUnreachable,
        Outcome::ProtocolUnreachable,
        Outcome::Forbidden,
        Outcome::NoSource,
        Outcome::Reset,
        Outcome::OwnLimits,
        Outcome::Other,
        Outcome::Unfinished,
    ])
}

fn any_ip() -> impl Strategy<Value = IpAddr> {
    let texts = [HOST, "127.0.0.1", "10.0.0.1", "2001:db8::1", "::1"];
    prop::sample::select(texts.map(|text| text.parse::<IpAddr>().unwrap()).to_vec())
}

fn any_attempt() -> impl Strategy<Value = Attempt> {
    (any_ip(), any::<u16>(), any_outcome(), any::<u64>(), any::<Option<i32>>()).prop_map(
        |(ip, port, outcome, elapsed_us, os_error)| Attempt {
            address: SocketAddr::new(ip, port),
            outcome,
            os_error,
            elapsed_us,
            ttl: None,
        },
    )
}

fn any_data() -> impl Strategy<Value = (CheckId, Data)> {
    let attempts = || prop::collection::vec(any_attempt(), 0..5);
    let failures = prop::sample::select(vec![
        None,
        Some(NameFailure::NoSuchName),
        Some(NameFailure::TryAgain),
        Some(NameFailure::Silent),
        Some(NameFailure::Failed),
        Some(NameFailure::Other),
    ]);
    let speaks = prop::sample::select(vec![
        None,
        Some(Speaks::SamiProxy),
        Some(Speaks::HttpProxy),
        Some(Speaks::WebServer),
        Some(Speaks::Tls),
        Some(Speaks::Nothing),
        Some(Speaks::Closes),
    ]);
    prop_oneof![
        (prop::collection::vec(any_ip(), 0..4), failures, any::<u64>()).prop_map(
            |(addresses, failure, elapsed_us)| {
                let found = Addresses { addresses, failure, os_error: None, elapsed_us };
                (CheckId::Resolve, Data::Addresses(found))
            }
        ),
        (any_ip(), prop::option::of(any_ip()), any::<Option<bool>>()).prop_map(
            |(to, source, others)| {
                let route = Route { to, source, failure: None, os_error: None, others };
                (CheckId::Route, Data::Route(route))
            }
        ),
        attempts()
            .prop_map(|attempts| (CheckId::TcpConnect, Data::Connects(Connects { attempts }))),
        attempts()
            .prop_map(|attempts| (CheckId::SiblingPorts, Data::Connects(Connects { attempts }))),
        (any::<Option<u8>>(), attempts()).prop_map(|(answers_from, attempts)| {
            let (silent_up_to, behind_server) = (None, None);
            let ladder = Ladder { answers_from, silent_up_to, behind_server, attempts };
            (CheckId::TtlLadder, Data::Ladder(ladder))
        }),
        any_attempt()
            .prop_map(|attempt| (CheckId::ControlAddress, Data::Control(Control { attempt }))),
        (speaks, any::<Option<bool>>(), any::<Option<String>>()).prop_map(
            |(speaks, nonce_returned, name)| {
                let (version, client, exchanges) = (None, None, Vec::new());
                let hello = Hello {
                    speaks,
                    name,
                    version,
                    client,
                    nonce_returned,
                    exchanges,
                    ..Hello::default()
                };
                (CheckId::Hello, Data::Hello(hello))
            }
        ),
    ]
}

fn any_evidence() -> impl Strategy<Value = Evidence> {
    let hosts = prop::sample::select(vec![HOST, "127.0.0.1", "::1", "proxy.example", ""]);
    let facts = prop::collection::vec((any_data(), any::<bool>()), 0..10);
    (hosts, facts).prop_map(|(host, facts)| {
        let mut evidence = about(host);
        for ((check, data), skipped) in facts {
            evidence = evidence.and(check, data);
            if let Some(fact) = evidence.facts.last_mut().filter(|_| skipped) {
                fact.status = Status::Skipped(Skip::OutOfTime);
            }
        }
        evidence
    })
}

proptest! {
    #[test]
    fn the_order_of_facts_never_matters(evidence in any_evidence(), turn in 0..10_usize) {
        let mut other = evidence.clone();
        other.facts.reverse();
        let middle = turn.min(other.facts.len());
        other.facts.rotate_left(middle);
        prop_assert_eq!(diagnose(&evidence), diagnose(&other));
    }

    #[test]
    fn every_suspect_has_a_reason_that_is_there(evidence in any_evidence()) {
        for (code, rule) in RULES {
            let Some(suspect) = rule(&evidence) else { continue };
            prop_assert_eq!(suspect.code, *code);
            prop_assert!(!suspect.because.is_empty(), "{}", code.word());
            for reference in &suspect.because {
                prop_assert!(evidence.facts.iter().any(|fact| fact.reference == *reference));
            }
            let sure = suspect.confidence == Confidence::Certain;
            prop_assert!(!sure || suspect.look_alikes.is_empty(), "{}", code.word());
            prop_assert!(suspect.look_alikes.iter().all(|it| it.code != *code));
        }
        prop_assert!(infer(&evidence).len() <= RULES.len());
    }

    #[test]
    fn evidence_replays_exactly(evidence in any_evidence()) {
        let text = serde_json::to_string(&evidence).unwrap();
        let again: Evidence = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(evidence, again);
    }
}

/// What another name server says: its addresses, or why not.
fn says(evidence: Evidence, addresses: &[&str], failure: Option<NameFailure>) -> Evidence {
    let addresses = addresses.iter().map(|it| it.parse().unwrap()).collect();
    let found = Addresses { addresses, failure, os_error: None, elapsed_us: MS };
    evidence.and(CheckId::OtherResolver, Data::Addresses(found))
}

#[test]
fn another_name_server_decides_who_is_wrong() {
    use NameFailure::{Failed, NoSuchName, Silent};
    let proxy = "proxy.example.org";
    let denied = || about(proxy).name(NoSuchName, MS);
    let nobody_there = |address: &str| {
        let addresses = vec![address.parse().unwrap()];
        let found = Addresses { addresses, failure: None, os_error: None, elapsed_us: MS };
        let one = attempt(&format!("{address}:8080"), Outcome::Silent, 3000 * MS);
        about(proxy)
            .and(CheckId::Resolve, Data::Addresses(found))
            .and(CheckId::TcpConnect, Data::Connects(Connects { attempts: vec![one; 3] }))
    };
    let (found, failing) = (Code::ProxyNameNotFound, Code::DnsServerFailing);
    comes_to(&denied(), found, Confidence::Likely);
    comes_to(&says(denied(), &[], Some(Silent)), found, Confidence::Likely);
    comes_to(&says(denied(), &[], Some(NoSuchName)), found, Confidence::Certain);
    comes_to(&says(denied(), &[HOST], None), failing, Confidence::Certain);
    let one_each = says(says(denied(), &[HOST], None), &[], Some(NoSuchName));
    comes_to(&one_each, failing, Confidence::Certain);
    let silent = about(proxy).name(Silent, 6000 * MS);
    comes_to(&says(silent, &[HOST], None), Code::DnsServerUnreachable, Confidence::Certain);
    let failed = about(proxy).name(Failed, MS);
    comes_to(&says(failed, &[HOST], None), failing, Confidence::Certain);

    let (poisoned, zero) = (Code::ProxyNamePoisoned, "0.0.0.0");
    comes_to(&says(nobody_there(zero), &[HOST], None), poisoned, Confidence::Certain);
    // That of an office for those inside, or one of many.
    comes_to(&says(nobody_there("10.1.2.3"), &[HOST], None), poisoned, Confidence::Likely);
    comes_to(&says(nobody_there("81.85.76.161"), &[HOST], None), poisoned, Confidence::Likely);
    let agreed = diagnose(&says(nobody_there(HOST), &["81.85.76.161", HOST], None));
    assert!(agreed.verdict.is_none_or(|it| it.code != poisoned));
    let untold = diagnose(&says(nobody_there(HOST), &[], Some(NoSuchName)));
    assert!(untold.verdict.is_none_or(|it| it.code != poisoned));
    let served = nobody_there("81.85.76.161").port(Outcome::Open, MS);
    let served = says(served.with_hello(Speaks::HttpProxy, None), &[HOST], None);
    assert!(diagnose(&served).verdict.is_none_or(|it| it.code != poisoned));
}
