//! The smallest TTL with which the port answers: which hop accepts or refuses.
//!
//! An ordinary connect with `IP_TTL`; no privilege. Where a router on the way drops the packet, it
//! may say so (ICMP time exceeded) or be silent; both mean "too small".

use std::net::SocketAddr;
use std::time::Duration;

use tokio::task::JoinSet;

use super::super::{Context, Measured};
use crate::diag::fact::{Attempt, Data, Ladder, Outcome, Status};

/// Ways are rarely longer than 30 hops.
const MOST_HOPS: u8 = 30;

/// What comes back is at most as far as the port itself; three times that is late enough.
const LEAST: Duration = Duration::from_millis(100);
const MOST: Duration = Duration::from_secs(1);

/// What nearly every server answers itself, in one way or the other.
const OF_THE_SERVER: [u16; 3] = [22, 80, 443];

/// Five connects or so, and six to other ports.
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
    let behind_server = match answers_from {
        Some(hop) => is_behind(address, hop, (context, limit)).await,
        None => None,
    };
    let ladder = Ladder { answers_from, silent_up_to, behind_server, attempts };
    (status, Some(Data::Ladder(ladder)))
}

/// Whether another port of the address answers already one hop before `hop`.
async fn is_behind(
    address: SocketAddr,
    hop: u8,
    (context, limit): (&Context, Duration),
) -> Option<bool> {
    let mut asked = JoinSet::new();
    for port in OF_THE_SERVER.into_iter().filter(|it| *it != address.port()) {
        for ttl in [hop - 1, hop].into_iter().filter(|ttl| *ttl > 0) {
            let (context, other) = (context.clone(), SocketAddr::new(address.ip(), port));
            asked.spawn(async move { context.attempt(other, Some(ttl), limit).await });
        }
    }
    let answers = |it: &Attempt| matches!(it.outcome, Outcome::Open | Outcome::Refused);
    let answered: Vec<Attempt> = asked.join_all().await.into_iter().filter(answers).collect();
    let nearer = answered.iter().any(|it| it.ttl.is_some_and(|ttl| ttl < hop));
    (!answered.is_empty()).then_some(nearer)
}
