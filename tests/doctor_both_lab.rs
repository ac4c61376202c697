//! Both ends among real faults: who drops the packets is told by whether they arrive. The client's
//! `ssh` is a script that enters the server's network, as sshd would be there.

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

use std::fs;
use std::os::unix::fs::PermissionsExt;

use common::process;
use lab::rows::all;
use lab::{Fault, Lab, PROXY, Place, VPS};
use serde_json::Value;

/// The fault, what both ends come to, how sure they are at least.
const ROWS: &[(&str, &str, &[&str])] = &[
    ("isp-drops-port", "cloud-firewall-suspected", &["likely"]),
    ("cloud-firewall-drop", "cloud-firewall-suspected", &["likely"]),
    ("answer-lost", "answers-lost", &["likely"]),
    ("host-input-drop", "host-firewall-drop", &["certain"]),
    ("host-forward-drop", "host-firewall-drop", &["certain"]),
    ("host-ip-forward-off", "ip-forward-off", &["certain"]),
];

/// The doctor of the client, with the server's.
fn doctor(lab: &Lab) -> Value {
    let folder = lab.folder().join("near");
    fs::create_dir_all(&folder).unwrap();
    let ssh = folder.join("ssh");
    let script = format!(
        "#!/bin/sh\nwhile [ \"$1\" != -- ]; do shift; done\nshift 2\n\
         export SSH_CONNECTION='10.1.0.2 50000 {VPS} 22' PATH={}:$PATH\n\
         export DOCKER_HOST=unix:///{}\n\
         exec nsenter --net={} \"$@\"\n",
        folder.display(),
        // No path of a socket is so long: what Docker runs on this machine is not the lab's.
        "x".repeat(200),
        lab.network(Place::Vps)
    );
    fs::write(&ssh, script).unwrap();
    fs::set_permissions(&ssh, fs::Permissions::from_mode(0o755)).unwrap();
    let program = folder.join("sami-proxy");
    if !program.exists() {
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_sami-proxy"), program).unwrap();
    }
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    let output = lab.on(Place::Client, || {
        let to = format!("root@{VPS}");
        let mut command = process::command(&["doctor", PROXY, "--ssh", &to, "--json"]);
        command.env("PATH", path).output().unwrap()
    });
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

#[test]
fn who_drops_the_packets_is_told_by_both_ends() {
    all(ROWS, |lab, (name, code, sure)| {
        let Ok(trouble) = lab.inject(Fault::named(name)) else { return Ok(false) };
        let report = doctor(lab);
        drop(trouble);
        let verdict = &report["verdict"];
        println!("{name}: {} {}", verdict["code"], verdict["confidence"]);
        let told = verdict["code"] == *code
            && sure.contains(&verdict["confidence"].as_str().unwrap_or_default());
        if told { Ok(true) } else { Err(format!("{name}: wanted {code} {sure:?}: {report:#}")) }
    });
}
