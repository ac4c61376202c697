//! Names: what is asked, how often, and what the client hears.

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
use std::time::Duration;

use common::dns::{NameServer, Say};
use common::{ESTABLISHED, Origin, Proxy};
use hickory_resolver::proto::rr::RecordType;

fn loopback() -> Vec<IpAddr> {
    vec!["127.0.0.1".parse().unwrap()]
}

async fn connect(proxy: &Proxy, target: &str) -> String {
    proxy
        .exchange(format!("CONNECT {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
        .await
}

#[tokio::test]
async fn concurrent_questions_are_one_and_answers_are_kept_as_long_as_they_say() {
    let server = NameServer::start(|name, kind, _| match (name, kind) {
        ("kept.example.", RecordType::A) => Say::Addresses(loopback(), 60),
        ("fleeting.example.", RecordType::A) => Say::Addresses(loopback(), 0),
        _ => Say::NoSuchName,
    })
    .await;
    let dns = server.address.to_string();
    let proxy = Proxy::start(&[("dns", &dns)]).await;
    let origin = Origin::new().await;
    let mut clients = Vec::new();
    for _ in 0..50 {
        let mut client = proxy.connect().await;
        let port = origin.address.port();
        client.send(format!("CONNECT kept.example:{port} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
        clients.push(client);
    }
    for client in &mut clients {
        assert_eq!(client.head().await, ESTABLISHED);
    }
    assert_eq!(server.questions(), 2, "one for each family");
    for round in 1..=2 {
        let mut client = proxy.connect().await;
        let port = origin.address.port();
        client.send(format!("CONNECT fleeting.example:{port} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
        assert_eq!(client.head().await, ESTABLISHED);
        assert!(server.questions() > 2 + round - 1, "a TTL of zero is not kept");
    }
}

#[tokio::test]
async fn what_does_not_exist_is_a_502_and_silence_is_a_504() {
    let server = NameServer::start(|name, _, _| match name {
        "broken.example." => Say::Failure,
        "silent.example." => Say::Nothing,
        _ => Say::NoSuchName,
    })
    .await;
    let dns = server.address.to_string();
    let proxy = Proxy::start(&[("dns", &dns), ("connect-timeout", "700ms")]).await;
    let answer = connect(&proxy, "missing.example:443").await;
    assert!(answer.starts_with("HTTP/1.1 502 ") && answer.contains("error=dns_error"), "{answer}");
    let answer = connect(&proxy, "broken.example:443").await;
    assert!(answer.starts_with("HTTP/1.1 502 ") && answer.contains("error=dns_error"), "{answer}");
    let answer = connect(&proxy, "silent.example:443").await;
    assert!(
        answer.starts_with("HTTP/1.1 504 ") && answer.contains("error=dns_timeout"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_silent_aaaa_does_not_hold_up_a_name_that_has_an_a() {
    let server = NameServer::start(|_, kind, _| match kind {
        RecordType::A => Say::Addresses(loopback(), 60),
        _ => Say::Nothing,
    })
    .await;
    let dns = server.address.to_string();
    // Far less than a repetition of the question takes.
    let proxy = Proxy::start(&[("dns", &dns), ("connect-timeout", "1s")]).await;
    let origin = Origin::new().await;
    let mut client = proxy.connect().await;
    client
        .send(format!("CONNECT half.example:{} HTTP/1.1\r\nHost: x\r\n\r\n", origin.address.port()))
        .await;
    assert_eq!(client.head().await, ESTABLISHED);
}

#[tokio::test]
async fn the_second_address_is_tried_when_the_first_refuses() {
    // [58]: nothing listens on ::1 with that port.
    let server = NameServer::start(|_, kind, _| match kind {
        RecordType::AAAA => Say::Addresses(vec!["::1".parse().unwrap()], 60),
        _ => Say::Addresses(loopback(), 60),
    })
    .await;
    let dns = server.address.to_string();
    let origin = Origin::new().await;
    for family in ["auto", "ipv4", "ipv6", "ipv4-only"] {
        let proxy = Proxy::start(&[("dns", &dns), ("prefer-family", family)]).await;
        let mut client = proxy.connect().await;
        client
            .send(format!(
                "CONNECT both.example:{} HTTP/1.1\r\nHost: x\r\n\r\n",
                origin.address.port()
            ))
            .await;
        assert_eq!(client.head().await, ESTABLISHED, "{family}");
    }
    let proxy = Proxy::start(&[("dns", &dns), ("prefer-family", "ipv6-only")]).await;
    let answer = connect(&proxy, &format!("both.example:{}", origin.address.port())).await;
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
}

#[tokio::test]
async fn a_lost_datagram_is_asked_again() {
    let server = NameServer::start(|_, kind, before| match (kind, before) {
        (_, 0) => Say::Nothing,
        (RecordType::A, _) => Say::Addresses(loopback(), 60),
        _ => Say::NoSuchName,
    })
    .await;
    let dns = server.address.to_string();
    let proxy = Proxy::start(&[("dns", &dns)]).await;
    let origin = Origin::new().await;
    let mut client = proxy.connect().await;
    client
        .send(format!(
            "CONNECT lossy.example:{} HTTP/1.1\r\nHost: x\r\n\r\n",
            origin.address.port()
        ))
        .await;
    let head = tokio::time::timeout(Duration::from_secs(8), client.head()).await;
    assert_eq!(head.unwrap(), ESTABLISHED);
}
