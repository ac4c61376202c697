//! `service`: the proxy as a service of Windows.

#[cfg(windows)]
mod entry;
mod launch;
#[cfg(windows)]
mod manager;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

#[cfg(windows)]
use super::args;
use super::{exit, serve};
use crate::config::{Layers, convert};

/// How Windows knows it.
#[cfg(windows)]
const NAME: &str = "sami-proxy";

/// Reads the settings.
pub(super) type Read = Box<dyn FnOnce() -> Result<Layers, String> + Send>;

/// Installs a service with the flags `given`, of which `layers` are made.
pub(super) fn install(given: &[(&'static str, String)], layers: &Layers) -> ExitCode {
    if let Err(error) = convert(layers, &serve::machine()) {
        return exit::config(&error);
    }
    let profile = std::env::var_os("USERPROFILE").filter(|it| !it.is_empty()).map(PathBuf::from);
    let place = launch::Place { profile: profile.as_deref() };
    let arguments = place.arguments(given).and_then(|arguments| {
        launch::only_full_paths(layers)?;
        place.program(&std::env::current_exe().map_err(|error| error.to_string())?)?;
        Ok(arguments)
    });
    match arguments {
        Ok(arguments) => {
            for note in launch::notes(layers) {
                say(&format!("note: {note}"));
            }
            finish(create(&arguments))
        }
        Err(problem) => exit::line(problem, exit::USAGE),
    }
}

#[cfg(windows)]
fn create(arguments: &[String]) -> Result<Done, String> {
    manager::install(arguments)
}

#[cfg(windows)]
fn manage(deed: &str) -> Result<Done, String> {
    match deed {
        args::REMOVE => manager::remove(),
        args::START => manager::start(),
        args::STOP => manager::stop(),
        _ => manager::status(),
    }
}

#[cfg(not(windows))]
fn create(_arguments: &[String]) -> Result<Done, String> {
    Err("there is no service manager of Windows here".to_owned())
}

#[cfg(not(windows))]
fn manage(_deed: &str) -> Result<Done, String> {
    create(&[])
}

/// Removes it, starts it, stops it, or tells how it is.
pub(super) fn control(deed: &str) -> ExitCode {
    finish(manage(deed))
}

/// What Windows runs: the service itself.
pub(super) fn run(read: Read) -> ExitCode {
    #[cfg(windows)]
    let outcome = entry::run(read);
    #[cfg(not(windows))]
    let outcome = read().map(drop);
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => exit::line(problem, exit::USAGE),
    }
}

/// What was done, and whether all is well.
#[derive(Debug)]
struct Done {
    text: String,
    well: bool,
}

fn finish(outcome: Result<Done, String>) -> ExitCode {
    match outcome {
        Ok(done) => {
            say(&done.text);
            if done.well { ExitCode::SUCCESS } else { ExitCode::from(exit::PROBLEM) }
        }
        Err(problem) => exit::line(problem, exit::PROBLEM),
    }
}

fn say(text: &str) {
    // A reader that has gone away does not change what was done.
    let _gone = writeln!(std::io::stdout().lock(), "{text}");
}

/// Where the service writes its log.
#[cfg(windows)]
fn log() -> PathBuf {
    let data = std::env::var_os("ProgramData").filter(|it| !it.is_empty());
    let data = data.map_or_else(|| PathBuf::from(r"C:\ProgramData"), PathBuf::from);
    data.join(NAME).join("sami-proxy.log")
}
