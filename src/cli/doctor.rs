//! `doctor`: everything that can be found out from this machine.

use std::process::ExitCode;

use super::args::{self, Flags};
use super::{examine, exit, probe};
use crate::diag::evidence::{Command, Evidence};
use crate::render::look::Look;
use crate::render::words::Words;

/// 0 it works, 1 a problem, 2 bad usage, 3 it could not be told.
pub(super) fn run(flags: Flags<'_>, words: &Words, look: Look) -> ExitCode {
    match examine::Form::of(flags).and_then(|form| Ok((form, evidence(flags, words)?))) {
        Ok((form, evidence)) => examine::print(evidence, (form, args::DOCTOR), words, look),
        Err(problem) => exit::line(problem, exit::USAGE),
    }
}

/// Measured now, or read from a saved report.
fn evidence(flags: Flags<'_>, words: &Words) -> Result<Vec<Evidence>, String> {
    if let Some(file) = flags.one(args::FROM) {
        let live = [&probe::LIVE[..], &[args::ONLINE]].concat();
        return examine::saved(file, flags, &live);
    }
    let (mut ask, budget) = probe::request(flags)?;
    ask.asked.command = Command::Doctor;
    ask.asked.online = flags.has(args::ONLINE);
    examine::measure(vec![ask], budget, words)
}
