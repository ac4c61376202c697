//! Whether the network turns IPv4 addresses into IPv6 (RFC 7050): asked only where nothing is sent to
//! IPv4 addresses as they are.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use tokio::time::timeout;

use super::super::{Context, Measured};
use crate::diag::fact::{Data, Nat64, Prefix, Status};
use crate::net::knock::source_for;
use crate::net::system_names::lookup;

/// RFC 7050 §2: it has IPv4 addresses only, unless somebody makes IPv6 of them.
const NAME: &str = "ipv4only.arpa";
/// RFC 5737; it stands for the whole Internet.
const ANYWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 77));
const LIMIT: Duration = Duration::from_secs(3);

/// Asks the routing table, then the system's resolver.
pub(in super::super) async fn run(context: &Context) -> Measured {
    if source_for(ANYWHERE).await.is_ok() {
        let found = Nat64 { ipv4: true, prefixes: Vec::new() };
        return (Status::Worked, Some(Data::Nat64(found)));
    }
    let answer = tokio::select! {
        answer = timeout(context.capped(LIMIT), lookup(NAME)) => answer,
        () = context.over() => return (Status::Failed, None),
    };
    let addresses = answer.ok().and_then(Result::ok).unwrap_or_default();
    let mut prefixes: Vec<Prefix> = Vec::new();
    for ip in addresses {
        let IpAddr::V6(ip) = ip else { continue };
        prefixes.extend(Prefix::of(ip).filter(|it| !prefixes.contains(it)));
    }
    (Status::Worked, Some(Data::Nat64(Nat64 { ipv4: false, prefixes })))
}
