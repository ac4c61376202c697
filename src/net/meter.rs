//! Bytes and the first of them, counted while they pass.

use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use tokio::time::Instant;

/// What has passed so far; read it at any time, also when the relay is dropped half-way.
#[derive(Debug, Default)]
pub struct Meter {
    pub(super) up: AtomicU64,
    pub(super) down: AtomicU64,
    pub(super) first_byte: OnceLock<Instant>,
}

impl Meter {
    /// Bytes from the client to the target.
    pub fn up(&self) -> u64 {
        self.up.load(Relaxed)
    }

    /// Bytes from the target to the client.
    pub fn down(&self) -> u64 {
        self.down.load(Relaxed)
    }

    /// When the target's first byte came.
    pub fn first_byte(&self) -> Option<Instant> {
        self.first_byte.get().copied()
    }

    /// Notes `bytes` from the client to the target.
    pub fn add_up(&self, bytes: usize) {
        self.up.fetch_add(bytes as u64, Relaxed);
    }

    /// Notes `bytes` from the target to the client.
    pub fn add_down(&self, bytes: usize) {
        self.down.fetch_add(bytes as u64, Relaxed);
        self.first_byte.get_or_init(Instant::now);
    }

    /// Everything, both ways.
    pub fn total(&self) -> u64 {
        self.up() + self.down()
    }
}
