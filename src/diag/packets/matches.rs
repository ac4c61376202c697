//! Whether a condition of a rule is true of a packet: yes, no, or nobody can say.

use std::net::IpAddr;

use super::walk::{Link, Packet, World};
use crate::diag::fact::{Field, Match, Rule, Set, Table, Verdict, VerdictMap};

/// Whether something is so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Truth {
    /// It is.
    Yes,
    /// It is not.
    No,
    /// Nobody can say.
    Maybe,
}

impl From<bool> for Truth {
    fn from(so: bool) -> Self {
        if so { Self::Yes } else { Self::No }
    }
}

impl Truth {
    const fn reversed(self) -> Self {
        match self {
            Self::Yes => Self::No,
            Self::No => Self::Yes,
            Self::Maybe => Self::Maybe,
        }
    }

    const fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::No, _) | (_, Self::No) => Self::No,
            (Self::Maybe, _) | (_, Self::Maybe) => Self::Maybe,
            (Self::Yes, Self::Yes) => Self::Yes,
        }
    }

    const fn or(self, other: Self) -> Self {
        self.reversed().and(other.reversed()).reversed()
    }
}

/// Whether `rule` is for `packet`.
pub(super) fn applies(rule: &Rule, table: &Table, packet: &Packet, world: &World<'_>) -> Truth {
    let each = rule.matches.iter().map(|asked| holds(asked, table, packet, world));
    each.fold(Truth::Yes, Truth::and)
}

/// What may happen by a map; the last is [`Verdict::Next`] when it may have no entry for the packet.
pub(super) fn choices<'t>(
    map: &'t VerdictMap,
    table: &'t Table,
    packet: &Packet,
    world: &World<'_>,
) -> Vec<&'t Verdict> {
    const NOTHING: &Verdict = &Verdict::Next;
    let named = map.map.as_ref().map(|name| table.sets.iter().find(|set| set.name == *name));
    let entries = match named {
        None => &map.entries,
        Some(Some(set)) if !set.unknown => &set.entries,
        // Which it may have is not known.
        Some(_) => return Vec::new(),
    };
    let mut found = Vec::new();
    for (value, verdict) in entries {
        match fits(map.field, value, packet, world) {
            Truth::Yes => {
                found.push(verdict);
                return found;
            }
            Truth::Maybe => found.push(verdict),
            Truth::No => {}
        }
    }
    found.push(NOTHING);
    found
}

fn holds(asked: &Match, table: &Table, packet: &Packet, world: &World<'_>) -> Truth {
    let found = match &asked.set {
        None => any(asked.field, &asked.values, packet, world),
        Some(name) => {
            let own = table.sets.iter().find(|set| set.name == *name);
            let set = own.or_else(|| world.filter.sets.iter().find(|set| set.name == *name));
            set.map_or(Truth::Maybe, |set| among(asked.field, set, packet, world))
        }
    };
    if asked.not { found.reversed() } else { found }
}

fn any(field: Field, values: &[String], packet: &Packet, world: &World<'_>) -> Truth {
    if field == Field::Unknown {
        return Truth::Maybe;
    }
    let each = values.iter().map(|value| fits(field, value, packet, world));
    each.fold(Truth::No, Truth::or)
}

fn among(field: Field, set: &Set, packet: &Packet, world: &World<'_>) -> Truth {
    let found = any(field, &set.values, packet, world);
    let looked_for =
        |address: IpAddr| set.asked.as_ref().is_none_or(|asked| asked.contains(&address));
    let complete = !set.unknown
        && match field {
            Field::Source => looked_for(packet.source),
            Field::Destination => looked_for(packet.destination),
            Field::In
            | Field::Out
            | Field::SourcePort
            | Field::Port
            | Field::Protocol
            | Field::Family
            | Field::State
            | Field::SourceType
            | Field::DestinationType
            | Field::Mark
            | Field::Flags
            | Field::OriginalPort
            | Field::OriginalDestination
            | Field::Direction => set.asked.is_none(),
            Field::Unknown => false,
        };
    if found == Truth::No && !complete { Truth::Maybe } else { found }
}

/// Whether `value` is what `field` of the packet has.
fn fits(field: Field, value: &str, packet: &Packet, world: &World<'_>) -> Truth {
    match field {
        Field::In => named(&packet.input, value),
        Field::Out => named(&packet.output, value),
        Field::Source => within(packet.source, value),
        Field::Destination => within(packet.destination, value),
        Field::OriginalDestination => within(packet.original.0, value),
        Field::SourcePort => port(packet.source_port, value),
        Field::Port => port(packet.port, value),
        Field::OriginalPort => port(packet.original.1, value),
        Field::Protocol => protocol(value),
        Field::Family => family(packet.source, value),
        Field::State => state(packet, value),
        Field::SourceType => kind(packet.source, value, world),
        Field::DestinationType => kind(packet.destination, value, world),
        Field::Mark => mark(packet.mark, value),
        Field::Flags => flags(packet, value),
        Field::Direction => match value {
            "original" | "0" => (!packet.reply).into(),
            "reply" | "1" => packet.reply.into(),
            _ => Truth::Maybe,
        },
        Field::Unknown => Truth::Maybe,
    }
}

fn named(link: &Link, pattern: &str) -> Truth {
    match (link, pattern.strip_suffix('*')) {
        (Link::Unknown, Some("")) => Truth::Yes,
        (Link::Unknown, _) => Truth::Maybe,
        (Link::None, _) => Truth::No,
        (Link::Named(name), Some(start)) => name.starts_with(start).into(),
        (Link::Named(name), None) => (name == pattern).into(),
    }
}

/// `10.0.0.0/8`, `10.0.0.0/255.0.0.0`, `10.0.0.1-10.0.0.9`, `10.0.0.1`.
pub fn within(address: IpAddr, value: &str) -> Truth {
    let has = || -> Option<bool> {
        if let Some((from, to)) = value.split_once('-') {
            let (from, to): (IpAddr, IpAddr) = (from.parse().ok()?, to.parse().ok()?);
            let same = from.is_ipv4() == address.is_ipv4() && to.is_ipv4() == address.is_ipv4();
            return Some(same && from <= address && address <= to);
        }
        let (net, mask) = value.split_once('/').unwrap_or((value, ""));
        let net: IpAddr = net.parse().ok()?;
        Some(match (net, address) {
            (IpAddr::V4(net), IpAddr::V4(address)) => {
                let mask = match mask {
                    "" => u32::MAX,
                    dotted if dotted.contains('.') => {
                        dotted.parse().map(std::net::Ipv4Addr::to_bits).ok()?
                    }
                    bits => {
                        u32::MAX.checked_shl(32_u32.checked_sub(bits.parse().ok()?)?).unwrap_or(0)
                    }
                };
                net.to_bits() & mask == address.to_bits() & mask
            }
            (IpAddr::V6(net), IpAddr::V6(address)) => {
                let mask = match mask {
                    "" => u128::MAX,
                    bits => {
                        u128::MAX.checked_shl(128_u32.checked_sub(bits.parse().ok()?)?).unwrap_or(0)
                    }
                };
                net.to_bits() & mask == address.to_bits() & mask
            }
            _ => false,
        })
    };
    has().map_or(Truth::Maybe, Truth::from)
}

/// `8080`, `8000-8100`. Where the packet's is not known, it is one that a client takes: 1024 to 65535.
fn port(port: Option<u16>, value: &str) -> Truth {
    let range = || -> Option<(u32, u32)> {
        let (from, to) = value.split_once('-').unwrap_or((value, value));
        Some((from.parse().ok()?, to.parse().ok()?))
    };
    let Some((from, to)) = range() else { return Truth::Maybe };
    match port {
        Some(port) => (from <= u32::from(port) && u32::from(port) <= to).into(),
        None if from <= 1024 && to >= 65535 => Truth::Yes,
        None => Truth::Maybe,
    }
}

fn protocol(value: &str) -> Truth {
    const OTHERS: [&str; 17] = [
        "udp",
        "icmp",
        "icmpv6",
        "ipv6-icmp",
        "sctp",
        "dccp",
        "esp",
        "ah",
        "gre",
        "igmp",
        "udplite",
        "ipencap",
        "comp",
        "ospf",
        // Headers that the packets of a connection do not have.
        "ipv6-route",
        "ipv6-frag",
        "ipv6-opts",
    ];
    match value {
        "tcp" | "6" | "all" | "0" => Truth::Yes,
        other if OTHERS.contains(&other) || other.parse::<u8>().is_ok() => Truth::No,
        _ => Truth::Maybe,
    }
}

fn family(source: IpAddr, value: &str) -> Truth {
    match value {
        "ipv4" | "ip" | "2" => source.is_ipv4().into(),
        "ipv6" | "ip6" | "10" => source.is_ipv6().into(),
        "arp" => Truth::No,
        _ => Truth::Maybe,
    }
}

fn state(packet: &Packet, value: &str) -> Truth {
    match value {
        "untracked" => packet.untracked.into(),
        _ if packet.untracked => Truth::No,
        "new" => (!packet.reply).into(),
        "established" | "seen-reply" => packet.reply.into(),
        "dnat" => packet.translated.into(),
        "related" | "invalid" | "expected" => Truth::No,
        // What it was translated to on the way out is not kept for the answer.
        "snat" if !packet.reply => packet.masked.into(),
        _ => Truth::Maybe,
    }
}

fn kind(address: IpAddr, value: &str, world: &World<'_>) -> Truth {
    let local = world.is_local(address);
    match (value, local) {
        (_, None) => Truth::Maybe,
        ("local", Some(local)) => local.into(),
        ("unicast", Some(local)) => {
            if local {
                Truth::No
            } else {
                world.leads_somewhere(address)
            }
        }
        ("broadcast" | "multicast" | "anycast" | "unspec" | "nat" | "xresolve", _) => Truth::No,
        _ => Truth::Maybe,
    }
}

/// A number; `0x10`, `16`.
pub(super) fn numeral(text: &str) -> Option<u32> {
    match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

fn mark(mark: Option<u32>, value: &str) -> Truth {
    let (wanted, bits) = value.split_once('/').unwrap_or((value, "0xffffffff"));
    match (mark, numeral(wanted), numeral(bits)) {
        (Some(mark), Some(wanted), Some(bits)) => (mark & bits == wanted).into(),
        _ => Truth::Maybe,
    }
}

/// `fin,syn,rst,ack/syn`.
fn flags(packet: &Packet, value: &str) -> Truth {
    let Some((mask, wanted)) = value.split_once('/') else { return Truth::Maybe };
    let set = |flag: &str| flag == "syn" || (flag == "ack" && packet.reply);
    let mask: Vec<&str> = match mask {
        "all" => vec!["fin", "syn", "rst", "psh", "ack", "urg"],
        mask => mask.split(',').collect(),
    };
    // A client that speaks ECN sets them in its SYN (RFC 3168 §6.1.1).
    if mask.iter().any(|flag| matches!(*flag, "ecn" | "ece" | "cwr")) {
        return Truth::Maybe;
    }
    let wanted: Vec<&str> = match wanted {
        "none" | "0x0" => Vec::new(),
        "all" => vec!["fin", "syn", "rst", "psh", "ack", "urg"],
        wanted => wanted.split(',').collect(),
    };
    mask.iter().all(|flag| set(flag) == wanted.contains(flag)).into()
}
