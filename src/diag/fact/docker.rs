//! What is measured of Docker on the server. Nothing here may hold a secret: values of variables
//! and arguments are those of a closed list, lines of a log have been cleaned.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

/// Docker's engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Engine {
    /// The path of its socket.
    pub socket: String,
    /// What connecting to it came to.
    pub reach: Reach,
    /// The number of the error, when there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub os_error: Option<i32>,
    /// Whether a process of its name runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<bool>,
    /// Whether its program is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub installed: Option<bool>,
    /// Its release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The processor, as images name it: `amd64`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub architecture: Option<String>,
    /// `iptables`, `nftables`; engines before 29 do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub firewall: Option<String>,
    /// The version of control groups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<String>,
    /// Whether containers outlive it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live_restore: Option<bool>,
    /// Whether it runs without root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rootless: Option<bool>,
    /// Whether a `docker-proxy` runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub userland_proxy: Option<bool>,
    /// The folder of its data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
    /// The addresses from which this server sends to the Internet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outward: Vec<IpAddr>,
    /// Whether anything on this server itself listens on the port that is asked about, on an
    /// address that is not loopback.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port_taken: Option<bool>,
}

/// What connecting to a socket of this machine came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reach {
    /// It answers.
    Works,
    /// There is no such file.
    Missing,
    /// There is, and nobody listens.
    Refused,
    /// This user may not.
    Forbidden,
    /// Somebody listens and says nothing.
    Silent,
    /// Anything else.
    Failed,
}

/// The containers that may be the proxy's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Containers {
    /// The name that it should have.
    pub asked: String,
    /// How many containers there are in all, running or not.
    pub all: u32,
    /// Those that may be it.
    pub containers: Vec<Container>,
}

/// Why a container may be the proxy's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pick {
    /// It has the name.
    Name,
    /// Its image has the name.
    Image,
    /// Its image says so.
    Label,
    /// It has the port.
    Port,
}

/// One container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    /// Its name.
    pub name: String,
    /// The first twelve digits of its number.
    pub id: String,
    /// Why it may be the proxy's.
    pub picked: Vec<Pick>,
    /// Of what it is made.
    pub image: Image,
    /// What it runs; what is not known to be harmless is `…`.
    pub command: Vec<String>,
    /// Settings of the proxy in its environment.
    pub variables: Vec<Variable>,
    /// Its state.
    pub first: Sample,
    /// Its state somewhat later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub second: Option<Sample>,
    /// What its own check of health says, when there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthCheck>,
    /// `bridge`, `host`, `none`, `container:…`, or the name of a network.
    pub network_mode: String,
    /// The networks it is in.
    pub networks: Vec<Network>,
    /// Ports as they were asked for.
    pub bindings: Vec<Binding>,
    /// Ports as they are.
    pub ports: Vec<Binding>,
    /// When Docker starts it again: `no`, `always`, …
    pub restart: String,
    /// In bytes; `None` when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_limit: Option<u64>,
    /// The limit of open files that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nofile: Option<u64>,
    /// The end of its log.
    pub log: Vec<String>,
    /// The clients in the end of its log that wanted to get somewhere.
    pub clients: Vec<IpAddr>,
    /// What listens inside; `None` when that could not be seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listeners: Option<Vec<Listener>>,
    /// Why it could not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unseen: Option<Unseen>,
    /// Connections that were lost because the waiting line of a port was full.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overflow: Option<Overflow>,
}

impl Container {
    /// Its state, as late as it is known.
    pub fn last(&self) -> &Sample {
        self.second.as_ref().unwrap_or(&self.first)
    }
}

/// An image.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Image {
    /// As the container names it.
    pub name: String,
    /// The processor that it is built for: `amd64`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub architecture: Option<String>,
}

/// A variable of the environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Its value, when that is harmless.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

/// The state of a container at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Sample {
    /// In a word.
    pub state: State,
    /// Of its last end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i64>,
    /// What Docker says of its last start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Whether the kernel ended it for want of memory.
    #[serde(default)]
    pub oom_killed: bool,
    /// How often Docker has started it again.
    #[serde(default)]
    pub restarts: u64,
    /// When it was started, as Docker writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
    /// How long ago that was, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub up_ms: Option<u64>,
    /// The number of its first process; `None` when it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<i32>,
}

/// As Docker has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Never started, or in vain.
    Created,
    /// It runs.
    Running,
    /// Its processes are frozen.
    Paused,
    /// Docker waits before it starts it again.
    Restarting,
    /// It is being removed.
    Removing,
    /// It has ended.
    Exited,
    /// It could not be removed.
    Dead,
    /// Docker says something else.
    #[default]
    Unknown,
}

impl State {
    /// As Docker writes it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Restarting => "restarting",
            Self::Removing => "removing",
            Self::Exited => "exited",
            Self::Dead => "dead",
            Self::Unknown => "unknown",
        }
    }
}

/// What a container says of its health.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheck {
    /// `healthy`, `unhealthy`, `starting`.
    pub status: String,
    /// Failures in a row.
    #[serde(default)]
    pub failures: u64,
    /// The last thing it said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub said: Option<String>,
}

/// A network of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// Its name.
    pub name: String,
    /// Whether it leads nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub internal: Option<bool>,
    /// The container's addresses.
    pub addresses: Vec<IpAddr>,
    /// The host's addresses in it.
    pub gateways: Vec<IpAddr>,
}

/// A port of the host that leads to one of the container. TCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Binding {
    /// The host's address; `None` when any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<IpAddr>,
    /// The host's port; `None` when Docker picks one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The container's port.
    pub inside: u16,
}

/// Who waits for connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Listener {
    /// Where.
    pub address: SocketAddr,
    /// So many connections wait to be accepted.
    pub waiting: u32,
    /// So many waited somewhat later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_later: Option<u32>,
    /// Whether it belongs to the container's first process; asked only where the network is the
    /// host's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own: Option<bool>,
}

/// `ListenOverflows` of a network namespace, since it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overflow {
    /// At first.
    pub first: u64,
    /// Somewhat later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub second: Option<u64>,
}

/// Why something could not be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unseen {
    /// In a word.
    pub why: Why,
    /// The number of the error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub os_error: Option<i32>,
}

/// Why something could not be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// Only root may.
    Forbidden,
    /// It is not there any more.
    Gone,
    /// Anything else.
    Failed,
}
