//! `/metrics`: what the proxy has counted, in the text form of `OpenMetrics` (which Prometheus reads).

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, text::encode};
use prometheus_client::encoding::{EncodeLabelSet, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use super::door::Door;
use super::server::Shared;
use super::stop::Reason;
use super::tally::{Count, Stage, Tally, Word};
use crate::net::limits::{descriptor_limit, open_descriptors};
use crate::net::resolve::Lookup;

/// The media type of [`text`].
pub(super) const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Everything that is counted, now.
pub(super) fn text(shared: &Arc<Shared>) -> String {
    let mut registry = Registry::with_prefix("sami_proxy");
    registry.register_collector(Box::new(Figures(Arc::clone(shared))));
    let mut out = String::new();
    let _a_string_takes_everything = encode(&mut out, &registry);
    out
}

#[derive(Debug)]
struct Figures(Arc<Shared>);

impl Collector for Figures {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page(encoder);
        let shared = &self.0;
        let tally = &shared.log.tally;
        about(shared, &mut page)?;
        connections(shared, &mut page)?;
        requests(tally, &mut page)?;
        times(tally, &mut page)?;
        resources(shared, &mut page)
    }
}

fn about(shared: &Shared, page: &mut Page<'_>) -> fmt::Result {
    let version = [("version", env!("CARGO_PKG_VERSION"))];
    page.0
        .encode_descriptor("build_info", "What runs", None, MetricType::Gauge)?
        .encode_family(&version)?
        .encode_gauge(&1_u64)?;
    let started = shared.started.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    page.gauge("start_time_seconds", "When it started", started.as_secs())?;
    let draining = u64::from(shared.drain.is_cancelled());
    page.gauge("draining", "1 while it finishes what is open and takes nothing new", draining)
}

fn connections(shared: &Shared, page: &mut Page<'_>) -> fmt::Result {
    let tally = &shared.log.tally;
    let accepted = tally.sum(Count::Connections);
    page.counter("connections_accepted", "Connections from clients", accepted)?;
    let doors = Door::ALL.map(|door| ([("door", door.word())], tally.by_door(door)));
    page.counters(
        "connections",
        "Connections by what was spoken there; unknown are those that said nothing, or nothing known",
        &doors,
    )?;
    page.gauge("connections_open", "Connections now", shared.places.taken() as u64)?;
    let limit = shared.settings.limits.connections as u64;
    page.gauge("connections_limit", "The most there may be (--max-connections)", limit)?;
    // The ended first: between the two a tunnel may begin, and a gauge must not be below zero.
    let ended = tally.sum(Count::TunnelsEnded);
    let begun = tally.sum(Count::Tunnels);
    page.counter("tunnels", "Tunnels that were established", begun)?;
    page.gauge("tunnels_open", "Tunnels now", begun.saturating_sub(ended))
}

fn requests(tally: &Tally, page: &mut Page<'_>) -> fmt::Result {
    let rows = Door::ALL.into_iter().flat_map(|door| {
        tally.by_outcome(door).map(move |(word, count)| {
            ([("door", door.word()), ("outcome", Word::text(word))], count)
        })
    });
    page.counters(
        "requests",
        "Requests and tunnels that have ended, by how: a word of RFC 9209 is a failure",
        &rows.collect::<Vec<_>>(),
    )?;
    let reasons =
        Reason::ALL.iter().map(|reason| ([("reason", reason.word())], tally.by_reason(*reason)));
    page.counters(
        "refusals",
        "Requests that were refused before anything was asked of their target",
        &reasons.collect::<Vec<_>>(),
    )?;
    let bytes = [("up", Count::Up), ("down", Count::Down)];
    let bytes = bytes.map(|(word, what)| ([("direction", word)], tally.sum(what)));
    page.counters("bytes", "Bytes between clients and targets", &bytes)
}

fn times(tally: &Tally, page: &mut Page<'_>) -> fmt::Result {
    let help = "How long requests took: the name, the connection, to the first byte, altogether";
    let mut family = page.0.encode_descriptor(
        "stage_duration",
        help,
        Some(&Unit::Seconds),
        MetricType::Histogram,
    )?;
    for stage in Stage::ALL {
        let times = tally.times(stage);
        let count = times.buckets.iter().map(|(_, count)| count).sum();
        family.encode_family(&[("stage", stage.word())])?.encode_histogram::<NoLabelSet>(
            times.sum,
            count,
            &times.buckets,
            None,
        )?;
    }
    Ok(())
}

fn resources(shared: &Shared, page: &mut Page<'_>) -> fmt::Result {
    let lookups =
        Lookup::ALL.map(|lookup| ([("result", lookup.word())], shared.resolver.count_of(lookup)));
    page.counters(
        "dns_lookups",
        "Names: at_hand by one look; cached, answered and failed by family, two for each other name",
        &lookups,
    )?;
    let dropped = shared.log.journal.dropped();
    page.counter("log_lines_dropped", "Log lines lost because the output was blocked", dropped)?;
    if let Some(open) = open_descriptors() {
        page.gauge("open_descriptors", "Open files and sockets", open)?;
    }
    if let Some(limit) = descriptor_limit() {
        page.gauge("descriptors_limit", "The most there may be", limit)?;
    }
    Ok(())
}

/// What is written so far.
struct Page<'e>(DescriptorEncoder<'e>);

impl Page<'_> {
    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        metric.encode_counter::<NoLabelSet, _, u64>(&value, None)
    }

    fn gauge(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.0.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)
    }

    fn counters<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        rows: &[(L, u64)],
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, value) in rows {
            family.encode_family(labels)?.encode_counter::<NoLabelSet, _, u64>(value, None)?;
        }
        Ok(())
    }
}
