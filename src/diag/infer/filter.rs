//! Whether something on the way to the proxy reads along.

use super::reply::noes;
use super::seen::{Seen, about, is_ours, through};
use super::{Confidence, Suspect};
use crate::diag::code::{Code, Severity};
use crate::diag::evidence::{Evidence, Found, Scheme};
use crate::diag::fact::{CheckId, End, How, Reference, Speaks, Stage, Trial, Trials, Trick};

/// The trial of `trick`.
pub(super) fn trial(evidence: &Evidence, trick: Trick) -> Option<Found<'_, Trial>> {
    let (reference, all) = evidence.one::<Trials>(CheckId::Trials)?;
    all.trials.iter().find(|it| it.trick == trick).map(|it| (reference, it))
}

/// Whether it came to an answer, of whatever kind.
pub(super) fn passes(trial: Option<Found<'_, Trial>>) -> bool {
    trial.is_some_and(|(_, it)| it.end == End::Answered)
}

/// Whether it was cut off, and how sure that is.
///
/// A request that the proxy's kernel has taken was not cut off: the proxy is busy with it.
fn cut(trial: Option<Found<'_, Trial>>, ours: Ours) -> Option<Cut> {
    let (_, trial) = trial?;
    match (trial.end, trial.acknowledged) {
        (End::Silent, Some(false)) => Some(Cut::Dropped),
        (End::Silent, None) => Some(Cut::Silent),
        // sami-proxy never ends a request without an answer.
        (End::Reset | End::Closed, _) if ours == Ours::Yes => Some(Cut::Dropped),
        (End::Reset | End::Closed, _) => Some(Cut::Ended),
        (End::Silent, Some(true)) | (End::Answered | End::NoConnection | End::Unfinished, _) => {
            None
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ours {
    Yes,
    No,
}

/// What it looks like when a request is cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    /// The proxy surely did not do it.
    Dropped,
    /// Nobody answers; on this system it can't be told whether the request arrived.
    Silent,
    /// Somebody hung up.
    Ended,
}

fn whose(evidence: &Evidence) -> Ours {
    if is_ours(evidence) { Ours::Yes } else { Ours::No }
}

/// Requests that the proxy never received.
pub(super) fn connect_filtered(evidence: &Evidence) -> Option<Suspect> {
    // In TLS nobody can read what is asked for.
    if evidence.asked.scheme == Scheme::Https {
        return None;
    }
    by_trials(evidence).or_else(|| by_journeys(evidence))
}

fn by_trials(evidence: &Evidence) -> Option<Suspect> {
    let ours = whose(evidence);
    let of = |trick| trial(evidence, trick);
    let how = cut(of(Trick::WantedName), ours)?;
    let (reference, _) = of(Trick::WantedName)?;
    let split = passes(of(Trick::SplitLine));
    let neutral = of(Trick::NeutralName);
    let by_name = passes(neutral);
    let whole = passes(of(Trick::OriginForm)) && cut(neutral, ours).is_some();
    if !by_name && !whole && !split {
        return None;
    }
    // That the proxy is ours is a reason where a request was ended.
    let hello = evidence.hello().filter(|_| ours == Ours::Yes).map(|(reference, _)| reference);
    let because = || [reference].into_iter().chain(hello);
    let found = |confidence| named(Code::ConnectFiltered, confidence, evidence, because());
    Some(match (how, split) {
        // The proxy knows the name when the line comes in two pieces: who minds it is before it.
        (Cut::Dropped, true) => found(Confidence::Certain),
        (Cut::Silent | Cut::Ended, true) => {
            found(Confidence::Likely).or(Code::LinkLossy, "separate-again")
        }
        (Cut::Dropped, false) => {
            found(Confidence::Likely).or(Code::AcceptedThenClosed, "separate-log-of-the-proxy")
        }
        (Cut::Ended, false) if by_name => {
            found(Confidence::Possible).or(Code::TargetDeniedByProxy, "separate-log-of-the-proxy")
        }
        (Cut::Ended, false) => {
            found(Confidence::Possible).or(Code::NotAProxy, "separate-log-of-the-proxy")
        }
        (Cut::Silent, false) => {
            found(Confidence::Possible).or(Code::TargetUnreachable, "separate-log-of-the-proxy")
        }
    })
}

/// The first target is what the trials are about.
fn named<'e>(
    code: Code,
    confidence: Confidence,
    evidence: &'e Evidence,
    because: impl IntoIterator<Item = &'e Reference>,
) -> Suspect {
    let hits: Vec<Seen<'_>> = through(evidence).into_iter().filter(|it| !it.got_beyond()).collect();
    let first = hits.get(..1).unwrap_or_default();
    let mut found = about(code, confidence, first, evidence);
    found.severity = Severity::Problem;
    if first.is_empty() {
        let target = evidence.asked.targets.first().map_or("", String::as_str);
        found.arguments.insert("target", super::seen::host(target).to_owned());
    }
    because.into_iter().fold(found, Suspect::and)
}

/// Without trials: what the requests themselves came to.
fn by_journeys(evidence: &Evidence) -> Option<Suspect> {
    let trials = evidence.one::<Trials>(CheckId::Trials);
    // A trial of the same request that was answered is the better witness.
    if passes(trial(evidence, Trick::WantedName)) {
        return None;
    }
    let ours = whose(evidence);
    let all = through(evidence);
    let hits: Vec<Seen<'_>> = all
        .into_iter()
        .filter(|it| {
            it.failed_at(Stage::Proxy).is_some_and(|failure| match failure.how {
                How::Silent => failure.acknowledged == Some(false),
                How::Reset | How::Closed => ours == Ours::Yes,
                How::NoAddress
                | How::Refused
                | How::Unreachable
                | How::Denied
                | How::Certificate
                | How::Alert
                | How::Malformed
                | How::Unfinished => false,
            })
        })
        .collect();
    // Without trials the greeting is what shows that other requests pass.
    let speaks = evidence.hello().and_then(|(_, it)| it.speaks);
    let greets = matches!(speaks, Some(Speaks::SamiProxy | Speaks::HttpProxy));
    if hits.is_empty() || (!greets && noes(evidence).is_empty()) {
        return None;
    }
    let confidence = if trials.is_some() { Confidence::Possible } else { Confidence::Likely };
    let found = about(Code::ConnectFiltered, confidence, &hits, evidence);
    Some(found.or(Code::AcceptedThenClosed, "separate-log-of-the-proxy"))
}

/// The name in a `ClientHello` is what is minded.
pub(super) fn minds_the_name(evidence: &Evidence) -> Option<&Reference> {
    let (reference, wanted) = trial(evidence, Trick::WantedSni)?;
    let ended = matches!(wanted.end, End::Reset | End::Closed | End::Silent)
        && wanted.stage == Some(Stage::TargetTls);
    (ended && passes(trial(evidence, Trick::OtherSni))).then_some(reference)
}

/// Whatever the name in a `ClientHello`, it is cut off.
pub(super) fn minds_every_name(evidence: &Evidence) -> bool {
    let dies = |trick| {
        trial(evidence, trick).is_some_and(|(_, it)| {
            matches!(it.end, End::Reset | End::Closed | End::Silent)
                && it.stage == Some(Stage::TargetTls)
        })
    };
    dies(Trick::WantedSni) && dies(Trick::OtherSni)
}
