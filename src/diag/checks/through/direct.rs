//! A connection to the target itself, as an application without a proxy makes it.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::super::{Context, micros};
use super::entry::{Duplex, how_of};
use super::walk::{Trouble, Walk};
use crate::diag::fact::{Failure, How, Lap, Stage};
use crate::net::knock::{Knock, knock};
use crate::net::system_names::{NameError, lookup};
use crate::target::{Host, Target};

/// Between the beginnings of attempts, as RFC 8305 §5 allows.
const APART: Duration = Duration::from_millis(100);
/// The most addresses that are tried.
const MOST: usize = 6;

/// Connects to the first address of `target` that answers.
pub(super) async fn reach(
    target: &Target,
    walk: &mut Walk<'_>,
    context: &Context,
) -> Result<Box<dyn Duplex>, Failure> {
    let addresses = addresses(target, walk, context).await?;
    let (limit, begun) = (context.left(), Instant::now());
    let mut asked = JoinSet::new();
    for (number, address) in (0_u32..).zip(addresses) {
        asked.spawn(async move {
            sleep(APART * number).await;
            (number, knock(address, None, limit).await)
        });
    }
    match walk.in_time(first(&mut asked)).await {
        Ok(Knock { outcome, elapsed }) => {
            // Not the time that others had to be waited for.
            walk.laps.push(Lap { stage: Stage::Connect, us: micros(elapsed) });
            let opened = outcome.and_then(|it| Ok(((it.local_addr()?, it.peer_addr()?), it)));
            let (ends, stream) =
                opened.map_err(|error| walk.failed(Stage::Connect, error.into()))?;
            walk.ends = Some(ends);
            Ok(Box::new(stream))
        }
        Err(trouble) => {
            walk.laps.push(Lap { stage: Stage::Connect, us: micros(begun.elapsed()) });
            Err(walk.failed(Stage::Connect, trouble))
        }
    }
}

/// The connection that is there first, else the failure that tells most.
async fn first(asked: &mut JoinSet<(u32, Knock)>) -> Result<Knock, Trouble> {
    let mut failed = Vec::new();
    while let Some(Ok((number, knocked))) = asked.join_next().await {
        match &knocked.outcome {
            Ok(_) => return Ok(knocked),
            Err(error) => {
                // No route for one family says less than what came back for the other.
                let vague = how_of(error) == How::Unreachable;
                failed.push((vague, number, knocked));
            }
        }
    }
    let best = failed.into_iter().min_by_key(|(vague, number, _)| (*vague, *number));
    best.map(|(.., knocked)| knocked).ok_or_else(|| How::NoAddress.into())
}

async fn addresses(
    target: &Target,
    walk: &mut Walk<'_>,
    context: &Context,
) -> Result<Vec<SocketAddr>, Failure> {
    let port = target.port.get();
    let name = match &target.host {
        Host::Ip(ip) => return Ok(vec![(*ip, port).into()]),
        Host::Name(name) => name,
    };
    let family = context.evidence.subject.family;
    let found = walk.lap(Stage::Resolve, async {
        let all = lookup(name).await.map_err(|(error, os_error)| Trouble {
            os_error,
            ..Trouble::with(How::NoAddress, word(error).to_owned())
        })?;
        let usable = all.into_iter().filter(|ip| family.has(*ip)).take(MOST);
        let usable: Vec<_> = usable.map(|ip| (ip, port).into()).collect();
        if usable.is_empty() { Err(How::NoAddress.into()) } else { Ok(usable) }
    });
    found.await
}

const fn word(error: NameError) -> &'static str {
    match error {
        NameError::NoSuchName => "no-such-name",
        NameError::NoAddress => "no-address",
        NameError::TryAgain => "try-again",
        NameError::Failed => "failed",
        NameError::Other => "other",
    }
}
