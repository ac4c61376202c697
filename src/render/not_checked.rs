//! What a report does not tell, why, and what would.

use super::sentences::{about, named};
use super::words::Words;
use super::{ends, inside};
use crate::diag::diagnosis::State;
use crate::diag::evidence::{Command, Role};
use crate::diag::fact::{CheckId, Witness};
use crate::diag::report::Report;

/// Something that nobody looked at.
#[derive(Debug)]
pub(super) struct NotChecked {
    pub(super) what: String,
    pub(super) why: String,
    /// What would tell.
    pub(super) unlock: String,
}

/// What this report does not tell.
pub(super) fn not_checked(report: &Report, words: &Words) -> Vec<NotChecked> {
    let about = |id| about(id, &report.evidence.subject, words);
    let mut all = Vec::new();
    let command = report.evidence.asked.command;
    let role = report.evidence.asked.role;
    if command == Command::Doctor && role != Role::Client {
        return not_seen_from_the_server(report, words);
    }
    match (report.diagnosis.state, command) {
        (State::Ok | State::Degraded, Command::CheckPort) => all.push(NotChecked {
            what: about("not-checked-beyond"),
            why: about("not-checked-beyond-why"),
            unlock: about("not-checked-beyond-unlock"),
        }),
        (State::Broken | State::Inconclusive, _) if report.evidence.server.is_none() => {
            all.push(ends::unseen(report, words));
        }
        (State::Broken | State::Inconclusive, _)
        | (State::Ok | State::Degraded, Command::Probe | Command::Doctor) => {}
    }
    let server = report.evidence.server.as_deref();
    all.extend(server.and_then(|it| ends::unheard(it, report, words)));
    if report.evidence.of_server().is_some() {
        all.extend(kept_from_us(report, words));
    }
    all.extend(cut_short(report, words));
    all
}

/// What a server's own report does not tell.
fn not_seen_from_the_server(report: &Report, words: &Words) -> Vec<NotChecked> {
    let about = |id| about(id, &report.evidence.subject, words);
    let mut all: Vec<NotChecked> = kept_from_us(report, words).into_iter().collect();
    if report.evidence.asked.role == Role::Container {
        all.push(inside::not_checked(report, words));
        all.extend(cut_short(report, words));
        return all;
    }
    let witness = report.evidence.one::<Witness>(CheckId::Witness);
    // Who was knocked at knows that nothing in front of it keeps everybody away.
    if witness.is_none_or(|(_, it)| it.total == 0) {
        all.push(NotChecked {
            what: about("not-checked-provider"),
            why: about("not-checked-provider-why"),
            unlock: about("not-checked-provider-unlock"),
        });
    }
    all.extend(cut_short(report, words));
    all
}

/// What only the administrator of the server may see.
fn kept_from_us(report: &Report, words: &Words) -> Option<NotChecked> {
    let about = |id| about(id, &report.evidence.subject, words);
    report.is_kept_from_us().then(|| NotChecked {
        what: about("not-checked-root"),
        why: about("not-checked-root-why"),
        unlock: about("not-checked-root-unlock"),
    })
}

/// What there was no time for.
fn cut_short(report: &Report, words: &Words) -> Option<NotChecked> {
    let about = |id| about(id, &report.evidence.subject, words);
    report.is_cut_short().map(|why| NotChecked {
        what: about("not-checked-rest"),
        why: named("skip", why, words),
        unlock: about("not-checked-rest-unlock"),
    })
}
