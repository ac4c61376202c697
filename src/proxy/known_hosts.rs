//! The built-in list: what a stranger may reach while no credentials are configured.
//!
//! The rules and their format are in `known_hosts.txt`; this file only reads them.

use std::collections::HashMap;
use std::sync::LazyLock;

const TEXT: &str = include_str!("known_hosts.txt");

/// The provider name of hosts that are on the list without being anybody's LLM service.
pub const CONNECTIVITY_CHECKS: &str = "Connectivity checks";

/// Ports that strangers may reach.
pub const PORTS: [u16; 2] = [443, 80];

#[derive(Debug, Default)]
struct List {
    /// Host → provider.
    exact: HashMap<&'static str, &'static str>,
    /// What stands behind the dot of `.suffix` → provider.
    suffixes: HashMap<&'static str, &'static str>,
    /// What stands before and behind `*`, and the provider.
    patterns: Vec<(&'static str, &'static str, &'static str)>,
}

static LIST: LazyLock<List> = LazyLock::new(|| {
    let mut list = List::default();
    for (provider, rule) in rules() {
        if let Some(suffix) = rule.strip_prefix('.') {
            list.suffixes.insert(suffix, provider);
        } else if let Some((before, behind)) = rule.split_once('*') {
            list.patterns.push((before, behind, provider));
        } else {
            list.exact.insert(rule, provider);
        }
    }
    list
});

fn lines() -> impl Iterator<Item = &'static str> {
    TEXT.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// Every provider and rule, as they are written in the file and in its order.
pub fn rules() -> impl Iterator<Item = (&'static str, &'static str)> {
    let mut provider = "";
    lines().filter_map(move |line| {
        match line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(name) => provider = name,
            None => return Some((provider, line)),
        }
        None
    })
}

/// How many rules there are.
pub fn count() -> usize {
    LIST.exact.len() + LIST.suffixes.len() + LIST.patterns.len()
}

/// The provider that `name` (lower-case, without a trailing dot) belongs to.
pub fn provider(name: &str) -> Option<&'static str> {
    if let Some(provider) = LIST.exact.get(name) {
        return Some(provider);
    }
    let mut rest = name;
    while let Some((_, parent)) = rest.split_once('.') {
        if let Some(provider) = LIST.suffixes.get(parent) {
            return Some(provider);
        }
        rest = parent;
    }
    let fits = |(before, behind, _): &&(&str, &str, &str)| {
        name.strip_prefix(*before)
            .and_then(|rest| rest.strip_suffix(*behind))
            .is_some_and(|middle| !middle.is_empty() && !middle.contains('.'))
    };
    LIST.patterns.iter().find(fits).map(|(.., provider)| *provider)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{CONNECTIVITY_CHECKS, count, lines, provider, rules};

    #[test]
    fn each_form_of_rule_matches_what_it_says_and_nothing_more() {
        let cases = [
            ("api.openai.com", Some("OpenAI")),
            ("openai.com", Some("OpenAI")),
            ("a.b.openai.com", Some("OpenAI")),
            ("notopenai.com", None),
            ("openai.com.evil.example", None),
            ("api.anthropic.com", Some("Anthropic")),
            ("us-central1-aiplatform.googleapis.com", Some("Google AI")),
            ("-aiplatform.googleapis.com", None),
            ("a.b-aiplatform.googleapis.com", None),
            ("storage.googleapis.com", None),
            ("bedrock-runtime.us-east-1.amazonaws.com", Some("AWS Bedrock")),
            ("s3.us-east-1.amazonaws.com", None),
            ("bedrock-runtime.s3.amazonaws.com", None),
            ("www.google.com", Some(CONNECTIVITY_CHECKS)),
            ("localhost", None),
            ("com", None),
            ("", None),
        ];
        for (name, expected) in cases {
            assert_eq!(provider(name), expected, "{name}");
        }
    }

    #[test]
    fn the_list_is_well_formed() {
        let mut seen = HashSet::new();
        for rule in lines() {
            assert!(seen.insert(rule), "{rule} twice");
            if rule.starts_with('[') {
                assert!(rule.ends_with(']'), "{rule}");
                continue;
            }
            let bare = rule.strip_prefix('.').unwrap_or(rule);
            let good = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'*');
            assert!(bare.bytes().all(good), "{rule}");
            assert!(bare.contains('.') && !bare.contains("..") && !bare.ends_with('.'), "{rule}");
            assert!(rule.matches('*').count() <= 1, "{rule}");
            let last_two = bare.rsplitn(3, '.').take(2);
            assert!(last_two.into_iter().all(|label| !label.contains('*')), "{rule}");
        }
        assert!(count() > 200);
    }

    #[test]
    fn every_rule_is_given_out_with_its_provider() {
        assert_eq!(rules().count(), count());
        for (name, rule) in rules() {
            let host =
                rule.strip_prefix('.').map_or(rule.replace('*', "x"), |apex| format!("x.{apex}"));
            assert!(provider(&host).is_some() && !name.is_empty(), "{rule}");
        }
        assert!(rules().any(|pair| pair == ("OpenAI", ".openai.com")));
    }

    #[test]
    fn every_provider_of_the_promise_is_there() {
        let promised = [
            "api.openai.com",
            "x.openai.azure.com",
            "api.anthropic.com",
            "generativelanguage.googleapis.com",
            "api.mistral.ai",
            "api.groq.com",
            "api.x.ai",
            "api.deepseek.com",
            "openrouter.ai",
            "api.cohere.com",
            "api.together.xyz",
            "api.fireworks.ai",
            "api.perplexity.ai",
            "huggingface.co",
            "api.githubcopilot.com",
            "models.github.ai",
            "bedrock-runtime.eu-central-1.amazonaws.com",
            "api.cerebras.ai",
            "api.sambanova.ai",
            "api.replicate.com",
            "api.moonshot.ai",
            "open.bigmodel.cn",
            "dashscope.aliyuncs.com",
            "api.minimax.io",
            "api.elevenlabs.io",
            "api.stability.ai",
            "api.assemblyai.com",
            "api.deepgram.com",
            "api.voyageai.com",
            "api.jina.ai",
            "llm.api.cloud.yandex.net",
            "gigachat.devices.sberbank.ru",
        ];
        for name in promised {
            assert!(provider(name).is_some(), "{name}");
        }
    }
}
