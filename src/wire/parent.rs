//! What is said to an HTTP parent proxy, and what it answers.
//!
//! Only `CONNECT` (RFC 9110 §9.3.6); [`super::socks_client`] speaks to SOCKS5 parents.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::decimal;
use super::http1::fields::Fields;
use super::http1::head::{HeadScan, MAX_HEAD, parse_response};
use crate::secret::Secret;
use crate::target::Target;

/// Interim answers to one `CONNECT`; RFC 9110 §15.2 sets no limit, real parents send none.
pub const MAX_INTERIM: usize = 16;
/// The longest reason phrase and `details` that are kept, in characters.
pub const MAX_WORDS: usize = 200;

/// What a parent has said to `CONNECT`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// 2xx: the tunnel is there.
    Established {
        /// The bytes up to the end of the head; everything behind them is the target's.
        length: usize,
    },
    /// Any other final status.
    Refused(Refusal),
}

/// The parent's no. All texts are printable ASCII of at most [`MAX_WORDS`] characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// 300..=999.
    pub status: u16,
    /// The reason phrase; may be empty.
    pub reason: Box<str>,
    /// The `details` of `Proxy-Status` (RFC 9209 §2.1.4): of the first member that has any, the one
    /// nearest to the target.
    pub details: Option<Box<str>>,
}

/// The answer is not HTTP/1, is longer than [`MAX_HEAD`], has more than [`MAX_INTERIM`] interim
/// responses, or switches protocols, for which nobody asked (RFC 9110 §15.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the answer to CONNECT is malformed")]
pub struct MalformedAnswer;

/// The request for a tunnel to `target`, with the authority in both places (RFC 9112 §3.2.3).
///
/// `authorization` is a whole field value, as [`authorization`] makes it: it goes out as it is.
pub fn connect_request(target: &Target, authorization: Option<&str>) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    out.extend_from_slice(b"CONNECT ");
    decimal::target(&mut out, target);
    out.extend_from_slice(b" HTTP/1.1\r\nHost: ");
    decimal::target(&mut out, target);
    if let Some(value) = authorization {
        out.extend_from_slice(b"\r\nProxy-Authorization: ");
        out.extend_from_slice(value.as_bytes());
    }
    out.extend_from_slice(b"\r\n\r\n");
    out
}

/// The value of `Proxy-Authorization` for the `Basic` scheme, in UTF-8 (RFC 7617 §2, §2.1).
///
/// It is as secret as the password. A colon in `user` would be read as its end.
pub fn authorization(user: &str, password: &Secret) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{}", password.reveal())))
}

/// Reads the answer to `CONNECT` as it arrives, each byte once.
#[derive(Debug, Default)]
pub struct AnswerScan {
    head: HeadScan,
    start: usize,
    interim: usize,
}

impl AnswerScan {
    /// The final answer, or `None` while it is incomplete.
    ///
    /// `bytes` is everything received so far. Interim responses are skipped (RFC 9110 §15.2). In a
    /// 2xx `Content-Length` and `Transfer-Encoding` are ignored (RFC 9110 §9.3.6).
    ///
    /// # Errors
    ///
    /// [`MalformedAnswer`].
    pub fn advance(&mut self, bytes: &[u8]) -> Result<Option<Answer>, MalformedAnswer> {
        loop {
            let rest = bytes.get(self.start..).unwrap_or_default();
            let Some(length) = self.head.advance(rest).map_err(|_| MalformedAnswer)? else {
                // All heads together are no longer than one may be.
                return if bytes.len() > MAX_HEAD { Err(MalformedAnswer) } else { Ok(None) };
            };
            let head = parse_response(rest.get(..length).unwrap_or_default())
                .map_err(|_| MalformedAnswer)?;
            let end = self.start + length;
            if end > MAX_HEAD {
                return Err(MalformedAnswer);
            }
            match head.status {
                101 => return Err(MalformedAnswer),
                ..200 if self.interim == MAX_INTERIM => return Err(MalformedAnswer),
                ..200 => {
                    self.interim += 1;
                    *self = Self { head: HeadScan::default(), start: end, interim: self.interim };
                }
                200..300 => return Ok(Some(Answer::Established { length: end })),
                status => {
                    let reason = words(head.reason.chars());
                    let details = details(&head.fields);
                    return Ok(Some(Answer::Refused(Refusal { status, reason, details })));
                }
            }
        }
    }
}

/// What can be shown of a stranger's text: its printable ASCII, cut at [`MAX_WORDS`].
pub fn words(text: impl Iterator<Item = char>) -> Box<str> {
    text.filter(|character| matches!(character, ' '..='~')).take(MAX_WORDS).collect()
}

/// The first `details` of `Proxy-Status`: a list (RFC 8941 §3.1) of proxies with parameters.
fn details(fields: &Fields<'_>) -> Option<Box<str>> {
    fields
        .all("proxy-status")
        // The first piece is the name of the first proxy.
        .flat_map(|value| pieces(value).into_iter().skip(1))
        .filter_map(detail)
        .find(|text| !text.is_empty())
}

/// Cuts at every `;` and `,` that is in no sf-string (RFC 8941 §3.3.3).
fn pieces(value: &[u8]) -> Vec<&[u8]> {
    let (mut quoted, mut escaped) = (false, false);
    value
        .split(|byte| {
            match byte {
                _ if escaped => escaped = false,
                b'\\' if quoted => escaped = true,
                b'"' => quoted = !quoted,
                b';' | b',' => return !quoted,
                _ => {}
            }
            false
        })
        .collect()
}

/// The text of the parameter `details`.
fn detail(piece: &[u8]) -> Option<Box<str>> {
    let text = piece.trim_ascii().strip_prefix(b"details=\"")?.strip_suffix(b"\"")?;
    let mut escaped = false;
    let unescaped = text.iter().filter(|byte| {
        escaped = **byte == b'\\' && !escaped;
        !escaped
    });
    Some(words(unescaped.map(|byte| char::from(*byte))))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{ProptestConfig, any, prop_assert, prop_assert_eq, proptest};

    use super::{
        Answer, AnswerScan, MAX_INTERIM, MAX_WORDS, MalformedAnswer, Refusal, authorization,
        connect_request,
    };
    use crate::secret::Secret;
    use crate::target::Target;
    use crate::wire::basic_auth;
    use crate::wire::http1::head::{MAX_HEAD, parse_request};

    fn in_pieces(bytes: &[u8], piece: usize) -> Result<Option<Answer>, MalformedAnswer> {
        let mut scan = AnswerScan::default();
        for end in (piece..bytes.len()).step_by(piece).chain([bytes.len()]) {
            if let Some(answer) = scan.advance(&bytes[..end])? {
                return Ok(Some(answer));
            }
        }
        Ok(None)
    }

    fn answer(text: &str) -> Result<Option<Answer>, MalformedAnswer> {
        let whole = in_pieces(text.as_bytes(), text.len().max(1));
        assert_eq!(in_pieces(text.as_bytes(), 1), whole, "byte by byte: {text:?}");
        whole
    }

    fn refusal(text: &str) -> Refusal {
        match answer(text) {
            Ok(Some(Answer::Refused(refusal))) => refusal,
            other => panic!("{text:?}: {other:?}"),
        }
    }

    fn details(value: &str) -> Option<String> {
        let text = format!("HTTP/1.1 502 Bad Gateway\r\nProxy-Status: {value}\r\n\r\n");
        refusal(&text).details.map(String::from)
    }

    #[test]
    fn the_request_has_what_is_needed_and_nothing_else() {
        let cases = [
            (
                "a.example:443",
                None,
                "CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n",
            ),
            (
                "[2001:db8::1]:80",
                Some("Basic eDp5"),
                "CONNECT [2001:db8::1]:80 HTTP/1.1\r\nHost: [2001:db8::1]:80\r\n\
                 Proxy-Authorization: Basic eDp5\r\n\r\n",
            ),
        ];
        for (target, authorization, expected) in cases {
            let target = Target::from_authority(target).unwrap();
            let request = connect_request(&target, authorization);
            assert_eq!(String::from_utf8(request).unwrap(), expected);
        }
    }

    #[test]
    fn a_tunnel_begins_behind_the_head_of_any_2xx() {
        let cases = [
            "HTTP/1.1 200 Connection established\r\n\r\n",
            "HTTP/1.0 200 OK\r\n\r\n",
            "HTTP/1.1 299\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 x\r\nLink: y\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
        ];
        for head in cases {
            let expected = Ok(Some(Answer::Established { length: head.len() }));
            assert_eq!(answer(head), expected, "{head:?}");
            assert_eq!(answer(&format!("{head}\n\0 220 hello\r\n\r\n")), expected, "{head:?}");
            for (cut, _) in head.char_indices() {
                let (prefix, _) = head.split_at(cut);
                assert_eq!(answer(prefix), Ok(None), "{prefix:?}");
            }
        }
    }

    #[test]
    fn interim_responses_are_bounded() {
        let interim = "HTTP/1.1 100 Continue\r\n\r\n".repeat(MAX_INTERIM);
        let last = "HTTP/1.1 200 OK\r\n\r\n";
        let length = interim.len() + last.len();
        assert_eq!(answer(&format!("{interim}{last}")), Ok(Some(Answer::Established { length })));
        let one_more = format!("HTTP/1.1 100 Continue\r\n\r\n{interim}{last}");
        assert_eq!(answer(&one_more), Err(MalformedAnswer));
        let long = format!("HTTP/1.1 100 x\r\nA: {}\r\n\r\n", "a".repeat(MAX_HEAD / 2));
        assert_eq!(in_pieces(long.repeat(2).as_bytes(), 1000), Err(MalformedAnswer));
        assert_eq!(answer(&format!("{long}{long}{last}")), Err(MalformedAnswer));
    }

    #[test]
    fn what_is_no_answer_is_malformed() {
        for text in [
            "SSH-2.0-x\r\n\r\n",
            "HTTP/1.1 200 OK\n\n",
            "HTTP/2 200 OK\r\n\r\n",
            "HTTP/1.1 20 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
            "\x05\x00\r\n\r\n",
        ] {
            assert_eq!(answer(text), Err(MalformedAnswer), "{text:?}");
        }
    }

    #[test]
    fn a_refusal_says_what_the_parent_said() {
        let text = "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 3\r\n\
                    Proxy-Status: sami-proxy; error=http_request_denied; details=\"Say \\\"who\\\".\"\
                    \r\n\r\nbye";
        let expected = Refusal {
            status: 407,
            reason: "Proxy Authentication Required".into(),
            details: Some("Say \"who\".".into()),
        };
        assert_eq!(refusal(text), expected);
        let bare = Refusal { status: 302, reason: "".into(), details: None };
        assert_eq!(refusal("HTTP/1.0 302\r\n\r\n"), bare);
        let long = format!("HTTP/1.1 500 {}\r\n\r\n", "x".repeat(1000));
        assert_eq!(refusal(&long).reason.len(), MAX_WORDS);
    }

    #[test]
    fn details_are_found_wherever_they_stand() {
        let cases = [
            ("a; details=\"x\"", Some("x")),
            ("a;details=\"x\";error=y", Some("x")),
            ("\"a b\"; error=y;  details=\"x; y, z\"", Some("x; y, z")),
            ("a; error=y, b; details=\"x\"", Some("x")),
            ("a; details=\"x\", b; details=\"y\"", Some("x")),
            ("a; x=\"; details=\\\"no\\\"\"; details=\"yes\"", Some("yes")),
            ("a; x=\"\\\\\"; details=\"yes\"", Some("yes")),
            ("a; x=\"\\\"; details=\"; details=\"yes\"", Some("yes")),
            ("a; details=\"\\\\\"", Some("\\")),
            ("a; details=\"\", b; details=\"x\"", Some("x")),
            ("a\r\nProxy-Status: b; details=\"x\"", Some("x")),
            ("a; details=\"\tüx\"", Some("x")),
            ("a; details=x", None),
            ("a; details=\"x", None),
            ("a; details=\"", None),
            ("a; Details=\"x\"", None),
            ("a; xdetails=\"x\"", None),
            ("details=\"x\"", None),
            ("", None),
        ];
        for (value, expected) in cases {
            assert_eq!(details(value).as_deref(), expected, "{value:?}");
        }
        let long = format!("a; details=\"{}\"", "y".repeat(1000));
        assert_eq!(details(&long).unwrap().len(), MAX_WORDS);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn no_bytes_make_it_panic_and_pieces_change_nothing(
            start in proptest::sample::select(vec![
                "", "HTTP/1.1 ", "HTTP/1.1 200 ", "HTTP/1.1 100 \r\n\r\nHTTP/1.1 403 x\r\n",
                "HTTP/1.1 502 \r\nProxy-Status: a; details=\"",
            ]),
            rest in proptest::collection::vec(
                proptest::sample::select(b"HTTP/1.1 203\r\n\r\n\r\n;,\"\"\\=a:\x00\xff".to_vec()), 0..80),
            piece in 1_usize..9,
        ) {
            let bytes = [start.as_bytes(), &rest].concat();
            let whole = in_pieces(&bytes, bytes.len().max(1));
            prop_assert_eq!(&in_pieces(&bytes, piece), &whole);
            if let Ok(Some(Answer::Refused(refusal))) = whole {
                let details = refusal.details.unwrap_or_default();
                for text in [refusal.reason, details] {
                    prop_assert!(text.len() <= MAX_WORDS);
                    prop_assert!(text.bytes().all(|byte| matches!(byte, b' '..=b'~')));
                }
            }
        }

        #[test]
        fn any_details_come_through(text in "[ -~]{1,60}", before in "[ -~]{0,20}") {
            let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
            let value = format!("a; x=\"{}\"; details=\"{}\"", quoted(&before), quoted(&text));
            prop_assert_eq!(details(&value), Some(text));
        }

        #[test]
        fn our_own_server_reads_the_request(
            user in "[^:\\pC]{1,20}",
            password in "\\PC{0,20}",
            port in any::<std::num::NonZeroU16>(),
            address in any::<std::net::IpAddr>(),
        ) {
            let target = Target { host: crate::target::Host::Ip(address), port };
            let value = authorization(&user, &Secret::new(password.as_str()));
            let request = connect_request(&target, Some(&value));
            let head = parse_request(&request).unwrap();
            prop_assert_eq!(head.method, "CONNECT");
            prop_assert_eq!(Target::from_authority(head.target), Ok(target));
            let sent = head.fields.only("proxy-authorization").unwrap();
            let read = basic_auth::parse(sent).unwrap();
            prop_assert_eq!((&*read.user, read.password.reveal()), (&*user, &*password));
        }
    }
}
