//! The proxy as a person writes it: `HOST:PORT`, or a URL with or without user and password.

use crate::config::parent_url;
use crate::diag::evidence::{Credentials, Scheme};
use crate::net::parent::Protocol;
use crate::secret::Secret;
use crate::target::Target;

/// What the text says.
#[derive(Debug)]
pub(super) struct ProxyUrl {
    pub(super) scheme: Scheme,
    pub(super) address: Target,
    pub(super) login: Option<(Box<str>, Secret)>,
    pub(super) credentials: Credentials,
}

/// Reads `text`; a scheme is `http` when there is none.
///
/// # Errors
///
/// What is wrong, without any part of the text: it may hold a password.
pub(super) fn parse(text: &str) -> Result<ProxyUrl, String> {
    let whole = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let url = parent_url::parse(&whole).map_err(|error| format!("the proxy: {error}"))?;
    let credentials = match &url.credentials {
        None => Credentials::None,
        Some(_) if looks_misencoded(&whole) => Credentials::Odd,
        Some(_) => Credentials::Given,
    };
    let scheme = match url.protocol {
        Protocol::Http => Scheme::Http,
        Protocol::Https => Scheme::Https,
        Protocol::Socks5 => Scheme::Socks5,
    };
    Ok(ProxyUrl { scheme, address: url.address, login: url.credentials, credentials })
}

/// `USER:PASSWORD` as `--user` has it, where nothing is encoded.
///
/// # Errors
///
/// What is wrong, without any part of the text.
pub(super) fn login(text: &str) -> Result<(Box<str>, Secret), String> {
    match text.split_once(':') {
        Some((user, password)) if !user.is_empty() && !password.is_empty() => {
            Ok((user.into(), Secret::new(password)))
        }
        _ => Err("--user: not USER:PASSWORD with neither empty".to_owned()),
    }
}

/// Whether other programs would read user and password of `url` differently than they were meant:
/// a character that ends them (RFC 3986 §3.2) stands there as it is, a `%` that encodes nothing, or
/// one that is encoded twice.
fn looks_misencoded(url: &str) -> bool {
    let Some((userinfo, _)) = url.split_once("://").and_then(|(_, rest)| rest.rsplit_once('@'))
    else {
        return false;
    };
    let password = userinfo.split_once(':').map_or("", |(_, password)| password);
    let ends = |c: char| "@:/?#[]\\".contains(c) || c.is_whitespace();
    let twice = |rest: &str| {
        rest.get(..4).is_some_and(|it| {
            it.starts_with("25") && it.bytes().skip(2).all(|digit| digit.is_ascii_hexdigit())
        })
    };
    let plain = |rest: &str| {
        rest.get(..2).is_none_or(|it| !it.bytes().all(|digit| digit.is_ascii_hexdigit()))
    };
    let percents = userinfo.split('%').skip(1);
    password.contains(ends)
        || userinfo.contains(['@', '/', '?', '#', '\\'])
        || percents.into_iter().any(|rest| twice(rest) || plain(rest))
}

#[cfg(test)]
mod tests {
    use super::{login, parse};
    use crate::diag::evidence::{Credentials, Scheme};

    #[test]
    fn every_form_is_read() {
        let cases = [
            ("81.85.76.160:8080", Scheme::Http, "81.85.76.160:8080", None),
            ("http://proxy.example:8080/", Scheme::Http, "proxy.example:8080", None),
            ("https://[2a01::1]:8443", Scheme::Https, "[2a01::1]:8443", None),
            ("socks5://u:p@h:1080", Scheme::Socks5, "h:1080", Some(("u", "p"))),
            ("u:p@h:8080", Scheme::Http, "h:8080", Some(("u", "p"))),
        ];
        for (text, scheme, address, user) in cases {
            let url = parse(text).unwrap();
            assert_eq!((url.scheme, url.address.to_string()), (scheme, address.to_owned()));
            let found = url.login.as_ref().map(|(user, password)| (&**user, password.reveal()));
            assert_eq!(found, user, "{text}");
        }
        for wrong in ["", "h", "h:0", "h:99999", "ftp://h:21", "http://:p@h:1", "http://u@h:1"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
        let error = parse("http://user:geheim@h:port").unwrap_err();
        assert!(!error.contains("geheim") && !error.contains("user"), "{error}");
    }

    #[test]
    fn odd_passwords_are_seen() {
        for (password, odd) in [
            ("plain", false),
            ("a-b_c.d~e", false),
            ("a%40b", false),
            ("a%3Ab%2Fc%23d%25", false),
            ("p@ss", true),
            ("a:b", true),
            ("a/b", true),
            ("a#b", true),
            ("a?b", true),
            ("a b", true),
            ("a%2540b", true),
            ("100%", true),
            ("a%zzb", true),
            ("a[b", true),
            ("!$&'()*+,;=", false),
            ("\u{43f}\u{430}\u{440}\u{43e}\u{43b}\u{44c}", false),
        ] {
            let expected = if odd { Credentials::Odd } else { Credentials::Given };
            let url = parse(&format!("http://user:{password}@host:8080")).unwrap();
            assert_eq!(url.credentials, expected, "{password}");
        }
        assert_eq!(parse("host:8080").unwrap().credentials, Credentials::None);
    }

    #[test]
    fn a_login_is_two_words() {
        let (user, password) = login("u:p:@/%41").unwrap();
        assert_eq!((&*user, password.reveal()), ("u", "p:@/%41"));
        for wrong in ["", "u", ":p", "u:", ":"] {
            assert!(login(wrong).unwrap_err().len() > 10, "{wrong}");
        }
    }
}
