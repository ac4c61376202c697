//! The document that `--json` prints, and that `--from` reads again (`diag::saved`).

use serde_json::{Value, json};

use super::sentences::{about, advice, cause, headline, sentence, summary};
use super::words::Words;
use crate::diag::diagnosis::{Alternative, State};
use crate::diag::evidence::Evidence;
use crate::diag::fact::Fact;
use crate::diag::fix::fixes_of;
use crate::diag::infer::Suspect;
use crate::diag::report::{Health, Report, SCHEMA, health};

/// The document of one report; its `evidence` is everything that is needed to make it again. Only
/// its texts are in a language; codes and the words of the schema never are.
pub fn document(report: &Report, command: &str, words: &Words) -> Value {
    json!({
        "schema": SCHEMA,
        "command": command,
        "version": env!("CARGO_PKG_VERSION"),
        "role": report.evidence.asked.role,
        "target": report.evidence.subject.authority(),
        "verdict": verdict(report, words),
        "alternatives":
            report.diagnosis.alternatives.iter().map(|it| alternative(it, report, words)).collect::<Vec<_>>(),
        "warnings":
            report.diagnosis.warnings.iter().map(|it| finding(it, report, words)).collect::<Vec<_>>(),
        "path": report.path.iter().map(|stretch| json!({
            "segment": stretch.segment.word(),
            "state": stretch.health.word(),
            "by": stretch.by,
        })).collect::<Vec<_>>(),
        "checks": checks(&report.evidence, words),
        "timings": timings(report),
        "not_checked": not_checked(report, words),
        "evidence": report.evidence,
    })
}

/// The document of several reports: one of each, and the worst verdict.
pub fn documents(reports: &[Report], command: &str, words: &Words) -> Value {
    let worst = reports.iter().max_by_key(|report| report.diagnosis.state);
    json!({
        "schema": SCHEMA,
        "command": command,
        "version": env!("CARGO_PKG_VERSION"),
        "role": worst.map(|report| report.evidence.asked.role),
        "verdict": worst.map(|report| verdict(report, words)),
        "targets": reports.iter().map(|report| document(report, command, words)).collect::<Vec<_>>(),
    })
}

fn verdict(report: &Report, words: &Words) -> Value {
    match &report.diagnosis.verdict {
        Some(suspect) => {
            let mut value = finding(suspect, report, words);
            if let Some(fields) = value.as_object_mut() {
                fields.insert("status".to_owned(), report.diagnosis.state.word().into());
            }
            value
        }
        None => json!({
            "status": State::Inconclusive.word(),
            "code": null,
            "summary": headline(report, words),
            "confidence": null,
            "because": [],
            "fix": [],
        }),
    }
}

fn finding(suspect: &Suspect, report: &Report, words: &Words) -> Value {
    let subject = &report.evidence.subject;
    json!({
        "code": suspect.code.word(),
        "summary": cause(report, suspect, words),
        "confidence": suspect.confidence.word(),
        "because": suspect.because,
        "fix": fixes_of(suspect, subject).iter().map(|fix| {
            let text = sentence(&advice(fix.text, suspect, subject, words), &[]);
            let mut value = json!({ "where": fix.place.word(), "text": text });
            if let (Some(fields), Some(command)) = (value.as_object_mut(), &fix.command) {
                fields.insert("command".to_owned(), command.as_str().into());
            }
            if let (Some(fields), Some(risk)) = (value.as_object_mut(), fix.risk) {
                let risk = sentence(&advice(risk, suspect, subject, words), &[]);
                fields.insert("risk".to_owned(), risk.into());
            }
            value
        }).collect::<Vec<_>>(),
    })
}

fn alternative(it: &Alternative, report: &Report, words: &Words) -> Value {
    json!({
        "code": it.code.word(),
        "confidence": it.confidence.word(),
        "separate_by": it.separate_by.map(|key| about(key, &report.evidence.subject, words)),
    })
}

/// Those of this end, then those of the server.
fn checks(evidence: &Evidence, words: &Words) -> Vec<Value> {
    let ends = [Some(evidence), evidence.of_server()].into_iter().flatten();
    ends.flat_map(|end| end.facts.iter().map(move |fact| check(fact, end, words))).collect()
}

fn check(fact: &Fact, end: &Evidence, words: &Words) -> Value {
    let status = match health(fact) {
        Health::Ok => "ok",
        Health::Warn | Health::Unknown => "warn",
        Health::Bad => "fail",
        Health::Skipped => "skipped",
    };
    json!({
        "id": fact.check.word(),
        "ref": fact.reference,
        "status": status,
        "summary": summary(fact, end, words),
        "evidence": fact.data.as_ref().map_or_else(|| json!({}), |data| json!(data)),
        "duration_ms": fact.took_ms,
    })
}

fn timings(report: &Report) -> Value {
    let times = report.timings;
    json!({
        "dns_ms": times.dns_ms,
        "connect_ms": times.connect_ms,
        "proxy_ms": times.proxy_ms,
        "tls_ms": times.tls_ms,
        "first_byte_ms": times.first_byte_ms,
        "total_ms": times.total_ms,
    })
}

fn not_checked(report: &Report, words: &Words) -> Vec<Value> {
    let all = super::not_checked::not_checked(report, words).into_iter();
    all.map(|it| json!({ "what": it.what, "why": it.why, "unlock": it.unlock })).collect()
}
