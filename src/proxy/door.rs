//! The protocol by which a client came in.

use crate::net::sniff::Protocol;

/// What a client speaks, and whether under TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// It has not said enough, or nothing that is spoken here.
    Unknown,
    /// HTTP/1.
    Http,
    /// HTTP/1 under TLS.
    Https,
    /// HTTP/2 with prior knowledge.
    H2c,
    /// HTTP/2 under TLS.
    H2,
    /// SOCKS4 or SOCKS4a.
    Socks4,
    /// The same under TLS.
    Socks4Tls,
    /// SOCKS5.
    Socks5,
    /// The same under TLS.
    Socks5Tls,
}

/// Whether a connection is under TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cover {
    /// No.
    Plain,
    /// Yes.
    Tls,
}

impl Door {
    /// Every door, in the order of their numbers.
    pub const ALL: [Self; 9] = [
        Self::Unknown,
        Self::Http,
        Self::Https,
        Self::H2c,
        Self::H2,
        Self::Socks4,
        Self::Socks4Tls,
        Self::Socks5,
        Self::Socks5Tls,
    ];

    /// The door of `protocol` under `cover`.
    pub const fn of(protocol: Protocol, cover: Cover) -> Self {
        match (protocol, cover) {
            (Protocol::Http1, Cover::Plain) => Self::Http,
            (Protocol::Http1, Cover::Tls) => Self::Https,
            (Protocol::Http2, Cover::Plain) => Self::H2c,
            (Protocol::Http2, Cover::Tls) => Self::H2,
            (Protocol::Socks4, Cover::Plain) => Self::Socks4,
            (Protocol::Socks4, Cover::Tls) => Self::Socks4Tls,
            (Protocol::Socks5, Cover::Plain) => Self::Socks5,
            (Protocol::Socks5, Cover::Tls) => Self::Socks5Tls,
            (Protocol::Tls | Protocol::Foreign(_), _) => Self::Unknown,
        }
    }

    /// What log and metrics call it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Http => "http",
            Self::Https => "https",
            Self::H2c => "h2c",
            Self::H2 => "h2",
            Self::Socks4 => "socks4",
            Self::Socks4Tls => "socks4+tls",
            Self::Socks5 => "socks5",
            Self::Socks5Tls => "socks5+tls",
        }
    }

    /// Whether the client is under TLS.
    pub const fn cover(self) -> Cover {
        match self {
            Self::Https | Self::H2 | Self::Socks4Tls | Self::Socks5Tls => Cover::Tls,
            Self::Unknown | Self::Http | Self::H2c | Self::Socks4 | Self::Socks5 => Cover::Plain,
        }
    }
}
