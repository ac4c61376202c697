//! Clients that are not on loopback: two network namespaces, a server and a client with public
//! addresses. Nothing in them reaches anything else.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    clippy::print_stdout,
    reason = "test code"
)]

mod common;

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::channel;
use std::time::{Duration, SystemTime};

use common::dns::{NameServer, Say};
use common::{LIMIT, Proxy, settings_on};
use hickory_resolver::proto::rr::RecordType;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const SERVER: &str = "81.85.76.160";
const ORIGIN: &str = "81.85.76.2";
const CLIENT: &str = "81.85.76.1";
const PROXY: &str = "81.85.76.160:8080";

/// Two namespaces with a cable between them; gone when dropped.
struct Cable {
    server: String,
    client: String,
}

impl Cable {
    /// `None`, with a reason printed, where this machine can't.
    fn lay() -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = |role| format!("sami-{role}-{}-{number}", std::process::id());
        let cable = Self { server: name("s"), client: name("c") };
        if ip(&format!("netns add {}", cable.server)).is_err() {
            let must = std::env::var_os("CI").is_some() && rustix::process::getuid().is_root();
            assert!(!must, "root can install iproute2 and make network namespaces");
            println!("skipped: no network namespaces here (they want root and iproute2)");
            return None;
        }
        let (s, c) = (&cable.server, &cable.client);
        for words in [
            format!("netns add {c}"),
            format!("-n {s} link add cable type veth peer name cable netns {c}"),
            format!("-n {s} addr add {SERVER}/24 dev cable"),
            format!("-n {s} addr add {ORIGIN}/24 dev cable"),
            format!("-n {c} addr add {CLIENT}/24 dev cable"),
            format!("-n {s} link set lo up"),
            format!("-n {s} link set cable up"),
            format!("-n {c} link set cable up"),
        ] {
            ip(&words).unwrap();
        }
        Some(cable)
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        // One that was not made can't be taken away.
        drop(ip(&format!("netns del {}", self.server)));
        drop(ip(&format!("netns del {}", self.client)));
    }
}

fn ip(words: &str) -> Result<(), String> {
    let output = Command::new("ip").args(words.split(' ')).output().map_err(|e| e.to_string())?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { Ok(()) } else { Err(format!("ip {words}: {said}")) }
}

/// Moves this thread, and what it opens from now on, into a namespace.
fn enter(name: &str) {
    let namespace = File::open(format!("/run/netns/{name}")).unwrap();
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
}

/// Runs `client` against a proxy with these flags, its name server and an origin.
fn with_proxy(flags: &'static [(&str, &str)], client: impl FnOnce() + Send) {
    let Some(cable) = Cable::lay() else { return };
    let (ready, is_ready) = channel();
    let (stop, is_stopped) = tokio::sync::oneshot::channel::<()>();
    let server = cable.server.clone();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            enter(&server);
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                let names = NameServer::start(names).await;
                let dns = names.address.to_string();
                let mut all = vec![("dns", dns.as_str())];
                all.extend_from_slice(flags);
                let _proxy = Proxy::run(settings_on("0.0.0.0:8080", &all)).await;
                for port in [80, 443, 8443] {
                    tokio::spawn(origin(TcpListener::bind((ORIGIN, port)).await.unwrap()));
                }
                ready.send(()).unwrap();
                drop(is_stopped.await);
            });
        });
        is_ready.recv_timeout(LIMIT).expect("the proxy did not start");
        let name = cable.client.clone();
        let outcome = scope
            .spawn(move || {
                enter(&name);
                client();
            })
            .join();
        drop(stop);
        outcome.unwrap();
    });
}

fn names(name: &str, kind: RecordType, _before: usize) -> Say {
    let address = match name {
        "api.openai.com." | "example.net." => ORIGIN,
        "api.anthropic.com." => "10.0.0.1",
        _ => return Say::NoSuchName,
    };
    match kind {
        RecordType::A => Say::Addresses(vec![address.parse().unwrap()], 60),
        _ => Say::Addresses(Vec::new(), 60),
    }
}

/// Answers everything with the same.
async fn origin(listener: TcpListener) {
    while let Ok((mut stream, _)) = listener.accept().await {
        tokio::spawn(async move {
            let mut some = [0; 1000];
            while matches!(stream.read(&mut some).await, Ok(1..)) {
                let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
                drop(stream.write_all(answer).await);
            }
        });
    }
}

fn ask(request: &str) -> String {
    let mut stream = TcpStream::connect(PROXY).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8(answer).unwrap()
}

/// The status of a tunnel, and the answer in it when it stands.
fn tunnel(target: &str) -> String {
    let mut stream = TcpStream::connect(PROXY).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let head = format!("CONNECT {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\nhello");
    stream.write_all(head.as_bytes()).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn plain(target: &str) -> String {
    ask(&format!("GET http://{target}/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
}

fn reached(answer: &str) -> bool {
    answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\nhi")
}

fn refused(answer: &str, error: &str) -> bool {
    answer.starts_with("HTTP/1.1 403 ") && answer.contains(&format!("error={error};"))
}

#[test]
fn an_unconfigured_proxy_is_useful_to_strangers_and_no_open_relay() {
    with_proxy(&[], || {
        assert!(reached(&tunnel("api.openai.com:443")) && reached(&plain("api.openai.com")));
        for target in
            ["example.net:443", "api.openai.com:8443", "81.85.76.2:443", "missing.example:80"]
        {
            let answer = tunnel(target);
            assert!(refused(&answer, "http_request_denied"), "{target}: {answer}");
            assert!(answer.contains("--auth"), "the way out is named: {answer}");
        }
        assert!(refused(&plain("example.net"), "http_request_denied"));
        assert!(refused(&tunnel("api.anthropic.com:443"), "destination_ip_prohibited"));
    });
}

#[test]
fn trusted_strangers_reach_every_public_host_but_not_the_proxy_itself() {
    for flags in [&[("trust-client", "81.85.76.0/24")], &[("open", "true")]] {
        with_proxy(flags, || {
            assert!(reached(&tunnel("example.net:8443")) && reached(&tunnel("81.85.76.2:443")));
            assert!(refused(&tunnel("127.0.0.1:80"), "destination_ip_prohibited"));
            for own in [PROXY, "81.85.76.2:8080"] {
                assert!(refused(&tunnel(own), "proxy_loop_detected"), "{own}");
            }
        });
    }
}

#[test]
fn one_address_gets_its_share_and_no_more() {
    with_proxy(&[("max-per-client", "3")], || {
        let held: Vec<_> = (0..3).map(|_| TcpStream::connect(PROXY).unwrap()).collect();
        let health = "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        common::process::until(|| ask(health).starts_with("HTTP/1.1 503 "));
        drop(held);
        common::process::until(|| ask(health).starts_with("HTTP/1.1 200 "));
    });
}

#[test]
fn guessing_passwords_gets_slow_and_knowing_one_does_not() {
    with_proxy(&[("auth", "sami:secret")], || {
        let took = |pair: &str| {
            let begun = SystemTime::now();
            let answer = ask(&format!(
                "GET http://api.openai.com/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\nProxy-Authorization: Basic {pair}\r\n\r\n"
            ));
            (answer, begun.elapsed().unwrap())
        };
        for _ in 0..6 {
            assert!(took("c2FtaTp4").0.starts_with("HTTP/1.1 407 "));
        }
        assert!(took("c2FtaTp4").1 > Duration::from_millis(400));
        let (answer, time) = took("c2FtaTpzZWNyZXQ=");
        assert!(reached(&answer) && time < Duration::from_millis(400), "{time:?}: {answer}");
    });
}
