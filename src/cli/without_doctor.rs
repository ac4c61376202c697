//! In place of `diagnose` in a program that only serves: it says where the doctor is.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Arg, ArgMatches, Command};

use super::exit;
use crate::proxy::Reporter;

const ARGUMENTS: &str = "arguments";
/// What the whole program has.
const COMMANDS: [&str; 4] = ["check-port", "probe", "doctor", "explain"];

/// They are known, so that who types one hears why it is not there.
pub(super) fn commands() -> [Command; 4] {
    COMMANDS.map(|name| {
        let all = Arg::new(ARGUMENTS).num_args(0..).allow_hyphen_values(true);
        Command::new(name).hide(true).disable_help_flag(true).arg(all.trailing_var_arg(true))
    })
}

/// Says that `command` is not here; `None` when it is one of the others.
pub(super) fn run(command: &str, _flags: &ArgMatches) -> Option<ExitCode> {
    COMMANDS.contains(&command).then(|| {
        let elsewhere = "the image with a shell and the released programs have it";
        exit::line(
            format!("`{command}` is not in this program, which only serves: {elsewhere}"),
            exit::USAGE,
        )
    })
}

/// There is nothing to ask for.
pub(super) const fn double_clicked(_arguments: &[OsString]) -> Option<ExitCode> {
    None
}

/// There is no report.
pub(super) const fn reporter() -> Option<Reporter> {
    None
}
