//! This machine.

use super::{
    Confidence, Suspect, answering_siblings, fastest, most_telling, references, sent, suspect,
    with_outcome,
};
use crate::diag::code::Code;
use crate::diag::evidence::{Evidence, Found};
use crate::diag::fact::{Outcome, Route};

/// Our own kernel answers within 0.1 to 0.3 ms.
const OWN_ANSWER_US: u64 = 1_000;
/// From which on a sibling's answer surely came from somewhere else.
const TRAVELLED_US: u64 = 4_000;

/// The routes that were looked for, when there is none.
fn no_way(evidence: &Evidence) -> Option<Vec<Found<'_, Route>>> {
    let routes: Vec<_> = evidence.routes().collect();
    let none = !routes.is_empty() && routes.iter().all(|(_, route)| route.is_missing());
    (none && !evidence.any(Outcome::Open)).then_some(routes)
}

/// No interface leads anywhere.
pub(super) fn no_network(evidence: &Evidence) -> Option<Suspect> {
    let routes = no_way(evidence)?;
    let because = routes.iter().map(|(reference, _)| *reference);
    let known = |others| routes.iter().any(|(_, route)| route.others == others);
    if known(Some(true)) {
        None
    } else if known(Some(false)) {
        Some(suspect(Code::NoNetwork, Confidence::Certain, because))
    } else {
        let found = suspect(Code::NoNetwork, Confidence::Possible, because);
        Some(found.or(Code::NoRoute, "separate-look-at-interfaces"))
    }
}

/// There is a network, but no way to this address.
pub(super) fn no_route(evidence: &Evidence) -> Option<Suspect> {
    let routes = no_way(evidence)?;
    let because = routes.iter().map(|(reference, _)| *reference);
    let known = |others| routes.iter().any(|(_, route)| route.others == others);
    let found = if known(Some(true)) {
        suspect(Code::NoRoute, Confidence::Certain, because)
    } else if known(Some(false)) {
        return None;
    } else {
        suspect(Code::NoRoute, Confidence::Likely, because)
            .or(Code::NoNetwork, "separate-look-at-interfaces")
    };
    Some(found)
}

/// This machine forbids it, or says no in less time than any packet needs.
pub(super) fn local_firewall(evidence: &Evidence) -> Option<Suspect> {
    let sent = sent(evidence);
    let outcome = most_telling(&sent)?;
    let attempts = with_outcome(&sent, outcome);
    match outcome {
        Outcome::Forbidden => {
            Some(suspect(Code::LocalFirewall, Confidence::Certain, references(&attempts)))
        }
        Outcome::Refused
        | Outcome::ProtocolUnreachable
        | Outcome::HostUnreachable
        | Outcome::NetworkUnreachable => {
            let siblings = answering_siblings(evidence);
            let at_once = attempts.iter().all(|(_, it)| it.elapsed_us < OWN_ANSWER_US);
            let far = fastest(&siblings)? >= TRAVELLED_US;
            (at_once && far).then(|| {
                let because = references(&attempts).chain(references(&siblings));
                suspect(Code::LocalFirewall, Confidence::Likely, because)
                    .or(Code::PortRejected, "separate-from-another-machine")
            })
        }
        Outcome::Open
        | Outcome::Silent
        | Outcome::NoSource
        | Outcome::Reset
        | Outcome::OwnLimits
        | Outcome::Other
        | Outcome::Unfinished => None,
    }
}

/// IPv4 works, and IPv6 is tried in vain before it.
pub(super) fn ipv6_broken(evidence: &Evidence) -> Option<Suspect> {
    let sent = sent(evidence);
    let (v4, v6): (Vec<_>, Vec<_>) =
        sent.into_iter().partition(|(_, it)| it.address.ip().to_canonical().is_ipv4());
    let broken = most_telling(&v4) == Some(Outcome::Open)
        && most_telling(&v6).is_some_and(|outcome| outcome != Outcome::Open);
    broken.then(|| suspect(Code::Ipv6Broken, Confidence::Likely, references(&v6)))
}
