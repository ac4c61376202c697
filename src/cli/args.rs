//! The command line, made from the table of settings.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command};

use super::diagnose;
use crate::config::table::{Repeat, Row, TABLE};
use crate::config::{Layers, Origin};

pub(super) const SERVE: &str = "serve";
pub(super) const HEALTHCHECK: &str = "healthcheck";
pub(super) const CHECK_CONFIG: &str = "check-config";
pub(super) const SERVICE: &str = "service";
pub(super) const INSTALL: &str = "install";
pub(super) const REMOVE: &str = "remove";
pub(super) const START: &str = "start";
pub(super) const STOP: &str = "stop";
pub(super) const STATUS: &str = "status";
/// What Windows calls.
pub(super) const RUN: &str = "run";
const SETTINGS: &str = "settings";
pub(super) const CONFIG: &str = "config";
const CONFIG_VARIABLE: &str = "SAMI_PROXY_CONFIG";

const PRECEDENCE: &str = "Every setting is also an environment variable, SAMI_PROXY_ and its name in \
capitals (SAMI_PROXY_AUTH, SAMI_PROXY_ALLOW_TO), and a key of the TOML file of --config. Flags win over \
variables over the file.";

/// The whole command line.
pub(super) fn command() -> Command {
    let serve =
        Command::new(SERVE).about("Run the proxy").after_help(PRECEDENCE).args(settings()).arg(
            Arg::new(CHECK_CONFIG)
                .long(CHECK_CONFIG)
                .action(ArgAction::SetTrue)
                .help("Print the settings that hold and where they come from, then stop"),
        );
    let healthcheck = Command::new(HEALTHCHECK)
        .about("Ask the proxy on this machine whether it is well; takes the settings of `serve`")
        .after_help(PRECEDENCE)
        .args(settings().map(|arg| arg.hide(true)));
    Command::new("sami-proxy")
        .version(env!("CARGO_PKG_VERSION"))
        .about("A forward proxy for reaching LLM APIs")
        .subcommands([serve, healthcheck])
        .subcommands(diagnose::commands())
        .subcommand(service())
}

fn service() -> Command {
    let settings = || {
        Arg::new(SETTINGS)
            .value_name("FLAGS")
            .num_args(0..)
            .last(true)
            .help("Settings, as `serve` takes them")
    };
    let deeds = [
        Command::new(INSTALL)
            .about("Make `serve` a service that starts with Windows, with the flags after --")
            .after_help("Passwords belong into the file of --config: everybody can read the flags of a service.")
            .arg(settings()),
        Command::new(REMOVE).about("Stop the service and remove it"),
        Command::new(START).about("Start it now"),
        Command::new(STOP).about("Let connections finish and stop it"),
        Command::new(STATUS).about("Is it installed, does it run; exit code 0 when it does"),
        Command::new(RUN).hide(true).arg(settings()),
    ];
    Command::new(SERVICE)
        .about("Run the proxy as a service of Windows")
        .subcommand_required(true)
        .subcommands(deeds)
}

/// The settings after `--` of a service.
pub(super) fn of_service(flags: &ArgMatches) -> Result<ArgMatches, clap::Error> {
    let given = flags.get_many::<String>(SETTINGS).into_iter().flatten();
    Command::new(SERVE).no_binary_name(true).args(settings()).try_get_matches_from(given)
}

/// Every setting that was given as a flag, each value by itself.
pub(super) fn given(flags: &ArgMatches) -> Vec<(&'static str, String)> {
    let keys = TABLE.iter().map(|row| row.key).chain([CONFIG]);
    let values = |key| flags.get_many::<String>(key).into_iter().flatten().cloned();
    keys.flat_map(|key| values(key).map(move |value| (key, value))).collect()
}

fn settings() -> impl Iterator<Item = Arg> {
    let config = Arg::new(CONFIG).long(CONFIG).value_name("FILE").help("Settings in TOML");
    TABLE.iter().map(setting).chain([config])
}

fn setting(row: &'static Row) -> Arg {
    let mut help = row.help.to_owned();
    if !row.default.is_empty() && !row.is_switch() {
        help.push_str(" [default: ");
        help.push_str(row.default);
        help.push(']');
    }
    if row.repeat != Repeat::Once {
        help.push_str(" (may be repeated)");
    }
    let arg = Arg::new(row.key).long(row.key).help(help).action(ArgAction::Append);
    if row.is_switch() {
        // `--open` alone means yes; `--open=false` overrides a variable or the file.
        arg.num_args(0..=1).require_equals(true).default_missing_value("true").value_name("BOOL")
    } else {
        arg.value_name(row.value)
    }
}

/// Puts the flags that were given over `layers`.
pub(super) fn apply(flags: &ArgMatches, layers: &mut Layers) {
    for row in TABLE {
        if let Some(values) = flags.get_many::<String>(row.key) {
            let mut values: Vec<String> = values.cloned().collect();
            if row.repeat == Repeat::Once {
                // Given twice: the last one counts, as everywhere.
                values = values.pop().into_iter().collect();
            }
            layers.add_flag(row.key, &values);
        }
    }
}

/// The configuration file, if one was named, and where.
pub(super) fn config_file(flags: &ArgMatches) -> Option<(PathBuf, Origin)> {
    if let Some(path) = flags.get_one::<String>(CONFIG) {
        return Some((path.into(), Origin::Flag(CONFIG)));
    }
    let path = std::env::var_os(CONFIG_VARIABLE).filter(|path| !path.is_empty())?;
    Some((path.into(), Origin::Variable(CONFIG_VARIABLE.to_owned())))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_line_is_consistent() {
        super::command().debug_assert();
    }
}
