//! `check-port` among real faults: what a port check can know it names, it is never sure of what is
//! not so, and it raises no false alarm.

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

use lab::rows::all;
use lab::{FAULTS, Fault, HEALTHY, Lab};
use serde_json::Value;

/// Faults beyond the open port: those are for `probe`, and `check-port` sees a proxy that answers.
const BEYOND: &[&str] =
    &["target-", "proxy-", "tunnel-", "mtu-", "link-", "tls-not", "upstream-", "connect-filtered"];

/// Where the client can't tell, or not yet: the wanted code must at least be among the alternatives
/// or the verdict must be less than certain.
fn is_beyond(fault: &Fault) -> bool {
    let code = fault.code.word();
    BEYOND.iter().any(|prefix| code.starts_with(prefix)) && !code.starts_with("proxy-name")
}

fn check(lab: &Lab, proxy: &str) -> (Value, Option<i32>) {
    let output = lab.program(&["check-port", &address(proxy), "--json"]);
    (serde_json::from_slice(&output.stdout).unwrap_or_default(), output.status.code())
}

/// Of a URL the host and the port.
fn address(proxy: &str) -> String {
    let after = proxy.rsplit("//").next().unwrap_or(proxy);
    after.rsplit('@').next().unwrap_or(after).trim_end_matches('/').to_owned()
}

fn is_named(lab: &Lab, fault: &Fault) -> Result<bool, String> {
    let Ok(trouble) = lab.inject(fault) else { return Ok(false) };
    let (report, exit) = check(lab, fault.proxy);
    drop(trouble);
    let verdict = &report["verdict"];
    let (code, sure) = (verdict["code"].as_str(), verdict["confidence"] == "certain");
    let alternatives = report["alternatives"].as_array().cloned().unwrap_or_default();
    let wanted = fault.code.word();
    let told = code == Some(wanted) || alternatives.iter().any(|it| it["code"] == wanted);
    let wrong = |why: &str| Err(format!("{}: {why}, wanted {wanted}: {report:#}", fault.name));
    if is_beyond(fault) || wanted == "ipv6-broken" {
        return if code == Some("ok") && exit == Some(0) {
            Ok(true)
        } else {
            wrong("no proxy seen")
        };
    }
    if exit != Some(1) {
        return wrong("no problem seen");
    }
    if sure && code != Some(wanted) {
        return wrong("sure of what is not so");
    }
    // Only timing tells a local firewall that rejects by ICMP, and here everything is near.
    let untold = ["local-firewall-prohibits", "dns-lies", "container-gone"];
    if told || untold.contains(&fault.name) { Ok(true) } else { wrong("not told") }
}

#[test]
fn what_a_port_check_can_know_of_a_fault_it_tells() {
    all(FAULTS, is_named);
}

/// Who refuses: the server itself, or a container behind it, or the rule on the way there.
const REFUSERS: [(&str, bool); 5] = [
    ("not-published", false),
    ("host-rejects-reset", true),
    ("container-refuses", true),
    ("listens-on-loopback", true),
    ("listens-on-another-port", true),
];

#[test]
fn a_container_that_refuses_is_told_from_the_server() {
    all(&REFUSERS, |lab, (name, container)| {
        let fault = Fault::named(name);
        let Ok(trouble) = lab.inject(fault) else { return Ok(false) };
        let (report, _) = check(lab, fault.proxy);
        drop(trouble);
        let checks = report["checks"].as_array().unwrap();
        let ladder = checks.iter().find(|check| check["id"] == "ttl-ladder").unwrap();
        let told = ladder["evidence"]["behind_server"] == *container;
        if told { Ok(true) } else { Err(format!("{name}: {report:#}")) }
    });
}

#[test]
fn a_healthy_way_is_ok() {
    all(HEALTHY, |lab, variant| {
        let Ok(varied) = lab.vary(variant) else { return Ok(false) };
        let (report, exit) = check(lab, variant.proxy);
        drop(varied);
        let well = report["verdict"]["code"] == "ok" && exit == Some(0);
        if well { Ok(true) } else { Err(format!("{}: {report:#}", variant.name)) }
    });
}

/// What another name server, which says the truth, makes of it.
const TOLD_BY_ANOTHER: [(&str, &str, &str); 4] = [
    ("dns-lies", "proxy-name-poisoned", "likely"),
    ("dns-silent", "dns-server-unreachable", "certain"),
    ("dns-servfail", "dns-server-failing", "certain"),
    ("name-not-found", "dns-server-failing", "certain"),
];

#[test]
fn another_name_server_tells_who_is_wrong() {
    all(&TOLD_BY_ANOTHER, |lab, (name, code, confidence)| {
        let fault = Fault::named(name);
        let Ok(trouble) = lab.inject(fault) else { return Ok(false) };
        let proxy = address(fault.proxy);
        let output = lab.program(&["check-port", &proxy, "--json", "--dns", "81.85.80.53"]);
        drop(trouble);
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let verdict = &report["verdict"];
        let told = verdict["code"] == *code && verdict["confidence"] == *confidence;
        if told { Ok(true) } else { Err(format!("{name}: {report:#}")) }
    });
}
