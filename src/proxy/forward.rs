//! Plain HTTP: a request on to its origin, the answer back, both streaming.
//!
//! Both directions run at once: an origin may answer before it has read the request (413,
//! 100-continue), and a stream may go both ways.

use std::mem;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::AsyncWriteExt;
use tokio::time::sleep;

use super::access_log::Record;
use super::connection::Client;
use super::origins::Origin;
use super::pump::{Broken, Pump};
use super::reply::Persist;
use super::rewrite::{self, Onward, Reader};
use super::server::Shared;
use super::stop::Stop;
use crate::failure::Failure;
use crate::net::halves::{Reading, Writing};
use crate::net::leg::receive;
use crate::wire::http1::framing::{Body, response_body};
use crate::wire::http1::head::{HeadScan, ResponseHead, Version, parse_response};

/// Interim responses of one request; more is an origin that never comes to the point.
const MAX_INTERIM: usize = 64;

/// What a client may send ahead while its request is answered; who sends more is cut.
const PIPELINE: usize = 64 * 1024;

/// How an exchange ended.
#[derive(Debug)]
pub enum Answered {
    /// The client has its answer; it may send another request, or was told that the connection
    /// ends.
    Complete(Persist, Afterwards),
    /// The origin has switched protocols; these are its first bytes.
    Switch(Vec<u8>),
    /// A connection that had been kept was closed by its origin before it said anything: the same
    /// request may be sent on another one.
    Stale,
    /// There is no answer to pass on.
    Refused(Stop),
    /// The client has left or its answer was cut: the connection is reset, and the record says
    /// why.
    Broken,
}

/// What the connection to the origin is good for after an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Afterwards {
    /// Another request.
    Reusable,
    /// Nothing.
    Spent,
}

/// Sends `onward` to `origin` and its answer to `client`.
///
/// # Cancel safety
///
/// When the future is dropped both connections must be closed.
pub async fn exchange(
    client: &mut Client,
    origin: &mut Origin,
    onward: &Onward<'_>,
    shared: &Shared,
    record: &mut Record,
) -> Answered {
    let job = Job {
        onward,
        via: &shared.via,
        record,
        half_close: shared.settings.times.patience.half_close,
        persist: if shared.drain.is_cancelled() { Persist::Close } else { persistence(onward) },
        origin_was_used: origin.used,
        early: mem::take(&mut origin.early),
        uploaded: AtomicBool::new(false),
        answering: AtomicBool::new(false),
    };
    let end = job.run(client.leg.split(), origin.stream.split(), &mut client.buffer).await;
    let answering = job.answering.load(Relaxed);
    match end {
        End::Complete(status, persist, afterwards) => {
            record.status = Some(status);
            Answered::Complete(persist, afterwards)
        }
        End::Switch(early) => {
            record.status = Some(101);
            Answered::Switch(early)
        }
        End::Unheard if origin.used => Answered::Stale,
        End::Unheard => Answered::Refused(Stop::Answer(Failure::ConnectionTerminated)),
        End::Malformed if !answering => Answered::Refused(Stop::Chunk),
        End::Failed(failure) if !answering => Answered::Refused(Stop::Answer(failure)),
        cut @ (End::Failed(_) | End::Malformed | End::ClientGone) => {
            match cut {
                End::Failed(failure) => record.failed(failure),
                End::Malformed
                | End::ClientGone
                | End::Unheard
                | End::Complete(..)
                | End::Switch(_) => record.client_gone(),
            }
            client.leg.reset_on_close();
            origin.stream.reset_on_close();
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
    record: &'e Record,
    half_close: Duration,
    persist: Persist,
    origin_was_used: bool,
    /// What came with the parent's consent.
    early: Vec<u8>,
    /// The whole request is with the origin.
    uploaded: AtomicBool,
    /// The head of the final answer is with the client: nothing else can be said any more.
    answering: AtomicBool,
}

enum End {
    Complete(u16, Persist, Afterwards),
    Switch(Vec<u8>),
    /// The origin has ended the connection without a word, or only to say that it was idle.
    Unheard,
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
    async fn run(
        &self,
        (from_client, to_client): (Reading<'_>, Writing<'_>),
        (from_origin, to_origin): (Reading<'_>, Writing<'_>),
        buffer: &mut BytesMut,
    ) -> End {
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
    async fn upload(
        &self,
        mut from: Reading<'_>,
        mut to: Writing<'_>,
        buffer: &mut BytesMut,
    ) -> Uploaded {
        let pump = Pump { body: self.onward.body, unchunk: false, note: |n| self.up(n) };
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
    async fn download(&self, mut from: Reading<'_>, mut to: Writing<'_>) -> End {
        let mut buffer = BytesMut::from(&*self.early);
        for count in 0..MAX_INTERIM {
            let bytes = match read_head(&mut from, &mut buffer).await {
                Ok(bytes) => bytes,
                Err(Failure::ConnectionTerminated) if count == 0 => return End::Unheard,
                Err(failure) => return End::Failed(failure),
            };
            let Ok(head) = parse_response(&bytes) else {
                return End::Failed(Failure::HttpProtocolError);
            };
            // What comes before the request is no answer to it.
            let early = !self.uploaded.load(Relaxed);
            if self.origin_was_used && count == 0 && (early || says_idle(&head)) {
                return End::Unheard;
            }
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
                self.down(interim.len());
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
    async fn deliver(
        &self,
        head: &ResponseHead<'_>,
        (mut from, mut to): (Reading<'_>, Writing<'_>),
        mut buffer: BytesMut,
    ) -> End {
        let request = &self.onward.head;
        let Ok(body) = response_body(request.method, head.status, head.version, &head.fields)
        else {
            return End::Failed(Failure::HttpProtocolError);
        };
        // An answer that comes before the request is complete ends both connections: nobody knows
        // whether the rest of the request will come.
        let certain = self.uploaded.load(Relaxed) && body != Body::UntilClose;
        let persist = if certain { self.persist } else { Persist::Close };
        let stays = certain
            && self.onward.is_repeatable()
            && !(body == Body::Empty && promises_body(head))
            && head.version == Version::Http11
            && !head.fields.lists("connection", "close")
            && !self.onward.binds_connection(head);
        let reader = Reader { method: request.method, version: request.version };
        let first = rewrite::final_head(head, reader, body, (self.via, persist));
        self.answering.store(true, Relaxed);
        let unchunk = request.version == Version::Http10;
        let pump = Pump { body, unchunk, note: |n| self.down(n) };
        match pump.run((&mut from, &mut to), &mut buffer, first).await {
            Ok(()) => {
                // Bytes behind the answer belong to nobody.
                let reusable = stays && buffer.is_empty();
                let afterwards = if reusable { Afterwards::Reusable } else { Afterwards::Spent };
                End::Complete(head.status, persist, afterwards)
            }
            Err(Broken::Writer) => End::ClientGone,
            Err(Broken::Body) => End::Failed(Failure::HttpProtocolError),
            Err(Broken::Reader | Broken::Truncated) => End::Failed(Failure::HttpResponseIncomplete),
        }
    }

    fn up(&self, bytes: usize) {
        self.record.meter.add_up(bytes);
        self.record.passed(bytes as u64, 0);
    }

    fn down(&self, bytes: usize) {
        self.record.meter.add_down(bytes);
        self.record.passed(0, bytes as u64);
    }

    /// Returns when nothing has moved for the half-close time (and at most twice as long).
    async fn silence(&self) {
        let mut before = None;
        while before != Some(self.record.meter.total()) {
            before = Some(self.record.meter.total());
            sleep(self.half_close).await;
        }
    }
}

/// A body is announced that does not come (HEAD, 304): origins that send it all the same exist.
fn promises_body(head: &ResponseHead<'_>) -> bool {
    head.fields.has("transfer-encoding")
        || head.fields.all("content-length").any(|value| value != b"0")
}

/// "You have sent nothing for too long": it has crossed our request (RFC 9110 §15.5.9).
fn says_idle(head: &ResponseHead<'_>) -> bool {
    head.status == 408 && head.fields.lists("connection", "close")
}

async fn read_head(from: &mut Reading<'_>, buffer: &mut BytesMut) -> Result<Vec<u8>, Failure> {
    let mut scan = HeadScan::default();
    loop {
        match scan.take(buffer) {
            Ok(Some(head)) => return Ok(head),
            Ok(None) => {}
            Err(_) => return Err(Failure::HttpProtocolError),
        }
        match receive(from, buffer).await {
            Ok(0) | Err(_) if !buffer.is_empty() => return Err(Failure::HttpResponseIncomplete),
            Ok(0) | Err(_) => return Err(Failure::ConnectionTerminated),
            Ok(_) => {}
        }
    }
}
