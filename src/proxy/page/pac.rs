//! `proxy.pac`: which hosts a browser or a system sends through this proxy.

use std::fmt::Write as _;

use super::{Scheme, known_hosts};
use crate::target::Target;

/// The program of `proxy.pac`, to be served as `application/x-ns-proxy-autoconfig`: the built-in
/// LLM hosts go through the proxy at `authority`, everything else goes directly.
///
/// It is JavaScript as every engine since the first one reads it (ECMAScript 3), and pure ASCII.
/// Connectivity checks are left out: a system that makes them wants to know about its own way out.
pub fn pac(authority: &Target, scheme: Scheme) -> String {
    let keyword = match scheme {
        Scheme::Http => "PROXY",
        Scheme::Https => "HTTPS",
    };
    let proxy = quoted(&format!("{keyword} {authority}"));
    let rules: Vec<String> = known_hosts::rules()
        .filter(|(provider, _)| *provider != known_hosts::CONNECTIVITY_CHECKS)
        .map(|(_, rule)| quoted(rule))
        .collect();
    // No comma behind the last: old engines count one more element.
    let rules = rules.join(",\n");
    format!("var proxy = {proxy};\nvar rules = [\n{rules}\n];\n{}", include_str!("find_proxy.js"))
}

/// A JavaScript string.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for unit in text.encode_utf16() {
        match u8::try_from(unit) {
            Ok(byte) if byte.is_ascii_alphanumeric() || b" .:-_*[]".contains(&byte) => {
                out.push(char::from(byte));
            }
            _ => {
                // Writing to memory cannot fail.
                let _infallible = write!(out, "\\u{unit:04x}");
            }
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU16;

    use super::{Scheme, pac};
    use crate::proxy::known_hosts;
    use crate::target::{Host, Target};

    fn target(text: &str) -> Target {
        Target::from_authority(text).unwrap()
    }

    #[test]
    fn the_proxy_is_the_one_the_browser_used_and_there_is_no_second_choice() {
        let cases = [
            ("proxy.example:8080", Scheme::Http, "var proxy = \"PROXY proxy.example:8080\";\n"),
            ("proxy.example:443", Scheme::Https, "var proxy = \"HTTPS proxy.example:443\";\n"),
            ("[2001:db8::1]:80", Scheme::Http, "var proxy = \"PROXY [2001:db8::1]:80\";\n"),
        ];
        for (authority, scheme, start) in cases {
            let found = pac(&target(authority), scheme);
            assert!(found.starts_with(start), "{found}");
            assert!(found.contains("function FindProxyForURL(url, host)"));
            assert_eq!(found.matches("\"DIRECT\"").count(), 1);
            assert_eq!(found.matches("return proxy;").count(), 1);
        }
    }

    #[test]
    fn every_llm_host_is_in_it_and_no_connectivity_check() {
        let found = pac(&target("proxy.example:8080"), Scheme::Http);
        for (provider, rule) in known_hosts::rules() {
            let there = found.contains(&format!("\"{rule}\""));
            assert_eq!(there, provider != "Connectivity checks", "{rule}");
        }
        assert!(!found.contains(",\n]"));
    }

    #[test]
    fn nothing_in_the_host_ends_the_string() {
        let name = "a\"\\\n</script>\u{2028}é😀'".into();
        let harmful = Target { host: Host::Name(name), port: NonZeroU16::MIN };
        let found = pac(&harmful, Scheme::Http);
        let expected = "var proxy = \"PROXY a\\u0022\\u005c\\u000a\\u003c\\u002fscript\\u003e\
            \\u2028\\u00e9\\ud83d\\ude00\\u0027:1\";\n";
        assert!(found.starts_with(expected), "{found}");
        assert!(found.is_ascii());
    }
}
