//! One connect, as it is: no racing, no repeating, nothing hidden. And what the routing table says
//! of an address, without a packet.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use socket2::SockRef;
use tokio::net::{TcpSocket, TcpStream, UdpSocket};
use tokio::time::{Instant, timeout};

/// What came of one connect.
#[derive(Debug)]
pub struct Knock {
    /// The connection, or the operating system's error. `ErrorKind::TimedOut` without a raw number:
    /// nothing came back within the limit.
    pub outcome: io::Result<TcpStream>,
    /// How long it took to know.
    pub elapsed: Duration,
}

/// Connects to `address` once, for at most `limit`; with `ttl` as `IP_TTL` or `IPV6_UNICAST_HOPS`.
///
/// # Cancel safety
///
/// Dropping the future ends the attempt.
pub async fn knock(address: SocketAddr, ttl: Option<u8>, limit: Duration) -> Knock {
    let begun = Instant::now();
    let outcome = match timeout(limit, connect(address, ttl)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    };
    Knock { outcome, elapsed: begun.elapsed() }
}

async fn connect(address: SocketAddr, ttl: Option<u8>) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    if let Some(ttl) = ttl {
        let options = SockRef::from(&socket);
        if address.is_ipv4() {
            options.set_ttl_v4(ttl.into())?;
        } else {
            options.set_unicast_hops_v6(ttl.into())?;
        }
    }
    let stream = socket.connect(address).await?;
    // What we say is short and each piece counts.
    stream.set_nodelay(true)?;
    if let Some(ttl) = ttl {
        // The end of the connection has to arrive as well.
        let options = SockRef::from(&stream);
        let _otherwise_it_times_out_there = if address.is_ipv4() {
            options.set_ttl_v4(u32::from(ttl).max(64))
        } else {
            options.set_unicast_hops_v6(u32::from(ttl).max(64))
        };
    }
    Ok(stream)
}

/// The address from which this machine would send to `ip`.
///
/// # Errors
///
/// The operating system's: `ENETUNREACH` when there is no route.
pub async fn source_for(ip: IpAddr) -> io::Result<IpAddr> {
    let any: SocketAddr = match ip {
        IpAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        IpAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).await?;
    // RFC 863; connecting a UDP socket sends nothing.
    socket.connect((ip, 9)).await?;
    Ok(socket.local_addr()?.ip())
}

/// Whether there is a route that leaves this machine; `None` where it can't be told.
#[cfg(target_os = "linux")]
pub fn any_route() -> Option<bool> {
    let v4 = std::fs::read_to_string("/proc/net/route").ok()?;
    // The first line is a heading.
    if v4.lines().skip(1).any(|line| line.split_whitespace().next().is_some_and(|it| it != "lo")) {
        return Some(true);
    }
    let v6 = std::fs::read_to_string("/proc/net/ipv6_route").unwrap_or_default();
    Some(v6.lines().any(leaves))
}

/// Whether a line of `/proc/net/ipv6_route` is of an interface that goes somewhere, and not only of
/// the link-local and multicast routes that each one has.
#[cfg(target_os = "linux")]
fn leaves(line: &str) -> bool {
    let own = line.starts_with("fe80") || line.starts_with("ff");
    !own && line.split_whitespace().next_back().is_some_and(|interface| interface != "lo")
}

/// Whether there is a route that leaves this machine; `None` where it can't be told.
#[cfg(not(target_os = "linux"))]
pub const fn any_route() -> Option<bool> {
    None
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::time::Duration;

    use super::{knock, source_for};

    const LIMIT: Duration = Duration::from_secs(5);

    #[tokio::test]
    async fn a_listener_accepts_and_nobody_refuses() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        assert!(knock(address, None, LIMIT).await.outcome.is_ok());
        assert!(knock(address, Some(1), LIMIT).await.outcome.is_ok());
        drop(listener);
        let error = knock(address, None, LIMIT).await.outcome.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        assert!(error.raw_os_error().is_some());
    }

    #[tokio::test]
    async fn loopback_is_reached_from_loopback() {
        let ip = "127.0.0.1".parse().unwrap();
        assert_eq!(source_for(ip).await.unwrap(), ip);
    }
}
