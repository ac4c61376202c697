//! Addresses that are no public destination.
//!
//! One table from the IANA special-purpose registries (IPv4 and IPv6, as of 2026), plus the
//! multicast and reserved blocks, plus one cloud platform address. An IPv6 address that carries an
//! IPv4 address is judged by what it carries.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

struct Block4(Ipv4Addr, u32, &'static str);
struct Block6(Ipv6Addr, u32, &'static str);

const V4: &[Block4] = &[
    Block4(Ipv4Addr::UNSPECIFIED, 8, "this network (RFC 791)"),
    Block4(Ipv4Addr::new(10, 0, 0, 0), 8, "private (RFC 1918)"),
    Block4(Ipv4Addr::new(100, 64, 0, 0), 10, "carrier NAT (RFC 6598)"),
    Block4(Ipv4Addr::new(127, 0, 0, 0), 8, "loopback (RFC 1122)"),
    Block4(Ipv4Addr::new(168, 63, 129, 16), 32, "Azure platform service"),
    Block4(Ipv4Addr::new(169, 254, 0, 0), 16, "link-local (RFC 3927)"),
    Block4(Ipv4Addr::new(172, 16, 0, 0), 12, "private (RFC 1918)"),
    Block4(Ipv4Addr::new(192, 0, 0, 0), 24, "IETF protocols (RFC 6890)"),
    Block4(Ipv4Addr::new(192, 0, 2, 0), 24, "documentation (RFC 5737)"),
    Block4(Ipv4Addr::new(192, 88, 99, 0), 24, "6to4 relay (RFC 7526)"),
    Block4(Ipv4Addr::new(192, 168, 0, 0), 16, "private (RFC 1918)"),
    Block4(Ipv4Addr::new(198, 18, 0, 0), 15, "benchmarking (RFC 2544)"),
    Block4(Ipv4Addr::new(198, 51, 100, 0), 24, "documentation (RFC 5737)"),
    Block4(Ipv4Addr::new(203, 0, 113, 0), 24, "documentation (RFC 5737)"),
    Block4(Ipv4Addr::new(224, 0, 0, 0), 4, "multicast (RFC 5771)"),
    Block4(Ipv4Addr::new(240, 0, 0, 0), 4, "reserved (RFC 1112)"),
];

const V6: &[Block6] = &[
    Block6(Ipv6Addr::UNSPECIFIED, 128, "unspecified (RFC 4291)"),
    Block6(Ipv6Addr::LOCALHOST, 128, "loopback (RFC 4291)"),
    Block6(Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, 0, 0), 48, "local NAT64 (RFC 8215)"),
    Block6(Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 0), 64, "discard (RFC 6666)"),
    Block6(Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 32, "Teredo (RFC 4380)"),
    Block6(Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23, "IETF protocols (RFC 2928)"),
    Block6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32, "documentation (RFC 3849)"),
    Block6(Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16, "6to4 (RFC 3056)"),
    Block6(Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20, "documentation (RFC 9637)"),
    Block6(Ipv6Addr::new(0x5f00, 0, 0, 0, 0, 0, 0, 0), 16, "segment routing (RFC 9602)"),
    Block6(Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7, "unique local (RFC 4193)"),
    Block6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10, "link-local (RFC 4291)"),
    Block6(Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0), 10, "site-local (RFC 3879)"),
    Block6(Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8, "multicast (RFC 4291)"),
];

/// The name of the special block that `address` lies in; `None` for a public address.
pub fn special(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(v4) => special_v4(v4),
        IpAddr::V6(v6) => match carried(v6) {
            Some(v4) => special_v4(v4),
            None => special_v6(v6),
        },
    }
}

fn special_v4(address: Ipv4Addr) -> Option<&'static str> {
    let inside = |Block4(network, length, _): &&Block4| {
        address.to_bits() ^ network.to_bits() <= u32::MAX.checked_shr(*length).unwrap_or(0)
    };
    V4.iter().find(inside).map(|Block4(.., name)| *name)
}

fn special_v6(address: Ipv6Addr) -> Option<&'static str> {
    let inside = |Block6(network, length, _): &&Block6| {
        address.to_bits() ^ network.to_bits() <= u128::MAX.checked_shr(*length).unwrap_or(0)
    };
    // IANA has given out global unicast addresses from 2000::/3 only (RFC 4291 §2.4).
    let outside = (address.segments()[0] >> 13 != 1).then_some("not global unicast (RFC 4291)");
    V6.iter().find(inside).map(|Block6(.., name)| *name).or(outside)
}

/// The IPv4 address that packets to `address` are really for: IPv4-mapped (RFC 4291 §2.5.5.2),
/// IPv4-compatible (§2.5.5.1) and NAT64 (RFC 6052 §2.1). 6to4 and Teredo are refused as a whole.
fn carried(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let bits = address.to_bits();
    let low = Ipv4Addr::from_bits(u32::try_from(bits & u128::from(u32::MAX)).unwrap_or(0));
    match bits >> 32 {
        0 if bits > 1 => Some(low),
        0xffff | 0x0064_ff9b_0000_0000_0000_0000 => Some(low),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

    use super::{V4, V6, special};

    #[test]
    fn every_row_is_refused_from_its_first_address_to_its_last() {
        for row in V4 {
            let last = row.0.to_bits() | u32::MAX.checked_shr(row.1).unwrap_or(0);
            for address in [row.0, Ipv4Addr::from_bits(last)] {
                assert_eq!(special(IpAddr::V4(address)), Some(row.2), "{address}");
            }
        }
        for row in V6 {
            let last = row.0.to_bits() | u128::MAX.checked_shr(row.1).unwrap_or(0);
            for address in [row.0, Ipv6Addr::from_bits(last)] {
                assert!(special(IpAddr::V6(address)).is_some(), "{address}");
            }
        }
    }

    #[test]
    fn the_neighbours_of_every_block_are_public() {
        let public = [
            "1.0.0.0",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "168.63.129.15",
            "168.63.129.17",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "191.255.255.255",
            "192.0.1.0",
            "192.0.3.0",
            "192.88.98.255",
            "192.88.100.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "198.51.99.255",
            "198.51.101.0",
            "203.0.112.255",
            "203.0.114.0",
            "223.255.255.255",
            "8.8.8.8",
            "81.85.76.160",
            "2001:200::1",
            "2001:db7:ffff::1",
            "2001:db9::1",
            "2003::1",
            "2606:4700::1111",
            "3ffe::1",
            "3fff:1000::1",
            "2a00:1450:4001::1",
        ];
        for text in public {
            assert_eq!(special(text.parse().unwrap()), None, "{text}");
        }
    }

    #[test]
    fn an_embedded_address_is_judged_by_what_it_carries() {
        let refused = [
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:169.254.169.254",
            "::127.0.0.1",
            "::10.1.2.3",
            "64:ff9b::127.0.0.1",
            "64:ff9b::192.168.0.1",
            "64:ff9b:1::8.8.8.8",
            "2002:7f00:1::1",
            "2002:808:808::1",
            "2001:0:4136:e378:8000:63bf:3fff:fdd2",
            "::ffff:0:127.0.0.1",
            "fd00:ec2::254",
            "fe80::1",
            "ff02::1",
            "::",
            "::1",
            "4000::1",
        ];
        for text in refused {
            assert!(special(text.parse().unwrap()).is_some(), "{text}");
        }
        for text in ["::ffff:8.8.8.8", "64:ff9b::8.8.8.8"] {
            assert_eq!(special(text.parse().unwrap()), None, "{text}");
        }
    }
}
