//! What answers on an open port.

use super::entry::answers_requests;
use super::seen::{Seen, about, is_genuine, is_ours, portal, through};
use super::{Confidence, Suspect, references, sent, suspect, with_outcome};
use crate::diag::code::Code;
use crate::diag::evidence::{Command, Evidence, Found, Role, Scheme};
use crate::diag::fact::{CheckId, Hello, Outcome, Speaks, Trust};

/// What answered, when the port opened.
fn answered(evidence: &Evidence) -> Option<(Found<'_, Hello>, Speaks)> {
    let found = evidence.hello()?;
    let speaks = found.1.speaks?;
    evidence.any(Outcome::Open).then_some((found, speaks))
}

/// A fact says that no box on the way answers in the host's stead.
fn answers_itself(evidence: &Evidence) -> bool {
    let here = evidence.primary().is_some_and(|it| it.ip().to_canonical().is_loopback());
    let control = evidence.control();
    let told = |outcome| !matches!(outcome, Outcome::Open | Outcome::Unfinished);
    here || control.is_some_and(|(_, it)| told(it.attempt.outcome))
}

fn sure_if_itself(evidence: &Evidence) -> Confidence {
    if answers_itself(evidence) { Confidence::Certain } else { Confidence::Likely }
}

/// It works, as far as was asked.
pub(super) fn ok(evidence: &Evidence) -> Option<Suspect> {
    match (evidence.asked.command, evidence.asked.role) {
        (Command::CheckPort, _) => port_works(evidence),
        (Command::Probe, _) | (Command::Doctor, Role::Client) => journeys_work(evidence),
        // What is well on a server is said elsewhere.
        (Command::Doctor, Role::Host | Role::Container) => None,
    }
}

/// Whether the target has proved who it is: then nobody answered in its stead.
fn is_trusted(seen: &Seen<'_>) -> bool {
    seen.trip
        .certificate
        .as_ref()
        .is_some_and(|it| it.given == Some(Trust::Trusted) || it.mozilla == Trust::Trusted)
}

/// A target answered through the proxy: whatever it thinks of us. 401, 403 or 400 of an API that was
/// asked without a key is an answer as good as any; what is not, such as a captcha, has a code of its
/// own, and that concerns the target.
fn journeys_work(evidence: &Evidence) -> Option<Suspect> {
    let all = through(evidence);
    let reached: Vec<Seen<'_>> = all.iter().filter(|it| it.answer().is_some()).copied().collect();
    if reached.is_empty() {
        return None;
    }
    // Of what was asked for by name nothing may be missing; of a table of providers some may.
    if all.iter().any(|it| it.check == CheckId::ThroughProxy && it.answer().is_none()) {
        return None;
    }
    let confidence = if is_ours(evidence) && reached.iter().any(is_trusted) {
        Confidence::Certain
    } else {
        Confidence::Likely
    };
    let mut found = about(Code::Ok, confidence, &reached, evidence);
    found.severity = Code::Ok.severity();
    if let Some((reference, hello)) = evidence.hello() {
        found = found.and(reference).with_some("client", hello.client.as_ref());
    }
    Some(found)
}

/// The port is open, and a proxy answers.
fn port_works(evidence: &Evidence) -> Option<Suspect> {
    let sent = sent(evidence);
    let open = with_outcome(&sent, Outcome::Open);
    if open.is_empty() {
        return None;
    }
    let hello = evidence.hello();
    let because = references(&open).chain(hello.map(|(reference, _)| reference));
    let nonce = hello.is_some_and(|(_, it)| it.nonce_returned == Some(true));
    let found = match hello.and_then(|(_, it)| it.speaks) {
        Some(Speaks::SamiProxy) if nonce => suspect(Code::Ok, Confidence::Certain, because),
        // A SOCKS proxy is one too; whether the application speaks SOCKS is not for the port to say.
        Some(Speaks::SamiProxy | Speaks::HttpProxy | Speaks::Socks) => {
            suspect(Code::Ok, Confidence::Likely, because)
        }
        // It opens; more could not be found out.
        None => suspect(Code::Ok, Confidence::Possible, because)
            .or(Code::NotAProxy, "separate-more-time"),
        Some(
            Speaks::WebServer
            | Speaks::Ssh
            | Speaks::Tls
            | Speaks::Unknown
            | Speaks::Nothing
            | Speaks::Closes,
        ) => return None,
    };
    let known = hello.map(|(_, it)| it);
    Some(
        found
            .with_some("name", known.and_then(|it| it.name.as_ref()))
            .with_some("version", known.and_then(|it| it.version.as_ref()))
            .with_some("client", known.and_then(|it| it.client.as_ref())),
    )
}

/// It accepts and ends every connection without a word.
pub(super) fn accepted_then_closed(evidence: &Evidence) -> Option<Suspect> {
    let ((reference, _), speaks) = answered(evidence)?;
    // A listener for TLS closes what it can't read, and serves what it can.
    (speaks == Speaks::Closes && !answers_requests(evidence)).then(|| {
        suspect(Code::AcceptedThenClosed, Confidence::Likely, [reference])
            .or(Code::ClientNotAllowed, "separate-log-of-the-proxy")
            .or(Code::ListenerMissing, "separate-on-the-server")
    })
}

/// It accepts and says nothing.
pub(super) fn silent_peer(evidence: &Evidence) -> Option<Suspect> {
    let ((reference, _), speaks) = answered(evidence)?;
    (speaks == Speaks::Nothing && !answers_requests(evidence)).then(|| {
        suspect(Code::SilentPeer, Confidence::Likely, [reference])
            .or(Code::ContainerPaused, "separate-on-the-server")
            .or(Code::ConnectFiltered, "separate-on-the-server")
    })
}

fn probed_as(evidence: &Evidence, scheme: Scheme) -> bool {
    evidence.asked.command != Command::CheckPort && evidence.asked.scheme == scheme
}

/// Something else has the port.
pub(super) fn not_a_proxy(evidence: &Evidence) -> Option<Suspect> {
    let ((reference, hello), speaks) = answered(evidence)?;
    let what = match speaks {
        // It was asked in the clear only.
        Speaks::WebServer if probed_as(evidence, Scheme::Https) => return None,
        Speaks::WebServer => "web-server",
        Speaks::Ssh => "ssh",
        Speaks::Unknown => "unknown",
        // It is one, of another kind than the application was told.
        Speaks::Socks if probed_as(evidence, Scheme::Http) => "socks",
        Speaks::SamiProxy
        | Speaks::HttpProxy
        | Speaks::Socks
        | Speaks::Tls
        | Speaks::Nothing
        | Speaks::Closes => return None,
    };
    let control = evidence.control().map(|(reference, _)| reference);
    let because = [reference].into_iter().chain(control);
    let mut found = suspect(Code::NotAProxy, sure_if_itself(evidence), because);
    if !answers_itself(evidence) {
        found = found.or(Code::CaptivePortal, "separate-from-another-machine");
    }
    Some(found.with("what", &what).with_some("name", hello.name.as_ref()))
}

/// It speaks TLS and nothing in the clear.
pub(super) fn tls_required(evidence: &Evidence) -> Option<Suspect> {
    let ((reference, _), speaks) = answered(evidence)?;
    (speaks == Speaks::Tls && evidence.asked.scheme != Scheme::Https).then(|| {
        suspect(Code::TlsRequired, Confidence::Likely, [reference])
            .or(Code::NotAProxy, "separate-probe-with-tls")
    })
}

/// A box on the way accepts everything, or answers in the place of others.
pub(super) fn captive_portal(evidence: &Evidence) -> Option<Suspect> {
    accepts_everything(evidence).or_else(|| answers_for_others(evidence))
}

/// Pages that say one thing only said another.
fn answers_for_others(evidence: &Evidence) -> Option<Suspect> {
    let pages = portal(evidence);
    let forged: Vec<_> = pages
        .iter()
        .filter_map(|it| Some((it, it.answer()?.status)))
        // A service that is out of order says so with a number of its own.
        .filter(|(it, status)| !is_genuine(it) && matches!(status, 200 | 300..400 | 511))
        .collect();
    if forged.is_empty() || pages.iter().any(is_genuine) {
        return None;
    }
    // RFC 6585 §6: it is the network that asks for a sign-in.
    let confidence = match forged.as_slice() {
        all if all.iter().any(|(_, status)| *status == 511) => Confidence::Certain,
        [_, _, ..] => Confidence::Likely,
        _ => Confidence::Possible,
    };
    let found = suspect(Code::CaptivePortal, confidence, forged.iter().map(|(it, _)| it.reference));
    Some(found.or(Code::NoInternet, "separate-open-any-site"))
}

fn accepts_everything(evidence: &Evidence) -> Option<Suspect> {
    let (reference, control) = evidence.control()?;
    // Who returns our nonce was reached, whatever else is accepted on the way; so was a proxy that
    // leads to a target with a trusted certificate.
    let proven = is_ours(evidence) || through(evidence).iter().any(is_trusted);
    (control.attempt.outcome == Outcome::Open && !proven).then(|| {
        let ladder = evidence.ladder();
        let hop = ladder.and_then(|(_, ladder)| ladder.answers_from);
        let because = [reference].into_iter().chain(ladder.map(|(reference, _)| reference));
        suspect(Code::CaptivePortal, Confidence::Likely, because)
            .or(Code::NotAProxy, "separate-from-another-machine")
            .with("control", &control.attempt.address.ip())
            .with_some("hop", hop)
    })
}
