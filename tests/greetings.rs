//! How clients begin: byte by byte, with nothing, with nonsense.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "test code"
)]

mod common;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::dns::{NameServer, Say};
use common::doors::{Ask, Door, Drip, Login, USER, Wire, arrive, secure};
use common::{ESTABLISHED, LIMIT, Origin, Peer, Proxy, until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// What a load balancer says before the client's first byte.
const HEADERS: [(&str, &[u8]); 4] = [
    ("v1 of IPv4", b"PROXY TCP4 127.0.0.9 127.0.0.1 50000 8080\r\n"),
    ("v1 of nobody", b"PROXY UNKNOWN\r\n"),
    (
        "v2 of IPv4",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0f\x7f\0\0\x09\x7f\0\0\x01\xc3\x50\x1f\x90\x04\0\0",
    ),
    ("v2 of its own", b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"),
];

/// What may follow a greeting at once: it must pass, whatever it looks like.
const EARLY: [&[u8]; 4] =
    [b"", b"\x16\x03\x01\x00\x05early", b"\x05\x01\x00", b"SSH-2.0-x\r\n\r\n"];

async fn start(state: &tempfile::TempDir, flags: &[(&str, &str)]) -> Proxy {
    let mut all = vec![("tls-self-signed", "true"), ("state-dir", state.path().to_str().unwrap())];
    all.extend_from_slice(flags);
    Proxy::start(&all).await
}

/// A connection that has said `header` and speaks what is spoken at `door`, one byte at a time.
async fn drip(proxy: &Proxy, door: Door, header: &[u8]) -> Peer<Box<dyn Wire>> {
    let mut stream = Drip::new(TcpStream::connect(proxy.address).await.unwrap());
    stream.write_all(header).await.unwrap();
    let stream: Box<dyn Wire> = if door.is_tls() {
        Box::new(secure(proxy, stream).await.unwrap())
    } else {
        Box::new(stream)
    };
    Peer::new(stream)
}

/// Whether what is said at `door` gets there and back.
async fn works(proxy: &Proxy, (door, login): (Door, Login), header: &[u8], early: &[u8]) {
    let origin = Origin::new().await;
    let target = origin.address.to_string();
    let Some(greeting) = door.greeting(&target, login, Ask::Tunnel) else { return };
    let mut client = drip(proxy, door, header).await;
    let talk = async {
        let mut target = origin.accept().await;
        if door == Door::Plain {
            assert!(target.head().await.starts_with("GET / HTTP/1.1\r\n"));
            target.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
            return;
        }
        assert_eq!(target.exactly(early.len()).await, early);
        target.send(early).await;
        target.send("ready").await;
        assert_eq!(target.exactly(6).await, b"steady");
        target.finish().await;
    };
    let answer = async {
        if door == Door::Plain {
            client.send(greeting).await;
            assert!(client.rest().await.ends_with("\r\n\r\nok"));
            return;
        }
        client.send([&greeting, early].concat()).await;
        let granted = door.granted(login);
        assert_eq!(client.exactly(granted.len()).await, granted, "{door:?} {login:?}");
        assert_eq!(client.exactly(early.len()).await, early);
        assert_eq!(client.exactly(5).await, b"ready");
        client.send("steady").await;
        assert_eq!(client.rest().await, "");
    };
    tokio::join!(talk, answer);
}

#[tokio::test]
async fn every_greeting_may_come_byte_by_byte_with_the_first_bytes_of_the_tunnel() {
    let state = tempfile::tempdir().unwrap();
    for (flags, login) in [(&[][..], Login::Nothing), (&[("auth", USER)][..], Login::Right)] {
        let proxy = start(&state, flags).await;
        for (at, door) in Door::ALL.into_iter().enumerate() {
            if login == Login::Right && door.is_socks4() {
                continue;
            }
            works(&proxy, (door, login), b"", b"").await;
            works(&proxy, (door, login), b"", EARLY[at % EARLY.len()]).await;
        }
        until(|| proxy.control.open() == 0).await;
    }
    // Who wants no password takes one all the same.
    let proxy = start(&state, &[]).await;
    works(&proxy, (Door::Socks5Name, Login::Wrong), b"", b"").await;
}

#[tokio::test]
async fn so_may_the_header_of_a_load_balancer_before_it() {
    let state = tempfile::tempdir().unwrap();
    // Who is not named by the header has nobody's trust.
    let flags = [("proxy-protocol-from", "127.0.0.1"), ("open", "true")];
    let proxy = start(&state, &flags).await;
    for (name, header) in HEADERS {
        for (at, door) in Door::ALL.into_iter().enumerate() {
            works(&proxy, (door, Login::Nothing), header, EARLY[at % EARLY.len()]).await;
        }
        let log = proxy.log();
        let client = log.last().unwrap()["client"].as_str().unwrap().to_owned();
        assert_eq!(client == "127.0.0.9:50000", name.ends_with("IPv4"), "{name}: {client}");
    }
}

#[tokio::test]
async fn a_target_that_speaks_first_is_heard_through_every_door() {
    let state = tempfile::tempdir().unwrap();
    let proxy = start(&state, &[]).await;
    let origin = Origin::new().await;
    for door in Door::tunnels() {
        let mut client = arrive(&proxy, door).await.unwrap();
        let target = origin.address.to_string();
        client.send(door.greeting(&target, Login::Nothing, Ask::Tunnel).unwrap()).await;
        let mut target = origin.accept().await;
        target.send("220 hello\r\n").await;
        let granted = door.granted(Login::Nothing);
        assert_eq!(client.exactly(granted.len()).await, granted, "{door:?}");
        assert_eq!(client.exactly(11).await, b"220 hello\r\n", "{door:?}");
        // Nothing has been waited for, and nothing that comes now is looked at.
        client.send(b"\x16\x03\x01").await;
        assert_eq!(target.exactly(3).await, b"\x16\x03\x01", "{door:?}");
    }
}

#[tokio::test]
async fn who_says_nothing_or_not_enough_is_closed() {
    let state = tempfile::tempdir().unwrap();
    let times = [("header-timeout", "200ms"), ("handshake-timeout", "200ms")];
    let proxy = start(&state, &times).await;
    let from = [&times[..], &[("proxy-protocol-from", "127.0.0.1")]].concat();
    let balanced = start(&state, &from).await;
    for bytes in [&b""[..], b"P", b"\r\n\r\n", b"\x16\x03\x01"] {
        let mut client = proxy.connect().await;
        client.send(bytes).await;
        assert_eq!(client.whatever_comes().await, b"", "{bytes:?}");
    }
    for (bytes, answer) in [
        (&b"CONN"[..], &b"HTTP/1.1 408 "[..]),
        (b"\x05", b""),
        (b"\x05\x01\x00\x05\x01", b"\x05\x00\x05\x01\x00\x01"),
        (b"\x04\x01\x00", b"\x00\x5b"),
    ] {
        let mut client = proxy.connect().await;
        client.send(bytes).await;
        let heard = client.whatever_comes().await;
        assert!(heard.starts_with(answer), "{bytes:?}: {heard:?}");
    }
    for bytes in [&b""[..], b"PROXY", HEADERS[0].1, HEADERS[2].1, &HEADERS[2].1[..20]] {
        let mut client = balanced.connect().await;
        client.send(bytes).await;
        assert_eq!(client.whatever_comes().await, b"", "{bytes:?}");
    }
    until(|| proxy.control.open() == 0 && balanced.control.open() == 0).await;
}

#[tokio::test]
async fn who_leaves_before_it_has_asked_for_anything_is_no_error() {
    let state = tempfile::tempdir().unwrap();
    let proxy = start(&state, &[]).await;
    // What looks for open proxies goes away as soon as it knows.
    let looks: [(Door, &[u8]); 5] = [
        (Door::Connect, b"CONNECT x:443 HT"),
        (Door::Socks5Ip, b"\x05\x01\x00"),
        (Door::Socks5Tls, b"\x05\x01\x00"),
        (Door::Socks5Ip, b"\x05\x01\x00\x05\x01\x00\x03\xffhalf"),
        (Door::Socks4, b"\x04\x01"),
    ];
    for (door, bytes) in looks {
        let mut client = arrive(&proxy, door).await.unwrap();
        client.send(bytes).await;
        client.finish().await;
        client.whatever_comes().await;
    }
    until(|| proxy.control.open() == 0).await;
    for line in proxy.log() {
        assert_eq!(line["outcome"], "client_gone", "{line}");
    }
}

#[tokio::test]
async fn what_is_not_spoken_here_is_closed_at_once_and_without_an_answer() {
    let state = tempfile::tempdir().unwrap();
    // Were it waited for more, the test would take longer than anyone's patience.
    let proxy = start(&state, &[("header-timeout", "10m"), ("handshake-timeout", "10m")]).await;
    let foreign: [&[u8]; 9] = [
        b"SSH-2.0-OpenSSH_9.9\r\n",
        b"EHLO example.net\r\n",
        b"HELO example.net\r\n",
        b"\x03\x00\x00\x13\x0e\xe0\x00\x00",
        b"\x00",
        b"\x80\x2e\x01\x00\x02",
        b"\xff",
        HEADERS[0].1,
        HEADERS[2].1,
    ];
    for bytes in foreign {
        for door in [Door::Connect, Door::ConnectTls] {
            let mut client = arrive(&proxy, door).await.unwrap();
            client.send(bytes).await;
            assert_eq!(client.whatever_comes().await, b"", "{bytes:?} at {door:?}");
        }
    }
    let mut inner = arrive(&proxy, Door::ConnectTls).await.unwrap();
    inner.send(b"\x16\x03\x01").await;
    assert_eq!(inner.whatever_comes().await, b"", "TLS inside TLS");
    until(|| proxy.control.open() == 0).await;
    assert!(proxy.log().is_empty(), "nobody has asked for anything");
}

#[tokio::test]
async fn tls_where_there_is_none_is_answered_with_what_its_clients_know() {
    let proxy = Proxy::start(&[]).await;
    let mut client = proxy.connect().await;
    client.send(client_hello()).await;
    assert!(client.rest().await.starts_with("HTTP/1.1 400 "), "\"wrong version number\"");
    assert_eq!(proxy.log_lines(1).await[0]["door"], "http");
}

/// Numbers that are the same each time (xorshift64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % sides.max(1)
    }

    fn pick<'a>(&mut self, seeds: &'a [Vec<u8>]) -> &'a [u8] {
        &seeds[self.roll(seeds.len())]
    }

    /// A greeting that somebody has tampered with, once or a few times.
    fn greeting(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = self.pick(seeds).to_vec();
        for _ in 0..=self.roll(3) {
            let at = self.roll(bytes.len());
            match self.roll(5) {
                0 if !bytes.is_empty() => bytes[at] ^= 1 << self.roll(8),
                1 if !bytes.is_empty() => bytes[at] = [0, 1, 0x7f, 0xff][self.roll(4)],
                2 => bytes.truncate(at),
                3 => {
                    let end = at + self.roll(bytes.len() - at);
                    let again = bytes[at..end].to_vec();
                    bytes.splice(at..at, again);
                }
                _ => {
                    let other = self.pick(seeds);
                    bytes.truncate(at);
                    bytes.extend_from_slice(&other[self.roll(other.len())..]);
                }
            }
        }
        bytes
    }
}

/// The first message of a TLS client.
fn client_hello() -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let name = "sami-proxy".try_into().unwrap();
    let mut client = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    hello
}

/// Says `bytes`; then ends its half, resets, or waits for whatever comes.
async fn intrude(proxy: SocketAddr, bytes: Vec<u8>, manner: usize) {
    let mut stream = TcpStream::connect(proxy).await.unwrap();
    // The proxy may have closed already, and that is what it should do.
    let mut left = stream.write_all(&bytes).await.is_err();
    if manner != 0 && !left {
        left = stream.shutdown().await.is_err();
    }
    if manner != 1 && !left {
        let mut heard = Vec::new();
        let read = timeout(LIMIT, stream.read_to_end(&mut heard)).await;
        assert!(read.is_ok(), "open for ever after {bytes:?}");
    }
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
}

/// Sends `count` greetings, some at a time.
async fn assault(proxy: &Proxy, seeds: &[Vec<u8>], (seed, count): (u64, usize)) {
    const AT_ONCE: usize = 64;
    let mut dice = Dice(seed);
    let mut batch = JoinSet::new();
    for number in 0..count {
        if batch.len() == AT_ONCE {
            batch.join_next().await.unwrap().unwrap();
        }
        // One in 64 does not even end its half.
        let manner = if number % 64 == 0 { 0 } else { 1 + dice.roll(3) };
        batch.spawn(intrude(proxy.address, dice.greeting(seeds), manner));
    }
    while let Some(done) = batch.join_next().await {
        done.unwrap();
    }
}

/// Says "hi" to everybody and ends whatever gets through to it.
async fn hasty_target() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            // Whoever has left already hears nothing.
            drop(stream.write_all(b"hi").await);
            drop(stream.shutdown().await);
            tokio::spawn(async move { drop(Peer::new(stream).whatever_comes().await) });
        }
    });
    address
}

/// Panics in the proxy's own code, which its tasks swallow.
fn count_panics() -> Arc<AtomicUsize> {
    let count = Arc::new(AtomicUsize::new(0));
    let (theirs, usual) = (Arc::clone(&count), std::panic::take_hook());
    std::panic::set_hook(Box::new(move |info| {
        if info.location().is_some_and(|place| !place.file().starts_with("tests")) {
            theirs.fetch_add(1, Ordering::SeqCst);
        }
        usual(info);
    }));
    count
}

#[tokio::test]
async fn twenty_thousand_greetings_of_nonsense_leave_it_serving() {
    let panics = count_panics();
    let state = tempfile::tempdir().unwrap();
    let names = NameServer::start(|_, _, _| Say::NoSuchName).await;
    let (dns, target) = (names.address.to_string(), hasty_target().await.to_string());
    let mut flags = vec![
        ("dns", dns.as_str()),
        // Whatever a tampered address becomes, nothing else is reached.
        ("allow-to", target.as_str()),
        ("open", "true"),
        ("connect-timeout", "1s"),
        ("header-timeout", "200ms"),
        ("handshake-timeout", "200ms"),
        ("half-close-timeout", "200ms"),
        ("max-per-client", "100000"),
    ];
    let mut seeds = vec![client_hello()];
    for door in Door::ALL {
        for login in [Login::Nothing, Login::Right] {
            seeds.push(door.greeting(&target, login, Ask::Tunnel).unwrap());
        }
    }
    seeds.push(
        Door::Socks5Name.greeting("missing.example:443", Login::Nothing, Ask::Tunnel).unwrap(),
    );
    let plain = start(&state, &flags).await;
    flags.push(("proxy-protocol-from", "127.0.0.1"));
    let balanced = start(&state, &flags).await;
    let with_headers: Vec<Vec<u8>> = HEADERS
        .iter()
        .flat_map(|(_, header)| seeds.iter().map(|seed| [header, &seed[..]].concat()))
        .collect();
    tokio::join!(
        assault(&plain, &seeds, (0x5eed_0001, 10_000)),
        assault(&balanced, &with_headers, (0x5eed_0002, 10_000)),
    );
    for proxy in [&plain, &balanced] {
        until(|| proxy.control.open() == 0).await;
        let log = proxy.log();
        assert!(log.len() > 1000, "most of them were understood in part: {}", log.len());
        let faults = log.iter().filter(|line| line["error"] == "proxy_internal_error").count();
        assert_eq!(faults, 0);
    }
    assert_eq!(panics.load(Ordering::SeqCst), 0);
    let greeting = Door::Connect.greeting(&target, Login::Nothing, Ask::Tunnel).unwrap();
    for (proxy, header) in [(&plain, &b""[..]), (&balanced, HEADERS[3].1)] {
        let mut client = proxy.connect().await;
        client.send([header, &greeting].concat()).await;
        assert_eq!(client.rest().await, format!("{ESTABLISHED}hi"));
    }
}
