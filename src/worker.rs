//! Which thread this is: what every thread has for itself (log buffers, counters) is found by it.

use std::sync::atomic::{AtomicUsize, Ordering};

static NEXT: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static NUMBER: usize = NEXT.fetch_add(1, Ordering::Relaxed);
}

/// The number of this thread; threads are numbered as they first ask.
pub fn number() -> usize {
    NUMBER.with(|number| *number)
}

/// How many threads are expected to do the work: as many as cores are granted to this process.
/// More threads share.
pub fn expected() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
