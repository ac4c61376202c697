//! What the pipeline needs to know. Valid by construction: only `config` makes one from text.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::policy::Policy;
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
    pub tls: Option<TlsFiles>,
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

/// A certificate and its key, both PEM.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// The chain, leaf first.
    pub certificate: PathBuf,
    /// The key of the leaf.
    pub key: PathBuf,
}
