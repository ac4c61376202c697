//! Docker's rules: whether they lead the port to the container, and what else hangs on them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::docker::lacks_chains;
use super::packets::{OF_DOCKER, View, is_named, listeners, outside};
use super::published::{bridged, here};
use super::{Confidence, Suspect, suspect};
use crate::diag::code::Code;
use crate::diag::evidence::{Evidence, Found};
use crate::diag::fact::{Container, HostListener, Reach, State, Verdict};
use crate::diag::packets::matches::Truth;
use crate::diag::packets::walk::{Course, Fate, Packet, Spot, World};

/// Any web server of the Internet; nothing is sent there.
const ANYWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(1, 1, 1, 1)), 443);

/// Whether Docker was not about to start or to stop it: its rules come and go with it.
fn is_settled(container: &Container) -> bool {
    let (first, last) = (&container.first, container.last());
    first.state == last.state
        && first.restarts == last.restarts
        && last.state != State::Restarting
        && last.state != State::Removing
}

/// The container to which the port leads, as Docker has it, for clients that come to `ip`.
fn served(evidence: &Evidence, ip: IpAddr) -> Option<Found<'_, Container>> {
    let found = bridged(evidence)?;
    let mut ports = here(found.1, evidence.subject.port).into_iter();
    let fits = ports.any(|it| it.ip.is_none_or(|it| it.is_unspecified() || it == ip));
    (fits && is_settled(found.1)).then_some(found)
}

/// How sure it may be at most that a rule which stops `course` is what is wrong. Rules for the
/// server's own listeners are no matter where nobody listens: Docker's ports go past them.
pub(super) fn most_sure(
    evidence: &Evidence,
    world: World<'_>,
    (packet, course): &(Packet, Course),
) -> Option<Confidence> {
    let container = evidence.container().map(|(_, it)| it);
    let heard = listeners(evidence).is_none_or(|(_, it)| outside(it).next().is_some());
    if heard || world.is_led_elsewhere(packet.clone()) != Truth::No {
        let policy = matches!(&course.fate, Fate::Dropped(spot) if spot.number.is_none());
        // Docker closes FORWARD, and opens it for a container that runs.
        let flux = policy && course.to.is_some() && container.is_some_and(|it| !is_settled(it));
        return Some(if flux { Confidence::Possible } else { Confidence::Certain });
    }
    let engine = evidence.engine().map(|(_, it)| it);
    let docker = engine.is_some_and(|it| it.reach != Reach::Missing || it.installed == Some(true));
    match container {
        Some(it) if it.network_mode == "host" => Some(Confidence::Certain),
        Some(_) => None,
        None if docker => Some(Confidence::Possible),
        None => Some(Confidence::Certain),
    }
}

/// Docker has the port for a container, and its rules do not lead there.
pub(super) fn docker_nat_missing(evidence: &Evidence) -> Option<Suspect> {
    // Without root it has rules of its own, where nobody sees them.
    let rootless = evidence.engine().is_some_and(|(_, it)| it.rootless == Some(true));
    let found = if rootless { None } else { astray(evidence) };
    found.or_else(|| {
        let (reference, container) = evidence.container().filter(|(_, it)| lacks_chains(it))?;
        let found = suspect(Code::DockerNatMissing, Confidence::Certain, [reference]);
        Some(found.with("port", &evidence.subject.port).with("other", &container.name))
    })
}

fn astray(evidence: &Evidence) -> Option<Suspect> {
    let view = View::new(evidence)?;
    let (of_listeners, listeners) = listeners(evidence)?;
    let (packet, course) = &view.anybody;
    let container = served(evidence, packet.destination);
    let held = |it: &&HostListener| {
        let ip = it.address.ip().to_canonical();
        is_named(it, &OF_DOCKER) && (ip.is_unspecified() || ip == packet.destination)
    };
    let holder = outside(listeners).find(held);
    let deserted = outside(listeners).next().is_none();
    let sure = match (view.world.is_led_elsewhere(packet.clone()), holder, container) {
        (Truth::No, Some(_), _) => view.read(),
        (Truth::No, None, Some(_)) if deserted => view.read(),
        // Somebody may want it so.
        (Truth::Yes, _, Some((_, it))) if is_passed_by(it, course) => Confidence::Likely,
        _ => return None,
    };
    let tables = view.world.filter.tables.iter();
    let rules = tables.flat_map(|it| &it.chains).flat_map(|it| &it.rules);
    let port = evidence.subject.port;
    let text = port.to_string();
    let led = course.to.is_some();
    let half = !led
        && rules.into_iter().any(|rule| {
            matches!(rule.verdict, Verdict::Dnat(_))
                && rule.matches.iter().any(|it| !it.not && it.values.contains(&text))
        });
    let because = view.because.into_iter().chain([of_listeners]);
    let because = because.chain(container.map(|(reference, _)| reference));
    let found = suspect(Code::DockerNatMissing, sure, because).with("port", &port);
    let other = holder.and_then(|it| it.name.as_ref());
    Some(found.with("half", &half).with_some("other", other))
}

/// Whether the port leads to an address that is not the container's.
fn is_passed_by(container: &Container, course: &Course) -> bool {
    let mut own = container.networks.iter().flat_map(|it| &it.addresses).peekable();
    let known = own.peek().is_some();
    known && course.to.is_some_and(|to| own.all(|ip| *ip != to.ip()))
}

/// Whether what keeps clients from the port keeps the container in as well: then it is one cause.
pub(super) fn keeps_in_as_well(evidence: &Evidence) -> bool {
    let both = || {
        let view = View::new(evidence)?;
        let (_, container) = bridged(evidence)?;
        let mut own = container.networks.iter().flat_map(|it| &it.addresses);
        let out = view.world.outward(*own.find(|ip| ip.is_ipv4())?, ANYWHERE);
        Some(match (&view.anybody.1.fate, &out.fate) {
            (Fate::NotForwarded, Fate::NotForwarded) => true,
            (
                Fate::Dropped(one) | Fate::Rejected(one, _),
                Fate::Dropped(other) | Fate::Rejected(other, _),
            ) => is_same(one, other),
            (_, Fate::Accepted) => {
                out.masked == Some(false) && docker_nat_missing(evidence).is_some()
            }
            _ => false,
        })
    };
    both() == Some(true)
}

/// Whether it is one rule, by whichever way it was come to.
fn is_same(one: &Spot, other: &Spot) -> bool {
    let key = |it: &Spot| (it.backend, it.family, it.table.clone(), it.chain.clone(), it.number);
    key(one) == key(other)
}
