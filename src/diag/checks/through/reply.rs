//! What a proxy says of itself in the head of an answer.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::message::{Head, shown};
use crate::diag::fact::{Clock, ProxyReply};

/// As sami-proxy calls itself in `Proxy-Status` and as realm.
const OURS: &str = "sami-proxy";

/// The longest text of a peer that is kept.
const LONGEST: usize = 200;
/// The most schemes that are kept.
const MOST_SCHEMES: usize = 8;

/// A member of `Proxy-Status` (RFC 9209 §2): one proxy on the way.
#[derive(Debug, Default, PartialEq, Eq)]
struct Member {
    name: String,
    error: Option<String>,
    details: Option<String>,
}

/// What `head` says of the proxy that sent it; without its body.
pub(super) fn proxy_reply(head: &Head) -> ProxyReply {
    let members = members(head);
    let schemes: Vec<String> = schemes(head);
    let named = members.iter().find(|it| it.name == OURS);
    // The first member is the one nearest to the target (RFC 9209 §2).
    let member = named.or_else(|| members.iter().find(|it| it.error.is_some()));
    let realm = head.all("proxy-authenticate").any(|value| {
        let text = String::from_utf8_lossy(value);
        text.contains(OURS)
    });
    ProxyReply {
        status: head.status,
        socks: false,
        ours: named.is_some() || realm,
        error: member.and_then(|it| it.error.clone()),
        details: member.and_then(|it| it.details.clone()),
        name: head.text("server").or_else(|| head.text("via")),
        schemes,
        retry_after_s: retry_after(head),
        clock: clock(head),
        body: String::new(),
    }
}

/// Whether an answer to a request in absolute-form is the proxy's own: it wants to know who we are,
/// or it refuses under a name that only proxies have.
pub(super) fn is_refusal(head: &Head) -> bool {
    let ours = members(head).iter().any(|it| it.name == OURS && it.error.is_some());
    head.status == 407 || ours || head.raw("x-squid-error").is_some()
}

/// The same moment by the peer's clock and by ours.
pub(super) fn clock(head: &Head) -> Option<Clock> {
    clock_at(head.raw("date")?, head.number("age").unwrap_or_default())
}

/// The same moment by a `Date` (and `Age`, when it is of a cache: RFC 9111 §5.1) and by our clock.
pub(in super::super) fn clock_at(value: &[u8], age: u64) -> Option<Clock> {
    let theirs = seconds(date(value)?).saturating_add(i64::try_from(age).unwrap_or_default());
    Some(Clock { theirs, ours: seconds(SystemTime::now()) })
}

/// `Retry-After` in seconds; a date (RFC 9110 §10.2.3) counts from the peer's own.
pub(super) fn retry_after(head: &Head) -> Option<u64> {
    if let Some(delay) = head.number("retry-after") {
        return Some(delay);
    }
    let then = date(head.raw("retry-after")?)?;
    let now = head.raw("date").and_then(date).unwrap_or_else(SystemTime::now);
    Some(then.duration_since(now).unwrap_or(Duration::ZERO).as_secs())
}

fn date(value: &[u8]) -> Option<SystemTime> {
    httpdate::parse_http_date(std::str::from_utf8(value).ok()?).ok()
}

fn seconds(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// The schemes of all challenges (RFC 9110 §11.6.1): challenges and their parameters are divided by
/// the same comma, so what is no `name=value` begins with a scheme.
fn schemes(head: &Head) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for piece in head.all("proxy-authenticate").flat_map(|value| cut(value, b',')) {
        let piece = piece.trim_ascii();
        let end = piece.iter().position(|byte| matches!(byte, b' ' | b'\t' | b'='));
        let (word, rest) = piece.split_at(end.unwrap_or(piece.len()));
        if word.is_empty() || rest.trim_ascii_start().starts_with(b"=") {
            continue;
        }
        let scheme = shown(word, LONGEST).to_ascii_lowercase();
        if !found.contains(&scheme) && found.len() < MOST_SCHEMES {
            found.push(scheme);
        }
    }
    found
}

/// A list of tokens or strings with parameters (RFC 9651 §3.1).
fn members(head: &Head) -> Vec<Member> {
    let all = head.all("proxy-status").flat_map(|value| cut(value, b','));
    all.map(|member| {
        let mut pieces = cut(member, b';').into_iter().map(<[u8]>::trim_ascii);
        let name = pieces.next().map(text).unwrap_or_default();
        let mut found = Member { name, ..Member::default() };
        for piece in pieces {
            if let Some(value) = piece.strip_prefix(b"error=") {
                found.error = Some(text(value));
            } else if let Some(value) = piece.strip_prefix(b"details=") {
                found.details = Some(text(value));
            }
        }
        found
    })
    .filter(|it| !it.name.is_empty())
    .collect()
}

/// Cuts at every `at` that is in no quoted string.
fn cut(value: &[u8], at: u8) -> Vec<&[u8]> {
    let (mut quoted, mut escaped) = (false, false);
    let pieces = value.split(|byte| {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ => return *byte == at && !quoted,
        }
        false
    });
    pieces.collect()
}

/// A token or a string without its quotes, printable.
fn text(value: &[u8]) -> String {
    let inside = value.strip_prefix(b"\"").and_then(|it| it.strip_suffix(b"\""));
    let mut escaped = false;
    let unescaped: Vec<u8> = inside
        .unwrap_or(value)
        .iter()
        .copied()
        .filter(|byte| {
            escaped = *byte == b'\\' && !escaped;
            !escaped
        })
        .collect();
    shown(&unescaped, LONGEST)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{is_refusal, proxy_reply, retry_after};
    use crate::diag::checks::through::message::{Head, head};
    use crate::diag::fact::ProxyReply;

    fn read(fields: &str) -> Head {
        let bytes = format!("HTTP/1.1 502 x\r\n{fields}\r\n");
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async { head(&mut bytes.as_bytes()).await.unwrap() })
    }

    fn of(fields: &str) -> ProxyReply {
        proxy_reply(&read(fields))
    }

    #[test]
    fn sami_proxy_is_believed_first_then_who_is_nearest_to_the_target() {
        let error = |fields: &str| {
            let reply = of(fields);
            (reply.ours, reply.error.unwrap_or_default(), reply.details.unwrap_or_default())
        };
        let cases = [
            ("", (false, "", "")),
            (
                "Proxy-Status: sami-proxy; error=dns_error; details=\"no, \\\"x\\\"; y\"\r\n",
                (true, "dns_error", "no, \"x\"; y"),
            ),
            ("Proxy-Status: far;error=a;details=\"1\", near;error=b\r\n", (false, "a", "1")),
            (
                "Proxy-Status: far;error=a\r\nProxy-Status: \"sami-proxy\" ; error=b\r\n",
                (true, "b", ""),
            ),
            ("Proxy-Status: cdn; received-status=502, box; error=c\r\n", (false, "c", "")),
            ("Proxy-Authenticate: Basic realm=\"sami-proxy\"\r\n", (true, "", "")),
            ("Proxy-Status: ;error=x\r\n", (false, "", "")),
        ];
        for (fields, (ours, code, details)) in cases {
            assert_eq!(error(fields), (ours, code.to_owned(), details.to_owned()), "{fields}");
        }
    }

    #[test]
    fn schemes_are_told_from_their_parameters() {
        let cases: &[(&str, &[&str])] = &[
            ("Basic realm=\"a, Digest b\", charset=\"UTF-8\"", &["basic"]),
            ("Negotiate, NTLM", &["negotiate", "ntlm"]),
            ("Digest realm = \"x\", nonce = y, Basic realm=z", &["digest", "basic"]),
            ("Negotiate TlRM==, Basic realm=x, basic realm=y", &["negotiate", "basic"]),
            (", ,", &[]),
        ];
        for (value, expected) in cases {
            assert_eq!(of(&format!("Proxy-Authenticate: {value}\r\n")).schemes, *expected);
        }
    }

    #[test]
    fn moments_are_read() {
        let at = "Date: Sat, 21 Nov 2026 12:00:00 GMT\r\n";
        let clock = of(at).clock.unwrap();
        assert_eq!(clock.theirs, 1_795_262_400);
        assert!(clock.ours > 1_700_000_000);
        assert_eq!(of(&format!("{at}Age: 60\r\n")).clock.unwrap().theirs, clock.theirs + 60);
        assert_eq!(of("Date: soon\r\n").clock, None);
        let later = format!("{at}Retry-After: Sat, 21 Nov 2026 12:01:30 GMT\r\n");
        assert_eq!(retry_after(&read(&later)), Some(90));
        assert_eq!(retry_after(&read("Retry-After: 5\r\n")), Some(5));
        assert_eq!(retry_after(&read("Retry-After: later\r\n")), None);
    }

    #[test]
    fn only_a_proxy_s_own_answer_is_its_refusal() {
        for (fields, refusal) in [
            ("Proxy-Status: sami-proxy; error=dns_error\r\n", true),
            ("X-Squid-Error: ERR_DNS_FAIL 0\r\n", true),
            ("Proxy-Status: sami-proxy\r\n", false),
            ("Proxy-Status: cdn; error=dns_error\r\n", false),
            ("Via: 1.1 box\r\n", false),
        ] {
            assert_eq!(is_refusal(&read(fields)), refusal, "{fields}");
        }
    }

    proptest! {
        #[test]
        fn no_fields_make_it_panic(value in "[ -~é]{0,80}") {
            let reply = of(&format!("Proxy-Status: {value}\r\nProxy-Authenticate: {value}\r\n"));
            let texts = reply.error.into_iter().chain(reply.details).chain(reply.schemes);
            for text in texts {
                prop_assert!(text.bytes().all(|byte| matches!(byte, b' '..=b'~')));
            }
        }
    }
}
