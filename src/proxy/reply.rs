//! [`Stop`] → an HTTP answer. The only place that knows statuses and words.
//!
//! Every answer of ours carries `Proxy-Status` (RFC 9209), `Content-Length` and two lines: what
//! happened, what to do. It says nothing about our inside: no addresses, no rules, no users.

use std::time::SystemTime;

use super::internal::ServiceError;
use super::policy::Refusal;
use super::stop::Stop;
use crate::failure::Failure;
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

/// Status and reason phrase for `stop`.
///
/// RFC 9209 §2.3 recommends a status for each type; an arm that differs says why.
pub const fn status_of(stop: &Stop) -> (u16, &'static str) {
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
        | Stop::Chunk => (400, "Bad Request"),
        Stop::Command => (501, "Not Implemented"),
        Stop::HeadTimeout => (408, "Request Timeout"),
        Stop::CredentialsMissing | Stop::CredentialsWrong | Stop::CredentialsUnreadable(_) => {
            (407, "Proxy Authentication Required")
        }
        // Not 502 for our own address: asking again, or asking another proxy, will not help.
        Stop::Refused(_) => (403, "Forbidden"),
        Stop::Loop | Stop::Parent(_) => (502, "Bad Gateway"),
        Stop::Full | Stop::ClientFull => (503, "Service Unavailable"),
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

fn parent_words(error: &ParentError) -> String {
    let happened = sentence(&error.to_string());
    match error {
        ParentError::Refused { details: Some(details), .. } => {
            format!("{happened} It says: {details}")
        }
        ParentError::Refused { details: None, .. }
        | ParentError::Closed
        | ParentError::Socks(_)
        | ParentError::SocksMethod
        | ParentError::SocksLogin
        | ParentError::Malformed
        | ParentError::Certificate(_)
        | ParentError::Tls(_) => happened,
    }
}

/// With a capital at the beginning and a full stop at the end.
fn sentence(text: &str) -> String {
    let mut rest = text.chars();
    let first = rest.next().map_or(' ', |first| first.to_ascii_uppercase());
    format!("{first}{}.", rest.as_str())
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

/// What happened, and what to do.
fn words(stop: &Stop) -> (String, &'static str) {
    let (happened, advice) = match stop {
        Stop::Head(error) => {
            return (format!("This is not a valid HTTP request: {error}."), FIX_CLIENT);
        }
        Stop::Form(error) => {
            return (format!("This request has no usable target: {error}."), FIX_TARGET);
        }
        Stop::Framing(error) => {
            return (format!("The end of the request body is ambiguous: {error}."), FIX_CLIENT);
        }
        Stop::CredentialsUnreadable(error) => {
            return (format!("The proxy credentials can't be read: {error}."), SEND_BASIC);
        }
        Stop::Socks(error) => {
            return (format!("This is not a valid SOCKS request: {error}."), FIX_CLIENT);
        }
        Stop::Service(error) => {
            return (error.to_string(), "See the README, \"sami-proxy.internal\".");
        }
        Stop::ParentDown(failure) => {
            return (format!("The parent proxy can't be reached: {failure}."), FIX_PARENT);
        }
        Stop::Parent(error) => return (parent_words(error), FIX_PARENT),
        Stop::Command => ("This proxy opens connections and nothing else.", FIX_CLIENT),
        Stop::RateLimited => (
            "You have asked this proxy's own service for too much in a short time.",
            "Try again in a minute; trusted clients may ask for more.",
        ),
        Stop::Host => ("The request has no Host field, or more than one.", FIX_CLIENT),
        Stop::ConnectBody => ("A CONNECT request must not have a body.", FIX_CLIENT),
        Stop::Chunk => ("The chunked request body is malformed.", FIX_CLIENT),
        Stop::HeadTimeout => {
            ("The request did not arrive in time.", "Send the whole request at once, or try again.")
        }
        Stop::CredentialsMissing => ("This proxy wants a user name and a password.", SEND_BASIC),
        Stop::CredentialsWrong => ("User name or password is wrong.", SEND_BASIC),
        Stop::Refused(refusal) => refusal_words(*refusal),
        Stop::Egress(failure) | Stop::Answer(failure) => failure_words(*failure),
        Stop::Full => (
            "This proxy has reached its limit of connections.",
            "Try again in a few seconds; the operator can raise --max-connections.",
        ),
        Stop::ClientFull => (
            "There are too many connections from your address.",
            "Close some; the operator can raise --max-per-client.",
        ),
        Stop::Loop => (
            "The request has passed this proxy before.",
            "Take this proxy out of its own proxy settings.",
        ),
        Stop::NotFound => (
            "This is an HTTP proxy, not a web site.",
            "Enter its host and port as the HTTP proxy of your application.",
        ),
    };
    (happened.to_owned(), advice)
}

const FIX_CLIENT: &str = "Update or report the application that sent it; the proxy refuses what two servers could read differently.";
const FIX_PARENT: &str =
    "The operator of this proxy has to look at --upstream and at the proxy that it names.";
const FIX_TARGET: &str = "Use CONNECT host:port, or an http:// address without a user name in it.";
const SEND_BASIC: &str =
    "Enter the proxy's user name and password in your application (Basic authentication).";

const fn refusal_words(refusal: Refusal) -> (&'static str, &'static str) {
    match refusal {
        Refusal::Stranger => (
            "Clients without credentials reach only the built-in LLM hosts on ports 443 and 80.",
            "Set credentials with --auth USER:PASSWORD (SAMI_PROXY_AUTH) and use them, or let your address in with --trust-client.",
        ),
        Refusal::MailPort(_) => (
            "Mail ports 25, 465 and 587 are not reached through this proxy.",
            "Send mail without the proxy.",
        ),
        Refusal::Denied => {
            ("The operator of this proxy has denied this target.", "Ask the operator (--deny-to).")
        }
        Refusal::NotAllowed => (
            "The operator of this proxy has not allowed this target.",
            "Ask the operator (--allow-to).",
        ),
        Refusal::Special(_) => (
            "The target is not a public address.",
            "If it is meant to be reached, the operator can set --allow-private.",
        ),
        Refusal::Own => {
            ("The target is this proxy itself.", "Take this proxy out of its own proxy settings.")
        }
    }
}

const fn failure_words(failure: Failure) -> (&'static str, &'static str) {
    match failure {
        Failure::DnsTimeout => (
            "No name server answered in time.",
            "Check the server's DNS, or choose one with --dns.",
        ),
        Failure::DnsError => (
            "The name of the target could not be resolved.",
            "Check the spelling; if it is right, check the server's DNS.",
        ),
        Failure::DestinationIpUnroutable => (
            "There is no route from the proxy to the target.",
            "Check the server's network; without IPv6 set --prefer-family ipv4-only.",
        ),
        Failure::ConnectionRefused => (
            "The target refused the connection.",
            "Check the port; if it is right, the target is down.",
        ),
        Failure::ConnectionTimeout => (
            "The target did not accept the connection in time.",
            "Try again; if it stays, the target or a firewall on the way is silent.",
        ),
        Failure::ConnectionTerminated => (
            "The target closed the connection before it had answered.",
            "Try again; if it stays, the target or something on the way cuts it.",
        ),
        Failure::ConnectionLimitReached => {
            ("The proxy has run out of connections or ports.", "Try again in a few seconds.")
        }
        Failure::HttpResponseIncomplete
        | Failure::HttpProtocolError
        | Failure::HttpUpgradeFailed => {
            ("The target's answer is not valid HTTP.", "Report it to the operator of the target.")
        }
        Failure::DestinationIpProhibited
        | Failure::DestinationUnavailable
        | Failure::TlsCertificateError
        | Failure::TlsProtocolError
        | Failure::HttpRequestError
        | Failure::HttpRequestDenied
        | Failure::ProxyLoopDetected
        | Failure::ProxyInternalResponse
        | Failure::ProxyInternalError => {
            ("The proxy has failed.", "Look into its log, and report it.")
        }
    }
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
