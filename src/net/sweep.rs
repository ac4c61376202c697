//! Silence, measured for all tunnels by one timer.
//!
//! A tunnel that has a limit is listed here; it notes activity by a coarse clock that costs one
//! load, and is woken when its time may be over. A limit is exceeded by a second at most. While
//! nothing is listed there is no timer at all.

use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use slab::Slab;
use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior, interval};

/// How often the list is looked through, and the grain of the coarse clock.
const TICK: Duration = Duration::from_millis(500);

/// How long a tunnel may do nothing.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// After one side's FIN: silence of the other side until the tunnel is cut. Every byte
    /// restarts it.
    pub half_close: Duration,
    /// In a fully open tunnel; `None` is for ever.
    pub idle: Option<Duration>,
}

/// All tunnels that have a limit at the moment.
#[derive(Debug)]
pub struct Sweep {
    /// The limits.
    pub patience: Patience,
    began: Instant,
    /// Ticks since `began`.
    now: AtomicU32,
    waiting: Mutex<Slab<Entry>>,
    first: Notify,
}

#[derive(Debug)]
struct Entry {
    due: u32,
    waker: Waker,
}

/// One tunnel's place in the list.
#[derive(Debug)]
pub struct Watch {
    sweep: Arc<Sweep>,
    place: usize,
    limit: u32,
    /// What the list says.
    due: u32,
    /// When `moved` last changed.
    since: u32,
    moved: u64,
}

impl Sweep {
    /// A sweep for these limits; it needs [`Sweep::run`].
    pub fn new(patience: Patience) -> Arc<Self> {
        Arc::new(Self {
            patience,
            began: Instant::now(),
            now: AtomicU32::new(0),
            waiting: Mutex::default(),
            first: Notify::new(),
        })
    }

    /// Wakes tunnels whose time may be over, for ever.
    pub async fn run(self: Arc<Self>) {
        loop {
            self.first.notified().await;
            let mut ticks = interval(TICK);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            while self.look() {
                ticks.tick().await;
            }
        }
    }

    /// Wakes whoever is due; tells whether anybody is listed.
    fn look(&self) -> bool {
        let now = self.read_clock();
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        for (_, entry) in waiting.iter().filter(|(_, entry)| entry.due <= now) {
            entry.waker.wake_by_ref();
        }
        !waiting.is_empty()
    }

    /// Sets the coarse clock.
    fn read_clock(&self) -> u32 {
        let now = ticks(self.began.elapsed());
        self.now.store(now, Relaxed);
        now
    }

    /// Lists the task of `cx`, whose tunnel has moved so many bytes until now and may be silent
    /// for `limit`.
    pub fn watch(self: &Arc<Self>, cx: &Context<'_>, limit: Duration, moved: u64) -> Watch {
        let (limit, now) = (ticks(limit).max(1), ticks(self.began.elapsed()));
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.is_empty() {
            self.now.store(now, Relaxed);
            self.first.notify_one();
        }
        // One more: the tick under way is not whole.
        let due = now.saturating_add(limit + 1);
        let place = waiting.insert(Entry { due, waker: cx.waker().clone() });
        Watch { sweep: Arc::clone(self), place, limit, due, since: now, moved }
    }
}

impl Watch {
    /// Ready when nothing has moved for the limit. `moved` is the count of bytes.
    ///
    /// Must be polled by the task that was listed.
    pub fn poll(&mut self, moved: u64) -> Poll<()> {
        let now = self.sweep.now.load(Relaxed);
        if self.moved != moved {
            self.moved = moved;
            self.since = now;
        }
        let due = self.since.saturating_add(self.limit + 1);
        if due <= now {
            return Poll::Ready(());
        }
        // The list is corrected only when it woke the tunnel for nothing: no lock for every byte.
        if self.due <= now {
            self.due = due;
            let mut waiting = self.sweep.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(entry) = waiting.get_mut(self.place) {
                entry.due = due;
            }
        }
        Poll::Pending
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut waiting = self.sweep.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        drop(waiting.try_remove(self.place));
    }
}

/// Whole ticks.
fn ticks(time: Duration) -> u32 {
    u32::try_from(time.as_millis() / TICK.as_millis()).unwrap_or(u32::MAX).min(u32::MAX / 2)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::{Instant, sleep};

    use super::{Patience, Sweep};

    fn sweep() -> std::sync::Arc<Sweep> {
        let sweep = Sweep::new(Patience { half_close: Duration::ZERO, idle: None });
        tokio::spawn(std::sync::Arc::clone(&sweep).run());
        sweep
    }

    #[tokio::test(start_paused = true)]
    async fn silence_ends_the_wait_and_activity_prolongs_it() {
        let sweep = sweep();
        let start = Instant::now();
        let (mut watch, mut polls) = (None, 0);
        let over = std::future::poll_fn(|cx| {
            polls += 1;
            // Bytes move until 20 s have passed.
            let moved = start.elapsed().as_secs().min(20);
            let limit = Duration::from_secs(10);
            watch.get_or_insert_with(|| sweep.watch(cx, limit, moved)).poll(moved)
        });
        tokio::join!(over, async {
            // Nobody is woken by bytes here: the list alone must do.
            sleep(Duration::from_secs(15)).await;
            assert_eq!(sweep.waiting.lock().unwrap().len(), 1);
        });
        let took = start.elapsed();
        assert!((30..=41).contains(&took.as_secs()), "{took:?}");
        assert!(polls < 8, "{polls} polls");
        drop(watch);
        assert!(sweep.waiting.lock().unwrap().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn an_empty_list_costs_no_timer() {
        let sweep = sweep();
        for _ in 0..3 {
            let mut watch = None;
            std::future::poll_fn(|cx| {
                let limit = Duration::from_secs(1);
                watch.get_or_insert_with(|| sweep.watch(cx, limit, 0)).poll(0)
            })
            .await;
        }
        let start = Instant::now();
        sleep(Duration::from_secs(1000)).await;
        assert_eq!(start.elapsed(), Duration::from_secs(1000));
        assert_eq!(sweep.waiting.lock().unwrap().len(), 0);
    }
}
