//! An HTTP/2 stream as the pipeline sees it, with a real h2 client (or bare frames) at the other
//! end and the test in the place of the pipeline.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test code")]

use std::future::poll_fn;
use std::io::ErrorKind;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::ext::Protocol;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Method, Request, Response};
use proptest::prelude::*;
use sami_proxy::net::h2::{H2Stream, Refusal, Refused};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf};
use tokio::sync::mpsc;

/// What the protocol begins with when nothing is set (RFC 9113 §6.9.2).
const WINDOW: u32 = 65_535;
const MEBIBYTE: usize = 1 << 20;

type Accepted = mpsc::UnboundedReceiver<Result<H2Stream, Refused>>;

/// Accepts on `io` and hands over what comes.
fn server(io: DuplexStream, window: u32) -> Accepted {
    let (to, accepted) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut builder = h2::server::Builder::new();
        builder.initial_window_size(window).enable_connect_protocol();
        let mut connection = builder.handshake::<_, Bytes>(io).await.unwrap();
        while let Some(Ok((request, respond))) = connection.accept().await {
            drop(to.send(H2Stream::new(request, respond, Arc::default())));
        }
    });
    accepted
}

struct Pair {
    client: SendRequest<Bytes>,
    accepted: Accepted,
}

async fn pair() -> Pair {
    pair_with(WINDOW, WINDOW).await
}

/// With the windows that the client and the server grant for a stream.
async fn pair_with(client: u32, server_window: u32) -> Pair {
    let (near, far) = tokio::io::duplex(MEBIBYTE);
    let accepted = server(far, server_window);
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(client);
    let (client, connection) = builder.handshake::<_, Bytes>(near).await.unwrap();
    tokio::spawn(async move { drop(connection.await) });
    Pair { client, accepted }
}

/// What follows the head of a request.
#[derive(PartialEq)]
enum Body {
    None,
    Follows,
}

/// One exchange, both ends.
struct Exchange {
    answer: ResponseFuture,
    up: SendStream<Bytes>,
    stream: H2Stream,
}

impl Pair {
    async fn send(
        &mut self,
        request: Request<()>,
        body: Body,
    ) -> (ResponseFuture, SendStream<Bytes>) {
        let mut client = self.client.clone().ready().await.unwrap();
        client.send_request(request, body == Body::None).unwrap()
    }

    async fn exchange(&mut self, request: Request<()>, body: Body) -> Exchange {
        let (answer, up) = self.send(request, body).await;
        let stream = self.accepted.recv().await.unwrap().unwrap();
        Exchange { answer, up, stream }
    }

    /// Returns when the client knows the settings of the server.
    async fn settled(&mut self) {
        let request = get("http://example.com/");
        let Exchange { answer, mut stream, .. } = self.exchange(request, Body::None).await;
        write(&mut stream, "HTTP/1.1 204 No\r\n\r\n").await;
        answer.await.unwrap();
    }

    /// `CONNECT`, answered and accepted.
    async fn tunnel(&mut self) -> (SendStream<Bytes>, RecvStream, H2Stream) {
        let Exchange { answer, up, mut stream } = self.exchange(connect(), Body::Follows).await;
        head(&mut stream).await;
        write(&mut stream, "HTTP/1.1 200 Connection established\r\n\r\n").await;
        (up, answer.await.unwrap().into_body(), stream)
    }
}

fn get(uri: &str) -> Request<()> {
    Request::get(uri).body(()).unwrap()
}

fn post() -> http::request::Builder {
    Request::post("http://example.com/up")
}

fn connect() -> Request<()> {
    Request::connect("example.com:443").body(()).unwrap()
}

fn web_socket(protocol: &'static str, uri: &str) -> Request<()> {
    let request = Request::connect(uri).extension(Protocol::from_static(protocol));
    request.header("sec-websocket-version", "13").body(()).unwrap()
}

async fn write(stream: &mut H2Stream, text: &str) {
    stream.write_all(text.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
}

/// Reads up to and including the empty line, and not a byte more.
async fn head(stream: &mut H2Stream) -> String {
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n\r\n") {
        text.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(text).unwrap()
}

async fn exactly(stream: &mut H2Stream, text: &str) {
    let mut bytes = vec![0; text.len()];
    stream.read_exact(&mut bytes).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&bytes), text);
}

/// Whether there is nothing to read now.
async fn reads_nothing(stream: &mut H2Stream) -> bool {
    poll_fn(|cx| {
        let mut bytes = [0; 64];
        let mut buffer = ReadBuf::new(&mut bytes);
        Poll::Ready(Pin::new(&mut *stream).poll_read(cx, &mut buffer).is_pending())
    })
    .await
}

/// Everything a body says, granting window for it.
async fn whole(body: &mut RecvStream) -> Result<Vec<u8>, h2::Error> {
    let mut all = Vec::new();
    while let Some(data) = body.data().await {
        let data = data?;
        all.extend_from_slice(&data);
        body.flow_control().release_capacity(data.len()).unwrap();
    }
    Ok(all)
}

async fn text(response: &mut Response<RecvStream>) -> String {
    String::from_utf8(whole(response.body_mut()).await.unwrap()).unwrap()
}

/// Sends all of `bytes`, in the window that there is.
async fn send_all(up: &mut SendStream<Bytes>, mut bytes: Bytes) {
    while !bytes.is_empty() {
        up.reserve_capacity(bytes.len());
        let capacity = poll_fn(|cx| up.poll_capacity(cx)).await.unwrap().unwrap();
        up.send_data(bytes.split_to(capacity.min(bytes.len())), false).unwrap();
    }
}

async fn reset_of(up: &mut SendStream<Bytes>) -> Reason {
    poll_fn(|cx| up.poll_reset(cx)).await.unwrap()
}

fn pattern(length: usize, seed: u8) -> Vec<u8> {
    (0..251).map(|byte| byte ^ seed).cycle().take(length).collect()
}

#[tokio::test]
async fn a_request_without_body_and_its_answer() {
    let mut pair = pair().await;
    let request = Request::get("http://example.com/a?b=c").header("x-one", "1");
    let request = request.header("te", "trailers").body(()).unwrap();
    let Exchange { answer, mut stream, .. } = pair.exchange(request, Body::None).await;
    assert_eq!(
        head(&mut stream).await,
        "GET http://example.com/a?b=c HTTP/1.1\r\nHost: example.com\r\nx-one: 1\r\n\
         te: trailers\r\n\r\n"
    );
    assert!(reads_nothing(&mut stream).await, "the client waits for its answer");
    write(
        &mut stream,
        "HTTP/1.1 201 Made\r\nContent-Length: 5\r\nX-Two: 2\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n\
         Connection: close\r\nKeep-Alive: 5\r\nProxy-Connection: x\r\n\r\nhel",
    )
    .await;
    assert!(reads_nothing(&mut stream).await);
    write(&mut stream, "lo").await;
    let mut response = answer.await.unwrap();
    assert_eq!(response.status(), 201);
    let mut fields: Vec<_> =
        response.headers().iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    fields.sort_unstable();
    let expected: [(_, &[u8]); 4] =
        [("content-length", b"5"), ("set-cookie", b"a"), ("set-cookie", b"b"), ("x-two", b"2")];
    assert_eq!(fields, expected);
    assert_eq!(text(&mut response).await, "hello");
    assert!(response.body().is_end_stream());
    // The HTTP/1.1 connection is over; what comes behind the answer is nobody's.
    assert_eq!(stream.read(&mut [0; 9]).await.unwrap(), 0);
    write(&mut stream, "more").await;
    stream.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_client_that_waits_is_told_of_the_end() {
    let mut pair = pair().await;
    let Exchange { stream, answer: _answer, up: _up } =
        pair.exchange(get("http://example.com/"), Body::None).await;
    let (mut reading, mut writing) = tokio::io::split(stream);
    let mut said = Vec::new();
    let (read, written) = tokio::join!(reading.read_to_end(&mut said), async {
        writing.write_all(b"HTTP/1.1 204 No\r\n\r\n").await
    });
    read.unwrap();
    written.unwrap();
}

#[tokio::test]
async fn a_body_with_length_has_no_framing() {
    let mut pair = pair().await;
    let request = post().header("content-length", "10").body(()).unwrap();
    let Exchange { mut up, mut stream, .. } = pair.exchange(request, Body::Follows).await;
    assert_eq!(
        head(&mut stream).await,
        "POST http://example.com/up HTTP/1.1\r\nHost: example.com\r\ncontent-length: 10\r\n\r\n"
    );
    up.send_data("01234".into(), false).unwrap();
    exactly(&mut stream, "01234").await;
    up.send_data("56789".into(), true).unwrap();
    exactly(&mut stream, "56789").await;
    assert!(reads_nothing(&mut stream).await);
}

#[tokio::test]
async fn no_length_is_added_to_no_body() {
    let mut pair = pair().await;
    let request = post().header("content-length", "0").body(()).unwrap();
    let mut stream = pair.exchange(request, Body::None).await.stream;
    assert!(head(&mut stream).await.contains("\r\ncontent-length: 0\r\n"));
    let mut stream = pair.exchange(post().body(()).unwrap(), Body::None).await.stream;
    let head = head(&mut stream).await;
    assert_eq!(head, "POST http://example.com/up HTTP/1.1\r\nHost: example.com\r\n\r\n");
    assert!(reads_nothing(&mut stream).await);
}

#[tokio::test]
async fn a_body_without_length_is_chunked_and_its_trailers_follow() {
    let mut pair = pair().await;
    let Exchange { mut up, mut stream, .. } =
        pair.exchange(post().body(()).unwrap(), Body::Follows).await;
    assert!(head(&mut stream).await.ends_with("\r\nTransfer-Encoding: chunked\r\n\r\n"));
    up.send_data("hello".into(), false).unwrap();
    exactly(&mut stream, "5\r\nhello\r\n").await;
    up.send_data(Bytes::new(), false).unwrap();
    up.send_data(vec![b'x'; 16].into(), false).unwrap();
    let mut fields = HeaderMap::new();
    fields.insert("x-sum", "7".parse().unwrap());
    fields.insert("content-length", "7".parse().unwrap());
    fields.insert("host", "other".parse().unwrap());
    up.send_trailers(fields).unwrap();
    exactly(&mut stream, "10\r\nxxxxxxxxxxxxxxxx\r\n0\r\nx-sum: 7\r\n\r\n").await;
    assert!(reads_nothing(&mut stream).await);

    let Exchange { mut up, mut stream, .. } =
        pair.exchange(post().body(()).unwrap(), Body::Follows).await;
    head(&mut stream).await;
    up.send_data("a".into(), true).unwrap();
    exactly(&mut stream, "1\r\na\r\n0\r\n\r\n").await;
    assert!(reads_nothing(&mut stream).await);
}

#[tokio::test]
async fn cookie_crumbs_are_one_field() {
    let mut pair = pair().await;
    let request = Request::get("http://example.com/").header("cookie", "a=1");
    let request = request.header("cookie", "b=2").header("cookie", "c=3").body(()).unwrap();
    let mut stream = pair.exchange(request, Body::None).await.stream;
    let head = head(&mut stream).await;
    assert!(head.ends_with("\r\ncookie: a=1; b=2; c=3\r\n\r\n"), "{head}");
}

#[tokio::test]
async fn https_is_said_in_origin_form() {
    let mut pair = pair().await;
    let mut stream =
        pair.exchange(get("https://proxy.test:8443/healthz?x"), Body::None).await.stream;
    let head = head(&mut stream).await;
    assert_eq!(head, "GET /healthz?x HTTP/1.1\r\nHost: proxy.test:8443\r\n\r\n");
}

#[tokio::test]
async fn a_tunnel_carries_both_ways_at_once_and_ends_in_order() {
    let mut pair = pair_with(1000, 700).await;
    let Exchange { answer, mut up, mut stream } = pair.exchange(connect(), Body::Follows).await;
    let expected = "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n";
    assert_eq!(head(&mut stream).await, expected);
    up.send_data("early".into(), false).unwrap();
    exactly(&mut stream, "early").await;
    let established = "HTTP/1.1 200 Connection established\r\nContent-Length: 7\r\n\r\n";
    write(&mut stream, established).await;
    let response = answer.await.unwrap();
    assert_eq!((response.status().as_u16(), response.headers().len()), (200, 0));
    let mut down = response.into_body();
    let (there, back) = (pattern(MEBIBYTE, 0), pattern(MEBIBYTE, 0x55));
    let pipeline = tokio::spawn({
        let back = back.clone();
        async move {
            let (mut reading, mut writing) = tokio::io::split(stream);
            let mut read = Vec::new();
            let (said, written) = tokio::join!(reading.read_to_end(&mut read), async {
                writing.write_all(&back).await?;
                writing.shutdown().await
            });
            said.unwrap();
            written.unwrap();
            read
        }
    });
    let send = async {
        send_all(&mut up, there.clone().into()).await;
        up.send_data(Bytes::new(), true).unwrap();
    };
    let ((), received) = tokio::join!(send, whole(&mut down));
    assert!(received.unwrap() == back, "what came back");
    assert!(pipeline.await.unwrap() == there, "what went there");
}

#[tokio::test]
async fn either_half_of_a_tunnel_ends_alone() {
    let mut pair = pair().await;
    let (mut up, mut down, mut stream) = pair.tunnel().await;
    up.send_data("last".into(), true).unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).await.unwrap();
    assert_eq!(said, "last");
    write(&mut stream, "still").await;
    assert_eq!(down.data().await.unwrap().unwrap(), "still");
    stream.shutdown().await.unwrap();
    drop(stream);
    assert_eq!(whole(&mut down).await.unwrap(), b"", "in order: no reset");

    let (mut up, mut down, mut stream) = pair.tunnel().await;
    stream.shutdown().await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(whole(&mut down).await.unwrap(), b"");
    assert_eq!(stream.write(b"x").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
    up.send_data("on".into(), false).unwrap();
    exactly(&mut stream, "on").await;
    drop(stream);
    assert_eq!(reset_of(&mut up).await, Reason::CONNECT_ERROR, "its other half was open");
}

#[tokio::test]
async fn a_reset_by_the_client_is_an_error_and_not_an_end() {
    let mut pair = pair().await;
    // In the body.
    let Exchange { mut up, mut stream, .. } =
        pair.exchange(post().body(()).unwrap(), Body::Follows).await;
    head(&mut stream).await;
    up.send_reset(Reason::CANCEL);
    assert_eq!(stream.read_u8().await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    // While it waits for its answer.
    let request = get("http://example.com/");
    let Exchange { mut up, mut stream, .. } = pair.exchange(request, Body::None).await;
    head(&mut stream).await;
    assert!(reads_nothing(&mut stream).await);
    up.send_reset(Reason::CANCEL);
    assert_eq!(stream.read_u8().await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    for late in ["HTTP/1.1 103 Early\r\n\r\n", "HTTP/1.1 204 No\r\n\r\n"] {
        let error = stream.write_all(late.as_bytes()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
    // While it is answered.
    let request = get("http://example.com/");
    let Exchange { answer, mut up, mut stream } = pair.exchange(request, Body::None).await;
    head(&mut stream).await;
    write(&mut stream, "HTTP/1.1 200 OK\r\n\r\nx").await;
    answer.await.unwrap();
    up.send_reset(Reason::CANCEL);
    assert_eq!(stream.read_u8().await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(stream.write(b"x").await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    // In a tunnel.
    let (mut up, _down, mut stream) = pair.tunnel().await;
    up.send_reset(Reason::CANCEL);
    assert_eq!(stream.read_u8().await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    // A write that waits for window.
    let (mut up, _down, mut stream) = pair.tunnel().await;
    let full = tokio::spawn(async move { stream.write_all(&pattern(MEBIBYTE, 0)).await });
    tokio::task::yield_now().await;
    up.send_reset(Reason::CANCEL);
    assert_eq!(full.await.unwrap().unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_client_that_dies_is_an_error_too() {
    let (near, far) = tokio::io::duplex(MEBIBYTE);
    let mut accepted = server(far, WINDOW);
    let (client, connection) = h2::client::handshake(near).await.unwrap();
    let connection = tokio::spawn(connection);
    let mut client: SendRequest<Bytes> = client.ready().await.unwrap();
    let _answer = client.send_request(get("http://example.com/"), true).unwrap();
    let mut stream = accepted.recv().await.unwrap().unwrap();
    head(&mut stream).await;
    assert!(reads_nothing(&mut stream).await);
    connection.abort();
    assert_eq!(stream.read_u8().await.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn dropped_before_the_end_is_a_reset() {
    let mut pair = pair().await;
    let (mut up, _down, stream) = pair.tunnel().await;
    stream.reset_on_close();
    drop(stream);
    assert_eq!(reset_of(&mut up).await, Reason::CONNECT_ERROR);

    let (mut up, _down, stream) = pair.tunnel().await;
    drop(stream);
    assert_eq!(reset_of(&mut up).await, Reason::CONNECT_ERROR);

    let Exchange { mut up, stream, .. } = pair.exchange(connect(), Body::Follows).await;
    drop(stream);
    assert_eq!(reset_of(&mut up).await, Reason::INTERNAL_ERROR, "no tunnel yet");

    let Exchange { mut up, stream, .. } =
        pair.exchange(get("http://example.com/"), Body::None).await;
    drop(stream);
    assert_eq!(reset_of(&mut up).await, Reason::INTERNAL_ERROR, "no answer");

    for cut in ["Content-Length: 9\r\n\r\nhalf", "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"]
    {
        let request = get("http://example.com/");
        let Exchange { answer, mut stream, .. } = pair.exchange(request, Body::None).await;
        write(&mut stream, &format!("HTTP/1.1 200 OK\r\n{cut}")).await;
        let mut response = answer.await.unwrap();
        stream.shutdown().await.unwrap();
        assert_eq!(stream.read(&mut [0; 9]).await.unwrap(), 0);
        drop(stream);
        let error = whole(response.body_mut()).await.unwrap_err();
        assert_eq!(error.reason(), Some(Reason::INTERNAL_ERROR), "{cut}");
    }

    let Exchange { mut up, mut stream, .. } =
        pair.exchange(post().body(()).unwrap(), Body::Follows).await;
    write(&mut stream, "HTTP/1.1 204 No\r\n\r\n").await;
    stream.reset_on_close();
    drop(stream);
    assert_eq!(reset_of(&mut up).await, Reason::INTERNAL_ERROR, "even a whole answer");
}

#[tokio::test]
async fn an_early_answer_arrives_and_the_rest_of_the_request_is_refused() {
    let mut pair = pair().await;
    let Exchange { answer, mut up, mut stream } =
        pair.exchange(post().body(()).unwrap(), Body::Follows).await;
    head(&mut stream).await;
    up.send_data("some".into(), false).unwrap();
    write(&mut stream, "HTTP/1.1 413 Too Much\r\nContent-Length: 3\r\n\r\nno!").await;
    assert_eq!(stream.read(&mut [0; 9]).await.unwrap(), 0, "the answer was the end");
    drop(stream);
    let mut response = answer.await.unwrap();
    assert_eq!((response.status().as_u16(), text(&mut response).await), (413, "no!".to_owned()));
    assert_eq!(reset_of(&mut up).await, Reason::NO_ERROR);
}

#[tokio::test]
async fn answers_without_body() {
    let mut pair = pair().await;
    let cases = [
        (Method::HEAD, "200 OK\r\nContent-Length: 5000", Some("5000")),
        (Method::HEAD, "200 OK\r\nTransfer-Encoding: chunked", None),
        (Method::GET, "204 No Content", None),
        (Method::GET, "304 Not Modified\r\nContent-Length: 7", Some("7")),
        (Method::GET, "200 OK\r\nContent-Length: 0", Some("0")),
    ];
    for (method, answered, length) in cases {
        let request = Request::builder().method(method).uri("http://example.com/");
        let Exchange { answer, mut stream, .. } =
            pair.exchange(request.body(()).unwrap(), Body::None).await;
        head(&mut stream).await;
        write(&mut stream, &format!("HTTP/1.1 {answered}\r\n\r\n")).await;
        drop(stream);
        let response = answer.await.unwrap();
        assert!(response.body().is_end_stream(), "{answered}");
        let said = response.headers().get("content-length").map(|value| value.to_str().unwrap());
        assert_eq!(said, length, "{answered}");
    }
}

/// However the pipeline cuts its writes.
#[tokio::test]
async fn a_chunked_answer_with_trailers() {
    const ANSWER: &str = "HTTP/1.1 103 Hints\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\n\
        Transfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n3;x=y\r\nabc\r\n10\r\n0123456789abcdef\r\n\
        0\r\nX-Sum: 7\r\nX-Other: 8\r\n\r\nbehind";
    let mut pair = pair().await;
    for size in (1..ANSWER.len()).chain([ANSWER.len()]) {
        let request = get("http://example.com/");
        let Exchange { mut answer, mut stream, .. } = pair.exchange(request, Body::None).await;
        head(&mut stream).await;
        for piece in ANSWER.as_bytes().chunks(size) {
            stream.write_all(piece).await.unwrap();
        }
        drop(stream);
        let interim = poll_fn(|cx| answer.poll_informational(cx)).await.unwrap().unwrap();
        assert_eq!(
            (interim.status().as_u16(), &interim.headers()["link"]),
            (103, &"a".parse().unwrap())
        );
        let mut response = answer.await.unwrap();
        assert!(!response.headers().contains_key("transfer-encoding"));
        assert_eq!(response.headers()["trailer"], "x-sum");
        assert_eq!(text(&mut response).await, "abc0123456789abcdef", "{size}");
        let trailers = response.body_mut().trailers().await.unwrap().unwrap();
        assert_eq!((trailers.len(), &trailers["x-sum"]), (2, &"7".parse().unwrap()), "{size}");
    }
}

#[tokio::test]
async fn an_answer_that_ends_with_the_connection() {
    let mut pair = pair().await;
    let Exchange { answer, mut stream, .. } =
        pair.exchange(get("http://example.com/"), Body::None).await;
    head(&mut stream).await;
    write(&mut stream, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nsome").await;
    let mut response = answer.await.unwrap();
    assert_eq!(response.body_mut().data().await.unwrap().unwrap(), "some");
    write(&mut stream, " more").await;
    stream.shutdown().await.unwrap();
    assert_eq!(stream.read(&mut [0; 9]).await.unwrap(), 0);
    drop(stream);
    assert_eq!(text(&mut response).await, " more");
}

#[tokio::test]
async fn expectations_and_interim_answers_pass() {
    let mut pair = pair().await;
    let request = post().header("expect", "100-continue").body(()).unwrap();
    let Exchange { mut answer, mut up, mut stream } = pair.exchange(request, Body::Follows).await;
    assert!(head(&mut stream).await.contains("\r\nexpect: 100-continue\r\n"));
    write(&mut stream, "HTTP/1.1 100 Continue\r\n\r\n").await;
    let interim = poll_fn(|cx| answer.poll_informational(cx)).await.unwrap().unwrap();
    assert_eq!(interim.status(), 100);
    up.send_data("x".into(), true).unwrap();
    exactly(&mut stream, "1\r\nx\r\n0\r\n\r\n").await;
    write(&mut stream, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    assert_eq!(text(&mut answer.await.unwrap()).await, "ok");
}

#[tokio::test]
async fn a_web_socket() {
    let mut pair = pair().await;
    let request = web_socket("websocket", "http://example.com/chat");
    pair.settled().await;
    let Exchange { answer, mut up, mut stream } = pair.exchange(request, Body::Follows).await;
    let said = head(&mut stream).await;
    let (before, key) = said.split_once("Sec-WebSocket-Key: ").unwrap();
    assert_eq!(
        before,
        "GET http://example.com/chat HTTP/1.1\r\nHost: example.com\r\n\
         sec-websocket-version: 13\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    );
    assert_eq!(key.len(), 24 + 4, "16 bytes in base64");
    assert!(reads_nothing(&mut stream).await);
    write(
        &mut stream,
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: x\r\nSec-WebSocket-Protocol: y\r\n\r\nfirst",
    )
    .await;
    let mut response = answer.await.unwrap();
    assert_eq!((response.status().as_u16(), response.headers().len()), (200, 1));
    assert_eq!(response.body_mut().data().await.unwrap().unwrap(), "first");
    up.send_data("second".into(), true).unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).await.unwrap();
    assert_eq!(said, "second");
}

#[tokio::test]
async fn a_web_socket_that_is_none() {
    let mut pair = pair().await;
    pair.settled().await;
    for (answered, status) in [("403 No", 403), ("200 OK", 502)] {
        let request = web_socket("websocket", "http://example.com/chat");
        let Exchange { answer, mut stream, .. } = pair.exchange(request, Body::Follows).await;
        head(&mut stream).await;
        let answered = format!("HTTP/1.1 {answered}\r\nContent-Length: 1\r\n\r\nx");
        write(&mut stream, &answered).await;
        let mut response = answer.await.unwrap();
        assert_eq!((response.status().as_u16(), text(&mut response).await), (status, "x".into()));
    }
    let cases = [
        (web_socket("webtransport", "http://example.com/"), Refusal::Protocol),
        (web_socket("websocket", "https://example.com/"), Refusal::Scheme),
    ];
    for (request, why) in cases {
        let (answer, mut up) = pair.send(request, Body::Follows).await;
        let refused = pair.accepted.recv().await.unwrap().unwrap_err();
        assert_eq!(refused.why, why);
        refused.answer(
            b"HTTP/1.1 418 No\r\nContent-Length: 2\r\nConnection: close\r\nX-One: 1\r\n\r\nno",
        );
        let mut response = answer.await.unwrap();
        assert_eq!((response.status().as_u16(), text(&mut response).await), (418, "no".into()));
        assert!(response.headers().contains_key("x-one"));
        assert!(!response.headers().contains_key("connection"));
        assert_eq!(reset_of(&mut up).await, Reason::NO_ERROR);
    }
}

#[tokio::test]
async fn a_host_that_differs_is_refused() {
    let mut pair = pair().await;
    let request = |host| Request::get("http://example.com/").header("host", host).body(()).unwrap();
    pair.exchange(request("EXAMPLE.com"), Body::None).await;
    let (answer, _up) = pair.send(request("example.org"), Body::None).await;
    assert_eq!(pair.accepted.recv().await.unwrap().unwrap_err().why, Refusal::Host);
    assert!(answer.await.is_err(), "nobody has answered");
}

#[tokio::test]
async fn who_does_not_read_is_not_written_to() {
    let mut pair = pair_with(10_000, WINDOW).await;
    let Exchange { answer, mut stream, .. } =
        pair.exchange(get("http://example.com/"), Body::None).await;
    head(&mut stream).await;
    write(&mut stream, "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n").await;
    let mut response = answer.await.unwrap();
    let bytes = pattern(4000, 0);
    let mut taken = 0;
    let fill = async |stream: &mut H2Stream| {
        poll_fn(|cx| match Pin::new(&mut *stream).poll_write(cx, &bytes) {
            Poll::Ready(count) => Poll::Ready(Some(count.unwrap())),
            Poll::Pending => Poll::Ready(None),
        })
        .await
    };
    while let Some(count) = fill(&mut stream).await {
        taken += count;
        tokio::task::yield_now().await;
    }
    assert_eq!(taken, 10_000);
    for _ in 0..100 {
        tokio::task::yield_now().await;
        assert_eq!(fill(&mut stream).await, None, "nothing has been read");
    }
    let mut read = 0;
    while read < taken {
        let data = response.body_mut().data().await.unwrap().unwrap();
        read += data.len();
        response.body_mut().flow_control().release_capacity(data.len()).unwrap();
    }
    stream.write_all(&bytes).await.unwrap();
}

/// A client that grants no more window than the body needs must still see the end of it.
#[tokio::test]
async fn the_end_needs_no_window() {
    let mut pair = pair_with(5, WINDOW).await;
    for trailer in ["", "X-Sum: 7\r\n"] {
        let request = get("http://example.com/");
        let Exchange { answer, mut stream, .. } = pair.exchange(request, Body::None).await;
        write(&mut stream, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        let mut response = answer.await.unwrap();
        write(&mut stream, &format!("5\r\nhello\r\n0\r\n{trailer}\r\n")).await;
        assert_eq!(response.body_mut().data().await.unwrap().unwrap(), "hello");
        while response.body_mut().data().await.is_some() {}
        let trailers = response.body_mut().trailers().await.unwrap();
        assert_eq!(trailers.is_some(), !trailer.is_empty());
    }
}

#[tokio::test]
async fn window_is_granted_for_what_was_read_and_nothing_else() {
    let mut pair = pair_with(WINDOW, 1000).await;
    let (mut up, _down, mut stream) = pair.tunnel().await;
    send_all(&mut up, vec![1; 1000].into()).await;
    up.reserve_capacity(5000);
    for _ in 0..100 {
        tokio::task::yield_now().await;
        assert_eq!(up.capacity(), 0);
    }
    let mut bytes = [0; 600];
    stream.read_exact(&mut bytes).await.unwrap();
    assert_eq!(poll_fn(|cx| up.poll_capacity(cx)).await.unwrap().unwrap(), 600);
}

#[tokio::test]
async fn what_is_no_answer_is_an_error() {
    let long = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(70_000));
    let cases = [
        "HTTP/1.1 200 OK\nX: y\n\n",
        "HTTQ/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 101 Switching\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\na b: c\r\n\r\n",
        &long,
    ];
    let mut pair = pair().await;
    for case in cases {
        let request = get("http://example.com/");
        let Exchange { mut up, mut stream, .. } = pair.exchange(request, Body::None).await;
        head(&mut stream).await;
        let error = stream.write_all(case.as_bytes()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData, "{case:.99}");
        assert_eq!(stream.write(b"x").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
        assert_eq!(reset_of(&mut up).await, Reason::INTERNAL_ERROR, "{case:.99}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 100, failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn no_bytes_from_the_pipeline_are_a_panic(
        start in prop_oneof![
            Just("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
            Just("HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n"),
            Just("HTTP/1.1 1"),
            Just(""),
        ],
        pieces in prop::collection::vec(prop::collection::vec(
            prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'1'), any::<u8>()], 0..20), 0..20),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut pair = pair().await;
            let mut stream = pair.exchange(get("http://example.com/"), Body::None).await.stream;
            stream.write_all(start.as_bytes()).await.unwrap();
            for piece in pieces {
                if stream.write_all(&piece).await.is_err() {
                    break;
                }
            }
        });
    }
}

/// The frames of a client that no library would send.
struct Frames(DuplexStream);

impl Frames {
    async fn new(io: DuplexStream) -> Self {
        let mut frames = Self(io);
        frames.0.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        frames.put(4, 0, 0, b"").await;
        frames
    }

    async fn put(&mut self, kind: u8, flags: u8, stream: u8, payload: &[u8]) {
        let length = u8::try_from(payload.len()).unwrap();
        self.0.write_all(&[0, 0, length, kind, flags, 0, 0, 0, stream]).await.unwrap();
        self.0.write_all(payload).await.unwrap();
    }

    /// HEADERS with `END_STREAM` and `END_HEADERS`; literal fields (RFC 7541 §6.2.2).
    async fn headers(&mut self, stream: u8, fields: &[(&str, &str)]) {
        self.headers_with(5, stream, fields).await;
    }

    async fn headers_with(&mut self, flags: u8, stream: u8, fields: &[(&str, &str)]) {
        let mut block = Vec::new();
        for (name, value) in fields {
            block.push(0);
            for text in [name, value] {
                block.push(u8::try_from(text.len()).unwrap());
                block.extend_from_slice(text.as_bytes());
            }
        }
        self.put(1, flags, stream, &block).await;
    }

    /// Waits for `RST_STREAM`.
    async fn reset(&mut self, stream: u8) -> u32 {
        loop {
            let mut head = [0; 9];
            self.0.read_exact(&mut head).await.unwrap();
            let mut payload = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
            self.0.read_exact(&mut payload).await.unwrap();
            if head[3] == 3 && head[8] == stream {
                return u32::from_be_bytes(payload.try_into().unwrap());
            }
        }
    }
}

#[tokio::test]
async fn fields_of_a_connection_are_malformed() {
    let (near, far) = tokio::io::duplex(MEBIBYTE);
    let mut accepted = server(far, WINDOW);
    let mut frames = Frames::new(near).await;
    let cases = [
        ("connection", "x"),
        ("proxy-connection", "keep-alive"),
        ("keep-alive", "5"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "websocket"),
        ("te", "gzip"),
    ];
    let start = [(":method", "GET"), (":scheme", "http"), (":authority", "a.test"), (":path", "/")];
    for (index, field) in (0_u8..).zip(cases) {
        let stream = 2 * index + 1;
        frames.headers(stream, &[&start[..], &[field]].concat()).await;
        assert_eq!(frames.reset(stream).await, u32::from(Reason::PROTOCOL_ERROR), "{field:?}");
    }
    assert!(accepted.try_recv().is_err(), "none has come to us");
}

#[tokio::test]
async fn an_authority_may_come_from_host() {
    let (near, far) = tokio::io::duplex(MEBIBYTE);
    let mut accepted = server(far, WINDOW);
    let mut frames = Frames::new(near).await;
    let start = [(":method", "GET"), (":scheme", "http"), (":path", "/x")];
    frames.headers(1, &[&start[..], &[("host", "a.test:81")]].concat()).await;
    let mut stream = accepted.recv().await.unwrap().unwrap();
    let expected = "GET http://a.test:81/x HTTP/1.1\r\nHost: a.test:81\r\n\r\n";
    assert_eq!(head(&mut stream).await, expected);
    frames.headers(3, &start).await;
    assert_eq!(accepted.recv().await.unwrap().unwrap_err().why, Refusal::Authority);
}

#[tokio::test]
async fn an_empty_frame_is_no_end() {
    let (near, far) = tokio::io::duplex(MEBIBYTE);
    let mut accepted = server(far, WINDOW);
    let mut frames = Frames::new(near).await;
    let fields =
        [(":method", "PUT"), (":scheme", "http"), (":authority", "a.test"), (":path", "/")];
    frames.headers_with(4, 1, &fields).await;
    let mut stream = accepted.recv().await.unwrap().unwrap();
    head(&mut stream).await;
    frames.put(0, 0, 1, b"").await;
    frames.put(0, 0, 1, b"a").await;
    frames.put(0, 1, 1, b"").await;
    exactly(&mut stream, "1\r\na\r\n0\r\n\r\n").await;
    assert!(reads_nothing(&mut stream).await);
}

#[test]
fn it_is_small_and_may_change_threads() {
    fn sendable<T: Send + Sync + Unpin>() {}
    sendable::<H2Stream>();
    let size = size_of::<H2Stream>();
    println!("an H2Stream takes {size} bytes");
    assert!(size <= 320);
}
