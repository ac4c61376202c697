//! Both directions of a tunnel.
//!
//! Nothing is held back: what one read returns is written in the same poll, from a scratch buffer
//! that all tunnels of a thread share; only what a slow reader does not take is kept (and then
//! nothing more is read: back-pressure). A read that fills the buffer means bulk: from then on the
//! kernel moves the bytes ([`super::splice`]) until they come in small pieces again. An idle tunnel
//! owns no buffer, no pipe and no timer.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, ready};

use super::direction::{Broken, Direction, Stage};
use super::leg::Stream;
use super::meter::Meter;
use super::sweep::{Patience, Sweep, Watch};

/// One of the two sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Who asked for the tunnel.
    Client,
    /// Where it leads.
    Target,
}

impl Side {
    const fn other(self) -> Self {
        match self {
            Self::Client => Self::Target,
            Self::Target => Self::Client,
        }
    }
}

/// How a tunnel ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Both directions were closed in order; this side closed first.
    Fin(Side),
    /// This side reset the connection or died; the other was reset too.
    Reset(Side),
    /// Nothing moved for the [`Patience`] of the sweep; both sides were reset.
    TimedOut,
}

/// Bytes that were read before the relay began.
#[derive(Debug, Default, Clone, Copy)]
pub struct Early<'b> {
    /// From the client, for the target.
    pub up: &'b [u8],
    /// From the target, for the client.
    pub down: &'b [u8],
}

/// Who keeps the books of a tunnel; it is dropped with it.
pub trait Account: Unpin {
    /// Where bytes are counted.
    fn meter(&self) -> &Meter;

    /// Told of bytes that have passed since it was last told, up and down.
    fn moved(&self, up: u64, down: u64);

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
pub fn relay<A: Account>(
    legs: (Stream, Stream),
    early: Early<'_>,
    sweep: &Arc<Sweep>,
    account: A,
) -> impl Future<Output = ()> + use<A> {
    // The head of a WebSocket has been counted already.
    let (up, down) = (account.meter().up(), account.meter().down());
    Relay {
        first: Side::Client,
        legs: Legs { client: legs.0, target: legs.1, in_order: false },
        up: Direction::new(early.up, up),
        down: Direction::new(early.down, down),
        first_fin: None,
        sweep: Arc::clone(sweep),
        watch: None,
        account,
    }
}

/// A tunnel in its task: written by hand, because an `async fn` keeps what it was given a second
/// time beside what it makes of it, for as long as the tunnel lives.
struct Relay<A: Account> {
    legs: Legs,
    up: Direction,
    down: Direction,
    first_fin: Option<Side>,
    /// Whose direction is looked at first.
    first: Side,
    sweep: Arc<Sweep>,
    /// There is one only while there is a limit.
    watch: Option<Box<Watch>>,
    account: A,
}

/// Both sockets; unless everything ended in order, closing them is a reset.
struct Legs {
    client: Stream,
    target: Stream,
    in_order: bool,
}

impl Drop for Legs {
    fn drop(&mut self) {
        if !self.in_order {
            self.client.reset_on_close();
            self.target.reset_on_close();
        }
    }
}

impl<A: Account> Future for Relay<A> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let ended = ready!(this.carry(cx));
        this.account.ended(ended);
        Poll::Ready(())
    }
}

impl<A: Account> Relay<A> {
    /// Both directions, and then the clock.
    fn carry(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        let this = self;
        // In turns: the first could use up what tokio grants a task in one go, again and again.
        let (first, second) = (this.first, this.first.other());
        this.first = second;
        let outcome = this.direction(cx, first).and_then(|()| this.direction(cx, second));
        this.measure();
        if let Err(side) = outcome {
            return Poll::Ready(Ended::Reset(side));
        }
        if let (Some(first), Stage::Done, Stage::Done) =
            (this.first_fin, this.up.stage, this.down.stage)
        {
            this.legs.in_order = true;
            return Poll::Ready(Ended::Fin(first));
        }
        let Patience { half_close, idle } = this.sweep.patience;
        let limit = if this.first_fin.is_some() { Some(half_close) } else { idle };
        let Some(limit) = limit else { return Poll::Pending };
        let moved = this.up.moved + this.down.moved;
        let sweep = &this.sweep;
        let watch = this.watch.get_or_insert_with(|| Box::new(sweep.watch(cx, limit, moved)));
        ready!(watch.poll(moved));
        Poll::Ready(Ended::TimedOut)
    }

    /// The direction that `from` speaks in; the error is the side that broke.
    fn direction(&mut self, cx: &mut Context<'_>, from: Side) -> Result<(), Side> {
        let Legs { client, target, .. } = &mut self.legs;
        let (outcome, other) = match from {
            Side::Client => (self.up.poll(cx, (client, target), self.down.stage), self.down.stage),
            Side::Target => (self.down.poll(cx, (target, client), self.up.stage), self.up.stage),
        };
        self.note_fin(from);
        match outcome {
            Ok(()) => Ok(()),
            Err(Broken::Reader) => Err(from),
            // It has said everything, and that may still be on its way: what comes for it is
            // thrown away, for a reset would destroy the rest of its words.
            Err(Broken::Writer) if other == Stage::Done => {
                let direction = if from == Side::Client { &mut self.up } else { &mut self.down };
                direction.discard();
                cx.waker().wake_by_ref();
                Ok(())
            }
            Err(Broken::Writer) => Err(from.other()),
        }
    }

    fn note_fin(&mut self, side: Side) {
        let stage = if side == Side::Client { self.up.stage } else { self.down.stage };
        let ended = matches!(stage, Stage::Ending | Stage::Done);
        if ended && self.first_fin.is_none() {
            self.first_fin = Some(side);
            // Another limit holds now.
            self.watch = None;
        }
    }

    fn measure(&self) {
        let meter = self.account.meter();
        self.account.moved(self.up.moved - meter.up(), self.down.moved - meter.down());
        meter.up.store(self.up.moved, Relaxed);
        meter.down.store(self.down.moved, Relaxed);
        if self.down.moved > 0 {
            meter.mark_first_byte();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Account, Ended, Meter, Relay};

    struct Nobody(Meter);

    impl Account for Nobody {
        fn meter(&self) -> &Meter {
            &self.0
        }

        fn moved(&self, _up: u64, _down: u64) {}

        fn ended(&mut self, _how: Ended) {}
    }

    #[test]
    fn a_tunnel_is_small() {
        let size = size_of::<Relay<Nobody>>();
        println!("a relay is {size} bytes, {} of them its meter", size_of::<Meter>());
        assert!(size <= 260, "{size}");
    }
}
