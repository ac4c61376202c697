//! Docker's facts → codes; the look-alikes beside what they look like.

use super::Confidence;
use super::docker_server::{
    MB, Server, binding, comes_to, container, dialled, is_well, listener, well,
};
use crate::diag::code::Code;
use crate::diag::diagnosis::{State as Verdict, diagnose};
use crate::diag::fact::{
    Binding, CheckId, Engine, Files, HealthCheck, Listener, Outcome, Overflow, Pick, Reach, Reply,
    State, Unseen, Variable, Why,
};
use crate::diag::fix::fixes_of;

#[test]
fn a_server_on_which_all_is_well_raises_nothing() {
    is_well(well());
    // It has crashed once, long ago.
    is_well(well().sampled(|it| it.restarts = 7));
    // Somebody has made it listen on every address by IPv6's.
    is_well(well().with(|it| it.listeners = Some(vec![listener("[::]:8080", 0)])));
    // Another port on both ends.
    let mut other = well().with(|it| {
        it.ports = vec![binding("0.0.0.0", 443, 3128)];
        it.listeners = Some(vec![listener("0.0.0.0:3128", 0)]);
    });
    other.port = 443;
    is_well(other);
    // On the server's own address; and on its address behind the provider's translation.
    is_well(well().with(|it| it.ports = vec![binding("81.85.76.10", 8080, 8080)]));
    let mut behind = well().with(|it| it.ports = vec![binding("10.0.0.5", 8080, 8080)]);
    behind.engine.outward = vec!["10.0.0.5".parse().unwrap()];
    is_well(behind);
    // An old container of the same image has ended, a new one serves.
    let mut twice = well();
    let mut old = container();
    for sample in [&mut old.first, old.second.as_mut().unwrap()] {
        (sample.state, sample.pid) = (State::Exited, None);
    }
    (old.ports, old.id) = (vec![], "old".into());
    twice.containers.containers[0].name = "new".into();
    twice.containers.containers[0].picked = vec![Pick::Image, Pick::Port];
    twice.egress.container = "new".into();
    twice.containers.containers.insert(0, old);
    is_well(twice);
    // Smaller packets than the server's; a parent proxy goes out for it.
    let mut small = well();
    small.egress.mtu = Some(1400);
    is_well(small);
}

#[test]
fn docker_itself() {
    use Confidence::{Certain, Likely, Possible};
    let engine = |reach, process, installed| {
        let mut server = well();
        server.engine = Engine { reach, process, installed, ..server.engine };
        server.containers.containers.clear();
        let mut evidence = server.evidence();
        evidence.facts.retain(|it| it.check != CheckId::Container);
        let verdict = diagnose(&evidence).verdict;
        verdict.map(|it| (it.code, it.confidence))
    };
    let not_running = |sure| Some((Code::DockerNotRunning, sure));
    let yes = Some(true);
    let no = Some(false);
    assert_eq!(engine(Reach::Missing, no, yes), not_running(Certain));
    assert_eq!(engine(Reach::Refused, no, yes), not_running(Certain));
    assert_eq!(engine(Reach::Refused, None, yes), not_running(Likely));
    assert_eq!(engine(Reach::Silent, yes, yes), not_running(Likely));
    assert_eq!(engine(Reach::Missing, yes, yes), not_running(Possible));
    // Without Docker something else may serve the port.
    assert_eq!(engine(Reach::Missing, no, no), None);
    let forbidden = Some((Code::DockerNoPermission, Certain));
    assert_eq!(engine(Reach::Forbidden, yes, yes), forbidden);
}

#[test]
fn no_container() {
    let none = |all, taken| {
        let mut server = well();
        server.containers.containers.clear();
        server.containers.all = all;
        server.engine.port_taken = taken;
        server
    };
    comes_to(none(0, Some(false)), Code::ContainerMissing, Confidence::Certain);
    comes_to(none(3, Some(false)), Code::ContainerMissing, Confidence::Likely);
    comes_to(none(3, Some(true)), Code::ContainerMissing, Confidence::Possible);
}

#[test]
fn a_container_that_does_not_run() {
    use Confidence::{Certain, Likely};
    comes_to(well().ended(State::Exited, 0), Code::ContainerStopped, Certain);
    comes_to(well().ended(State::Exited, 2), Code::ContainerStopped, Certain);
    comes_to(well().ended(State::Created, 0), Code::ContainerStopped, Certain);
    // 137 is `docker kill` as well.
    comes_to(well().ended(State::Exited, 137), Code::ContainerStopped, Likely);
    let starved = well().ended(State::Exited, 137).sampled(|it| it.oom_killed = true);
    comes_to(starved, Code::ContainerOomKilled, Certain);
    let unread = |other: &str| {
        let other = other.to_owned();
        well().ended(State::Exited, 1).with(|it| {
            it.log = vec!["exec /usr/local/bin/sami-proxy: exec format error".into()];
            it.image.architecture = Some(other);
        })
    };
    comes_to(unread("arm64"), Code::WrongArchitecture, Certain);
    comes_to(unread("amd64"), Code::WrongArchitecture, Certain);
    let foreign = unread("amd64").with(|it| it.command = vec!["/run.sh".into()]);
    comes_to(foreign, Code::WrongArchitecture, Likely);
    // Emulation runs it.
    is_well(well().with(|it| it.image.architecture = Some("arm64".into())));
    let taken = "driver failed programming external connectivity: Bind for 0.0.0.0:8080 failed: \
                 port is already allocated";
    let refused = well().ended(State::Created, 128).sampled(|it| it.error = Some(taken.into()));
    comes_to(refused, Code::PortTaken, Certain);
}

#[test]
fn a_container_that_keeps_restarting() {
    use Confidence::{Certain, Likely};
    let waits = well().ended(State::Restarting, 2).sampled(|it| it.restarts = 5);
    comes_to(waits, Code::ContainerRestarting, Certain);
    // It runs at both looks, and has started anew between them.
    let again = well().with(|it| {
        it.first.restarts = 4;
        it.second.as_mut().unwrap().restarts = 5;
        it.second.as_mut().unwrap().up_ms = Some(300);
    });
    comes_to(again, Code::ContainerRestarting, Certain);
    let young = well().sampled(|it| (it.restarts, it.up_ms) = (5, Some(1500)));
    comes_to(young, Code::ContainerRestarting, Likely);
    // Somebody has just started it.
    is_well(well().sampled(|it| (it.restarts, it.up_ms) = (0, Some(1500))));
    let starved =
        well().ended(State::Restarting, 137).sampled(|it| (it.restarts, it.oom_killed) = (5, true));
    comes_to(starved, Code::ContainerOomKilled, Certain);
}

#[test]
fn paused_hung_and_full_are_three_things() {
    use Confidence::{Certain, Likely};
    let waiting =
        |waiting| well().with(|it| it.listeners = Some(vec![listener("0.0.0.0:8080", waiting)]));
    let paused = waiting(3).sampled(|it| it.state = State::Paused);
    comes_to(paused, Code::ContainerPaused, Certain);
    comes_to(waiting(3), Code::SilentPeer, Likely);
    let mut full = waiting(3);
    full.egress.somaxconn = Some(2);
    comes_to(full, Code::BacklogOverflow, Certain);
    let lost = waiting(3).with(|it| it.overflow = Some(Overflow { first: 7, second: Some(9) }));
    comes_to(lost, Code::BacklogOverflow, Likely);
    // It overflowed once; somebody was just being accepted.
    is_well(well().with(|it| it.overflow = Some(Overflow { first: 7, second: Some(7) })));
    is_well(well().with(|it| {
        let busy = Listener { waiting_later: Some(0), ..listener("0.0.0.0:8080", 2) };
        it.listeners = Some(vec![busy]);
    }));
}

#[test]
fn a_container_that_says_it_is_ill() {
    let ill = || {
        well().with(|it| {
            let said = Some("/bin/missing: not found".into());
            it.health = Some(HealthCheck { status: "unhealthy".into(), failures: 3, said });
        })
    };
    comes_to(ill(), Code::ContainerUnhealthy, Confidence::Likely);
    // It is ill for a reason.
    let deaf = ill().with(|it| it.listeners = Some(vec![]));
    comes_to(deaf, Code::ListenerMissing, Confidence::Certain);
}

#[test]
fn where_it_is_published() {
    use Confidence::{Certain, Likely};
    let ports = |ports: Vec<Binding>| well().with(|it| it.ports = ports);
    let unpublished = ports(vec![]).with(|it| it.bindings.clear());
    comes_to(unpublished, Code::PortNotPublished, Certain);
    comes_to(
        ports(vec![binding("127.0.0.1", 8080, 8080)]),
        Code::PortPublishedLoopbackOnly,
        Certain,
    );
    // ::1 is loopback, :: is everybody, but over IPv6 only.
    comes_to(ports(vec![binding("::1", 8080, 8080)]), Code::PortPublishedLoopbackOnly, Certain);
    comes_to(ports(vec![binding("::", 8080, 8080)]), Code::PortPublishedElsewhere, Likely);
    let both = vec![binding("127.0.0.1", 8080, 8080), binding("0.0.0.0", 8080, 8080)];
    is_well(ports(both));
    comes_to(ports(vec![binding("0.0.0.0", 8081, 8080)]), Code::PortPublishedElsewhere, Certain);
    comes_to(ports(vec![binding("172.17.0.1", 8080, 8080)]), Code::PortPublishedElsewhere, Likely);
    // `docker ps` looks perfect.
    comes_to(ports(vec![binding("0.0.0.0", 8080, 3128)]), Code::PortPublishedElsewhere, Certain);
}

#[test]
fn what_listens() {
    use Confidence::{Certain, Likely, Possible};
    let ears = |all: &[&str]| {
        let all = all.iter().map(|it| listener(it, 0)).collect();
        well().with(|it| it.listeners = Some(all))
    };
    comes_to(ears(&["127.0.0.1:8080"]), Code::ListenerLoopbackOnly, Certain);
    comes_to(ears(&["[::1]:8080"]), Code::ListenerLoopbackOnly, Certain);
    comes_to(ears(&["0.0.0.0:3128"]), Code::ListenerOtherPort, Certain);
    comes_to(ears(&[]), Code::ListenerMissing, Certain);
    comes_to(ears(&[]).sampled(|it| it.up_ms = Some(500)), Code::ListenerMissing, Possible);
    is_well(ears(&["127.0.0.1:9090", "0.0.0.0:8080"]));
    // Who may not look does not know; all the rest is well.
    let mut blind = well().with(|it| {
        it.listeners = None;
        it.unseen = Some(Unseen { why: Why::Forbidden, os_error: Some(13) });
    });
    blind.egress.unseen = Some(Unseen { why: Why::Forbidden, os_error: Some(13) });
    assert_ne!(diagnose(&blind.evidence()).state, Verdict::Broken);
    let mut spent = well();
    spent.resources.files =
        Some(Files { container: "sami-llm-proxy".into(), limit: 12, open: Some(12) });
    comes_to(spent, Code::FdLimit, Certain);
    let complains = well().with(|it| it.log = vec!["accept: Too many open files".into()]);
    comes_to(complains, Code::FdLimit, Likely);
}

#[test]
fn networks_without_a_way_in() {
    use Confidence::Certain;
    let none = well().with(|it| {
        (it.network_mode, it.ports) = ("none".into(), vec![]);
        it.networks.clear();
    });
    comes_to(none, Code::ContainerNetworkMode, Certain);
    let mut internal = well().with(|it| {
        it.networks[0].internal = Some(true);
        it.ports.clear();
    });
    internal.egress.inside = dialled(Outcome::NetworkUnreachable);
    internal.egress.nameservers[0].inside = Reply::Unreachable;
    comes_to(internal, Code::ContainerNetworkMode, Certain);
    let host = |asked: u16, address: &str, own| {
        let ear = Listener { own: Some(own), ..listener(address, 0) };
        let ssh = Listener { own: Some(false), ..listener("0.0.0.0:22", 0) };
        let mut server = well().with(|it| {
            (it.network_mode, it.ports) = ("host".into(), vec![]);
            it.listeners = Some(vec![ear, ssh]);
            it.bindings[0].port = Some(asked);
        });
        server.port = asked;
        server
    };
    // `-p` is not heeded, and need not be.
    is_well(host(8080, "0.0.0.0:8080", true));
    comes_to(host(3128, "0.0.0.0:8080", true), Code::ContainerNetworkMode, Certain);
    comes_to(host(8080, "127.0.0.1:8080", true), Code::ContainerNetworkMode, Certain);
    let unasked = host(3128, "0.0.0.0:8080", true).with(|it| it.bindings.clear());
    comes_to(unasked, Code::ListenerOtherPort, Certain);
}

#[test]
fn the_way_out() {
    use Confidence::{Certain, Likely};
    let egress = |inside, outside, dns| {
        let mut server = well();
        (server.egress.inside, server.egress.outside) = (dialled(inside), dialled(outside));
        server.egress.nameservers[0].inside = dns;
        server
    };
    let silent = Outcome::Silent;
    let open = Outcome::Open;
    comes_to(egress(silent, open, Reply::Addresses), Code::ContainerNoEgress, Certain);
    comes_to(egress(silent, open, Reply::Silent), Code::ContainerNoEgress, Certain);
    comes_to(egress(silent, silent, Reply::Addresses), Code::ProxyNoEgress, Likely);
    comes_to(egress(open, open, Reply::Silent), Code::ContainerDnsBroken, Certain);
    comes_to(egress(open, open, Reply::Refused), Code::ContainerDnsBroken, Certain);
    // It asks name servers of its own, or a parent does.
    let own = egress(open, open, Reply::Silent)
        .with(|it| it.command.extend(["--dns".to_owned(), "…".to_owned()]));
    assert_ne!(diagnose(&own.evidence()).state, Verdict::Broken);
    // The second name server answers.
    let mut second = egress(open, open, Reply::Silent);
    let good = well().egress.nameservers.remove(0);
    second.egress.nameservers.push(good);
    is_well(second);
    let mut large = well();
    (large.egress.host_mtu, large.egress.told_too_big) = (Some(1400), Some(false));
    comes_to(large, Code::ContainerMtu, Certain);
    // It hears of it.
    let mut told = well();
    (told.egress.host_mtu, told.egress.told_too_big) = (Some(1400), Some(true));
    is_well(told);
}

#[test]
fn what_runs_out() {
    use Confidence::{Certain, Likely};
    let disk = |free, files_free| {
        let mut server = well();
        server.resources.disks[0].free = free;
        server.resources.disks[0].files_free = files_free;
        server
    };
    comes_to(disk(0, Some(9)), Code::DiskFull, Certain);
    comes_to(disk(9000 * MB, Some(0)), Code::DiskFull, Certain);
    comes_to(disk(20 * MB, Some(9)), Code::DiskFull, Likely);
    // Where nothing is counted nothing is short.
    is_well(disk(9000 * MB, None));
    let stopped = disk(0, Some(9)).ended(State::Created, 128);
    comes_to(stopped, Code::DiskFull, Certain);
    let memory = |available, swap_free| {
        let mut server = well();
        server.resources.memory_available = Some(available);
        server.resources.swap_free = Some(swap_free);
        server
    };
    comes_to(memory(9 * MB, 0), Code::MemoryShort, Likely);
    is_well(memory(9 * MB, 2000 * MB));
}

#[test]
fn warnings_do_not_stop_it() {
    let warned = |server: Server| {
        let diagnosis = diagnose(&server.evidence());
        assert_eq!(diagnosis.state, Verdict::Degraded, "{diagnosis:#?}");
        diagnosis.warnings.into_iter().map(|it| it.code).collect::<Vec<_>>()
    };
    let variable = |name: &str, value: Option<&str>| Variable {
        name: name.into(),
        value: value.map(Into::into),
    };
    let open = |more: Option<Variable>| {
        well().with(|it| {
            it.variables = vec![variable("SAMI_PROXY_OPEN", Some("true"))];
            it.variables.extend(more);
        })
    };
    assert_eq!(warned(open(None)), [Code::OpenProxy]);
    assert_eq!(warned(well().with(|it| it.command.push("--open".into()))), [Code::OpenProxy]);
    is_well(open(Some(variable("SAMI_PROXY_AUTH", None))));
    is_well(open(None).with(|it| it.variables[0].value = Some("false".into())));
    let hidden = |clients: &[&str]| {
        let clients = clients.iter().map(|it| it.parse().unwrap()).collect();
        well().with(|it| it.clients = clients)
    };
    assert_eq!(warned(hidden(&["172.17.0.1"])), [Code::ClientAddressHidden]);
    // Somebody on the server itself has tried it, too.
    is_well(hidden(&["172.17.0.1", "81.85.77.2"]));
    is_well(hidden(&[]));
}

#[test]
fn what_is_copied_has_the_containers_name_and_nothing_hostile() {
    let named = |name: &str| {
        let name = name.to_owned();
        let paused = well().sampled(|it| it.state = State::Paused).with(|it| it.name = name);
        let evidence = paused.evidence();
        let verdict = diagnose(&evidence).verdict.unwrap();
        fixes_of(&verdict, &evidence.subject)[0].command.clone().unwrap()
    };
    assert_eq!(named("my_proxy-1"), "docker unpause my_proxy-1");
    assert_eq!(named("x; rm -rf /"), "docker unpause sami-llm-proxy");
    assert_eq!(named("-H"), "docker unpause sami-llm-proxy");
}
