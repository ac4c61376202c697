//! `probe` among real faults: what a client can know it names, within 15 s; it is never sure of what
//! is not so; and a healthy way raises no alarm, however slow or strange it is.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "test code"
)]

mod common;
mod lab;

use std::time::{Duration, SystemTime};

use lab::rows::all;
use lab::{FAULTS, Fault, HEALTHY, Lab};
use serde_json::Value;

/// What the client's bare sockets show, and `probe` can't tell for sure: then it is enough that it
/// sees a problem and is not certain of another cause.
const UNTOLD: &[&str] = &[
    // Only timing tells a local firewall that rejects by ICMP, and here everything is near.
    "local-firewall-prohibits",
    // A wrong address that is silent looks like a server that is off.
    "dns-lies",
    // The gateway says what a router would say.
    "container-gone",
];

/// A cause that does not stop the proxy from working: a warning beside "ok".
const WARNINGS: &[&str] = &["ipv6-broken", "link-slow", "link-lossy", "target-rate-limited"];

struct Told {
    report: Value,
    exit: Option<i32>,
    took: Duration,
}

fn probe(lab: &Lab, proxy: &str, target: &str) -> Told {
    let authority = lab.with_folder("FOLDER/authority.pem");
    let begun = SystemTime::now();
    let arguments = ["probe", proxy, "--target", target, "--ca", &authority, "--json"];
    let output = lab.program(&arguments);
    let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!("{error}: {}", String::from_utf8_lossy(&output.stderr));
    });
    Told { report, exit: output.status.code(), took: begun.elapsed().unwrap() }
}

fn codes<'r>(report: &'r Value, of: &str) -> impl Iterator<Item = &'r str> {
    report[of].as_array().into_iter().flatten().filter_map(|it| it["code"].as_str())
}

fn is_named(lab: &Lab, fault: &Fault) -> Result<bool, String> {
    let Ok(trouble) = lab.inject(fault) else { return Ok(false) };
    let Told { report, exit, took } = probe(lab, fault.proxy, fault.target);
    drop(trouble);
    let wanted = fault.code.word();
    let wrong = |why: &str| Err(format!("{}: {why}, wanted {wanted}: {report:#}", fault.name));
    if took > Duration::from_secs(16) {
        return wrong(&format!("it took {took:?}"));
    }
    let verdict = &report["verdict"];
    let (code, sure) = (verdict["code"].as_str(), verdict["confidence"] == "certain");
    if WARNINGS.contains(&wanted) {
        let warned = codes(&report, "warnings").any(|it| it == wanted);
        return match (exit, warned) {
            (Some(0), true) => Ok(true),
            // Loss is a matter of luck.
            (Some(0), false) if wanted == "link-lossy" => Ok(true),
            _ => wrong("no warning"),
        };
    }
    if exit != Some(1) {
        return wrong("no problem seen");
    }
    if sure && code != Some(wanted) {
        return wrong("sure of what is not so");
    }
    let told = code == Some(wanted) || codes(&report, "alternatives").any(|it| it == wanted);
    if told || UNTOLD.contains(&fault.name) { Ok(true) } else { wrong("not told") }
}

#[test]
fn what_a_client_can_know_of_a_fault_it_tells() {
    all(FAULTS, is_named);
}

#[test]
fn a_healthy_way_raises_no_alarm() {
    all(HEALTHY, |lab, variant| {
        let Ok(varied) = lab.vary(variant) else { return Ok(false) };
        let Told { report, exit, took } = probe(lab, variant.proxy, "https://www.google.com/");
        drop(varied);
        let verdict = &report["verdict"];
        let well = verdict["code"] == "ok" && exit == Some(0);
        let right = match variant.name {
            "modest-link" => codes(&report, "warnings").all(|it| it == "link-slow"),
            "loss-of-2-percent" => codes(&report, "warnings").all(|it| it == "link-lossy"),
            _ => codes(&report, "warnings").next().is_none(),
        };
        if well && right && took < Duration::from_secs(16) {
            Ok(true)
        } else {
            Err(format!("{} ({took:?}): {report:#}", variant.name))
        }
    });
}

#[test]
fn every_service_has_its_row() {
    let Some(lab) = Lab::new() else { return };
    let authority = lab.with_folder("FOLDER/authority.pem");
    let arguments = ["probe", lab::PROXY, "--llm", "--ca", &authority, "--lang", "en"];
    let text = String::from_utf8(lab.program(&arguments).stdout).unwrap();
    let rows: Vec<&str> =
        text.lines().skip_while(|line| !line.contains("LLM services")).skip(1).collect();
    println!("{text}");
    assert_eq!(rows.len(), sami_proxy::diag::llm::PROVIDERS.len(), "{text}");
    assert!(rows.iter().all(|row| row.contains("reachable")), "{text}");
}
