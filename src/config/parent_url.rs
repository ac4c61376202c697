//! `--upstream`: `http://`, `https://` or `socks5://`, then `[USER:PASSWORD@]HOST:PORT`.

use crate::net::parent::{Credentials, Protocol};
use crate::secret::Secret;
use crate::target::Target;

/// What a right one looks like. The text itself may hold a password and is never shown.
const WRONG: &str = "not http://, https:// or socks5://, then [USER:PASSWORD@]HOST:PORT";

/// What the URL of a parent proxy says.
#[derive(Debug, Clone)]
pub struct ParentUrl {
    /// What it speaks.
    pub protocol: Protocol,
    /// Where it is.
    pub address: Target,
    /// What it is told.
    pub credentials: Option<Credentials>,
}

/// Reads the URL of a parent proxy.
///
/// User name and password are percent-decoded (RFC 3986 §2.1); they end at the last `@`, so that a
/// password that somebody forgot to encode still works.
///
/// # Errors
///
/// What is wrong, without any part of the text.
pub fn parse(text: &str) -> Result<ParentUrl, String> {
    let (scheme, rest) = text.split_once("://").ok_or(WRONG)?;
    let protocol = match scheme.to_ascii_lowercase().as_str() {
        "http" => Protocol::Http,
        "https" => Protocol::Https,
        "socks5" | "socks5h" => Protocol::Socks5,
        _ => return Err(WRONG.to_owned()),
    };
    let (userinfo, authority) = match rest.rsplit_once('@') {
        Some((userinfo, authority)) => (Some(userinfo), authority),
        None => (None, rest),
    };
    let authority = authority.strip_suffix('/').unwrap_or(authority);
    let address = Target::from_authority(authority).map_err(|error| format!("{WRONG}: {error}"))?;
    let credentials = match userinfo {
        None => None,
        Some(userinfo) => Some(login(userinfo).ok_or(
            "wrong before the @: USER:PASSWORD with special characters as %XX, and neither empty",
        )?),
    };
    Ok(ParentUrl { protocol, address, credentials })
}

fn login(userinfo: &str) -> Option<Credentials> {
    let (user, password) = userinfo.split_once(':')?;
    let (user, password) = (decoded(user)?, decoded(password)?);
    let given = !user.is_empty() && !password.is_empty();
    given.then(|| (user.into(), Secret::new(password)))
}

/// Undoes percent-encoding; a `%` without two digits stands for itself.
fn decoded(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        let encoded = match after {
            [high, low, after @ ..] if *first == b'%' => {
                hex(*high).zip(hex(*low)).map(|(high, low)| (high << 4 | low, after))
            }
            _ => None,
        };
        match encoded {
            Some((byte, after)) => {
                out.push(byte);
                rest = after;
            }
            None => out.push(*first),
        }
    }
    String::from_utf8(out).ok()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::parse;
    use crate::net::parent::Protocol;

    #[test]
    fn a_parent_is_read() {
        let cases = [
            ("http://proxy.example:3128", Protocol::Http, "proxy.example:3128", None),
            (
                "HTTPS://u:p@81.85.76.160:8080/",
                Protocol::Https,
                "81.85.76.160:8080",
                Some(("u", "p")),
            ),
            ("socks5://[::1]:1080", Protocol::Socks5, "[::1]:1080", None),
            ("socks5h://u:p%3A%40%2f@h:1", Protocol::Socks5, "h:1", Some(("u", "p:@/"))),
            ("http://u:p@ss:w%zz@h:1", Protocol::Http, "h:1", Some(("u", "p@ss:w%zz"))),
            ("http://%D1%8F:%D0%BF@h:1", Protocol::Http, "h:1", Some(("я", "п"))),
        ];
        for (text, protocol, address, login) in cases {
            let parent = parse(text).unwrap();
            assert_eq!(
                (parent.protocol, parent.address.to_string()),
                (protocol, address.to_owned())
            );
            let found =
                parent.credentials.as_ref().map(|(user, secret)| (&**user, secret.reveal()));
            assert_eq!(found, login, "{text}");
        }
    }

    #[test]
    fn a_wrong_one_is_refused_without_showing_the_password() {
        let wrong = [
            "",
            "proxy:3128",
            "ftp://h:1",
            "http://",
            "http://h",
            "http://h:0",
            "http://hunter2@h:1",
            "http://:hunter2@h:1",
            "http://u:@h:1",
            "http://u:hunter2@h",
            "http://u:%FF@h:1",
        ];
        for text in wrong {
            let error = parse(text).unwrap_err();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
