//! A report for a person: what is wrong, how we know, what to type; then the rest.

use std::fmt::Write;

use super::ends::told;
use super::look::Look;
use super::not_checked::not_checked;
use super::sentences::{about, advice, cause, headline, sentence, summary, word};
use super::waterfall;
use super::words::{Arg, Words};
use crate::diag::code::{Code, Segment};
use crate::diag::diagnosis::State;
use crate::diag::evidence::{Command, Evidence, Role};
use crate::diag::fact::Fact;
use crate::diag::fix::fixes_of;
use crate::diag::infer::Suspect;
use crate::diag::report::{Health, Report, Stretch, health};
use crate::tame::tame;

/// How much is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// The cause, its proof, what mends it.
    Short,
    /// Every check too.
    Full,
}

/// More of them would bury what they prove; all stand among the checks.
const MOST_PROOFS: usize = 3;

/// What stands before a line.
const LABELS: [&str; 9] = [
    "label-because",
    "label-fix",
    "label-or",
    "label-warning",
    "label-way",
    "label-checks",
    "label-server",
    "label-not-checked",
    "label-more",
];

/// One report.
pub fn text(report: &Report, detail: Detail, words: &Words, look: Look) -> String {
    let labels = LABELS.map(|label| length(&words.text(label, &[])));
    let width = labels.into_iter().max().unwrap_or_default();
    let mut page = Page { out: String::new(), report, words, look, width };
    page.all(detail);
    page.out
}

/// Several reports: a line each, then those with a problem in full.
pub fn table(reports: &[Report], detail: Detail, words: &Words, look: Look) -> String {
    let name = |report: &Report| report.evidence.subject.authority();
    let code =
        |report: &Report| report.code().map_or_else(|| "?".to_owned(), |it| it.word().to_owned());
    let state = |report: &Report| state(report, words, look);
    let width = |of: &dyn Fn(&Report) -> usize| reports.iter().map(of).max().unwrap_or_default();
    let names = width(&|report| length(&name(report)));
    let codes = width(&|report| length(&code(report)));
    let states = width(&|report| length(&state(report)));
    let mut out = String::new();
    for report in reports {
        let state = format!("{:<states$}", state(report));
        let state = look.paint_state(&state, report.diagnosis.state);
        let (name, code) = (name(report), code(report));
        let headline = headline(report, words);
        // Writing to a string can't fail.
        let _never = writeln!(out, "{state}  {name:<names$}  {code:<codes$}  {headline}");
    }
    for report in reports {
        if report.diagnosis.state > State::Degraded || detail == Detail::Full {
            out.push('\n');
            out.push_str(&text(report, detail, words, look));
        }
    }
    out
}

/// What a server's report ends with, when its token was asked for.
pub fn token(token: &str, report: &Report, words: &Words) -> String {
    let port = report.evidence.subject.port.to_string();
    format!("\n{}\n\n{token}\n", words.text("joint-token", &[("port", Arg::Text(&port))]))
}

/// How many columns `text` takes: all our letters are one wide.
pub(super) fn length(text: &str) -> usize {
    text.chars().count()
}

/// Mark and word.
fn state(report: &Report, words: &Words, look: Look) -> String {
    let state = report.diagnosis.state;
    format!("{} {}", look.of_state(state), word("state", state.word(), words))
}

/// A report being written.
struct Page<'r> {
    out: String,
    report: &'r Report,
    words: &'r Words,
    look: Look,
    /// Of the longest label.
    width: usize,
}

impl Page<'_> {
    fn all(&mut self, detail: Detail) {
        let (report, words) = (self.report, self.words);
        let subject = &report.evidence.subject;
        let state = state(report, words, self.look);
        let state = self.look.paint_state(&state, report.diagnosis.state);
        let headline = headline(report, words);
        let _never = writeln!(self.out, "{state}  {}  {headline}", subject.authority());
        if let Some(verdict) = &report.diagnosis.verdict {
            self.because(verdict);
            self.mending(verdict);
            for other in &report.diagnosis.alternatives {
                let by = other.separate_by.map(|key| about(key, subject, words));
                let by = by.map_or_else(String::new, |by| format!(": {by}"));
                self.line("label-or", &format!("{}{by}", other.code.word()));
            }
        }
        for warning in &report.diagnosis.warnings {
            let cause = cause(report, warning, words);
            self.line("label-warning", &format!("{cause} ({})", warning.code.word()));
            self.mending(warning);
        }
        let way = self.way();
        self.line("label-way", &way);
        self.checks(detail);
        for it in not_checked(report, words) {
            self.line("label-not-checked", &format!("{} ({}): {}", it.what, it.why, it.unlock));
        }
        if let Some(code) = report.code().filter(|code| *code != Code::Ok) {
            let command = self.look.bold(&format!("sami-proxy explain {}", code.word()));
            self.line("label-more", &command);
        }
        self.out.push_str(&waterfall::all(&report.evidence, words, self.look));
        self.out.push_str(&waterfall::providers(&report.evidence, words, self.look));
    }

    /// The proof in one line.
    fn because(&mut self, verdict: &Suspect) {
        let (report, words) = (self.report, self.words);
        let facts = verdict.because.iter().filter_map(|it| report.evidence.find(it));
        let mut proofs: Vec<String> = facts.map(|(fact, end)| summary(fact, end, words)).collect();
        let server = report.evidence.server.as_deref().filter(|_| proofs.is_empty());
        proofs.extend(server.and_then(|it| told(it, words)));
        let more = proofs.len().saturating_sub(MOST_PROOFS);
        if more > 0 {
            proofs.truncate(MOST_PROOFS);
            let more = u64::try_from(more).unwrap_or(u64::MAX);
            proofs.push(words.text("fact-more", &[("count", Arg::Number(more))]));
        }
        let sure = word("confidence", verdict.confidence.word(), words);
        let sure = format!("{}, {sure}", verdict.code.word());
        self.line("label-because", &format!("{} ({sure})", proofs.join("; ")));
    }

    fn mending(&mut self, suspect: &Suspect) {
        let subject = &self.report.evidence.subject;
        for fix in fixes_of(suspect, subject) {
            let place = word("place", fix.place.word(), self.words);
            let text = advice(fix.text, suspect, subject, self.words);
            self.line("label-fix", &sentence(&format!("{place}: {text}"), &[]));
            if let Some(command) = fix.command {
                let command = self.look.bold(&command);
                let _never = writeln!(self.out, "{:1$}  $ {command}", "", self.width);
            }
            if let Some(risk) = fix.risk {
                let risk = advice(risk, suspect, subject, self.words);
                let risk = format!("{} {risk}", self.look.of_health(Health::Warn));
                let risk = self.look.paint_health(&risk, Health::Warn);
                let _never = writeln!(self.out, "{:1$}  {risk}", "", self.width);
            }
        }
    }

    /// The ribbon, as far as somebody looked.
    fn way(&self) -> String {
        let asked = &self.report.evidence.asked;
        let until = match (asked.command, asked.role) {
            (Command::CheckPort, _) => Segment::Proxy,
            (Command::Doctor, Role::Host | Role::Container) => Segment::Dns,
            (Command::Probe, _) | (Command::Doctor, Role::Client) => Segment::Target,
        };
        let shown = self.report.path.iter().filter(|it| it.segment <= until);
        let each: Vec<String> = shown.map(|stretch| self.stretch(stretch)).collect();
        each.join(" > ")
    }

    /// A mark, a name, and a word where somebody should look.
    fn stretch(&self, stretch: &Stretch) -> String {
        let name = word("way", stretch.segment.word(), self.words);
        let mark = self.look.of_health(stretch.health);
        let word = || word("health", stretch.health.word(), self.words);
        let text = match stretch.health {
            Health::Bad => format!("[{mark} {name}: {}]", word()),
            Health::Warn => format!("{mark} {name}: {}", word()),
            Health::Ok | Health::Unknown | Health::Skipped => format!("{mark} {name}"),
        };
        self.look.paint_health(&text, stretch.health)
    }

    fn checks(&mut self, detail: Detail) {
        let (report, words) = (self.report, self.words);
        let ends = [Some(&report.evidence), report.evidence.of_server()];
        if report.diagnosis.verdict.is_none() || detail == Detail::Full {
            for (end, label) in ends.into_iter().zip(["label-checks", "label-server"]) {
                if let Some(end) = end {
                    self.rows(end, label);
                }
            }
            return;
        }
        let facts = ends.into_iter().flatten().flat_map(|end| &end.facts);
        let fine = facts.filter(|fact| health(fact) == Health::Ok).count();
        if fine > 0 {
            let fine = u64::try_from(fine).unwrap_or(u64::MAX);
            let folded = words.text("checks-folded", &[("count", Arg::Number(fine))]);
            self.line("label-checks", &folded);
        }
    }

    /// Every check of one end.
    fn rows(&mut self, end: &Evidence, label: &str) {
        let (facts, words) = (&end.facts, self.words);
        let name = |fact: &Fact| word("check", fact.check.word(), words);
        let names = facts.iter().map(|it| length(&name(it))).max().unwrap_or_default();
        let marks = facts.iter().map(|it| length(&self.mark(it))).max().unwrap_or_default();
        for fact in facts {
            let (reference, name) = (tame(&fact.reference.0), name(fact));
            let mark = format!("{:<marks$}", self.mark(fact));
            let mark = self.look.paint_health(&mark, health(fact));
            let told = summary(fact, end, words);
            self.line(label, &format!("{reference:<4} {name:<names$}  {mark}  {told}"));
        }
    }

    /// A mark and a word; what was skipped says so in its sentence.
    fn mark(&self, fact: &Fact) -> String {
        let health = health(fact);
        let mark = self.look.of_health(health);
        match health {
            Health::Skipped => mark.to_owned(),
            Health::Ok | Health::Bad | Health::Warn | Health::Unknown => {
                format!("{mark} {}", word("health", health.word(), self.words))
            }
        }
    }

    fn line(&mut self, label: &str, text: &str) {
        let label = self.words.text(label, &[]);
        let _never = writeln!(self.out, "{label:>0$}  {text}", self.width);
    }
}
