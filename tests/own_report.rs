//! `sami-proxy.internal/report`: who gets it by which door, how often the machine is looked at, and
//! what the doctor of a client makes of it.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "test code"
)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::doors::{Ask, Door, Login, arrive};
use common::process::{Serve, blocking_exchange, run};
use common::{LIMIT, Origin, Proxy, header, schema, settings};
use sami_proxy::diag::ask::Ask as Question;
use sami_proxy::diag::evidence::{Asked, Command, Evidence, Family, Subject};
use sami_proxy::diag::server::{By, Heard, Silence};
use sami_proxy::proxy::Reporter;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

const REQUEST: &str =
    "GET http://sami-proxy.internal/report HTTP/1.1\r\nHost: sami-proxy.internal\r\n\r\n";
const INSIDE: &str = "GET /report HTTP/1.1\r\nHost: sami-proxy.internal\r\n\r\n";
const STRANGER: &str = "PROXY TCP4 81.85.76.1 127.0.0.1 40000 8080\r\n";
const BALANCER: (&str, &str) = ("proxy-protocol-from", "127.0.0.0/8");

/// Looks that end when they are let, and how many there were.
struct Looks {
    count: Arc<AtomicUsize>,
    may_end: Arc<Semaphore>,
}

impl Looks {
    fn new(ends: usize) -> Self {
        let may_end = Arc::new(Semaphore::new(ends));
        Self { count: Arc::default(), may_end }
    }

    fn reporter(&self) -> Reporter {
        let (count, may_end) = (Arc::clone(&self.count), Arc::clone(&self.may_end));
        Reporter::new(move |port| {
            let number = count.fetch_add(1, Ordering::SeqCst);
            let may_end = Arc::clone(&may_end);
            async move {
                may_end.acquire().await.unwrap().forget();
                Some(json!({ "port": port, "look": number }).to_string())
            }
        })
    }

    fn count(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }
}

async fn proxy(flags: &[(&str, &str)], looks: &Looks) -> Proxy {
    Proxy::reporting(settings(flags), Some(looks.reporter())).await
}

fn is_look(text: &str, proxy: &Proxy) {
    let said: Value = serde_json::from_str(text).unwrap();
    assert_eq!(said, json!({ "port": proxy.address.port(), "look": 0 }));
}

#[tokio::test]
async fn it_comes_by_every_door_and_one_look_is_for_all() {
    let looks = Looks::new(1);
    let proxy = proxy(&[], &looks).await;
    let mut peer = proxy.connect().await;
    peer.send(REQUEST).await;
    let (head, body) = peer.message().await;
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert_eq!(header(&head, "content-type"), Some("application/json"));
    is_look(&body, &proxy);
    peer.send(REQUEST.replace("GET", "HEAD")).await;
    let head = peer.head().await;
    assert_eq!(header(&head, "content-length"), Some(&*body.len().to_string()));
    // The connection stays, and nothing came after the head.
    peer.send(REQUEST).await;
    assert_eq!(peer.message().await.1, body);
    for door in Door::tunnels().filter(|door| !door.is_tls()) {
        let asked = door.greeting("sami-proxy.internal:80", Login::Nothing, Ask::Tunnel);
        let Some(greeting) =
            (if door == Door::Socks5Ip || door == Door::Socks4 { None } else { asked })
        else {
            continue;
        };
        let mut peer = arrive(&proxy, door).await.unwrap();
        peer.send(greeting).await;
        peer.exactly(door.granted(Login::Nothing).len()).await;
        peer.send(INSIDE).await;
        assert_eq!(peer.message().await.1, body, "{door:?}");
    }
    let stream = TcpStream::connect(proxy.address).await.unwrap();
    let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(async move { drop(connection.await) });
    let request = http::Request::get("http://sami-proxy.internal/report").body(()).unwrap();
    let (answer, _) = client.send_request(request, true).unwrap();
    let mut answer = timeout(LIMIT, answer).await.unwrap().unwrap();
    assert_eq!(answer.status(), 200);
    let piece = timeout(LIMIT, answer.body_mut().data()).await.unwrap().unwrap().unwrap();
    assert_eq!(piece, body);
    assert_eq!(looks.count(), 1);
}

#[tokio::test]
async fn who_comes_meanwhile_waits_and_who_leaves_changes_nothing() {
    let looks = Looks::new(0);
    let proxy = proxy(&[], &looks).await;
    let mut gone = proxy.connect().await;
    gone.send(REQUEST).await;
    common::until(|| looks.count() == 1).await;
    gone.reset();
    let mut waiting = Vec::new();
    for _ in 0..8 {
        let mut peer = proxy.connect().await;
        peer.send(REQUEST).await;
        waiting.push(peer);
    }
    // Others are served as ever.
    let health = proxy.exchange("GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert!(health.await.starts_with("HTTP/1.1 200 "));
    looks.may_end.add_permits(1);
    for mut peer in waiting {
        is_look(&peer.message().await.1, &proxy);
    }
    assert_eq!(looks.count(), 1);
}

#[tokio::test]
async fn strangers_are_refused_and_nobody_looks_for_them() {
    let looks = Looks::new(1);
    let proxy = proxy(&[BALANCER], &looks).await;
    let mut peer = proxy.connect().await;
    peer.send(STRANGER).await;
    for request in [REQUEST.to_owned(), REQUEST.replace("GET", "HEAD")] {
        peer.send(&request).await;
        let head = peer.head().await;
        assert!(head.starts_with("HTTP/1.1 403 Forbidden\r\n"), "{head}");
        assert!(head.contains("error=http_request_denied; details=\"the report"), "{head}");
        if request.starts_with("GET") {
            let length = header(&head, "content-length").unwrap().parse().unwrap();
            let text = String::from_utf8(peer.exactly(length).await).unwrap();
            assert!(text.contains("--trust-client") && !text.contains("look"), "{text}");
        }
    }
    let mut tunnel = proxy.connect().await;
    tunnel.send(STRANGER).await;
    tunnel.send("CONNECT sami-proxy.internal:80 HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(tunnel.head().await, common::ESTABLISHED);
    tunnel.send(INSIDE).await;
    assert!(tunnel.message().await.0.starts_with("HTTP/1.1 403 "));
    assert_eq!(looks.count(), 0);
    // One of them is let in.
    let flags = [BALANCER, ("trust-client", "81.85.76.0/24")];
    let proxy = Proxy::reporting(settings(&flags), Some(looks.reporter())).await;
    let mut peer = proxy.connect().await;
    peer.send(STRANGER).await;
    peer.send(REQUEST).await;
    is_look(&peer.message().await.1, &proxy);
}

#[tokio::test]
async fn credentials_are_wanted_where_they_are_configured() {
    let looks = Looks::new(1);
    let proxy = proxy(&[("auth", "sami:secret")], &looks).await;
    let mut peer = proxy.connect().await;
    peer.send(REQUEST).await;
    assert!(peer.message().await.0.starts_with("HTTP/1.1 407 "));
    assert_eq!(looks.count(), 0);
    let login = "Host: x\r\nProxy-Authorization: Basic c2FtaTpzZWNyZXQ=";
    peer.send(REQUEST.replace("Host: sami-proxy.internal", login)).await;
    is_look(&peer.message().await.1, &proxy);
}

#[tokio::test]
async fn a_look_that_fails_is_no_report() {
    let none = Reporter::new(|_| async { None });
    let proxy = Proxy::reporting(settings(&[]), Some(none)).await;
    let mut peer = proxy.connect().await;
    peer.send(REQUEST).await;
    let (head, _) = peer.message().await;
    assert!(head.starts_with("HTTP/1.1 503 ") && header(&head, "retry-after").is_some(), "{head}");
    let proxy = Proxy::start(&[]).await;
    let mut peer = proxy.connect().await;
    peer.send(REQUEST).await;
    assert!(peer.message().await.0.starts_with("HTTP/1.1 404 "));
}

/// What a client's doctor has heard of the other end.
async fn heard(proxy: &Proxy) -> Option<(By, Heard)> {
    let origin = Origin::new().await;
    let subject = Subject {
        host: proxy.address.ip().to_string(),
        port: proxy.address.port(),
        family: Family::Any,
    };
    let targets = vec![format!("http://{}/", origin.address)];
    let asked = Asked { command: Command::Doctor, targets, repeats: 1, ..Asked::default() };
    let question = Question { asked, ..Question::port(subject) };
    let stop = CancellationToken::new();
    let looking = sami_proxy::diag::run::run(question, LIMIT / 4, stop, |_| {});
    let (evidence, ()) = tokio::join!(looking, async { drop(origin) });
    evidence.server.map(|it| (it.by, it.heard))
}

fn report(evidence: &Evidence) -> String {
    json!({ "schema": 1, "command": "doctor", "evidence": evidence }).to_string()
}

#[tokio::test]
async fn the_doctor_of_a_client_asks_for_it() {
    let case = include_str!("cases/container-dns-broken/evidence.json");
    let server: Evidence = serde_json::from_str(case).unwrap();
    let text = report(&server);
    let reporter = Reporter::new(move |_| std::future::ready(Some(text.clone())));
    let proxy = Proxy::reporting(settings(&[]), Some(reporter)).await;
    let (by, said) = heard(&proxy).await.unwrap();
    let Heard::Evidence(evidence) = said else { panic!("{said:?}") };
    assert_eq!((by, evidence.facts.len()), (By::Proxy, server.facts.len()));
    assert_eq!(evidence.facts[0].reference.0, "s1");
    assert_eq!(evidence.facts[0].data, server.facts[0].data);
}

#[tokio::test]
async fn why_there_is_none_is_known() {
    let saying = |text: &'static str| {
        Some(Reporter::new(move |_| std::future::ready(Some(text.to_owned()))))
    };
    let stranger = [("auth-file", "/dev/null")];
    let cases = [
        (None, Silence::NoReport),
        (saying("<html>"), Silence::Unreadable),
        (saying("{\"schema\":2}"), Silence::OtherVersion),
        (Some(Reporter::new(|_| async { None })), Silence::Failed),
    ];
    for (reporter, expected) in cases {
        let proxy = Proxy::reporting(settings(&[]), reporter).await;
        let said = heard(&proxy).await;
        assert_eq!(said, Some((By::Proxy, Heard::Nothing(expected))));
    }
    // Whom the proxy does not let in can't ask it.
    let proxy = Proxy::reporting(settings(&stranger), saying("{}")).await;
    assert_eq!(heard(&proxy).await, None);
}

#[test]
fn the_program_reports_on_its_machine_and_keeps_its_secrets() {
    let flags = ["--auth", "sami:geheimnis", "--workers", "1"];
    let serve = Serve::start(&flags);
    let login = "Proxy-Authorization: Basic c2FtaTpnZWhlaW1uaXM=\r\nConnection: close\r\n\r\n";
    let request = REQUEST.replacen("\r\n\r\n", &format!("\r\n{login}"), 1);
    let answer = blocking_exchange(serve.address, request.as_bytes());
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(!body.contains("geheim") && !body.contains("c2FtaTpn"), "{body}");
    let document: Value = serde_json::from_str(body).unwrap();
    schema::check(&schema::of_reports(), &document).unwrap();
    let role = document["role"].as_str().unwrap();
    assert!(["host", "container"].contains(&role), "{role}");
    assert!(document["target"].as_str().unwrap().ends_with(&format!(":{}", serve.address.port())));
    if role == "container" {
        let checks = document["checks"].as_array().unwrap();
        let inside = checks.iter().find(|it| it["id"] == "container-inside").unwrap();
        let serving = &inside["evidence"]["serving"];
        assert_eq!(serving["process"], serve.pid());
        let command: Vec<&str> = serving["command"].as_array().unwrap()[1..]
            .iter()
            .map(|it| it.as_str().unwrap())
            .collect();
        let shown = ["serve", "--listen", "127.0.0.1:0", "--auth", "…", "--workers", "1"];
        assert_eq!(command, shown);
        // It does not ask itself.
        assert_eq!(inside["evidence"].get("answer"), None);
    }
    // And the doctor of a client has it all.
    let proxy = format!("http://sami:geheimnis@{}", serve.address);
    let target = ["--target", "http://127.0.0.1:1/"];
    let output = run(&[&["doctor", &proxy, "--json"], &target[..]].concat());
    let text = String::from_utf8(output.stdout).unwrap();
    let document: Value = serde_json::from_str(&text).unwrap();
    let there = &document["evidence"]["server"]["heard"]["evidence"];
    assert_eq!(there["asked"]["role"], role, "{text}");
    assert!(!text.contains("geheim"));
}
