//! The checks against servers that say what a test wants, byte by byte.

mod transfers;
mod trials;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc::unbounded_channel;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::super::{Context, Measured};
use super::{health, idle, stream, transfer};
use crate::diag::ask::Ask;
use crate::diag::evidence::{Asked, Family, Subject};
use crate::diag::fact::{Direction, End, Health, Idle, Payload, Status, Streaming};
use crate::secret::Secret;

const ALL: u64 = 256 * 1024;
const ALL_BYTES: usize = 256 * 1024;

fn context(asked: Asked) -> Context {
    let subject = Subject { host: "127.0.0.1".into(), port: 1, family: Family::Any };
    let login = Some(("u".into(), Secret::new("p")));
    let ask = Ask { asked, login, ..Ask::port(subject) };
    let evidence = Arc::new(ask.evidence());
    let budget = Duration::from_secs(60);
    let (deadline, stop) = (Instant::now() + budget, CancellationToken::new());
    Context { ask: Arc::new(ask), evidence, deadline, budget, stop }
}

fn any() -> Context {
    context(Asked::default())
}

/// Accepts; `serve` gets each connection with the head of its first request.
async fn server<F>(serve: impl Fn(TcpStream, String) -> F + Send + Sync + 'static) -> SocketAddr
where
    F: Future<Output = Option<TcpStream>> + Send + 'static,
{
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(16).unwrap();
    let address = listener.local_addr().unwrap();
    let serve = Arc::new(serve);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let serve = Arc::clone(&serve);
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await.ok()?);
                }
                let kept = serve(stream, String::from_utf8(head).unwrap()).await;
                if kept.is_some() {
                    // It stays open and silent.
                    std::future::pending::<()>().await;
                }
                Some(())
            });
        }
    });
    address
}

/// Says `words` and is silent.
async fn says(words: Vec<u8>) -> SocketAddr {
    server(move |mut stream, _| {
        let words = words.clone();
        async move {
            stream.write_all(&words).await.ok()?;
            Some(stream)
        }
    })
    .await
}

/// Says `words` and closes.
async fn ends(words: Vec<u8>) -> SocketAddr {
    server(move |mut stream, _| {
        let words = words.clone();
        async move {
            stream.write_all(&words).await.ok()?;
            stream.shutdown().await.ok()?;
            // What is still unread would make it a reset.
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).await.ok()?;
            None
        }
    })
    .await
}

#[allow(clippy::needless_pass_by_value, reason = "it ends here")]
fn reset(stream: TcpStream) -> Option<TcpStream> {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    None
}

fn ok(length: u64, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
    [head.as_bytes(), body].concat()
}

fn of<T: Payload + Clone>(measured: &Measured) -> T {
    T::of(measured.1.as_ref().unwrap()).unwrap().clone()
}

#[tokio::test]
async fn whoever_stops_keeps_what_there_is() {
    let (told, mut asked) = unbounded_channel();
    let proxy = server(move |mut stream, _| {
        let told = told.clone();
        async move {
            stream.write_all(&ok(ALL, &vec![1; 20_000])).await.ok()?;
            told.send(()).unwrap();
            Some(stream)
        }
    })
    .await;
    let context = any();
    let stop = async {
        asked.recv().await;
        // The bytes are in the other socket already; it is for the reader to run.
        sleep(Duration::from_millis(100)).await;
        context.stop.cancel();
    };
    let (measured, ()) = tokio::join!(transfer::run(proxy, Direction::Down, &context), stop);
    assert_eq!(transfers::summary(&of(&measured)), (End::Unfinished, Some(20_000), None));
    let late = Context { deadline: Instant::now() + Duration::from_millis(200), ..any() };
    assert_eq!(of::<Health>(&health::run(proxy, &late).await).failure, Some(End::Unfinished));
    assert_eq!(of::<Streaming>(&stream::run(proxy, &late).await).end, End::Unfinished);
    assert_eq!(of::<Idle>(&idle::run(proxy, &late).await).before, End::Unfinished);
}

fn event(number: u32, at: u64) -> String {
    let event = format!("data: {{\"event\":{number},\"of\":6,\"at_ms\":{at}}}\n\n");
    format!("{:x}\r\n{event}\r\n", event.len())
}

const EVENTS: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

async fn events(proxy: SocketAddr) -> Streaming {
    of(&stream::run(proxy, &any()).await)
}

#[tokio::test]
async fn events_have_the_times_at_which_they_come() {
    let one_by_one = server(|mut stream, head| async move {
        assert!(head.starts_with("GET http://sami-proxy.internal/stream?events=6&"));
        stream.write_all(EVENTS.as_bytes()).await.ok()?;
        for number in 1..=6 {
            stream.write_all(event(number, u64::from(number) * 7).as_bytes()).await.ok()?;
            sleep(Duration::from_millis(30)).await;
        }
        Some(stream)
    })
    .await;
    let measured = stream::run(one_by_one, &any()).await;
    assert_eq!(measured.0, Status::Worked);
    let found: Streaming = of(&measured);
    assert_eq!((found.end, found.status), (End::Answered, None));
    let sent: Vec<_> = found.events.iter().map(|it| it.sent_ms).collect();
    assert_eq!(sent, [7, 14, 21, 28, 35, 42]);
    assert!(found.events.is_sorted_by_key(|it| it.came_ms));
    assert!(found.events.last().unwrap().came_ms >= 140, "{found:?}");

    let events_of = |range: std::ops::RangeInclusive<u32>| -> String {
        let events = range.map(|number| event(number, u64::from(number) * 1000));
        events.collect::<Vec<_>>().concat()
    };
    let piece = format!("{EVENTS}{}", events_of(1..=6));
    let found = events(says(piece.into_bytes()).await).await;
    assert_eq!((found.end, found.events.len()), (End::Answered, 6));
    assert!(found.events.last().unwrap().came_ms < 1000, "{found:?}");

    let cut = format!("{EVENTS}{}", events_of(1..=2));
    let found = events(ends(cut.into_bytes()).await).await;
    assert_eq!((found.end, found.events.len()), (End::Closed, 2));
    let refused = events(says(b"HTTP/1.1 429 x\r\nContent-Length: 0\r\n\r\n".to_vec()).await).await;
    assert_eq!((refused.end, refused.status), (End::Closed, Some(429)));
}

#[tokio::test]
async fn events_that_do_not_come_are_silence() {
    let begun = Instant::now();
    let bare = format!("{EVENTS}{}", event(1, 0));
    let (one, none) = tokio::join!(async { events(says(bare.into_bytes()).await).await }, async {
        events(says(Vec::new()).await).await
    },);
    assert_eq!((one.end, one.events.len()), (End::Silent, 1));
    assert_eq!((none.end, none.events.len()), (End::Silent, 0));
    assert!(begun.elapsed() < Duration::from_secs(4));
}

const TUNNEL: &[u8] = b"HTTP/1.1 200 OK\r\n\r\n";

/// What comes goes back, so many bytes; then `after` happens.
async fn echoes(bytes: u64, after: fn(TcpStream) -> Option<TcpStream>) -> SocketAddr {
    server(move |mut stream, head| async move {
        assert!(head.starts_with("CONNECT sami-proxy.internal:7 HTTP/1.1\r\n"));
        stream.write_all(TUNNEL).await.ok()?;
        let (reader, mut writer) = stream.split();
        tokio::io::copy(&mut reader.take(bytes), &mut writer).await.ok()?;
        after(stream)
    })
    .await
}

async fn silent(proxy: SocketAddr, seconds: u64) -> Idle {
    let asked = Asked { idle_s: Some(seconds), ..Asked::default() };
    of(&idle::run(proxy, &context(asked)).await)
}

#[tokio::test]
async fn a_tunnel_is_heard_before_and_after_its_silence() {
    let refused = says(b"HTTP/1.1 429 x\r\nContent-Length: 0\r\n\r\n".to_vec()).await;
    let (well, lost, closed, broken, refused) = tokio::join!(
        async { silent(echoes(32, Some).await, 1).await },
        async { silent(echoes(16, Some).await, 0).await },
        async { silent(echoes(16, |_| None).await, 60).await },
        async { silent(echoes(16, reset).await, 60).await },
        silent(refused, 0),
    );
    assert_eq!((well.before, well.after), (End::Answered, Some(End::Answered)));
    assert!(well.echo_us.is_some() && well.ended_after_ms.is_none());
    assert_eq!((lost.before, lost.after), (End::Answered, Some(End::Silent)));
    assert_eq!((closed.before, closed.after), (End::Answered, Some(End::Closed)));
    assert_eq!((broken.before, broken.after), (End::Answered, Some(End::Reset)));
    assert!(closed.ended_after_ms.is_some() && broken.ended_after_ms.is_some());
    assert_eq!((refused.before, refused.after), (End::Closed, None));
    assert_eq!(refused.status, Some(429));
    let soon = Instant::now() + Duration::from_secs(1);
    let cut = Context { deadline: soon, ..context(Asked { idle_s: Some(60), ..Asked::default() }) };
    let cut: Idle = of(&idle::run(echoes(32, Some).await, &cut).await);
    assert_eq!((cut.before, cut.after), (End::Answered, Some(End::Unfinished)));
    assert!(Instant::now() < soon);
}

#[tokio::test]
async fn health_is_read_and_whoever_asks_says_who() {
    let (told, mut asked) = unbounded_channel();
    let text = r#"{"dns":{"ok":true,"ms":2.9}}"#;
    let proxy = server(move |mut stream, head| {
        let told = told.clone();
        async move {
            told.send(head).unwrap();
            stream.write_all(&ok(text.len() as u64, text.as_bytes())).await.ok()?;
            Some(stream)
        }
    })
    .await;
    let measured = health::run(proxy, &any()).await;
    assert_eq!(measured.0, Status::Worked);
    assert_eq!(of::<Health>(&measured).dns.unwrap().ms, Some(2));
    let head = asked.recv().await.unwrap();
    assert!(head.starts_with("GET http://sami-proxy.internal/health HTTP/1.1\r\n"));
    assert!(head.contains("\r\nProxy-Authorization: Basic dTpw\r\n"), "{head}");
}

#[tokio::test]
async fn what_is_no_health_is_a_failure() {
    let deep = [b"{\"dns\":".as_slice(), &[b'['; 10_000]].concat();
    let huge = [b"{\"dns\":{\"ok\":true}}".as_slice(), &vec![b' '; 10 << 20]].concat();
    for body in [b"no".as_slice(), b"{}", b"null", &deep, &huge] {
        let health: Health =
            of(&health::run(ends(ok(body.len() as u64, body)).await, &any()).await);
        assert_eq!(health, Health { failure: Some(End::Closed), ..Health::default() });
    }
    let refused = says(b"HTTP/1.1 503 x\r\nContent-Length: 0\r\n\r\n".to_vec()).await;
    let health: Health = of(&health::run(refused, &any()).await);
    assert_eq!((health.failure, health.status), (Some(End::Closed), Some(503)));
}
