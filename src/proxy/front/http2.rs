//! HTTP/2 clients (RFC 9113): each stream is served as an HTTP/1.1 connection with one request.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use h2::server::{Builder, Connection, SendResponse};
use h2::{Reason, RecvStream};
use http::Request;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};

use super::http as http1;
use crate::net::h2::{Conduct, H2Stream};
use crate::net::leg::Stream;
use crate::net::replay::Replay;
use crate::proxy::access_log::Record;
use crate::proxy::connection::Client;
use crate::proxy::door::Door;
use crate::proxy::reply::{self, Persist, Show};
use crate::proxy::server::Shared;
use crate::proxy::stop::Stop;

/// Streams at once; a browser has a few dozen.
const STREAMS: u32 = 256;
/// What a client may send on one stream before its target has taken it.
const STREAM_WINDOW: u32 = 256 * 1024;
/// The same for the whole connection, until it is known to be served: it bounds what a stranger
/// may cost.
const FIRST_WINDOW: u32 = 256 * 1024;
/// And from then on: so many streams may stand still before the others do.
const CONNECTION_WINDOW: u32 = 16 * STREAM_WINDOW;
/// What one stream may hold that its client has not taken.
const SEND_BUFFER: usize = 64 * 1024;
/// As long as the head of an HTTP/1 request.
const HEADER_LIST: u32 = 64 * 1024;
/// How often it is looked at whether there are streams; a connection that has none three times in a row
/// is ended.
const LOOK: Duration = Duration::from_secs(45);

/// Streams of a connection that may end without an answer before we ask who does that: a person
/// leaves a page with dozens of requests under way.
const UNANSWERED: usize = 200;

/// The streams of one connection.
#[derive(Debug, Default)]
struct Streams {
    begun: usize,
    conduct: Arc<Conduct>,
    /// Being served, also when the client has reset them meanwhile.
    live: Arc<AtomicUsize>,
}

impl Streams {
    /// Whether the client only makes us work: it resets most of what it asks for
    /// (CVE-2023-44487), or faster than we notice.
    fn are_hostile(&self) -> bool {
        let unanswered = self.conduct.unanswered.load(Relaxed);
        (unanswered > UNANSWERED && unanswered * 2 > self.begun)
            || self.live.load(Relaxed) > 2 * STREAMS as usize
    }
}

/// Serves `client` until it leaves, or has had nothing to ask for a while.
pub async fn serve(client: Client, shared: &Arc<Shared>) {
    let Client { leg, buffer, peer, judged, door, permit } = client;
    let mut builder = Builder::new();
    // h2 bounds by itself what rapid resets, floods of CONTINUATION and of empty frames can do.
    builder
        .max_concurrent_streams(STREAMS)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(FIRST_WINDOW)
        .max_send_buffer_size(SEND_BUFFER)
        .max_header_list_size(HEADER_LIST)
        .enable_connect_protocol();
    let greeting = builder.handshake::<_, Bytes>(Replay::new(buffer, leg));
    let connection = match timeout(shared.settings.times.header, greeting).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => return tracing::debug!(client = %peer, "closed: HTTP/2: {error}"),
        Err(_) => return tracing::debug!(client = %peer, "closed: HTTP/2: it said nothing more"),
    };
    drive(connection, From { peer, judged, door }, shared).await;
    drop(permit);
}

/// Whose connection it is.
#[derive(Debug, Clone, Copy)]
struct From {
    peer: SocketAddr,
    judged: IpAddr,
    door: Door,
}

/// Accepts streams until the connection ends.
async fn drive(mut connection: Connection<Replay, Bytes>, from: From, shared: &Arc<Shared>) {
    let first = Instant::now() + shared.settings.times.header;
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
                        tracing::debug!(client = %from.peer, "closed: HTTP/2: resets its requests");
                        connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
                    }
                }
                Some(Err(error)) => {
                    return tracing::debug!(client = %from.peer, "closed: HTTP/2: {error}");
                }
                None => return,
            },
            () = streams.conduct.busy.notified() => {
                connection.set_target_window_size(CONNECTION_WINDOW);
            }
            // As long as a client of HTTP/1 may take for its first head.
            () = sleep_until(first), if streams.begun == 0 => return,
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
    from: From,
    streams: &Streams,
    shared: &Arc<Shared>,
) {
    let From { peer, judged, door } = from;
    let refused = |stop: &Stop| {
        let mut record = Record::new(&shared.log, shared.next_id(), (peer, door));
        record.stopped(stop, Persist::Keep);
    };
    let (permit, full) = match shared.places.admit(peer.ip()) {
        Ok(permit) => (permit, None),
        Err(stop) => {
            let Some(permit) = shared.places.admit_refused() else {
                refused(&stop);
                return respond.send_reset(Reason::REFUSED_STREAM);
            };
            (permit, Some(stop))
        }
    };
    let stream = match H2Stream::new(request, respond, Arc::clone(&streams.conduct)) {
        Ok(stream) => stream,
        Err(refusal) => {
            let stop = Stop::Http2(refusal.why);
            refusal.answer(&reply::answer(&stop, Persist::Keep, Show::Body));
            return refused(&stop);
        }
    };
    let leg = Stream::Http2(Box::new(stream));
    let client = Client { leg, buffer: BytesMut::new(), peer, judged, door, permit };
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
