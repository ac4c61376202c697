//! The laboratory's Docker engine is true: each fault looks as it does in the wild, its proof is on
//! the server, and it heals.

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

use std::collections::HashSet;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::SystemTime;

use common::process::until;
use lab::docker::{Engine, NAME, groups, marked};
use lab::docker_faults::{DOCKER_FAULTS, DOCKER_HEALTHY, DockerFault};
use lab::rows::all_on_engines;
use lab::{Lab, PROXY, Place};
use sami_proxy::diag::code::Code;

/// What every row promises.
fn is_true(lab: &Lab, engine: &Engine<'_>, fault: &DockerFault) -> Result<bool, String> {
    if std::env::var("LAB_ROWS").is_ok_and(|rows| !rows.split(',').any(|row| row == fault.name)) {
        return Ok(false);
    }
    let (name, begun) = (fault.name, SystemTime::now());
    let Some(trouble) = engine.inject(fault)? else { return Ok(false) };
    let before = lab.witnessed();
    let seen = lab.observe(Place::Client, &fault.step);
    if !seen.is(&fault.shows) {
        return Err(format!("{name}: expected {:?}, seen {seen:?}", fault.shows));
    }
    let knocked = lab.witnessed() > before;
    if fault.proxy == PROXY && knocked != fault.knocks {
        return Err(format!("{name}: the server was reached: {knocked}"));
    }
    trouble.check_evidence()?;
    let (place, step, shows) = fault.control;
    let seen = lab.observe(place, &step);
    if !seen.is(&shows) {
        return Err(format!("{name}: its control expected {shows:?}, seen {seen:?}"));
    }
    trouble.heal().map_err(|why| format!("{name} does not heal: {why}"))?;
    println!("{name}: {:.1} s", begun.elapsed().unwrap_or_default().as_secs_f32());
    Ok(true)
}

#[test]
fn every_fault_of_the_server_looks_as_in_the_wild_and_heals() {
    all_on_engines(DOCKER_FAULTS, is_true);
}

#[test]
fn every_healthy_server_serves() {
    all_on_engines(DOCKER_HEALTHY, is_true);
}

#[test]
fn the_servers_catalogue_has_every_cause_and_every_name_is_unique() {
    let rows = || DOCKER_FAULTS.iter().chain(DOCKER_HEALTHY);
    assert_eq!(rows().map(|row| row.name).collect::<HashSet<_>>().len(), rows().count());
    // Those with "Server" above them in the registry: from Docker's to the resources.
    let at = |code| Code::ALL.iter().position(|other| *other == code).unwrap();
    for code in &Code::ALL[at(Code::DockerNotRunning)..=at(Code::MemoryShort)] {
        assert!(DOCKER_FAULTS.iter().any(|fault| fault.code == *code), "{code:?}");
    }
}

#[test]
fn an_engine_looks_like_any_server() {
    let Some(lab) = Lab::bare() else { return };
    let Some(engine) = Engine::start(&lab) else { return };
    engine.baseline().unwrap();
    assert!(engine.docker(&["ps"]).unwrap().contains(NAME));
    // Its own processes, its own numbers.
    assert!(engine.shell("cat /proc/1/comm").unwrap().starts_with("sleep"));
    assert_eq!(engine.shell("pidof sami-proxy").unwrap().split(' ').count(), 1);
    assert!(engine.shell("ss -ltnp").unwrap().contains("docker-proxy"));
    assert!(engine.shell("iptables -S FORWARD").unwrap().contains("-P FORWARD DROP"));
    // By the socket of any server, and from the test.
    assert!(engine.shell("docker -H unix:///var/run/docker.sock version").is_ok());
    assert!(std::os::unix::net::UnixStream::connect(engine.socket()).is_ok());
    // The program runs there, as root and as anybody.
    assert!(engine.program(0, &["--version"]).status.success());
    assert!(engine.program(65534, &["--version"]).status.success());
    engine.restart_daemon().unwrap();
    engine.wait_until_served().unwrap();
    // Nothing of it stays.
    let marks = engine.marks();
    assert!(marks.iter().all(|mark| !marked(mark).is_empty()), "{marks:?}");
    drop(engine);
    assert!(marks.iter().all(|mark| marked(mark).is_empty()), "{marks:?}");
    assert!(!groups().contains(&marks[1]));
}

/// Runs in a process of its own, which the next test kills.
const VICTIM: &str = "SAMI_LAB_VICTIM";

#[test]
fn a_lab_to_be_killed() {
    if std::env::var_os(VICTIM).is_none() {
        return;
    }
    let lab = Lab::bare().unwrap();
    let engine = Engine::start(&lab).unwrap();
    engine.baseline().unwrap();
    let [namespace, group] = engine.marks();
    println!("\nmarks {namespace} {group}");
    loop {
        std::thread::park();
    }
}

#[test]
fn nothing_is_left_of_a_test_that_is_killed() {
    let Some(lab) = Lab::bare() else { return };
    let Some(engine) = Engine::start(&lab) else { return };
    drop(engine);
    let mut victim = Command::new(std::env::current_exe().unwrap());
    victim.args(["--exact", "a_lab_to_be_killed", "--nocapture"]).env(VICTIM, "1");
    // Its files, too, are somebody's to clean up.
    let files = tempfile::tempdir().unwrap();
    victim.env("TMPDIR", files.path());
    let mut victim = victim.stdout(Stdio::piped()).spawn().unwrap();
    let output = BufReader::new(victim.stdout.take().unwrap());
    let mut lines = output.lines().map_while(Result::ok);
    let line = lines.find(|line| line.starts_with("marks ")).unwrap();
    let marks: Vec<&str> = line.split(' ').skip(1).collect();
    assert!(marks.iter().all(|mark| !marked(mark).is_empty()), "{marks:?}");
    victim.kill().unwrap();
    victim.wait().unwrap();
    until(|| marks.iter().all(|mark| marked(mark).is_empty()));
    // The empty control groups go with the next lab.
    drop(Engine::start(&lab));
    assert!(!groups().contains(&marks[1].to_owned()));
}
