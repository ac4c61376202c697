//! Requests to targets, as rules look at them.

use std::collections::BTreeSet;

use super::{Confidence, Suspect, suspect};
use crate::diag::code::{Code, Severity};
use crate::diag::evidence::Evidence;
use crate::diag::fact::{Answer, CheckId, Failure, Health, How, Journey, Reference, Stage, Trip};
use crate::diag::plan::PORTAL;

/// More targets than this are not named in a sentence.
const MOST_NAMED: usize = 3;

/// A request to a target, and what became of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen<'e> {
    pub(super) reference: &'e Reference,
    /// A URL.
    pub(super) target: &'e str,
    /// Of several trips the one that arrived, else the first that tells why not.
    pub(super) trip: &'e Trip,
    pub(super) check: CheckId,
}

impl<'e> Seen<'e> {
    fn of(check: CheckId, (reference, journey): (&'e Reference, &'e Journey)) -> Option<Self> {
        let ours = |trip: &&Trip| trip.failure.as_ref().is_some_and(|it| it.how == How::Unfinished);
        let arrived = journey.trips.iter().find(|trip| has_arrived(trip));
        let trip = arrived.or_else(|| journey.trips.iter().find(|trip| !ours(trip)))?;
        Some(Self { reference, target: &journey.target, trip, check })
    }

    /// What the target answered, when all of it came.
    pub(super) fn answer(&self) -> Option<&'e Answer> {
        self.trip.answer.as_ref().filter(|_| has_arrived(self.trip))
    }

    /// Why it failed at `stage`.
    pub(super) fn failed_at(&self, stage: Stage) -> Option<&'e Failure> {
        self.trip.failure.as_ref().filter(|it| it.stage == stage)
    }

    /// Whether the proxy, if there is one, had a connection to the target.
    ///
    /// Who waits for the answer to a plain request does not know that: only a tunnel says so.
    pub(super) fn got_beyond(&self) -> bool {
        let any = |is: fn(Stage) -> bool| self.trip.laps.iter().any(|lap| is(lap.stage));
        let told = self.check == CheckId::Direct || any(|it| it == Stage::Proxy);
        self.trip.answer.is_some() || (told && any(|it| it > Stage::Proxy))
    }

    /// The host, and its port when it is not the usual one.
    pub(super) fn host(&self) -> &'e str {
        host(self.target)
    }

    /// Whether the target has an answer for whoever asks from here: neither a refusal of our region
    /// or address nor an error of its own.
    pub(super) fn is_served(&self) -> bool {
        self.answer().is_some_and(|it| super::content::judged(self.target, it).is_none())
    }
}

fn has_arrived(trip: &Trip) -> bool {
    trip.answer.is_some() && trip.failure.is_none()
}

/// Of a URL.
pub(super) fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    let usual = if url.starts_with("https:") { ":443" } else { ":80" };
    authority.strip_suffix(usual).unwrap_or(authority)
}

/// Of a URL, without the path: it may hold what is nobody's business.
fn root(url: &str) -> String {
    let scheme = if url.starts_with("http:") { "http" } else { "https" };
    format!("{scheme}://{}/", host(url))
}

fn of_check(evidence: &Evidence, check: CheckId) -> Vec<Seen<'_>> {
    let mut all: Vec<_> = evidence.all(check).filter_map(|it| Seen::of(check, it)).collect();
    all.sort_by_key(|it| it.reference);
    all
}

/// Every request through the proxy.
pub(super) fn through(evidence: &Evidence) -> Vec<Seen<'_>> {
    let mut all = of_check(evidence, CheckId::ThroughProxy);
    all.extend(of_check(evidence, CheckId::Llm));
    all
}

/// The same targets without the proxy.
pub(super) fn direct(evidence: &Evidence) -> Vec<Seen<'_>> {
    of_check(evidence, CheckId::Direct)
}

/// The pages by which operating systems find out whether they are in the Internet.
pub(super) fn portal(evidence: &Evidence) -> Vec<Seen<'_>> {
    of_check(evidence, CheckId::Portal)
}

/// Whether `page` said what nobody else says.
pub(super) fn is_genuine(page: &Seen<'_>) -> bool {
    let Some((_, status, body)) = PORTAL.iter().find(|(url, ..)| *url == page.target) else {
        return false;
    };
    page.answer().is_some_and(|it| it.status == *status && it.body.trim() == *body)
}

/// What became of `target` without the proxy.
pub(super) fn directly<'e>(evidence: &'e Evidence, target: &str) -> Option<Seen<'e>> {
    direct(evidence).into_iter().find(|it| it.target == target)
}

/// Whether what answers has returned our nonce: it is sami-proxy, and nobody speaks in its stead.
pub(super) fn is_ours(evidence: &Evidence) -> bool {
    evidence.hello().is_some_and(|(_, it)| it.nonce_returned == Some(true))
}

/// A request that went beyond the proxy to another host than `seen`'s: what fails is not the way out
/// of the proxy, nor the way to it.
pub(super) fn other_beyond<'e>(evidence: &'e Evidence, hits: &[Seen<'_>]) -> Option<Seen<'e>> {
    let hit = |host: &str| hits.iter().any(|it| it.host() == host);
    through(evidence).into_iter().find(|it| it.got_beyond() && !hit(it.host()))
}

/// How many hosts these are.
pub(super) fn hosts(seen: &[Seen<'_>]) -> usize {
    seen.iter().map(Seen::host).collect::<BTreeSet<_>>().len()
}

/// What the proxy says of its way out.
pub(super) fn health(evidence: &Evidence) -> Option<(&Reference, &Health)> {
    let known = |it: &Health| it.failure.is_none();
    evidence.one::<Health>(CheckId::ProxyHealth).filter(|(_, it)| known(it))
}

/// The proxy's own names and connections work, by its own word or because it got somewhere else.
pub(super) fn way_out<'e>(evidence: &'e Evidence, hits: &[Seen<'_>]) -> Option<&'e Reference> {
    let works = |it: &Health| [&it.ipv4, &it.ipv6].iter().any(|far| ok(far.as_ref()) == Some(true));
    let told = health(evidence).filter(|(_, it)| works(it)).map(|(reference, _)| reference);
    told.or_else(|| other_beyond(evidence, hits).map(|it| it.reference))
}

/// Whether a connection got out of the proxy; `None` when it was refused: somebody answered, but
/// that may have been a firewall.
pub(super) fn gets_out(far: Option<&crate::diag::fact::Far>) -> Option<bool> {
    let refused = |it: &crate::diag::fact::Far| it.error.as_deref() == Some("connection_refused");
    far.filter(|it| !refused(it)).and_then(|it| it.ok)
}

/// Whether that worked.
pub(super) fn ok(far: Option<&crate::diag::fact::Far>) -> Option<bool> {
    far.and_then(|it| it.ok)
}

/// A suspect that concerns the targets of `hits`, which it names.
///
/// Where only providers of `--llm` are hit and another target is served, the proxy does what it is
/// for: then it is a warning.
pub(super) fn about(
    code: Code,
    confidence: Confidence,
    hits: &[Seen<'_>],
    evidence: &Evidence,
) -> Suspect {
    let mut found = suspect(code, confidence, hits.iter().map(|it| it.reference));
    let mut names: Vec<&str> = hits.iter().map(Seen::host).collect();
    names.dedup();
    let text = names.get(..MOST_NAMED).map_or_else(
        || names.join(", "),
        |some| {
            let more = if names.len() > some.len() { ", ..." } else { "" };
            format!("{}{more}", some.join(", "))
        },
    );
    found.arguments.insert("target", text);
    found.arguments.extend(hits.first().map(|it| ("url", root(it.target))));
    let wanted = hits.iter().any(|it| it.check == CheckId::ThroughProxy);
    if !wanted && works_elsewhere(evidence, hits) {
        found.severity = Severity::Warning;
    }
    found
}

/// Whether a target that is not among `hits` is served through the proxy.
pub(super) fn works_elsewhere(evidence: &Evidence, hits: &[Seen<'_>]) -> bool {
    let hit = |host: &str| hits.iter().any(|it| it.host() == host);
    through(evidence).iter().any(|it| it.is_served() && !hit(it.host()))
}
