//! Both directions of a tunnel.
//!
//! Nothing is held back: what one read returns is written in the same poll, from a scratch buffer
//! that all tunnels of a thread share; only what a slow reader does not take is kept (and then
//! nothing more is read: back-pressure). A read that fills the buffer means bulk: from then on the
//! kernel moves the bytes ([`super::splice`]) until they come in small pieces again. An idle tunnel
//! owns no buffer, no pipe and no timer.

use std::cell::RefCell;
use std::pin::Pin;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::ReadBuf;
use tokio::time::{Instant, Sleep};

use super::leg::Leg;
use super::meter::Meter;
use super::splice::{Conduit, Step};

/// One read. Chunks of a token stream are far smaller; bulk is faster in larger pieces, but two
/// of these fit the first-level cache.
const SCRATCH: usize = 16 * 1024;

/// So much in one go, then the other tunnels of the thread get their turn.
const TURN: usize = 1 << 20;

thread_local! {
    static SCRATCH_BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH].into_boxed_slice());
}

/// How long a tunnel may do nothing.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// After one side's FIN: silence of the other side until the tunnel is cut. Every byte
    /// restarts it.
    pub half_close: Duration,
    /// In a fully open tunnel; `None` is for ever.
    pub idle: Option<Duration>,
}

/// One of the two sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Who asked for the tunnel.
    Client,
    /// Where it leads.
    Target,
}

/// How a tunnel ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Both directions were closed in order; this side closed first.
    Fin(Side),
    /// This side reset the connection or died; the other was reset too.
    Reset(Side),
    /// Nothing moved for [`Patience::half_close`] or [`Patience::idle`]; both sides were reset.
    TimedOut,
}

/// Bytes that were read before the relay began.
#[derive(Debug, Default)]
pub struct Early {
    /// From the client, for the target.
    pub up: Vec<u8>,
    /// From the target, for the client.
    pub down: Vec<u8>,
}

/// Who keeps the books of a tunnel; it is dropped with it.
pub trait Account: Unpin {
    /// Where bytes are counted.
    fn meter(&self) -> &Meter;

    /// Told how it ended; never, when the relay is dropped half-way.
    fn ended(&mut self, how: Ended);
}

/// Copies both ways until both directions are closed, one side breaks, or patience ends.
///
/// A FIN is passed on when everything before it has been written, and the other direction goes
/// on. A reset, or any other end than FIN, resets the other side: a truncated stream must not look
/// like a complete one.
///
/// # Cancel safety
///
/// Dropping the future resets both sides; the meter of `account` holds what had passed.
pub fn relay<C: Leg, T: Leg, A: Account>(
    legs: (C, T),
    early: Early,
    patience: Patience,
    account: A,
) -> impl Future<Output = ()> {
    Relay {
        legs: Legs { client: legs.0, target: legs.1, in_order: false },
        up: Direction::new(early.up),
        down: Direction::new(early.down),
        first_fin: None,
        patience,
        silence: None,
        account,
    }
}

/// A tunnel in its task: written by hand, because an `async fn` keeps what it was given a second
/// time beside what it makes of it, for as long as the tunnel lives.
struct Relay<C: Leg, T: Leg, A: Account> {
    legs: Legs<C, T>,
    up: Direction,
    down: Direction,
    first_fin: Option<Side>,
    patience: Patience,
    silence: Option<Box<Silence>>,
    account: A,
}

/// Both sockets; unless everything ended in order, closing them is a reset.
struct Legs<C: Leg, T: Leg> {
    client: C,
    target: T,
    in_order: bool,
}

impl<C: Leg, T: Leg> Drop for Legs<C, T> {
    fn drop(&mut self) {
        if !self.in_order {
            self.client.reset_on_close();
            self.target.reset_on_close();
        }
    }
}

impl<C: Leg, T: Leg, A: Account> Future for Relay<C, T, A> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let ended = ready!(this.carry(cx));
        this.account.ended(ended);
        Poll::Ready(())
    }
}

impl<C: Leg, T: Leg, A: Account> Relay<C, T, A> {
    /// Both directions, and then the clock.
    fn carry(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        let this = self;
        let up = this.up.poll(cx, &mut this.legs.client, &mut this.legs.target);
        this.note_fin(Side::Client);
        let down = this.down.poll(cx, &mut this.legs.target, &mut this.legs.client);
        this.note_fin(Side::Target);
        this.measure();
        if let Err(broken) = up {
            return Poll::Ready(Ended::Reset(broken.side(Side::Client, Side::Target)));
        }
        if let Err(broken) = down {
            return Poll::Ready(Ended::Reset(broken.side(Side::Target, Side::Client)));
        }
        if let (Some(first), Stage::Done, Stage::Done) =
            (this.first_fin, this.up.stage, this.down.stage)
        {
            this.legs.in_order = true;
            return Poll::Ready(Ended::Fin(first));
        }
        let limit = if this.first_fin.is_some() {
            Some(this.patience.half_close)
        } else {
            this.patience.idle
        };
        let Some(limit) = limit else { return Poll::Pending };
        let silence = this.silence.get_or_insert_with(|| Box::new(Silence::new(limit)));
        ready!(silence.poll(cx, limit, this.up.moved + this.down.moved));
        Poll::Ready(Ended::TimedOut)
    }

    fn note_fin(&mut self, side: Side) {
        let stage = if side == Side::Client { self.up.stage } else { self.down.stage };
        if stage != Stage::Open && self.first_fin.is_none() {
            self.first_fin = Some(side);
        }
    }

    fn measure(&self) {
        let meter = self.account.meter();
        meter.up.store(self.up.moved, Relaxed);
        meter.down.store(self.down.moved, Relaxed);
        if self.down.moved > 0 {
            meter.first_byte.get_or_init(Instant::now);
        }
    }
}

/// One direction of a tunnel.
struct Direction {
    stage: Stage,
    /// Read, but not yet taken by the writer; nothing more is read before it is.
    rest: Vec<u8>,
    flushed: bool,
    /// The kernel moves the bytes.
    bulk: bool,
    conduit: Conduit,
    moved: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Reading.
    Open,
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

impl Broken {
    const fn side(self, reader: Side, writer: Side) -> Side {
        match self {
            Self::Reader => reader,
            Self::Writer => writer,
        }
    }
}

impl Direction {
    fn new(rest: Vec<u8>) -> Self {
        let conduit = Conduit::default();
        Self { stage: Stage::Open, rest, flushed: true, bulk: false, conduit, moved: 0 }
    }

    /// Moves what can be moved now; the waker is registered for what can't.
    fn poll<R: Leg, W: Leg>(
        &mut self,
        cx: &mut Context<'_>,
        reader: &mut R,
        writer: &mut W,
    ) -> Result<(), Broken> {
        let turn = self.moved + TURN as u64;
        loop {
            if self.moved >= turn {
                cx.waker().wake_by_ref();
                return self.flush(cx, writer);
            }
            let step = match self.stage {
                Stage::Done => return Ok(()),
                Stage::Open | Stage::Ending if !self.rest.is_empty() => self.write_rest(cx, writer),
                Stage::Open if self.bulk || !self.conduit.is_empty() => {
                    self.splice(cx, reader, writer)
                }
                Stage::Open => self.copy(cx, reader, writer),
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
    fn copy<R: Leg, W: Leg>(
        &mut self,
        cx: &mut Context<'_>,
        reader: &mut R,
        writer: &mut W,
    ) -> Poll<Result<(), Broken>> {
        SCRATCH_BUFFER.with_borrow_mut(|scratch| {
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
            self.rest.extend_from_slice(bytes.get(taken..).unwrap_or_default());
            Poll::Ready(Ok(()))
        })
    }

    /// One step through the kernel; back to copying when that is not possible or not worth it.
    fn splice<R: Leg, W: Leg>(
        &mut self,
        cx: &mut Context<'_>,
        reader: &R,
        writer: &W,
    ) -> Poll<Result<(), Broken>> {
        let (Some(from), Some(to)) = (reader.bare(), writer.bare()) else {
            self.bulk = false;
            return Poll::Ready(Ok(()));
        };
        match ready!(self.conduit.poll(cx, from, to))? {
            Step::Moved(bytes) => self.moved += bytes as u64,
            Step::Again => {}
            Step::Copy => self.bulk = false,
            Step::End => self.stage = Stage::Ending,
        }
        Poll::Ready(Ok(()))
    }

    fn write_rest<W: Leg>(
        &mut self,
        cx: &mut Context<'_>,
        writer: &mut W,
    ) -> Poll<Result<(), Broken>> {
        self.flushed = false;
        match ready!(Pin::new(writer).poll_write(cx, &self.rest)) {
            Ok(0) | Err(_) => Poll::Ready(Err(Broken::Writer)),
            Ok(taken) => {
                self.moved += taken as u64;
                self.rest.drain(..taken);
                if self.rest.is_empty() {
                    self.rest = Vec::new();
                }
                Poll::Ready(Ok(()))
            }
        }
    }

    fn end<W: Leg>(&mut self, cx: &mut Context<'_>, writer: &mut W) -> Poll<Result<(), Broken>> {
        let shut = ready!(Pin::new(writer).poll_shutdown(cx));
        self.stage = Stage::Done;
        self.flushed = true;
        Poll::Ready(shut.map_err(|_| Broken::Writer))
    }

    /// Pushes out what a writer with a buffer of its own (TLS) still holds.
    fn flush<W: Leg>(&mut self, cx: &mut Context<'_>, writer: &mut W) -> Result<(), Broken> {
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

/// Measures silence; there is one only while there is a limit.
struct Silence {
    timer: Pin<Box<Sleep>>,
    since: Instant,
    limit: Duration,
    /// Bytes moved until `since`.
    moved: u64,
}

impl Silence {
    fn new(limit: Duration) -> Self {
        let since = Instant::now();
        Self { timer: Box::pin(tokio::time::sleep_until(since + limit)), since, limit, moved: 0 }
    }

    /// Ready when nothing has moved for `limit`. A byte only moves the stamp; the timer is set
    /// anew when it fires.
    fn poll(&mut self, cx: &mut Context<'_>, limit: Duration, moved: u64) -> Poll<()> {
        if self.limit != limit || self.moved != moved {
            self.since = Instant::now();
            self.moved = moved;
        }
        let due = self.since + limit;
        if self.limit != limit {
            self.limit = limit;
            self.timer.as_mut().reset(due);
        }
        loop {
            ready!(self.timer.as_mut().poll(cx));
            if due <= Instant::now() {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(due);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpStream;

    use super::{Account, Ended, Meter, Relay};
    use crate::net::leg::ClientLeg;

    struct Nobody(Meter);

    impl Account for Nobody {
        fn meter(&self) -> &Meter {
            &self.0
        }

        fn ended(&mut self, _how: Ended) {}
    }

    #[test]
    fn a_tunnel_is_small() {
        let size = size_of::<Relay<ClientLeg, TcpStream, Nobody>>();
        println!("a relay is {size} bytes, {} of them its meter", size_of::<Meter>());
        assert!(size <= 352, "{size}");
    }
}
