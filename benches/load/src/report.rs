//! Rounds → medians, ratios inside the round, a table and JSON.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;

use serde_json::{Map, Value, json};

use crate::modes::{Figures, Mode};
use crate::peer::Peer;

type Values = BTreeMap<usize, f64>;

/// Everything that was measured.
#[derive(Default)]
pub struct Report {
    /// Mode, figure, peer, round → value.
    rows: Vec<(Mode, &'static str, Vec<(Peer, Values)>)>,
    failures: Vec<String>,
    /// The largest share of the proxy's core that somebody else had.
    pub foreign: f64,
}

impl Report {
    pub fn add(&mut self, mode: Mode, round: usize, peer: Peer, figures: Figures) {
        for (name, value) in figures {
            let known = self.rows.iter_mut().position(|row| (row.0, row.1) == (mode, name));
            let at = known.unwrap_or_else(|| {
                self.rows.push((mode, name, Vec::new()));
                self.rows.len() - 1
            });
            let peers = &mut self.rows[at].2;
            match peers.iter_mut().find(|(known, _)| *known == peer) {
                Some((_, values)) => drop(values.insert(round, value)),
                None => peers.push((peer, Values::from([(round, value)]))),
            }
        }
    }

    pub fn fail(&mut self, mode: Mode, peer: Peer, error: &io::Error) {
        let line = format!("{}: {} failed: {error}", mode.name(), peer.name());
        eprintln!("{line}");
        self.failures.push(line);
    }

    /// A Markdown table: our median, and our ratio to each peer as median (least to most).
    pub fn text(&self) -> String {
        let mut text = String::new();
        let peers: Vec<Peer> = Peer::ALL
            .into_iter()
            .filter(|peer| *peer != Peer::Sami)
            .filter(|peer| self.rows.iter().any(|row| row.2.iter().any(|(known, _)| known == peer)))
            .collect();
        let names: Vec<_> = peers.iter().map(|peer| format!("sami ÷ {}", peer.name())).collect();
        let _ = writeln!(text, "| what | sami-proxy | {} |", names.join(" | "));
        let _ = writeln!(text, "|---|---|{}", "---|".repeat(peers.len()));
        for (mode, name, values) in &self.rows {
            let ours = values.iter().find(|(peer, _)| *peer == Peer::Sami).map(|(_, ours)| ours);
            let shown = ours.map_or("–".into(), |ours| show(median(ours.values().copied())));
            let _ = write!(text, "| {} {name} | {shown} |", mode.name());
            for peer in &peers {
                let theirs = values.iter().find(|(known, _)| known == peer);
                let cell = match (ours, theirs) {
                    (Some(ours), Some((_, theirs))) => ratio(ours, theirs),
                    (None, Some((_, theirs))) => show(median(theirs.values().copied())),
                    (_, None) => "–".into(),
                };
                let _ = write!(text, " {cell} |");
            }
            text.push('\n');
        }
        let _ = writeln!(
            text,
            "\nat most {:.1} % of the proxy's core was somebody else's in a measured window",
            self.foreign * 100.0
        );
        for failure in &self.failures {
            let _ = writeln!(text, "{failure}");
        }
        text
    }

    /// Every round of every figure.
    pub fn json(&self) -> Value {
        let rows: Vec<Value> = self
            .rows
            .iter()
            .map(|(mode, name, peers)| {
                let rounds: Map<String, Value> = peers
                    .iter()
                    .map(|(peer, values)| (peer.name().into(), values.values().copied().collect()))
                    .collect();
                json!({ "mode": mode.name(), "figure": name, "rounds": rounds })
            })
            .collect();
        json!({ "rows": rows, "foreign": self.foreign, "failures": self.failures })
    }
}

/// Ours divided by theirs, round by round.
fn ratio(ours: &Values, theirs: &Values) -> String {
    let ratios: Vec<f64> = ours
        .iter()
        .filter_map(|(round, ours)| Some(ours / theirs.get(round)?))
        .filter(|ratio| ratio.is_finite())
        .collect();
    if ratios.is_empty() {
        return "–".into();
    }
    let least = ratios.iter().copied().fold(f64::INFINITY, f64::min);
    let most = ratios.iter().copied().fold(0.0, f64::max);
    format!("{:.2} ({least:.2}–{most:.2})", median(ratios.into_iter()))
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let (Some(low), Some(high)) =
        (values.get((values.len().max(1) - 1) / 2), values.get(values.len() / 2))
    else {
        return f64::NAN;
    };
    f64::midpoint(*low, *high)
}

fn show(value: f64) -> String {
    match value {
        value if value >= 1000.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.3}"),
    }
}
