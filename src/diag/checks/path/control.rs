//! An address at which nothing lives: who connects there was answered by a box on the way.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use super::super::{Context, Measured};
use crate::diag::fact::{Control, Data, Outcome, Status};

/// RFC 5737 and RFC 3849.
const V4: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 77));
const V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 77));

/// A box that accepts everything is nearer than the port; silence is the rule and has to be sat
/// out, so it must be short.
const LEAST: Duration = Duration::from_millis(300);
const MOST: Duration = Duration::from_millis(800);

/// One attempt.
pub(in super::super) async fn run(address: SocketAddr, context: &Context) -> Measured {
    let ip = if address.is_ipv4() { V4 } else { V6 };
    let limit = (context.round_trip(address) * 2).clamp(LEAST, MOST);
    let attempt = context.attempt(SocketAddr::new(ip, address.port()), None, limit).await;
    let status = if attempt.outcome == Outcome::Open { Status::Worked } else { Status::Failed };
    (status, Some(Data::Control(Control { attempt })))
}
