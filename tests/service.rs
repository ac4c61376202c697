//! `sami-proxy.internal`, through the proxy: what diagnostics rely on.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::too_many_lines,
    clippy::wildcard_enum_match_arm,
    reason = "test code"
)]

mod common;

use std::net::IpAddr;

use common::dns::{NameServer, Say};
use common::process::Serve;
use common::{ESTABLISHED, LIMIT, Origin, Peer, Proxy, header, settings};
use hickory_resolver::proto::rr::RecordType;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

const MIB: usize = 1 << 20;
const STRANGER: &str = "81.85.76.1";
/// Who comes from loopback says who its client is.
const BALANCER: (&str, &str) = ("proxy-protocol-from", "127.0.0.0/8");

fn get(path: &str) -> String {
    format!("GET http://sami-proxy.internal{path} HTTP/1.1\r\nHost: sami-proxy.internal\r\n\r\n")
}

fn post(framing: &str) -> String {
    format!("POST http://sami-proxy.internal/sink HTTP/1.1\r\nHost: x\r\n{framing}\r\n\r\n")
}

/// The answer to `GET path` on a connection that stays.
async fn ask(peer: &mut Peer, path: &str) -> (String, String) {
    peer.send(get(path)).await;
    peer.message().await
}

async fn json(peer: &mut Peer, path: &str) -> Value {
    let (head, body) = ask(peer, path).await;
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}{body}");
    assert_eq!(header(&head, "content-type"), Some("application/json"));
    serde_json::from_str(&body).unwrap()
}

/// A connection from that address, as a balancer tells it.
async fn from(proxy: &Proxy, address: &str) -> Peer {
    let mut peer = proxy.connect().await;
    peer.send(format!("PROXY TCP4 {address} 127.0.0.1 40000 8080\r\n")).await;
    peer
}

/// The next request is answered: the last answer has ended where it says.
async fn still_serves(peer: &mut Peer) {
    assert_eq!(json(peer, "/whoami?nonce=next").await["nonce"], "next");
    assert_eq!(peer.buffer, b"");
}

fn refused(head: &str, status: u16) -> bool {
    head.starts_with(&format!("HTTP/1.1 {status} ")) && header(head, "proxy-status").is_some()
}

/// Waits for a byte that is not there yet.
async fn more(peer: &mut Peer) {
    let mut all = peer.exactly(peer.buffer.len() + 1).await;
    all.append(&mut peer.buffer);
    peer.buffer = all;
}

/// Bytes that differ from place to place.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| u8::try_from(at * 31 % 251).unwrap()).collect()
}

#[tokio::test]
async fn whoami_tells_what_the_proxy_sees() {
    let proxy = Proxy::start(&[]).await;
    let mut peer = proxy.connect().await;
    let ours = peer.stream.local_addr().unwrap().to_string();
    let said = json(&mut peer, "/whoami?nonce=aB-9_").await;
    assert_eq!(said["service"], "sami-proxy");
    assert_eq!(said["client"], ours.as_str());
    assert_eq!(said["door"], "http");
    assert_eq!((&said["user"], &said["trusted"]), (&Value::Null, &true.into()));
    assert_eq!(said["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(said["nonce"], "aB-9_");
    let time = humantime::parse_rfc3339(said["time"].as_str().unwrap()).unwrap();
    let age = time.elapsed().unwrap_or_default();
    assert!(age < LIMIT, "{age:?}");
    let long = "a".repeat(65);
    for nonce in ["%3Cb%3E", "<script>", "a\"b", &long, "a%0d%0aX:y", "ü"] {
        assert_eq!(json(&mut peer, &format!("/whoami?nonce={nonce}")).await["nonce"], Value::Null);
    }
    assert_eq!(json(&mut peer, "/whoami").await["nonce"], Value::Null);

    let behind = Proxy::start(&[BALANCER]).await;
    let mut peer = from(&behind, STRANGER).await;
    let said = json(&mut peer, "/whoami").await;
    assert_eq!((&said["client"], &said["trusted"]), (&"81.85.76.1:40000".into(), &false.into()));
}

#[tokio::test]
async fn bytes_are_as_many_as_were_asked_for() {
    let proxy = Proxy::start(&[]).await;
    let mut peer = proxy.connect().await;
    for count in [0, 1, 16_383, 16_384, 16_385, 100_000] {
        peer.send(get(&format!("/bytes?n={count}"))).await;
        let head = peer.head().await;
        assert_eq!(header(&head, "content-length"), Some(count.to_string().as_str()), "{head}");
        assert_eq!(peer.exactly(count).await.len(), count);
    }
    still_serves(&mut peer).await;
    peer.send(get("/bytes?n=1000000").replace("GET", "HEAD")).await;
    let head = peer.head().await;
    assert_eq!(header(&head, "content-length"), Some("1000000"));
    still_serves(&mut peer).await;
    let old = get("/bytes?n=70000").replace("HTTP/1.1", "HTTP/1.0");
    let mut peer = proxy.connect().await;
    peer.send(old).await;
    let head = peer.head().await;
    assert!(head.contains("Connection: close\r\n"), "{head}");
    assert_eq!(peer.exactly(70_000).await.len(), 70_000);
    assert_eq!(peer.rest().await, "");
}

#[tokio::test]
async fn strangers_get_a_mebibyte_and_trusted_clients_64() {
    let proxy = Proxy::start(&[BALANCER]).await;
    let mut stranger = from(&proxy, STRANGER).await;
    stranger.send(get("/bytes?n=1048576")).await;
    stranger.head().await;
    stranger.exactly(MIB).await;
    let (head, body) = ask(&mut stranger, "/bytes?n=1048577").await;
    assert!(refused(&head, 400) && body.contains("1048576"), "{head}{body}");
    let (head, _) = ask(&mut stranger, "/stream?events=61&interval_ms=1").await;
    assert!(refused(&head, 400), "{head}");
    still_serves(&mut stranger).await;

    let mut trusted = from(&proxy, "127.0.0.1").await;
    let (head, _) = ask(&mut trusted, "/bytes?n=67108865").await;
    assert!(refused(&head, 400), "{head}");
    let close = "Host: sami-proxy.internal\r\nConnection: close";
    let all = get("/bytes?n=67108864").replace("Host: sami-proxy.internal", close);
    trusted.send(all).await;
    trusted.head().await;
    let here = trusted.buffer.len() as u64;
    let rest = timeout(LIMIT, common::count(&mut trusted.stream)).await.expect("silence");
    assert_eq!(here + rest, 64 << 20);
}

#[tokio::test]
async fn a_slow_reader_costs_no_memory() {
    let serve = Serve::start(&[]);
    let before = serve.resident();
    let mut slow = Vec::new();
    for _ in 0..6 {
        let mut peer = Peer::new(TcpStream::connect(serve.address).await.unwrap());
        peer.send(get("/bytes?n=67108864")).await;
        peer.head().await;
        slow.push(peer);
    }
    // While one gets everything, the others are stuck.
    let mut peer = slow.pop().unwrap();
    let mut left = (64 << 20) - peer.buffer.len();
    while left > 0 {
        peer.buffer.clear();
        peer.exactly(1).await;
        left -= peer.buffer.len() + 1;
    }
    let grown = serve.resident().saturating_sub(before);
    assert!(grown < 20 * 1024, "{grown} KiB for 5 readers who do not read");
}

#[tokio::test]
async fn a_body_is_counted_and_thrown_away() {
    let proxy = Proxy::start(&[BALANCER]).await;
    let mut peer = from(&proxy, STRANGER).await;
    let received = |body: String| serde_json::from_str::<Value>(&body).unwrap()["received"].clone();
    for length in [0, 1, MIB] {
        peer.send(post(&format!("Content-Length: {length}"))).await;
        peer.send(pattern(length)).await;
        let (head, body) = peer.message().await;
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}{body}");
        assert_eq!(received(body), length);
    }
    peer.send(post("Transfer-Encoding: chunked")).await;
    peer.send("5\r\nhello\r\n").await;
    peer.send("6;x=y\r\n world\r\n0\r\nA: b\r\n\r\n").await;
    assert_eq!(received(peer.message().await.1), 11);
    still_serves(&mut peer).await;
    // The first answer says that the body may come; nothing before that.
    peer.send(post("Content-Length: 5\r\nExpect: 100-continue")).await;
    assert_eq!(peer.head().await, "HTTP/1.1 100 Continue\r\n\r\n");
    peer.send("hello").await;
    assert_eq!(received(peer.message().await.1), 5);
    still_serves(&mut peer).await;
    // Nothing to wait for, no interim answer.
    peer.send(post("Content-Length: 0\r\nExpect: 100-continue")).await;
    let (head, body) = peer.message().await;
    assert!(head.starts_with("HTTP/1.1 200 ") && received(body) == 0, "{head}");
    still_serves(&mut peer).await;
}

#[tokio::test]
async fn a_body_that_is_too_long_is_refused_at_once_or_cut() {
    let proxy = Proxy::start(&[BALANCER]).await;
    for expect in ["", "\r\nExpect: 100-continue"] {
        let mut peer = from(&proxy, STRANGER).await;
        peer.send(post(&format!("Content-Length: 1048577{expect}"))).await;
        let (head, body) = peer.message().await;
        assert!(refused(&head, 413), "no byte of the body was sent: {head}{body}");
        assert_eq!(header(&head, "connection"), Some("close"));
        peer.finish().await;
        assert_eq!(peer.rest().await, "");
    }
    let mut peer = from(&proxy, STRANGER).await;
    peer.send(post("Transfer-Encoding: chunked")).await;
    peer.send("100001\r\n").await;
    peer.send(vec![b'x'; MIB + 1]).await;
    // There is no last chunk.
    let (head, _) = peer.message().await;
    assert!(refused(&head, 413), "{head}");
    let mut trusted = from(&proxy, "127.0.0.1").await;
    trusted.send(post("Content-Length: 67108865")).await;
    assert!(refused(&trusted.message().await.0, 413));
    let mut broken = from(&proxy, STRANGER).await;
    broken.send(post("Transfer-Encoding: chunked")).await;
    broken.send("nonsense\r\n").await;
    assert!(refused(&broken.message().await.0, 400));
}

#[tokio::test]
async fn an_event_is_sent_when_it_is_due() {
    let proxy = Proxy::start(&[]).await;
    let event = |text: &[u8]| -> Value {
        let text = std::str::from_utf8(text).unwrap();
        serde_json::from_str(text.strip_prefix("data: ").unwrap()).unwrap()
    };
    // Whoever gathers events has nothing to show before the test is given up.
    let mut peer = proxy.connect().await;
    peer.send(get("/stream?events=2&interval_ms=60000")).await;
    let head = peer.head().await;
    assert_eq!(header(&head, "content-type"), Some("text/event-stream"));
    assert_eq!(header(&head, "transfer-encoding"), Some("chunked"));
    while common::find(&peer.buffer, b"\n\n\r\n").is_none() {
        more(&mut peer).await;
    }
    drop(peer);

    let mut peer = proxy.connect().await;
    peer.send(get("/stream?events=3&interval_ms=100")).await;
    peer.head().await;
    let mut times = Vec::new();
    for number in 1..=3 {
        let size = loop {
            if let Some(at) = common::find(&peer.buffer, b"\r\n") {
                let line: Vec<u8> = peer.buffer.drain(..at + 2).collect();
                break usize::from_str_radix(std::str::from_utf8(&line[..at]).unwrap(), 16)
                    .unwrap();
            }
            more(&mut peer).await;
        };
        let said = event(&peer.exactly(size).await);
        assert_eq!((&said["event"], &said["of"]), (&number.into(), &3.into()));
        times.push(said["at_ms"].as_u64().unwrap());
        assert_eq!(peer.exactly(2).await, b"\r\n");
    }
    assert!(times[1] >= times[0] + 99 && times[2] >= times[1] + 99, "{times:?}");
    assert_eq!(peer.exactly(5).await, b"0\r\n\r\n");
    still_serves(&mut peer).await;
    peer.send(get("/stream?events=3&interval_ms=60000").replace("GET", "HEAD")).await;
    assert!(peer.head().await.starts_with("HTTP/1.1 200 "));
    still_serves(&mut peer).await;

    let old = get("/stream?events=2&interval_ms=1").replace("HTTP/1.1", "HTTP/1.0");
    let answer = proxy.exchange(old).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(!head.to_lowercase().contains("transfer-encoding") && head.contains("close"), "{head}");
    assert_eq!(body.split_terminator("\n\n").count(), 2, "{body}");
}

#[tokio::test]
async fn wrong_questions_get_404_or_400_and_the_connection_stays() {
    let proxy = Proxy::start(&[]).await;
    let mut peer = proxy.connect().await;
    for path in ["/", "", "/report", "/whoami/", "/Whoami", "//whoami", "/sink", "/%77hoami"] {
        assert!(refused(&ask(&mut peer, path).await.0, 404), "{path}");
    }
    for path in [
        "/bytes",
        "/bytes?n=",
        "/bytes?n=-1",
        "/bytes?n=0x10",
        "/bytes?n=99999999999999999999",
        "/stream",
        "/stream?events=0&interval_ms=1",
        "/stream?events=1001&interval_ms=0",
        "/stream?events=1&interval_ms=60001",
        "/stream?events=11&interval_ms=60000",
        "/stream?events=4294967297&interval_ms=0",
        "/stream?events=1000&interval_ms=18446744073709551615",
    ] {
        assert!(refused(&ask(&mut peer, path).await.0, 400), "{path}");
    }
    peer.send(post("Content-Length: 3").replace("/sink", "/whoami") + "abc").await;
    assert!(refused(&peer.message().await.0, 404));
    still_serves(&mut peer).await;
}

#[tokio::test]
async fn credentials_are_wanted_where_they_are_configured() {
    let proxy = Proxy::start(&[("auth", "sami:secret")]).await;
    let mut peer = proxy.connect().await;
    for path in ["/whoami", "/health", "/bytes?n=1", "/nonsense"] {
        assert!(refused(&ask(&mut peer, path).await.0, 407), "{path}");
    }
    let login = "Host: x\r\nProxy-Authorization: Basic c2FtaTpzZWNyZXQ=";
    peer.send(get("/whoami").replace("Host: sami-proxy.internal", login)).await;
    let (head, body) = peer.message().await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    let said: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((&said["user"], &said["trusted"]), (&"sami".into(), &true.into()));
    let tunnel = "CONNECT sami-proxy.internal:7 HTTP/1.1\r\nHost: x\r\n\r\n";
    peer.send(tunnel).await;
    assert!(refused(&peer.message().await.0, 407));
}

#[tokio::test]
async fn the_name_is_ours_in_every_spelling_and_nobody_else_hears_it() {
    let server = NameServer::start(|_, kind, _| match kind {
        RecordType::A => Say::Addresses(vec!["127.0.0.1".parse().unwrap()], 60),
        _ => Say::NoSuchName,
    })
    .await;
    let (dns, parent, other) =
        (server.address.to_string(), Origin::new().await, Origin::new().await);
    let url = format!("http://{}", parent.address);
    let port = other.address.port();
    for flags in [&[("dns", &*dns)][..], &[("dns", &*dns), ("upstream", &*url)]] {
        let proxy = Proxy::start(flags).await;
        let mut peer = proxy.connect().await;
        for host in [
            "sami-proxy.internal",
            "SAMI-Proxy.Internal",
            "sami-proxy.internal.",
            "sami-proxy.internal:80",
            "sami-proxy.internal:",
        ] {
            peer.send(format!("GET http://{host}/whoami HTTP/1.1\r\nHost: other\r\n\r\n")).await;
            let head = peer.message().await.0;
            assert!(head.starts_with("HTTP/1.1 200 "), "{host}: {head}");
        }
        for port in [443, 8080, 7, port] {
            let uri = format!("http://Sami-Proxy.internal.:{port}/whoami");
            peer.send(format!("GET {uri} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
            let head = peer.message().await.0;
            assert!(refused(&head, 404), "{port}: {head}");
        }
        for port in [81, 443, port] {
            let request =
                format!("CONNECT sami-proxy.internal:{port} HTTP/1.1\r\nHost: x\r\n\r\nGET /");
            let answer = proxy.exchange(request).await;
            assert!(refused(&answer, 404), "{port}: {answer}");
            let mut peer = proxy.connect().await;
            peer.send(socks5(port)).await;
            peer.exactly(2).await;
            assert_eq!(peer.exactly(4).await, [5, 2, 0, 1], "not allowed: {port}");
            let mut peer = proxy.connect().await;
            let [high, low] = port.to_be_bytes();
            peer.send([&[4, 1, high, low, 0, 0, 0, 1, 0], &b"sami-proxy.internal\0"[..]].concat())
                .await;
            assert_eq!(peer.exactly(2).await, [0, 91]);
        }
        let mut echo = proxy.connect().await;
        echo.send("CONNECT Sami-Proxy.internal.:7 HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert_eq!(echo.head().await, ESTABLISHED);
    }
    assert_eq!(server.questions(), 0);
    assert!(parent.is_untouched() && other.is_untouched());
}

#[tokio::test]
async fn a_host_field_is_not_the_service() {
    let proxy = Proxy::start(&[]).await;
    let mut peer = proxy.connect().await;
    for path in ["/whoami", "/health", "/bytes?n=1", "/sink", "/stream?events=1&interval_ms=0"] {
        peer.send(format!("GET {path} HTTP/1.1\r\nHost: sami-proxy.internal\r\n\r\n")).await;
        assert!(refused(&peer.message().await.0, 404), "{path}");
    }
}

/// A SOCKS5 client that says everything at once.
fn socks5(port: u16) -> Vec<u8> {
    let mut bytes = b"\x05\x01\x00\x05\x01\x00\x03\x13sami-proxy.internal".to_vec();
    bytes.extend_from_slice(&port.to_be_bytes());
    bytes
}

/// Sends `bytes` and reads as many, at the same time; some came with the request.
async fn echoed(peer: Peer, bytes: Vec<u8>, early: usize) -> Peer {
    let Peer { stream, buffer } = peer;
    let (mut read, mut write) = stream.into_split();
    let (length, later) = (bytes.len(), bytes[early..].to_vec());
    let writing = tokio::spawn(async move {
        tokio::io::AsyncWriteExt::write_all(&mut write, &later).await.unwrap();
        write
    });
    let mut seen = buffer;
    while seen.len() < length {
        let read = tokio::io::AsyncReadExt::read_buf(&mut read, &mut seen);
        assert!(timeout(LIMIT, read).await.expect("silence").unwrap() > 0, "{}", seen.len());
    }
    assert!(seen == bytes, "other bytes came back, or more");
    Peer::new(read.reunite(writing.await.unwrap()).unwrap())
}

#[tokio::test]
async fn an_echo_brings_everything_back_and_ends_after_the_client() {
    let proxy = Proxy::start(&[]).await;
    let bytes = pattern(3 * MIB);
    let mut peer = proxy.connect().await;
    let mut request = b"CONNECT sami-proxy.internal:7 HTTP/1.1\r\nHost: x\r\n\r\n".to_vec();
    request.extend_from_slice(&bytes[..1000]);
    peer.send(request).await;
    assert_eq!(peer.head().await, ESTABLISHED);
    let mut peer = echoed(peer, bytes.clone(), 1000).await;
    peer.send("the last").await;
    peer.finish().await;
    assert_eq!(peer.rest().await, "the last");

    let mut peer = proxy.connect().await;
    peer.send([socks5(7), bytes[..1000].to_vec()].concat()).await;
    assert_eq!(peer.exactly(12).await[..4], [5, 0, 5, 0]);
    let mut peer = echoed(peer, bytes, 1000).await;
    peer.finish().await;
    assert_eq!(peer.rest().await, "");
    let lines = proxy.log_lines(2).await;
    for line in &lines[..2] {
        assert_eq!((&line["method"], &line["ended"]), (&"CONNECT".into(), &"client/fin".into()));
        assert_eq!(line["up"], line["down"]);
        assert!(line["up"].as_u64() >= Some(3 << 20), "{line}");
    }
}

#[tokio::test]
async fn an_echo_for_a_stranger_ends_in_order_after_a_mebibyte() {
    let proxy = Proxy::start(&[BALANCER]).await;
    for socks in [false, true] {
        let mut peer = from(&proxy, STRANGER).await;
        if socks {
            peer.send(socks5(7)).await;
            peer.exactly(12).await;
        } else {
            peer.send("CONNECT sami-proxy.internal:7 HTTP/1.1\r\nHost: x\r\n\r\n").await;
            assert_eq!(peer.head().await, ESTABLISHED);
        }
        let bytes = pattern(MIB - 1);
        let mut peer = echoed(peer, bytes, 0).await;
        peer.send("yz").await;
        assert_eq!(peer.rest().await, "y", "one byte was left");
    }
}

#[tokio::test]
async fn strangers_who_ask_for_too_much_wait_and_nobody_else_does() {
    let proxy = Proxy::start(&[BALANCER]).await;
    let mut peer = from(&proxy, STRANGER).await;
    let mut answered = 0;
    let head = loop {
        let (head, _) = ask(&mut peer, "/whoami").await;
        if !head.starts_with("HTTP/1.1 200 ") {
            break head;
        }
        answered += 1;
        assert!(answered < 2000, "no end");
    };
    assert!(answered >= 100, "{answered}");
    assert!(refused(&head, 429) && header(&head, "retry-after").is_some(), "{head}");
    // Not by another connection, and not the dear things.
    let mut again = from(&proxy, STRANGER).await;
    assert!(refused(&ask(&mut again, "/bytes?n=1048576").await.0, 429));
    let mut other = from(&proxy, "81.85.76.2").await;
    still_serves(&mut other).await;
    let mut trusted = from(&proxy, "127.0.0.1").await;
    for _ in 0..300 {
        still_serves(&mut trusted).await;
    }
}

#[tokio::test]
async fn an_echo_counts_like_everything_else() {
    let proxy = Proxy::start(&[BALANCER]).await;
    for (address, socks) in [("81.85.76.3", false), ("81.85.76.4", true)] {
        let mut echoes = Vec::new();
        loop {
            let mut peer = from(&proxy, address).await;
            let granted = if socks {
                peer.send(socks5(7)).await;
                peer.exactly(4).await[3] == 0
            } else {
                peer.send("CONNECT sami-proxy.internal:7 HTTP/1.1\r\nHost: x\r\n\r\n").await;
                let head = peer.head().await;
                assert!(head == ESTABLISHED || refused(&head, 429), "{head}");
                head == ESTABLISHED
            };
            if !granted {
                break;
            }
            echoes.push(peer);
            assert!(echoes.len() < 30, "no end");
        }
        assert!(echoes.len() >= 3, "{}", echoes.len());
    }
}

#[tokio::test]
async fn health_tells_names_from_connections() {
    let ip = |text: &str| text.parse::<IpAddr>().unwrap();
    // Only the superuser may listen there; where it can't, nobody does.
    let https = TcpListener::bind("127.77.0.1:443").await;
    let server = NameServer::start(move |name, kind, _| match (name, kind) {
        ("www.google.com.", RecordType::A) => Say::Addresses(vec![ip("127.77.0.1")], 60),
        ("www.google.com.", _) => Say::Addresses(Vec::new(), 60),
        _ => Say::NoSuchName,
    })
    .await;
    let dns = server.address.to_string();
    let proxy = Proxy::start(&[("dns", &dns)]).await;
    let mut peer = proxy.connect().await;
    let said = json(&mut peer, "/health").await;
    assert_eq!((&said["dns"]["ok"], &said["dns"]["ipv4"]), (&true.into(), &1.into()), "{said}");
    assert_eq!((&said["dns"]["ipv6"], &said["ipv6"]["ok"]), (&0.into(), &Value::Null), "{said}");
    if https.is_ok() {
        assert_eq!(said["ipv4"]["ok"], true, "{said}");
        assert_eq!(said["ipv4"]["address"], "127.77.0.1:443");
        assert_eq!(said["ipv4"]["egress"], "127.0.0.1");
    } else {
        assert_eq!(said["ipv4"]["error"], "connection_refused", "{said}");
    }
    let questions = server.questions();
    assert_eq!(questions, 2);
    assert_eq!(json(&mut peer, "/health").await, said, "the same answer, to the millisecond");
    assert_eq!(server.questions(), questions);
}

#[tokio::test]
async fn health_tells_why_not() {
    let ip = |text: &str| text.parse::<IpAddr>().unwrap();
    let server = NameServer::start(|_, _, _| Say::NoSuchName).await;
    let proxy = Proxy::start(&[("dns", &server.address.to_string())]).await;
    let said = json(&mut proxy.connect().await, "/health").await;
    assert_eq!((&said["dns"]["ok"], &said["dns"]["error"]), (&false.into(), &"dns_error".into()));
    // Policy holds for the service too: no packet goes to such addresses.
    let server = NameServer::start(move |_, kind, _| match kind {
        RecordType::A => Say::Addresses(vec![ip("10.0.0.1")], 60),
        _ => Say::Addresses(vec![ip("fd00::1")], 60),
    })
    .await;
    let proxy = Proxy::run(settings(&[("dns", &server.address.to_string())])).await;
    let said = json(&mut proxy.connect().await, "/health").await;
    for family in ["ipv4", "ipv6"] {
        assert_eq!(said["dns"][family], 1);
        assert_eq!(said[family]["error"], "destination_ip_prohibited", "{said}");
    }
    // With a parent the question is whether that is there; names are its affair.
    let parent = Origin::new().await;
    let url = format!("http://{}", parent.address);
    let dns = server.address.to_string();
    let before = server.questions();
    let proxy = Proxy::start(&[("dns", &dns), ("upstream", &url)]).await;
    let said = json(&mut proxy.connect().await, "/health").await;
    assert_eq!(said["upstream"]["ok"], true, "{said}");
    assert_eq!(parent.accept().await.rest().await, "", "nothing is asked of it");
    let gone = format!("http://{}", common::refusing().await);
    let proxy = Proxy::start(&[("dns", &dns), ("upstream", &gone)]).await;
    let said = json(&mut proxy.connect().await, "/health").await;
    assert_eq!(said["upstream"]["error"], "connection_refused", "{said}");
    assert_eq!(server.questions(), before);
}

#[tokio::test]
async fn a_tunnel_to_it_leads_to_the_same_service() {
    let proxy = Proxy::start(&[("auth", "sami:secret")]).await;
    let ask = "GET /whoami?nonce=n1 HTTP/1.1\r\nHost: sami-proxy.internal\r\n\r\n";
    let mut connect = proxy.connect().await;
    // The first request comes ahead of the answer to CONNECT.
    connect
        .send(format!(
            "CONNECT sami-proxy.internal:80 HTTP/1.1\r\nHost: x\r\nProxy-Authorization: Basic c2FtaTpzZWNyZXQ=\r\n\r\n{ask}"
        ))
        .await;
    assert_eq!(connect.head().await, ESTABLISHED);
    let mut socks = proxy.connect().await;
    let login = b"\x05\x01\x02\x01\x04sami\x06secret";
    let request = b"\x05\x01\x00\x03\x13sami-proxy.internal\x00\x50";
    socks.send([&login[..], request, ask.as_bytes()].concat()).await;
    socks.exactly(2 + 2 + 10).await;
    for (peer, door) in [(&mut connect, "http"), (&mut socks, "socks5")] {
        let (head, body) = peer.message().await;
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        let said: Value = serde_json::from_str(&body).unwrap();
        assert_eq!((&said["door"], &said["nonce"]), (&door.into(), &"n1".into()));
        assert_eq!((&said["user"], &said["trusted"]), (&"sami".into(), &true.into()));
        // Nobody is asked for credentials again, and nothing else is there.
        peer.send("GET /bytes?n=3 HTTP/1.1\r\nHost: sami-proxy.internal\r\n\r\n").await;
        let head = peer.head().await;
        assert!(head.contains("Content-Length: 3\r\n"), "{head}");
        peer.exactly(3).await;
        for other in ["GET / HTTP/1.1", "GET http://sami-proxy.internal/whoami HTTP/1.1"] {
            peer.send(format!("{other}\r\nHost: sami-proxy.internal\r\n\r\n")).await;
            assert!(refused(&peer.message().await.0, 404), "{other}");
        }
    }
}
