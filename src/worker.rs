//! Which thread this is: what every worker has for itself (log buffers, counters, kept connections)
//! is found by it.

use std::sync::atomic::{AtomicUsize, Ordering};

static NEXT: AtomicUsize = AtomicUsize::new(0);
static EXPECTED: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static NUMBER: usize = NEXT.fetch_add(1, Ordering::Relaxed);
}

/// The number of this thread; threads are numbered as they first ask.
pub fn number() -> usize {
    NUMBER.with(|number| *number)
}

/// Says how many threads will do the work; before anything is made that has a part for each.
pub fn expect(threads: usize) {
    EXPECTED.store(threads, Ordering::Relaxed);
}

/// How many threads do the work: as many as cores are granted to this process, if nobody has said
/// otherwise. More threads share.
pub fn expected() -> usize {
    match EXPECTED.load(Ordering::Relaxed) {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        said => said,
    }
}
