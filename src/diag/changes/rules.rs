//! The rules of packet filters, as texts that can be compared.

use std::collections::{BTreeMap, BTreeSet};

use super::{Seen, one};
use crate::diag::evidence::Evidence;
use crate::diag::fact::{CheckId, PacketFilter, Read, Rule, Table, Verdict};

/// Which rules of the packet filters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rules {
    /// Those that send packets elsewhere.
    Dnat,
    /// All others, and what happens at the end of a chain.
    Other,
}

/// Only where every tool that is there has told everything.
pub(super) fn rules(it: &Evidence, wanted: Rules) -> Option<Seen> {
    let (_, filter) = it.one::<PacketFilter>(CheckId::PacketFilter)?;
    let whole = filter.read.iter().all(|it| matches!(it.outcome, Read::Whole | Read::Missing));
    if !whole || filter.read.is_empty() {
        return None;
    }
    let is_dnat = |it: &Rule| matches!(it.verdict, Verdict::Dnat(_) | Verdict::Redirect(_));
    let kind = |it: &Rule| if is_dnat(it) { Rules::Dnat } else { Rules::Other };
    let mut all = BTreeSet::new();
    for (table, chain) in filter.tables.iter().flat_map(|it| it.chains.iter().map(move |c| (it, c)))
    {
        let at = format!("{} {} {}", family(table), table.name, chain.name);
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for rule in chain.rules.iter().filter(|it| kind(it) == wanted) {
            *counts.entry(shown(rule)).or_default() += 1;
        }
        let several = |(text, count): (String, usize)| match count {
            1 => format!("{at}: {text}"),
            _ => format!("{at}: {count} × {text}"),
        };
        all.extend(counts.into_iter().map(several));
        if let Some(base) = chain.base.as_ref().filter(|_| wanted == Rules::Other) {
            all.insert(format!("{at}: policy {}", said(&base.policy)));
        }
    }
    if let Some(ufw) = filter.ufw.as_ref().filter(|_| wanted == Rules::Other) {
        all.extend(ufw.active.map(|active| format!("ufw: {}", if active { "on" } else { "off" })));
    }
    one(all)
}

fn family(table: &Table) -> String {
    let word = serde_json::to_value(table.family).ok();
    word.and_then(|it| Some(it.as_str()?.to_owned())).unwrap_or_default()
}

fn shown(rule: &Rule) -> String {
    if rule.text.is_empty() { said(&rule.verdict) } else { rule.text.clone() }
}

/// `drop`, `{"dnat":"172.17.0.2:8080"}`.
fn said(verdict: &Verdict) -> String {
    let value = serde_json::to_value(verdict).unwrap_or_default();
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
