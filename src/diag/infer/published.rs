//! Whether the port of the server leads to the proxy in its container.

use std::net::IpAddr;

use super::docker::about;
use super::{Confidence, Suspect};
use crate::diag::code::Code;
use crate::diag::evidence::{Evidence, Found, is_public};
use crate::diag::fact::{Binding, Container, Listener, State};

/// Where the image listens.
const USUAL: u16 = 8080;

/// Who has just started may not listen yet.
const STARTED_MS: u64 = 3_000;

/// The proxy's container, when it runs.
fn running(evidence: &Evidence) -> Option<Found<'_, Container>> {
    evidence.container().filter(|(_, it)| it.last().state == State::Running)
}

/// The same, when Docker leads ports to it.
pub(super) fn bridged(evidence: &Evidence) -> Option<Found<'_, Container>> {
    running(evidence).filter(|(_, it)| {
        let mode = it.network_mode.as_str();
        mode != "host" && mode != "none" && !mode.starts_with("container:")
    })
}

/// What the port of the server that is asked about leads to.
pub(super) fn here(container: &Container, port: u16) -> Vec<Binding> {
    container.ports.iter().filter(|it| it.port == Some(port)).copied().collect()
}

/// The ports where it waits for the world, and where only for itself; `None` when that could not be
/// seen.
struct Ears {
    open: Vec<u16>,
    own: Vec<u16>,
}

fn ears(container: &Container) -> Option<Ears> {
    let all = container.listeners.as_ref()?;
    let host = container.network_mode == "host";
    if host && all.iter().any(|it| it.own.is_none()) {
        return None;
    }
    let ours = all.iter().filter(|it| !host || it.own == Some(true));
    let (own, open): (Vec<&Listener>, Vec<&Listener>) =
        ours.partition(|it| it.address.ip().to_canonical().is_loopback());
    let ports = |all: Vec<&Listener>| {
        let mut ports: Vec<u16> = all.iter().map(|it| it.address.port()).collect();
        ports.sort_unstable();
        ports.dedup();
        ports
    };
    Some(Ears { open: ports(open), own: ports(own) })
}

/// The port at which the proxy has to listen in its container for the port of the server to lead to
/// it.
fn wanted(container: &Container, port: u16) -> Option<u16> {
    match container.network_mode.as_str() {
        "host" => Some(port),
        "none" => None,
        _ => here(container, port).first().map(|it| it.inside),
    }
}

/// No port of the server leads to it.
pub(super) fn port_not_published(evidence: &Evidence) -> Option<Suspect> {
    let found = bridged(evidence)?;
    let (_, container) = found;
    if !container.ports.is_empty() {
        return None;
    }
    // Asked for and not there: Docker could not, or something has taken it away since.
    let confidence =
        if container.bindings.is_empty() { Confidence::Certain } else { Confidence::Likely };
    let inside = ears(container).and_then(|it| it.open.first().copied()).unwrap_or(USUAL);
    let suspect = about(Code::PortNotPublished, confidence, found);
    Some(suspect.with("port", &evidence.subject.port).with("inside", &inside))
}

/// Only programs on the server come to it.
pub(super) fn port_published_loopback_only(evidence: &Evidence) -> Option<Suspect> {
    let found = bridged(evidence)?;
    let here = here(found.1, evidence.subject.port);
    let inside = here.first()?.inside;
    let loopback = here.iter().all(|it| it.ip.is_some_and(|ip| ip.to_canonical().is_loopback()));
    loopback.then(|| {
        let suspect = about(Code::PortPublishedLoopbackOnly, Confidence::Certain, found);
        suspect.with("port", &evidence.subject.port).with("inside", &inside)
    })
}

/// The way begins at another port or address, or ends at a port where nobody listens.
pub(super) fn port_published_elsewhere(evidence: &Evidence) -> Option<Suspect> {
    let found = bridged(evidence)?;
    let (_, container) = found;
    let port = evidence.subject.port;
    let here = here(container, port);
    let about = |confidence, other: String, inside: u16| {
        let suspect = about(Code::PortPublishedElsewhere, confidence, found);
        Some(suspect.with("port", &port).with("other", &other).with("inside", &inside))
    };
    let Some(first) = here.first() else {
        let other = container.ports.first()?;
        let outside = other.port?;
        return about(Confidence::Certain, outside.to_string(), other.inside);
    };
    let ears = ears(container);
    let open = ears.as_ref().map_or(&[][..], |it| &it.open);
    if let Some(real) = open.first()
        && here.iter().all(|it| !open.contains(&it.inside))
        && first.inside != USUAL
    {
        return about(Confidence::Certain, format!("{port}:{}", first.inside), *real);
    }
    let elsewhere = here.iter().all(|it| is_elsewhere(it.ip, evidence));
    if !elsewhere {
        return None;
    }
    let ip = first.ip?;
    about(Confidence::Likely, std::net::SocketAddr::new(ip, port).to_string(), first.inside)
}

/// Whether a port on `ip` is not one on the server's own address, as the Internet has it.
fn is_elsewhere(ip: Option<IpAddr>, evidence: &Evidence) -> bool {
    let Some(ip) = ip.map(|ip| ip.to_canonical()) else { return false };
    if ip.is_loopback() {
        return false;
    }
    if ip.is_unspecified() {
        // Over IPv6 only: most clients have none.
        return ip.is_ipv6() && evidence.subject.ip().is_none_or(|it| it.is_ipv4());
    }
    let outward = evidence.engine().map_or(&[][..], |(_, it)| &it.outward);
    let asked = evidence.subject.ip() == Some(ip);
    !asked && !is_public(ip) && !outward.is_empty() && !outward.contains(&ip)
}

/// Its network has no way in.
pub(super) fn container_network_mode(evidence: &Evidence) -> Option<Suspect> {
    let found = running(evidence)?;
    let (_, container) = found;
    let port = evidence.subject.port;
    let mode = container.network_mode.as_str();
    let internal = !container.networks.is_empty()
        && container.networks.iter().all(|it| it.internal == Some(true));
    let other = match mode {
        "none" => mode,
        // What `-p` asks for is not heeded then.
        "host" => {
            let asked = container.bindings.iter().any(|it| it.port == Some(port));
            let heard = ears(container)?.open.contains(&port);
            (asked && !heard).then_some(mode)?
        }
        _ => internal.then(|| container.networks.first())??.name.as_str(),
    };
    let inside = container.bindings.first().map_or(USUAL, |it| it.inside);
    let suspect = about(Code::ContainerNetworkMode, Confidence::Certain, found);
    Some(suspect.with("port", &port).with("other", &other).with("inside", &inside))
}

/// The container's port to which the way leads, and who listens there.
fn listening(evidence: &Evidence) -> Option<(Found<'_, Container>, u16, Ears)> {
    let found = running(evidence)?;
    let inside = wanted(found.1, evidence.subject.port)?;
    Some((found, inside, ears(found.1)?))
}

/// Nobody listens at all.
pub(super) fn listener_missing(evidence: &Evidence) -> Option<Suspect> {
    let (found, inside, ears) = listening(evidence)?;
    if !ears.open.is_empty() || !ears.own.is_empty() {
        return None;
    }
    let young = found.1.last().up_ms.is_none_or(|it| it < STARTED_MS);
    let confidence = if young { Confidence::Possible } else { Confidence::Certain };
    Some(about(Code::ListenerMissing, confidence, found).with("port", &inside))
}

/// It hears only who is in the container, too.
pub(super) fn listener_loopback_only(evidence: &Evidence) -> Option<Suspect> {
    let (found, inside, ears) = listening(evidence)?;
    let deaf = !ears.open.contains(&inside)
        && (ears.own.contains(&inside) || (ears.open.is_empty() && !ears.own.is_empty()));
    deaf.then(|| {
        let suspect = about(Code::ListenerLoopbackOnly, Confidence::Certain, found);
        suspect.with("port", &evidence.subject.port).with("inside", &inside)
    })
}

/// It listens, and not where the way leads, although that is where it usually listens.
pub(super) fn listener_other_port(evidence: &Evidence) -> Option<Suspect> {
    let (found, inside, ears) = listening(evidence)?;
    let (_, container) = found;
    let usual = container.network_mode == "host" || inside == USUAL;
    if !usual || ears.open.contains(&inside) || ears.own.contains(&inside) {
        return None;
    }
    let other = ears.open.first()?;
    let suspect = about(Code::ListenerOtherPort, Confidence::Certain, found);
    Some(suspect.with("port", &inside).with("other", other).with("inside", other))
}

/// The listener to which the way leads.
fn ear(evidence: &Evidence) -> Option<(Found<'_, Container>, Listener)> {
    let found = running(evidence)?;
    let inside = wanted(found.1, evidence.subject.port)?;
    let mut at = found.1.listeners.iter().flatten().filter(|it| it.address.port() == inside);
    let longest = at.by_ref().copied().max_by_key(|it| it.waiting)?;
    Some((found, longest))
}

/// New connections are lost.
pub(super) fn backlog_overflow(evidence: &Evidence) -> Option<Suspect> {
    let (found, listener) = ear(evidence)?;
    let (_, container) = found;
    let most = evidence.egress().filter(|(_, it)| it.container == container.name);
    let most = most.and_then(|(reference, it)| Some((reference, it.somaxconn?)));
    let still = listener.waiting_later.map_or(listener.waiting, |it| it.min(listener.waiting));
    let lost = container.overflow.and_then(|it| Some(it.second? > it.first)) == Some(true);
    let (confidence, also) = match most {
        // The kernel lets one more wait than it was told.
        Some((reference, most)) if still > most => (Confidence::Certain, Some(reference)),
        _ if lost && still > 0 => (Confidence::Likely, None),
        _ => return None,
    };
    let mut suspect = about(Code::BacklogOverflow, confidence, found).with("count", &still);
    suspect.because.extend(also.cloned());
    suspect.because.sort();
    Some(suspect.with("port", &evidence.subject.port))
}

/// Connections wait, and nobody takes them.
pub(super) fn hangs(evidence: &Evidence) -> Option<Suspect> {
    let (found, listener) = ear(evidence)?;
    let stuck = listener.waiting > 0 && listener.waiting_later? >= listener.waiting;
    stuck.then(|| {
        let suspect = about(Code::SilentPeer, Confidence::Likely, found);
        suspect.with("port", &evidence.subject.port).with("count", &listener.waiting)
    })
}

/// Whether the port of the server leads to a proxy that listens, as far as Docker tells.
pub fn leads_to_a_listener(evidence: &Evidence) -> Option<bool> {
    let (found, inside, ears) = listening(evidence)?;
    let (_, container) = found;
    let here = here(container, evidence.subject.port);
    let outside = container.network_mode == "host"
        || here.iter().any(|it| {
            !is_elsewhere(it.ip, evidence)
                && it.ip.is_none_or(|ip| !ip.to_canonical().is_loopback())
        });
    Some(outside && ears.open.contains(&inside))
}
