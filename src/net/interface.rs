//! How large a packet an interface takes, and by which interface packets go out: of this thread's
//! network namespace, which `/sys` does not know of.

use std::io;

/// The interface of the route to everywhere over IPv4, when there is one. Linux only.
pub fn outward() -> Option<String> {
    default_of(&std::fs::read_to_string("/proc/thread-self/net/route").ok()?)
}

/// Whether there is a route to everywhere over IPv6. `None` where it can't be told.
pub fn outward_v6() -> Option<bool> {
    let table = std::fs::read_to_string("/proc/thread-self/net/ipv6_route").ok()?;
    Some(table.lines().any(is_default_v6))
}

/// The line to 0.0.0.0/0 with the smallest metric in `/proc/net/route` (proc(5)).
fn default_of(table: &str) -> Option<String> {
    let lines = table.lines().skip(1).filter_map(|line| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let [name, to, _gateway, flags, _references, _use, metric, mask, ..] = *words else {
            return None;
        };
        // `RTF_UP`
        let up = u32::from_str_radix(flags, 16).ok()? & 1 == 1;
        let everywhere = to == "00000000" && mask == "00000000";
        (up && everywhere).then(|| (metric.parse::<u64>().unwrap_or(u64::MAX), name.to_owned()))
    });
    lines.min().map(|(_, name)| name)
}

/// `::/0` by something that leads somewhere, in `/proc/net/ipv6_route`.
fn is_default_v6(line: &str) -> bool {
    /// `RTF_REJECT`, and the entry that says "no way".
    const REJECT: u32 = 0x0200;
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let [to, length, _, _, _, _, _, _, flags, name] = *words else { return false };
    let rejects = u32::from_str_radix(flags, 16).is_ok_and(|flags| flags & REJECT != 0);
    to.bytes().all(|byte| byte == b'0') && length == "00" && name != "lo" && !rejects
}

/// The MTU of an interface, in bytes.
///
/// # Errors
///
/// The operating system's; `Unsupported` everywhere but on Linux.
#[cfg(target_os = "linux")]
pub fn mtu(interface: &str) -> io::Result<u32> {
    use std::io::{Read as _, Write as _};
    use std::time::Duration;

    use socket2::{Domain, Protocol, Socket, Type};

    /// netlink(7): `AF_NETLINK`, `NETLINK_ROUTE`.
    const NETLINK: (i32, i32) = (16, 0);
    let socket = Socket::new(Domain::from(NETLINK.0), Type::RAW, Some(Protocol::from(NETLINK.1)))?;
    socket.set_read_timeout(Some(Duration::from_secs(1)))?;
    (&socket).write_all(&question(interface))?;
    let mut answer = vec![0; 16 * 1024];
    let length = (&socket).read(&mut answer)?;
    let answer = answer.get(..length).unwrap_or_default();
    mtu_of(answer).ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// The MTU of an interface, in bytes.
///
/// # Errors
///
/// Always.
#[cfg(not(target_os = "linux"))]
pub fn mtu(_interface: &str) -> io::Result<u32> {
    Err(io::ErrorKind::Unsupported.into())
}

/// `RTM_GETLINK` with the name as `IFLA_IFNAME` (rtnetlink(7)).
#[cfg(target_os = "linux")]
fn question(interface: &str) -> Vec<u8> {
    const GET_LINK: u16 = 18;
    const REQUEST: u16 = 1;
    const NAME: u16 = 3;
    let name = interface.as_bytes().get(..interface.len().min(15)).unwrap_or_default();
    let attribute = u16::try_from(4 + name.len() + 1).unwrap_or(5);
    let mut link = vec![0_u8; 16];
    link.extend(attribute.to_ne_bytes());
    link.extend(NAME.to_ne_bytes());
    link.extend(name);
    link.push(0);
    link.resize(link.len().next_multiple_of(4), 0);
    let length = u32::try_from(16 + link.len()).unwrap_or(0);
    let mut whole = Vec::with_capacity(64);
    whole.extend(length.to_ne_bytes());
    whole.extend(GET_LINK.to_ne_bytes());
    whole.extend(REQUEST.to_ne_bytes());
    // Sequence and port.
    whole.extend([0; 8]);
    whole.extend(link);
    whole
}

/// `IFLA_MTU` in an `RTM_NEWLINK`.
#[cfg(target_os = "linux")]
fn mtu_of(answer: &[u8]) -> Option<u32> {
    const NEW_LINK: u16 = 16;
    const MTU: u16 = 4;
    let two =
        |bytes: &[u8], at: usize| Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
    if two(answer, 4)? != NEW_LINK {
        return None;
    }
    let mut rest = answer.get(32..)?;
    loop {
        let length = usize::from(two(rest, 0)?);
        if two(rest, 2)? == MTU {
            return Some(u32::from_ne_bytes(rest.get(4..8)?.try_into().ok()?));
        }
        rest = rest.get(length.max(4).next_multiple_of(4)..)?;
    }
}

/// Whether this machine tells a sender that a packet of `mtu` bytes is too large for the way to `to`.
/// `mtu` has to be larger than the way out takes: then the packet never leaves. IPv4, Linux.
///
/// # Errors
///
/// The operating system's; `Unsupported` everywhere but on Linux.
///
/// # Cancel safety
///
/// Dropping the future ends it.
#[cfg(target_os = "linux")]
pub async fn told_too_big(to: std::net::Ipv4Addr, mtu: u32) -> io::Result<bool> {
    use std::time::Duration;

    use rustix::net::sockopt::{Ipv4PathMtuDiscovery, ip_mtu, set_ip_mtu_discover};

    /// IPv4 and UDP.
    const HEADERS: u32 = 28;
    /// A router on this machine answers at once.
    const PATIENCE: Duration = Duration::from_millis(300);
    let socket = tokio::net::UdpSocket::bind((std::net::Ipv4Addr::UNSPECIFIED, 0)).await?;
    set_ip_mtu_discover(&socket, Ipv4PathMtuDiscovery::DO)?;
    // RFC 863.
    socket.connect((to, 9)).await?;
    let payload = vec![0; usize::try_from(mtu.saturating_sub(HEADERS)).unwrap_or(0)];
    for _ in 0..2 {
        // Once it is told, sending fails.
        if ip_mtu(&socket)? < mtu {
            return Ok(true);
        }
        let _it_is_read_from_the_socket = socket.send(&payload).await;
        let _pending = tokio::time::timeout(PATIENCE, socket.recv(&mut [0; 1])).await;
    }
    Ok(ip_mtu(&socket)? < mtu)
}

/// Elsewhere nobody can ask.
///
/// # Errors
///
/// Always.
#[cfg(not(target_os = "linux"))]
pub async fn told_too_big(_to: std::net::Ipv4Addr, _mtu: u32) -> io::Result<bool> {
    std::future::ready(Err(io::ErrorKind::Unsupported.into())).await
}

#[cfg(test)]
mod tests {
    use super::{default_of, is_default_v6};

    #[test]
    fn the_way_out_is_the_default_route_with_the_smallest_metric() {
        let heading = "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\n";
        let line = |name: &str, to: &str, flags: &str, metric: u32, mask: &str| {
            format!("{name}\t{to}\t0101A8C0\t{flags}\t0\t0\t{metric}\t{mask}\t0\t0\t0\n")
        };
        let own = line("docker0", "000011AC", "0001", 0, "0000FFFF");
        let far = line("wlan0", "00000000", "0003", 600, "00000000");
        let near = line("eth0", "00000000", "0003", 100, "00000000");
        let down = line("eth9", "00000000", "0002", 1, "00000000");
        let half = line("tun0", "00000000", "0003", 0, "00000080");
        let cases = [
            (vec![&own], None),
            (vec![&own, &far, &near, &down, &half], Some("eth0")),
            (vec![&far], Some("wlan0")),
        ];
        for (lines, expected) in cases {
            let table: String =
                std::iter::once(heading).chain(lines.into_iter().map(String::as_str)).collect();
            assert_eq!(default_of(&table).as_deref(), expected, "{table}");
        }
        assert_eq!(default_of("h\nx y"), None);
    }

    #[test]
    fn a_route_that_refuses_is_no_way_out() {
        let zeros = "0".repeat(32);
        let line = |flags: &str, name: &str| {
            format!("{zeros} 00 {zeros} 00 {zeros} 00000400 00000001 00000000 {flags} {name}")
        };
        assert!(is_default_v6(&line("00000003", "eth0")));
        assert!(!is_default_v6(&line("00200200", "lo")));
        assert!(!is_default_v6(&line("00200200", "eth0")));
        assert!(!is_default_v6("x"));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn loopback_takes_large_packets_and_nobody_knows_of_the_rest() {
        assert!(super::mtu("lo").unwrap() >= 16_384);
        assert!(super::mtu("no-such-if").is_err());
    }

    #[cfg(target_os = "linux")]
    proptest::proptest! {
        #[test]
        fn no_answer_makes_it_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            let mut answer = vec![0, 0, 0, 0, 16, 0];
            answer.extend(bytes);
            let _either = super::mtu_of(&answer);
        }
    }
}
