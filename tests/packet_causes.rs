//! The causes that a server's packets have: evidence made of real rulesets → code and commands. With
//! `UPDATE_EVIDENCE` set, `tests/cases/CODE/evidence.json` is written anew.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::too_many_lines,
    reason = "test code"
)]

use std::fs;
use std::path::{Path, PathBuf};

use sami_proxy::diag::code::{Code, Severity};
use sami_proxy::diag::diagnosis::diagnose;
use sami_proxy::diag::evidence::{Asked, Command, Evidence, Family, Role, Subject};
use sami_proxy::diag::fact::{
    Attempt, CheckId, Connects, Data, Fact, Hello, HostListener, Interface, Kernel, Knocks, Layer,
    Listeners, Outcome, OwnAddresses, PacketFilter, Provider, Read, Reading, Reference, Speaks,
    Status, Tool, Way, Witness,
};
use sami_proxy::diag::fix::fixes_of;
use sami_proxy::diag::infer::{Confidence, Suspect};
use sami_proxy::diag::packets::{nft, save, ufw};

const HERE: &str = "81.85.76.10";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

fn filter(name: &str) -> PacketFilter {
    let read = |file: &str| fs::read_to_string(root().join("rulesets").join(name).join(file)).ok();
    let tables = save::parse(&read("iptables").unwrap(), Layer::Ip).unwrap().tables;
    let mut found = PacketFilter { tables, ..PacketFilter::default() };
    if let Some(text) = read("iptables-legacy") {
        found.tables.extend(save::parse(&text, Layer::Ip).unwrap().tables);
    }
    if let Some(text) = read("nft.json") {
        let taken = |_, table: &str| table == "filter" || table == "nat";
        let inet = name == "nft-native";
        let more = nft::parse(&text, |family, table| !inet && taken(family, table)).unwrap();
        found.tables.extend(more.tables);
    }
    found.read =
        [Tool::Iptables, Tool::Nft].map(|tool| Reading { tool, outcome: Read::Whole }).to_vec();
    found.ufw = ufw::parse(&read("ufw").unwrap_or_default(), "");
    found
}

fn way(to: &str, bits: u8, interface: &str) -> Way {
    let (to, interface) = (to.parse().unwrap(), interface.to_owned());
    Way { to, bits, interface, gateway: None, metric: 0, reject: false }
}

fn kernel() -> Kernel {
    let interface = |name: &str, address: &str| Interface {
        name: name.to_owned(),
        addresses: vec![address.parse().unwrap()],
        rp_filter: Some(2),
        ..Interface::default()
    };
    Kernel {
        forward4: Some(true),
        rp_filter: Some(0),
        conntrack_count: Some(212),
        conntrack_max: Some(65_536),
        interfaces: vec![
            interface("lo", "127.0.0.1"),
            interface("eth0", HERE),
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

fn listening(name: &str) -> Listeners {
    let listener = HostListener {
        address: "0.0.0.0:8080".parse().unwrap(),
        waiting: (0, 0),
        user: 0,
        process: Some(4711),
        name: Some(name.to_owned()),
    };
    let (overflows, drops, new_overflows) = (Some(0), Some(0), Some(0));
    let on_port = vec![listener];
    Listeners { on_port, overflows, drops, new_overflows, ..Listeners::default() }
}

fn witness(total: u64) -> Witness {
    let knocks = Knocks { source: "10.1.0.2".parse().unwrap(), syns: total, answers: 0, resets: 0 };
    let knocks = if total == 0 { Vec::new() } else { vec![knocks] };
    Witness { ms: 30_004, blind: None, knocks, total }
}

/// A server, made wrong step by step.
struct Server(Evidence);

impl Server {
    fn new(host: &str) -> Self {
        let subject = Subject { host: host.into(), port: 8080, family: Family::Any };
        let asked = Asked { command: Command::Doctor, role: Role::Host, ..Asked::default() };
        Self(Evidence::new(subject, asked))
    }

    fn with(mut self, check: CheckId, data: Data) -> Self {
        let reference = Reference::number(self.0.facts.len() + 1);
        let (subject, status) = ("port 8080".to_owned(), Status::Worked);
        self.0.facts.push(Fact { reference, check, subject, status, data: Some(data), took_ms: 3 });
        self
    }

    fn rules(self, name: &str) -> Self {
        self.filter(filter(name))
    }

    fn filter(self, filter: PacketFilter) -> Self {
        self.with(CheckId::PacketFilter, Data::PacketFilter(filter))
    }

    fn kernel(self, change: impl FnOnce(&mut Kernel)) -> Self {
        let mut kernel = kernel();
        change(&mut kernel);
        self.with(CheckId::KernelSettings, Data::Kernel(kernel))
    }

    fn listener(self, listeners: Listeners) -> Self {
        self.with(CheckId::HostListeners, Data::Listeners(listeners))
    }

    fn sane(self) -> Self {
        self.kernel(|_| {})
    }

    fn docker(self) -> Self {
        self.listener(listening("docker-proxy"))
    }

    fn witness(self, total: u64) -> Self {
        self.with(CheckId::Witness, Data::Witness(witness(total)))
    }

    fn own(self, change: impl FnOnce(&mut OwnAddresses)) -> Self {
        let mut own = OwnAddresses::default();
        change(&mut own);
        self.with(CheckId::PublicAddress, Data::OwnAddresses(own))
    }

    /// What a client saw: three attempts.
    fn client(mut self, outcome: Outcome) -> Self {
        self.0.asked = Asked::default();
        let address = "81.85.76.10:8080".parse().unwrap();
        let elapsed_us = if outcome == Outcome::Silent { 3_000_000 } else { 30_000 };
        let one = Attempt { address, outcome, os_error: None, elapsed_us, ttl: None };
        let data = Connects { attempts: vec![one; 3] };
        let sibling = Attempt {
            address: "81.85.76.10:22".parse().unwrap(),
            elapsed_us: 30_000,
            outcome: Outcome::Open,
            ..one
        };
        self.with(CheckId::TcpConnect, Data::Connects(data))
            .with(CheckId::SiblingPorts, Data::Connects(Connects { attempts: vec![sibling] }))
    }

    fn served(self) -> Self {
        let hello = Hello {
            speaks: Some(Speaks::SamiProxy),
            name: Some("sami-proxy/0.1.0".to_owned()),
            nonce_returned: Some(true),
            ..Hello::default()
        };
        self.client(Outcome::Open).with(CheckId::Hello, Data::Hello(hello))
    }
}

fn of(evidence: &Evidence, code: Code) -> Option<Suspect> {
    let diagnosis = diagnose(evidence);
    let verdict = diagnosis.verdict.into_iter().chain(diagnosis.warnings);
    verdict.into_iter().find(|it| it.code == code)
}

/// Code, evidence, confidence, and the first command.
fn cases() -> Vec<(Code, Server, Confidence, Option<&'static str>)> {
    use Confidence::{Certain, Likely};
    let server = || Server::new(HERE);
    let visitor = |name: &str| {
        let visitor = Some("10.1.0.2".parse().unwrap());
        PacketFilter { visitor, ..filter(name) }
    };
    vec![
        (
            Code::DockerNatMissing,
            server().rules("nat-half").sane().docker(),
            Certain,
            Some("sudo systemctl restart docker"),
        ),
        (
            Code::IpForwardOff,
            server().rules("docker").kernel(|it| it.forward4 = Some(false)).docker(),
            Certain,
            Some("sudo sysctl -w net.ipv4.ip_forward=1"),
        ),
        (
            Code::DockerUserDrop,
            server().rules("docker-user-drop").sane().docker(),
            Certain,
            Some("sudo iptables -D DOCKER-USER 1"),
        ),
        (
            Code::HostFirewallDrop,
            server().rules("ufw-deny").sane().listener(listening("sami-proxy")),
            Certain,
            Some("sudo ufw allow 8080/tcp"),
        ),
        (
            Code::ClientBanned,
            server().filter(visitor("crowdsec")).sane().listener(listening("sami-proxy")),
            Certain,
            Some("sudo cscli decisions delete --ip 10.1.0.2"),
        ),
        (
            Code::ConntrackFull,
            server().rules("docker").kernel(|it| it.conntrack_count = it.conntrack_max).docker(),
            Certain,
            Some("sudo sysctl -w net.netfilter.nf_conntrack_max=131072"),
        ),
        (
            Code::ReversePathFilter,
            server()
                .rules("empty")
                .kernel(|it| {
                    it.rp_filter = Some(1);
                    it.interfaces[1].rp_filter = Some(1);
                    it.routes.retain(|way| way.bits > 0);
                    it.routes.push(way("0.0.0.0", 0, "wg0"));
                })
                .listener(listening("sami-proxy")),
            Likely,
            Some("sudo sysctl -w net.ipv4.conf.all.rp_filter=2 net.ipv4.conf.eth0.rp_filter=2"),
        ),
        (
            Code::PortTaken,
            server().rules("empty").sane().listener(listening("nginx")),
            Likely,
            Some("sudo ss -ltnp 'sport = :8080'; docker ps --filter publish=8080"),
        ),
        (
            Code::BacklogOverflow,
            server().rules("empty").sane().listener({
                let mut full = listening("sami-proxy");
                full.on_port[0].waiting = (129, 129);
                (full.overflows, full.new_overflows) = (Some(40), Some(7));
                full
            }),
            Certain,
            Some("docker restart sami-llm-proxy"),
        ),
        (
            Code::CloudFirewallSuspected,
            server()
                .rules("docker")
                .sane()
                .docker()
                .witness(0)
                .own(|it| it.provider = Some(Provider::Hetzner))
                .client(Outcome::Silent),
            Likely,
            None,
        ),
        (
            Code::BehindNat,
            server().served().own(|it| it.private.push("10.0.0.5".parse().unwrap())),
            Certain,
            None,
        ),
        (
            Code::PublicAddressDiffers,
            server().served().own(|it| it.public.push("81.85.76.99".parse().unwrap())),
            Likely,
            None,
        ),
    ]
}

#[test]
fn each_fault_has_its_code_and_its_command() {
    for (code, server, confidence, command) in cases() {
        let found = of(&server.0, code);
        let found = found.unwrap_or_else(|| panic!("{code:?}: {:?}", diagnose(&server.0)));
        assert_eq!(found.confidence, confidence, "{code:?}");
        let first = fixes_of(&found, &server.0.subject).into_iter().next().unwrap();
        assert_eq!(first.command.as_deref(), command, "{code:?}");
        // No evidence is two causes at once.
        let equal = diagnose(&server.0).alternatives;
        assert!(
            equal
                .iter()
                .all(|it| it.confidence < confidence || code.severity() == Severity::Warning),
            "{code:?}: {equal:?}"
        );
        let text = serde_json::to_string_pretty(&server.0).unwrap() + "\n";
        assert_eq!(serde_json::from_str::<Evidence>(&text).unwrap(), server.0);
        // Docker's facts tell these as well.
        let both = [Code::PortTaken, Code::BacklogOverflow].contains(&code);
        let folder = format!("{}{}", code.word(), if both { ".packets" } else { "" });
        let file = root().join("cases").join(folder).join("evidence.json");
        if std::env::var_os("UPDATE_EVIDENCE").is_some() {
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, &text).unwrap();
        }
        let saved: Evidence = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
        assert_eq!(saved, server.0, "{code:?}");
    }
}

#[test]
fn the_command_is_for_the_firewall_that_drops() {
    let cases: &[(&str, Code, &str)] = &[
        ("nat-flushed", Code::DockerNatMissing, "sudo systemctl restart docker"),
        ("forward-drop-flushed", Code::HostFirewallDrop, "sudo systemctl restart docker"),
        (
            "nft-backend-ufw",
            Code::HostFirewallDrop,
            "sudo ufw route allow proto tcp from any to any port 8080",
        ),
        (
            "ufw-docker",
            Code::DockerUserDrop,
            "sudo ufw route allow proto tcp from any to any port 8080",
        ),
        ("oracle", Code::PortRejected, "sudo iptables -I FORWARD -p tcp --dport 8080 -j ACCEPT"),
        (
            "legacy-mix",
            Code::HostFirewallDrop,
            "sudo iptables-legacy -I FORWARD -p tcp --dport 8080 -j ACCEPT",
        ),
        (
            "nft-native",
            Code::HostFirewallDrop,
            "sudo nft insert rule inet filter input tcp dport 8080 accept",
        ),
    ];
    for (name, code, command) in cases {
        let who = if *name == "nft-native" { "sami-proxy" } else { "docker-proxy" };
        let server = Server::new(HERE).rules(name).sane().listener(listening(who));
        let found = of(&server.0, *code);
        let found = found.unwrap_or_else(|| panic!("{name}: {:?}", diagnose(&server.0)));
        let commands: Vec<_> = fixes_of(&found, &server.0.subject);
        assert_eq!(commands[0].command.as_deref(), Some(*command), "{name}: {found:?}");
    }
}

#[test]
fn a_healthy_server_raises_nothing() {
    for (name, who) in [
        ("docker", "docker-proxy"),
        ("docker-forward-drop", "docker-proxy"),
        ("ufw-deny-docker", "docker-proxy"),
        ("ufw-docker-allowed", "docker-proxy"),
        ("nft-backend", "docker-proxy"),
        ("nft-backend-ufw-route", "docker-proxy"),
        ("ufw-allow", "sami-proxy"),
        ("empty", "sami-proxy"),
        // Whether it is too many is not known, so nothing is said.
        ("ufw-limit", "sami-proxy"),
    ] {
        let server = Server::new(HERE).rules(name).sane().listener(listening(who)).witness(3);
        let server = server.own(|it| it.public.push(HERE.parse().unwrap()));
        let diagnosis = diagnose(&server.0);
        assert!(
            diagnosis.verdict.is_none() && diagnosis.warnings.is_empty(),
            "{name}: {diagnosis:?}"
        );
    }
}

#[test]
fn look_alikes_are_told_apart() {
    // A cloud's translation of addresses is usual there.
    let cloud = Server::new("localhost").own(|it| {
        it.private.push("10.0.0.5".parse().unwrap());
        it.provider = Some(Provider::Aws);
    });
    assert_eq!(of(&cloud.0, Code::BehindNat), None);
    // The witness saw the client: it is not the provider.
    let seen = Server::new(HERE).rules("ufw-deny").sane().witness(5).client(Outcome::Silent);
    assert_eq!(of(&seen.0, Code::CloudFirewallSuspected), None);
    let verdict = diagnose(&seen.0).verdict.unwrap();
    assert_eq!((verdict.code, verdict.confidence), (Code::HostFirewallDrop, Confidence::Certain));
    // It saw nobody, and a rule would drop them: the rule comes first.
    let both = Server::new(HERE).rules("ufw-deny").sane().witness(0).client(Outcome::Silent);
    assert_eq!(diagnose(&both.0).verdict.unwrap().code, Code::HostFirewallDrop);
    // An allow-list that lets in the one who asks is not surely a fault.
    let visitor = Some("10.1.0.2".parse().unwrap());
    let mine = PacketFilter { visitor, ..filter("docker-user-drop") };
    let allowed = Server::new(HERE).filter(mine).sane().docker();
    assert_eq!(of(&allowed.0, Code::DockerUserDrop).unwrap().confidence, Confidence::Possible);
    // Our own listener, and one of Docker's, is nobody else's.
    for name in ["sami-proxy", "docker-proxy", "dockerd"] {
        let server = Server::new(HERE).rules("docker").sane().listener(listening(name));
        assert_eq!(of(&server.0, Code::PortTaken), None, "{name}");
    }
    // With a rule that can't be read to its end nothing is certain.
    let mut partly = filter("ufw-deny");
    partly.read.push(Reading { tool: Tool::Ip6tables, outcome: Read::Failed });
    let partly = Server::new(HERE).filter(partly).sane();
    assert_eq!(of(&partly.0, Code::HostFirewallDrop).unwrap().confidence, Confidence::Likely);
}

#[test]
fn what_a_report_names_can_not_become_a_command_of_its_own() {
    let mut hostile = filter("docker-user-drop");
    let jail = "f2b-x;reboot";
    for chain in hostile.tables.iter_mut().flat_map(|it| &mut it.chains) {
        for rule in &mut chain.rules {
            rule.text.push_str("\u{1b}[2J");
        }
    }
    let table = hostile.tables.iter_mut().find(|it| it.name == "filter").unwrap();
    table.name = "a;reboot".to_owned();
    let chain = table.chains.iter_mut().find(|it| it.name == "DOCKER-USER").unwrap();
    chain.name = jail.to_owned();
    let user = table.chains.iter_mut().flat_map(|it| &mut it.rules);
    for rule in user {
        if let sami_proxy::diag::fact::Verdict::Jump(to) = &mut rule.verdict
            && to == "DOCKER-USER"
        {
            jail.clone_into(to);
        }
    }
    table.backend = sami_proxy::diag::fact::Backend::Nft;
    let server = Server::new(HERE).filter(hostile).sane();
    let found = of(&server.0, Code::HostFirewallDrop).unwrap();
    for fix in fixes_of(&found, &server.0.subject) {
        assert!(!fix.command.unwrap_or_default().contains("reboot"));
    }
}

/// A fact of a case that was recorded on a real engine.
fn recorded(case: &str, check: CheckId) -> Data {
    let file = root().join("cases").join(case).join("evidence.json");
    let evidence: Evidence = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    evidence.facts.into_iter().find(|it| it.check == check).unwrap().data.unwrap()
}

#[test]
fn docker_without_root_has_its_rules_where_nobody_sees_them() {
    for rootless in [false, true] {
        let Data::Engine(mut engine) = recorded("container-stopped", CheckId::DockerEngine) else {
            panic!()
        };
        engine.rootless = Some(rootless);
        let server = Server::new(HERE).rules("nat-half").sane();
        let server = server.listener(listening("rootlesskit"));
        let server = server.with(CheckId::DockerEngine, Data::Engine(engine));
        let found = of(&server.0, Code::DockerNatMissing);
        assert_eq!(found.is_some(), !rootless, "{found:?}");
    }
}

#[test]
fn while_docker_starts_a_container_its_rules_come_and_go() {
    let with = |case| {
        let server = Server::new(HERE).rules("forward-drop-flushed").sane().docker();
        server.with(CheckId::Container, recorded(case, CheckId::Container))
    };
    let diagnosis = diagnose(&with("container-restarting").0);
    assert_eq!(diagnosis.verdict.unwrap().code, Code::ContainerRestarting);
    assert_eq!(diagnosis.alternatives[0].code, Code::HostFirewallDrop);
    assert_eq!(diagnosis.alternatives[0].confidence, Confidence::Possible);
    let found = of(&with("container-unhealthy").0, Code::HostFirewallDrop);
    assert_eq!(found.unwrap().confidence, Confidence::Certain);
}

#[test]
fn a_witness_tells_a_way_back_from_a_firewall_before_the_server() {
    let server = || {
        let ways = |it: &mut Kernel| {
            (it.rp_filter, it.more_tables) = (Some(1), Some(true));
            it.interfaces[1].rp_filter = Some(1);
            it.routes.retain(|way| way.bits > 0);
            it.routes.push(way("0.0.0.0", 0, "wg0"));
        };
        Server::new(HERE).rules("empty").kernel(ways).listener(listening("sami-proxy"))
    };
    let others = |server: Server| {
        let found = diagnose(&server.0);
        assert_eq!(found.verdict.unwrap().code, Code::ReversePathFilter);
        found.alternatives.into_iter().map(|it| it.code).collect::<Vec<_>>()
    };
    assert_eq!(others(server()), [Code::CloudFirewallSuspected]);
    assert_eq!(others(server().witness(3)), []);
}
