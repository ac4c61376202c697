//! What a doctor makes of a report besides printing it: a bundle, a comparison, a token.

use std::process::ExitCode;

use serde_json::Value;

use super::args::{self, Flags};
use super::bundle::Bundle;
use super::compare::Old;
use super::{doctor, examine, exit, watch};
use crate::diag::evidence::Evidence;
use crate::diag::report::Report;
use crate::render::look::Look;
use crate::render::words::Words;
use crate::render::{compare, human};

/// What was asked for.
#[derive(Default)]
pub(super) struct Beside {
    bundle: Option<Bundle>,
    old: Option<Old>,
    token: bool,
}

/// Prints what `measure` finds, once or again and again.
pub(super) fn run(
    flags: Flags<'_>,
    (words, look): (&Words, Look),
    measure: impl Fn() -> Result<Vec<Evidence>, String>,
) -> ExitCode {
    let form = match examine::Form::of(flags) {
        Ok(form) => form,
        Err(problem) => return exit::line(problem, exit::USAGE),
    };
    match watch::period(flags) {
        Ok(Some(period)) => watch::run(period, form, (words, look), measure),
        // Before anything is measured.
        Ok(None) => match Beside::of(flags) {
            Ok(beside) => {
                examine::report_beside(flags, args::DOCTOR, (words, look), &beside, measure)
            }
            Err(problem) => exit::line(problem, exit::USAGE),
        },
        Err(problem) => exit::line(problem, exit::USAGE),
    }
}

impl Beside {
    fn of(flags: Flags<'_>) -> Result<Self, String> {
        let token = flags.has(args::TOKEN);
        Ok(Self { bundle: Bundle::of(flags)?, old: Old::of(flags)?, token })
    }

    /// Whether so many reports can be had together with what was asked for.
    pub(super) fn suits(&self, reports: usize) -> Result<(), String> {
        match (&self.bundle, &self.old) {
            (Some(_), _) if reports > 1 => Err("--bundle takes a report about one port".to_owned()),
            (_, Some(_)) if reports > 1 => {
                Err("--compare takes a report about one port".to_owned())
            }
            (Some(_) | None, Some(_) | None) => Ok(()),
        }
    }

    /// What stands below a report for people.
    pub(super) fn section(&self, report: &Report, words: &Words, look: Look) -> String {
        let section = |old: &Old| old.section(&report.evidence, words, look);
        let changes = self.old.as_ref().map(section).unwrap_or_default();
        let token = self.token(report).map(|it| human::token(&it, report, words));
        changes + &token.unwrap_or_default()
    }

    /// The same, into the document for programs.
    pub(super) fn complete(&self, document: &mut Value, report: &Report, words: &Words) {
        if let Some(old) = &self.old {
            compare::put(document, &old.changes(&report.evidence), words);
        }
        if let (Some(token), Some(fields)) = (self.token(report), document.as_object_mut()) {
            fields.insert("token".to_owned(), token.into());
        }
    }

    fn token(&self, report: &Report) -> Option<String> {
        self.token.then(|| doctor::token_of(report))
    }

    /// Writes the bundle; false when that failed.
    pub(super) fn keep(&self, report: &Report, command: &str, words: &Words) -> bool {
        self.bundle.as_ref().is_none_or(|it| it.write(report, command, words))
    }
}
