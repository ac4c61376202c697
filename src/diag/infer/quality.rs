//! How good the way to the proxy is.

use super::seen::through;
use super::{Confidence, Suspect, suspect};
use crate::diag::code::Code;
use crate::diag::evidence::Evidence;
use crate::diag::fact::{
    CheckId, Direction, End, Event, Idle, Journey, Outcome, Reference, Stage, Streaming, Transfer,
};

/// No TCP packet carries more over an Ethernet; what stops before this has brought no full packet.
const FULL_PACKET: u64 = 1460;
/// Where filters let a stream die: 12 to 34 KB by the reports, and some room.
const FREEZES: std::ops::RangeInclusive<u64> = 8_000..=40_000;
/// 256 kbit/s: below it a page takes minutes.
const SLOW_BYTES_A_SECOND: u64 = 32_000;
/// Less than this says nothing of a rate.
const ENOUGH: u64 = 16_384;

fn transfers(evidence: &Evidence) -> Vec<(&Reference, &Transfer)> {
    let mut all: Vec<_> = [CheckId::LinkDown, CheckId::LinkUp]
        .into_iter()
        .flat_map(|check| evidence.all::<Transfer>(check))
        .collect();
    all.sort_by_key(|(reference, _)| *reference);
    all
}

fn stopped(it: &Transfer) -> bool {
    it.end == End::Silent && it.moved.is_none_or(|moved| moved < it.wanted)
}

/// No packet of full size arrives.
pub(super) fn mtu_black_hole(evidence: &Evidence) -> Option<Suspect> {
    let none = |it: &Transfer| {
        let little = it.moved.unwrap_or_default() < FULL_PACKET;
        // Upward our own kernel knows whether anything was taken; elsewhere silence may be the
        // proxy's.
        let unsaid = it.direction == Direction::Up && it.unacknowledged == Some(0);
        stopped(it) && little && !unsaid
    };
    let all = transfers(evidence);
    let hits: Vec<_> = all.into_iter().filter(|(_, it)| none(it)).collect();
    let known = hits.iter().any(|(_, it)| it.moved.is_some() || it.unacknowledged > Some(0));
    // That small answers come is what tells it from silence.
    let (hello, greeting) = evidence.hello()?;
    if hits.is_empty() || greeting.nonce_returned != Some(true) {
        return None;
    }
    let confidence = if known { Confidence::Likely } else { Confidence::Possible };
    let because = hits.iter().map(|(it, _)| *it).chain([hello]);
    let found = suspect(Code::MtuBlackHole, confidence, because);
    Some(found.or(Code::SilentPeer, "separate-sizes"))
}

/// It stops where filters let it stop.
pub(super) fn tunnel_freezes(evidence: &Evidence) -> Option<Suspect> {
    let frozen = |it: &Transfer| stopped(it) && it.moved.is_some_and(|it| FREEZES.contains(&it));
    let all = transfers(evidence);
    let hits: Vec<_> = all.iter().filter(|(_, it)| frozen(it)).collect();
    let (_, first) = hits.first()?;
    let both = [Direction::Down, Direction::Up]
        .iter()
        .all(|way| hits.iter().any(|(_, it)| it.direction == *way));
    let because = hits.iter().map(|(it, _)| *it);
    let found = if both {
        suspect(Code::TunnelFreezes, Confidence::Certain, because)
    } else {
        suspect(Code::TunnelFreezes, Confidence::Likely, because)
            .or(Code::LinkLossy, "separate-again")
    };
    Some(found.with("kilobytes", &(first.moved.unwrap_or_default() / 1024).max(1)))
}

/// A tunnel that was silent for a while is dead.
pub(super) fn tunnel_cut_idle(evidence: &Evidence) -> Option<Suspect> {
    let (reference, idle) = evidence.one::<Idle>(CheckId::IdleTunnel)?;
    let after = idle.after.filter(|_| idle.before == End::Answered)?;
    let ordered = match after {
        End::Closed => true,
        End::Reset | End::Silent => false,
        End::Answered | End::NoConnection | End::Unfinished => return None,
    };
    let all = through(evidence);
    let alive: Vec<_> = all.iter().filter(|it| it.answer().is_some()).collect();
    let because = [reference].into_iter().chain(alive.iter().map(|it| it.reference));
    let found = |confidence| suspect(Code::TunnelCutIdle, confidence, because);
    Some(
        if ordered {
            // Middleboxes forget; a program says goodbye.
            found(Confidence::Likely).or(Code::ContainerRestarting, "separate-log-of-the-proxy")
        } else if alive.is_empty() {
            found(Confidence::Likely).or(Code::LinkLossy, "separate-again")
        } else {
            // Other connections live: the way and the proxy do.
            found(Confidence::Certain)
        }
        .with("seconds", &idle.seconds),
    )
}

/// Events that were sent one by one come together.
pub(super) fn stream_buffered(evidence: &Evidence) -> Option<Suspect> {
    let (reference, stream) = evidence.one::<Streaming>(CheckId::Stream)?;
    let apart = stream.interval_ms / 2;
    let together = stream.interval_ms / 5;
    let sent_apart =
        |(one, next): &(&Event, &Event)| next.sent_ms.saturating_sub(one.sent_ms) >= apart;
    let pairs: Vec<_> = stream.events.iter().zip(stream.events.iter().skip(1)).collect();
    let fair: Vec<_> = pairs.into_iter().filter(sent_apart).collect();
    let came_together =
        |(one, next): &(&Event, &Event)| next.came_ms.saturating_sub(one.came_ms) <= together;
    let lumped: Vec<bool> = fair.iter().map(came_together).collect();
    let lumps = lumped.iter().filter(|it| **it).count();
    // One lost packet makes one lump, with events before or after it that come in time.
    let separate = lumped.split(|it| !it).filter(|lump| !lump.is_empty()).count();
    let often = lumps * 5 >= fair.len() * 3 && (lumps == fair.len() || separate > 1);
    let buffered = fair.len() >= 3 && often;
    buffered.then(|| {
        suspect(Code::StreamBuffered, Confidence::Likely, [reference])
            .or(Code::LinkLossy, "separate-again")
    })
}

/// Bytes a second, from the first of them to the last.
fn rate(it: &Transfer) -> Option<u64> {
    let moved = it.moved.filter(|moved| *moved >= ENOUGH)?;
    let told = matches!(it.end, End::Answered | End::Unfinished);
    // Upward the first byte of the answer comes after everything.
    let before = match it.direction {
        Direction::Down => it.first_us.unwrap_or_default(),
        Direction::Up => 0,
    };
    let took = it.elapsed_us.saturating_sub(before).max(1);
    told.then(|| moved.saturating_mul(1_000_000) / took)
}

/// Everything works, slowly.
pub(super) fn link_slow(evidence: &Evidence) -> Option<Suspect> {
    let all = transfers(evidence);
    let rated = all.iter().filter_map(|(reference, it)| Some((*reference, rate(it)?)));
    let slow: Vec<_> = rated.filter(|(_, rate)| *rate < SLOW_BYTES_A_SECOND).collect();
    let slowest = slow.iter().map(|(_, rate)| *rate).min()?;
    let because = slow.iter().map(|(reference, _)| *reference);
    Some(
        suspect(Code::LinkSlow, Confidence::Likely, because)
            .or(Code::LinkLossy, "separate-again")
            .with("kilobytes", &(slowest / 1000).max(1)),
    )
}

/// The times of TCP connects to the proxy, in microseconds; `None` for one that never came.
fn connects(evidence: &Evidence) -> Vec<(&Reference, Option<u64>)> {
    let Some(primary) = evidence.primary() else { return Vec::new() };
    let attempts = evidence.attempts().filter(|(_, it)| it.address == primary && it.ttl.is_none());
    let mut all: Vec<_> = attempts
        .filter_map(|(reference, it)| match it.outcome {
            Outcome::Open => Some((reference, Some(it.elapsed_us))),
            Outcome::Silent => Some((reference, None)),
            Outcome::Refused
            | Outcome::HostUnreachable
            | Outcome::NetworkUnreachable
            | Outcome::ProtocolUnreachable
            | Outcome::Forbidden
            | Outcome::NoSource
            | Outcome::Reset
            | Outcome::OwnLimits
            | Outcome::Other
            | Outcome::Unfinished => None,
        })
        .collect();
    let journeys = evidence.journeys().flat_map(|(reference, journey): (_, &Journey)| {
        let trips = journey.trips.iter().filter(|it| it.peer == Some(primary));
        let laps = trips.flat_map(|it| &it.laps).filter(|it| it.stage == Stage::Connect);
        laps.map(move |it| (reference, Some(it.us)))
    });
    all.extend(journeys);
    all
}

/// When a SYN is sent again: after 1 s (RFC 6298 §2.1), then each second or at twice the time.
const AGAIN_US: [u64; 4] = [1_000_000, 2_000_000, 3_000_000, 7_000_000];
const ABOUT_US: u64 = 250_000;

/// Connects that needed a second try.
///
/// One packet in fifty lost, or a way of 300 ms, is not told: one late connect of many is nothing,
/// and a late one is late by the timer's second and not by jitter.
pub(super) fn link_lossy(evidence: &Evidence) -> Option<Suspect> {
    let all = connects(evidence);
    let fastest = all.iter().filter_map(|(_, it)| *it).min()?;
    let again = |it: Option<u64>| {
        it.is_none_or(|it| {
            let more = it.saturating_sub(fastest);
            AGAIN_US.iter().any(|at| more.abs_diff(*at) <= ABOUT_US)
        })
    };
    let late: Vec<_> = all.iter().filter(|(_, it)| again(*it)).collect();
    let (few, many) = (late.len(), all.len());
    let confidence = match few {
        1 if (3..=4).contains(&many) => Confidence::Possible,
        0 | 1 => return None,
        _ if few * 5 >= many && many >= 6 => Confidence::Likely,
        _ if many < 6 => Confidence::Possible,
        _ => return None,
    };
    let because = late.iter().map(|(reference, _)| *reference);
    Some(
        suspect(Code::LinkLossy, confidence, because)
            .or(Code::BacklogOverflow, "separate-ping-the-host")
            .with("percent", &(few * 100 / many)),
    )
}
