//! Words in, exit code out: the only place with clap and standard output.

mod args;
mod check_config;
#[cfg(feature = "doctor")]
mod diagnose;
#[cfg(not(feature = "doctor"))]
#[path = "without_doctor.rs"]
mod diagnose;
mod exit;
mod healthcheck;
mod host;
#[cfg(any(windows, test))]
mod log_file;
mod serve;
mod service;
mod systemd;
mod telling;
mod text_file;

use std::ffi::OsString;
use std::process::ExitCode;

use crate::config::{ConfigError, Layers, Origin};

/// Runs the program with `arguments` and tells how it went: 0 good, 1 a problem was found, 2 bad
/// usage or configuration, 3 it could not be told.
pub fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.collect();
    diagnose::double_clicked(&arguments).unwrap_or_else(|| obey(arguments))
}

fn obey(arguments: Vec<OsString>) -> ExitCode {
    let matches = match args::command().try_get_matches_from(arguments) {
        Ok(matches) => matches,
        Err(error) => return exit::usage(&error),
    };
    match matches.subcommand() {
        Some((args::SERVE, flags)) => match layers(flags) {
            Ok(layers) if flags.get_flag(args::CHECK_CONFIG) => check_config::run(&layers),
            Ok(layers) => serve::run(&layers),
            Err(error) => exit::config(&error),
        },
        Some((args::HEALTHCHECK, flags)) => match layers(flags) {
            Ok(layers) => healthcheck::run(&layers),
            Err(error) => exit::config(&error),
        },
        Some((args::SERVICE, flags)) => of_windows(flags),
        Some((other, flags)) => diagnose::run(other, flags).unwrap_or_else(exit::no_command),
        None => exit::no_command(),
    }
}

/// `service`.
fn of_windows(flags: &clap::ArgMatches) -> ExitCode {
    if !cfg!(windows) {
        let instead = "`service` is for Windows; here let systemd or Docker run `sami-proxy serve`";
        return exit::line(instead, exit::USAGE);
    }
    match flags.subcommand() {
        Some((args::INSTALL, flags)) => match args::of_service(flags) {
            Ok(flags) => match layers(&flags) {
                Ok(layers) => service::install(&args::given(&flags), &layers),
                Err(error) => exit::config(&error),
            },
            Err(error) => exit::usage(&error),
        },
        Some((args::RUN, flags)) => {
            let flags = args::of_service(flags).map_err(|error| error.to_string());
            // Read where errors go to the log.
            let read = move || layers(&flags?).map_err(|error| error.to_string());
            service::run(Box::new(read))
        }
        Some((deed, _)) => service::control(deed),
        None => exit::no_command(),
    }
}

/// The whole command line: for what is made of it, such as manual pages (`examples/manuals.rs`).
pub fn command() -> clap::Command {
    args::command()
}

/// Defaults < file < environment < flags.
fn layers(flags: &clap::ArgMatches) -> Result<Layers, ConfigError> {
    let mut layers = Layers::defaults();
    if let Some((path, origin)) = args::config_file(flags) {
        let text = text_file::read(&path).map_err(|error| ConfigError {
            origin,
            problem: format!("cannot read {}: {error}", path.display()),
        })?;
        layers.add_file(&path, &text)?;
    }
    layers.add_environment(environment()?.into_iter())?;
    args::apply(flags, &mut layers);
    Ok(layers)
}

/// The variables that are text; one of ours that is not is an error.
fn environment() -> Result<Vec<(String, String)>, ConfigError> {
    let mut variables = Vec::new();
    for (name, value) in std::env::vars_os() {
        let Some(name) = name.to_str().filter(|name| name.starts_with("SAMI_PROXY_")) else {
            continue;
        };
        let value = value.into_string().map_err(|_| ConfigError {
            origin: Origin::Variable(name.to_owned()),
            problem: "is not UTF-8".to_owned(),
        })?;
        variables.push((name.to_owned(), value));
    }
    Ok(variables)
}
