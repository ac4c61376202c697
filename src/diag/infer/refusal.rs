//! The proxy says no to a request.

use super::reply::{No, Source, Why, of_why};
use super::seen::{Seen, about, health, hosts, ok, other_beyond, through, works_elsewhere};
use super::{Confidence, Suspect, suspect};
use crate::diag::code::Code;
use crate::diag::evidence::Evidence;

fn seen<'e>(noes: &[No<'e>]) -> Vec<Seen<'e>> {
    noes.iter().map(|it| it.seen).collect()
}

/// The weakest of them.
fn source(noes: &[No<'_>]) -> Source {
    noes.iter().map(|it| it.source).min().unwrap_or(Source::Status)
}

/// Its rules forbid the target.
pub(super) fn target_denied_by_proxy(evidence: &Evidence) -> Option<Suspect> {
    let hits = of_why(evidence, &[Why::Forbidden]);
    if hits.is_empty() {
        return None;
    }
    let targets = seen(&hits);
    let found = |confidence| about(Code::TargetDeniedByProxy, confidence, &targets, evidence);
    Some(match (source(&hits), other_beyond(evidence, &targets)) {
        (Source::Ours, _) => found(Confidence::Certain),
        // We are let in: to another target.
        (_, Some(other)) => found(Confidence::Certain).and(other.reference),
        (_, None) if hosts(&targets) > 1 => {
            found(Confidence::Possible).or(Code::ClientNotAllowed, "separate-log-of-the-proxy")
        }
        (_, None) => {
            found(Confidence::Likely).or(Code::ClientNotAllowed, "separate-log-of-the-proxy")
        }
    })
}

/// It has as many connections as it may have.
pub(super) fn proxy_overloaded(evidence: &Evidence) -> Option<Suspect> {
    let hits = of_why(evidence, &[Why::Full]);
    if hits.is_empty() {
        return None;
    }
    let because = hits.iter().map(|it| it.seen.reference);
    let found = |confidence| suspect(Code::ProxyOverloaded, confidence, because);
    let mut found = match source(&hits) {
        Source::Ours => found(Confidence::Certain),
        Source::Word | Source::Text => {
            found(Confidence::Likely).or(Code::TargetUnreachable, "separate-log-of-the-proxy")
        }
        Source::Status => {
            found(Confidence::Possible).or(Code::TargetUnreachable, "separate-log-of-the-proxy")
        }
    };
    let targets = seen(&hits);
    let unwanted = targets.iter().all(|it| it.check == crate::diag::fact::CheckId::Llm);
    if unwanted && works_elsewhere(evidence, &targets) {
        found.severity = crate::diag::code::Severity::Warning;
    }
    Some(found)
}

/// The proxy that it passes everything on to is of no use.
pub(super) fn upstream_proxy_down(evidence: &Evidence) -> Option<Suspect> {
    let down = of_why(evidence, &[Why::ParentDown]);
    let refused = of_why(evidence, &[Why::ParentRefused]);
    let told = health(evidence).filter(|(_, it)| ok(it.upstream.as_ref()) == Some(false));
    let hits: Vec<_> = seen(&down).into_iter().chain(seen(&refused)).collect();
    let because: Vec<_> =
        hits.iter().map(|it| it.reference).chain(told.map(|(reference, _)| reference)).collect();
    if because.is_empty() {
        return None;
    }
    let found = |confidence| suspect(Code::UpstreamProxyDown, confidence, because);
    if through(evidence).iter().any(Seen::got_beyond) {
        // It has led somewhere a moment ago.
        return Some(
            found(Confidence::Possible).or(Code::TargetUnreachable, "separate-other-site"),
        );
    }
    Some(if down.is_empty() && told.is_none() {
        found(Confidence::Likely).or(Code::TargetUnreachable, "separate-other-site")
    } else {
        found(Confidence::Certain)
    })
}
