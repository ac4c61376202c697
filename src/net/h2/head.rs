//! The head of an HTTP/2 request as the head of an HTTP/1.1 request.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::uri::Authority;
use ring::rand::{SecureRandom, SystemRandom};

/// Why a request can't be said in HTTP/1.1. Display: one line for the operator, nothing of the
/// request in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Neither `:authority` nor one `Host` field that could stand for it (RFC 9113 §8.3.1).
    #[error("the request has no usable authority")]
    Authority,
    /// `Host` and `:authority` are not the same (RFC 9113 §8.3.1).
    #[error("Host differs from :authority")]
    Host,
    /// `:path` does not begin with a slash (RFC 9113 §8.3.1): behind an authority it could be read
    /// as a part of it.
    #[error(":path does not begin with a slash")]
    Path,
    /// A field that concerns an HTTP/1.1 connection (RFC 9113 §8.2.2).
    #[error("the request has a connection-specific field")]
    ConnectionSpecific,
    /// An extended `CONNECT` (RFC 8441) to something else than WebSocket.
    #[error(":protocol is not websocket")]
    Protocol,
    /// A WebSocket under TLS needs a `CONNECT` tunnel.
    #[error("a wss:// address needs a CONNECT tunnel")]
    Scheme,
    /// A WebSocket has no content.
    #[error("a WebSocket request announces a body")]
    Content,
    /// The operating system gives no random numbers.
    #[error("there are no random numbers")]
    Random,
}

/// What the meaning of the answer depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// `CONNECT`: 2xx is a tunnel.
    Connect,
    /// `CONNECT` with `:protocol = websocket`: 101 is a tunnel.
    WebSocket,
    /// `HEAD`: the answer has no body.
    Head,
    /// Any other.
    Other,
}

/// How the bytes of DATA frames are said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// As they are; the end of the stream is the end.
    Raw,
    /// As they are; their number has been announced.
    Length,
    /// Each frame is a chunk (RFC 9112 §7.1).
    Chunked,
}

/// What follows the head of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    /// Nothing: `END_STREAM` came with HEADERS.
    None,
    /// DATA frames, or at least the end of the stream.
    Frames,
}

/// A request head in HTTP/1.1.
pub(super) struct Head {
    /// Up to and including the empty line.
    pub(super) text: Vec<u8>,
    pub(super) kind: Kind,
    pub(super) framing: Framing,
}

/// Says `request` in HTTP/1.1.
///
/// A proxy is asked in absolute-form (RFC 9112 §3.2.2). Only https is said in origin-form: by that
/// scheme a client asks a proxy that it reaches under TLS for a page of its own, everything else
/// under https goes through `CONNECT`.
pub(super) fn translate(request: &Parts, content: Content) -> Result<Head, Refusal> {
    let fields = &request.headers;
    check_connection_specific(fields)?;
    let authority = authority_of(request)?;
    let authority = authority.as_str();
    let connect = request.method == Method::CONNECT;
    let kind = match request.extensions.get::<h2::ext::Protocol>() {
        Some(_) if connect => Kind::WebSocket,
        Some(_) => return Err(Refusal::Protocol),
        None if connect => Kind::Connect,
        None if request.method == Method::HEAD => Kind::Head,
        None => Kind::Other,
    };
    let mut text = Vec::with_capacity(512);
    match kind {
        Kind::Connect => line(&mut text, &[b"CONNECT ", authority.as_bytes(), b" HTTP/1.1"]),
        Kind::WebSocket => {
            check_web_socket(request)?;
            request_line(&mut text, "GET", authority, request)?;
        }
        Kind::Head | Kind::Other => {
            request_line(&mut text, request.method.as_str(), authority, request)?;
        }
    }
    line(&mut text, &[b"Host: ", authority.as_bytes()]);
    copy(&mut text, fields, kind);
    let framing = match kind {
        Kind::Connect => Framing::Raw,
        Kind::WebSocket => {
            upgrade(&mut text)?;
            Framing::Raw
        }
        Kind::Head | Kind::Other
            if content == Content::None || fields.contains_key(header::CONTENT_LENGTH) =>
        {
            Framing::Length
        }
        Kind::Head | Kind::Other => {
            line(&mut text, &[b"Transfer-Encoding: chunked"]);
            Framing::Chunked
        }
    };
    line(&mut text, &[]);
    Ok(Head { text, kind, framing })
}

/// The trailer section of `fields`, its empty line included, without what has no place in one
/// (RFC 9110 §6.5.1).
pub(super) fn trailers(fields: &HeaderMap) -> Vec<u8> {
    const NEVER: [HeaderName; 3] =
        [header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::HOST];
    let mut text = Vec::new();
    for (name, value) in fields {
        if !NEVER.contains(name) {
            line(&mut text, &[name.as_str().as_bytes(), b": ", value.as_bytes()]);
        }
    }
    line(&mut text, &[]);
    text
}

/// h2 refuses them too; here they would change what an HTTP/1.1 parser reads.
fn check_connection_specific(fields: &HeaderMap) -> Result<(), Refusal> {
    const NAMES: [&str; 5] =
        ["connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade"];
    let any = NAMES.iter().any(|name| fields.contains_key(*name));
    if any || fields.get_all(header::TE).iter().any(|value| value != "trailers") {
        return Err(Refusal::ConnectionSpecific);
    }
    Ok(())
}

fn authority_of(request: &Parts) -> Result<Authority, Refusal> {
    let mut hosts = request.headers.get_all(header::HOST).iter();
    let (host, another) = (hosts.next(), hosts.next());
    if another.is_some() {
        return Err(Refusal::Host);
    }
    match (request.uri.authority(), host) {
        (Some(authority), None) => Ok(authority.clone()),
        (Some(authority), Some(host)) => {
            let same = host.as_bytes().eq_ignore_ascii_case(authority.as_str().as_bytes());
            if same { Ok(authority.clone()) } else { Err(Refusal::Host) }
        }
        (None, Some(host)) => Authority::try_from(host.as_bytes()).map_err(|_| Refusal::Authority),
        (None, None) => Err(Refusal::Authority),
    }
}

fn check_web_socket(request: &Parts) -> Result<(), Refusal> {
    let protocol = request.extensions.get::<h2::ext::Protocol>();
    if protocol.is_none_or(|protocol| protocol.as_str() != "websocket") {
        return Err(Refusal::Protocol);
    }
    if request.uri.scheme_str() != Some("http") {
        return Err(Refusal::Scheme);
    }
    if request.headers.contains_key(header::CONTENT_LENGTH) {
        return Err(Refusal::Content);
    }
    Ok(())
}

fn request_line(
    text: &mut Vec<u8>,
    method: &str,
    authority: &str,
    request: &Parts,
) -> Result<(), Refusal> {
    let path = request.uri.path_and_query().map_or("/", |path| path.as_str());
    // RFC 9112 §3.2.1: an empty path is a slash.
    let slash = if path.starts_with('?') { "/" } else { "" };
    if !(path.starts_with(['/', '?']) || path == "*") {
        return Err(Refusal::Path);
    }
    let mut say = |parts: [&str; 3]| {
        let [scheme, authority, path] = parts.map(str::as_bytes);
        let parts = [scheme, authority, slash.as_bytes(), path].concat();
        line(text, &[method.as_bytes(), b" ", &parts, b" HTTP/1.1"]);
    };
    match request.uri.scheme_str() {
        Some("https") => say(["", "", path]),
        // h2 forgets the scheme of a request without :authority.
        scheme => {
            let scheme = format!("{}://", scheme.unwrap_or("http"));
            // RFC 9112 §3.2.4
            say([&scheme, authority, if path == "*" { "" } else { path }]);
        }
    }
    Ok(())
}

/// Every field but `Host`; the parts of `Cookie` as one (RFC 9113 §8.2.3).
fn copy(text: &mut Vec<u8>, fields: &HeaderMap, kind: Kind) {
    for (name, value) in fields {
        let replaced = kind == Kind::WebSocket && name == header::SEC_WEBSOCKET_KEY;
        if !replaced && name != header::HOST && name != header::COOKIE {
            line(text, &[name.as_str().as_bytes(), b": ", value.as_bytes()]);
        }
    }
    let crumbs: Vec<_> = fields.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if !crumbs.is_empty() {
        line(text, &[b"cookie: ", &crumbs.join(b"; ".as_slice())]);
    }
}

/// What HTTP/1.1 needs and RFC 8441 §5 leaves out.
fn upgrade(text: &mut Vec<u8>) -> Result<(), Refusal> {
    let mut key = [0; 16];
    SystemRandom::new().fill(&mut key).map_err(|_| Refusal::Random)?;
    line(text, &[b"Upgrade: websocket"]);
    line(text, &[b"Connection: Upgrade"]);
    line(text, &[b"Sec-WebSocket-Key: ", STANDARD.encode(key).as_bytes()]);
    Ok(())
}

fn line(text: &mut Vec<u8>, parts: &[&[u8]]) {
    for part in parts {
        text.extend_from_slice(part);
    }
    text.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn said(request: http::request::Builder) -> Result<String, Refusal> {
        let parts = request.body(()).unwrap().into_parts().0;
        translate(&parts, Content::None).map(|head| String::from_utf8(head.text).unwrap())
    }

    #[test]
    fn the_request_target_has_the_form_that_a_proxy_expects() {
        let cases = [
            ("GET", "http://a.test", "GET http://a.test/ HTTP/1.1"),
            ("GET", "http://a.test:81?q", "GET http://a.test:81/?q HTTP/1.1"),
            ("PUT", "ftp://a.test/x", "PUT ftp://a.test/x HTTP/1.1"),
            ("OPTIONS", "http://a.test/x", "OPTIONS http://a.test/x HTTP/1.1"),
            ("GET", "https://a.test/x?y", "GET /x?y HTTP/1.1"),
            ("CONNECT", "[::1]:443", "CONNECT [::1]:443 HTTP/1.1"),
        ];
        for (method, uri, line) in cases {
            let text = said(Request::builder().method(method).uri(uri)).unwrap();
            assert_eq!(text.lines().next(), Some(line));
        }
        let all = |scheme| {
            let uri = http::Uri::builder().scheme(scheme).authority("a.test").path_and_query("*");
            said(Request::options(uri.build().unwrap())).unwrap()
        };
        assert!(all("http").starts_with("OPTIONS http://a.test HTTP/1.1\r\n"));
        assert!(all("https").starts_with("OPTIONS * HTTP/1.1\r\n"));
    }

    #[test]
    fn what_can_not_be_said_is_refused() {
        let get = || Request::get("http://a.test/");
        let socket = |protocol: &'static str, uri| {
            Request::connect(uri).extension(h2::ext::Protocol::from_static(protocol))
        };
        let cases = [
            (get().header("connection", "x"), Refusal::ConnectionSpecific),
            (get().header("proxy-connection", "x"), Refusal::ConnectionSpecific),
            (get().header("keep-alive", "x"), Refusal::ConnectionSpecific),
            (get().header("transfer-encoding", "chunked"), Refusal::ConnectionSpecific),
            (get().header("upgrade", "x"), Refusal::ConnectionSpecific),
            (get().header("te", "gzip"), Refusal::ConnectionSpecific),
            (get().header("host", "b.test"), Refusal::Host),
            (get().header("host", "a.test").header("host", "a.test"), Refusal::Host),
            (Request::get("/"), Refusal::Authority),
            (Request::get("/").header("host", ""), Refusal::Authority),
            (Request::get("/").header("host", "a b"), Refusal::Authority),
            (Request::get("/").header("host", "a/b"), Refusal::Authority),
            (socket("connect-udp", "http://a.test/"), Refusal::Protocol),
            (socket("websocket", "https://a.test/"), Refusal::Scheme),
            (socket("websocket", "http://a.test/").header("content-length", "0"), Refusal::Content),
            (socket("websocket", "http://a.test/").method("GET"), Refusal::Protocol),
        ];
        for (index, (request, refusal)) in cases.into_iter().enumerate() {
            assert_eq!(said(request), Err(refusal), "case {index}");
        }
        for path in ["x", ".test/"] {
            let Ok(path) = http::uri::PathAndQuery::try_from(path) else { continue };
            let uri = http::Uri::builder().scheme("http").authority("a.test").path_and_query(path);
            let Ok(uri) = uri.build() else { continue };
            assert_eq!(said(Request::get(uri)), Err(Refusal::Path));
        }
    }

    #[test]
    fn the_key_of_a_web_socket_is_ours_and_never_the_same() {
        let request = || {
            let protocol = h2::ext::Protocol::from_static("websocket");
            let request = Request::connect("http://a.test/").extension(protocol);
            said(request.header("sec-websocket-key", "theirs")).unwrap()
        };
        let (one, two) = (request(), request());
        assert_eq!(one.matches("-key: ").count() + one.matches("-Key: ").count(), 1);
        assert!(!one.contains("theirs"));
        assert_ne!(one, two);
    }
}
