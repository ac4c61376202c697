//! What was seen from inside the container, and what could not be, in sentences.

use super::not_checked::NotChecked;
use super::sentences::{about, named};
use super::server::joined;
use super::words::{Arg, Words};
use crate::diag::fact::{CheckId, End, Inside};
use crate::diag::fix::is_plain;
use crate::diag::plan_host::NAME;
use crate::diag::report::Report;

use Arg::{Number, Text};

const MEGABYTE: u64 = 1024 * 1024;

/// In our image.
const PROGRAM: &str = "/usr/local/bin/sami-proxy";

/// The container that is looked at from inside.
pub(super) fn looked_around(it: &Inside, words: &Words) -> String {
    let plain = |id| words.text(id, &[]);
    let mut told = Vec::new();
    match (&it.serving, it.alone) {
        (Some(serving), _) => {
            let root = serving.user == Some(0);
            let name = plain(if root { "fact-inside-root" } else { "fact-inside-user" });
            let ours = it.listeners.iter().flatten().filter(|it| it.own != Some(false));
            let addresses: Vec<String> = ours.map(|it| it.address.to_string()).collect();
            let id = if addresses.is_empty() { "fact-inside-deaf" } else { "fact-inside-listens" };
            let addresses = addresses.join(", ");
            told.push(words.text(id, &[("name", Text(&name)), ("addresses", Text(&addresses))]));
        }
        (None, true) => told.push(plain("fact-inside-alone")),
        (None, false) => told.push(plain("fact-inside-nobody")),
    }
    if let Some(unseen) = &it.unseen {
        let why = named("unseen", unseen.why, words);
        told.push(words.text("fact-container-unseen", &[("why", Text(&why))]));
    }
    match it.answer.as_ref().map(|it| it.end) {
        Some(End::Answered) => told.push(plain("fact-inside-answers")),
        Some(End::Silent) => told.push(plain("fact-inside-silent")),
        Some(End::Closed | End::Reset | End::NoConnection | End::Unfinished) | None => {}
    }
    if it.own_network == Some(false) {
        told.push(plain("fact-inside-host-network"));
    }
    if let Some((limit, used)) = it.memory.and_then(|it| Some((it.limit?, it.used?))) {
        let limit = (limit / MEGABYTE).to_string();
        let all = [("megabytes", Number(used / MEGABYTE)), ("limit", Text(limit.as_str()))];
        told.push(words.text("fact-inside-memory", &all));
    }
    if let Some(killed) = it.memory.and_then(|it| it.killed).filter(|it| *it > 0) {
        told.push(words.text("fact-inside-killed", &[("count", Number(killed))]));
    }
    joined(&told, words)
}

/// The way to the container, and the one line that looks at it.
pub(super) fn not_checked(report: &Report, words: &Words) -> NotChecked {
    let about = |id| about(id, &report.evidence.subject, words);
    let from = source_of_the_program(report);
    NotChecked {
        what: about("not-checked-host"),
        why: about("not-checked-host-why"),
        unlock: words.text("not-checked-host-unlock", &[("subject", Text(&from))]),
    }
}

/// Where `docker cp` gets this program on the server: it has no libraries there, either.
fn source_of_the_program(report: &Report) -> String {
    let inside = report.evidence.one::<Inside>(CheckId::ContainerInside).map(|(_, it)| it);
    let named = report.evidence.asked.container.as_ref();
    let container = named.or_else(|| inside?.id.as_ref()).map_or(NAME, String::as_str);
    let program = inside.and_then(|it| it.program.as_deref()).filter(|it| is_plain(it));
    let container = if is_plain(container) { container } else { NAME };
    format!("{container}:{}", program.unwrap_or(PROGRAM))
}
