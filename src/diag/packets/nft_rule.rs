//! The expressions of one nft rule (libnftables-json(5)) → conditions and what happens.

use serde_json::Value;

use super::{asks, shortened, unknown};
use crate::diag::fact::{Field, Match, Rule, Verdict, VerdictMap};

/// The rules that say the same as one of nft, which may do two things at once.
pub(super) fn rules(expressions: &[Value]) -> Vec<Rule> {
    let mut found = Vec::new();
    let mut matches = Vec::new();
    let mut packets = None;
    let mut ends = false;
    for expression in expressions {
        let Some((kind, body)) = expression.as_object().and_then(|it| it.iter().next()) else {
            matches.push(unknown("nft"));
            continue;
        };
        match kind.as_str() {
            "match" => matches.extend(conditions(body)),
            "counter" => packets = body.get("packets").and_then(Value::as_u64),
            // Nothing that decides.
            "log" | "last" | "set" | "map" if body.get("stmt").is_none() => {}
            "ct helper" | "ct timeout" | "ct expectation" | "ct count" => {
                if kind == "ct count" {
                    matches.push(unknown(kind));
                }
            }
            "limit" | "quota" | "meter" | "set" | "map" => matches.push(unknown(kind)),
            // Of iptables-nft: a module or a target of its own.
            "xt" => {
                matches.push(unknown("xt"));
                found.push(rule(&matches, Verdict::Unknown("xt".to_owned()), packets));
            }
            _ => {
                found.push(rule(&matches, verdict(expression), packets));
                ends = true;
            }
        }
    }
    if !ends {
        found.push(rule(&matches, Verdict::Next, packets));
    }
    found
}

fn rule(matches: &[Match], verdict: Verdict, packets: Option<u64>) -> Rule {
    let matches = matches.to_vec();
    Rule { number: 0, handle: None, text: String::new(), matches, verdict, packets }
}

/// A statement that ends a rule, or a verdict of a map.
pub(super) fn verdict(statement: &Value) -> Verdict {
    let Some((kind, body)) = statement.as_object().and_then(|it| it.iter().next()) else {
        return Verdict::Unknown(String::new());
    };
    let target = || shortened(body.get("target").and_then(Value::as_str).unwrap_or_default());
    match kind.as_str() {
        "accept" => Verdict::Accept,
        "drop" => Verdict::Drop,
        "return" => Verdict::Return,
        "continue" => Verdict::Next,
        "jump" => Verdict::Jump(target()),
        "goto" => Verdict::Goto(target()),
        "reject" => Verdict::Reject(rejection(body)),
        "notrack" => Verdict::Untrack,
        "masquerade" | "snat" => Verdict::Masquerade,
        "redirect" => match body.get("port") {
            None => Verdict::Redirect(String::new()),
            Some(port) => value(port).map_or_else(|| unclear(kind), Verdict::Redirect),
        },
        "dnat" => destination(body).map_or_else(|| unclear(kind), Verdict::Dnat),
        "mangle" => mangle(body),
        "vmap" => vmap(body).map_or_else(|| unclear(kind), Verdict::Map),
        other => unclear(other),
    }
}

fn unclear(what: &str) -> Verdict {
    Verdict::Unknown(shortened(what))
}

/// As iptables calls it.
fn rejection(body: &Value) -> String {
    let how = |key| body.get(key).and_then(Value::as_str);
    match (how("type"), how("expr")) {
        (Some("tcp reset"), _) => "tcp-reset".to_owned(),
        (_, Some(code)) => shortened(&format!("icmp-{code}")),
        _ => "icmp-port-unreachable".to_owned(),
    }
}

fn destination(body: &Value) -> Option<String> {
    let given = |key| match body.get(key) {
        None => Some(String::new()),
        Some(it) => value(it),
    };
    let (ip, port) = (given("addr")?, given("port")?);
    let ip = if ip.contains(':') { format!("[{ip}]") } else { ip };
    Some(if port.is_empty() { ip } else { format!("{ip}:{port}") })
}

fn mangle(body: &Value) -> Verdict {
    let meta = body.pointer("/key/meta/key").and_then(Value::as_str);
    match (meta, body.pointer("/key/ct/key").is_some()) {
        (Some("mark"), _) => {
            let mark = body.get("value").and_then(Value::as_u64);
            Verdict::Mark(mark.map_or_else(String::new, |it| format!("{it:#x}/0xffffffff")))
        }
        (Some("priority" | "pkttype" | "nftrace"), _) | (None, true) => Verdict::Next,
        _ => unclear("mangle"),
    }
}

fn vmap(body: &Value) -> Option<VerdictMap> {
    let (field, _) = field(body.get("key")?)?;
    let data = body.get("data")?;
    if let Some(name) = data.as_str() {
        let map = Some(shortened(name.strip_prefix('@')?));
        return Some(VerdictMap { field, entries: Vec::new(), map });
    }
    let pairs = data.get("set")?.as_array()?;
    let entry = |pair: &Value| match pair.as_array()?.as_slice() {
        [key, then] => Some((value(key)?, verdict(then))),
        _ => None,
    };
    let entries = pairs.iter().map(entry).collect::<Option<Vec<_>>>()?;
    Some(VerdictMap { field, entries, map: None })
}

/// `match`: what it asks for, and what must be true for the question to make sense.
fn conditions(body: &Value) -> Vec<Match> {
    let left = body.get("left").unwrap_or(&Value::Null);
    let right = body.get("right").unwrap_or(&Value::Null);
    let op = body.get("op").and_then(Value::as_str).unwrap_or("==");
    if let Some(flags) = flags(left, op, right) {
        return vec![flags];
    }
    // `exists`, `missing`.
    let known = if right.is_boolean() { None } else { field(left) };
    let Some((field, implied)) = known else {
        let name = left.as_object().and_then(|it| it.keys().next());
        return vec![unknown(name.map_or("match", String::as_str))];
    };
    let mut found: Vec<Match> = implied.into_iter().collect();
    if let Some(name) = right.as_str().and_then(|it| it.strip_prefix('@')) {
        let set = Some(shortened(name));
        found.push(Match { field, not: op == "!=", values: Vec::new(), set });
        return found;
    }
    found.push(match (op, values(right)) {
        ("==" | "in", Some(values)) => asks(field, values),
        ("!=", Some(values)) => Match { not: true, ..asks(field, values) },
        ("<" | ">" | "<=" | ">=", Some(_)) => match (right.as_u64(), op) {
            (Some(0), "<") => unknown("<"),
            (Some(number), "<") => asks(field, [format!("0-{}", number - 1)]),
            (Some(number), "<=") => asks(field, [format!("0-{number}")]),
            (Some(number), ">") => {
                asks(field, [format!("{}-{}", number.saturating_add(1), u32::MAX)])
            }
            (Some(number), _) => asks(field, [format!("{number}-{}", u32::MAX)]),
            (None, _) => unknown(op),
        },
        _ => unknown("match"),
    });
    found
}

/// What a question looks at, and the condition that it brings with it.
fn field(left: &Value) -> Option<(Field, Option<Match>)> {
    let (kind, body) = left.as_object()?.iter().next()?;
    let key = |name| body.get(name).and_then(Value::as_str).unwrap_or_default();
    let family =
        |name: &str| Some(asks(Field::Family, [if name == "ip6" { "ipv6" } else { "ipv4" }]));
    let found = match kind.as_str() {
        "meta" => match key("key") {
            "iifname" | "iif" => (Field::In, None),
            "oifname" | "oif" => (Field::Out, None),
            "l4proto" => (Field::Protocol, None),
            "nfproto" | "protocol" => (Field::Family, None),
            "mark" => (Field::Mark, None),
            _ => return None,
        },
        "payload" => match (key("protocol"), key("field")) {
            (ip @ ("ip" | "ip6"), "saddr") => (Field::Source, family(ip)),
            (ip @ ("ip" | "ip6"), "daddr") => (Field::Destination, family(ip)),
            (ip @ ("ip" | "ip6"), "protocol" | "nexthdr") => (Field::Protocol, family(ip)),
            ("th", "dport") => (Field::Port, None),
            ("th", "sport") => (Field::SourcePort, None),
            (protocol @ ("tcp" | "udp" | "sctp" | "dccp" | "udplite"), ports) => {
                let implied = Some(asks(Field::Protocol, [protocol]));
                match ports {
                    "dport" => (Field::Port, implied),
                    "sport" => (Field::SourcePort, implied),
                    _ => (Field::Unknown, implied),
                }
            }
            (protocol @ ("icmp" | "icmpv6" | "igmp" | "esp" | "ah" | "comp" | "gre"), _) => {
                (Field::Unknown, Some(asks(Field::Protocol, [protocol])))
            }
            _ => return None,
        },
        "ct" => match (key("key"), key("dir")) {
            ("state" | "status", "") => (Field::State, None),
            ("direction", "") => (Field::Direction, None),
            ("proto-dst", "original") => (Field::OriginalPort, None),
            ("daddr" | "ip daddr" | "ip6 daddr", "original") => (Field::OriginalDestination, None),
            _ => return None,
        },
        "exthdr" => (Field::Unknown, Some(asks(Field::Protocol, ["ipv6-opts"]))),
        "fib" => {
            let flags = body.get("flags");
            let flag = flags.and_then(|it| it.as_str().or_else(|| it.get(0)?.as_str()));
            let one = flags.and_then(Value::as_array).is_none_or(|it| it.len() == 1);
            match (key("result"), flag) {
                ("type", Some("daddr")) if one => (Field::DestinationType, None),
                ("type", Some("saddr")) if one => (Field::SourceType, None),
                _ => return None,
            }
        }
        _ => return None,
    };
    Some(found)
}

/// `tcp flags & (fin | syn | rst | ack) == syn`, `tcp flags syn`.
fn flags(left: &Value, op: &str, right: &Value) -> Option<Match> {
    const ALL: &str = "fin,syn,rst,psh,ack,urg";
    let is_flags = |value: &Value| {
        let payload = |key| value.pointer(&format!("/payload/{key}")).and_then(Value::as_str);
        payload("protocol") == Some("tcp") && payload("field") == Some("flags")
    };
    let (mask, exact) = match left.get("&").and_then(Value::as_array).map(Vec::as_slice) {
        Some([of, mask]) if is_flags(of) => (values(mask)?.join(","), true),
        None if is_flags(left) => (ALL.to_owned(), op != "in"),
        _ => return None,
    };
    let wanted = values(right)?;
    let asked = if exact {
        asks(Field::Flags, [format!("{mask}/{}", wanted.join(","))])
    } else {
        // `tcp flags syn,rst` asks whether any of them is set.
        asks(Field::Flags, wanted.iter().map(|flag| format!("{flag}/{flag}")))
    };
    match op {
        "==" | "in" => Some(asked),
        "!=" => Some(Match { not: true, ..asked }),
        _ => None,
    }
}

/// One value as text; `None` when it is not one.
pub(super) fn value(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) if text.starts_with('@') => return None,
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Object(object) => {
            let (kind, body) = object.iter().next()?;
            match kind.as_str() {
                "prefix" => {
                    let address = body.get("addr")?.as_str()?;
                    format!("{address}/{}", body.get("len")?.as_u64()?)
                }
                "range" => match body.as_array()?.as_slice() {
                    [from, to] => format!("{}-{}", self::value(from)?, self::value(to)?),
                    _ => return None,
                },
                "elem" => return self::value(body.get("val")?),
                _ => return None,
            }
        }
        Value::Null | Value::Bool(_) | Value::Array(_) => return None,
    };
    Some(shortened(&text))
}

/// One or several.
fn values(right: &Value) -> Option<Vec<String>> {
    let several = right.as_array().or_else(|| right.get("set")?.as_array());
    let several = several.or_else(|| right.get("|")?.as_array());
    match several {
        Some(all) => all.iter().map(value).collect(),
        None => Some(vec![value(right)?]),
    }
}

/// As `nft list` would write it, or nearly so.
pub(super) fn text_of(rule: &Rule, comment: Option<&str>) -> String {
    let mut parts: Vec<String> = Vec::new();
    for asked in &rule.matches {
        let name = match asked.field {
            Field::In => "iifname",
            Field::Out => "oifname",
            Field::Source => "saddr",
            Field::Destination => "daddr",
            Field::SourcePort => "sport",
            Field::Port => "dport",
            Field::Protocol => "meta l4proto",
            Field::Family => "meta nfproto",
            Field::State => "ct state",
            Field::SourceType => "fib saddr type",
            Field::DestinationType => "fib daddr type",
            Field::Mark => "meta mark",
            Field::Flags => "tcp flags",
            Field::OriginalPort => "ct original proto-dst",
            Field::OriginalDestination => "ct original daddr",
            Field::Direction => "ct direction",
            Field::Unknown => "…",
        };
        let set = asked.set.as_ref().map(|it| format!("@{it}"));
        let values = set.unwrap_or_else(|| asked.values.join(","));
        parts.push(format!("{name} {}{values}", if asked.not { "!= " } else { "" }));
    }
    parts.push(match &rule.verdict {
        Verdict::Accept => "accept".to_owned(),
        Verdict::Drop => "drop".to_owned(),
        Verdict::Reject(with) => format!("reject with {with}"),
        Verdict::Return => "return".to_owned(),
        Verdict::Jump(to) => format!("jump {to}"),
        Verdict::Goto(to) => format!("goto {to}"),
        Verdict::Dnat(to) => format!("dnat to {to}"),
        Verdict::Redirect(to) => format!("redirect to :{to}"),
        Verdict::Masquerade => "masquerade".to_owned(),
        Verdict::Mark(_) => "meta mark set".to_owned(),
        Verdict::Untrack => "notrack".to_owned(),
        Verdict::Next => String::new(),
        Verdict::Map(_) => "vmap".to_owned(),
        Verdict::Unknown(what) => format!("({what})"),
    });
    parts.extend(comment.map(|it| format!("comment \"{it}\"")));
    parts.retain(|part| !part.is_empty());
    shortened(&parts.join(" "))
}
