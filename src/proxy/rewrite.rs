//! Message heads as the next hop must see them. Pure.

use std::borrow::Cow;
use std::time::SystemTime;

use super::reply::Persist;
use crate::target::Target;
use crate::wire::decimal;
use crate::wire::http1::fields::{Field, Fields};
use crate::wire::http1::framing::Body;
use crate::wire::http1::head::{RequestHead, ResponseHead, Version};

/// A request that goes on to its origin.
#[derive(Debug)]
pub struct Onward<'b> {
    /// As received.
    pub head: RequestHead<'b>,
    /// From the request-target; the `Host` field that the client sent counts for nothing
    /// (RFC 9112 §3.2.2).
    pub target: Target,
    /// Path and query, or `*`.
    pub origin_form: &'b str,
    /// How the body ends.
    pub body: Body,
}

/// Whether a request with these `fields` has been here before; `via` is this hop's `Via` member
/// (RFC 9110 §7.6.3).
pub fn has_passed(fields: &Fields<'_>, via: &str) -> bool {
    fields.members("via").any(|member| member == via.as_bytes())
}

/// The value of `Via` for a request that had these `fields` and goes on from here.
pub fn way_so_far<'v>(fields: &Fields<'_>, via: &'v str) -> Cow<'v, str> {
    if !fields.has("via") {
        return via.into();
    }
    let printable = |member: &&str| member.chars().all(|it| matches!(it, ' '..='~' | '\t'));
    let members = fields.members("via").filter_map(|member| std::str::from_utf8(member).ok());
    members.filter(printable).chain([via]).collect::<Vec<_>>().join(", ").into()
}

impl Onward<'_> {
    /// Whether the client asks to switch to WebSocket (RFC 6455 §4.1). Other protocols are not
    /// offered to the origin: the field is hop-by-hop and `h2c` would hide requests from us.
    pub fn upgrades(&self) -> bool {
        let fields = &self.head.fields;
        self.head.version == Version::Http11
            && self.body == Body::Empty
            && fields.lists("connection", "upgrade")
            && fields.only("upgrade").is_some_and(|value| value.eq_ignore_ascii_case(b"websocket"))
    }

    /// Hops left for OPTIONS and TRACE (RFC 9110 §7.6.2); `None` when it is not limited.
    pub fn max_forwards(&self) -> Option<u64> {
        if !matches!(self.head.method, "OPTIONS" | "TRACE") {
            return None;
        }
        std::str::from_utf8(self.head.fields.only("max-forwards")?).ok()?.parse().ok()
    }

    /// The head for the origin. `via` is this hop's `Via` member.
    pub fn encode(&self, via: &str) -> Vec<u8> {
        let fields = &self.head.fields;
        let mut out = Vec::with_capacity(1024);
        let path = if self.origin_form.starts_with(['/', '*']) { "" } else { "/" };
        line(&mut out, &[self.head.method, " ", path, self.origin_form, " HTTP/1.1"]);
        out.extend_from_slice(b"Host: ");
        if self.target.port.get() == 80 {
            decimal::host(&mut out, &self.target.host);
        } else {
            decimal::target(&mut out, &self.target);
        }
        line(&mut out, &[]);
        for field in fields.end_to_end() {
            let is = |name: &str| field.name.eq_ignore_ascii_case(name);
            let dropped = is("host")
                || is("content-length")
                // HTTP/1.0 has no interim responses (RFC 9110 §10.1.1).
                || (is("expect") && self.head.version == Version::Http10)
                || (is("max-forwards") && self.max_forwards().is_some());
            if !dropped {
                copy(&mut out, field);
            }
        }
        if let Some(hops) = self.max_forwards() {
            line(&mut out, &["Max-Forwards: ", &hops.saturating_sub(1).to_string()]);
        }
        self.encode_framing(&mut out);
        line(&mut out, &["Via: ", via]);
        let trailers = fields.lists("te", "trailers");
        if trailers {
            line(&mut out, &["TE: trailers"]);
        }
        let connection = match (self.upgrades(), self.is_repeatable(), trailers) {
            (true, ..) => Some("Upgrade: websocket\r\nConnection: Upgrade"),
            (false, false, true) => Some("Connection: close, TE"),
            (false, false, false) => Some("Connection: close"),
            (false, true, true) => Some("Connection: TE"),
            (false, true, false) => None,
        };
        if let Some(connection) = connection {
            line(&mut out, &[connection]);
        }
        line(&mut out, &[]);
        out
    }

    /// Whether it may be sent twice, and on a connection that carries others: idempotent (RFC 9110
    /// §9.2.2) and without a body.
    pub fn is_repeatable(&self) -> bool {
        const IDEMPOTENT: [&str; 6] = ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"];
        self.body == Body::Empty && !self.upgrades() && IDEMPOTENT.contains(&self.head.method)
    }

    /// Whether what it is answered with binds the connection to whoever sent it: these schemes
    /// authenticate a connection and not a request (RFC 4559, MS-NLMP).
    pub fn binds_connection(&self, answer: &ResponseHead<'_>) -> bool {
        const SCHEMES: [&[u8]; 2] = [b"ntlm", b"negotiate"];
        let mut said =
            self.head.fields.all("authorization").chain(answer.fields.all("www-authenticate"));
        said.any(|value| {
            SCHEMES.iter().any(|scheme| {
                value.windows(scheme.len()).any(|part| part.eq_ignore_ascii_case(scheme))
            })
        })
    }

    fn encode_framing(&self, out: &mut Vec<u8>) {
        match self.body {
            Body::Length(bytes) => length(out, bytes),
            Body::Chunked => line(out, &["Transfer-Encoding: chunked"]),
            Body::Empty if self.head.fields.has("content-length") => {
                line(out, &["Content-Length: 0"]);
            }
            Body::Empty | Body::UntilClose => {}
        }
    }
}

/// What the client of a response is like.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'b> {
    /// The method of its request.
    pub method: &'b str,
    /// Its version.
    pub version: Version,
}

/// The head of a final response for `reader`.
pub fn final_head(
    head: &ResponseHead<'_>,
    reader: Reader<'_>,
    body: Body,
    (via, persist): (&str, Persist),
) -> Vec<u8> {
    let mut out = status_line(head);
    for field in head.fields.end_to_end() {
        if !field.name.eq_ignore_ascii_case("content-length") {
            copy(&mut out, field);
        }
    }
    if !head.fields.has("date") {
        // RFC 9110 §6.6.1: who has a clock adds it.
        line(&mut out, &["Date: ", &httpdate::fmt_http_date(SystemTime::now())]);
    }
    match body {
        Body::Length(bytes) => length(&mut out, bytes),
        Body::Chunked if reader.version == Version::Http11 => {
            line(&mut out, &["Transfer-Encoding: chunked"]);
        }
        Body::Chunked | Body::UntilClose => {}
        Body::Empty => empty_length(&mut out, head, reader),
    }
    line(&mut out, &["Via: ", via]);
    if persist == Persist::Close {
        line(&mut out, &["Connection: close"]);
    }
    line(&mut out, &[]);
    out
}

/// The length of a body that is not there: what it would have been for HEAD and 304
/// (RFC 9110 §8.6), nothing for 204, else zero.
fn empty_length(out: &mut Vec<u8>, head: &ResponseHead<'_>, reader: Reader<'_>) {
    if head.status == 204 {
        return;
    }
    if reader.method != "HEAD" && head.status != 304 {
        line(out, &["Content-Length: 0"]);
        return;
    }
    let said = head.fields.only("content-length");
    let digits = said.filter(|value| !value.is_empty() && value.iter().all(u8::is_ascii_digit));
    if let Some(text) = digits.and_then(|value| std::str::from_utf8(value).ok())
        && !head.fields.has("transfer-encoding")
    {
        line(out, &["Content-Length: ", text]);
    }
}

/// The head of an interim response (RFC 9110 §15.2), 101 included.
pub fn interim_head(head: &ResponseHead<'_>, via: &str) -> Vec<u8> {
    let mut out = status_line(head);
    for field in head.fields.end_to_end() {
        if !field.name.eq_ignore_ascii_case("content-length") {
            copy(&mut out, field);
        }
    }
    line(&mut out, &["Via: ", via]);
    if head.status == 101 {
        line(&mut out, &["Upgrade: websocket\r\nConnection: Upgrade"]);
    }
    line(&mut out, &[]);
    out
}

/// A trailer section; fields that would change framing, routing or credentials are left out
/// (RFC 9110 §6.5.1).
pub fn trailers(fields: &Fields<'_>) -> Vec<u8> {
    const NEVER: [&str; 4] = ["content-length", "host", "authorization", "trailer"];
    let mut out = Vec::new();
    for field in fields.end_to_end() {
        if !NEVER.iter().any(|name| field.name.eq_ignore_ascii_case(name)) {
            copy(&mut out, field);
        }
    }
    line(&mut out, &[]);
    out
}

/// A request as it was received, for TRACE; nothing secret goes back (RFC 9110 §9.3.8).
pub fn trace(head: &RequestHead<'_>) -> String {
    const SECRET: [&str; 3] = ["authorization", "proxy-authorization", "cookie"];
    let mut out = Vec::new();
    line(&mut out, &[head.method, " ", head.target, " HTTP/1.1"]);
    for field in &head.fields {
        if !SECRET.iter().any(|name| field.name.eq_ignore_ascii_case(name)) {
            copy(&mut out, field);
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn status_line(head: &ResponseHead<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    out.extend_from_slice(b"HTTP/1.1 ");
    decimal::digits(&mut out, head.status.into());
    line(&mut out, &[" ", head.reason]);
    out
}

fn length(out: &mut Vec<u8>, bytes: u64) {
    out.extend_from_slice(b"Content-Length: ");
    decimal::digits(out, bytes);
    line(out, &[]);
}

fn line(out: &mut Vec<u8>, parts: &[&str]) {
    for part in parts {
        out.extend_from_slice(part.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}

fn copy(out: &mut Vec<u8>, field: &Field<'_>) {
    out.extend_from_slice(field.name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(field.value);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::{Onward, Reader, final_head, has_passed, interim_head, trailers, way_so_far};
    use crate::proxy::reply::Persist;
    use crate::wire::http1::form::{Form, form_of};
    use crate::wire::http1::framing::{Body, request_body};
    use crate::wire::http1::head::{Version, parse_request, parse_response, parse_trailers};

    fn onward(text: &str) -> Onward<'_> {
        let head = parse_request(text.as_bytes()).unwrap();
        let Form::Absolute { target, origin_form } = form_of(&head).unwrap() else { panic!() };
        let body = request_body(head.version, &head.fields).unwrap();
        Onward { head, target, origin_form, body }
    }

    fn encoded(text: &str) -> String {
        String::from_utf8(onward(text).encode("1.1 us")).unwrap()
    }

    #[test]
    fn the_origin_sees_origin_form_our_host_and_no_hop_by_hop_field() {
        let sent = encoded(
            "POST http://A.example:80?q=1 HTTP/1.1\r\nHost: evil.example\r\nX-One: 1\r\n\
             Proxy-Authorization: Basic YTpi\r\nProxy-Connection: keep-alive\r\nContent-Length: 3\r\n\
             Connection: x-one, keep-alive\r\nKeep-Alive: 5\r\nVia: 1.0 other\r\nTE: gzip, trailers\r\n\
             Upgrade: h2c\r\nHTTP2-Settings: x\r\naUtHoRiZaTiOn: Bearer key\r\n\r\n",
        );
        assert_eq!(
            sent,
            "POST /?q=1 HTTP/1.1\r\nHost: a.example\r\nVia: 1.0 other\r\naUtHoRiZaTiOn: Bearer key\r\n\
             Content-Length: 3\r\nVia: 1.1 us\r\nTE: trailers\r\nConnection: close, TE\r\n\r\n"
        );
    }

    #[test]
    fn only_a_request_that_may_be_sent_twice_leaves_the_connection_open() {
        let close = |request: &str| encoded(request).contains("\r\nConnection: close\r\n");
        assert!(!close("GET http://a/ HTTP/1.1\r\n\r\n"));
        assert!(!close("DELETE http://a/ HTTP/1.1\r\nContent-Length: 0\r\n\r\n"));
        assert!(close("POST http://a/ HTTP/1.1\r\nContent-Length: 0\r\n\r\n"));
        assert!(close("PUT http://a/ HTTP/1.1\r\nContent-Length: 1\r\n\r\n"));
        assert!(close("get http://a/ HTTP/1.1\r\n\r\n"));
    }

    #[test]
    fn an_empty_body_keeps_its_declared_length() {
        assert!(
            encoded("POST http://a/ HTTP/1.1\r\nContent-Length: 0\r\n\r\n")
                .contains("Content-Length: 0\r\n")
        );
        assert!(!encoded("GET http://a/ HTTP/1.1\r\n\r\n").contains("Content-Length"));
    }

    #[test]
    fn the_usual_port_is_left_out_of_the_host_field() {
        for (authority, host) in [
            ("example.com", "example.com"),
            ("a:80", "a"),
            ("[::1]:81", "[::1]:81"),
            ("[::1]", "[::1]"),
        ] {
            let sent = encoded(&format!("GET http://{authority}/ HTTP/1.1\r\n\r\n"));
            assert!(sent.contains(&format!("\r\nHost: {host}\r\n")), "{sent}");
        }
    }

    #[test]
    fn only_a_websocket_upgrade_is_passed_on() {
        let websocket =
            "GET http://a/ HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\r\n";
        assert!(encoded(websocket).ends_with("Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n"));
        for other in [
            "GET http://a/ HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
            "GET http://a/ HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket, h2c\r\n\r\n",
            "GET http://a/ HTTP/1.1\r\nUpgrade: websocket\r\n\r\n",
            "GET http://a/ HTTP/1.0\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
            "POST http://a/ HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 1\r\n\r\n",
        ] {
            assert!(!encoded(other).contains("pgrade"), "{other}");
        }
    }

    #[test]
    fn max_forwards_counts_down_where_it_has_a_meaning() {
        let options = "OPTIONS http://a HTTP/1.1\r\nMax-Forwards: 2\r\n\r\n";
        assert!(encoded(options).starts_with("OPTIONS * HTTP/1.1\r\n"));
        assert!(encoded(options).contains("Max-Forwards: 1\r\n"));
        assert!(
            encoded("GET http://a/ HTTP/1.1\r\nMax-Forwards: 2\r\n\r\n")
                .contains("Max-Forwards: 2\r\n")
        );
    }

    #[test]
    fn a_request_that_was_here_before_is_recognised() {
        let passed = |request| has_passed(&onward(request).head.fields, "1.1 us");
        assert!(passed("GET http://a/ HTTP/1.1\r\nVia: 1.0 x,  1.1 us\r\n\r\n"));
        assert!(!passed("GET http://a/ HTTP/1.1\r\nVia: 1.1 us2\r\n\r\n"));
    }

    #[test]
    fn the_way_so_far_has_every_member_that_can_be_sent() {
        let so_far = |request| way_so_far(&onward(request).head.fields, "1.1 us").into_owned();
        assert_eq!(so_far("GET http://a/ HTTP/1.1\r\n\r\n"), "1.1 us");
        let several = "GET http://a/ HTTP/1.1\r\nVia: 1.0 x,,1.1 \u{fc}\r\nVia: 1.1 y\r\n\r\n";
        assert_eq!(so_far(several), "1.0 x, 1.1 y, 1.1 us");
    }

    fn response(
        text: &str,
        method: &str,
        version: Version,
        body: Body,
        persist: Persist,
    ) -> String {
        let head = parse_response(text.as_bytes()).unwrap();
        let reader = Reader { method, version };
        let found =
            String::from_utf8(final_head(&head, reader, body, ("1.1 us", persist))).unwrap();
        found.lines().filter(|line| !line.starts_with("Date: ")).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_response_is_framed_for_its_reader() {
        use Version::{Http10, Http11};
        let chunked =
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: x\r\nX: 1\r\n\r\n";
        assert_eq!(
            response(chunked, "GET", Http11, Body::Chunked, Persist::Keep),
            "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\nVia: 1.1 us\n"
        );
        assert_eq!(
            response(chunked, "GET", Http10, Body::Chunked, Persist::Close),
            "HTTP/1.1 200 OK\nVia: 1.1 us\nConnection: close\n"
        );
        let sized = "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n";
        assert!(
            response(sized, "GET", Http11, Body::Empty, Persist::Keep)
                .contains("Content-Length: 5")
        );
        let none = "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n";
        assert!(
            !response(none, "GET", Http11, Body::Empty, Persist::Keep).contains("Content-Length")
        );
        let zero = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
        assert!(
            response(zero, "GET", Http11, Body::Empty, Persist::Keep).contains("Content-Length: 0")
        );
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n";
        assert!(
            response(head, "HEAD", Http11, Body::Empty, Persist::Keep)
                .contains("Content-Length: 9")
        );
    }

    #[test]
    fn an_answer_without_date_gets_one() {
        let head = parse_response(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
        let reader = Reader { method: "GET", version: Version::Http11 };
        let found = final_head(&head, reader, Body::Length(1), ("1.1 us", Persist::Keep));
        assert!(String::from_utf8(found).unwrap().contains("\r\nDate: "));
    }

    #[test]
    fn interim_heads_and_trailers_are_cleaned_too() {
        let head = parse_response(
            b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\nConnection: y\r\nY: 1\r\n\r\n",
        );
        assert_eq!(
            String::from_utf8(interim_head(&head.unwrap(), "1.1 us")).unwrap(),
            "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\nVia: 1.1 us\r\n\r\n"
        );
        let fields = parse_trailers(
            b"A: 1\r\nContent-Length: 5\r\nTransfer-Encoding: x\r\nProxy-Authorization: y\r\n\r\n",
        );
        assert_eq!(trailers(&fields.unwrap()), b"A: 1\r\n\r\n");
    }
}
