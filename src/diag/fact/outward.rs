//! What is measured of a server's way out, and of what may run out on it.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::{Outcome, Unseen};

/// What the proxy's container reaches, asked from inside its network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Egress {
    /// Its name.
    pub container: String,
    /// Why its network could not be entered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unseen: Option<Unseen>,
    /// The name that was asked for.
    pub name: String,
    /// Its name servers.
    pub nameservers: Vec<Nameserver>,
    /// Whether there is a way out over IPv4.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route_v4: Option<bool>,
    /// Whether there is one over IPv6.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route_v6: Option<bool>,
    /// Connects from inside.
    pub inside: Vec<Dialled>,
    /// The same connects from the host.
    pub outside: Vec<Dialled>,
    /// The largest packet of its interface, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// That of the interface by which the host goes out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_mtu: Option<u32>,
    /// Whether the container hears that its packets are too large for the host's interface; asked
    /// only when they are. Such a packet never leaves the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told_too_big: Option<bool>,
    /// `net.core.somaxconn` of its network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub somaxconn: Option<u32>,
}

/// A name server of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nameserver {
    /// Port 53.
    pub ip: IpAddr,
    /// What it said to the container.
    pub inside: Reply,
    /// How long that took, in microseconds.
    pub elapsed_us: u64,
    /// What it said to the host; not asked where it is one of the container's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outside: Option<Reply>,
}

/// What came of a question over UDP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    /// An address, at least.
    Addresses,
    /// An answer without one.
    Empty,
    /// A failure, or a no.
    Failure,
    /// Nothing.
    Silent,
    /// Nobody listens there.
    Refused,
    /// It can't be sent there.
    Unreachable,
}

/// A connect to a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dialled {
    /// Its name.
    pub host: String,
    /// The address.
    pub address: SocketAddr,
    /// What it came to.
    pub outcome: Outcome,
    /// How long that took, in microseconds.
    pub elapsed_us: u64,
}

/// What may run out.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Resources {
    /// File systems.
    pub disks: Vec<Disk>,
    /// Memory that programs may still have, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_available: Option<u64>,
    /// All of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_total: Option<u64>,
    /// Swap that is free, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub swap_free: Option<u64>,
    /// The files of the container's first process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<Files>,
}

/// A file system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    /// A folder of it.
    pub path: String,
    /// Free for everybody, in bytes.
    pub free: u64,
    /// All of it.
    pub size: u64,
    /// Free places for files; `None` where they are not counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files_free: Option<u64>,
}

/// The open files of a process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Files {
    /// The container.
    pub container: String,
    /// Its limit.
    pub limit: u64,
    /// So many are open; `None` when only root may count them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open: Option<u64>,
}
