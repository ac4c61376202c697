//! What every question to `sami-proxy.internal` needs.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep, sleep_until};

use super::super::Context;
use super::super::through::entry::{Duplex, Entry, enter, how_of};
use super::super::through::message::{Head, head};
use crate::diag::fact::{End, How};
use crate::wire::http1::body::{BodyScan, Piece};
use crate::wire::http1::framing::Body;
use crate::wire::parent::authorization;

/// The proxy by the name that only it knows.
pub(super) const NAME: &str = "sami-proxy.internal";

/// Of RFC 862.
pub(super) const ECHO: &str = "sami-proxy.internal:7";

/// For a connection. Who needs longer is found out by `tcp-connect`.
const CONNECT: Duration = Duration::from_secs(3);

/// Checks end by themselves so long before the whole run does.
const MARGIN: Duration = Duration::from_millis(300);

/// `work` as far as it comes: after `limit` it was [`End::Silent`], and [`End::Unfinished`] when the
/// time of the whole run is nearly over or the user has had enough.
pub(super) async fn limited<T>(
    limit: Duration,
    context: &Context,
    work: impl Future<Output = Result<T, End>>,
) -> Result<T, End> {
    tokio::select! {
        biased;
        () = over(context) => Err(End::Unfinished),
        () = sleep(limit) => Err(End::Silent),
        done = work => done,
    }
}

/// Done when the time of the whole run is nearly over, or the user has had enough.
pub(super) async fn over(context: &Context) {
    tokio::select! {
        () = sleep_until(end(context)) => {}
        () = context.stop.cancelled() => {}
    }
}

fn end(context: &Context) -> Instant {
    context.deadline.checked_sub(MARGIN).unwrap_or(context.deadline)
}

/// Connects to the proxy.
pub(super) async fn entered(proxy: SocketAddr, context: &Context) -> Result<Entry, End> {
    let until = end(context).min(Instant::now() + CONNECT);
    enter(proxy, until, context).await.map_err(|_| End::NoConnection)
}

/// A request of `line` (method and target) for `host`. `more` is whole lines.
pub(super) fn request((line, host): (&str, &str), more: &str, context: &Context) -> Vec<u8> {
    let who = context.ask.login.as_ref().map_or_else(String::new, |(user, password)| {
        format!("Proxy-Authorization: {}\r\n", authorization(user, password))
    });
    format!("{line} HTTP/1.1\r\nHost: {host}\r\n{who}{more}\r\n").into_bytes()
}

/// `GET` of `path` from the proxy itself.
pub(super) fn get(path: &str, context: &Context) -> Vec<u8> {
    let line = format!("GET http://{NAME}{path}");
    request((&line, NAME), "Connection: close\r\n", context)
}

/// `CONNECT` to `authority`.
pub(super) fn connect(authority: &str, context: &Context) -> Vec<u8> {
    let line = format!("CONNECT {authority}");
    request((&line, authority), "", context)
}

/// Says `words`, all of them at once.
pub(super) async fn say(stream: &mut (dyn Duplex + '_), words: &[u8]) {
    // Who has closed already may still have said something; whoever reads hears what is wrong.
    if stream.write_all(words).await.is_ok() {
        let _likewise = stream.flush().await;
    }
}

/// Says `words` and hears the head of the answer.
pub(super) async fn asked(stream: &mut (dyn Duplex + '_), words: &[u8]) -> Result<Head, How> {
    say(stream, words).await;
    head(stream).await
}

/// How a connection ended that had nothing more for us.
pub(super) const fn end_of(how: How) -> End {
    match how {
        How::Silent => End::Silent,
        How::Reset => End::Reset,
        How::Closed | How::Denied | How::Certificate | How::Alert | How::Malformed => End::Closed,
        How::NoAddress | How::Refused | How::Unreachable => End::NoConnection,
        How::Unfinished => End::Unfinished,
    }
}

/// The body of an answer, piece by piece.
#[derive(Debug)]
pub(super) struct Content {
    scan: BodyScan,
    received: BytesMut,
}

impl Content {
    /// That of `head`, as much of it as has come already included (RFC 9112 §6.3).
    pub(super) fn of(head: &mut Head) -> Self {
        let chunked = head.text("transfer-encoding").is_some();
        let body = match head.number("content-length") {
            _ if chunked => Body::Chunked,
            Some(length) => Body::Length(length),
            None => Body::UntilClose,
        };
        Self { scan: BodyScan::new(body), received: std::mem::take(&mut head.rest) }
    }

    /// The next bytes of it, at least one; `None` at its end.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost.
    pub(super) async fn next(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin + ?Sized),
    ) -> Result<Option<BytesMut>, How> {
        loop {
            match self.scan.advance(&self.received).map_err(|_| How::Malformed)? {
                Piece::End | Piece::Trailers(_) => return Ok(None),
                Piece::Bytes { consumed, payload } => {
                    let mut piece = self.received.split_to(consumed);
                    if !payload.is_empty() {
                        piece.truncate(payload.end);
                        piece.advance(payload.start);
                        return Ok(Some(piece));
                    }
                }
                Piece::More => match stream.read_buf(&mut self.received).await {
                    Ok(0) if self.scan.ends_with_connection() => return Ok(None),
                    Ok(0) => return Err(How::Closed),
                    Ok(_) => {}
                    Err(error) => return Err(how_of(&error)),
                },
            }
        }
    }

    /// All of it, if that is at most `most` bytes.
    pub(super) async fn whole(
        mut self,
        stream: &mut (impl AsyncRead + Unpin + ?Sized),
        most: usize,
    ) -> Result<Vec<u8>, How> {
        let mut all = Vec::new();
        while let Some(piece) = self.next(stream).await? {
            if all.len() + piece.len() > most {
                return Err(How::Malformed);
            }
            all.extend_from_slice(&piece);
        }
        Ok(all)
    }
}
