//! The catalogue: what can be wrong, how it is made, and what bare sockets see of it.

use sami_proxy::diag::code::Code;

use super::certificates::Flaw;
use super::deeds::{Deed, Lie};
use super::observe::{HOST_UNREACHABLE, NET_UNREACHABLE, NO_PROTOCOL, REFUSED, Shows, Step};
use super::origin::Manner;
use super::stub::Habit;
use super::{PROXY, PROXY6, Place, ROUTER, SSH, UNUSED, WEB};

use Deed::{Origin, ProxyWith, Rule, Rule6, Run, Stub};
use Place::{Client, Container, Isp, Net, Vps};

/// Somebody, what they do, and what they see.
pub type Look = (Place, Step, Shows);

/// One trouble.
#[derive(Debug, Clone, Copy)]
pub struct Fault {
    pub name: &'static str,
    /// The cause that the client can at best conclude.
    pub code: Code,
    /// The proxy, as the user has it: `HOST:PORT` or a URL.
    pub proxy: &'static str,
    /// What the user wants to reach.
    pub target: &'static str,
    pub deeds: &'static [Deed],
    /// What bare sockets see in the client's place.
    pub step: Step,
    pub shows: Shows,
    /// What stays well meanwhile.
    pub control: Look,
    /// Whether connection requests for port 8080 come to the server's network card, where it
    /// matters.
    pub knocks: Option<bool>,
}

const CONNECT: &str = "CONNECT www.google.com:443 HTTP/1.1\r\nHost: www.google.com:443\r\n\r\n";
const NEUTRAL: &str =
    "CONNECT neutral.example.com:443 HTTP/1.1\r\nHost: neutral.example.com:443\r\n\r\n";
const MISSING: &str =
    "CONNECT missing.example.com:443 HTTP/1.1\r\nHost: missing.example.com:443\r\n\r\n";
const LITERAL: &str = "CONNECT 81.85.80.2:443 HTTP/1.1\r\nHost: 81.85.80.2:443\r\n\r\n";
const WRONG_PASSWORD: &str = "CONNECT www.google.com:443 HTTP/1.1\r\nHost: www.google.com:443\r\nProxy-Authorization: Basic c2FtaTp3cm9uZw==\r\n\r\n";
const HEALTH: &str = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";

const SSH_OPEN: Look = (Client, Step::Connect(SSH), Shows::Open);
const WEB_OPEN: Look = (Client, Step::Connect(WEB), Shows::Open);
const ROUTER_OPEN: Look = (Client, Step::Connect(ROUTER), Shows::Open);
const PROXY_OPEN: Look = (Client, Step::Connect(PROXY), Shows::Open);
const OPEN_ELSEWHERE: Look = (Net, Step::Connect(PROXY), Shows::Open);
const PROXY_LIVES: Look = (Client, Step::Say(PROXY, HEALTH), Shows::Answer(&["HTTP/1.1 200"]));
const TUNNEL_STANDS: Look = (Client, Step::Say(PROXY, CONNECT), Shows::Answer(&["HTTP/1.1 200"]));
const HTTPS_WORKS: Look =
    (Client, Step::Https(PROXY, "www.google.com"), Shows::Answer(&["200 OK", "hi"]));
const CONTAINER_REACHES_WEB: Look = (Container, Step::Connect(WEB), Shows::Open);

const REACH: Step = Step::Connect(PROXY);
const ASK: Step = Step::Say(PROXY, CONNECT);
const NAME: Step = Step::Resolve("proxy.example.net");
const GOOGLE: Step = Step::Https(PROXY, "www.google.com");

/// With what most have.
const fn fault(
    name: &'static str,
    code: Code,
    deeds: &'static [Deed],
    step: Step,
    shows: Shows,
) -> Fault {
    let (proxy, target) = (PROXY, "https://www.google.com/");
    Fault { name, code, proxy, target, deeds, step, shows, control: SSH_OPEN, knocks: None }
}

impl Fault {
    const fn control(self, control: Look) -> Self {
        Self { control, ..self }
    }

    const fn via(self, proxy: &'static str) -> Self {
        Self { proxy, ..self }
    }

    const fn to(self, target: &'static str) -> Self {
        Self { target, ..self }
    }

    /// The request arrives at the server.
    const fn arrives(self) -> Self {
        Self { knocks: Some(true), ..self }
    }

    /// It does not.
    const fn lost(self) -> Self {
        Self { knocks: Some(false), ..self }
    }

    /// What `check-port` takes.
    pub fn host_and_port(&self) -> &'static str {
        let rest = self.proxy.split_once("://").map_or(self.proxy, |(_, rest)| rest);
        rest.rsplit_once('@').map_or(rest, |(_, rest)| rest)
    }

    /// The one of this name.
    pub fn named(name: &str) -> &'static Self {
        FAULTS.iter().find(|fault| fault.name == name).unwrap()
    }
}

/// Lets a rule of the isp see only what comes from the client, and by its first bytes.
macro_rules! isp_string {
    ($text:literal, $end:literal) => {
        Rule(
            Isp,
            "filter FORWARD",
            concat!("-i client -p tcp -m string --algo bm --hex-string ", $text, " ", $end),
        )
    };
}
const RESET: &str = "-i client -p tcp --dport 8080 -j REJECT --reject-with tcp-reset";

pub const FAULTS: &[Fault] = &[
    // The client's machine.
    fault(
        "link-down",
        Code::NoNetwork,
        &[
            Run(
                Client,
                "ip link set eth0 down",
                "ip link set eth0 up; ip route add default via 10.1.0.1; ip addr add 2a01:10::2/64 dev eth0 nodad; ip -6 route add default via 2a01:10::1",
            ),
            Deed::Proof(Client, "ip link show eth0", "state DOWN"),
        ],
        REACH,
        Shows::Errno(NET_UNREACHABLE),
    )
    .control(OPEN_ELSEWHERE),
    fault(
        "no-default-route",
        Code::NoRoute,
        &[
            Run(Client, "ip route del default", "ip route add default via 10.1.0.1"),
            Deed::Proof(Client, "ip route", "!default"),
        ],
        REACH,
        Shows::Errno(NET_UNREACHABLE),
    )
    .control(ROUTER_OPEN)
    .lost(),
    fault(
        "route-unreachable",
        Code::NoRoute,
        &[
            Run(
                Client,
                "ip route add unreachable 81.85.76.0/24",
                "ip route del unreachable 81.85.76.0/24",
            ),
            Deed::Proof(Client, "ip route", "unreachable 81.85.76.0/24"),
        ],
        REACH,
        Shows::Errno(HOST_UNREACHABLE),
    )
    .control(WEB_OPEN)
    .lost(),
    fault(
        "local-firewall-drop",
        Code::LocalFirewall,
        &[Rule(Client, "filter OUTPUT", "-p tcp --dport 8080 -j DROP")],
        REACH,
        Shows::Silence,
    )
    .lost(),
    fault(
        "local-firewall-reject",
        Code::LocalFirewall,
        &[Rule(Client, "filter OUTPUT", "-p tcp --dport 8080 -j REJECT")],
        REACH,
        Shows::Errno(REFUSED),
    )
    .lost(),
    fault(
        "local-firewall-prohibits",
        Code::LocalFirewall,
        &[Rule(
            Client,
            "filter OUTPUT",
            "-p tcp --dport 8080 -j REJECT --reject-with icmp-admin-prohibited",
        )],
        REACH,
        Shows::Errno(HOST_UNREACHABLE),
    )
    .lost(),
    fault(
        "ipv6-only-client",
        Code::NoRoute,
        &[
            Run(
                Client,
                "ip -4 addr flush dev eth0",
                "ip addr add 10.1.0.2/24 dev eth0; ip route add default via 10.1.0.1",
            ),
            Deed::Resolver("nameserver 2a01:10::1\n"),
        ],
        REACH,
        Shows::Errno(NET_UNREACHABLE),
    )
    .control((Client, Step::Connect(PROXY6), Shows::Open)),
    fault(
        "ipv6-broken",
        Code::Ipv6Broken,
        &[Rule6(Isp, "filter FORWARD", "-i client -j DROP")],
        Step::Connect(PROXY6),
        Shows::Silence,
    )
    .via("dual.example.net:8080")
    .control(PROXY_OPEN)
    .lost(),
    fault(
        "ipv6-refused",
        Code::Ipv6Broken,
        &[Rule6(Vps, "filter FORWARD", "-i eth0 -p tcp -j REJECT --reject-with tcp-reset")],
        Step::Connect(PROXY6),
        Shows::Errno(REFUSED),
    )
    .via("dual.example.net:8080")
    .control(PROXY_OPEN)
    .arrives(),
    // Names.
    fault(
        "name-not-found",
        Code::ProxyNameNotFound,
        &[Deed::ClientNames(Lie::NoSuchName)],
        NAME,
        Shows::NameNotFound,
    )
    .via("proxy.example.net:8080")
    .control(PROXY_OPEN),
    fault(
        "dns-silent",
        Code::DnsServerUnreachable,
        &[Deed::ClientNames(Lie::Nothing)],
        NAME,
        Shows::Silence,
    )
    .via("proxy.example.net:8080")
    .control(PROXY_OPEN),
    fault(
        "dns-filtered",
        Code::DnsServerUnreachable,
        &[Rule(Isp, "filter INPUT", "-p udp --dport 53 -j DROP")],
        NAME,
        Shows::Silence,
    )
    .via("proxy.example.net:8080")
    .control(PROXY_OPEN),
    fault(
        "dns-refused",
        Code::DnsServerUnreachable,
        &[Rule(Isp, "filter INPUT", "-p udp --dport 53 -j REJECT")],
        NAME,
        Shows::Errno(REFUSED),
    )
    .via("proxy.example.net:8080")
    .control(PROXY_OPEN),
    fault(
        "dns-servfail",
        Code::DnsServerFailing,
        &[Deed::ClientNames(Lie::Failure)],
        NAME,
        Shows::NameFailure,
    )
    .via("proxy.example.net:8080")
    .control(PROXY_OPEN),
    fault(
        "dns-lies",
        Code::ProxyNamePoisoned,
        &[Deed::ClientNames(Lie::Address("10.10.34.35"))],
        NAME,
        Shows::Answer(&["10.10.34.35"]),
    )
    .via("proxy.example.net:8080")
    .control(PROXY_OPEN),
    // The provider and the path.
    fault(
        "isp-drops-port",
        Code::PortFiltered,
        &[Rule(Isp, "filter FORWARD", "-i client -p tcp --dport 8080 -j DROP")],
        REACH,
        Shows::Silence,
    )
    .lost(),
    fault(
        "cloud-firewall-drop",
        Code::PortFiltered,
        &[Rule(Isp, "filter FORWARD", "-o vps -p tcp ! --dport 22 -j DROP")],
        REACH,
        Shows::Silence,
    )
    .lost(),
    fault(
        "answer-lost",
        Code::PortFiltered,
        &[Rule(Isp, "filter FORWARD", "-o client -p tcp --sport 8080 -j DROP")],
        REACH,
        Shows::Silence,
    )
    .arrives(),
    fault(
        "isp-resets-port",
        Code::PortRefused,
        &[Rule(Isp, "filter FORWARD", RESET)],
        REACH,
        Shows::Errno(REFUSED),
    )
    .lost(),
    fault(
        "isp-drops-host",
        Code::HostSilent,
        &[Rule(Isp, "filter FORWARD", "-d 81.85.76.10 -j DROP")],
        REACH,
        Shows::Silence,
    )
    .control(WEB_OPEN)
    .lost(),
    fault(
        "provider-null-route",
        Code::HostSilent,
        &[
            Run(Isp, "ip route add blackhole 81.85.76.10", "ip route del blackhole 81.85.76.10"),
            Deed::Proof(Isp, "ip route", "blackhole 81.85.76.10"),
        ],
        REACH,
        Shows::Silence,
    )
    .control(WEB_OPEN)
    .lost(),
    fault(
        "router-says-unreachable",
        Code::HostUnreachable,
        &[
            Run(
                Isp,
                "ip route add unreachable 81.85.76.10",
                "ip route del unreachable 81.85.76.10",
            ),
            Deed::Proof(Isp, "ip route", "unreachable 81.85.76.10"),
        ],
        REACH,
        Shows::Errno(HOST_UNREACHABLE),
    )
    .control(WEB_OPEN)
    .lost(),
    fault(
        "router-says-no-network",
        Code::HostUnreachable,
        &[Rule(
            Isp,
            "filter FORWARD",
            "-i client -d 81.85.76.10 -j REJECT --reject-with icmp-net-unreachable",
        )],
        REACH,
        Shows::Errno(NET_UNREACHABLE),
    )
    .control(WEB_OPEN)
    .lost(),
    fault(
        "no-internet",
        Code::NoInternet,
        &[Rule(Isp, "filter FORWARD", "-i client -j DROP")],
        REACH,
        Shows::Silence,
    )
    .control(ROUTER_OPEN)
    .lost(),
    fault(
        "host-off",
        Code::HostUnreachable,
        &[Deed::Proof(Isp, "ip neigh show 81.85.76.99", "!lladdr")],
        Step::ConnectPatiently(UNUSED),
        Shows::SlowErrno(HOST_UNREACHABLE),
    )
    .via(UNUSED),
    fault(
        "isp-redirects-everything",
        Code::CaptivePortal,
        &[
            Stub(Isp, 9999, Habit::Http("302 Found", "Location: http://10.1.0.1/login\r\n")),
            Rule(
                Isp,
                "nat PREROUTING",
                "-i client -p tcp ! -d 10.1.0.1 -j REDIRECT --to-ports 9999",
            ),
        ],
        Step::Say("192.0.2.77:8080", CONNECT),
        Shows::Answer(&["302 Found"]),
    )
    .control(OPEN_ELSEWHERE),
    // Nothing but the accept: the same deed as for a portal (another network).
    fault(
        "isp-accepts-everything",
        Code::CaptivePortal,
        &[
            Stub(Isp, 9999, Habit::Silent),
            Rule(
                Isp,
                "nat PREROUTING",
                "-i client -p tcp ! -d 10.1.0.1 -j REDIRECT --to-ports 9999",
            ),
        ],
        Step::Say("192.0.2.77:8080", CONNECT),
        Shows::Mute,
    )
    .control(OPEN_ELSEWHERE),
    fault(
        "isp-resets-connect-line",
        Code::ConnectFiltered,
        &[isp_string!("|434F4E4E45435420|", "-j REJECT --reject-with tcp-reset")],
        ASK,
        Shows::Reset,
    )
    .control(PROXY_LIVES),
    fault(
        "isp-drops-connect-line",
        Code::ConnectFiltered,
        &[isp_string!("|434F4E4E45435420|", "-j DROP")],
        ASK,
        Shows::Mute,
    )
    .control(PROXY_LIVES),
    fault(
        "isp-resets-connect-name",
        Code::ConnectFiltered,
        &[isp_string!("CONNECT|20|www.google", "-j REJECT --reject-with tcp-reset")],
        ASK,
        Shows::Reset,
    )
    .control((Client, Step::Say(PROXY, NEUTRAL), Shows::Answer(&["HTTP/1.1 200"]))),
    fault(
        "isp-drops-connect-name",
        Code::ConnectFiltered,
        &[isp_string!("CONNECT|20|www.google", "-j DROP")],
        ASK,
        Shows::Mute,
    )
    .control((Client, Step::Say(PROXY, NEUTRAL), Shows::Answer(&["HTTP/1.1 200"]))),
    fault(
        "isp-resets-tls-in-tunnel",
        Code::TargetTlsReset,
        &[isp_string!("|160301|", "-j REJECT --reject-with tcp-reset")],
        GOOGLE,
        Shows::Reset,
    )
    .control(TUNNEL_STANDS),
    fault(
        "isp-drops-tls-in-tunnel",
        Code::TargetTlsStalled,
        &[isp_string!("|160301|", "-j DROP")],
        GOOGLE,
        Shows::Mute,
    )
    .control(TUNNEL_STANDS),
    fault(
        "isp-freezes-16k",
        Code::TunnelFreezes,
        &[Rule(
            Isp,
            "filter FORWARD",
            "-p tcp -m connbytes --connbytes 16384: --connbytes-dir reply --connbytes-mode bytes -j DROP",
        )],
        Step::Down(PROXY, 65536),
        Shows::StopsAfter(8_000, 34_000),
    )
    .control(HTTPS_WORKS),
    fault(
        "mtu-hole-down",
        Code::MtuBlackHole,
        &[Rule(Isp, "filter FORWARD", "-o client -m length --length 1401:65535 -j DROP")],
        Step::Down(PROXY, 65536),
        Shows::StopsAfter(0, 1400),
    )
    .control(PROXY_LIVES),
    fault(
        "mtu-hole-up",
        Code::MtuBlackHole,
        &[Rule(Isp, "filter FORWARD", "-i client -m length --length 1401:65535 -j DROP")],
        Step::Up(PROXY, 65536),
        Shows::Mute,
    )
    .control(PROXY_LIVES),
    fault(
        "link-slow",
        Code::LinkSlow,
        &[
            Run(
                Isp,
                "tc qdisc add dev client root tbf rate 128kbit burst 2000 latency 1s",
                "tc qdisc del dev client root",
            ),
            Deed::Proof(Isp, "tc qdisc show dev client", "tbf"),
        ],
        Step::Down(PROXY, 65536),
        Shows::Trickles,
    )
    // The client's own queue is full for a while.
    .control(OPEN_ELSEWHERE),
    fault(
        "link-lossy",
        Code::LinkLossy,
        &[Rule(
            Isp,
            "filter FORWARD",
            "-o client -p tcp --sport 8080 -m statistic --mode nth --every 10 --packet 9 -j DROP",
        )],
        Step::Down(PROXY, 65536),
        Shows::Flows,
    ),
    // The server's firewall and kernel.
    fault(
        "host-input-drop",
        Code::PortFiltered,
        &[Deed::OnHost, Rule(Vps, "filter INPUT", "-p tcp --dport 8080 -j DROP")],
        REACH,
        Shows::Silence,
    )
    .arrives(),
    fault(
        "host-forward-drop",
        Code::PortFiltered,
        &[Rule(Vps, "filter FORWARD", "-o docker0 -p tcp --dport 8080 -j DROP")],
        REACH,
        Shows::Silence,
    )
    .arrives(),
    fault(
        "host-ip-forward-off",
        Code::PortFiltered,
        &[Deed::Switch(Vps, "ipv4/ip_forward", ["0", "1"])],
        REACH,
        Shows::Silence,
    )
    .arrives(),
    fault(
        "host-drops-everything",
        Code::HostSilent,
        &[
            Rule(Vps, "mangle PREROUTING", "-i eth0 -j DROP"),
        ],
        REACH,
        Shows::Silence,
    )
    .control(WEB_OPEN)
    .arrives(),
    fault(
        "client-banned",
        Code::HostSilent,
        &[
            Rule(Vps, "mangle PREROUTING", "-s 10.1.0.2 -j DROP"),
        ],
        REACH,
        Shows::Silence,
    )
    .control(OPEN_ELSEWHERE)
    .arrives(),
    fault(
        "host-rejects-reset",
        Code::PortRefused,
        &[Rule(
            Vps,
            "filter FORWARD",
            "-o docker0 -p tcp --dport 8080 -j REJECT --reject-with tcp-reset",
        )],
        REACH,
        Shows::Errno(REFUSED),
    )
    .arrives(),
    fault(
        "host-rejects-port-unreachable",
        Code::PortRejected,
        &[Rule(Vps, "filter FORWARD", "-o docker0 -p tcp --dport 8080 -j REJECT")],
        REACH,
        Shows::Errno(REFUSED),
    )
    .arrives(),
    fault(
        "host-rejects-admin-prohibited",
        Code::PortRejected,
        &[Rule(
            Vps,
            "filter FORWARD",
            "-o docker0 -p tcp --dport 8080 -j REJECT --reject-with icmp-admin-prohibited",
        )],
        REACH,
        Shows::Errno(HOST_UNREACHABLE),
    )
    .arrives(),
    fault(
        "host-rejects-host-prohibited",
        Code::PortRejected,
        &[
            Deed::OnHost,
            Rule(
                Vps,
                "filter INPUT",
                "-p tcp --dport 8080 -j REJECT --reject-with icmp-host-prohibited",
            ),
        ],
        REACH,
        Shows::Errno(HOST_UNREACHABLE),
    )
    .arrives(),
    fault(
        "host-rejects-net-prohibited",
        Code::PortRejected,
        &[Rule(
            Vps,
            "filter FORWARD",
            "-o docker0 -p tcp --dport 8080 -j REJECT --reject-with icmp-net-prohibited",
        )],
        REACH,
        Shows::Errno(NET_UNREACHABLE),
    )
    .arrives(),
    fault(
        "host-rejects-protocol",
        Code::PortRejected,
        &[Rule(
            Vps,
            "filter FORWARD",
            "-o docker0 -p tcp --dport 8080 -j REJECT --reject-with icmp-proto-unreachable",
        )],
        REACH,
        Shows::Errno(NO_PROTOCOL),
    )
    .arrives(),
    // Docker and the listener.
    fault(
        "not-published",
        Code::PortRefused,
        &[
            Run(
                Vps,
                "iptables -t nat -D PREROUTING 1",
                "iptables -t nat -A PREROUTING -m addrtype --dst-type LOCAL -p tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:8080",
            ),
            Deed::Proof(Vps, "iptables -t nat -S PREROUTING", "!DNAT"),
        ],
        REACH,
        Shows::Errno(REFUSED),
    )
    .arrives(),
    fault(
        "container-refuses",
        Code::PortRefused,
        &[Deed::NoProxy, Deed::Proof(Container, "ss -ltn", "!:8080")],
        REACH,
        Shows::Errno(REFUSED),
    )
    .arrives(),
    fault(
        "listens-on-loopback",
        Code::PortRefused,
        &[
            ProxyWith(&["--listen", "127.0.0.1:8080"]),
            Deed::Proof(Container, "ss -ltn", "127.0.0.1:8080"),
        ],
        REACH,
        Shows::Errno(REFUSED),
    )
    .control((Container, Step::Connect("127.0.0.1:8080"), Shows::Open))
    .arrives(),
    fault(
        "listens-on-another-port",
        Code::PortRefused,
        &[
            ProxyWith(&["--listen", "0.0.0.0:3128"]),
            Deed::Proof(Container, "ss -ltn", "0.0.0.0:3128"),
        ],
        REACH,
        Shows::Errno(REFUSED),
    )
    .control((Vps, Step::Connect("172.17.0.2:3128"), Shows::Open))
    .arrives(),
    // The address answers elsewhere, but what is behind the port has gone.
    fault(
        "container-gone",
        Code::HostUnreachable,
        &[
            Run(
                Container,
                "ip addr del 172.17.0.2/16 dev eth0",
                "ip addr add 172.17.0.2/16 dev eth0; ip route add default via 172.17.0.1",
            ),
            Run(Vps, "ip neigh flush dev docker0", ""),
            Deed::Proof(Vps, "ip neigh show 172.17.0.2", "!lladdr"),
        ],
        Step::ConnectPatiently(PROXY),
        Shows::SlowErrno(HOST_UNREACHABLE),
    )
    .arrives(),
    // After the accept.
    fault(
        "accept-then-close",
        Code::AcceptedThenClosed,
        &[Deed::NoProxy, Stub(Container, 8080, Habit::Closes)],
        Step::Listen(PROXY),
        Shows::Closed,
    ),
    fault(
        "accept-then-reset",
        Code::AcceptedThenClosed,
        &[Deed::NoProxy, Stub(Container, 8080, Habit::Resets)],
        ASK,
        Shows::Reset,
    ),
    fault(
        "silent-peer",
        Code::SilentPeer,
        &[Deed::NoProxy, Stub(Container, 8080, Habit::Silent)],
        ASK,
        Shows::Mute,
    )
    .control(PROXY_OPEN),
    fault("container-paused", Code::SilentPeer, &[Deed::Paused], ASK, Shows::Mute)
        .control(PROXY_OPEN),
    fault(
        "ssh-on-the-port",
        Code::NotAProxy,
        &[Deed::NoProxy, Stub(Container, 8080, Habit::Says("SSH-2.0-dropbear\r\n"))],
        Step::Listen(PROXY),
        Shows::Answer(&["SSH-2.0-dropbear"]),
    ),
    fault(
        "web-server-on-the-port",
        Code::NotAProxy,
        &[
            Deed::NoProxy,
            Stub(Container, 8080, Habit::Http("405 Not Allowed", "Server: nginx\r\n")),
        ],
        ASK,
        Shows::Answer(&["405", "nginx"]),
    ),
    fault(
        "tls-required",
        Code::TlsRequired,
        &[Deed::NoProxy, Stub(Container, 8080, Habit::TlsOnly)],
        ASK,
        // An alert.
        Shows::Answer(&["\u{15}\u{3}"]),
    )
    .control((Client, Step::TlsToProxy(PROXY), Shows::Open)),
    fault(
        "tls-not-spoken",
        Code::TlsNotSpoken,
        &[],
        Step::TlsToProxy(PROXY),
        Shows::BadTls("InvalidContentType"),
    )
    .via("https://81.85.76.10:8080")
    .control(HTTPS_WORKS),
    fault(
        "credentials-wanted",
        Code::ProxyAuthRequired,
        &[ProxyWith(&["--auth", "sami:secret"])],
        ASK,
        Shows::Answer(&["HTTP/1.1 407", "Basic"]),
    )
    .control(PROXY_LIVES),
    fault(
        "credentials-wrong",
        Code::ProxyAuthRejected,
        &[ProxyWith(&["--auth", "sami:secret"])],
        Step::Say(PROXY, WRONG_PASSWORD),
        Shows::Answer(&["HTTP/1.1 407"]),
    )
    .via("http://sami:wrong@81.85.76.10:8080")
    .control(PROXY_LIVES),
    // No word is wasted on strangers, so the client can't know more.
    fault(
        "client-not-allowed",
        Code::AcceptedThenClosed,
        &[ProxyWith(&["--allow-client", "81.85.80.0/24"])],
        Step::Listen(PROXY),
        Shows::Closed,
    ),
    fault(
        "target-denied",
        Code::TargetDeniedByProxy,
        &[ProxyWith(&["--deny-to", "www.google.com"])],
        ASK,
        Shows::Answer(&["HTTP/1.1 403", "http_request_denied"]),
    )
    .control((Client, Step::Say(PROXY, NEUTRAL), Shows::Answer(&["HTTP/1.1 200"]))),
    fault(
        "proxy-overloaded",
        Code::ProxyOverloaded,
        &[ProxyWith(&["--max-connections", "1"]), Deed::Held],
        ASK,
        Shows::Answer(&["HTTP/1.1 503", "connection_limit_reached"]),
    ),
    fault(
        "parent-refuses",
        Code::UpstreamProxyDown,
        &[ProxyWith(&["--upstream", "http://81.85.80.2:3128"])],
        ASK,
        Shows::Answer(&["HTTP/1.1 502"]),
    )
    .control(PROXY_LIVES),
    // Beyond the proxy.
    fault(
        "proxy-dns-silent",
        Code::ProxyDnsBroken,
        &[Deed::ServerNames(Lie::Nothing)],
        ASK,
        Shows::Answer(&["HTTP/1.1 504", "dns_timeout"]),
    )
    .control((Client, Step::Say(PROXY, LITERAL), Shows::Answer(&["HTTP/1.1 200"]))),
    fault(
        "proxy-dns-fails",
        Code::ProxyDnsBroken,
        &[Deed::ServerNames(Lie::Failure)],
        ASK,
        Shows::Answer(&["HTTP/1.1 50", "dns_"]),
    )
    .control((Client, Step::Say(PROXY, LITERAL), Shows::Answer(&["HTTP/1.1 200"]))),
    fault(
        "target-name-not-found",
        Code::TargetNameNotFound,
        &[],
        Step::Say(PROXY, MISSING),
        Shows::Answer(&["HTTP/1.1 50", "dns_error"]),
    )
    .to("https://missing.example.com/")
    .control(HTTPS_WORKS),
    // The proxy starts anew where it must not remember that it was well a moment ago.
    fault(
        "proxy-no-egress",
        Code::ProxyNoEgress,
        &[ProxyWith(&[]), Rule(Vps, "filter FORWARD", "-i docker0 -o eth0 -p tcp --syn -j DROP")],
        ASK,
        Shows::Answer(&["HTTP/1.1 504", "connection_timeout"]),
    )
    .control(PROXY_LIVES),
    fault(
        "no-masquerade",
        Code::ProxyNoEgress,
        &[ProxyWith(&[]),
            Run(
                Vps,
                "iptables -t nat -D POSTROUTING 1",
                "iptables -t nat -A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE",
            ),
            Deed::Proof(Vps, "iptables -t nat -S POSTROUTING", "!MASQUERADE"),
        ],
        Step::Say(PROXY, LITERAL),
        Shows::Answer(&["HTTP/1.1 504", "connection_timeout"]),
    )
    .to("https://81.85.80.2/")
    .control(PROXY_LIVES),
    fault(
        "target-refuses",
        Code::TargetRefused,
        &[ProxyWith(&[]), Rule(Net, "filter INPUT", "-p tcp --dport 443 -j REJECT --reject-with tcp-reset")],
        ASK,
        Shows::Answer(&["HTTP/1.1 502", "connection_refused"]),
    )
    .control(CONTAINER_REACHES_WEB),
    fault(
        "target-silent",
        Code::TargetUnreachable,
        &[ProxyWith(&[]), Rule(Net, "filter INPUT", "-p tcp --dport 443 -j DROP")],
        ASK,
        Shows::Answer(&["HTTP/1.1 504", "connection_timeout"]),
    )
    .control(CONTAINER_REACHES_WEB),
    fault(
        "target-unreachable",
        Code::TargetUnreachable,
        &[ProxyWith(&[]), Rule(
            Net,
            "filter INPUT",
            "-p tcp --dport 443 -j REJECT --reject-with icmp-host-unreachable",
        )],
        ASK,
        Shows::Answer(&["HTTP/1.1 502", "destination_ip_unroutable"]),
    )
    .control(CONTAINER_REACHES_WEB),
    fault(
        "target-resets-tls",
        Code::TargetTlsReset,
        &[Origin(Manner::ResetsTls)],
        GOOGLE,
        Shows::Reset,
    )
    .control(TUNNEL_STANDS),
    fault(
        "target-stalls-tls",
        Code::TargetTlsStalled,
        &[Origin(Manner::SilentTls)],
        GOOGLE,
        Shows::Mute,
    )
    .control(TUNNEL_STANDS),
    fault(
        "certificate-expired",
        Code::TargetCertExpired,
        &[Origin(Manner::Flawed(Flaw::Expired))],
        GOOGLE,
        Shows::BadTls("certificate expired"),
    )
    .control(TUNNEL_STANDS),
    fault(
        "certificate-not-yet-valid",
        Code::TargetCertNotYetValid,
        &[Origin(Manner::Flawed(Flaw::NotYetValid))],
        GOOGLE,
        Shows::BadTls("not valid yet"),
    )
    .control(TUNNEL_STANDS),
    fault(
        "certificate-of-another",
        Code::TargetCertName,
        &[Origin(Manner::Flawed(Flaw::WrongName))],
        GOOGLE,
        Shows::BadTls("not valid for name"),
    )
    .control(TUNNEL_STANDS),
    fault(
        "certificate-untrusted",
        Code::TargetCertUntrusted,
        &[Origin(Manner::Flawed(Flaw::UnknownAuthority))],
        GOOGLE,
        Shows::BadTls("UnknownIssuer"),
    )
    .control(TUNNEL_STANDS),
    fault(
        "region-openai",
        Code::TargetRegionBlocked,
        &[Origin(Manner::Answers(
            "403 Forbidden",
            "Content-Type: application/json\r\n",
            "{\"error\":{\"code\":\"unsupported_country_region_territory\",\"message\":\"Country, region, or territory not supported\",\"param\":null,\"type\":\"request_forbidden\"}}",
        ))],
        Step::Https(PROXY, "api.openai.com"),
        Shows::Answer(&["403 Forbidden", "unsupported_country_region_territory"]),
    )
    .to("https://api.openai.com/v1/models")
    .control(TUNNEL_STANDS),
    fault(
        "region-gemini",
        Code::TargetRegionBlocked,
        &[Origin(Manner::Answers(
            "400 Bad Request",
            "Content-Type: application/json\r\n",
            "{\"error\":{\"code\":400,\"message\":\"User location is not supported for the API use.\",\"status\":\"FAILED_PRECONDITION\"}}",
        ))],
        Step::Https(PROXY, "generativelanguage.googleapis.com"),
        Shows::Answer(&["400 Bad Request", "FAILED_PRECONDITION"]),
    )
    .to("https://generativelanguage.googleapis.com/v1beta/models")
    .control(TUNNEL_STANDS),
    fault(
        "region-anthropic",
        Code::TargetRegionBlocked,
        &[Origin(Manner::Answers(
            "403 Forbidden",
            "Content-Type: application/json\r\n",
            "{\"error\":{\"type\":\"forbidden\",\"message\":\"Request not allowed\"}}",
        ))],
        Step::Https(PROXY, "api.anthropic.com"),
        Shows::Answer(&["403 Forbidden", "Request not allowed"]),
    )
    .to("https://api.anthropic.com/v1/models")
    .control(TUNNEL_STANDS),
    fault(
        "challenge-page",
        Code::TargetChallenged,
        &[Origin(Manner::Answers(
            "403 Forbidden",
            "cf-mitigated: challenge\r\nServer: cloudflare\r\nContent-Type: text/html\r\n",
            "<title>Just a moment...</title>",
        ))],
        GOOGLE,
        Shows::Answer(&["403 Forbidden", "cf-mitigated: challenge"]),
    )
    .control(TUNNEL_STANDS),
    fault(
        "google-sorry",
        Code::TargetChallenged,
        &[Origin(Manner::Answers(
            "302 Found",
            "Location: https://www.google.com/sorry/index?continue=https://www.google.com/\r\n",
            "",
        ))],
        GOOGLE,
        Shows::Answer(&["302 Found", "/sorry/"]),
    )
    .control(TUNNEL_STANDS),
    fault(
        "rate-limited",
        Code::TargetRateLimited,
        &[Origin(Manner::Answers("429 Too Many Requests", "Retry-After: 60\r\n", "slow down"))],
        GOOGLE,
        Shows::Answer(&["429 Too Many Requests", "Retry-After: 60"]),
    )
    .control(TUNNEL_STANDS),
    fault(
        "target-error",
        Code::TargetHttpError,
        &[Origin(Manner::Answers("503 Service Unavailable", "", "down"))],
        GOOGLE,
        Shows::Answer(&["503 Service Unavailable"]),
    )
    .control(TUNNEL_STANDS),
];
