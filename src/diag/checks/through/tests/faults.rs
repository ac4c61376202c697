//! Every phase, and every way in which it can fail.

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::Instant;

use super::{Authority, Stream, ask, authority, context, head, journey, listen, says, trip};
use crate::diag::ask::Ask;
use crate::diag::evidence::Scheme;
use crate::diag::fact::{How, Stage, Trip, Trust};
use crate::net::pin::Pin;

const URL: &str = "https://target.test/x?y";

/// How a server ends a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Reset,
    Close,
    Silence,
    Rubbish,
}

impl Ending {
    async fn now(self, mut stream: Stream) {
        match self {
            // The socket lingers not.
            Self::Reset => drop(stream),
            Self::Close => drop(stream.shutdown().await),
            Self::Silence => std::future::pending().await,
            Self::Rubbish => {
                stream.write_all(b"220 tea\x1b\r\n\r\n").await.unwrap();
                stream.shutdown().await.unwrap();
            }
        }
    }
}

/// A proxy and the target behind it, in one; it ends in `fault`, if at all.
struct Behaviour {
    scheme: Scheme,
    fault: Option<(Stage, Ending)>,
    acceptor: tokio_rustls::TlsAcceptor,
}

async fn serve(stream: TcpStream, behaviour: Behaviour) {
    let Behaviour { scheme, fault, acceptor } = behaviour;
    let ends = |stage| fault.filter(|(at, _)| *at == stage).map(|(_, ending)| ending);
    if fault.is_some_and(|(_, ending)| ending == Ending::Reset) {
        SockRef::from(&stream).set_linger(Some(std::time::Duration::ZERO)).unwrap();
    }
    let mut stream: Stream = Box::new(stream);
    let mut some = [0; 4096];
    if scheme == Scheme::Https {
        if let Some(ending) = ends(Stage::ProxyTls) {
            let _hello = stream.read(&mut some).await.unwrap();
            return ending.now(stream).await;
        }
        stream = Box::new(acceptor.accept(stream).await.unwrap());
    }
    if scheme == Scheme::Socks5 {
        stream.read_exact(&mut some[..3]).await.unwrap();
        stream.write_all(&[5, 0]).await.unwrap();
        let _request = stream.read(&mut some).await.unwrap();
    } else {
        head(&mut stream).await;
    }
    if let Some(ending) = ends(Stage::Proxy) {
        return ending.now(stream).await;
    }
    let agreed: &[u8] = match scheme {
        Scheme::Socks5 => &[5, 0, 0, 1, 0, 0, 0, 0, 0, 0],
        Scheme::Http | Scheme::Https => b"HTTP/1.1 200 OK\r\nVia: 1.1 box\r\n\r\n",
    };
    stream.write_all(agreed).await.unwrap();
    stream.flush().await.unwrap();
    if let Some(ending) = ends(Stage::TargetTls) {
        let _hello = stream.read(&mut some).await.unwrap();
        return ending.now(stream).await;
    }
    let mut stream: Stream = Box::new(acceptor.accept(stream).await.unwrap());
    let request = head(&mut stream).await;
    assert!(request.starts_with("GET /x?y HTTP/1.1\r\nHost: target.test\r\nUser-Agent: sami-"));
    if let Some(ending) = ends(Stage::FirstByte) {
        return ending.now(stream).await;
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nHello").await.unwrap();
    stream.flush().await.unwrap();
    if let Some(ending) = ends(Stage::Body) {
        return ending.now(stream).await;
    }
    stream.write_all(b", you").await.unwrap();
    stream.shutdown().await.unwrap();
    let _the_other_is_gone = stream.read(&mut some).await;
}

async fn world(scheme: Scheme, fault: Option<(Stage, Ending)>) -> Trip {
    let Authority { root, acceptor, .. } = authority();
    let proxy = listen(move |stream| {
        serve(stream, Behaviour { scheme, fault, acceptor: acceptor.clone() })
    })
    .await;
    let ask = Ask { roots: vec![root], ..ask(proxy, scheme) };
    trip(URL, Some(proxy), &context(ask)).await
}

const fn stages(scheme: Scheme) -> &'static [Stage] {
    use Stage::{Body, Connect, FirstByte, Proxy, ProxyTls, TargetTls};
    match scheme {
        Scheme::Https => &[Connect, ProxyTls, Proxy, TargetTls, FirstByte, Body],
        Scheme::Http | Scheme::Socks5 => &[Connect, Proxy, TargetTls, FirstByte, Body],
    }
}

const SCHEMES: [Scheme; 3] = [Scheme::Http, Scheme::Https, Scheme::Socks5];

fn walked(trip: &Trip) -> Vec<Stage> {
    trip.laps.iter().map(|lap| lap.stage).collect()
}

#[tokio::test]
async fn what_works_is_measured_phase_by_phase() {
    for scheme in SCHEMES {
        let trip = world(scheme, None).await;
        assert_eq!(trip.failure, None, "{scheme:?}");
        assert_eq!(walked(&trip), stages(scheme));
        let answer = trip.answer.unwrap();
        assert_eq!((answer.status, answer.bytes, &*answer.body), (200, 10, "Hello, you"));
        let certificate = trip.certificate.unwrap();
        assert_eq!(certificate.given, Some(Trust::Trusted));
        assert_eq!(certificate.mozilla, Trust::UnknownIssuer);
        assert_eq!(
            (&*certificate.issuer, &*certificate.root),
            ("Test authority", "Test authority")
        );
        assert_eq!(certificate.names, ["target.test", "127.0.0.1"]);
        assert_eq!(trip.proxy_certificate.is_some(), scheme == Scheme::Https);
        assert_eq!(trip.proxy.is_some(), scheme != Scheme::Socks5);
        assert!(trip.peer.is_some());
    }
}

async fn fails(scheme: Scheme, stage: Stage, ending: Ending, how: How) {
    let what = format!("{scheme:?} {stage:?} {ending:?}");
    let begun = Instant::now();
    let trip = world(scheme, Some((stage, ending))).await;
    let failure = trip.failure.as_ref().unwrap_or_else(|| panic!("{what}"));
    assert_eq!((failure.stage, failure.how), (stage, how), "{what}");
    assert_eq!(walked(&trip).last(), Some(&stage), "{what}");
    assert_eq!(trip.answer.is_some(), stage == Stage::Body, "{what}");
    assert_eq!(failure.os_error.is_some(), ending == Ending::Reset, "{what}");
    // Whether all: time is not real here, and the other kernel takes some to acknowledge.
    let known = ending == Ending::Silence && cfg!(target_os = "linux");
    assert_eq!(failure.acknowledged.is_some(), known, "{what}");
    assert!(begun.elapsed().as_millis() <= 14_750, "{what}");
    if ending == Ending::Rubbish {
        let detail = failure.detail.as_deref().unwrap();
        assert!(detail.starts_with(r"220 tea\x1b\r\n"), "{what}: {detail}");
    }
}

#[tokio::test]
async fn every_end_of_every_phase_is_told() {
    let endings = [(Ending::Reset, How::Reset), (Ending::Close, How::Closed)];
    for scheme in SCHEMES {
        for stage in stages(scheme).iter().skip(1) {
            for (ending, how) in endings {
                fails(scheme, *stage, ending, how).await;
            }
            if *stage != Stage::Body {
                fails(scheme, *stage, Ending::Rubbish, How::Malformed).await;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_black_hole_in_every_phase_ends_in_time() {
    for scheme in SCHEMES {
        for stage in stages(scheme).iter().skip(1).filter(|it| **it != Stage::Body) {
            fails(scheme, *stage, Ending::Silence, How::Silent).await;
        }
        // The rest of a body need not come.
        let trip = world(scheme, Some((Stage::Body, Ending::Silence))).await;
        assert_eq!((trip.failure, trip.answer.unwrap().bytes), (None, 5));
        assert!((900_000..1_100_000).contains(&trip.laps.last().unwrap().us));
    }
}

#[tokio::test]
async fn nobody_there_is_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = listener.local_addr().unwrap();
    drop(listener);
    for scheme in SCHEMES {
        let trip = trip(URL, Some(proxy), &context(ask(proxy, scheme))).await;
        let failure = trip.failure.as_ref().unwrap();
        assert_eq!((failure.stage, failure.how), (Stage::Connect, How::Refused));
        assert!(failure.os_error.is_some() && trip.peer.is_none());
        assert_eq!(walked(&trip), [Stage::Connect]);
    }
    let url = format!("http://localhost:{}/", proxy.port());
    let trip = trip(&url, None, &context(ask(proxy, Scheme::Http))).await;
    assert_eq!(walked(&trip), [Stage::Resolve, Stage::Connect]);
    assert_eq!(trip.failure.unwrap().how, How::Refused);
}

/// A port whose queue is full drops what would open another connection.
#[cfg(target_os = "linux")]
#[tokio::test(start_paused = true)]
async fn a_connect_that_nobody_answers_ends_in_time() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let _fills_it = TcpSocket::new_v4().unwrap().connect(address).await.unwrap();
    let context = context(ask(address, Scheme::Http));
    let begun = Instant::now();
    let directly = trip(&format!("http://{address}/"), None, &context).await;
    assert_eq!(begun.elapsed().as_secs(), 3);
    let failure = directly.failure.unwrap();
    assert_eq!((failure.stage, failure.how), (Stage::Connect, How::Silent));
    let trip = trip(URL, Some(address), &context).await;
    assert_eq!(begun.elapsed().as_secs(), 14);
    assert_eq!(trip.failure.unwrap().how, How::Silent);
}

#[tokio::test]
async fn a_user_who_has_had_enough_ends_it() {
    let context = context(ask("127.0.0.1:1".parse().unwrap(), Scheme::Http));
    let stop = context.stop.clone();
    let proxy = listen(move |mut stream| {
        let stop = stop.clone();
        async move {
            head(&mut stream).await;
            stop.cancel();
            std::future::pending::<()>().await;
        }
    })
    .await;
    let failure = trip(URL, Some(proxy), &context).await.failure.unwrap();
    assert_eq!((failure.stage, failure.how), (Stage::Proxy, How::Unfinished));
}

/// A server, behind a tunnel or not, to which nothing is said in TLS.
async fn unspoken(stream: TcpStream, scheme: Scheme, acceptor: tokio_rustls::TlsAcceptor) {
    let mut stream: Stream = Box::new(stream);
    if scheme == Scheme::Http {
        head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
    }
    let mut stream = acceptor.accept(stream).await.unwrap();
    assert_eq!(head(&mut stream).await, "");
}

#[tokio::test]
async fn whom_nobody_trusts_is_not_spoken_to() {
    let made = authority();
    let leaf = made.leaf.clone();
    let target = move |scheme| {
        let acceptor = made.acceptor.clone();
        listen(move |stream| unspoken(stream, scheme, acceptor.clone()))
    };
    let proxy = target(Scheme::Http).await;
    let through = trip(URL, Some(proxy), &context(ask(proxy, Scheme::Http))).await;
    let failure = through.failure.unwrap();
    assert_eq!((failure.stage, failure.how), (Stage::TargetTls, How::Certificate));
    let certificate = through.certificate.unwrap();
    assert_eq!(certificate.system, Trust::UnknownIssuer);
    assert_eq!(certificate.given, None);

    let proxy = target(Scheme::Https).await;
    let wrong = Pin::parse(&format!("sha256:{}", "00".repeat(32))).unwrap();
    for (pin, given) in [(None, None), (Some(wrong), Some(Trust::Other))] {
        let trip = trip(URL, Some(proxy), &context(Ask { pin, ..ask(proxy, Scheme::Https) })).await;
        let failure = trip.failure.unwrap();
        assert_eq!((failure.stage, failure.how), (Stage::ProxyTls, How::Certificate));
        assert_eq!(trip.proxy_certificate.unwrap().given, given);
        assert_eq!((trip.certificate, trip.peer), (None, Some(proxy)));
    }
    let pin = Some(Pin::of(&leaf).unwrap());
    let ask = Ask { pin, ..ask(proxy, Scheme::Https) };
    let entry = super::super::entry::enter(
        proxy,
        Instant::now() + context(ask.clone()).budget,
        &context(ask),
    )
    .await;
    let certificate = entry.ok().unwrap().certificate.unwrap();
    assert_eq!(certificate.given, Some(Trust::Trusted));
}

#[tokio::test]
async fn an_alert_is_told_from_what_is_no_tls() {
    // RFC 8446 §6: fatal, handshake_failure.
    let proxy = listen(|mut stream| async move {
        let mut hello = [0; 2000];
        let _hello = stream.read(&mut hello).await.unwrap();
        stream.write_all(&[0x15, 3, 3, 0, 2, 2, 40]).await.unwrap();
        stream.shutdown().await.unwrap();
        let _until_it_is_read = stream.read(&mut hello).await;
    })
    .await;
    let failure =
        trip(URL, Some(proxy), &context(ask(proxy, Scheme::Https))).await.failure.unwrap();
    assert_eq!((failure.stage, failure.how), (Stage::ProxyTls, How::Alert));
    assert!(failure.detail.unwrap().contains("HandshakeFailure"));
    // A TLS port that is spoken to in the clear.
    let proxy = says(&[0x15, 3, 3, 0, 2, 2, 70]).await;
    let failure = trip(URL, Some(proxy), &context(ask(proxy, Scheme::Http))).await.failure.unwrap();
    assert_eq!((failure.stage, failure.how), (Stage::Proxy, How::Malformed));
}

#[tokio::test]
async fn repeats_are_trips_and_hopeless_ones_stop() {
    let good = says(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let bad = listen(|mut stream| async move { drop(head(&mut stream).await) }).await;
    for (proxy, expected) in [(good, 4), (bad, 2)] {
        let mut ask = ask(proxy, Scheme::Http);
        ask.asked.repeats = 4;
        ask.asked.targets = vec!["http://target.test/".to_owned()];
        let context = context(ask);
        let trips = journey("http://target.test/", Some(proxy), &context).await.trips;
        assert_eq!(trips.len(), expected);
        assert_eq!(journey("http://other.test/", Some(proxy), &context).await.trips.len(), 1);
    }
}
