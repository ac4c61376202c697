//! Plain HTTP: a request on to its origin, the answer back, both streaming.
//!
//! Every request has an origin connection of its own. Both directions run at once: an origin may
//! answer before it has read the request (413, 100-continue), and a stream may go both ways.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;

use super::access_log::Record;
use super::connection::Client;
use super::reply::Persist;
use super::rewrite::{self, Onward, Reader};
use super::server::Shared;
use super::stop::Stop;
use crate::failure::Failure;
use crate::net::leg::{ClientLeg, Leg, receive};
use crate::net::meter::Meter;
use crate::wire::http1::body::{BodyError, BodyScan, Piece};
use crate::wire::http1::framing::{Body, response_body};
use crate::wire::http1::head::{HeadScan, ResponseHead, Version, parse_response, parse_trailers};

/// Interim responses of one request; more is an origin that never comes to the point.
const MAX_INTERIM: usize = 64;

/// What a client may send ahead while its request is answered; who sends more is cut.
const PIPELINE: usize = 64 * 1024;

/// How an exchange ended.
#[derive(Debug)]
pub enum Answered {
    /// The client has its answer and may send another request.
    Keep,
    /// The client has its answer and was told that the connection ends.
    Close,
    /// The origin has switched protocols; these are its first bytes.
    Switch(TcpStream, Vec<u8>),
    /// There is no answer to pass on.
    Refused(Stop),
    /// The client has left or its answer was cut: the connection is reset, and the record says
    /// why.
    Broken,
}

/// Sends `onward` to `origin` and its answer to `client`.
///
/// # Cancel safety
///
/// Dropping the future closes the origin's connection; the client must be closed too.
pub async fn exchange(
    client: &mut Client,
    mut origin: TcpStream,
    onward: &Onward<'_>,
    shared: &Shared,
    record: &mut Record,
) -> Answered {
    let job = Job {
        onward,
        via: &shared.via,
        meter: &record.meter,
        half_close: shared.settings.times.patience.half_close,
        persist: if shared.drain.is_cancelled() { Persist::Close } else { persistence(onward) },
        uploaded: AtomicBool::new(onward.body == Body::Empty),
        answering: AtomicBool::new(false),
    };
    let end = {
        let (from_origin, to_origin) = origin.split();
        let origin = (from_origin, to_origin);
        match &mut client.leg {
            ClientLeg::Tcp(stream) => job.run(stream.split(), origin, &mut client.buffer).await,
            ClientLeg::Tls(stream) => {
                job.run(tokio::io::split(stream), origin, &mut client.buffer).await
            }
        }
    };
    let answering = job.answering.load(Relaxed);
    match end {
        End::Complete(status, persist) => {
            record.status = Some(status);
            if persist == Persist::Keep { Answered::Keep } else { Answered::Close }
        }
        End::Switch(early) => {
            record.status = Some(101);
            Answered::Switch(origin, early)
        }
        End::Malformed if !answering => Answered::Refused(Stop::Chunk),
        End::Failed(failure) if !answering => Answered::Refused(Stop::Answer(failure)),
        cut @ (End::Failed(_) | End::Malformed | End::ClientGone) => {
            match cut {
                End::Failed(failure) => record.failed(failure),
                End::Malformed | End::ClientGone | End::Complete(..) | End::Switch(_) => {
                    record.client_gone();
                }
            }
            client.leg.reset_on_close();
            origin.reset_on_close();
            Answered::Broken
        }
    }
}

/// Whether the client's connection may outlive its request (RFC 9112 §9.3). HTTP/1.0 clients are
/// not trusted with persistence (RFC 9112 §C.2.2).
fn persistence(onward: &Onward<'_>) -> Persist {
    let head = &onward.head;
    if head.version == Version::Http10 || head.fields.lists("connection", "close") {
        Persist::Close
    } else {
        Persist::Keep
    }
}

/// One exchange.
struct Job<'e> {
    onward: &'e Onward<'e>,
    via: &'e str,
    meter: &'e Meter,
    half_close: Duration,
    persist: Persist,
    /// The whole request is with the origin.
    uploaded: AtomicBool,
    /// The head of the final answer is with the client: nothing else can be said any more.
    answering: AtomicBool,
}

enum End {
    Complete(u16, Persist),
    Switch(Vec<u8>),
    /// The origin's answer can't be passed on, or not to its end.
    Failed(Failure),
    /// The client's body is malformed.
    Malformed,
    ClientGone,
}

enum Uploaded {
    /// The request is complete and the client has closed its half.
    ClientFin,
    /// The origin takes no more; it may still answer.
    OriginGone,
    Malformed,
    ClientGone,
}

impl Job<'_> {
    /// Both directions at once, until the answer is complete.
    async fn run<R, W, O, P>(
        &self,
        (from_client, to_client): (R, W),
        (from_origin, to_origin): (O, P),
        buffer: &mut BytesMut,
    ) -> End
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
        O: AsyncRead + Unpin,
        P: AsyncWrite + Unpin,
    {
        let mut upload = std::pin::pin!(self.upload(from_client, to_origin, buffer));
        let mut download = std::pin::pin!(self.download(from_origin, to_client));
        let (mut uploading, mut half_closed) = (true, false);
        loop {
            tokio::select! {
                biased;
                end = &mut download => return end,
                uploaded = &mut upload, if uploading => {
                    uploading = false;
                    match uploaded {
                        Uploaded::ClientFin => half_closed = true,
                        Uploaded::OriginGone => {}
                        Uploaded::Malformed => return End::Malformed,
                        Uploaded::ClientGone => return End::ClientGone,
                    }
                }
                () = self.silence(), if half_closed => return End::ClientGone,
            }
        }
    }

    /// The request, and then whatever the client sends ahead.
    async fn upload<R, P>(&self, mut from: R, mut to: P, buffer: &mut BytesMut) -> Uploaded
    where
        R: AsyncRead + Unpin,
        P: AsyncWrite + Unpin,
    {
        let pump = Pump { body: self.onward.body, unchunk: false, note: |n| self.meter.add_up(n) };
        match pump.run((&mut from, &mut to), buffer, self.onward.encode(self.via)).await {
            Ok(()) => self.uploaded.store(true, Relaxed),
            Err(Broken::Writer) => return Uploaded::OriginGone,
            Err(Broken::Body) => return Uploaded::Malformed,
            Err(Broken::Reader | Broken::Truncated) => return Uploaded::ClientGone,
        }
        while buffer.len() < PIPELINE {
            match receive(&mut from, buffer).await {
                Ok(0) => return Uploaded::ClientFin,
                Ok(_) => {}
                Err(_) => return Uploaded::ClientGone,
            }
        }
        // Unread, it could leave without our noticing.
        Uploaded::ClientGone
    }

    /// Interim responses, then the final one.
    async fn download<O, W>(&self, mut from: O, mut to: W) -> End
    where
        O: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let mut buffer = BytesMut::new();
        for _ in 0..MAX_INTERIM {
            let bytes = match read_head(&mut from, &mut buffer).await {
                Ok(bytes) => bytes,
                Err(failure) => return End::Failed(failure),
            };
            let Ok(head) = parse_response(&bytes) else {
                return End::Failed(Failure::HttpProtocolError);
            };
            if head.status >= 200 {
                return self.deliver(&head, (from, to), buffer).await;
            }
            if head.status == 101 && !self.switches(&head) {
                return End::Failed(Failure::HttpUpgradeFailed);
            }
            // HTTP/1.0 has no interim responses (RFC 9110 §15.2).
            if self.onward.head.version == Version::Http11 {
                let interim = rewrite::interim_head(&head, self.via);
                if to.write_all(&interim).await.is_err() || to.flush().await.is_err() {
                    return End::ClientGone;
                }
                self.meter.add_down(interim.len());
            }
            if head.status == 101 {
                return End::Switch(buffer.to_vec());
            }
        }
        End::Failed(Failure::HttpProtocolError)
    }

    fn switches(&self, head: &ResponseHead<'_>) -> bool {
        self.onward.upgrades()
            && head.fields.only("upgrade").is_some_and(|to| to.eq_ignore_ascii_case(b"websocket"))
    }

    /// The final response.
    async fn deliver<O, W>(
        &self,
        head: &ResponseHead<'_>,
        (mut from, mut to): (O, W),
        mut buffer: BytesMut,
    ) -> End
    where
        O: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let request = &self.onward.head;
        let Ok(body) = response_body(request.method, head.status, head.version, &head.fields)
        else {
            return End::Failed(Failure::HttpProtocolError);
        };
        // An answer that comes before the request is complete ends the connection: nobody knows
        // whether the rest of the request will come.
        let persist = match body {
            Body::Empty | Body::Length(_) | Body::Chunked if self.uploaded.load(Relaxed) => {
                self.persist
            }
            Body::Empty | Body::Length(_) | Body::Chunked | Body::UntilClose => Persist::Close,
        };
        let reader = Reader { method: request.method, version: request.version };
        let first = rewrite::final_head(head, reader, body, (self.via, persist));
        self.answering.store(true, Relaxed);
        let unchunk = request.version == Version::Http10;
        let pump = Pump { body, unchunk, note: |n| self.meter.add_down(n) };
        match pump.run((&mut from, &mut to), &mut buffer, first).await {
            Ok(()) => End::Complete(head.status, persist),
            Err(Broken::Writer) => End::ClientGone,
            Err(Broken::Body) => End::Failed(Failure::HttpProtocolError),
            Err(Broken::Reader | Broken::Truncated) => End::Failed(Failure::HttpResponseIncomplete),
        }
    }

    /// Returns when nothing has moved for the half-close time (and at most twice as long).
    async fn silence(&self) {
        let mut before = None;
        while before != Some(self.meter.total()) {
            before = Some(self.meter.total());
            sleep(self.half_close).await;
        }
    }
}

async fn read_head<O: AsyncRead + Unpin>(
    from: &mut O,
    buffer: &mut BytesMut,
) -> Result<Bytes, Failure> {
    let mut scan = HeadScan::default();
    loop {
        match scan.advance(buffer) {
            Ok(Some(length)) => return Ok(buffer.split_to(length).freeze()),
            Ok(None) => {}
            Err(_) => return Err(Failure::HttpProtocolError),
        }
        match receive(from, buffer).await {
            Ok(0) if !buffer.is_empty() => return Err(Failure::HttpResponseIncomplete),
            Ok(0) | Err(_) => return Err(Failure::ConnectionTerminated),
            Ok(_) => {}
        }
    }
}

/// Carries one body.
struct Pump<N: Fn(usize)> {
    body: Body,
    /// Only the payload, for a reader that knows no chunks.
    unchunk: bool,
    /// Told of every byte that was written.
    note: N,
}

enum Broken {
    Reader,
    Writer,
    /// The reader ended before the body did.
    Truncated,
    /// The body is malformed.
    Body,
}

impl<N: Fn(usize)> Pump<N> {
    /// Writes `first` and then the body, of which `buffer` may hold some. What one read returns is
    /// written at once. Bytes behind the body stay in `buffer`.
    async fn run<R, W>(
        &self,
        (from, to): (&mut R, &mut W),
        buffer: &mut BytesMut,
        first: Vec<u8>,
    ) -> Result<(), Broken>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let mut scan = BodyScan::new(self.body);
        let mut out = first;
        loop {
            let understood = self.gather(&mut scan, buffer, &mut out);
            if !out.is_empty() {
                to.write_all(&out).await.map_err(|_| Broken::Writer)?;
                to.flush().await.map_err(|_| Broken::Writer)?;
                (self.note)(out.len());
                out.clear();
            }
            understood.map_err(|_| Broken::Body)?;
            if scan.is_done() {
                return Ok(());
            }
            match receive(from, buffer).await {
                Ok(0) if scan.ends_with_connection() => return Ok(()),
                Ok(0) => return Err(Broken::Truncated),
                Ok(_) => {}
                Err(_) => return Err(Broken::Reader),
            }
        }
    }

    /// Moves everything that is understood from `buffer` to `out`.
    fn gather(
        &self,
        scan: &mut BodyScan,
        buffer: &mut BytesMut,
        out: &mut Vec<u8>,
    ) -> Result<(), BodyError> {
        loop {
            let used = match scan.advance(buffer)? {
                Piece::More | Piece::End => return Ok(()),
                Piece::Bytes { consumed, payload } => {
                    let wanted = if self.unchunk { payload } else { 0..consumed };
                    out.extend_from_slice(buffer.get(wanted).unwrap_or_default());
                    consumed
                }
                Piece::Trailers(length) => {
                    let fields = parse_trailers(buffer.get(..length).unwrap_or_default())?;
                    if !self.unchunk {
                        out.extend_from_slice(&rewrite::trailers(&fields));
                    }
                    length
                }
            };
            buffer.advance(used);
        }
    }
}
