//! Certificates of targets, and the clock by which they are judged.

use std::collections::BTreeMap;

use super::seen::{Seen, about, directly, hosts, through};
use super::{Confidence, Suspect, suspect};
use crate::diag::code::Code;
use crate::diag::evidence::Evidence;
use crate::diag::fact::{Certificate, Clock, Journey, Reference, Trust};
use crate::diag::interceptors::interceptor;

/// A clock that is further off is wrong: 5 minutes, as Kerberos has it.
const WRONG_S: u64 = 300;
/// So far apart two clocks may be that agree: time passes until an answer is read.
const AGREE_S: u64 = 120;

/// What is wrong with a certificate, if anything.
///
/// Roots that were given count alone where they know who signed it.
fn flaw(it: &Certificate) -> Option<Trust> {
    let verdict = it.given.filter(|it| *it != Trust::UnknownIssuer).unwrap_or(it.mozilla);
    (verdict != Trust::Trusted).then_some(verdict)
}

fn with_flaw(evidence: &Evidence, flaw_wanted: Trust) -> Vec<(Seen<'_>, &Certificate)> {
    let all = through(evidence).into_iter();
    all.filter_map(|seen| Some((seen, seen.trip.certificate.as_ref()?)))
        .filter(|(_, it)| flaw(it) == Some(flaw_wanted))
        .collect()
}

fn seen<'e>(hits: &[(Seen<'e>, &'e Certificate)]) -> Vec<Seen<'e>> {
    hits.iter().map(|(seen, _)| *seen).collect()
}

/// A name that tells who signed: the root says more than a certificate made on the fly.
fn signer(it: &Certificate) -> &String {
    if it.root.is_empty() { &it.issuer } else { &it.root }
}

/// Somebody on the way makes certificates, and this machine was told to trust that.
pub(super) fn tls_intercepted(evidence: &Evidence) -> Option<Suspect> {
    let hits: Vec<_> = with_flaw(evidence, Trust::UnknownIssuer)
        .into_iter()
        .filter(|(_, it)| it.system == Trust::Trusted)
        .collect();
    let (_, first) = hits.first()?;
    let targets = seen(&hits);
    let same = hits.iter().all(|(_, it)| signer(it) == signer(first));
    let found = |confidence| {
        let mut found = about(Code::TlsIntercepted, confidence, &targets, evidence);
        found.severity = Code::TlsIntercepted.severity();
        let found = found.with("issuer", signer(first));
        match interceptor(&first.root).or_else(|| interceptor(&first.issuer)) {
            Some(product) => {
                found.with("issuer", &product.name).with("setting", &product.kind.word())
            }
            None => found,
        }
    };
    // One site may have a certificate of its own company; two of one signer do not.
    Some(if hosts(&targets) > 1 && same {
        found(Confidence::Certain)
    } else {
        found(Confidence::Likely).or(Code::TargetCertUntrusted, "separate-issuer-on-the-server")
    })
}

/// Nobody vouches for it.
pub(super) fn target_cert_untrusted(evidence: &Evidence) -> Option<Suspect> {
    let hits: Vec<_> = with_flaw(evidence, Trust::UnknownIssuer)
        .into_iter()
        .filter(|(_, it)| it.system != Trust::Trusted)
        .collect();
    let (_, first) = hits.first()?;
    let targets = seen(&hits);
    let found = about(Code::TargetCertUntrusted, Confidence::Likely, &targets, evidence)
        .or(Code::TlsIntercepted, "separate-issuer-on-the-server")
        .or(Code::CaptivePortal, "separate-issuer-on-the-server");
    Some(found.with("issuer", &first.issuer))
}

/// The clocks of others: whose, and how far ahead of ours.
fn clocks(evidence: &Evidence) -> BTreeMap<&str, (&Reference, i64)> {
    let ahead = |it: Clock| it.theirs.saturating_sub(it.ours);
    let mut all = BTreeMap::new();
    let mut facts: Vec<_> = evidence
        .facts
        .iter()
        .filter_map(|fact| {
            let journey = <Journey as crate::diag::fact::Payload>::of(fact.data.as_ref()?)?;
            Some((&fact.reference, journey))
        })
        .collect();
    facts.sort_by_key(|(reference, _)| *reference);
    if let Some((reference, clock)) =
        evidence.hello().and_then(|(reference, it)| Some((reference, it.clock?)))
    {
        all.insert("", (reference, ahead(clock)));
    }
    for (reference, journey) in facts {
        for trip in &journey.trips {
            let of_proxy = trip.proxy.as_ref().and_then(|it| it.clock);
            let of_target = trip.answer.as_ref().and_then(|it| it.clock);
            if let Some(clock) = of_proxy {
                all.entry("").or_insert((reference, ahead(clock)));
            }
            if let Some(clock) = of_target {
                all.entry(super::seen::host(&journey.target)).or_insert((reference, ahead(clock)));
            }
        }
    }
    all
}

/// How far ahead of ours others' clocks are.
enum Skew<'e> {
    /// Nobody said.
    Unknown,
    /// Ours is right.
    None(&'e Reference),
    /// Only one other clock is known, and it is another time there.
    One(i64, &'e Reference),
    /// Several agree that ours is wrong.
    Ours(i64, Vec<&'e Reference>),
}

fn skew(evidence: &Evidence) -> Skew<'_> {
    let clocks = clocks(evidence);
    // Who agrees with ours is enough: others may be wrong, or be read from a cache.
    let right = clocks.values().filter(|(_, ahead)| ahead.unsigned_abs() <= WRONG_S);
    if let Some((reference, _)) = right.min() {
        return Skew::None(reference);
    }
    let mut wrong: Vec<(i64, &Reference)> =
        clocks.values().map(|(it, ahead)| (*ahead, *it)).collect();
    wrong.sort_unstable();
    match wrong.as_slice() {
        [(ahead, reference)] => Skew::One(*ahead, reference),
        [(least, _), .., (most, _)] if most.abs_diff(*least) <= AGREE_S => {
            Skew::Ours(*least, wrong.iter().map(|(_, it)| *it).collect())
        }
        // Nobody said, or they do not agree with each other either.
        _ => Skew::Unknown,
    }
}

impl Skew<'_> {
    /// Whether a certificate that is out of date by our clock is so by theirs as well; `None` when
    /// nobody knows.
    fn stays_wrong(&self, it: &Certificate) -> Option<bool> {
        let ahead = match self {
            Skew::Unknown => return None,
            Skew::None(_) => 0,
            Skew::One(ahead, _) | Skew::Ours(ahead, _) => *ahead,
        };
        let now = it.now.saturating_add(ahead);
        Some(now < it.not_before || now > it.not_after)
    }
}

/// The clock of this machine is wrong.
pub(super) fn clock_skew(evidence: &Evidence) -> Option<Suspect> {
    let dated = [Trust::Expired, Trust::NotYetValid];
    let hits: Vec<_> = dated.into_iter().flat_map(|it| with_flaw(evidence, it)).collect();
    let skew = skew(evidence);
    let healed = !hits.is_empty() && hits.iter().all(|(_, it)| skew.stays_wrong(it) == Some(false));
    let because = hits.iter().map(|(seen, _)| seen.reference);
    Some(match &skew {
        Skew::Unknown | Skew::None(_) => return None,
        Skew::Ours(ahead, all) => {
            suspect(Code::ClockSkew, Confidence::Certain, because.chain(all.iter().copied()))
                .with("seconds", &ahead.unsigned_abs())
        }
        Skew::One(ahead, reference) => {
            let confidence = if healed { Confidence::Likely } else { Confidence::Possible };
            suspect(Code::ClockSkew, confidence, because.chain([*reference]))
                .or(Code::TargetCertExpired, "separate-clock")
                .with("seconds", &ahead.unsigned_abs())
        }
    })
}

/// Out of date, one way or the other.
fn dated(evidence: &Evidence, code: Code, flaw: Trust) -> Option<Suspect> {
    let skew = skew(evidence);
    let mut hits = with_flaw(evidence, flaw);
    // By a clock that is right it may be good: then that is the cause.
    hits.retain(|(_, it)| skew.stays_wrong(it) != Some(false));
    if hits.is_empty() {
        return None;
    }
    let targets = seen(&hits);
    Some(match skew {
        Skew::Unknown => about(code, Confidence::Likely, &targets, evidence)
            .or(Code::ClockSkew, "separate-clock"),
        Skew::None(reference) | Skew::One(_, reference) => {
            about(code, Confidence::Certain, &targets, evidence).and(reference)
        }
        Skew::Ours(_, all) => {
            let found = about(code, Confidence::Certain, &targets, evidence);
            all.into_iter().fold(found, Suspect::and)
        }
    })
}

/// It is too old.
pub(super) fn target_cert_expired(evidence: &Evidence) -> Option<Suspect> {
    dated(evidence, Code::TargetCertExpired, Trust::Expired)
}

/// It is too new.
pub(super) fn target_cert_not_yet_valid(evidence: &Evidence) -> Option<Suspect> {
    dated(evidence, Code::TargetCertNotYetValid, Trust::NotYetValid)
}

/// It is for another name.
pub(super) fn target_cert_name(evidence: &Evidence) -> Option<Suspect> {
    let hits = with_flaw(evidence, Trust::WrongName);
    let (_, first) = hits.first()?;
    let targets = seen(&hits);
    // The same from here, where another name server was asked: it is the target's own.
    let here = |(seen, it): &(Seen<'_>, &Certificate)| {
        let here = directly(evidence, seen.target)?;
        let same = here.trip.certificate.as_ref().is_some_and(|here| here.names == it.names);
        same.then_some(here.reference)
    };
    let same: Option<Vec<_>> = hits.iter().map(here).collect();
    let other = first.names.first();
    Some(
        match same {
            Some(references) => {
                let found = about(Code::TargetCertName, Confidence::Certain, &targets, evidence);
                references.into_iter().fold(found, Suspect::and)
            }
            None => about(Code::TargetCertName, Confidence::Likely, &targets, evidence)
                .or(Code::ProxyDnsBroken, "separate-names-on-the-server"),
        }
        .with_some("other", other),
    )
}
