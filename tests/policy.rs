//! Who may reach what, over sockets: refused means 403 and not one packet sent.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::too_many_lines,
    reason = "test code"
)]

mod common;

use std::net::IpAddr;

use common::dns::{NameServer, Say};
use common::{ESTABLISHED, Origin, Proxy, header, settings};
use hickory_resolver::proto::rr::RecordType;

async fn connect(proxy: &Proxy, target: &str) -> String {
    proxy
        .exchange(format!("CONNECT {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
        .await
}

fn refused(answer: &str, error: &str) -> bool {
    answer.starts_with("HTTP/1.1 403 Forbidden\r\n")
        && answer.contains(&format!("Proxy-Status: sami-proxy; error={error}; details=\""))
        && answer.split_once("\r\n\r\n").unwrap().1.lines().count() == 2
}

#[tokio::test]
async fn no_spelling_of_a_private_address_is_reached() {
    // [51, 52, 53, 57]: the listener would notice a packet; other ranges are judged by the same table.
    let proxy = Proxy::run(settings(&[])).await;
    let origin = Origin::new().await;
    let port = origin.address.port();
    let prohibited = [
        "127.0.0.1",
        "127.9.9.9",
        "0.0.0.0",
        "10.0.0.1",
        "172.17.0.1",
        "192.168.0.1",
        "100.64.0.1",
        "169.254.169.254",
        "192.0.0.192",
        "198.18.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "168.63.129.16",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[64:ff9b:1::1]",
        "[2002:7f00:1::]",
        "[2001::1]",
        "[fd00:ec2::254]",
        "[fe80::1]",
        "[fec0::1]",
        "[ff02::1]",
        "localhost",
    ];
    for host in prohibited {
        let answer = connect(&proxy, &format!("{host}:{port}")).await;
        assert!(refused(&answer, "destination_ip_prohibited"), "{host}: {answer}");
        let request =
            format!("GET http://{host}:{port}/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        let answer = proxy.exchange(request).await;
        assert!(refused(&answer, "destination_ip_prohibited"), "{host}: {answer}");
    }
    for host in
        ["127.1", "2130706433", "0x7f000001", "0177.0.0.1", "0x7f.1", "[::1%25lo]", "[fe80::1%lo]"]
    {
        let answer = connect(&proxy, &format!("{host}:{port}")).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{host}: {answer}");
    }
    assert!(origin.is_untouched());
}

#[tokio::test]
async fn a_name_that_leads_inside_is_refused() {
    let server = NameServer::start(|name, _, _| {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        match name {
            "loopback.example." => Say::Addresses(vec![ip("127.0.0.1"), ip("::1")], 60),
            "inside.example." => Say::Addresses(vec![ip("10.0.0.5"), ip("fd00::5")], 60),
            "mapped.example." => Say::Addresses(vec![ip("::ffff:127.0.0.1")], 60),
            _ => Say::NoSuchName,
        }
    })
    .await;
    let proxy = Proxy::run(settings(&[("dns", &server.address.to_string())])).await;
    let origin = Origin::new().await;
    let port = origin.address.port();
    for name in ["loopback.example", "LoopBack.example.", "inside.example", "mapped.example"] {
        let answer = connect(&proxy, &format!("{name}:{port}")).await;
        assert!(refused(&answer, "destination_ip_prohibited"), "{name}: {answer}");
    }
    assert!(origin.is_untouched());
}

#[tokio::test]
async fn the_address_that_was_judged_is_the_one_that_is_dialed() {
    // [50]: every further question would be answered with an address that is denied.
    let server = NameServer::start(|_, kind, before| match (kind, before) {
        (RecordType::A, 0) => Say::Addresses(vec!["127.0.0.1".parse().unwrap()], 0),
        (RecordType::A, _) => Say::Addresses(vec!["127.0.0.2".parse().unwrap()], 0),
        _ => Say::NoSuchName,
    })
    .await;
    let dns = server.address.to_string();
    let proxy = Proxy::start(&[("dns", &dns), ("deny-to", "127.0.0.2")]).await;
    let origin = Origin::new().await;
    let target = format!("rebind.example:{}", origin.address.port());
    let mut client = proxy.connect().await;
    client.send(format!("CONNECT {target} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
    assert_eq!(client.head().await, ESTABLISHED);
    assert_eq!(server.questions(), 2, "one for each family, and none after the judgement");
    origin.accept().await;
    let answer = connect(&proxy, &target).await;
    assert!(refused(&answer, "http_request_denied"), "{answer}");
    assert!(origin.is_untouched());
}

#[tokio::test]
async fn mail_ports_are_refused_without_a_look_up() {
    let server = NameServer::start(|_, _, _| Say::NoSuchName).await;
    let proxy = Proxy::run(settings(&[("dns", &server.address.to_string())])).await;
    for port in [25, 465, 587] {
        let answer = connect(&proxy, &format!("example.com:{port}")).await;
        assert!(refused(&answer, "http_request_denied"), "{answer}");
    }
    assert_eq!(server.questions(), 0);
}

#[tokio::test]
async fn rules_of_the_operator_hold_for_names_and_addresses() {
    let server = NameServer::start(|name, _, _| match name {
        "a.allowed.example." | "denied.allowed.example." | "other.example." => {
            Say::Addresses(vec!["127.0.0.1".parse().unwrap()], 60)
        }
        _ => Say::NoSuchName,
    })
    .await;
    let origin = Origin::new().await;
    let (dns, port) = (server.address.to_string(), origin.address.port());
    let proxy = Proxy::start(&[
        ("dns", &dns),
        ("allow-to", ".allowed.example,127.0.0.0/8:1"),
        ("deny-to", "denied.allowed.example"),
    ])
    .await;
    for name in ["denied.allowed.example", "other.example", "allowed.example", "127.0.0.1"] {
        let answer = connect(&proxy, &format!("{name}:{port}")).await;
        assert!(refused(&answer, "http_request_denied"), "{name}: {answer}");
    }
    assert!(origin.is_untouched());
    let mut client = proxy.connect().await;
    client.send(format!("CONNECT A.Allowed.Example.:{port} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
    assert_eq!(client.head().await, ESTABLISHED);
}

#[tokio::test]
async fn credentials_open_everything_and_wrong_ones_nothing() {
    // [44, 45, 47]
    let proxy = Proxy::start(&[("auth", "sami:p:ä/%#")]).await;
    let origin = Origin::new().await;
    let head = format!("CONNECT {} HTTP/1.1\r\nHost: x\r\n", origin.address);
    let credentials = |text: &str| {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.encode(text)
    };
    let wrong = ["sami:p", "sami:", "sam:p:ä/%#", "Sami:p:ä/%#", ":", "sami:p:ä/%#x"];
    for pair in wrong {
        let field = format!("Proxy-Authorization: Basic {}\r\n", credentials(pair));
        let answer = proxy.exchange(format!("{head}{field}Connection: close\r\n\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 407 "), "{pair}: {answer}");
        assert!(header(&answer, "proxy-authenticate").unwrap().starts_with("Basic realm="));
    }
    let other = proxy
        .exchange(format!("{head}Proxy-Authorization: Bearer x\r\nConnection: close\r\n\r\n"))
        .await;
    assert!(other.starts_with("HTTP/1.1 407 "), "{other}");
    assert!(origin.is_untouched());
    // The way of .NET: nothing first, then the same on the same connection.
    let mut client = proxy.connect().await;
    client.send(format!("{head}\r\n")).await;
    let (refusal, _) = client.message().await;
    assert!(refusal.starts_with("HTTP/1.1 407 ") && !refusal.contains("Connection: close"));
    let right = credentials("sami:p:ä/%#");
    client.send(format!("{head}Proxy-Authorization: bAsIc {right}\r\n\r\n")).await;
    assert_eq!(client.head().await, ESTABLISHED);
    client.finish().await;
    drop(origin);
    let log = proxy.log();
    let shown = format!("{log:?}");
    assert!(
        !shown.contains("p:ä") && !shown.contains(&right) && !shown.contains("Basic"),
        "{shown}"
    );
    assert!(log.iter().filter(|line| line["status"] == 407).count() == wrong.len() + 2);
}

#[tokio::test]
async fn only_allowed_clients_get_past_accept() {
    let proxy = Proxy::start(&[("allow-client", "10.0.0.0/8")]).await;
    let mut client = proxy.connect().await;
    let mut byte = [0];
    let read = tokio::io::AsyncReadExt::read(&mut client.stream, &mut byte).await;
    assert!(matches!(read, Ok(0) | Err(_)));
}
