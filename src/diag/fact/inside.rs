//! What a container and its proxy look like from inside.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{Exchange, Listener, Overflow, Unseen, Variable};

/// A container from inside. Of clients there are only numbers: they are other people.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Inside {
    /// The process that serves; `None` when none could be found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serving: Option<Serving>,
    /// Whether the container was started for this look only: it is not the proxy's.
    #[serde(default)]
    pub alone: bool,
    /// The container's number, when its host name still is that, as Docker makes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Where this program is in the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<String>,
    /// What listens in this network; `None` when that could not be seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listeners: Option<Vec<Listener>>,
    /// Why it could not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unseen: Option<Unseen>,
    /// Connections that were lost because the waiting line of a port was full.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overflow: Option<Overflow>,
    /// Whether the network is not the host's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own_network: Option<bool>,
    /// Addresses here, loopback left out.
    pub addresses: Vec<IpAddr>,
    /// The way out: in a network of Docker's the host's end of it.
    pub gateways: Vec<IpAddr>,
    /// Who is connected to the proxy; `None` when it has no port for others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clients: Option<Clients>,
    /// What the container may have of the memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Memory>,
    /// What the proxy said to `GET /healthz` on an address of its own; it does not ask itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<Exchange>,
}

/// The process that serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Serving {
    /// Its number in the container.
    pub process: i32,
    /// Its user; 0 is root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<u32>,
    /// What it was started with; what is not known to be harmless is `…`.
    pub command: Vec<String>,
    /// Settings in its environment.
    pub variables: Vec<Variable>,
    /// How long it has been running, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub up_ms: Option<u64>,
}

/// How many connections to the proxy's ports there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Clients {
    /// From the host's end of the network.
    pub gateway: u32,
    /// From anywhere else but the container itself.
    pub others: u32,
}

/// The memory of a control group (cgroups(7)), in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Memory {
    /// The most it may have; `None` when there is no limit of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// What it has, with what the kernel keeps of files and could give back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<u64>,
    /// How many of its processes the kernel has ended for want of memory, since its start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub killed: Option<u64>,
}
