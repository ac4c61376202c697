//! Evidence that may be given to others: without secrets, and on wish without public addresses. Pure.
//!
//! What is removed everywhere: credentials (RFC 7235, RFC 3986 §3.2.1), tokens, names of users and of
//! this machine, home folders, hardware addresses (IEEE 802), values of variables. An address stays
//! one address: whoever is diagnosed again comes to the same verdict.

mod addresses;
mod text;

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::Value;

use self::addresses::Pseudonyms;
use self::text::Patterns;
use super::evidence::Evidence;

/// What stands where a secret was; it may also be a part of a host's name.
const REMOVED: &str = "REMOVED";

/// What is known not to be for others.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// Names of users.
    pub users: Vec<String>,
    /// Names of this machine.
    pub machines: Vec<String>,
    /// Passwords, as they are and as they are sent.
    pub secrets: Vec<String>,
}

/// What is done with public addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Public {
    /// They stay.
    #[default]
    Kept,
    /// Each has another one instead, of those that are nobody's, and the proxy another name.
    Pseudonyms,
}

/// What was replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// User and password, and what carries them.
    Credentials,
    /// Keys and tokens, and what looks like one.
    Tokens,
    /// Names of users.
    UserNames,
    /// The user in the path of a home folder.
    HomePaths,
    /// Names of this machine.
    MachineNames,
    /// Addresses of network cards.
    Macs,
    /// Numbers that are the only one of their kind (UUID).
    Identifiers,
    /// Values of variables.
    Variables,
    /// Public addresses, and the name of the proxy.
    PublicAddresses,
}

impl Kind {
    /// Every one.
    pub const ALL: [Self; 9] = [
        Self::Credentials,
        Self::Tokens,
        Self::UserNames,
        Self::HomePaths,
        Self::MachineNames,
        Self::Macs,
        Self::Identifiers,
        Self::Variables,
        Self::PublicAddresses,
    ];

    /// As texts have it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Credentials => "credentials",
            Self::Tokens => "tokens",
            Self::UserNames => "user-names",
            Self::HomePaths => "home-paths",
            Self::MachineNames => "machine-names",
            Self::Macs => "macs",
            Self::Identifiers => "identifiers",
            Self::Variables => "variables",
            Self::PublicAddresses => "public-addresses",
        }
    }

    /// What stands there instead.
    pub const fn stands_for(self) -> &'static str {
        match self {
            Self::UserNames | Self::HomePaths => "USER",
            Self::MachineNames => "MACHINE",
            Self::Credentials
            | Self::Tokens
            | Self::Macs
            | Self::Identifiers
            | Self::Variables
            | Self::PublicAddresses => REMOVED,
        }
    }
}

/// How often something was replaced.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts(BTreeMap<Kind, usize>);

impl Counts {
    fn add(&mut self, kind: Kind, times: usize) {
        *self.0.entry(kind).or_default() += times;
    }

    /// How often `kind` was replaced.
    pub fn of(&self, kind: Kind) -> usize {
        self.0.get(&kind).copied().unwrap_or_default()
    }
}

/// Evidence for others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scrubbed {
    /// What is left.
    pub evidence: Evidence,
    /// What was replaced.
    pub counts: Counts,
}

/// Removes from `evidence` what is not for others; `None` when what is left can't be read again, so
/// that nothing half clean is ever given away.
pub fn scrub(evidence: &Evidence, known: &Known, public: Public) -> Option<Scrubbed> {
    let mut value = serde_json::to_value(evidence).ok()?;
    let mut counts = Counts::default();
    let patterns = Patterns::new(known)?;
    each_text(&mut value, "", &mut |key, text| {
        let cleaned = match key {
            VARIABLE if !is_harmless(text) => {
                counts.add(Kind::Variables, 1);
                REMOVED.to_owned()
            }
            _ => patterns.clean(text, &mut counts),
        };
        // A word of ours is no name, whatever a machine is called.
        if is_ours(key, &cleaned) { cleaned } else { patterns.anonymous(&cleaned, &mut counts) }
    });
    let host = &evidence.subject.host;
    let name = (public == Public::Pseudonyms && evidence.subject.ip().is_none()).then_some(host);
    let pseudonyms = Pseudonyms::of(&value, public)?;
    pseudonyms.put(&mut value, name.map(String::as_str), &mut counts);
    let evidence = serde_json::from_value(value).ok()?;
    Some(Scrubbed { evidence, counts })
}

/// The key under which facts have values of variables.
const VARIABLE: &str = "value";

/// Numbers, switches, durations, sockets: what a rule may have to know.
fn is_harmless(value: &str) -> bool {
    let number = value.trim_end_matches(|c: char| c.is_ascii_lowercase());
    let quantity = !number.is_empty() && number.bytes().all(|it| it.is_ascii_digit());
    let short = value.len() <= 8;
    let many = value
        .split(',')
        .all(|it| it.parse::<std::net::SocketAddr>().is_ok() || it.parse::<IpNet>().is_ok());
    value.is_empty()
        || ["true", "false", "yes", "no", "on", "off"].contains(&value)
        || (quantity && short)
        || many
}

/// Keys of words that are ours and not the world's.
const WORDS: [&str; 42] = [
    "after",
    "backend",
    "before",
    "blind",
    "by",
    "check",
    "code",
    "confidence",
    "credentials",
    "direction",
    "end",
    "failure",
    "family",
    "field",
    "given",
    "how",
    "inside",
    "kind",
    "knock",
    "mozilla",
    "nothing",
    "of",
    "outcome",
    "outside",
    "picked",
    "policy",
    "provider",
    "reach",
    "reference",
    "role",
    "scheme",
    "skipped",
    "speaks",
    "stage",
    "state",
    "status",
    "system",
    "tool",
    "trick",
    "unread",
    "verdict",
    "why",
];

/// The same words under keys that have free text elsewhere.
const WORDS_ELSEWHERE: [&str; 15] = [
    "check-port",
    "probe",
    "doctor",
    "absolute-form",
    "origin-form",
    "connect",
    "client-hello",
    "socks5",
    "accept",
    "drop",
    "return",
    "masquerade",
    "untrack",
    "next",
    "http",
];

fn is_ours(key: &str, text: &str) -> bool {
    WORDS.contains(&key)
        || WORDS_ELSEWHERE.contains(&text)
        || text.parse::<IpAddr>().is_ok()
        || text.parse::<std::net::SocketAddr>().is_ok()
        || text.parse::<IpNet>().is_ok()
}

/// Puts what `change` makes of it in the place of each text; it is told under which key the text is.
fn each_text(value: &mut Value, key: &str, change: &mut impl FnMut(&str, &str) -> String) {
    match value {
        Value::String(text) => *text = change(key, text),
        Value::Array(all) => {
            for it in all {
                each_text(it, key, change);
            }
        }
        Value::Object(fields) => {
            for (key, it) in fields {
                each_text(it, key, change);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use proptest::prelude::*;
    use serde_json::Value;

    use super::{Kind, Known, Public, each_text, scrub};
    use crate::diag::diagnosis::diagnose;
    use crate::diag::evidence::{Evidence, is_public};

    fn cases() -> Vec<(String, Evidence)> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
        let read = |entry: std::fs::DirEntry| {
            let text = std::fs::read_to_string(entry.path().join("evidence.json")).unwrap();
            (entry.file_name().into_string().unwrap(), serde_json::from_str(&text).unwrap())
        };
        std::fs::read_dir(folder).unwrap().map(|entry| read(entry.unwrap())).collect()
    }

    fn told(evidence: &Evidence) -> impl PartialEq + std::fmt::Debug {
        let diagnosis = diagnose(evidence);
        let verdict = diagnosis.verdict.map(|it| (it.code, it.confidence, it.because));
        let warnings: Vec<_> = diagnosis.warnings.into_iter().map(|it| it.code).collect();
        let others: Vec<_> = diagnosis.alternatives.into_iter().map(|it| it.code).collect();
        (diagnosis.state, verdict, warnings, others)
    }

    #[test]
    fn every_case_comes_to_the_same_verdict() {
        let known = Known {
            users: vec!["root".into(), "ivan".into()],
            machines: vec!["vps-7".into()],
            secrets: vec!["geheim".into()],
        };
        for (name, evidence) in cases() {
            for public in [Public::Kept, Public::Pseudonyms] {
                let scrubbed = scrub(&evidence, &known, public).unwrap();
                assert_eq!(told(&scrubbed.evidence), told(&evidence), "{name} {public:?}");
            }
        }
    }

    #[test]
    fn no_public_address_stays_when_there_are_pseudonyms() {
        for (name, evidence) in cases() {
            let mut old = serde_json::to_value(&evidence).unwrap();
            let new = scrub(&evidence, &Known::default(), Public::Pseudonyms).unwrap();
            let new = serde_json::to_string(&new.evidence).unwrap();
            each_text(&mut old, "", &mut |_, text| {
                if let Ok(ip) = text.parse()
                    && is_public(ip)
                {
                    // It may be one of the room by itself.
                    let room = ["203.0.113.", "198.1", "2001:db8:"];
                    let may = room.iter().any(|it| text.starts_with(it));
                    assert!(may || !new.contains(&format!("\"{text}\"")), "{name}: {text}");
                }
                text.to_owned()
            });
        }
    }

    #[test]
    fn whatever_a_machine_is_called_the_evidence_can_be_read() {
        for (name, evidence) in cases() {
            let mut words = BTreeSet::new();
            each_text(&mut serde_json::to_value(&evidence).unwrap(), "", &mut |_, text| {
                words.extend(text.split(' ').map(str::to_owned));
                text.to_owned()
            });
            let known = Known { machines: words.into_iter().collect(), ..Known::default() };
            assert!(scrub(&evidence, &known, Public::Kept).is_some(), "{name}");
        }
    }

    /// The same, one name by one.
    #[test]
    fn our_own_words_stay() {
        for word in ["port-refused", "container", "resolve", "connects", "host", "accept"] {
            let known = Known { users: vec![word.into()], ..Known::default() };
            for (name, evidence) in cases() {
                let left = scrub(&evidence, &known, Public::Kept).unwrap().evidence;
                assert_eq!(told(&left), told(&evidence), "{name} {word}");
            }
        }
    }

    /// Where a secret may stand, and what is removed with it.
    const PLACES: &[(&str, Kind)] = &[
        ("Proxy-Authorization: Basic SECRET", Kind::Credentials),
        ("proxy-authorization: SECRET", Kind::Credentials),
        ("{\"Authorization\": \"Bearer SECRET\"}", Kind::Credentials),
        ("GET / HTTP/1.1\\r\\nCookie: a=1; sid=SECRET", Kind::Credentials),
        ("Set-Cookie: SECRET; path=/", Kind::Credentials),
        ("sent Basic SECRET to it", Kind::Credentials),
        ("via http://user:SECRET@10.0.0.1:8080/", Kind::Credentials),
        ("https://SECRET@proxy.example/x", Kind::Credentials),
        ("SAMI_PROXY_AUTH=SECRET", Kind::Tokens),
        ("password=SECRET", Kind::Tokens),
        ("\"password\": \"x SECRET y\"", Kind::Tokens),
        ("http://h/?a=1&token=SECRET&b=2", Kind::Tokens),
        ("api_key: 'SECRET'", Kind::Tokens),
        ("sk-SECRET", Kind::Tokens),
        ("ghp_SECRET", Kind::Tokens),
        ("eyJSECRET.x.y", Kind::Tokens),
        ("$2y$05$SECRET", Kind::Tokens),
        ("-----BEGIN PRIVATE KEY-----\nSECRET\n-----END PRIVATE KEY-----", Kind::Tokens),
        ("user=SECRET", Kind::UserNames),
        ("{\"user\":\"SECRET\"}", Kind::UserNames),
        ("ssh SECRET@10.0.0.2", Kind::UserNames),
        ("no such file: /home/SECRET/.ssh/id", Kind::HomePaths),
        ("/Users/SECRET", Kind::HomePaths),
        ("C:\\Users\\SECRET\\AppData\\x.pac", Kind::HomePaths),
        ("C:\\Users\\Ivan SECRET\\AppData", Kind::HomePaths),
        ("file:///C:/Users/SECRET/p.pac", Kind::HomePaths),
    ];

    fn planted(evidence: &Evidence, text: &str) -> Evidence {
        let mut value = serde_json::to_value(evidence).unwrap();
        let free = [
            "log",
            "said",
            "description",
            "body",
            "first",
            "error",
            "details",
            "detail",
            "command",
            "text",
        ];
        each_text(&mut value, "", &mut |key, old| {
            let word = key == "said" || key == "command";
            let ours = word && !old.contains(' ') && !old.contains('/');
            if free.contains(&key) && !ours { format!("{old} {text}") } else { old.to_owned() }
        });
        let adapter = serde_json::json!({ "reference": "c99", "check": "adapters", "subject": text,
            "status": "worked", "took_ms": 1, "data": { "kind": "adapters",
            "adapters": [{ "name": text, "description": text, "kind": "other" }] } });
        value["facts"].as_array_mut().unwrap().push(adapter);
        serde_json::from_value(value).unwrap()
    }

    fn left(evidence: &Evidence, known: &Known) -> (String, super::Counts) {
        let scrubbed = scrub(evidence, known, Public::Pseudonyms).unwrap();
        let value: Value = serde_json::to_value(&scrubbed.evidence).unwrap();
        (value.to_string(), scrubbed.counts)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(8))]
        #[test]
        fn no_secret_stays(
            secret in "[A-Z][a-z]{3}[0-9][A-Za-z0-9]{8,20}", before in "[ -~]{0,20}", after in " [ -~]{0,20}",
            case in 0_usize..1000,
        ) {
            let cases = cases();
            let (_, evidence) = &cases[case % cases.len()];
            for (place, kind) in PLACES {
                let text = place.replace("SECRET", &secret);
                let (text, counts) = left(&planted(evidence, &text), &Known::default());
                prop_assert!(!text.contains(&secret), "{}: {}", place, text);
                prop_assert!(counts.of(*kind) > 0, "{}", place);
            }
            for known in [
                Known { users: vec![secret.clone()], ..Known::default() },
                Known { machines: vec![secret.clone()], ..Known::default() },
                Known { secrets: vec![secret.clone()], ..Known::default() },
            ] {
                let text = format!("{before} {secret} {after}");
                let (text, _) = left(&planted(evidence, &text), &known);
                prop_assert!(!text.contains(&secret), "{}", text);
            }
        }

        #[test]
        fn hardware_addresses_and_numbers_go(
            mac in "[0-9a-f]{2}(:[0-9a-f]{2}){5}", uuid in "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
        ) {
            let (_, evidence) = cases().remove(0);
            for mac in [mac.clone(), mac.replace(':', "-"), mac.to_uppercase()] {
                for text in [format!("MAC={mac}:00:11:22:33:44:55:08:00"), format!("ether {mac}"), format!("{mac},x")] {
                    let (text, counts) = left(&planted(&evidence, &text), &Known::default());
                    prop_assert!(!text.contains(&mac), "{}", text);
                    prop_assert!(counts.of(Kind::Macs) > 0);
                }
            }
            let (text, counts) = left(&planted(&evidence, &format!("{{{uuid}}}")), &Known::default());
            prop_assert!(!text.contains(&uuid) && counts.of(Kind::Identifiers) > 0, "{}", text);
        }
    }
}
