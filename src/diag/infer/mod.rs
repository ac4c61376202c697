//! Facts → suspects. Pure: every rule always runs, none knows of another, order never matters.
//!
//! A new rule is a function in the file of its area and a line in [`RULES`].

mod answer;
mod beyond;
mod both;
mod certificate;
mod client;
mod content;
mod digest;
mod docker;
mod entry;
mod filter;
mod inside;
mod machine;
mod names;
mod nat;
mod outward;
mod packets;
mod published;
mod quality;
mod refusal;
mod reply;
mod seen;
mod way;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

pub use content::{Reach, reach};
pub use digest::NAMES;
pub use packets::{knock, own_knock};
pub use published::leads_to_a_listener;

use super::code::{Code, Severity};
use super::evidence::Evidence;
use super::fact::{Attempt, Outcome, Reference};

/// How sure a rule is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Confidence {
    /// It would look like this, and so would other things.
    Possible,
    /// Nothing else is as probable.
    Likely,
    /// Every look-alike is excluded by a fact.
    Certain,
}

impl Confidence {
    /// Every one, the least sure first.
    pub const ALL: [Self; 3] = [Self::Possible, Self::Likely, Self::Certain];

    /// As JSON has it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Possible => "possible",
            Self::Likely => "likely",
            Self::Certain => "certain",
        }
    }
}

/// What a sentence about a cause needs: `port` → `8080`.
pub type Arguments = BTreeMap<&'static str, String>;

/// A cause that would look the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LookAlike {
    /// Which.
    pub code: Code,
    /// The key of the text that says what tells them apart.
    pub separate_by: &'static str,
}

/// A cause that would explain the facts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suspect {
    /// Which.
    pub code: Code,
    /// How sure.
    pub confidence: Confidence,
    /// How bad it is here, mostly as bad as its code. A provider of a whole table that does not serve
    /// us is no broken proxy; a firewall that was suspected is a problem when the other end proves it.
    pub severity: Severity,
    /// The facts that speak for it.
    pub because: Vec<Reference>,
    /// What it may be instead.
    pub look_alikes: Vec<LookAlike>,
    /// For its sentence.
    pub arguments: Arguments,
}

/// One rule.
pub type Rule = fn(&Evidence) -> Option<Suspect>;

/// Every rule and the cause that it finds.
pub const RULES: &[(Code, Rule)] = &[
    (Code::Ok, answer::ok),
    (Code::AcceptedThenClosed, answer::accepted_then_closed),
    (Code::SilentPeer, answer::silent_peer),
    (Code::NotAProxy, answer::not_a_proxy),
    (Code::TlsRequired, answer::tls_required),
    (Code::CaptivePortal, answer::captive_portal),
    (Code::NoNetwork, machine::no_network),
    (Code::NoRoute, machine::no_route),
    (Code::LocalFirewall, machine::local_firewall),
    (Code::Ipv6Broken, machine::ipv6_broken),
    (Code::ProxyNameNotFound, names::proxy_name_not_found),
    (Code::DnsServerUnreachable, names::dns_server_unreachable),
    (Code::DnsServerFailing, names::dns_server_failing),
    (Code::HostUnreachable, way::host_unreachable),
    (Code::HostSilent, way::host_silent),
    (Code::PortFiltered, way::port_filtered),
    (Code::PortRejected, way::port_rejected),
    (Code::PortRefused, way::port_refused),
    (Code::AnswersLost, both::answers_lost),
    (Code::ProxyNamePoisoned, entry::proxy_name_poisoned),
    (Code::NoInternet, entry::no_internet),
    (Code::TlsNotSpoken, entry::tls_not_spoken),
    (Code::ProxyCertUntrusted, entry::proxy_cert_untrusted),
    (Code::ProxyAuthRequired, entry::proxy_auth_required),
    (Code::ProxyAuthRejected, entry::proxy_auth_rejected),
    (Code::CredentialsMisencoded, entry::credentials_misencoded),
    (Code::ClientNotAllowed, entry::client_not_allowed),
    (Code::ClientAddressHidden, entry::client_address_hidden),
    (Code::ConnectFiltered, filter::connect_filtered),
    (Code::TargetDeniedByProxy, refusal::target_denied_by_proxy),
    (Code::ProxyOverloaded, refusal::proxy_overloaded),
    (Code::UpstreamProxyDown, refusal::upstream_proxy_down),
    (Code::ProxyDnsBroken, beyond::proxy_dns_broken),
    (Code::ProxyNoEgress, beyond::proxy_no_egress),
    (Code::TargetNameNotFound, beyond::target_name_not_found),
    (Code::TargetUnreachable, beyond::target_unreachable),
    (Code::TargetRefused, beyond::target_refused),
    (Code::TargetTlsReset, beyond::target_tls_reset),
    (Code::TargetTlsStalled, beyond::target_tls_stalled),
    (Code::TargetCertUntrusted, certificate::target_cert_untrusted),
    (Code::TlsIntercepted, certificate::tls_intercepted),
    (Code::TargetCertExpired, certificate::target_cert_expired),
    (Code::TargetCertNotYetValid, certificate::target_cert_not_yet_valid),
    (Code::TargetCertName, certificate::target_cert_name),
    (Code::ClockSkew, certificate::clock_skew),
    (Code::TargetRegionBlocked, content::target_region_blocked),
    (Code::TargetChallenged, content::target_challenged),
    (Code::TargetRateLimited, content::target_rate_limited),
    (Code::TargetHttpError, content::target_http_error),
    (Code::EgressDatacenterRefused, content::egress_datacenter_refused),
    (Code::MtuBlackHole, quality::mtu_black_hole),
    (Code::TunnelFreezes, quality::tunnel_freezes),
    (Code::TunnelCutIdle, quality::tunnel_cut_idle),
    (Code::StreamBuffered, quality::stream_buffered),
    (Code::LinkSlow, quality::link_slow),
    (Code::LinkLossy, quality::link_lossy),
    (Code::Ok, outward::server_ok),
    (Code::Ok, inside::ok),
    (Code::DockerNotRunning, docker::docker_not_running),
    (Code::DockerNoPermission, docker::docker_no_permission),
    (Code::ContainerMissing, docker::container_missing),
    (Code::ContainerStopped, docker::container_stopped),
    (Code::ContainerRestarting, docker::container_restarting),
    (Code::ContainerPaused, docker::container_paused),
    (Code::ContainerOomKilled, docker::container_oom_killed),
    (Code::ContainerUnhealthy, docker::container_unhealthy),
    (Code::WrongArchitecture, docker::wrong_architecture),
    (Code::PortTaken, docker::port_taken),
    (Code::PortNotPublished, published::port_not_published),
    (Code::PortPublishedLoopbackOnly, published::port_published_loopback_only),
    (Code::PortPublishedElsewhere, published::port_published_elsewhere),
    (Code::ContainerNetworkMode, published::container_network_mode),
    (Code::ListenerMissing, published::listener_missing),
    (Code::ListenerLoopbackOnly, published::listener_loopback_only),
    (Code::ListenerOtherPort, published::listener_other_port),
    (Code::ContainerNetworkMode, inside::container_network_mode),
    (Code::ListenerMissing, inside::listener_missing),
    (Code::ListenerLoopbackOnly, inside::listener_loopback_only),
    (Code::ListenerOtherPort, inside::listener_other_port),
    (Code::SilentPeer, inside::hangs),
    (Code::BacklogOverflow, inside::backlog_overflow),
    (Code::BacklogOverflow, published::backlog_overflow),
    (Code::SilentPeer, published::hangs),
    (Code::FdLimit, outward::fd_limit),
    (Code::ContainerDnsBroken, outward::container_dns_broken),
    (Code::ContainerNoEgress, outward::container_no_egress),
    (Code::ProxyNoEgress, outward::server_no_egress),
    (Code::ProxyNoEgress, inside::no_egress),
    (Code::ContainerMtu, outward::container_mtu),
    (Code::DiskFull, outward::disk_full),
    (Code::MemoryShort, outward::memory_short),
    (Code::MemoryShort, inside::memory_short),
    (Code::OpenProxy, outward::open_proxy),
    (Code::ClientAddressHidden, outward::client_address_hidden),
    (Code::ClientAddressHidden, inside::client_address_hidden),
    (Code::DockerNatMissing, nat::docker_nat_missing),
    (Code::IpForwardOff, packets::ip_forward_off),
    (Code::DockerUserDrop, packets::docker_user_drop),
    (Code::HostFirewallDrop, packets::host_firewall_drop),
    (Code::PortRejected, packets::rejected),
    (Code::ClientBanned, packets::client_banned),
    (Code::ConntrackFull, packets::conntrack_full),
    (Code::ReversePathFilter, packets::reverse_path_filter),
    (Code::PortTaken, packets::port_taken),
    (Code::BacklogOverflow, packets::backlog_overflow),
    (Code::CloudFirewallSuspected, packets::cloud_firewall_suspected),
    (Code::BehindNat, packets::behind_nat),
    (Code::BehindNat, machine::behind_nat),
    (Code::PublicAddressDiffers, packets::public_address_differs),
    (Code::SystemProxyDiffers, client::system_proxy_differs),
    (Code::AppBypassesProxy, client::app_bypasses_proxy),
    (Code::VpnCapturesRoute, client::vpn_captures_route),
];

/// All suspects: those of this end, of the other end alone, and of both together.
pub fn infer(evidence: &Evidence) -> Vec<Suspect> {
    let here = alone(evidence);
    match &evidence.server {
        Some(server) => both::joined(here, evidence, server),
        None => here,
    }
}

/// What one end says by itself.
fn alone(evidence: &Evidence) -> Vec<Suspect> {
    RULES.iter().filter_map(|(_, rule)| rule(evidence)).collect()
}

/// A suspect for which `because` speaks.
fn suspect<'e>(
    code: Code,
    confidence: Confidence,
    because: impl IntoIterator<Item = &'e Reference>,
) -> Suspect {
    let because: BTreeSet<&Reference> = because.into_iter().collect();
    Suspect {
        code,
        confidence,
        severity: code.severity(),
        because: because.into_iter().cloned().collect(),
        look_alikes: Vec::new(),
        arguments: Arguments::new(),
    }
}

impl Suspect {
    /// It may be `code` instead; the text `separate_by` says what tells them apart.
    fn or(mut self, code: Code, separate_by: &'static str) -> Self {
        self.look_alikes.push(LookAlike { code, separate_by });
        self
    }

    /// Another fact speaks for it, or against what it may be instead.
    fn and(mut self, reference: &Reference) -> Self {
        if let Err(at) = self.because.binary_search(reference) {
            self.because.insert(at, reference.clone());
        }
        self
    }

    fn with(mut self, name: &'static str, value: &impl ToString) -> Self {
        self.arguments.insert(name, value.to_string());
        self
    }

    fn with_some(self, name: &'static str, value: Option<impl ToString>) -> Self {
        match value {
            Some(value) => self.with(name, &value),
            None => self,
        }
    }
}

/// The attempts that left this machine, each with its reference: an address without a route says
/// nothing of the way.
fn sent(evidence: &Evidence) -> Vec<(&Reference, &Attempt)> {
    let attempts = evidence.attempts();
    attempts
        .filter(|(_, it)| {
            evidence.is_routable(it.address.ip())
                && !matches!(it.outcome, Outcome::NoSource | Outcome::OwnLimits)
        })
        .collect()
}

/// What the attempts came to, the most telling first: who is accepted by one address is not
/// concerned that another is silent, and one lost packet does not make a closed port a silent one.
fn most_telling(sent: &[(&Reference, &Attempt)]) -> Option<Outcome> {
    const TELLING: [Outcome; 7] = [
        Outcome::Open,
        Outcome::Forbidden,
        Outcome::Refused,
        Outcome::ProtocolUnreachable,
        Outcome::HostUnreachable,
        Outcome::NetworkUnreachable,
        Outcome::Silent,
    ];
    TELLING.into_iter().find(|outcome| sent.iter().any(|(_, it)| it.outcome == *outcome))
}

/// Those that came to `outcome`.
fn with_outcome<'e>(
    sent: &[(&'e Reference, &'e Attempt)],
    outcome: Outcome,
) -> Vec<(&'e Reference, &'e Attempt)> {
    sent.iter().filter(|(_, it)| it.outcome == outcome).copied().collect()
}

/// The siblings that answered, and so prove that the host is there.
fn answering_siblings(evidence: &Evidence) -> Vec<(&Reference, &Attempt)> {
    let siblings = evidence.siblings();
    siblings.filter(|(_, it)| matches!(it.outcome, Outcome::Open | Outcome::Refused)).collect()
}

fn references<'e>(
    found: &[(&'e Reference, &'e Attempt)],
) -> impl Iterator<Item = &'e Reference> + use<'e> {
    found.iter().map(|(reference, _)| *reference).collect::<Vec<_>>().into_iter()
}

/// The shortest time, in microseconds.
fn fastest(found: &[(&Reference, &Attempt)]) -> Option<u64> {
    found.iter().map(|(_, it)| it.elapsed_us).min()
}

#[cfg(test)]
mod docker_choice;
#[cfg(test)]
mod docker_server;
#[cfg(test)]
mod docker_tests;
#[cfg(test)]
mod tests;
