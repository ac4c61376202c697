//! The `Basic` scheme of RFC 7617, as it stands in `Proxy-Authorization`.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};

use crate::secret::Secret;

/// What a client says about itself.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// User-id. Of `Basic` it never contains a colon; of SOCKS5 it may, and is then nobody's.
    pub user: Box<str>,
    /// Password; may contain anything.
    pub password: Secret,
}

impl Credentials {
    /// User and password as they were sent.
    ///
    /// We ask for UTF-8 (RFC 7617 §2.1), but Python's requests and aiohttp send ISO-8859-1 all the
    /// same: what is no UTF-8 is read as that. A client has one encoding, so both are read alike.
    pub fn from_bytes(user: &[u8], password: &[u8]) -> Self {
        let (user, password) = match (std::str::from_utf8(user), std::str::from_utf8(password)) {
            (Ok(user), Ok(password)) => (user.into(), Secret::new(password)),
            _ => (latin_1(user).into(), Secret::new(latin_1(password))),
        };
        Self { user, password }
    }
}

/// Why a field value holds no credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BasicError {
    /// Another scheme than `Basic`.
    #[error("the authentication scheme is not Basic")]
    Scheme,
    /// Not base64, or no colon inside.
    #[error("the credentials are not base64 of user:password")]
    Encoding,
}

/// Reads the value of `Proxy-Authorization`.
///
/// The scheme is case-insensitive (RFC 9110 §11.1); user and password part at the **first** colon
/// (RFC 7617 §2). Missing padding is forgiven: it changes nothing about who is meant. What is no
/// UTF-8 is read as ISO-8859-1, see [`Credentials::from_bytes`].
///
/// # Errors
///
/// [`BasicError`]; never contains any of the value.
pub fn parse(value: &[u8]) -> Result<Credentials, BasicError> {
    let text = std::str::from_utf8(value).map_err(|_| BasicError::Encoding)?.trim();
    let (scheme, encoded) = text.split_once(' ').ok_or(BasicError::Scheme)?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return Err(BasicError::Scheme);
    }
    let encoded = encoded.trim();
    let decoded = STANDARD
        .decode(encoded)
        .or_else(|_| STANDARD_NO_PAD.decode(encoded))
        .map_err(|_| BasicError::Encoding)?;
    let mut parts = decoded.splitn(2, |byte| *byte == b':');
    let (Some(user), Some(password)) = (parts.next(), parts.next()) else {
        return Err(BasicError::Encoding);
    };
    Ok(Credentials::from_bytes(user, password))
}

/// ISO-8859-1 is the first 256 characters of Unicode.
fn latin_1(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::proptest;

    use super::{BasicError, parse};

    fn pair(value: &str) -> Result<(String, String), BasicError> {
        let found = parse(value.as_bytes())?;
        Ok((found.user.into(), found.password.reveal().to_owned()))
    }

    #[test]
    fn user_and_password_part_at_the_first_colon_in_utf_8() {
        let cases = [
            ("Basic YWxpY2U6c2VjcmV0", ("alice", "secret")),
            ("bAsIc   YWxpY2U6c2VjcmV0 ", ("alice", "secret")),
            ("Basic YTpiOmM6ZA==", ("a", "b:c:d")),
            ("Basic YTpiOmM6ZA", ("a", "b:c:d")),
            ("Basic 0LDQvdC90LA6w7w=", ("анна", "ü")),
            ("Basic Og==", ("", "")),
            ("Basic YTr8", ("a", "ü")),
            // The user alone would be UTF-8.
            ("Basic w7w6/A==", ("Ã¼", "ü")),
        ];
        for (value, (user, password)) in cases {
            assert_eq!(pair(value), Ok((user.to_owned(), password.to_owned())), "{value}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for value in ["", "Basic", "Bearer abc", "Negotiate abc"] {
            assert_eq!(pair(value), Err(BasicError::Scheme), "{value}");
        }
        for value in ["Basic !!!", "Basic YWxpY2U=", "Basic /w==", "Basic YWxpY2U6 c2Vj"] {
            assert_eq!(pair(value), Err(BasicError::Encoding), "{value}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(value in proptest::collection::vec(0_u8.., 0..64)) {
            drop(parse(&value));
        }
    }
}
