//! Other addresses for public ones, so that all that is true of them stays true: which are the same,
//! which network has which, which is before which.
//!
//! All addresses and networks of the evidence make a tree by their bits. Where it branches, the new
//! address takes one bit, and what lies between two branches is left out: the shape stays, the numbers
//! go.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use regex_lite::{Captures, Regex};
use serde_json::Value;

use super::{Counts, Kind, Public, each_text};
use crate::diag::evidence::is_public;

/// The first bits of an address, from the highest of 128, and how many they are.
type Prefix = (u128, u8);

/// Addresses that are nobody's (RFC 5737, RFC 2544, RFC 1112 §4, RFC 3849): the first room that is
/// large enough. Each counts as public.
const ROOMS_V4: [(Ipv4Addr, u8); 3] = [
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(240, 0, 0, 0), 4),
];
const ROOM_V6: (Ipv6Addr, u8) = (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32);

/// What the proxy is called.
const NAME: &str = "proxy.example";

/// The new addresses.
pub(super) struct Pseudonyms {
    v4: BTreeMap<Prefix, Prefix>,
    v6: BTreeMap<Prefix, Prefix>,
    in_text: InText,
}

/// An address in a text, and the length of its network's prefix.
type Change<'a> = &'a mut dyn FnMut(IpAddr, Option<u8>) -> Option<(IpAddr, Option<u8>)>;

/// Finds addresses in texts.
struct InText {
    v4: Regex,
    v6: Regex,
}

impl Pseudonyms {
    /// For all addresses in `value`; `None` when there are more than there is room for.
    pub(super) fn of(value: &Value, public: Public) -> Option<Self> {
        let in_text = InText {
            v4: Regex::new(r"[0-9]{1,3}(?:(?:\.[0-9]{1,3}){3}|(?:-[0-9]{1,3}){3})(?:/[0-9]{1,2})?")
                .ok()?,
            v6: Regex::new(r"[0-9A-Za-z:.]*:[0-9A-Za-z:.]*(?:/[0-9]{1,3})?").ok()?,
        };
        let (mut four, mut six) = (BTreeSet::new(), BTreeSet::new());
        let mut see = |ip: IpAddr, length: Option<u8>| {
            let (set, full, short) = match ip {
                IpAddr::V4(_) => (&mut four, 32, 8),
                IpAddr::V6(_) => (&mut six, 128, 16),
            };
            let length = length.unwrap_or(full);
            if is_public(ip) && (short..=full).contains(&length) {
                set.insert((cut(bits(ip), length), length));
                set.insert((bits(ip), full));
            }
            None
        };
        if public == Public::Pseudonyms {
            let mut copy = value.clone();
            in_text.change(&mut copy, &mut see);
        }
        let (four, six): (Vec<Prefix>, Vec<Prefix>) =
            (four.into_iter().collect(), six.into_iter().collect());
        let v4 = ROOMS_V4.into_iter().find_map(|(room, length)| {
            let mut new = BTreeMap::new();
            embed(&four, (bits(room.into()), length), 32, &mut new).then_some(new)
        })?;
        let mut v6 = BTreeMap::new();
        embed(&six, (bits(ROOM_V6.0.into()), ROOM_V6.1), 128, &mut v6).then_some(())?;
        Some(Self { v4, v6, in_text })
    }

    /// Puts the new addresses into `value`, [`NAME`] in the place of `name`, and nobody's hardware
    /// address into those that are made of one (RFC 4291 §2.5.1).
    pub(super) fn put(&self, value: &mut Value, name: Option<&str>, counts: &mut Counts) {
        let mut cards: BTreeMap<u128, u128> = BTreeMap::new();
        self.in_text.change(value, &mut |ip, length| {
            if let Some(new) = self.new_of(ip, length) {
                counts.add(Kind::PublicAddresses, 1);
                return Some(new);
            }
            let IpAddr::V6(v6) = ip else { return None };
            let card = card_of(v6)?;
            counts.add(Kind::Macs, 1);
            let next = u128::try_from(cards.len()).unwrap_or_default() + 1;
            let number = *cards.entry(card).or_insert(next);
            let new = (v6.to_bits() >> 64 << 64) | 0x0200_00ff_fe00_0000 | (number & 0xff_ffff);
            Some((Ipv6Addr::from_bits(new).into(), length))
        });
        let Some(name) = name else { return };
        let Ok(whole) = Regex::new(&format!("(?i){}", regex_lite::escape(name))) else { return };
        each_text(value, "", &mut |_, text| {
            let once = |found: &Captures<'_>| {
                if !stands_alone(text, found, |c| c.is_alphanumeric() || c == '-') {
                    return found.get(0).map_or("", |it| it.as_str()).to_owned();
                }
                counts.add(Kind::PublicAddresses, 1);
                NAME.to_owned()
            };
            whole.replace_all(text, once).into_owned()
        });
    }

    fn new_of(&self, ip: IpAddr, length: Option<u8>) -> Option<(IpAddr, Option<u8>)> {
        let (new, full) = match ip {
            IpAddr::V4(_) => (&self.v4, 32),
            IpAddr::V6(_) => (&self.v6, 128),
        };
        let old = bits(ip);
        let (address, net) = match length {
            Some(length) => {
                let (first, new_length) = *new.get(&(cut(old, length), length))?;
                let is_first = old == cut(old, length);
                let (address, _) = if is_first { (first, 0) } else { *new.get(&(old, full))? };
                (address, Some(new_length))
            }
            None => (new.get(&(old, full))?.0, None),
        };
        Some((ip_of(address, full), net))
    }
}

/// Whether the characters beside what was found are none that `inside` knows.
fn stands_alone(text: &str, found: &Captures<'_>, inside: impl Fn(char) -> bool) -> bool {
    let Some(found) = found.get(0) else { return false };
    let left = text.get(..found.start()).and_then(|it| it.chars().next_back());
    let right = text.get(found.end()..).and_then(|it| it.chars().next());
    !left.is_some_and(&inside) && !right.is_some_and(inside)
}

impl InText {
    fn change(&self, value: &mut Value, with: Change<'_>) {
        numbers(value, with);
        each_text(value, "", &mut |_, text| {
            let six = self.v6.replace_all(text, |found: &Captures<'_>| six(found, with));
            let four = |found: &Captures<'_>| {
                let alone = stands_alone(&six, found, |c| c.is_ascii_alphanumeric());
                let whole = found.get(0).map_or("", |it| it.as_str());
                if alone { four(whole, with) } else { whole.to_owned() }
            };
            self.v4.replace_all(&six, four).into_owned()
        });
    }
}

/// Networks that are an address and a number: rows of a routing table, prefixes of RFC 6052. Their
/// addresses are found as texts, too, and then stay as they are.
fn numbers(value: &mut Value, with: Change<'_>) {
    match value {
        Value::Object(fields) => {
            for (address, length) in [("to", "bits"), ("address", "length")] {
                let ip = fields.get(address).and_then(Value::as_str).and_then(|it| it.parse().ok());
                let bits = fields.get(length).and_then(Value::as_u64);
                let bits = bits.and_then(|it| u8::try_from(it).ok());
                let (Some(ip), Some(bits)) = (ip, bits) else { continue };
                if let Some((_, Some(new))) = with(ip, Some(bits)) {
                    fields.insert(length.to_owned(), new.into());
                }
            }
            for it in fields.values_mut() {
                numbers(it, with);
            }
        }
        Value::Array(all) => all.iter_mut().for_each(|it| numbers(it, with)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// `ADDRESS` or `ADDRESS/LENGTH` of IPv6; what is none stays.
fn six(found: &Captures<'_>, with: Change<'_>) -> String {
    let whole = found.get(0).map_or("", |it| it.as_str());
    let (text, length) = split(whole);
    let trimmed = text.trim_end_matches('.');
    let after = text.get(trimmed.len()..).unwrap_or_default();
    // `from:2001:db8::1`
    let mut tried = trimmed;
    let ip = loop {
        match (tried.parse::<Ipv6Addr>(), tried.split_once(':')) {
            (Ok(ip), _) if !tried.contains('.') => break ip,
            (Ok(_), _) | (Err(_), None) => return whole.to_owned(),
            (Err(_), Some((_, rest))) => tried = rest,
        }
    };
    let before = trimmed.strip_suffix(tried).unwrap_or_default();
    match replaced(ip.into(), length, with) {
        Some(new) => format!("{before}{new}{after}"),
        None => whole.to_owned(),
    }
}

/// The same of IPv4; with hyphens it is part of a name.
fn four(whole: &str, with: Change<'_>) -> String {
    let (text, length) = split(whole);
    let Ok(ip) = text.replace('-', ".").parse::<Ipv4Addr>() else { return whole.to_owned() };
    match replaced(ip.into(), length, with) {
        Some(new) if text.contains('-') => new.replace('.', "-"),
        Some(new) => new,
        None => whole.to_owned(),
    }
}

fn split(whole: &str) -> (&str, Option<u8>) {
    match whole.split_once('/') {
        Some((text, length)) => (text, length.parse().ok()),
        None => (whole, None),
    }
}

fn replaced(ip: IpAddr, length: Option<u8>, with: Change<'_>) -> Option<String> {
    let (new, new_length) = with(ip, length)?;
    Some(new_length.map_or_else(|| new.to_string(), |length| format!("{new}/{length}")))
}

/// The hardware address in the lower half of an address, if there is one.
fn card_of(ip: Ipv6Addr) -> Option<u128> {
    let lower = ip.to_bits() & u128::from(u64::MAX);
    (lower >> 24 & 0xffff == 0xfffe && lower >> 48 != 0).then_some(lower)
}

fn bits(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(v4) => u128::from(v4.to_bits()) << 96,
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

fn ip_of(bits: u128, full: u8) -> IpAddr {
    match u32::try_from(bits >> 96) {
        Ok(four) if full == 32 => Ipv4Addr::from_bits(four).into(),
        Ok(_) | Err(_) => Ipv6Addr::from_bits(bits).into(),
    }
}

/// The first `length` bits.
fn cut(bits: u128, length: u8) -> u128 {
    let rest = 128_u32.saturating_sub(length.into());
    bits.checked_shr(rest).unwrap_or_default().checked_shl(rest).unwrap_or_default()
}

/// Puts `all`, ascending, below `room`; false when it is too small.
fn embed(all: &[Prefix], room: Prefix, full: u8, new: &mut BTreeMap<Prefix, Prefix>) -> bool {
    let (Some(first), Some(last)) = (all.first(), all.last()) else { return true };
    let (room_bits, room_length) = room;
    let differ = u8::try_from((first.0 ^ last.0).leading_zeros()).unwrap_or(128);
    let shortest = all.iter().map(|it| it.1).min().unwrap_or_default();
    let common = differ.min(shortest);
    let mut below = Vec::new();
    for prefix in all {
        match prefix.1 {
            // An address, alone here.
            length if length == full && length == common => {
                let last_bit =
                    if room_length < full { 1_u128 << (128 - u32::from(full)) } else { 0 };
                new.insert(*prefix, (room_bits | last_bit, full));
            }
            length if length == common => {
                new.insert(*prefix, room);
            }
            _ => below.push(*prefix),
        }
    }
    let set = |it: &Prefix| it.0.checked_shl(common.into()).is_some_and(|it| it >> 127 == 1);
    let (ones, zeros): (Vec<Prefix>, Vec<Prefix>) = below.into_iter().partition(set);
    if ones.is_empty() || zeros.is_empty() {
        let rest = if ones.is_empty() { zeros } else { ones };
        return embed(&rest, room, full, new);
    }
    if room_length >= full {
        return false;
    }
    let length = room_length + 1;
    let one = room_bits | 1_u128.checked_shl(128 - u32::from(length)).unwrap_or_default();
    embed(&zeros, (room_bits, length), full, new) && embed(&ones, (one, length), full, new)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;
    use serde_json::json;

    use super::super::{Counts, Public};
    use super::{Prefix, Pseudonyms, cut, embed};

    fn changed(value: &serde_json::Value) -> serde_json::Value {
        let mut new = value.clone();
        let pseudonyms = Pseudonyms::of(value, Public::Pseudonyms).unwrap();
        pseudonyms.put(&mut new, Some("p.me.ru"), &mut Counts::default());
        new
    }

    #[test]
    fn the_same_address_has_the_same_name_wherever_it_stands() {
        let new = changed(&json!({
            "a": "81.85.76.160", "b": "from 81.85.76.160:8080, [2a01:10::5]:80.",
            "c": ["2a01:10::5", "2a01:10::/64", "x=81.85.76.0/24", "10.0.0.1", "fe80::1"],
            "d": "http://81-85-76-160.isp.ru/ 81.85.76.160.nip.io ::ffff:81.85.76.160",
            "e": "P.me.ru:8080 sp.me.ru p.me.run", "f": { "to": "81.85.76.0", "bits": 24 },
            "g": "1.2 12:30:45 src:2a01:10::5", "h": "fe80::a8bb:ccff:fedd:eeff 0.0.0.0/0",
        }));
        assert_eq!(
            new,
            json!({
                "a": "203.0.113.129", "b": "from 203.0.113.129:8080, [2001:db8:8000::1]:80.",
                "c": ["2001:db8:8000::1", "2001:db8::/32", "x=203.0.113.0/24", "10.0.0.1", "fe80::1"],
                "d": "http://203-0-113-129.isp.ru/ 203.0.113.129.nip.io ::ffff:203.0.113.129",
                "e": "proxy.example:8080 sp.me.ru p.me.run", "f": { "to": "203.0.113.1", "bits": 24 },
                "g": "1.2 12:30:45 src:2001:db8:8000::1", "h": "fe80::200:ff:fe00:1 0.0.0.0/0",
            })
        );
    }

    proptest! {
        #[test]
        fn what_is_within_and_what_is_before_stays(
            all in prop::collection::btree_set((any::<u32>(), 8_u8..=32), 0..60),
        ) {
            let left = |it: u32, length| (cut(u128::from(it) << 96, length), length);
            let nets = all.iter().map(|(bits, length)| left(*bits, *length));
            let hosts = all.iter().map(|(bits, _)| left(*bits, 32));
            let set: BTreeSet<Prefix> = nets.chain(hosts).collect();
            let old: Vec<Prefix> = set.into_iter().collect();
            let mut new = BTreeMap::new();
            prop_assert!(embed(&old, (240_u128 << 120, 4), 32, &mut new));
            let within = |host: Prefix, net: Prefix| cut(host.0, net.1) == net.0;
            let hosts: Vec<_> = old.iter().filter(|it| it.1 == 32).collect();
            for net in &old {
                for host in &hosts {
                    let now = within(new[*host], new[net]);
                    prop_assert_eq!(within(**host, *net), now, "{:?} {:?}", host, net);
                }
            }
            for two in hosts.windows(2) {
                prop_assert!(new[two[0]].0 < new[two[1]].0);
            }
        }
    }
}
