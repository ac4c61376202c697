//! What happened since the start, counted by each worker in cells of its own and summed when asked.

use std::array::from_fn;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use super::door::Door;
use super::stop::Reason;
use crate::failure::Failure;
use crate::net::meter::Lapse;
use crate::worker::Each;

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    /// Accepted connections.
    Connections,
    /// Tunnels that were established.
    Tunnels,
    /// Of these, those that have ended.
    TunnelsEnded,
    /// Plain requests that were answered by their origin.
    Requests,
    /// Requests that were not served, whatever the reason.
    Refusals,
    /// Bytes from clients to targets, as they pass.
    Up,
    /// Bytes from targets to clients, as they pass.
    Down,
}

const KINDS: usize = 7;

/// A part of the way of a request that is timed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The name of the target.
    Dns,
    /// The connection to it.
    Connect,
    /// From the request to the target's first byte.
    FirstByte,
    /// The whole request or tunnel.
    Total,
}

impl Stage {
    /// Every stage, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::Dns, Self::Connect, Self::FirstByte, Self::Total];

    /// What metrics call it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Connect => "connect",
            Self::FirstByte => "first_byte",
            Self::Total => "total",
        }
    }
}

/// How a request or tunnel ended, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// Complete.
    Ok,
    /// Answered by the proxy itself.
    OwnAnswer,
    /// Asked for credentials, which is the normal first step of many clients.
    CredentialsWanted,
    /// The client broke off.
    ClientGone,
    /// Silent for too long.
    Idle,
    /// The proxy stopped.
    Cut,
    /// It failed.
    Failed(Failure),
}

const FINE: [Word; 6] =
    [Word::Ok, Word::OwnAnswer, Word::CredentialsWanted, Word::ClientGone, Word::Idle, Word::Cut];

impl Word {
    /// Every word, in the order of their numbers.
    pub fn all() -> impl Iterator<Item = Self> {
        FINE.into_iter().chain(Failure::ALL.iter().copied().map(Self::Failed))
    }

    /// As log and metrics have it.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::OwnAnswer => "own_answer",
            Self::CredentialsWanted => "credentials_wanted",
            Self::ClientGone => "client_gone",
            Self::Idle => "idle",
            Self::Cut => "cut",
            Self::Failed(failure) => failure.word(),
        }
    }

    const fn number(self) -> usize {
        match self {
            Self::Ok => 0,
            Self::OwnAnswer => 1,
            Self::CredentialsWanted => 2,
            Self::ClientGone => 3,
            Self::Idle => 4,
            Self::Cut => 5,
            Self::Failed(failure) => FINE.len() + failure as usize,
        }
    }
}

const OUTCOMES: usize = FINE.len() + Failure::ALL.len();

/// Upper bounds of the buckets, in tenths of a millisecond: 1 ms to half an hour.
const BOUNDS: [u32; 17] = [
    10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 300_000,
    600_000, 3_000_000, 18_000_000,
];

/// How long something took, many times.
#[derive(Debug, Clone, PartialEq)]
pub struct Histogram {
    /// Upper bound in seconds, and how many lie between it and the one before; the last bound is
    /// infinite.
    pub buckets: Vec<(f64, u64)>,
    /// Seconds altogether.
    pub sum: f64,
}

/// All counters of all workers.
#[derive(Debug, Default)]
pub struct Tally(Each<Cells>);

/// What one worker has counted. Neighbouring cache lines are fetched in pairs, and no two workers
/// may share one.
#[derive(Debug)]
#[repr(align(128))]
struct Cells {
    counts: [AtomicU64; KINDS],
    doors: [AtomicU64; Door::ALL.len()],
    outcomes: [[AtomicU64; OUTCOMES]; Door::ALL.len()],
    reasons: [AtomicU64; Reason::ALL.len()],
    times: [Times; Stage::ALL.len()],
}

#[derive(Debug, Default)]
struct Times {
    buckets: [AtomicU64; BOUNDS.len() + 1],
    /// Tenths of a millisecond.
    sum: AtomicU64,
}

impl Default for Cells {
    fn default() -> Self {
        Self {
            counts: Default::default(),
            doors: Default::default(),
            outcomes: from_fn(|_| from_fn(|_| AtomicU64::new(0))),
            reasons: from_fn(|_| AtomicU64::new(0)),
            times: Default::default(),
        }
    }
}

impl Tally {
    /// Adds `number` to what this worker has counted.
    pub fn add(&self, what: Count, number: u64) {
        bump(self.0.mine().counts.get(what as usize), number);
    }

    /// Counts a connection, once it is known what is spoken there.
    pub fn door(&self, door: Door) {
        bump(self.0.mine().doors.get(door as usize), 1);
    }

    /// Counts a request or tunnel that came by `door` and ended with `word`.
    pub fn outcome(&self, door: Door, word: Word) {
        let row = self.0.mine().outcomes.get(door as usize);
        bump(row.and_then(|row| row.get(word.number())), 1);
    }

    /// Counts a refusal.
    pub fn refused(&self, reason: Reason) {
        bump(self.0.mine().reasons.get(reason as usize), 1);
    }

    /// Counts a time.
    pub fn took(&self, stage: Stage, time: Lapse) {
        let Some(times) = self.0.mine().times.get(stage as usize) else { return };
        let bucket = BOUNDS.partition_point(|bound| *bound < time.tenths());
        bump(times.buckets.get(bucket), 1);
        times.sum.fetch_add(time.tenths().into(), Relaxed);
    }

    /// What all workers have counted.
    pub fn sum(&self, what: Count) -> u64 {
        self.total(|cells| cells.counts.get(what as usize))
    }

    /// Connections that came by `door`.
    pub fn by_door(&self, door: Door) -> u64 {
        self.total(|cells| cells.doors.get(door as usize))
    }

    /// Requests and tunnels by outcome that came by `door`.
    pub fn by_outcome(&self, door: Door) -> impl Iterator<Item = (Word, u64)> {
        Word::all().map(move |word| {
            (word, self.total(|cells| cells.outcomes.get(door as usize)?.get(word.number())))
        })
    }

    /// Refusals for `reason`.
    pub fn by_reason(&self, reason: Reason) -> u64 {
        self.total(|cells| cells.reasons.get(reason as usize))
    }

    /// How long `stage` took.
    pub fn times(&self, stage: Stage) -> Histogram {
        let bounds = BOUNDS.iter().map(|tenths| f64::from(*tenths) / 10_000.0);
        let buckets = bounds.chain([f64::INFINITY]).enumerate().map(|(at, bound)| {
            (bound, self.total(|cells| cells.times.get(stage as usize)?.buckets.get(at)))
        });
        let tenths = self.total(|cells| cells.times.get(stage as usize).map(|times| &times.sum));
        #[allow(clippy::cast_precision_loss, reason = "exact for 28,000 years of sum")]
        Histogram { buckets: buckets.collect(), sum: tenths as f64 / 10_000.0 }
    }

    fn total<'t>(&'t self, cell: impl Fn(&'t Cells) -> Option<&'t AtomicU64>) -> u64 {
        self.0.iter().filter_map(cell).map(|it| it.load(Relaxed)).sum()
    }
}

fn bump(cell: Option<&AtomicU64>, number: u64) {
    if let Some(cell) = cell {
        cell.fetch_add(number, Relaxed);
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
    use std::time::Duration;

    use super::{Cells, Count, Stage, Tally, Word};
    use crate::failure::Failure;
    use crate::proxy::door::Door;
    use crate::proxy::stop::Reason;

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
        assert_eq!(align_of::<Cells>(), 128);
    }

    #[test]
    fn numbers_of_doors_stages_and_reasons_are_their_places() {
        let tally = Tally::default();
        for (at, door) in Door::ALL.into_iter().enumerate() {
            assert_eq!(door as usize, at);
            tally.door(door);
            tally.outcome(door, Word::Ok);
            tally.outcome(door, Word::Failed(Failure::DnsError));
            assert_eq!(tally.by_door(door), 1);
            let counted: Vec<_> = tally.by_outcome(door).filter(|(_, count)| *count > 0).collect();
            assert_eq!(counted, [(Word::Ok, 1), (Word::Failed(Failure::DnsError), 1)]);
        }
        assert!(Word::all().enumerate().all(|(at, word)| word.number() == at));
        for (at, reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, at);
            tally.refused(*reason);
            assert_eq!(tally.by_reason(*reason), 1);
        }
        assert!(Stage::ALL.into_iter().enumerate().all(|(at, stage)| stage as usize == at));
    }

    #[test]
    fn a_time_falls_into_the_bucket_whose_bound_it_does_not_exceed() {
        let tally = Tally::default();
        for millis in [0, 1, 2, 7_200_000] {
            tally.took(Stage::Dns, Duration::from_millis(millis).into());
        }
        let times = tally.times(Stage::Dns);
        let counts: Vec<_> = times.buckets.iter().map(|(_, count)| *count).collect();
        assert_eq!(counts[..3], [2, 1, 0]);
        assert_eq!(counts.last(), Some(&1));
        assert!((times.buckets[0].0 - 0.001).abs() < 1e-9);
        assert!((times.sum - 7200.003).abs() < 1e-6, "{}", times.sum);
    }
}
