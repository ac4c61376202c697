//! Saying one thing on a connection of its own and hearing what comes first.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, sleep_until};

use super::super::{Context, micros};
use crate::diag::fact::{End, Exchange, Said};
use crate::net::knock::knock;

/// An answer that tells what it is begins with less.
const ENOUGH: usize = 4096;

/// What is kept of it.
const SHOWN: usize = 200;

/// After the first byte, for the rest of a short answer.
const REST: Duration = Duration::from_millis(300);

/// An exchange, and all bytes that came.
#[derive(Debug, Clone)]
pub(super) struct Heard {
    pub(super) exchange: Exchange,
    pub(super) bytes: Vec<u8>,
}

/// What to say, for how long to wait, and what makes our question ours.
#[derive(Debug, Clone)]
pub(super) struct Question {
    pub(super) said: Said,
    pub(super) limit: Duration,
    pub(super) nonce: String,
}

/// Connects to `address`, says it, and hears the beginning of the answer.
pub(super) async fn exchange(address: SocketAddr, question: &Question, context: &Context) -> Heard {
    let begun = Instant::now();
    let mut bytes = Vec::new();
    let told = tokio::select! {
        told = hear(address, question, &mut bytes) => told,
        () = context.over() => (End::Unfinished, begun.elapsed()),
    };
    let (end, first_after) = if bytes.is_empty() { told } else { (End::Answered, told.1) };
    let exchange = Exchange {
        said: question.said,
        end,
        first: printable(bytes.get(..SHOWN).unwrap_or(&bytes)),
        bytes: bytes.len(),
        elapsed_us: micros(first_after),
    };
    Heard { exchange, bytes }
}

async fn hear(address: SocketAddr, question: &Question, bytes: &mut Vec<u8>) -> (End, Duration) {
    let begun = Instant::now();
    let Ok(mut stream) = knock(address, None, question.limit).await.outcome else {
        return (End::NoConnection, begun.elapsed());
    };
    let words = words(question, address);
    // Who has closed already may still have said something.
    let _what_it_said_counts = stream.write_all(&words).await;
    let mut first = None;
    let end = tokio::select! {
        end = read(&mut stream, bytes, (&begun, &mut first)) => end,
        () = sleep_until(begun + question.limit) => End::Silent,
    };
    (end, first.unwrap_or_else(|| begun.elapsed()))
}

async fn read(
    stream: &mut TcpStream,
    bytes: &mut Vec<u8>,
    (begun, first): (&Instant, &mut Option<Duration>),
) -> End {
    loop {
        let mut piece = [0; 1024];
        let got = if bytes.is_empty() {
            stream.read(&mut piece).await
        } else {
            tokio::select! {
                got = stream.read(&mut piece) => got,
                () = sleep(REST) => return End::Answered,
            }
        };
        match got {
            Ok(0) => return End::Closed,
            Ok(count) => {
                first.get_or_insert_with(|| begun.elapsed());
                bytes.extend_from_slice(piece.get(..count).unwrap_or_default());
                if bytes.len() >= ENOUGH {
                    return End::Answered;
                }
            }
            Err(_) => return End::Reset,
        }
    }
}

fn words(question: &Question, address: SocketAddr) -> Vec<u8> {
    let nonce = &question.nonce;
    match question.said {
        Said::AbsoluteForm => format!(
            "GET http://sami-proxy.internal/whoami?nonce={nonce} HTTP/1.1\r\n\
             Host: sami-proxy.internal\r\nConnection: close\r\n\r\n"
        )
        .into_bytes(),
        Said::OriginForm => {
            format!("GET /healthz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")
                .into_bytes()
        }
        // RFC 6761 §6.4: this name never exists.
        Said::Connect => {
            let name = format!("{nonce}.invalid:443");
            format!("CONNECT {name} HTTP/1.1\r\nHost: {name}\r\n\r\n").into_bytes()
        }
        Said::ClientHello => client_hello().unwrap_or_default(),
        // RFC 1928 §3: without authentication, or with user and password.
        Said::Socks5 => vec![5, 2, 0, 2],
    }
}

/// The first flight of a TLS handshake that goes no further.
fn client_hello() -> Option<Vec<u8>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .ok()?
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let name = ServerName::try_from("sami-proxy.invalid").ok()?;
    let mut connection = ClientConnection::new(Arc::new(config), name).ok()?;
    let mut hello = Vec::new();
    connection.write_tls(&mut hello).ok()?;
    Some(hello)
}

/// `bytes` as printable ASCII: everything else, and the backslash, is escaped.
pub(super) fn printable(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string().replace("\\\"", "\"").replace("\\'", "'")
}

#[cfg(test)]
mod tests {
    use super::{client_hello, printable};

    #[test]
    fn nothing_that_a_terminal_obeys_is_kept() {
        assert_eq!(
            printable(b"SSH-2.0-x\r\n\x1b[31m\xff\\ \"q\""),
            r#"SSH-2.0-x\r\n\x1b[31m\xff\\ "q""#
        );
    }

    #[test]
    fn the_hello_is_a_handshake_record() {
        assert!(client_hello().unwrap().starts_with(&[0x16, 3]));
    }
}
