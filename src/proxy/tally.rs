//! What happened since the start, counted by each worker in cells of its own and summed when asked.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use crate::worker::Each;

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    /// Accepted connections.
    Connections,
    /// Tunnels that were established.
    Tunnels,
    /// Plain requests that were answered by their origin.
    Requests,
    /// Requests that were not served, whatever the reason.
    Refusals,
    /// Bytes from clients to targets, as they pass.
    Up,
    /// Bytes from targets to clients, as they pass.
    Down,
}

const KINDS: usize = 6;

/// All counters of all workers.
#[derive(Debug, Default)]
pub struct Tally(Each<Cells>);

/// Two cache lines: neighbours are fetched in pairs, and no two workers may share one.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Cells([AtomicU64; KINDS]);

impl Tally {
    /// Adds `number` to what this worker has counted.
    pub fn add(&self, what: Count, number: u64) {
        if let Some(cell) = self.0.mine().0.get(what as usize) {
            cell.fetch_add(number, Relaxed);
        }
    }

    /// What all workers have counted.
    pub fn sum(&self, what: Count) -> u64 {
        self.0
            .iter()
            .filter_map(|cells| cells.0.get(what as usize))
            .map(|it| it.load(Relaxed))
            .sum()
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "connections: {}, tunnels: {}, plain requests: {}, refused: {}, bytes up: {}, bytes down: {}",
            self.sum(Count::Connections),
            self.sum(Count::Tunnels),
            self.sum(Count::Requests),
            self.sum(Count::Refusals),
            self.sum(Count::Up),
            self.sum(Count::Down)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::{Cells, Count, Tally};

    #[test]
    fn what_many_threads_count_adds_up_and_they_do_not_share_a_line() {
        let tally = Tally::default();
        std::thread::scope(|scope| {
            for _ in 0..5 {
                scope.spawn(|| (0..1000).for_each(|_| tally.add(Count::Up, 3)));
            }
        });
        assert_eq!(tally.sum(Count::Up), 15_000);
        assert_eq!(tally.sum(Count::Down), 0);
        assert_eq!(size_of::<Cells>(), 128);
    }
}
