//! The four forms of a request-target (RFC 9112 §3.2).

use super::head::RequestHead;
use crate::target::{Target, TargetError};

/// What a request wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Form<'b> {
    /// A tunnel: `CONNECT host:port`.
    Connect(Target),
    /// A request to pass on: `GET http://host/path`.
    Absolute {
        /// Where to.
        target: Target,
        /// The request-target for the origin: path and query, or `*` (RFC 9112 §3.2.4).
        origin_form: &'b str,
    },
    /// A request to this proxy itself: `GET /path` or `OPTIONS *`.
    Own(&'b str),
}

/// Why a request-target is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FormError {
    /// No host or port, or a malformed one.
    #[error("the target is malformed: {0}")]
    Target(#[from] TargetError),
    /// `https://` in absolute form would ask for TLS on the client's behalf.
    #[error("an https:// address needs a CONNECT tunnel")]
    Https,
    /// `ftp://` and the like.
    #[error("the scheme is not http")]
    Scheme,
    /// `#` never goes over the wire.
    #[error("the target has a fragment")]
    Fragment,
    /// Not a form that RFC 9112 §3.2 knows.
    #[error("the request-target is neither an address nor a path")]
    Unknown,
}

/// Reads the request-target of `head`.
///
/// # Errors
///
/// [`FormError`], the first rule that is broken.
pub fn form_of<'b>(head: &RequestHead<'b>) -> Result<Form<'b>, FormError> {
    let text = head.target;
    if head.method == "CONNECT" {
        return Ok(Form::Connect(Target::from_authority(text)?));
    }
    if text.starts_with('/') || text == "*" {
        return Ok(Form::Own(text));
    }
    let (scheme, rest) = text.split_once("://").ok_or(FormError::Unknown)?;
    if !scheme.eq_ignore_ascii_case("http") {
        return Err(match scheme.to_ascii_lowercase().as_str() {
            "https" | "wss" => FormError::Https,
            _ => FormError::Scheme,
        });
    }
    if rest.contains('#') {
        return Err(FormError::Fragment);
    }
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let target = Target::from_http_authority(authority)?;
    let origin_form = match path {
        "" if head.method == "OPTIONS" => "*",
        path => path,
    };
    Ok(Form::Absolute { target, origin_form })
}

#[cfg(test)]
mod tests {
    use super::{Form, FormError, form_of};
    use crate::target::TargetError;
    use crate::wire::http1::head::parse_request;

    fn read(line: &str) -> Result<String, FormError> {
        let head = format!("{line} HTTP/1.1\r\n\r\n");
        Ok(match form_of(&parse_request(head.as_bytes()).unwrap())? {
            Form::Connect(target) => format!("tunnel {target}"),
            Form::Absolute { target, origin_form } => format!("{target} {origin_form}"),
            Form::Own(path) => format!("own {path}"),
        })
    }

    #[test]
    fn the_form_is_told_by_method_and_target() {
        let cases = [
            ("CONNECT a.example:443", "tunnel a.example:443"),
            ("GET http://a.example", "a.example:80 "),
            ("GET http://a.example?q", "a.example:80 ?q"),
            ("GET HTTP://A.Example:81/x?y=http://z", "a.example:81 /x?y=http://z"),
            ("GET http://[::1]:81/", "[::1]:81 /"),
            ("OPTIONS http://a.example", "a.example:80 *"),
            ("OPTIONS http://a.example/", "a.example:80 /"),
            ("OPTIONS *", "own *"),
            ("GET /healthz", "own /healthz"),
            ("GET //evil.example/", "own //evil.example/"),
        ];
        for (line, expected) in cases {
            assert_eq!(read(line).as_deref(), Ok(expected), "{line}");
        }
    }

    #[test]
    fn other_targets_are_refused_with_their_reason() {
        let cases = [
            ("GET https://a.example/", FormError::Https),
            ("GET ftp://a.example/", FormError::Scheme),
            ("GET a.example:80", FormError::Unknown),
            ("GET http:/a.example/", FormError::Unknown),
            ("GET http://a.example/#f", FormError::Fragment),
            ("GET http:///path", FormError::Target(TargetError::EmptyHost)),
            ("GET http://u:p@a.example/", FormError::Target(TargetError::Userinfo)),
            ("GET http://a.example:0/", FormError::Target(TargetError::Port)),
            ("CONNECT http://a.example:443", FormError::Target(TargetError::Ipv6)),
            ("CONNECT a.example", FormError::Target(TargetError::MissingPort)),
            ("CONNECT /", FormError::Target(TargetError::MissingPort)),
        ];
        for (line, reason) in cases {
            assert_eq!(read(line), Err(reason), "{line}");
        }
    }
}
