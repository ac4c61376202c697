//! What the kernel lists in `/proc` (proc(5)), and what `ipset save` says → facts.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::matches::{Truth, within};
use super::{MOST_VALUES, shortened};
use crate::diag::fact::{Set, Way};

/// Routes that are kept.
const MOST_ROUTES: usize = 512;

/// One row of `/proc/net/tcp` or `tcp6`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Socket {
    /// Here.
    pub local: SocketAddr,
    /// There.
    pub remote: SocketAddr,
    /// `0x0a` listens, `0x03` has answered a SYN, `0x01` is established.
    pub state: u8,
    /// Of a listener: connections that wait to be accepted.
    pub waiting: u32,
    /// Whose.
    pub user: u32,
    /// Of the socket.
    pub inode: u64,
}

/// Rows of `/proc/net/tcp` and `tcp6`; what can't be read is left out.
pub fn sockets(text: &str) -> impl Iterator<Item = Socket> {
    text.lines().skip(1).filter_map(socket)
}

fn socket(line: &str) -> Option<Socket> {
    let mut words = line.split_whitespace().skip(1);
    let (local, remote) = (end(words.next()?)?, end(words.next()?)?);
    let state = u8::from_str_radix(words.next()?, 16).ok()?;
    let (_, waiting) = words.next()?.split_once(':')?;
    let waiting = u32::from_str_radix(waiting, 16).ok()?;
    let user = words.nth(2)?.parse().ok()?;
    let inode = words.nth(1)?.parse().ok()?;
    Some(Socket { local, remote, state, waiting, user, inode })
}

/// `0100007F:1F90`: words of 32 bits as this machine stores them.
fn end(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let ip = match address.len() {
        8 => IpAddr::V4(Ipv4Addr::from(u32::from_str_radix(address, 16).ok()?.to_ne_bytes())),
        32 => {
            let mut bytes = Vec::with_capacity(16);
            for at in 0..4 {
                let word = address.get(at * 8..at * 8 + 8)?;
                bytes.extend(u32::from_str_radix(word, 16).ok()?.to_ne_bytes());
            }
            IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?))
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

/// A number of `/proc/net/netstat`: the value under `name` in the lines of `group`.
pub fn counter(text: &str, group: &str, name: &str) -> Option<u64> {
    let mut lines =
        text.lines().filter(|line| line.strip_prefix(group).is_some_and(|it| it.starts_with(':')));
    let (names, values) = (lines.next()?, lines.next()?);
    let at = names.split_whitespace().position(|it| it == name)?;
    values.split_whitespace().nth(at)?.parse().ok()
}

/// `/proc/net/route` and `/proc/net/ipv6_route`, the most specific first.
pub fn routes(v4: &str, v6: &str) -> Vec<Way> {
    let mut found: Vec<Way> = v4.lines().skip(1).filter_map(route4).collect();
    found.extend(v6.lines().filter_map(route6));
    found.sort_by_key(|way| (std::cmp::Reverse(way.bits), way.metric));
    // The default ways are the last and the most important.
    while found.len() > MOST_ROUTES {
        found.remove(0);
    }
    found
}

const UP: u32 = 1;
const GATEWAY: u32 = 2;
const REJECT: u32 = 0x200;

fn route4(line: &str) -> Option<Way> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [interface, to, gateway, flags, _, _, metric, mask, ..] = words.as_slice() else {
        return None;
    };
    let flags = u32::from_str_radix(flags, 16).ok()?;
    let address =
        |text: &str| Some(IpAddr::V4(u32::from_str_radix(text, 16).ok()?.to_ne_bytes().into()));
    let bits = u8::try_from(u32::from_str_radix(mask, 16).ok()?.count_ones()).ok()?;
    (flags & UP != 0).then_some(())?;
    Some(Way {
        to: address(to)?,
        bits,
        interface: shortened(interface),
        gateway: if flags & GATEWAY == 0 { None } else { address(gateway) },
        metric: metric.parse().ok()?,
        reject: flags & REJECT != 0,
    })
}

fn route6(line: &str) -> Option<Way> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [to, bits, _, _, gateway, metric, _, _, flags, interface] = words.as_slice() else {
        return None;
    };
    let flags = u32::from_str_radix(flags, 16).ok()?;
    let address = |text: &str| Some(IpAddr::V6(u128::from_str_radix(text, 16).ok()?.into()));
    (flags & UP != 0).then_some(())?;
    // Rows for this machine's own addresses (`RTF_LOCAL`) and for groups are no ways out.
    let (to, bits) = (address(to)?, u8::from_str_radix(bits, 16).ok()?);
    let ours = flags & 0x8000_0000 != 0 || matches!(to, IpAddr::V6(v6) if v6.is_multicast());
    (!ours).then_some(())?;
    Some(Way {
        to,
        bits,
        interface: shortened(interface),
        gateway: if flags & GATEWAY == 0 { None } else { address(gateway) },
        metric: u32::from_str_radix(metric, 16).ok()?,
        reject: flags & REJECT != 0,
    })
}

/// `/proc/net/if_inet6`: addresses with their interfaces.
pub fn addresses6(text: &str) -> impl Iterator<Item = (Ipv6Addr, &str)> {
    text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let address = u128::from_str_radix(words.next()?, 16).ok()?;
        Some((Ipv6Addr::from(address), words.nth(4)?))
    })
}

/// `/proc/net/fib_trie`: the addresses of this machine.
pub fn addresses4(text: &str) -> Vec<Ipv4Addr> {
    let mut found = Vec::new();
    let mut last = None;
    for line in text.lines().map(str::trim) {
        if let Some(address) = line.strip_prefix("|-- ") {
            last = address.trim().parse().ok();
        } else if line.starts_with("/32 host LOCAL") {
            found.extend(last.filter(|it| !found.contains(it)));
        }
    }
    found
}

/// `ipset save` → sets.
pub fn ipsets(text: &str) -> Vec<Set> {
    let mut found: Vec<Set> = Vec::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        match (words.next(), words.next(), words.next()) {
            (Some("create"), Some(name), Some(kind)) => found.push(Set {
                name: shortened(name),
                size: 0,
                values: Vec::new(),
                asked: None,
                entries: Vec::new(),
                // Others have ports or interfaces beside the address, or are lists of sets.
                unknown: !matches!(kind, "hash:ip" | "hash:net" | "bitmap:ip"),
            }),
            (Some("add"), Some(name), Some(value)) => {
                let Some(set) = found.iter_mut().find(|set| set.name == name) else { continue };
                set.size += 1;
                // `nomatch` takes addresses out again.
                set.unknown |= words.any(|word| word == "nomatch");
                set.values.push(shortened(value));
            }
            _ => {}
        }
    }
    found
}

/// Keeps of a large set only what has one of `addresses`.
pub fn slim(set: &mut Set, addresses: &[IpAddr]) {
    if set.values.len() <= MOST_VALUES {
        return;
    }
    let has = |value: &String| addresses.iter().any(|it| within(*it, value) != Truth::No);
    set.values.retain(has);
    set.values.truncate(MOST_VALUES);
    set.asked = Some(addresses.to_vec());
}
