//! `nft -j list ruleset` (libnftables-json(5)) → tables.

use serde_json::Value;

use super::nft_rule::{self, text_of, verdict};
use super::{MOST_RULES, Ruleset, number, shortened};
use crate::diag::fact::{Backend, Base, Chain, Layer, Set, Table, Verdict};

/// Reads it; `None` when it is something else. The tables that `taken` says yes to are left out:
/// those of `iptables-nft`, which another tool has read better.
pub fn parse(text: &str, taken: impl Fn(Layer, &str) -> bool) -> Option<Ruleset> {
    let document: Value = serde_json::from_str(text).ok()?;
    let mut found = Ruleset::default();
    for item in document.get("nftables")?.as_array()? {
        let Some((kind, item)) = item.as_object().and_then(|it| it.iter().next()) else { continue };
        match kind.as_str() {
            "table" => {
                let (family, name) = (layer(item), word(item, "name"));
                if family != Layer::Other && !taken(family, name) {
                    found.tables.push(table(family, name));
                }
            }
            "chain" => {
                let chain = chain(item);
                if let Some(table) = of(&mut found.tables, item) {
                    table.chains.push(chain);
                }
            }
            "set" | "map" => {
                let set = set(item);
                if let Some(table) = of(&mut found.tables, item) {
                    table.sets.push(set);
                }
            }
            "rule" => {
                let full = found.tables.iter().map(Table::rules).sum::<usize>() >= MOST_RULES;
                found.cut |= full;
                if let Some(table) = of(&mut found.tables, item).filter(|_| !full) {
                    append(item, table);
                }
            }
            _ => {}
        }
    }
    Some(found)
}

fn table(family: Layer, name: &str) -> Table {
    let name = shortened(name);
    Table { family, name, backend: Backend::Nft, chains: Vec::new(), sets: Vec::new() }
}

fn word<'v>(item: &'v Value, key: &str) -> &'v str {
    item.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn layer(item: &Value) -> Layer {
    match word(item, "family") {
        "ip" => Layer::Ip,
        "ip6" => Layer::Ip6,
        "inet" => Layer::Inet,
        "netdev" => Layer::Netdev,
        _ => Layer::Other,
    }
}

/// The table of something.
fn of<'t>(tables: &'t mut [Table], item: &Value) -> Option<&'t mut Table> {
    let (family, name) = (layer(item), word(item, "table"));
    tables.iter_mut().find(|table| table.family == family && table.name == name)
}

fn chain(item: &Value) -> Chain {
    let base = item.get("hook").and_then(Value::as_str).map(|hook| Base {
        hook: shortened(hook),
        priority: item.get("prio").and_then(Value::as_i64).unwrap_or_default(),
        nat: word(item, "type") == "nat",
        policy: if word(item, "policy") == "drop" { Verdict::Drop } else { Verdict::Accept },
        devices: devices(item.get("dev")),
    });
    Chain { name: shortened(word(item, "name")), base, rules: Vec::new() }
}

fn devices(dev: Option<&Value>) -> Vec<String> {
    match dev {
        Some(Value::String(one)) => vec![shortened(one)],
        Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).map(shortened).collect(),
        _ => Vec::new(),
    }
}

fn set(item: &Value) -> Set {
    let name = shortened(word(item, "name"));
    let elements = item.get("elem").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let size = u64::try_from(elements.len()).unwrap_or(u64::MAX);
    let mut found =
        Set { name, size, values: Vec::new(), asked: None, entries: Vec::new(), unknown: false };
    // A map to something else than a verdict is for NAT; who asks it is not understood anyway.
    let to_verdict = item.get("map").and_then(Value::as_str);
    for element in elements {
        let entry = element.as_array();
        let (value, then) = match (entry.map(Vec::as_slice), to_verdict) {
            (Some([value, then]), Some("verdict")) => (value, Some(then)),
            _ => (element, None),
        };
        match (nft_rule::value(value), then) {
            (Some(value), Some(then)) => found.entries.push((value, verdict(then))),
            (Some(value), None) if to_verdict.is_none() => found.values.push(value),
            _ => found.unknown = true,
        }
    }
    // A large map would have to be kept whole.
    if found.entries.len() > MOST_RULES {
        found.entries.clear();
        found.unknown = true;
    }
    found
}

fn append(item: &Value, table: &mut Table) {
    let name = word(item, "chain");
    let Some(chain) = table.chains.iter_mut().find(|chain| chain.name == name) else { return };
    let handle = item.get("handle").and_then(Value::as_u64);
    let comment = item.get("comment").and_then(Value::as_str);
    let expressions = item.get("expr").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    for mut rule in nft_rule::rules(expressions) {
        rule.handle = handle;
        rule.text = text_of(&rule, comment);
        number(&mut chain.rules, rule);
    }
}
