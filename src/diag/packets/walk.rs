//! What becomes of a packet: every base chain of a hook in the order of priority, an accept ends only
//! its own table, a drop is final, and translation of addresses is done by the first that does it.
//!
//! Where a condition is not understood both ways are walked; there is an answer only if they agree.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::chains::Walker;
use super::matches::{Truth, within};
use crate::diag::fact::{Backend, Kernel, Layer, PacketFilter, Read, Tool, Way};

/// Addresses that stand for any client of the Internet.
pub const ANYBODY: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(81, 2, 69, 160)),
    IpAddr::V6(Ipv6Addr::new(0x2a02, 0x2e0, 0x3fe, 0x1001, 0, 0, 0, 0x77)),
];

/// The server.
#[derive(Debug, Clone, Copy)]
pub struct World<'w> {
    /// Its rules.
    pub filter: &'w PacketFilter,
    /// Its interfaces and routes.
    pub kernel: &'w Kernel,
}

/// An interface of a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Link {
    /// It has none here.
    None,
    /// This one.
    Named(String),
    /// One that we don't know.
    Unknown,
}

/// A packet of a TCP connection: its first, or the answer to that.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "what the kernel remembers of a packet")]
pub struct Packet {
    /// By which interface it came.
    pub input: Link,
    /// By which it leaves.
    pub output: Link,
    /// From whom.
    pub source: IpAddr,
    /// Where to, by now.
    pub destination: IpAddr,
    /// From which port.
    pub source_port: Option<u16>,
    /// To which port, by now.
    pub port: Option<u16>,
    /// Where to, in the beginning.
    pub original: (IpAddr, Option<u16>),
    /// Whether it is the answer.
    pub reply: bool,
    /// Its mark.
    pub mark: Option<u32>,
    /// Whether it has got another destination.
    pub translated: bool,
    /// Whether it has got another source.
    pub masked: bool,
    /// Whether nobody keeps account of its connection.
    pub untracked: bool,
}

impl Packet {
    /// The first packet of a client's connection.
    pub fn arriving(input: Link, source: IpAddr, to: SocketAddr) -> Self {
        let (destination, port) = (to.ip(), Some(to.port()));
        Self {
            input,
            output: Link::None,
            source,
            destination,
            source_port: None,
            port,
            original: (destination, port),
            reply: false,
            mark: Some(0),
            translated: false,
            masked: false,
            untracked: false,
        }
    }
}

/// A rule, or the policy of a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spot {
    /// Whose.
    pub backend: Backend,
    /// Of the table.
    pub family: Layer,
    /// Its name.
    pub table: String,
    /// Its chain.
    pub chain: String,
    /// The chains from which it was jumped to, the first first.
    pub via: Vec<String>,
    /// Its place in the chain; `None` is the policy.
    pub number: Option<u32>,
    /// Of nft.
    pub handle: Option<u64>,
    /// As people know it.
    pub text: String,
}

impl Spot {
    /// Whether a packet is in the chain `name` here, or was sent here from it.
    pub fn is_below(&self, name: &str) -> bool {
        self.chain == name || self.via.iter().any(|chain| chain == name)
    }
}

/// What becomes of a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It gets where it is to go.
    Accepted,
    /// This rule drops it.
    Dropped(Spot),
    /// This rule drops it and tells the sender with that.
    Rejected(Spot, String),
    /// It is for another machine, and this one does not forward.
    NotForwarded,
    /// There is no way to where it is to go.
    NoRoute,
    /// It depends on what is not known: this rule, when it is one.
    Unknown(Option<Spot>),
}

/// Where a packet went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Course {
    /// What became of it.
    pub fate: Fate,
    /// Its new destination, when it has one on every way.
    pub to: Option<SocketAddr>,
    /// Whether it is for this machine itself.
    pub local: Option<bool>,
    /// Whether its source was hidden behind this machine's.
    pub masked: Option<bool>,
}

impl<'w> World<'w> {
    /// Whether everything that may have rules for this family was read.
    pub fn is_complete(&self) -> bool {
        let of = |tools: &[Tool]| {
            let read = self.filter.read.iter().filter(|it| tools.contains(&it.tool));
            read.clone().all(|it| matches!(it.outcome, Read::Whole | Read::Missing))
                && read.clone().any(|it| it.outcome == Read::Whole)
        };
        of(&[Tool::Iptables, Tool::Ip6tables, Tool::OtherIptables, Tool::OtherIp6tables, Tool::Nft])
    }

    /// Whether there is anything to walk through: some tool was heard to its end, and none was cut.
    fn is_readable(&self) -> bool {
        let mut read = self.filter.read.iter();
        let whole = read.clone().any(|it| it.outcome == Read::Whole);
        let lost = |outcome| matches!(outcome, Read::Cut | Read::Forbidden | Read::Late);
        whole && !read.any(|it| lost(it.outcome) && it.tool != Tool::Ufw)
    }

    /// Whether `address` is this machine's; `None` when its interfaces are not known.
    pub fn is_local(&self, address: IpAddr) -> Option<bool> {
        if address.is_loopback() {
            return Some(true);
        }
        let interfaces = &self.kernel.interfaces;
        (!interfaces.is_empty())
            .then(|| interfaces.iter().any(|it| it.addresses.contains(&address)))
    }

    /// The row of the routing table for `address`.
    pub fn way(&self, address: IpAddr) -> Option<&'w Way> {
        let fits = |way: &&Way| within(address, &format!("{}/{}", way.to, way.bits)) == Truth::Yes;
        let found = self.kernel.routes.iter().filter(fits);
        found.min_by_key(|way| (std::cmp::Reverse(way.bits), way.metric))
    }

    pub(super) fn leads_somewhere(&self, address: IpAddr) -> Truth {
        match self.way(address) {
            Some(way) => (!way.reject).into(),
            None if self.kernel.routes.is_empty() => Truth::Maybe,
            None => Truth::No,
        }
    }

    /// The interface by which clients come, and the address that it has there: of the way to `source`.
    pub fn front(&self, source: IpAddr) -> Option<(&'w str, IpAddr)> {
        let name = &self.way(source)?.interface;
        let interface = self.kernel.interfaces.iter().find(|it| it.name == *name)?;
        let mut addresses = interface.addresses.iter();
        let same = |it: &&IpAddr| it.is_ipv4() == source.is_ipv4() && !is_link_local(**it);
        Some((name, *addresses.find(same)?))
    }

    /// The first packet from `source` to `port` of this machine.
    pub fn knock(&self, source: IpAddr, port: u16) -> Option<Packet> {
        let (interface, address) = self.front(source)?;
        let link = Link::Named(interface.to_owned());
        Some(Packet::arriving(link, source, (address, port).into()))
    }

    /// What becomes of a packet that comes from outside.
    pub fn inward(&self, packet: Packet) -> Course {
        if !self.is_readable() {
            return Course { fate: Fate::Unknown(None), to: None, local: None, masked: None };
        }
        let mut walker = Walker::new(*self, &packet);
        let entered = walker.hook("ingress", vec![packet]);
        let routed = walker.hook("prerouting", entered);
        for packet in routed {
            self.onward(&mut walker, packet);
        }
        walker.course()
    }

    /// Whether a packet gets another destination before anybody looks where it is to go.
    pub fn is_led_elsewhere(&self, packet: Packet) -> Truth {
        if !self.is_readable() {
            return Truth::Maybe;
        }
        let mut walker = Walker::new(*self, &packet);
        let entered = walker.hook("ingress", vec![packet]);
        let routed = walker.hook("prerouting", entered);
        let led = routed.iter().filter(|it| it.translated).count();
        match (led, routed.len() - led) {
            (0, 1..) => Truth::No,
            (1.., 0) => Truth::Yes,
            _ => Truth::Maybe,
        }
    }

    fn onward(&self, walker: &mut Walker<'_>, mut packet: Packet) {
        match self.is_local(packet.destination) {
            None => walker.end(Fate::Unknown(None), &packet, None),
            Some(true) => {
                for packet in walker.hook("input", vec![packet]) {
                    walker.end(Fate::Accepted, &packet, Some(true));
                }
            }
            Some(false) => {
                let v4 = packet.destination.is_ipv4();
                let forward = if v4 { self.kernel.forward4 } else { self.kernel.forward6 };
                let way = self.way(packet.destination).filter(|way| !way.reject);
                match (forward, way) {
                    (Some(false), _) => walker.end(Fate::NotForwarded, &packet, Some(false)),
                    (None, _) => walker.end(Fate::Unknown(None), &packet, Some(false)),
                    (Some(true), None) if self.kernel.routes.is_empty() => {
                        walker.end(Fate::Unknown(None), &packet, Some(false));
                    }
                    (Some(true), None) => walker.end(Fate::NoRoute, &packet, Some(false)),
                    (Some(true), Some(way)) => {
                        packet.output = Link::Named(way.interface.clone());
                        let forwarded = walker.hook("forward", vec![packet]);
                        for packet in walker.hook("postrouting", forwarded) {
                            walker.end(Fate::Accepted, &packet, Some(false));
                        }
                    }
                }
            }
        }
    }

    /// What becomes of the answer to a packet that was let in.
    pub fn answer(&self, packet: &Packet, course: &Course) -> Course {
        let (local, to) = (course.local == Some(true), course.to);
        let (from, port) =
            to.map_or((packet.destination, packet.port), |to| (to.ip(), Some(to.port())));
        let back = Packet {
            input: Link::None,
            output: packet.input.clone(),
            source: from,
            destination: packet.source,
            source_port: port,
            port: packet.source_port,
            original: packet.original,
            reply: true,
            mark: Some(0),
            translated: packet.translated || to.is_some(),
            masked: false,
            untracked: false,
        };
        if course.masked == Some(true) || !self.is_readable() {
            // Then it comes to this machine first; rules about that are rare.
            return Course { fate: Fate::Unknown(None), to: None, local: None, masked: None };
        }
        let mut walker = Walker::new(*self, &back);
        let leaving = if local {
            walker.hook("output", vec![back])
        } else {
            let input =
                self.way(from).map_or(Link::Unknown, |way| Link::Named(way.interface.clone()));
            let output = back.output.clone();
            let entered = Packet { input, output: Link::None, ..back };
            let mut routed = walker.hook("prerouting", vec![entered]);
            for packet in &mut routed {
                packet.output = output.clone();
            }
            walker.hook("forward", routed)
        };
        for packet in walker.hook("postrouting", leaving) {
            walker.end(Fate::Accepted, &packet, Some(local));
        }
        walker.course()
    }

    /// What becomes of a connection from `source` behind this machine (a container) to `to`.
    pub fn outward(&self, source: IpAddr, to: SocketAddr) -> Course {
        let input =
            self.way(source).map_or(Link::Unknown, |way| Link::Named(way.interface.clone()));
        self.inward(Packet::arriving(input, source, to))
    }
}

const fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}
