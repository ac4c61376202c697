//! All that is known about one port, ready to be put into words.

use super::code::{Code, Segment};
use super::diagnosis::{Diagnosis, State, diagnose};
use super::evidence::{Command, Evidence, is_public};
use super::fact::{
    Blind, CheckId, Data, Fact, Far, Journey, Outcome, PacketFilter, Read, Reference, Said, Skip,
    Speaks, Stage, Status, Unseen, Why, Witness,
};
use super::infer::{Reach, reach};
use super::plan::Area;
use super::report_host;

/// The version of the form in which a report is saved and sent.
pub const SCHEMA: u32 = 1;

/// A report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// What was measured.
    pub evidence: Evidence,
    /// What it means.
    pub diagnosis: Diagnosis,
    /// The way, segment by segment.
    pub path: Vec<Stretch>,
    /// What took how long.
    pub timings: Timings,
}

/// A segment of the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stretch {
    /// Which.
    pub segment: Segment,
    /// How it is.
    pub health: Health,
    /// By which facts.
    pub by: Vec<Reference>,
}

/// How a segment, or a check, is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Health {
    /// It works.
    Ok,
    /// It is the cause.
    Bad,
    /// It works, with a warning.
    Warn,
    /// Nobody knows.
    Unknown,
    /// Nobody looked.
    Skipped,
}

impl Health {
    /// As JSON has it in `path`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Bad => "bad",
            Self::Warn => "warn",
            Self::Unknown => "unknown",
            Self::Skipped => "skipped",
        }
    }
}

/// In milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Timings {
    /// The name.
    pub dns_ms: Option<u64>,
    /// The fastest connect.
    pub connect_ms: Option<u64>,
    /// From the request to the proxy's answer.
    pub proxy_ms: Option<u64>,
    /// TLS with the target.
    pub tls_ms: Option<u64>,
    /// From the request to the target's first byte.
    pub first_byte_ms: Option<u64>,
    /// Everything.
    pub total_ms: u64,
}

impl Report {
    /// Diagnoses `evidence`.
    pub fn new(evidence: Evidence) -> Self {
        let diagnosis = diagnose(&evidence);
        let path = Segment::ALL
            .into_iter()
            .map(|segment| stretch(segment, &evidence, &diagnosis))
            .collect();
        let timings = timings(&evidence);
        Self { evidence, diagnosis, path, timings }
    }

    /// The cause.
    pub fn code(&self) -> Option<Code> {
        self.diagnosis.verdict.as_ref().map(|it| it.code)
    }

    /// Whether only the administrator may see some of what was to be seen.
    pub fn is_kept_from_us(&self) -> bool {
        let of = self.evidence.of_server().unwrap_or(&self.evidence);
        let mut facts = of.facts.iter();
        let skipped = facts.any(|fact| fact.status == Status::Skipped(Skip::NotPermitted));
        let mut filters = of.all::<PacketFilter>(CheckId::PacketFilter);
        let unread =
            |(_, it): (_, &PacketFilter)| it.read.iter().any(|it| it.outcome == Read::Forbidden);
        let forbidden = |unseen: Option<Unseen>| unseen.is_some_and(|it| it.why == Why::Forbidden);
        let container = of.container().is_some_and(|(_, it)| forbidden(it.unseen));
        let egress = of.egress().is_some_and(|(_, it)| forbidden(it.unseen));
        let witness = of.one::<Witness>(CheckId::Witness);
        let blind = witness.is_some_and(|(_, it)| it.blind == Some(Blind::NoPermission));
        // Alone, a server calls that its trouble.
        let engine = self.evidence.of_server().and_then(Evidence::engine);
        let engine = engine.is_some_and(|(_, it)| it.reach == super::fact::Reach::Forbidden);
        skipped || filters.any(unread) || container || egress || blind || engine
    }

    /// Whether time or patience ended before everything was asked.
    pub fn is_cut_short(&self) -> Option<Skip> {
        let reasons = [Skip::Interrupted, Skip::OutOfTime];
        reasons
            .into_iter()
            .find(|why| self.evidence.facts.iter().any(|fact| fact.status == Status::Skipped(*why)))
    }
}

/// What a check's result means for a reader.
pub fn health(fact: &Fact) -> Health {
    match (fact.status, fact.check, &fact.data) {
        (Status::Skipped(_), ..) => Health::Skipped,
        (_, CheckId::ControlAddress, Some(Data::Control(control))) => {
            if control.attempt.outcome == Outcome::Open { Health::Warn } else { Health::Ok }
        }
        (_, CheckId::Hello, Some(Data::Hello(hello))) => of_speaker(hello.speaks),
        (_, CheckId::ProxyHealth, Some(Data::Health(far))) => of_far(far),
        (_, CheckId::ThroughProxy | CheckId::Llm, Some(Data::Journey(it))) => of_reach(reach(it)),
        (Status::Worked, ..) => Health::Ok,
        // Not finding an answer is no fault of its own there.
        (
            Status::Failed,
            CheckId::SiblingPorts
            | CheckId::TtlLadder
            | CheckId::Trials
            | CheckId::Direct
            | CheckId::PacketFilter
            | CheckId::HostListeners
            | CheckId::KernelSettings
            | CheckId::PublicAddress
            | CheckId::Witness
            | CheckId::Adapters
            | CheckId::SystemProxy
            | CheckId::HostsFile
            | CheckId::Nat64
            | CheckId::OtherResolver
            | CheckId::Portal,
            _,
        ) => Health::Warn,
        (
            Status::Failed,
            CheckId::Resolve
            | CheckId::Route
            | CheckId::TcpConnect
            | CheckId::ControlAddress
            | CheckId::Hello
            | CheckId::LinkDown
            | CheckId::LinkUp
            | CheckId::Stream
            | CheckId::IdleTunnel
            | CheckId::ProxyHealth
            | CheckId::ThroughProxy
            | CheckId::OrdinaryClient
            | CheckId::Llm
            | CheckId::DockerEngine
            | CheckId::Container
            | CheckId::ContainerEgress
            | CheckId::ContainerInside
            | CheckId::ServerResources,
            _,
        ) => Health::Bad,
    }
}

/// Whether that is a proxy.
const fn of_speaker(it: Option<Speaks>) -> Health {
    match it {
        Some(Speaks::SamiProxy | Speaks::HttpProxy | Speaks::Socks) => Health::Ok,
        Some(
            Speaks::WebServer
            | Speaks::Ssh
            | Speaks::Tls
            | Speaks::Unknown
            | Speaks::Nothing
            | Speaks::Closes,
        )
        | None => Health::Bad,
    }
}

/// A service, for who wants to use it.
pub const fn of_reach(it: Reach) -> Health {
    match it {
        Reach::Reached | Reach::NeedsKey => Health::Ok,
        Reach::RateLimited => Health::Warn,
        Reach::Region
        | Reach::Challenged
        | Reach::Error
        | Reach::Denied
        | Reach::Untrusted
        | Reach::Unreached => Health::Bad,
        Reach::Untold => Health::Unknown,
    }
}

/// The way out of the proxy: names, and one family or its parent.
fn of_far(it: &super::fact::Health) -> Health {
    let ok = |far: &Option<Far>| far.as_ref().and_then(|far| far.ok);
    if it.failure.is_some() {
        return Health::Unknown;
    }
    let families = [ok(&it.ipv4), ok(&it.ipv6)];
    let out = families.contains(&Some(true)) || !families.contains(&Some(false));
    match (ok(&it.dns), ok(&it.upstream)) {
        (Some(false), _) | (_, Some(false)) => Health::Bad,
        _ if !out => Health::Bad,
        _ => Health::Ok,
    }
}

/// The furthest segment from which something came back, and the facts that say so.
fn reached(evidence: &Evidence) -> Option<(Segment, Vec<Reference>)> {
    let answered =
        evidence.journeys().filter(|(_, it)| it.trips.iter().any(|t| t.answer.is_some()));
    let answered: Vec<Reference> = answered.map(|(it, _)| it.clone()).collect();
    if !answered.is_empty() {
        return Some((Segment::Target, answered));
    }
    let hello = evidence.hello();
    let served =
        hello.filter(|(_, it)| matches!(it.speaks, Some(Speaks::SamiProxy | Speaks::HttpProxy)));
    if let Some((reference, _)) = served {
        return Some((Segment::Proxy, vec![reference.clone()]));
    }
    let faked = evidence.control().is_some_and(|(_, it)| it.attempt.outcome == Outcome::Open);
    let answers = |outcome| !faked && matches!(outcome, Outcome::Open | Outcome::Refused);
    let answered = evidence.attempts().chain(evidence.siblings());
    let answered: Vec<Reference> =
        answered.filter(|(_, it)| answers(it.outcome)).map(|(it, _)| it.clone()).collect();
    if let Some(first) = answered.first() {
        return Some((Segment::Edge, vec![first.clone()]));
    }
    let left: Vec<Reference> = evidence
        .routes()
        .filter(|(_, route)| route.source.is_some() && is_public(route.to))
        .map(|(it, _)| it.clone())
        .collect();
    (!left.is_empty()).then_some((Segment::Client, left))
}

fn stretch(segment: Segment, evidence: &Evidence, diagnosis: &Diagnosis) -> Stretch {
    let verdict = diagnosis.verdict.as_ref();
    if let Some(cause) = verdict.filter(|_| diagnosis.state == State::Broken)
        && cause.code.segment() == segment
    {
        return Stretch { segment, health: Health::Bad, by: cause.because.clone() };
    }
    if let Some(warning) = diagnosis.warnings.iter().find(|it| it.code.segment() == segment) {
        return Stretch { segment, health: Health::Warn, by: warning.because.clone() };
    }
    if report_host::is_of_server(evidence) {
        let (health, by) = report_host::seen(segment, evidence);
        return Stretch { segment, health, by };
    }
    let here = evidence.primary().is_some_and(|it| it.ip().to_canonical().is_loopback());
    let (health, by) = match reached(evidence) {
        // Between this machine and itself is nothing.
        _ if here && matches!(segment, Segment::Lan | Segment::Isp | Segment::Edge) => {
            (Health::Skipped, Vec::new())
        }
        // Nobody asked beyond the proxy.
        _ if evidence.asked.command == Command::CheckPort && segment > Segment::Proxy => {
            (Health::Skipped, Vec::new())
        }
        Some((until, by)) if segment <= until => (Health::Ok, by),
        _ => (Health::Unknown, Vec::new()),
    };
    // What does not answer to the client may look well on the server.
    let seen = evidence.of_server().map(|server| report_host::seen(segment, server));
    let (health, by) = match seen {
        Some((Health::Ok, by)) if health == Health::Unknown => (Health::Ok, by),
        _ => (health, by),
    };
    Stretch { segment, health, by }
}

fn timings(evidence: &Evidence) -> Timings {
    let resolved = evidence.facts.iter().find(|fact| fact.check == CheckId::Resolve);
    let dns_ms = resolved.filter(|it| it.data.is_some()).map(|it| it.took_ms);
    let open = evidence.attempts().filter(|(_, it)| it.outcome == Outcome::Open);
    let connect_ms = open.map(|(_, it)| it.elapsed_us / 1000).min();
    let asked = evidence.hello().and_then(|(_, hello)| {
        let mut ours = hello.exchanges.iter();
        ours.find(|it| it.said == Said::AbsoluteForm && it.bytes > 0)
    });
    let journey = evidence.all::<Journey>(CheckId::ThroughProxy).next();
    let lap = |stage| Some(journey?.1.typical()?.lap(stage)? / 1000);
    // Checks of one area ran at the same time.
    let longest = |area| {
        let of = evidence.facts.iter().filter(|fact| Area::of_check(fact.check) == area);
        of.map(|fact| fact.took_ms).max().unwrap_or_default()
    };
    Timings {
        dns_ms,
        connect_ms,
        proxy_ms: lap(Stage::Proxy).or_else(|| asked.map(|it| it.elapsed_us / 1000)),
        tls_ms: lap(Stage::TargetTls),
        first_byte_ms: lap(Stage::FirstByte),
        total_ms: Area::ALL.into_iter().map(longest).fold(0, u64::saturating_add),
    }
}
