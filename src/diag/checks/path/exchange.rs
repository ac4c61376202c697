//! Saying one thing on a connection of its own and hearing what comes first.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep, sleep_until};

use super::super::through::entry::{Duplex, NoEntry, enter};
use super::super::through::tunnel::credentials;
use super::super::{Context, micros};
use crate::diag::evidence::Scheme;
use crate::diag::fact::{End, Exchange, How, Said, Stage};
use crate::net::knock::knock;

/// An answer that tells what it is begins with less.
const ENOUGH: usize = 4096;

/// What is kept of it.
const SHOWN: usize = 200;

/// After the first byte, for the rest of a short answer.
const REST: Duration = Duration::from_millis(300);

/// An exchange, and all bytes that came.
#[derive(Debug, Clone)]
pub(in super::super) struct Heard {
    pub(in super::super) exchange: Exchange,
    pub(in super::super) bytes: Vec<u8>,
}

/// What to say, for how long to wait, and what makes our question ours.
#[derive(Debug, Clone)]
pub(in super::super) struct Question {
    pub(in super::super) said: Said,
    pub(in super::super) limit: Duration,
    pub(in super::super) nonce: String,
}

/// Connects to `address`, says it, and hears the beginning of the answer.
pub(in super::super) async fn exchange(
    address: SocketAddr,
    question: &Question,
    context: &Context,
) -> Heard {
    let begun = Instant::now();
    let mut bytes = Vec::new();
    let told = tokio::select! {
        told = hear(address, (question, context), &mut bytes) => told,
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

async fn hear(
    address: SocketAddr,
    (question, context): (&Question, &Context),
    bytes: &mut Vec<u8>,
) -> (End, Duration) {
    let begun = Instant::now();
    let mut stream = match open(address, (question, context), bytes).await {
        Ok(stream) => stream,
        Err(end) => return (end, begun.elapsed()),
    };
    let words = words(question, (address, context));
    // Who has closed already may still have said something.
    let _what_it_said_counts = stream.write_all(&words).await;
    let _what_it_said_counts = stream.flush().await;
    let mut first = None;
    let end = tokio::select! {
        end = read(&mut *stream, bytes, (&begun, &mut first)) => end,
        () = sleep_until(begun + question.limit) => End::Silent,
    };
    (end, first.unwrap_or_else(|| begun.elapsed()))
}

/// A connection on which the question can be asked: in TLS when the proxy is spoken to so, except
/// for the question whether it would rather not. What came instead of TLS is in `bytes`.
async fn open(
    address: SocketAddr,
    (question, context): (&Question, &Context),
    bytes: &mut Vec<u8>,
) -> Result<Box<dyn Duplex>, End> {
    let secure = match (context.ask.asked.scheme, question.said) {
        (Scheme::Https, Said::AbsoluteForm | Said::Connect) => true,
        (Scheme::Http | Scheme::Socks5, _)
        | (Scheme::Https, Said::OriginForm | Said::ClientHello | Said::Socks5) => false,
    };
    if !secure {
        let knocked = knock(address, None, question.limit).await.outcome;
        return knocked.map(|it| Box::new(it) as _).map_err(|_| End::NoConnection);
    }
    let until = Instant::now() + question.limit;
    let NoEntry { failure, .. } = match enter(address, until, context).await {
        Ok(entry) => return Ok(entry.stream),
        Err(no) => no,
    };
    let came = failure.detail.filter(|_| failure.how == How::Malformed);
    bytes.extend_from_slice(came.unwrap_or_default().as_bytes());
    Err(match failure.how {
        _ if failure.stage == Stage::Connect => End::NoConnection,
        How::Silent => End::Silent,
        How::Reset => End::Reset,
        How::Closed => End::Closed,
        How::Unfinished => End::Unfinished,
        How::NoAddress
        | How::Refused
        | How::Unreachable
        | How::Denied
        | How::Certificate
        | How::Alert
        | How::Malformed => End::NoConnection,
    })
}

async fn read(
    stream: &mut dyn Duplex,
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

fn words(question: &Question, (address, context): (SocketAddr, &Context)) -> Vec<u8> {
    let nonce = &question.nonce;
    let credentials = credentials(&context.ask);
    let login = credentials.map(|it| format!("Proxy-Authorization: {it}\r\n")).unwrap_or_default();
    match question.said {
        Said::AbsoluteForm => format!(
            "GET http://sami-proxy.internal/whoami?nonce={nonce} HTTP/1.1\r\n\
             Host: sami-proxy.internal\r\n{login}Connection: close\r\n\r\n"
        )
        .into_bytes(),
        Said::OriginForm => {
            format!("GET /healthz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")
                .into_bytes()
        }
        // RFC 6761 §6.4: this name never exists.
        Said::Connect => {
            let name = format!("{nonce}.invalid:443");
            format!("CONNECT {name} HTTP/1.1\r\nHost: {name}\r\n{login}\r\n").into_bytes()
        }
        Said::ClientHello => client_hello("sami-proxy.invalid").unwrap_or_default(),
        // RFC 1928 §3: without authentication, or with user and password.
        Said::Socks5 => vec![5, 2, 0, 2],
    }
}

/// The first flight of a TLS handshake with `name` that goes no further.
pub(in super::super) fn client_hello(name: &str) -> Option<Vec<u8>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .ok()?
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let name = ServerName::try_from(name.to_owned()).ok()?;
    let mut connection = ClientConnection::new(Arc::new(config), name).ok()?;
    let mut hello = Vec::new();
    connection.write_tls(&mut hello).ok()?;
    Some(hello)
}

/// `bytes` as printable ASCII: everything else, and the backslash, is escaped.
pub(in super::super) fn printable(bytes: &[u8]) -> String {
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
        let hello = client_hello("a.example").unwrap();
        assert!(hello.starts_with(&[0x16, 3]));
        assert!(hello.windows(9).any(|bytes| bytes == b"a.example"));
    }
}
