//! What the container reaches, what runs out, and what to know besides.

use std::net::IpAddr;

use super::docker::about;
use super::inside;
use super::nat::keeps_in_as_well;
use super::published::leads_to_a_listener;
use super::{Confidence, Suspect, suspect};
use crate::diag::code::Code;
use crate::diag::evidence::{Evidence, Found, Role, is_public};
use crate::diag::fact::{Container, Dialled, Egress, Outcome, Reach, Reply, State, Variable};

const MEGABYTE: u64 = 1024 * 1024;

/// With less than this nothing can be made any more; with less than the other, soon.
const FULL: [u64; 2] = [MEGABYTE, 64 * MEGABYTE];

/// A proxy needs a tenth of this, Docker the rest.
const SHORT: u64 = 48 * MEGABYTE;

/// Whether one of these worked.
pub(super) fn opens(dialled: &[Dialled]) -> bool {
    dialled.iter().any(|it| it.outcome == Outcome::Open)
}

/// Whether the proxy was told so, in its environment or on its command line.
fn is_set(container: &Container, setting: &str) -> bool {
    is_among(setting, &container.variables, &container.command)
}

fn is_among(setting: &str, variables: &[Variable], command: &[String]) -> bool {
    let variable = format!("SAMI_PROXY_{}", setting.to_ascii_uppercase().replace('-', "_"));
    let flag = format!("--{setting}");
    variables.iter().any(|it| it.name == variable)
        || command.iter().any(|word| word.split('=').next() == Some(flag.as_str()))
}

/// Whether the proxy was told so, as Docker has it or as it is seen from inside.
pub(super) fn is_told(evidence: &Evidence, setting: &str) -> bool {
    let serving = inside::seen(evidence).and_then(|(_, it)| it.serving.as_ref());
    evidence.container().is_some_and(|(_, it)| is_set(it, setting))
        || serving.is_some_and(|it| is_among(setting, &it.variables, &it.command))
}

/// The egress of a container, when its network was entered.
fn seen(evidence: &Evidence) -> Option<Found<'_, Egress>> {
    evidence.egress().filter(|(_, it)| it.unseen.is_none())
}

/// Whether another proxy goes out for it.
fn has_parent(evidence: &Evidence) -> bool {
    is_told(evidence, "upstream")
}

/// The container gets nowhere, and its server does.
pub(super) fn container_no_egress(evidence: &Evidence) -> Option<Suspect> {
    let (reference, egress) = seen(evidence)?;
    let roads = [egress.route_v4, egress.route_v6];
    let no_road = !roads.contains(&Some(true)) && egress.route_v4 == Some(false);
    let tried = !egress.inside.is_empty();
    // Whether it is the server's fault can't be seen from inside, unless there is no way at all.
    let told = no_road || (tried && evidence.asked.role != Role::Container);
    if opens(&egress.inside) || !told || keeps_in_as_well(evidence) {
        return None;
    }
    let outside = opens(&egress.outside);
    let confidence = match (outside, egress.outside.is_empty()) {
        _ if has_parent(evidence) => Confidence::Possible,
        (true, _) => Confidence::Certain,
        (false, true) => Confidence::Likely,
        // The server itself does not, either.
        (false, false) if no_road => Confidence::Likely,
        (false, false) => return None,
    };
    let found = suspect(Code::ContainerNoEgress, confidence, [reference]);
    Some(found.with("container", &egress.container))
}

/// The server itself gets nowhere.
pub(super) fn server_no_egress(evidence: &Evidence) -> Option<Suspect> {
    let (reference, egress) = evidence.egress()?;
    if egress.outside.is_empty() || opens(&egress.outside) || opens(&egress.inside) {
        return None;
    }
    let confidence = if has_parent(evidence) { Confidence::Possible } else { Confidence::Likely };
    let found = suspect(Code::ProxyNoEgress, confidence, [reference])
        .or(Code::TargetUnreachable, "separate-another-site");
    Some(found.with("container", &egress.container))
}

/// No name server answers the container.
pub(super) fn container_dns_broken(evidence: &Evidence) -> Option<Suspect> {
    let (reference, egress) = seen(evidence)?;
    let answered = egress.nameservers.iter().any(|it| it.inside == Reply::Addresses);
    // It asks others, or lets somebody else ask.
    if answered || is_told(evidence, "dns") || has_parent(evidence) {
        return None;
    }
    let gets_out = opens(&egress.inside);
    if !gets_out && keeps_in_as_well(evidence) {
        return None;
    }
    let confidence = if gets_out { Confidence::Certain } else { Confidence::Likely };
    let found = suspect(Code::ContainerDnsBroken, confidence, [reference]);
    let server = egress.nameservers.first().map(|it| it.ip);
    let found = found.with("container", &egress.container).with_some("server", server);
    // Without a name nothing else was tried.
    let blind = evidence.asked.role == Role::Container && confidence < Confidence::Certain;
    Some(if blind { found.or(Code::ProxyNoEgress, "separate-egress-on-the-server") } else { found })
}

/// Its packets are larger than those of its server.
pub(super) fn container_mtu(evidence: &Evidence) -> Option<Suspect> {
    let (reference, egress) = seen(evidence)?;
    let (own, host) = (egress.mtu?, egress.host_mtu?);
    if own <= host {
        return None;
    }
    let confidence = match egress.told_too_big {
        Some(false) => Confidence::Certain,
        // Those that come from outside may still get lost.
        Some(true) | None => Confidence::Possible,
    };
    let found = suspect(Code::ContainerMtu, confidence, [reference]).with("bytes", &own);
    Some(found.with("limit", &host).with("container", &egress.container))
}

/// There is no room for anything.
pub(super) fn disk_full(evidence: &Evidence) -> Option<Suspect> {
    let (reference, resources) = evidence.resources()?;
    let [full, soon] = FULL;
    let left = |it: &crate::diag::fact::Disk| {
        if it.files_free == Some(0) { 0 } else { it.free }
    };
    // A read-only image of a system has no room by nature.
    let fullest = resources.disks.iter().filter(|it| it.size > 0).min_by_key(|it| left(it))?;
    let confidence = match left(fullest) {
        left if left < full => Confidence::Certain,
        left if left < soon && left < fullest.size / 50 => Confidence::Likely,
        _ => return None,
    };
    let found = suspect(Code::DiskFull, confidence, [reference]).with("path", &fullest.path);
    Some(found.with("left", &(left(fullest) / MEGABYTE)))
}

/// There is hardly any memory left.
pub(super) fn memory_short(evidence: &Evidence) -> Option<Suspect> {
    let (reference, resources) = evidence.resources()?;
    let available = resources.memory_available?;
    let short = available < SHORT && resources.swap_free.is_none_or(|it| it < SHORT);
    short.then(|| {
        let found = suspect(Code::MemoryShort, Confidence::Likely, [reference]);
        found.with("left", &(available / MEGABYTE))
    })
}

/// The proxy may not open anything more.
pub(super) fn fd_limit(evidence: &Evidence) -> Option<Suspect> {
    let container = evidence.container().filter(|(_, it)| it.last().state == State::Running);
    let files = evidence.resources().and_then(|(it, all)| Some((it, all.files.as_ref()?)));
    let inside = inside::seen(evidence).is_some();
    let files =
        files.filter(|(_, it)| inside || container.is_some_and(|(_, c)| c.name == it.container));
    let spent = files.and_then(|(reference, it)| Some((reference, it.open? >= it.limit)));
    let complains = container.filter(|(_, it)| {
        it.log.iter().any(|line| line.to_ascii_lowercase().contains("too many open files"))
    });
    let mut found = match (spent, complains) {
        (Some((reference, true)), _) => suspect(Code::FdLimit, Confidence::Certain, [reference]),
        // It was so; perhaps it is over.
        (_, Some((reference, _))) => suspect(Code::FdLimit, Confidence::Likely, [reference]),
        _ => return None,
    };
    if let Some((_, container)) = container {
        found = found.with("container", &container.name).with("image", &container.image.name);
    }
    // Whose files they are tells the container.
    if let Some((reference, _)) = container {
        found = found.and(reference);
    }
    Some(found.with_some("limit", files.map(|(_, it)| it.limit)))
}

/// The whole Internet may use it.
pub(super) fn open_proxy(evidence: &Evidence) -> Option<Suspect> {
    let found = evidence.container()?;
    let (_, container) = found;
    let mut values = container.variables.iter().filter(|it| it.name == "SAMI_PROXY_OPEN");
    let said = values.any(|it| it.value.as_deref().is_some_and(|it| it != "false"));
    let flag = container.command.iter().any(|it| it == "--open" || it == "--open=true");
    let guarded = ["auth", "auth-file", "allow-client"].iter().any(|it| is_set(container, it));
    if !(said || flag) || guarded || container.last().state != State::Running {
        return None;
    }
    let public = container.network_mode == "host"
        || container
            .ports
            .iter()
            .any(|it| it.ip.is_none_or(|ip| ip.is_unspecified() || is_public(ip)));
    public.then(|| {
        let found = about(Code::OpenProxy, Confidence::Likely, found);
        found.with("port", &evidence.subject.port)
    })
}

/// Clients look like the host's end of the container's network: all of them, or those that come over
/// IPv6 where the container has none.
pub(super) fn client_address_hidden(evidence: &Evidence) -> Option<Suspect> {
    let found = evidence.container()?;
    let (_, container) = found;
    let gateways: Vec<_> = container.networks.iter().flat_map(|it| &it.gateways).collect();
    let hidden = container.clients.iter().find(|it| gateways.contains(it))?;
    let all = container.clients.iter().all(|it| gateways.contains(&it));
    let mut addresses = container.networks.iter().flat_map(|it| &it.addresses);
    let only_v4 = !addresses.any(IpAddr::is_ipv6);
    let reached = container.ports.iter().any(|it| it.ip.is_some_and(|ip| ip.is_ipv6()));
    let has_v6 = evidence.engine().is_some_and(|(_, it)| it.outward.iter().any(IpAddr::is_ipv6));
    (all || (only_v4 && reached && has_v6))
        .then(|| about(Code::ClientAddressHidden, Confidence::Likely, found).with("client", hidden))
}

/// On the server all is as it has to be: the port leads to a proxy that listens and gets out.
pub(super) fn server_ok(evidence: &Evidence) -> Option<Suspect> {
    let (engine, _) = evidence.engine().filter(|(_, it)| it.reach == Reach::Works)?;
    let (container, _) = evidence.container()?;
    if leads_to_a_listener(evidence) != Some(true) {
        return None;
    }
    let (egress, outward) = evidence.egress()?;
    let named = outward.nameservers.iter().any(|it| it.inside == Reply::Addresses);
    let confidence = if opens(&outward.inside) && named {
        Confidence::Likely
    } else if outward.unseen.is_some() && opens(&outward.outside) {
        Confidence::Possible
    } else {
        return None;
    };
    Some(suspect(Code::Ok, confidence, [engine, container, egress]))
}
