//! What is said to a SOCKS5 parent proxy, and what it answers (RFC 1928, RFC 1929).
//!
//! Three exchanges, one after the other: methods, login if the parent chose it, request. Every
//! reader takes all bytes of its answer so far and says how many were its own.

use std::net::IpAddr;

use crate::secret::Secret;
use crate::target::{Host, Target};

/// The longest user name and the longest password, in bytes: their length is one byte
/// (RFC 1929 §2).
pub const MAX_LOGIN: usize = 255;

const VERSION: u8 = 5;
/// The version of the login (RFC 1929 §2).
const LOGIN_VERSION: u8 = 1;

/// The answer breaks RFC 1928 or RFC 1929.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the SOCKS5 answer is malformed")]
pub struct MalformedSocks;

/// What is offered in the greeting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offer {
    /// No login.
    Open,
    /// No login, or user name and password.
    Login,
}

/// What the parent wants to go on (RFC 1928 §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Nothing.
    Open,
    /// User name and password.
    Login,
    /// Something else, or it accepts nothing of what was offered.
    Unacceptable,
}

/// The parent's answer to the login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Go on.
    Accepted,
    /// It closes the connection.
    Refused,
}

/// The parent's answer to the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// The tunnel is there.
    Established {
        /// The bytes of the reply; everything behind them is the target's.
        length: usize,
    },
    /// The reply code (RFC 1928 §6); never 0.
    Refused(u8),
}

/// How many bytes the answer to the greeting or to the login has.
pub const SHORT_ANSWER: usize = 2;

/// The first message (RFC 1928 §3).
pub const fn greeting(offer: Offer) -> &'static [u8] {
    match offer {
        Offer::Open => &[VERSION, 1, 0x00],
        Offer::Login => &[VERSION, 2, 0x00, 0x02],
    }
}

/// The login (RFC 1929 §2), or `None` when a part is longer than [`MAX_LOGIN`].
///
/// RFC 1929 wants at least one byte of each; what is empty is sent so, and the parent decides.
pub fn login(user: &str, password: &Secret) -> Option<Vec<u8>> {
    let mut out = vec![LOGIN_VERSION];
    for part in [user, password.reveal()] {
        out.push(u8::try_from(part.len()).ok()?);
        out.extend_from_slice(part.as_bytes());
    }
    Some(out)
}

/// The request for a tunnel to `target` (RFC 1928 §4). A name is sent as it is: the parent resolves
/// it.
pub fn request(target: &Target) -> Vec<u8> {
    let mut out = vec![VERSION, 1, 0];
    match &target.host {
        Host::Ip(IpAddr::V4(address)) => {
            out.push(1);
            out.extend_from_slice(&address.octets());
        }
        Host::Name(name) => {
            // A name has at most 253 bytes (an invariant of `Host`); the parent refuses an empty one.
            let (length, name) =
                u8::try_from(name.len()).map_or((0, ""), |length| (length, &**name));
            out.extend_from_slice(&[3, length]);
            out.extend_from_slice(name.as_bytes());
        }
        Host::Ip(IpAddr::V6(address)) => {
            out.push(4);
            out.extend_from_slice(&address.octets());
        }
    }
    out.extend_from_slice(&target.port.get().to_be_bytes());
    out
}

/// Reads the answer to the greeting, [`SHORT_ANSWER`] bytes; `None` while it is incomplete.
///
/// # Errors
///
/// [`MalformedSocks`]: another version.
pub fn read_method(bytes: &[u8]) -> Result<Option<Method>, MalformedSocks> {
    match bytes {
        [] | [VERSION] => Ok(None),
        [VERSION, 0x00, ..] => Ok(Some(Method::Open)),
        [VERSION, 0x02, ..] => Ok(Some(Method::Login)),
        [VERSION, _, ..] => Ok(Some(Method::Unacceptable)),
        _ => Err(MalformedSocks),
    }
}

/// Reads the answer to the login, [`SHORT_ANSWER`] bytes; `None` while it is incomplete.
///
/// Servers exist that repeat the version of SOCKS instead of the login's; it is forgiven, as it
/// changes nothing.
///
/// # Errors
///
/// [`MalformedSocks`]: another version.
pub fn read_verdict(bytes: &[u8]) -> Result<Option<Verdict>, MalformedSocks> {
    match bytes {
        [] | [LOGIN_VERSION | VERSION] => Ok(None),
        [LOGIN_VERSION | VERSION, 0, ..] => Ok(Some(Verdict::Accepted)),
        [LOGIN_VERSION | VERSION, _, ..] => Ok(Some(Verdict::Refused)),
        _ => Err(MalformedSocks),
    }
}

/// Reads the answer to the request (RFC 1928 §6); `None` while it is incomplete.
///
/// A refusal is complete with its code: servers are careless about what follows, and close.
///
/// # Errors
///
/// [`MalformedSocks`]: another version, or an address type that does not exist.
pub fn read_reply(bytes: &[u8]) -> Result<Option<Reply>, MalformedSocks> {
    let address = match bytes {
        [] | [VERSION] | [VERSION, 0] | [VERSION, 0, _] | [VERSION, 0, _, 3] => return Ok(None),
        [VERSION, 0, _, 1, ..] => 4,
        [VERSION, 0, _, 3, length, ..] => 1 + usize::from(*length),
        [VERSION, 0, _, 4, ..] => 16,
        [VERSION, code, ..] if *code != 0 => return Ok(Some(Reply::Refused(*code))),
        _ => return Err(MalformedSocks),
    };
    let length = 4 + address + 2;
    Ok((bytes.len() >= length).then_some(Reply::Established { length }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    use super::{
        MAX_LOGIN, MalformedSocks, Method, Offer, Reply, Verdict, greeting, login, read_method,
        read_reply, read_verdict, request,
    };
    use crate::secret::Secret;
    use crate::target::{Host, Target};

    #[test]
    fn messages_are_those_of_the_rfcs() {
        assert_eq!(greeting(Offer::Open), b"\x05\x01\x00");
        assert_eq!(greeting(Offer::Login), b"\x05\x02\x00\x02");
        assert_eq!(login("me", &Secret::new("ü")).unwrap(), b"\x01\x02me\x02\xc3\xbc");
        assert_eq!(login("", &Secret::new("")).unwrap(), b"\x01\x00\x00");
        let cases: [(&str, &[u8]); 3] = [
            ("192.0.2.7:80", b"\x05\x01\x00\x01\xc0\x00\x02\x07\x00\x50"),
            ("a.example:443", b"\x05\x01\x00\x03\x09a.example\x01\xbb"),
            ("[::1]:65535", b"\x05\x01\x00\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\xff\xff"),
        ];
        for (target, expected) in cases {
            assert_eq!(request(&Target::from_authority(target).unwrap()), expected, "{target}");
        }
    }

    #[test]
    fn lengths_that_do_not_fit_are_never_cut() {
        let (fits, long) = ("u".repeat(MAX_LOGIN), "u".repeat(MAX_LOGIN + 1));
        assert_eq!(login(&fits, &Secret::new(&*fits)).unwrap().len(), 3 + 2 * MAX_LOGIN);
        assert_eq!(login(&long, &Secret::new("p")), None);
        assert_eq!(login("u", &Secret::new(&*long)), None);
        let host = Host::Name("a".repeat(256).into());
        let port = std::num::NonZeroU16::MIN;
        assert_eq!(request(&Target { host, port }), b"\x05\x01\x00\x03\x00\x00\x01");
    }

    #[test]
    fn short_answers_are_read() {
        for first in [&b""[..], b"\x05"] {
            assert_eq!(read_method(first), Ok(None));
            assert_eq!(read_verdict(first), Ok(None));
        }
        assert_eq!(read_verdict(b"\x01"), Ok(None));
        for (code, method) in [
            (0, Method::Open),
            (1, Method::Unacceptable),
            (2, Method::Login),
            (0xff, Method::Unacceptable),
        ] {
            assert_eq!(read_method(&[5, code]), Ok(Some(method)));
            assert_eq!(read_method(&[5, code, 9]), Ok(Some(method)));
        }
        for version in [1, 5] {
            assert_eq!(read_verdict(&[version, 0]), Ok(Some(Verdict::Accepted)));
            assert_eq!(read_verdict(&[version, 1]), Ok(Some(Verdict::Refused)));
            assert_eq!(read_verdict(&[version, 0xff, 0]), Ok(Some(Verdict::Refused)));
        }
        for other in [0, 4, b'H'] {
            assert_eq!(read_method(&[other]), Err(MalformedSocks));
            assert_eq!(read_verdict(&[other]), Err(MalformedSocks));
            assert_eq!(read_reply(&[other]), Err(MalformedSocks));
        }
    }

    #[test]
    fn replies_are_read_whatever_address_they_carry() {
        let good: [&[u8]; 4] = [
            b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x50",
            b"\x05\x00\x00\x03\x01a\x00\x50",
            b"\x05\x00\x07\x03\x00\x00\x00",
            b"\x05\x00\x00\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x00\x00",
        ];
        for reply in good {
            let expected = Ok(Some(Reply::Established { length: reply.len() }));
            assert_eq!(read_reply(reply), expected, "{reply:?}");
            assert_eq!(read_reply(&[reply, b"220 hi"].concat()), expected, "{reply:?}");
            for cut in 0..reply.len() {
                assert_eq!(read_reply(&reply[..cut]), Ok(None), "{:?}", &reply[..cut]);
            }
        }
        for other in [0, 2, 5, 0xff] {
            assert_eq!(read_reply(&[5, 0, 0, other]), Err(MalformedSocks));
        }
        for code in 1..=u8::MAX {
            assert_eq!(read_reply(&[5, code]), Ok(Some(Reply::Refused(code))));
            assert_eq!(read_reply(&[5, code, 0, 0, 0]), Ok(Some(Reply::Refused(code))));
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_and_an_answer_stays_the_same_with_more_behind_it(
            start in proptest::sample::select(vec![&b""[..], b"\x05", b"\x05\x00\x00", b"\x05\x00\x00\x03"]),
            rest in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            let bytes = [start, &rest].concat();
            let (mut method, mut verdict, mut reply) = (Ok(None), Ok(None), Ok(None));
            for end in 0..=bytes.len() {
                let seen = &bytes[..end];
                let now = (read_method(seen), read_verdict(seen), read_reply(seen));
                prop_assert!(method == Ok(None) || method == now.0);
                prop_assert!(verdict == Ok(None) || verdict == now.1);
                prop_assert!(reply == Ok(None) || reply == now.2);
                if let Ok(Some(Reply::Established { length })) = now.2 {
                    prop_assert!(length <= end);
                }
                (method, verdict, reply) = now;
            }
            prop_assert!(bytes.len() < SHORT || method != Ok(None) && verdict != Ok(None));
        }

        #[test]
        fn a_request_read_as_a_reply_is_one_message(
            port in any::<std::num::NonZeroU16>(),
            address in any::<std::net::IpAddr>(),
            name in "[a-z]{1,60}(\\.[a-z]{1,60}){0,3}",
        ) {
            // Request and reply have the same form (RFC 1928 §4, §6).
            for host in [Host::Ip(address), Host::Name(name.into())] {
                let mut bytes = request(&Target { host, port });
                bytes[1] = 0;
                let length = bytes.len();
                prop_assert_eq!(read_reply(&bytes), Ok(Some(Reply::Established { length })));
                prop_assert_eq!(&bytes[length - 2..], port.get().to_be_bytes());
                for cut in 0..length {
                    prop_assert_eq!(read_reply(&bytes[..cut]), Ok(None));
                }
            }
        }
    }

    const SHORT: usize = super::SHORT_ANSWER;
}
