//! What `getaddrinfo` can tell of names.

use super::{Confidence, Suspect, suspect};
use crate::diag::code::Code;
use crate::diag::evidence::{Evidence, Found};
use crate::diag::fact::{Addresses, NameFailure};

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

/// `NXDOMAIN`, or a name without an address.
pub(super) fn proxy_name_not_found(evidence: &Evidence) -> Option<Suspect> {
    let ((reference, _), failure) = failed(evidence)?;
    matches!(failure, NameFailure::NoSuchName | NameFailure::NoAddress).then(|| {
        suspect(Code::ProxyNameNotFound, Confidence::Likely, [reference])
            .or(Code::ProxyNamePoisoned, "separate-ask-another-resolver")
            .with("name", &evidence.subject.host)
    })
}

/// Nobody answered.
pub(super) fn dns_server_unreachable(evidence: &Evidence) -> Option<Suspect> {
    let ((reference, addresses), failure) = failed(evidence)?;
    let in_vain = addresses.elapsed_us >= WAITED_IN_VAIN_US;
    let silent = failure == NameFailure::Silent || (failure == NameFailure::TryAgain && in_vain);
    silent.then(|| {
        suspect(Code::DnsServerUnreachable, Confidence::Likely, [reference])
            .or(Code::DnsServerFailing, "separate-ask-another-resolver")
            .with("name", &evidence.subject.host)
    })
}

/// Somebody answered that it can't tell.
pub(super) fn dns_server_failing(evidence: &Evidence) -> Option<Suspect> {
    let ((reference, addresses), failure) = failed(evidence)?;
    let confidence = match failure {
        NameFailure::Failed => Confidence::Likely,
        NameFailure::TryAgain if addresses.elapsed_us < WAITED_IN_VAIN_US => Confidence::Possible,
        NameFailure::Other => Confidence::Possible,
        NameFailure::TryAgain
        | NameFailure::NoSuchName
        | NameFailure::NoAddress
        | NameFailure::Silent => return None,
    };
    let found = suspect(Code::DnsServerFailing, confidence, [reference])
        .or(Code::DnsServerUnreachable, "separate-ask-another-resolver");
    Some(found.with("name", &evidence.subject.host))
}
