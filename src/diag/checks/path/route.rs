//! What this machine's routing table says, without a packet.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::super::{Measured, outcome_of};
use crate::diag::fact::{Data, Route, Status};
use crate::net::knock::{any_route, source_for};

/// RFC 5737 and RFC 3849; they stand for the whole Internet when there is no address.
const ANYWHERE: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, 77)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 77)),
];

/// To `ip`; to anywhere, over either family, when it is not known where.
pub(in super::super) async fn run(ip: Option<IpAddr>) -> Measured {
    let Some(ip) = ip else {
        let [v4, v6] = ANYWHERE;
        let over_v4 = to(v4).await;
        return if over_v4.0 == Status::Worked { over_v4 } else { to(v6).await };
    };
    to(ip).await
}

async fn to(ip: IpAddr) -> Measured {
    let (source, failure, os_error) = match source_for(ip).await {
        Ok(source) => (Some(source), None, None),
        Err(error) => (None, Some(outcome_of(&error)), error.raw_os_error()),
    };
    let status = if source.is_some() { Status::Worked } else { Status::Failed };
    (status, Some(Data::Route(Route { to: ip, source, failure, os_error, others: any_route() })))
}
