//! The one registry of cause codes. A code is a promise about what a person must do, not about how
//! it was found; none is renamed, a retired one stays listed.

/// A stretch of the way from a client to a target; the ribbon of a report shows them in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Segment {
    /// The machine that asks.
    Client,
    /// Its router and network.
    Lan,
    /// Its provider, and everything until the server's provider.
    Isp,
    /// The server's provider: its router and firewall.
    Edge,
    /// The server's operating system.
    Host,
    /// Docker on it.
    Docker,
    /// The proxy.
    Proxy,
    /// Names, as the proxy finds them.
    Dns,
    /// Where the client wants to go.
    Target,
}

impl Segment {
    /// Every segment, in the order of the way.
    pub const ALL: [Self; 9] = [
        Self::Client,
        Self::Lan,
        Self::Isp,
        Self::Edge,
        Self::Host,
        Self::Docker,
        Self::Proxy,
        Self::Dns,
        Self::Target,
    ];

    /// As JSON has it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Lan => "lan",
            Self::Isp => "isp",
            Self::Edge => "edge",
            Self::Host => "host",
            Self::Docker => "docker",
            Self::Proxy => "proxy",
            Self::Dns => "dns",
            Self::Target => "target",
        }
    }
}

/// How bad a cause is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Severity {
    /// Not at all.
    Fine,
    /// It works, but somebody should know.
    Warning,
    /// It does not work, or not as it should.
    Problem,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $word:literal, $segment:ident, $severity:ident;)+) => {
        /// A cause.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[allow(missing_docs, reason = "`explain` has a page for each")]
        pub enum Code { $($(#[$doc])* $variant,)+ }

        impl Code {
            /// Every code there is.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// As it is printed and typed.
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }

            /// Where on the way it lies.
            pub const fn segment(self) -> Segment {
                match self { $(Self::$variant => Segment::$segment,)+ }
            }

            /// How bad it is.
            pub const fn severity(self) -> Severity {
                match self { $(Self::$variant => Severity::$severity,)+ }
            }
        }
    };
}

codes! {
    /// Nothing is wrong.
    Ok = "ok", Proxy, Fine;

    // Names
    ProxyNameNotFound = "proxy-name-not-found", Client, Problem;
    DnsServerUnreachable = "dns-server-unreachable", Client, Problem;
    DnsServerFailing = "dns-server-failing", Client, Problem;
    ProxyNamePoisoned = "proxy-name-poisoned", Isp, Problem;

    // This machine
    NoNetwork = "no-network", Client, Problem;
    NoRoute = "no-route", Client, Problem;
    NoInternet = "no-internet", Lan, Problem;
    CaptivePortal = "captive-portal", Lan, Problem;
    LocalFirewall = "local-firewall", Client, Problem;

    // The way to the port
    HostUnreachable = "host-unreachable", Edge, Problem;
    HostSilent = "host-silent", Edge, Problem;
    PortFiltered = "port-filtered", Edge, Problem;
    PortRejected = "port-rejected", Host, Problem;
    PortRefused = "port-refused", Host, Problem;
    AnswersLost = "answers-lost", Isp, Problem;

    // After the connect
    AcceptedThenClosed = "accepted-then-closed", Proxy, Problem;
    SilentPeer = "silent-peer", Proxy, Problem;
    ConnectFiltered = "connect-filtered", Isp, Problem;
    NotAProxy = "not-a-proxy", Proxy, Problem;
    TlsRequired = "tls-required", Proxy, Problem;
    TlsNotSpoken = "tls-not-spoken", Proxy, Problem;
    ProxyCertUntrusted = "proxy-cert-untrusted", Proxy, Problem;
    ProxyAuthRequired = "proxy-auth-required", Proxy, Problem;
    ProxyAuthRejected = "proxy-auth-rejected", Proxy, Problem;
    ClientNotAllowed = "client-not-allowed", Proxy, Problem;
    TargetDeniedByProxy = "target-denied-by-proxy", Proxy, Problem;
    ProxyOverloaded = "proxy-overloaded", Proxy, Problem;
    UpstreamProxyDown = "upstream-proxy-down", Proxy, Problem;

    // Beyond the proxy
    ProxyDnsBroken = "proxy-dns-broken", Dns, Problem;
    ProxyNoEgress = "proxy-no-egress", Proxy, Problem;
    TargetNameNotFound = "target-name-not-found", Target, Problem;
    TargetUnreachable = "target-unreachable", Target, Problem;
    TargetRefused = "target-refused", Target, Problem;
    TargetTlsReset = "target-tls-reset", Target, Problem;
    TargetTlsStalled = "target-tls-stalled", Target, Problem;
    TargetCertUntrusted = "target-cert-untrusted", Target, Problem;
    TlsIntercepted = "tls-intercepted", Client, Problem;
    TargetCertExpired = "target-cert-expired", Target, Problem;
    TargetCertNotYetValid = "target-cert-not-yet-valid", Target, Problem;
    TargetCertName = "target-cert-name", Target, Problem;
    ClockSkew = "clock-skew", Client, Problem;
    TargetRegionBlocked = "target-region-blocked", Target, Problem;
    TargetChallenged = "target-challenged", Target, Problem;
    TargetRateLimited = "target-rate-limited", Target, Warning;
    TargetHttpError = "target-http-error", Target, Problem;

    // Quality of the way
    MtuBlackHole = "mtu-black-hole", Isp, Problem;
    TunnelFreezes = "tunnel-freezes", Isp, Problem;
    TunnelCutIdle = "tunnel-cut-idle", Isp, Problem;
    StreamBuffered = "stream-buffered", Isp, Problem;
    LinkSlow = "link-slow", Isp, Warning;
    LinkLossy = "link-lossy", Isp, Warning;

    // Server: Docker
    DockerNotRunning = "docker-not-running", Docker, Problem;
    DockerNoPermission = "docker-no-permission", Docker, Problem;
    ContainerMissing = "container-missing", Docker, Problem;
    ContainerStopped = "container-stopped", Docker, Problem;
    ContainerRestarting = "container-restarting", Docker, Problem;
    ContainerPaused = "container-paused", Docker, Problem;
    ContainerOomKilled = "container-oom-killed", Docker, Problem;
    ContainerUnhealthy = "container-unhealthy", Docker, Problem;
    WrongArchitecture = "wrong-architecture", Docker, Problem;
    PortNotPublished = "port-not-published", Docker, Problem;
    PortPublishedLoopbackOnly = "port-published-loopback-only", Docker, Problem;
    PortPublishedElsewhere = "port-published-elsewhere", Docker, Problem;
    ContainerNetworkMode = "container-network-mode", Docker, Problem;

    // Server: listening
    ListenerMissing = "listener-missing", Proxy, Problem;
    ListenerLoopbackOnly = "listener-loopback-only", Proxy, Problem;
    ListenerOtherPort = "listener-other-port", Proxy, Problem;
    PortTaken = "port-taken", Proxy, Problem;
    BacklogOverflow = "backlog-overflow", Proxy, Problem;
    FdLimit = "fd-limit", Proxy, Problem;

    // Server: packets
    DockerNatMissing = "docker-nat-missing", Host, Problem;
    IpForwardOff = "ip-forward-off", Host, Problem;
    DockerUserDrop = "docker-user-drop", Host, Problem;
    HostFirewallDrop = "host-firewall-drop", Host, Problem;
    ClientBanned = "client-banned", Host, Problem;
    ConntrackFull = "conntrack-full", Host, Problem;
    ReversePathFilter = "reverse-path-filter", Host, Problem;

    // Server: outward
    ContainerDnsBroken = "container-dns-broken", Dns, Problem;
    ContainerNoEgress = "container-no-egress", Docker, Problem;
    ContainerMtu = "container-mtu", Docker, Problem;

    // Server: resources
    DiskFull = "disk-full", Host, Problem;
    MemoryShort = "memory-short", Host, Problem;

    // Warnings
    OpenProxy = "open-proxy", Proxy, Warning;
    CloudFirewallSuspected = "cloud-firewall-suspected", Edge, Warning;
    BehindNat = "behind-nat", Edge, Warning;
    PublicAddressDiffers = "public-address-differs", Edge, Warning;
    ClientAddressHidden = "client-address-hidden", Docker, Warning;
    SystemProxyDiffers = "system-proxy-differs", Client, Warning;
    AppBypassesProxy = "app-bypasses-proxy", Client, Warning;
    Ipv6Broken = "ipv6-broken", Client, Warning;
    CredentialsMisencoded = "credentials-misencoded", Client, Warning;
    EgressDatacenterRefused = "egress-datacenter-refused", Target, Warning;
    VpnCapturesRoute = "vpn-captures-route", Client, Warning;
}

impl Code {
    /// The code that is written so.
    pub fn find(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.word() == word)
    }
}

#[cfg(test)]
mod tests {
    use super::Code;

    #[test]
    fn every_code_is_found_by_its_word_and_by_no_other() {
        for (at, code) in Code::ALL.iter().enumerate() {
            let word = code.word();
            assert!(
                word.bytes()
                    .all(|byte| byte.is_ascii_lowercase() || b"-0123456789".contains(&byte))
            );
            assert_eq!(Code::find(word), Some(*code), "{word}");
            assert!(Code::ALL[..at].iter().all(|other| other.word() != word), "{word} twice");
        }
        assert_eq!(Code::find("nonsense"), None);
    }
}
