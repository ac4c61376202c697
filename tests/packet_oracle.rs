//! The walk through the rules against a real kernel: random rulesets, a real SYN through each, and the
//! same end. It needs root for its network namespaces; without it is skipped, but not on CI.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::trivially_copy_pass_by_ref,
    clippy::too_many_lines,
    clippy::wildcard_enum_match_arm,
    clippy::match_wildcard_for_single_variants,
    reason = "test code"
)]

use std::fmt::Write as _;
use std::fs::File;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use sami_proxy::diag::fact::{Interface, Kernel, Layer, PacketFilter, Read, Reading, Tool, Way};
use sami_proxy::diag::packets::walk::{Fate, World};
use sami_proxy::diag::packets::{nft, save};

const SEEDS: u64 = 60;
/// A SYN on a cable between two namespaces is answered in a tenth of a millisecond.
const SILENCE: Duration = Duration::from_millis(400);
const SERVER: &str = "81.85.76.10:8080";

/// A network namespace that lives as long as this.
struct Net(Child);

impl Net {
    fn new() -> Option<Self> {
        let mut command = Command::new("unshare");
        command.args(["-n", "sh", "-c", "echo ready; exec sleep 600"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().ok()?;
        let mut said = [0; 6];
        child.stdout.as_mut()?.read_exact(&mut said).ok()?;
        Some(Self(child))
    }

    fn shell(&self, script: &str) -> String {
        let id = self.0.id().to_string();
        let mut command = Command::new("nsenter");
        command.args(["-t", &id, "-n", "sh", "-ec", script]).stdin(Stdio::null());
        let output = command.output().unwrap();
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{complaint}\n{script}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// In a thread that stays in the namespace.
    fn inside<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let file = File::open(format!("/proc/{}/ns/net", self.0.id())).unwrap();
        let (tell, told) = channel();
        std::thread::spawn(move || {
            let network = Some(LinkNameSpaceType::Network);
            move_into_link_name_space(file.as_fd(), network).unwrap();
            tell.send(work()).ok()
        });
        told.recv().unwrap()
    }

    /// Everybody who connects to `port` hears `name`.
    fn listen(&self, port: u16, name: &'static [u8; 1]) {
        let listener = self.inside(move || TcpListener::bind(("0.0.0.0", port)).unwrap());
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                stream.write_all(name).ok();
            }
        });
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// xorshift64*.
struct Chance(u64);

impl Chance {
    fn below(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % most
    }

    fn one_in(&mut self, most: u64) -> bool {
        self.below(most) == 0
    }

    fn of<'t>(&mut self, all: &[&'t str]) -> &'t str {
        all[usize::try_from(self.below(all.len() as u64)).unwrap()]
    }
}

const MATCHES: &[&str] = &[
    "-i eth0",
    "! -i docker0",
    "-i docker0",
    "-i eth+",
    "-s 10.1.0.0/24",
    "-s 10.1.0.2/32",
    "! -s 10.1.0.0/16",
    "-s 172.17.0.0/16",
    "-d 81.85.76.10/32",
    "-d 172.17.0.0/16",
    "-p tcp -m tcp --dport 8080",
    "-p tcp -m tcp --dport 8000:8100",
    "-p tcp -m tcp ! --dport 22",
    "-p tcp -m tcp --dport 80",
    "-p tcp -m tcp --sport 1024:65535",
    "-p tcp -m multiport --dports 22,8080",
    "-p udp",
    "! -p udp",
    "-m addrtype --dst-type LOCAL",
    "-m addrtype ! --dst-type LOCAL",
    "-m addrtype --src-type UNICAST",
    "-m iprange --src-range 10.1.0.1-10.1.0.9",
    "-m mark --mark 0x1/0xff",
    "-m mark ! --mark 0x2",
    "-p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN",
    "-m comment --comment \"a -j DROP b\"",
    "",
];

/// These need a connection that is tracked already.
const STATES: &[&str] = &[
    "-m conntrack --ctstate NEW",
    "-m conntrack --ctstate INVALID",
    "-m conntrack --ctstate NEW,RELATED",
    "-m conntrack --ctstate DNAT",
    "-m conntrack --ctorigdstport 8080 --ctdir ORIGINAL",
    "-m state --state NEW",
];

fn iptables(chance: &mut Chance) -> String {
    let mut text = String::from("*raw\n:PREROUTING ACCEPT\n");
    if chance.one_in(4) {
        writeln!(
            text,
            "-A PREROUTING {} -j {}",
            chance.of(MATCHES),
            chance.of(&["DROP", "ACCEPT"])
        )
        .unwrap();
    }
    text.push_str("COMMIT\n*mangle\n:PREROUTING ACCEPT\n");
    for _ in 0..chance.below(3) {
        let mark = chance.of(&["0x1/0xff", "0x2/0xffffffff", "0x3/0x1"]);
        writeln!(text, "-A PREROUTING {} -j MARK --set-xmark {mark}", chance.of(MATCHES)).unwrap();
    }
    text.push_str("COMMIT\n*nat\n:PREROUTING ACCEPT\n:DOCKER -\n");
    for _ in 0..chance.below(4) {
        let chain = chance.of(&["PREROUTING", "DOCKER"]);
        let then = chance.of(&[
            "-p tcp -j DNAT --to-destination 172.17.0.2:8080",
            "-p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:9090",
            "-p tcp -j REDIRECT --to-ports 9090",
            "-j ACCEPT",
            "-j RETURN",
        ]);
        let matches = chance.of(&[
            "-i eth0",
            "! -i docker0",
            "-m addrtype --dst-type LOCAL",
            "",
            "-s 10.1.0.0/24",
            "-m mark --mark 0x1/0x1",
        ]);
        writeln!(text, "-A {chain} {matches} {then}").unwrap();
    }
    text.push_str("-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER\nCOMMIT\n*filter\n");
    for chain in ["INPUT", "FORWARD"] {
        writeln!(text, ":{chain} {}", chance.of(&["ACCEPT", "ACCEPT", "DROP"])).unwrap();
    }
    text.push_str(":OUTPUT ACCEPT\n:ONE -\n:TWO -\n");
    for chain in ["INPUT", "FORWARD"] {
        writeln!(text, "-A {chain} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT").unwrap();
    }
    for chain in ["INPUT", "FORWARD", "ONE", "TWO"] {
        for _ in 0..chance.below(5) {
            let jumps = match chain {
                "INPUT" | "FORWARD" => ["-j ONE", "-g TWO", "-j TWO"],
                "ONE" => ["-j TWO", "-j TWO", "-g TWO"],
                _ => ["-j RETURN"; 3],
            };
            let then = match chance.below(9) {
                0 | 1 => chance.of(&jumps),
                2 => "-j RETURN",
                3 => "-j DROP",
                4 => chance.of(&[
                    "-j REJECT --reject-with icmp-host-prohibited",
                    "-p tcp -j REJECT --reject-with tcp-reset",
                    "-j REJECT",
                ]),
                5 | 6 => "-j ACCEPT",
                7 => "-j LOG --log-prefix \"x y \"",
                _ => "",
            };
            let mut matches = chance.of(MATCHES).to_owned();
            if chance.one_in(3) {
                write!(matches, " {}", chance.of(STATES)).unwrap();
            }
            if chance.one_in(12) {
                matches.push_str(" -m limit --limit 5/min");
            }
            // A protocol may be named once.
            let then =
                if matches.contains("-p ") { then.replace("-p tcp ", "") } else { then.to_owned() };
            let then = if matches.contains("-p udp") {
                then.replace("tcp-reset", "icmp-port-unreachable")
            } else {
                then
            };
            writeln!(text, "-A {chain} {matches} {then}").unwrap();
        }
    }
    text.push_str("COMMIT\n");
    text
}

fn native(chance: &mut Chance) -> String {
    let mut text = String::from(
        "table inet own {\nset some { type ipv4_addr; flags interval; elements = { 10.1.0.0/25, 45.0.0.0/8 } }\n",
    );
    text.push_str("set ports { type inet_service; elements = { 8080, 443 } }\n");
    text.push_str("map jumps { type ifname : verdict; elements = { \"eth0\" : jump aside, \"lo\" : accept } }\n");
    let matches = [
        "tcp dport 8080",
        "tcp dport @ports",
        "tcp dport { 22, 8000-8100 }",
        "udp dport 8080",
        "ip saddr @some",
        "ip saddr != @some",
        "ip saddr 10.1.0.2",
        "ip6 saddr ::1",
        "iifname \"eth0\"",
        "iifname != \"docker0\"",
        "fib daddr type local",
        "ct state new",
        "ct status dnat",
        "meta mark 1",
        "meta mark and 0x1 == 0x1",
        "tcp flags & (fin|syn|rst|ack) == syn",
        "tcp flags syn",
        "meta l4proto tcp",
        "meta nfproto ipv4",
        "tcp dport > 1024",
        "tcp dport != 8080",
        "meta l4proto tcp ct original proto-dst 8080",
        "limit rate 5/minute",
        "ip daddr 172.17.0.0/16",
        "tcp sport 1024-65535",
        "",
    ];
    let then = [
        "accept",
        "drop",
        "counter",
        "jump aside",
        "return",
        "reject with tcp reset",
        "meta mark set 1",
        "reject with icmpx type admin-prohibited",
        "log prefix \"a\"",
        "goto aside",
        "iifname vmap @jumps",
        "ct state vmap { new : accept, invalid : drop }",
        "tcp dport vmap { 8080 : jump aside, 22 : drop }",
    ];
    text.push_str("chain aside {\n");
    for _ in 0..chance.below(3) {
        let then = chance.of(&["accept", "drop", "return", "counter", "reject with tcp reset"]);
        let matches = chance.of(&matches);
        let then = if matches.starts_with("udp") { "drop" } else { then };
        writeln!(text, "{matches} {then}").unwrap();
    }
    text.push_str("}\n");
    for (name, hook) in [("a", "input"), ("b", "forward"), ("c", "prerouting")] {
        let priority = chance.of(&["-10", "0", "10"]);
        let policy = chance.of(&["accept", "accept", "drop"]);
        let policy = if hook == "prerouting" { "accept" } else { policy };
        writeln!(
            text,
            "chain {name} {{\ntype filter hook {hook} priority {priority}; policy {policy}"
        )
        .unwrap();
        text.push_str("ct state established,related accept\n");
        let rules = if hook == "prerouting" { chance.below(2) } else { chance.below(5) };
        for _ in 0..rules {
            let mut then = chance.of(&then);
            if hook == "prerouting" && then.starts_with("reject") {
                then = "drop";
            }
            let matches = chance.of(&matches);
            let then = if matches.starts_with("udp") { "drop" } else { then };
            writeln!(text, "{matches} {then}").unwrap();
        }
        text.push_str("}\n");
    }
    // The first that translates has done it.
    if chance.one_in(3) {
        let priority = chance.of(&["-110", "-90"]);
        let to = chance.of(&["dnat ip to 172.17.0.2:9090", "redirect to :9090", "accept"]);
        writeln!(text, "chain n {{\ntype nat hook prerouting priority {priority}").unwrap();
        writeln!(text, "meta nfproto ipv4 tcp dport 8080 {to}\n}}").unwrap();
    }
    text.push_str("}\n");
    text
}

fn kernel() -> Kernel {
    let interface = |name: &str, address: &str| Interface {
        name: name.to_owned(),
        addresses: vec![address.parse().unwrap()],
        ..Interface::default()
    };
    let way = |to: &str, bits, name: &str| Way {
        to: to.parse().unwrap(),
        bits,
        interface: name.to_owned(),
        gateway: None,
        metric: 0,
        reject: false,
    };
    Kernel {
        forward4: Some(true),
        interfaces: vec![
            interface("lo", "127.0.0.1"),
            interface("eth0", "81.85.76.10"),
            interface("docker0", "172.17.0.1"),
        ],
        routes: vec![
            way("81.85.76.0", 24, "eth0"),
            way("172.17.0.0", 16, "docker0"),
            way("0.0.0.0", 0, "eth0"),
        ],
        ..Kernel::default()
    }
}

/// What the walk says that a client sees; `None` when it does not know.
fn expected(filter: &PacketFilter) -> Option<String> {
    let kernel = kernel();
    let world = World { filter, kernel: &kernel };
    let packet = world.knock("10.1.0.2".parse().unwrap(), 8080).unwrap();
    let course = world.inward(packet.clone());
    let reject = |with: &str| match with {
        "tcp-reset" | "icmp-port-unreachable" => "refused".to_owned(),
        _ => "unreachable".to_owned(),
    };
    match &course.fate {
        Fate::Unknown(_) => None,
        Fate::Dropped(_) => Some("silent".to_owned()),
        Fate::Rejected(_, with) => Some(reject(with)),
        Fate::NotForwarded | Fate::NoRoute => panic!("{course:?}"),
        Fate::Accepted => match world.answer(&packet, &course).fate {
            Fate::Dropped(_) | Fate::Rejected(..) => Some("silent".to_owned()),
            Fate::Unknown(_) => None,
            _ => Some(match course.to.map(|to| to.to_string()).as_deref() {
                None => "h".to_owned(),
                Some("81.85.76.10:9090") => "r".to_owned(),
                Some("172.17.0.2:8080") => "c".to_owned(),
                Some("172.17.0.2:9090") => "d".to_owned(),
                Some(other) => panic!("{other}"),
            }),
        },
    }
}

fn knock() -> String {
    let server: SocketAddr = SERVER.parse().unwrap();
    match TcpStream::connect_timeout(&server, SILENCE) {
        Ok(mut stream) => {
            stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            let mut name = [0];
            stream.read_exact(&mut name).unwrap();
            String::from_utf8(name.to_vec()).unwrap()
        }
        Err(error) => match error.kind() {
            ErrorKind::TimedOut | ErrorKind::WouldBlock => "silent".to_owned(),
            ErrorKind::ConnectionRefused => "refused".to_owned(),
            ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => "unreachable".to_owned(),
            other => format!("{other}"),
        },
    }
}

struct Site {
    client: Net,
    server: Net,
    _container: Net,
}

fn site() -> Option<Site> {
    let (client, server, container) = (Net::new()?, Net::new()?, Net::new()?);
    let (of_client, of_container) = (client.0.id(), container.0.id());
    server.shell(&format!(
        "ip link set lo up
        ip link add eth0 type veth peer name eth0 netns {of_client}
        ip link add docker0 type veth peer name eth0 netns {of_container}
        ip addr add 81.85.76.10/24 dev eth0; ip link set eth0 up
        ip addr add 172.17.0.1/16 dev docker0; ip link set docker0 up
        echo 1 >/proc/sys/net/ipv4/ip_forward
        echo 0 >/proc/sys/net/ipv4/icmp_ratelimit
        ip route add default via 81.85.76.1"
    ));
    client.shell(
        "ip link set lo up; ip addr add 81.85.76.1/24 dev eth0; ip addr add 10.1.0.2/32 dev eth0
        ip link set eth0 up; ip route change 81.85.76.0/24 dev eth0 src 10.1.0.2",
    );
    container.shell(
        "ip link set lo up; ip addr add 172.17.0.2/16 dev eth0; ip link set eth0 up
        ip route add default via 172.17.0.1",
    );
    server.listen(8080, b"h");
    server.listen(9090, b"r");
    container.listen(8080, b"c");
    container.listen(9090, b"d");
    Some(Site { client, server, _container: container })
}

#[test]
fn the_walk_comes_to_what_a_real_kernel_does() {
    let Some(site) = site().filter(|_| rustix::process::geteuid().is_root()) else {
        assert!(std::env::var_os("CI").is_none(), "root can do this");
        println!("skipped: no network namespaces here");
        return;
    };
    assert_eq!(site.client.inside(knock), "h");
    let (mut seen, mut unknown) = (std::collections::BTreeMap::new(), 0);
    // Others than the usual ones: `ORACLE_FROM=1000`.
    let from = std::env::var("ORACLE_FROM").map_or(0, |it| it.parse().unwrap());
    for seed in from + 1..=from + SEEDS {
        let mut chance = Chance(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let rules = iptables(&mut chance);
        let native = if chance.one_in(2) { native(&mut chance) } else { String::new() };
        let server = &site.server;
        server.shell(&format!(
            "nft flush ruleset\niptables-restore <<'R'\n{rules}R\nnft -f - <<'R'\n{native}R\n"
        ));
        let saved = save::parse(&server.shell("iptables-save -c"), Layer::Ip).unwrap();
        let listed = server.shell("nft -j list ruleset");
        let own = nft::parse(&listed, |family, _| family == Layer::Ip).unwrap();
        // The tables of iptables once more, as nft sees them.
        let all = nft::parse(&listed, |_, _| false).unwrap();
        let read = [Tool::Iptables, Tool::Nft].map(|tool| Reading { tool, outcome: Read::Whole });
        let tables = saved.tables.into_iter().chain(own.tables).collect();
        let filter = PacketFilter { read: read.to_vec(), tables, ..PacketFilter::default() };
        let by_nft = PacketFilter { tables: all.tables, ..filter.clone() };
        let found = site.client.inside(knock);
        let context = || format!("seed {seed}\n{rules}\n{native}");
        *seen.entry(found.clone()).or_insert(0) += 1;
        match expected(&filter) {
            None => unknown += 1,
            Some(expected) => assert_eq!(expected, found, "{}", context()),
        }
        if let Some(expected) = expected(&by_nft) {
            assert_eq!(expected, found, "by nft alone: {}", context());
        }
    }
    println!("{seen:?}, unknown {unknown} of {SEEDS}");
    assert!(seen.len() >= 5, "not much of a choice: {seen:?}");
    assert!(unknown * 3 < SEEDS, "{unknown} of {SEEDS} are not known");
}
