//! The rules of `probe`, over the cases: what looks like something else is not taken for it, and
//! nothing is more certain than the facts that are named.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "test code")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use sami_proxy::diag::code::{Code, Severity};
use sami_proxy::diag::diagnosis::{State, diagnose};
use sami_proxy::diag::evidence::Evidence;
use sami_proxy::diag::fact::{CheckId, Fact};
use sami_proxy::diag::infer::{Confidence, RULES, Rule, infer};
use serde_json::{Value, json};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_path_buf()
}

fn case(code: Code) -> Option<Evidence> {
    let file = root().join("tests/cases").join(code.word()).join("evidence.json");
    let text = fs::read_to_string(file).ok()?;
    Some(serde_json::from_str(&text).unwrap())
}

/// A cause that is seen from several places has a case of each: CODE.PLACE.
fn cases() -> Vec<(Code, Evidence)> {
    let folders = fs::read_dir(root().join("tests/cases")).unwrap();
    let mut names: Vec<String> =
        folders.map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    let read = |name: String| {
        let file = root().join("tests/cases").join(&name).join("evidence.json");
        let code = Code::find(name.split('.').next().unwrap()).unwrap();
        (code, serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap())
    };
    names.into_iter().map(read).collect()
}

/// Those of one cause: one for each place from which it is seen.
fn rules(code: Code) -> impl Iterator<Item = Rule> {
    RULES.iter().filter(move |(of, _)| *of == code).map(|(_, rule)| *rule)
}

/// What is always known: without it there is no port to speak of.
fn is_of_the_port(fact: &Fact) -> bool {
    matches!(fact.check, CheckId::Resolve | CheckId::Route | CheckId::TcpConnect)
}

/// A case with some of it changed.
fn changed(code: Code, change: impl Fn(&mut Value)) -> Evidence {
    let mut value = serde_json::to_value(case(code).unwrap()).unwrap();
    change(&mut value);
    serde_json::from_value(value).unwrap()
}

fn fact<'v>(value: &'v mut Value, check: &str) -> &'v mut Value {
    let facts = value["facts"].as_array_mut().unwrap();
    facts.iter_mut().find(|fact| fact["check"] == check).unwrap()
}

fn drop_facts(value: &mut Value, check: &str) {
    value["facts"].as_array_mut().unwrap().retain(|fact| fact["check"] != check);
}

#[test]
fn every_code_has_words_a_rule_and_a_case() {
    for code in Code::ALL {
        for lang in ["en", "ru"] {
            let file = root().join(format!("src/locales/{lang}.ftl"));
            let text = fs::read_to_string(file).unwrap();
            for id in [format!("\n{} =", code.word()), format!("\n{}-long =", code.word())] {
                assert!(text.contains(&id), "{lang}: no {id}");
            }
        }
        assert!(rules(*code).next().is_some(), "no rule for {}", code.word());
        assert!(case(*code).is_some(), "no case of {}", code.word());
    }
}

#[test]
fn no_case_is_taken_for_its_look_alike() {
    for (code, evidence) in cases() {
        let found = diagnose(&evidence);
        let named = RULES.iter().filter_map(|(_, rule)| rule(&evidence));
        // A warning stands beside a verdict.
        for suspect in named.filter(|it| it.code == code && it.severity == Severity::Problem) {
            for alike in &suspect.look_alikes {
                let verdict = found.verdict.as_ref().unwrap();
                assert_ne!(verdict.code, alike.code, "{}", code.word());
                let Some(other) = case(alike.code) else { continue };
                let mistaken = diagnose(&other).verdict.unwrap();
                assert_ne!(mistaken.code, code, "the case of {}", alike.code.word());
            }
        }
    }
}

#[test]
fn what_is_certain_is_so_by_the_facts_that_are_named() {
    for (_, evidence) in cases() {
        for (code, rule) in RULES {
            let Some(suspect) = rule(&evidence) else { continue };
            assert!(!suspect.because.is_empty(), "{}", code.word());
            if suspect.confidence != Confidence::Certain {
                continue;
            }
            assert!(suspect.look_alikes.is_empty(), "{}", code.word());
            let mut named = evidence.clone();
            named.facts.retain(|it| suspect.because.contains(&it.reference) || is_of_the_port(it));
            let again = rule(&named).map(|it| it.confidence);
            assert_eq!(again, Some(Confidence::Certain), "{}: {:?}", code.word(), suspect.because);
        }
    }
}

#[test]
fn every_argument_of_a_line_is_given() {
    let text = fs::read_to_string(root().join("src/locales/en.ftl")).unwrap();
    for (code, evidence) in cases() {
        let suspect = infer(&evidence).into_iter().find(|it| it.code == code).unwrap();
        let start = format!("{} = ", code.word());
        let line = text.lines().find(|line| line.starts_with(&start)).unwrap();
        for rest in line.split("{ $").skip(1) {
            let name = rest.split(' ').next().unwrap();
            let always = ["host", "port", "proxy", "what"].contains(&name);
            // Of the port's rules, whose sentences another layer fills.
            let older = ["server", "other"].contains(&name) && evidence.asked.targets.is_empty();
            // The same in a unit that suits.
            let name = if name == "span" { "seconds" } else { name };
            let given = suspect.arguments.contains_key(name);
            assert!(always || older || given, "{}: {name}", code.word());
        }
    }
}

#[test]
fn a_provider_that_refuses_us_is_no_broken_proxy_while_others_serve() {
    let openai = |value: &mut Value| {
        let mut journey = fact(value, "through-proxy").clone();
        journey["check"] = json!("llm");
        journey["reference"] = json!("c90");
        let mut other = journey.clone();
        other["reference"] = json!("c91");
        other["data"]["target"] = json!("https://api.deepseek.com/models");
        other["data"]["trips"][0]["answer"]["status"] = json!(401);
        other["data"]["trips"][0]["answer"]["body"] = json!("");
        drop_facts(value, "through-proxy");
        value["facts"].as_array_mut().unwrap().extend([journey, other]);
        value["asked"] = json!({"command": "probe", "llm": true});
    };
    let found = diagnose(&changed(Code::TargetRegionBlocked, openai));
    assert_eq!(found.verdict.unwrap().code, Code::Ok);
    assert_eq!(found.state, State::Degraded);
    assert_eq!(found.warnings[0].code, Code::TargetRegionBlocked);
    assert_eq!(found.warnings[0].severity, Severity::Warning);
    // Who asks for that provider by name is told that it does not work.
    assert_eq!(diagnose(&case(Code::TargetRegionBlocked).unwrap()).state, State::Broken);
}

#[test]
fn an_api_that_wants_a_key_is_reached() {
    for (status, body) in [(401, ""), (403, ""), (400, "API key not valid")] {
        let evidence = changed(Code::TargetRegionBlocked, |value| {
            let answer = &mut fact(value, "through-proxy")["data"]["trips"][0]["answer"];
            answer["status"] = json!(status);
            answer["body"] = json!(body);
        });
        let found = diagnose(&evidence);
        assert_eq!(found.state, State::Ok, "{status}: {found:?}");
        assert_eq!(found.verdict.unwrap().confidence, Confidence::Certain);
    }
}

/// Case, what changes in it, and what it comes to then.
type Nearly = (Code, fn(&mut Value), Option<(Code, Confidence)>);

const NEARLY: &[Nearly] = &[
    // The kernel of the proxy has the request: the proxy waits for the target.
    (
        Code::ConnectFiltered,
        |it| {
            fact(it, "trials")["data"]["trials"][2]["acknowledged"] = json!(true);
            drop_facts(it, "trials");
            let failure = &mut fact(it, "through-proxy")["data"]["trips"][0]["failure"];
            failure["acknowledged"] = json!(true);
        },
        Some((Code::TargetUnreachable, Confidence::Likely)),
    ),
    // The cut line does not pass either.
    (
        Code::ConnectFiltered,
        |it| fact(it, "trials")["data"]["trials"][3]["end"] = json!("silent"),
        Some((Code::ConnectFiltered, Confidence::Likely)),
    ),
    (
        Code::TargetNameNotFound,
        |it| drop_facts(it, "direct"),
        Some((Code::TargetNameNotFound, Confidence::Likely)),
    ),
    (
        Code::TargetNameNotFound,
        |it| fact(it, "proxy-health")["data"]["dns"]["ok"] = json!(false),
        Some((Code::ProxyDnsBroken, Confidence::Certain)),
    ),
    (
        Code::TargetRefused,
        |it| drop_facts(it, "proxy-health"),
        Some((Code::TargetRefused, Confidence::Likely)),
    ),
    (
        Code::TargetTlsReset,
        |it| drop_facts(it, "trials"),
        Some((Code::TargetTlsReset, Confidence::Possible)),
    ),
    // In TLS nobody before the proxy reads the name.
    (
        Code::TargetTlsReset,
        |it| it["asked"]["scheme"] = json!("https"),
        Some((Code::TargetTlsReset, Confidence::Certain)),
    ),
    (
        Code::TunnelFreezes,
        |it| drop_facts(it, "link-up"),
        Some((Code::TunnelFreezes, Confidence::Likely)),
    ),
    // 300 ms of jitter, and one late connect of seven.
    (
        Code::LinkLossy,
        |it| {
            let trips = &mut fact(it, "through-proxy")["data"]["trips"];
            trips[2]["laps"][0]["us"] = json!(341_000);
            trips[4]["laps"][0]["us"] = json!(380_000);
        },
        Some((Code::Ok, Confidence::Certain)),
    ),
    // 200 ms of buffering by one lost packet.
    (
        Code::StreamBuffered,
        |it| {
            let came = [0, 200, 400, 1000, 1001, 1002, 1200, 1400];
            for (at, ms) in came.into_iter().enumerate() {
                fact(it, "stream")["data"]["events"][at]["came_ms"] = json!(ms);
            }
        },
        Some((Code::Ok, Confidence::Certain)),
    ),
    // A second of it, with events in time before and after.
    (
        Code::StreamBuffered,
        |it| {
            let came = [0, 1200, 1201, 1202, 1203, 1204, 1205, 1400];
            for (at, ms) in came.into_iter().enumerate() {
                fact(it, "stream")["data"]["events"][at]["came_ms"] = json!(ms);
            }
        },
        Some((Code::Ok, Confidence::Certain)),
    ),
    (
        Code::TargetCertExpired,
        |it| {
            it["facts"]
                .as_array_mut()
                .unwrap()
                .retain(|it| it["subject"] != "https://example.com/");
        },
        Some((Code::TargetCertExpired, Confidence::Likely)),
    ),
    (
        Code::TlsIntercepted,
        |it| {
            it["facts"]
                .as_array_mut()
                .unwrap()
                .retain(|it| it["subject"] != "https://example.com/");
        },
        Some((Code::TlsIntercepted, Confidence::Likely)),
    ),
];

#[test]
fn one_fact_less_is_one_certainty_less() {
    for (number, (code, change, expected)) in NEARLY.iter().enumerate() {
        let found = diagnose(&changed(*code, change));
        let verdict = found.verdict.as_ref().map(|it| (it.code, it.confidence));
        assert_eq!(verdict, *expected, "{number}: {}: {found:#?}", code.word());
    }
}

#[test]
fn a_proxy_of_another_kind_is_named() {
    let socks = |value: &mut Value| {
        fact(value, "hello")["data"] = json!({"kind": "hello", "speaks": "socks", "exchanges": []});
        drop_facts(value, "through-proxy");
    };
    let verdict = diagnose(&changed(Code::TargetChallenged, socks)).verdict.unwrap();
    assert_eq!(verdict.code, Code::NotAProxy);
    assert_eq!(verdict.arguments["what"], "socks");
}

fn some_facts() -> impl Strategy<Value = Evidence> {
    let all = cases();
    let many = all.len();
    let indexes = prop::collection::vec((0..many, any::<prop::sample::Index>()), 0..12);
    (0..many, indexes).prop_map(move |(of, indexes)| {
        let mut evidence = all[of].1.clone();
        let mut known: BTreeSet<String> = BTreeSet::new();
        let picked = indexes.into_iter().enumerate().map(|(number, (of, index))| {
            let mut fact = index.get(&all[of].1.facts).clone();
            fact.reference.0 = format!("c{}", 100 + number);
            fact
        });
        evidence.facts.extend(picked);
        evidence.facts.retain(|it| known.insert(it.reference.0.clone()));
        evidence
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_order_of_facts_never_matters(evidence in some_facts(), turn in 0..20_usize) {
        let mut other = evidence.clone();
        other.facts.reverse();
        let middle = turn.min(other.facts.len());
        other.facts.rotate_left(middle);
        prop_assert_eq!(diagnose(&evidence), diagnose(&other));
    }

    #[test]
    fn what_is_certain_stands_on_what_is_named(evidence in some_facts()) {
        for (code, rule) in RULES {
            let Some(suspect) = rule(&evidence) else { continue };
            prop_assert_eq!(suspect.code, *code);
            prop_assert!(!suspect.because.is_empty(), "{}", code.word());
            prop_assert!(suspect.severity == code.severity() || suspect.severity == Severity::Warning);
            if suspect.confidence != Confidence::Certain {
                continue;
            }
            prop_assert!(suspect.look_alikes.is_empty(), "{}", code.word());
            let mut named = evidence.clone();
            named.facts.retain(|it| suspect.because.contains(&it.reference) || is_of_the_port(it));
            let again = rule(&named).map(|it| it.confidence);
            prop_assert_eq!(again, Some(Confidence::Certain), "{}", code.word());
        }
    }
}
