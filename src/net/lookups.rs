//! Where the addresses of names came from, counted.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

/// Where an answer came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lookup {
    /// The worker had just used the name.
    AtHand,
    /// The cache had it, or somebody was asking already and the answer has come.
    Cached,
    /// A name server answered, if only that there is no such name.
    Answered,
    /// None did.
    Failed,
}

impl Lookup {
    /// Every kind, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::AtHand, Self::Cached, Self::Answered, Self::Failed];

    /// What metrics call it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::AtHand => "at_hand",
            Self::Cached => "cached",
            Self::Answered => "answered",
            Self::Failed => "failed",
        }
    }
}

/// How often each was the case.
#[derive(Debug, Default)]
pub(super) struct Lookups([AtomicU64; Lookup::ALL.len()]);

impl Lookups {
    /// Counts one.
    pub(super) fn add(&self, lookup: Lookup) {
        if let Some(count) = self.0.get(lookup as usize) {
            count.fetch_add(1, Relaxed);
        }
    }

    /// How often `lookup` was the case.
    pub(super) fn of(&self, lookup: Lookup) -> u64 {
        self.0.get(lookup as usize).map_or(0, |count| count.load(Relaxed))
    }
}
