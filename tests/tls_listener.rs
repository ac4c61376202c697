//! TLS and plain clients on the same port.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::too_many_lines,
    reason = "test code"
)]

mod common;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use common::doors::{Ask, Door, Login, arrive, connector};
use common::{ESTABLISHED, LIMIT, Origin, Peer, Proxy, settings};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use sami_proxy::net::pin::Pin;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

struct Secured {
    proxy: Proxy,
    connector: TlsConnector,
    _files: tempfile::TempDir,
}

async fn secured(flags: &[(&str, &str)]) -> Secured {
    let files = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let path = |name: &str| files.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("c.pem"), made.cert.pem()).unwrap();
    std::fs::write(path("k.pem"), made.signing_key.serialize_pem()).unwrap();
    let (certificate, key) = (path("c.pem"), path("k.pem"));
    let mut all = vec![("allow-private", "true"), ("tls-cert", &certificate), ("tls-key", &key)];
    all.extend_from_slice(flags);
    let proxy = Proxy::run(settings(&all)).await;
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Secured { proxy, connector: TlsConnector::from(Arc::new(config)), _files: files }
}

impl Secured {
    async fn connect(&self) -> TlsStream<TcpStream> {
        let stream = TcpStream::connect(self.proxy.address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        self.connector.connect(name, stream).await.unwrap()
    }
}

async fn exactly(stream: &mut (impl AsyncReadExt + Unpin), length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    timeout(LIMIT, stream.read_exact(&mut bytes)).await.expect("silence").unwrap();
    bytes
}

#[tokio::test]
async fn a_tunnel_runs_through_tls_and_ends_half_by_half() {
    let secured = secured(&[]).await;
    let origin = Origin::new().await;
    let mut client = secured.connect().await;
    let head = format!("CONNECT {} HTTP/1.1\r\nHost: x\r\n\r\nearly", origin.address);
    client.write_all(head.as_bytes()).await.unwrap();
    let mut origin = origin.accept().await;
    assert_eq!(exactly(&mut client, ESTABLISHED.len()).await, ESTABLISHED.as_bytes());
    assert_eq!(origin.exactly(5).await, b"early");
    // Small pieces: each must come out at once, not wait in a buffer of TLS.
    for _ in 0..3 {
        origin.send("data: x\n\n").await;
        assert_eq!(exactly(&mut client, 9).await, b"data: x\n\n");
    }
    client.shutdown().await.unwrap();
    assert_eq!(origin.rest().await, "");
    let answer = vec![7_u8; 3 << 20];
    let write = async {
        origin.send(&answer).await;
        origin.finish().await;
    };
    let mut seen = Vec::new();
    let ((), read) = tokio::join!(write, timeout(LIMIT, client.read_to_end(&mut seen)));
    read.expect("silence").unwrap();
    assert_eq!(seen, answer);
}

#[tokio::test]
async fn plain_http_is_forwarded_through_tls() {
    let secured = secured(&[]).await;
    let origin = Origin::new().await;
    let mut client = secured.connect().await;
    for _ in 0..2 {
        let request = format!(
            "POST http://{}/ HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc",
            origin.address
        );
        client.write_all(request.as_bytes()).await.unwrap();
        let mut origin = origin.accept().await;
        origin.head().await;
        assert_eq!(origin.exactly(3).await, b"abc");
        origin.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nDate: x\r\n\r\nok").await;
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\nok") {
            answer.extend(exactly(&mut client, 1).await);
        }
    }
}

#[tokio::test]
async fn a_plain_client_is_served_on_the_same_port() {
    let secured = secured(&[]).await;
    let answer = secured
        .proxy
        .exchange("GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
}

#[tokio::test]
async fn a_handshake_that_does_not_go_on_is_closed() {
    let secured = secured(&[("handshake-timeout", "200ms"), ("header-timeout", "200ms")]).await;
    for bytes in [&b"\x16"[..], b""] {
        let mut client = secured.proxy.connect().await;
        client.send(bytes).await;
        let mut rest = Vec::new();
        let end = timeout(Duration::from_secs(10), client.stream.read_to_end(&mut rest)).await;
        assert!(matches!(end.expect("still open"), Ok(0) | Err(_)), "{rest:?}");
    }
}

/// The certificate and key of somebody new, in PEM, and their pin.
fn made() -> (String, String, Pin) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let pin = Pin::of(made.cert.der()).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem(), pin)
}

/// A handshake, and whether the proxy has the certificate of `pin`.
async fn shake(proxy: &Proxy, pin: Pin) -> Option<Peer<TlsStream<TcpStream>>> {
    let stream = TcpStream::connect(proxy.address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let shaken = timeout(LIMIT, connector(pin).connect(name, stream)).await.expect("silence");
    match shaken {
        Ok(stream) => Some(Peer::new(stream)),
        Err(error) => {
            assert!(error.to_string().contains("WrongPin"), "{error}");
            None
        }
    }
}

async fn echoes(origin: &Origin, client: &mut Peer<impl AsyncRead + AsyncWrite + Unpin>) {
    let mut target = origin.accept().await;
    pass(&mut target, client).await;
}

async fn pass(target: &mut Peer, client: &mut Peer<impl AsyncRead + AsyncWrite + Unpin>) {
    client.send("ping").await;
    assert_eq!(target.exactly(4).await, b"ping");
    target.send("pong").await;
    assert_eq!(client.exactly(4).await, b"pong");
}

#[tokio::test]
async fn a_certificate_of_its_own_is_made_once_and_kept_for_itself() {
    let state = tempfile::tempdir().unwrap();
    let folder = state.path().join("not/yet");
    let flags = [("tls-self-signed", "true"), ("state-dir", folder.to_str().unwrap())];
    let origin = Origin::new().await;
    let mut pins = Vec::new();
    for _ in 0..2 {
        let proxy = Proxy::start(&flags).await;
        pins.push(proxy.control.pin().unwrap());
        for door in [Door::ConnectTls, Door::Socks5Tls, Door::Connect, Door::Socks5Ip, Door::Socks4]
        {
            let mut client = arrive(&proxy, door).await.unwrap();
            let target = origin.address.to_string();
            client.send(door.greeting(&target, Login::Nothing, Ask::Tunnel).unwrap()).await;
            let granted = door.granted(Login::Nothing);
            assert_eq!(client.exactly(granted.len()).await, granted, "{door:?}");
            echoes(&origin, &mut client).await;
        }
        assert_eq!(proxy.control.reload_certificate().unwrap(), Some(pins[0]));
    }
    assert_eq!(pins[0], pins[1]);
    let files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(files[0].metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
    // Somebody else's certificate is not taken for it.
    let proxy = Proxy::start(&flags).await;
    assert!(shake(&proxy, made().2).await.is_none());
}

async fn with_files(folder: &Path, (certificate, key): (&str, &str)) -> Proxy {
    let (c, k) = (folder.join("c.pem"), folder.join("k.pem"));
    std::fs::write(&c, certificate).unwrap();
    std::fs::write(&k, key).unwrap();
    Proxy::start(&[("tls-cert", c.to_str().unwrap()), ("tls-key", k.to_str().unwrap())]).await
}

#[tokio::test]
async fn a_new_certificate_is_for_the_next_handshake_and_open_connections_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (made(), made());
    let proxy = with_files(folder.path(), (&old.0, &old.1)).await;
    let origin = Origin::new().await;
    let mut client = shake(&proxy, old.2).await.unwrap();
    client.send(format!("CONNECT {} HTTP/1.1\r\n\r\n", origin.address)).await;
    assert_eq!(client.head().await, ESTABLISHED);
    let mut target = origin.accept().await;
    // Shaken hands and nothing else, so far.
    let mut waiting = shake(&proxy, old.2).await.unwrap();
    std::fs::write(folder.path().join("c.pem"), &new.0).unwrap();
    std::fs::write(folder.path().join("k.pem"), &new.1).unwrap();
    assert!(shake(&proxy, old.2).await.is_some(), "nobody has said that there are new ones");
    assert_eq!(proxy.control.reload_certificate().unwrap(), Some(new.2));
    assert!(shake(&proxy, old.2).await.is_none());
    assert!(shake(&proxy, new.2).await.is_some());
    pass(&mut target, &mut client).await;
    waiting.send("GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert!(waiting.rest().await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn files_that_are_half_written_leave_the_old_certificate_in_place() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (made(), made());
    let proxy = with_files(folder.path(), (&old.0, &old.1)).await;
    let half = |text: &str| text.chars().take(text.len() / 2).collect::<String>();
    let chain = format!("{}{}", new.0, old.0);
    let cut = format!("{}{}", new.0, half(&old.0));
    let cases = [
        ("key is still the old one", &new.0, &old.1),
        ("certificate is still the old one", &old.0, &new.1),
        ("certificate is cut", &half(&new.0), &new.1),
        ("key is cut", &new.0, &half(&new.1)),
        ("certificate is empty", &String::new(), &new.1),
        ("key is empty", &new.0, &String::new()),
        ("chain is cut in its second certificate", &cut, &new.1),
    ];
    for (what, certificate, key) in cases {
        std::fs::write(folder.path().join("c.pem"), certificate).unwrap();
        std::fs::write(folder.path().join("k.pem"), key).unwrap();
        assert!(proxy.control.reload_certificate().is_err(), "{what}");
        assert!(shake(&proxy, old.2).await.is_some(), "{what}");
    }
    std::fs::remove_file(folder.path().join("k.pem")).unwrap();
    assert!(proxy.control.reload_certificate().is_err());
    assert!(shake(&proxy, old.2).await.is_some());
    std::fs::write(folder.path().join("c.pem"), chain).unwrap();
    std::fs::write(folder.path().join("k.pem"), &new.1).unwrap();
    assert_eq!(proxy.control.reload_certificate().unwrap(), Some(new.2));
    assert!(shake(&proxy, new.2).await.is_some());
}

#[tokio::test]
async fn a_certificate_is_found_among_other_things_in_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key, pin) = made();
    // What `openssl ecparam -genkey` writes before the key, and `openssl s_client` between.
    let parameters =
        "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n";
    let all = format!("# mine\n{parameters}{key}\nsubject=CN = x\r\n---\n{certificate}---\n");
    let proxy = with_files(folder.path(), (&all, &all)).await;
    assert!(shake(&proxy, pin).await.is_some());
}
