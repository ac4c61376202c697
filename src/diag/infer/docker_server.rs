//! A server to spoil in tests, and what holds however it is spoilt.

use std::net::SocketAddr;

use proptest::prelude::*;

use super::{Confidence, RULES, infer};
use crate::diag::code::Code;
use crate::diag::diagnosis::{State as Verdict, diagnose};
use crate::diag::evidence::{Asked, Command, Evidence, Family, Role, Subject};
use crate::diag::fact::{
    Binding, CheckId, Container, Containers, Data, Dialled, Disk, Egress, Engine, Fact, Files,
    HealthCheck, Image, Listener, Nameserver, Network, Outcome, Overflow, Pick, Reach, Reference,
    Reply, Resources, Sample, State, Status,
};
use crate::diag::fix::fixes_of;

pub(super) const MB: u64 = 1024 * 1024;

/// A server on which all is well, to be spoilt.
pub(super) struct Server {
    pub(super) engine: Engine,
    pub(super) containers: Containers,
    pub(super) egress: Egress,
    pub(super) resources: Resources,
    pub(super) port: u16,
}

pub(super) fn listener(address: &str, waiting: u32) -> Listener {
    let address = address.parse().unwrap();
    Listener { address, waiting, waiting_later: Some(waiting), own: None }
}

pub(super) fn binding(ip: &str, port: u16, inside: u16) -> Binding {
    Binding { ip: Some(ip.parse().unwrap()), port: Some(port), inside }
}

pub(super) fn dialled(outcome: Outcome) -> Vec<Dialled> {
    let address: SocketAddr = "81.85.80.2:443".parse().unwrap();
    vec![Dialled { host: "www.google.com".into(), address, outcome, elapsed_us: 900 }]
}

pub(super) fn engine() -> Engine {
    Engine {
        socket: "/var/run/docker.sock".into(),
        reach: Reach::Works,
        os_error: None,
        process: Some(true),
        installed: Some(true),
        version: Some("20.10.24".into()),
        architecture: Some("amd64".into()),
        firewall: None,
        cgroup: Some("2".into()),
        live_restore: Some(false),
        rootless: Some(false),
        userland_proxy: Some(true),
        root: Some("/var/lib/docker".into()),
        outward: vec!["81.85.76.10".parse().unwrap()],
        port_taken: Some(true),
    }
}

pub(super) fn container() -> Container {
    let sample = Sample {
        state: State::Running,
        exit_code: Some(0),
        started_at: Some("2026-11-21T12:00:00Z".into()),
        up_ms: Some(3_600_000),
        pid: Some(4711),
        ..Sample::default()
    };
    Container {
        name: "sami-llm-proxy".into(),
        id: "0123456789ab".into(),
        picked: vec![Pick::Name, Pick::Image, Pick::Port],
        image: Image { name: "sami-llm-proxy".into(), architecture: Some("amd64".into()) },
        command: vec!["/usr/local/bin/sami-proxy".into(), "serve".into()],
        variables: vec![],
        first: sample.clone(),
        second: Some(sample),
        health: Some(HealthCheck { status: "healthy".into(), failures: 0, said: None }),
        network_mode: "default".into(),
        networks: vec![Network {
            name: "bridge".into(),
            internal: Some(false),
            addresses: vec!["172.17.0.2".parse().unwrap()],
            gateways: vec!["172.17.0.1".parse().unwrap()],
        }],
        bindings: vec![Binding { ip: None, port: Some(8080), inside: 8080 }],
        ports: vec![binding("0.0.0.0", 8080, 8080), binding("::", 8080, 8080)],
        restart: "unless-stopped".into(),
        memory_limit: None,
        nofile: None,
        log: vec!["listening on 0.0.0.0:8080".into()],
        clients: vec!["81.85.77.2".parse().unwrap()],
        listeners: Some(vec![listener("0.0.0.0:8080", 0)]),
        unseen: None,
        overflow: Some(Overflow { first: 0, second: Some(0) }),
    }
}

pub(super) fn egress() -> Egress {
    Egress {
        container: "sami-llm-proxy".into(),
        unseen: None,
        name: "www.google.com".into(),
        nameservers: vec![Nameserver {
            ip: "81.85.80.53".parse().unwrap(),
            inside: Reply::Addresses,
            elapsed_us: 700,
            outside: Some(Reply::Addresses),
        }],
        route_v4: Some(true),
        route_v6: Some(false),
        inside: dialled(Outcome::Open),
        outside: dialled(Outcome::Open),
        mtu: Some(1500),
        host_mtu: Some(1500),
        told_too_big: None,
        somaxconn: Some(4096),
    }
}

pub(super) fn resources() -> Resources {
    let size = 40_000 * MB;
    Resources {
        disks: vec![Disk { path: "/".into(), free: size / 2, size, files_free: Some(1_000_000) }],
        memory_available: Some(500 * MB),
        memory_total: Some(1000 * MB),
        swap_free: Some(0),
        files: Some(Files { container: "sami-llm-proxy".into(), limit: 1_048_576, open: Some(14) }),
    }
}

pub(super) fn well() -> Server {
    Server {
        engine: engine(),
        containers: Containers {
            asked: "sami-llm-proxy".into(),
            all: 1,
            containers: vec![container()],
        },
        egress: egress(),
        resources: resources(),
        port: 8080,
    }
}

pub(super) fn fact(number: usize, check: CheckId, data: Data) -> Fact {
    Fact {
        reference: Reference::number(number),
        check,
        subject: String::new(),
        status: Status::Worked,
        data: Some(data),
        took_ms: 1,
    }
}

impl Server {
    /// With its container spoilt.
    pub(super) fn with(mut self, spoil: impl FnOnce(&mut Container)) -> Self {
        spoil(&mut self.containers.containers[0]);
        self
    }

    /// With both samples of it spoilt.
    pub(super) fn sampled(self, spoil: impl Fn(&mut Sample)) -> Self {
        self.with(|it| {
            spoil(&mut it.first);
            spoil(it.second.as_mut().unwrap());
        })
    }

    /// It does not run: nothing of it listens, and it has no ports.
    pub(super) fn ended(self, state: State, exit_code: i64) -> Self {
        let ended = self.sampled(|it| {
            (it.state, it.exit_code, it.pid) = (state, Some(exit_code), None);
        });
        ended.with(|it| {
            it.ports.clear();
            (it.listeners, it.health, it.overflow) = (None, None, None);
        })
    }

    pub(super) fn evidence(self) -> Evidence {
        let subject = Subject { host: "localhost".into(), port: self.port, family: Family::Any };
        let asked = Asked { command: Command::Doctor, role: Role::Host, ..Asked::default() };
        let mut evidence = Evidence::new(subject, asked);
        let runs = self.containers.containers.iter().any(|it| it.last().state == State::Running);
        evidence.facts.push(fact(1, CheckId::DockerEngine, Data::Engine(self.engine)));
        evidence.facts.push(fact(2, CheckId::Container, Data::Containers(self.containers)));
        if runs {
            evidence.facts.push(fact(3, CheckId::ContainerEgress, Data::Egress(self.egress)));
        }
        evidence.facts.push(fact(4, CheckId::ServerResources, Data::Resources(self.resources)));
        evidence
    }
}

pub(super) fn comes_to(server: Server, code: Code, confidence: Confidence) {
    let evidence = server.evidence();
    let diagnosis = diagnose(&evidence);
    let verdict = diagnosis.verdict.unwrap_or_else(|| panic!("no verdict for {code:?}"));
    assert_eq!((verdict.code, verdict.confidence), (code, confidence), "{evidence:#?}");
    // What may be copied has nothing left open.
    for fix in fixes_of(&verdict, &evidence.subject) {
        let command = fix.command.unwrap_or_default().replace("{{", "").replace("%{", "");
        for name in ["{container}", "{image}", "{port}", "{inside}", "{limit}", "{path}"] {
            assert!(!command.contains(name), "{command}");
        }
    }
}

pub(super) fn is_well(server: Server) {
    let diagnosis = diagnose(&server.evidence());
    assert_eq!(diagnosis.state, Verdict::Ok, "{diagnosis:#?}");
}

fn any_sample() -> impl Strategy<Value = Sample> {
    let states = vec![
        State::Running,
        State::Exited,
        State::Created,
        State::Paused,
        State::Restarting,
        State::Unknown,
    ];
    (prop::sample::select(states), any::<u8>(), any::<bool>(), 0..9_u64).prop_map(
        |(state, code, oom_killed, restarts)| Sample {
            state,
            exit_code: Some(code.into()),
            oom_killed,
            restarts,
            pid: Some(1),
            ..Sample::default()
        },
    )
}

/// A spoilt server of which any part may be missing.
fn any_server() -> impl Strategy<Value = Evidence> {
    let sample = any_sample().boxed();
    let modes = prop::sample::select(vec!["default", "host", "none", "container:x", "inner", ""]);
    let port = prop::sample::select(vec![0_u16, 22, 3128, 8080]);
    let ips = vec!["0.0.0.0", "127.0.0.1", "::", "::1", "10.0.0.1", "81.85.76.10"];
    let ip = prop::sample::select(ips).boxed();
    let bindings = prop::collection::vec((ip.clone(), port.clone(), port.clone()), 0..3)
        .prop_map(|all| all.into_iter().map(|(a, b, c)| binding(a, b, c)).collect::<Vec<_>>())
        .boxed();
    let ears = prop::option::of(prop::collection::vec((ip, port, any::<Option<bool>>()), 0..3));
    let container =
        (sample.clone(), prop::option::of(sample), modes, bindings.clone(), bindings, ears)
            .prop_map(|(first, second, mode, bindings, ports, ears)| {
                let ears = ears.map(|all| {
                    let each = all.into_iter().map(|(ip, port, own)| Listener {
                        address: SocketAddr::new(ip.parse().unwrap(), port),
                        waiting: 1,
                        waiting_later: own.map(u32::from),
                        own,
                    });
                    each.collect()
                });
                let network_mode = mode.to_owned();
                Container {
                    first,
                    second,
                    network_mode,
                    bindings,
                    ports,
                    listeners: ears,
                    ..container()
                }
            });
    let containers = prop::collection::vec(container, 0..3);
    let parts = prop::collection::vec(any::<bool>(), 4);
    let numbers = (any::<Option<u32>>(), any::<Option<bool>>(), any::<Option<u64>>());
    (containers, parts, numbers).prop_map(|(containers, parts, (mtu, told, memory))| {
        let mut server = well();
        server.containers.containers = containers;
        (server.egress.mtu, server.egress.told_too_big) = (mtu, told);
        server.resources.memory_available = memory;
        let mut evidence = server.evidence();
        let mut parts = parts.into_iter();
        evidence.facts.retain(|_| parts.next().unwrap_or(true));
        evidence
    })
}

proptest! {
    #[test]
    fn no_subset_of_facts_makes_a_rule_panic_or_lie(evidence in any_server(), turn in 0..4_usize) {
        for (code, rule) in RULES {
            let Some(suspect) = rule(&evidence) else { continue };
            prop_assert_eq!(suspect.code, *code);
            prop_assert!(!suspect.because.is_empty());
            for reference in &suspect.because {
                prop_assert!(evidence.facts.iter().any(|fact| fact.reference == *reference));
            }
            let sure = suspect.confidence == Confidence::Certain;
            prop_assert!(!sure || suspect.look_alikes.is_empty(), "{}", code.word());
        }
        prop_assert!(infer(&evidence).len() <= RULES.len());
        let mut other = evidence.clone();
        let middle = turn.min(other.facts.len());
        other.facts.rotate_left(middle);
        prop_assert_eq!(diagnose(&evidence), diagnose(&other));
        let text = serde_json::to_string(&evidence).unwrap();
        let again: Evidence = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(evidence, again);
    }
}
