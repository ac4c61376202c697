//! A double click in Explorer: a window of our own that would be gone at once. It asks for the
//! proxy, examines it, and stays until somebody has read the report.

use std::ffi::OsString;
use std::io::{BufRead, Write};
use std::process::ExitCode;

use super::{args, exit, proxy_url};
use crate::render::words::{Arg, Words};

/// What examines the proxy.
const COMMAND: &str = args::DOCTOR;
/// Where the address may be known from, the strongest first.
const VARIABLES: [&str; 6] =
    ["SAMI_PROXY_TARGET", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "HTTP_PROXY"];

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
    let known = VARIABLES.iter().filter_map(|name| variable(name));
    let known = known.map(|it| it.trim().to_owned()).find(|it| proxy_url::parse(it).is_ok());
    say(&words.text("window-welcome", &[]));
    let Some(proxy) = ask(&mut input, words, known.as_deref()) else {
        return ExitCode::from(exit::INCONCLUSIVE);
    };
    let code = examine(["sami-proxy", COMMAND, "--", &proxy].map(OsString::from).to_vec());
    say(&format!("\n{}", words.text("window-close", &[])));
    let _the_end_of_input_closes_it_too = input.read_line(&mut String::new());
    code
}

/// The proxy that the person names, or `known` when nothing is entered.
fn ask(input: &mut impl BufRead, words: &Words, known: Option<&str>) -> Option<String> {
    // A password is not shown.
    let shown = known.and_then(|it| proxy_url::parse(it).ok());
    let question = match shown {
        Some(url) => {
            let proxy = url.address.to_string();
            words.text("window-ask-known", &[("proxy", Arg::Text(&proxy))])
        }
        None => words.text("window-ask", &[]),
    };
    loop {
        say(&question);
        let mut line = String::new();
        if input.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim().trim_start_matches('\u{feff}').trim();
        match (line, known) {
            ("", Some(known)) => return Some(known.to_owned()),
            ("", None) => {}
            (line, _) => match proxy_url::parse(line) {
                Ok(_) => return Some(line.to_owned()),
                Err(_) => say(&words.text("window-wrong", &[])),
            },
        }
    }
}

fn say(text: &str) {
    // Whoever can't see it can't answer either, and then the input ends.
    let _gone = writeln!(std::io::stderr().lock(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::{Console, Person, ask, is_one};
    use crate::render::words::{Lang, Words};

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

    #[test]
    fn it_asks_until_it_has_a_proxy() {
        let words = Words::new(Lang::En);
        let known = Some("http://u:p@known:8080");
        for (typed, known, expected) in [
            ("h:1\r\n", None, Some("h:1")),
            ("\n  \nnonsense\n h:1 \n", None, Some("h:1")),
            ("\u{feff}h:1\n", None, Some("h:1")),
            ("\r\n", known, Some("http://u:p@known:8080")),
            ("h:1", known, Some("h:1")),
            ("nonsense\n", None, None),
            ("", known, None),
        ] {
            let answer = ask(&mut typed.as_bytes(), &words, known);
            assert_eq!(answer.as_deref(), expected, "{typed:?}");
        }
    }
}
