//! The files of a bundle: what a person in trouble gives to somebody who helps.

use super::human::{self, Detail};
use super::json;
use super::look::Look;
use super::words::Words;
use crate::diag::report::Report;
use crate::diag::scrub::{Counts, Kind, Known, Public, Scrubbed, scrub};

/// A file: its name and its text.
pub type File = (&'static str, String);

/// The report without secrets as files: the document that `--from` reads, what a person reads, and
/// what was replaced in both; `None` when it can't be made clean.
pub fn files(
    report: &Report,
    command: &str,
    (known, public): (&Known, Public),
    words: &Words,
) -> Option<Vec<File>> {
    let Scrubbed { evidence, counts } = scrub(&report.evidence, known, public)?;
    let clean = Report::new(evidence);
    let told = |it: &Report| (it.code(), it.diagnosis.state);
    let note = (told(&clean) != told(report)).then_some("bundle-verdict-differs");
    let document = json::document(&clean, command, words);
    Some(vec![
        ("README.txt", readme(words)),
        ("evidence.json", format!("{document:#}\n")),
        ("report.txt", human::text(&clean, Detail::Full, words, Look::PLAIN)),
        ("redaction.txt", redaction(&counts, public, note, words)),
    ])
}

fn readme(words: &Words) -> String {
    format!("{}\n", words.text("bundle-readme", &[]))
}

fn redaction(counts: &Counts, public: Public, note: Option<&str>, words: &Words) -> String {
    let mut lines = vec![words.text("bundle-redaction", &[])];
    for kind in Kind::ALL {
        let count = u64::try_from(counts.of(kind)).unwrap_or(u64::MAX);
        if kind == Kind::PublicAddresses && public == Public::Kept {
            lines.push(words.text("bundle-addresses-kept", &[]));
            continue;
        }
        let name = words.text(&format!("redacted-{}", kind.word()), &[]);
        lines.push(format!("{name}: {count}"));
    }
    lines.extend(note.map(|note| words.text(note, &[])));
    lines.push(String::new());
    lines.join("\n")
}
