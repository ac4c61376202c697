//! What the pipeline needs to know. Valid by construction: only `config` makes one from text.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::policy::Policy;
use super::upstream::Upstream;
use crate::net::resolve::{Family, NameServer};
use crate::net::sweep::Patience;
use crate::secret::Secret;

/// Everything `serve` can be told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where clients connect.
    pub listen: Vec<SocketAddr>,
    /// Who they are.
    pub access: Access,
    /// What they may reach.
    pub policy: Policy,
    /// Name servers; none means the system's.
    pub dns: Vec<NameServer>,
    /// Which addresses of a target are used.
    pub family: Family,
    /// How long things may take.
    pub times: Times,
    /// How many there may be.
    pub limits: Limits,
    /// TLS on the same port.
    pub tls: Option<Certificate>,
    /// Load balancers that speak the PROXY protocol.
    pub proxy_protocol_from: Vec<IpNet>,
    /// The parent proxy.
    pub upstream: Option<Upstream>,
    /// Whether browsers see a page.
    pub page: Page,
    /// Where metrics are asked for.
    pub admin: Option<SocketAddr>,
}

/// Whether browsers see a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Page {
    /// They do.
    Shown,
    /// They get 404.
    Hidden,
}

/// Who clients are.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// `--auth`: user and password.
    pub users: Vec<(Box<str>, Secret)>,
    /// `--auth-file`.
    pub users_file: Option<PathBuf>,
    /// Everybody is trusted.
    pub open: bool,
    /// These addresses are trusted.
    pub trust_client: Vec<IpNet>,
    /// Only these addresses get in, when there are any.
    pub allow_client: Vec<IpNet>,
}

/// How long things may take.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// Names and connection together.
    pub connect: Duration,
    /// From the first byte of a request to the end of its head; and from accept to the first byte.
    pub header: Duration,
    /// TLS handshake.
    pub handshake: Duration,
    /// Silence of tunnels.
    pub patience: Patience,
    /// From the first signal until connections are cut.
    pub drain: Duration,
}

/// How many connections there may be.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Altogether.
    pub connections: usize,
    /// From one public address.
    pub per_client: usize,
}

/// Where certificate and key come from.
#[derive(Debug, Clone)]
pub enum Certificate {
    /// Two files in PEM.
    Files {
        /// The chain, leaf first.
        certificate: PathBuf,
        /// The key of the leaf.
        key: PathBuf,
    },
    /// One of our own, made once and kept in this folder.
    SelfSigned {
        /// `--state-dir`.
        folder: PathBuf,
    },
}
