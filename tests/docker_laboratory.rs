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
use std::time::SystemTime;

use lab::docker::{Engine, NAME};
use lab::docker_faults::{DOCKER_FAULTS, DOCKER_HEALTHY, DockerFault};
use lab::rows::all_on_engines;
use lab::{Lab, PROXY, Place};

/// What every row promises.
fn is_true(lab: &Lab, engine: &Engine<'_>, fault: &DockerFault) -> Result<bool, String> {
    let (name, begun) = (fault.name, SystemTime::now());
    let Some(trouble) = engine.inject(fault)? else { return Ok(false) };
    let before = lab.witnessed();
    let seen = lab.observe(Place::Client, &fault.step);
    if !seen.is(&fault.shows) {
        return Err(format!("{name}: expected {:?}, seen {seen:?}", fault.shows));
    }
    if fault.proxy == PROXY && lab.witnessed() == before {
        return Err(format!("{name}: the server was not reached"));
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
