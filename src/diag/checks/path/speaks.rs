//! What answers, by what it said. Pure.

use serde_json::Value;

use super::exchange::{Heard, printable};
use crate::diag::fact::{End, Said, Speaks};

/// Fields that only proxies send (RFC 9110 §7.6.3 and §11.7.1, RFC 9209, and what squid has).
const PROXY_FIELDS: [&str; 6] = [
    "via",
    "proxy-authenticate",
    "proxy-connection",
    "proxy-status",
    "proxy-agent",
    "x-squid-error",
];

/// The longest name that is passed on.
const LONGEST_NAME: usize = 80;

/// An HTTP answer, as far as it came.
#[derive(Debug)]
struct Answer {
    status: u16,
    fields: Vec<(String, String)>,
    body: String,
}

impl Answer {
    fn of(it: &Heard) -> Option<Self> {
        let text = String::from_utf8_lossy(&it.bytes);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let mut lines = head.split("\r\n");
        let status = lines.next()?.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
        let fields = lines.filter_map(|line| line.split_once(':'));
        let fields = fields
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        Some(Self { status, fields, body: body.to_owned() })
    }

    fn field(&self, wanted: &str) -> Option<&str> {
        self.fields.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str())
    }

    fn of_a_proxy(&self) -> bool {
        self.status == 407 || PROXY_FIELDS.iter().any(|name| self.field(name).is_some())
    }

    /// An answer to `CONNECT`: a web server says 400, 404, 405 or 501; a proxy that the name does
    /// not exist, or `200` with nothing after it when it has not looked yet.
    fn of_a_tunnel(&self) -> bool {
        let bare = ["content-length", "transfer-encoding", "content-type"]
            .iter()
            .all(|name| self.field(name).is_none());
        match self.status {
            407 | 500 | 502..=504 => true,
            200..=299 => bare && self.body.is_empty(),
            _ => false,
        }
    }
}

/// What is known of who answers.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) speaks: Option<Speaks>,
    pub(super) name: Option<String>,
    pub(super) version: Option<String>,
    pub(super) client: Option<String>,
    pub(super) trusted: Option<bool>,
    pub(super) nonce_returned: bool,
    /// No further answer could change what it is.
    pub(super) settled: bool,
}

/// The status of the answer to our own question, and `Date` and `Age` of the first HTTP answer.
pub(super) fn aside(heard: &[Heard]) -> (Option<u16>, Option<(String, u64)>) {
    let mut answers = heard.iter().filter_map(|it| Some((it.exchange.said, Answer::of(it)?)));
    let date = answers.clone().find_map(|(_, answer)| {
        let age = answer.field("age").and_then(|it| it.parse().ok()).unwrap_or_default();
        Some((answer.field("date")?.to_owned(), age))
    });
    let absolute = answers.find(|(said, _)| *said == Said::AbsoluteForm);
    (absolute.map(|(_, answer)| answer.status), date)
}

/// What `heard` tells; the order does not matter.
pub(super) fn known(heard: &[Heard], nonce: &str) -> Known {
    let said = |what| heard.iter().find(move |it: &&Heard| it.exchange.said == what);
    let absolute = said(Said::AbsoluteForm).and_then(Answer::of);
    if let Some(ours) = absolute.as_ref().and_then(|answer| ours(answer, nonce)) {
        return ours;
    }
    let connect = said(Said::Connect).and_then(Answer::of);
    let origin = said(Said::OriginForm).and_then(Answer::of);
    let http = absolute.as_ref().or(origin.as_ref()).or(connect.as_ref());
    let tls = said(Said::ClientHello).is_some_and(|it| is_tls(&it.bytes))
        || said(Said::AbsoluteForm).is_some_and(|it| is_tls(&it.bytes))
        || said(Said::OriginForm).is_some_and(|it| is_tls(&it.bytes));
    let socks = said(Said::Socks5).is_some_and(|it| matches!(*it.bytes, [5, 0 | 2 | 0xff]));
    let banner = heard.iter().map(|it| it.bytes.as_slice()).find(|bytes| !bytes.is_empty());
    let proxies = absolute.as_ref().is_some_and(Answer::of_a_proxy)
        || connect.as_ref().is_some_and(|it| it.of_a_proxy() || it.of_a_tunnel());
    let speaks = if heard.iter().any(|it| it.bytes.starts_with(b"SSH-")) {
        Some(Speaks::Ssh)
    } else if proxies {
        Some(Speaks::HttpProxy)
    } else if tls && http.is_none_or(|answer| answer.status == 400) {
        Some(Speaks::Tls)
    } else if http.is_some() {
        Some(Speaks::WebServer)
    } else if socks {
        Some(Speaks::Socks)
    } else if banner.is_some() {
        Some(Speaks::Unknown)
    } else {
        mute(heard)
    };
    let name = match (http, speaks) {
        (Some(answer), _) => answer.field("server").or_else(|| answer.field("via")).map(shown),
        (None, Some(Speaks::Ssh | Speaks::Unknown)) => banner.map(first_line),
        (None, _) => None,
    };
    // Who answers HTTP in its own way, and `CONNECT` as no proxy does, is a web server whatever it
    // makes of TLS; "400" may mean that it wants TLS.
    let plain = absolute.as_ref().is_some_and(|answer| answer.status != 400);
    let settled = match speaks {
        Some(Speaks::HttpProxy | Speaks::Ssh | Speaks::Socks) => true,
        Some(Speaks::WebServer) => plain && said(Said::Connect).is_some(),
        Some(
            Speaks::SamiProxy | Speaks::Tls | Speaks::Unknown | Speaks::Nothing | Speaks::Closes,
        )
        | None => false,
    };
    Known { speaks, name, settled, ..Known::default() }
}

/// What it is when it is sami-proxy: it returned our nonce, or it refused under its name.
fn ours(answer: &Answer, nonce: &str) -> Option<Known> {
    let named = |name| answer.field(name).is_some_and(|value| value.contains("sami-proxy"));
    let refused = named("proxy-status") || named("proxy-authenticate");
    let told = serde_json::from_str::<Value>(&answer.body).unwrap_or_default();
    let text = |key: &str| told.get(key).and_then(Value::as_str).map(shown);
    let nonce_returned = text("service").is_some_and(|it| it == "sami-proxy")
        && text("nonce").is_some_and(|it| it == nonce);
    (nonce_returned || refused).then(|| Known {
        speaks: Some(Speaks::SamiProxy),
        name: None,
        version: text("version").filter(|_| nonce_returned),
        client: text("client").filter(|_| nonce_returned),
        trusted: told.get("trusted").and_then(Value::as_bool).filter(|_| nonce_returned),
        nonce_returned,
        settled: true,
    })
}

/// A handshake or an alert (RFC 8446 §5.1).
const fn is_tls(bytes: &[u8]) -> bool {
    matches!(bytes, [0x15 | 0x16, 3, ..])
}

/// Nobody said anything.
fn mute(heard: &[Heard]) -> Option<Speaks> {
    let ended = |end| heard.iter().any(|it| it.exchange.end == end);
    if ended(End::Closed) || ended(End::Reset) {
        Some(Speaks::Closes)
    } else if ended(End::Silent) {
        Some(Speaks::Nothing)
    } else {
        None
    }
}

fn shown(text: &str) -> String {
    let printable = printable(text.as_bytes());
    printable.chars().take(LONGEST_NAME).collect()
}

fn first_line(bytes: &[u8]) -> String {
    let line = bytes.split(|byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or_default();
    printable(line).chars().take(LONGEST_NAME).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::known;
    use crate::diag::checks::path::exchange::Heard;
    use crate::diag::fact::{End, Exchange, Said, Speaks};

    fn heard(said: Said, end: End, bytes: &[u8]) -> Heard {
        let first = String::new();
        let exchange = Exchange { said, end, first, bytes: bytes.len(), elapsed_us: 1 };
        Heard { exchange, bytes: bytes.to_vec() }
    }

    #[test]
    fn who_answers_is_told_by_what_it_says() {
        use Said::{AbsoluteForm, ClientHello, Connect, Socks5};
        let ok = b"HTTP/1.1 200 OK\r\nServer: nginx\r\nContent-Length: 0\r\n\r\n".as_slice();
        let bad = b"HTTP/1.1 400 Bad Request\r\nServer: nginx\r\n\r\n".as_slice();
        let squid = b"HTTP/1.1 503 Service Unavailable\r\nVia: 1.1 box (squid)\r\n\r\n".as_slice();
        let whoami = b"HTTP/1.1 200 OK\r\n\r\n{\"service\":\"sami-proxy\",\"nonce\":\"n1\",\"version\":\"0.1.0\",\"trusted\":false}".as_slice();
        let other =
            b"HTTP/1.1 200 OK\r\n\r\n{\"service\":\"sami-proxy\",\"nonce\":\"n2\"}".as_slice();
        let wants =
            b"HTTP/1.1 407 P\r\nProxy-Authenticate: Basic realm=\"sami-proxy\"\r\n\r\n".as_slice();
        let cases: &[(&[(Said, &[u8])], Speaks)] = &[
            (&[(AbsoluteForm, whoami)], Speaks::SamiProxy),
            (&[(AbsoluteForm, wants)], Speaks::SamiProxy),
            (&[(AbsoluteForm, other)], Speaks::WebServer),
            (&[(AbsoluteForm, squid)], Speaks::HttpProxy),
            (&[(AbsoluteForm, b"HTTP/1.0 407 x\r\n\r\n")], Speaks::HttpProxy),
            (&[(AbsoluteForm, ok), (Connect, b"HTTP/1.1 502 x\r\n\r\n")], Speaks::HttpProxy),
            (&[(AbsoluteForm, ok), (Connect, b"HTTP/1.1 200 x\r\n\r\n")], Speaks::HttpProxy),
            (&[(AbsoluteForm, ok), (Connect, ok)], Speaks::WebServer),
            (&[(AbsoluteForm, ok), (Connect, b"HTTP/1.1 405 x\r\n\r\n")], Speaks::WebServer),
            (&[(AbsoluteForm, bad), (ClientHello, b"\x16\x03\x03..")], Speaks::Tls),
            (&[(AbsoluteForm, b""), (ClientHello, b"\x16\x03\x03..")], Speaks::Tls),
            (&[(AbsoluteForm, b"\x15\x03\x01\0\x02\x02\x46")], Speaks::Tls),
            (&[(AbsoluteForm, ok), (ClientHello, b"\x16\x03\x03..")], Speaks::WebServer),
            (&[(AbsoluteForm, b"SSH-2.0-OpenSSH_9\r\nbad")], Speaks::Ssh),
            (&[(AbsoluteForm, b""), (Socks5, b"\x05\x00")], Speaks::Socks),
            (&[(AbsoluteForm, ok), (Socks5, b"\x05\x00")], Speaks::WebServer),
            (&[(AbsoluteForm, b"220 mail ESMTP\r\n")], Speaks::Unknown),
        ];
        let stranger = known(&[heard(AbsoluteForm, End::Answered, whoami)], "n1");
        assert_eq!((stranger.trusted, stranger.nonce_returned), (Some(false), true));
        // Of somebody who only says so nothing is believed.
        assert_eq!(known(&[heard(AbsoluteForm, End::Answered, whoami)], "n2").trusted, None);
        for (said, expected) in cases {
            let mut all: Vec<_> =
                said.iter().map(|(said, bytes)| heard(*said, End::Answered, bytes)).collect();
            assert_eq!(known(&all, "n1").speaks, Some(*expected), "{said:?}");
            all.reverse();
            assert_eq!(known(&all, "n1").speaks, Some(*expected), "{said:?}");
        }
    }

    #[test]
    fn silence_is_told_from_closing() {
        let of = |ends: &[End]| {
            let all: Vec<_> = ends.iter().map(|end| heard(Said::Connect, *end, b"")).collect();
            known(&all, "n").speaks
        };
        assert_eq!(of(&[End::Silent, End::Silent]), Some(Speaks::Nothing));
        assert_eq!(of(&[End::Silent, End::Closed]), Some(Speaks::Closes));
        assert_eq!(of(&[End::Reset]), Some(Speaks::Closes));
        assert_eq!(of(&[End::Unfinished, End::NoConnection]), None);
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn the_status_is_of_our_question_and_the_date_of_whoever_has_one() {
        let connect = b"HTTP/1.1 502 x\r\nDate: today\r\nAge: 3\r\n\r\n";
        let absolute = b"HTTP/1.1 407 x\r\n\r\n";
        let all = [
            heard(Said::Connect, End::Answered, connect),
            heard(Said::AbsoluteForm, End::Answered, absolute),
        ];
        assert_eq!(super::aside(&all), (Some(407), Some(("today".to_owned(), 3))));
        assert_eq!(super::aside(&all[..1]).0, None);
        assert_eq!(super::aside(&[]), (None, None));
    }

    proptest! {
        #[test]
        fn no_bytes_do_harm(bytes in proptest::collection::vec(any::<u8>(), 0..300), http: bool) {
            let start: &[u8] = if http { b"HTTP/1.1 200 OK\r\nServer: " } else { b"" };
            let all = [heard(Said::AbsoluteForm, End::Answered, &[start, &bytes].concat())];
            let known = known(&all, "n");
            let name = known.name.unwrap_or_default();
            prop_assert!(name.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
        }
    }
}
