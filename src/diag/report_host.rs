//! How the segments of the way look from the server itself. Pure.

use super::code::Segment;
use super::evidence::{Command, Evidence, Role};
use super::fact::{CheckId, Inside, Kernel, PacketFilter, Reach, Reference, Reply, State};
use super::infer::{knock, leads_to_a_listener};
use super::packets::walk::Fate;
use super::report::Health;

/// Whether the evidence is that of a server alone, not of a client.
pub(super) fn is_of_server(evidence: &Evidence) -> bool {
    match (evidence.asked.command, evidence.asked.role) {
        (Command::Doctor, Role::Host | Role::Container) => true,
        (Command::Doctor, Role::Client) | (Command::CheckPort | Command::Probe, _) => false,
    }
}

/// How a segment is in which no cause lies.
pub(super) fn seen(segment: Segment, evidence: &Evidence) -> (Health, Vec<Reference>) {
    let by = match segment {
        // Nobody goes there from here.
        Segment::Client | Segment::Lan | Segment::Isp | Segment::Edge | Segment::Target => {
            return (Health::Skipped, Vec::new());
        }
        Segment::Host => host(evidence),
        Segment::Docker => docker(evidence),
        Segment::Proxy => proxy(evidence),
        Segment::Dns => dns(evidence),
    };
    by.map_or((Health::Unknown, Vec::new()), |by| (Health::Ok, by))
}

/// It lets somebody of the Internet in.
fn host(evidence: &Evidence) -> Option<Vec<Reference>> {
    let filter = evidence.one::<PacketFilter>(CheckId::PacketFilter)?.0;
    let kernel = evidence.one::<Kernel>(CheckId::KernelSettings)?.0;
    (knock(evidence) == Some(Fate::Accepted)).then(|| vec![filter.clone(), kernel.clone()])
}

/// It answers, and the container runs.
fn docker(evidence: &Evidence) -> Option<Vec<Reference>> {
    let (engine, _) = evidence.engine().filter(|(_, it)| it.reach == Reach::Works)?;
    let container = evidence.container().filter(|(_, it)| it.last().state == State::Running);
    container.map(|(container, _)| vec![engine.clone(), container.clone()])
}

/// Somebody listens where the port leads to.
fn proxy(evidence: &Evidence) -> Option<Vec<Reference>> {
    if evidence.asked.role == Role::Container {
        return inside(evidence);
    }
    let (container, _) = evidence.container()?;
    (leads_to_a_listener(evidence) == Some(true)).then(|| vec![container.clone()])
}

/// It listens here; where its port is outside can't be seen.
fn inside(evidence: &Evidence) -> Option<Vec<Reference>> {
    let (reference, it) = evidence.one::<Inside>(CheckId::ContainerInside)?;
    let mut ours = it.listeners.iter().flatten().filter(|it| it.own != Some(false));
    let heard = it.serving.is_some() && ours.any(|it| !it.address.ip().is_loopback());
    heard.then(|| vec![reference.clone()])
}

/// Names are found from inside the container.
fn dns(evidence: &Evidence) -> Option<Vec<Reference>> {
    let (reference, egress) = evidence.egress()?;
    let found = egress.nameservers.iter().any(|it| it.inside == Reply::Addresses);
    found.then(|| vec![reference.clone()])
}
