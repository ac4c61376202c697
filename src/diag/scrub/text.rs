//! What looks like a secret in a line of text. Rather too much is removed than too little.

use std::net::Ipv6Addr;

use regex_lite::{Captures, Regex};

use super::{Counts, Kind, Known, REMOVED};

/// A value behind `=` or `:`, in quotes or not.
const VALUE: &str = r#"["']?\s*[:=]\s*)("[^"]*"|'[^']*'|[^\s"'&;]+)"#;

/// What is left of the text that an expression found.
type Rewrite = fn(&Captures<'_>) -> String;

/// Everything that is removed by its looks, in this order.
pub(super) struct Patterns {
    all: Vec<(Kind, Regex, Rewrite)>,
    names: Vec<(Kind, Regex)>,
    secrets: Vec<String>,
}

/// Names that everybody has: no secret, and removing them makes a report unreadable.
const COMMON: [&str; 16] = [
    "root",
    "user",
    "admin",
    "administrator",
    "ubuntu",
    "debian",
    "nobody",
    "localhost",
    "machine",
    "proxy",
    "sami-proxy",
    "sami-llm-proxy",
    "server",
    "docker",
    "default",
    "public",
];

impl Patterns {
    /// `None` when an expression is not one, which the tests exclude.
    pub(super) fn new(known: &Known) -> Option<Self> {
        let mut all = Vec::new();
        for (kind, expression, rewrite) in table() {
            all.push((kind, Regex::new(&expression).ok()?, rewrite));
        }
        let mut names = Vec::new();
        let known_names = known.users.iter().map(|it| (Kind::UserNames, it));
        for (kind, name) in
            known_names.chain(known.machines.iter().map(|it| (Kind::MachineNames, it)))
        {
            let short = name.chars().count() < 3 || name.bytes().all(|it| it.is_ascii_digit());
            if !short && !COMMON.contains(&name.to_ascii_lowercase().as_str()) {
                names.push((kind, Regex::new(&format!("(?i){}", regex_lite::escape(name))).ok()?));
            }
        }
        let secrets = known.secrets.iter().filter(|it| it.len() >= 4).cloned().collect();
        Some(Self { all, names, secrets })
    }

    /// `text` without secrets.
    pub(super) fn clean(&self, text: &str, counts: &mut Counts) -> String {
        let mut text = text.to_owned();
        for secret in &self.secrets {
            let found = text.matches(secret.as_str()).count();
            if found > 0 {
                counts.add(Kind::Credentials, found);
                text = text.replace(secret.as_str(), REMOVED);
            }
        }
        for (kind, expression, rewrite) in &self.all {
            let once = |found: &Captures<'_>| {
                let whole = found.get(0).map_or("", |it| it.as_str());
                let left = rewrite(found);
                if left != whole {
                    counts.add(*kind, 1);
                }
                left
            };
            text = expression.replace_all(&text, once).into_owned();
        }
        text
    }

    /// `text` without the names of users and machines.
    pub(super) fn anonymous(&self, text: &str, counts: &mut Counts) -> String {
        let mut text = text.to_owned();
        for (kind, name) in &self.names {
            let before = text.clone();
            let whole = |found: &Captures<'_>| {
                let Some(found) = found.get(0) else { return String::new() };
                let left = before.get(..found.start()).and_then(|it| it.chars().next_back());
                let right = before.get(found.end()..).and_then(|it| it.chars().next());
                let inside = |it: Option<char>| it.is_some_and(char::is_alphanumeric);
                if inside(left) || inside(right) {
                    return found.as_str().to_owned();
                }
                counts.add(*kind, 1);
                kind.stands_for().to_owned()
            };
            text = name.replace_all(&text, whole).into_owned();
        }
        text
    }
}

/// Kind, expression, what is left.
fn table() -> Vec<(Kind, String, Rewrite)> {
    use Kind::{Credentials, HomePaths, Identifiers, Macs, Tokens, UserNames};
    let keys = "password|passwd|passphrase|pwd|secret|token|api[_-]?key|access[_-]?key|auth|\
        session(?:id)?|signature|credentials?";
    let mut all: Vec<(Kind, String, Rewrite)> = vec![
        // The rest of the line.
        (
            Credentials,
            r#"(?i)((?:proxy-)?authorization|(?:set-)?cookie)(["']?\s*[:=]\s*)([^\r\n]+)"#.into(),
            after_key,
        ),
        (
            Credentials,
            r"(?i)\b(basic|bearer|negotiate|ntlm|digest)(\s+)([A-Za-z0-9+/=_.~-]{6,})".into(),
            scheme,
        ),
        (Credentials, r#"([A-Za-z][A-Za-z0-9+.-]*:/)(/)([^\s/?#"'<>]*)@"#.into(), userinfo),
        (
            Credentials,
            r#"([A-Za-z][A-Za-z0-9+.-]*:/)(/)([^\s"'<>/@]*:[^\s"'<>]*)@"#.into(),
            userinfo,
        ),
        (Tokens, format!(r"(?i)\b([a-z0-9_-]*(?:{keys}))({VALUE}"), after_key),
        (
            UserNames,
            format!(r"(?i)\b(user(?:[_-]?name)?|login|account|uid-owner)({VALUE}"),
            after_key,
        ),
        (Tokens, r"-----BEGIN [^-]*-----[\s\S]*".into(), nothing),
        (Tokens, r"\$(?:argon2[a-z]*|2[abxy]|apr1|5|6|y)\$\S+".into(), nothing),
    ];
    for shape in [
        r"\b(?:sk|pk|rk|gsk|hf|xai|r8|pplx|fw|glpat|tgp_v1|key)[-_][A-Za-z0-9_-]{8,}",
        r"\b(?:gh[pousr]|github_pat)_[A-Za-z0-9_]{10,}",
        r"\bxox[a-z]-[A-Za-z0-9-]{8,}",
        r"\bAIza[0-9A-Za-z_-]{20,}",
        r"\bAKIA[0-9A-Z]{12,}",
        r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_.-]+",
    ] {
        all.push((Tokens, shape.into(), nothing));
    }
    let home = r"((?:[A-Za-z]:)?(?:/home|[/\\]+Users)[/\\]+)";
    let uuid = r"\b[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\b";
    let rest: Vec<(Kind, String, Rewrite)> = vec![
        // A name with a space, when a folder follows.
        (HomePaths, format!(r#"(?i){home}([^/\\"':;,<>|\r\n]+)([/\\])"#), home_path),
        (HomePaths, format!(r#"(?i){home}([^/\\"':;,<>|\s]+)()"#), home_path),
        (UserNames, r"([A-Za-z0-9._%+-]+)@([A-Za-z0-9\[])".into(), at_host),
        (Identifiers, uuid.into(), nothing),
        (Macs, r"[0-9A-Fa-f]{2,}(?:[:-]+[0-9A-Fa-f]+){5,}".into(), mac),
        (Macs, r"\b[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}\b".into(), nothing),
        (Tokens, r"[A-Za-z0-9_+/=]{32,}".into(), long),
    ];
    all.extend(rest);
    all
}

fn part<'t>(found: &Captures<'t>, number: usize) -> &'t str {
    found.get(number).map_or("", |it| it.as_str())
}

fn nothing(_: &Captures<'_>) -> String {
    REMOVED.to_owned()
}

/// Key, what is between, value. `…` stands where somebody has removed it already.
fn after_key(found: &Captures<'_>) -> String {
    let (key, between, value) = (part(found, 1), part(found, 2), part(found, 3));
    if value.starts_with('…') || value == REMOVED {
        return part(found, 0).to_owned();
    }
    format!("{key}{between}{REMOVED}")
}

/// `Basic` and its value; not `basic authentication`.
fn scheme(found: &Captures<'_>) -> String {
    let value = part(found, 3);
    let lower = value.bytes().all(|it| it.is_ascii_lowercase() || it == b'.' || it == b'-');
    if lower || value == REMOVED {
        return part(found, 0).to_owned();
    }
    format!("{}{}{REMOVED}", part(found, 1), part(found, 2))
}

fn userinfo(found: &Captures<'_>) -> String {
    format!("{}{}{REMOVED}@", part(found, 1), part(found, 2))
}

fn home_path(found: &Captures<'_>) -> String {
    format!("{}{}{}", part(found, 1), Kind::UserNames.stands_for(), part(found, 3))
}

/// `name@host`.
fn at_host(found: &Captures<'_>) -> String {
    if part(found, 1) == REMOVED {
        return part(found, 0).to_owned();
    }
    format!("{}@{}", Kind::UserNames.stands_for(), part(found, 2))
}

/// A row of pairs of digits that is no address of IPv6.
fn mac(found: &Captures<'_>) -> String {
    let whole = part(found, 0);
    let groups: Vec<&str> = whole.split([':', '-']).collect();
    let pairs = groups.iter().filter(|it| it.len() == 2).count();
    if pairs < 6 || whole.parse::<Ipv6Addr>().is_ok() {
        return whole.to_owned();
    }
    REMOVED.to_owned()
}

/// As long as no word of a language is.
fn long(found: &Captures<'_>) -> String {
    let whole = part(found, 0);
    let digits = whole.bytes().any(|it| it.is_ascii_digit());
    let letters = whole.bytes().any(|it| it.is_ascii_alphabetic());
    let path = whole.starts_with('/') || whole.matches('/').count() > 3;
    if !digits || !letters || path {
        return whole.to_owned();
    }
    REMOVED.to_owned()
}
