//! The exit codes, and what is said with them.

#![allow(clippy::print_stderr, reason = "the place where errors become words")]

use std::fmt::Display;
use std::process::ExitCode;

use crate::config::ConfigError;
use crate::tame::tame;

/// A problem was found: not healthy.
pub(super) const PROBLEM: u8 = 1;
/// Bad usage or configuration.
pub(super) const USAGE: u8 = 2;
/// It could not be told.
#[cfg(feature = "doctor")]
pub(super) const INCONCLUSIVE: u8 = 3;

/// What clap has to say: help and version are no errors, and an error is one line.
pub(super) fn usage(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        // If not even this can be written there is nobody to tell.
        drop(error.print());
        return ExitCode::SUCCESS;
    }
    // What is wrong, and what would be right; not the usage of the whole command, nor how a value
    // that begins like a flag is written, for no value of ours does.
    let text = error.render().to_string();
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let wrong = lines.next().unwrap_or("error: bad usage");
    let tells = |line: &&str| {
        line.starts_with("[possible values")
            || (line.starts_with("tip:") && !line.starts_with("tip: to pass"))
    };
    match lines.find(tells) {
        Some(right) => eprintln!("{} {}", tame(wrong), tame(right)),
        None => eprintln!("{}", tame(wrong)),
    }
    ExitCode::from(USAGE)
}

/// No command was given: the help, as an error.
pub(super) fn no_command() -> ExitCode {
    eprintln!("{}", super::args::command().render_help());
    ExitCode::from(USAGE)
}

/// A wrong setting: one line.
pub(super) fn config(error: &ConfigError) -> ExitCode {
    line(error, USAGE)
}

/// One line that is no error.
#[cfg(feature = "doctor")]
pub(super) fn note(text: impl Display) {
    eprintln!("{}", tame(&text.to_string()));
}

/// One line and a code; what the user typed and we repeat makes no second one.
pub(super) fn line(error: impl Display, code: u8) -> ExitCode {
    eprintln!("error: {}", tame(&error.to_string()));
    ExitCode::from(code)
}
