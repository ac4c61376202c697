//! The laboratory is true: each fault looks to bare sockets as it does in the wild
//! (the truth tables were measured on real machines), its control stays well, and it heals.

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

use lab::healthy::Healthy;
use lab::rows::all;
use lab::{FAULTS, Fault, HEALTHY, Lab, Place};

fn is_true(lab: &Lab, fault: &Fault) -> Result<bool, String> {
    let name = fault.name;
    let Ok(trouble) = lab.inject(fault) else { return Ok(false) };
    let before = lab.witnessed();
    let seen = lab.observe(Place::Client, &fault.step);
    if !seen.is(&fault.shows) {
        return Err(format!("{name}: expected {:?}, seen {seen:?}", fault.shows));
    }
    let knocked = lab.witnessed() > before;
    if fault.knocks.is_some_and(|knocks| knocks != knocked) {
        return Err(format!("{name}: the server was reached: {knocked}"));
    }
    trouble.check_evidence()?;
    let (place, step, shows) = fault.control;
    let seen = lab.observe(place, &step);
    if !seen.is(&shows) {
        return Err(format!("{name}: its control expected {shows:?}, seen {seen:?}"));
    }
    trouble.heal();
    lab.check_health().map_err(|why| format!("{name} does not heal: {why}"))?;
    Ok(true)
}

fn is_healthy(lab: &Lab, variant: &Healthy) -> Result<bool, String> {
    let name = variant.name;
    let Ok(trouble) = lab.vary(variant) else { return Ok(false) };
    let seen = lab.observe(Place::Client, &variant.step);
    if !seen.is(&variant.shows) {
        return Err(format!("{name}: expected {:?}, seen {seen:?}", variant.shows));
    }
    trouble.check_evidence()?;
    trouble.heal();
    lab.check_health().map_err(|why| format!("{name} does not heal: {why}"))?;
    Ok(true)
}

#[test]
fn every_fault_looks_as_in_the_wild_and_heals() {
    all(FAULTS, is_true);
}

#[test]
fn every_healthy_variant_works() {
    all(HEALTHY, is_healthy);
}

#[test]
fn the_catalogue_is_large_enough_and_every_name_is_unique() {
    assert!(FAULTS.len() >= 40 && HEALTHY.len() >= 10);
    let names = FAULTS.iter().map(|fault| fault.name).chain(HEALTHY.iter().map(|row| row.name));
    assert_eq!(names.collect::<HashSet<_>>().len(), FAULTS.len() + HEALTHY.len());
}

#[test]
fn a_lab_is_closed_and_knows_its_hops() {
    let Some(lab) = Lab::new() else { return };
    lab.check_health().unwrap();
    // The system's resolver of a place is the lab's.
    let hosts = lab.run(Place::Client, "getent hosts proxy.example.net").unwrap();
    assert!(hosts.contains(lab::VPS), "{hosts}");
    // The program runs in the client's place.
    assert!(lab.program(&["healthcheck", "--listen", lab::PROXY]).status.success());
    let trouble = lab.inject(Fault::named("no-default-route")).unwrap();
    assert!(!lab.program(&["healthcheck", "--listen", lab::PROXY]).status.success());
    trouble.heal();
    // A smaller TTL than three hops does not reach the container.
    let through = |ttl: u32| {
        lab.on(Place::Client, || {
            let kind = (socket2::Domain::IPV4, socket2::Type::STREAM);
            let socket = socket2::Socket::new(kind.0, kind.1, None).unwrap();
            socket.set_ttl_v4(ttl).unwrap();
            let address: std::net::SocketAddr = lab::PROXY.parse().unwrap();
            socket.connect_timeout(&address.into(), lab::SILENCE).map_err(|error| error.kind())
        })
    };
    assert_eq!(through(2), Err(std::io::ErrorKind::HostUnreachable));
    assert_eq!(through(3), Ok(()));
    // Nothing outside answers.
    for outside in ["192.0.2.77:8080", "1.1.1.1:443"] {
        let seen = lab.observe(Place::Client, &lab::Step::Connect(outside));
        assert!(seen.is(&lab::Shows::Silence), "{seen:?}");
    }
}
