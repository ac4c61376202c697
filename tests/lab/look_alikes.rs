//! What looks alike, and the fact that tells it apart. Most rows are troubles that the laboratories
//! make and examine anyway (`probe_lab`, `docker_doctor`), where each has to come to its own cause
//! and no other may be certain; the rest are recorded.

/// Where one of a pair is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Row {
    /// In [`super::FAULTS`]: told from the client alone.
    Client(&'static str),
    /// In [`super::HEALTHY`].
    Well(&'static str),
    /// In [`super::docker_faults::DOCKER_FAULTS`]: told on the server.
    Server(&'static str),
    /// In [`super::docker_faults::DOCKER_HEALTHY`].
    WellServer(&'static str),
    /// A folder of `tests/cases`.
    Case(&'static str),
}

use Row::{Case, Client, Server, Well, WellServer};

/// The two, and what tells one from the other.
pub const LOOK_ALIKES: &[(Row, Row, &str)] = &[
    // The machine that asks.
    (Client("link-down"), Client("no-default-route"), "whether an adapter is connected"),
    (Case("no-internet"), Client("isp-drops-host"), "whether anything else answers"),
    (Case("local-firewall"), Case("port-refused"), "less time than any packet needs"),
    (Client("name-not-found"), Client("dns-silent"), "whether the name server says so"),
    (Client("dns-servfail"), Client("dns-silent"), "whether the name server answers at all"),
    (Case("clock-skew"), Client("certificate-expired"), "the time by the proxy's clock"),
    (Case("tls-intercepted"), Client("certificate-untrusted"), "who has signed the certificate"),
    // The way to the port.
    (Client("isp-drops-host"), Client("isp-drops-port"), "whether other ports answer"),
    (
        Client("host-rejects-admin-prohibited"),
        Client("router-says-unreachable"),
        "whether the message is from the server itself",
    ),
    (
        Client("isp-redirects-everything"),
        Client("web-server-on-the-port"),
        "whether an address that nobody has accepts as well",
    ),
    (
        Client("isp-accepts-everything"),
        Client("silent-peer"),
        "whether an address that nobody has accepts as well",
    ),
    (Server("nat-stale"), Client("host-off"), "where the server's own rules lead the port"),
    // After the accept.
    (
        Client("silent-peer"),
        Client("isp-drops-connect-line"),
        "whether a request without CONNECT is answered",
    ),
    (
        Client("accept-then-reset"),
        Client("isp-resets-connect-line"),
        "whether a request without CONNECT is answered",
    ),
    (
        Client("isp-resets-connect-name"),
        Client("target-denied"),
        "whether the proxy says no, or nobody does",
    ),
    (Client("tls-required"), Client("tls-not-spoken"), "which of the two speaks TLS"),
    (Client("credentials-wanted"), Client("credentials-wrong"), "whether any were sent"),
    (
        Client("credentials-wanted"),
        Well("target-wants-a-key"),
        "407 is the proxy's, 401 the target's",
    ),
    // Beyond the proxy.
    (
        Client("proxy-dns-silent"),
        Client("target-name-not-found"),
        "whether the proxy finds any other name",
    ),
    (Client("proxy-no-egress"), Case("target-unreachable"), "whether the proxy gets elsewhere"),
    (Client("parent-refuses"), Client("target-refuses"), "whom the proxy says it has asked"),
    (
        Client("target-resets-tls"),
        Client("isp-resets-connect-name"),
        "whether the tunnel stood before the reset",
    ),
    (Client("region-openai"), Client("challenge-page"), "what the page says"),
    (Client("google-sorry"), Client("rate-limited"), "where the answer leads"),
    (Client("target-error"), Client("proxy-overloaded"), "whether 503 came through a tunnel"),
    // Quality.
    (Client("isp-freezes-16k"), Client("mtu-hole-down"), "whether any full packet has come"),
    (Client("isp-freezes-16k"), Client("link-slow"), "whether bytes go on coming"),
    // Docker.
    (Server("docker-stopped"), Server("docker-no-permission"), "the error of its socket"),
    (Server("container-missing"), Server("disk-full"), "the space that is left"),
    (Server("container-oom-killed"), Server("container-killed"), "OOMKilled beside 137"),
    (Server("wrong-architecture"), Server("container-failed"), "what the log's end says"),
    (Server("port-taken-by-a-container"), Server("container-created-only"), "Docker's error"),
    (Server("container-restarting"), WellServer("restarted-once"), "two looks a moment apart"),
    (Server("container-unhealthy"), WellServer("plain"), "what its own check says"),
    (Server("container-paused"), Server("fd-limit"), "the container's state"),
    (Server("container-paused"), Server("backlog-overflow"), "the container's state"),
    (Server("fd-limit"), Server("backlog-overflow"), "how many files it may open"),
    (Server("not-published"), Server("listens-on-loopback"), "what Docker has published"),
    (Server("not-published"), Server("network-none"), "the mode of its network"),
    (Server("network-internal"), Server("masquerade-missing"), "whether the network is internal"),
    (
        Server("network-host-ignores-publishing"),
        Server("listens-on-another-port"),
        "the mode of its network",
    ),
    (
        Server("published-for-another-port"),
        Server("listens-on-another-port"),
        "which of the two ports is the usual one",
    ),
    (
        Server("published-on-loopback"),
        Server("listens-on-loopback"),
        "which of the two addresses is loopback",
    ),
    (Server("nobody-listens"), Server("listens-on-loopback"), "who listens in the container"),
    // Packets.
    (
        Server("nat-jump-missing"),
        Server("client-address-hidden"),
        "whether PREROUTING leads to Docker's rules",
    ),
    (
        Server("nat-flushed-without-userland-proxy"),
        Server("container-missing"),
        "whether a container has the port",
    ),
    (
        Server("nat-flushed-and-ufw"),
        Server("ufw-denies-network-host"),
        "whether Docker has the port, and its rules lead there",
    ),
    (
        Server("docker-chains-missing"),
        Server("container-failed"),
        "what Docker says of its last start",
    ),
    (
        Server("ufw-denies-network-host"),
        WellServer("ufw-denies-and-docker-publishes"),
        "whether the packets come past ufw's rules at all",
    ),
    (
        Server("ufw-docker-without-a-route"),
        WellServer("ufw-denies-and-docker-publishes"),
        "whether DOCKER-USER asks ufw",
    ),
    (
        Server("network-host-ignores-publishing"),
        WellServer("network-host-and-ufw-allows"),
        "whether somebody listens there",
    ),
    (Server("ip-forward-off"), Server("forward-policy-drop"), "ip_forward"),
    (Server("docker-user-drop"), Server("forward-drop"), "the chain of the rule that drops"),
    (Server("input-drop"), Server("input-rejects"), "whether the rule says no"),
    (Server("banned-by-crowdsec"), Server("forward-drop"), "whether others may come"),
    (Server("banned-by-fail2ban"), Server("docker-user-rejects"), "whether others may come"),
    (Server("cloud-firewall"), Server("docker-user-drop"), "whether knocks arrive at the card"),
    (Server("reverse-path-filter"), Server("cloud-firewall"), "whether knocks arrive at the card"),
    (Server("conntrack-full"), Server("backlog-overflow"), "which of the two tables is full"),
    // Outward.
    (Server("masquerade-missing"), Server("provider-blocks-egress"), "whether the server gets out"),
    (Server("masquerade-missing"), Server("dns-server-dead"), "whether an address opens"),
    (Server("container-mtu"), Server("egress-blocked"), "whether a connection opens"),
];

/// Whether this row has to be told exactly.
pub fn is_paired(row: Row) -> bool {
    LOOK_ALIKES.iter().any(|(one, other, _)| *one == row || *other == row)
}
