//! What can be told from inside the proxy's container. Where its port is to be found outside, and
//! what the server lets through, can't be seen from here, and nothing is said of it.

use super::outward::opens;
use super::{Confidence, Suspect, suspect};
use crate::diag::code::{Code, Severity};
use crate::diag::evidence::{Evidence, Found, Role};
use crate::diag::fact::{CheckId, End, Inside, Listener, Reply};
use crate::diag::plan_host::NAME;

const MEGABYTE: u64 = 1024 * 1024;

/// Who has just started may not listen yet.
const STARTED_MS: u64 = 3_000;

/// What was seen, by who is inside.
pub(super) fn seen(evidence: &Evidence) -> Option<Found<'_, Inside>> {
    let inside = evidence.asked.role == Role::Container;
    evidence.one::<Inside>(CheckId::ContainerInside).filter(|_| inside)
}

fn about(code: Code, confidence: Confidence, evidence: &Evidence) -> Option<Suspect> {
    let (reference, _) = seen(evidence)?;
    let name = evidence.asked.container.as_deref().unwrap_or(NAME);
    Some(suspect(code, confidence, [reference]).with("container", &name))
}

/// The ports at which the proxy waits for others, and those where only for its own container;
/// `None` when whose a listener is could not be seen.
fn ears(it: &Inside) -> Option<(Vec<u16>, Vec<u16>)> {
    let all = it.listeners.as_ref()?;
    if it.own_network != Some(true) && all.iter().any(|it| it.own.is_none()) {
        return None;
    }
    let ours = all.iter().filter(|it| it.own != Some(false));
    let (own, open): (Vec<&Listener>, Vec<&Listener>) =
        ours.partition(|it| it.address.ip().to_canonical().is_loopback());
    let ports = |all: Vec<&Listener>| all.iter().map(|it| it.address.port()).collect();
    Some((ports(open), ports(own)))
}

/// Nobody listens for anybody.
pub(super) fn listener_missing(evidence: &Evidence) -> Option<Suspect> {
    let (_, it) = seen(evidence)?;
    let (open, own) = ears(it)?;
    if !open.is_empty() || !own.is_empty() || it.alone {
        return None;
    }
    let confidence = match &it.serving {
        // It may have another name.
        None => Confidence::Likely,
        Some(serving) if serving.up_ms.is_some_and(|it| it >= STARTED_MS) => Confidence::Certain,
        Some(_) => Confidence::Possible,
    };
    let found = about(Code::ListenerMissing, confidence, evidence)?;
    Some(found.with("port", &evidence.subject.port))
}

/// It hears only who is in the container, too.
pub(super) fn listener_loopback_only(evidence: &Evidence) -> Option<Suspect> {
    let (_, it) = seen(evidence)?;
    let (open, own) = ears(it)?;
    let port = evidence.subject.port;
    let deaf = if open.is_empty() { !own.is_empty() } else { deaf_at(port, (&open, &own)) };
    if !deaf || it.serving.is_none() {
        return None;
    }
    // Another container may share this network.
    let found = about(Code::ListenerLoopbackOnly, Confidence::Likely, evidence)?;
    let inside = own.iter().find(|it| **it == port).or_else(|| own.first())?;
    Some(found.with("port", &port).with("inside", inside))
}

/// Whether what is open is another thing than the proxy's port, such as its metrics.
fn deaf_at(port: u16, (open, own): (&[u16], &[u16])) -> bool {
    own.contains(&port) && !open.contains(&port)
}

/// It listens elsewhere than at the port to which the way leads, by what the user has said.
pub(super) fn listener_other_port(evidence: &Evidence) -> Option<Suspect> {
    let (_, it) = seen(evidence)?;
    let (open, own) = ears(it)?;
    let port = evidence.subject.port;
    if !evidence.asked.port_given || open.contains(&port) || own.contains(&port) {
        return None;
    }
    let other = open.first().filter(|_| it.serving.is_some())?;
    let found = about(Code::ListenerOtherPort, Confidence::Certain, evidence)?;
    Some(found.with("port", &port).with("other", other).with("inside", other))
}

/// There is nothing but loopback.
pub(super) fn container_network_mode(evidence: &Evidence) -> Option<Suspect> {
    let (_, it) = seen(evidence)?;
    let nowhere = it.own_network == Some(true) && it.addresses.is_empty() && !it.alone;
    if !nowhere {
        return None;
    }
    let found = about(Code::ContainerNetworkMode, Confidence::Likely, evidence)?;
    Some(found.with("port", &evidence.subject.port).with("other", &"none").with("inside", &8080))
}

/// It accepts and says nothing.
pub(super) fn hangs(evidence: &Evidence) -> Option<Suspect> {
    let (_, it) = seen(evidence)?;
    let silent = it.answer.as_ref().is_some_and(|it| it.end == End::Silent && it.bytes == 0);
    let waiting = it.listeners.iter().flatten().map(|it| it.waiting).max().unwrap_or_default();
    let found = about(Code::SilentPeer, Confidence::Likely, evidence).filter(|_| silent)?;
    Some(found.with("port", &evidence.subject.port).with("count", &waiting))
}

/// New connections are lost.
pub(super) fn backlog_overflow(evidence: &Evidence) -> Option<Suspect> {
    let (_, it) = seen(evidence)?;
    let lost = it.overflow.and_then(|it| Some(it.second? > it.first)) == Some(true);
    let still =
        it.listeners.iter().flatten().map(|it| it.waiting.min(it.waiting_later.unwrap_or(0)));
    let still = still.max().filter(|still| lost && *still > 0)?;
    let found = about(Code::BacklogOverflow, Confidence::Likely, evidence)?;
    Some(found.with("port", &evidence.subject.port).with("count", &still))
}

/// Nothing can be reached, by a way that is there.
pub(super) fn no_egress(evidence: &Evidence) -> Option<Suspect> {
    let (inside, it) = seen(evidence)?;
    let (reference, egress) = evidence.egress()?;
    let road = egress.route_v4 == Some(true) || egress.route_v6 == Some(true);
    if !road || egress.inside.is_empty() || opens(&egress.inside) || has_parent(evidence) {
        return None;
    }
    let found = suspect(Code::ProxyNoEgress, Confidence::Likely, [inside, reference]);
    let found = found.with("container", &egress.container);
    Some(match it.own_network {
        // There it is the server that gets nowhere.
        Some(false) => found.or(Code::TargetUnreachable, "separate-another-site"),
        Some(true) | None => found.or(Code::ContainerNoEgress, "separate-egress-on-the-server"),
    })
}

fn has_parent(evidence: &Evidence) -> bool {
    super::outward::is_told(evidence, "upstream")
}

/// The kernel has ended something here for want of memory.
pub(super) fn memory_short(evidence: &Evidence) -> Option<Suspect> {
    let (_, it) = seen(evidence)?;
    let memory = it.memory.filter(|it| it.killed.is_some_and(|killed| killed > 0))?;
    let left = memory.limit?.saturating_sub(memory.used?) / MEGABYTE;
    let mut found = about(Code::MemoryShort, Confidence::Likely, evidence)?.with("left", &left);
    // The proxy itself lives.
    found.severity = Severity::Warning;
    Some(found)
}

/// Every connection comes from the host's end of the network.
pub(super) fn client_address_hidden(evidence: &Evidence) -> Option<Suspect> {
    let (_, it) = seen(evidence)?;
    let clients = it.clients.filter(|_| it.own_network == Some(true))?;
    let gateway = it.gateways.first().filter(|_| clients.gateway > 0 && clients.others == 0)?;
    // Who asks from the server itself looks so, too.
    let found = about(Code::ClientAddressHidden, Confidence::Possible, evidence)?;
    Some(found.with("client", gateway))
}

/// Here all is as it has to be.
pub(super) fn ok(evidence: &Evidence) -> Option<Suspect> {
    let (inside, it) = seen(evidence)?;
    let (reference, egress) = evidence.egress()?;
    let named = egress.nameservers.iter().any(|it| it.inside == Reply::Addresses);
    let outward = (opens(&egress.inside) && named) || has_parent(evidence);
    let (open, _) = ears(it)?;
    let well = it.serving.is_some() && !open.is_empty() && outward;
    let port = open.iter().find(|it| **it == evidence.subject.port).or_else(|| open.first())?;
    let found = suspect(Code::Ok, Confidence::Likely, [inside, reference]);
    well.then(|| found.with("inside", port))
}
