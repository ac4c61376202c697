//! `doctor --compare`: a report that was saved when it worked, beside the one of now.

use std::time::{Duration, UNIX_EPOCH};

use super::args::{self, Flags};
use super::examine;
use crate::diag::changes::{Change, changes};
use crate::diag::evidence::Evidence;
use crate::render::compare;
use crate::render::look::Look;
use crate::render::words::Words;

/// The year 10000: what cannot be written as a date.
const NO_DATE: u64 = 253_402_300_800;

/// The saved report, of each of its targets.
pub(super) struct Old(Vec<Evidence>);

impl Old {
    /// What the flag asks for.
    pub(super) fn of(flags: Flags<'_>) -> Result<Option<Self>, String> {
        let read = |file| examine::read(args::COMPARE, file).map(Self);
        flags.one(args::COMPARE).map(read).transpose()
    }

    /// The report about the same port, else the first.
    fn about(&self, new: &Evidence) -> Option<&Evidence> {
        let same = |it: &&Evidence| it.subject.authority() == new.subject.authority();
        self.0.iter().find(same).or_else(|| self.0.first())
    }

    /// What is different in `new`.
    pub(super) fn changes(&self, new: &Evidence) -> Vec<Change> {
        self.about(new).map_or_else(Vec::new, |old| changes(old, new))
    }

    /// The section below a report.
    pub(super) fn section(&self, new: &Evidence, words: &Words, look: Look) -> String {
        let Some(old) = self.about(new) else { return String::new() };
        let since = old.at.filter(|it| *it < NO_DATE).map(|it| {
            let moment = UNIX_EPOCH + Duration::from_secs(it);
            humantime::format_rfc3339_seconds(moment).to_string()
        });
        compare::section((old, new), &changes(old, new), since.as_deref(), (words, look))
    }
}
