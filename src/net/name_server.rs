//! A name server of the user's choice, and how it is asked.

use std::net::IpAddr;
use std::sync::Arc;

use hickory_resolver::config::NameServerConfig;

use crate::target::Host;

/// A name server of the user's choice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameServer {
    /// Where it is; a name is looked up once, at the start, with the system's configuration.
    pub host: Host,
    /// Its port.
    pub port: u16,
    /// How it is asked.
    pub transport: Transport,
}

/// How a name server is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transport {
    /// UDP, and TCP for long answers.
    Plain,
    /// DNS over TLS (RFC 7858); the certificate must be for the host.
    Tls,
    /// DNS over HTTPS (RFC 8484) at this path; the certificate must be for the host.
    Https(Box<str>),
}

pub(super) fn reach(server: &NameServer, ip: IpAddr) -> NameServerConfig {
    let name: Arc<str> = match &server.host {
        Host::Ip(ip) => ip.to_string().into(),
        Host::Name(name) => Arc::from(&**name),
    };
    let mut config = match &server.transport {
        Transport::Plain => NameServerConfig::udp_and_tcp(ip),
        Transport::Tls => NameServerConfig::tls(ip, name),
        Transport::Https(path) => NameServerConfig::https(ip, name, Some(Arc::from(&**path))),
    };
    for connection in &mut config.connections {
        connection.port = server.port;
    }
    config
}
