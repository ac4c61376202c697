//! One direction of a tunnel: what it reads it writes at once.

use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::yield_now;

use super::leg::Stream;
use super::scratch::{self, SCRATCH};
use super::splice::{Conduit, Step};

/// So much in one go, then the other tunnels of the thread get their turn.
const TURN: usize = 1 << 20;

/// One direction of a tunnel.
pub(super) struct Direction {
    pub(super) stage: Stage,
    /// Read, but not yet taken by the writer; nothing more is read before it is. Boxed, for hardly
    /// any tunnel has one at any time, and every tunnel would have the room for it.
    #[allow(clippy::box_collection, reason = "eight bytes instead of 24, twice per tunnel")]
    rest: Option<Box<Vec<u8>>>,
    flushed: bool,
    /// The kernel moves the bytes.
    bulk: bool,
    conduit: Conduit,
    pub(super) moved: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Reading.
    Open,
    /// Reading, for nobody.
    Discarding,
    /// The reader has ended; its end is not passed on yet.
    Ending,
    /// The end is passed on.
    Done,
}

/// Which end of a direction broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// Where the bytes come from.
    Reader,
    /// Where they go.
    Writer,
}

impl Direction {
    /// A direction whose first bytes are `early`, after `moved` that went before.
    pub(super) fn new(early: &[u8], moved: u64) -> Self {
        let conduit = Conduit::default();
        let rest = keep(early);
        Self { stage: Stage::Open, rest, flushed: true, bulk: false, conduit, moved }
    }

    /// Moves what can be moved now; the waker is registered for what can't. `other` is how far the
    /// opposite direction is.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        (reader, writer): (&mut Stream, &mut Stream),
        other: Stage,
    ) -> Result<(), Broken> {
        let turn = self.moved + TURN as u64;
        loop {
            if self.moved >= turn {
                pass_the_turn(cx);
                return self.flush(cx, writer);
            }
            let step = match self.stage {
                Stage::Done => return Ok(()),
                Stage::Open | Stage::Ending if self.rest.is_some() => self.write_rest(cx, writer),
                Stage::Open if self.bulk || !self.conduit.is_empty() => {
                    self.splice(cx, reader, writer)
                }
                Stage::Open => self.copy(cx, reader, writer),
                Stage::Discarding => self.throw_away(cx, reader),
                // With both directions at their end the sockets are closed, and that says the same.
                Stage::Ending if other == Stage::Done && writer.bare().is_some() => {
                    self.stage = Stage::Done;
                    Poll::Ready(Ok(()))
                }
                Stage::Ending => self.end(cx, writer),
            };
            match step {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(broken)) => return Err(broken),
                Poll::Pending => return self.flush(cx, writer),
            }
        }
    }

    /// One read, written at once.
    fn copy(
        &mut self,
        cx: &mut Context<'_>,
        reader: &mut Stream,
        writer: &mut Stream,
    ) -> Poll<Result<(), Broken>> {
        scratch::with(|scratch| {
            let mut buffer = ReadBuf::new(scratch);
            if ready!(Pin::new(reader).poll_read(cx, &mut buffer)).is_err() {
                return Poll::Ready(Err(Broken::Reader));
            }
            let bytes = buffer.filled();
            if bytes.is_empty() {
                self.stage = Stage::Ending;
                return Poll::Ready(Ok(()));
            }
            self.flushed = false;
            let taken = match Pin::new(writer).poll_write(cx, bytes) {
                Poll::Ready(Ok(taken)) => taken,
                Poll::Ready(Err(_)) => return Poll::Ready(Err(Broken::Writer)),
                Poll::Pending => 0,
            };
            self.moved += taken as u64;
            self.bulk = bytes.len() == SCRATCH;
            self.rest = keep(bytes.get(taken..).unwrap_or_default());
            Poll::Ready(Ok(()))
        })
    }

    /// From now on nobody wants the bytes.
    pub(super) fn discard(&mut self) {
        self.stage = Stage::Discarding;
        self.rest = None;
        self.conduit = Conduit::default();
        self.flushed = true;
    }

    fn throw_away(
        &mut self,
        cx: &mut Context<'_>,
        reader: &mut Stream,
    ) -> Poll<Result<(), Broken>> {
        scratch::with(|scratch| {
            let mut buffer = ReadBuf::new(scratch);
            match ready!(Pin::new(reader).poll_read(cx, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => {}
                Ok(()) | Err(_) => self.stage = Stage::Done,
            }
            Poll::Ready(Ok(()))
        })
    }

    /// One step through the kernel; back to copying when that is not possible or not worth it.
    fn splice(
        &mut self,
        cx: &mut Context<'_>,
        reader: &Stream,
        writer: &Stream,
    ) -> Poll<Result<(), Broken>> {
        let (Some(from), Some(to)) = (reader.bare(), writer.bare()) else {
            self.bulk = false;
            return Poll::Ready(Ok(()));
        };
        match ready!(self.conduit.poll(cx, from, to))? {
            Step::Moved(bytes) => self.moved += bytes as u64,
            Step::Again => {}
            Step::Spilled(bytes) => self.rest = keep(&bytes),
            Step::Copy => self.bulk = false,
        }
        Poll::Ready(Ok(()))
    }

    fn write_rest(
        &mut self,
        cx: &mut Context<'_>,
        writer: &mut Stream,
    ) -> Poll<Result<(), Broken>> {
        let Some(rest) = &mut self.rest else { return Poll::Ready(Ok(())) };
        self.flushed = false;
        match ready!(Pin::new(writer).poll_write(cx, rest)) {
            Ok(0) | Err(_) => Poll::Ready(Err(Broken::Writer)),
            Ok(taken) => {
                self.moved += taken as u64;
                rest.drain(..taken);
                if rest.is_empty() {
                    self.rest = None;
                }
                Poll::Ready(Ok(()))
            }
        }
    }

    fn end(&mut self, cx: &mut Context<'_>, writer: &mut Stream) -> Poll<Result<(), Broken>> {
        let shut = ready!(Pin::new(writer).poll_shutdown(cx));
        self.stage = Stage::Done;
        self.flushed = true;
        Poll::Ready(shut.map_err(|_| Broken::Writer))
    }

    /// Pushes out what a writer with a buffer of its own (TLS) still holds.
    fn flush(&mut self, cx: &mut Context<'_>, writer: &mut Stream) -> Result<(), Broken> {
        if !self.flushed {
            match Pin::new(writer).poll_flush(cx) {
                Poll::Ready(Ok(())) => self.flushed = true,
                Poll::Ready(Err(_)) => return Err(Broken::Writer),
                Poll::Pending => {}
            }
        }
        Ok(())
    }
}

#[allow(clippy::box_collection, reason = "see Direction::rest")]
fn keep(bytes: &[u8]) -> Option<Box<Vec<u8>>> {
    if bytes.is_empty() { None } else { Some(Box::new(bytes.to_vec())) }
}

/// Asks to be polled again, but not before the runtime has looked for news of other sockets: woken
/// at once, a bulk tunnel would have dozens of turns before anybody else gets one.
fn pass_the_turn(cx: &mut Context<'_>) {
    // Its first poll leaves the waker with the runtime; there is no second.
    let _pending = pin!(yield_now()).poll(cx);
}
