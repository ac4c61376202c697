//! An HTTP/2 stream presented as an HTTP/1.1 connection that carries one request.
//!
//! `head` says the request in HTTP/1.1, `request` its body, `response` makes an HTTP/2
//! response of the HTTP/1.1 answer. So whatever serves HTTP/1.1 serves HTTP/2.

mod head;
mod request;
mod response;

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;

use self::head::Content;
pub use self::head::Refusal;
use self::request::Said;
use self::response::Answer;

/// One stream of a client's HTTP/2 connection (RFC 9113 §8), in HTTP/1.1.
///
/// Reading yields a request head, then its body. At the end of the request reading waits, as it
/// does on a connection whose client waits for its answer: until the client resets the stream
/// (an error), or until the answer is complete (the end). In a tunnel the client's `END_STREAM` is
/// the end.
///
/// Writing takes an HTTP/1.1 answer. It is pending while the client grants no window
/// (RFC 9113 §5.2); of what was written nothing is kept here but an incomplete head or trailer
/// section. There is nothing to flush: the task of the connection sends.
///
/// Dropped after a complete answer to a request that is not at its end, the stream is reset with
/// `NO_ERROR` (RFC 9113 §8.1). Dropped before the end of the answer it is reset too:
/// `CONNECT_ERROR` in a tunnel (RFC 9113 §8.5), else `INTERNAL_ERROR`.
///
/// Both halves belong to one task: h2 keeps one waker for "was reset" and "has window".
#[derive(Debug)]
pub struct H2Stream {
    said: Said,
    answer: Answer,
    reset: AtomicBool,
    /// Bytes of the client's that the reader has taken, until that is much.
    taken: usize,
    conduct: Arc<Conduct>,
}

/// A stream whose request can't be said in HTTP/1.1. Dropped, it is reset.
#[derive(Debug)]
pub struct Refused {
    /// Why.
    pub why: Refusal,
    respond: SendResponse<Bytes>,
}

impl Refused {
    /// Sends `answer`, in HTTP/1.1 and without chunks. A client that has left needs none.
    pub fn answer(mut self, answer: &[u8]) {
        drop(response::answer_at_once(&mut self.respond, answer));
    }
}

/// How the client of a connection behaves, seen over all its streams.
#[derive(Debug, Default)]
pub struct Conduct {
    /// Streams that it left before they were answered.
    pub unanswered: AtomicUsize,
    /// Told when a stream carries so much that it is surely served: a request that is refused is
    /// not read so far.
    pub busy: Notify,
}

/// More than what is read of a refused request.
const BUSY: usize = 96 * 1024;

impl H2Stream {
    /// Takes an accepted stream. What the client never gets an answer to is noted in `conduct`: it
    /// left before, again and again, when it only wants us to work (CVE-2023-44487).
    ///
    /// # Errors
    ///
    /// [`Refused`]: the request can't be said in HTTP/1.1.
    pub fn new(
        request: http::Request<RecvStream>,
        respond: SendResponse<Bytes>,
        conduct: Arc<Conduct>,
    ) -> Result<Self, Refused> {
        let (parts, body) = request.into_parts();
        let content = if body.is_end_stream() { Content::None } else { Content::Frames };
        match head::translate(&parts, content) {
            Ok(head) => Ok(Self {
                answer: Answer::new(respond, head.kind),
                said: Said::new(head, body),
                reset: AtomicBool::new(false),
                taken: 0,
                conduct,
            }),
            Err(why) => Err(Refused { why, respond }),
        }
    }

    /// Makes the coming drop a reset, whatever was said before: data in flight is dropped and the
    /// client sees an error, not an end.
    pub fn reset_on_close(&self) {
        self.reset.store(true, Relaxed);
    }
}

impl H2Stream {
    fn note(&mut self, count: usize) {
        if self.taken < BUSY {
            self.taken += count;
            if self.taken >= BUSY {
                self.conduct.busy.notify_one();
            }
        }
    }
}

impl Drop for H2Stream {
    fn drop(&mut self) {
        if self.answer.is_owed() {
            self.conduct.unanswered.fetch_add(1, Relaxed);
        }
        let whole = match self.answer.tunnel() {
            Some(ended) => ended && self.said.has_ended(),
            None => self.answer.is_complete(),
        };
        if whole && !self.reset.load(Relaxed) {
            // Unread bytes of the request: h2 resets with NO_ERROR behind the answer.
            return;
        }
        let tunnel = self.answer.tunnel().is_some();
        let reason = if tunnel { Reason::CONNECT_ERROR } else { Reason::INTERNAL_ERROR };
        self.answer.reset(reason);
    }
}

impl AsyncRead for H2Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.answer.is_over() {
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        ready!(this.said.poll_read(cx, buffer))?;
        this.note(buffer.filled().len() - before);
        if buffer.filled().len() > before || buffer.remaining() == 0 || this.said.is_raw() {
            return Poll::Ready(Ok(()));
        }
        this.answer.poll_reset(cx).map(Err)
    }
}

impl AsyncWrite for H2Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let answer = &mut self.get_mut().answer;
        let before = answer.is_over();
        let outcome = answer.poll_write(cx, bytes);
        if answer.is_over() && !before {
            // Who waits for the next request will wait no longer.
            cx.waker().wake_by_ref();
        }
        outcome
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.get_mut().answer.shutdown())
    }
}

/// The client has reset the stream, or its connection is gone.
fn reset(error: h2::Error) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, error)
}
