//! What a server's kernel says of its network: who listens, how it forwards, which addresses it has,
//! and who knocked.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

/// Who listens, two looks at it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Listeners {
    /// On the port.
    pub on_port: Vec<HostListener>,
    /// On other ports, so that a wrong one is found; at most a hundred.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub elsewhere: Vec<SocketAddr>,
    /// Connections that were lost because a queue was full, since the start of the system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overflows: Option<u64>,
    /// SYNs that a listener dropped, for whatever reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drops: Option<u64>,
    /// How many more overflows there were at the second look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new_overflows: Option<u64>,
    /// Connections to the port that wait for the third packet of their handshake.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub half_open: Vec<SocketAddr>,
}

/// One that listens on the port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostListener {
    /// Where.
    pub address: SocketAddr,
    /// Established connections that nobody has accepted: first look, second look.
    pub waiting: (u32, u32),
    /// Whose socket.
    pub user: u32,
    /// Which process, when we may see that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<u32>,
    /// Its name, as the kernel has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// Settings and tables of the kernel.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Kernel {
    /// `net.ipv4.ip_forward`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forward4: Option<bool>,
    /// `net.ipv6.conf.all.forwarding`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forward6: Option<bool>,
    /// `net.ipv4.conf.all.rp_filter`; the larger of it and that of the interface is in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rp_filter: Option<u8>,
    /// Tracked connections.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conntrack_count: Option<u64>,
    /// As many as there may be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conntrack_max: Option<u64>,
    /// `net.ipv4.tcp_syncookies`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub syncookies: Option<u8>,
    /// `net.ipv4.tcp_abort_on_overflow`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abort_on_overflow: Option<bool>,
    /// Open files of the whole system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<u64>,
    /// As many as there may be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files_max: Option<u64>,
    /// The interfaces.
    pub interfaces: Vec<Interface>,
    /// The main routing table, both families, the most specific first; at most 512.
    pub routes: Vec<Way>,
    /// Whether there are further routing tables.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub more_tables: Option<bool>,
}

/// One interface.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its addresses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<IpAddr>,
    /// Largest packet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// Its own `rp_filter`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rp_filter: Option<u8>,
    /// Whether it is a bridge (Docker's networks are).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub bridge: bool,
}

/// One row of a routing table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Way {
    /// Where to: the first address.
    pub to: IpAddr,
    /// How many bits of it count.
    pub bits: u8,
    /// By which interface.
    pub interface: String,
    /// The next router.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
    /// Among equals the smallest wins.
    pub metric: u32,
    /// Whether packets to it are refused (`unreachable`, `blackhole`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reject: bool,
}

/// Which addresses the server has, and whose machine it is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct OwnAddresses {
    /// What it sends from to anywhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outward: Vec<IpAddr>,
    /// On its interfaces, public.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub public: Vec<IpAddr>,
    /// On its interfaces, private (RFC 1918, RFC 4193), bridges left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub private: Vec<IpAddr>,
    /// On its interfaces, shared by a provider's customers (RFC 6598).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shared: Vec<IpAddr>,
    /// The hosting, where the machine's own data tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<Provider>,
    /// What the machine's own data say: vendor, product, BIOS, tag, cloud-init.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub told: Vec<String>,
}

/// A hosting with a firewall of its own in front of its servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "names")]
pub enum Provider {
    Hetzner,
    DigitalOcean,
    Aws,
    Google,
    Azure,
    Oracle,
    Ovh,
    Vultr,
    Linode,
    Yandex,
    Selectel,
    Timeweb,
    Vk,
    Scaleway,
    Alibaba,
    Tencent,
    UpCloud,
    IonosCloud,
    OpenStack,
}

impl Provider {
    /// In the order of their numbers; only added to.
    const ALL: [Self; 19] = [
        Self::Hetzner,
        Self::DigitalOcean,
        Self::Aws,
        Self::Google,
        Self::Azure,
        Self::Oracle,
        Self::Ovh,
        Self::Vultr,
        Self::Linode,
        Self::Yandex,
        Self::Selectel,
        Self::Timeweb,
        Self::Vk,
        Self::Scaleway,
        Self::Alibaba,
        Self::Tencent,
        Self::UpCloud,
        Self::IonosCloud,
        Self::OpenStack,
    ];

    /// The one with the `number`, from 1.
    pub fn with_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number.checked_sub(1)?)).copied()
    }

    /// Its number, from 1.
    pub fn number(self) -> u8 {
        let at = Self::ALL.iter().position(|it| *it == self);
        at.and_then(|at| u8::try_from(at + 1).ok()).unwrap_or(0)
    }
}

/// SYNs that came to the port, counted below every rule.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Witness {
    /// For so long.
    pub ms: u64,
    /// Why nothing could be seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blind: Option<Blind>,
    /// From whom, the most first; at most 64.
    pub knocks: Vec<Knocks>,
    /// All.
    pub total: u64,
}

/// Why there is no witness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Blind {
    /// `CAP_NET_RAW` is lacking.
    NoPermission,
    /// Only Linux lets us.
    NotLinux,
    /// Anything else.
    Failed,
}

/// From one source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Knocks {
    /// Who.
    pub source: IpAddr,
    /// So many SYNs.
    pub syns: u64,
    /// So many SYN-ACKs went back.
    pub answers: u64,
    /// So many RSTs went back.
    pub resets: u64,
}
