//! Asking a parent for a tunnel: raw bytes, or rustls, on the other side.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "test code"
)]

mod common;

use std::sync::Arc;

use common::{LIMIT, Peer};
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use sami_proxy::net::leg::Stream;
use sami_proxy::net::parent::{Parent, ParentError, Protocol};
use sami_proxy::net::pin::Pin;
use sami_proxy::secret::Secret;
use sami_proxy::target::Target;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

const TARGET: &str = "never-resolved.example:443";
const LOGIN: Option<(&str, &str)> = Some(("anna", "hunter2"));
const CONNECT: &str = "CONNECT never-resolved.example:443 HTTP/1.1\r\nHost: never-resolved.example:443\r\nVia: 1.1 us\r\n\r\n";
const VIA: &str = "1.1 us";
const SOCKS_REQUEST: &[u8] = b"\x05\x01\x00\x03\x16never-resolved.example\x01\xbb";
const SOCKS_DONE: &[u8] = b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00";

type Asked = Result<(Stream, Vec<u8>), ParentError>;

fn parent(protocol: Protocol, login: Option<(&str, &str)>, pin: Option<Pin>) -> Parent {
    let place = Target::from_authority("parent.example:3128").unwrap();
    let credentials = login.map(|(user, password)| (user.into(), Secret::new(password)));
    Parent::new(protocol, place, credentials, pin).unwrap()
}

/// A connection to a parent: our end and its end.
async fn connection() -> (TcpStream, Peer) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let ours = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let theirs = listener.accept().await.unwrap().0;
    theirs.set_nodelay(true).unwrap();
    (ours, Peer::new(theirs))
}

/// What comes of asking `parent` for `target` while the other side does `script`.
async fn ask<T>(parent: &Parent, target: &str, script: impl AsyncFnOnce(Peer) -> T) -> (Asked, T) {
    let target = Target::from_authority(target).unwrap();
    let (ours, theirs) = connection().await;
    let both = async { tokio::join!(parent.ask(ours, &target, VIA), script(theirs)) };
    timeout(LIMIT, both).await.expect("nothing happens")
}

/// The error that `parent` makes of an `answer` after which the connection is closed.
async fn error_of(parent: &Parent, answer: &[u8]) -> ParentError {
    let (asked, ()) = ask(parent, TARGET, async |mut peer: Peer| {
        peer.head().await;
        peer.send(answer).await;
        peer.finish().await;
        peer.rest().await;
    })
    .await;
    asked.map(|_| ()).unwrap_err()
}

async fn in_pieces(peer: &mut Peer, bytes: &[u8], piece: usize) {
    for bytes in bytes.chunks(piece) {
        peer.send(bytes).await;
        tokio::task::yield_now().await;
    }
}

/// The first `length` bytes that came through the tunnel.
async fn said(asked: Asked, length: usize) -> (Stream, Vec<u8>) {
    let (mut stream, mut bytes) = asked.unwrap();
    assert!(bytes.len() <= length, "{bytes:?}");
    let already = bytes.len();
    bytes.resize(length, 0);
    timeout(LIMIT, stream.read_exact(&mut bytes[already..])).await.expect("silence").unwrap();
    (stream, bytes)
}

#[tokio::test]
async fn http_gives_a_tunnel_with_the_first_bytes_of_the_target() {
    let heads = [
        "HTTP/1.1 200 Connection established\r\n\r\n",
        "HTTP/1.0 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 204 x\r\nProxy-Status: a; details=\"b\"\r\n\r\n",
    ];
    for head in heads {
        for piece in [1, 7, 1000] {
            let (asked, mut peer) =
                ask(&parent(Protocol::Http, None, None), TARGET, async |mut peer: Peer| {
                    assert_eq!(peer.head().await, CONNECT);
                    let answer = format!("{head}220 hello\r\n\r\n");
                    in_pieces(&mut peer, answer.as_bytes(), piece).await;
                    peer
                })
                .await;
            let (mut stream, hello) = said(asked, 13).await;
            assert_eq!(hello, b"220 hello\r\n\r\n");
            assert!(stream.bare().is_some());
            stream.write_all(b"ping").await.unwrap();
            drop(stream);
            assert_eq!(peer.rest().await, "ping", "nothing but the request came before");
        }
    }
}

#[tokio::test]
async fn http_credentials_are_sent_and_never_shown() {
    let parent = parent(Protocol::Http, LOGIN, None);
    let expected = "CONNECT [2001:db8::7]:8443 HTTP/1.1\r\nHost: [2001:db8::7]:8443\r\nVia: 1.1 us\r\n\
                    Proxy-Authorization: Basic YW5uYTpodW50ZXIy\r\n\r\n";
    let (asked, ()) = ask(&parent, "[2001:db8::7]:8443", async |mut peer: Peer| {
        assert_eq!(peer.head().await, expected);
        peer.send(
            "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Status: up; \
             error=http_request_denied; details=\"User name or password is wrong.\"\r\n\
             Content-Length: 0\r\n\r\n",
        )
        .await;
    })
    .await;
    let error = asked.map(|_| ()).unwrap_err();
    let refused = ParentError::Refused {
        status: 407,
        reason: "Proxy Authentication Required".into(),
        details: Some("User name or password is wrong.".into()),
    };
    assert_eq!(error, refused);
    assert_eq!(error.to_string(), "the parent proxy answered 407 Proxy Authentication Required");
    for shown in [format!("{error:?}"), format!("{parent:?}")] {
        assert!(!shown.contains("hunter2") && !shown.contains("YW5u"), "{shown}");
    }
}

#[tokio::test]
async fn http_refusals_are_told_apart_from_nonsense_and_silence() {
    let parent = parent(Protocol::Http, None, None);
    let refused = |status, reason: &str| ParentError::Refused {
        status,
        reason: reason.into(),
        details: None,
    };
    let interim = "HTTP/1.1 100 Continue\r\n\r\n".repeat(17);
    let cases = [
        ("HTTP/1.1 403 Forbidden\r\nContent-Length: 5\r\n\r\nsorry", refused(403, "Forbidden")),
        ("HTTP/1.1 503\r\n\r\n", refused(503, "")),
        ("HTTP/1.1 301 Moved\r\nLocation: http://x/\r\n\r\n", refused(301, "Moved")),
        ("HTTP/1.1 101 Switching Protocols\r\n\r\n", ParentError::Malformed),
        ("SSH-2.0-OpenSSH_9.9\r\n\r\n", ParentError::Malformed),
        ("HTTP/1.1 200 OK\n\n", ParentError::Malformed),
        (&interim, ParentError::Malformed),
        ("HTTP/1.1 200 OK\r\n", ParentError::Closed),
        ("HTTP/1.1 100 Continue\r\n\r\n", ParentError::Closed),
        ("", ParentError::Closed),
    ];
    for (answer, expected) in cases {
        assert_eq!(error_of(&parent, answer.as_bytes()).await, expected, "{answer:?}");
    }
    let (asked, ()) = ask(&parent, TARGET, async |peer: Peer| peer.reset()).await;
    assert_eq!(asked.map(|_| ()).unwrap_err(), ParentError::Closed);
}

/// A parent that turns us away at the door does not read first.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_refusal_is_heard_though_the_parent_has_reset_the_connection() {
    let target = Target::from_authority(TARGET).unwrap();
    let (ours, mut theirs) = connection().await;
    theirs.send("HTTP/1.1 403 Go away\r\n\r\n").await;
    ours.readable().await.unwrap();
    theirs.reset();
    let asked = timeout(LIMIT, parent(Protocol::Http, None, None).ask(ours, &target, VIA)).await;
    let error = asked.expect("silence").map(|_| ()).unwrap_err();
    assert_eq!(error.to_string(), "the parent proxy answered 403 Go away");
}

#[tokio::test]
async fn a_dropped_question_closes_the_connection() {
    let target = Target::from_authority(TARGET).unwrap();
    let parent = parent(Protocol::Http, None, None);
    let (ours, mut theirs) = connection().await;
    tokio::select! {
        biased;
        _ = parent.ask(ours, &target, VIA) => panic!("nobody has answered"),
        head = theirs.head() => assert_eq!(head, CONNECT),
    }
    assert_eq!(theirs.rest().await, "");
}

#[tokio::test]
async fn socks_without_a_login_passes_the_name_unresolved() {
    for piece in [1, 7, 1000] {
        let (asked, peer) =
            ask(&parent(Protocol::Socks5, None, None), TARGET, async |mut peer: Peer| {
                assert_eq!(peer.exactly(3).await, b"\x05\x01\x00");
                peer.send(b"\x05\x00").await;
                let request = peer.exactly(SOCKS_REQUEST.len()).await;
                assert_eq!(request[3], 3, "ATYP: a domain name");
                assert_eq!(request, SOCKS_REQUEST);
                let answer = [SOCKS_DONE, b"220 hello"].concat();
                in_pieces(&mut peer, &answer, piece).await;
                peer
            })
            .await;
        assert_eq!(said(asked, 9).await.1, b"220 hello");
        assert_eq!(peer.buffer, b"");
    }
}

#[tokio::test]
async fn socks_with_a_login_and_addresses() {
    let parent = parent(Protocol::Socks5, LOGIN, None);
    let v6 = "[2001:db8::1]:443";
    let cases: [(&str, &[u8]); 2] = [
        ("192.0.2.1:80", b"\x05\x01\x00\x01\xc0\x00\x02\x01\x00\x50"),
        (v6, b"\x05\x01\x00\x04\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x01\xbb"),
    ];
    for (target, expected) in cases {
        let (asked, ()) = ask(&parent, target, async |mut peer: Peer| {
            assert_eq!(peer.exactly(4).await, b"\x05\x02\x00\x02");
            in_pieces(&mut peer, b"\x05\x02", 1).await;
            assert_eq!(peer.exactly(14).await, b"\x01\x04anna\x07hunter2");
            in_pieces(&mut peer, b"\x01\x00", 1).await;
            assert_eq!(peer.exactly(expected.len()).await, expected);
            in_pieces(&mut peer, b"\x05\x00\x00\x03\x03abc\x00\x50", 1).await;
        })
        .await;
        assert_eq!(said(asked, 0).await.1, b"");
    }
    // A parent that wants no login gets none.
    let (asked, ()) = ask(&parent, TARGET, async |mut peer: Peer| {
        peer.exactly(4).await;
        peer.send(b"\x05\x00").await;
        assert_eq!(peer.exactly(SOCKS_REQUEST.len()).await, SOCKS_REQUEST);
        peer.send(SOCKS_DONE).await;
    })
    .await;
    assert_eq!(said(asked, 0).await.1, b"");
}

/// Sends each of `answers` after one message of ours, then closes.
async fn socks_error(login: Option<(&str, &str)>, answers: &[&[u8]]) -> ParentError {
    let parent = parent(Protocol::Socks5, login, None);
    let (asked, ()) = ask(&parent, TARGET, async |mut peer: Peer| {
        for answer in answers {
            peer.exactly(1).await;
            peer.buffer.clear();
            peer.send(answer).await;
        }
        peer.finish().await;
        peer.rest().await;
    })
    .await;
    asked.map(|_| ()).unwrap_err()
}

#[tokio::test]
async fn socks_refusals_are_told_apart() {
    let cases: [(_, &[&[u8]], _); 17] = [
        (None, &[b"\x05\x02"], ParentError::SocksMethod),
        (None, &[b"\x05\xff"], ParentError::SocksMethod),
        (LOGIN, &[b"\x05\xff"], ParentError::SocksMethod),
        (LOGIN, &[b"\x05\x01"], ParentError::SocksMethod),
        (LOGIN, &[b"\x05\x02", b"\x01\x01"], ParentError::SocksLogin),
        (LOGIN, &[b"\x05\x02", b"\x01\x00", b"\x05\x02\x00\x01"], ParentError::Socks(2)),
        (None, &[b"\x05\x00", b"\x05\x05"], ParentError::Socks(5)),
        (None, &[b"\x05\x00", b"\x05\x5b\x00\x00"], ParentError::Socks(0x5b)),
        (None, &[b"HTTP/1.1 400 Bad Request\r\n\r\n"], ParentError::Malformed),
        (None, &[b"\x04\x00"], ParentError::Malformed),
        (None, &[b"\x05\x00", b"\x05\x00\x00\x02"], ParentError::Malformed),
        // The answer to a request that has not been made.
        (None, &[b"\x05\x00\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00"], ParentError::Malformed),
        (LOGIN, &[b"\x05\x02\x01\x00"], ParentError::Malformed),
        (LOGIN, &[b"\x05\x02", b"\x02\x00"], ParentError::Malformed),
        (None, &[b""], ParentError::Closed),
        (LOGIN, &[b"\x05\x02", b"\x01"], ParentError::Closed),
        (None, &[b"\x05\x00", b"\x05\x00\x00\x01\x00"], ParentError::Closed),
    ];
    for (login, answers, expected) in cases {
        let error = socks_error(login, answers).await;
        assert_eq!(error, expected, "{answers:?}");
        assert!(!format!("{error:?} {error}").contains("hunter2"));
    }
}

/// A certificate for `another.example`, valid until some year, and its key.
struct Identity {
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

impl Identity {
    fn new(is_ca: IsCa, until: i32) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut wanted = CertificateParams::new(vec!["another.example".to_owned()]).unwrap();
        wanted.not_before = rcgen::date_time_ymd(2000, 1, 1);
        wanted.not_after = rcgen::date_time_ymd(until, 1, 1);
        wanted.is_ca = is_ca;
        let certificate = wanted.self_signed(&key).unwrap().der().clone();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        Self { certificate, key }
    }

    fn pin(&self) -> Pin {
        Pin::of(&self.certificate).unwrap()
    }

    fn acceptor(&self, versions: &[&'static rustls::SupportedProtocolVersion]) -> TlsAcceptor {
        let certificates = vec![self.certificate.clone()];
        let provider = rustls::crypto::ring::default_provider();
        let key = provider.key_provider.load_private_key(self.key.clone_key()).unwrap();
        let identity = Fixed(Arc::new(CertifiedKey::new(certificates, key)));
        let mut config = ServerConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(versions)
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(identity));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        TlsAcceptor::from(Arc::new(config))
    }
}

/// Key and certificate, whether they belong together or not.
#[derive(Debug)]
struct Fixed(Arc<CertifiedKey>);

impl ResolvesServerCert for Fixed {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

async fn tls_head(stream: &mut TlsStream<TcpStream>) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

#[tokio::test]
async fn https_with_the_right_pin_is_a_tunnel_under_tls() {
    let identity = Identity::new(IsCa::NoCa, 2001);
    let parent = parent(Protocol::Https, LOGIN, Some(identity.pin()));
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let acceptor = identity.acceptor(&[version]);
        let (asked, mut server) = ask(&parent, TARGET, async |peer: Peer| {
            let mut server = acceptor.accept(peer.stream).await.unwrap();
            let session = server.get_ref().1;
            assert_eq!(session.alpn_protocol(), Some(&b"http/1.1"[..]));
            assert_eq!(session.server_name(), Some("parent.example"));
            let head = tls_head(&mut server).await;
            assert!(head.ends_with("\r\nProxy-Authorization: Basic YW5uYTpodW50ZXIy\r\n\r\n"));
            for byte in b"HTTP/1.1 200 OK\r\n\r\nhello" {
                server.write_all(&[*byte]).await.unwrap();
                server.flush().await.unwrap();
                tokio::task::yield_now().await;
            }
            server
        })
        .await;
        let (mut stream, hello) = said(asked, 5).await;
        assert_eq!(hello, b"hello");
        assert!(stream.bare().is_none());
        stream.write_all(b"ping").await.unwrap();
        stream.shutdown().await.unwrap();
        let mut rest = Vec::new();
        timeout(LIMIT, server.read_to_end(&mut rest)).await.expect("silence").unwrap();
        assert_eq!(rest, b"ping");
    }
}

/// The error when the parent shows `identity`.
async fn tls_error(identity: &Identity, pin: Option<Pin>) -> ParentError {
    tls_error_of(&identity.acceptor(rustls::ALL_VERSIONS), pin).await
}

async fn tls_error_of(acceptor: &TlsAcceptor, pin: Option<Pin>) -> ParentError {
    let parent = parent(Protocol::Https, LOGIN, pin);
    let (asked, heard) = ask(&parent, TARGET, async |peer: Peer| {
        let mut heard = Vec::new();
        if let Ok(mut server) = acceptor.accept(peer.stream).await {
            assert!(server.read_to_end(&mut heard).await.is_err(), "an alert");
        }
        heard
    })
    .await;
    assert_eq!(heard, b"", "an untrusted parent hears nothing");
    asked.map(|_| ()).unwrap_err()
}

#[tokio::test]
async fn https_with_another_certificate_is_not_trusted() {
    let (identity, other) = (Identity::new(IsCa::NoCa, 2001), Identity::new(IsCa::NoCa, 2001));
    let (found, expected) = (identity.pin(), other.pin());
    let text = format!("its pin is {found}, not the expected {expected}");
    let error = tls_error(&identity, Some(expected)).await;
    assert_eq!(error, ParentError::Certificate(text.as_str().into()));
    let shown = format!("the parent proxy's certificate is not trusted: {text}");
    assert_eq!(error.to_string(), shown);

    for (is_ca, until, text) in [
        (IsCa::NoCa, 2001, "it has expired"),
        (IsCa::NoCa, 4000, "no known authority has signed it"),
        (
            IsCa::Ca(BasicConstraints::Unconstrained),
            4000,
            "it is an authority's own, not a server's",
        ),
    ] {
        let error = tls_error(&Identity::new(is_ca, until), None).await;
        assert_eq!(error, ParentError::Certificate(text.into()));
    }

    // The right certificate in the hands of somebody who has not its key.
    let stolen = Identity { certificate: identity.certificate.clone(), key: other.key };
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let error = tls_error_of(&stolen.acceptor(&[version]), Some(found)).await;
        assert_eq!(error, ParentError::Certificate("a signature is wrong".into()));
    }
}

#[tokio::test]
async fn https_to_what_does_not_speak_it_is_said() {
    let parent = parent(Protocol::Https, None, None);
    let cases: [(&[u8], &str); 3] = [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "'s TLS failed: its answer is not TLS"),
        (b"\x15\x03\x03\x00\x02\x02\x28", "'s TLS failed: it sent the alert HandshakeFailure"),
        (b"", " closed the connection"),
    ];
    for (answer, expected) in cases {
        let (asked, ()) = ask(&parent, TARGET, async |mut peer: Peer| {
            let record = peer.exactly(5).await;
            assert_eq!(record[0], 0x16, "a ClientHello");
            let length = u16::from_be_bytes([record[3], record[4]]);
            peer.exactly(length.into()).await;
            peer.send(answer).await;
        })
        .await;
        let error = asked.map(|_| ()).unwrap_err();
        assert_eq!(error.to_string(), format!("the parent proxy{expected}"));
    }
}
