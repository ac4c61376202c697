//! What may be told of a container: nothing that a secret could be in. What is not known to be
//! harmless is left out.

use crate::diag::fact::Variable;

/// What stands for what is left out.
const HIDDEN: &str = "…";

/// The longest line that is kept, in characters.
const LONGEST: usize = 300;

const PREFIX: &str = "SAMI_PROXY_";

/// Settings of ours whose values are no secrets and no names of persons.
const HARMLESS: [&str; 12] = [
    "listen",
    "open",
    "admin",
    "allow-private",
    "tls-self-signed",
    "prefer-family",
    "log-format",
    "log-level",
    "workers",
    "max-connections",
    "max-per-client",
    "state-dir",
];

/// Flags of ours whose value is hidden even when it looks like a flag.
const SECRET: [&str; 4] = ["auth", "upstream", "user", "dns"];

/// What `serve` and its sisters are called.
pub(super) const COMMANDS: [&str; 6] =
    ["serve", "healthcheck", "check-port", "probe", "doctor", "explain"];

fn is_harmless(setting: &str) -> bool {
    HARMLESS.contains(&setting) || setting.ends_with("-timeout")
}

/// A value that can be nothing but numbers, addresses, words and paths.
fn is_plain(value: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || ".:,[]*_-/".contains(c);
    value.chars().count() <= 64 && value.chars().all(plain)
}

/// A setting of the proxy in `NAME=value`; other variables are not told at all.
pub(super) fn variable(text: &str) -> Option<Variable> {
    let (name, value) = text.split_once('=')?;
    let setting = name.strip_prefix(PREFIX)?.to_ascii_lowercase().replace('_', "-");
    if !is_plain(name) {
        return None;
    }
    let shown = is_harmless(&setting) && is_plain(value);
    Some(Variable { name: name.to_owned(), value: shown.then(|| value.to_owned()) })
}

/// The words of a command: its program, ours and flags by name, harmless values.
pub(super) fn command<'w>(words: impl IntoIterator<Item = &'w str>) -> Vec<String> {
    let mut expected: Option<&str> = None;
    let mut out = Vec::new();
    for (at, word) in words.into_iter().enumerate() {
        let flag = word.strip_prefix("--").filter(|it| !it.is_empty());
        let shown = match (flag, expected.take()) {
            (_, Some(before)) if SECRET.contains(&before) => HIDDEN.to_owned(),
            (Some(flag), _) => {
                let (name, value) =
                    flag.split_once('=').map_or((flag, None), |(a, b)| (a, Some(b)));
                expected = value.is_none().then_some(name);
                match value {
                    _ if !is_plain(name) => HIDDEN.to_owned(),
                    None => word.to_owned(),
                    Some(value) if is_harmless(name) && is_plain(value) => word.to_owned(),
                    Some(_) => format!("--{name}={HIDDEN}"),
                }
            }
            (None, Some(name)) if is_harmless(name) && is_plain(word) => word.to_owned(),
            (None, _) if COMMANDS.contains(&word) || (at == 0 && is_plain(word)) => word.to_owned(),
            (None, _) if word.len() == 2 && word.starts_with('-') => word.to_owned(),
            (None, _) => HIDDEN.to_owned(),
        };
        out.push(shown);
    }
    out
}

/// A line of a log or of an error: printable, short, and without credentials.
pub(super) fn line(text: &str) -> String {
    let printable: String =
        text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(4 * LONGEST).collect();
    let mut out: Vec<String> = Vec::new();
    let mut hide = 0;
    for word in printable.split(' ').filter(|word| !word.is_empty()) {
        if hide > 0 {
            hide -= 1;
            // The scheme before the credentials tells nothing.
            if is_scheme(word) {
                hide = 1;
            }
            out.push(HIDDEN.to_owned());
            continue;
        }
        let (shown, next) = of_word(word);
        hide = next;
        out.push(shown);
    }
    out.join(" ").chars().take(LONGEST).collect()
}

fn is_scheme(word: &str) -> bool {
    ["basic", "bearer", "digest", "negotiate"].iter().any(|it| word.eq_ignore_ascii_case(it))
}

/// A word as it may be shown, and how many after it may not.
fn of_word(word: &str) -> (String, usize) {
    const TELLING: [&str; 9] =
        ["password", "passwd", "secret", "token", "authorization", "key", "auth", "user", "cookie"];
    if is_scheme(word) {
        return (word.to_owned(), 1);
    }
    let quotes = ['"', '\'', '{', '}', '(', ')', ',', ';', ':'];
    if let Some((name, value)) = word.split_once(['=', ':']) {
        let name_only = name.trim_matches(quotes).to_ascii_lowercase();
        if TELLING.iter().any(|it| name_only.ends_with(it)) {
            let next = usize::from(value.trim_matches(quotes).is_empty());
            return (format!("{name}={HIDDEN}"), next);
        }
    }
    if let Some((scheme, rest)) = word.split_once("://")
        && let Some((_credentials, host)) = rest.rsplit_once('@')
    {
        return (format!("{scheme}://{HIDDEN}@{host}"), 0);
    }
    // Keys look like nothing else.
    let bare = word.trim_matches(quotes);
    let dense = |c: char| c.is_ascii_alphanumeric() || "+/=_-".contains(c);
    let key = bare.starts_with("sk-") || (bare.len() >= 32 && bare.chars().all(dense));
    let path = bare.starts_with('/');
    (if key && !path { HIDDEN.to_owned() } else { word.to_owned() }, 0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{command, line, variable};

    #[test]
    fn only_harmless_settings_have_values() {
        let told = |text| variable(text).map(|it| (it.name, it.value));
        let both =
            |name: &str, value: Option<&str>| Some((name.to_owned(), value.map(ToOwned::to_owned)));
        assert_eq!(told("SAMI_PROXY_OPEN=true"), both("SAMI_PROXY_OPEN", Some("true")));
        assert_eq!(
            told("SAMI_PROXY_LISTEN=0.0.0.0:8080,[::]:8080"),
            both("SAMI_PROXY_LISTEN", Some("0.0.0.0:8080,[::]:8080"))
        );
        assert_eq!(told("SAMI_PROXY_AUTH=me:hunter2"), both("SAMI_PROXY_AUTH", None));
        assert_eq!(told("SAMI_PROXY_UPSTREAM=http://a:b@c"), both("SAMI_PROXY_UPSTREAM", None));
        assert_eq!(told("SAMI_PROXY_LISTEN=a b"), both("SAMI_PROXY_LISTEN", None));
        assert_eq!(told("OPENAI_API_KEY=sk-1"), None);
        assert_eq!(told("nothing"), None);
    }

    #[test]
    fn a_command_keeps_its_shape_and_no_secret() {
        let cases = [
            (
                "/usr/local/bin/sami-proxy serve --auth me:hunter2 --open --listen 127.0.0.1:8080",
                "/usr/local/bin/sami-proxy serve --auth … --open --listen 127.0.0.1:8080",
            ),
            (
                "sami-proxy serve --auth=me:hunter2 --listen=0.0.0.0:3128",
                "sami-proxy serve --auth=… --listen=0.0.0.0:3128",
            ),
            ("sami-proxy --upstream http://a:b@c:1 serve", "sami-proxy --upstream … serve"),
            ("sh -c export;TOKEN=1", "sh -c …"),
            ("mysql -phunter2 --password=x hunter2", "mysql … --password=… …"),
            ("--open=x=y --=", "--open=… --=…"),
        ];
        for (words, expected) in cases {
            assert_eq!(command(words.split(' ')).join(" "), expected);
        }
    }

    #[test]
    fn a_line_loses_its_credentials_and_nothing_else() {
        let cases = [
            (
                "sami-proxy: --workers (SAMI_PROXY_WORKERS): \"many\" is no number",
                "sami-proxy: --workers (SAMI_PROXY_WORKERS): \"many\" is no number",
            ),
            (
                "upstream http://me:hunter2@10.0.0.1:3128 refused",
                "upstream http://…@10.0.0.1:3128 refused",
            ),
            ("Proxy-Authorization: Basic bWU6aHVudGVyMg== x", "Proxy-Authorization=… … … x"),
            ("password=hunter2 ok", "password=… ok"),
            ("{\"api_key\": \"sk-abc\"}", "{\"api_key\"=… …"),
            ("got sk-proj-abc.def", "got …"),
            ("on endpoint x (0123456789abcdef0123456789abcdef): no", "on endpoint x … no"),
            (
                "exec /usr/local/bin/sami-proxy: exec format error",
                "exec /usr/local/bin/sami-proxy: exec format error",
            ),
            ("a\x1b[31mred\r\n", "a [31mred"),
        ];
        for (text, expected) in cases {
            assert_eq!(line(text), expected);
        }
    }

    proptest! {
        #[test]
        fn no_line_is_long_or_unprintable(text in ".{0,900}") {
            let line = line(&text);
            prop_assert!(line.chars().count() <= 300);
            prop_assert!(!line.chars().any(char::is_control));
        }

        #[test]
        fn a_password_of_ours_is_never_told(password in "[!-~]{6,30}") {
            let flag = format!("--auth=me:{password}");
            let shown = command(["sami-proxy", "serve", "--auth", &password, &flag]);
            prop_assert!(!shown.join(" ").contains(&password));
            let url = line(&format!("x http://me:{password}@host/"));
            let both = format!("me:{password}");
            prop_assert!(!url.contains(&both));
        }
    }
}
