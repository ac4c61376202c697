//! What was measured with the proxy's help and through it, in sentences.

use super::sentences::{count, ms, named};
use super::words::{Arg, Words};
use crate::diag::fact::{
    CheckId, Client, Direction, End, Fact, Failure, Far, Health, How, Idle, Journey, Stage,
    Streaming, Transfer, Trial, Trials, Trip,
};

use Arg::{Number, Text};

/// Bytes that came or went.
pub(super) fn transferred(it: &Transfer, words: &Words) -> String {
    let (wanted, took) = (kilobytes(it.wanted), ms(it.elapsed_us, words));
    let moved = it.moved.map_or_else(|| "?".to_owned(), kilobytes);
    let gap = ms(it.longest_gap_us, words);
    let rate = it.kilobytes_per_second().unwrap_or_default();
    let all = [
        ("wanted", Text(&wanted)),
        ("moved", Text(&moved)),
        ("ms", Text(&took)),
        ("gap", Text(&gap)),
        ("rate", Number(rate)),
        ("outcome", Text(&named("end", it.end, words))),
    ];
    let down = it.direction == Direction::Down;
    words.text(
        match (it.end, down) {
            (End::Answered | End::Unfinished, true) => "fact-link-down",
            (End::Answered | End::Unfinished, false) => "fact-link-up",
            (_, true) => "fact-link-down-ended",
            (_, false) => "fact-link-up-ended",
        },
        &all,
    )
}

/// Events one by one.
pub(super) fn streamed(it: &Streaming, words: &Words) -> String {
    let outcome = named("end", it.end, words);
    let late = ms(it.latest_ms().unwrap_or_default() * 1000, words);
    let all = [
        ("times", Number(count(it.events.len()))),
        ("attempts", Number(it.wanted.into())),
        ("ms", Text(&late)),
        ("outcome", Text(&outcome)),
    ];
    let id = match it.end {
        // What came in time is within the next interval.
        End::Answered if it.latest_ms().unwrap_or_default() < it.interval_ms => "fact-stream",
        End::Answered => "fact-stream-bunched",
        End::Closed | End::Reset | End::Silent | End::NoConnection | End::Unfinished => {
            "fact-stream-ended"
        }
    };
    words.text(id, &all)
}

/// A tunnel that was silent.
pub(super) fn idled(it: &Idle, words: &Words) -> String {
    let end = it.after.unwrap_or(it.before);
    let all = [("seconds", Number(it.seconds)), ("outcome", Text(&named("end", end, words)))];
    words.text(
        match (it.before, it.after) {
            (End::Answered, Some(End::Answered)) => "fact-idle-tunnel",
            (End::Answered, _) => "fact-idle-tunnel-ended",
            _ => "fact-idle-tunnel-none",
        },
        &all,
    )
}

/// What passes and what does not.
pub(super) fn tried(it: &Trials, words: &Words) -> String {
    let each = it.trials.iter().map(|trial| tried_one(trial, words));
    each.collect::<Vec<_>>().join("; ")
}

fn tried_one(it: &Trial, words: &Words) -> String {
    let (trick, took) = (named("trick", it.trick, words), ms(it.elapsed_us, words));
    let outcome = match it.status {
        Some(status) => status.to_string(),
        None => named("end", it.end, words),
    };
    format!("{trick}: {outcome} ({took} {})", words.text("waterfall-unit", &[]))
}

/// What the proxy itself reaches.
pub(super) fn healthy(it: &Health, words: &Words) -> String {
    let parts = [
        ("far-dns", &it.dns),
        ("far-four", &it.ipv4),
        ("far-six", &it.ipv6),
        ("far-upstream", &it.upstream),
    ];
    let each = parts.into_iter().filter_map(|(id, far)| {
        Some(format!("{}: {}", words.text(id, &[]), far_word(far.as_ref()?, words)))
    });
    let told: Vec<String> = each.collect();
    if told.is_empty() { words.text("fact-empty", &[]) } else { told.join(", ") }
}

fn far_word(it: &Far, words: &Words) -> String {
    let took = it.ms.map_or_else(|| "?".to_owned(), |it| it.to_string());
    let why = it.error.clone().unwrap_or_default();
    let all = [("ms", Text(&took)), ("why", Text(&why))];
    words.text(
        match it.ok {
            Some(true) => "far-works",
            Some(false) => "far-fails",
            None => "far-untried",
        },
        &all,
    )
}

/// A request to a target.
pub(super) fn journeyed(fact: &Fact, it: &Journey, words: &Words) -> String {
    let Some(trip) = it.typical() else { return words.text("fact-empty", &[]) };
    let total = ms(trip.total_us(), words);
    let outcome = ended(trip, words);
    let all = [("subject", Text(&it.target)), ("outcome", Text(&outcome)), ("ms", Text(&total))];
    let text = words.text(
        if matches!(fact.check, CheckId::Direct | CheckId::Portal) {
            "fact-direct"
        } else {
            "fact-journey"
        },
        &all,
    );
    let failed = it.trips.iter().filter(|trip| trip.failure.is_some()).count();
    if it.trips.len() == 1 || failed == 0 {
        return text;
    }
    let all = [("times", Number(count(failed))), ("attempts", Number(count(it.trips.len())))];
    format!("{text} {}", words.text("fact-journey-some", &all))
}

/// How a trip ended: the status of the answer, or what happened where.
pub(super) fn ended(trip: &Trip, words: &Words) -> String {
    match (&trip.failure, &trip.answer) {
        (Some(failure), _) => failed(failure, trip, words),
        (None, Some(answer)) => answer.status.to_string(),
        (None, None) => words.text("fact-empty", &[]),
    }
}

fn failed(failure: &Failure, trip: &Trip, words: &Words) -> String {
    let stage = named("stage", failure.stage, words);
    if let Some(reply) = trip.proxy.as_ref().filter(|_| failure.stage == Stage::Proxy) {
        let why = reply.details.as_ref().or(reply.error.as_ref()).cloned().unwrap_or_default();
        let status = reply.status.to_string();
        let all = [("outcome", Text(&status)), ("why", Text(&why))];
        return words.text(if why.is_empty() { "ended-denied" } else { "ended-denied-why" }, &all);
    }
    let how = named("how", failure.how, words);
    let of_proxy = failure.stage == Stage::ProxyTls;
    let shown = if of_proxy { &trip.proxy_certificate } else { &trip.certificate }.as_ref();
    if let Some(it) = shown.filter(|_| failure.how == How::Certificate) {
        let (from, until) = (date(it.not_before), date(it.not_after));
        let all = [
            ("to", Text(&stage)),
            ("failure", Text(&how)),
            ("source", Text(&it.issuer)),
            ("min", Text(&from)),
            ("most", Text(&until)),
        ];
        return words.text("ended-certificate", &all);
    }
    words.text("ended-failed", &[("failure", Text(&how)), ("to", Text(&stage))])
}

/// What an ordinary client came to.
pub(super) fn applied(it: &Client, words: &Words) -> String {
    let took = ms(it.elapsed_us, words);
    let outcome = match (it.status, &it.error) {
        (Some(status), _) => status.to_string(),
        (None, Some(error)) => error.clone(),
        (None, None) => named("end", End::Unfinished, words),
    };
    let all = [("subject", Text(&it.target)), ("outcome", Text(&outcome)), ("ms", Text(&took))];
    words.text("fact-ordinary-client", &all)
}

/// The day of a moment in seconds since 1970, `2026-11-21`. The civil calendar repeats every 400
/// years, which are 146,097 days; a year is counted from March, so that a leap day is its last.
fn date(seconds: i64) -> String {
    let days = seconds.div_euclid(86_400) + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

/// Whole kilobytes (1024), at least one where there is anything.
fn kilobytes(bytes: u64) -> String {
    bytes.div_ceil(1024).to_string()
}

#[cfg(test)]
mod tests {
    use super::date;

    #[test]
    fn days_are_those_of_the_calendar() {
        for (seconds, expected) in [
            (0, "1970-01-01"),
            (-1, "1969-12-31"),
            (951_782_400, "2000-02-29"),
            (951_868_800, "2000-03-01"),
            (1_795_268_180, "2026-11-21"),
            (4_070_908_800, "2099-01-01"),
            (4_107_456_000, "2100-02-28"),
            (4_107_542_400, "2100-03-01"),
        ] {
            assert_eq!(date(seconds), expected, "{seconds}");
        }
        assert!(date(i64::MAX / 2).len() > 10 && date(i64::MIN / 2).len() > 10);
    }
}
