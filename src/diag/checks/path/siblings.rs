//! Other ports of the same address: whether the host is there at all.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::task::JoinSet;

use super::super::{Context, Measured};
use crate::diag::fact::{Connects, Data, Outcome, Status};

/// What nearly every server has open.
const USUAL: [u16; 3] = [22, 80, 443];

/// See `connect`.
const LIMIT: Duration = Duration::from_secs(if cfg!(windows) { 5 } else { 3 });

/// One attempt each.
pub(in super::super) async fn run(address: SocketAddr, context: &Context) -> Measured {
    let limit = context.capped(LIMIT);
    let mut asked = JoinSet::new();
    for port in ports(address.port()) {
        let context = context.clone();
        let sibling = SocketAddr::new(address.ip(), port);
        asked.spawn(async move { context.attempt(sibling, None, limit).await });
    }
    let mut attempts = asked.join_all().await;
    attempts.sort_by_key(|attempt| attempt.address.port());
    let answered = attempts.iter().any(|it| matches!(it.outcome, Outcome::Open | Outcome::Refused));
    let status = if answered { Status::Worked } else { Status::Failed };
    (status, Some(Data::Connects(Connects { attempts })))
}

/// The usual ones and the neighbours, without `port` itself.
fn ports(port: u16) -> Vec<u16> {
    let neighbours = [port.checked_sub(1), port.checked_add(1)].into_iter().flatten();
    let mut ports: Vec<u16> = USUAL.into_iter().chain(neighbours).collect();
    ports.retain(|it| *it != port && *it != 0);
    ports.sort_unstable();
    ports.dedup();
    ports
}

#[cfg(test)]
mod tests {
    use super::ports;

    #[test]
    fn the_port_itself_is_no_sibling() {
        assert_eq!(ports(8080), [22, 80, 443, 8079, 8081]);
        assert_eq!(ports(80), [22, 79, 81, 443]);
        assert_eq!(ports(1), [2, 22, 80, 443]);
        assert_eq!(ports(65535), [22, 80, 443, 65534]);
    }
}
