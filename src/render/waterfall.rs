//! Where the time of a request went: a bar for each phase, one below the other.

use std::fmt::Write;

use super::human::length;
use super::look::{Glyphs, Look};
use super::sentences::{ms, named};
use super::through::ended;
use super::words::{Arg, Words};
use crate::diag::evidence::Evidence;
use crate::diag::fact::{CheckId, Journey, Trip};
use crate::diag::infer::reach;
use crate::diag::llm::provider_of;
use crate::diag::report::{Health, of_reach};
use crate::tame::tame;

/// The widest bar, in columns.
const WIDTH: u64 = 32;

/// The waterfalls of all targets that were asked for, each with its heading; nothing when there are
/// none.
pub(super) fn all(evidence: &Evidence, words: &Words, look: Look) -> String {
    let mut out = String::new();
    for (_, journey) in evidence.all::<Journey>(CheckId::ThroughProxy) {
        if let Some(trip) = journey.typical().filter(|trip| !trip.laps.is_empty()) {
            one(&mut out, journey, trip, (words, look));
        }
    }
    out
}

/// What became of every provider that was looked for, one below the other; nothing when none was.
pub(super) fn providers(evidence: &Evidence, words: &Words, look: Look) -> String {
    let known = |journey: &Journey| provider_of(&journey.target).map(|it| it.name);
    let rows: Vec<_> = evidence
        .all::<Journey>(CheckId::Llm)
        .map(|(_, journey)| (known(journey).unwrap_or(&journey.target), reach(journey), journey))
        .collect();
    let mut out = String::new();
    if rows.is_empty() {
        return out;
    }
    let told = |reach| named("provider", reach, words);
    let wide = rows.iter().map(|(name, ..)| length(name)).max().unwrap_or_default();
    let deep = rows.iter().map(|(_, reach, _)| length(&told(*reach))).max().unwrap_or_default();
    let _never = writeln!(out, "\n  {}", look.bold(&words.text("llm-table", &[])));
    for (name, reach, journey) in rows {
        let health = of_reach(reach);
        let mark = look.paint_health(look.of_health(health), health);
        let ended = journey.typical().map(|trip| {
            let status = ended(trip, words);
            format!(
                "{status}, {} {}",
                ms(trip.total_us(), words),
                words.text("waterfall-unit", &[])
            )
        });
        let (name, told, ended) = (tame(name), told(reach), ended.unwrap_or_default());
        let _never = writeln!(out, "    {mark} {name:<wide$}  {told:<deep$}  {ended}");
    }
    out
}

fn one(out: &mut String, journey: &Journey, trip: &Trip, (words, look): (&Words, Look)) {
    let total = trip.total_us();
    let heading = [
        ("subject", Arg::Text(&journey.target)),
        ("outcome", Arg::Text(&ended(trip, words))),
        ("ms", Arg::Text(&ms(total, words))),
    ];
    // Writing to a string can't fail.
    let _never = writeln!(out, "\n  {}", look.bold(&words.text("waterfall", &heading)));
    let names: Vec<String> = trip.laps.iter().map(|lap| named("stage", lap.stage, words)).collect();
    let wide = names.iter().map(|name| length(name)).max().unwrap_or_default();
    let mut begun = 0;
    for (lap, name) in trip.laps.iter().zip(names) {
        let bar = bar(begun, lap.us, total, look);
        begun += lap.us;
        let took = format!("{:>6}", ms(lap.us, words));
        let spread = journey.spread(lap.stage).filter(|it| it.count > 1).map(|it| {
            let (median, p95) = (ms(it.median_us, words), ms(it.p95_us, words));
            let jitter = ms(it.jitter_us, words);
            let all = [
                ("ms", Arg::Text(&median)),
                ("most", Arg::Text(&p95)),
                ("jitter", Arg::Text(&jitter)),
            ];
            format!("  {}", words.text("waterfall-spread", &all))
        });
        let failed = trip.failure.as_ref().filter(|failure| failure.stage == lap.stage);
        let failed = failed.map(|failure| {
            format!("  {} {}", look.of_health(Health::Bad), tame(&named("how", failure.how, words)))
        });
        let rest = failed.or(spread).unwrap_or_default();
        let unit = words.text("waterfall-unit", &[]);
        let _never = writeln!(out, "    {name:<wide$}  {bar}  {took} {unit}{rest}");
    }
}

/// A bar of `length` from `begun` on, both in the unit of `total`; padded to [`WIDTH`].
fn bar(begun: u64, length: u64, total: u64, look: Look) -> String {
    let total = total.max(1);
    let column =
        |at: u64| (u128::from(at) * u128::from(WIDTH) / u128::from(total)).min(WIDTH.into());
    let from = column(begun).min(u128::from(WIDTH) - 1);
    let to = column(begun.saturating_add(length)).max(from + 1);
    let full = match look.glyphs {
        Glyphs::Unicode => '\u{2588}',
        Glyphs::Ascii => '#',
    };
    (0..u128::from(WIDTH)).map(|at| if (from..to).contains(&at) { full } else { ' ' }).collect()
}

#[cfg(test)]
mod tests {
    use super::{WIDTH, bar};
    use crate::render::look::{Colours, Glyphs, Look};

    #[test]
    fn a_bar_is_where_its_time_was_and_is_always_seen() {
        let look = Look { colours: Colours::Off, glyphs: Glyphs::Ascii };
        let shape = |begun, length, total| bar(begun, length, total, look).trim_end().to_owned();
        assert_eq!(shape(0, 100, 100), "#".repeat(32));
        assert_eq!(shape(50, 50, 100), format!("{}{}", " ".repeat(16), "#".repeat(16)));
        assert_eq!(shape(0, 0, 100), "#");
        assert_eq!(shape(100, 0, 100), format!("{}#", " ".repeat(31)));
        assert_eq!(shape(0, 0, 0), "#");
        assert_eq!(shape(u64::MAX, u64::MAX, u64::MAX).trim(), "#");
        let width = usize::try_from(WIDTH).unwrap();
        assert_eq!(bar(3, 5, 9, look).chars().count(), width);
    }
}
