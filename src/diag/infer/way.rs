//! The way to the port.

use super::seen::{Seen, direct};
use super::{
    Confidence, Suspect, answering_siblings, fastest, most_telling, references, sent, suspect,
    with_outcome,
};
use crate::diag::code::Code;
use crate::diag::evidence::Evidence;
use crate::diag::fact::{Attempt, Outcome, Reference};

/// A router (and Linux itself) gives up asking for a neighbour after 3 to 4 s and then says "host
/// unreachable"; a firewall says so at once, in one round trip.
const GAVE_UP_US: u64 = 2_500_000;

/// An answer of the host itself takes about as long as that of its other ports.
const SAME_WAY: u64 = 2;

/// Nearer than this, time does not tell the host's firewall from that of this machine.
const FAR_US: u64 = 2_000;

type Attempts<'e> = Vec<(&'e Reference, &'e Attempt)>;

/// The attempts, when the most telling of them came to one of `outcomes`.
fn came_to<'e>(evidence: &'e Evidence, outcomes: &[Outcome]) -> Option<Attempts<'e>> {
    let sent = sent(evidence);
    let outcome = most_telling(&sent).filter(|it| outcomes.contains(it))?;
    Some(with_outcome(&sent, outcome))
}

const UNREACHABLE: [Outcome; 2] = [Outcome::HostUnreachable, Outcome::NetworkUnreachable];

/// A router says that the host is not there.
pub(super) fn host_unreachable(evidence: &Evidence) -> Option<Suspect> {
    let attempts = came_to(evidence, &UNREACHABLE)?;
    if !answering_siblings(evidence).is_empty() {
        return None;
    }
    let others: Attempts<'_> =
        evidence.siblings().filter(|(_, it)| UNREACHABLE.contains(&it.outcome)).collect();
    let because = references(&attempts).chain(references(&others));
    let gave_up = fastest(&attempts)? >= GAVE_UP_US;
    let confidence =
        if gave_up || !others.is_empty() { Confidence::Likely } else { Confidence::Possible };
    let found = suspect(Code::HostUnreachable, confidence, because);
    let found = found.with("host", &evidence.subject.host);
    // Who gave up asking is no firewall.
    Some(if gave_up { found } else { found.or(Code::PortRejected, "separate-provider-console") })
}

/// Nothing of the host answers.
pub(super) fn host_silent(evidence: &Evidence) -> Option<Suspect> {
    let attempts = came_to(evidence, &[Outcome::Silent])?;
    if !answering_siblings(evidence).is_empty() {
        return None;
    }
    let siblings: Attempts<'_> = evidence.siblings().collect();
    let all = siblings.iter().all(|(_, it)| it.outcome == Outcome::Silent);
    let asked = !siblings.is_empty() && all;
    let because = references(&attempts).chain(references(&siblings));
    let confidence = if asked { Confidence::Likely } else { Confidence::Possible };
    let found = suspect(Code::HostSilent, confidence, because)
        .or(Code::PortFiltered, "separate-provider-console");
    // Who reaches a site without the proxy has the Internet.
    let elsewhere = direct(evidence).into_iter().find(Seen::got_beyond);
    let found = match elsewhere {
        Some(seen) => found.and(seen.reference),
        None => found.or(Code::NoInternet, "separate-open-any-site"),
    };
    Some(found.with("host", &evidence.subject.host).with("port", &evidence.subject.port))
}

/// The host answers, this port does not.
pub(super) fn port_filtered(evidence: &Evidence) -> Option<Suspect> {
    let attempts = came_to(evidence, &[Outcome::Silent])?;
    let siblings = answering_siblings(evidence);
    let sibling = siblings.iter().map(|(_, it)| it.address.port()).min()?;
    let because = references(&attempts).chain(references(&siblings));
    let found = suspect(Code::PortFiltered, Confidence::Likely, because)
        .or(Code::LocalFirewall, "separate-from-another-machine")
        .or(Code::HostFirewallDrop, "separate-on-the-server");
    Some(found.with("port", &evidence.subject.port).with("sibling", &sibling))
}

/// A firewall says no by ICMP.
pub(super) fn port_rejected(evidence: &Evidence) -> Option<Suspect> {
    let outcomes =
        [Outcome::HostUnreachable, Outcome::NetworkUnreachable, Outcome::ProtocolUnreachable];
    let attempts = came_to(evidence, &outcomes)?;
    let siblings = answering_siblings(evidence);
    let because = references(&attempts).chain(references(&siblings));
    let took = fastest(&attempts)?;
    let port = evidence.subject.port;
    let protocol = attempts.iter().any(|(_, it)| it.outcome == Outcome::ProtocolUnreachable);
    let found = match fastest(&siblings) {
        None if protocol => suspect(Code::PortRejected, Confidence::Likely, because)
            .or(Code::LocalFirewall, "separate-from-another-machine"),
        None if took >= GAVE_UP_US => return None,
        None => suspect(Code::PortRejected, Confidence::Possible, because)
            .or(Code::HostUnreachable, "separate-provider-console"),
        // The host is there, but what it passes the port on to is not: a container that is gone.
        Some(_) if took >= GAVE_UP_US => suspect(Code::PortRejected, Confidence::Possible, because)
            .or(Code::ContainerMissing, "separate-on-the-server"),
        Some(sibling) if sibling >= FAR_US && took.saturating_mul(SAME_WAY) >= sibling => {
            suspect(Code::PortRejected, Confidence::Certain, because)
        }
        Some(_) => suspect(Code::PortRejected, Confidence::Likely, because)
            .or(Code::LocalFirewall, "separate-from-another-machine"),
    };
    Some(found.with("port", &port).with("inputport", &port).with("tool", &"iptables"))
}

/// The host is there and nothing listens.
pub(super) fn port_refused(evidence: &Evidence) -> Option<Suspect> {
    let attempts = came_to(evidence, &[Outcome::Refused])?;
    let ladder = evidence.ladder();
    let hop = ladder.and_then(|(_, ladder)| ladder.answers_from);
    let because = references(&attempts).chain(ladder.map(|(reference, _)| reference));
    // A name of the Internet that stands for this machine is another matter.
    let meant = evidence.subject.ip().is_some() || !evidence.subject.host.contains('.');
    let loopback = attempts.iter().all(|(_, it)| it.address.ip().to_canonical().is_loopback());
    let here = meant && loopback;
    let behind = ladder.is_some_and(|(_, ladder)| ladder.behind_server == Some(true));
    // Nothing between this machine and itself could refuse in its stead.
    let found = if here {
        suspect(Code::PortRefused, Confidence::Certain, because)
    } else if behind {
        // The server was to pass it on, so the port is published.
        suspect(Code::PortRefused, Confidence::Likely, because)
            .or(Code::ListenerLoopbackOnly, "separate-who-listens-inside")
            .or(Code::ListenerOtherPort, "separate-who-listens-inside")
            .or(Code::PortRejected, "separate-on-the-server")
    } else {
        suspect(Code::PortRefused, Confidence::Likely, because)
            .or(Code::PortRejected, "separate-on-the-server")
    };
    // The first hop is this machine's firewall, its router, or a host next to it.
    let found = if hop == Some(1) && !here {
        found.or(Code::LocalFirewall, "separate-from-another-machine")
    } else {
        found
    };
    Some(found.with("port", &evidence.subject.port).with_some("hop", hop))
}
