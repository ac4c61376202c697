//! Every text of the doctor, in two languages: `src/locales/en.ftl` and `ru.ftl` (Project Fluent).
//!
//! A code has two messages: its own word (one line that says what is wrong) and that word with
//! `-long` (the page of `explain`). A value of an enum has one that is named `GROUP-VALUE`, as JSON
//! has the value (`outcome-refused`). All others stand in the code as they are. The tests hold that
//! both languages have all of them with the same arguments, and nothing else.

use fluent_bundle::concurrent::FluentBundle;
use fluent_bundle::{FluentArgs, FluentResource, FluentValue};

use crate::diag::code::{Code, Segment, Severity};
use crate::tame::tame;

/// A language that the doctor speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lang {
    /// Russian.
    Ru,
    /// English.
    En,
}

/// The variables that tell a language, the strongest first (POSIX: `LC_ALL`, `LC_MESSAGES`, `LANG`).
const VARIABLES: [&str; 4] = ["SAMI_PROXY_LANG", "LC_ALL", "LC_MESSAGES", "LANG"];

/// The languages whose speakers are better served in Russian than in English.
const READ_RUSSIAN: [&str; 4] = ["ru", "be", "uk", "kk"];

impl Lang {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Ru, Self::En];

    /// As it is typed.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ru => "ru",
            Self::En => "en",
        }
    }

    /// The language that is typed so.
    pub fn find(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|lang| lang.word() == word)
    }

    /// The flag; else the first of `SAMI_PROXY_LANG`, `LC_ALL`, `LC_MESSAGES`, `LANG` that is set
    /// and not empty; else the system's user interface language (`ru-RU`); else English.
    pub fn choose(
        flag: Option<Self>,
        environment: impl Fn(&str) -> Option<String>,
        system: Option<&str>,
    ) -> Self {
        if let Some(lang) = flag {
            return lang;
        }
        let set = |name: &&str| environment(name).filter(|value| !value.is_empty());
        VARIABLES.iter().find_map(set).as_deref().or(system).map_or(Self::En, Self::of_locale)
    }

    /// Of `ru_RU.UTF-8`, `ru-RU`, `ru`; what is not known is English.
    fn of_locale(locale: &str) -> Self {
        let language = locale.split(['_', '-', '.', '@']).next().unwrap_or_default();
        if READ_RUSSIAN.iter().any(|known| language.eq_ignore_ascii_case(known)) {
            Self::Ru
        } else {
            Self::En
        }
    }
}

/// The value of an argument.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Arg<'a> {
    /// As it is.
    Text(&'a str),
    /// A number that a text may count with.
    Number(u64),
}

/// Every argument that the line of a code may have. One that is not given is shown as what
/// `argument-NAME` says, as in the list of `explain`.
pub const ARGUMENTS: &[&str] = &[
    // the proxy, and HOST:PORT of it
    "host",
    "port",
    "proxy",
    // who answers there, and another port of the host that does
    "what",
    "sibling",
    // another value than the expected one, of the same kind: a port, an address, a name
    "other",
    // a name that is looked up
    "name",
    // beyond the proxy: HOST:PORT, or a host
    "target",
    // the client's address as the proxy sees it
    "client",
    // of Docker
    "container",
    // of HTTP
    "status",
    // who signed a certificate
    "issuer",
    // quantities; a span is so many seconds in a unit that suits
    "span",
    "seconds",
    "kilobytes",
    "bytes",
    "percent",
    "count",
    "limit",
];

/// The further arguments of the messages that belong to no code; those are always given.
pub const MEASURED: &[&str] = &[
    // what a check looked at, what it found, and why not
    "subject",
    "addresses",
    "ports",
    "to",
    "source",
    "hop",
    "outcome",
    "failure",
    "why",
    // so many, of so many
    "times",
    "attempts",
    // milliseconds
    "ms",
    "min",
    "jitter",
    "most",
    "gap",
    // kilobytes, and kilobytes per second
    "wanted",
    "moved",
    "rate",
    // free, of a disk or of memory
    "megabytes",
    // a hosting, and where its firewall is
    "provider",
    "console",
];

const fn source(lang: Lang) -> &'static str {
    match lang {
        Lang::Ru => include_str!("../locales/ru.ftl"),
        Lang::En => include_str!("../locales/en.ftl"),
    }
}

/// The texts of one language.
pub struct Words {
    lang: Lang,
    bundle: FluentBundle<FluentResource>,
}

impl std::fmt::Debug for Words {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Words").field(&self.lang).finish()
    }
}

impl Words {
    /// Reads the texts of `lang`, which takes a few milliseconds.
    pub fn new(lang: Lang) -> Self {
        // What can't be read is left out; the tests hold that nothing is.
        let resource = FluentResource::try_new(source(lang).to_owned())
            .unwrap_or_else(|(resource, _)| resource);
        let locale = lang.word().parse().unwrap_or_default();
        let mut bundle = FluentBundle::new_concurrent(vec![locale]);
        // They are for right-to-left scripts, and no terminal hides them.
        bundle.set_use_isolating(false);
        bundle.add_resource_overriding(resource);
        Self { lang, bundle }
    }

    /// The language.
    pub const fn lang(&self) -> Lang {
        self.lang
    }

    /// The message `id`. A text among the arguments is made harmless with [`tame`]; one of
    /// [`ARGUMENTS`] that is not given is shown as a placeholder; an `id` that does not exist is
    /// shown itself. Where a name is given twice, the first counts.
    pub fn text(&self, id: &str, args: &[(&str, Arg<'_>)]) -> String {
        let mut all = FluentArgs::with_capacity(ARGUMENTS.len() + args.len());
        for name in ARGUMENTS {
            all.set(*name, self.plain(&format!("argument-{name}")));
        }
        for (name, value) in args.iter().rev() {
            let value = match value {
                Arg::Text(text) => FluentValue::from(tame(text)),
                Arg::Number(number) => FluentValue::from(*number),
            };
            all.set((*name).to_owned(), value);
        }
        self.format(id, Some(&all))
    }

    /// What is wrong, in one line: no capital at its beginning, no full stop at its end.
    pub fn summary(&self, code: Code, args: &[(&str, Arg<'_>)]) -> String {
        self.text(code.word(), args)
    }

    /// The page of `explain`: several lines of at most 100 characters; commands are indented.
    pub fn long(&self, code: Code) -> String {
        self.plain(&format!("{}-long", code.word()))
    }

    /// The name of a stretch of the way.
    pub fn segment(&self, segment: Segment) -> String {
        self.plain(&format!("segment-{}", segment.word()))
    }

    /// The name of a severity.
    pub fn severity(&self, severity: Severity) -> String {
        self.plain(match severity {
            Severity::Fine => "severity-fine",
            Severity::Warning => "severity-warning",
            Severity::Problem => "severity-problem",
        })
    }

    fn plain(&self, id: &str) -> String {
        self.format(id, None)
    }

    fn format(&self, id: &str, args: Option<&FluentArgs<'_>>) -> String {
        let Some(pattern) = self.bundle.get_message(id).and_then(|message| message.value()) else {
            return id.to_owned();
        };
        self.bundle.format_pattern(pattern, args, &mut Vec::new()).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::path::Path;

    use super::{ARGUMENTS, Arg, FluentResource, Lang, MEASURED, Words, source, tame};
    use crate::diag::code::{Code, Segment, Severity};
    use crate::diag::fact::CheckId;
    use crate::diag::fix;

    /// Group of messages, the enum whose values it names, the file of `diag` that has it.
    const GROUPS: &[(&str, &str, &str)] = &[
        ("segment", "Segment", "code"),
        ("way", "Segment", "code"),
        ("severity", "Severity", "code"),
        ("confidence", "Confidence", "infer/mod"),
        ("state", "State", "diagnosis"),
        ("health", "Health", "report"),
        ("place", "Place", "fix/mod"),
        ("outcome", "Outcome", "fact/port"),
        ("failure", "NameFailure", "fact/port"),
        ("skip", "Skip", "fact/mod"),
        ("speaks", "Speaks", "fact/port"),
        ("end", "End", "fact/port"),
        ("reach", "Reach", "fact/docker"),
        ("run", "State", "fact/docker"),
        ("unseen", "Why", "fact/docker"),
        ("read", "Read", "fact/packets"),
        ("blind", "Blind", "fact/hostnet"),
        ("stage", "Stage", "fact/journey"),
        ("how", "How", "fact/journey"),
        ("trick", "Trick", "fact/link"),
        ("provider", "Reach", "infer/content"),
        ("progress", "Area", "plan"),
        ("setting", "SettingOf", "fact/machine"),
        ("change", "What", "changes/mod"),
        ("redacted", "Kind", "scrub/mod"),
        // What is missing of the server, and what would bring it.
        ("silence", "Silence", "server"),
        ("unheard", "Silence", "server"),
    ];

    /// How the messages begin that the code names as they are.
    const LITERALS: &[&str] = &[
        "behind-nat-",
        "bundle-",
        "changes-",
        "checks-",
        "ended-",
        "explain-",
        "fact-",
        "far-",
        "fix-",
        "joint-",
        "label-",
        "llm-",
        "not-checked-",
        "ok-",
        "progress-",
        "separate-",
        "span-",
        "speaks-",
        "unexplained",
        "waterfall",
        "window-",
    ];

    fn folder() -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
    }

    /// The values of an enum of `diag`, as JSON has them.
    fn values(name: &str, file: &str) -> Vec<String> {
        let code = std::fs::read_to_string(folder().join(format!("diag/{file}.rs"))).unwrap();
        let body = code.split(&format!("pub enum {name} {{\n")).nth(1).unwrap();
        let body = body.split("\n}").next().unwrap();
        let variant = |line: &str| {
            let word = line.trim().trim_end_matches(',');
            let named = word.starts_with(|c: char| c.is_ascii_uppercase());
            (named && word.chars().all(|c| c.is_ascii_alphanumeric())).then(|| kebab(word))
        };
        let found: Vec<String> = body.lines().filter_map(variant).collect();
        assert!(found.len() > 2, "{name}: {found:?}");
        found
    }

    fn kebab(word: &str) -> String {
        let mut text = String::new();
        for c in word.chars() {
            if c.is_ascii_uppercase() && !text.is_empty() {
                text.push('-');
            }
            text.push(c.to_ascii_lowercase());
        }
        text
    }

    /// Every text in quotes in `folder`, tests left out.
    fn quoted(folder: &Path, found: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                quoted(&path, found);
            } else if path.extension().is_some_and(|it| it == "rs") && !path.ends_with("tests.rs") {
                let code = std::fs::read_to_string(&path).unwrap();
                let code = code.split("#[cfg(test)]\nmod tests").next().unwrap();
                found.extend(code.split('"').skip(1).step_by(2).map(str::to_owned));
            }
        }
    }

    /// The messages that the code names as they are.
    fn literals() -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for layer in ["cli", "diag", "render"] {
            quoted(&folder().join(layer), &mut found);
        }
        found.retain(|text| {
            LITERALS.iter().any(|start| text.starts_with(start))
                && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')
        });
        found
    }

    /// Each message's arguments, by a reading of the file that is not Fluent's.
    fn messages(lang: Lang) -> BTreeMap<String, BTreeSet<String>> {
        let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let mut current = String::new();
        for line in source(lang).lines() {
            if line.starts_with(|c: char| c.is_ascii_lowercase()) {
                line.split(" =").next().unwrap().clone_into(&mut current);
                let twice = found.insert(current.clone(), BTreeSet::new());
                assert!(twice.is_none(), "{lang:?}: {current} is there twice");
            }
            if line.starts_with('#') {
                continue;
            }
            for rest in line.split('$').skip(1) {
                let name = rest.split(|c: char| !c.is_ascii_lowercase()).next().unwrap();
                found.get_mut(&current).unwrap().insert(name.to_owned());
            }
        }
        found
    }

    fn expected() -> BTreeSet<String> {
        let codes = Code::ALL.iter().map(|code| code.word());
        let mut all: BTreeSet<String> = codes.clone().map(str::to_owned).collect();
        all.extend(codes.map(|word| format!("{word}-long")));
        all.extend(ARGUMENTS.iter().map(|name| format!("argument-{name}")));
        all.extend(fix::texts().map(str::to_owned));
        all.extend(literals());
        for (group, name, file) in GROUPS {
            all.extend(values(name, file).iter().map(|value| format!("{group}-{value}")));
        }
        all.extend(CheckId::ALL.iter().map(|check| format!("check-{}", check.word())));
        // Who was not looked at has no word: the sentence says so.
        all.remove("health-skipped");
        all
    }

    #[test]
    fn both_files_are_good_fluent() {
        for lang in Lang::ALL {
            let read = FluentResource::try_new(source(lang).to_owned());
            assert!(read.is_ok(), "{lang:?}: {:?}", read.err().map(|(_, errors)| errors));
        }
    }

    #[test]
    fn every_message_is_there_in_both_languages_and_no_other() {
        for lang in Lang::ALL {
            let found: BTreeSet<String> = messages(lang).into_keys().collect();
            let expected = expected();
            let missing: Vec<_> = expected.difference(&found).collect();
            let left_over: Vec<_> = found.difference(&expected).collect();
            assert!(
                missing.is_empty() && left_over.is_empty(),
                "{lang:?}: -{missing:?} +{left_over:?}"
            );
            let words = Words::new(lang);
            for id in &expected {
                assert!(words.bundle.get_message(id).unwrap().value().is_some(), "{lang:?}: {id}");
            }
        }
    }

    #[test]
    fn both_languages_have_the_same_known_arguments() {
        let (ru, en) = (messages(Lang::Ru), messages(Lang::En));
        assert_eq!(ru, en);
        let used: BTreeSet<&str> = en.values().flatten().map(String::as_str).collect();
        let known: BTreeSet<&str> = ARGUMENTS.iter().chain(MEASURED).copied().collect();
        assert_eq!(used, known);
        for code in Code::ALL {
            for name in &en[code.word()] {
                assert!(ARGUMENTS.contains(&name.as_str()), "{}: {name}", code.word());
            }
        }
        for (id, arguments) in &en {
            assert!(
                !id.ends_with("-long") || arguments.is_empty(),
                "{id}: a page has no arguments"
            );
        }
    }

    #[test]
    fn no_placeholder_is_left_as_fluent_writes_it() {
        for lang in Lang::ALL {
            let words = Words::new(lang);
            for id in expected() {
                let given: Vec<_> = MEASURED.iter().map(|name| (*name, Arg::Number(2))).collect();
                let text = words.text(&id, &given);
                assert!(!text.contains("{$") && !text.is_empty(), "{lang:?}: {id}: {text}");
                assert!(!text.contains(['\u{2068}', '\u{2069}']), "{lang:?}: {id}: {text}");
            }
        }
    }

    #[test]
    fn summaries_are_one_short_line() {
        for lang in Lang::ALL {
            let words = Words::new(lang);
            for &code in Code::ALL {
                let text = words.summary(code, &[]);
                let name = code.word();
                assert!(text.chars().count() <= 100, "{lang:?}: {name}: {text}");
                assert!(!text.contains('\n') && !text.ends_with('.'), "{lang:?}: {name}: {text}");
                let first: Vec<char> = text.chars().take(2).collect();
                // It is made a sentence elsewhere; a word all in capitals is a name.
                let lower = !first[0].is_uppercase() || first[1].is_uppercase();
                let named = ["Docker", "Windows", "Ubuntu"].iter().any(|w| text.starts_with(w));
                assert!(lower || named, "{lang:?}: {name}: {text}");
            }
        }
    }

    #[test]
    fn pages_are_readable() {
        for lang in Lang::ALL {
            let words = Words::new(lang);
            for &code in Code::ALL {
                let (name, page) = (code.word(), words.long(code));
                let count = page.lines().count();
                assert!((3..=25).contains(&count), "{lang:?}: {name} has {count} lines");
                for line in page.lines() {
                    assert!(line.chars().count() <= 100, "{lang:?}: {name}: {line}");
                    assert_eq!(line, line.trim_end(), "{lang:?}: {name}");
                    assert!(!line.contains('\t'), "{lang:?}: {name}: {line}");
                    let indent = line.len() - line.trim_start().len();
                    // Text, the rest of a list's item, a command, its rest.
                    assert!([0, 2, 4, 6].contains(&indent), "{lang:?}: {name}: {line}");
                }
                assert!(!page.contains("\n\n\n"), "{lang:?}: {name}");
            }
            for line in source(lang).lines() {
                assert_eq!(line, line.trim_end(), "{lang:?}");
                assert!(!line.contains('\t'), "{lang:?}: {line}");
            }
        }
    }

    #[test]
    fn both_languages_give_the_same_commands() {
        let commands = |lang: Lang, code: Code| -> Vec<String> {
            let page = Words::new(lang).long(code);
            page.lines().filter(|line| line.starts_with("    ")).map(str::to_owned).collect()
        };
        for &code in Code::ALL {
            assert_eq!(commands(Lang::Ru, code), commands(Lang::En, code), "{}", code.word());
        }
    }

    #[test]
    fn a_page_names_only_codes_that_exist() {
        let page = |lang| {
            let words = Words::new(lang);
            Code::ALL.iter().map(|&code| words.long(code)).collect::<Vec<_>>().join("\n")
        };
        for lang in Lang::ALL {
            for line in page(lang).lines() {
                let Some((_, rest)) = line.split_once("sami-proxy explain ") else { continue };
                assert!(Code::find(rest.trim()).is_some(), "{lang:?}: {line}");
            }
        }
    }

    #[test]
    fn arguments_are_put_in_and_counted_with() {
        let (ru, en) = (Words::new(Lang::Ru), Words::new(Lang::En));
        let args = [("host", Arg::Text("203.0.113.10")), ("port", Arg::Text("8080"))];
        assert!(en.summary(Code::PortFiltered, &args).contains("203.0.113.10"));
        assert!(ru.summary(Code::PortFiltered, &args).contains("8080"));
        for (count, in_russian, in_english) in [
            (1, "1 проверка не нашла", "1 check found"),
            (2, "2 проверки не нашли", "2 checks found"),
            (5, "5 проверок не нашли", "5 checks found"),
            (11, "11 проверок не нашли", "11 checks found"),
            (21, "21 проверка не нашла", "21 checks found"),
        ] {
            let args = [("count", Arg::Number(count))];
            let (in_ru, in_en) = (ru.text("checks-folded", &args), en.text("checks-folded", &args));
            assert!(in_ru.starts_with(in_russian), "{in_ru}");
            assert!(in_en.starts_with(in_english), "{in_en}");
        }
        let args = [("host", Arg::Text("{ $port }")), ("host", Arg::Text("second"))];
        let text = en.summary(Code::PortRejected, &args);
        assert_eq!(text, "a firewall rejects connections to port <port> of { $port }");
        assert_eq!(en.text("no-such-message", &[]), "no-such-message");
    }

    #[test]
    fn segments_and_severities_have_names() {
        for lang in Lang::ALL {
            let words = Words::new(lang);
            for segment in Segment::ALL {
                assert!(!words.segment(segment).starts_with("segment-"));
            }
            for severity in [Severity::Fine, Severity::Warning, Severity::Problem] {
                assert!(!words.severity(severity).starts_with("severity-"));
            }
        }
    }

    #[test]
    fn what_becomes_part_of_a_sentence_is_no_sentence_itself() {
        for lang in Lang::ALL {
            let words = Words::new(lang);
            let parts = ["fix-", "separate-", "fact-", "place-", "outcome-", "skip-", "failure-"];
            for id in expected().iter().filter(|id| parts.iter().any(|it| id.starts_with(it))) {
                let text = words.text(id, &[]);
                assert!(!text.ends_with('.') && !text.contains('\n'), "{lang:?}: {id}: {text}");
                let named = text.starts_with("Docker");
                let upper = text.chars().next().unwrap().is_uppercase() && !named;
                assert!(!upper, "{lang:?}: {id}: {text}");
            }
        }
    }

    #[test]
    fn what_tells_apart_and_unlocks_is_the_same_command_in_both_languages() {
        let (ru, en) = (Words::new(Lang::Ru), Words::new(Lang::En));
        for id in expected().iter().filter(|it| it.starts_with("separate-")) {
            let command = |words: &Words| {
                let text = words.text(id, &[("host", Arg::Text("h")), ("proxy", Arg::Text("p"))]);
                text.split_once(": ").map(|(_, command)| command.replace("<порт>", "<port>"))
            };
            assert_eq!(command(&ru), command(&en), "{id}");
        }
    }

    #[test]
    fn no_argument_makes_a_terminal_obey() {
        let hostile = "a\u{1b}[31m\u{9b}2J\nb\u{202e}c\u{2066}\u{200f}";
        assert_eq!(tame(hostile), "a\u{fffd}[31m\u{fffd}2J\u{fffd}b\u{fffd}c\u{fffd}\u{fffd}");
        let words = Words::new(Lang::En);
        let text = words.summary(Code::HostSilent, &[("host", Arg::Text(hostile))]);
        assert!(text.starts_with(&tame(hostile)), "{text:?}");
    }

    #[test]
    fn the_language_is_chosen_by_the_strongest_word() {
        let choose = |flag, set: &[(&str, &str)], system| {
            let get = |name: &str| {
                set.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
            };
            Lang::choose(flag, get, system)
        };
        assert_eq!(choose(None, &[], None), Lang::En);
        assert_eq!(choose(None, &[], Some("ru-RU")), Lang::Ru);
        assert_eq!(choose(None, &[], Some("de-DE")), Lang::En);
        assert_eq!(choose(Some(Lang::En), &[("LANG", "ru_RU.UTF-8")], Some("ru")), Lang::En);
        assert_eq!(choose(None, &[("LANG", "en_US.UTF-8")], Some("ru-RU")), Lang::En);
        assert_eq!(choose(None, &[("LANG", "ru"), ("LC_MESSAGES", "C")], None), Lang::En);
        assert_eq!(choose(None, &[("LC_MESSAGES", "uk_UA"), ("LC_ALL", "")], None), Lang::Ru);
        assert_eq!(choose(None, &[("LC_MESSAGES", "C"), ("LC_ALL", "be_BY")], None), Lang::Ru);
        let both = [("SAMI_PROXY_LANG", "en"), ("LC_ALL", "ru_RU")];
        assert_eq!(choose(None, &both, None), Lang::En);
        for (locale, lang) in [
            ("RU", Lang::Ru),
            ("kk_KZ.UTF-8", Lang::Ru),
            ("ru@x", Lang::Ru),
            ("run", Lang::En),
            ("POSIX", Lang::En),
        ] {
            assert_eq!(choose(None, &[("LANG", locale)], None), lang, "{locale}");
        }
    }

    #[test]
    fn a_language_is_found_by_its_word() {
        assert_eq!(Lang::find("ru"), Some(Lang::Ru));
        assert_eq!(Lang::find("en"), Some(Lang::En));
        assert_eq!(Lang::find("de"), None);
    }
}
