//! What a doctor makes of a report besides printing it: a bundle, a comparison.

use std::process::ExitCode;

use super::args::{self, Flags};
use super::bundle::Bundle;
use super::compare::Old;
use super::{examine, exit, watch};
use crate::diag::changes::Change;
use crate::diag::evidence::Evidence;
use crate::diag::report::Report;
use crate::render::look::Look;
use crate::render::words::Words;

/// What was asked for.
#[derive(Default)]
pub(super) struct Beside {
    bundle: Option<Bundle>,
    old: Option<Old>,
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
        Ok(Self { bundle: Bundle::of(flags)?, old: Old::of(flags)? })
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
        self.old.as_ref().map(section).unwrap_or_default()
    }

    /// What has changed since the saved report; `None` when there is none.
    pub(super) fn changes(&self, report: &Report) -> Option<Vec<Change>> {
        self.old.as_ref().map(|old| old.changes(&report.evidence))
    }

    /// Writes the bundle; false when that failed.
    pub(super) fn keep(&self, report: &Report, command: &str, words: &Words) -> bool {
        self.bundle.as_ref().is_none_or(|it| it.write(report, command, words))
    }
}
