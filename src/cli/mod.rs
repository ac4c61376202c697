//! Words in, exit code out: the only place with clap and standard output.

mod args;
mod beside;
mod bundle;
mod check_config;
mod check_port;
mod compare;
mod doctor;
mod double_click;
mod examine;
mod exit;
mod explain;
mod healthcheck;
mod host;
#[cfg(any(windows, test))]
mod log_file;
mod probe;
mod progress;
mod proxy_url;
mod report;
mod serve;
mod service;
mod system;
mod systemd;
mod telling;
mod text_file;
mod watch;
mod which_proxy;
#[cfg(windows)]
mod windows_console;

use std::ffi::OsString;
use std::io::IsTerminal;
use std::process::ExitCode;

use crate::config::{ConfigError, Layers, Origin};
use crate::render::look::{Colours, Glyphs, Look, Output};
use crate::render::words::{Lang, Words};

/// Runs the program with `arguments` and tells how it went: 0 good, 1 a problem was found, 2 bad
/// usage or configuration, 3 it could not be told.
pub fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    system::prepare_console();
    let arguments: Vec<OsString> = arguments.collect();
    if double_click::is_one(arguments.len(), system::console()) {
        return in_a_window();
    }
    obey(arguments)
}

/// Asks for a proxy and examines it.
fn in_a_window() -> ExitCode {
    let lang = Lang::choose(None, variable, system::language().as_deref());
    double_click::run(&Words::new(lang), variable, obey)
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
        Some((args::EXPLAIN, flags)) => {
            let word = flags.get_one::<String>(args::CODE).map(String::as_str);
            explain::run(word, lang(flags))
        }
        Some((args::CHECK_PORT, flags)) => {
            check_port::run(args::Flags::new(flags), &Words::new(lang(flags)), look(flags))
        }
        Some((args::PROBE, flags)) => {
            probe::run(args::Flags::new(flags), &Words::new(lang(flags)), look(flags))
        }
        Some((args::DOCTOR, flags)) => {
            doctor::run(args::Flags::new(flags), &Words::new(lang(flags)), look(flags))
        }
        Some((args::SERVICE, flags)) => of_windows(flags),
        Some((args::WINDOW, _)) => in_a_window(),
        _ => exit::no_command(),
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

/// The language of what is said to people.
fn lang(flags: &clap::ArgMatches) -> Lang {
    Lang::choose(args::lang(flags), variable, system::language().as_deref())
}

/// How standard output looks.
fn look(flags: &clap::ArgMatches) -> Look {
    let output = if std::io::stdout().is_terminal() { Output::Terminal } else { Output::Other };
    let colours = Colours::choose(args::when(flags), variable, output);
    // The console of Windows is given Unicode whatever its code page is.
    let glyphs = if cfg!(windows) { Glyphs::Unicode } else { Glyphs::choose(variable) };
    Look { colours, glyphs }
}

/// The whole command line: for what is made of it, such as manual pages (`examples/manuals.rs`).
pub fn command() -> clap::Command {
    args::command()
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
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
