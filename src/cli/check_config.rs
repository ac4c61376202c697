//! `serve --check-config`: what holds, and where it comes from.

#![allow(clippy::print_stdout, reason = "the result of a command")]

use std::process::ExitCode;

use super::{exit, serve};
use crate::config::table::{Row, TABLE};
use crate::config::{Layers, convert};
use crate::proxy::server::read_files;
use crate::proxy::settings::Certificate;

/// Prints every setting that has a value; exit 2 when one is wrong or a file is unusable.
pub(super) fn run(layers: &Layers) -> ExitCode {
    let mut settings = match convert(layers, &serve::machine()) {
        Ok(serve) => serve.settings,
        Err(error) => return exit::config(&error),
    };
    // It would be made now.
    settings.tls.take_if(|certificate| matches!(certificate, Certificate::SelfSigned { .. }));
    if let Err(error) = read_files(&settings) {
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

/// The value; of a secret only what is before the colon, which is a user name, and of a URL what is
/// not between its scheme and its host.
fn shown(row: &Row, value: &str) -> String {
    if !row.secret {
        return value.to_owned();
    }
    // By the row and not by its look: a password may look like a URL.
    if row.value == "URL" {
        return match (value.split_once("://"), value.rsplit_once('@')) {
            (Some((scheme, _)), Some((_, place))) => format!("{scheme}://***@{place}"),
            _ => value.to_owned(),
        };
    }
    value.split_once(':').map_or("***".to_owned(), |(user, _)| format!("{user}:***"))
}
