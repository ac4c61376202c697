//! One clock for origin and client: they are one process.

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds of CLOCK_MONOTONIC.
pub fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Seconds since `start`.
pub fn seconds_since(start: u64) -> f64 {
    (now() - start) as f64 / 1e9
}
