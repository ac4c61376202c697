//! Where a body ends (RFC 9112 §6.3), or why nobody can say.

use super::fields::Fields;
use super::head::Version;

/// How the end of a body is marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// There is none.
    Empty,
    /// That many bytes.
    Length(u64),
    /// Chunked coding.
    Chunked,
    /// The end of the connection; responses only.
    UntilClose,
}

/// Why the end of a body is ambiguous.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FramingError {
    /// Both at once is how requests are smuggled (RFC 9112 §6.1).
    #[error("both Content-Length and Transfer-Encoding are given")]
    LengthAndCoding,
    /// Not digits, too large, or given more than once.
    #[error("Content-Length is malformed or given twice")]
    Length,
    /// Anything but the single coding `chunked`.
    #[error("Transfer-Encoding is something else than chunked")]
    Coding,
    /// HTTP/1.0 has no transfer codings (RFC 9112 §6.1).
    #[error("Transfer-Encoding is given in HTTP/1.0")]
    CodingInHttp10,
}

/// The body of a request.
///
/// Stricter than RFC 9112 asks: a repeated `Content-Length` is refused even when the values are
/// equal, for no real client sends one.
///
/// # Errors
///
/// [`FramingError`]; the connection must not be used again (RFC 9112 §6.3).
pub fn request_body(version: Version, fields: &Fields<'_>) -> Result<Body, FramingError> {
    if fields.has("transfer-encoding") {
        return coding(version, fields);
    }
    if !fields.has("content-length") {
        return Ok(Body::Empty);
    }
    let value = fields.only("content-length").ok_or(FramingError::Length)?;
    length(value).map(sized)
}

/// The body of the final response to `method`.
///
/// Equal repeated `Content-Length` values count as one (RFC 9110 §8.6): real origins send them.
///
/// # Errors
///
/// [`FramingError`]; the response must not be passed on.
pub fn response_body(
    method: &str,
    status: u16,
    version: Version,
    fields: &Fields<'_>,
) -> Result<Body, FramingError> {
    if method == "HEAD" || status < 200 || status == 204 || status == 304 {
        return Ok(Body::Empty);
    }
    if fields.has("transfer-encoding") {
        return coding(version, fields);
    }
    let mut values = fields.all("content-length");
    let Some(first) = values.next() else { return Ok(Body::UntilClose) };
    if values.any(|other| other != first) {
        return Err(FramingError::Length);
    }
    length(first).map(sized)
}

const fn sized(bytes: u64) -> Body {
    if bytes == 0 { Body::Empty } else { Body::Length(bytes) }
}

fn coding(version: Version, fields: &Fields<'_>) -> Result<Body, FramingError> {
    if version == Version::Http10 {
        return Err(FramingError::CodingInHttp10);
    }
    if fields.has("content-length") {
        return Err(FramingError::LengthAndCoding);
    }
    match fields.only("transfer-encoding") {
        Some(value) if value.eq_ignore_ascii_case(b"chunked") => Ok(Body::Chunked),
        _ => Err(FramingError::Coding),
    }
}

fn length(value: &[u8]) -> Result<u64, FramingError> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(FramingError::Length);
    }
    std::str::from_utf8(value).ok().and_then(|text| text.parse().ok()).ok_or(FramingError::Length)
}

#[cfg(test)]
mod tests {
    use super::{Body, FramingError, request_body, response_body};
    use crate::wire::http1::fields::Fields;
    use crate::wire::http1::head::Version::{Http10, Http11};

    fn fields<'b>(lines: &[(&'b str, &'b str)]) -> Fields<'b> {
        Fields::collect(lines.iter().map(|(name, value)| (*name, value.as_bytes())))
    }

    #[test]
    fn the_body_of_a_request_is_unambiguous_or_refused() {
        let cl = "Content-Length";
        let te = "Transfer-Encoding";
        let cases: &[(&[(&str, &str)], Result<Body, FramingError>)] = &[
            (&[], Ok(Body::Empty)),
            (&[(cl, "0")], Ok(Body::Empty)),
            (&[(cl, "5")], Ok(Body::Length(5))),
            (&[(cl, "18446744073709551615")], Ok(Body::Length(u64::MAX))),
            (&[(te, "chunked")], Ok(Body::Chunked)),
            (&[(te, "Chunked")], Ok(Body::Chunked)),
            (&[(te, "chunked\t")], Ok(Body::Chunked)),
            (&[(cl, "5"), (cl, "5")], Err(FramingError::Length)),
            (&[(cl, "5, 5")], Err(FramingError::Length)),
            (&[(cl, "5"), (cl, "6")], Err(FramingError::Length)),
            (&[(cl, "")], Err(FramingError::Length)),
            (&[(cl, "+5")], Err(FramingError::Length)),
            (&[(cl, "-1")], Err(FramingError::Length)),
            (&[(cl, "0x5")], Err(FramingError::Length)),
            (&[(cl, "5 5")], Err(FramingError::Length)),
            (&[(cl, "18446744073709551616")], Err(FramingError::Length)),
            (&[(cl, "5"), (te, "chunked")], Err(FramingError::LengthAndCoding)),
            (&[(te, "chunked"), (cl, "5")], Err(FramingError::LengthAndCoding)),
            (&[(te, "gzip, chunked")], Err(FramingError::Coding)),
            (&[(te, "chunked, gzip")], Err(FramingError::Coding)),
            (&[(te, "chunked,")], Err(FramingError::Coding)),
            (&[(te, "chunked"), (te, "chunked")], Err(FramingError::Coding)),
            (&[(te, "\"chunked\"")], Err(FramingError::Coding)),
            (&[(te, "x chunked")], Err(FramingError::Coding)),
            (&[(te, "identity")], Err(FramingError::Coding)),
            (&[(te, "")], Err(FramingError::Coding)),
        ];
        for (lines, expected) in cases {
            assert_eq!(request_body(Http11, &fields(lines)), *expected, "{lines:?}");
        }
        let old = request_body(Http10, &fields(&[(te, "chunked")]));
        assert_eq!(old, Err(FramingError::CodingInHttp10));
    }

    #[test]
    fn a_response_without_body_has_none_whatever_its_fields_say() {
        let both = fields(&[("Content-Length", "5"), ("Transfer-Encoding", "chunked")]);
        for (method, status) in [("HEAD", 200), ("GET", 204), ("GET", 304), ("GET", 100)] {
            assert_eq!(response_body(method, status, Http11, &both), Ok(Body::Empty));
        }
    }

    #[test]
    fn the_body_of_a_response_follows_its_fields() {
        let of = |lines: &[(&str, &str)]| response_body("GET", 200, Http11, &fields(lines));
        assert_eq!(of(&[]), Ok(Body::UntilClose));
        assert_eq!(of(&[("Content-Length", "5"), ("content-length", "5")]), Ok(Body::Length(5)));
        assert_eq!(
            of(&[("Content-Length", "5"), ("content-length", "6")]),
            Err(FramingError::Length)
        );
        assert_eq!(of(&[("Transfer-Encoding", "chunked")]), Ok(Body::Chunked));
        assert_eq!(of(&[("Transfer-Encoding", "gzip")]), Err(FramingError::Coding));
    }
}
