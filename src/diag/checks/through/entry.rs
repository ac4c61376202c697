//! A connection to the proxy over which it can be spoken to.

use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout_at};

use super::super::Context;
use super::secure::{Party, secure};
use super::walk::Walk;
use crate::diag::evidence::Scheme;
use crate::diag::fact::{Certificate, Failure, How, Lap, Stage};
use crate::net::knock::knock;
use crate::target::Host;

/// A connection, whatever it is made of.
pub(in super::super) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A connection to the proxy.
pub(in super::super) struct Entry {
    /// After TLS when the proxy is spoken to in TLS.
    pub(in super::super) stream: Box<dyn Duplex>,
    /// Our end and the proxy's, for what the kernel knows of it.
    pub(in super::super) ends: (SocketAddr, SocketAddr),
    /// What it took.
    pub(in super::super) laps: Vec<Lap>,
    /// Of the proxy, when it is spoken to in TLS.
    pub(in super::super) certificate: Option<Certificate>,
}

/// Why there is none, and what it took to know.
#[derive(Debug)]
pub(in super::super) struct NoEntry {
    pub(in super::super) laps: Vec<Lap>,
    pub(in super::super) failure: Failure,
    /// Of the proxy.
    pub(in super::super) certificate: Option<Certificate>,
}

/// Connects to the proxy, and speaks TLS with it when that was asked for; until `until`.
pub(in super::super) async fn enter(
    proxy: SocketAddr,
    until: Instant,
    context: &Context,
) -> Result<Entry, NoEntry> {
    let mut walk = Walk::new(until, context);
    let stream = match connect(proxy, &mut walk, context).await {
        Ok(stream) => stream,
        Err(failure) => return Err(NoEntry { laps: walk.laps, failure, certificate: None }),
    };
    let ends = walk.ends.unwrap_or((proxy, proxy));
    let (stream, certificate) = match context.ask.asked.scheme {
        Scheme::Http | Scheme::Socks5 => (Ok(stream), None),
        Scheme::Https => {
            let host = proxy_host(context, proxy);
            // TLS is large, and most do without it.
            Box::pin(secure(stream, (Party::Proxy, &host), (&mut walk, context))).await
        }
    };
    match stream {
        Ok(stream) => Ok(Entry { stream, ends, laps: walk.laps, certificate }),
        Err(failure) => Err(NoEntry { laps: walk.laps, failure, certificate }),
    }
}

/// One connect as the first phase of `walk`.
pub(super) async fn connect(
    to: SocketAddr,
    walk: &mut Walk<'_>,
    context: &Context,
) -> Result<Box<dyn Duplex>, Failure> {
    let left = context.left();
    let connected = walk.lap(Stage::Connect, async {
        let stream = knock(to, None, left).await.outcome?;
        let ends = (stream.local_addr()?, stream.peer_addr()?);
        Ok((stream, ends))
    });
    let (stream, ends) = connected.await?;
    walk.ends = Some(ends);
    Ok(Box::new(stream))
}

/// The name that the proxy's certificate must have.
fn proxy_host(context: &Context, proxy: SocketAddr) -> Host {
    let subject = &context.ask.subject;
    match subject.ip() {
        Some(ip) => Host::Ip(ip),
        // A name that no host has would not have got an address.
        None => Host::parse(&subject.host).unwrap_or(Host::Ip(proxy.ip())),
    }
}

/// A failure of which nothing more is known.
pub(in super::super) fn failure(stage: Stage, how: How, os_error: Option<i32>) -> Failure {
    Failure { stage, how, os_error, acknowledged: None, detail: None }
}

/// What an error of a socket means.
pub(in super::super) fn how_of(error: &std::io::Error) -> How {
    use std::io::ErrorKind;
    let tls = error.get_ref().and_then(|inside| inside.downcast_ref::<rustls::Error>());
    if matches!(tls, Some(rustls::Error::AlertReceived(_))) {
        return How::Alert;
    }
    #[allow(clippy::wildcard_enum_match_arm, reason = "a foreign enum of dozens of kinds")]
    match error.kind() {
        ErrorKind::ConnectionRefused => How::Refused,
        ErrorKind::TimedOut => How::Silent,
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe => {
            How::Reset
        }
        ErrorKind::UnexpectedEof => How::Closed,
        ErrorKind::InvalidData => How::Malformed,
        _ => How::Unreachable,
    }
}

/// `work`, or silence when it takes longer than until `until`.
pub(in super::super) async fn within<T>(
    until: Instant,
    work: impl Future<Output = Result<T, How>>,
) -> Result<T, How> {
    timeout_at(until, work).await.unwrap_or(Err(How::Silent))
}
