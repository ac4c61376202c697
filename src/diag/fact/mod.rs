//! What a check has measured: numbers and addresses, no adjectives. Pure.
//!
//! A fact goes to JSON and back unchanged, so a saved report is diagnosed again without a network.
//! What is not known is `None`, which is never the same as "no".

mod docker;
mod hostnet;
mod inside;
mod journey;
mod link;
mod machine;
mod outward;
mod packets;
mod port;

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

pub use docker::{
    Binding, Container, Containers, Engine, HealthCheck, Image, Listener, Network, Overflow, Pick,
    Reach, Sample, State, Unseen, Variable, Why,
};
pub use hostnet::{
    Blind, HostListener, Interface, Kernel, Knocks, Listeners, OwnAddresses, Provider, Way, Witness,
};
pub use inside::{Clients, Inside, Memory, Serving};
pub use journey::{
    Answer, Certificate, Client, Clock, Failure, How, Journey, Lap, ProxyReply, Stage, Trip, Trust,
};
pub use link::{Direction, Event, Far, Health, Idle, Streaming, Transfer, Trial, Trials, Trick};
pub use machine::{
    Adapter, AdapterKind, Adapters, HostsFile, HostsLine, Nat64, Prefix, ProxySetting,
    ProxySettings, SetProxy, SettingOf,
};
pub use outward::{Dialled, Disk, Egress, Files, Nameserver, Reply, Resources};
pub use packets::{
    Backend, Base, Chain, Field, Layer, Match, PacketFilter, Read, Reading, Rule, Set, Table, Tool,
    Ufw, Verdict, VerdictMap,
};
pub use port::{
    Addresses, Attempt, Connects, Control, End, Exchange, Hello, Ladder, NameFailure, Outcome,
    Route, Said, Speaks,
};

/// The name of a fact in every output: `c3`, and `s3` when the server measured it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Reference(pub String);

impl Ord for Reference {
    /// `c2` is before `c10`, and both before `s1`.
    fn cmp(&self, other: &Self) -> Ordering {
        let key = |it: &Self| (it.0.chars().next(), it.0.len());
        key(self).cmp(&key(other)).then_with(|| self.0.cmp(&other.0))
    }
}

impl PartialOrd for Reference {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Reference {
    /// The reference of the `number`-th fact, from 1.
    pub fn number(number: usize) -> Self {
        Self(format!("c{number}"))
    }

    /// The same of a fact that the server measured.
    pub fn of_server(number: usize) -> Self {
        Self(format!("s{number}"))
    }
}

macro_rules! checks {
    ($($(#[$doc:meta])* $variant:ident = $word:literal;)+) => {
        /// Which check.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum CheckId { $($(#[$doc])* #[serde(rename = $word)] $variant,)+ }

        impl CheckId {
            /// Every check.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// As JSON has it.
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }
    };
}

checks! {
    /// The name, asked for as applications of the operating system do.
    Resolve = "resolve";
    /// The name, asked of another name server.
    OtherResolver = "other-resolver";
    /// Whether this machine would know where to send packets.
    Route = "route";
    /// Connections to one address.
    TcpConnect = "tcp-connect";
    /// Other ports of the same address.
    SiblingPorts = "sibling-ports";
    /// The smallest TTL with which the port answers.
    TtlLadder = "ttl-ladder";
    /// An address at which nothing can answer.
    ControlAddress = "control-address";
    /// What answers on the port.
    Hello = "hello";
    /// Bytes from the proxy itself.
    LinkDown = "link-down";
    /// Bytes to the proxy itself.
    LinkUp = "link-up";
    /// Events that the proxy sends one by one.
    Stream = "stream";
    /// A tunnel to the proxy itself that is silent for a while.
    IdleTunnel = "idle-tunnel";
    /// Requests to the proxy that differ in one thing.
    Trials = "trials";
    /// Whether names and connections work from where the proxy is.
    ProxyHealth = "proxy-health";
    /// A request to a target through the proxy.
    ThroughProxy = "through-proxy";
    /// The same without the proxy.
    Direct = "direct";
    /// The same as an application makes it.
    OrdinaryClient = "ordinary-client";
    /// A request to the API of an LLM provider through the proxy.
    Llm = "llm";
    /// Whether Docker runs on this server, and may be asked.
    DockerEngine = "docker-engine";
    /// The containers that may be the proxy's.
    Container = "container";
    /// What the proxy's container reaches.
    ContainerEgress = "container-egress";
    /// The proxy's container, seen from inside.
    ContainerInside = "container-inside";
    /// What may run out on this server.
    ServerResources = "server-resources";
    /// The rules by which the kernel of this server lets packets in.
    PacketFilter = "packet-filter";
    /// Who listens on the port of this server.
    HostListeners = "host-listeners";
    /// Settings and tables of this server's kernel.
    KernelSettings = "kernel-settings";
    /// Which addresses this server has, and whose machine it is.
    PublicAddress = "public-address";
    /// The SYNs that come to the port of this server.
    Witness = "witness";
    /// The network adapters of this machine.
    Adapters = "adapters";
    /// Which proxies this machine has been told of.
    SystemProxy = "system-proxy";
    /// Names that this machine answers by itself.
    HostsFile = "hosts-file";
    /// A page by which operating systems find out whether they are in the Internet.
    Portal = "portal";
    /// Whether the network turns IPv4 addresses into IPv6.
    Nat64 = "nat64";
}

/// One step of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fact {
    /// Stays the same in every output.
    pub reference: Reference,
    /// Who measured.
    pub check: CheckId,
    /// What: an address with its port, or a name.
    pub subject: String,
    /// How it went.
    pub status: Status,
    /// What was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Data>,
    /// The whole check, in milliseconds.
    pub took_ms: u64,
}

/// How a check went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// What was tried succeeded.
    Worked,
    /// It did not.
    Failed,
    /// It was not tried.
    Skipped(Skip),
}

/// Why a check was not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Skip {
    /// There is no name to ask for.
    AddressGiven,
    /// No address is known.
    NoAddress,
    /// Nothing between this machine and the port could answer differently.
    Loopback,
    /// Only asked when the port does not open.
    PortOpen,
    /// Only asked when the port opens.
    PortNotOpen,
    /// Only asked when the port opens or refuses.
    NoAnswer,
    /// Only asked of public addresses.
    NotPublic,
    /// No packet would leave this machine.
    NoRoute,
    /// It needs a proxy, and something else answers.
    NoProxy,
    /// Only sami-proxy can be asked that.
    NotOurs,
    /// The time was over.
    OutOfTime,
    /// The user ended it.
    Interrupted,
    /// Docker can't be asked.
    NoEngine,
    /// No container of the proxy runs.
    NoContainer,
    /// Only root may.
    NotPermitted,
    /// It can only be seen on Linux.
    NotHere,
    /// Only asked of others than the proxy and the targets with `--online`.
    OnlineOnly,
}

macro_rules! data {
    ($($(#[$doc:meta])* $variant:ident($payload:ident),)+) => {
        /// What was measured.
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(tag = "kind", rename_all = "kebab-case")]
        pub enum Data { $($(#[$doc])* $variant($payload),)+ }

        $(impl Payload for $payload {
            fn of(data: &Data) -> Option<&Self> {
                if let Data::$variant(it) = data { Some(it) } else { None }
            }
        })+
    };
}

/// What a fact may hold.
pub trait Payload: Sized {
    /// It, when `data` is that.
    fn of(data: &Data) -> Option<&Self>;
}

data! {
    /// Of `resolve` and `other-resolver`.
    Addresses(Addresses),
    /// Of `route`.
    Route(Route),
    /// Of `tcp-connect` and `sibling-ports`.
    Connects(Connects),
    /// Of `ttl-ladder`.
    Ladder(Ladder),
    /// Of `control-address`.
    Control(Control),
    /// Of `hello`.
    Hello(Hello),
    /// Of `link-down` and `link-up`.
    Transfer(Transfer),
    /// Of `stream`.
    Streaming(Streaming),
    /// Of `idle-tunnel`.
    Idle(Idle),
    /// Of `trials`.
    Trials(Trials),
    /// Of `proxy-health`.
    Health(Health),
    /// Of `through-proxy`, `direct`, `llm` and `portal`.
    Journey(Journey),
    /// Of `ordinary-client`.
    Client(Client),
    /// Of `docker-engine`.
    Engine(Engine),
    /// Of `container`.
    Containers(Containers),
    /// Of `container-egress`.
    Egress(Egress),
    /// Of `container-inside`.
    Inside(Inside),
    /// Of `server-resources`.
    Resources(Resources),
    /// Of `packet-filter`.
    PacketFilter(PacketFilter),
    /// Of `host-listeners`.
    Listeners(Listeners),
    /// Of `kernel-settings`.
    Kernel(Kernel),
    /// Of `public-address`.
    OwnAddresses(OwnAddresses),
    /// Of `witness`.
    Witness(Witness),
    /// Of `adapters`.
    Adapters(Adapters),
    /// Of `system-proxy`.
    ProxySettings(ProxySettings),
    /// Of `hosts-file`.
    HostsFile(HostsFile),
    /// Of `nat64`.
    Nat64(Nat64),
}
