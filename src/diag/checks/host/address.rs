//! Which addresses this server has, and whose machine it is by what the machine itself says. Nobody
//! is asked over the network.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::kernel::interfaces;
use super::{Measured, file, on_linux};
use crate::diag::evidence::is_public;
use crate::diag::fact::{Data, OwnAddresses, Status};
use crate::diag::packets::provider;
use crate::net::knock::source_for;

/// RFC 5737 and RFC 3849: anywhere.
const ANYWHERE: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, 77)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 77)),
];

/// SMBIOS, as Linux has it; and where cloud-init says what it found.
const TELLING: [&str; 7] = [
    "/sys/class/dmi/id/sys_vendor",
    "/sys/class/dmi/id/product_name",
    "/sys/class/dmi/id/board_vendor",
    "/sys/class/dmi/id/bios_vendor",
    "/sys/class/dmi/id/bios_version",
    "/sys/class/dmi/id/chassis_asset_tag",
    "/run/cloud-init/cloud-id",
];

/// Looks at this machine.
pub(in super::super) async fn run() -> Measured {
    let mut outward = Vec::new();
    for ip in ANYWHERE {
        outward.extend(source_for(ip).await.ok());
    }
    on_linux(move || look(outward)).await
}

fn look(outward: Vec<IpAddr>) -> Measured {
    let mut found = OwnAddresses { outward, ..OwnAddresses::default() };
    for interface in interfaces().into_iter().filter(|it| !it.bridge) {
        for address in interface.addresses {
            if is_public(address) {
                found.public.push(address);
            } else if is_shared(address) {
                found.shared.push(address);
            } else if is_private(address) {
                found.private.push(address);
            }
        }
    }
    let told = TELLING.iter().filter_map(|path| file(path));
    found.told = told.map(|it| it.trim().chars().take(80).collect()).collect();
    found.told.retain(|it: &String| !it.is_empty());
    found.provider = provider::of(&found.told);
    let status = if found.outward.is_empty() { Status::Failed } else { Status::Worked };
    (status, Some(Data::OwnAddresses(found)))
}

/// RFC 6598.
const fn is_shared(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => matches!(v4.octets(), [100, 64..=127, ..]),
        IpAddr::V6(_) => false,
    }
}

const fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_private(),
        IpAddr::V6(v6) => v6.is_unique_local(),
    }
}
