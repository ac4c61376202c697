//! Plain HTTP through the proxy: what the origin sees, what the client gets back.
//! The names in brackets are the pitfalls of reference/proxy.md §3.2.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::too_many_lines,
    reason = "test code"
)]

mod common;

use std::time::Duration;

use common::{Origin, Peer, Proxy, header, until};
use tokio::time::timeout;

/// Sends `request` (with `{}` for the origin's address) and gives both ends.
async fn begin(proxy: &Proxy, request: &str) -> (Peer, Peer, Origin) {
    let origin = Origin::new().await;
    let mut client = proxy.connect().await;
    client.send(request.replace("{}", &origin.address.to_string())).await;
    let peer = origin.accept().await;
    (client, peer, origin)
}

const GET: &str = "GET http://{}/ HTTP/1.1\r\nHost: x\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[tokio::test]
async fn the_origin_sees_origin_form_and_its_own_host() {
    // [33, 28, 43]
    let proxy = Proxy::start(&[("auth", "sami:secret")]).await;
    let (_client, mut origin, at) = begin(
        &proxy,
        "GET http://{}/a?b HTTP/1.1\r\nHost: evil.example\r\nProxy-Authorization: Basic c2FtaTpzZWNyZXQ=\r\n\
         Proxy-Connection: keep-alive\r\nConnection: x-hop\r\nX-Hop: 1\r\nX-End: 2\r\n\r\n",
    )
    .await;
    let head = origin.head().await;
    assert!(head.starts_with(&format!("GET /a?b HTTP/1.1\r\nHost: {}\r\n", at.address)), "{head}");
    assert!(head.contains("X-End: 2\r\n") && !head.contains("X-Hop") && !head.contains("evil"));
    assert!(!head.to_lowercase().contains("\nproxy-"), "{head}");
    assert!(header(&head, "via").unwrap().starts_with("1.1 sami-proxy-"), "{head}");
    assert!(!head.to_lowercase().contains("forwarded"), "{head}");
}

#[tokio::test]
async fn requests_on_one_connection_are_served_in_turn_each_to_its_own_host() {
    // [16, 40, 46]
    let proxy = Proxy::start(&[]).await;
    let (first, second) = (Origin::new().await, Origin::new().await);
    let mut client = proxy.connect().await;
    let both = [first.address, second.address]
        .map(|address| format!("GET http://{address}/ HTTP/1.1\r\nHost: x\r\n\r\n"));
    client.send(both.concat()).await;
    let mut one = first.accept().await;
    one.head().await;
    assert!(second.is_untouched(), "the second must wait for the first answer");
    one.send("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none").await;
    let mut two = second.accept().await;
    two.head().await;
    two.send("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\ntwo").await;
    assert_eq!(client.message().await.1, "one");
    assert_eq!(client.message().await.1, "two");
}

#[tokio::test]
async fn empty_lines_before_a_request_are_forgiven_however_they_arrive() {
    let proxy = Proxy::start(&[]).await;
    let mut client = proxy.connect().await;
    for piece in ["\r", "\n", "\r\nGET /healthz HTTP/1.1\r", "\nHost: x\r\n\r\n"] {
        client.send(piece).await;
        // Each piece in a segment of its own.
        tokio::task::yield_now().await;
    }
    assert_eq!(client.message().await.1, "ok\n");
}

#[tokio::test]
async fn every_request_is_authenticated_anew() {
    // [46]
    let proxy = Proxy::start(&[("auth", "sami:secret")]).await;
    let right = GET.replace("\r\n\r\n", "\r\nProxy-Authorization: Basic c2FtaTpzZWNyZXQ=\r\n\r\n");
    let (mut client, mut origin, at) = begin(&proxy, &right).await;
    origin.head().await;
    origin.send(OK).await;
    assert_eq!(client.message().await.1, "ok");
    client.send(GET.replace("{}", &at.address.to_string())).await;
    let (head, _) = client.message().await;
    assert!(head.starts_with("HTTP/1.1 407 "), "{head}");
    assert!(at.is_untouched());
}

#[tokio::test]
async fn what_two_servers_could_read_differently_is_refused_and_never_forwarded() {
    // [20, 21, 22, 24, 36] and Host
    let proxy = Proxy::start(&[]).await;
    let origin = Origin::new().await;
    let heads = [
        "Host: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "Host: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        "Host: x\r\nTransfer-Encoding: chunked,\r\n\r\n0\r\n\r\n",
        "Host: x\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
        "Host: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "Host: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        "Host: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "Host: x\r\nTransfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
        "Host: x\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        "Host: x\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nab",
        "Host: x\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc",
        "Host: x\r\nContent-Length: 2, 2\r\n\r\nab",
        "Host: x\r\nContent-Length: +2\r\n\r\nab",
        "Host: x\r\nContent-Length: 0x2\r\n\r\nab",
        "Host: x\r\nContent-Length:\r\n\r\n",
        "Host: x\r\nContent-Length: 99999999999999999999\r\n\r\n",
        "Host: x\nX: y\n\n",
        "Host: x\r\nX: y\n\r\n",
        "Host: x\r\nX: a\r\n b\r\n\r\n",
        "Host: x\r\n X: a\r\n\r\n",
        "Host: x\r\nX: a\rb\r\n\r\n",
        "Host: x\r\nX: a\0b\r\n\r\n",
        "Host: x\r\nX y\r\n\r\n",
        "Host: x\r\nHost: y\r\n\r\n",
        "X: no-host\r\n\r\n",
    ];
    for head in heads {
        let answer =
            proxy.exchange(format!("POST http://{}/ HTTP/1.1\r\n{head}", origin.address)).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{head:?}: {answer}");
        assert!(answer.contains("Connection: close\r\n"), "{head:?}: {answer}");
        assert!(answer.contains("Proxy-Status: sami-proxy; error=http_request_error"), "{answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{head:?}: {answer}");
    }
    let old = format!(
        "POST http://{}/ HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        origin.address
    );
    assert!(proxy.exchange(old).await.starts_with("HTTP/1.1 400 "));
    for line in [
        "GET  http://{}/ HTTP/1.1",
        "GET http://{}/ HTTP/1.1 ",
        "GET http://{}/ HTTP/2.0",
        " GET http://{}/ HTTP/1.1",
        "GET http://{}/ http/1.1",
    ] {
        let line = line.replace("{}", &origin.address.to_string());
        let answer = proxy.exchange(format!("{line}\r\nHost: x\r\n\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{line:?}: {answer}");
    }
    assert!(origin.is_untouched());
}

#[tokio::test]
async fn other_schemes_and_user_names_are_refused() {
    // [34, 35]
    let proxy = Proxy::start(&[]).await;
    for target in [
        "https://localhost/",
        "ftp://localhost/",
        "http://u:p@localhost/",
        "http://localhost/#f",
        "http:///x",
        "localhost",
        "http://127.1/",
        "http://[fe80::1%25lo]/",
        "http://localhost:99999/",
    ] {
        let answer = proxy.exchange(format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{target}: {answer}");
    }
    assert!(proxy.log().iter().all(|line| !line.to_string().contains("u:p")));
}

#[tokio::test]
async fn malformed_chunks_are_refused_and_the_request_is_never_completed() {
    // [23]
    let proxy = Proxy::start(&[]).await;
    for chunks in [
        "-1\r\n",
        "0x5\r\nabcde\r\n",
        "5 \r\nabcde\r\n",
        "ffffffffffffffff1\r\n",
        "5\nabcde\r\n",
        "5\r\nabcdefgh\r\n",
        "0\r\nbad trailer\r\n\r\n",
    ] {
        let request = format!(
            "POST http://{{}}/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n{chunks}"
        );
        let (mut client, mut origin, _) = begin(&proxy, &request).await;
        let answer = client.rest().await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{chunks:?}: {answer}");
        let seen = timeout(Duration::from_secs(10), async {
            let mut seen = Vec::new();
            while matches!(
                tokio::io::AsyncReadExt::read_buf(&mut origin.stream, &mut seen).await,
                Ok(1..)
            ) {}
            String::from_utf8(seen).unwrap()
        });
        let seen = seen.await.unwrap();
        assert!(!seen.ends_with("0\r\n\r\n"), "{chunks:?}: {seen}");
    }
}

#[tokio::test]
async fn a_truncated_answer_never_looks_complete() {
    let proxy = Proxy::start(&[]).await;
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n",
    ] {
        let (mut client, mut origin, _) = begin(&proxy, GET).await;
        origin.head().await;
        origin.send(answer).await;
        client.head().await;
        origin.finish().await;
        client.until_reset().await;
    }
    // Until the end of the connection: only a reset says that it was cut.
    let (mut client, mut origin, _) = begin(&proxy, GET).await;
    origin.head().await;
    origin.send("HTTP/1.1 200 OK\r\n\r\nhalf").await;
    client.head().await;
    client.exactly(4).await;
    origin.reset();
    client.until_reset().await;
    for line in proxy.log_lines(4).await {
        assert_eq!(line["error"], "http_response_incomplete", "{line}");
    }
}

#[tokio::test]
async fn an_answer_that_breaks_http_is_a_502() {
    let proxy = Proxy::start(&[]).await;
    let cases = [
        ("", "connection_terminated"),
        ("HTTP/1.1 200", "http_response_incomplete"),
        ("garbage\r\n\r\n", "http_protocol_error"),
        ("HTTP/1.1 200 OK\n\n", "http_protocol_error"),
        ("HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", "http_protocol_error"),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
            "http_protocol_error",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "http_protocol_error",
        ),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", "http_protocol_error"),
        ("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n", "http_upgrade_failed"),
    ];
    for (answer, error) in cases {
        let (mut client, mut origin, _) = begin(&proxy, GET).await;
        origin.head().await;
        origin.send(answer).await;
        origin.finish().await;
        let found = client.rest().await;
        assert!(found.starts_with("HTTP/1.1 502 Bad Gateway\r\n"), "{answer:?}: {found}");
        assert!(found.contains(&format!("error={error};")), "{answer:?}: {found}");
    }
}

#[tokio::test]
async fn an_answer_without_a_body_does_not_wait_for_one() {
    // [37]
    let proxy = Proxy::start(&[]).await;
    let cases = [
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"),
        ("HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ("GET", "HTTP/1.1 204 No Content\r\n\r\n"),
        ("GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"),
        ("GET", "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n"),
    ];
    for (method, answer) in cases {
        let (mut client, mut origin, at) = begin(&proxy, &GET.replace("GET", method)).await;
        origin.head().await;
        origin.send(answer).await;
        let head = client.head().await;
        assert!(!head.contains("Connection: close"), "{head}");
        // The connection goes on: the next request is served.
        client.send(GET.replace("{}", &at.address.to_string())).await;
        let promises = answer.contains("-Length") || answer.contains("-Encoding");
        let mut next = if promises { at.accept().await } else { origin };
        next.head().await;
        next.send(OK).await;
        assert_eq!(client.message().await.1, "ok", "{method} {answer:?}");
    }
}

#[tokio::test]
async fn interim_answers_pass_and_the_body_waits_for_100() {
    // [38, 39]
    let proxy = Proxy::start(&[]).await;
    let request =
        "POST http://{}/ HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n";
    let (mut client, mut origin, _) = begin(&proxy, request).await;
    assert_eq!(header(&origin.head().await, "expect"), Some("100-continue"));
    origin
        .send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n")
        .await;
    let hints = client.head().await;
    assert!(hints.starts_with("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n"), "{hints}");
    assert!(client.head().await.starts_with("HTTP/1.1 100 Continue\r\n"));
    client.send("body").await;
    assert_eq!(origin.exactly(4).await, b"body");
    origin.send(OK).await;
    assert_eq!(client.message().await.1, "ok");
}

#[tokio::test]
async fn a_client_of_http_1_0_gets_no_interim_answer_and_no_chunks() {
    // [24, 39]
    let proxy = Proxy::start(&[]).await;
    let request =
        "GET http://{}/ HTTP/1.0\r\nExpect: 100-continue\r\nConnection: keep-alive\r\n\r\n";
    let (mut client, mut origin, _) = begin(&proxy, request).await;
    assert_eq!(header(&origin.head().await, "expect"), None);
    origin.send("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nX: y\r\n\r\n").await;
    let answer = client.rest().await;
    assert!(
        answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nabcde"),
        "{answer}"
    );
    assert!(!answer.contains("chunked") && answer.contains("Connection: close\r\n"), "{answer}");
}

#[tokio::test]
async fn an_early_answer_reaches_a_client_that_is_still_sending() {
    // [38], 413 before the body is read
    let proxy = Proxy::start(&[]).await;
    let request = "POST http://{}/ HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\nbegin";
    let (mut client, mut origin, _) = begin(&proxy, request).await;
    origin.head().await;
    origin.send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig").await;
    let (head, body) = client.message().await;
    assert!(head.starts_with("HTTP/1.1 413 ") && head.contains("Connection: close\r\n"), "{head}");
    assert_eq!(body, "big");
}

#[tokio::test]
async fn a_refusal_with_an_unread_body_is_readable_to_its_end() {
    // [14, 26]: more than what is drained; without a staged close a reset would destroy the answer.
    let proxy = Proxy::start(&[("auth", "sami:secret")]).await;
    let mut client = proxy.connect().await;
    client
        .send("POST http://localhost/ HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n")
        .await;
    client.send(vec![b'x'; 200_000]).await;
    let answer = client.rest().await;
    assert!(
        answer.starts_with("HTTP/1.1 407 ") && answer.contains("Connection: close\r\n"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_refused_request_with_a_body_can_be_repeated_on_the_same_connection() {
    // [26, 27]: what .NET and browsers do, with either framing.
    let proxy = Proxy::start(&[("auth", "sami:secret")]).await;
    for body in [
        "Content-Length: 5\r\n\r\nhello",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nA: b\r\n\r\n",
    ] {
        let origin = Origin::new().await;
        let head = format!("POST http://{}/ HTTP/1.1\r\nHost: x\r\n", origin.address);
        let mut client = proxy.connect().await;
        client.send(format!("{head}{body}")).await;
        let (refusal, text) = client.message().await;
        assert!(refusal.starts_with("HTTP/1.1 407 "), "{refusal}");
        assert_eq!(
            header(&refusal, "proxy-authenticate"),
            Some("Basic realm=\"sami-proxy\", charset=\"UTF-8\"")
        );
        assert_eq!(text.lines().count(), 2);
        assert!(!refusal.contains("Connection: close"), "{refusal}");
        client.send(format!("{head}Proxy-Authorization: basic c2FtaTpzZWNyZXQ=\r\n{body}")).await;
        let mut served = origin.accept().await;
        assert!(served.head().await.starts_with("POST / HTTP/1.1"));
        served.send(OK).await;
        assert_eq!(client.message().await.1, "ok");
    }
}

#[tokio::test]
async fn a_refusal_of_a_client_that_waits_for_100_ends_the_connection() {
    let proxy = Proxy::start(&[("auth", "sami:secret")]).await;
    let answer = proxy.exchange("POST http://localhost/ HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n").await;
    assert!(
        answer.starts_with("HTTP/1.1 407 ") && answer.contains("Connection: close\r\n"),
        "{answer}"
    );
}

#[tokio::test]
async fn every_event_of_a_stream_is_passed_on_at_once() {
    let proxy = Proxy::start(&[]).await;
    let (mut client, mut origin, _) = begin(&proxy, GET).await;
    origin.head().await;
    origin.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    client.head().await;
    for _ in 0..5 {
        origin.send("9\r\ndata: x\n\n\r\n").await;
        assert_eq!(client.exactly(14).await, b"9\r\ndata: x\n\n\r\n");
    }
    origin.send("0\r\nX-Sum: 5\r\nContent-Length: 1\r\n\r\n").await;
    assert_eq!(client.exactly(15).await, b"0\r\nX-Sum: 5\r\n\r\n");
}

#[tokio::test]
async fn a_websocket_upgrade_becomes_a_tunnel_after_the_101_only() {
    // [25]
    let proxy = Proxy::start(&[]).await;
    let request = "GET http://{}/ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\n";
    let (mut client, mut origin, _) = begin(&proxy, &format!("{request}early")).await;
    let head = origin.head().await;
    assert!(head.contains("Upgrade: websocket\r\nConnection: Upgrade\r\n"), "{head}");
    assert!(head.contains("Sec-WebSocket-Key: k\r\n"));
    assert!(origin.buffer.is_empty(), "nothing before the 101");
    origin.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: a\r\n\r\nfirst").await;
    let head = client.head().await;
    assert!(
        head.starts_with("HTTP/1.1 101 ") && head.contains("Sec-WebSocket-Accept: a"),
        "{head}"
    );
    assert_eq!(client.exactly(5).await, b"first");
    assert_eq!(origin.exactly(5).await, b"early");
    client.send("GET / HTTP/1.1\r\n\r\n").await;
    assert_eq!(origin.exactly(18).await, b"GET / HTTP/1.1\r\n\r\n");
}

#[tokio::test]
async fn a_refused_upgrade_stays_http() {
    // [25]: 200 is no upgrade.
    let proxy = Proxy::start(&[]).await;
    let request = "GET http://{}/ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    let (mut client, mut origin, _) = begin(&proxy, request).await;
    origin.head().await;
    origin.send(OK).await;
    assert_eq!(client.message().await.1, "ok");
    assert_eq!(client.message().await.1, "ok\n", "the next bytes were a request");
}

#[tokio::test]
async fn a_request_that_comes_back_is_a_loop() {
    // [55]
    let proxy = Proxy::start(&[]).await;
    let (_client, mut origin, at) = begin(&proxy, GET).await;
    let head = origin.head().await;
    let via = header(&head, "via").unwrap();
    let again = format!(
        "GET http://{}/ HTTP/1.1\r\nHost: x\r\nVia: 1.0 a, {via}\r\nConnection: close\r\n\r\n",
        at.address
    );
    let answer = proxy.exchange(again).await;
    assert!(
        answer.starts_with("HTTP/1.1 502 ") && answer.contains("error=proxy_loop_detected"),
        "{answer}"
    );
    let own = proxy.address;
    for request in [
        format!("GET http://{own}/ HTTP/1.1\r\nHost: x\r\n"),
        format!("CONNECT {own} HTTP/1.1\r\nHost: x\r\n"),
    ] {
        let answer = proxy.exchange(format!("{request}Connection: close\r\n\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    }
}

#[tokio::test]
async fn options_and_trace_stop_where_they_are_told() {
    let proxy = Proxy::start(&[]).await;
    let origin = Origin::new().await;
    for method in ["OPTIONS", "TRACE"] {
        let request = format!(
            "{method} http://{}/ HTTP/1.1\r\nHost: x\r\nMax-Forwards: 0\r\nCookie: secret\r\nConnection: close\r\n\r\n",
            origin.address
        );
        let answer = proxy.exchange(request).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert_eq!(answer.contains("TRACE http://"), method == "TRACE", "{answer}");
        assert!(!answer.contains("secret"), "{answer}");
    }
    assert!(origin.is_untouched());
}

#[tokio::test]
async fn big_heads_have_their_own_statuses() {
    // [41]
    let proxy = Proxy::start(&[]).await;
    let long = "a".repeat(20_000);
    let many = "X: y\r\n".repeat(200);
    let big = format!("X: {}\r\n", "y".repeat(1000)).repeat(80);
    for (request, status) in [
        (format!("GET http://x/{long} HTTP/1.1\r\nHost: x\r\n\r\n"), 414),
        (format!("GET http://x/ HTTP/1.1\r\nHost: x\r\n{many}\r\n"), 431),
        (format!("GET http://x/ HTTP/1.1\r\nHost: x\r\n{big}\r\n"), 431),
    ] {
        let answer = proxy.exchange(request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    }
}

#[tokio::test]
async fn requests_to_the_proxy_itself_are_few() {
    // [67]
    let proxy = Proxy::start(&[("auth", "sami:secret")]).await;
    let answer =
        proxy.exchange("GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert!(
        answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nok\n"),
        "{answer}"
    );
    for line in ["GET /index.php ", "POST /healthz ", "OPTIONS * ", "GET //evil.example/ "] {
        let answer =
            proxy.exchange(format!("{line}HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 404 "), "{line}: {answer}");
    }
    let answer = proxy.exchange("HEAD / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert!(answer.ends_with("\r\n\r\n"), "{answer}");
}

#[tokio::test]
async fn a_client_that_leaves_takes_its_origin_connection_along() {
    let proxy = Proxy::start(&[]).await;
    let (client, mut origin, _) = begin(&proxy, GET).await;
    origin.head().await;
    client.reset();
    origin.until_reset().await;
    assert_eq!(proxy.log_lines(1).await[0]["outcome"], "client_gone");
    until(|| proxy.control.open() == 0).await;
}

#[tokio::test]
async fn a_client_that_half_closes_still_gets_its_answer() {
    let proxy = Proxy::start(&[]).await;
    let (mut client, mut origin, _) = begin(&proxy, GET).await;
    client.finish().await;
    origin.head().await;
    origin.send(OK).await;
    assert!(client.rest().await.ends_with("\r\n\r\nok"));
}

/// One request from a client of its own, answered with `answer` by whoever gets it.
async fn ask(proxy: &Proxy, request: &str, origin: (&Origin, &mut Peer), answer: &str) -> String {
    let (at, peer) = origin;
    let mut client = proxy.connect().await;
    client.send(request.replace("{}", &at.address.to_string())).await;
    peer.head().await;
    peer.send(answer).await;
    client.message().await.1
}

#[tokio::test]
async fn an_origin_connection_is_used_again_by_whoever_may() {
    let proxy = Proxy::start(&[]).await;
    let (_client, mut peer, origin) = begin(&proxy, GET).await;
    peer.head().await;
    peer.send(OK).await;
    for request in [GET, GET, "HEAD http://{}/ HTTP/1.1\r\nHost: x\r\n\r\n", GET] {
        let answer = if request == GET { OK } else { "HTTP/1.1 200 OK\r\n\r\n" };
        ask(&proxy, request, (&origin, &mut peer), answer).await;
    }
    assert!(origin.is_untouched(), "five requests, one connection");
    let lines = proxy.log_lines(5).await;
    assert!(lines[0]["connect_ms"].is_number() && lines[4]["connect_ms"].is_null());
    assert_eq!(lines[0]["egress"], lines[4]["egress"]);
    assert_eq!(lines[4]["dialed"], origin.address.to_string());
}

#[tokio::test]
async fn an_origin_connection_with_an_ambiguous_end_is_never_used_again() {
    // [31, 42]
    let proxy = Proxy::start(&[]).await;
    let post = "POST http://{}/ HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx";
    let ntlm = "GET http://{}/ HTTP/1.1\r\nHost: x\r\nAuthorization: NTLM TlRMTVNTUAAD\r\n\r\n";
    for (request, answer) in [
        (GET, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"),
        (GET, "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok"),
        (GET, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n"),
        (GET, "HTTP/1.1 401 No\r\nWWW-Authenticate: Negotiate\r\nContent-Length: 2\r\n\r\nok"),
        (ntlm, OK),
        (post, OK),
    ] {
        let (mut client, mut peer, origin) = begin(&proxy, request).await;
        peer.head().await;
        peer.send(answer).await;
        client.message().await;
        client.send(GET.replace("{}", &origin.address.to_string())).await;
        let mut fresh = origin.accept().await;
        fresh.head().await;
        fresh.send(OK).await;
        assert_eq!(client.message().await.1, "ok", "{answer}");
    }
}

#[tokio::test]
async fn a_request_that_meets_a_closing_connection_is_sent_again_only_if_it_may_be() {
    let proxy = Proxy::start(&[]).await;
    for last_words in
        ["", "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"]
    {
        let (mut client, mut peer, origin) = begin(&proxy, GET).await;
        peer.head().await;
        peer.send(OK).await;
        client.message().await;
        client.send(GET.replace("{}", &origin.address.to_string())).await;
        peer.head().await;
        peer.send(last_words).await;
        peer.finish().await;
        let mut fresh = origin.accept().await;
        fresh.head().await;
        fresh.send(OK).await;
        assert_eq!(client.message().await.1, "ok", "{last_words:?}");
        // What may not be repeated gets a connection of its own, though one is kept.
        let post = "POST http://{}/ HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n";
        client.send(post.replace("{}", &origin.address.to_string())).await;
        let mut own = origin.accept().await;
        assert!(own.head().await.starts_with("POST "));
        own.finish().await;
        let (head, _) = client.message().await;
        assert!(head.starts_with("HTTP/1.1 502 "), "{head}");
        assert!(origin.is_untouched(), "a POST is not sent twice");
    }
}

#[tokio::test]
async fn a_fresh_connection_that_ends_without_a_word_is_not_tried_again() {
    let proxy = Proxy::start(&[]).await;
    let (mut client, mut peer, origin) = begin(&proxy, GET).await;
    peer.head().await;
    peer.finish().await;
    assert!(client.head().await.starts_with("HTTP/1.1 502 "));
    assert!(origin.is_untouched());
}

#[tokio::test]
async fn a_kept_connection_is_no_way_around_the_policy() {
    let proxy = Proxy::start(&[("auth", "a:b"), ("deny", "127.0.0.2")]).await;
    let origin = Origin::new().await;
    let mut client = proxy.connect().await;
    let request = GET.replace("{}", &origin.address.to_string());
    let known = request.replace("\r\n\r\n", "\r\nProxy-Authorization: Basic YTpi\r\n\r\n");
    client.send(&known).await;
    let mut peer = origin.accept().await;
    peer.head().await;
    peer.send(OK).await;
    client.message().await;
    client.send(&request).await;
    assert!(client.message().await.0.starts_with("HTTP/1.1 407 "));
    client.send(&known).await;
    assert!(!peer.head().await.to_lowercase().contains("proxy-authorization"));
    peer.send(OK).await;
    assert_eq!(client.message().await.1, "ok");
}
