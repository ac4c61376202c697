//! `probe` and `doctor` among real faults: what a client can know they name, in time; they are never
//! sure of what is not so; a healthy way raises no alarm, however slow or strange it is; and nothing
//! is changed by looking.

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

use std::process::Command;
use std::time::{Duration, SystemTime};

use lab::healthy::Healthy;
use lab::look_alikes::{Row, is_paired};
use lab::rows::all;
use lab::{FAULTS, Fault, HEALTHY, Lab, Place};
use sami_proxy::diag::code::Severity;
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

/// What the proxy, asked by `doctor`, says of itself where a client sees only that it does not get
/// through, by the fault: the same deed mends it. It is never sure of that.
const FROM_INSIDE: &[(&str, &str)] = &[
    ("proxy-dns-silent", "container-dns-broken"),
    ("proxy-dns-fails", "container-dns-broken"),
    // All sites of the laboratory are one machine: while it refuses, the proxy gets out nowhere.
    ("target-refuses", "proxy-no-egress"),
];

fn is_from_inside(fault: &str, verdict: &Value) -> bool {
    let told = verdict["code"].as_str();
    verdict["confidence"] != "certain"
        && FROM_INSIDE.iter().any(|it| Some(*it) == told.map(|it| (fault, it)))
}

/// A cause that does not stop the proxy from working: a warning beside "ok".
const WARNINGS: &[&str] = &["ipv6-broken", "link-slow", "link-lossy", "target-rate-limited"];

/// What a run may take; `doctor` does what `probe` does, and looks at this machine.
const COMMANDS: [(&str, Duration); 2] =
    [("probe", Duration::from_secs(16)), ("doctor", Duration::from_secs(20))];

/// A healthy way that takes more than this is a slow one.
const SOON: Duration = Duration::from_secs(5);

/// Healthy, and not fast; the last one never answers a plain request.
const SLOW: &[&str] = &["modest-link", "loss-of-2-percent", "latency-of-300-ms", "tinyproxy"];

struct Told {
    report: Value,
    exit: Option<i32>,
    took: Duration,
}

fn ask(lab: &Lab, command: &str, proxy: &str, target: &str) -> Told {
    let authority = lab.with_folder("FOLDER/authority.pem");
    let begun = SystemTime::now();
    let arguments = [command, proxy, "--target", target, "--ca", &authority, "--json"];
    let output = lab.program(&arguments);
    let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!("{error}: {}", String::from_utf8_lossy(&output.stderr));
    });
    Told { report, exit: output.status.code(), took: begun.elapsed().unwrap() }
}

/// What must be as it was on the machine that asks: interfaces, ways, rules, configuration.
fn state_of(lab: &Lab) -> String {
    const SCRIPT: &str = r"
counters='s/\[[0-9]+:[0-9]+\]//; /^#/d'
ip addr; ip rule; ip -6 rule; ip route show table all; ip -6 route show table all
iptables-save | sed -E $counters; ip6tables-save | sed -E $counters
find /etc -xdev -type f -printf '%p %s %T@\n' | sort
cat /etc/resolv.conf /etc/hosts";
    lab.on(Place::Client, || {
        let output = Command::new("sh").args(["-c", SCRIPT]).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    })
}

fn codes<'r>(report: &'r Value, of: &str) -> impl Iterator<Item = &'r str> {
    report[of].as_array().into_iter().flatten().filter_map(|it| it["code"].as_str())
}

fn is_named(lab: &Lab, fault: &Fault) -> Result<bool, String> {
    let Ok(trouble) = lab.inject(fault) else { return Ok(false) };
    let before = state_of(lab);
    let told = COMMANDS.map(|(command, _)| ask(lab, command, fault.proxy, fault.target));
    let after = state_of(lab);
    drop(trouble);
    if before != after {
        return Err(format!("{}: looking has changed something: {before} {after}", fault.name));
    }
    for ((command, limit), told) in COMMANDS.iter().zip(told) {
        println!("{command} {}: {}", fault.name, found(&told));
        // `doctor` tells apart what looks alike; a pair is named in the table.
        let verdict = told.report["verdict"]["code"].as_str();
        let paired = *command == "doctor" && is_paired(Row::Client(fault.name));
        if paired
            && fault.code.severity() != Severity::Warning
            && verdict != Some(fault.code.word())
            && !is_from_inside(fault.name, &told.report["verdict"])
        {
            return Err(format!(
                "{}: not told from what looks alike: {:#}",
                fault.name, told.report
            ));
        }
        is_right(fault, &told, *limit).map_err(|why| format!("{command}: {why}"))?;
    }
    Ok(true)
}

fn found(told: &Told) -> String {
    let verdict = &told.report["verdict"];
    let others: Vec<_> = codes(&told.report, "alternatives").collect();
    let warnings: Vec<_> = codes(&told.report, "warnings").collect();
    let took = told.took.as_secs_f32();
    let (code, sure) = (&verdict["code"], &verdict["confidence"]);
    format!("{code} {sure}, warnings {warnings:?}, or {others:?} in {took:.1} s")
}

fn is_right(fault: &Fault, told: &Told, limit: Duration) -> Result<(), String> {
    let Told { report, exit, took } = told;
    let wanted = fault.code.word();
    let wrong = |why: &str| Err(format!("{}: {why}, wanted {wanted}: {report:#}", fault.name));
    if *took > limit {
        return wrong(&format!("it took {took:?}"));
    }
    let verdict = &report["verdict"];
    let (code, sure) = (verdict["code"].as_str(), verdict["confidence"] == "certain");
    if WARNINGS.contains(&wanted) {
        let warned = codes(report, "warnings").any(|it| it == wanted);
        return match (exit, warned) {
            (Some(0), true) => Ok(()),
            // Loss is a matter of luck.
            (Some(0), false) if wanted == "link-lossy" => Ok(()),
            _ => wrong("no warning"),
        };
    }
    if *exit != Some(1) {
        return wrong("no problem seen");
    }
    let inside = is_from_inside(fault.name, &report["verdict"]);
    if sure && code != Some(wanted) && !inside {
        return wrong("sure of what is not so");
    }
    let named =
        inside || code == Some(wanted) || codes(report, "alternatives").any(|it| it == wanted);
    if named || UNTOLD.contains(&fault.name) { Ok(()) } else { wrong("not told") }
}

#[test]
fn what_a_client_can_know_of_a_fault_it_tells() {
    all(FAULTS, is_named);
}

#[test]
fn a_healthy_way_raises_no_alarm() {
    all(HEALTHY, |lab, variant| {
        let Ok(varied) = lab.vary(variant) else { return Ok(false) };
        let target = "https://www.google.com/";
        let told = COMMANDS.map(|(command, _)| ask(lab, command, variant.proxy, target));
        drop(varied);
        for ((command, limit), told) in COMMANDS.into_iter().zip(told) {
            let limit = if SLOW.contains(&variant.name) { limit } else { SOON };
            is_well(variant, &told, limit).map_err(|why| format!("{command}: {why}"))?;
        }
        Ok(true)
    });
}

fn is_well(variant: &Healthy, told: &Told, limit: Duration) -> Result<(), String> {
    let Told { report, exit, took } = told;
    let well = report["verdict"]["code"] == "ok" && *exit == Some(0);
    let right = match variant.name {
        "modest-link" => codes(report, "warnings").all(|it| it == "link-slow"),
        "loss-of-2-percent" => codes(report, "warnings").all(|it| it == "link-lossy"),
        _ => codes(report, "warnings").next().is_none(),
    };
    println!("{}: {} ms", variant.name, took.as_millis());
    if well && right && *took < limit {
        Ok(())
    } else {
        Err(format!("{} ({took:?}): {report:#}", variant.name))
    }
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
