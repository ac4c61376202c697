//! The smallest TTL with which the port answers: which hop accepts or refuses.
//!
//! An ordinary connect with `IP_TTL`; no privilege. Where a router on the way drops the packet, it
//! may say so (ICMP time exceeded) or be silent; both mean "too small".

use std::net::SocketAddr;
use std::time::Duration;

use super::super::{Context, Measured};
use crate::diag::fact::{Data, Ladder, Outcome, Status};

/// Ways are rarely longer than 30 hops.
const MOST_HOPS: u8 = 30;

/// What comes back is at most as far as the port itself; three times that is late enough.
const LEAST: Duration = Duration::from_millis(100);
const MOST: Duration = Duration::from_secs(1);

/// Five connects or so.
pub(in super::super) async fn run(address: SocketAddr, context: &Context) -> Measured {
    // Windows reports a refusal after 2 s.
    let least = if cfg!(windows) { Duration::from_millis(2500) } else { LEAST };
    let limit = (context.round_trip(address) * 3).clamp(least, MOST.max(least));
    let (mut low, mut high) = (0, MOST_HOPS + 1);
    let mut attempts = Vec::new();
    while high - low > 1 {
        let ttl = u8::midpoint(low, high);
        let attempt = context.attempt(address, Some(ttl), limit).await;
        attempts.push(attempt);
        match attempt.outcome {
            Outcome::Open | Outcome::Refused => high = ttl,
            Outcome::Unfinished => break,
            Outcome::Silent
            | Outcome::HostUnreachable
            | Outcome::NetworkUnreachable
            | Outcome::ProtocolUnreachable
            | Outcome::Forbidden
            | Outcome::NoSource
            | Outcome::Reset
            | Outcome::OwnLimits
            | Outcome::Other => low = ttl,
        }
    }
    let answers_from = (high - low == 1 && high <= MOST_HOPS).then_some(high);
    let status = if answers_from.is_some() { Status::Worked } else { Status::Failed };
    let silent_up_to = (low > 0).then_some(low);
    (status, Some(Data::Ladder(Ladder { answers_from, silent_up_to, attempts })))
}
