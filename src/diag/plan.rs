//! What to do about a port, area by area, and whether a step would still tell anything. Pure.

use std::net::SocketAddr;

use super::evidence::{Asked, Command, Evidence, Role, Scheme, is_public};
use super::fact::{CheckId, Hello, Outcome, Skip, Speaks};
use super::llm::PROVIDERS;
use super::plan_host;

/// Steps of one area run at the same time; the next area sees what they found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Area {
    /// The machine that asks.
    Machine,
    /// The name.
    Names,
    /// Connecting.
    Reach,
    /// Who answered, or who did not.
    Answer,
    /// How good the way from the proxy is, measured with its help.
    Link,
    /// The way to it, and its rhythm; on a slow link only while nothing else comes down.
    Rhythm,
    /// Through the proxy, and beside it.
    Through,
    /// Docker on the server, and the proxy's container.
    Docker,
    /// The server itself: who listens there, and what it lets in.
    Server,
    /// Inside the proxy's container, and what it uses up.
    Inside,
}

impl Area {
    /// In their order.
    pub const ALL: [Self; 10] = [
        Self::Machine,
        Self::Names,
        Self::Reach,
        Self::Answer,
        Self::Link,
        Self::Rhythm,
        Self::Through,
        Self::Docker,
        Self::Server,
        Self::Inside,
    ];

    /// Where a check belongs.
    pub const fn of_check(check: CheckId) -> Self {
        match check {
            CheckId::Adapters
            | CheckId::SystemProxy
            | CheckId::HostsFile
            | CheckId::Portal
            | CheckId::Nat64 => Self::Machine,
            CheckId::Resolve | CheckId::OtherResolver => Self::Names,
            CheckId::Route | CheckId::TcpConnect => Self::Reach,
            CheckId::SiblingPorts
            | CheckId::TtlLadder
            | CheckId::ControlAddress
            | CheckId::Hello => Self::Answer,
            CheckId::LinkDown | CheckId::LinkUp | CheckId::Stream | CheckId::IdleTunnel => {
                Self::Link
            }
            CheckId::Trials
            | CheckId::ProxyHealth
            | CheckId::ThroughProxy
            | CheckId::Direct
            | CheckId::OrdinaryClient
            | CheckId::Llm => Self::Through,
            CheckId::DockerEngine | CheckId::Container => Self::Docker,
            CheckId::PacketFilter
            | CheckId::HostListeners
            | CheckId::KernelSettings
            | CheckId::PublicAddress
            | CheckId::Witness => Self::Server,
            CheckId::ContainerEgress | CheckId::ContainerInside | CheckId::ServerResources => {
                Self::Inside
            }
        }
    }

    /// Those of a command.
    pub const fn of(asked: &Asked) -> &'static [Self] {
        match (asked.command, asked.role) {
            (Command::CheckPort, _) => &[Self::Names, Self::Reach, Self::Answer],
            (Command::Probe, _) => {
                &[Self::Names, Self::Reach, Self::Answer, Self::Link, Self::Rhythm, Self::Through]
            }
            (Command::Doctor, Role::Client) => &[
                Self::Machine,
                Self::Names,
                Self::Reach,
                Self::Answer,
                Self::Link,
                Self::Rhythm,
                Self::Through,
            ],
            (Command::Doctor, Role::Host) => &[Self::Docker, Self::Server, Self::Inside],
            // From inside a container Docker can't be asked.
            (Command::Doctor, Role::Container) => &[Self::Inside],
        }
    }
}

/// The pages by which operating systems find out whether they are in the Internet: URL, status and
/// body that nobody else gives.
pub const PORTAL: [(&str, u16, &str); 2] = [
    ("http://www.msftconnecttest.com/connecttest.txt", 200, "Microsoft Connect Test"),
    ("http://connectivitycheck.gstatic.com/generate_204", 204, ""),
];

/// The most addresses of one name that are tried.
pub const MOST_ADDRESSES: usize = 8;

/// One check of one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Which.
    pub check: CheckId,
    /// Of what, when there is an address to it.
    pub address: Option<SocketAddr>,
    /// Of what, in words.
    pub subject: String,
    /// Why it is not worth doing.
    pub skip: Option<Skip>,
}

/// The steps of `area`, given what is known.
pub fn steps(area: Area, evidence: &Evidence) -> Vec<Step> {
    match area {
        Area::Machine => machine(evidence),
        Area::Names => names(evidence),
        Area::Reach => reach(evidence),
        Area::Answer => of_port(
            &[CheckId::SiblingPorts, CheckId::TtlLadder, CheckId::ControlAddress, CheckId::Hello],
            evidence,
        ),
        Area::Link => of_port(&[CheckId::LinkDown], evidence),
        Area::Rhythm => rhythm(evidence),
        Area::Through => through(evidence),
        Area::Docker | Area::Server | Area::Inside => plan_host::steps(area, evidence),
    }
}

fn of_port(checks: &[CheckId], evidence: &Evidence) -> Vec<Step> {
    let primary = evidence.primary();
    checks.iter().map(|check| step(*check, evidence, primary)).collect()
}

fn names(evidence: &Evidence) -> Vec<Step> {
    let of = |server: &String| Step {
        subject: server.clone(),
        ..step(CheckId::OtherResolver, evidence, None)
    };
    let others = evidence.asked.name_servers.iter().map(of);
    [step(CheckId::Resolve, evidence, None)].into_iter().chain(others).collect()
}

fn machine(evidence: &Evidence) -> Vec<Step> {
    let of =
        |check, subject: &str| Step { subject: subject.to_owned(), ..step(check, evidence, None) };
    let mut steps: Vec<Step> =
        [CheckId::Adapters, CheckId::SystemProxy, CheckId::HostsFile, CheckId::Nat64]
            .map(|check| step(check, evidence, None))
            .into();
    steps.extend(PORTAL.map(|(url, ..)| of(CheckId::Portal, url)));
    steps
}

fn rhythm(evidence: &Evidence) -> Vec<Step> {
    let mut checks = vec![CheckId::LinkUp, CheckId::Stream];
    checks.extend(evidence.asked.idle_s.map(|_| CheckId::IdleTunnel));
    of_port(&checks, evidence)
}

fn through(evidence: &Evidence) -> Vec<Step> {
    let mut steps = of_port(&[CheckId::ProxyHealth, CheckId::Trials], evidence);
    let primary = evidence.primary();
    let to =
        |check, target: &str| Step { subject: target.to_owned(), ..step(check, evidence, primary) };
    let targets = &evidence.asked.targets;
    for target in targets {
        steps.extend([to(CheckId::ThroughProxy, target), to(CheckId::Direct, target)]);
    }
    steps.extend(targets.first().map(|target| to(CheckId::OrdinaryClient, target)));
    if evidence.asked.llm {
        steps.extend(PROVIDERS.iter().map(|provider| to(CheckId::Llm, provider.url)));
    }
    steps
}

fn reach(evidence: &Evidence) -> Vec<Step> {
    let mut addresses: Vec<_> = evidence.candidates().into_iter().map(Some).collect();
    addresses.truncate(MOST_ADDRESSES);
    if addresses.is_empty() {
        addresses.push(None);
    }
    let of = |check| {
        let each = addresses.iter();
        each.map(move |address| step(check, evidence, *address))
    };
    of(CheckId::Route).chain(of(CheckId::TcpConnect)).collect()
}

fn step(check: CheckId, evidence: &Evidence, address: Option<SocketAddr>) -> Step {
    let subject = match (check, address) {
        (CheckId::Adapters | CheckId::SystemProxy | CheckId::HostsFile | CheckId::Nat64, _) => {
            String::new()
        }
        (CheckId::Resolve, _) => evidence.subject.host.clone(),
        (_, Some(address)) => address.to_string(),
        (_, None) => evidence.subject.authority(),
    };
    Step { check, address, subject, skip: useless(check, evidence, address).err() }
}

/// What must be there for a check to tell anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    /// Nothing of the proxy's: whether there is any network is asked also when no name can be found.
    Nothing,
    /// A name, not an address.
    Name,
    /// That the user lets strangers be asked.
    Online,
    /// An address.
    Address,
    /// An address that is reached and whose port is not open.
    Closed,
    /// An answer of any kind.
    Answer,
    /// An open port.
    Open,
    /// An open port in the Internet.
    Public,
    /// sami-proxy.
    Ours,
    /// Any proxy.
    Proxy,
}

const fn need(check: CheckId) -> Need {
    match check {
        CheckId::Resolve | CheckId::OtherResolver => Need::Name,
        CheckId::Portal => Need::Online,
        CheckId::Route
        | CheckId::Direct
        | CheckId::DockerEngine
        | CheckId::Container
        | CheckId::ContainerEgress
        | CheckId::ContainerInside
        | CheckId::ServerResources
        | CheckId::PacketFilter
        | CheckId::HostListeners
        | CheckId::KernelSettings
        | CheckId::PublicAddress
        | CheckId::Witness
        | CheckId::Adapters
        | CheckId::SystemProxy
        | CheckId::HostsFile
        | CheckId::Nat64 => Need::Nothing,
        CheckId::TcpConnect => Need::Address,
        CheckId::SiblingPorts => Need::Closed,
        CheckId::TtlLadder => Need::Answer,
        CheckId::Hello => Need::Open,
        CheckId::ControlAddress => Need::Public,
        CheckId::LinkDown
        | CheckId::LinkUp
        | CheckId::Stream
        | CheckId::IdleTunnel
        | CheckId::ProxyHealth => Need::Ours,
        CheckId::Trials | CheckId::ThroughProxy | CheckId::OrdinaryClient | CheckId::Llm => {
            Need::Proxy
        }
    }
}

/// Whether `check` would still tell anything.
fn useless(check: CheckId, evidence: &Evidence, address: Option<SocketAddr>) -> Result<(), Skip> {
    let need = need(check);
    match need {
        Need::Name if evidence.subject.ip().is_some() => return Err(Skip::AddressGiven),
        Need::Online if !evidence.asked.online => return Err(Skip::OnlineOnly),
        Need::Nothing | Need::Name | Need::Online => return Ok(()),
        Need::Address
        | Need::Closed
        | Need::Answer
        | Need::Open
        | Need::Public
        | Need::Ours
        | Need::Proxy => {}
    }
    let ip = address.ok_or(Skip::NoAddress)?.ip().to_canonical();
    let open = evidence.any(Outcome::Open);
    let answers = open || evidence.any(Outcome::Refused);
    match need {
        Need::Closed if open => Err(Skip::PortOpen),
        Need::Closed if !evidence.is_routable(ip) => Err(Skip::NoRoute),
        Need::Closed | Need::Answer if ip.is_loopback() => Err(Skip::Loopback),
        Need::Answer if !answers => Err(Skip::NoAnswer),
        Need::Open | Need::Public | Need::Ours | Need::Proxy if !open => Err(Skip::PortNotOpen),
        Need::Public if !is_public(ip) => Err(Skip::NotPublic),
        Need::Ours => ours(evidence),
        Need::Proxy => proxies(evidence),
        Need::Nothing
        | Need::Name
        | Need::Online
        | Need::Address
        | Need::Closed
        | Need::Answer
        | Need::Open
        | Need::Public => Ok(()),
    }
}

/// Whether sami-proxy answers and lets us in.
fn ours(evidence: &Evidence) -> Result<(), Skip> {
    let proven = |(_, hello): (_, &Hello)| hello.nonce_returned == Some(true);
    if evidence.hello().is_some_and(proven) { Ok(()) } else { Err(Skip::NotOurs) }
}

/// Whether it may be a proxy, as far as is known. Who says nothing may be one that has trouble.
fn proxies(evidence: &Evidence) -> Result<(), Skip> {
    let scheme = evidence.asked.scheme;
    let speaks = evidence.hello().and_then(|(_, hello)| hello.speaks);
    let may = match speaks {
        None | Some(Speaks::SamiProxy | Speaks::HttpProxy | Speaks::Nothing) => true,
        // A web server was asked in the clear: then TLS is tried as the user wants it.
        Some(Speaks::Closes | Speaks::Tls | Speaks::WebServer) => scheme == Scheme::Https,
        Some(Speaks::Socks) => scheme == Scheme::Socks5,
        Some(Speaks::Ssh | Speaks::Unknown) => false,
    };
    if may { Ok(()) } else { Err(Skip::NoProxy) }
}

#[cfg(test)]
mod tests {
    use super::{Area, steps};
    use crate::diag::evidence::{Asked, Command, Evidence, Family, Role, Subject};
    use crate::diag::fact::{
        Attempt, CheckId, Connects, Data, Fact, Outcome, Reference, Skip, Status,
    };

    fn evidence(host: &str, outcome: Option<Outcome>) -> Evidence {
        let subject = Subject { host: host.into(), port: 8080, family: Family::Any };
        let mut evidence = Evidence::new(subject, Asked::default());
        if let Some(outcome) = outcome {
            let address = format!("{host}:8080").parse().unwrap();
            let attempt = Attempt { address, outcome, os_error: None, elapsed_us: 1, ttl: None };
            evidence.facts.push(Fact {
                reference: Reference::number(1),
                check: CheckId::TcpConnect,
                subject: String::new(),
                status: Status::Worked,
                data: Some(Data::Connects(Connects { attempts: vec![attempt] })),
                took_ms: 1,
            });
        }
        evidence
    }

    #[test]
    fn a_step_that_tells_nothing_is_skipped_with_its_reason() {
        let cases: &[(&str, Option<Outcome>, CheckId, Option<Skip>)] = &[
            ("81.85.76.160", None, CheckId::Resolve, Some(Skip::AddressGiven)),
            ("example.org", None, CheckId::Resolve, None),
            ("example.org", None, CheckId::Route, None),
            ("example.org", None, CheckId::TcpConnect, Some(Skip::NoAddress)),
            ("81.85.76.160", Some(Outcome::Open), CheckId::SiblingPorts, Some(Skip::PortOpen)),
            ("81.85.76.160", Some(Outcome::Open), CheckId::Hello, None),
            ("81.85.76.160", Some(Outcome::Open), CheckId::ControlAddress, None),
            ("10.0.0.1", Some(Outcome::Open), CheckId::ControlAddress, Some(Skip::NotPublic)),
            ("127.0.0.1", Some(Outcome::Refused), CheckId::TtlLadder, Some(Skip::Loopback)),
            ("127.0.0.1", Some(Outcome::Refused), CheckId::SiblingPorts, Some(Skip::Loopback)),
            ("81.85.76.160", Some(Outcome::Refused), CheckId::TtlLadder, None),
            ("81.85.76.160", Some(Outcome::Refused), CheckId::Hello, Some(Skip::PortNotOpen)),
            ("81.85.76.160", Some(Outcome::Silent), CheckId::TtlLadder, Some(Skip::NoAnswer)),
            ("81.85.76.160", Some(Outcome::Silent), CheckId::SiblingPorts, None),
        ];
        for (host, outcome, check, skip) in cases {
            let evidence = evidence(host, *outcome);
            let found = Area::ALL
                .into_iter()
                .flat_map(|area| steps(area, &evidence))
                .find(|step| step.check == *check)
                .unwrap();
            assert_eq!(found.skip, *skip, "{host} {outcome:?} {check:?}");
        }
    }

    #[test]
    fn every_check_is_planned_once_for_one_address() {
        let mut evidence = evidence("81.85.76.160", Some(Outcome::Open));
        evidence.asked = Asked {
            command: Command::Doctor,
            online: true,
            name_servers: vec!["192.0.2.53".to_owned()],
            targets: vec!["https://example.org/".to_owned()],
            idle_s: Some(5),
            witness_s: Some(1),
            llm: true,
            ..Asked::default()
        };
        let mut planned: Vec<_> = Area::ALL
            .into_iter()
            .flat_map(|area| steps(area, &evidence))
            .map(|step| step.check)
            .collect();
        planned.dedup();
        evidence.asked.role = Role::Container;
        let inside = steps(Area::Inside, &evidence).into_iter().map(|step| step.check);
        let inside: Vec<_> = inside.filter(|check| !planned.contains(check)).collect();
        planned.extend(inside);
        for check in CheckId::ALL {
            let times = planned.iter().filter(|it| *it == check).count();
            assert_eq!(times, 1, "{check:?}");
        }
    }
}
