//! Connecting to one address, several times.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::sleep;

use super::super::{Context, Measured};
use crate::diag::fact::{Connects, Data, Outcome, Status};

/// Between the beginnings of attempts: enough that one lost packet does not hit all of them.
const APART: Duration = Duration::from_millis(100);

/// For one connect. Linux asks again after 1 and 3 s. Windows reports a refusal only after its
/// retries (2 s), so less than 5 s would make "closed" look like "silent".
const LIMIT: Duration = Duration::from_secs(if cfg!(windows) { 5 } else { 3 });

/// For the last one: a router reports that a host does not exist after 3 to 4 s, when it has given
/// up asking for it.
const PATIENT: Duration = Duration::from_secs(5);

/// Three attempts.
pub(in super::super) async fn run(address: SocketAddr, context: &Context) -> Measured {
    let (limit, patient) = (context.capped(LIMIT), context.capped(PATIENT));
    let (first, second, third) = tokio::join!(
        context.attempt(address, None, limit),
        later(APART, address, (context, limit)),
        later(APART * 2, address, (context, patient)),
    );
    let attempts = vec![first, second, third];
    let open = attempts.iter().any(|attempt| attempt.outcome == Outcome::Open);
    let status = if open { Status::Worked } else { Status::Failed };
    (status, Some(Data::Connects(Connects { attempts })))
}

async fn later(
    wait: Duration,
    address: SocketAddr,
    (context, limit): (&Context, Duration),
) -> crate::diag::fact::Attempt {
    tokio::select! {
        () = sleep(wait) => {}
        () = context.over() => {}
    }
    context.attempt(address, None, limit).await
}
