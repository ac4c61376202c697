//! What works, in other ways than the plain one: nothing of it may raise an alarm.

use super::deeds::Deed;
use super::observe::{Shows, Step};
use super::origin::Manner;
use super::place::Place;
use super::stub::Habit;
use super::{PROXY, PROXY6};

/// One of them.
#[derive(Debug, Clone, Copy)]
pub struct Healthy {
    pub name: &'static str,
    /// The proxy, as the user has it.
    pub proxy: &'static str,
    pub deeds: &'static [Deed],
    /// What bare sockets see in the client's place.
    pub step: Step,
    pub shows: Shows,
}

const OK: Shows = Shows::Answer(&["200 OK", "hi"]);
const GOOGLE: Step = Step::Https(PROXY, "www.google.com");

const fn healthy(name: &'static str, deeds: &'static [Deed]) -> Healthy {
    Healthy { name, proxy: PROXY, deeds, step: GOOGLE, shows: OK }
}

impl Healthy {
    const fn via(self, proxy: &'static str) -> Self {
        Self { proxy, ..self }
    }

    const fn seen(self, step: Step, shows: Shows) -> Self {
        Self { step, shows, ..self }
    }
}

pub const HEALTHY: &[Healthy] = &[
    healthy("plain", &[]),
    healthy("by-name", &[]).via("proxy.example.net:8080"),
    healthy("with-credentials", &[Deed::ProxyWith(&["--auth", "sami:secret"])])
        .via("http://sami:secret@81.85.76.10:8080")
        .seen(
            Step::Say(
                PROXY,
                "CONNECT www.google.com:443 HTTP/1.1\r\nHost: www.google.com:443\r\nProxy-Authorization: Basic c2FtaTpzZWNyZXQ=\r\n\r\n",
            ),
            Shows::Answer(&["HTTP/1.1 200"]),
        ),
    // It is reached, and that is all we want of it.
    healthy(
        "target-wants-a-key",
        &[Deed::Origin(Manner::Answers(
            "401 Unauthorized",
            "Content-Type: application/json\r\nWWW-Authenticate: Bearer\r\n",
            "{\"error\":{\"type\":\"invalid_request_error\",\"message\":\"Missing bearer authentication\"}}",
        ))],
    )
    .seen(GOOGLE, Shows::Answer(&["401 Unauthorized"])),
    // With `--ca FOLDER/authority.pem`.
    healthy(
        "tls-proxy",
        &[Deed::ProxyWith(&["--tls-cert", "FOLDER/proxy.pem", "--tls-key", "FOLDER/proxy.key"])],
    )
    .via("https://proxy.example.net:8080")
    .seen(Step::HttpsOverTls(PROXY, "www.google.com"), OK),
    healthy(
        "ipv4-only",
        &[Deed::Run(
            Place::Client,
            "true",
            "ip addr add 2a01:10::2/64 dev eth0 nodad; ip -6 route add default via 2a01:10::1",
        ), Deed::Switch(Place::Client, "ipv6/conf/eth0/disable_ipv6", ["1", "0"])],
    )
    .via("dual.example.net:8080"),
    healthy(
        "ipv6-only",
        &[
            Deed::Run(
                Place::Client,
                "ip -4 addr flush dev eth0",
                "ip addr add 10.1.0.2/24 dev eth0; ip route add default via 10.1.0.1",
            ),
            Deed::Resolver("nameserver 2a01:10::1\n"),
            Deed::Proof(Place::Client, "ip -4 addr show dev eth0", "!inet"),
        ],
    )
    .via("six.example.net:8080")
    .seen(Step::Https(PROXY6, "www.google.com"), OK),
    healthy(
        "nat",
        &[Deed::Rule(Place::Isp, "nat POSTROUTING", "-s 10.1.0.0/24 ! -o client -j MASQUERADE")],
    ),
    healthy(
        "loss-of-2-percent",
        &[Deed::Rule(
            Place::Isp,
            "filter FORWARD",
            "-o client -p tcp --sport 8080 -m statistic --mode nth --every 50 --packet 49 -j DROP",
        )],
    )
    .seen(Step::Down(PROXY, 200_000), Shows::Flows),
    // 1 Mbit/s is enough for text.
    healthy(
        "modest-link",
        &[
            Deed::Run(
                Place::Isp,
                "tc qdisc add dev client root tbf rate 1mbit burst 4000 latency 400ms",
                "tc qdisc del dev client root",
            ),
            Deed::Proof(Place::Isp, "tc qdisc show dev client", "rate 1Mbit"),
        ],
    )
    .seen(Step::Down(PROXY, 65536), Shows::Flows),
    healthy("latency-of-300-ms", &[Deed::Delay(150)])
        .seen(Step::Connect(PROXY), Shows::Slow(300)),
    healthy(
        "tinyproxy",
        &[
            Deed::NoProxy,
            Deed::File(
                "tinyproxy.conf",
                "Port 8080\nListen 0.0.0.0\nTimeout 60\nMaxClients 20\nConnectPort 443\n",
            ),
            Deed::Foreign("tinyproxy", "tinyproxy -d -c FOLDER/tinyproxy.conf"),
            Deed::Proof(Place::Container, "ss -ltnp", "\"tinyproxy\""),
        ],
    )
    .seen(GOOGLE, OK),
    healthy(
        "squid",
        &[
            Deed::NoProxy,
            Deed::File(
                "squid.conf",
                "http_port 0.0.0.0:8080\nhttp_access allow all\ncache deny all\naccess_log none\ncache_log /dev/null\npid_filename none\nshutdown_lifetime 0 seconds\npinger_enable off\n",
            ),
            Deed::Foreign("squid", "squid -N -f FOLDER/squid.conf"),
            Deed::Proof(Place::Container, "ss -ltnp", "\"squid\""),
        ],
    ),
    healthy(
        "socks-only",
        &[Deed::NoProxy, Deed::Stub(Place::Container, 8080, Habit::SocksOnly)],
    )
    .via("socks5://81.85.76.10:8080")
    .seen(Step::HttpsOverSocks(PROXY, "www.google.com"), OK),
    healthy(
        "dante",
        &[
            Deed::NoProxy,
            Deed::File(
                "danted.conf",
                "logoutput: /dev/null\ninternal: 0.0.0.0 port = 8080\nexternal: eth0\nclientmethod: none\nsocksmethod: none\nuser.privileged: root\nuser.unprivileged: nobody\nclient pass { from: 0.0.0.0/0 to: 0.0.0.0/0 }\nsocks pass { from: 0.0.0.0/0 to: 0.0.0.0/0 }\n",
            ),
            Deed::Foreign("danted", "danted -f FOLDER/danted.conf"),
            Deed::Proof(Place::Container, "ss -ltnp", "\"danted\""),
        ],
    )
    .via("socks5://81.85.76.10:8080")
    .seen(Step::HttpsOverSocks(PROXY, "www.google.com"), OK),
];
