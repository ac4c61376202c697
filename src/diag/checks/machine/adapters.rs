//! The network adapters, and which of them packets to the proxy leave by.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use netdev::prelude::{Interface, InterfaceType, OperState};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::super::host::listens_here;
use super::super::{Context, Measured};
use crate::diag::fact::{Adapter, AdapterKind, Adapters, Data, Status};
use crate::net::knock::source_for;

/// The library asks each gateway for its hardware address (ARP), and one that is silent takes its
/// time. Nobody else waits for it.
const LIMIT: Duration = Duration::from_secs(4);

/// RFC 5737 and RFC 3849; they stand for the whole Internet.
const ANYWHERE: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, 77)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 77)),
];

/// All of them.
pub(in super::super) async fn run(context: &Context) -> Measured {
    let port = context.evidence.subject.port;
    let asked = spawn_blocking(move || (netdev::get_interfaces(), listens_here(port)));
    let found = tokio::select! {
        found = timeout(LIMIT, asked) => found,
        () = context.over() => return (Status::Failed, None),
    };
    let (interfaces, listens) = match found {
        // Every machine has a loopback interface: none at all was no answer.
        Ok(Ok(found)) if !found.0.is_empty() => found,
        _ => return (Status::Failed, None),
    };
    let to = context.evidence.subject.ip();
    let source = match to {
        Some(ip) => source_for(ip).await.ok(),
        None => None,
    };
    let usual_source = match source_for(ANYWHERE[0]).await {
        Ok(source) => Some(source),
        Err(_) => source_for(ANYWHERE[1]).await.ok(),
    };
    let adapters = interfaces.into_iter().map(adapter).collect();
    let all = Adapters { adapters, usual_source, to, source, listens };
    (Status::Worked, Some(Data::Adapters(all)))
}

fn adapter(found: Interface) -> Adapter {
    let v4 = found.ipv4.iter().map(|net| (*net).into());
    let v6 = found.ipv6.iter().map(|net| (*net).into());
    let gateways = found.gateway.as_ref().map_or_else(Vec::new, |it| {
        let v4 = it.ipv4.iter().map(|ip| IpAddr::V4(*ip));
        v4.chain(it.ipv6.iter().map(|ip| IpAddr::V6(*ip))).collect()
    });
    let up = match found.oper_state {
        OperState::Down | OperState::NotPresent | OperState::LowerLayerDown => Some(false),
        // Tunnels on Linux do not say, and /sys may tell of another network's adapter of that name:
        // who is switched off is down.
        OperState::Up | OperState::Unknown | OperState::Testing | OperState::Dormant => {
            Some(found.is_up())
        }
    };
    Adapter {
        addresses: v4.chain(v6).collect(),
        kind: kind(&found),
        name: printable(found.friendly_name.as_deref().unwrap_or(&found.name)),
        description: found.description.as_deref().map(printable),
        up,
        gateways,
        name_servers: found.dns_servers,
        mtu: found.mtu,
    }
}

fn kind(found: &Interface) -> AdapterKind {
    let only_here = |ip: IpAddr| ip.is_loopback();
    let mut addresses = found.ipv4.iter().map(|net| IpAddr::V4(net.addr()));
    if found.is_loopback() || addresses.any(only_here) {
        return AdapterKind::Loopback;
    }
    #[allow(clippy::wildcard_enum_match_arm, reason = "a foreign enum of dozens of kinds")]
    match found.if_type {
        InterfaceType::Loopback => AdapterKind::Loopback,
        InterfaceType::Ethernet
        | InterfaceType::Ethernet3Megabit
        | InterfaceType::FastEthernetT
        | InterfaceType::FastEthernetFx
        | InterfaceType::GigabitEthernet => AdapterKind::Ethernet,
        InterfaceType::Wireless80211 => AdapterKind::WiFi,
        InterfaceType::Wwanpp | InterfaceType::Wwanpp2 => AdapterKind::Mobile,
        InterfaceType::Ppp => AdapterKind::Ppp,
        // `IF_TYPE_PROP_VIRTUAL`: Wintun, and so WireGuard and its relatives.
        InterfaceType::Tunnel | InterfaceType::ProprietaryVirtual => AdapterKind::Tunnel,
        _ if found.is_tun() => AdapterKind::Tunnel,
        _ => AdapterKind::Other,
    }
}

fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(120).collect()
}
