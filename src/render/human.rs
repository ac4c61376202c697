//! A report for a person: what is wrong, how we know, what to type; then the rest.

use std::fmt::Write;

use super::phrases::tame;
use super::sentences::{about, cause, headline, not_checked, summary, word};
use crate::diag::code::Segment;
use crate::diag::fact::{Fact, Reference};
use crate::diag::fix::fixes;
use crate::diag::infer::Suspect;
use crate::diag::report::{Health, Report, health};

/// How much is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// The cause, its proof, what mends it.
    Short,
    /// Every check too.
    Full,
}

/// Labels are as wide as the longest one and two spaces.
const LABEL: usize = 11;

/// One report.
pub fn text(report: &Report, detail: Detail) -> String {
    let mut out = String::new();
    let subject = &report.evidence.subject;
    let state = word("state", report.diagnosis.state.word());
    // Writing to a string can't fail.
    let _never = writeln!(out, "{state}  {}  {}", subject.authority(), headline(report));
    if let Some(verdict) = &report.diagnosis.verdict {
        because(&mut out, report, verdict);
        mending(&mut out, report, verdict);
        for other in &report.diagnosis.alternatives {
            let by = other.separate_by.map(|key| about(key, subject));
            let by = by.map_or_else(String::new, |by| format!(": {by}"));
            line(&mut out, "or", &format!("{}{by}", other.code.word()));
        }
    }
    for warning in &report.diagnosis.warnings {
        line(&mut out, "warning", &format!("{} ({})", cause(report, warning), warning.code.word()));
        mending(&mut out, report, warning);
    }
    line(&mut out, "way", &way(report));
    if report.diagnosis.verdict.is_none() || detail == Detail::Full {
        for fact in &report.evidence.facts {
            line(&mut out, "checks", &checked(fact, report));
        }
    }
    for it in not_checked(report) {
        line(&mut out, "not-checked", &format!("{}: {} ({})", it.what, it.unlock, it.why));
    }
    out
}

/// Several reports: a line each, then those with a problem in full.
pub fn table(reports: &[Report], detail: Detail) -> String {
    let name = |report: &Report| report.evidence.subject.authority();
    let code =
        |report: &Report| report.code().map_or_else(|| "?".to_owned(), |it| it.word().to_owned());
    let width = |of: &dyn Fn(&Report) -> usize| reports.iter().map(of).max().unwrap_or_default();
    let names = width(&|report| name(report).len());
    let codes = width(&|report| code(report).len());
    let states = width(&|report| word("state", report.diagnosis.state.word()).len());
    let mut out = String::new();
    for report in reports {
        let state = word("state", report.diagnosis.state.word());
        let (name, code) = (name(report), code(report));
        let _never =
            writeln!(out, "{state:<states$}  {name:<names$}  {code:<codes$}  {}", headline(report));
    }
    for report in reports {
        if report.diagnosis.state > crate::diag::diagnosis::State::Degraded
            || detail == Detail::Full
        {
            out.push('\n');
            out.push_str(&text(report, detail));
        }
    }
    out
}

/// The proof in one line.
fn because(out: &mut String, report: &Report, verdict: &Suspect) {
    let facts = verdict.because.iter().filter_map(|reference| find(report, reference));
    let proofs: Vec<String> = facts.map(|fact| summary(fact, report)).collect();
    let sure =
        format!("{}, {}", verdict.code.word(), word("confidence", verdict.confidence.word()));
    line(out, "because", &format!("{} ({sure})", proofs.join("; ")));
}

fn find<'r>(report: &'r Report, reference: &Reference) -> Option<&'r Fact> {
    report.evidence.facts.iter().find(|fact| fact.reference == *reference)
}

fn mending(out: &mut String, report: &Report, suspect: &Suspect) {
    let subject = &report.evidence.subject;
    for fix in fixes(suspect.code, subject) {
        let place = word("place", fix.place.word());
        line(out, "fix", &format!("{place}: {}", about(fix.text, subject)));
        if let Some(command) = fix.command {
            let _never = writeln!(out, "{:LABEL$}  $ {command}", "");
        }
    }
}

/// The ribbon: a segment and a word each, as far as the proxy.
fn way(report: &Report) -> String {
    let shown = report.path.iter().filter(|it| it.segment <= Segment::Proxy);
    let each = shown.map(|stretch| {
        let state = word("health", stretch.health.word());
        let name = word("segment", stretch.segment.word());
        if stretch.health == Health::Bad {
            format!("[{name} {state}]")
        } else {
            format!("{name} {state}")
        }
    });
    each.collect::<Vec<_>>().join(" > ")
}

fn checked(fact: &Fact, report: &Report) -> String {
    let state = word("health", health(fact).word());
    format!(
        "{:<4} {:<15} {:<7} {}",
        tame(&fact.reference.0),
        fact.check.word(),
        state,
        summary(fact, report)
    )
}

fn line(out: &mut String, label: &str, text: &str) {
    let label = word("label", label);
    let _never = writeln!(out, "{label:>LABEL$}  {text}");
}
