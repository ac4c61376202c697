//! Settings and tables of this server's kernel, from `/proc` and `/sys`.

use std::net::IpAddr;

use super::{Measured, file, network_file, number, on_linux};
use crate::diag::fact::{Data, Interface, Kernel, Status, Way};
use crate::diag::packets::matches::{Truth, within};
use crate::diag::packets::tables::{addresses4, addresses6, routes};

/// Interfaces that are listed; a host with more containers has more.
const MOST_INTERFACES: usize = 256;

/// Reads them.
pub(in super::super) async fn run() -> Measured {
    on_linux(look).await
}

fn look() -> Measured {
    let setting = |name: &str| number(&format!("/proc/sys/net/{name}"));
    let flag = |name: &str| setting(name).map(|it: u8| it != 0);
    let files = file("/proc/sys/fs/file-nr").unwrap_or_default();
    let files: Vec<u64> = files.split_whitespace().filter_map(|it| it.parse().ok()).collect();
    let counted = |name: &str| number(&format!("/proc/sys/net/netfilter/nf_conntrack_{name}"));
    let (routes, interfaces) = (ways(), interfaces());
    let found = Kernel {
        forward4: flag("ipv4/ip_forward"),
        forward6: flag("ipv6/conf/all/forwarding"),
        rp_filter: setting("ipv4/conf/all/rp_filter"),
        conntrack_count: counted("count"),
        conntrack_max: counted("max"),
        syncookies: setting("ipv4/tcp_syncookies"),
        abort_on_overflow: flag("ipv4/tcp_abort_on_overflow"),
        files: files.first().copied(),
        files_max: files.get(2).copied(),
        interfaces,
        routes,
        more_tables: None,
    };
    let status = if found.interfaces.is_empty() { Status::Failed } else { Status::Worked };
    (status, Some(Data::Kernel(found)))
}

/// The routing tables.
pub(super) fn ways() -> Vec<Way> {
    let text = |name| network_file(name).unwrap_or_default();
    routes(&text("route"), &text("ipv6_route"))
}

/// The interfaces with their addresses.
pub(super) fn interfaces() -> Vec<Interface> {
    let devices = network_file("dev").unwrap_or_default();
    let names = devices.lines().skip(2).filter_map(|line| Some(line.split_once(':')?.0.trim()));
    let mut found: Vec<Interface> = names.take(MOST_INTERFACES).map(interface).collect();
    let ways = ways();
    for address in addresses4(&network_file("fib_trie").unwrap_or_default()) {
        // The kernel lists them without their interface; it has the way to their neighbours.
        let name =
            if address.is_loopback() { Some("lo") } else { neighbours(address.into(), &ways) };
        if let Some(one) = found.iter_mut().find(|it| Some(it.name.as_str()) == name) {
            one.addresses.push(address.into());
        }
    }
    for (address, name) in addresses6(&network_file("if_inet6").unwrap_or_default()) {
        if let Some(one) = found.iter_mut().find(|it| it.name == name) {
            one.addresses.push(address.into());
        }
    }
    found
}

/// The interface of the network that `address` is in; that of the way out for one without a network.
fn neighbours(address: IpAddr, ways: &[Way]) -> Option<&str> {
    let near = |way: &&Way| {
        way.gateway.is_none()
            && way.bits > 0
            && within(address, &format!("{}/{}", way.to, way.bits)) == Truth::Yes
    };
    let out = |way: &&Way| way.bits == 0 && way.to.is_ipv4() == address.is_ipv4();
    let way = ways.iter().find(near).or_else(|| ways.iter().find(out))?;
    Some(&way.interface)
}

fn interface(name: &str) -> Interface {
    Interface {
        name: name.to_owned(),
        addresses: Vec::new(),
        mtu: number(&format!("/sys/class/net/{name}/mtu")),
        rp_filter: number(&format!("/proc/sys/net/ipv4/conf/{name}/rp_filter")),
        bridge: std::path::Path::new(&format!("/sys/class/net/{name}/bridge")).exists(),
    }
}

#[cfg(target_os = "linux")]
#[cfg(test)]
mod tests {
    use super::look;
    use crate::diag::fact::{Data, Status};

    #[test]
    fn this_machine_is_read() {
        let (status, data) = look();
        let Some(Data::Kernel(found)) = data else { panic!("{status:?}") };
        assert_eq!(status, Status::Worked);
        assert!(found.forward4.is_some() && found.files.is_some(), "{found:?}");
        let lo = found.interfaces.iter().find(|it| it.name == "lo").unwrap();
        assert!(lo.addresses.contains(&"127.0.0.1".parse().unwrap()), "{found:?}");
    }
}
