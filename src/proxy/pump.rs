//! One body from one connection to another, as it comes; or to nobody.

use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::connection::Client;
use super::rewrite;
use crate::net::leg::receive;
use crate::wire::http1::body::{BodyError, BodyScan, Piece};
use crate::wire::http1::framing::Body;
use crate::wire::http1::head::parse_trailers;

/// What is read of a refused request's body so that the connection can be used again: .NET and
/// browsers repeat a request with credentials on the connection that told them to.
const DRAIN: (u64, Duration) = (64 * 1024, Duration::from_secs(2));

/// Carries one body.
pub(super) struct Pump<N: Fn(usize)> {
    /// How it ends.
    pub(super) body: Body,
    /// Only the payload, for a reader that knows no chunks.
    pub(super) unchunk: bool,
    /// Told of every byte that was written.
    pub(super) note: N,
}

/// Why a body did not arrive whole.
pub(super) enum Broken {
    /// The reader's connection broke.
    Reader,
    /// The writer's connection broke.
    Writer,
    /// The reader ended before the body did.
    Truncated,
    /// The body is malformed.
    Body,
}

impl<N: Fn(usize)> Pump<N> {
    /// Writes `first` and then the body, of which `buffer` may hold some. What one read returns is
    /// written at once. Bytes behind the body stay in `buffer`.
    pub(super) async fn run<R, W>(
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

/// Reads the body of a refused request and throws it away; tells whether it is out of the way.
pub(super) async fn drain(client: &mut Client, body: Body) -> bool {
    let (limit, time) = DRAIN;
    if matches!(body, Body::Length(bytes) if bytes > limit) {
        return false;
    }
    let mut seen = 0;
    let within = |piece: Thrown| {
        seen += piece.bytes;
        seen <= limit
    };
    matches!(timeout(time, discard(client, body, within)).await, Ok(Ok(())))
}

/// A piece of a body that nobody reads.
#[derive(Debug, Clone, Copy)]
pub(super) struct Thrown {
    /// As it came, with its framing.
    pub(super) bytes: u64,
    /// Of it, what was meant.
    pub(super) payload: u64,
}

/// Why a body can't be thrown away to its end; then nobody knows where the next request begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unread {
    /// There is more than the caller wants to see.
    TooLong,
    /// It is malformed.
    Malformed,
    /// The client has left in the middle of it.
    Truncated,
}

/// Reads a body and throws it away; `within` is told of every piece and says whether to go on.
pub(super) async fn discard(
    client: &mut Client,
    body: Body,
    mut within: impl FnMut(Thrown) -> bool,
) -> Result<(), Unread> {
    let mut scan = BodyScan::new(body);
    loop {
        let (used, payload) = match scan.advance(&client.buffer).map_err(|_| Unread::Malformed)? {
            Piece::End => return Ok(()),
            Piece::Bytes { consumed, payload } => (consumed, payload.len()),
            Piece::Trailers(length) => (length, 0),
            Piece::More => match receive(&mut client.leg, &mut client.buffer).await {
                Ok(1..) => continue,
                Ok(0) | Err(_) => return Err(Unread::Truncated),
            },
        };
        client.buffer.advance(used);
        if !within(Thrown { bytes: used as u64, payload: payload as u64 }) {
            return Err(Unread::TooLong);
        }
    }
}
