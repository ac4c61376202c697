//! This machine.

use std::net::IpAddr;

use ipnet::IpNet;

use super::client::{adapters, nat64};
use super::{
    Confidence, Suspect, answering_siblings, fastest, most_telling, references, sent, suspect,
    with_outcome,
};
use crate::diag::code::Code;
use crate::diag::evidence::{Evidence, Found, is_public};
use crate::diag::fact::{AdapterKind, Adapters, Outcome, Reference, Route};

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

/// Whether an adapter is connected: what its cable or radio says weighs more than a routing table.
fn connected(evidence: &Evidence) -> Option<(&Reference, bool)> {
    let (reference, all) = adapters(evidence)?;
    // A tunnel stays up when what is below it is gone.
    Some((reference, all.connected().any(|it| it.vpn().is_none() || it.kind == AdapterKind::Ppp)))
}

/// No interface leads anywhere.
pub(super) fn no_network(evidence: &Evidence) -> Option<Suspect> {
    let routes = no_way(evidence)?;
    let because = routes.iter().map(|(reference, _)| *reference);
    match connected(evidence) {
        Some((_, true)) => return None,
        Some((adapters, false)) => {
            let found = suspect(Code::NoNetwork, Confidence::Certain, because);
            return Some(found.and(adapters));
        }
        None => {}
    }
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
    let found = match connected(evidence) {
        Some((_, false)) => return None,
        Some((adapters, true)) => {
            suspect(Code::NoRoute, Confidence::Certain, because).and(adapters)
        }
        None if known(Some(true)) => suspect(Code::NoRoute, Confidence::Certain, because),
        None if known(Some(false)) => return None,
        None => suspect(Code::NoRoute, Confidence::Likely, because)
            .or(Code::NoNetwork, "separate-look-at-interfaces"),
    };
    Some(without_ipv4(found, evidence))
}

/// A network of IPv6 alone, and a proxy with IPv4 addresses alone, needs another deed.
fn without_ipv4(found: Suspect, evidence: &Evidence) -> Suspect {
    let v4 = evidence.candidates().iter().find_map(|it| match it.ip().to_canonical() {
        IpAddr::V4(ip) => Some(ip),
        IpAddr::V6(_) => None,
    });
    let v6_out = adapters(evidence)
        .is_some_and(|(_, it)| it.usual_source.is_some_and(|ip| ip.is_ipv6() && is_public(ip)));
    let (Some(v4), Some((reference, it))) = (v4, nat64(evidence)) else { return found };
    if it.ipv4 || (!v6_out && it.prefixes.is_empty()) {
        return found;
    }
    let mapped = it.prefixes.first().and_then(|prefix| prefix.with(v4));
    let setting = if mapped.is_some() { "nat64" } else { "ipv6-only" };
    found.and(reference).with("setting", &setting).with_some("mapped", mapped)
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

/// This machine may be the very server, and the address that was asked for one that a router has in
/// its place: it need not lead back (hairpin), and silence then means nothing.
pub(super) fn behind_nat(evidence: &Evidence) -> Option<Suspect> {
    let (reference, all) = adapters(evidence)?;
    let public = |ip: IpAddr| ip.is_ipv4() && is_public(ip);
    let mut own = all.adapters.iter().flat_map(|it| it.addresses.iter().map(IpNet::addr));
    let source = all.usual_source.filter(|ip| ip.is_ipv4() && !is_public(*ip))?;
    let silent = most_telling(&sent(evidence)) == Some(Outcome::Silent);
    let asked = evidence.candidates().iter().any(|it| public(it.ip().to_canonical()));
    (all.listens == Some(true) && silent && asked && !own.any(public))
        .then(|| suspect(Code::BehindNat, Confidence::Possible, [reference]).with("other", &source))
}

fn has_public_ipv6(all: &Adapters) -> bool {
    let addresses = all.adapters.iter().flat_map(|it| it.addresses.iter().map(IpNet::addr));
    addresses.into_iter().any(|ip| ip.is_ipv6() && is_public(ip))
}

/// IPv4 works, and IPv6 is tried in vain before it.
pub(super) fn ipv6_broken(evidence: &Evidence) -> Option<Suspect> {
    let sent = sent(evidence);
    let (v4, v6): (Vec<_>, Vec<_>) =
        sent.into_iter().partition(|(_, it)| it.address.ip().to_canonical().is_ipv4());
    let broken = most_telling(&v4) == Some(Outcome::Open)
        && most_telling(&v6).is_some_and(|outcome| outcome != Outcome::Open);
    broken.then(|| {
        let found = suspect(Code::Ipv6Broken, Confidence::Likely, references(&v6));
        // Without an address of the whole Internet no answer can come.
        match adapters(evidence) {
            Some((reference, it)) if !has_public_ipv6(it) => {
                Suspect { confidence: Confidence::Certain, ..found }.and(reference)
            }
            Some(_) | None => found,
        }
    })
}
