//! What can be told from inside the proxy's container. Where its port is to be found outside, and
//! what the server lets through, can't be seen from here, and nothing is said of it.

use super::outward::opens;
use super::{Confidence, Suspect, suspect};
use crate::diag::code::{Code, Severity};
use crate::diag::evidence::{Evidence, Found, Role};
use crate::diag::fact::{CheckId, End, Inside, Listener, Reply};
use crate::diag::plan_host::NAME;

const MEGABYTE: u64 = 1024 * 1024;

/// Who has just started may not listen yet.
const STARTED_MS: u64 = 3_000;

/// What was seen, by who is inside.
pub(super) fn seen(evidence: &Evidence) -> Option<Found<'_, Inside>> {
    let inside = evidence.asked.role == Role::Container;
    evidence.one::<Inside>(CheckId::ContainerInside).filter(|_| inside)
}

fn about(code: Code, confidence: Confidence, evidence: &Evidence) -> Option<Suspect> {
    let (reference, _) = seen(evidence)?;
    let name = evidence.asked.container.as_deref().unwrap_or(NAME);
    Some(suspect(code, confidence, [reference]).with("container", &name))
}

/// The ports at which the proxy waits for others, and those where only for its own container;
/// `None` when whose a listener is could not be seen.
fn ears(it: &Inside) -> Option<(Vec<u16>, Vec<u16>)> {
    let all = it.listeners.as_ref()?;
    if it.own_network != Some(true) && all.iter().any(|it| it.own.is_none()) {
        return None;
    }
    let ours = all.iter().filter(|it| it.own != Some(false));
    let (own, open): (Vec<&Listener>, Vec<&Listener>) =
        ours.partition(|it| it.address.ip().to_canonical().is_loopback());
    let ports = |all: Vec<&Listener>| all.iter().map(|it| it.address.port()).collect();
    Some((ports(open), ports(own)))
}

/// Nobody listens for anybody.
pub(super) fn listener_missing(evidence: &Evidence) -> Option<Suspect> {
    let (_, it) = seen(evidence)?;
    let (open, own) = ears(it)?;
    if !open.is_empty() || !own.is_empty() || it.alone {
        return None;
    }
    let confidence = match &it.serving {
        // It may have another name.
        None => Confidence::Likely,
        Some(serving) if serving.up_ms.is_some_and(|it| it >= STARTED_MS) => Confidence::Certain,
        Some(_) => Confidence::Possible,
    };
    let found = about(Code::ListenerMissing, confidence, evidence)?;
    Some(found.with("port", &evidence.subject.port))
}

/// It hears only who is in the container, too.
pub(super) fn listener_loopback_only(evidence: &Evidence) -> Option<Suspect> {
    let (_, it) = seen(evidence)?;
    let (open, own) = ears(it)?;
    let port = evidence.subject.port;
    let deaf = if open.is_empty() { !own.is_empty() } else { deaf_at(port, (&open, &own)) };
    if !deaf || it.serving.is_none() {
        return None;
    }
    // Another container may share this network.
    let found = about(Code::ListenerLoopbackOnly, Confidence::Likely, evidence)?;
    let inside = own.iter().find(|it| **it == port).or_else(|| own.first())?;
    Some(found.with("port", &port).with("inside", inside))
}

/// Whether what is open is another thing than the proxy's port, such as its metrics.
fn deaf_at(port: u16, (open, own): (&[u16], &[u16])) -> bool {
    own.contains(&port) && !open.contains(&port)
}

/// It listens elsewhere than at the port to which the way leads, by what the user has said.
pub(super) fn listener_other_port(evidence: &Evidence) -> Option<Suspect> {
    let (_, it) = seen(evidence)?;
    let (open, own) = ears(it)?;
    let port = evidence.subject.port;
    if !evidence.asked.port_given || open.contains(&port) || own.contains(&port) {
        return None;
    }
    let other = open.first().filter(|_| it.serving.is_some())?;
    let found = about(Code::ListenerOtherPort, Confidence::Certain, evidence)?;
    Some(found.with("port", &port).with("other", other).with("inside", other))
}

/// There is nothing but loopback.
pub(super) fn container_network_mode(evidence: &Evidence) -> Option<Suspect> {
    let (_, it) = seen(evidence)?;
    let nowhere = it.own_network == Some(true) && it.addresses.is_empty() && !it.alone;
    if !nowhere {
        return None;
    }
    let found = about(Code::ContainerNetworkMode, Confidence::Likely, evidence)?;
    Some(found.with("port", &evidence.subject.port).with("other", &"none").with("inside", &8080))
}

/// It accepts and says nothing.
pub(super) fn hangs(evidence: &Evidence) -> Option<Suspect> {
    let (_, it) = seen(evidence)?;
    let silent = it.answer.as_ref().is_some_and(|it| it.end == End::Silent && it.bytes == 0);
    let waiting = it.listeners.iter().flatten().map(|it| it.waiting).max().unwrap_or_default();
    let found = about(Code::SilentPeer, Confidence::Likely, evidence).filter(|_| silent)?;
    Some(found.with("port", &evidence.subject.port).with("count", &waiting))
}

/// New connections are lost.
pub(super) fn backlog_overflow(evidence: &Evidence) -> Option<Suspect> {
    let (_, it) = seen(evidence)?;
    let lost = it.overflow.and_then(|it| Some(it.second? > it.first)) == Some(true);
    let still =
        it.listeners.iter().flatten().map(|it| it.waiting.min(it.waiting_later.unwrap_or(0)));
    let still = still.max().filter(|still| lost && *still > 0)?;
    let found = about(Code::BacklogOverflow, Confidence::Likely, evidence)?;
    Some(found.with("port", &evidence.subject.port).with("count", &still))
}

/// Nothing can be reached, by a way that is there.
pub(super) fn no_egress(evidence: &Evidence) -> Option<Suspect> {
    let (inside, it) = seen(evidence)?;
    let (reference, egress) = evidence.egress()?;
    let road = egress.route_v4 == Some(true) || egress.route_v6 == Some(true);
    if !road || egress.inside.is_empty() || opens(&egress.inside) || has_parent(evidence) {
        return None;
    }
    let found = suspect(Code::ProxyNoEgress, Confidence::Likely, [inside, reference]);
    let found = found.with("container", &egress.container);
    Some(match it.own_network {
        // There it is the server that gets nowhere.
        Some(false) => found.or(Code::TargetUnreachable, "separate-another-site"),
        Some(true) | None => found.or(Code::ContainerNoEgress, "separate-egress-on-the-server"),
    })
}

fn has_parent(evidence: &Evidence) -> bool {
    super::outward::is_told(evidence, "upstream")
}

/// The kernel has ended something here for want of memory.
pub(super) fn memory_short(evidence: &Evidence) -> Option<Suspect> {
    let (_, it) = seen(evidence)?;
    let memory = it.memory.filter(|it| it.killed.is_some_and(|killed| killed > 0))?;
    let left = memory.limit?.saturating_sub(memory.used?) / MEGABYTE;
    // That was some time ago, and the proxy itself lives.
    let mut found = about(Code::MemoryShort, Confidence::Possible, evidence)?.with("left", &left);
    found.severity = Severity::Warning;
    Some(found)
}

/// Every connection comes from the host's end of the network.
pub(super) fn client_address_hidden(evidence: &Evidence) -> Option<Suspect> {
    let (_, it) = seen(evidence)?;
    let clients = it.clients.filter(|_| it.own_network == Some(true))?;
    let gateway = it.gateways.first().filter(|_| clients.gateway > 0 && clients.others == 0)?;
    // Who asks from the server itself looks so, too.
    let found = about(Code::ClientAddressHidden, Confidence::Possible, evidence)?;
    Some(found.with("client", gateway))
}

/// Here all is as it has to be.
pub(super) fn ok(evidence: &Evidence) -> Option<Suspect> {
    let (inside, it) = seen(evidence)?;
    let (reference, egress) = evidence.egress()?;
    let named = egress.nameservers.iter().any(|it| it.inside == Reply::Addresses);
    let outward = (opens(&egress.inside) && named) || has_parent(evidence);
    let (open, _) = ears(it)?;
    let well = it.serving.is_some() && !open.is_empty() && outward;
    let port = open.iter().find(|it| **it == evidence.subject.port).or_else(|| open.first())?;
    let found = suspect(Code::Ok, Confidence::Likely, [inside, reference]);
    well.then(|| found.with("inside", port))
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::super::Confidence;
    use super::super::docker_server::{dialled, egress, fact, listener, resources};
    use crate::diag::code::{Code, Segment};
    use crate::diag::diagnosis::{Diagnosis, State, diagnose};
    use crate::diag::evidence::{Asked, Command, Evidence, Family, Role, Subject};
    use crate::diag::fact::{
        CheckId, Clients, Data, Egress, End, Exchange, Inside, Listener, Memory, Nameserver,
        Outcome, Overflow, Reply, Said, Serving, Variable,
    };
    use crate::diag::report::{Health, Report};

    const STUB: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 53));

    fn ours(address: &str) -> Listener {
        Listener { own: Some(true), ..listener(address, 0) }
    }

    fn serving() -> Serving {
        Serving {
            process: 1,
            user: Some(65532),
            command: vec!["sami-proxy".into(), "serve".into()],
            variables: vec![],
            up_ms: Some(60_000),
        }
    }

    fn answered(end: End, bytes: usize) -> Exchange {
        Exchange { said: Said::OriginForm, end, first: String::new(), bytes, elapsed_us: 400 }
    }

    /// A container in which all is well.
    fn well() -> (Inside, Egress) {
        let inside = Inside {
            serving: Some(serving()),
            id: Some("0123456789ab".into()),
            program: Some("/usr/local/bin/sami-proxy".into()),
            listeners: Some(vec![ours("0.0.0.0:8080")]),
            overflow: Some(Overflow { first: 0, second: Some(0) }),
            own_network: Some(true),
            addresses: vec!["172.17.0.2".parse().unwrap()],
            gateways: vec!["172.17.0.1".parse().unwrap()],
            clients: Some(Clients { gateway: 0, others: 3 }),
            memory: Some(Memory { limit: None, used: Some(20 << 20), killed: Some(0) }),
            answer: Some(answered(End::Answered, 90)),
            ..Inside::default()
        };
        (inside, Egress { outside: vec![], host_mtu: None, ..egress() })
    }

    fn evidence((inside, egress): (Inside, Egress)) -> Evidence {
        let subject = Subject { host: "172.17.0.2".into(), port: 8080, family: Family::Any };
        let asked = Asked { command: Command::Doctor, role: Role::Container, ..Asked::default() };
        let mut evidence = Evidence::new(subject, asked);
        evidence.facts.push(fact(1, CheckId::ContainerInside, Data::Inside(inside)));
        evidence.facts.push(fact(2, CheckId::ContainerEgress, Data::Egress(egress)));
        evidence.facts.push(fact(3, CheckId::ServerResources, Data::Resources(resources())));
        evidence
    }

    fn spoilt(spoil: impl FnOnce(&mut Inside, &mut Egress)) -> Diagnosis {
        let (mut inside, mut egress) = well();
        spoil(&mut inside, &mut egress);
        diagnose(&evidence((inside, egress)))
    }

    fn verdict(spoil: impl FnOnce(&mut Inside, &mut Egress)) -> Option<(Code, Confidence)> {
        spoilt(spoil).verdict.map(|it| (it.code, it.confidence))
    }

    fn is_well(spoil: impl FnOnce(&mut Inside, &mut Egress)) {
        let diagnosis = spoilt(spoil);
        assert_eq!(diagnosis.state, State::Ok, "{diagnosis:#?}");
    }

    fn no_names(egress: &mut Egress) {
        let nameserver =
            Nameserver { ip: STUB, inside: Reply::Refused, elapsed_us: 50, outside: None };
        egress.nameservers = vec![nameserver];
    }

    #[test]
    fn where_all_is_well_nothing_is_said() {
        is_well(|_, _| {});
        // Another port: which one is published is not known here.
        is_well(|it, _| it.listeners = Some(vec![ours("[::]:3128"), ours("127.0.0.1:9090")]));
        // A parent proxy goes out, or other name servers are asked.
        is_well(|it, egress| {
            let name = "SAMI_PROXY_UPSTREAM".to_owned();
            it.serving.as_mut().unwrap().variables = vec![Variable { name, value: None }];
            no_names(egress);
            egress.inside = dialled(Outcome::Silent);
        });
        // The host's network, in which others listen too.
        is_well(|it, _| {
            it.own_network = Some(false);
            let other = Listener { own: Some(false), ..listener("127.0.0.1:53", 0) };
            it.listeners = Some(vec![other, ours("0.0.0.0:8080")]);
            it.clients = Some(Clients { gateway: 4, others: 0 });
        });
        // Who may not be asked closes; and the proxy does not ask itself.
        is_well(|it, _| it.answer = Some(answered(End::Closed, 0)));
        is_well(|it, _| it.answer = None);
    }

    #[test]
    fn who_does_not_listen_is_told_from_who_listens_elsewhere() {
        use Confidence::{Certain, Likely, Possible};
        let of = |listeners: Vec<Listener>| {
            move |it: &mut Inside, _: &mut Egress| it.listeners = Some(listeners)
        };
        assert_eq!(verdict(of(vec![])), Some((Code::ListenerMissing, Certain)));
        let young = verdict(|it, _| {
            it.listeners = Some(vec![]);
            it.serving.as_mut().unwrap().up_ms = Some(100);
        });
        assert_eq!(young, Some((Code::ListenerMissing, Possible)));
        let nobody = verdict(|it, _| (it.listeners, it.serving) = (Some(vec![]), None));
        assert_eq!(nobody, Some((Code::ListenerMissing, Likely)));
        let loopback = verdict(of(vec![ours("127.0.0.1:8080")]));
        assert_eq!(loopback, Some((Code::ListenerLoopbackOnly, Likely)));
        let metrics = verdict(of(vec![ours("127.0.0.1:8080"), ours("0.0.0.0:9090")]));
        assert_eq!(metrics, Some((Code::ListenerLoopbackOnly, Likely)));
        // What others have open in the host's network is not the proxy's.
        let host = verdict(|it, _| {
            it.own_network = Some(false);
            let other = Listener { own: Some(false), ..listener("0.0.0.0:22", 0) };
            it.listeners = Some(vec![other, ours("127.0.0.1:8080")]);
        });
        assert_eq!(host, Some((Code::ListenerLoopbackOnly, Likely)));
        // Nobody can tell whose it is.
        let untold = spoilt(|it, _| {
            it.own_network = Some(false);
            it.listeners = Some(vec![listener("127.0.0.1:8080", 0)]);
        });
        assert_eq!((untold.state, untold.verdict), (State::Inconclusive, None));
        let silent = verdict(|it, _| it.answer = Some(answered(End::Silent, 0)));
        assert_eq!(silent, Some((Code::SilentPeer, Likely)));
    }

    #[test]
    fn another_port_is_a_fault_only_when_the_user_says_which() {
        let (mut inside, egress) = well();
        inside.listeners = Some(vec![ours("0.0.0.0:3128")]);
        let mut evidence = evidence((inside, egress));
        assert_eq!(diagnose(&evidence).state, State::Ok);
        evidence.asked.port_given = true;
        let found = diagnose(&evidence).verdict.unwrap();
        assert_eq!((found.code, found.confidence), (Code::ListenerOtherPort, Confidence::Certain));
        assert_eq!(found.arguments["other"], "3128");
    }

    #[test]
    fn a_container_for_this_look_only_is_not_the_proxys() {
        let alone = spoilt(|it, _| {
            (it.alone, it.serving, it.listeners) = (true, None, Some(vec![]));
        });
        assert_eq!(alone.verdict, None);
    }

    #[test]
    fn names_and_the_way_out_are_told_apart() {
        use Confidence::{Certain, Likely};
        let names = verdict(|_, egress| no_names(egress));
        assert_eq!(names, Some((Code::ContainerDnsBroken, Certain)));
        let blind = spoilt(|_, egress| {
            no_names(egress);
            egress.inside.clear();
        });
        let found = blind.verdict.unwrap();
        assert_eq!((found.code, found.confidence), (Code::ContainerDnsBroken, Likely));
        assert_eq!(blind.alternatives[0].code, Code::ProxyNoEgress);
        let out = spoilt(|_, egress| egress.inside = dialled(Outcome::Silent));
        let found = out.verdict.unwrap();
        assert_eq!((found.code, found.confidence), (Code::ProxyNoEgress, Likely));
        assert_eq!(out.alternatives[0].code, Code::ContainerNoEgress);
        let no_road = verdict(|_, egress| {
            no_names(egress);
            (egress.inside, egress.route_v4) = (vec![], Some(false));
        });
        assert_eq!(no_road, Some((Code::ContainerNoEgress, Likely)));
        let none = verdict(|it, egress| {
            no_names(egress);
            (it.addresses, it.gateways) = (vec![], vec![]);
            (egress.inside, egress.route_v4) = (vec![], Some(false));
        });
        assert_eq!(none, Some((Code::ContainerNetworkMode, Likely)));
    }

    #[test]
    fn warnings_do_not_make_it_broken() {
        let warned = |spoil: fn(&mut Inside)| {
            let diagnosis = spoilt(|it, _| spoil(it));
            assert_eq!(diagnosis.state, State::Degraded, "{diagnosis:#?}");
            diagnosis.warnings.iter().map(|it| it.code).collect::<Vec<_>>()
        };
        let hidden = warned(|it| it.clients = Some(Clients { gateway: 2, others: 0 }));
        assert_eq!(hidden, [Code::ClientAddressHidden]);
        let killed = warned(|it| {
            let (limit, used) = (Some(64 << 20), Some(60 << 20));
            it.memory = Some(Memory { limit, used, killed: Some(1) });
        });
        assert_eq!(killed, [Code::MemoryShort]);
        is_well(|it, _| it.clients = Some(Clients { gateway: 1, others: 1 }));
    }

    #[test]
    fn of_the_server_nothing_is_claimed() {
        let report = Report::new(evidence(well()));
        let of = |segment| report.path.iter().find(|it| it.segment == segment).unwrap().health;
        assert_eq!((of(Segment::Host), of(Segment::Docker)), (Health::Unknown, Health::Unknown));
        assert_eq!((of(Segment::Proxy), of(Segment::Dns)), (Health::Ok, Health::Ok));
    }
}
