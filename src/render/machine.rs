//! What was found out about this machine, in sentences.

use super::sentences::{count, named};
use super::words::{Arg, Words};
use crate::diag::fact::{Adapters, HostsFile, Nat64, ProxySetting, ProxySettings, SetProxy};

use Arg::{Number, Text};

/// Adapters, and which one is used.
pub(super) fn adapters(it: &Adapters, words: &Words) -> String {
    let outward = it.adapters.iter().filter(|adapter| adapter.is_outward());
    let numbers = [
        ("times", Number(count(it.connected().count()))),
        ("attempts", Number(count(outward.count()))),
    ];
    let source = it.source.or(it.usual_source);
    let used = source.and_then(|source| Some((it.of(source)?, source.to_string())));
    let Some((adapter, source)) = used else { return words.text("fact-adapters-none", &numbers) };
    let all = [&[("name", Text(&adapter.name)), ("source", Text(&source))][..], &numbers].concat();
    words.text("fact-adapters", &all)
}

/// Proxies that this machine was told of.
pub(super) fn settings(it: &ProxySettings, words: &Words) -> String {
    let told: Vec<String> = it.settings.iter().filter_map(|it| setting(it, words)).collect();
    if told.is_empty() {
        return words.text("fact-system-proxy-none", &[]);
    }
    words.text("fact-system-proxy", &[("addresses", Text(&told.join("; ")))])
}

fn setting(it: &ProxySetting, words: &Words) -> Option<String> {
    let proxy = |it: &SetProxy| match it.knock {
        Some(outcome) => format!("{} ({})", it.authority(), named("outcome", outcome, words)),
        None => it.authority(),
    };
    let mut all: Vec<String> = it.used().iter().map(proxy).collect();
    all.dedup();
    all.extend(it.script.clone());
    if all.is_empty() {
        return None;
    }
    let of = named("setting", it.of, words);
    Some(format!("{of}: {}", all.join(", ")))
}

/// Lines of the hosts file.
pub(super) fn hosts(it: &HostsFile, words: &Words) -> String {
    let lines: Vec<String> =
        it.lines.iter().map(|line| format!("{} {}", line.address, line.name)).collect();
    match (it.read, lines.is_empty()) {
        (false, _) => words.text("fact-hosts-file-unread", &[("subject", Text(&it.path))]),
        (true, true) => words.text("fact-hosts-file-none", &[]),
        (true, false) => words.text("fact-hosts-file", &[("addresses", Text(&lines.join(", ")))]),
    }
}

/// Whether IPv4 addresses can be reached.
pub(super) fn translated(it: &Nat64, words: &Words) -> String {
    match it.prefixes.first() {
        _ if it.ipv4 => words.text("fact-natsixfour-not", &[]),
        None => words.text("fact-natsixfour-none", &[]),
        Some(prefix) => {
            let to = format!("{}/{}", prefix.address, prefix.length);
            words.text("fact-natsixfour", &[("to", Text(&to))])
        }
    }
}
