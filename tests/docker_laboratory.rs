//! The laboratory's Docker engine is true: each fault looks as it does in the wild, and heals.

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

use lab::docker::Engine;
use lab::{Lab, Place};

#[test]
fn an_engine_serves_and_leaves_nothing() {
    let Some(lab) = Lab::bare() else { return };
    let Some(engine) = Engine::start(&lab) else { return };
    engine.baseline().unwrap();
    println!("{}", engine.docker(&["ps", "-a"]).unwrap());
    engine.restart_daemon().unwrap();
    engine.wait_until_served().unwrap();
    engine.baseline().unwrap();
    drop(lab.run(Place::Vps, "true"));
}
