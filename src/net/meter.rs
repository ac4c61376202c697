//! Bytes and the first of them, counted while they pass.

use std::num::NonZeroU32;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::time::Duration;

use tokio::time::Instant;

/// A time in tenths of a millisecond, in four bytes; everything above four days is four days.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lapse(NonZeroU32);

impl Lapse {
    /// Tenths of a millisecond.
    pub const fn tenths(self) -> u32 {
        self.0.get() - 1
    }
}

impl From<Duration> for Lapse {
    fn from(time: Duration) -> Self {
        let tenths = (time.as_micros() + 50) / 100;
        let tenths = u32::try_from(tenths).unwrap_or(u32::MAX);
        Self(NonZeroU32::MIN.saturating_add(tenths))
    }
}

/// What has passed so far; read it at any time, also when the relay is dropped half-way.
#[derive(Debug)]
pub struct Meter {
    began: Instant,
    pub(super) up: AtomicU64,
    pub(super) down: AtomicU64,
    /// A [`Lapse`]; 0 until then.
    first_byte: AtomicU32,
}

impl Meter {
    /// A meter of what `began`.
    pub const fn new(began: Instant) -> Self {
        let (up, down) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { began, up, down, first_byte: AtomicU32::new(0) }
    }

    /// Since the beginning.
    pub fn age(&self) -> Lapse {
        self.began.elapsed().into()
    }

    /// Bytes from the client to the target.
    pub fn up(&self) -> u64 {
        self.up.load(Relaxed)
    }

    /// Bytes from the target to the client.
    pub fn down(&self) -> u64 {
        self.down.load(Relaxed)
    }

    /// From the beginning to the target's first byte.
    pub fn first_byte(&self) -> Option<Lapse> {
        NonZeroU32::new(self.first_byte.load(Relaxed)).map(Lapse)
    }

    /// Notes `bytes` from the client to the target.
    pub fn add_up(&self, bytes: usize) {
        self.up.fetch_add(bytes as u64, Relaxed);
    }

    /// Notes `bytes` from the target to the client.
    pub fn add_down(&self, bytes: usize) {
        self.down.fetch_add(bytes as u64, Relaxed);
        self.mark_first_byte();
    }

    /// What went up after `bytes` reached nobody and will be sent again.
    pub fn take_back_up(&self, bytes: u64) {
        self.up.store(bytes, Relaxed);
    }

    pub(super) fn mark_first_byte(&self) {
        if self.first_byte.load(Relaxed) == 0 {
            self.first_byte.store(self.age().0.get(), Relaxed);
        }
    }

    /// Everything, both ways.
    pub fn total(&self) -> u64 {
        self.up() + self.down()
    }
}
