//! Which proxy is meant when none was typed: what this machine has been told, or a question.

use std::io::{BufRead, IsTerminal, Write};

use super::proxy_url;
use crate::diag::{proxy_settings, settings};
use crate::render::words::{Arg, Words};

/// Where a proxy may be named, the strongest first.
pub(super) const VARIABLES: [&str; 6] =
    ["SAMI_PROXY_TARGET", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "HTTP_PROXY"];

/// The proxy that a variable names, or else the settings of this system.
pub(super) fn known(variable: impl Fn(&str) -> Option<String>) -> Option<String> {
    let named = VARIABLES.iter().filter_map(|name| variable(name));
    let mut named = named.map(|it| it.trim().to_owned());
    let is_one = |it: &String| proxy_url::parse(it).is_ok();
    named.find(is_one).or_else(|| settings::in_use(&proxy_settings()?).filter(is_one))
}

/// Whether somebody can be asked: standard output carries the report only.
pub(super) fn somebody_is_there() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// The proxy that the person names, or `known` when nothing is entered. It asks on standard error
/// until it has one, or `input` ends.
pub(super) fn ask(input: &mut impl BufRead, words: &Words, known: Option<&str>) -> Option<String> {
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

/// Says it to the person.
pub(super) fn say(text: &str) {
    // Whoever can't see it can't answer either, and then the input ends.
    let _gone = writeln!(std::io::stderr().lock(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::{ask, known};
    use crate::render::words::{Lang, Words};

    #[test]
    fn the_strongest_variable_that_names_a_proxy_counts() {
        let of = |all: &'static [(&str, &str)]| {
            move |name: &str| all.iter().find(|it| it.0 == name).map(|it| it.1.to_owned())
        };
        let both = &[("HTTPS_PROXY", "http://h:2"), ("SAMI_PROXY_TARGET", " t:1 ")];
        assert_eq!(known(of(both)).as_deref(), Some("t:1"));
        let nonsense = &[("HTTPS_PROXY", "http://h:2"), ("SAMI_PROXY_TARGET", "nonsense")];
        assert_eq!(known(of(nonsense)).as_deref(), Some("http://h:2"));
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
