//! The command line, made from the table of settings.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::config::table::{Repeat, Row, TABLE};
use crate::config::{Layers, Origin};
use crate::render::look::When;
use crate::render::words::Lang;

pub(super) const SERVE: &str = "serve";
pub(super) const HEALTHCHECK: &str = "healthcheck";
pub(super) const EXPLAIN: &str = "explain";
pub(super) const CHECK_CONFIG: &str = "check-config";
pub(super) const CODE: &str = "code";
const LANG: &str = "lang";
pub(super) const CHECK_PORT: &str = "check-port";
const TARGETS: &str = "targets";
pub(super) const JSON: &str = "json";
const TIMEOUT: &str = "timeout";
const FROM: &str = "from";
const COLOR: &str = "color";
pub(super) const VERBOSE: &str = "verbose";
pub(super) const IPV4: &str = "ipv4";
pub(super) const IPV6: &str = "ipv6";
const CONFIG: &str = "config";
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
    let explain = Command::new(EXPLAIN)
        .about("Tell what a cause means and how to mend it, or list all causes")
        .arg(Arg::new(CODE).value_name("CODE").help("As a report names it, such as port-filtered"))
        .arg(language());
    Command::new("sami-proxy")
        .version(env!("CARGO_PKG_VERSION"))
        .about("A forward proxy for reaching LLM APIs")
        .subcommands([serve, healthcheck, check_port(), explain])
}

fn language() -> Arg {
    Arg::new(LANG)
        .long(LANG)
        .value_name("LANG")
        .value_parser(Lang::ALL.map(Lang::word))
        .help("The language of the texts; else SAMI_PROXY_LANG, then the system's language")
}

fn color() -> Arg {
    Arg::new(COLOR)
        .long(COLOR)
        .value_name("WHEN")
        .value_parser(When::ALL.map(When::word))
        .help("Colours; auto: on a terminal, unless NO_COLOR is set [default: auto]")
}

const EXIT_CODES: &str = "Exit code: 0 every port is open and a proxy answers, 1 a problem was found, \
2 bad usage, 3 it could not be told.";

fn check_port() -> Command {
    let switch = |name: &'static str| Arg::new(name).action(ArgAction::SetTrue);
    Command::new(CHECK_PORT)
        .about("Is the port of a proxy reachable, and if not, who says no")
        .after_help(EXIT_CODES)
        .arg(Arg::new(TARGETS).value_name("HOST:PORT").num_args(0..).help("What to check"))
        .arg(switch(JSON).long(JSON).help("Print one JSON document"))
        .arg(
            Arg::new(TIMEOUT)
                .long(TIMEOUT)
                .value_name("SECONDS")
                .allow_hyphen_values(true)
                .help("For everything [default: 15]"),
        )
        .arg(
            Arg::new(FROM)
                .long(FROM)
                .value_name("FILE")
                .help("Diagnose what an earlier --json has measured, without a network"),
        )
        .arg(switch(VERBOSE).long(VERBOSE).short('v').help("Show every check"))
        .arg(switch(IPV4).short('4').help("Only IPv4 addresses"))
        .arg(switch(IPV6).short('6').help("Only IPv6 addresses"))
        .arg(language())
        .arg(color())
}

/// The flags of `check-port` as they were given.
#[derive(Debug)]
pub(super) struct PortFlags {
    pub(super) targets: Vec<String>,
    pub(super) timeout: Option<String>,
    pub(super) from: Option<String>,
    switches: Vec<&'static str>,
}

impl PortFlags {
    /// Whether the switch `name` was given.
    pub(super) fn has(&self, name: &str) -> bool {
        self.switches.contains(&name)
    }
}

pub(super) fn port_flags(flags: &ArgMatches) -> PortFlags {
    let one = |name| flags.get_one::<String>(name).cloned();
    let switches = [JSON, VERBOSE, IPV4, IPV6];
    PortFlags {
        targets: flags.get_many::<String>(TARGETS).into_iter().flatten().cloned().collect(),
        timeout: one(TIMEOUT),
        from: one(FROM),
        switches: switches.into_iter().filter(|name| flags.get_flag(name)).collect(),
    }
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

/// The language that was asked for.
pub(super) fn lang(flags: &ArgMatches) -> Option<Lang> {
    flags.get_one::<String>(LANG).and_then(|word| Lang::find(word))
}

/// When colours are wanted.
pub(super) fn when(flags: &ArgMatches) -> When {
    flags.get_one::<String>(COLOR).and_then(|word| When::find(word)).unwrap_or_default()
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
