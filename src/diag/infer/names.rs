//! What `getaddrinfo` can tell of names.

use super::{Confidence, Suspect, suspect};
use crate::diag::code::Code;
use crate::diag::evidence::{Evidence, Found};
use crate::diag::fact::{Addresses, CheckId, NameFailure, Reference};

/// A stub resolver waits 5 s (Linux) or 1 to 4 s (Windows) for one server: an answer of "try again"
/// that comes earlier was brought by somebody.
const WAITED_IN_VAIN_US: u64 = 3_500_000;

/// What the name failed with.
fn failed(evidence: &Evidence) -> Option<(Found<'_, Addresses>, NameFailure)> {
    let found = evidence.addresses()?;
    // An address that was given needs no name.
    let asked = evidence.subject.ip().is_none();
    found.1.failure.filter(|_| asked).map(|failure| (found, failure))
}

/// What name servers of the user's choice say of the name.
#[derive(Debug, Default)]
pub(super) struct Others<'e> {
    /// They have addresses for it.
    pub(super) knowing: Vec<Found<'e, Addresses>>,
    /// They say that there is no such name.
    pub(super) denying: Vec<&'e Reference>,
}

/// Asked of [`CheckId::OtherResolver`].
pub(super) fn others(evidence: &Evidence) -> Others<'_> {
    let mut others = Others::default();
    for (reference, found) in evidence.all::<Addresses>(CheckId::OtherResolver) {
        match found.failure {
            None => others.knowing.push((reference, found)),
            Some(NameFailure::NoSuchName | NameFailure::NoAddress) => {
                others.denying.push(reference);
            }
            Some(
                NameFailure::Silent
                | NameFailure::TryAgain
                | NameFailure::Failed
                | NameFailure::Other,
            ) => {}
        }
    }
    others
}

/// `NXDOMAIN`, or a name without an address, and nobody knows better.
pub(super) fn proxy_name_not_found(evidence: &Evidence) -> Option<Suspect> {
    let ((reference, _), failure) = failed(evidence)?;
    let others = others(evidence);
    let denied = matches!(failure, NameFailure::NoSuchName | NameFailure::NoAddress);
    if !denied || !others.knowing.is_empty() {
        return None;
    }
    let because = [reference].into_iter().chain(others.denying.iter().copied());
    let found = if others.denying.is_empty() {
        suspect(Code::ProxyNameNotFound, Confidence::Likely, because)
            .or(Code::ProxyNamePoisoned, "separate-ask-another-resolver")
    } else {
        suspect(Code::ProxyNameNotFound, Confidence::Certain, because)
    };
    Some(found.with("name", &evidence.subject.host))
}

/// A fault of the name server that this machine asks: certain once another one has the answer.
fn of_the_server(
    code: Code,
    confidence: Confidence,
    reference: &Reference,
    evidence: &Evidence,
) -> Suspect {
    let others = others(evidence);
    let knowing = others.knowing.iter().map(|(reference, _)| *reference);
    let found = if others.knowing.is_empty() {
        let look_alike = if code == Code::DnsServerFailing {
            Code::DnsServerUnreachable
        } else {
            Code::DnsServerFailing
        };
        suspect(code, confidence, [reference]).or(look_alike, "separate-ask-another-resolver")
    } else {
        suspect(code, Confidence::Certain, [reference].into_iter().chain(knowing))
    };
    found.with("name", &evidence.subject.host)
}

/// Nobody answered.
pub(super) fn dns_server_unreachable(evidence: &Evidence) -> Option<Suspect> {
    let ((reference, addresses), failure) = failed(evidence)?;
    let in_vain = addresses.elapsed_us >= WAITED_IN_VAIN_US;
    let silent = failure == NameFailure::Silent || (failure == NameFailure::TryAgain && in_vain);
    silent
        .then(|| of_the_server(Code::DnsServerUnreachable, Confidence::Likely, reference, evidence))
}

/// Somebody answered that it can't tell, or denies a name that others know.
pub(super) fn dns_server_failing(evidence: &Evidence) -> Option<Suspect> {
    let ((reference, addresses), failure) = failed(evidence)?;
    let confidence = match failure {
        NameFailure::Failed => Confidence::Likely,
        NameFailure::TryAgain if addresses.elapsed_us < WAITED_IN_VAIN_US => Confidence::Possible,
        NameFailure::Other => Confidence::Possible,
        NameFailure::NoSuchName | NameFailure::NoAddress
            if !others(evidence).knowing.is_empty() =>
        {
            Confidence::Certain
        }
        NameFailure::TryAgain
        | NameFailure::NoSuchName
        | NameFailure::NoAddress
        | NameFailure::Silent => return None,
    };
    Some(of_the_server(Code::DnsServerFailing, confidence, reference, evidence))
}
