//! Through a parent proxy: one of our own behind one of our own, or a scripted one.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::too_many_lines,
    clippy::wildcard_enum_match_arm,
    clippy::disallowed_methods,
    reason = "test code"
)]

mod common;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::dns::{NameServer, Say};
use common::{ESTABLISHED, Origin, Peer, Proxy, header, refusing, settings, settings_on};
use hickory_resolver::proto::rr::RecordType;
use tokio::net::{TcpListener, TcpStream};

const LOGIN: (&str, &str) = ("auth", "anna:hunter2");

/// Knows every name below `example.`, as loopback.
async fn all_knowing() -> NameServer {
    NameServer::start(|name, kind, _| match kind {
        RecordType::A if name.ends_with("example.") => {
            Say::Addresses(vec!["127.0.0.1".parse().unwrap()], 60)
        }
        _ => Say::NoSuchName,
    })
    .await
}

/// A proxy behind another one. Only the far one may resolve names and reach loopback.
struct Chain {
    near: Proxy,
    far: Proxy,
    near_names: NameServer,
    far_names: NameServer,
    _state: tempfile::TempDir,
}

impl Chain {
    async fn new(scheme: &str) -> Self {
        let state = tempfile::tempdir().unwrap();
        let (near_names, far_names) = (all_knowing().await, all_knowing().await);
        let dns = far_names.address.to_string();
        let folder = state.path().to_str().unwrap();
        let tls = if scheme == "https" { "true" } else { "false" };
        let far =
            Proxy::start(&[("dns", &dns), LOGIN, ("tls-self-signed", tls), ("state-dir", folder)])
                .await;
        let dns = near_names.address.to_string();
        let url = format!("{scheme}://anna:hunter2@{}", far.address);
        let pin = far.control.pin().map(|pin| pin.to_string());
        let mut flags = vec![("dns", &*dns), ("upstream", &*url)];
        if let Some(pin) = &pin {
            flags.push(("upstream-pin", pin));
        }
        let near = Proxy::run(settings(&flags)).await;
        Self { near, far, near_names, far_names, _state: state }
    }

    /// The door of the far proxy that the last request came through.
    async fn door(&self, requests: usize) -> String {
        let lines = self.far.log_lines(requests).await;
        for line in &lines {
            assert_eq!((&line["method"], &line["user"]), (&"CONNECT".into(), &"anna".into()));
        }
        lines[0]["door"].as_str().unwrap().to_owned()
    }
}

const SCHEMES: [&str; 3] = ["http", "https", "socks5"];

fn connect(target: &str) -> String {
    format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n")
}

/// A proxy whose parent is scripted.
async fn under(parent: &Origin, flags: &[(&str, &str)]) -> Proxy {
    let url = format!("http://{}", parent.address);
    let mut all = vec![("upstream", &*url)];
    all.extend_from_slice(flags);
    Proxy::run(settings(&all)).await
}

fn bad_gateway(answer: &str, error: &str, words: &[&str]) {
    assert!(answer.starts_with("HTTP/1.1 502 Bad Gateway\r\n"), "{answer}");
    let status = header(answer, "proxy-status").unwrap();
    assert!(status.starts_with(&format!("sami-proxy; error={error}; details=\"")), "{answer}");
    for word in words {
        assert!(status.contains(word), "{word}: {answer}");
    }
    assert!(header(answer, "proxy-authenticate").is_none(), "{answer}");
}

#[tokio::test]
async fn tunnels_requests_and_socks_clients_go_through_every_kind_of_parent() {
    for scheme in SCHEMES {
        let chain = Chain::new(scheme).await;
        let origin = Origin::new().await;
        let target = format!("target.example:{}", origin.address.port());

        let mut client = chain.near.connect().await;
        client.send(connect(&target) + "early").await;
        let mut server = origin.accept().await;
        assert_eq!(client.head().await, ESTABLISHED, "{scheme}");
        assert_eq!(server.exactly(5).await, b"early");
        server.send("answer").await;
        assert_eq!(client.exactly(6).await, b"answer");
        client.finish().await;
        assert_eq!(server.rest().await, "");
        server.send("after the half-close").await;
        server.finish().await;
        assert_eq!(client.rest().await, "after the half-close");

        let mut client = chain.near.connect().await;
        let request = format!("POST http://{target}/p?q HTTP/1.1\r\nHost: x\r\n");
        client.send(request + "Content-Length: 4\r\n\r\nbody").await;
        let mut server = origin.accept().await;
        let head = server.head().await;
        assert!(head.starts_with("POST /p?q HTTP/1.1\r\n"), "{scheme}: {head}");
        assert!(!head.to_lowercase().contains("proxy-auth"), "{head}");
        assert_eq!(header(&head, "host"), Some(&*target));
        assert_eq!(server.exactly(4).await, b"body");
        server.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi").await;
        assert_eq!(client.message().await.1, "hi");
        drop((client, server));

        let mut client = chain.near.connect().await;
        let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n";
        client.send(format!("GET http://{target}/ HTTP/1.1\r\nHost: x\r\n{upgrade}")).await;
        let mut server = origin.accept().await;
        assert!(server.head().await.contains("Upgrade: websocket\r\n"));
        let switch =
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade";
        server.send(format!("{switch}\r\n\r\nfirst frame")).await;
        assert!(client.head().await.starts_with("HTTP/1.1 101 "));
        assert_eq!(client.exactly(11).await, b"first frame");
        client.send("frame").await;
        assert_eq!(server.exactly(5).await, b"frame");
        drop((client, server));

        let mut client = chain.near.connect().await;
        let port = origin.address.port().to_be_bytes();
        let request = [b"\x05\x01\x00\x05\x01\x00\x03\x0etarget.example", &port[..], b"early"];
        client.send(request.concat()).await;
        let mut server = origin.accept().await;
        assert_eq!(client.exactly(12).await[..4], [5, 0, 5, 0], "{scheme}");
        assert_eq!(server.exactly(5).await, b"early");
        drop((client, server));

        assert_eq!(chain.near_names.questions(), 0, "{scheme}: names reach the parent");
        assert!(chain.far_names.questions() > 0);
        let expected = match scheme {
            "http" => "http",
            "https" => "https",
            _ => "socks5",
        };
        assert_eq!(chain.door(4).await, expected);
    }
}

#[tokio::test]
async fn bulk_and_resets_pass_through() {
    for scheme in SCHEMES {
        let chain = Chain::new(scheme).await;
        let origin = Origin::new().await;
        let target = format!("target.example:{}", origin.address.port());
        let open = async || {
            let mut client = chain.near.connect().await;
            client.send(connect(&target)).await;
            let server = origin.accept().await;
            assert_eq!(client.head().await, ESTABLISHED);
            (client, server)
        };
        let (mut client, mut server) = open().await;
        let bytes: Vec<u8> = (0..2 << 20).map(|at: u32| at.to_le_bytes()[1] ^ 7).collect();
        let sending = async {
            server.send(&bytes).await;
            server.finish().await;
        };
        let ((), seen) = tokio::join!(sending, client.exactly(bytes.len()));
        assert!(seen == bytes, "{scheme}");
        assert_eq!(client.rest().await, "");
        drop((client, server));

        let (mut client, mut server) = open().await;
        server.send("half an ans").await;
        assert_eq!(client.exactly(11).await, b"half an ans");
        server.reset();
        assert_eq!(client.until_reset().await, b"", "{scheme}");
        let (mut client, mut server) = open().await;
        client.send("x").await;
        assert_eq!(server.exactly(1).await, b"x");
        client.reset();
        assert_eq!(server.until_reset().await, b"", "{scheme}");
    }
}

#[tokio::test]
async fn policy_is_our_own_before_it_is_the_parents() {
    let parent = Origin::new().await;
    let names = all_knowing().await;
    let dns = names.address.to_string();
    let proxy = under(&parent, &[("dns", &dns), ("deny-to", ".denied.example,8.8.8.8")]).await;
    for (target, error) in [
        ("a.denied.example:443", "http_request_denied"),
        ("mail.example:25", "http_request_denied"),
        ("8.8.8.8:443", "http_request_denied"),
        ("10.0.0.1:443", "destination_ip_prohibited"),
        ("127.0.0.1:443", "destination_ip_prohibited"),
        ("[::ffff:169.254.169.254]:80", "destination_ip_prohibited"),
    ] {
        let plain =
            format!("GET http://{target}/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        for request in [connect(target), plain] {
            let answer = proxy.exchange(request).await;
            assert!(answer.starts_with("HTTP/1.1 403 "), "{target}: {answer}");
            assert!(answer.contains(&format!("error={error};")), "{target}: {answer}");
        }
    }
    let balanced = under(&parent, &[("proxy-protocol-from", "127.0.0.0/8")]).await;
    let stranger = format!("PROXY TCP4 81.85.76.1 127.0.0.1 1 2\r\n{}", connect("a.example:443"));
    let answer = balanced.exchange(stranger).await;
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    assert!(parent.is_untouched());
    assert_eq!(names.questions(), 0);
}

#[tokio::test]
async fn nothing_of_the_client_is_sent_before_the_parent_agrees() {
    let parent = Origin::new().await;
    let proxy = under(&parent, &[]).await;
    let request = connect("target.example:443") + "GET /evil HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut client = proxy.connect().await;
    client.send(&request).await;
    let mut raw = parent.accept().await;
    let head = raw.head().await;
    assert!(head.starts_with("CONNECT target.example:443 HTTP/1.1\r\n"), "{head}");
    // What was sent ahead would come before the end.
    raw.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!(raw.rest().await, "");
    bad_gateway(&client.rest().await, "destination_unavailable", &["403"]);

    let mut client = proxy.connect().await;
    client.send(&request).await;
    let mut raw = parent.accept().await;
    raw.head().await;
    assert_eq!(raw.buffer, b"");
    raw.send("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n220 hello").await;
    assert_eq!(client.head().await, ESTABLISHED);
    assert_eq!(client.exactly(9).await, b"220 hello", "the target speaks first");
    assert_eq!(raw.head().await, "GET /evil HTTP/1.1\r\nHost: x\r\n\r\n");
}

#[tokio::test]
async fn what_the_parent_says_reaches_the_client() {
    let parent = Origin::new().await;
    let proxy = under(&parent, &[]).await;
    let says = async |answer: &str| {
        let mut client = proxy.connect().await;
        client.send(connect("target.example:443")).await;
        let mut raw = parent.accept().await;
        raw.head().await;
        raw.send(answer).await;
        raw.finish().await;
        client.rest().await
    };
    let refusal = "HTTP/1.1 403 Not For You\r\nProxy-Status: up; error=http_request_denied; \
                   details=\"Say \\\"please\\\".\"\r\nContent-Length: 2\r\n\r\nno";
    let answer = says(refusal).await;
    bad_gateway(
        &answer,
        "destination_unavailable",
        &["403", "Not For You", "Say \\\"please\\\".\""],
    );
    let body = answer.split_once("\r\n\r\n").unwrap().1;
    assert!(body.lines().count() == 2 && body.contains("Say \"please\"."), "{body}");
    let wanted = "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=x\r\n\
                  Content-Length: 0\r\n\r\n";
    bad_gateway(&says(wanted).await, "destination_unavailable", &["407", "parent proxy"]);
    bad_gateway(
        &says("HTTP/1.1 302 Found\r\nLocation: http://x/\r\n\r\n").await,
        "destination_unavailable",
        &["302"],
    );
    bad_gateway(&says("SSH-2.0-x\r\n\r\n").await, "http_protocol_error", &["malformed"]);
    bad_gateway(&says("").await, "connection_terminated", &["closed"]);
    // A plain request hears the same, and its client may ask again.
    let mut client = proxy.connect().await;
    client.send("GET http://target.example/ HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let mut raw = parent.accept().await;
    assert!(raw.head().await.starts_with("CONNECT target.example:80 HTTP/1.1\r\n"));
    raw.send(wanted).await;
    bad_gateway(&client.message().await.0, "destination_unavailable", &["407"]);
    client.send("GET http://sami-proxy.internal/whoami HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(client.head().await.starts_with("HTTP/1.1 200 "));
    // SOCKS has no words for it.
    let mut client = proxy.connect().await;
    client.send(b"\x05\x01\x00\x05\x01\x00\x03\x09a.example\x01\xbb").await;
    let mut raw = parent.accept().await;
    raw.head().await;
    raw.send(wanted).await;
    assert_eq!(client.exactly(4).await, [5, 0, 5, 1]);
}

#[tokio::test]
async fn what_the_target_says_before_a_plain_request_is_not_lost() {
    let parent = Origin::new().await;
    let proxy = under(&parent, &[]).await;
    let mut client = proxy.connect().await;
    client.send("GET http://target.example/ HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let mut raw = parent.accept().await;
    raw.head().await;
    raw.send("HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 408 Request Timeout\r\nConnection: clo").await;
    assert!(raw.head().await.starts_with("GET / HTTP/1.1\r\n"));
    raw.send("se\r\nContent-Length: 4\r\n\r\nlate").await;
    let (head, body) = client.message().await;
    assert!(head.starts_with("HTTP/1.1 408 ") && body == "late", "{head}{body}");
}

#[tokio::test]
async fn wrong_credentials_for_the_parent_are_a_502() {
    let far = Proxy::start(&[LOGIN]).await;
    for (url, word) in [
        (format!("http://anna:wrong@{}", far.address), "407"),
        (format!("http://{}", far.address), "407"),
        (format!("socks5://anna:wrong@{}", far.address), "login"),
        (format!("socks5://{}", far.address), "login method"),
    ] {
        let near = Proxy::run(settings(&[("upstream", &url)])).await;
        let answer = near.exchange(connect("a.example:443")).await;
        bad_gateway(&answer, "destination_unavailable", &[word]);
        assert!(!answer.contains("anna") && !answer.contains("wrong@"), "{answer}");
    }
}

#[tokio::test]
async fn a_parent_that_is_not_there_is_502_and_a_silent_one_504() {
    let gone = format!("http://{}", refusing().await);
    let proxy = Proxy::run(settings(&[("upstream", &gone)])).await;
    let answer = proxy.exchange(connect("a.example:443")).await;
    bad_gateway(&answer, "connection_refused", &["parent proxy"]);
    let names = NameServer::start(|_, _, _| Say::NoSuchName).await;
    let dns = names.address.to_string();
    let proxy =
        Proxy::run(settings(&[("upstream", "http://parent.example:1"), ("dns", &dns)])).await;
    let answer = proxy.exchange(connect("a.example:443")).await;
    bad_gateway(&answer, "dns_error", &["parent proxy"]);
    let silent = Origin::new().await;
    for scheme in SCHEMES {
        let url = format!("{scheme}://{}", silent.address);
        let flags = [("upstream", &*url), ("connect-timeout", "300ms")];
        let proxy = Proxy::run(settings(&flags)).await;
        let answer = proxy.exchange(connect("a.example:443")).await;
        assert!(answer.starts_with("HTTP/1.1 504 "), "{scheme}: {answer}");
        assert!(
            answer.contains("error=connection_timeout") && answer.contains("parent"),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn a_parent_with_another_certificate_is_told_nothing() {
    let (state, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let start = async |folder: &tempfile::TempDir| {
        let folder = folder.path().to_str().unwrap();
        Proxy::start(&[LOGIN, ("tls-self-signed", "true"), ("state-dir", folder)]).await
    };
    let (far, stranger) = (start(&state).await, start(&other).await);
    let (found, expected) = (far.control.pin().unwrap(), stranger.control.pin().unwrap());
    let url = format!("https://anna:hunter2@{}", far.address);
    let pin = expected.to_string();
    let near = Proxy::run(settings(&[("upstream", &url), ("upstream-pin", &pin)])).await;
    let answer = near.exchange(connect("a.example:443")).await;
    let pins = [found.to_string(), pin];
    bad_gateway(&answer, "tls_certificate_error", &["pin", &pins[0], &pins[1]]);
    let near = Proxy::run(settings(&[("upstream", &url)])).await;
    let answer = near.exchange(connect("a.example:443")).await;
    bad_gateway(&answer, "tls_certificate_error", &["not trusted"]);
    assert!(far.log().is_empty(), "{:?}", far.log());
}

#[tokio::test]
async fn exceptions_go_past_the_parent() {
    let parent = Origin::new().await;
    let names = all_knowing().await;
    let dns = names.address.to_string();
    let direct = ".direct.example,127.0.0.0/8";
    let proxy =
        under(&parent, &[("dns", &dns), ("no-upstream", direct), ("allow-private", "true")]).await;
    let origin = Origin::new().await;
    let port = origin.address.port();
    for host in ["a.direct.example", "127.0.0.1"] {
        let mut client = proxy.connect().await;
        client.send(connect(&format!("{host}:{port}"))).await;
        assert_eq!(client.head().await, ESTABLISHED, "{host}");
        origin.accept().await;
    }
    assert!(parent.is_untouched() && names.questions() == 2);
    // A name is compared, not looked up: its address makes no exception.
    let mut client = proxy.connect().await;
    client.send(connect(&format!("other.example:{port}"))).await;
    let head = parent.accept().await.head().await;
    assert!(head.starts_with("CONNECT other.example:"), "{head}");
    assert!(origin.is_untouched() && names.questions() == 2);
}

#[tokio::test]
async fn a_kept_connection_through_a_parent_is_one_tunnel() {
    let chain = Chain::new("http").await;
    let origin = Origin::new().await;
    let target = format!("target.example:{}", origin.address.port());
    let mut client = chain.near.connect().await;
    let request = format!("GET http://{target}/ HTTP/1.1\r\nHost: x\r\n\r\n");
    client.send(&request).await;
    let mut server = origin.accept().await;
    for round in 1..=3 {
        let head = server.head().await;
        assert!(head.starts_with("GET / HTTP/1.1\r\n"), "{head}");
        server.send(format!("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{round}")).await;
        assert_eq!(client.message().await.1, round.to_string());
        if round < 3 {
            client.send(&request).await;
        }
    }
    assert!(origin.is_untouched(), "one connection");
}

#[tokio::test]
async fn a_proxy_is_not_its_own_parent() {
    let address = refusing().await.to_string();
    for scheme in ["http", "socks5"] {
        let url = format!("{scheme}://{address}");
        let proxy = Proxy::run(settings_on(&address, &[("upstream", &url)])).await;
        let answer = proxy.exchange(connect("a.example:443")).await;
        bad_gateway(&answer, "proxy_loop_detected", &["parent proxy"]);
        proxy.control.drain();
        // The address is free again.
        while let Ok(stream) = TcpStream::connect(proxy.address).await {
            drop(stream);
            tokio::task::yield_now().await;
        }
    }
}

/// What leads to `to` without being there: a published port, a load balancer. Counts.
async fn detour(listener: TcpListener, to: SocketAddr, count: Arc<AtomicUsize>) {
    while let Ok((mut from, _)) = listener.accept().await {
        // A loop is found long before; without that the machine must survive.
        if count.fetch_add(1, Ordering::SeqCst) >= 40 {
            continue;
        }
        tokio::spawn(async move {
            let mut to = TcpStream::connect(to).await.unwrap();
            drop(tokio::io::copy_bidirectional(&mut from, &mut to).await);
        });
    }
}

#[tokio::test]
async fn proxies_that_are_each_others_parents_notice_it() {
    for length in [1, 2, 3] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let count = Arc::new(AtomicUsize::new(0));
        let first_parent = format!("http://{}", listener.local_addr().unwrap());
        let first = Proxy::run(settings(&[("upstream", &first_parent)])).await;
        let mut others: Vec<Proxy> = Vec::new();
        for _ in 1..length {
            let next = others.last().unwrap_or(&first).address;
            let url = format!("http://{next}");
            others.push(Proxy::run(settings(&[("upstream", &url)])).await);
        }
        let last = others.last().unwrap_or(&first).address;
        tokio::spawn(detour(listener, last, Arc::clone(&count)));
        let answer = first.exchange(connect("a.example:443")).await;
        bad_gateway(&answer, "destination_unavailable", &["502", "passed this proxy before"]);
        assert_eq!(count.load(Ordering::SeqCst), 1, "{length}");
        let plain = "GET http://a.example/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        bad_gateway(&first.exchange(plain).await, "destination_unavailable", &["passed this"]);
        assert_eq!(count.load(Ordering::SeqCst), 2, "{length}");
        let mut client = first.connect().await;
        client.send(b"\x05\x01\x00\x05\x01\x00\x03\x09a.example\x01\xbb").await;
        assert_eq!(client.exactly(4).await, [5, 0, 5, 1]);
        assert_eq!(count.load(Ordering::SeqCst), 3, "{length}");
    }
}

#[tokio::test]
async fn the_way_that_a_request_has_come_is_told_to_the_parent() {
    let parent = Origin::new().await;
    let proxy = under(&parent, &[]).await;
    let asks = async |via: &str| {
        let mut client: Peer = proxy.connect().await;
        let request = format!("CONNECT a.example:443 HTTP/1.1\r\nHost: x\r\n{via}\r\n");
        client.send(request).await;
        (parent.accept().await.head().await, client)
    };
    let (head, _client) = asks("").await;
    let own = header(&head, "via").unwrap().to_owned();
    assert!(own.starts_with("1.1 sami-proxy-") && !own.contains(','), "{head}");
    let (head, _client) = asks("Via: 1.0 one,, 1.1 two (a comment)\r\nvia: 1.1 three\r\n").await;
    let expected = format!("1.0 one, 1.1 two (a comment), 1.1 three, {own}");
    assert_eq!(header(&head, "via"), Some(&*expected));
    // Seen once, never again.
    let request = format!("CONNECT a.example:443 HTTP/1.1\r\nHost: x\r\nVia: 1.1 x, {own}\r\n\r\n");
    let answer = proxy.exchange(request).await;
    bad_gateway(&answer, "proxy_loop_detected", &["before"]);
    assert!(parent.is_untouched());
}
