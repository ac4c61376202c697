//! Both ends together: what the one has seen decides what the other could only suspect.

use std::net::IpAddr;

use super::packets::lets_everybody_in;
use super::published::leads_to_a_listener;
use super::way::{host_silent, port_filtered};
use super::{Confidence, Suspect, alone, digest, suspect};
use crate::diag::code::{Code, Severity};
use crate::diag::evidence::{Evidence, is_public};
use crate::diag::fact::{
    CheckId, Kernel, Knocks, OwnAddresses, PacketFilter, Provider, Reference, Witness,
};
use crate::diag::server::{By, Heard, Knocking, Server};

/// A witness remembers no more sources (`checks::host::witness`).
const MOST_SOURCES: usize = 64;
/// One knock may get lost.
const ENOUGH_KNOCKS: usize = 2;

/// What stands between a client and the proxy on a server. None of it does when the client got there.
const ON_THE_WAY: &[Code] = &[
    Code::DockerNotRunning,
    Code::ContainerMissing,
    Code::ContainerStopped,
    Code::ContainerPaused,
    Code::WrongArchitecture,
    Code::PortNotPublished,
    Code::PortPublishedLoopbackOnly,
    Code::PortPublishedElsewhere,
    Code::ContainerNetworkMode,
    Code::ListenerMissing,
    Code::ListenerLoopbackOnly,
    Code::ListenerOtherPort,
    Code::PortTaken,
    Code::DockerNatMissing,
    Code::IpForwardOff,
    Code::DockerUserDrop,
    Code::HostFirewallDrop,
    Code::PortRejected,
    Code::ClientBanned,
    Code::ReversePathFilter,
    Code::BehindNat,
];

/// What keeps a proxy from going out. None of it does when the client got beyond.
const OUTWARD: &[Code] =
    &[Code::ContainerDnsBroken, Code::ContainerNoEgress, Code::ProxyNoEgress, Code::ContainerMtu];

/// By what a kernel drops a packet that has arrived.
const DROPS: &[Code] = &[
    Code::DockerNatMissing,
    Code::IpForwardOff,
    Code::DockerUserDrop,
    Code::HostFirewallDrop,
    Code::ClientBanned,
    Code::ConntrackFull,
    Code::ReversePathFilter,
];

/// Those of them that a walk through the rules names exactly.
const NAMED: &[Code] =
    &[Code::IpForwardOff, Code::DockerUserDrop, Code::HostFirewallDrop, Code::ClientBanned];

/// What the client hears of the proxy, and what the server sees of the container: two eyes on one thing.
const SAME: &[(Code, Code)] = &[
    (Code::ProxyDnsBroken, Code::ContainerDnsBroken),
    (Code::ProxyNoEgress, Code::ContainerNoEgress),
];

/// What is not possible when somebody listens where the port leads to.
const NOBODY_LISTENS: &[Code] = &[
    Code::ContainerMissing,
    Code::ListenerMissing,
    Code::ListenerLoopbackOnly,
    Code::ListenerOtherPort,
];

/// The suspects of the client, of its server, and of both.
pub(super) fn joined(here: Vec<Suspect>, client: &Evidence, server: &Server) -> Vec<Suspect> {
    if server.silence().is_some() {
        return here;
    }
    let there = found_there(server);
    let ends = Ends { client, server, address: is_same(client, server) };
    if let Address::Other(asked, other) = ends.address {
        return here.into_iter().chain(strangers(there)).chain([differs(asked, other)]).collect();
    }
    let (mut here, mut there) = (here, there);
    ends.exclude(&mut here, &mut there);
    let both = ends.conclude(&here, &mut there);
    here.into_iter().chain(there).chain(both).collect()
}

/// What the server says by itself.
fn found_there(server: &Server) -> Vec<Suspect> {
    match &server.heard {
        Heard::Evidence(evidence) => alone(evidence),
        Heard::Digest(digest) => digest::suspects(digest),
        Heard::Nothing(_) => Vec::new(),
    }
}

/// The packets arrive and are answered, and the client hears nothing.
pub(super) fn answers_lost(client: &Evidence) -> Option<Suspect> {
    let server = client.server.as_deref()?;
    let symptom = port_filtered(client).or_else(|| host_silent(client))?;
    let ends = Ends { client, server, address: is_same(client, server) };
    if matches!(ends.address, Address::Other(..)) {
        return None;
    }
    let Arrived::Yes(knocks) = ends.arrived() else { return None };
    (knocks.answers > 0 || knocks.resets > 0).then(|| {
        // An answer of a container may be dropped on the server itself.
        let dropped = found_there(server).iter().any(|it| is_drop(it, Confidence::Likely));
        let sure = if dropped { Confidence::Possible } else { Confidence::Likely };
        let found = ends.found(Code::AnswersLost, sure, &symptom);
        found.or(Code::LocalFirewall, "separate-from-another-machine")
    })
}

/// Whose server has answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Address {
    /// The one that was tested.
    Same,
    /// It could be behind an address translation.
    Unknown,
    /// Another one: what was asked for, what it has.
    Other(IpAddr, IpAddr),
}

/// Of another machine nothing is known for sure, and what it is warned of is nobody's trouble.
fn strangers(there: Vec<Suspect>) -> impl Iterator<Item = Suspect> {
    there.into_iter().filter(|it| it.severity == Severity::Problem).map(|mut it| {
        it.confidence = Confidence::Possible;
        it
    })
}

fn differs(asked: IpAddr, other: IpAddr) -> Suspect {
    let found = suspect(Code::PublicAddressDiffers, Confidence::Likely, []);
    found.with("other", &other).with("host", &asked)
}

/// Whether the server is the one that has the address under test.
fn is_same(client: &Evidence, server: &Server) -> Address {
    let asked: Vec<IpAddr> = client.candidates().iter().map(|it| it.ip().to_canonical()).collect();
    let named = server.host.as_deref().is_some_and(|host| {
        let ip = host.parse().ok().map(|ip: IpAddr| ip.to_canonical());
        host.eq_ignore_ascii_case(&client.subject.host) || ip.is_some_and(|ip| asked.contains(&ip))
    });
    let own = addresses(server);
    let has = asked.iter().any(|ip| own.contains(ip));
    if server.by == By::Proxy || named || has {
        return Address::Same;
    }
    // Behind a translation a server does not know its public address.
    let alike = |asked: &IpAddr, own: &IpAddr| {
        asked.is_ipv4() == own.is_ipv4() && is_public(*asked) == is_public(*own)
    };
    let pair = asked.iter().find_map(|asked| {
        let other = own.iter().find(|own| alike(asked, own))?;
        Some(Address::Other(*asked, *other))
    });
    pair.unwrap_or(Address::Unknown)
}

/// Of a server, its bridges left out.
fn addresses(server: &Server) -> Vec<IpAddr> {
    let of = |it: &OwnAddresses| -> Vec<IpAddr> {
        let all = it.outward.iter().chain(&it.public).chain(&it.private).chain(&it.shared);
        all.map(IpAddr::to_canonical).filter(|ip| !ip.is_loopback()).collect()
    };
    match &server.heard {
        Heard::Evidence(it) => {
            let own = it.one::<OwnAddresses>(CheckId::PublicAddress).map(|(_, it)| of(it));
            let kernel = it.one::<Kernel>(CheckId::KernelSettings);
            let links = kernel.into_iter().flat_map(|(_, it)| &it.interfaces);
            let links = links.filter(|it| !it.bridge).flat_map(|it| &it.addresses);
            let links = links.map(IpAddr::to_canonical).filter(|ip| !ip.is_loopback());
            own.unwrap_or_default().into_iter().chain(links).collect()
        }
        Heard::Digest(it) => of(&it.addresses),
        Heard::Nothing(_) => Vec::new(),
    }
}

/// What became of the client's packets, as the server saw it.
enum Arrived {
    /// They came.
    Yes(Knocks),
    /// Those of others came.
    NotOurs,
    /// Nobody's.
    Nobody,
    /// It can't be told.
    Unknown,
}

struct Ends<'e> {
    client: &'e Evidence,
    server: &'e Server,
    address: Address,
}

impl<'e> Ends<'e> {
    /// What the one end has seen with its own eyes is not what the other thinks it may be.
    fn exclude(&self, here: &mut Vec<Suspect>, there: &mut Vec<Suspect>) {
        let client = self.client;
        let proven = client.hello().is_some_and(|(_, it)| it.nonce_returned == Some(true));
        let well = here.iter().any(|it| it.code == Code::Ok);
        let answered = client.journeys().any(|(_, it)| it.trips.iter().any(|t| t.answer.is_some()));
        let beyond = well && answered;
        there.retain(|it| {
            let code = it.code;
            // All is well only when the client says so as well; who may not look at Docker has not
            // looked, which is no cause; and whether anybody knocked the client knows, below.
            let unsaid = [Code::Ok, Code::DockerNoPermission, Code::CloudFirewallSuspected];
            let passed = proven && ON_THE_WAY.contains(&code);
            !(unsaid.contains(&code) || passed || (beyond && OUTWARD.contains(&code)))
        });
        let Some(server) = self.server.evidence() else { return };
        let (listens, passes) =
            (leads_to_a_listener(server) == Some(true), lets_everybody_in(server));
        let arrived = matches!(self.arrived(), Arrived::Yes(_));
        let excluded = |code: Code| {
            (listens && NOBODY_LISTENS.contains(&code))
                || (passes && (DROPS.contains(&code) || code == Code::PortRejected))
                || (arrived && matches!(code, Code::LocalFirewall | Code::NoInternet))
        };
        for suspect in here {
            suspect.look_alikes.retain(|it| !excluded(it.code));
        }
    }

    /// What neither could tell alone.
    fn conclude(&self, here: &[Suspect], there: &mut [Suspect]) -> Option<Suspect> {
        for (symptom, cause) in SAME {
            let surest = here.iter().filter(|it| it.code == *symptom).map(|it| it.confidence).max();
            for it in there.iter_mut().filter(|it| it.code == *cause) {
                if it.confidence >= Confidence::Likely {
                    it.confidence = it.confidence.max(surest.unwrap_or(Confidence::Possible));
                }
            }
        }
        let silent = |it: &&Suspect| matches!(it.code, Code::PortFiltered | Code::HostSilent);
        let symptom = here.iter().find(silent)?;
        match self.arrived() {
            Arrived::Yes(knocks) if knocks.answers == 0 && knocks.resets == 0 => {
                self.dropped(symptom, there)
            }
            Arrived::Nobody => self.kept_away(symptom),
            // Whose answers are lost has a rule of its own.
            Arrived::Yes(_) | Arrived::NotOurs | Arrived::Unknown => None,
        }
    }

    fn found(&self, code: Code, sure: Confidence, symptom: &Suspect) -> Suspect {
        let witness = self.witness().and_then(|(reference, _)| reference);
        let found = suspect(code, sure, symptom.because.iter().chain(witness));
        let subject = &self.client.subject;
        found.with("host", &subject.host).with("port", &subject.port)
    }

    /// Who counted, and what.
    fn witness(&self) -> Option<(Option<&'e Reference>, &'e Witness)> {
        let found = match &self.server.heard {
            Heard::Evidence(it) => {
                let (reference, witness) = it.one(CheckId::Witness)?;
                (Some(reference), witness)
            }
            Heard::Digest(it) => (None, it.witness.as_ref()?),
            Heard::Nothing(_) => return None,
        };
        (found.1.blind.is_none()).then_some(found)
    }

    /// The addresses from which the client's packets come to the server.
    fn sources(&self) -> Vec<IpAddr> {
        let visitor = self.server.evidence().and_then(|it| {
            let (_, filter) = it.one::<PacketFilter>(CheckId::PacketFilter)?;
            filter.visitor.filter(|_| self.server.by == By::Ssh)
        });
        // Without a translation on the way it is the client's own.
        let routes = self.client.routes().filter_map(|(_, it)| it.source);
        let routes = routes.filter(|ip| is_public(*ip));
        let to = self.client.primary().map(|it| it.ip().to_canonical());
        let all = visitor.into_iter().chain(routes).map(|ip| ip.to_canonical());
        all.filter(|ip| to.is_none_or(|to| to.is_ipv4() == ip.is_ipv4())).collect()
    }

    fn arrived(&self) -> Arrived {
        let Some((_, witness)) = self.witness() else { return Arrived::Unknown };
        let (sources, knocks) = (self.sources(), &witness.knocks);
        if let Some(own) = knocks.iter().find(|it| sources.contains(&it.source)) {
            return Arrived::Yes(*own);
        }
        if witness.total == 0 {
            return Arrived::Nobody;
        }
        if !sources.is_empty() && knocks.len() < MOST_SOURCES {
            return Arrived::NotOurs;
        }
        // Whoever it was: while the client heard nothing, somebody else did not, either.
        let ignored = knocks.iter().find(|it| it.answers == 0 && it.resets == 0);
        ignored.map_or(Arrived::Unknown, |it| Arrived::Yes(*it))
    }

    /// The packets are there, and nobody answers.
    fn dropped(&self, symptom: &Suspect, there: &mut [Suspect]) -> Option<Suspect> {
        let named = there.iter().any(|it| is_drop(it, Confidence::Likely));
        for it in there.iter_mut().filter(|it| is_drop(it, Confidence::Likely)) {
            if NAMED.contains(&it.code) {
                it.confidence = Confidence::Certain;
            }
            if let Some((Some(witness), _)) = self.witness() {
                *it = it.clone().and(witness);
            }
        }
        let passes = self.server.evidence().is_some_and(lets_everybody_in);
        let sure = if passes { Confidence::Possible } else { Confidence::Likely };
        (!named).then(|| {
            let found = self.found(Code::HostFirewallDrop, sure, symptom).with("seek", &"drop");
            found.or(Code::ReversePathFilter, "separate-on-the-server")
        })
    }

    /// The server watched, the client knocked, and nothing came.
    fn kept_away(&self, symptom: &Suspect) -> Option<Suspect> {
        let (_, witness) = self.witness()?;
        let knocks = self.server.knocking.as_ref().map_or(0, |it| inside(it, witness.ms));
        // A token does not tell whether anybody knocked meanwhile.
        let known = self.server.by == By::Ssh;
        let sure = match self.address {
            _ if known && knocks == 0 => return None,
            Address::Same if knocks >= ENOUGH_KNOCKS => Confidence::Likely,
            Address::Same | Address::Unknown | Address::Other(..) => Confidence::Possible,
        };
        let mut found = self.found(Code::CloudFirewallSuspected, sure, symptom);
        // No mere warning any more.
        found.severity = Severity::Problem;
        let found = found
            .or(Code::PortFiltered, "separate-from-another-machine")
            .with("seconds", &(witness.ms / 1000))
            .with("count", &knocks);
        let found =
            if known { found } else { found.or(Code::HostFirewallDrop, "separate-witness") };
        let provider = self.provider().map(Provider::console);
        Some(
            found
                .with_some("setting", provider.map(|_| "provider"))
                .with_some("provider", provider.map(|(name, _)| name))
                .with_some("console", provider.map(|(_, place)| place.replace('→', ">"))),
        )
    }

    fn provider(&self) -> Option<Provider> {
        match &self.server.heard {
            Heard::Evidence(it) => {
                it.one::<OwnAddresses>(CheckId::PublicAddress).and_then(|(_, it)| it.provider)
            }
            Heard::Digest(it) => it.addresses.provider,
            Heard::Nothing(_) => None,
        }
    }
}

fn is_drop(it: &Suspect, least: Confidence) -> bool {
    DROPS.contains(&it.code) && it.confidence >= least
}

/// How many knocks surely fell into the `ms` for which the server watched. When they began is not
/// known, only that it was after the question and ended before the answer.
fn inside(knocking: &Knocking, ms: u64) -> usize {
    let window = knocking.took_ms.saturating_sub(ms)..ms;
    knocking.at_ms.iter().filter(|at| window.contains(at)).count()
}
