//! `explain`: the page of one cause, or the list of all.

use std::io::Write as _;
use std::process::ExitCode;

use super::exit;
use crate::diag::code::{Code, Segment};
use crate::render::words::{Arg, Lang, Words};

/// As many are named when a code is mistyped.
const MOST_NEAR: usize = 3;

/// Prints the page of the code that is written `word` (in any case), or the list when there is no
/// word; exit 2 when there is no such code.
pub(super) fn run(word: Option<&str>, lang: Lang) -> ExitCode {
    let words = Words::new(lang);
    let text = match word.map(|word| (word, Code::find(&word.trim().to_ascii_lowercase()))) {
        None => list(&words),
        Some((_, Some(code))) => page(&words, code),
        Some((word, None)) => return exit::line(unknown(&words, word), exit::USAGE),
    };
    // Who closed the pipe has read enough.
    drop(std::io::stdout().write_all(text.as_bytes()));
    ExitCode::SUCCESS
}

fn page(words: &Words, code: Code) -> String {
    let place = words.segment(code.segment());
    let mut page = [
        format!("{} ({})", code.word(), words.severity(code.severity())),
        words.summary(code, &[]),
        format!("{}: {place}", words.text("explain-where", &[])),
        String::new(),
        words.long(code),
        String::new(),
        words.text("explain-placeholders", &[]),
    ]
    .join("\n");
    page.push('\n');
    page
}

fn list(words: &Words) -> String {
    let mut lines = Vec::new();
    for segment in Segment::ALL {
        lines.push(words.segment(segment));
        for code in Code::ALL.iter().filter(|code| code.segment() == segment) {
            lines.push(format!("    {:<30}{}", code.word(), words.summary(*code, &[])));
        }
        lines.push(String::new());
    }
    lines.push(words.text("explain-list", &[]));
    lines.push(String::new());
    lines.join("\n")
}

fn unknown(words: &Words, typed: &str) -> String {
    // It goes to a terminal.
    let shown: String = typed.chars().filter(|c| !c.is_control()).take(60).collect();
    let near = near(&typed.to_ascii_lowercase());
    let args = [("name", Arg::Text(&shown)), ("other", Arg::Text(&near))];
    words.text(if near.is_empty() { "explain-unknown" } else { "explain-near" }, &args)
}

/// The codes that may have been meant, the nearest first.
fn near(typed: &str) -> String {
    let mut found: Vec<(usize, &str)> = Code::ALL
        .iter()
        .map(|code| code.word())
        .filter_map(|known| Some((distance_of_near(known, typed)?, known)))
        .collect();
    // Stable: what is equally near stays in the order of the registry.
    found.sort_by_key(|(distance, _)| *distance);
    let words: Vec<&str> = found.into_iter().take(MOST_NEAR).map(|(_, word)| word).collect();
    words.join(", ")
}

/// How far `typed` is from `known`, if it is near at all: up to a third of it mistyped, or one of
/// the two within the other.
fn distance_of_near(known: &str, typed: &str) -> Option<usize> {
    // Longer than any code: nobody meant one, and it would take long to compare.
    if typed.len() > 60 {
        return None;
    }
    let distance = edit_distance(known, typed);
    let within = typed.len() >= 3 && (known.contains(typed) || typed.contains(known));
    (distance * 3 <= known.len() || within).then_some(distance)
}

/// Levenshtein's: letters to insert, delete or replace.
fn edit_distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.chars().count()).collect();
    for (line, a) in one.chars().enumerate() {
        let mut left = line + 1;
        let mut next = vec![left];
        for (b, above) in other.chars().zip(row.windows(2)) {
            let &[diagonal, up] = above else { continue };
            left = (diagonal + usize::from(a != b)).min(up + 1).min(left + 1);
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{edit_distance, near};

    #[test]
    fn edits_are_counted() {
        for (one, other, distance) in [
            ("", "", 0),
            ("a", "", 1),
            ("", "ab", 2),
            ("abc", "abc", 0),
            ("abc", "abd", 1),
            ("abc", "ac", 1),
            ("kitten", "sitting", 3),
            ("flaw", "lawn", 2),
        ] {
            assert_eq!(edit_distance(one, other), distance, "{one} {other}");
            assert_eq!(edit_distance(other, one), distance, "{other} {one}");
        }
    }

    #[test]
    fn near_codes_are_named_and_the_nearest_is_first() {
        assert!(near("port-filterd").starts_with("port-filtered"));
        assert!(near("ports-refused").starts_with("port-refused"));
        assert!(near("timeout").is_empty());
        assert!(near("dns").contains("dns"), "{}", near("dns"));
        assert_eq!(near("region"), "target-region-blocked");
        assert_eq!(near(""), "");
        assert_eq!(near(&"port-filtered ".repeat(1000)), "");
        assert!(near("port").split(", ").count() <= 3);
    }
}
