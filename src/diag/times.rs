//! How long things took, over several tries. Pure.

use super::evidence::Evidence;
use super::fact::{Event, Journey, Outcome, Stage, Streaming, Transfer, Trip};

/// Several durations of the same thing, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spread {
    /// How many.
    pub count: usize,
    /// The fastest.
    pub min_us: u64,
    /// The middle one.
    pub median_us: u64,
    /// 95 of 100 are at most this (nearest rank).
    pub p95_us: u64,
    /// Between fastest and slowest.
    pub jitter_us: u64,
}

impl Spread {
    /// Of `times`, in any order; `None` when there are none.
    pub fn of(times: impl IntoIterator<Item = u64>) -> Option<Self> {
        let mut times: Vec<u64> = times.into_iter().collect();
        times.sort_unstable();
        let (min_us, max_us) = (*times.first()?, *times.last()?);
        let rank = (times.len() * 95).div_ceil(100);
        Some(Self {
            count: times.len(),
            min_us,
            median_us: *times.get(times.len() / 2)?,
            p95_us: *times.get(rank.saturating_sub(1))?,
            jitter_us: max_us.saturating_sub(min_us),
        })
    }
}

impl Trip {
    /// How long one phase took, in microseconds.
    pub fn lap(&self, stage: Stage) -> Option<u64> {
        self.laps.iter().find(|lap| lap.stage == stage).map(|lap| lap.us)
    }

    /// Everything, in microseconds.
    pub fn total_us(&self) -> u64 {
        self.laps.iter().map(|lap| lap.us).sum()
    }
}

impl Journey {
    /// The trip that stands for all: the middle one of those that came to their end, else the last.
    pub fn typical(&self) -> Option<&Trip> {
        let mut good: Vec<&Trip> = self.trips.iter().filter(|it| it.failure.is_none()).collect();
        good.sort_by_key(|trip| trip.total_us());
        good.get(good.len() / 2).copied().or(self.trips.last())
    }

    /// A phase of all trips that came through it.
    pub fn spread(&self, stage: Stage) -> Option<Spread> {
        let through = self
            .trips
            .iter()
            .filter(|trip| trip.failure.as_ref().is_none_or(|failure| failure.stage != stage));
        Spread::of(through.filter_map(|trip| trip.lap(stage)))
    }
}

impl Transfer {
    /// How fast it was, in kilobytes (1024) per second.
    pub fn kilobytes_per_second(&self) -> Option<u64> {
        Some(self.moved?.saturating_mul(1_000_000) / 1024 / self.elapsed_us.max(1))
    }
}

impl Streaming {
    /// How much later than the proxy sent it the latest event came, compared with the first one; in
    /// milliseconds.
    pub fn latest_ms(&self) -> Option<u64> {
        let first = self.events.first()?;
        let late = |event: &Event| {
            let sent = event.sent_ms.saturating_sub(first.sent_ms);
            event.came_ms.saturating_sub(first.came_ms).abs_diff(sent)
        };
        self.events.iter().map(late).max()
    }
}

/// The round trips to the address that tells most: of its successful connects, else of those that
/// were refused.
pub fn round_trips(evidence: &Evidence) -> Option<Spread> {
    let primary = evidence.primary()?;
    let of = |outcome| Spread::of(evidence.times(primary, outcome));
    of(Outcome::Open).or_else(|| of(Outcome::Refused))
}

#[cfg(test)]
mod tests {
    use super::Spread;

    #[test]
    fn a_spread_is_by_rank() {
        assert_eq!(Spread::of([]), None);
        let one = Spread::of([7]).unwrap();
        assert_eq!(
            (one.count, one.min_us, one.median_us, one.p95_us, one.jitter_us),
            (1, 7, 7, 7, 0)
        );
        let hundred = Spread::of((1..=100).rev()).unwrap();
        assert_eq!((hundred.median_us, hundred.p95_us, hundred.jitter_us), (51, 95, 99));
        let few = Spread::of([30, 10, 20]).unwrap();
        assert_eq!((few.median_us, few.p95_us), (20, 30));
    }
}
