//! A double click in Explorer: a window of our own that would be gone at once. It asks for the
//! proxy, examines it, and stays until somebody has read the report.

use std::ffi::OsString;
use std::io::BufRead;
use std::process::ExitCode;

use super::which_proxy::{self, ask, say};
use super::{args, exit};
use crate::render::words::Words;

/// What examines the proxy.
const COMMAND: &str = args::DOCTOR;

/// The console that this process has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Console {
    /// Made for this process, and gone with it.
    Own,
    /// Of a shell, or none.
    Other,
}

impl Console {
    /// By the number of processes that share it.
    pub(super) const fn of(processes: u32, person: Person) -> Self {
        match (processes, person) {
            (1, Person::There) => Self::Own,
            _ => Self::Other,
        }
    }
}

/// Whether somebody sees what is written and can answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Person {
    /// Both ends are a terminal.
    There,
    /// A pipe or a file.
    Absent,
}

/// Whether to ask: without `arguments` (the program's name is the first), in a window of our own.
pub(super) const fn is_one(arguments: usize, console: Console) -> bool {
    arguments <= 1 && matches!(console, Console::Own)
}

/// Asks on standard error, for standard output carries the report only, and examines with
/// `examine`, which has the arguments of a command line.
pub(super) fn run(
    words: &Words,
    variable: impl Fn(&str) -> Option<String>,
    examine: impl FnOnce(Vec<OsString>) -> ExitCode,
) -> ExitCode {
    let mut input = std::io::stdin().lock();
    let known = which_proxy::known(variable);
    say(&words.text("window-welcome", &[]));
    let Some(proxy) = ask(&mut input, words, known.as_deref()) else {
        return ExitCode::from(exit::INCONCLUSIVE);
    };
    let code = examine(["sami-proxy", COMMAND, "--", &proxy].map(OsString::from).to_vec());
    say(&format!("\n{}", words.text("window-close", &[])));
    let _the_end_of_input_closes_it_too = input.read_line(&mut String::new());
    code
}

#[cfg(test)]
mod tests {
    use super::{Console, Person, is_one};

    #[test]
    fn only_a_window_of_our_own_without_arguments_asks() {
        for (arguments, processes, person, expected) in [
            (1, 1, Person::There, true),
            // Some starters give not even a name.
            (0, 1, Person::There, true),
            // With arguments, in a shell, without a console, in a pipe.
            (2, 1, Person::There, false),
            (1, 2, Person::There, false),
            (1, 0, Person::There, false),
            (1, 1, Person::Absent, false),
        ] {
            let asks = is_one(arguments, Console::of(processes, person));
            assert_eq!(asks, expected, "{arguments} {processes} {person:?}");
        }
    }
}
