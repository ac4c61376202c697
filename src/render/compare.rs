//! What has changed since an earlier report, for people and programs.

use std::fmt::Write;

use serde_json::{Value, json};

use super::look::{Glyphs, Look};
use super::sentences::word;
use super::words::{Arg, Words};
use crate::diag::changes::{Change, What};
use crate::diag::evidence::Evidence;
use crate::tame::tame;

/// Whose subjects are words of ours, and their group.
const SUBJECTS: [(What, &str); 3] =
    [(What::Check, "check"), (What::SystemProxy, "setting"), (What::Timing, "stage")];

/// Whose values are words of ours, and their group.
const VALUES: [(What, &str); 3] =
    [(What::Check, "health"), (What::Reached, "provider"), (What::Provider, "provider")];

fn group_of(all: &[(What, &'static str)], what: What) -> Option<&'static str> {
    all.iter().find(|(of, _)| *of == what).map(|(_, group)| *group)
}

/// The changes below a report: a heading with the moment `since`, and a line for each.
pub fn section(
    (old, new): (&Evidence, &Evidence),
    changes: &[Change],
    since: Option<&str>,
    (words, look): (&Words, Look),
) -> String {
    let heading = match since {
        Some(since) => words.text("changes-since", &[("subject", Arg::Text(since))]),
        None => words.text("changes-since-untold", &[]),
    };
    let mut out = format!("\n  {}\n", look.bold(&heading));
    if old.subject.authority() != new.subject.authority() {
        let (other, proxy) = (old.subject.authority(), new.subject.authority());
        let args = [("other", Arg::Text(other.as_str())), ("proxy", Arg::Text(proxy.as_str()))];
        // Writing to a string can't fail.
        let _never = writeln!(out, "    {}", words.text("changes-other", &args));
    }
    if changes.is_empty() {
        let _never = writeln!(out, "    {}", words.text("changes-none", &[]));
    }
    for change in changes {
        let _never = writeln!(out, "    {}", line(change, words, look));
    }
    out
}

/// One change in a line: `adapters (eth0): 10.0.0.5/24 → 10.0.1.5/24`.
pub fn line(change: &Change, words: &Words, look: Look) -> String {
    let what = serde_json::to_value(change.what).unwrap_or_default();
    let what = word("change", what.as_str().unwrap_or_default(), words);
    let subject = match group_of(&SUBJECTS, change.what) {
        Some(group) => word(group, &change.subject, words),
        None => tame(&change.subject),
    };
    let of = if subject.is_empty() { String::new() } else { format!(" ({subject})") };
    let shown = |it: &Option<String>| it.as_ref().map(|it| value(change.what, it, words));
    let arrow = match look.glyphs {
        Glyphs::Unicode => "→",
        Glyphs::Ascii => "->",
    };
    match (shown(&change.before), shown(&change.after)) {
        (Some(before), Some(after)) => format!("{what}{of}: {before} {arrow} {after}"),
        (Some(before), None) => format!("- {what}{of}: {before}"),
        (None, Some(after)) => format!("+ {what}{of}: {after}"),
        (None, None) => format!("{what}{of}"),
    }
}

/// A value as people read it: the words of the schema are translated, all others stand as they are.
fn value(what: What, value: &str, words: &Words) -> String {
    match group_of(&VALUES, what) {
        Some(group) => word(group, value, words),
        None if what == What::Timing => format!("{value} {}", words.text("waterfall-unit", &[])),
        None => tame(value),
    }
}

/// Puts the changes into the document of a report.
pub fn put(document: &mut Value, changes: &[Change], words: &Words) {
    let told = |change: &Change| {
        let mut value = json!(change);
        if let Some(fields) = value.as_object_mut() {
            let text = line(change, words, Look { glyphs: Glyphs::Ascii, ..Look::PLAIN });
            fields.insert("text".to_owned(), text.into());
        }
        value
    };
    if let Some(fields) = document.as_object_mut() {
        fields.insert("changes".to_owned(), changes.iter().map(told).collect());
    }
}
