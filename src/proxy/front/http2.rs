//! HTTP/2 clients (RFC 9113): each stream is served as an HTTP/1.1 connection with one request.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use h2::server::{Builder, Connection, SendResponse};
use h2::{Reason, RecvStream};
use http::Request;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::http as http1;
use crate::net::h2::H2Stream;
use crate::net::leg::Stream;
use crate::net::replay::Replay;
use crate::proxy::connection::Client;
use crate::proxy::door::Door;
use crate::proxy::server::Shared;

/// Streams at once; a browser has a few dozen.
const STREAMS: u32 = 256;
/// What a client may send on one stream before its target has taken it: at 100 ms that is 10 MB/s.
const STREAM_WINDOW: u32 = 1 << 20;
/// The same for the whole connection; it bounds what one connection costs.
const CONNECTION_WINDOW: u32 = 4 << 20;
/// What one stream may hold that its client has not taken.
const SEND_BUFFER: usize = 64 * 1024;
/// As long as the head of an HTTP/1 request.
const HEADER_LIST: u32 = 64 * 1024;
/// How often it is looked at whether there are streams; a connection that twice has none is ended.
const LOOK: Duration = Duration::from_secs(45);

/// Streams of a connection that may end without an answer before we ask who does that: a person
/// leaves a page with dozens of requests under way.
const UNANSWERED: usize = 200;

/// The streams of one connection.
#[derive(Debug, Default)]
struct Streams {
    begun: usize,
    unanswered: Arc<AtomicUsize>,
    /// Being served, also when the client has reset them meanwhile.
    live: Arc<AtomicUsize>,
}

impl Streams {
    /// Whether the client only makes us work: it resets most of what it asks for
    /// (CVE-2023-44487), or faster than we notice.
    fn are_hostile(&self) -> bool {
        let unanswered = self.unanswered.load(Relaxed);
        (unanswered > UNANSWERED && unanswered * 2 > self.begun)
            || self.live.load(Relaxed) > 2 * STREAMS as usize
    }
}

/// Serves `client` until it leaves, or has had nothing to ask for a while.
pub async fn serve(client: Client, shared: &Arc<Shared>) {
    let Client { leg, buffer, peer, door, permit } = client;
    let mut builder = Builder::new();
    // h2 bounds by itself what rapid resets, floods of CONTINUATION and of empty frames can do.
    builder
        .max_concurrent_streams(STREAMS)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(SEND_BUFFER)
        .max_header_list_size(HEADER_LIST)
        .enable_connect_protocol();
    let greeting = builder.handshake::<_, Bytes>(Replay::new(buffer, leg));
    let connection = match timeout(shared.settings.times.header, greeting).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => return tracing::debug!(client = %peer, "closed: HTTP/2: {error}"),
        Err(_) => return tracing::debug!(client = %peer, "closed: HTTP/2: it said nothing more"),
    };
    drive(connection, (peer, door), shared).await;
    drop(permit);
}

/// Accepts streams until the connection ends.
async fn drive(
    mut connection: Connection<Replay, Bytes>,
    from: (SocketAddr, Door),
    shared: &Arc<Shared>,
) {
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut ending, mut idle) = (false, 0);
    let mut streams = Streams::default();
    loop {
        tokio::select! {
            accepted = connection.accept() => match accepted {
                Some(Ok((request, respond))) => {
                    idle = 0;
                    streams.begun += 1;
                    begin((request, respond), from, &streams, shared);
                    if !ending && streams.are_hostile() {
                        ending = true;
                        tracing::debug!(client = %from.0, "closed: HTTP/2: resets its requests");
                        connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
                    }
                }
                Some(Err(error)) => {
                    return tracing::debug!(client = %from.0, "closed: HTTP/2: {error}");
                }
                None => return,
            },
            () = shared.drain.cancelled(), if !ending => {
                ending = true;
                connection.graceful_shutdown();
            }
            _ = looks.tick() => {
                idle = if connection.has_streams() { 0 } else { idle + 1 };
                match idle {
                    // The first look comes at once.
                    0..=2 => {}
                    3 => {
                        ending = true;
                        connection.graceful_shutdown();
                    }
                    // It does not even answer that.
                    _ => return,
                }
            }
        }
    }
}

/// Serves one stream, in a task of its own. It has a place like any other connection: it needs as
/// many descriptors.
fn begin(
    (request, mut respond): (Request<RecvStream>, SendResponse<Bytes>),
    (peer, door): (SocketAddr, Door),
    streams: &Streams,
    shared: &Arc<Shared>,
) {
    let (permit, full) = match shared.places.admit(peer.ip()) {
        Ok(permit) => (permit, None),
        Err(stop) => match shared.places.admit_refused() {
            Some(permit) => (permit, Some(stop)),
            None => return respond.send_reset(Reason::REFUSED_STREAM),
        },
    };
    let stream = match H2Stream::new(request, respond) {
        Ok(stream) => stream.counting(Arc::clone(&streams.unanswered)),
        Err(refusal) => {
            return tracing::debug!(client = %peer, "refused: HTTP/2: {refusal}");
        }
    };
    let leg = Stream::Http2(Box::new(stream));
    let client = Client { leg, buffer: BytesMut::new(), peer, door, permit };
    let theirs = Arc::clone(shared);
    let live = Arc::clone(&streams.live);
    live.fetch_add(1, Relaxed);
    shared.tracker.spawn(async move {
        match full {
            None => http1::serve(client, &theirs).await,
            Some(stop) => {
                let record = client.record(&theirs);
                http1::turn_away(client, stop, record).await;
            }
        }
        live.fetch_sub(1, Relaxed);
    });
}
