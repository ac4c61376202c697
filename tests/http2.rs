//! HTTP/2 clients of the whole proxy, with a real h2 client at one end and raw bytes at the other.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "test code"
)]

mod common;

use std::future::poll_fn;
use std::sync::Arc;

use bytes::Bytes;
use common::{LIMIT, Origin, Peer, Proxy, header, refusing, settings, until};
use h2::client::{Builder, ResponseFuture, SendRequest};
use h2::ext::Protocol;
use h2::{Reason, RecvStream, SendStream};
use http::{Method, Request, Response};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// A connection to the proxy.
struct Client(SendRequest<Bytes>);

impl Client {
    /// With prior knowledge.
    async fn new(proxy: &Proxy) -> Self {
        Self::over(TcpStream::connect(proxy.address).await.unwrap()).await
    }

    async fn over(io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Self {
        // A stream that is not read must not use up what the others may send.
        let mut builder = Builder::new();
        builder.initial_connection_window_size(1 << 20);
        let (client, connection) = builder.handshake(io).await.unwrap();
        tokio::spawn(async move { drop(connection.await) });
        Self(client)
    }

    /// Sends a request; its body is the caller's affair.
    async fn send(&mut self, request: Request<()>) -> (ResponseFuture, SendStream<Bytes>) {
        let mut ready = timeout(LIMIT, self.0.clone().ready()).await.unwrap().unwrap();
        ready.send_request(request, false).unwrap()
    }

    /// Its answer and what is sent to it.
    async fn connect(&mut self, target: &str) -> (Response<RecvStream>, SendStream<Bytes>) {
        let request = Request::builder().method(Method::CONNECT).uri(target).body(()).unwrap();
        let (answer, sender) = self.send(request).await;
        (timeout(LIMIT, answer).await.unwrap().unwrap(), sender)
    }

    async fn tunnel(&mut self, origin: &Origin) -> (RecvStream, SendStream<Bytes>, Peer) {
        let target = origin.address.to_string();
        let (answer, peer) = tokio::join!(self.connect(&target), origin.accept());
        let (answer, sender) = answer;
        assert_eq!(answer.status(), 200);
        (answer.into_body(), sender, peer)
    }

    async fn get(&mut self, uri: &str) -> Response<RecvStream> {
        let request = Request::get(uri).body(()).unwrap();
        let (answer, mut body) = self.send(request).await;
        body.send_data(Bytes::new(), true).unwrap();
        timeout(LIMIT, answer).await.unwrap().unwrap()
    }
}

/// Everything until the end, or until `length` bytes have come.
async fn text(body: &mut RecvStream, length: usize) -> Vec<u8> {
    let mut all = Vec::new();
    while all.len() < length {
        match timeout(LIMIT, body.data()).await.unwrap() {
            Some(Ok(bytes)) => {
                body.flow_control().release_capacity(bytes.len()).unwrap();
                all.extend_from_slice(&bytes);
            }
            Some(Err(error)) => panic!("{error}"),
            None => break,
        }
    }
    all
}

/// How the stream broke.
async fn broken(body: &mut RecvStream) -> Option<Reason> {
    loop {
        match timeout(LIMIT, body.data()).await.unwrap() {
            Some(Ok(_)) => {}
            Some(Err(error)) => return error.reason(),
            None => panic!("it ended in order"),
        }
    }
}

#[tokio::test]
async fn a_tunnel_carries_bytes_both_ways_and_is_closed_by_halves() {
    let (proxy, origin) = (Proxy::start(&[]).await, Origin::new().await);
    let mut client = Client::new(&proxy).await;
    let (mut down, mut up, mut peer) = client.tunnel(&origin).await;
    peer.send("speaks first").await;
    assert_eq!(text(&mut down, 12).await, b"speaks first");
    up.send_data("to you".into(), true).unwrap();
    assert_eq!(peer.rest().await, "to you");
    peer.send("and back").await;
    peer.finish().await;
    assert_eq!(text(&mut down, usize::MAX).await, b"and back");
    let line = &proxy.log_lines(1).await[0];
    assert_eq!((&line["door"], &line["method"]), (&"h2c".into(), &"CONNECT".into()));
    assert_eq!((&line["outcome"], &line["ended"]), (&"ok".into(), &"client/fin".into()));
    assert_eq!((&line["up"], &line["down"]), (&6.into(), &20.into()));
}

#[tokio::test]
async fn many_streams_share_a_connection_and_do_not_mix() {
    let (proxy, origin) = (Proxy::start(&[]).await, Origin::new().await);
    let mut client = Client::new(&proxy).await;
    let mut tunnels = Vec::new();
    for _ in 0..20 {
        tunnels.push(client.tunnel(&origin).await);
    }
    for (number, (_, up, peer)) in tunnels.iter_mut().enumerate() {
        up.send_data(format!("{number:03}").into(), false).unwrap();
        peer.send(format!("down {number:03}")).await;
    }
    for (number, (down, _, peer)) in tunnels.iter_mut().enumerate() {
        assert_eq!(peer.exactly(3).await, format!("{number:03}").into_bytes());
        assert_eq!(text(down, 8).await, format!("down {number:03}").into_bytes());
    }
}

#[tokio::test]
async fn a_reset_is_passed_on_both_ways() {
    let (proxy, origin) = (Proxy::start(&[]).await, Origin::new().await);
    let mut client = Client::new(&proxy).await;
    let (mut down, _up, peer) = client.tunnel(&origin).await;
    peer.reset();
    // RFC 9113 §8.5.
    assert_eq!(broken(&mut down).await, Some(Reason::CONNECT_ERROR));
    let (_down, mut up, mut peer) = client.tunnel(&origin).await;
    up.send_reset(Reason::CANCEL);
    peer.until_reset().await;
    let lines = proxy.log_lines(2).await;
    assert_eq!(lines[0]["error"], "connection_terminated");
    assert_eq!(lines[1]["outcome"], "client_gone");
}

#[tokio::test]
async fn a_client_that_does_not_read_stops_its_target_and_no_other_stream() {
    let (proxy, origin) = (Proxy::start(&[]).await, Origin::new().await);
    let mut client = Client::new(&proxy).await;
    let (mut stuck, _up, mut flood) = client.tunnel(&origin).await;
    let flooding = tokio::spawn(async move {
        let block = vec![7; 1 << 20];
        for _ in 0..64 {
            flood.send(&block).await;
        }
        flood.finish().await;
        flood
    });
    let (mut down, _up, mut peer) = client.tunnel(&origin).await;
    peer.send("fine").await;
    assert_eq!(text(&mut down, 4).await, b"fine");
    assert!(!flooding.is_finished());
    let mut count = 0;
    while let Some(bytes) = timeout(LIMIT, stuck.data()).await.unwrap() {
        let bytes = bytes.unwrap();
        stuck.flow_control().release_capacity(bytes.len()).unwrap();
        assert!(bytes.iter().all(|byte| *byte == 7));
        count += bytes.len();
    }
    assert_eq!(count, 64 << 20);
    drop(flooding.await.unwrap());
}

#[tokio::test]
async fn a_plain_request_is_forwarded_and_judged_like_any_other() {
    let (proxy, origin) = (Proxy::start(&[]).await, Origin::new().await);
    let mut client = Client::new(&proxy).await;
    let uri = format!("http://{}/path?q=1", origin.address);
    let serve = async {
        let mut peer = origin.accept().await;
        let head = peer.head().await;
        peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-One: 1\r\n\r\n5\r\nhello\r\n0\r\n\r\n").await;
        head
    };
    let (mut answer, head) = tokio::join!(client.get(&uri), serve);
    assert!(head.starts_with("GET /path?q=1 HTTP/1.1\r\n"), "{head}");
    assert_eq!(header(&head, "Host"), Some(&*origin.address.to_string()));
    assert!(header(&head, "Via").unwrap().starts_with("1.1 sami-proxy-"));
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["x-one"]),
        (200, &"1".parse().unwrap())
    );
    assert!(!answer.headers().contains_key("transfer-encoding"));
    assert_eq!(text(answer.body_mut(), usize::MAX).await, b"hello");

    let upload = Request::post(&uri).body(()).unwrap();
    let (answer, mut sender) = client.send(upload).await;
    let mut peer = origin.accept().await;
    assert!(peer.head().await.contains("Transfer-Encoding: chunked\r\n"));
    sender.send_data("abc".into(), true).unwrap();
    assert_eq!(peer.exactly(13).await, b"3\r\nabc\r\n0\r\n\r\n");
    peer.send("HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!(timeout(LIMIT, answer).await.unwrap().unwrap().status(), 201);
}

#[tokio::test]
async fn refusals_have_the_status_and_the_word_that_they_have_everywhere() {
    let proxy = Proxy::start(&[("auth", "sami:secret"), ("deny-to", "127.0.0.9")]).await;
    let mut client = Client::new(&proxy).await;
    let (answer, _) = client.connect("127.0.0.1:1").await;
    assert_eq!(answer.status(), 407);
    assert!(answer.headers()["proxy-authenticate"].to_str().unwrap().starts_with("Basic "));
    let nobody = refusing().await.to_string();
    for (target, status, word) in [
        ("127.0.0.9:443", 403, "http_request_denied"),
        ("127.0.0.1:25", 403, "http_request_denied"),
        (&proxy.address.to_string(), 403, "proxy_loop_detected"),
        (&nobody, 502, "connection_refused"),
    ] {
        let request = Request::builder()
            .method(Method::CONNECT)
            .uri(target)
            .header("proxy-authorization", "Basic c2FtaTpzZWNyZXQ=")
            .body(())
            .unwrap();
        let (answer, _sender) = client.send(request).await;
        let mut answer = timeout(LIMIT, answer).await.unwrap().unwrap();
        assert_eq!(answer.status(), status, "{target}");
        let said = answer.headers()["proxy-status"].to_str().unwrap().to_owned();
        assert!(said.contains(&format!("error={word};")), "{said}");
        let words = text(answer.body_mut(), usize::MAX).await;
        assert_eq!(String::from_utf8(words).unwrap().lines().count(), 2);
    }
}

#[tokio::test]
async fn a_websocket_is_asked_for_by_extended_connect() {
    let (proxy, origin) = (Proxy::start(&[]).await, Origin::new().await);
    let mut client = Client::new(&proxy).await;
    // The client must have heard that it may.
    poll_fn(|cx| client.0.poll_ready(cx)).await.unwrap();
    until(|| client.0.is_extended_connect_protocol_enabled()).await;
    let mut request = Request::builder()
        .method(Method::CONNECT)
        .uri(format!("http://{}/chat", origin.address))
        .header("sec-websocket-version", "13")
        .body(())
        .unwrap();
    request.extensions_mut().insert(Protocol::from_static("websocket"));
    let (answer, mut up) = client.send(request).await;
    let mut peer = origin.accept().await;
    let head = peer.head().await;
    assert!(head.starts_with("GET /chat HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("Upgrade: websocket\r\nConnection: Upgrade\r\n"), "{head}");
    assert!(header(&head, "Sec-WebSocket-Key").is_some(), "{head}");
    peer.send(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nhi",
    )
    .await;
    let mut answer = timeout(LIMIT, answer).await.unwrap().unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(text(answer.body_mut(), 2).await, b"hi");
    up.send_data("frame".into(), false).unwrap();
    assert_eq!(peer.exactly(5).await, b"frame");
}

#[tokio::test]
async fn streams_beyond_the_limit_of_connections_are_told_so() {
    let (proxy, origin) = (Proxy::start(&[("max-connections", "3")]).await, Origin::new().await);
    let mut client = Client::new(&proxy).await;
    let one = client.tunnel(&origin).await;
    let two = client.tunnel(&origin).await;
    let (answer, _) = client.connect(&origin.address.to_string()).await;
    assert_eq!(answer.status(), 503);
    assert!(answer.headers().contains_key("retry-after"));
    drop(one);
    until(|| proxy.log().len() >= 2).await;
    let _three = client.tunnel(&origin).await;
    drop(two);
}

#[tokio::test]
async fn draining_finishes_streams_and_takes_no_more() {
    let (proxy, origin) = (Proxy::start(&[]).await, Origin::new().await);
    let mut client = Client::new(&proxy).await;
    let (mut down, mut up, mut peer) = client.tunnel(&origin).await;
    proxy.control.drain();
    up.send_data("still".into(), true).unwrap();
    assert_eq!(peer.rest().await, "still");
    peer.send("here").await;
    peer.finish().await;
    assert_eq!(text(&mut down, usize::MAX).await, b"here");
    until(|| proxy.control.open() == 0).await;
}

#[tokio::test]
async fn rapid_resets_end_the_connection_and_not_the_proxy() {
    let (proxy, origin) = (Proxy::start(&[]).await, Origin::new().await);
    let client = Client::new(&proxy).await;
    let target = origin.address.to_string();
    let accepting = tokio::spawn(async move {
        loop {
            drop(origin.accept().await);
        }
    });
    let mut refused = false;
    for _ in 0..5_000 {
        let request = Request::builder().method(Method::CONNECT).uri(&target).body(()).unwrap();
        let Ok(Ok(mut ready)) = timeout(LIMIT, client.0.clone().ready()).await else {
            refused = true;
            break;
        };
        let Ok((_, mut sender)) = ready.send_request(request, false) else {
            refused = true;
            break;
        };
        // Else the client takes back what it has not sent yet.
        tokio::task::yield_now().await;
        sender.send_reset(Reason::CANCEL);
    }
    assert!(refused, "5,000 resets went by");
    let mut other = Client::new(&proxy).await;
    assert_eq!(other.get(&format!("http://{}/", refusing().await)).await.status(), 502);
    drop((client, other));
    until(|| proxy.control.open() == 0).await;
    accepting.abort();
}

#[tokio::test]
async fn under_tls_it_is_agreed_on_by_alpn() {
    let files = tempfile::tempdir().unwrap();
    let folder = files.path().to_str().unwrap();
    let flags = [("allow-private", "true"), ("tls-self-signed", "true"), ("state-dir", folder)];
    let (proxy, origin) = (Proxy::run(settings(&flags)).await, Origin::new().await);
    let pem = std::fs::read(files.path().join("self-signed.pem")).unwrap();
    let mut roots = RootCertStore::empty();
    let certificate: rustls::pki_types::CertificateDer<'_> =
        rustls::pki_types::pem::PemObject::from_pem_slice(&pem).unwrap();
    roots.add(certificate).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let stream = TcpStream::connect(proxy.address).await.unwrap();
    let name = ServerName::try_from("sami-proxy").unwrap();
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let mut client = Client::over(stream).await;
    let (_down, mut up, mut peer) = client.tunnel(&origin).await;
    up.send_data("safe".into(), true).unwrap();
    assert_eq!(peer.rest().await, "safe");
    // A browser opens the page of an https:// proxy's port.
    let page = client.get(&format!("https://{}/", proxy.address)).await;
    assert_eq!(page.status(), 200);
    assert!(page.headers()["content-type"].to_str().unwrap().starts_with("text/html"));
    peer.finish().await;
    let lines = proxy.log_lines(2).await;
    assert!(lines.iter().all(|line| line["door"] == "h2"), "{lines:?}");
}

/// A frame (RFC 9113 §4.1) of stream 1.
fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let head = [length[1], length[2], length[3], kind, flags, 0, 0, 0, stream];
    [&head, payload].concat()
}

#[tokio::test]
async fn a_flood_of_continuation_ends_the_connection() {
    let proxy = Proxy::start(&[]).await;
    let mut stream = TcpStream::connect(proxy.address).await.unwrap();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    stream.write_all(&frame(4, 0, 0, b"")).await.unwrap();
    // HEADERS that do not end: literal fields without indexing, again and again (CVE-2024-27316).
    let field = [&b"\x00\x01a\x7f\x81\x07"[..], &[b'b'; 262]].concat();
    stream.write_all(&frame(1, 0, 1, &field)).await.unwrap();
    let sent = async {
        for _ in 0..100_000 {
            if stream.write_all(&frame(9, 0, 1, &field)).await.is_err() {
                return true;
            }
        }
        false
    };
    assert!(timeout(LIMIT, sent).await.unwrap(), "27 MB of fields went by");
    until(|| proxy.control.open() == 0).await;
}

#[tokio::test]
async fn a_client_that_never_ends_its_preface_is_closed_in_time() {
    let proxy = Proxy::start(&[("header-timeout", "200ms")]).await;
    for half in [&b"PRI "[..], b"PRI * HTTP/2.0\r\n\r\nSM"] {
        let mut peer = proxy.connect().await;
        peer.send(half).await;
        peer.whatever_comes().await;
    }
    let mut wrong = proxy.connect().await;
    wrong.send(b"PRI * HTTP/1.1\r\nHost: x\r\n\r\n").await;
    wrong.whatever_comes().await;
}

#[tokio::test]
async fn a_refusal_that_is_not_taken_is_given_up() {
    let proxy = Proxy::start(&[("auth", "sami:secret")]).await;
    let stream = TcpStream::connect(proxy.address).await.unwrap();
    let mut builder = Builder::new();
    builder.initial_window_size(0);
    let (client, connection) = builder.handshake::<_, Bytes>(stream).await.unwrap();
    tokio::spawn(async move { drop(connection.await) });
    let mut client = Client(client);
    let (mut answer, _up) = client.connect("127.0.0.1:1").await;
    assert_eq!(answer.status(), 407);
    // Its body is never let in; the stream must not hold its place for ever.
    assert_eq!(broken(answer.body_mut()).await, Some(Reason::INTERNAL_ERROR));
    until(|| proxy.control.open() == 1).await;
}

#[tokio::test]
async fn a_client_that_asks_for_nothing_is_closed_in_time() {
    let proxy = Proxy::start(&[("header-timeout", "200ms")]).await;
    let mut peer = proxy.connect().await;
    peer.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    peer.send(frame(4, 0, 0, b"")).await;
    peer.whatever_comes().await;
    until(|| proxy.control.open() == 0).await;
}

#[tokio::test]
async fn a_few_streams_that_stand_still_do_not_stop_the_others() {
    let (proxy, origin) = (Proxy::start(&[]).await, Origin::new().await);
    let mut client = Client::new(&proxy).await;
    let mut stuck = Vec::new();
    for _ in 0..6 {
        let (down, mut up, peer) = client.tunnel(&origin).await;
        // More than any window and any socket's buffer will take.
        up.send_data(vec![1; 32 << 20].into(), false).unwrap();
        stuck.push((down, up, peer));
    }
    let (_down, mut up, mut peer) = client.tunnel(&origin).await;
    up.send_data("through".into(), false).unwrap();
    assert_eq!(peer.exactly(7).await, b"through");
}

#[tokio::test]
async fn a_request_that_cannot_be_said_in_http1_is_answered_logged_and_counted() {
    let proxy = Proxy::start(&[]).await;
    let mut client = Client::new(&proxy).await;
    let request = Request::get("http://example.com/").header("host", "example.org");
    let (answer, mut up) = client.send(request.body(()).unwrap()).await;
    up.send_data(Bytes::new(), true).unwrap();
    let mut answer = timeout(LIMIT, answer).await.unwrap().unwrap();
    assert_eq!(answer.status(), 400);
    assert!(
        answer.headers()["proxy-status"].to_str().unwrap().contains("error=http_request_error")
    );
    let words = String::from_utf8(text(answer.body_mut(), usize::MAX).await).unwrap();
    assert!(words.contains("Host differs from :authority"), "{words}");
    assert_eq!(proxy.log_lines(1).await[0]["error"], "http_request_error");
}

#[tokio::test]
async fn what_comes_between_the_two_goodbyes_is_served() {
    let (proxy, origin) = (Proxy::start(&[]).await, Origin::new().await);
    let mut client = Client::new(&proxy).await;
    let (_down, _up, _peer) = client.tunnel(&origin).await;
    // The requests are on their way before the client has heard of the end.
    let mut answers = Vec::new();
    let mut ready = timeout(LIMIT, client.0.clone().ready()).await.unwrap().unwrap();
    proxy.control.drain();
    for _ in 0..40 {
        let request = Request::get(format!("https://{}/healthz", proxy.address)).body(()).unwrap();
        let (answer, mut up) = ready.send_request(request, false).unwrap();
        up.send_data(Bytes::new(), true).unwrap();
        answers.push(answer);
        ready = ready.ready().await.unwrap();
    }
    for answer in answers {
        assert_eq!(timeout(LIMIT, answer).await.unwrap().unwrap().status(), 200);
    }
}
