//! Which thread this is, and what every worker has for itself: log buffers, counters, names, kept
//! connections.

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

/// One `T` for each worker.
#[derive(Debug)]
pub struct Each<T> {
    first: T,
    others: Box<[T]>,
}

impl<T: Default> Default for Each<T> {
    fn default() -> Self {
        Self::new(T::default)
    }
}

impl<T> Each<T> {
    /// One for each expected worker.
    pub fn new(mut make: impl FnMut() -> T) -> Self {
        Self { first: make(), others: (1..expected()).map(|_| make()).collect() }
    }

    /// This thread's; threads beyond the expected ones share.
    pub fn mine(&self) -> &T {
        self.others.get(number() % self.count()).unwrap_or(&self.first)
    }

    /// Everybody's.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.others.len() + 1
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::Each;

    #[test]
    fn every_thread_finds_one_and_always_the_same() {
        let each = Each::<AtomicUsize>::default();
        assert_eq!(each.iter().count(), each.count());
        std::thread::scope(|scope| {
            for _ in 0..2 * each.count() {
                scope.spawn(|| {
                    assert!(std::ptr::eq(each.mine(), each.mine()));
                    each.mine().fetch_add(1, Ordering::Relaxed);
                });
            }
        });
        let found: usize = each.iter().map(|it| it.load(Ordering::Relaxed)).sum();
        assert_eq!(found, 2 * each.count());
    }
}
