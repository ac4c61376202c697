//! What a client and its server have seen, put together: recorded evidence of each end, joined.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "test code"
)]

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use common::schema;
use sami_proxy::diag::code::Code;
use sami_proxy::diag::diagnosis::{Diagnosis, State, diagnose};
use sami_proxy::diag::evidence::{Asked, Command, Evidence, Role};
use sami_proxy::diag::fact::{
    Blind, CheckId, Data, Fact, Knocks, OwnAddresses, Provider, Reference, Status, Witness,
};
use sami_proxy::diag::fix::fixes_of;
use sami_proxy::diag::infer::Confidence;
use sami_proxy::diag::report::Report;
use sami_proxy::diag::saved;
use sami_proxy::diag::server::{By, Digest, Finding, Heard, Knocking, Server, Silence};
use sami_proxy::render::human::{self, Detail};
use sami_proxy::render::json;
use sami_proxy::render::look::Look;
use sami_proxy::render::words::{ARGUMENTS, Lang, Words};

fn case(name: &str) -> Evidence {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let text = fs::read_to_string(folder.join(name).join("evidence.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// The client's case with what the server of the other case has seen.
fn joined(client: &str, by: By, server: &str) -> Evidence {
    let mut all = case(client);
    all.server = Some(Box::new(Server::new(by, Heard::Evidence(Box::new(case(server))))));
    all
}

#[test]
fn both_ends_are_told_and_saved() {
    let evidence = joined("port-refused", By::Ssh, "container-stopped");
    let report = Report::new(evidence.clone());
    for lang in Lang::ALL {
        let words = Words::new(lang);
        let document = json::document(&report, "doctor", &words);
        schema::check(&schema::of_reports(), &document).unwrap();
        assert_eq!(saved::all(&document).unwrap(), std::slice::from_ref(&evidence));
        let checks = document["checks"].as_array().unwrap();
        let references: BTreeSet<&str> =
            checks.iter().map(|check| check["ref"].as_str().unwrap()).collect();
        assert_eq!(references.len(), checks.len(), "each has a name of its own");
        assert!(references.contains("c1") && references.contains("s1"));
        let text = human::text(&report, Detail::Full, &words, Look::PLAIN);
        for reference in references {
            assert!(text.contains(&format!("  {reference} ")), "{reference}: {text}");
        }
    }
}

/// The address that the clients of the cases test.
const TESTED: &str = "81.85.76.160";
/// From where the client's packets come to the server.
const CLIENT: &str = "203.0.113.7";
const STRANGER: &str = "198.51.100.9";

/// What the server of a case has seen, without what a client would have.
fn server(name: &str) -> Evidence {
    let mut all = case(name);
    all.asked = Asked { command: Command::Doctor, role: Role::Host, ..Asked::default() };
    let of_client = [CheckId::TcpConnect, CheckId::SiblingPorts, CheckId::Witness];
    all.facts.retain(|fact| !of_client.contains(&fact.check));
    all
}

fn and(mut all: Evidence, check: CheckId, data: Data) -> Evidence {
    all.facts.retain(|fact| fact.check != check);
    let (reference, subject) = (Reference::number(all.facts.len() + 1), String::new());
    let status = Status::Worked;
    all.facts.push(Fact { reference, check, subject, status, data: Some(data), took_ms: 1 });
    all
}

/// Source, SYNs, SYN-ACKs, RSTs.
type Seen<'a> = &'a [(&'a str, u64, u64, u64)];

fn witness(seen: Seen<'_>) -> Witness {
    let knock = |&(source, syns, answers, resets): &(&str, u64, u64, u64)| Knocks {
        source: source.parse().unwrap(),
        syns,
        answers,
        resets,
    };
    let knocks: Vec<Knocks> = seen.iter().map(knock).collect();
    Witness { ms: 15_000, blind: None, total: knocks.iter().map(|it| it.syns).sum(), knocks }
}

fn witnessed(all: Evidence, seen: Seen<'_>) -> Evidence {
    and(all, CheckId::Witness, Data::Witness(witness(seen)))
}

/// The one who asks comes from [`CLIENT`].
fn visited(mut all: Evidence) -> Evidence {
    for fact in &mut all.facts {
        if let Some(Data::PacketFilter(filter)) = &mut fact.data {
            filter.visitor = Some(CLIENT.parse().unwrap());
        }
    }
    all
}

/// By ssh to `host`, while the client knocked every two seconds.
fn by_ssh(client: &str, server: Evidence, host: &str) -> Evidence {
    let mut all = case(client);
    let knocking = Knocking { at_ms: (0..9).map(|it| it * 2000).collect(), took_ms: 18_000 };
    let heard = Heard::Evidence(Box::new(server));
    let server = Server::new(By::Ssh, heard);
    all.server =
        Some(Box::new(Server { host: Some(host.into()), knocking: Some(knocking), ..server }));
    all
}

fn told(evidence: &Evidence) -> Diagnosis {
    let diagnosis = diagnose(evidence);
    // Whatever it is, it can be told in both languages and has the form of the schema.
    let report = Report::new(evidence.clone());
    for lang in Lang::ALL {
        let words = Words::new(lang);
        let document = json::document(&report, "doctor", &words);
        schema::check(&schema::of_reports(), &document).unwrap();
        let text = human::text(&report, Detail::Full, &words, Look::PLAIN);
        assert!(!text.contains("{$"), "{text}");
        for name in ARGUMENTS {
            let missing = words.text(&format!("argument-{name}"), &[]);
            assert!(!text.contains(&missing), "an argument is missing: {text}");
        }
    }
    diagnosis
}

fn verdict(diagnosis: &Diagnosis) -> Option<(Code, Confidence)> {
    diagnosis.verdict.as_ref().map(|it| (it.code, it.confidence))
}

fn others(diagnosis: &Diagnosis) -> Vec<Code> {
    diagnosis.alternatives.iter().map(|it| it.code).collect()
}

use Confidence::{Certain, Likely, Possible};

/// Nothing in the server's rules stops anybody.
const OPEN: &str = "cloud-firewall-suspected";
const DROPS: &str = "host-firewall-drop";

#[test]
fn who_drops_the_packets_is_told_by_whether_they_arrive() {
    let ours: Seen<'_> = &[(CLIENT, 5, 0, 0)];
    let cases: &[(&str, &str, Seen<'_>, Code, Confidence)] = &[
        // Nobody's arrive: the hosting. Also when not even the host answers.
        ("port-filtered", OPEN, &[], Code::CloudFirewallSuspected, Likely),
        ("host-silent", OPEN, &[], Code::CloudFirewallSuspected, Likely),
        // They arrive, and a rule that is known drops them.
        ("port-filtered", DROPS, ours, Code::HostFirewallDrop, Certain),
        ("port-filtered", "docker-user-drop", ours, Code::DockerUserDrop, Certain),
        // They arrive, and every rule lets them through: something drops them all the same.
        ("port-filtered", OPEN, ours, Code::PortFiltered, Likely),
        // They are answered: the way back.
        ("port-filtered", OPEN, &[(CLIENT, 5, 5, 0)], Code::AnswersLost, Likely),
        ("port-filtered", OPEN, &[(CLIENT, 5, 0, 5)], Code::AnswersLost, Likely),
        // Strangers arrive, we do not: no firewall for everybody.
        ("port-filtered", OPEN, &[(STRANGER, 3, 3, 0)], Code::PortFiltered, Likely),
    ];
    for (client, server_case, seen, code, sure) in cases {
        let server = visited(witnessed(server(server_case), seen));
        let diagnosis = told(&by_ssh(client, server, TESTED));
        assert_eq!(verdict(&diagnosis), Some((*code, *sure)), "{client} {server_case} {seen:?}");
        assert_eq!(diagnosis.state, State::Broken);
        let rest = others(&diagnosis);
        assert!(!rest.contains(&Code::CloudFirewallSuspected), "{rest:?}");
    }
}

#[test]
fn a_provider_that_is_known_is_named() {
    let own = OwnAddresses { provider: Some(Provider::Hetzner), ..OwnAddresses::default() };
    let server = and(server(OPEN), CheckId::PublicAddress, Data::OwnAddresses(own));
    let diagnosis = told(&by_ssh("port-filtered", witnessed(server, &[]), TESTED));
    let verdict = diagnosis.verdict.unwrap();
    assert_eq!(verdict.arguments["provider"], "Hetzner");
    let fixes = fixes_of(&verdict, &case("port-filtered").subject);
    assert_eq!(fixes[0].text, "fix-open-the-port-there");
    assert!(verdict.because.contains(&Reference("s5".into())), "{:?}", verdict.because);
}

#[test]
fn nobody_is_blamed_when_nobody_knocked_or_nobody_watched() {
    let silent = || witnessed(server(OPEN), &[]);
    let mut early = by_ssh("port-filtered", silent(), TESTED);
    let of = |all: &mut Evidence, at_ms: Vec<u64>| {
        let server = all.server.as_mut().unwrap();
        server.knocking = Some(Knocking { at_ms, took_ms: 18_000 });
    };
    // The server watched for 15 of 18 seconds: surely from the third to the fifteenth.
    of(&mut early, vec![0, 1000, 2999, 15_000, 17_000]);
    assert_eq!(verdict(&told(&early)), Some((Code::PortFiltered, Likely)));
    of(&mut early, vec![3000]);
    let once = told(&early);
    assert_eq!(verdict(&once), Some((Code::PortFiltered, Likely)));
    assert!(others(&once).contains(&Code::CloudFirewallSuspected));
    of(&mut early, vec![3000, 14_999]);
    assert_eq!(verdict(&told(&early)), Some((Code::CloudFirewallSuspected, Likely)));
    let blind = Witness { blind: Some(Blind::NoPermission), ..witness(&[]) };
    let blind = and(server(OPEN), CheckId::Witness, Data::Witness(blind));
    let diagnosis = told(&by_ssh("port-filtered", blind, TESTED));
    assert_eq!(verdict(&diagnosis), Some((Code::PortFiltered, Likely)));
}

#[test]
fn the_cause_on_the_server_explains_what_the_client_sees() {
    for (client, cause, code) in [
        ("port-refused", "container-stopped", Code::ContainerStopped),
        ("port-refused", "container-missing", Code::ContainerMissing),
        ("port-refused", "port-not-published", Code::PortNotPublished),
        ("port-refused", "port-published-loopback-only", Code::PortPublishedLoopbackOnly),
        ("port-refused", "listener-loopback-only", Code::ListenerLoopbackOnly),
        ("port-refused", "docker-not-running", Code::DockerNotRunning),
        ("silent-peer", "container-paused", Code::ContainerPaused),
        ("port-filtered", "host-firewall-drop", Code::HostFirewallDrop),
        ("port-filtered", "docker-user-drop", Code::DockerUserDrop),
        ("proxy-dns-broken", "container-dns-broken", Code::ContainerDnsBroken),
    ] {
        let diagnosis = told(&by_ssh(client, server(cause), TESTED));
        let found = diagnosis.verdict.as_ref().unwrap();
        assert_eq!(found.code, code, "{client} {cause}");
        let symptom = Code::find(client).unwrap();
        assert!(!others(&diagnosis).contains(&symptom), "{client}: {:?}", others(&diagnosis));
        assert!(found.because.iter().all(|it| it.0.starts_with('s')), "{:?}", found.because);
    }
    // A port that is silent is not explained by a container that is not there.
    let diagnosis = told(&by_ssh("port-filtered", server("container-stopped"), TESTED));
    let all = (verdict(&diagnosis).unwrap().0, others(&diagnosis));
    assert!(all.0 == Code::ContainerStopped && all.1.contains(&Code::PortFiltered), "{all:?}");
}

#[test]
fn a_client_that_gets_through_is_not_told_that_it_can_not() {
    for cause in ["container-stopped", DROPS, "port-not-published", "docker-no-permission"] {
        let diagnosis = told(&by_ssh("ok", server(cause), TESTED));
        let found = verdict(&diagnosis);
        assert_eq!(found.map(|it| it.0), Some(Code::Ok), "{cause} {diagnosis:?}");
    }
    // What comes and goes is another matter.
    let diagnosis = told(&by_ssh("ok", server("container-restarting"), TESTED));
    assert_eq!(verdict(&diagnosis).unwrap().0, Code::ContainerRestarting);
    // And nothing is well because the server is.
    for symptom in ["port-filtered", "host-silent", "port-refused", "silent-peer"] {
        let diagnosis = told(&by_ssh(symptom, server("ok"), TESTED));
        assert_ne!(verdict(&diagnosis).unwrap().0, Code::Ok, "{symptom}");
        assert_eq!(diagnosis.state, State::Broken);
    }
}

#[test]
fn who_may_not_look_at_docker_has_found_nothing() {
    let diagnosis = told(&by_ssh("port-filtered", server("docker-no-permission"), TESTED));
    assert_eq!(verdict(&diagnosis), Some((Code::PortFiltered, Likely)));
    let report = Report::new(by_ssh("port-filtered", server("docker-no-permission"), TESTED));
    assert!(report.is_kept_from_us());
}

#[test]
fn a_look_alike_that_the_other_end_excludes_is_gone() {
    let alone = told(&case("port-filtered"));
    assert!(others(&alone).contains(&Code::HostFirewallDrop));
    assert!(others(&alone).contains(&Code::LocalFirewall));
    let both = told(&by_ssh("port-filtered", visited(server(OPEN)), TESTED));
    assert!(!others(&both).contains(&Code::HostFirewallDrop), "{:?}", others(&both));
    // What arrives was not stopped here.
    let server = visited(witnessed(server(OPEN), &[(CLIENT, 5, 0, 0)]));
    let both = told(&by_ssh("port-filtered", server, TESTED));
    assert!(!others(&both).contains(&Code::LocalFirewall), "{:?}", others(&both));
}

#[test]
fn another_machine_is_said_to_be_one_and_proves_nothing() {
    let own = |public: &[&str], private: &[&str]| OwnAddresses {
        public: public.iter().map(|it| it.parse().unwrap()).collect(),
        private: private.iter().map(|it| it.parse().unwrap()).collect(),
        ..OwnAddresses::default()
    };
    let has =
        |own| and(server("container-stopped"), CheckId::PublicAddress, Data::OwnAddresses(own));
    let other = told(&by_ssh("port-refused", has(own(&["9.9.9.9"], &[])), "9.9.9.9"));
    assert_eq!(verdict(&other), Some((Code::PortRefused, Likely)));
    let warned = other.warnings.iter().find(|it| it.code == Code::PublicAddressDiffers).unwrap();
    assert_eq!(warned.arguments["other"], "9.9.9.9");
    let stopped = other.alternatives.iter().find(|it| it.code == Code::ContainerStopped).unwrap();
    assert_eq!(stopped.confidence, Possible);
    // One that has the address, one behind a translation, one that was asked by that name, and
    // the proxy itself.
    let same = has(own(&[TESTED], &[]));
    let behind = has(own(&[], &["10.0.0.5"]));
    let named = has(own(&["9.9.9.9"], &[]));
    for (server, host) in [(same, "vps"), (behind, "vps"), (named, TESTED)] {
        let diagnosis = told(&by_ssh("port-refused", server, host));
        assert_eq!(verdict(&diagnosis).unwrap().0, Code::ContainerStopped, "{host}");
        assert!(diagnosis.warnings.iter().all(|it| it.code != Code::PublicAddressDiffers));
    }
    let mut by_proxy = joined("port-refused", By::Proxy, "container-stopped");
    by_proxy.asked.command = Command::Doctor;
    assert_eq!(verdict(&told(&by_proxy)).unwrap().0, Code::ContainerStopped);
}

fn digest(findings: &[(&str, &str)], seen: Option<Seen<'_>>) -> Digest {
    let finding = |(code, sure): &(&str, &str)| Finding {
        code: (*code).to_owned(),
        confidence: (*sure).to_owned(),
        warning: false,
        arguments: vec![
            ("port".into(), "8080".into()),
            ("container".into(), "box".into()),
            ("status".into(), "1".into()),
            ("ufwport".into(), "8080".into()),
            ("nonsense".into(), "x".into()),
        ],
    };
    Digest {
        role: Role::Host,
        port: 8080,
        when: 1_800_000_000,
        version: "0.1.0".into(),
        findings: findings.iter().map(finding).collect(),
        witness: seen.map(witness),
        addresses: OwnAddresses::default(),
    }
}

fn by_token(client: &str, digest: Digest) -> Evidence {
    let mut all = case(client);
    all.asked.command = Command::Doctor;
    let server = Server::new(By::Token, Heard::Digest(Box::new(digest)));
    all.server = Some(Box::new(Server { age_s: Some(90), ..server }));
    all
}

#[test]
fn a_token_tells_what_the_server_has_found() {
    let stopped = digest(&[("container-stopped", "certain"), ("no-such-code", "certain")], None);
    let diagnosis = told(&by_token("port-refused", stopped));
    assert_eq!(verdict(&diagnosis), Some((Code::ContainerStopped, Certain)));
    let arguments = &diagnosis.verdict.as_ref().unwrap().arguments;
    assert!(arguments.contains_key("container") && !arguments.contains_key("nonsense"));
    // The witness of a token: who knocked is not known, but whoever did was not answered.
    let dropped = digest(&[("host-firewall-drop", "likely")], Some(&[(STRANGER, 4, 0, 0)]));
    let diagnosis = told(&by_token("port-filtered", dropped));
    assert_eq!(verdict(&diagnosis), Some((Code::HostFirewallDrop, Certain)));
    // Nobody knocked: perhaps because nobody tried.
    let diagnosis = told(&by_token("port-filtered", digest(&[], Some(&[]))));
    assert_eq!(verdict(&diagnosis), Some((Code::PortFiltered, Likely)));
    assert!(others(&diagnosis).contains(&Code::CloudFirewallSuspected));
}

#[test]
fn an_old_token_says_so() {
    let mut all = by_token("port-refused", digest(&[("container-stopped", "certain")], None));
    let rows = |all: &Evidence| {
        let document = json::document(&Report::new(all.clone()), "doctor", &Words::new(Lang::En));
        document["not_checked"].as_array().unwrap().len()
    };
    let young = rows(&all);
    all.server.as_mut().unwrap().age_s = Some(3601);
    assert_eq!(rows(&all), young + 1);
}

const SILENCES: [Silence; 17] = [
    Silence::NoSsh,
    Silence::NoName,
    Silence::Refused,
    Silence::TimedOut,
    Silence::KeyUnknown,
    Silence::KeyChanged,
    Silence::Denied,
    Silence::NoProgram,
    Silence::NoDocker,
    Silence::NeedsPassword,
    Silence::NotTrusted,
    Silence::NoReport,
    Silence::Unreadable,
    Silence::OtherVersion,
    Silence::OutOfTime,
    Silence::Interrupted,
    Silence::Failed,
];

#[test]
fn every_silence_is_one_line_with_what_to_do_and_the_client_is_told_all_the_same() {
    for why in SILENCES {
        let mut all = case("port-refused");
        all.asked.command = Command::Doctor;
        let server = Server::new(By::Ssh, Heard::Nothing(why));
        all.server = Some(Box::new(Server { host: Some("vps.example".into()), ..server }));
        assert_eq!(verdict(&told(&all)), verdict(&told(&case("port-refused"))));
        for lang in Lang::ALL {
            let words = Words::new(lang);
            let document = json::document(&Report::new(all.clone()), "doctor", &words);
            let rows = document["not_checked"].as_array().unwrap();
            assert_eq!(rows.len(), 1, "{why:?}: {rows:?}");
            let (reason, unlock) = (&rows[0]["why"], &rows[0]["unlock"]);
            assert!(!reason.as_str().unwrap().starts_with("silence-"), "{reason}");
            assert!(!unlock.as_str().unwrap().starts_with("unheard-"), "{unlock}");
        }
    }
}
