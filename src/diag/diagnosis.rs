//! Suspects → one cause. Pure.

use super::code::{Code, Severity};
use super::evidence::Evidence;
use super::infer::{Confidence, LookAlike, Suspect, infer};

/// What a run comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// All is well.
    Ok,
    /// It works, with a warning.
    Degraded,
    /// The facts do not tell.
    Inconclusive,
    /// It does not work.
    Broken,
}

impl State {
    /// As JSON has it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Degraded => "degraded",
            Self::Inconclusive => "inconclusive",
            Self::Broken => "broken",
        }
    }
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnosis {
    /// In a word.
    pub state: State,
    /// The best-supported cause; `None` when nothing explains the facts.
    pub verdict: Option<Suspect>,
    /// What else it may be.
    pub alternatives: Vec<Alternative>,
    /// What does not stop it from working.
    pub warnings: Vec<Suspect>,
}

/// Another cause that the facts allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Alternative {
    /// Which.
    pub code: Code,
    /// How sure.
    pub confidence: Confidence,
    /// The key of the text that says what tells it from the verdict.
    pub separate_by: Option<&'static str>,
}

/// Cause → what it explains away: those are symptoms when it is there.
const MASKS: &[(Code, &[Code])] = &[
    (
        Code::NoNetwork,
        &[
            Code::NoRoute,
            Code::DnsServerUnreachable,
            Code::DnsServerFailing,
            Code::ProxyNameNotFound,
            Code::HostUnreachable,
            Code::HostSilent,
        ],
    ),
    (
        Code::NoRoute,
        &[
            Code::DnsServerUnreachable,
            Code::DnsServerFailing,
            Code::HostUnreachable,
            Code::HostSilent,
        ],
    ),
    (
        Code::CaptivePortal,
        &[
            Code::Ok,
            Code::AcceptedThenClosed,
            Code::SilentPeer,
            Code::NotAProxy,
            Code::TlsRequired,
            Code::HostSilent,
            Code::HostUnreachable,
            Code::PortFiltered,
            Code::NoInternet,
        ],
    ),
    (Code::LocalFirewall, &[Code::PortRefused, Code::PortRejected, Code::HostUnreachable]),
    (
        Code::NoInternet,
        &[
            Code::DnsServerUnreachable,
            Code::DnsServerFailing,
            Code::HostSilent,
            Code::HostUnreachable,
        ],
    ),
    (
        Code::ProxyNamePoisoned,
        &[
            Code::HostSilent,
            Code::HostUnreachable,
            Code::PortFiltered,
            Code::PortRefused,
            Code::PortRejected,
            Code::NotAProxy,
            Code::AcceptedThenClosed,
            Code::SilentPeer,
        ],
    ),
    (Code::SilentPeer, BEYOND),
    (Code::NotAProxy, BEYOND),
    (Code::TlsNotSpoken, BEYOND),
    (Code::ProxyCertUntrusted, BEYOND),
    (Code::ProxyAuthRequired, BEYOND),
    (Code::ProxyAuthRejected, BEYOND),
    (Code::ClientNotAllowed, BEYOND),
    (Code::ProxyOverloaded, &[Code::TargetUnreachable, Code::ConnectFiltered]),
    (Code::UpstreamProxyDown, &[Code::ProxyNoEgress, Code::TargetUnreachable, Code::TargetRefused]),
    (
        Code::ConnectFiltered,
        &[
            Code::AcceptedThenClosed,
            Code::SilentPeer,
            Code::TargetUnreachable,
            Code::TargetTlsReset,
            Code::TargetTlsStalled,
        ],
    ),
    (
        Code::ProxyDnsBroken,
        &[Code::TargetNameNotFound, Code::TargetUnreachable, Code::ProxyNoEgress],
    ),
    (
        Code::ProxyNoEgress,
        &[Code::TargetUnreachable, Code::TargetRefused, Code::TargetNameNotFound],
    ),
    (Code::ClockSkew, &[Code::TargetCertExpired, Code::TargetCertNotYetValid]),
    (
        Code::MtuBlackHole,
        &[Code::TargetTlsStalled, Code::TunnelFreezes, Code::LinkSlow, Code::LinkLossy],
    ),
    (
        Code::TunnelFreezes,
        &[Code::LinkSlow, Code::StreamBuffered, Code::TunnelCutIdle, Code::LinkLossy],
    ),
    (Code::LinkLossy, &[Code::LinkSlow]),
    (Code::TargetRegionBlocked, &[Code::EgressDatacenterRefused]),
    (Code::ContainerOomKilled, &[Code::ContainerStopped, Code::ContainerRestarting]),
    (Code::WrongArchitecture, &[Code::ContainerStopped, Code::ContainerRestarting]),
    (
        Code::PortTaken,
        &[
            Code::ContainerStopped,
            Code::ContainerRestarting,
            Code::ListenerMissing,
            Code::ListenerLoopbackOnly,
            Code::ListenerOtherPort,
            Code::PortPublishedElsewhere,
            Code::ContainerUnhealthy,
        ],
    ),
    (Code::DiskFull, &[Code::ContainerMissing, Code::ContainerStopped, Code::ContainerRestarting]),
    (
        Code::ContainerRestarting,
        &[
            Code::ListenerMissing,
            Code::ContainerUnhealthy,
            Code::ContainerNoEgress,
            Code::ContainerDnsBroken,
            Code::SilentPeer,
        ],
    ),
    (
        Code::ContainerNetworkMode,
        &[
            Code::PortNotPublished,
            Code::PortPublishedElsewhere,
            Code::ListenerOtherPort,
            Code::ListenerMissing,
            Code::ContainerUnhealthy,
            Code::ContainerNoEgress,
            Code::ContainerDnsBroken,
        ],
    ),
    (Code::ListenerMissing, &[Code::ContainerUnhealthy]),
    (Code::ListenerLoopbackOnly, &[Code::ContainerUnhealthy]),
    (Code::ListenerOtherPort, &[Code::ContainerUnhealthy]),
    (Code::FdLimit, &[Code::BacklogOverflow, Code::SilentPeer, Code::ContainerUnhealthy]),
    (Code::BacklogOverflow, &[Code::SilentPeer, Code::ContainerUnhealthy]),
    (Code::SilentPeer, &[Code::Ok, Code::ContainerUnhealthy]),
    (Code::ContainerNoEgress, &[Code::ContainerDnsBroken]),
    (Code::ProxyNoEgress, &[Code::Ok, Code::ContainerDnsBroken]),
    // Without its rules Docker's own listener takes the port, and rules for listeners apply.
    (
        Code::DockerNatMissing,
        &[
            Code::HostFirewallDrop,
            Code::PortRejected,
            Code::PortRefused,
            Code::PortFiltered,
            Code::HostSilent,
            Code::AcceptedThenClosed,
            Code::ClientAddressHidden,
        ],
    ),
    (
        Code::ClientBanned,
        &[
            Code::HostFirewallDrop,
            Code::DockerUserDrop,
            Code::PortRejected,
            Code::PortRefused,
            Code::PortFiltered,
            Code::HostSilent,
            Code::HostUnreachable,
        ],
    ),
    (Code::IpForwardOff, &[Code::PortFiltered, Code::HostSilent]),
    (Code::DockerUserDrop, &[Code::PortFiltered, Code::HostSilent]),
    (Code::HostFirewallDrop, &[Code::PortFiltered, Code::HostSilent]),
    (Code::ReversePathFilter, &[Code::PortFiltered, Code::HostSilent]),
    (Code::ConntrackFull, &[Code::PortFiltered, Code::HostSilent]),
    (Code::BacklogOverflow, &[Code::PortFiltered, Code::SilentPeer]),
    (Code::PortTaken, &[Code::NotAProxy, Code::PortRefused]),
    // What the server sees of itself explains what the client sees of it.
    (Code::DockerNotRunning, UNSERVED),
    (Code::ContainerMissing, UNSERVED),
    (Code::ContainerStopped, UNSERVED),
    (Code::ContainerRestarting, UNSERVED),
    (Code::ContainerPaused, UNSERVED),
    (Code::ContainerOomKilled, UNSERVED),
    (Code::WrongArchitecture, UNSERVED),
    (Code::PortNotPublished, UNSERVED),
    (Code::PortPublishedLoopbackOnly, UNSERVED),
    (Code::PortPublishedElsewhere, UNSERVED),
    (Code::ContainerNetworkMode, UNSERVED),
    (Code::ListenerMissing, UNSERVED),
    (Code::ListenerLoopbackOnly, UNSERVED),
    (Code::ListenerOtherPort, UNSERVED),
    (Code::PortRejected, &[Code::PortRefused]),
    (Code::AnswersLost, &[Code::PortFiltered, Code::HostSilent]),
    (Code::CloudFirewallSuspected, &[Code::PortFiltered, Code::HostSilent]),
    (Code::ContainerDnsBroken, &[Code::ProxyDnsBroken, Code::TargetNameNotFound]),
    (
        Code::ContainerNoEgress,
        &[Code::ProxyNoEgress, Code::ProxyDnsBroken, Code::TargetUnreachable],
    ),
    (Code::ContainerMtu, &[Code::TargetTlsStalled, Code::MtuBlackHole]),
    (Code::BehindNat, &[Code::PublicAddressDiffers]),
];

/// What a client sees of a port behind which nobody serves.
const UNSERVED: &[Code] = &[Code::PortRefused, Code::AcceptedThenClosed, Code::SilentPeer];

/// What can't be known of a proxy that does not let us in.
const BEYOND: &[Code] = &[
    Code::ConnectFiltered,
    Code::TargetDeniedByProxy,
    Code::ProxyOverloaded,
    Code::UpstreamProxyDown,
    Code::ProxyDnsBroken,
    Code::ProxyNoEgress,
    Code::TargetNameNotFound,
    Code::TargetUnreachable,
    Code::TargetRefused,
    Code::TargetHttpError,
];

/// Whether `cause` explains `symptom` away.
pub fn masks(cause: Code, symptom: Code) -> bool {
    // Where something is wrong on the server, not all is well there.
    let server = (Code::DockerNotRunning..=Code::MemoryShort).contains(&cause);
    if server && symptom == Code::Ok {
        return true;
    }
    MASKS.iter().any(|(of, symptoms)| *of == cause && symptoms.contains(&symptom))
}

/// The one cause of `evidence`, what else it may be, and what to know besides.
pub fn diagnose(evidence: &Evidence) -> Diagnosis {
    let mut suspects = infer(evidence);
    let causes: Vec<(Code, Confidence, Severity)> =
        suspects.iter().map(|it| (it.code, it.confidence, it.severity)).collect();
    // A mere possibility explains nothing away that is better supported, a warning no problem.
    suspects.retain(|it| {
        let outdone = |sure, severity| {
            sure >= it.confidence && (severity == Severity::Problem || it.severity == severity)
        };
        !causes.iter().any(|(cause, sure, of)| masks(*cause, it.code) && outdone(*sure, *of))
    });
    // "All is well" is said of what was tried; a problem with something else is one all the same.
    let problem = |it: &Suspect| it.severity == Severity::Problem;
    let sure = suspects.iter().filter(|it| problem(it)).map(|it| it.confidence).max();
    suspects.retain(|it| {
        let outdone = sure.is_some_and(|sure| sure >= Confidence::Likely || sure >= it.confidence);
        it.severity != Severity::Fine || !outdone
    });
    // The surest first; among equals the order of the registry, which is that of the way.
    suspects.sort_by_key(|it| (std::cmp::Reverse(it.confidence), it.code));
    // Both ends may see the same cause.
    let mut told = std::collections::BTreeSet::new();
    suspects.retain(|it| told.insert(it.code));
    let (warnings, causes): (Vec<_>, Vec<_>) =
        suspects.into_iter().partition(|it| it.severity == Severity::Warning);
    let mut causes = causes.into_iter();
    let verdict = causes.next();
    let others: Vec<Suspect> = causes.collect();
    let state = match verdict.as_ref().map(|it| it.severity) {
        None => State::Inconclusive,
        Some(Severity::Problem) => State::Broken,
        Some(Severity::Fine | Severity::Warning) if warnings.is_empty() => State::Ok,
        Some(Severity::Fine | Severity::Warning) => State::Degraded,
    };
    let alternatives = alternatives(verdict.as_ref(), &others);
    Diagnosis { state, verdict, alternatives, warnings }
}

fn alternatives(verdict: Option<&Suspect>, others: &[Suspect]) -> Vec<Alternative> {
    let look_alikes = verdict.map_or(&[][..], |it| &it.look_alikes);
    let told = |code| {
        let look_alike = look_alikes.iter().find(|it: &&LookAlike| it.code == code);
        look_alike.map(|it| it.separate_by)
    };
    let suspected = others.iter().map(|it| Alternative {
        code: it.code,
        confidence: it.confidence,
        separate_by: told(it.code),
    });
    let rest = look_alikes.iter().filter(|it| others.iter().all(|other| other.code != it.code));
    let rest = rest.map(|it| Alternative {
        code: it.code,
        confidence: Confidence::Possible,
        separate_by: Some(it.separate_by),
    });
    suspected.chain(rest).collect()
}
