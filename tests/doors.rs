//! Every way in against every way to fail: the answer in the protocol's own words, and the log line.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "test code"
)]

mod common;

use std::net::SocketAddr;
use std::time::Duration;

use Ask::{AddressType, Command, Tunnel};
use Login::{Nothing, Right, Wrong};
use common::dns::{NameServer, Say};
use common::doors::{Ask, Door, Login, arrive};
use common::{LIMIT, Origin, Peer, Proxy, header, settings};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// A failure: what it is called, the flags that lead to it, what the client gives and asks for, and
/// what it hears: status and word of HTTP, SOCKS5, SOCKS4; at last the log. What is empty is not
/// asked for, because the protocol has no words for it. Names in braces are those of [`World`].
struct Row(&'static str, &'static str, (Login, Ask, &'static str), [&'static str; 3], &'static str);

const DENIED: &str = "error=http_request_denied";
const PROHIBITED: &str = "error=destination_ip_prohibited";
const WANTED: &str = "outcome=credentials_wanted";
const MALFORMED: &str = "error=http_request_error";
const UNAVAILABLE: &str = "error=destination_unavailable";

#[rustfmt::skip]
const ROWS: [Row; 32] = [
    Row("mail port", "private", (Nothing, Tunnel, "127.0.0.1:25"), ["403 http_request_denied", "reply 2", "reply 91"], DENIED),
    Row("mail port of a name", "private", (Nothing, Tunnel, "missing.example:587"), ["403 http_request_denied", "reply 2", "reply 91"], DENIED),
    Row("special address", "", (Nothing, Tunnel, "10.0.0.1:443"), ["403 destination_ip_prohibited", "reply 2", "reply 91"], PROHIBITED),
    Row("name of a special address", "", (Nothing, Tunnel, "inside.example:443"), ["403 destination_ip_prohibited", "reply 2", "reply 91"], PROHIBITED),
    Row("denied address", "private deny-to=127.0.0.0/8", (Nothing, Tunnel, "{origin}"), ["403 http_request_denied", "reply 2", "reply 91"], DENIED),
    Row("denied name", "private deny-to=.example", (Nothing, Tunnel, "there.example:443"), ["403 http_request_denied", "reply 2", "reply 91"], DENIED),
    Row("not among the allowed", "private allow-to=other.example", (Nothing, Tunnel, "{origin}"), ["403 http_request_denied", "reply 2", "reply 91"], DENIED),
    Row("own address", "private", (Nothing, Tunnel, "{own}"), ["403 proxy_loop_detected", "reply 2", "reply 91"], "error=proxy_loop_detected"),
    Row("credentials missing", "private auth=sami:secret", (Nothing, Tunnel, "{origin}"), ["407 http_request_denied", "method 255", "reply 93"], WANTED),
    Row("user name without a place for a password", "private auth=sami:secret", (Right, Tunnel, "{origin}"), ["", "", "reply 93"], WANTED),
    Row("credentials wrong", "private auth=sami:secret", (Wrong, Tunnel, "{origin}"), ["407 http_request_denied", "login 1", ""], DENIED),
    Row("credentials right, target refused", "private auth=sami:secret", (Right, Tunnel, "127.0.0.1:25"), ["403 http_request_denied", "reply 2", ""], DENIED),
    Row("credentials that nobody wants", "private", (Wrong, Tunnel, "127.0.0.1:25"), ["403 http_request_denied", "reply 2", "reply 91"], DENIED),
    Row("no such name", "private", (Nothing, Tunnel, "missing.example:443"), ["502 dns_error", "reply 4", "reply 91"], "error=dns_error"),
    Row("broken name", "private", (Nothing, Tunnel, "broken.example:443"), ["502 dns_error", "reply 4", "reply 91"], "error=dns_error"),
    Row("silent name server", "private connect-timeout=300ms", (Nothing, Tunnel, "silent.example:443"), ["504 dns_timeout", "reply 4", "reply 91"], "error=dns_timeout"),
    Row("refused", "private", (Nothing, Tunnel, "{refusing}"), ["502 connection_refused", "reply 5", "reply 91"], "error=connection_refused"),
    Row("no route", "private", (Nothing, Tunnel, "255.255.255.255:443"), ["502 destination_ip_unroutable", "reply 3", "reply 91"], "error=destination_ip_unroutable"),
    Row("silent target", "private connect-timeout=300ms", (Nothing, Tunnel, "{silent}"), ["504 connection_timeout", "reply 6", "reply 91"], "error=connection_timeout"),
    Row("full house", "private max-connections=1 header-timeout=10m", (Nothing, Tunnel, "{origin}"), ["503 connection_limit_reached", "reply 1", "reply 91"], "error=connection_limit_reached"),
    Row("full house, credentials only", "private max-connections=1 header-timeout=10m", (Right, Tunnel, "{origin}"), ["503 connection_limit_reached", "reply 1", "reply 91"], "error=connection_limit_reached"),
    Row("bind", "private", (Nothing, Command(2), "{origin}"), ["", "reply 7", "reply 91"], MALFORMED),
    Row("udp associate", "private", (Nothing, Command(3), "{origin}"), ["", "reply 7", "reply 91"], MALFORMED),
    Row("command of nobody", "private", (Nothing, Command(0xf0), "{origin}"), ["", "reply 7", "reply 91"], MALFORMED),
    Row("unknown address type", "private", (Nothing, AddressType(2), "{origin}"), ["", "reply 8", ""], MALFORMED),
    Row("port 0", "private", (Nothing, Tunnel, "127.0.0.1:0"), ["", "reply 1", "reply 91"], MALFORMED),
    Row("parent down", "private upstream=http://{refusing}", (Nothing, Tunnel, "{origin}"), ["502 connection_refused", "reply 1", "reply 91"], "error=connection_refused"),
    Row("parent silent", "private upstream=socks5://{mute} connect-timeout=300ms", (Nothing, Tunnel, "{origin}"), ["504 connection_timeout", "reply 1", "reply 91"], "error=connection_timeout"),
    Row("parent refuses", "private upstream=http://{stern}", (Nothing, Tunnel, "{origin}"), ["502 destination_unavailable", "reply 1", "reply 91"], UNAVAILABLE),
    Row("socks parent without a method", "private upstream=socks5://{picky}", (Nothing, Tunnel, "there.example:443"), ["502 destination_unavailable", "reply 1", "reply 91"], UNAVAILABLE),
    Row("parent that is none", "private upstream=http://{ssh}", (Nothing, Tunnel, "there.example:443"), ["502 http_protocol_error", "reply 1", "reply 91"], "error=http_protocol_error"),
    Row("parent that hangs up", "private upstream=http://{curt}", (Nothing, Tunnel, "there.example:443"), ["502 connection_terminated", "reply 1", "reply 91"], "error=connection_terminated"),
];

/// Everything that targets and flags may name.
struct World {
    places: Vec<(&'static str, SocketAddr)>,
    state: tempfile::TempDir,
    _names: NameServer,
    _held: (TcpSocket, Origin, TcpListener, TcpListener, Vec<TcpStream>),
}

impl World {
    async fn new() -> Self {
        let names = NameServer::start(|name, _, _| match name {
            "there.example." => Say::Addresses(vec!["127.0.0.1".parse().unwrap()], 60),
            "inside.example." => Say::Addresses(vec!["10.0.0.1".parse().unwrap()], 60),
            "broken.example." => Say::Failure,
            "silent.example." => Say::Nothing,
            _ => Say::NoSuchName,
        })
        .await;
        // Bound and not listening: nobody else gets the port.
        let refusing = TcpSocket::new_v4().unwrap();
        refusing.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let origin = Origin::new().await;
        let mute = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (silent, waiting) = full_listener().await;
        let places = vec![
            ("{dns}", names.address),
            ("{refusing}", refusing.local_addr().unwrap()),
            ("{origin}", origin.address),
            ("{mute}", mute.local_addr().unwrap()),
            ("{silent}", silent.local_addr().unwrap()),
            ("{stern}", parrot(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n").await),
            ("{picky}", parrot(b"\x05\xff").await),
            ("{ssh}", parrot(b"SSH-2.0-OpenSSH_9.9\r\n\r\n").await),
            ("{curt}", parrot(b"").await),
        ];
        let state = tempfile::tempdir().unwrap();
        let held = (refusing, origin, mute, silent, waiting);
        Self { places, state, _names: names, _held: held }
    }

    fn fill(&self, text: &str) -> String {
        self.places
            .iter()
            .fold(text.to_owned(), |text, (name, address)| text.replace(name, &address.to_string()))
    }

    async fn proxy(&self, flags: &str) -> Proxy {
        let flags = self.fill(&format!("{flags} dns={{dns}} tls-self-signed=true"));
        let state = self.state.path().to_str().unwrap();
        let mut all = vec![("state-dir", state)];
        for flag in flags.split_whitespace() {
            all.push(flag.split_once('=').unwrap_or(("allow-private", "true")));
        }
        Proxy::run(settings(&all)).await
    }
}

/// A listener that nobody serves, and so many connections to it that one more is not answered.
async fn full_listener() -> (TcpListener, Vec<TcpStream>) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    for _ in 0..16 {
        match timeout(Duration::from_millis(200), TcpStream::connect(address)).await {
            Ok(connected) => waiting.push(connected.unwrap()),
            Err(_) => return (listener, waiting),
        }
    }
    panic!("the backlog has no end");
}

/// Says one thing to whoever has said anything, and hangs up.
async fn parrot(answer: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let mut peer = Peer::new(stream);
            peer.exactly(3).await;
            peer.send(answer).await;
            peer.finish().await;
            tokio::spawn(async move { peer.whatever_comes().await });
        }
    });
    address
}

/// What the client hears, in short.
async fn hear(proxy: &Proxy, door: Door, greeting: &[u8]) -> String {
    // Under TLS nobody has time to tell it that the house is full.
    let Ok(mut peer) = arrive(proxy, door).await else { return "nothing".to_owned() };
    peer.send(greeting).await;
    let answer = peer.remains().await;
    if door.is_http() { in_http(&answer) } else { in_socks(door, &answer) }
}

/// What a client of HTTP/2 hears that asks for a tunnel.
async fn hear_http2(proxy: &Proxy, target: &str, login: Login) -> String {
    let stream = TcpStream::connect(proxy.address).await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(async move { drop(connection.await) });
    let mut request = http::Request::builder().method(http::Method::CONNECT).uri(target);
    if let Some(credentials) = login.basic() {
        request = request.header("proxy-authorization", credentials);
    }
    let mut client = client.ready().await.unwrap();
    let (answer, _sender) = client.send_request(request.body(()).unwrap(), false).unwrap();
    let answer = timeout(LIMIT, answer).await.unwrap().unwrap();
    let said = answer.headers().get("proxy-status").map_or("", |said| said.to_str().unwrap());
    let word = said.split("error=").nth(1).unwrap_or_default().split(';').next().unwrap();
    let status = answer.status().as_u16();
    assert_eq!(answer.headers().contains_key("proxy-authenticate"), status == 407, "{answer:?}");
    format!("{status} {word}")
}

fn in_http(answer: &[u8]) -> String {
    let text = std::str::from_utf8(answer).unwrap();
    let status = text.split(' ').nth(1).unwrap_or_default();
    let word = header(text, "proxy-status").unwrap_or_default();
    let word = word.split("error=").nth(1).unwrap_or_default();
    assert_eq!(header(text, "proxy-authenticate").is_some(), status == "407", "{text}");
    format!("{status} {}", word.split(';').next().unwrap())
}

fn in_socks(door: Door, answer: &[u8]) -> String {
    match answer {
        [0, reply, 0, 0, 0, 0, 0, 0] if door.is_socks4() => format!("reply {reply}"),
        [5, method] => format!("method {method}"),
        [5, 2, 1, login] => format!("login {login}"),
        [5, 0, rest @ ..] | [5, 2, 1, 0, rest @ ..] => match rest {
            [5, reply, 0, 1, 0, 0, 0, 0, 0, 0] => format!("reply {reply}"),
            _ => format!("{answer:?}"),
        },
        _ => format!("{answer:?}"),
    }
}

async fn check(world: &World, row: &Row) {
    let Row(name, flags, (login, ask, target), [http, socks5, socks4], logged) = *row;
    let proxy = world.proxy(flags).await;
    let target = world.fill(&target.replace("{own}", &proxy.address.to_string()));
    let full = flags.contains("max-connections");
    let held = if full { Some(proxy.connect().await) } else { None };
    if full {
        common::until(|| proxy.control.open() == 1).await;
    }
    let mut lines = 0;
    for door in Door::ALL {
        let expected = match (door.is_http(), door.is_socks4()) {
            (true, _) => http,
            (_, true) => socks4,
            (false, false) => socks5,
        };
        let Some(greeting) = door.greeting(&target, login, ask) else { continue };
        if expected.is_empty() {
            continue;
        }
        let unheard = full && door.is_tls();
        let heard = hear(&proxy, door, &greeting).await;
        assert_eq!(heard, if unheard { "nothing" } else { expected }, "{name} through {door:?}");
        lines += 1;
        let log = proxy.log_lines(lines).await;
        let line = log.last().unwrap();
        let (key, value) = logged.split_once('=').unwrap();
        assert_eq!(line[key], value, "{name} through {door:?}: {line}");
        let said = if unheard { "unknown" } else { door.word() };
        assert_eq!(line["door"], said, "{name} through {door:?}");
        assert_eq!(log.len(), lines, "{name} through {door:?}: one line for each");
        let secret = format!("{log:?}");
        assert!(!secret.contains("secret") && !secret.contains("guessed"), "{secret}");
    }
    // A full house has no place for a connection of HTTP/2 either, and no time to say so.
    if !http.is_empty() && !full {
        let heard = hear_http2(&proxy, &target, login).await;
        assert_eq!(heard, http, "{name} through HTTP/2");
        lines += 1;
        let line = &proxy.log_lines(lines).await[lines - 1];
        let (key, value) = logged.split_once('=').unwrap();
        assert_eq!((&line[key], &line["door"]), (&value.into(), &"h2c".into()), "{name}: {line}");
    }
    assert!(lines >= 2, "{name} is asked of nobody");
    drop(held);
    common::until(|| proxy.control.open() == 0).await;
}

#[tokio::test]
async fn every_failure_is_told_in_the_words_of_every_protocol() {
    let world = std::sync::Arc::new(World::new().await);
    let mut rows = JoinSet::new();
    for row in &ROWS {
        let world = std::sync::Arc::clone(&world);
        rows.spawn(async move { check(&world, row).await });
    }
    let mut failed = 0;
    while let Some(outcome) = rows.join_next().await {
        failed += usize::from(outcome.is_err());
    }
    assert_eq!(failed, 0, "rows, each with a message above");
}
