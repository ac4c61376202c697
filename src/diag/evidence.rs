//! All facts of one run about one port, and the questions that rules ask of them. Pure.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::fact::{
    Addresses, Attempt, CheckId, Connects, Container, Containers, Control, Egress, Engine, Fact,
    Hello, Journey, Ladder, Outcome, Payload, Pick, Reference, Resources, Route, State,
};
use super::server::Server;

/// What is examined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// A name or an address, without brackets.
    pub host: String,
    /// TCP.
    pub port: u16,
    /// Which addresses count.
    pub family: Family,
}

/// Which addresses count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// All.
    #[default]
    Any,
    /// IPv4 only.
    Ipv4,
    /// IPv6 only.
    Ipv6,
}

impl Family {
    /// Whether `ip` counts.
    pub const fn has(self, ip: IpAddr) -> bool {
        match self {
            Self::Any => true,
            Self::Ipv4 => ip.is_ipv4(),
            Self::Ipv6 => ip.is_ipv6(),
        }
    }
}

impl Subject {
    /// The address that was given instead of a name.
    pub fn ip(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// `host:port`, as people write it.
    pub fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl Route {
    /// Whether there is none; one that this machine forbids is there.
    pub fn is_missing(&self) -> bool {
        self.source.is_none() && self.failure != Some(Outcome::Forbidden)
    }
}

/// How far a run goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Command {
    /// To the port.
    #[default]
    CheckPort,
    /// Through the proxy.
    Probe,
    /// Everything that can be seen from where it runs.
    Doctor,
}

/// Where a doctor runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Where an application uses the proxy.
    #[default]
    Client,
    /// On the proxy's server.
    Host,
    /// In the proxy's container.
    Container,
}

/// What the proxy is spoken to in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scheme {
    /// HTTP in the clear.
    #[default]
    Http,
    /// HTTP in TLS.
    Https,
    /// SOCKS5.
    Socks5,
}

impl Scheme {
    /// As URLs have it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Socks5 => "socks5",
        }
    }
}

/// Whether the proxy is told a user and a password. They themselves are no facts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Credentials {
    /// No.
    #[default]
    None,
    /// Yes.
    Given,
    /// Yes, and they look as if somebody forgot to encode them, or did it twice (RFC 3986 §2.1).
    Odd,
}

/// What the user wants to know.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Asked {
    /// How far to go.
    pub command: Command,
    /// From where.
    #[serde(default)]
    pub role: Role,
    /// The name of the proxy's container, when it is not README's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// Whether the user has said which port; else it is README's.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub port_given: bool,
    /// What the proxy is spoken to in.
    #[serde(default)]
    pub scheme: Scheme,
    /// Whether it is told who we are.
    #[serde(default)]
    pub credentials: Credentials,
    /// Name servers to compare with the system's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub name_servers: Vec<String>,
    /// URLs to reach.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<String>,
    /// Whether the APIs of LLM providers are to be reached.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub llm: bool,
    /// How often each target, from 1.
    #[serde(default)]
    pub repeats: u16,
    /// How long a tunnel is to be silent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_s: Option<u64>,
    /// How long the server is to count who knocks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub witness_s: Option<u64>,
    /// Whether others than the proxy, the targets and the system's name servers may be asked.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub online: bool,
}

/// Everything that is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// About what.
    pub subject: Subject,
    /// What was asked of the run.
    #[serde(default)]
    pub asked: Asked,
    /// When the run began, in seconds since 1970; reports of older releases do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<u64>,
    /// In the order of the plan; rules do not depend on it.
    pub facts: Vec<Fact>,
    /// What is known of the other end, when it was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<Box<Server>>,
}

/// A fact together with what it measured.
pub type Found<'e, T> = (&'e Reference, &'e T);

impl Evidence {
    /// Nothing is known yet.
    pub const fn new(subject: Subject, asked: Asked) -> Self {
        Self { subject, asked, at: None, facts: Vec::new(), server: None }
    }

    /// What the server has measured.
    pub fn of_server(&self) -> Option<&Self> {
        self.server.as_ref()?.evidence()
    }

    /// The fact with this name, and the evidence that it belongs to: this, or the server's.
    pub fn find(&self, reference: &Reference) -> Option<(&Fact, &Self)> {
        let ends = [Some(self), self.of_server()].into_iter().flatten();
        ends.flat_map(|end| end.facts.iter().map(move |fact| (fact, end)))
            .find(|(fact, _)| fact.reference == *reference)
    }

    /// What the facts of `check` have measured, in the order of the plan.
    pub fn all<'e, T: Payload + 'e>(
        &'e self,
        check: CheckId,
    ) -> impl Iterator<Item = Found<'e, T>> {
        let of_check = self.facts.iter().filter(move |fact| fact.check == check);
        of_check.filter_map(|fact| Some((&fact.reference, T::of(fact.data.as_ref()?)?)))
    }

    /// What the one fact of `check` has measured; whatever the order, the same one of several.
    pub fn one<T: Payload>(&self, check: CheckId) -> Option<Found<'_, T>> {
        self.all(check).min_by_key(|(reference, _)| *reference)
    }

    /// What the name stands for.
    pub fn addresses(&self) -> Option<Found<'_, Addresses>> {
        self.one(CheckId::Resolve)
    }

    /// What the routing table says.
    pub fn routes(&self) -> impl Iterator<Item = Found<'_, Route>> {
        self.all(CheckId::Route)
    }

    fn connects(&self, check: CheckId) -> impl Iterator<Item = Found<'_, Attempt>> {
        self.all::<Connects>(check)
            .flat_map(|(reference, all)| all.attempts.iter().map(move |it| (reference, it)))
    }

    /// Every connect to the port.
    pub fn attempts(&self) -> impl Iterator<Item = Found<'_, Attempt>> {
        self.connects(CheckId::TcpConnect)
    }

    /// Every connect to another port.
    pub fn siblings(&self) -> impl Iterator<Item = Found<'_, Attempt>> {
        self.connects(CheckId::SiblingPorts)
    }

    /// How far away the answer comes from.
    pub fn ladder(&self) -> Option<Found<'_, Ladder>> {
        self.one(CheckId::TtlLadder)
    }

    /// What the address answered at which nothing lives.
    pub fn control(&self) -> Option<Found<'_, Control>> {
        self.one(CheckId::ControlAddress)
    }

    /// What answers.
    pub fn hello(&self) -> Option<Found<'_, Hello>> {
        self.one(CheckId::Hello)
    }

    /// Every request through the proxy: to the targets that were asked for, then to LLM providers.
    pub fn journeys(&self) -> impl Iterator<Item = Found<'_, Journey>> {
        self.all(CheckId::ThroughProxy).chain(self.all(CheckId::Llm))
    }

    /// Docker on this server.
    pub fn engine(&self) -> Option<Found<'_, Engine>> {
        self.one(CheckId::DockerEngine)
    }

    /// The container of the proxy, as far as that can be told: one that is ours by name or image
    /// before one that only has the port, and the one that the user has named before all; among those one
    /// that serves the port before README's name, and that before one that runs.
    pub fn container(&self) -> Option<Found<'_, Container>> {
        let (reference, all) = self.one::<Containers>(CheckId::Container)?;
        let port = self.subject.port;
        let rank = |it: &Container| {
            let last = it.last();
            let wanted = self.asked.container.is_some() && it.picked.contains(&Pick::Name);
            let ours = it.picked.iter().any(|pick| *pick != Pick::Port);
            let runs = matches!(last.state, State::Running | State::Paused);
            let serves = it.ports.iter().any(|it| it.port == Some(port));
            (wanted, ours, runs && serves, it.picked.contains(&Pick::Name), runs)
        };
        let best = all.containers.iter().rev().max_by_key(|it| rank(it))?;
        Some((reference, best))
    }

    /// When nobody has said which port clients use, and the proxy's container runs and publishes just
    /// one, for everybody: that one.
    pub fn take_published_port(&mut self) {
        if self.asked.port_given || self.asked.role != Role::Host {
            return;
        }
        let Some((_, container)) = self.container() else { return };
        let ours = container.picked.iter().any(|pick| *pick != Pick::Port);
        let for_all = |ip: Option<IpAddr>| ip.is_none_or(|ip| ip.is_unspecified());
        let mut published: Vec<u16> =
            container.ports.iter().filter(|it| for_all(it.ip)).filter_map(|it| it.port).collect();
        published.sort_unstable();
        published.dedup();
        if let ([port], State::Running, true) = (&published[..], container.last().state, ours) {
            self.subject.port = *port;
        }
    }

    /// What the proxy's container reaches.
    pub fn egress(&self) -> Option<Found<'_, Egress>> {
        self.one(CheckId::ContainerEgress)
    }

    /// What may run out on this server.
    pub fn resources(&self) -> Option<Found<'_, Resources>> {
        self.one(CheckId::ServerResources)
    }

    /// The addresses to connect to: the one that was given, or what the name stands for.
    pub fn candidates(&self) -> Vec<SocketAddr> {
        let Subject { port, family, .. } = self.subject;
        let ips = match self.subject.ip() {
            Some(ip) => vec![ip],
            None => self.addresses().map_or_else(Vec::new, |(_, it)| it.addresses.clone()),
        };
        ips.into_iter().filter(|ip| family.has(*ip)).map(|ip| (ip, port).into()).collect()
    }

    /// The address that tells most: one that opens, else one that refuses, else the first.
    pub fn primary(&self) -> Option<SocketAddr> {
        let with = |outcome| {
            let mut all: Vec<_> = self
                .attempts()
                .filter(|(_, attempt)| attempt.outcome == outcome)
                .map(|(_, attempt)| attempt.address)
                .collect();
            all.sort_unstable();
            all.first().copied()
        };
        with(Outcome::Open)
            .or_else(|| with(Outcome::Refused))
            .or_else(|| self.candidates().first().copied())
    }

    /// Whether this machine knows where to send packets for `ip`; also when it was not asked.
    pub fn is_routable(&self, ip: IpAddr) -> bool {
        !self.routes().any(|(_, route)| route.to == ip && route.is_missing())
    }

    /// Whether some connect came to `outcome`.
    pub fn any(&self, outcome: Outcome) -> bool {
        self.attempts().any(|(_, attempt)| attempt.outcome == outcome)
    }

    /// The times of the connects to `address` that came to `outcome`, ascending, in microseconds.
    pub fn times(&self, address: SocketAddr, outcome: Outcome) -> Vec<u64> {
        let mut times: Vec<u64> = self
            .attempts()
            .filter(|(_, it)| it.address == address && it.outcome == outcome)
            .map(|(_, it)| it.elapsed_us)
            .collect();
        times.sort_unstable();
        times
    }
}

/// Whether the whole Internet could send packets to `ip`.
pub fn is_public(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            let shared = a == 100 && (64..128).contains(&b);
            let special = v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_unspecified()
                || v4.is_broadcast()
                || v4.is_multicast();
            !special && !shared && a != 0
        }
        IpAddr::V6(v6) => {
            let special = v6.is_loopback()
                || v6.is_unspecified()
                || v6.is_unique_local()
                || v6.is_unicast_link_local()
                || v6.is_multicast();
            !special
        }
    }
}
