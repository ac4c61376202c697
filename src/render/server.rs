//! What was seen on the server, in sentences.

use super::sentences::{count, named};
use super::words::{Arg, Words};
use crate::diag::evidence::Evidence;
use crate::diag::fact::{
    Binding, Container, Dialled, Egress, Engine, HostListener, Kernel, Listeners, Outcome,
    OwnAddresses, PacketFilter, Reach, Read, Reply, Resources, State, Witness,
};
use crate::diag::infer::{knock, own_knock};
use crate::diag::packets::walk::{Fate, Spot};

use Arg::{Number, Text};

const MEGABYTE: u64 = 1024 * 1024;

/// Docker's engine.
pub(super) fn engined(it: &Engine, words: &Words) -> String {
    if it.reach == Reach::Works {
        let version = it.version.as_deref().unwrap_or("?");
        return words.text("fact-docker-engine", &[("name", Text(version))]);
    }
    let failure = named("reach", it.reach, words);
    words.text(
        "fact-docker-engine-failed",
        &[("subject", Text(&it.socket)), ("failure", Text(&failure))],
    )
}

/// The container that is the proxy's, as far as that can be told.
pub(super) fn contained(all: u32, end: &Evidence, words: &Words) -> String {
    let Some((_, it)) = end.container() else {
        return words.text("fact-container-none", &[("count", Number(all.into()))]);
    };
    let (status, ports) = (run(it, words), published(it, words));
    let told = [("container", Text(&it.name)), ("status", Text(&status)), ("ports", Text(&ports))];
    let text = words.text("fact-container", &told);
    if it.last().state != State::Running {
        return text;
    }
    let inside = match (&it.listeners, &it.unseen) {
        (None, None) => return text,
        (None, Some(unseen)) => {
            let why = named("unseen", unseen.why, words);
            words.text("fact-container-unseen", &[("why", Text(&why))])
        }
        (Some(listeners), _) if listeners.is_empty() => words.text("fact-container-silent", &[]),
        (Some(listeners), _) => {
            let own = listeners.iter().filter(|it| it.own != Some(false));
            let addresses: Vec<String> = own.map(|it| it.address.to_string()).collect();
            words.text("fact-container-listens", &[("addresses", Text(&addresses.join(", ")))])
        }
    };
    format!("{text}; {inside}")
}

/// Its state, and the status with which it ended.
fn run(it: &Container, words: &Words) -> String {
    let last = it.last();
    let state = named("run", last.state, words);
    match (last.state, last.exit_code) {
        (State::Exited | State::Dead | State::Restarting, Some(code)) => {
            format!("{state} ({code})")
        }
        _ => state,
    }
}

/// Where its ports are to be found from outside.
fn published(it: &Container, words: &Words) -> String {
    if it.network_mode == "host" {
        return words.text("fact-container-host-network", &[]);
    }
    let ports = if it.ports.is_empty() { &it.bindings } else { &it.ports };
    if ports.is_empty() {
        return words.text("fact-container-no-ports", &[]);
    }
    ports.iter().map(bound).collect::<Vec<_>>().join(", ")
}

fn bound(it: &Binding) -> String {
    let port = it.port.map_or_else(|| "?".to_owned(), |port| port.to_string());
    let outer = match it.ip {
        Some(ip) if ip.is_ipv6() => format!("[{ip}]:{port}"),
        Some(ip) => format!("{ip}:{port}"),
        None => port,
    };
    format!("{outer} -> {}", it.inside)
}

/// What the container reaches.
pub(super) fn reached_out(it: &Egress, words: &Words) -> String {
    if let Some(unseen) = &it.unseen {
        let (why, outcome) = (named("unseen", unseen.why, words), dialled(&it.outside, words));
        let all = [("why", Text(why.as_str())), ("outcome", Text(&outcome))];
        return words.text("fact-container-egress-unseen", &all);
    }
    let resolves = it.nameservers.iter().any(|it| it.inside == Reply::Addresses);
    let names = words.text(if resolves { "fact-names-found" } else { "fact-names-not-found" }, &[]);
    let outcome = dialled(&it.inside, words);
    let all = [("what", Text(names.as_str())), ("outcome", Text(&outcome))];
    let text = words.text("fact-container-egress", &all);
    match (it.mtu, it.host_mtu) {
        (Some(own), Some(host)) if own > host => {
            let all = [("bytes", Number(own.into())), ("limit", Number(host.into()))];
            format!("{text}; {}", words.text("fact-container-mtu", &all))
        }
        (Some(own), None) => {
            let packets = words.text("fact-inside-packets", &[("bytes", Number(own.into()))]);
            format!("{text}; {packets}")
        }
        (Some(_), Some(_)) | (None, _) => text,
    }
}

fn dialled(all: &[Dialled], words: &Words) -> String {
    let open = all.iter().any(|it| it.outcome == Outcome::Open);
    let id = match (open, all.is_empty()) {
        (true, _) => "fact-connections-work",
        (false, false) => "fact-connections-fail",
        (false, true) => "fact-connections-untried",
    };
    words.text(id, &[])
}

/// What may run out.
pub(super) fn measured(it: &Resources, words: &Words) -> String {
    let mut told: Vec<String> = Vec::new();
    for disk in &it.disks {
        let all = [("subject", Text(&disk.path)), ("megabytes", Number(disk.free / MEGABYTE))];
        told.push(words.text("fact-server-resources", &all));
    }
    if let Some(available) = it.memory_available {
        told.push(words.text("fact-server-memory", &[("megabytes", Number(available / MEGABYTE))]));
    }
    if let Some((files, open)) = it.files.as_ref().and_then(|it| Some((it, it.open?))) {
        let all = [("count", Number(open)), ("limit", Number(files.limit))];
        told.push(words.text("fact-server-files", &all));
    }
    joined(&told, words)
}

pub(super) fn joined(told: &[String], words: &Words) -> String {
    if told.is_empty() { words.text("fact-empty", &[]) } else { told.join("; ") }
}

/// What the rules do with a client.
pub(super) fn filtered(it: &PacketFilter, end: &Evidence, words: &Words) -> String {
    let heard = |read: &Read| matches!(read, Read::Whole | Read::Cut);
    if !it.read.iter().any(|it| heard(&it.outcome)) {
        let reads = it.read.iter().map(|it| it.outcome);
        // That one may not is told before that a tool is missing.
        let why = reads.min_by_key(|it| usize::from(*it != Read::Forbidden));
        let why = named("read", why.unwrap_or(Read::Failed), words);
        return words.text("fact-packet-filter-unknown", &[("why", Text(&why))]);
    }
    let chains = it.tables.iter().flat_map(|it| &it.chains);
    let rules = chains.map(|chain| chain.rules.len()).fold(0, usize::saturating_add);
    let outcome = fate(knock(end).as_ref(), words);
    let all = [("count", Number(count(rules))), ("outcome", Text(&outcome))];
    let text = words.text("fact-packet-filter", &all);
    match own_knock(end) {
        Some(own @ (Fate::Dropped(_) | Fate::Rejected(..))) => {
            let outcome = fate(Some(&own), words);
            format!("{text}; {}", words.text("fact-packet-yours", &[("outcome", Text(&outcome))]))
        }
        _ => text,
    }
}

/// What becomes of a packet, and by which rule.
fn fate(it: Option<&Fate>, words: &Words) -> String {
    let by = |id: &str, spot: &Spot| {
        let rule = format!("{}: {}", spot.chain, spot.text);
        words.text(id, &[("what", Text(&rule))])
    };
    match it {
        Some(Fate::Accepted) => words.text("fact-packet-accepted", &[]),
        Some(Fate::Dropped(spot)) => by("fact-packet-dropped", spot),
        Some(Fate::Rejected(spot, _)) => by("fact-packet-rejected", spot),
        Some(Fate::NotForwarded) => words.text("fact-packet-not-forwarded", &[]),
        Some(Fate::NoRoute) => words.text("fact-packet-no-route", &[]),
        Some(Fate::Unknown(_)) | None => words.text("fact-packet-unknown", &[]),
    }
}

/// Who has the port.
pub(super) fn listened(it: &Listeners, words: &Words) -> String {
    if it.on_port.is_empty() {
        return words.text("fact-host-listeners-none", &[]);
    }
    let each: Vec<String> = it.on_port.iter().map(listener).collect();
    words.text("fact-host-listeners", &[("what", Text(&each.join(", ")))])
}

fn listener(it: &HostListener) -> String {
    match &it.name {
        Some(name) => format!("{name} ({})", it.address),
        None => it.address.to_string(),
    }
}

/// Settings and tables of the kernel.
pub(super) fn kernel(it: &Kernel, words: &Words) -> String {
    let forwards = match it.forward4 {
        Some(true) => "fact-forwarding-on",
        Some(false) => "fact-forwarding-off",
        None => "fact-forwarding-unknown",
    };
    let forwards = words.text(forwards, &[]);
    let outcome = ("outcome", Text(forwards.as_str()));
    match (it.conntrack_count, it.conntrack_max) {
        (Some(tracked), Some(limit)) => {
            let all = [outcome, ("count", Number(tracked)), ("limit", Number(limit))];
            words.text("fact-kernel-settings", &all)
        }
        _ => words.text("fact-kernel-forwarding", &[outcome]),
    }
}

/// Which addresses the server has, and whose machine it is.
pub(super) fn owned(it: &OwnAddresses, words: &Words) -> String {
    let all = it.public.iter().chain(&it.shared).chain(&it.private);
    let addresses: Vec<String> = all.map(ToString::to_string).collect();
    let mut told = Vec::new();
    if !addresses.is_empty() {
        let addresses = addresses.join(", ");
        told.push(words.text("fact-public-address", &[("addresses", Text(&addresses))]));
    }
    if let Some((name, _)) = it.provider.map(crate::diag::fact::Provider::console) {
        told.push(words.text("fact-provider", &[("name", Text(name))]));
    }
    joined(&told, words)
}

/// Who knocked.
pub(super) fn witnessed(it: &Witness, words: &Words) -> String {
    if let Some(blind) = it.blind {
        let why = named("blind", blind, words);
        return words.text("fact-witness-blind", &[("why", Text(&why))]);
    }
    let all = [("count", Number(it.total)), ("seconds", Number(it.ms / 1000))];
    words.text("fact-witness", &all)
}
