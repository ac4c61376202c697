//! Wrong credentials, slowed per address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::destinations::special;

/// A person mistypes; that many times nothing happens.
const FREE: u32 = 5;
/// The delay of the first answer that is slowed; it doubles from there.
const FIRST_DELAY: Duration = Duration::from_millis(250);
/// The distance between two answers at most: 7,200 guesses a day from one address.
const LAST_DELAY: Duration = Duration::from_secs(12);
/// No answer waits longer; many at once from one address share this fate.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// An address that has been quiet for this long starts anew.
const FORGET: Duration = Duration::from_secs(600);
/// Addresses remembered.
const REMEMBERED: usize = 10_000;

/// The wrong attempts of the last minutes.
#[derive(Debug, Default)]
pub struct Attempts(Mutex<HashMap<IpAddr, Record>>);

#[derive(Debug, Clone, Copy)]
struct Record {
    wrong: u32,
    /// When the last answer to this address is given.
    answered: Instant,
}

impl Attempts {
    /// Notes a wrong attempt and tells how long its answer should wait.
    ///
    /// Answers to one address queue behind one another, so trying in parallel gains nothing.
    /// Private and gateway addresses are never slowed: behind Docker's NAT everybody has one.
    pub fn wrong(&self, peer: IpAddr, now: Instant) -> Duration {
        if special(peer).is_some() {
            return Duration::ZERO;
        }
        let mut records = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if records.len() >= REMEMBERED {
            records.retain(|_, record| record.answered + FORGET > now);
            if records.len() >= REMEMBERED {
                records.clear();
            }
        }
        let record = records.entry(network_of(peer)).or_insert(Record { wrong: 0, answered: now });
        if record.answered + FORGET <= now {
            *record = Record { wrong: 0, answered: now };
        }
        record.wrong = record.wrong.saturating_add(1);
        let answer = record.answered.max(now) + delay(record.wrong);
        record.answered = answer.min(now + LONGEST_WAIT);
        record.answered - now
    }
}

fn delay(wrong: u32) -> Duration {
    match wrong.checked_sub(FREE + 1) {
        None => Duration::ZERO,
        Some(doublings) => FIRST_DELAY.saturating_mul(1 << doublings.min(10)).min(LAST_DELAY),
    }
}

/// One household or one rented server has a whole /64 (RFC 6177).
pub(super) fn network_of(peer: IpAddr) -> IpAddr {
    match peer {
        IpAddr::V4(_) => peer,
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::{Attempts, FORGET, FREE, LAST_DELAY, LONGEST_WAIT};

    #[test]
    fn a_person_who_mistypes_waits_for_nothing_and_a_guesser_waits() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        let peer = "81.85.76.160".parse().unwrap();
        for _ in 0..FREE {
            assert_eq!(attempts.wrong(peer, now), Duration::ZERO);
        }
        let mut last = Duration::ZERO;
        for _ in 0..50 {
            let wait = attempts.wrong(peer, now);
            assert!(wait >= last && wait <= LONGEST_WAIT);
            last = wait;
        }
        assert_eq!(last, LONGEST_WAIT);
        let later = now + LONGEST_WAIT;
        assert_eq!(attempts.wrong(peer, later), LAST_DELAY);
        assert_eq!(attempts.wrong(peer, later + LAST_DELAY + FORGET), Duration::ZERO);
    }

    #[test]
    fn addresses_are_counted_apart_and_a_64_as_one() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        for host in 0..FREE {
            attempts.wrong(format!("2a00:1:2:3::{host}").parse().unwrap(), now);
        }
        assert!(attempts.wrong("2a00:1:2:3:4::".parse().unwrap(), now) > Duration::ZERO);
        assert_eq!(attempts.wrong("2a00:1:2:4::".parse().unwrap(), now), Duration::ZERO);
    }

    #[test]
    fn the_docker_gateway_and_loopback_are_never_slowed() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        for peer in ["172.17.0.1", "127.0.0.1", "::1", "192.168.1.5"] {
            for _ in 0..100 {
                assert_eq!(attempts.wrong(peer.parse().unwrap(), now), Duration::ZERO);
            }
        }
    }
}
