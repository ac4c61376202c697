//! For whom no proxy is used: `ProxyOverride` of Windows, `NO_PROXY` of everybody else.

use std::net::IpAddr;

use ipnet::IpNet;

/// How a list is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// `ProxyOverride`: a name is that name only, `*` stands for anything, `<local>` for names
    /// without a dot.
    Windows,
    /// `NO_PROXY`, GNOME and macOS: a name stands for those below it, too; addresses may be networks.
    Unix,
}

/// The entries of `list`: separated by semicolons, commas or white space.
pub fn entries(list: &str) -> Vec<String> {
    /// More would be a list of the whole Internet.
    const MOST: usize = 500;
    let parts = list.split(|c: char| c == ';' || c == ',' || c.is_whitespace());
    parts.filter(|it| !it.is_empty()).take(MOST).map(str::to_owned).collect()
}

/// The first of `entries` for which `host` (without brackets) on `port` goes past the proxy.
pub fn bypasses<'l>(
    entries: &'l [String],
    dialect: Dialect,
    (host, port): (&str, u16),
) -> Option<&'l str> {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let matches = |entry: &&String| match dialect {
        Dialect::Windows => windows(&entry.to_ascii_lowercase(), &host, port),
        Dialect::Unix => unix(&entry.to_ascii_lowercase(), &host, port),
    };
    entries.iter().find(matches).map(String::as_str)
}

fn windows(entry: &str, host: &str, port: u16) -> bool {
    if entry == "<local>" {
        return !host.contains(['.', ':']);
    }
    // `<-loopback>` only adds to who uses the proxy.
    if entry.starts_with('<') {
        return false;
    }
    let (scheme, rest) = entry.split_once("://").unwrap_or(("", entry));
    let of_scheme = match scheme {
        "" => true,
        "http" => port == 80,
        "https" => port == 443,
        _ => false,
    };
    let (pattern, wanted) = split_port(rest);
    of_scheme && wanted.is_none_or(|wanted| wanted == port) && is_like(pattern, host)
}

fn unix(entry: &str, host: &str, port: u16) -> bool {
    if entry == "*" {
        return true;
    }
    let (pattern, wanted) = split_port(entry);
    if wanted.is_some_and(|wanted| wanted != port) {
        return false;
    }
    if let Ok(ip) = host.parse::<IpAddr>() {
        let of_network = pattern.parse::<IpNet>().is_ok_and(|net| net.contains(&ip));
        return of_network || pattern.parse::<IpAddr>() == Ok(ip);
    }
    let name = pattern.strip_prefix('*').unwrap_or(pattern).trim_start_matches('.');
    let below = || host.strip_suffix(name).is_some_and(|rest| rest.ends_with('.'));
    !name.is_empty() && (host == name || below())
}

/// `host:port`, `[address]:port`, or either without a port.
fn split_port(text: &str) -> (&str, Option<u16>) {
    if let Some((host, rest)) = text.strip_prefix('[').and_then(|it| it.split_once(']')) {
        return (host, rest.strip_prefix(':').and_then(|port| port.parse().ok()));
    }
    match text.split_once(':') {
        Some((host, port)) if !port.contains(':') => match port.parse() {
            Ok(port) => (host, Some(port)),
            Err(_) => (text, None),
        },
        _ => (text, None),
    }
}

/// Whether `text` is like `pattern`, in which `*` stands for any characters. Takes at most the
/// product of both lengths.
fn is_like(pattern: &str, text: &str) -> bool {
    let mut pieces = pattern.split('*');
    let Some(mut rest) = text.strip_prefix(pieces.next().unwrap_or_default()) else {
        return false;
    };
    let mut pieces: Vec<&str> = pieces.collect();
    let Some(last) = pieces.pop() else { return rest.is_empty() };
    for piece in pieces {
        match rest.split_once(piece) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Dialect, bypasses, entries, is_like};

    #[test]
    fn windows_lists_are_read_as_windows_reads_them() {
        for (list, host, port, expected) in [
            ("localhost;127.*;<local>", "server", 443, Some("<local>")),
            ("<local>", "api.openai.com", 443, None),
            ("<local>", "::1", 443, None),
            ("<-loopback>", "server", 80, None),
            ("*.openai.com", "api.openai.com", 443, Some("*.openai.com")),
            ("*.openai.com", "openai.com", 443, None),
            ("openai.com", "api.openai.com", 443, None),
            ("API.openai.com", "api.OpenAI.com.", 443, Some("API.openai.com")),
            ("10.*;192.168.*", "10.1.2.3", 80, Some("10.*")),
            ("10.*", "110.1.2.3", 80, None),
            ("http://*.corp", "a.corp", 443, None),
            ("https://*.corp", "a.corp", 443, Some("https://*.corp")),
            ("a.corp:8443", "a.corp", 443, None),
            ("a.corp:8443", "a.corp", 8443, Some("a.corp:8443")),
            ("[::1]:443", "::1", 443, Some("[::1]:443")),
            ("*", "anything", 1, Some("*")),
            ("a*b*c", "a1b2c", 1, Some("a*b*c")),
            ("a*b*c", "a1c2b", 1, None),
        ] {
            let list = entries(list);
            assert_eq!(
                bypasses(&list, Dialect::Windows, (host, port)),
                expected,
                "{list:?} {host}"
            );
        }
    }

    #[test]
    fn variables_are_read_as_curl_reads_them() {
        for (list, host, port, expected) in [
            ("localhost,127.0.0.1", "api.openai.com", 443, None),
            ("openai.com", "api.openai.com", 443, Some("openai.com")),
            (".openai.com", "openai.com", 443, Some(".openai.com")),
            ("*.openai.com", "api.openai.com", 443, Some("*.openai.com")),
            ("penai.com", "openai.com", 443, None),
            ("*", "api.openai.com", 443, Some("*")),
            ("10.0.0.0/8", "10.9.9.9", 80, Some("10.0.0.0/8")),
            ("10.0.0.0/8", "11.9.9.9", 80, None),
            ("::1", "::1", 80, Some("::1")),
            ("a.b:80", "a.b", 443, None),
            ("a.b:443", "x.a.b", 443, Some("a.b:443")),
            (".", "a.b", 443, None),
            ("<local>", "server", 443, None),
        ] {
            let list = entries(list);
            assert_eq!(bypasses(&list, Dialect::Unix, (host, port)), expected, "{list:?} {host}");
        }
    }

    proptest! {
        #[test]
        fn no_list_makes_it_fail(list in ".{0,200}", host in ".{0,60}", port: u16) {
            let list = entries(&list);
            for dialect in [Dialect::Windows, Dialect::Unix] {
                let _any = bypasses(&list, dialect, (&host, port));
            }
        }

        #[test]
        fn a_star_stands_for_anything(
            before in "[a-z.]{0,9}", between in "[a-z.]{0,9}", after in "[a-z.]{0,9}",
            one in "[a-z.*]{0,9}", two in "[a-z.]{0,9}",
        ) {
            let pattern = format!("{before}*{between}*{after}");
            let text = format!("{before}{one}{between}{two}{after}");
            prop_assert!(is_like(&pattern, &text));
            prop_assert!(is_like(&text.replace('*', "x"), &text.replace('*', "x")));
        }
    }
}
