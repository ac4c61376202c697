//! The server's packet filter and kernel: what they do with the packets of a client.

use std::net::IpAddr;

use super::{Confidence, Suspect, suspect};
use crate::diag::code::Code;
use crate::diag::evidence::{Evidence, Found, is_public};
use crate::diag::fact::{
    Backend, CheckId, HostListener, Kernel, Layer, Listeners, Outcome, OwnAddresses, PacketFilter,
    Provider, Reference, Verdict, Witness,
};
use crate::diag::packets::matches::Truth;
use crate::diag::packets::walk::{ANYBODY, Course, Fate, Packet, Spot, World};

/// Processes that hold a port for Docker.
const OF_DOCKER: [&str; 3] = ["docker-proxy", "dockerd", "rootlesskit"];
/// Ours; the kernel keeps 15 characters of a name.
const OURS: [&str; 1] = ["sami-proxy"];
/// A client that knocks does so again within three seconds (RFC 6298 §2).
const LONG_ENOUGH_MS: u64 = 3000;

/// What the rules do with the clients of the port.
struct View<'e> {
    world: World<'e>,
    because: [&'e Reference; 2],
    port: u16,
    /// Somebody of the Internet.
    anybody: (Packet, Course),
    /// The one who asks, when that is known.
    visitor: Option<(Packet, Course)>,
}

impl<'e> View<'e> {
    fn new(evidence: &'e Evidence) -> Option<Self> {
        let (of_filter, filter) = evidence.one::<PacketFilter>(CheckId::PacketFilter)?;
        let (of_kernel, kernel) = evidence.one::<Kernel>(CheckId::KernelSettings)?;
        let (world, port) = (World { filter, kernel }, evidence.subject.port);
        let wanted = evidence.subject.ip().filter(|ip| !ip.is_loopback());
        let wanted = wanted.filter(|ip| world.is_local(*ip) == Some(true));
        let walk = |source: IpAddr| {
            let mut packet = world.knock(source, port)?;
            if let Some(ip) = wanted.filter(|ip| ip.is_ipv4() == source.is_ipv4()) {
                (packet.destination, packet.original.0) = (ip, ip);
            }
            let course = world.inward(packet.clone());
            Some((packet, course))
        };
        let [v4, v6] = ANYBODY;
        let anybody = if wanted.is_some_and(|ip| ip.is_ipv6()) { v6 } else { v4 };
        let client = ignored(evidence).or(filter.visitor).filter(|ip| !ip.is_loopback());
        Some(Self {
            world,
            because: [of_filter, of_kernel],
            port,
            anybody: walk(anybody)?,
            visitor: client.and_then(walk),
        })
    }

    /// When what stops everybody stops the one who asks as well; else only perhaps.
    fn sure(&self) -> Confidence {
        let passes = self.visitor.as_ref().is_some_and(|(_, it)| it.fate == Fate::Accepted);
        match (passes, self.world.is_complete()) {
            (true, _) => Confidence::Possible,
            (false, true) => Confidence::Certain,
            (false, false) => Confidence::Likely,
        }
    }

    fn found(&self, code: Code, confidence: Confidence) -> Suspect {
        suspect(code, confidence, self.because).with("port", &self.port)
    }

    fn ufw(&self) -> bool {
        let told = self.world.filter.ufw.as_ref().and_then(|it| it.active);
        told.unwrap_or_else(|| {
            let mut tables = self.world.filter.tables.iter();
            tables.any(|it| it.chains.iter().any(|chain| chain.name == "ufw-user-input"))
        })
    }

    /// Whether Docker keeps its rules in tables of its own (Docker 29 and later, when told so).
    fn docker_has_tables(&self) -> bool {
        self.world.filter.tables.iter().any(|it| it.name == "docker-bridges")
    }

    /// The rule, and what the commands that mend it need. Which of them are given chooses the command.
    fn blame(&self, found: Suspect, spot: &Spot, course: &Course) -> Suspect {
        let mut found = found.with("rule", &spot.text).with("chain", &spot.chain);
        let to = course.to.map(|to| to.port());
        let ufw = spot.chain.starts_with("ufw") || (spot.number.is_none() && self.ufw());
        let base = spot.via.first().unwrap_or(&spot.chain);
        let closed = spot.number.is_none();
        let tool = match (spot.backend, spot.family) {
            (Backend::IptablesLegacy, Layer::Ip6) => "ip6tables-legacy",
            (Backend::IptablesLegacy, _) => "iptables-legacy",
            (_, Layer::Ip6) => "ip6tables",
            _ => "iptables",
        };
        let routed =
            ["ufw-user-forward", "ufw-docker-logging-deny"].iter().any(|it| spot.is_below(it));
        found = match (spot.backend, to) {
            _ if spot.table == "firewalld" => found.with("firewalld", &self.port),
            (Backend::Nft, _) => {
                let family = match spot.family {
                    Layer::Ip => "ip",
                    Layer::Ip6 => "ip6",
                    Layer::Inet => "inet",
                    Layer::Netdev | Layer::Other => "netdev",
                };
                let found = found.with("family", &family).with("table", &spot.table);
                found.with("base", base).with("dport", &to.unwrap_or(self.port))
            }
            // Docker closes FORWARD and lets its own pass; its rules for that are gone.
            (_, Some(_)) if closed && !self.docker_has_tables() => found.with("service", &"docker"),
            (_, Some(to)) if ufw || routed => found.with("ufwroute", &to),
            (_, None) if ufw => found.with("ufwport", &self.port),
            (_, Some(_)) if spot.is_below("DOCKER-USER") => found.with_some("number", spot.number),
            (_, Some(to)) => found.with("forwardport", &to),
            (_, None) => found.with("inputport", &self.port),
        };
        let firewall = if ufw { "ufw" } else { firewall(spot) };
        found.with("firewall", &firewall).with("tool", &tool)
    }
}

/// The program that people know it by.
fn firewall(spot: &Spot) -> &'static str {
    match spot.backend {
        _ if spot.table == "firewalld" => "firewalld",
        Backend::Nft => "nftables",
        Backend::IptablesNft | Backend::IptablesLegacy => "iptables",
    }
}

/// What becomes of the first packet that somebody of the Internet sends to the port.
pub fn knock(evidence: &Evidence) -> Option<Fate> {
    View::new(evidence).map(|view| view.anybody.1.fate)
}

/// The same of a packet of the one who asks, when that is known.
pub fn own_knock(evidence: &Evidence) -> Option<Fate> {
    Some(View::new(evidence)?.visitor?.1.fate)
}

/// Whether no rule stops anybody, and every rule is known.
pub(super) fn lets_everybody_in(evidence: &Evidence) -> bool {
    View::new(evidence).is_some_and(|view| {
        let ways = [Some(&view.anybody), view.visitor.as_ref()];
        let pass = ways.into_iter().flatten().all(|(_, it)| it.fate == Fate::Accepted);
        pass && view.world.is_complete()
    })
}

/// A client that the witness saw knocking in vain.
fn ignored(evidence: &Evidence) -> Option<IpAddr> {
    let (_, witness) = evidence.one::<Witness>(CheckId::Witness)?;
    let mut knocks = witness.knocks.iter();
    knocks.find(|it| it.answers == 0 && it.resets == 0).map(|it| it.source)
}

fn listeners(evidence: &Evidence) -> Option<Found<'_, Listeners>> {
    evidence.one(CheckId::HostListeners)
}

/// Who listens where a client could come.
fn outside(listeners: &Listeners) -> impl Iterator<Item = &HostListener> {
    listeners.on_port.iter().filter(|it| !it.address.ip().to_canonical().is_loopback())
}

fn is_named(listener: &HostListener, names: &[&str]) -> bool {
    listener.name.as_deref().is_some_and(|name| names.contains(&name))
}

/// Docker holds the port, and its rules do not lead there.
pub(super) fn docker_nat_missing(evidence: &Evidence) -> Option<Suspect> {
    let view = View::new(evidence)?;
    let (of_listeners, listeners) = listeners(evidence)?;
    let (packet, _) = &view.anybody;
    let held = |it: &&HostListener| {
        let ip = it.address.ip().to_canonical();
        is_named(it, &OF_DOCKER) && (ip.is_unspecified() || ip == packet.destination)
    };
    let holder = outside(listeners).find(held)?;
    (view.world.is_led_elsewhere(packet.clone()) == Truth::No).then_some(())?;
    let tables = view.world.filter.tables.iter();
    let rules = tables.flat_map(|it| &it.chains).flat_map(|it| &it.rules);
    let port = view.port.to_string();
    let half = rules.into_iter().any(|rule| {
        matches!(rule.verdict, Verdict::Dnat(_))
            && rule.matches.iter().any(|it| !it.not && it.values.contains(&port))
    });
    let sure = if view.world.is_complete() { Confidence::Certain } else { Confidence::Likely };
    let because = view.because.into_iter().chain([of_listeners]);
    let found = suspect(Code::DockerNatMissing, sure, because).with("port", &view.port);
    Some(found.with("half", &half).with_some("other", holder.name.as_ref()))
}

/// A container has the port, and the kernel does not forward.
pub(super) fn ip_forward_off(evidence: &Evidence) -> Option<Suspect> {
    let view = View::new(evidence)?;
    let (packet, course) = &view.anybody;
    (course.fate == Fate::NotForwarded).then(|| {
        let setting = if packet.destination.is_ipv4() {
            "net.ipv4.ip_forward"
        } else {
            "net.ipv6.conf.all.forwarding"
        };
        view.found(Code::IpForwardOff, Confidence::Certain).with("setting", &setting)
    })
}

/// The rule that drops the packets of everybody.
fn dropped(view: &View<'_>) -> Option<(Spot, bool)> {
    let Fate::Dropped(spot) = &view.anybody.1.fate else { return None };
    Some((spot.clone(), spot.is_below("DOCKER-USER")))
}

/// A rule in Docker's chain for people's own rules.
pub(super) fn docker_user_drop(evidence: &Evidence) -> Option<Suspect> {
    let view = View::new(evidence)?;
    let (spot, below) = dropped(&view)?;
    below.then(|| view.blame(view.found(Code::DockerUserDrop, view.sure()), &spot, &view.anybody.1))
}

/// Any other rule, or a policy.
pub(super) fn host_firewall_drop(evidence: &Evidence) -> Option<Suspect> {
    let view = View::new(evidence)?;
    let (spot, below) = dropped(&view)?;
    (!below).then(|| {
        view.blame(view.found(Code::HostFirewallDrop, view.sure()), &spot, &view.anybody.1)
    })
}

/// A rule says no.
pub(super) fn rejected(evidence: &Evidence) -> Option<Suspect> {
    let view = View::new(evidence)?;
    let Fate::Rejected(spot, with) = &view.anybody.1.fate else { return None };
    let found = view.found(Code::PortRejected, view.sure()).with("with", with);
    Some(view.blame(found, spot, &view.anybody.1))
}

/// Everybody may come but the one who asks.
pub(super) fn client_banned(evidence: &Evidence) -> Option<Suspect> {
    let view = View::new(evidence)?;
    let (packet, course) = view.visitor.as_ref()?;
    let (Fate::Dropped(spot) | Fate::Rejected(spot, _)) = &course.fate else { return None };
    (view.anybody.1.fate == Fate::Accepted).then_some(())?;
    let sure = if view.world.is_complete() { Confidence::Certain } else { Confidence::Likely };
    let found = view.found(Code::ClientBanned, sure).with("client", &packet.source);
    let jail = spot.chain.strip_prefix("f2b-");
    let crowdsec = (spot.chain.contains("crowdsec") || spot.text.contains("crowdsec"))
        .then_some(packet.source);
    let other = if jail.is_none() && crowdsec.is_none() { Some(&spot.chain) } else { None };
    let found = found.with("rule", &spot.text).with("chain", &spot.chain).with_some("jail", jail);
    Some(found.with_some("decision", crowdsec).with_some("list", other))
}

/// No connection is tracked any more.
pub(super) fn conntrack_full(evidence: &Evidence) -> Option<Suspect> {
    let (reference, kernel) = evidence.one::<Kernel>(CheckId::KernelSettings)?;
    let (count, limit) = (kernel.conntrack_count?, kernel.conntrack_max.filter(|it| *it > 0)?);
    let sure = if count >= limit {
        Confidence::Certain
    } else if count.saturating_mul(100) >= limit.saturating_mul(97) {
        Confidence::Likely
    } else {
        return None;
    };
    let found = suspect(Code::ConntrackFull, sure, [reference]);
    Some(found.with("count", &count).with("limit", &limit).with("twice", &limit.saturating_mul(2)))
}

/// The answer would leave by another interface, or by none.
pub(super) fn reverse_path_filter(evidence: &Evidence) -> Option<Suspect> {
    let (reference, kernel) = evidence.one::<Kernel>(CheckId::KernelSettings)?;
    let filter = evidence.one::<PacketFilter>(CheckId::PacketFilter);
    let nothing = PacketFilter::default();
    let world = World { filter: filter.map_or(&nothing, |(_, it)| it), kernel };
    let wanted = evidence.subject.ip().filter(|it| !it.is_loopback() && it.is_ipv4())?;
    let front = kernel.interfaces.iter().find(|it| it.addresses.contains(&wanted))?;
    let visitor = filter.and_then(|(_, it)| it.visitor);
    let client = ignored(evidence).or(visitor).unwrap_or(ANYBODY[0]);
    let strictness = kernel.rp_filter.max(front.rp_filter)?;
    if kernel.routes.is_empty() || client.is_loopback() || !client.is_ipv4() {
        return None;
    }
    let back = world.way(client).filter(|way| !way.reject);
    let back = back.map(|way| way.interface.as_str());
    let asymmetric = match back {
        Some(back) => strictness == 1 && back != front.name,
        None => strictness > 0,
    };
    asymmetric.then(|| {
        // Another routing table may lead it back.
        let sure = if kernel.more_tables == Some(false) {
            Confidence::Certain
        } else {
            Confidence::Likely
        };
        let found = suspect(Code::ReversePathFilter, sure, [reference])
            .or(Code::CloudFirewallSuspected, "separate-witness");
        let found = found.with("client", &client).with("interface", &front.name);
        found.with_some("other", back).with("port", &evidence.subject.port)
    })
}

/// Something else listens on the port, and nothing leads past it.
pub(super) fn port_taken(evidence: &Evidence) -> Option<Suspect> {
    let (reference, listeners) = listeners(evidence)?;
    let mut others = listeners.on_port.iter().filter(|it| it.name.is_some());
    let other = others.find(|it| !is_named(it, &OF_DOCKER) && !is_named(it, &OURS))?;
    let proven = evidence.hello().is_some_and(|(_, it)| it.nonce_returned == Some(true));
    let led = View::new(evidence)
        .is_some_and(|view| view.world.is_led_elsewhere(view.anybody.0) != Truth::No);
    (!proven && !led).then(|| {
        let found = suspect(Code::PortTaken, Confidence::Likely, [reference]);
        let found =
            found.with("port", &evidence.subject.port).with_some("other", other.name.as_ref());
        found.with_some("process", other.process)
    })
}

/// Who listens does not accept as fast as clients come.
pub(super) fn backlog_overflow(evidence: &Evidence) -> Option<Suspect> {
    let (reference, listeners) = listeners(evidence)?;
    let waiting = |it: &&HostListener| it.waiting.0 > 0 && it.waiting.1 > 0;
    let full = listeners.on_port.iter().find(waiting)?;
    let sure = match (listeners.new_overflows, listeners.overflows) {
        (Some(1..), _) => Confidence::Certain,
        (_, Some(1..)) => Confidence::Likely,
        _ => return None,
    };
    let found = suspect(Code::BacklogOverflow, sure, [reference]);
    Some(found.with("port", &full.address.port()).with("count", &full.waiting.1))
}

/// All is well here, and nobody's packets arrive.
pub(super) fn cloud_firewall_suspected(evidence: &Evidence) -> Option<Suspect> {
    let (of_witness, witness) = evidence.one::<Witness>(CheckId::Witness)?;
    let view = View::new(evidence)?;
    let long = witness.blind.is_none() && witness.ms >= LONG_ENOUGH_MS && witness.total == 0;
    let served = view.anybody.1.to.is_some()
        || listeners(evidence).is_some_and(|(_, it)| outside(it).next().is_some());
    (long && served && view.anybody.1.fate == Fate::Accepted).then(|| {
        // Whether somebody knocked meanwhile only the other end knows.
        let knocked = evidence.any(Outcome::Silent);
        let sure = if knocked { Confidence::Likely } else { Confidence::Possible };
        let address = evidence.one::<OwnAddresses>(CheckId::PublicAddress);
        let provider = address.and_then(|(_, it)| it.provider).map(Provider::console);
        let because = view.because.into_iter().chain([of_witness]);
        let found = suspect(Code::CloudFirewallSuspected, sure, because)
            .or(Code::HostSilent, "separate-from-another-machine")
            .with("port", &view.port)
            .with("seconds", &(witness.ms / 1000));
        found
            .with_some("provider", provider.map(|(name, _)| name))
            .with_some("console", provider.map(|(_, place)| place))
    })
}

/// The public address is on no interface.
fn elsewhere(evidence: &Evidence) -> Option<(Found<'_, OwnAddresses>, Option<IpAddr>)> {
    let found = evidence.one::<OwnAddresses>(CheckId::PublicAddress)?;
    let asked = evidence.subject.ip().filter(|ip| is_public(*ip));
    (!asked.is_some_and(|ip| found.1.public.contains(&ip))).then_some((found, asked))
}

/// It has only private addresses: somebody in front of it translates.
pub(super) fn behind_nat(evidence: &Evidence) -> Option<Suspect> {
    let ((reference, own), asked) = elsewhere(evidence)?;
    let v4 = |ip: &&IpAddr| ip.is_ipv4();
    let private = own.shared.iter().chain(&own.private).find(v4)?;
    if own.public.iter().any(IpAddr::is_ipv4) {
        return None;
    }
    // Clouds do that to every server; it matters when somebody tests it by its public address.
    let usual = own.provider.is_some() && own.shared.is_empty();
    let sure = match asked {
        Some(_) => Confidence::Certain,
        None if usual => return None,
        None => Confidence::Likely,
    };
    Some(suspect(Code::BehindNat, sure, [reference]).with("other", private))
}

/// It has a public address, but another one.
pub(super) fn public_address_differs(evidence: &Evidence) -> Option<Suspect> {
    let ((reference, own), asked) = elsewhere(evidence)?;
    let asked = asked?;
    let other = own.public.iter().find(|ip| ip.is_ipv4() == asked.is_ipv4())?;
    let found = suspect(Code::PublicAddressDiffers, Confidence::Likely, [reference]);
    Some(found.with("other", other).with("host", &asked))
}
