//! What is measured of a port: names, routes, connects, and what answers.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::Clock;

/// What a name stands for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Addresses {
    /// In the order of the operating system.
    pub addresses: Vec<IpAddr>,
    /// Why there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<NameFailure>,
    /// The operating system's number, where it has one (WSA on Windows).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub os_error: Option<i32>,
    /// How long the answer took, in microseconds.
    pub elapsed_us: u64,
}

/// What the system resolver says when it has no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NameFailure {
    /// `EAI_NONAME`, `WSAHOST_NOT_FOUND`: there is no such name.
    NoSuchName,
    /// `EAI_NODATA`, `WSANO_DATA`: the name has no address, or none of the family that was asked.
    NoAddress,
    /// `EAI_AGAIN`, `WSATRY_AGAIN`: nobody could be asked, or nobody could tell.
    TryAgain,
    /// `EAI_FAIL`, `WSANO_RECOVERY`: the answer of a server was a refusal.
    Failed,
    /// No answer within our patience.
    Silent,
    /// Anything else.
    Other,
}

/// What this machine's routing table says, without a packet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Where to.
    pub to: IpAddr,
    /// The address it would send from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<IpAddr>,
    /// Why it would not send.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Outcome>,
    /// The operating system's number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub os_error: Option<i32>,
    /// Whether there is a route to anything but this machine; `None` where it can't be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub others: Option<bool>,
}

/// Several attempts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connects {
    /// In the order they were begun.
    pub attempts: Vec<Attempt>,
}

/// One connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// Where.
    pub address: SocketAddr,
    /// What came of it.
    pub outcome: Outcome,
    /// The operating system's number (errno, WSA).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub os_error: Option<i32>,
    /// Until it was known, in microseconds: a refusal of our own machine takes a tenth of a
    /// millisecond, one that travelled takes longer.
    pub elapsed_us: u64,
    /// The TTL of our packets; the system's own when `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<u8>,
}

/// What came of a connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// A connection.
    Open,
    /// `ECONNREFUSED`: RST, or ICMP port unreachable.
    Refused,
    /// Nothing came back within the limit, or `ETIMEDOUT`.
    Silent,
    /// `EHOSTUNREACH`: ICMP host unreachable or prohibited, time exceeded, or no ARP answer.
    HostUnreachable,
    /// `ENETUNREACH`: no route here, or ICMP net unreachable.
    NetworkUnreachable,
    /// `ENOPROTOOPT`: ICMP protocol unreachable.
    ProtocolUnreachable,
    /// `EACCES`, `EPERM`, `WSAEACCES`: this machine forbids it.
    Forbidden,
    /// `EADDRNOTAVAIL`: no address to send from.
    NoSource,
    /// `ECONNRESET`, `ECONNABORTED`.
    Reset,
    /// Out of descriptors, ports or memory here.
    OwnLimits,
    /// Anything else.
    Other,
    /// It was cut short before it could tell.
    Unfinished,
}

/// The smallest TTL with which the port answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ladder {
    /// The hop that answers: 1 is the first box on the way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answers_from: Option<u8>,
    /// The largest TTL that was too small.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silent_up_to: Option<u8>,
    /// Whether other ports of the address answer from a nearer hop: then the server passes this one
    /// on, as it does for a container (or its firewall says no on the way there). `None` when none
    /// of them answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub behind_server: Option<bool>,
    /// Every attempt.
    pub attempts: Vec<Attempt>,
}

/// A connect to an address of documentation (RFC 5737), where nothing lives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Control {
    /// It.
    pub attempt: Attempt,
}

/// What answers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Hello {
    /// What it is, if that could be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speaks: Option<Speaks>,
    /// `Server`, `Via`, or the first line of a banner; printable ASCII only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Of sami-proxy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Our address, as sami-proxy sees it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// Whether sami-proxy trusts us: its operator has let us in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trusted: Option<bool>,
    /// It answered with the nonce of our question: it is sami-proxy and nobody in between.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nonce_returned: Option<bool>,
    /// `Date` of the first HTTP answer, and our clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<Clock>,
    /// The status of the answer to [`Said::AbsoluteForm`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// What was said, and what came back.
    pub exchanges: Vec<Exchange>,
}

/// What a port speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Speaks {
    /// sami-proxy: it returned our nonce, or refused under its name.
    SamiProxy,
    /// Another HTTP proxy.
    HttpProxy,
    /// An HTTP server that is no proxy.
    WebServer,
    /// SSH.
    Ssh,
    /// TLS and nothing in the clear.
    Tls,
    /// SOCKS 5 and no HTTP.
    Socks,
    /// Something with a banner or an answer of its own.
    Unknown,
    /// Nothing at all; the connection stays.
    Nothing,
    /// It ends every connection without a word.
    Closes,
}

/// One connection of `hello`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exchange {
    /// What we said.
    pub said: Said,
    /// How it ended.
    pub end: End,
    /// The first bytes that came, printable ASCII only.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub first: String,
    /// How many bytes came.
    pub bytes: usize,
    /// Until the first byte or the end, in microseconds.
    pub elapsed_us: u64,
}

/// What `hello` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Said {
    /// `GET http://sami-proxy.internal/whoami`.
    AbsoluteForm,
    /// `GET /healthz`.
    OriginForm,
    /// `CONNECT` to a name that can't exist.
    Connect,
    /// A TLS `ClientHello`.
    ClientHello,
    /// A SOCKS 5 greeting.
    Socks5,
}

/// How a connection of `hello` ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    /// Bytes came.
    Answered,
    /// It was closed in order, without a byte.
    Closed,
    /// It was reset.
    Reset,
    /// Nothing came within the limit.
    Silent,
    /// There was no connection.
    NoConnection,
    /// It was cut short.
    Unfinished,
}
