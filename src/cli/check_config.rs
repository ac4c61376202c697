//! `serve --check-config`: what holds, and where it comes from.

#![allow(clippy::print_stdout, reason = "the result of a command")]

use std::process::ExitCode;

use super::{exit, serve};
use crate::config::table::{Row, TABLE};
use crate::config::{Layers, convert};
use crate::proxy::server::read_files;

/// Prints every setting that has a value; exit 2 when one is wrong or a file is unusable.
pub(super) fn run(layers: &Layers) -> ExitCode {
    let serve = match convert(layers, crate::net::limits::raise_descriptor_limit()) {
        Ok(serve) => serve,
        Err(error) => return exit::config(&error),
    };
    if let Err(error) = read_files(&serve.settings) {
        return exit::config(&serve::blame(layers, &error));
    }
    for row in TABLE {
        if let Some(given) = layers.get(row.key) {
            for value in &given.values {
                println!("{:<20} {:<24} # {}", row.key, shown(row, value), given.origin);
            }
        }
    }
    ExitCode::SUCCESS
}

/// The value; of a secret only what is before the colon, which is a user name.
fn shown(row: &Row, value: &str) -> String {
    match value.split_once(':') {
        Some((user, _)) if row.secret => format!("{user}:***"),
        _ if row.secret => "***".to_owned(),
        _ => value.to_owned(),
    }
}
