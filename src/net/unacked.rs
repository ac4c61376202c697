//! What the kernel tells of TCP sockets in `/proc/net/tcp`: what the other side has not acknowledged
//! yet, and who listens.
//!
//! Silence with everything acknowledged: the packets arrive and nobody answers. Silence with bytes
//! outstanding: the packets do not arrive, or what acknowledges them does not.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The bytes of the connection from `local` to `peer` that were written and not acknowledged;
/// `None` when there is no such connection, and everywhere but on Linux.
pub fn unacknowledged(local: SocketAddr, peer: SocketAddr) -> Option<u64> {
    let ends = (canonical(local), canonical(peer));
    // A connection over IPv6 sockets is in the second table, also one to an IPv4 address.
    TABLES.iter().find_map(|path| find(&std::fs::read_to_string(path).ok()?, ends))
}

/// Of this thread's network namespace. `/proc/net` is that of the first thread.
#[cfg(target_os = "linux")]
const TABLES: &[&str] = &["/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"];
#[cfg(not(target_os = "linux"))]
const TABLES: &[&str] = &[];

/// Without the IPv6 form of an IPv4 address, scopes and flow labels.
const fn canonical(address: SocketAddr) -> (IpAddr, u16) {
    (address.ip().to_canonical(), address.port())
}

/// `tx_queue` of the line with these ends in a table as `/proc/net/tcp` has it (proc(5)).
fn find(table: &str, (local, peer): ((IpAddr, u16), (IpAddr, u16))) -> Option<u64> {
    // The first line is a heading.
    table.lines().skip(1).find_map(|line| {
        let mut words = line.split_ascii_whitespace().skip(1);
        let ends = (end(words.next()?)?, end(words.next()?)?);
        let (sent, _received) = words.nth(1)?.split_once(':')?;
        (ends == (local, peer)).then(|| u64::from_str_radix(sent, 16).ok()).flatten()
    })
}

/// `0100007F:1F90`: words of 32 bits as this machine has them in memory, and a port.
fn end(text: &str) -> Option<(IpAddr, u16)> {
    let (address, port) = text.split_once(':')?;
    let mut bytes = Vec::with_capacity(16);
    for word in address.as_bytes().chunks(8) {
        let word = u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok()?;
        bytes.extend(word.to_ne_bytes());
    }
    let ip: IpAddr = match bytes.len() {
        4 => Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).into(),
        16 => Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).into(),
        _ => return None,
    };
    Some((ip.to_canonical(), u16::from_str_radix(port, 16).ok()?))
}

/// A socket that waits for connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listening {
    /// Where.
    pub address: SocketAddr,
    /// Connections that nobody has accepted yet.
    pub waiting: u32,
    /// The number of the socket, as `/proc/PID/fd` has it.
    pub inode: u64,
}

/// The listening sockets in a table as `/proc/net/tcp` and `tcp6` have it (proc(5)). Lines that are
/// something else are passed over.
pub fn listening(table: &str) -> Vec<Listening> {
    table.lines().skip(1).filter_map(listener).collect()
}

fn listener(line: &str) -> Option<Listening> {
    /// `TCP_LISTEN`.
    const LISTEN: &str = "0A";
    let mut words = line.split_ascii_whitespace().skip(1);
    let (ip, port) = end(words.next()?)?;
    if words.nth(1)? != LISTEN {
        return None;
    }
    let (_sent, waiting) = words.next()?.split_once(':')?;
    let waiting = u32::from_str_radix(waiting, 16).ok()?;
    // Timer, retransmits, user, timeout.
    let inode = words.nth(4)?.parse().ok()?;
    Some(Listening { address: (ip, port).into(), waiting, inode })
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::{Listening, canonical, find, listening};

    #[cfg(target_endian = "little")]
    #[test]
    fn listeners_are_told_from_connections() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
            0: 00000000:1F90 00000000:0000 0A 00000000:00000003 00:00000000 00000000 65532        0 4711 3 0\n   \
            1: 0100007F:0C38 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4712 1 0\n   \
            2: 0100007F:9C40 0100007F:1F90 01 0000001F:00000200 01:00000014 00000001     0        0 4713\n   \
            3: 00000000000000000000000000000000:1F90 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4714\n   \
            4: 00000000:1F90 00000000:0000 0A\n";
        let one = |address: &str, waiting, inode| Listening {
            address: address.parse().unwrap(),
            waiting,
            inode,
        };
        let expected = [
            one("0.0.0.0:8080", 3, 4711),
            one("127.0.0.1:3128", 0, 4712),
            one("[::]:8080", 0, 4714),
        ];
        assert_eq!(listening(table), expected);
        assert_eq!(listening(""), []);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn our_own_listener_is_seen() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let table = std::fs::read_to_string("/proc/thread-self/net/tcp").unwrap();
        let address = listener.local_addr().unwrap();
        assert!(listening(&table).iter().any(|it| it.address == address && it.inode > 0));
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn a_connection_is_found_by_both_ends() {
        let heading = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt";
        let v4 = format!(
            "{heading}\n   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000\n   \
             1: 0100007F:9C40 0100007F:1F90 01 0000001F:00000200 01:00000014 00000001\n   \
             2: 0100007F:1F90 0100007F:9C40 01 00000000:00000000 00:00000000 00000000\n"
        );
        let v6 = format!(
            "{heading}\n   0: B80D0120000000000000000001000000:9C40 \
             B80D0120000000000000000002000000:01BB 01 00010000:00000000 02:00000000\n   \
             1: 0000000000000000FFFF00000100000A:9C40 0000000000000000FFFF00000200000A:01BB 01 \
             00000005:00000000 02:00000000\n"
        );
        let cases: &[(&str, &str, &str, Option<u64>)] = &[
            (&v4, "127.0.0.1:40000", "127.0.0.1:8080", Some(31)),
            (&v4, "127.0.0.1:8080", "127.0.0.1:40000", Some(0)),
            (&v4, "[::ffff:127.0.0.1]:40000", "[::ffff:127.0.0.1]:8080", Some(31)),
            (&v4, "127.0.0.1:40000", "127.0.0.2:8080", None),
            (&v4, "127.0.0.1:40001", "127.0.0.1:8080", None),
            (&v6, "[2001:db8::1]:40000", "[2001:db8::2]:443", Some(65536)),
            (&v6, "[::ffff:10.0.0.1]:40000", "[::ffff:10.0.0.2]:443", Some(5)),
            (&v6, "10.0.0.1:40000", "10.0.0.2:443", Some(5)),
            ("", "10.0.0.1:40000", "10.0.0.2:443", None),
            ("h\n0: x\n1: 0100007F 0:0\n2: é:1 é:2 01 0:0", "10.0.0.1:1", "10.0.0.2:2", None),
        ];
        for (table, local, peer, expected) in cases {
            let end = |text: &str| canonical(text.parse::<SocketAddr>().unwrap());
            assert_eq!(find(table, (end(local), end(peer))), *expected, "{local} {peer}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_table_makes_it_panic(table in "h\n( ?[0-9A-Fé:.\n]{0,9}){0,30}") {
            let end = canonical("127.0.0.1:1".parse().unwrap());
            let _either = find(&table, (end, end));
            let _any = listening(&table);
        }
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn what_the_kernel_holds_is_seen() {
        use tokio::io::AsyncWriteExt;

        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut ours =
            tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (local, peer) = (ours.local_addr().unwrap(), ours.peer_addr().unwrap());
        assert_eq!(super::unacknowledged(local, peer), Some(0));
        // Nobody reads: once the buffers are full, something is outstanding.
        let block = vec![0; 1 << 20];
        while tokio::time::timeout(std::time::Duration::from_millis(200), ours.write_all(&block))
            .await
            .is_ok()
        {}
        assert!(super::unacknowledged(local, peer) > Some(0));
        assert_eq!(super::unacknowledged(peer, "127.0.0.1:9".parse().unwrap()), None);
    }
}
