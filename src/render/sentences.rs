//! Facts and causes as sentences; the words are those of [`super::words`].

use serde::Serialize;

use super::server::{
    contained, engined, filtered, kernel, listened, measured, owned, reached_out, witnessed,
};
use super::through::{applied, healthy, idled, journeyed, streamed, transferred, tried};
use super::words::{Arg, Lang, Words};
use super::{inside, machine};
use crate::diag::code::{Code, Severity};
use crate::diag::evidence::{Command, Evidence, Role, Subject};
use crate::diag::fact::{
    Addresses, Attempt, CheckId, Connects, Data, Fact, Hello, Journey, Outcome, Route, Speaks,
    Status,
};
use crate::diag::infer::{Confidence, Suspect};
use crate::diag::report::Report;
use crate::diag::times::round_trips;

use Arg::{Number, Text};

/// A text that needs nothing but the subject.
pub(super) fn about(id: &str, subject: &Subject, words: &Words) -> String {
    let (port, proxy) = (subject.port.to_string(), subject.authority());
    words.text(id, &[("host", Text(&subject.host)), ("port", Text(&port)), ("proxy", Text(&proxy))])
}

/// What mends a cause, with what is known of it.
pub(super) fn advice(id: &str, suspect: &Suspect, subject: &Subject, words: &Words) -> String {
    let (port, proxy) = (subject.port.to_string(), subject.authority());
    let mut all =
        vec![("host", Text(subject.host.as_str())), ("port", Text(&port)), ("proxy", Text(&proxy))];
    all.extend(suspect.arguments.iter().map(|(name, value)| (*name, Text(value.as_str()))));
    words.text(id, &all)
}

/// A word.
pub(super) fn word(group: &str, name: &str, words: &Words) -> String {
    words.text(&format!("{group}-{name}"), &[])
}

/// The word for a value of an enum; messages are named as JSON names the value.
pub(super) fn named(group: &str, value: impl Serialize, words: &Words) -> String {
    let name = serde_json::to_value(value).unwrap_or_default();
    word(group, name.as_str().unwrap_or_default(), words)
}

/// `text` with a capital at its beginning, unless it begins with one of `names`, and a full stop.
pub(super) fn sentence(text: &str, names: &[&str]) -> String {
    let mut letters = text.chars();
    let first = letters.next();
    if names.iter().any(|name| !name.is_empty() && text.starts_with(name)) {
        return format!("{text}.");
    }
    let first: String = first.into_iter().flat_map(char::to_uppercase).collect();
    format!("{first}{}.", letters.as_str())
}

/// The cause in a sentence.
pub(super) fn cause(report: &Report, suspect: &Suspect, words: &Words) -> String {
    let subject = &report.evidence.subject;
    let (port, proxy) = (subject.port.to_string(), subject.authority());
    let hello = report.evidence.hello().map(|(_, hello)| hello);
    let what = hello.map_or_else(|| words.text("speaks-untold", &[]), |it| who(it, words));
    let mut all = vec![("what", Text(&what))];
    all.extend(suspect.arguments.iter().map(|(name, value)| (*name, Text(value))));
    all.extend([("host", Text(&subject.host)), ("port", Text(&port)), ("proxy", Text(&proxy))]);
    let seconds = suspect.arguments.get("seconds").and_then(|it| it.parse().ok());
    let span = seconds.map(|it| span(it, words)).unwrap_or_default();
    all.push(("span", Text(&span)));
    let somebody = words.text("fact-other-program", &[]);
    if suspect.code == Code::PortTaken {
        // Who has it only root may see.
        all.push(("other", Text(&somebody)));
    }
    let untold = hello.is_none_or(|it| it.speaks.is_none());
    let reached = reached(report);
    let (sites, role) = (count(reached.len()), report.evidence.asked.role);
    let first = reached.first().copied().unwrap_or_default();
    let text = match (suspect.code, report.evidence.asked.command) {
        (Code::Ok, Command::Doctor) if role == Role::Host => words.text("ok-server", &all),
        (Code::Ok, Command::Doctor) if role == Role::Container => {
            let inside = suspect.arguments.get("inside").map_or("", String::as_str);
            all.retain(|(name, _)| *name != "port");
            all.push(("port", Text(inside)));
            words.text("ok-container", &all)
        }
        // Of the server nothing is known there.
        (Code::ContainerNoEgress, Command::Doctor) if role == Role::Container => {
            words.text("fact-container-no-way", &all)
        }
        (Code::Ok, Command::Probe | Command::Doctor) if !reached.is_empty() => {
            all.insert(0, ("target", Text(first)));
            all.insert(0, ("count", Number(sites.saturating_sub(1))));
            words.text(if sites > 1 { "ok-through-many" } else { "ok-through" }, &all)
        }
        // It was proved by both ends, not only suspected by one.
        (Code::CloudFirewallSuspected, _) if suspect.severity == Severity::Problem => {
            words.text("joint-kept-away", &all)
        }
        // Who asks may be on the server.
        (Code::BehindNat, _) if suspect.confidence == Confidence::Possible => {
            words.text("behind-nat-perhaps", &all)
        }
        (Code::Ok, Command::CheckPort) if untold => words.text("ok-untold", &all),
        _ => words.summary(suspect.code, &all),
    };
    // A name keeps its small letter.
    let given = suspect.arguments.values().map(String::as_str);
    sentence(&text, &given.chain([subject.host.as_str(), &proxy]).collect::<Vec<_>>())
}

/// So many seconds in the largest unit that they fill.
pub(super) fn span(seconds: u64, words: &Words) -> String {
    let (id, unit) = match seconds {
        0..=119 => ("span-seconds", 1),
        120..=7_199 => ("span-minutes", 60),
        7_200..=172_799 => ("span-hours", 3_600),
        _ => ("span-days", 86_400),
    };
    words.text(id, &[("count", Number(seconds / unit))])
}

/// The targets that answered through the proxy, each once.
fn reached(report: &Report) -> Vec<&str> {
    let answered = |it: &Journey| it.trips.iter().any(|trip| trip.answer.is_some());
    let mut all: Vec<&str> = Vec::new();
    for (_, journey) in report.evidence.journeys().filter(|(_, it)| answered(it)) {
        if !all.contains(&journey.target.as_str()) {
            all.push(&journey.target);
        }
    }
    all
}

/// The verdict in a sentence.
pub(super) fn headline(report: &Report, words: &Words) -> String {
    match &report.diagnosis.verdict {
        Some(suspect) => cause(report, suspect, words),
        None => sentence(&about("unexplained", &report.evidence.subject, words), &[]),
    }
}

/// What answers, with its name.
fn who(hello: &Hello, words: &Words) -> String {
    let Some(speaks) = hello.speaks else { return words.text("speaks-untold", &[]) };
    let what = named("speaks", speaks, words);
    match hello.version.as_ref().or(hello.name.as_ref()) {
        Some(name) => format!("{what} ({name})"),
        None => what,
    }
}

/// What a check found, in a sentence; `end` is the evidence that the fact belongs to.
pub(super) fn summary(fact: &Fact, end: &Evidence, words: &Words) -> String {
    if let Status::Skipped(why) = fact.status {
        return words.text("fact-skipped", &[("why", Text(&named("skip", why, words)))]);
    }
    match &fact.data {
        None => words.text("fact-empty", &[]),
        Some(Data::Addresses(it)) => resolved(fact, it, end, words),
        Some(Data::Route(it)) => routed(it, words),
        Some(Data::Connects(it)) if fact.check == CheckId::TcpConnect => {
            connected(fact, it, end, words)
        }
        Some(Data::Connects(it)) => siblings(it, words),
        Some(Data::Ladder(it)) => match it.answers_from {
            Some(hop) => {
                let id = match it.behind_server {
                    Some(true) => "fact-ttl-ladder-behind",
                    Some(false) => "fact-ttl-ladder-server",
                    None => "fact-ttl-ladder",
                };
                words.text(id, &[("hop", Number(hop.into()))])
            }
            None => words.text("fact-ttl-ladder-failed", &[]),
        },
        Some(Data::Control(it)) => {
            let outcome = named("outcome", it.attempt.outcome, words);
            let control = it.attempt.address.to_string();
            let all = [("subject", Text(&control)), ("outcome", Text(&outcome))];
            words.text("fact-control-address", &all)
        }
        Some(Data::Hello(it)) => greeted(it, words),
        Some(Data::Transfer(it)) => transferred(it, words),
        Some(Data::Streaming(it)) => streamed(it, words),
        Some(Data::Idle(it)) => idled(it, words),
        Some(Data::Trials(it)) => tried(it, words),
        Some(Data::Health(it)) => healthy(it, words),
        Some(Data::Journey(it)) => journeyed(fact, it, words),
        Some(Data::Client(it)) => applied(it, words),
        Some(Data::Engine(it)) => engined(it, words),
        Some(Data::Containers(it)) => contained(it.all, end, words),
        Some(Data::Egress(it)) => reached_out(it, words),
        Some(Data::Inside(it)) => inside::looked_around(it, words),
        Some(Data::Resources(it)) => measured(it, words),
        Some(Data::PacketFilter(it)) => filtered(it, end, words),
        Some(Data::Listeners(it)) => listened(it, words),
        Some(Data::Kernel(it)) => kernel(it, words),
        Some(Data::OwnAddresses(it)) => owned(it, words),
        Some(Data::Witness(it)) => witnessed(it, words),
        Some(Data::Adapters(it)) => machine::adapters(it, words),
        Some(Data::ProxySettings(it)) => machine::settings(it, words),
        Some(Data::HostsFile(it)) => machine::hosts(it, words),
        Some(Data::Nat64(it)) => machine::translated(it, words),
    }
}

fn resolved(fact: &Fact, found: &Addresses, evidence: &Evidence, words: &Words) -> String {
    let subject = ("subject", Text(&evidence.subject.host));
    let text = if let Some(failure) = found.failure {
        let (failure, ms) = (named("failure", failure, words), ms(found.elapsed_us, words));
        let all = [subject, ("failure", Text(&failure)), ("ms", Text(&ms))];
        words.text("fact-resolve-failed", &all)
    } else {
        let addresses: Vec<_> = found.addresses.iter().map(ToString::to_string).collect();
        words.text("fact-resolve", &[subject, ("addresses", Text(&addresses.join(", ")))])
    };
    if fact.check == CheckId::OtherResolver {
        // Who says so.
        return format!("{}: {text}", fact.subject);
    }
    text
}

fn routed(route: &Route, words: &Words) -> String {
    let to = route.to.to_string();
    let to = ("to", Text(&to));
    match route.source {
        Some(source) => words.text("fact-route", &[to, ("source", Text(&source.to_string()))]),
        None => words.text("fact-route-failed", &[to]),
    }
}

fn connected(fact: &Fact, connects: &Connects, end: &Evidence, words: &Words) -> String {
    let attempts = &connects.attempts;
    let Some(told) = attempts.iter().find(|it| it.outcome == Outcome::Open).or(attempts.last())
    else {
        return words.text("fact-empty", &[]);
    };
    let same: Vec<_> = attempts.iter().filter(|it| it.outcome == told.outcome).collect();
    let longest = same.iter().map(|it| it.elapsed_us).max().unwrap_or_default();
    let primary = end.primary().is_some_and(|it| it == told.address);
    let answers = matches!(told.outcome, Outcome::Open | Outcome::Refused);
    let times = round_trips(end).filter(|_| primary && answers);
    let took = ms(times.map_or(longest, |it| it.median_us), words);
    let outcome = named("outcome", told.outcome, words);
    let mut all = vec![
        ("subject", Text(&fact.subject)),
        ("outcome", Text(&outcome)),
        ("times", Number(count(same.len()))),
        ("attempts", Number(count(attempts.len()))),
        ("ms", Text(&took)),
    ];
    let Some(times) = times else { return words.text("fact-tcp-connect", &all) };
    let (min, jitter) = (ms(times.min_us, words), ms(times.jitter_us, words));
    all.extend([("min", Text(&min)), ("jitter", Text(&jitter))]);
    words.text("fact-round-trip", &all)
}

fn greeted(hello: &Hello, words: &Words) -> String {
    let longest = hello.exchanges.iter().map(|it| it.elapsed_us).max().unwrap_or_default();
    let (what, longest) = (who(hello, words), ms(longest, words));
    let times = count(hello.exchanges.len());
    let all = [("what", Text(&what)), ("times", Number(times)), ("ms", Text(&longest))];
    let id = match hello.speaks {
        Some(Speaks::Closes) => "fact-hello-closes",
        Some(Speaks::Nothing) => "fact-hello-nothing",
        Some(
            Speaks::SamiProxy
            | Speaks::HttpProxy
            | Speaks::WebServer
            | Speaks::Ssh
            | Speaks::Tls
            | Speaks::Socks
            | Speaks::Unknown,
        )
        | None => "fact-hello",
    };
    words.text(id, &all)
}

/// Ports that came to the same are told together.
fn siblings(connects: &Connects, words: &Words) -> String {
    let mut groups: Vec<(Outcome, Vec<&Attempt>)> = Vec::new();
    for attempt in &connects.attempts {
        match groups.iter_mut().find(|(outcome, _)| *outcome == attempt.outcome) {
            Some((_, group)) => group.push(attempt),
            None => groups.push((attempt.outcome, vec![attempt])),
        }
    }
    let told: Vec<String> =
        groups.iter().map(|(outcome, group)| sibling(*outcome, group, words)).collect();
    words.text("fact-sibling-ports", &[("ports", Text(&told.join("; ")))])
}

fn sibling(outcome: Outcome, group: &[&Attempt], words: &Words) -> String {
    let ports: Vec<String> = group.iter().map(|it| it.address.port().to_string()).collect();
    let fastest = group.iter().map(|it| it.elapsed_us).min().unwrap_or_default();
    let (ports, outcome) = (ports.join(", "), named("outcome", outcome, words));
    let fastest = ms(fastest, words);
    let all = [("ports", Text(&ports)), ("outcome", Text(&outcome)), ("ms", Text(&fastest))];
    words.text("fact-sibling", &all)
}

pub(super) fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

/// Milliseconds; tenths where they count.
pub(super) fn ms(us: u64, words: &Words) -> String {
    let point = match words.lang() {
        Lang::Ru => ',',
        Lang::En => '.',
    };
    if us < 100 {
        format!("<0{point}1")
    } else if us < 10_000 {
        format!("{}{point}{}", us / 1000, us % 1000 / 100)
    } else {
        (us / 1000).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::{ms, sentence};
    use crate::render::words::{Lang, Words};

    #[test]
    fn a_sentence_begins_with_a_capital_unless_with_a_name() {
        assert_eq!(sentence("порт закрыт", &[]), "Порт закрыт.");
        assert_eq!(sentence("example.org is silent", &["example.org"]), "example.org is silent.");
        assert_eq!(sentence("10.0.0.1 is silent", &[""]), "10.0.0.1 is silent.");
        assert_eq!(sentence("", &[]), ".");
    }

    #[test]
    fn milliseconds_have_tenths_where_they_count() {
        let (ru, en) = (Words::new(Lang::Ru), Words::new(Lang::En));
        for (us, english, russian) in [
            (0, "<0.1", "<0,1"),
            (100, "0.1", "0,1"),
            (9_999, "9.9", "9,9"),
            (10_000, "10", "10"),
            (5_000_964, "5000", "5000"),
        ] {
            assert_eq!((ms(us, &en).as_str(), ms(us, &ru).as_str()), (english, russian));
        }
    }
}
