//! What is measured of a request to a target, phase by phase.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// The same request, one or several times.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Journey {
    /// A URL without user and password.
    pub target: String,
    /// In the order they were made.
    pub trips: Vec<Trip>,
}

/// One request.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Trip {
    /// What it went through, in order; the last one is where it failed, if it did. A phase that
    /// was not needed is not there.
    pub laps: Vec<Lap>,
    /// Why it did not come to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// To whom we were connected: the proxy, or the target when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<SocketAddr>,
    /// What the proxy said to `CONNECT`, or instead of the target; not there for a SOCKS proxy that
    /// agreed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<ProxyReply>,
    /// Of the target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Certificate>,
    /// Of the proxy, when it is spoken to in TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_certificate: Option<Certificate>,
    /// What the target said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<Answer>,
}

/// One phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lap {
    /// Which.
    pub stage: Stage,
    /// How long it took, in microseconds.
    pub us: u64,
}

/// A phase of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// The name: the target's, when there is no proxy.
    Resolve,
    /// TCP: to the proxy, or to the target when there is none.
    Connect,
    /// TLS with the proxy.
    ProxyTls,
    /// Until the proxy has agreed (`CONNECT`, SOCKS).
    Proxy,
    /// TLS with the target.
    TargetTls,
    /// Until the first byte of the answer.
    FirstByte,
    /// The rest of it.
    Body,
}

impl Stage {
    /// Every stage.
    pub const ALL: [Self; 7] = [
        Self::Resolve,
        Self::Connect,
        Self::ProxyTls,
        Self::Proxy,
        Self::TargetTls,
        Self::FirstByte,
        Self::Body,
    ];

    /// As texts have it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Resolve => "resolve",
            Self::Connect => "connect",
            Self::ProxyTls => "proxy-tls",
            Self::Proxy => "proxy",
            Self::TargetTls => "target-tls",
            Self::FirstByte => "first-byte",
            Self::Body => "body",
        }
    }
}

/// Why a request did not come to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Where.
    pub stage: Stage,
    /// What happened.
    pub how: How,
    /// The operating system's number (errno, WSA).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub os_error: Option<i32>,
    /// Whether the other side's kernel has acknowledged everything that we had sent; only known on
    /// Linux.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged: Option<bool>,
    /// In the words of a library or of the peer; printable ASCII only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// What may happen to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// The name has no address.
    NoAddress,
    /// The connect was refused.
    Refused,
    /// The connect came to another error.
    Unreachable,
    /// Nothing came within the limit.
    Silent,
    /// It was reset.
    Reset,
    /// It was closed in order where something was still to come.
    Closed,
    /// The proxy said no: [`ProxyReply`].
    Denied,
    /// The certificate is not to be trusted: [`Certificate`].
    Certificate,
    /// TLS failed for another reason: an alert.
    Alert,
    /// What came is not what the protocol wants: no TLS, no HTTP, no SOCKS.
    Malformed,
    /// It was cut short by us.
    Unfinished,
}

impl How {
    /// As texts have it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::NoAddress => "no-address",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::Silent => "silent",
            Self::Reset => "reset",
            Self::Closed => "closed",
            Self::Denied => "denied",
            Self::Certificate => "certificate",
            Self::Alert => "alert",
            Self::Malformed => "malformed",
            Self::Unfinished => "unfinished",
        }
    }

    /// Every one.
    pub const ALL: [Self; 11] = [
        Self::NoAddress,
        Self::Refused,
        Self::Unreachable,
        Self::Silent,
        Self::Reset,
        Self::Closed,
        Self::Denied,
        Self::Certificate,
        Self::Alert,
        Self::Malformed,
        Self::Unfinished,
    ];
}

/// What a proxy said of itself. All texts are printable ASCII, shortened.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ProxyReply {
    /// Of HTTP; the reply code of SOCKS5 (RFC 1928 §6) when [`Self::socks`].
    pub status: u16,
    /// It is a reply of SOCKS5; 255: no acceptable method, 254: user or password rejected.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub socks: bool,
    /// It calls itself sami-proxy.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ours: bool,
    /// The error type of `Proxy-Status` (RFC 9209 §2.3).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The `details` of `Proxy-Status`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<String>,
    /// `Server`, else `Via`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The schemes of `Proxy-Authenticate`, in lower case: `basic`, `negotiate` …
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub schemes: Vec<String>,
    /// `Retry-After`, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_s: Option<u64>,
    /// Its `Date` and ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<Clock>,
    /// The beginning of its body.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub body: String,
}

/// The same moment by two clocks, in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clock {
    /// What the peer said (`Date`, RFC 9110 §6.6.1).
    pub theirs: i64,
    /// When we read it.
    pub ours: i64,
}

/// A certificate, and what two trust stores make of it. All texts are printable, shortened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// The common name or organization of who signed it.
    pub issuer: String,
    /// The same of the last certificate of the chain that was sent.
    pub root: String,
    /// For whom: its DNS names, the first few.
    pub names: Vec<String>,
    /// Seconds since 1970.
    pub not_before: i64,
    /// Seconds since 1970.
    pub not_after: i64,
    /// Our clock, seconds since 1970.
    pub now: i64,
    /// By the roots of Mozilla that this program has with it.
    pub mozilla: Trust,
    /// By the operating system.
    pub system: Trust,
    /// By the roots of `--ca`, or the pin, when there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub given: Option<Trust>,
}

/// What a trust store says of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trust {
    /// It is good.
    Trusted,
    /// Nobody known has signed it.
    UnknownIssuer,
    /// It is too old.
    Expired,
    /// It is not valid yet.
    NotYetValid,
    /// It is for another name.
    WrongName,
    /// Anything else: revoked, malformed, not for servers.
    Other,
}

/// What a target said. All texts are printable ASCII, shortened.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Answer {
    /// Of HTTP.
    pub status: u16,
    /// `Server`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// `Location`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    /// `Cf-Mitigated`: what Cloudflare does instead of passing the request on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mitigated: Option<String>,
    /// `Retry-After`, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_s: Option<u64>,
    /// Its `Date` and ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<Clock>,
    /// Bytes of the body that were read.
    pub bytes: u64,
    /// The beginning of the body.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub body: String,
}

/// What an ordinary HTTP client came to, with the proxy configured as applications do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Client {
    /// A URL.
    pub target: String,
    /// The status of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Why there is none, in its words; printable ASCII, without user and password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Until then, in microseconds.
    pub elapsed_us: u64,
}
