//! What a target answered.

use serde::Serialize;

use super::reply::{Source, Why, of_why};
use super::seen::{Seen, about, directly, hosts, through, works_elsewhere};
use super::{Confidence, Suspect};
use crate::diag::code::{Code, Severity};
use crate::diag::evidence::Evidence;
use crate::diag::fact::{Answer, How, Journey, Stage};
use crate::diag::llm::provider_of;

/// How an answer says that it does not serve who asks from here.
///
/// 400, 401 and 403 of an API that was asked without a key are none of these: it was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Judged {
    /// In words or by a status of its own: not this region.
    Region,
    /// It says no in words that its own API uses for that, and for other things too.
    MaybeRegion,
    /// Proof is wanted that a person asks.
    Challenge,
    /// Too many requests.
    Limited,
    /// An error of the service.
    Error,
}

/// What a journey through the proxy came to, for the person who wants to use the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reach {
    /// It answers.
    Reached,
    /// It answers that it wants a key: nobody gave it one.
    NeedsKey,
    /// It does not serve the country of the proxy.
    Region,
    /// It wants proof that a person asks.
    Challenged,
    /// It answers, and asks to come less often.
    RateLimited,
    /// It answers with an error of its own.
    Error,
    /// The proxy refuses to go there.
    Denied,
    /// Its certificate is not to be trusted.
    Untrusted,
    /// There is no answer.
    Unreached,
    /// There was no time to find out.
    Untold,
}

/// What `journey` came to.
pub fn reach(journey: &Journey) -> Reach {
    let Some(trip) = journey.typical() else { return Reach::Untold };
    let failure = trip.failure.as_ref();
    match (&trip.answer, failure.map(|it| (it.stage, it.how))) {
        (Some(answer), None) => match judged(&journey.target, answer) {
            Some(Judged::Region | Judged::MaybeRegion) => Reach::Region,
            Some(Judged::Challenge) => Reach::Challenged,
            Some(Judged::Limited) => Reach::RateLimited,
            Some(Judged::Error) => Reach::Error,
            None if matches!(answer.status, 400 | 401 | 403) => Reach::NeedsKey,
            None => Reach::Reached,
        },
        (_, Some((Stage::Proxy, How::Denied))) => Reach::Denied,
        (_, Some((_, How::Certificate))) => Reach::Untrusted,
        (_, Some((_, How::Unfinished))) | (None, None) => Reach::Untold,
        (_, Some(_)) => Reach::Unreached,
    }
}

/// What they write; lower case.
const REGION: [&str; 4] = [
    // OpenAI
    "unsupported_country_region_territory",
    // Google
    "user location is not supported",
    // Anthropic's site
    "app unavailable in region",
    "not available in your country",
];
const CHALLENGE: [&str; 4] =
    ["just a moment", "challenge-platform", "g-recaptcha", "unusual traffic from your"];

/// What `answer` of `target` means when it is not well.
pub(super) fn judged(target: &str, answer: &Answer) -> Option<Judged> {
    let body = answer.body.to_ascii_lowercase();
    let has = |all: &[&str]| all.iter().any(|text| body.contains(text));
    let location = answer.location.as_deref().unwrap_or_default();
    let mitigated = answer.mitigated.as_deref() == Some("challenge");
    let api = provider_of(target).is_some();
    match answer.status {
        451 => Some(Judged::Region),
        400..=499 if has(&REGION) => Some(Judged::Region),
        _ if mitigated || location.contains("/sorry/") => Some(Judged::Challenge),
        403 | 429 | 503 if has(&CHALLENGE) => Some(Judged::Challenge),
        429 => Some(Judged::Limited),
        403 if api && has(&["request not allowed"]) => Some(Judged::MaybeRegion),
        500..=599 => Some(Judged::Error),
        _ => None,
    }
}

fn with<'e>(evidence: &'e Evidence, wanted: &[Judged]) -> Vec<Seen<'e>> {
    let is = |it: &Seen<'e>| {
        it.answer()
            .and_then(|answer| judged(it.target, answer))
            .is_some_and(|it| wanted.contains(&it))
    };
    through(evidence).into_iter().filter(is).collect()
}

/// The target does not serve the country of the server.
pub(super) fn target_region_blocked(evidence: &Evidence) -> Option<Suspect> {
    let told = with(evidence, &[Judged::Region]);
    let hits = with(evidence, &[Judged::Region, Judged::MaybeRegion]);
    if hits.is_empty() {
        return None;
    }
    Some(if told.is_empty() {
        about(Code::TargetRegionBlocked, Confidence::Likely, &hits, evidence)
            .or(Code::EgressDatacenterRefused, "separate-other-egress")
    } else {
        about(Code::TargetRegionBlocked, Confidence::Certain, &hits, evidence)
    })
}

/// The target wants proof that a person asks.
///
/// It was reached: where another target is served the proxy is well, and this is a warning.
pub(super) fn target_challenged(evidence: &Evidence) -> Option<Suspect> {
    let hits = with(evidence, &[Judged::Challenge]);
    if hits.is_empty() {
        return None;
    }
    let mut found = about(Code::TargetChallenged, Confidence::Certain, &hits, evidence);
    if works_elsewhere(evidence, &hits) {
        found.severity = Severity::Warning;
    }
    Some(found)
}

/// The target says: too many.
pub(super) fn target_rate_limited(evidence: &Evidence) -> Option<Suspect> {
    let hits = with(evidence, &[Judged::Limited]);
    if hits.is_empty() {
        return None;
    }
    let waits = hits.iter().filter_map(|it| it.answer()?.retry_after_s).max();
    let found = |confidence| about(Code::TargetRateLimited, confidence, &hits, evidence);
    Some(match waits {
        Some(seconds) => found(Confidence::Certain).with("seconds", &seconds),
        None => {
            found(Confidence::Likely).or(Code::EgressDatacenterRefused, "separate-other-egress")
        }
    })
}

/// The target has an error of its own.
pub(super) fn target_http_error(evidence: &Evidence) -> Option<Suspect> {
    let mut hits = with(evidence, &[Judged::Error]);
    let status = hits.iter().filter_map(|it| Some(it.answer()?.status)).min();
    // A proxy that forwards a plain http:// request answers in the target's stead.
    let garbled = of_why(evidence, &[Why::BadAnswer]);
    let foreign = hits.iter().any(|it| it.target.starts_with("http://"))
        || garbled.iter().any(|it| it.source < Source::Ours);
    hits.extend(garbled.iter().map(|it| it.seen));
    if hits.is_empty() {
        return None;
    }
    let status = status.or_else(|| {
        garbled.iter().filter_map(|it| Some(it.seen.trip.proxy.as_ref()?.status)).min()
    });
    let found = |confidence| about(Code::TargetHttpError, confidence, &hits, evidence);
    let found = if foreign {
        found(Confidence::Likely).or(Code::TargetUnreachable, "separate-other-site")
    } else {
        found(Confidence::Certain)
    };
    Some(found.with_some("status", status))
}

/// The target does not like the address of the server: without the proxy it has no objection.
pub(super) fn egress_datacenter_refused(evidence: &Evidence) -> Option<Suspect> {
    let refused = |it: &Seen<'_>| {
        it.answer().is_some_and(|answer| match judged(it.target, answer) {
            Some(Judged::Challenge | Judged::Limited) => true,
            None => answer.status == 403 && provider_of(it.target).is_none(),
            Some(Judged::Region | Judged::MaybeRegion | Judged::Error) => false,
        })
    };
    let welcome = |it: &Seen<'_>| {
        let here = directly(evidence, it.target)?;
        let good = here.is_served() && here.answer().is_some_and(|it| it.status < 400);
        good.then_some(here.reference)
    };
    let hits: Vec<Seen<'_>> = through(evidence).into_iter().filter(refused).collect();
    let better: Vec<_> = hits.iter().filter_map(welcome).collect();
    let confidence = if !better.is_empty() {
        Confidence::Likely
    } else if hosts(&hits) > 1 {
        Confidence::Possible
    } else {
        return None;
    };
    let found = about(Code::EgressDatacenterRefused, confidence, &hits, evidence)
        .or(Code::TargetRegionBlocked, "separate-other-egress");
    Some(better.into_iter().fold(found, Suspect::and))
}
