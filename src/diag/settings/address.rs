//! A proxy as a setting writes it: with or without scheme, port, user and password. The last two are
//! never kept.

use crate::diag::fact::SetProxy;

/// No name is longer (RFC 1035 §2.3.4).
const LONGEST_HOST: usize = 253;
/// No script's address is shown longer.
const LONGEST_SCRIPT: usize = 200;

/// `[scheme://][user:password@]host[:port][/…]`; `None` when it is empty. What is no host stays as
/// it is, shortened, so that it can be shown.
pub fn proxy(name: &str, text: &str) -> Option<SetProxy> {
    let text = text.trim();
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) => (Some(scheme), rest),
        None => (None, text),
    };
    let (credentials, rest) = without_login(rest);
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let authority = rest.get(..end).unwrap_or(rest);
    let (host, port) = host_and_port(authority);
    if host.is_empty() {
        return None;
    }
    Some(SetProxy {
        name: name.to_owned(),
        scheme: scheme.map(|it| shortened(&it.to_ascii_lowercase(), 16)),
        host: shortened(host, LONGEST_HOST),
        port,
        credentials,
        knock: None,
    })
}

/// The URL of a script, without what may be secret in it.
pub fn script(text: &str) -> Option<String> {
    let text = text.trim();
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), text),
    };
    let (_, rest) = without_login(rest);
    let end = rest.find(['?', '#']).unwrap_or(rest.len());
    let rest = rest.get(..end).unwrap_or(rest);
    (!rest.is_empty()).then(|| shortened(&format!("{scheme}{rest}"), LONGEST_SCRIPT))
}

/// Whether user and password stood before `text`, and the rest. A password may hold every character,
/// also those that should have been encoded: the last `@` counts.
fn without_login(text: &str) -> (bool, &str) {
    text.rsplit_once('@').map_or((false, text), |(_, rest)| (true, rest))
}

fn host_and_port(authority: &str) -> (&str, Option<u16>) {
    if let Some((host, rest)) = authority.strip_prefix('[').and_then(|it| it.split_once(']')) {
        return (host, rest.strip_prefix(':').and_then(|port| port.parse().ok()));
    }
    match authority.split_once(':') {
        Some((host, port)) if !port.contains(':') => (host, port.parse().ok()),
        // Several colons and no brackets: an IPv6 address.
        _ => (authority, None),
    }
}

fn shortened(text: &str, most: usize) -> String {
    text.chars().take(most).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{proxy, script};

    #[test]
    fn every_form_is_read() {
        for (text, scheme, host, port, credentials) in [
            ("127.0.0.1:7890", None, "127.0.0.1", Some(7890), false),
            (" proxy.corp ", None, "proxy.corp", None, false),
            ("http://proxy.corp:8080/", Some("http"), "proxy.corp", Some(8080), false),
            ("HTTP://u:p@proxy.corp:8080", Some("http"), "proxy.corp", Some(8080), true),
            ("socks5h://u:p@s/s#@[::1]:1080", Some("socks5h"), "::1", Some(1080), true),
            ("u:p@h:1", None, "h", Some(1), true),
            ("::1", None, "::1", None, false),
            ("h:port", None, "h", None, false),
        ] {
            let found = proxy("all", text).unwrap();
            let seen =
                (found.scheme.as_deref(), found.host.as_str(), found.port, found.credentials);
            assert_eq!(seen, (scheme, host, port, credentials), "{text}");
        }
        for empty in ["", " ", "http://", "http://u:p@", ":8080"] {
            assert_eq!(proxy("all", empty), None, "{empty}");
        }
    }

    #[test]
    fn the_address_of_a_script_keeps_no_secret() {
        assert_eq!(script("http://u:geheim@h/p.pac?token=geheim#x").unwrap(), "http://h/p.pac");
        assert_eq!(script("file:///C:/p.pac").unwrap(), "file:///C:/p.pac");
        assert_eq!(script(" "), None);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_fail_and_a_password_never_stays(
            text in ".{0,300}", secret in "[A-Z]{12}", before in ".{0,5}", after in ".{0,5}",
        ) {
            let _any = (proxy("all", &text), script(&text));
            // An '@' in it would be one that has to be encoded: then only what is before is secret.
            let after = after.replace('@', "");
            let url = format!("http://user:{before}{secret}{after}@host:8080/");
            let kept = format!("{:?}{:?}", proxy("HTTP_PROXY", &url), script(&url));
            prop_assert!(!kept.contains(&secret), "{}", kept);
        }
    }
}
