//! Cause → what mends it, and where. Pure; the sentences are in `render`.

use super::code::Code;
use super::evidence::Subject;

/// Where something has to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Place {
    /// The computer that asks.
    Windows,
    /// The server's operating system.
    Server,
    /// Docker on the server.
    Docker,
    /// The panel of the server's provider.
    Provider,
    /// The settings of the application.
    Sami,
}

impl Place {
    /// As JSON has it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Windows => "windows",
            Self::Server => "server",
            Self::Docker => "docker",
            Self::Provider => "provider",
            Self::Sami => "sami",
        }
    }
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fix {
    /// Where.
    pub place: Place,
    /// What to type there.
    pub command: Option<String>,
    /// The key of its sentence.
    pub text: &'static str,
}

const RUN: &str = "docker run -d --name sami-llm-proxy -p {port}:8080 --restart unless-stopped \
sami-llm-proxy";

/// Cause, place, command (`{host}` and `{port}` are filled in), key of the sentence; in the order in
/// which to try.
const FIXES: &[(Code, Place, Option<&str>, &str)] = &[
    (Code::ProxyNameNotFound, Place::Sami, None, "fix-correct-the-name"),
    (Code::ProxyNameNotFound, Place::Windows, Some("ipconfig /flushdns"), "fix-forget-old-names"),
    (Code::DnsServerUnreachable, Place::Sami, None, "fix-use-the-address"),
    (Code::DnsServerUnreachable, Place::Windows, Some("ncpa.cpl"), "fix-other-name-server"),
    (Code::DnsServerFailing, Place::Sami, None, "fix-use-the-address"),
    (Code::DnsServerFailing, Place::Windows, Some("ncpa.cpl"), "fix-other-name-server"),
    (Code::NoNetwork, Place::Windows, Some("ncpa.cpl"), "fix-connect-to-a-network"),
    (Code::NoRoute, Place::Windows, Some("ipconfig /renew"), "fix-renew-the-address"),
    (Code::CaptivePortal, Place::Windows, Some("start http://neverssl.com"), "fix-sign-in"),
    (
        Code::LocalFirewall,
        Place::Windows,
        Some(
            "New-NetFirewallRule -DisplayName sami-proxy -Direction Outbound -RemotePort {port} -Protocol TCP -Action Allow",
        ),
        "fix-allow-outgoing",
    ),
    (Code::HostUnreachable, Place::Provider, None, "fix-start-the-server"),
    (Code::HostUnreachable, Place::Sami, None, "fix-check-the-address"),
    (Code::HostSilent, Place::Provider, None, "fix-start-the-server"),
    (Code::HostSilent, Place::Sami, None, "fix-check-the-address"),
    (Code::PortFiltered, Place::Provider, None, "fix-open-the-port-at-the-provider"),
    (Code::PortFiltered, Place::Server, Some("sudo ufw allow {port}/tcp"), "fix-open-the-port"),
    (
        Code::PortRejected,
        Place::Server,
        Some("sudo iptables -I INPUT -p tcp --dport {port} -j ACCEPT"),
        "fix-accept-before-reject",
    ),
    (Code::PortRefused, Place::Docker, Some("docker ps -a"), "fix-is-it-running"),
    (Code::PortRefused, Place::Docker, Some(RUN), "fix-publish-the-port"),
    (
        Code::AcceptedThenClosed,
        Place::Docker,
        Some("docker logs --tail 50 sami-llm-proxy"),
        "fix-read-the-log",
    ),
    (Code::SilentPeer, Place::Docker, Some("docker restart sami-llm-proxy"), "fix-restart-it"),
    (Code::NotAProxy, Place::Sami, None, "fix-check-the-port"),
    (
        Code::NotAProxy,
        Place::Server,
        Some("sudo ss -ltnp 'sport = :{port}'"),
        "fix-who-has-the-port",
    ),
    (Code::TlsRequired, Place::Sami, None, "fix-use-https"),
];

/// What mends `code`, the most promising first.
pub fn fixes(code: Code, subject: &Subject) -> Vec<Fix> {
    let filled = |template: &str| {
        template.replace("{port}", &subject.port.to_string()).replace("{host}", &subject.host)
    };
    FIXES
        .iter()
        .filter(|(of, ..)| *of == code)
        .map(|(_, place, command, text)| Fix { place: *place, command: command.map(filled), text })
        .collect()
}

/// Every key that [`fixes`] may give.
pub fn texts() -> impl Iterator<Item = &'static str> {
    FIXES.iter().map(|(.., text)| *text)
}
