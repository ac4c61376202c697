//! Whether the proxy can be spoken to at all, and lets us in.

use super::client::hosts_line;
use super::names::others;
use super::reply::{No, Source, Why, of_why};
use super::seen::{direct, hosts, is_genuine, is_ours, portal, through};
use super::{Confidence, Suspect, references, sent, suspect};
use crate::diag::code::Code;
use crate::diag::evidence::{Command, Credentials, Evidence, Scheme, is_public};
use crate::diag::fact::{CheckId, How, Outcome, Reference, Speaks, Stage, Trick, Trust};

/// An address that no server in the Internet has: what blocking resolvers answer with.
fn is_of_nobody(ip: std::net::IpAddr) -> bool {
    ip.is_unspecified() || ip.is_loopback() || ip.is_multicast()
}

/// RFC 6761, RFC 6762, RFC 8375, and what ICANN and routers keep for private use.
const LOCAL: [&str; 5] = [".localhost", ".local", ".home.arpa", ".internal", ".lan"];

/// The name stands for an address at which no proxy can be.
///
/// A private address alone proves nothing: an office has its proxies there.
pub(super) fn proxy_name_poisoned(evidence: &Evidence) -> Option<Suspect> {
    let (reference, found) = evidence.addresses()?;
    let host = &evidence.subject.host;
    // Names of this machine or of its network have such addresses.
    let name = host.trim_end_matches('.').to_ascii_lowercase();
    let local = LOCAL.iter().any(|end| name.ends_with(end)) || !name.contains('.');
    let in_dns = evidence.subject.ip().is_none() && !local;
    let speaks = evidence.hello().and_then(|(_, it)| it.speaks);
    let is_proxy = matches!(speaks, Some(Speaks::SamiProxy | Speaks::HttpProxy | Speaks::Socks));
    if !is_proxy && let Some(found) = overridden(evidence).or_else(|| contradicted(evidence)) {
        return Some(found);
    }
    let false_ones =
        !found.addresses.is_empty() && found.addresses.iter().all(|ip| !is_public(*ip));
    if !in_dns || is_proxy || !false_ones || evidence.attempts().next().is_none() {
        return None;
    }
    let nobody = found.addresses.iter().all(|ip| is_of_nobody(*ip));
    let confidence = if nobody { Confidence::Likely } else { Confidence::Possible };
    let attempts = evidence.attempts().map(|(reference, _)| reference);
    let because = [reference].into_iter().chain(attempts);
    let found_at = found.addresses.iter().min();
    Some(
        suspect(Code::ProxyNamePoisoned, confidence, because)
            .or(Code::ProxyNameNotFound, "separate-ask-another-resolver")
            .with_some("other", found_at),
    )
}

/// The hosts file of this machine says where the proxy is, and no proxy is there. Who has such a line
/// forgets it, and the server moves.
fn overridden(evidence: &Evidence) -> Option<Suspect> {
    let (reference, file, line) = hosts_line(evidence)?;
    let attempts: Vec<_> = evidence.attempts().collect();
    let there = |outcome| attempts.iter().any(|(_, it)| it.outcome == outcome);
    // Where no packet was sent nobody knows who is there.
    if !(there(Outcome::Open) || there(Outcome::Refused) || there(Outcome::Silent)) {
        return None;
    }
    let confidence =
        if is_of_nobody(line.address) { Confidence::Certain } else { Confidence::Likely };
    let because = [reference].into_iter().chain(attempts.iter().map(|(reference, _)| *reference));
    let name = if file.path.contains('\\') { "hosts" } else { "etc" };
    Some(
        suspect(Code::ProxyNamePoisoned, confidence, because)
            .or(Code::HostSilent, "separate-ask-another-resolver")
            .with("other", &line.address)
            .with("setting", &"hosts")
            .with(name, &file.path),
    )
}

/// Name servers of the user's choice agree on other addresses than this machine was told, and no
/// proxy is at those. A name may have different addresses for different askers; a proxy's rarely has.
fn contradicted(evidence: &Evidence) -> Option<Suspect> {
    let (reference, told) = evidence.addresses()?;
    let others = others(evidence).knowing;
    let known = |ip: &std::net::IpAddr| others.iter().any(|(_, it)| it.addresses.contains(ip));
    let (false_one, _) = (told.addresses.first()?, others.first()?);
    if told.addresses.iter().any(known) {
        return None;
    }
    // One of several of the name, or that of an office for those inside, may be right as well.
    let nobody = told.addresses.iter().all(|ip| is_of_nobody(*ip));
    let confidence = if nobody { Confidence::Certain } else { Confidence::Likely };
    let because = [reference].into_iter().chain(others.iter().map(|(reference, _)| *reference));
    let found = suspect(Code::ProxyNamePoisoned, confidence, because).with("other", false_one);
    Some(if nobody { found } else { found.or(Code::HostSilent, "separate-ask-another-resolver") })
}

/// Nothing in the Internet answers, with or without the proxy.
pub(super) fn no_internet(evidence: &Evidence) -> Option<Suspect> {
    let pages = portal(evidence);
    // Somebody in the Internet said what nobody else says.
    if pages.iter().any(is_genuine) {
        return None;
    }
    let tried: Vec<_> = direct(evidence).into_iter().chain(pages).collect();
    let nowhere = |it: &super::seen::Seen<'_>| {
        it.trip.failure.as_ref().is_some_and(|failure| {
            matches!(failure.stage, Stage::Resolve | Stage::Connect)
                && matches!(failure.how, How::NoAddress | How::Unreachable | How::Silent)
        })
    };
    let sent = sent(evidence);
    // Where no packet was sent to the proxy, only names are known to fail.
    if sent.is_empty() || tried.is_empty() || !tried.iter().all(nowhere) {
        return None;
    }
    let answers = |outcome| matches!(outcome, Outcome::Open | Outcome::Refused | Outcome::Reset);
    let mut ports = evidence.attempts().chain(evidence.siblings());
    if ports.any(|(_, it)| answers(it.outcome)) {
        return None;
    }
    // One site may be blocked from here while the server is off; two of them hardly.
    let unnamed = tried.iter().any(|it| it.failed_at(Stage::Resolve).is_some());
    let confidence =
        if hosts(&tried) > 1 || unnamed { Confidence::Likely } else { Confidence::Possible };
    let because = tried.iter().map(|it| it.reference).chain(references(&sent));
    let found = suspect(Code::NoInternet, confidence, because);
    Some(found.or(Code::HostSilent, "separate-open-any-site"))
}

/// `https://` was asked for, and the port speaks in the clear.
pub(super) fn tls_not_spoken(evidence: &Evidence) -> Option<Suspect> {
    if evidence.asked.scheme != Scheme::Https {
        return None;
    }
    let all = through(evidence);
    // Where one handshake came to its end TLS is spoken.
    let spoken = |it: &&super::seen::Seen<'_>| {
        it.trip.proxy_certificate.is_some() || it.got_beyond() || it.trip.proxy.is_some()
    };
    if all.iter().any(|it| spoken(&it)) {
        return None;
    }
    let failed: Vec<_> = all
        .iter()
        .filter_map(|it| Some((it.reference, it.failed_at(Stage::ProxyTls)?.how)))
        .collect();
    let hello = evidence.hello();
    let plain = hello.filter(|(_, it)| {
        matches!(it.speaks, Some(Speaks::SamiProxy | Speaks::HttpProxy | Speaks::Socks))
    });
    let garbled = failed.iter().any(|(_, how)| *how == How::Malformed);
    let ended = failed.iter().any(|(_, how)| matches!(how, How::Closed | How::Reset | How::Alert));
    let because = failed.iter().map(|(it, _)| *it).chain(plain.map(|(it, _)| it));
    let found = |confidence| suspect(Code::TlsNotSpoken, confidence, because);
    match (garbled, ended, plain.is_some()) {
        // It speaks in the clear, and answers a greeting in TLS with something that is none.
        (true, _, true) => Some(found(Confidence::Certain)),
        (true, _, false) => {
            Some(found(Confidence::Likely).or(Code::NotAProxy, "separate-speak-in-the-clear"))
        }
        (false, true, true) => {
            Some(found(Confidence::Likely).or(Code::ConnectFiltered, "separate-log-of-the-proxy"))
        }
        (false, ..) => None,
    }
}

/// The proxy's own certificate is not to be trusted.
pub(super) fn proxy_cert_untrusted(evidence: &Evidence) -> Option<Suspect> {
    let all = through(evidence);
    let hits: Vec<_> = all
        .iter()
        .filter(|it| it.failed_at(Stage::ProxyTls).is_some_and(|it| it.how == How::Certificate))
        .collect();
    let because = hits.iter().map(|it| it.reference);
    let certificate = hits.iter().find_map(|it| it.trip.proxy_certificate.as_ref());
    if hits.is_empty() {
        return None;
    }
    // Who has given a root or a pin knows which certificate is the right one: this is another.
    let given = certificate.is_some_and(|it| it.given.is_some_and(|it| it != Trust::Trusted));
    let found = suspect(Code::ProxyCertUntrusted, Confidence::Likely, because)
        .or(Code::CaptivePortal, "separate-pin-of-the-proxy");
    let found =
        if given { found } else { found.or(Code::TlsIntercepted, "separate-pin-of-the-proxy") };
    Some(found.with_some("issuer", certificate.map(|it| &it.issuer)))
}

/// 407 and the like.
fn logins<'e>(evidence: &'e Evidence, with: &[Credentials]) -> Vec<No<'e>> {
    if with.contains(&evidence.asked.credentials) {
        of_why(evidence, &[Why::Login])
    } else {
        Vec::new()
    }
}

fn all_of<'e>(noes: &[No<'e>]) -> Vec<&'e Reference> {
    noes.iter().map(|it| it.seen.reference).collect()
}

/// It wants a password that we have not given.
pub(super) fn proxy_auth_required(evidence: &Evidence) -> Option<Suspect> {
    let hits = logins(evidence, &[Credentials::None]);
    let first = hits.first()?;
    let schemes = first.seen.trip.proxy.as_ref().map(|it| &it.schemes);
    // An SSO of a company; such a proxy is not the one that was meant.
    let foreign = schemes.is_some_and(|it| !it.is_empty() && !it.iter().any(|it| it == "basic"));
    let because = all_of(&hits);
    Some(if foreign {
        suspect(Code::ProxyAuthRequired, Confidence::Likely, because)
            .or(Code::NotAProxy, "separate-whose-proxy")
    } else {
        suspect(Code::ProxyAuthRequired, Confidence::Certain, because)
    })
}

/// It does not take the password that we have given.
pub(super) fn proxy_auth_rejected(evidence: &Evidence) -> Option<Suspect> {
    let hits = logins(evidence, &[Credentials::Given, Credentials::Odd]);
    let first = hits.first()?;
    let because = all_of(&hits);
    let reply = first.seen.trip.proxy.as_ref();
    // SOCKS: it took none of the methods, and so never heard the password.
    let unheard = reply.is_some_and(|it| it.socks && it.status == 255);
    let schemes = reply.map(|it| &it.schemes);
    let foreign = schemes.is_some_and(|it| !it.is_empty() && !it.iter().any(|it| it == "basic"));
    let found = if unheard || foreign {
        suspect(Code::ProxyAuthRejected, Confidence::Likely, because)
            .or(Code::NotAProxy, "separate-whose-proxy")
    } else if evidence.asked.credentials == Credentials::Odd {
        suspect(Code::ProxyAuthRejected, Confidence::Likely, because)
            .or(Code::CredentialsMisencoded, "separate-other-encoding")
    } else {
        suspect(Code::ProxyAuthRejected, Confidence::Certain, because)
    };
    Some(found)
}

/// The password looks as if it had been encoded not at all, or twice.
///
/// Who lets us in has understood it.
pub(super) fn credentials_misencoded(evidence: &Evidence) -> Option<Suspect> {
    if evidence.asked.credentials != Credentials::Odd {
        return None;
    }
    let all = through(evidence);
    if all.iter().any(super::seen::Seen::got_beyond) {
        return None;
    }
    let rejected = of_why(evidence, &[Why::Login]);
    let confidence = if rejected.is_empty() { Confidence::Possible } else { Confidence::Likely };
    let because: Vec<&Reference> = if rejected.is_empty() {
        all.iter().map(|it| it.reference).collect()
    } else {
        all_of(&rejected)
    };
    if because.is_empty() {
        return None;
    }
    let found = suspect(Code::CredentialsMisencoded, confidence, because);
    Some(found.or(Code::ProxyAuthRejected, "separate-other-encoding"))
}

/// The proxy says no to whatever we ask for.
///
/// sami-proxy tells a client that it does not serve nothing at all: that is
/// `accepted-then-closed`.
pub(super) fn client_not_allowed(evidence: &Evidence) -> Option<Suspect> {
    if evidence.asked.command == Command::CheckPort || is_ours(evidence) {
        return None;
    }
    let all = through(evidence);
    let denied = of_why(evidence, &[Why::Forbidden]);
    // Whoever was let through once is allowed, and words of ours are about targets.
    let foreign = denied.iter().all(|it| it.source < Source::Ours);
    if denied.is_empty() || !foreign || denied.len() < all.len() {
        return None;
    }
    let seen: Vec<_> = denied.iter().map(|it| it.seen).collect();
    let neutral =
        super::filter::trial(evidence, Trick::NeutralName).filter(|(_, it)| it.status == Some(403));
    if hosts(&seen) < 2 && neutral.is_none() {
        return None;
    }
    let because = all_of(&denied).into_iter().chain(neutral.map(|(reference, _)| reference));
    Some(
        suspect(Code::ClientNotAllowed, Confidence::Likely, because)
            .or(Code::TargetDeniedByProxy, "separate-log-of-the-proxy"),
    )
}

/// The proxy sees an address that is none of ours, in the stead of ours.
pub(super) fn client_address_hidden(evidence: &Evidence) -> Option<Suspect> {
    let (reference, hello) = evidence.hello()?;
    let client: std::net::SocketAddr = hello.client.as_ref()?.parse().ok()?;
    let ip = client.ip().to_canonical();
    let far = evidence.primary().is_some_and(|it| is_public(it.ip()));
    let sources: Vec<_> = evidence.routes().filter_map(|(_, it)| it.source).collect();
    // From the same private network the proxy sees us as we are.
    let same = sources.is_empty() || sources.contains(&ip);
    if !far || same || is_public(ip) || ip.is_loopback() || !is_ours(evidence) {
        return None;
    }
    let std::net::IpAddr::V4(v4) = ip else { return None };
    // Docker takes its networks from 172.16.0.0/12 first, and the gateway is the first address.
    let [a, b, _, last] = v4.octets();
    let gateway = a == 172 && (16..32).contains(&b) && last == 1;
    let confidence = if gateway { Confidence::Likely } else { Confidence::Possible };
    let routes = evidence.facts.iter().filter(|fact| fact.check == CheckId::Route);
    let because = [reference].into_iter().chain(routes.map(|it| &it.reference));
    Some(
        suspect(Code::ClientAddressHidden, confidence, because)
            .or(Code::BehindNat, "separate-log-of-the-proxy")
            .with("client", &ip),
    )
}

/// Whether the proxy has answered some request in whatever words, or has greeted us in TLS: then
/// there is somebody.
pub(super) fn answers_requests(evidence: &Evidence) -> bool {
    let greeted =
        |it: &super::seen::Seen<'_>| it.got_beyond() || it.trip.proxy_certificate.is_some();
    through(evidence).iter().any(|it| greeted(it) || it.trip.proxy.is_some())
}
