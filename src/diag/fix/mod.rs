//! Cause → what mends it, and where. Pure; the sentences are in `render`.

mod client;
mod docker;
mod machine;
mod packets;
mod risk;

use machine::ONLY;

use super::code::Code;
use super::evidence::Subject;
use super::infer::{Arguments, Suspect};

/// Where something has to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Place {
    /// The computer that asks.
    Windows,
    /// The server's operating system.
    Server,
    /// Docker on the server.
    Docker,
    /// The panel of the server's provider.
    Provider,
    /// The settings of the application.
    Sami,
}

impl Place {
    /// As JSON has it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Windows => "windows",
            Self::Server => "server",
            Self::Docker => "docker",
            Self::Provider => "provider",
            Self::Sami => "sami",
        }
    }
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fix {
    /// Where.
    pub place: Place,
    /// What to type there.
    pub command: Option<String>,
    /// The key of the sentence that says what the command costs, if anything.
    pub risk: Option<&'static str>,
    /// The key of its sentence.
    pub text: &'static str,
}

/// Cause, place, command, key of the sentence; in the order in which to try.
///
/// In a command stand `{host}`, `{port}` and `{proxy}` of the subject, and names of the cause's
/// arguments or of [`USUAL`]. A row with a name that nobody knows is not for this cause.
type Row = (Code, Place, Option<&'static str>, &'static str);

const TABLES: [&[Row]; 4] = [client::FIXES, machine::FIXES, docker::FIXES, packets::FIXES];

/// What stands in a command for what the cause does not tell.
const USUAL: &[(&str, &str)] = &[
    ("container", "sami-llm-proxy"),
    ("image", "sami-llm-proxy"),
    ("inside", "8080"),
    ("limit", "1400"),
    ("path", "/"),
];

/// Every key that [`fixes_of`] may give.
pub fn texts() -> impl Iterator<Item = &'static str> {
    TABLES.into_iter().flatten().map(|(.., text)| *text).chain(risk::texts())
}

/// What mends a cause: first what is for just this one, then the most promising.
pub fn fixes_of(suspect: &Suspect, subject: &Subject) -> Vec<Fix> {
    let arguments = &suspect.arguments;
    let mut all: Vec<(bool, Fix)> = Vec::new();
    let rows = TABLES.into_iter().flatten().filter(|(of, ..)| *of == suspect.code);
    for (_, place, template, text) in rows {
        let only = ONLY.iter().find(|(of, _)| of == text);
        let setting = arguments.get("setting").map_or("", String::as_str);
        if only.is_some_and(|(_, settings)| !settings.contains(&setting)) {
            continue;
        }
        let command = template.map(|template| command(template, arguments, subject));
        if command == Some(None) {
            continue;
        }
        let special = only.is_some() || template.is_some_and(|it| is_special(it, arguments));
        let command = command.flatten();
        let risk = command.as_deref().and_then(risk::risk);
        let fix = Fix { place: *place, command, risk, text };
        if !all.iter().any(|(_, other)| other.command.is_some() && other.command == fix.command) {
            all.push((special, fix));
        }
    }
    all.sort_by_key(|(special, _)| !special);
    all.into_iter().map(|(_, fix)| fix).collect()
}

/// Whether there is something in it that only this cause could tell.
fn is_special(template: &str, arguments: &Arguments) -> bool {
    let usual = |name: &str| {
        matches!(name, "host" | "port" | "proxy") || USUAL.iter().any(|(it, _)| *it == name)
    };
    let told = arguments.keys().filter(|name| !usual(name));
    told.into_iter().any(|name| template.contains(&format!("{{{name}}}")))
}

/// `template` with what stands in braces filled in; braces around anything but a word of small
/// letters are what they are. `None` when a word is not known.
fn command(template: &str, arguments: &Arguments, subject: &Subject) -> Option<String> {
    let mut text = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        text.push_str(before);
        let is_word = |it: &str| !it.is_empty() && it.bytes().all(|b| b.is_ascii_lowercase());
        let Some((word, after)) = after.split_once('}').filter(|(word, _)| is_word(word)) else {
            text.push('{');
            rest = after;
            continue;
        };
        match word {
            "host" => text.push_str(&subject.host),
            "port" => text.push_str(&subject.port.to_string()),
            "proxy" => text.push_str(&subject.authority()),
            _ => text.push_str(argument(word, arguments)?),
        }
        rest = after;
    }
    text.push_str(rest);
    Some(text)
}

fn argument<'a>(word: &str, arguments: &'a Arguments) -> Option<&'a str> {
    let told = arguments.get(word).map(String::as_str);
    // The path of a file on Windows; no shell of a server gets it.
    let told = told.filter(|it| {
        is_plain(&if word == "hosts" { it.replace('\\', "/") } else { (*it).to_owned() })
    });
    told.or_else(|| USUAL.iter().find(|(name, _)| *name == word).map(|(_, usual)| *usual))
}

/// Whether a shell takes `word` as one word that is no option; a saved report may hold anything.
pub fn is_plain(word: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._:/@-".contains(c);
    !word.is_empty() && !word.starts_with('-') && word.chars().all(plain)
}
