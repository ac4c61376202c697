//! Pairs of causes that look alike, each told from the other: the table, and the rows of it that are
//! recorded. The laboratories examine the others (`probe_lab`, `docker_doctor`).

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "test code")]

mod common;
mod lab;

use std::path::Path;

use lab::docker_faults::{DOCKER_FAULTS, DOCKER_HEALTHY};
use lab::look_alikes::{LOOK_ALIKES, Row};
use lab::{FAULTS, HEALTHY};
use sami_proxy::diag::code::Code;
use sami_proxy::diag::diagnosis::{Diagnosis, diagnose};
use sami_proxy::diag::infer::Confidence;

/// What it has to come to; `None` when there is no such row.
fn code_of(row: Row) -> Option<Code> {
    match row {
        Row::Client(name) => FAULTS.iter().find(|it| it.name == name).map(|it| it.code),
        Row::Server(name) => DOCKER_FAULTS.iter().find(|it| it.name == name).map(|it| it.code),
        Row::Well(name) => HEALTHY.iter().find(|it| it.name == name).map(|_| Code::Ok),
        Row::WellServer(name) => DOCKER_HEALTHY.iter().find(|it| it.name == name).map(|_| Code::Ok),
        Row::Case(name) => Code::find(name.split('.').next()?),
    }
}

/// What a recorded case comes to.
fn recorded(name: &str) -> Diagnosis {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let text = std::fs::read_to_string(cases.join(name).join("evidence.json")).unwrap();
    diagnose(&serde_json::from_str(&text).unwrap())
}

#[test]
fn every_pair_has_two_rows_and_two_causes() {
    for (at, (one, other, apart)) in LOOK_ALIKES.iter().enumerate() {
        let codes = [one, other].map(|row| code_of(*row).unwrap_or_else(|| panic!("{row:?}")));
        assert_ne!(codes[0], codes[1], "{one:?} {other:?}");
        assert!(!apart.is_empty(), "{one:?} {other:?}");
        let again =
            |(a, b, _): &&(Row, Row, &str)| (a, b) == (one, other) || (a, b) == (other, one);
        assert_eq!(LOOK_ALIKES.iter().skip(at).filter(again).count(), 1, "{one:?} {other:?}");
    }
}

#[test]
fn recorded_rows_come_to_their_cause_and_are_not_certain_of_the_other() {
    let both = |(one, other, _): &(Row, Row, &str)| [(*one, *other), (*other, *one)];
    for (row, other) in LOOK_ALIKES.iter().flat_map(both) {
        let Row::Case(name) = row else { continue };
        let found = recorded(name);
        let suspects = found.verdict.into_iter().chain(found.warnings);
        let told: Vec<_> = suspects.map(|it| (it.code, it.confidence)).collect();
        assert!(told.iter().any(|(code, _)| Some(*code) == code_of(row)), "{name}: {told:?}");
        let others = found.alternatives.iter().map(|it| (it.code, it.confidence));
        let mut certain =
            told.into_iter().chain(others).filter(|(_, sure)| *sure == Confidence::Certain);
        assert!(!certain.any(|(code, _)| Some(code) == code_of(other)), "{name}: {other:?}");
    }
}

#[test]
fn enough_goes_through_doctor() {
    assert!(FAULTS.len() + DOCKER_FAULTS.len() >= 80 && HEALTHY.len() + DOCKER_HEALTHY.len() >= 15);
    let made = |row: &Row| !matches!(row, Row::Case(_));
    let pairs = LOOK_ALIKES.iter().filter(|(one, other, _)| made(one) && made(other)).count();
    println!("{} pairs, {pairs} of them made in full", LOOK_ALIKES.len());
}
