//! The commands that diagnose, and what a double click does. A program without the feature `doctor`
//! has `without_doctor.rs` in their place.

mod args;
mod beside;
mod bundle;
mod check_port;
mod compare;
mod doctor;
mod double_click;
mod examine;
mod explain;
mod probe;
mod progress;
mod proxy_url;
mod report;
mod system;
mod watch;
mod which_proxy;
#[cfg(windows)]
mod windows_console;

use std::ffi::OsString;
use std::io::IsTerminal;
use std::process::ExitCode;

use clap::ArgMatches;

pub(super) use args::commands;
pub(super) use report::reporter;

use super::{exit, obey, text_file};
use crate::render::look::{Colours, Glyphs, Look, Output};
use crate::render::words::{Lang, Words};

/// Answers a double click, which has no arguments; `None`: it was none.
pub(super) fn double_clicked(arguments: &[OsString]) -> Option<ExitCode> {
    system::prepare_console();
    double_click::is_one(arguments.len(), system::console()).then(in_a_window)
}

/// Obeys `command`; `None` when it does not diagnose.
pub(super) fn run(command: &str, flags: &ArgMatches) -> Option<ExitCode> {
    Some(match command {
        args::EXPLAIN => {
            let word = flags.get_one::<String>(args::CODE).map(String::as_str);
            explain::run(word, lang(flags))
        }
        args::CHECK_PORT => {
            check_port::run(args::Flags::new(flags), &Words::new(lang(flags)), look(flags))
        }
        args::PROBE => probe::run(args::Flags::new(flags), &Words::new(lang(flags)), look(flags)),
        args::DOCTOR => doctor::run(args::Flags::new(flags), &Words::new(lang(flags)), look(flags)),
        args::WINDOW => in_a_window(),
        _ => return None,
    })
}

/// Asks for a proxy and examines it.
fn in_a_window() -> ExitCode {
    let lang = Lang::choose(None, variable, system::language().as_deref());
    double_click::run(&Words::new(lang), variable, obey)
}

/// The language of what is said to people.
fn lang(flags: &ArgMatches) -> Lang {
    Lang::choose(args::lang(flags), variable, system::language().as_deref())
}

/// How standard output looks.
fn look(flags: &ArgMatches) -> Look {
    let output = if std::io::stdout().is_terminal() { Output::Terminal } else { Output::Other };
    let colours = Colours::choose(args::when(flags), variable, output);
    // The console of Windows is given Unicode whatever its code page is.
    let glyphs = if cfg!(windows) { Glyphs::Unicode } else { Glyphs::choose(variable) };
    Look { colours, glyphs }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
