//! One client: who it is behind a load balancer, TLS if it begins so, then whichever protocol its
//! first bytes are of.

use std::future::{pending, poll_fn};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use rustls::ServerConfig;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::accept::Permit;
use super::access_log::Record;
use super::door::{Cover, Door};
use super::front;
use super::reply::Persist;
use super::server::Shared;
use super::stop::Stop;
use crate::net::leg::{Stream, receive};
use crate::net::sniff::{Protocol, sniff};
use crate::net::tls;
use crate::wire::proxy_header;

/// How much a client may still send after our last answer before we stop listening, and for how
/// long. Without this the kernel would answer its bytes with a reset that destroys our answer
/// before it is read (RFC 9112 §9.6).
const LINGER: (usize, Duration) = (16 << 20, Duration::from_secs(2));

/// For a client to take an answer of ours. One that grants no room for it would hold its place, and
/// under HTTP/2 no timer of TCP sees that.
const TAKEN: Duration = Duration::from_secs(10);

/// For a client that is turned away to say which protocol it wants to hear that in.
const TURNED_AWAY: Duration = Duration::from_secs(2);

/// A client's connection and what is known of it.
#[derive(Debug)]
pub struct Client {
    /// The socket.
    pub leg: Stream,
    /// Received, not yet understood.
    pub buffer: BytesMut,
    /// Where it comes from; an IPv4 address is never shown as an IPv6 one.
    pub peer: SocketAddr,
    /// The address that it is judged by: the same; or, when a load balancer did not say who it is,
    /// the unspecified one, which nobody trusts.
    pub judged: IpAddr,
    /// How it came in.
    pub door: Door,
    /// Its place among all connections.
    pub permit: Permit,
}

/// Why a connection is closed before it has asked for anything.
#[derive(Debug, thiserror::Error)]
enum Closed {
    #[error("it said nothing, or left")]
    Silent,
    #[error("{0} is not spoken here")]
    Foreign(&'static str),
    #[error("TLS: {0}")]
    Tls(io::Error),
    #[error("PROXY protocol: {0}")]
    Header(#[from] proxy_header::HeaderError),
    #[error("not in --allow-client")]
    NotAllowed,
    #[error("there are too many")]
    Full(Stop),
}

impl Closed {
    /// Tells the operator who looks for it. What a load balancer sends is the operator's own
    /// affair, and wrong until mended; anything else is the noise of the Internet.
    fn note(&self, shared: &Shared, client: SocketAddr) {
        shared.log.tally.door(Door::Unknown);
        match self {
            Self::Header(error) => {
                tracing::warn!(%client, "closed: no valid PROXY protocol header: {error}");
            }
            Self::Silent | Self::Foreign(_) | Self::Tls(_) | Self::NotAllowed | Self::Full(_) => {
                tracing::debug!(%client, "closed: {self}");
            }
        }
    }
}

/// Serves a fresh connection until it has nothing more to say or became a tunnel.
pub async fn serve(shared: Arc<Shared>, mut client: Client) {
    let deadline = Instant::now() + shared.settings.times.header;
    if shared.speaks_proxy_protocol(client.peer.ip()) {
        match Box::pin(introduce(&mut client, &shared, deadline)).await {
            Ok(()) => {}
            Err(Closed::Full(stop)) => return Box::pin(turn_away(&shared, client, stop)).await,
            Err(closed) => return closed.note(&shared, client.peer),
        }
    }
    let peer = client.peer;
    let (client, protocol) = match greet(client, &shared, deadline).await {
        Ok(greeted) => greeted,
        Err(closed) => return closed.note(&shared, peer),
    };
    shared.log.tally.door(client.door);
    // Boxed but for the usual one: a task has room for the largest of its parts.
    match protocol {
        Protocol::Http1 => front::http::serve(client, &shared).await,
        Protocol::Http2 => Box::pin(front::http2::serve(client, &shared)).await,
        Protocol::Socks4 => Box::pin(front::socks::serve4(client, &shared)).await,
        Protocol::Socks5 => Box::pin(front::socks::serve5(client, &shared)).await,
        Protocol::Tls | Protocol::Foreign(_) => {}
    }
}

/// Says why the house is full to a client that has said nothing yet, not even through its load
/// balancer who it is.
pub async fn turn_away_newcomer(shared: &Shared, mut client: Client, stop: Stop) {
    if shared.speaks_proxy_protocol(client.peer.ip()) {
        let deadline = Instant::now() + TURNED_AWAY;
        if let Err(closed) = name(&mut client, shared, deadline).await {
            return closed.note(shared, client.peer);
        }
    }
    turn_away(shared, client, stop).await;
}

/// Says why the house is full to a client whose protocol is not known yet, in that protocol.
async fn turn_away(shared: &Shared, mut client: Client, stop: Stop) {
    let deadline = Instant::now() + TURNED_AWAY;
    let known = until(&mut client, shared, deadline, sniff).await;
    let protocol = known.unwrap_or(Protocol::Http1);
    client.door = Door::of(protocol, Cover::Plain);
    shared.log.tally.door(client.door);
    let mut record = client.record(shared);
    match protocol {
        Protocol::Http1 => front::http::turn_away(client, stop, record).await,
        Protocol::Socks4 | Protocol::Socks5 => {
            front::socks::turn_away(client, shared, stop, record).await;
        }
        // TLS and HTTP/2 begin with more than we have time for.
        Protocol::Http2 | Protocol::Tls | Protocol::Foreign(_) => {
            record.stopped(&stop, Persist::Close);
            record.status = None;
        }
    }
}

/// Finds out what the client speaks and brings it so far that this can be spoken.
async fn greet(
    mut client: Client,
    shared: &Shared,
    deadline: Instant,
) -> Result<(Client, Protocol), Closed> {
    let mut cover = Cover::Plain;
    let mut protocol = until(&mut client, shared, deadline, sniff).await?;
    if protocol == Protocol::Tls {
        match shared.tls.current() {
            Some(config) => {
                cover = Cover::Tls;
                (client, protocol) = Box::pin(end_tls(client, shared, config)).await?;
            }
            // Answered with 400: "wrong version number" is what every client then says, and what
            // every search engine knows to be "this proxy speaks no TLS".
            None => protocol = Protocol::Http1,
        }
    }
    client.door = Door::of(protocol, cover);
    match protocol {
        Protocol::Foreign(name) => Err(Closed::Foreign(name)),
        Protocol::Tls => Err(Closed::Foreign("TLS inside TLS")),
        Protocol::Http1 | Protocol::Http2 | Protocol::Socks4 | Protocol::Socks5 => {
            Ok((client, protocol))
        }
    }
}

/// Ends TLS and finds out what is spoken under it.
async fn end_tls(
    client: Client,
    shared: &Shared,
    config: Arc<ServerConfig>,
) -> Result<(Client, Protocol), Closed> {
    let Client { leg, buffer, peer, judged, door, permit } = client;
    let Stream::Tcp(stream) = leg else { return Err(Closed::Foreign("TLS inside TLS")) };
    let times = &shared.settings.times;
    let secured = tls::accept(stream, buffer, config, times.handshake).await;
    let (leg, application) = secured.map_err(Closed::Tls)?;
    let mut client = Client { leg, buffer: BytesMut::new(), peer, judged, door, permit };
    let protocol = match application {
        tls::Application::Http2 => Protocol::Http2,
        tls::Application::Unsaid => {
            until(&mut client, shared, Instant::now() + times.header, sniff).await?
        }
    };
    Ok((client, protocol))
}

/// Finds out who the client of a load balancer is, and counts it.
async fn introduce(client: &mut Client, shared: &Shared, deadline: Instant) -> Result<(), Closed> {
    name(client, shared, deadline).await?;
    shared.places.seat_client(&mut client.permit, client.peer.ip()).map_err(Closed::Full)
}

/// Reads who the client of a load balancer is. The header is not optional there: without it
/// everybody would have the balancer's address, and perhaps its trust.
async fn name(client: &mut Client, shared: &Shared, deadline: Instant) -> Result<(), Closed> {
    let parse = |bytes: &[u8]| proxy_header::parse(bytes).transpose();
    let (header, length) = until(client, shared, deadline, parse).await??;
    client.buffer.advance(length);
    let Some(source) = header.source else {
        // The balancer's own health check, or a client that it does not name: neither has its trust.
        client.judged = Ipv4Addr::UNSPECIFIED.into();
        return Ok(());
    };
    client.peer = SocketAddr::new(source.ip().to_canonical(), source.port());
    client.judged = client.peer.ip();
    if shared.gate.admits(client.peer.ip()) { Ok(()) } else { Err(Closed::NotAllowed) }
}

/// Reads until `decide` can tell.
async fn until<T>(
    client: &mut Client,
    shared: &Shared,
    deadline: Instant,
    decide: impl Fn(&[u8]) -> Option<T>,
) -> Result<T, Closed> {
    loop {
        if let Some(decision) = decide(&client.buffer) {
            return Ok(decision);
        }
        let begun = !client.buffer.is_empty();
        match timeout_at(deadline, client.hear((!begun).then_some(&shared.drain))).await {
            Ok(1..) => {}
            Ok(0) | Err(_) => return Err(Closed::Silent),
        }
    }
}

impl Client {
    /// A client that has said nothing yet.
    pub fn new(stream: TcpStream, peer: SocketAddr, permit: Permit) -> Self {
        let (leg, judged) = (stream.into(), peer.ip());
        Self { leg, buffer: BytesMut::new(), peer, judged, door: Door::Unknown, permit }
    }

    /// A record of a request of its that begins now.
    pub fn record(&self, shared: &Shared) -> Record {
        Record::new(&shared.log, shared.next_id(), (self.peer, self.door))
    }

    /// Reads what comes and tells how much; 0 when it has left, or at the `end`, if there is one for
    /// it: who is in the middle of a request may finish.
    pub async fn hear(&mut self, end: Option<&CancellationToken>) -> usize {
        let ended = async {
            match end {
                Some(end) => end.cancelled().await,
                None => pending().await,
            }
        };
        tokio::select! {
            // What has come is served, also when the end has come with it.
            biased;
            read = receive(&mut self.leg, &mut self.buffer) => read.unwrap_or(0),
            () = ended => 0,
        }
    }

    /// Sends `answer`.
    ///
    /// # Errors
    ///
    /// The client is gone, or does not take it in time; then the connection is reset.
    pub async fn send(&mut self, answer: &[u8]) -> io::Result<()> {
        let mut sending = pin!(async {
            self.leg.write_all(answer).await?;
            self.leg.flush().await
        });
        // Nearly always it is taken at once, and then no clock is needed.
        let sent = match poll_fn(|cx| Poll::Ready(sending.as_mut().poll(cx))).await {
            Poll::Ready(sent) => sent,
            Poll::Pending => timeout(TAKEN, sending).await.unwrap_or_else(|late| Err(late.into())),
        };
        if sent.is_err() {
            self.leg.reset_on_close();
        }
        sent
    }

    /// Closes so that the last answer arrives: end of our bytes first, then the client's rest is
    /// thrown away for a while.
    pub async fn close(mut self) {
        let (limit, time) = LINGER;
        let rest = async {
            self.leg.shutdown().await?;
            let mut thrown = 0;
            while thrown < limit {
                self.buffer.clear();
                match receive(&mut self.leg, &mut self.buffer).await? {
                    0 => break,
                    count => thrown += count,
                }
            }
            io::Result::Ok(())
        };
        // Whatever happens now, the connection is over.
        drop(timeout(time, rest).await);
    }
}
