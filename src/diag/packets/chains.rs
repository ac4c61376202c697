//! Through the chains of a hook, rule by rule.

use std::net::{IpAddr, SocketAddr};

use super::matches::{Truth, applies, choices, numeral};
use super::walk::{Course, Fate, Link, Packet, Spot, World};
use crate::diag::fact::{Base, Chain, Layer, Rule, Table, Verdict};

/// Rules that are looked at for one packet; more is a ruleset that runs in circles.
const MOST_STEPS: u32 = 200_000;
/// The kernel forbids deeper jumps.
const DEEPEST: usize = 16;
/// Ways that are walked at the same time.
const MOST_WAYS: usize = 64;

/// One end of a walk.
#[derive(Debug, Clone, PartialEq, Eq)]
struct End {
    fate: Fate,
    to: Option<SocketAddr>,
    local: Option<bool>,
    masked: bool,
}

/// A walk.
pub(super) struct Walker<'w> {
    world: World<'w>,
    v4: bool,
    ends: Vec<End>,
    doubt: Option<Spot>,
    steps: u32,
}

/// A chain that a packet is in, and those from which it was sent here.
struct Place<'w, 'v> {
    table: &'w Table,
    chain: &'w Chain,
    base: &'w Base,
    via: &'v [&'w str],
}

/// What came of a packet in a chain.
#[derive(Default)]
struct Passed {
    /// The table is content.
    accepted: Vec<Packet>,
    /// It came to the end of the chain, or was sent back.
    returned: Vec<Packet>,
}

impl<'w> Walker<'w> {
    pub(super) const fn new(world: World<'w>, packet: &Packet) -> Self {
        let v4 = packet.source.is_ipv4();
        Self { world, v4, ends: Vec::new(), doubt: None, steps: 0 }
    }

    /// One way ends so.
    pub(super) fn end(&mut self, fate: Fate, packet: &Packet, local: Option<bool>) {
        let port = packet.port.unwrap_or_default();
        let to = packet.translated.then(|| (packet.destination, port).into());
        let end = End { fate, to, local, masked: packet.masked };
        if !self.ends.contains(&end) {
            self.ends.push(end);
        }
    }

    /// What all ways come to.
    pub(super) fn course(self) -> Course {
        fn same<T: PartialEq + Copy>(mut all: impl Iterator<Item = T>) -> Option<T> {
            let first = all.next()?;
            all.all(|it| it == first).then_some(first)
        }
        let ends = &self.ends;
        let kind = |fate: &Fate| match fate {
            Fate::Accepted => 0,
            Fate::Dropped(_) => 1,
            Fate::Rejected(..) => 2,
            Fate::NotForwarded => 3,
            Fate::NoRoute => 4,
            Fate::Unknown(_) => 5,
        };
        let to = same(ends.iter().map(|it| it.to)).flatten();
        let local = same(ends.iter().map(|it| it.local)).flatten();
        let masked = same(ends.iter().map(|it| it.masked));
        let agreed = same(ends.iter().map(|it| kind(&it.fate))).is_some();
        // Let in, but at two places, is not let in for sure.
        let one = agreed && (to.is_some() || ends.iter().all(|it| it.to.is_none()));
        // Of several that drop it the last is the one that does so for sure.
        let fate = match ends.last() {
            Some(last) if one || (agreed && last.fate != Fate::Accepted) => last.fate.clone(),
            _ => Fate::Unknown(self.doubt.clone()),
        };
        Course { fate, to, local, masked }
    }

    /// The packets that every base chain of `hook` lets pass.
    pub(super) fn hook(&mut self, hook: &str, mut packets: Vec<Packet>) -> Vec<Packet> {
        let mut bases: Vec<(&'w Table, &'w Chain, &'w Base)> = Vec::new();
        for table in &self.world.filter.tables {
            let ours = match table.family {
                Layer::Ip => self.v4,
                Layer::Ip6 => !self.v4,
                Layer::Inet | Layer::Netdev => true,
                Layer::Other => false,
            };
            for chain in table.chains.iter().filter(|_| ours) {
                bases.extend(
                    chain.base.as_ref().filter(|it| it.hook == hook).map(|it| (table, chain, it)),
                );
            }
        }
        bases.sort_by_key(|(_, _, base)| base.priority);
        while let Some((_, _, first)) = bases.first() {
            let (priority, others) = (first.priority, bases.split_off(1));
            let mut level = bases;
            let more = others.iter().take_while(|(_, _, base)| base.priority == priority).count();
            level.extend(others.iter().take(more));
            bases = others.into_iter().skip(more).collect();
            let mut past = self.level(&level, packets.clone());
            // The kernel has those of one priority in an order that nobody lists.
            if level.len() > 1 {
                level.reverse();
                for packet in self.level(&level, packets) {
                    push(&mut past, packet);
                }
            }
            packets = past;
        }
        packets
    }

    fn level(
        &mut self,
        bases: &[(&'w Table, &'w Chain, &'w Base)],
        mut packets: Vec<Packet>,
    ) -> Vec<Packet> {
        for (table, chain, base) in bases {
            let (here, mut past): (Vec<Packet>, Vec<Packet>) =
                packets.into_iter().partition(|packet| comes_to(base, packet));
            let place = Place { table, chain, base, via: &[] };
            let passed = self.chain(&place, here);
            past.extend(passed.accepted);
            for packet in passed.returned {
                self.policy(&place, packet, &mut past);
            }
            packets = past;
            if packets.len() > MOST_WAYS {
                packets.truncate(1);
                if let Some(packet) = packets.pop() {
                    self.end(Fate::Unknown(self.doubt.clone()), &packet, None);
                }
            }
        }
        packets
    }

    fn policy(&mut self, place: &Place<'w, '_>, packet: Packet, past: &mut Vec<Packet>) {
        if place.base.policy == Verdict::Drop {
            let spot = place.spot(None);
            self.end(Fate::Dropped(spot), &packet, None);
        } else {
            past.push(packet);
        }
    }

    fn chain(&mut self, place: &Place<'w, '_>, packets: Vec<Packet>) -> Passed {
        let mut passed = Passed::default();
        let mut live = packets;
        for rule in &place.chain.rules {
            let mut next = Vec::new();
            for packet in live {
                self.steps += 1;
                if self.steps > MOST_STEPS || next.len() > MOST_WAYS {
                    self.end(Fate::Unknown(Some(place.spot(Some(rule)))), &packet, None);
                    continue;
                }
                match applies(rule, place.table, &packet, &self.world) {
                    Truth::No => push(&mut next, packet),
                    Truth::Yes => self.act(place, rule, packet, (&mut next, &mut passed)),
                    Truth::Maybe => {
                        self.doubt_of(place, rule);
                        push(&mut next, packet.clone());
                        self.act(place, rule, packet, (&mut next, &mut passed));
                    }
                }
            }
            live = next;
            if live.is_empty() {
                break;
            }
        }
        for packet in live {
            push(&mut passed.returned, packet);
        }
        passed
    }

    /// The first rule that made a difference which nobody can tell.
    fn doubt_of(&mut self, place: &Place<'w, '_>, rule: &'w Rule) {
        if !rule.verdict.is_next() {
            self.doubt.get_or_insert(place.spot(Some(rule)));
        }
    }

    fn act(
        &mut self,
        place: &Place<'w, '_>,
        rule: &'w Rule,
        packet: Packet,
        onto: (&mut Vec<Packet>, &mut Passed),
    ) {
        let Verdict::Map(map) = &rule.verdict else {
            self.apply(place, (rule, &rule.verdict), packet, onto);
            return;
        };
        let found = choices(map, place.table, &packet, &self.world);
        if found.len() != 1 {
            self.doubt.get_or_insert(place.spot(Some(rule)));
        }
        if found.is_empty() {
            self.end(Fate::Unknown(Some(place.spot(Some(rule)))), &packet, None);
        }
        let (next, passed) = onto;
        for verdict in found {
            self.apply(place, (rule, verdict), packet.clone(), (&mut *next, &mut *passed));
        }
    }

    fn apply(
        &mut self,
        place: &Place<'w, '_>,
        (rule, verdict): (&'w Rule, &'w Verdict),
        mut packet: Packet,
        (next, passed): (&mut Vec<Packet>, &mut Passed),
    ) {
        let spot = || place.spot(Some(rule));
        match verdict {
            Verdict::Next => push(next, packet),
            Verdict::Accept => push(&mut passed.accepted, packet),
            Verdict::Return => push(&mut passed.returned, packet),
            Verdict::Drop => self.end(Fate::Dropped(spot()), &packet, None),
            Verdict::Reject(with) => self.end(Fate::Rejected(spot(), with.clone()), &packet, None),
            Verdict::Jump(to) | Verdict::Goto(to) => {
                let inner = self.jump(place, rule, to, packet);
                passed.accepted.extend(inner.accepted);
                let back =
                    if matches!(verdict, Verdict::Jump(_)) { next } else { &mut passed.returned };
                for packet in inner.returned {
                    push(back, packet);
                }
            }
            Verdict::Mark(value) => {
                packet.mark = marked(packet.mark, value);
                push(next, packet);
            }
            Verdict::Untrack => {
                packet.untracked = true;
                push(next, packet);
            }
            Verdict::Masquerade => {
                packet.masked = place.base.hook == "postrouting";
                push(&mut passed.accepted, packet);
            }
            Verdict::Dnat(to) => match destination(to) {
                Some((ip, port)) => {
                    packet.destination = ip.unwrap_or(packet.destination);
                    packet.port = port.or(packet.port);
                    packet.translated = true;
                    push(&mut passed.accepted, packet);
                }
                None => self.end(Fate::Unknown(Some(spot())), &packet, None),
            },
            Verdict::Redirect(port) => match self.redirected(&mut packet, port) {
                Some(()) => push(&mut passed.accepted, packet),
                None => self.end(Fate::Unknown(Some(spot())), &packet, None),
            },
            Verdict::Map(_) | Verdict::Unknown(_) => {
                self.end(Fate::Unknown(Some(spot())), &packet, None);
            }
        }
    }

    fn jump(&mut self, place: &Place<'w, '_>, rule: &'w Rule, to: &str, packet: Packet) -> Passed {
        let chain = place.table.chains.iter().find(|chain| chain.name == to);
        let Some(chain) = chain.filter(|_| place.via.len() < DEEPEST) else {
            self.end(Fate::Unknown(Some(place.spot(Some(rule)))), &packet, None);
            return Passed::default();
        };
        let via: Vec<&str> = place.via.iter().copied().chain([place.chain.name.as_str()]).collect();
        self.chain(&Place { chain, via: &via, ..*place }, vec![packet])
    }

    /// To the first address of the interface that it came by.
    fn redirected(&self, packet: &mut Packet, port: &str) -> Option<()> {
        let Link::Named(name) = &packet.input else { return None };
        let interface = self.world.kernel.interfaces.iter().find(|it| it.name == *name)?;
        let v4 = packet.source.is_ipv4();
        packet.destination = *interface.addresses.iter().find(|it| it.is_ipv4() == v4)?;
        if !port.is_empty() {
            packet.port = Some(port.parse().ok()?);
        }
        packet.translated = true;
        Some(())
    }
}

impl<'w> Place<'w, '_> {
    fn spot(&self, rule: Option<&'w Rule>) -> Spot {
        let policy = || format!("policy of {}", self.chain.name);
        Spot {
            backend: self.table.backend,
            family: self.table.family,
            table: self.table.name.clone(),
            chain: self.chain.name.clone(),
            via: self.via.iter().map(|it| (*it).to_owned()).collect(),
            number: rule.map(|it| it.number),
            handle: rule.and_then(|it| it.handle),
            text: rule.map_or_else(policy, |it| it.text.clone()),
        }
    }
}

/// Two ways that have become one are walked once.
fn push(packets: &mut Vec<Packet>, packet: Packet) {
    if !packets.contains(&packet) {
        packets.push(packet);
    }
}

/// Whether a packet comes to a base chain at all.
fn comes_to(base: &Base, packet: &Packet) -> bool {
    if !base.devices.is_empty() {
        let named = |name: &String| packet.input == Link::Named(name.clone());
        return packet.input == Link::Unknown || base.devices.iter().any(named);
    }
    if !base.nat {
        return true;
    }
    // Only the first packet of a connection, and only until somebody has translated it.
    let done = match base.hook.as_str() {
        "prerouting" | "output" => packet.translated,
        _ => packet.masked,
    };
    !packet.reply && !packet.untracked && !done
}

/// `172.17.0.2:8080`, `172.17.0.2`, `:8080`, `[fd17::2]:8080`; not a range of either.
fn destination(to: &str) -> Option<(Option<IpAddr>, Option<u16>)> {
    if let Ok(ip) = to.parse() {
        return Some((Some(ip), None));
    }
    if let Some(port) = to.strip_prefix(':') {
        return Some((None, Some(port.parse().ok()?)));
    }
    if let Some(ip) = to.strip_prefix('[').and_then(|it| it.strip_suffix(']')) {
        return Some((Some(ip.parse().ok()?), None));
    }
    let whole: SocketAddr = to.parse().ok()?;
    Some((Some(whole.ip()), Some(whole.port())))
}

/// `mark & !mask ^ value`.
fn marked(mark: Option<u32>, value: &str) -> Option<u32> {
    let (flipped, cleared) = value.split_once('/')?;
    Some((mark? & !numeral(cleared)?) ^ numeral(flipped)?)
}
