//! All facts of one run about one port, and the questions that rules ask of them. Pure.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::fact::{
    Addresses, Attempt, CheckId, Control, Data, Fact, Hello, Ladder, Outcome, Reference, Route,
};

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

/// Everything that is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// About what.
    pub subject: Subject,
    /// In the order of the plan; rules do not depend on it.
    pub facts: Vec<Fact>,
}

/// A fact together with what it measured.
pub type Found<'e, T> = (&'e Reference, &'e T);

impl Evidence {
    /// Nothing is known yet.
    pub const fn new(subject: Subject) -> Self {
        Self { subject, facts: Vec::new() }
    }

    fn found<'e, T: 'e>(
        &'e self,
        check: CheckId,
        pick: impl Fn(&'e Data) -> Option<&'e T>,
    ) -> impl Iterator<Item = Found<'e, T>> {
        let of_check = self.facts.iter().filter(move |fact| fact.check == check);
        of_check.filter_map(move |fact| Some((&fact.reference, pick(fact.data.as_ref()?)?)))
    }

    /// What the name stands for.
    pub fn addresses(&self) -> Option<Found<'_, Addresses>> {
        self.found(CheckId::Resolve, |data| match data {
            Data::Addresses(it) => Some(it),
            Data::Route(_)
            | Data::Connects(_)
            | Data::Ladder(_)
            | Data::Control(_)
            | Data::Hello(_) => None,
        })
        .min_by_key(|(reference, _)| *reference)
    }

    /// What the routing table says.
    pub fn routes(&self) -> impl Iterator<Item = Found<'_, Route>> {
        self.found(CheckId::Route, |data| match data {
            Data::Route(it) => Some(it),
            Data::Addresses(_)
            | Data::Connects(_)
            | Data::Ladder(_)
            | Data::Control(_)
            | Data::Hello(_) => None,
        })
    }

    fn connects(&self, check: CheckId) -> impl Iterator<Item = Found<'_, Attempt>> {
        self.found(check, |data| match data {
            Data::Connects(it) => Some(&it.attempts),
            Data::Addresses(_)
            | Data::Route(_)
            | Data::Ladder(_)
            | Data::Control(_)
            | Data::Hello(_) => None,
        })
        .flat_map(|(reference, attempts)| attempts.iter().map(move |it| (reference, it)))
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
        self.found(CheckId::TtlLadder, |data| match data {
            Data::Ladder(it) => Some(it),
            Data::Addresses(_)
            | Data::Route(_)
            | Data::Connects(_)
            | Data::Control(_)
            | Data::Hello(_) => None,
        })
        .min_by_key(|(reference, _)| *reference)
    }

    /// What the address answered at which nothing lives.
    pub fn control(&self) -> Option<Found<'_, Control>> {
        self.found(CheckId::ControlAddress, |data| match data {
            Data::Control(it) => Some(it),
            Data::Addresses(_)
            | Data::Route(_)
            | Data::Connects(_)
            | Data::Ladder(_)
            | Data::Hello(_) => None,
        })
        .min_by_key(|(reference, _)| *reference)
    }

    /// What answers.
    pub fn hello(&self) -> Option<Found<'_, Hello>> {
        self.found(CheckId::Hello, |data| match data {
            Data::Hello(it) => Some(it),
            Data::Addresses(_)
            | Data::Route(_)
            | Data::Connects(_)
            | Data::Ladder(_)
            | Data::Control(_) => None,
        })
        .min_by_key(|(reference, _)| *reference)
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
