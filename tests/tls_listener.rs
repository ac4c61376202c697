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

use std::sync::Arc;
use std::time::Duration;

use common::{ESTABLISHED, LIMIT, Origin, Proxy, settings};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
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
