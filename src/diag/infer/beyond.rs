//! The way from the proxy to a target.

use super::filter::{minds_every_name, minds_the_name};
use super::reply::{No, Source, Why, of_why};
use super::seen::{
    Seen, about, directly, gets_out, health, hosts, ok, other_beyond, through, way_out,
};
use super::{Confidence, Suspect, suspect};
use crate::diag::code::Code;
use crate::diag::evidence::{Evidence, Scheme};
use crate::diag::fact::{How, Reference, Stage};

fn seen<'e>(noes: &[No<'e>]) -> Vec<Seen<'e>> {
    noes.iter().map(|it| it.seen).collect()
}

/// Those that got to a host whose name the proxy had to look up.
fn by_name(evidence: &Evidence) -> Option<&Reference> {
    let named = |it: &Seen<'_>| {
        let host = it.host().rsplit_once(':').map_or_else(|| it.host(), |(host, _)| host);
        host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_err()
    };
    through(evidence).iter().find(|it| it.got_beyond() && named(it)).map(|it| it.reference)
}

/// The proxy finds no address for any name.
pub(super) fn proxy_dns_broken(evidence: &Evidence) -> Option<Suspect> {
    let healthy = health(evidence).is_some();
    let told = health(evidence).filter(|(_, it)| ok(it.dns.as_ref()) == Some(false));
    let hits = of_why(evidence, &[Why::Name, Why::NameSilent]);
    let targets = seen(&hits);
    let because = targets.iter().map(|it| it.reference);
    let because: Vec<_> = because.chain(told.map(|(reference, _)| reference)).collect();
    let found = |confidence| suspect(Code::ProxyDnsBroken, confidence, because);
    let Some((_, health)) = told else {
        // Two names that are both wrong are rare; a proxy that has found one finds others.
        return (hosts(&targets) > 1 && by_name(evidence).is_none() && !healthy).then(|| {
            found(Confidence::Likely).or(Code::TargetNameNotFound, "separate-names-on-the-server")
        });
    };
    if by_name(evidence).is_some() {
        let found = found(Confidence::Possible);
        return Some(found.or(Code::TargetNameNotFound, "separate-names-on-the-server"));
    }
    // A connection outwards that works leaves only the names.
    let out = [&health.ipv4, &health.ipv6].iter().any(|far| ok(far.as_ref()) == Some(true));
    let beyond = through(evidence).into_iter().find(Seen::got_beyond);
    Some(if out || beyond.is_some() {
        with_reasons(found(Confidence::Certain), beyond.map(|it| it.reference))
    } else {
        found(Confidence::Likely).or(Code::ProxyNoEgress, "separate-egress-on-the-server")
    })
}

/// The proxy gets nowhere.
pub(super) fn proxy_no_egress(evidence: &Evidence) -> Option<Suspect> {
    let all = through(evidence);
    if all.iter().any(Seen::got_beyond) {
        return None;
    }
    let hits = of_why(evidence, &[Why::Silent, Why::Unroutable, Why::Waiting]);
    let targets = seen(&hits);
    let because: Vec<_> = targets.iter().map(|it| it.reference).collect();
    if let Some((reference, health)) = health(evidence) {
        let tried = [&health.ipv4, &health.ipv6].map(|far| gets_out(far.as_ref()));
        let none = tried.contains(&Some(false)) && !tried.contains(&Some(true));
        return none.then(|| {
            let because = because.into_iter().chain([reference]);
            // One host was tried there; another one that is silent too leaves no doubt.
            let same = |it: &Seen<'_>| {
                health.target.as_ref().is_none_or(|at| at.split(':').next() == Some(it.host()))
            };
            if targets.iter().all(same) {
                suspect(Code::ProxyNoEgress, Confidence::Likely, because)
                    .or(Code::TargetUnreachable, "separate-egress-on-the-server")
            } else {
                suspect(Code::ProxyNoEgress, Confidence::Certain, because)
            }
        });
    }
    let confidence = if hosts(&targets) < 2 {
        return None;
    } else if hits.iter().all(|it| it.source > Source::Status) {
        Confidence::Likely
    } else {
        Confidence::Possible
    };
    let found = suspect(Code::ProxyNoEgress, confidence, because);
    Some(found.or(Code::TargetUnreachable, "separate-egress-on-the-server"))
}

/// There is no such name.
pub(super) fn target_name_not_found(evidence: &Evidence) -> Option<Suspect> {
    let hits = of_why(evidence, &[Why::Name, Why::NameSilent]);
    if hits.is_empty() {
        return None;
    }
    let targets = seen(&hits);
    let names_work = health(evidence)
        .filter(|(_, it)| ok(it.dns.as_ref()) == Some(true))
        .map(|(reference, _)| reference)
        .or_else(|| by_name(evidence));
    let nor_here = |it: &Seen<'_>| {
        let here = directly(evidence, it.target);
        here.is_some_and(|here| {
            here.failed_at(Stage::Resolve).is_some_and(|it| it.how == How::NoAddress)
        })
    };
    let found_here = |it: &Seen<'_>| {
        let here = directly(evidence, it.target);
        here.is_some_and(|here| here.failed_at(Stage::Resolve).is_none())
    };
    let found = |confidence| {
        let found = about(Code::TargetNameNotFound, confidence, &targets, evidence);
        with_reasons(found, names_work)
    };
    let said = hits.iter().all(|it| it.why == Why::Name && it.source >= Source::Word);
    Some(if names_work.is_some() && said && targets.iter().all(nor_here) {
        // Two name servers that know nothing of each other.
        let here = targets.iter().filter_map(|it| directly(evidence, it.target));
        here.fold(found(Confidence::Certain), |it, here| with_reasons(it, Some(here.reference)))
    } else if names_work.is_some() && said && !targets.iter().any(found_here) {
        found(Confidence::Likely).or(Code::ProxyDnsBroken, "separate-names-on-the-server")
    } else {
        found(Confidence::Possible).or(Code::ProxyDnsBroken, "separate-names-on-the-server")
    })
}

fn with_reasons<'e>(found: Suspect, more: impl IntoIterator<Item = &'e Reference>) -> Suspect {
    more.into_iter().fold(found, Suspect::and)
}

/// The proxy's connection gets no answer.
pub(super) fn target_unreachable(evidence: &Evidence) -> Option<Suspect> {
    let reasons = [Why::Silent, Why::Unroutable, Why::Terminated, Why::Waiting, Why::Untold];
    let hits = of_why(evidence, &reasons);
    if hits.is_empty() {
        return None;
    }
    let targets = seen(&hits);
    let out = way_out(evidence, &targets);
    let found = |confidence| {
        with_reasons(about(Code::TargetUnreachable, confidence, &targets, evidence), out)
    };
    let only = |why: &[Why]| hits.iter().all(|it| why.contains(&it.why));
    let told = hits.iter().all(|it| it.source >= Source::Word);
    Some(match (told && only(&[Why::Silent, Why::Unroutable]), out) {
        (true, Some(_)) => found(Confidence::Certain),
        (true, None) => {
            found(Confidence::Likely).or(Code::ProxyNoEgress, "separate-egress-on-the-server")
        }
        (false, Some(_)) if !only(&[Why::Untold]) => {
            found(Confidence::Likely).or(Code::TargetNameNotFound, "separate-names-on-the-server")
        }
        (false, _) => found(Confidence::Possible)
            .or(Code::TargetNameNotFound, "separate-names-on-the-server")
            .or(Code::ProxyNoEgress, "separate-egress-on-the-server"),
    })
}

/// The target says no.
pub(super) fn target_refused(evidence: &Evidence) -> Option<Suspect> {
    let hits = of_why(evidence, &[Why::Refused]);
    if hits.is_empty() {
        return None;
    }
    let targets = seen(&hits);
    let out = way_out(evidence, &targets);
    let found =
        |confidence| with_reasons(about(Code::TargetRefused, confidence, &targets, evidence), out);
    let told = hits.iter().all(|it| it.source >= Source::Word);
    // A firewall that forbids the server everything refuses everything.
    Some(if told && out.is_some() {
        found(Confidence::Certain)
    } else {
        found(Confidence::Likely).or(Code::ProxyNoEgress, "separate-egress-on-the-server")
    })
}

/// TLS with a target that came to one of `ends`.
fn in_tls<'e>(evidence: &'e Evidence, ends: &[How]) -> Vec<Seen<'e>> {
    let ended =
        |it: &Seen<'_>| it.failed_at(Stage::TargetTls).is_some_and(|it| ends.contains(&it.how));
    through(evidence).into_iter().filter(ended).collect()
}

/// The connection breaks at the beginning of TLS.
pub(super) fn target_tls_reset(evidence: &Evidence) -> Option<Suspect> {
    let hits = in_tls(evidence, &[How::Reset, How::Closed]);
    if hits.is_empty() {
        return None;
    }
    let found = |confidence| about(Code::TargetTlsReset, confidence, &hits, evidence);
    let hidden = evidence.asked.scheme == Scheme::Https;
    Some(match minds_the_name(evidence) {
        // Nobody before the proxy can read the name; what is beyond it has one remedy.
        Some(trials) if hidden => with_reasons(found(Confidence::Certain), [trials]),
        Some(trials) => with_reasons(found(Confidence::Likely), [trials])
            .or(Code::ConnectFiltered, "separate-tls-on-the-server"),
        // The target hangs up, or the way to it does.
        None if minds_every_name(evidence) || other_beyond(evidence, &hits).is_some() => {
            found(Confidence::Likely).or(Code::TargetUnreachable, "separate-tls-on-the-server")
        }
        None => found(Confidence::Possible)
            .or(Code::ConnectFiltered, "separate-tls-on-the-server")
            .or(Code::TargetUnreachable, "separate-tls-on-the-server"),
    })
}

/// TLS begins and does not get on.
pub(super) fn target_tls_stalled(evidence: &Evidence) -> Option<Suspect> {
    let hits = in_tls(evidence, &[How::Silent]);
    if hits.is_empty() {
        return None;
    }
    let found = |confidence| about(Code::TargetTlsStalled, confidence, &hits, evidence);
    let hidden = evidence.asked.scheme == Scheme::Https;
    // A handshake has packets of full size: where another host's came through, size is not it.
    let large = through(evidence).iter().any(|it| it.trip.certificate.is_some());
    Some(match (minds_the_name(evidence), large) {
        (Some(trials), _) if hidden => with_reasons(found(Confidence::Certain), [trials]),
        (Some(trials), _) => with_reasons(found(Confidence::Likely), [trials])
            .or(Code::ConnectFiltered, "separate-tls-on-the-server"),
        (None, true) => {
            found(Confidence::Likely).or(Code::TargetUnreachable, "separate-tls-on-the-server")
        }
        (None, false) => found(Confidence::Possible).or(Code::MtuBlackHole, "separate-sizes"),
    })
}
