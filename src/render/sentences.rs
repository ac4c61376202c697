//! Facts and causes as sentences; the words are those of [`super::phrases`].

use super::phrases::{Arguments, phrase};
use crate::diag::code::Code;
use crate::diag::diagnosis::State;
use crate::diag::evidence::Subject;
use crate::diag::fact::{
    Addresses, Attempt, Connects, Data, Fact, Hello, NameFailure, Outcome, Route, Skip, Speaks,
    Status,
};
use crate::diag::infer::Suspect;
use crate::diag::report::{Report, round_trips};

/// What every sentence may mention.
pub(super) fn arguments(subject: &Subject) -> Arguments {
    Arguments::from([
        ("host", subject.host.clone()),
        ("port", subject.port.to_string()),
        ("target", subject.authority()),
    ])
}

/// A sentence that needs nothing but the subject.
pub(super) fn about(key: &str, subject: &Subject) -> String {
    phrase(key, &arguments(subject))
}

/// A word.
pub(super) fn word(group: &str, name: &str) -> String {
    phrase(&format!("{group}-{name}"), &Arguments::new())
}

/// The cause in a sentence.
pub(super) fn cause(report: &Report, suspect: &Suspect) -> String {
    let mut all = arguments(&report.evidence.subject);
    all.extend(suspect.arguments.clone());
    if let Some((_, hello)) = report.evidence.hello() {
        all.insert("what", who(hello));
    } else {
        all.insert("what", word("speaks", "untold"));
    }
    let untold = report.evidence.hello().is_none_or(|(_, hello)| hello.speaks.is_none());
    if suspect.code == Code::Ok && untold {
        return phrase("cause-ok-untold", &all);
    }
    phrase(&format!("cause-{}", suspect.code.word()), &all)
}

/// The verdict in a sentence.
pub(super) fn headline(report: &Report) -> String {
    match &report.diagnosis.verdict {
        Some(suspect) => cause(report, suspect),
        None => about("cause-none", &report.evidence.subject),
    }
}

/// Something that nobody looked at.
#[derive(Debug)]
pub(super) struct NotChecked {
    pub(super) what: String,
    pub(super) why: String,
    /// What would tell.
    pub(super) unlock: String,
}

/// What this report does not tell.
pub(super) fn not_checked(report: &Report) -> Vec<NotChecked> {
    let subject = &report.evidence.subject;
    let key = match report.diagnosis.state {
        State::Ok | State::Degraded => "not-checked-beyond",
        State::Broken | State::Inconclusive => "not-checked-server",
    };
    let mut all = vec![NotChecked {
        what: about(key, subject),
        why: about(&format!("{key}-why"), subject),
        unlock: about(&format!("{key}-unlock"), subject),
    }];
    if let Some(why) = report.is_cut_short() {
        all.push(NotChecked {
            what: about("not-checked-rest", subject),
            why: word("skip", skip_word(why)),
            unlock: about("not-checked-rest-unlock", subject),
        });
    }
    all
}

/// What answers, with its name.
fn who(hello: &Hello) -> String {
    let what = word("speaks", hello.speaks.map_or("untold", speaks_word));
    match hello.version.as_ref().or(hello.name.as_ref()) {
        Some(name) => phrase("named", &Arguments::from([("what", what), ("name", name.clone())])),
        None => what,
    }
}

/// What a check found, in a sentence.
pub(super) fn summary(fact: &Fact, report: &Report) -> String {
    if let Status::Skipped(why) = fact.status {
        let why = word("skip", skip_word(why));
        return phrase("check-skipped", &Arguments::from([("why", why)]));
    }
    match &fact.data {
        None => phrase("check-empty", &Arguments::new()),
        Some(Data::Addresses(it)) => resolved(fact, it),
        Some(Data::Route(it)) => routed(it),
        Some(Data::Connects(it)) if fact.check == crate::diag::fact::CheckId::TcpConnect => {
            connected(fact, it, report)
        }
        Some(Data::Connects(it)) => siblings(it),
        Some(Data::Ladder(it)) => match it.answers_from {
            Some(hop) => phrase("check-ttl-ladder", &Arguments::from([("hop", hop.to_string())])),
            None => phrase("check-ttl-ladder-failed", &Arguments::new()),
        },
        Some(Data::Control(it)) => {
            let outcome = word("outcome", outcome_word(it.attempt.outcome));
            let control = it.attempt.address.to_string();
            let all = Arguments::from([("control", control), ("outcome", outcome)]);
            phrase("check-control-address", &all)
        }
        Some(Data::Hello(it)) => greeted(it),
    }
}

fn resolved(fact: &Fact, found: &Addresses) -> String {
    let mut all = Arguments::from([("subject", fact.subject.clone())]);
    if let Some(failure) = found.failure {
        all.insert("failure", word("failure", failure_word(failure)));
        all.insert("ms", ms(found.elapsed_us));
        return phrase("check-resolve-failed", &all);
    }
    let addresses: Vec<_> = found.addresses.iter().map(ToString::to_string).collect();
    all.insert("addresses", addresses.join(", "));
    phrase("check-resolve", &all)
}

fn routed(route: &Route) -> String {
    let mut all = Arguments::from([("to", route.to.to_string())]);
    match route.source {
        Some(source) => {
            all.insert("source", source.to_string());
            phrase("check-route", &all)
        }
        None => phrase("check-route-failed", &all),
    }
}

fn connected(fact: &Fact, connects: &Connects, report: &Report) -> String {
    let attempts = &connects.attempts;
    let Some(told) = attempts.iter().find(|it| it.outcome == Outcome::Open).or(attempts.last())
    else {
        return phrase("check-empty", &Arguments::new());
    };
    let same: Vec<_> = attempts.iter().filter(|it| it.outcome == told.outcome).collect();
    let longest = same.iter().map(|it| it.elapsed_us).max().unwrap_or_default();
    let mut all = Arguments::from([
        ("subject", fact.subject.clone()),
        ("outcome", word("outcome", outcome_word(told.outcome))),
        ("times", same.len().to_string()),
        ("attempts", attempts.len().to_string()),
        ("ms", ms(longest)),
    ]);
    let primary = report.evidence.primary().is_some_and(|it| it == told.address);
    let answers = matches!(told.outcome, Outcome::Open | Outcome::Refused);
    match round_trips(&report.evidence).filter(|_| primary && answers) {
        Some(times) => {
            all.insert("ms", ms(times.median_us));
            all.insert("min", ms(times.min_us));
            all.insert("jitter", ms(times.jitter_us));
            phrase("check-round-trip", &all)
        }
        None => phrase("check-tcp-connect", &all),
    }
}

fn greeted(hello: &Hello) -> String {
    let tries = hello.exchanges.len();
    let longest = hello.exchanges.iter().map(|it| it.elapsed_us).max().unwrap_or_default();
    let all =
        Arguments::from([("what", who(hello)), ("times", tries.to_string()), ("ms", ms(longest))]);
    let key = match hello.speaks {
        Some(Speaks::Closes) => "check-hello-closes",
        Some(Speaks::Nothing) => "check-hello-nothing",
        Some(
            Speaks::SamiProxy
            | Speaks::HttpProxy
            | Speaks::WebServer
            | Speaks::Ssh
            | Speaks::Tls
            | Speaks::Socks
            | Speaks::Unknown,
        )
        | None => "check-hello",
    };
    phrase(key, &all)
}

/// Ports that came to the same are told together.
fn siblings(connects: &Connects) -> String {
    let mut groups: Vec<(Outcome, Vec<&Attempt>)> = Vec::new();
    for attempt in &connects.attempts {
        match groups.iter_mut().find(|(outcome, _)| *outcome == attempt.outcome) {
            Some((_, group)) => group.push(attempt),
            None => groups.push((attempt.outcome, vec![attempt])),
        }
    }
    let told: Vec<String> =
        groups.iter().map(|(outcome, group)| sibling(*outcome, group)).collect();
    phrase("check-sibling-ports", &Arguments::from([("ports", told.join("; "))]))
}

fn sibling(outcome: Outcome, group: &[&Attempt]) -> String {
    let ports: Vec<String> = group.iter().map(|it| it.address.port().to_string()).collect();
    let fastest = group.iter().map(|it| it.elapsed_us).min().unwrap_or_default();
    let all = Arguments::from([
        ("port", ports.join(", ")),
        ("outcome", word("outcome", outcome_word(outcome))),
        ("ms", ms(fastest)),
    ]);
    phrase("check-sibling", &all)
}

/// Milliseconds; tenths where they count.
fn ms(us: u64) -> String {
    if us < 100 {
        "<0.1".to_owned()
    } else if us < 10_000 {
        format!("{}.{}", us / 1000, us % 1000 / 100)
    } else {
        (us / 1000).to_string()
    }
}

const fn outcome_word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Open => "open",
        Outcome::Refused => "refused",
        Outcome::Silent => "silent",
        Outcome::HostUnreachable => "host-unreachable",
        Outcome::NetworkUnreachable => "network-unreachable",
        Outcome::ProtocolUnreachable => "protocol-unreachable",
        Outcome::Forbidden => "forbidden",
        Outcome::NoSource => "no-source",
        Outcome::Reset => "reset",
        Outcome::OwnLimits => "own-limits",
        Outcome::Other => "other",
        Outcome::Unfinished => "unfinished",
    }
}

const fn failure_word(failure: NameFailure) -> &'static str {
    match failure {
        NameFailure::NoSuchName => "no-such-name",
        NameFailure::NoAddress => "no-address",
        NameFailure::TryAgain => "try-again",
        NameFailure::Failed => "failed",
        NameFailure::Silent => "silent",
        NameFailure::Other => "other",
    }
}

/// Why a check was not made.
const fn skip_word(skip: Skip) -> &'static str {
    match skip {
        Skip::AddressGiven => "address-given",
        Skip::NoAddress => "no-address",
        Skip::Loopback => "loopback",
        Skip::PortOpen => "port-open",
        Skip::PortNotOpen => "port-not-open",
        Skip::NoAnswer => "no-answer",
        Skip::NotPublic => "not-public",
        Skip::NoRoute => "no-route",
        Skip::OutOfTime => "out-of-time",
        Skip::Interrupted => "interrupted",
    }
}

const fn speaks_word(speaks: Speaks) -> &'static str {
    match speaks {
        Speaks::SamiProxy => "sami-proxy",
        Speaks::HttpProxy => "http-proxy",
        Speaks::WebServer => "web-server",
        Speaks::Ssh => "ssh",
        Speaks::Tls => "tls",
        Speaks::Socks => "socks",
        Speaks::Unknown => "unknown",
        Speaks::Nothing => "nothing",
        Speaks::Closes => "closes",
    }
}
