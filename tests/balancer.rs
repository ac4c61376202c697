//! Behind a load balancer that speaks the PROXY protocol.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "test code"
)]

mod common;

use std::net::{IpAddr, SocketAddr};

use common::doors::{Ask, Door, Login, Wire, secure};
use common::{ESTABLISHED, Origin, Peer, Proxy, settings_on, until};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
const UNKNOWN: &[u8] = b"PROXY UNKNOWN\r\n";
const HEALTH: &str = "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

/// The header of a connection from `source`, in both versions.
fn headers(source: &str) -> [Vec<u8>; 2] {
    let source: SocketAddr = source.parse().unwrap();
    let (ip, port) = (source.ip(), source.port());
    let (line, family, octets) = match ip {
        IpAddr::V4(v4) => ("TCP4", 0x11, v4.octets().to_vec()),
        IpAddr::V6(v6) => ("TCP6", 0x21, v6.octets().to_vec()),
    };
    let v1 = format!("PROXY {line} {ip} {ip} {port} 8080\r\n").into_bytes();
    let block = [&octets[..], &octets[..], &port.to_be_bytes(), &[0x1f, 0x90]].concat();
    let length = u16::try_from(block.len()).unwrap().to_be_bytes();
    let v2 = [SIGNATURE, &[0x21, family], &length[..], &block].concat();
    [v1, v2]
}

/// Version 1 of it.
fn header(source: &str) -> Vec<u8> {
    headers(source)[0].clone()
}

/// A proxy whose balancers are on loopback.
async fn balanced(flags: &[(&str, &str)]) -> Proxy {
    Proxy::start(&[&[("proxy-protocol-from", "127.0.0.0/8")], flags].concat()).await
}

/// Says `header` and then, at `door`, what leads to `target`.
async fn enter(
    proxy: &Proxy,
    header: &[u8],
    door: Door,
    target: SocketAddr,
) -> Peer<Box<dyn Wire>> {
    let mut stream = TcpStream::connect(proxy.address).await.unwrap();
    stream.write_all(header).await.unwrap();
    let stream: Box<dyn Wire> = if door.is_tls() {
        Box::new(secure(proxy, stream).await.unwrap())
    } else {
        Box::new(stream)
    };
    let mut peer = Peer::new(stream);
    peer.send(door.greeting(&target.to_string(), Login::Nothing, Ask::Tunnel).unwrap()).await;
    peer
}

/// Everything that comes back for `header` and a question for our health.
async fn health(proxy: &Proxy, header: &[u8]) -> String {
    let mut peer = proxy.connect().await;
    peer.send([header, HEALTH.as_bytes()].concat()).await;
    String::from_utf8(peer.whatever_comes().await).unwrap()
}

#[tokio::test]
async fn from_a_balancer_a_header_is_required_and_must_be_right() {
    let proxy = balanced(&[("header-timeout", "10m")]).await;
    let cases: [&[u8]; 9] = [
        HEALTH.as_bytes(),
        b"\x05\x01\x00",
        b"\x16\x03\x01",
        b"PROXY TCP4 8.8.8.8 8.8.4.4 1 99999\r\n",
        b"PROXY TCP6 8.8.8.8 8.8.4.4 1 2\r\n",
        b"PROXY \r\n",
        &[SIGNATURE, b"\x11\x11\0\x0c"].concat(),
        &[SIGNATURE, b"\x21\x11\0\x04"].concat(),
        &[b"PROXY UNKNOWN".as_slice(), &[b' '; 120]].concat(),
    ];
    for bytes in cases {
        let mut peer = proxy.connect().await;
        peer.send(bytes).await;
        assert_eq!(peer.whatever_comes().await, b"", "{bytes:?}");
    }
    until(|| proxy.control.open() == 0).await;
    assert!(proxy.log().is_empty());
}

#[tokio::test]
async fn from_anywhere_else_a_header_closes_the_connection() {
    let proxy = Proxy::start(&[("proxy-protocol-from", "10.0.0.0/8")]).await;
    for source in ["81.85.76.7:50000", "[2001:db8::7]:50000"] {
        for header in headers(source) {
            assert_eq!(health(&proxy, &header).await, "", "{header:?}");
        }
    }
    assert_eq!(health(&proxy, LOCAL).await, "");
    assert_eq!(health(&proxy, UNKNOWN).await, "");
    assert!(health(&proxy, b"").await.starts_with("HTTP/1.1 200 "), "and without one it is served");
}

#[tokio::test]
async fn the_log_has_the_client_of_the_header() {
    let state = tempfile::tempdir().unwrap();
    let state = state.path().to_str().unwrap();
    let flags = [("open", "true"), ("tls-self-signed", "true"), ("state-dir", state)];
    let proxy = balanced(&flags).await;
    let origin = Origin::new().await;
    let sources = [
        ("81.85.76.7:50000", "81.85.76.7:50000"),
        ("[2001:db8::7]:50001", "[2001:db8::7]:50001"),
        ("[::ffff:81.85.76.7]:50002", "81.85.76.7:50002"),
    ];
    let mut lines = 0;
    for (source, shown) in sources {
        for header in headers(source) {
            for door in Door::tunnels() {
                let mut client = enter(&proxy, &header, door, origin.address).await;
                let mut target = origin.accept().await;
                let granted = door.granted(Login::Nothing);
                assert_eq!(client.exactly(granted.len()).await, granted, "{door:?}");
                target.finish().await;
                drop(client);
                lines += 1;
                let log = proxy.log_lines(lines).await;
                let line = log.last().unwrap();
                assert_eq!(line["client"], shown, "{door:?} {header:?}");
                assert_eq!(line["door"], door.word());
            }
        }
    }
}

#[tokio::test]
async fn a_header_that_names_nobody_keeps_the_address_of_the_connection() {
    let proxy = balanced(&[("open", "true")]).await;
    let origin = Origin::new().await;
    let udp = [SIGNATURE, b"\x21\x12\0\x0c\x08\x08\x08\x08\x08\x08\x08\x08\0\x01\0\x02"].concat();
    let local = [SIGNATURE, b"\x20\x11\0\x0c\x08\x08\x08\x08\x08\x08\x08\x08\0\x01\0\x02"].concat();
    let far = b"PROXY UNKNOWN 8.8.8.8 8.8.4.4 1 2\r\n";
    for (at, header) in [LOCAL, UNKNOWN, far, &udp, &local].into_iter().enumerate() {
        let mut stream = TcpStream::connect(proxy.address).await.unwrap();
        let own = stream.local_addr().unwrap();
        stream.write_all(header).await.unwrap();
        let mut client = Peer::new(stream);
        let head = format!("CONNECT {} HTTP/1.1\r\n\r\n", origin.address);
        client.send(head).await;
        assert_eq!(client.head().await, ESTABLISHED);
        origin.accept().await.finish().await;
        drop(client);
        assert_eq!(proxy.log_lines(at + 1).await[at]["client"], own.to_string(), "{header:?}");
    }
}

#[tokio::test]
async fn trust_is_that_of_the_client_and_not_of_the_balancer() {
    let proxy = balanced(&[("trust-client", "81.85.76.0/24,2001:db8::/64")]).await;
    let origin = Origin::new().await;
    for source in ["81.85.76.7:1", "[2001:db8::7]:1", "[::ffff:81.85.76.7]:1", "127.0.0.1:1"] {
        for header in headers(source) {
            let mut client = enter(&proxy, &header, Door::Connect, origin.address).await;
            origin.accept().await;
            assert_eq!(client.head().await, ESTABLISHED, "{source}");
        }
    }
    for source in ["8.8.8.8:1", "[2001:db8:0:1::7]:1", "10.0.0.1:1"] {
        for header in headers(source) {
            let mut client = enter(&proxy, &header, Door::Connect, origin.address).await;
            let answer = client.rest().await;
            assert!(answer.starts_with("HTTP/1.1 403 "), "{source}: {answer}");
            let mut client = enter(&proxy, &header, Door::Socks5Ip, origin.address).await;
            assert_eq!(client.remains().await[..4], [5, 0, 5, 2], "{source}");
        }
    }
    assert!(origin.is_untouched());
}

#[tokio::test]
async fn allowed_is_the_client_and_not_the_balancer() {
    let proxy = balanced(&[("allow-client", "81.85.76.0/24")]).await;
    for header in headers("81.85.76.7:1") {
        assert!(health(&proxy, &header).await.starts_with("HTTP/1.1 200 "));
    }
    for source in ["81.85.77.7:1", "127.0.0.1:1", "[2001:db8::7]:1"] {
        for header in headers(source) {
            assert_eq!(health(&proxy, &header).await, "", "{source}");
        }
    }
    // The balancer's own health checks are no client; and whoever it does not name has no trust of its.
    assert!(health(&proxy, LOCAL).await.starts_with("HTTP/1.1 200 "));
    let whoami =
        b"GET http://sami-proxy.internal/whoami HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    for nameless in [LOCAL, b"PROXY UNKNOWN\r\n"] {
        let answer = proxy.exchange([nameless, whoami].concat()).await;
        assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    }
    let proxy = balanced(&[]).await;
    for nameless in [LOCAL, b"PROXY UNKNOWN\r\n"] {
        let answer = proxy.exchange([nameless, whoami].concat()).await;
        assert!(answer.contains("\"trusted\":false"), "{answer}");
    }
}

#[tokio::test]
async fn each_client_gets_its_share_and_no_more() {
    let proxy = balanced(&[("max-per-client", "2"), ("open", "true")]).await;
    let origin = Origin::new().await;
    let (one, other) = (header("81.85.76.7:1"), header("81.85.76.8:1"));
    let mut held = Vec::new();
    for door in [Door::Connect, Door::Socks5Ip] {
        let mut client = enter(&proxy, &one, door, origin.address).await;
        let granted = door.granted(Login::Nothing);
        assert_eq!(client.exactly(granted.len()).await, granted);
        held.push((client, origin.accept().await));
    }
    let refused = health(&proxy, &one).await;
    assert!(refused.starts_with("HTTP/1.1 503 ") && refused.contains("connection_limit_reached"));
    let mut client = enter(&proxy, &headers("81.85.76.7:9")[1], Door::Socks4, origin.address).await;
    assert_eq!(client.remains().await, [0, 91, 0, 0, 0, 0, 0, 0]);
    let log = proxy.log_lines(2).await;
    for (line, client) in log.iter().zip(["81.85.76.7:1", "81.85.76.7:9"]) {
        assert_eq!(line["client"], client);
        assert_eq!(line["error"], "connection_limit_reached");
    }
    assert!(health(&proxy, &other).await.starts_with("HTTP/1.1 200 "));
    assert!(health(&proxy, LOCAL).await.starts_with("HTTP/1.1 200 "));
    drop(held);
    until(|| proxy.control.open() == 0).await;
    assert!(health(&proxy, &one).await.starts_with("HTTP/1.1 200 "), "places are given back");
}

#[tokio::test]
async fn who_comes_to_a_full_house_is_told_behind_a_balancer_too() {
    let flags = [("max-connections", "1"), ("open", "true"), ("header-timeout", "10m")];
    let proxy = balanced(&flags).await;
    let origin = Origin::new().await;
    let held = proxy.connect().await;
    until(|| proxy.control.open() == 1).await;
    for (at, header) in headers("81.85.76.7:50000").iter().enumerate() {
        let answer = health(&proxy, header).await;
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer:?}");
        let mut client = enter(&proxy, header, Door::Socks5Ip, origin.address).await;
        assert_eq!(client.remains().await[..4], [5, 0, 5, 1]);
        let log = proxy.log_lines(2 * at + 2).await;
        for line in &log[2 * at..] {
            assert_eq!(line["client"], "81.85.76.7:50000");
            assert_eq!(line["error"], "connection_limit_reached");
        }
    }
    // Without a header it is closed, as ever.
    assert_eq!(health(&proxy, b"").await, "");
    drop(held);
}

#[tokio::test]
async fn a_balancer_of_ipv4_is_known_on_a_listener_of_both_families() {
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        println!("skipped: no IPv6 here");
        return;
    }
    let from = [("allow-private", "true"), ("proxy-protocol-from", "127.0.0.1")];
    let proxy = Proxy::run(settings_on("[::]:0", &from)).await;
    let mut peer =
        Peer::new(TcpStream::connect(("127.0.0.1", proxy.address.port())).await.unwrap());
    peer.send([&header("81.85.76.7:1"), HEALTH.as_bytes()].concat()).await;
    assert!(peer.rest().await.starts_with("HTTP/1.1 200 "));
    assert_eq!(proxy.log_lines(1).await[0]["client"], "81.85.76.7:1");
    // From ::1, which is not the same, a header is foreign.
    let mut peer = Peer::new(TcpStream::connect(("::1", proxy.address.port())).await.unwrap());
    peer.send([&header("81.85.76.7:1"), HEALTH.as_bytes()].concat()).await;
    assert_eq!(peer.whatever_comes().await, b"");
}
