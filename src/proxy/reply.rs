//! [`Stop`] → an HTTP answer. The only place that knows statuses; the words are beside it.
//!
//! Every answer of ours carries `Proxy-Status` (RFC 9209), `Content-Length` and two lines: what
//! happened, what to do. It says nothing about our inside: no addresses, no rules, no users. What a
//! parent proxy says of itself is passed on: else nobody could tell whose fault it is.

use std::time::SystemTime;

use super::internal::ServiceError;
use super::stop::Stop;
use super::words::words;
use crate::failure::Failure;
use crate::net::h2;
use crate::net::parent::ParentError;

/// What answers after `CONNECT` (RFC 9110 §9.3.6): exactly this, for picky clients.
pub const ESTABLISHED: &[u8] = b"HTTP/1.1 200 Connection established\r\n\r\n";

/// "Send the body" (RFC 9110 §15.2.1).
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Whether the client may use the connection again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Persist {
    /// Yes.
    Keep,
    /// No; it is told so.
    Close,
}

/// Whether the answer may have a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Show {
    /// Yes.
    Body,
    /// The request was HEAD: only the length of it (RFC 9110 §9.3.2).
    LengthOnly,
}

impl Show {
    /// What an answer to `method` may have.
    pub fn to(method: &str) -> Self {
        if method == "HEAD" { Self::LengthOnly } else { Self::Body }
    }
}

/// Status and reason phrase for `stop`.
///
/// RFC 9209 §2.3 recommends a status for each type; an arm that differs says why.
pub fn status_of(stop: &Stop) -> (u16, &'static str) {
    use crate::wire::http1::head::HeadError;
    match stop {
        Stop::Head(HeadError::TargetTooLong) => (414, "URI Too Long"),
        Stop::Head(HeadError::TooLong | HeadError::TooManyFields) => {
            (431, "Request Header Fields Too Large")
        }
        Stop::Head(_)
        | Stop::Form(_)
        | Stop::Framing(_)
        | Stop::Host
        | Stop::ConnectBody
        | Stop::Service(ServiceError::Query(_))
        | Stop::Socks(_)
        | Stop::Http2(
            h2::Refusal::Authority
            | h2::Refusal::Host
            | h2::Refusal::Path
            | h2::Refusal::ConnectionSpecific
            | h2::Refusal::Scheme
            | h2::Refusal::Content,
        )
        | Stop::Chunk => (400, "Bad Request"),
        Stop::Command | Stop::Http2(h2::Refusal::Protocol) => (501, "Not Implemented"),
        Stop::Http2(h2::Refusal::Random) => (500, "Internal Server Error"),
        Stop::HeadTimeout => (408, "Request Timeout"),
        Stop::CredentialsMissing | Stop::CredentialsWrong | Stop::CredentialsUnreadable(_) => {
            (407, "Proxy Authentication Required")
        }
        // Not 502 for our own address: asking again, or asking another proxy, will not help.
        Stop::Refused(_) | Stop::Service(ServiceError::Untrusted) => (403, "Forbidden"),
        Stop::Parent(error) if matches!(**error, ParentError::Silent) => (504, "Gateway Timeout"),
        Stop::Loop | Stop::Parent(_) => (502, "Bad Gateway"),
        Stop::Full | Stop::ClientFull | Stop::Service(ServiceError::NoReport) => {
            (503, "Service Unavailable")
        }
        Stop::RateLimited => (429, "Too Many Requests"),
        Stop::NotFound | Stop::Service(ServiceError::Unknown) => (404, "Not Found"),
        Stop::Service(ServiceError::TooLarge) => (413, "Content Too Large"),
        Stop::Egress(failure) | Stop::Answer(failure) | Stop::ParentDown(failure) => {
            match failure {
                Failure::DnsTimeout | Failure::ConnectionTimeout => (504, "Gateway Timeout"),
                Failure::ConnectionLimitReached => (503, "Service Unavailable"),
                Failure::DestinationUnavailable
                | Failure::TlsCertificateError
                | Failure::TlsProtocolError
                | Failure::DnsError
                | Failure::DestinationIpProhibited
                | Failure::DestinationIpUnroutable
                | Failure::ConnectionRefused
                | Failure::ConnectionTerminated
                | Failure::HttpRequestError
                | Failure::HttpRequestDenied
                | Failure::HttpResponseIncomplete
                | Failure::HttpProtocolError
                | Failure::HttpUpgradeFailed
                | Failure::ProxyLoopDetected
                | Failure::ProxyInternalResponse
                | Failure::ProxyInternalError => (502, "Bad Gateway"),
            }
        }
    }
}

/// The complete answer for `stop`.
pub fn answer(stop: &Stop, persist: Persist, show: Show) -> Vec<u8> {
    let (status, reason) = status_of(stop);
    let (happened, advice) = words(stop);
    let mut fields = format!(
        "Proxy-Status: sami-proxy; error={}; details=\"{}\"\r\n",
        stop.failure(),
        quoted(&happened)
    );
    if status == 407 {
        fields.push_str("Proxy-Authenticate: Basic realm=\"sami-proxy\", charset=\"UTF-8\"\r\n");
    }
    if matches!(status, 429 | 503) {
        fields.push_str("Retry-After: 5\r\n");
    }
    message((status, reason), &fields, &format!("{happened}\n{advice}\n"), (persist, show))
}

/// The answer of `/healthz`.
pub fn healthy(persist: Persist, show: Show) -> Vec<u8> {
    message((200, "OK"), "", "ok\n", (persist, show))
}

/// The answer of `/readyz` while the proxy drains.
pub fn draining(manner: (Persist, Show)) -> Vec<u8> {
    message((503, "Service Unavailable"), "", "draining\n", manner)
}

/// The answer to `OPTIONS` that came to its end here (RFC 9110 §7.6.2).
pub fn options(persist: Persist) -> Vec<u8> {
    message((200, "OK"), "", "", (persist, Show::Body))
}

/// The answer to `TRACE` that came to its end here (RFC 9110 §9.3.8).
pub fn trace(seen: &str, persist: Persist) -> Vec<u8> {
    message((200, "OK"), "", seen, (persist, Show::Body))
}

/// Something to look at.
#[derive(Debug)]
pub struct Document {
    kind: &'static str,
    fields: String,
    text: String,
}

impl Document {
    /// A `text` of that media type.
    pub const fn new(kind: &'static str, text: String) -> Self {
        Self { kind, fields: String::new(), text }
    }

    /// With more fields, each line with its end.
    #[must_use]
    pub fn with(self, fields: String) -> Self {
        Self { fields, ..self }
    }
}

/// The answer that is `document`.
pub fn document(document: &Document, (persist, show): (Persist, Show)) -> Vec<u8> {
    let Document { kind, fields, text } = document;
    let mut out = head((200, "OK"), (kind, text.len() as u64), fields, persist);
    if show == Show::Body {
        out.extend_from_slice(text.as_bytes());
    }
    out
}

/// How the end of a body that is made as it goes is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// RFC 9112 §7.1.
    Chunked,
    /// The connection ends with it: HTTP/1.0.
    UntilClose,
}

/// The head of `length` bytes that follow.
pub fn length_head(length: u64, persist: Persist) -> Vec<u8> {
    head((200, "OK"), ("application/octet-stream", length), "", persist)
}

/// The head of server-sent events.
pub fn event_head(coding: Coding, persist: Persist) -> Vec<u8> {
    let framing = match (coding, persist) {
        (Coding::Chunked, Persist::Keep) => "Transfer-Encoding: chunked\r\n",
        (Coding::Chunked, Persist::Close) => "Transfer-Encoding: chunked\r\nConnection: close\r\n",
        (Coding::UntilClose, _) => "Connection: close\r\n",
    };
    let date = httpdate::fmt_http_date(SystemTime::now());
    format!(
        "HTTP/1.1 200 OK\r\nDate: {date}\r\nContent-Type: text/event-stream\r\n\
         Cache-Control: no-store\r\n{framing}\r\n"
    )
    .into_bytes()
}

fn message(
    status: (u16, &str),
    fields: &str,
    body: &str,
    (persist, show): (Persist, Show),
) -> Vec<u8> {
    let mut out = head(status, ("text/plain; charset=utf-8", body.len() as u64), fields, persist);
    if show == Show::Body {
        out.extend_from_slice(body.as_bytes());
    }
    out
}

fn head(
    (status, reason): (u16, &str),
    (kind, length): (&str, u64),
    fields: &str,
    persist: Persist,
) -> Vec<u8> {
    let date = httpdate::fmt_http_date(SystemTime::now());
    let connection = if persist == Persist::Close { "Connection: close\r\n" } else { "" };
    format!(
        "HTTP/1.1 {status} {reason}\r\nDate: {date}\r\nContent-Type: {kind}\r\n\
         Content-Length: {length}\r\nCache-Control: no-store\r\n{fields}{connection}\r\n"
    )
    .into_bytes()
}

/// The inside of an sf-string (RFC 8941 §3.3.3).
fn quoted(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars().filter(|character| matches!(character, ' '..='~')) {
        if matches!(character, '"' | '\\') {
            safe.push('\\');
        }
        safe.push(character);
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::{Persist, Show, answer, quoted};
    use crate::failure::Failure;
    use crate::proxy::policy::Refusal;
    use crate::proxy::stop::Stop;

    #[test]
    fn every_answer_has_a_status_a_length_and_two_lines() {
        let stops = [
            (Stop::HeadTimeout, 408),
            (Stop::CredentialsMissing, 407),
            (Stop::CredentialsWrong, 407),
            (Stop::Refused(Refusal::Stranger), 403),
            (Stop::Egress(Failure::ConnectionRefused), 502),
            (Stop::Egress(Failure::ConnectionTimeout), 504),
            (Stop::Full, 503),
            (Stop::NotFound, 404),
        ];
        for (stop, status) in stops {
            let text = String::from_utf8(answer(&stop, Persist::Keep, Show::Body)).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
            let error = format!("Proxy-Status: sami-proxy; error={}; details=\"", stop.failure());
            assert!(head.contains(&error), "{head}");
            assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{head}");
            assert_eq!(body.lines().count(), 2, "{body}");
            assert_eq!(
                head.contains("Proxy-Authenticate: Basic realm=\"sami-proxy\""),
                status == 407
            );
            assert_eq!(head.contains("Retry-After"), status == 503);
            assert!(!head.contains("Connection:"));
        }
    }

    #[test]
    fn an_answer_to_head_has_the_length_but_not_the_body() {
        let text =
            String::from_utf8(answer(&Stop::Loop, Persist::Close, Show::LengthOnly)).unwrap();
        assert!(text.ends_with("Connection: close\r\n\r\n"), "{text}");
        assert!(!text.contains("Content-Length: 0"));
    }

    #[test]
    fn details_are_an_sf_string() {
        assert_eq!(quoted("a \"b\" \\ \r\n ü"), "a \\\"b\\\" \\\\  ");
    }
}
