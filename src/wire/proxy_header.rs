//! The PROXY protocol, versions 1 and 2 (`doc/proxy-protocol.txt` of haproxy): the receiver's side.
//!
//! A load balancer in front of us says in it who the client is. Section numbers are those of that
//! document.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// What a header of version 2 begins with (§2.2).
pub const V2_SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// What a header of version 1 begins with (§2.1).
const V1_SIGNATURE: &[u8] = b"PROXY ";

/// The longest line of version 1 with its CR LF (§2.1).
const MAX_LINE: usize = 107;

/// The most that version 2 may announce: 216 bytes of addresses, the rest is for extensions. The
/// largest of these in use is a client's certificate name.
const MAX_LENGTH: u16 = 2048;

/// Version 2, command `LOCAL`, no addresses (§2.2).
const LOCAL: [u8; 16] = *b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

/// What a header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The client; IPv4 is never mapped into IPv6. `None`: the header names none that came over
    /// TCP (`LOCAL`, `UNKNOWN`, UDP, a Unix socket), so the connection's own address counts.
    pub source: Option<SocketAddr>,
}

/// Why bytes are no header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// Neither version begins like this.
    #[error("there is no PROXY header")]
    Absent,
    /// Version 1 without CR LF in its first 107 bytes.
    #[error("the PROXY line is longer than {MAX_LINE} bytes")]
    LineTooLong,
    /// Version 1, not exactly as §2.1 has it.
    #[error("the PROXY line is malformed")]
    Line,
    /// The binary header is not version 2.
    #[error("the version of the PROXY header is {0}, not 2")]
    Version(u8),
    /// Neither `LOCAL` nor `PROXY`.
    #[error("the command {0} of the PROXY header is unknown")]
    Command(u8),
    /// An address family or a transport protocol that §2.2 does not have.
    #[error("the address family and protocol {0:#04x} of the PROXY header are unknown")]
    Family(u8),
    /// Addresses do not fit into the announced length.
    #[error("the PROXY header is too short for its addresses: {0} bytes")]
    TooShort(u16),
    /// More than 2048 bytes are announced.
    #[error("the PROXY header is longer than {MAX_LENGTH} bytes: {0}")]
    TooLong(u16),
}

/// Reads the header, of either version, that stands at the beginning of `bytes`: what it says and
/// how long it is. `Ok(None)`: bytes are missing. At most 2064 bytes are a header.
///
/// Extensions (§2.2, TLV) are skipped, the checksum among them.
///
/// # Errors
///
/// [`HeaderError`], as soon as it is certain; the connection must then end (§2).
pub fn parse(bytes: &[u8]) -> Result<Option<(Header, usize)>, HeaderError> {
    if may_begin(bytes, &V2_SIGNATURE) {
        version_2(bytes)
    } else if may_begin(bytes, V1_SIGNATURE) {
        version_1(bytes)
    } else {
        Err(HeaderError::Absent)
    }
}

/// A header of version 2 for a connection of our own, such as a health check: the receiver takes
/// the connection's own address (§2.2, `LOCAL`).
pub const fn local() -> [u8; 16] {
    LOCAL
}

/// Whether nothing in `bytes` speaks against `signature`.
fn may_begin(bytes: &[u8], signature: &[u8]) -> bool {
    bytes.iter().zip(signature).all(|(byte, expected)| byte == expected)
}

fn version_1(bytes: &[u8]) -> Result<Option<(Header, usize)>, HeaderError> {
    let room = bytes.get(..MAX_LINE).unwrap_or(bytes);
    let Some(end) = room.windows(2).position(|pair| pair == b"\r\n") else {
        return if room.len() < MAX_LINE { Ok(None) } else { Err(HeaderError::LineTooLong) };
    };
    let line = room.get(..end).unwrap_or_default();
    let line = line.strip_prefix(V1_SIGNATURE).ok_or(HeaderError::Line)?;
    let source = if line.starts_with(b"UNKNOWN") {
        None
    } else {
        Some(line_source(line).ok_or(HeaderError::Line)?)
    };
    Ok(Some((Header { source }, end + 2)))
}

/// The source of a line for TCP; all of the line must be well-formed, not only what we need.
fn line_source(line: &[u8]) -> Option<SocketAddr> {
    let mut fields = std::str::from_utf8(line).ok()?.split(' ');
    let (family, source, destination) = (fields.next()?, fields.next()?, fields.next()?);
    let ip = match family {
        "TCP4" => first_of_two::<Ipv4Addr>(source, destination)?,
        "TCP6" => first_of_two::<Ipv6Addr>(source, destination)?,
        _ => return None,
    };
    let (source, _destination) = (port(fields.next()?)?, port(fields.next()?)?);
    fields.next().is_none().then(|| SocketAddr::new(ip.to_canonical(), source))
}

/// The standard library refuses leading zeros and zones as §2.1 wants it.
fn first_of_two<A: FromStr + Into<IpAddr>>(first: &str, second: &str) -> Option<IpAddr> {
    let (first, _second) = (first.parse::<A>().ok()?, second.parse::<A>().ok()?);
    Some(first.into())
}

/// Digits without a sign or leading zeros.
fn port(text: &str) -> Option<u16> {
    let plain = text == "0" || !text.starts_with(['0', '+']);
    plain.then(|| text.parse().ok())?
}

fn version_2(bytes: &[u8]) -> Result<Option<(Header, usize)>, HeaderError> {
    let mut fields = bytes.iter().skip(V2_SIGNATURE.len());
    let Some(version_and_command) = fields.next() else { return Ok(None) };
    let local = match (version_and_command >> 4, version_and_command & 0xf) {
        (2, 0) => true,
        (2, 1) => false,
        (2, command) => return Err(HeaderError::Command(command)),
        (version, _) => return Err(HeaderError::Version(version)),
    };
    let Some(family) = fields.next() else { return Ok(None) };
    // The family of a LOCAL header is ignored (§2.2).
    let addresses = if local { 0 } else { addresses_length(*family)? };
    let Some((&[.., high, low], rest)) = bytes.split_first_chunk::<{ LOCAL.len() }>() else {
        return Ok(None);
    };
    let length = u16::from_be_bytes([high, low]);
    if length > MAX_LENGTH {
        return Err(HeaderError::TooLong(length));
    }
    if length < addresses {
        return Err(HeaderError::TooShort(length));
    }
    let Some(block) = rest.get(..length.into()) else { return Ok(None) };
    let source = if local { None } else { block_source(*family, block) };
    Ok(Some((Header { source }, LOCAL.len() + block.len())))
}

/// How many bytes both addresses and ports take (§2.2). Where the family or the protocol is
/// unspecified, addresses are ignored and none are needed.
const fn addresses_length(family: u8) -> Result<u16, HeaderError> {
    match family {
        0x11 | 0x12 => Ok(12),
        0x21 | 0x22 => Ok(36),
        0x31 | 0x32 => Ok(216),
        0x00..=0x02 | 0x10 | 0x20 | 0x30 => Ok(0),
        _ => Err(HeaderError::Family(family)),
    }
}

/// The source of TCP over IPv4 or IPv6; of others there is none.
fn block_source(family: u8, block: &[u8]) -> Option<SocketAddr> {
    let (ip, after): (IpAddr, &[u8]) = match family {
        0x11 => {
            let (both, after) = block.split_first_chunk::<8>()?;
            ((*both.first_chunk::<4>()?).into(), after)
        }
        0x21 => {
            let (both, after) = block.split_first_chunk::<32>()?;
            ((*both.first_chunk::<16>()?).into(), after)
        }
        _ => return None,
    };
    let port = u16::from_be_bytes(*after.first_chunk()?);
    Some(SocketAddr::new(ip.to_canonical(), port))
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, SocketAddr};

    use proptest::collection::vec;
    use proptest::prelude::{
        ProptestConfig, Strategy as _, any, prop_assert_eq, prop_oneof, proptest,
    };

    use super::{Header, HeaderError, V2_SIGNATURE, local, parse};

    /// What becomes of `bytes`, after asking that it doesn't depend on how they arrive.
    fn outcome(bytes: &[u8]) -> Result<Option<(Header, usize)>, HeaderError> {
        let whole = parse(bytes);
        let mut prefixes = (0..=bytes.len()).map(|end| (end, parse(&bytes[..end])));
        let (end, first) = prefixes.find(|(_, step)| *step != Ok(None)).unwrap_or((0, Ok(None)));
        assert_eq!(first, whole, "decided after {end} bytes");
        if let Ok(Some((_, used))) = whole {
            assert_eq!(used, end, "neither earlier nor later than its last byte");
        }
        whole
    }

    /// The source in a header with nothing missing and something behind it.
    fn source(bytes: &[u8]) -> Result<Option<SocketAddr>, HeaderError> {
        let more = [bytes, b"\r\nmore\r\n"].concat();
        outcome(&more).map(|found| {
            let (header, used) = found.expect("nothing is missing");
            assert_eq!(used, bytes.len(), "{bytes:?}");
            header.source
        })
    }

    fn v2(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
        let length = u16::try_from(block.len()).unwrap().to_be_bytes();
        [&V2_SIGNATURE[..], &[command, family], &length, block].concat()
    }

    fn block(source: SocketAddr, destination: SocketAddr) -> Vec<u8> {
        let octets = |ip: IpAddr| match ip {
            IpAddr::V4(ip) => ip.octets().to_vec(),
            IpAddr::V6(ip) => ip.octets().to_vec(),
        };
        let ports = [source.port().to_be_bytes(), destination.port().to_be_bytes()];
        [octets(source.ip()), octets(destination.ip()), ports.concat()].concat()
    }

    #[test]
    fn a_line_of_version_1_names_its_source() {
        let longest = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
        let unknown = format!("UNKNOWN {longest} {longest} 65535 65535");
        assert_eq!(unknown.len(), 107 - "PROXY \r\n".len());
        let cases = [
            ("TCP4 192.0.2.1 192.0.2.2 56324 443", Some("192.0.2.1:56324")),
            ("TCP4 0.0.0.0 255.255.255.255 0 65535", Some("0.0.0.0:0")),
            ("TCP6 2001:DB8::1 ::1 56324 443", Some("[2001:db8::1]:56324")),
            ("TCP6 ::ffff:192.0.2.1 ::ffff:c000:202 1 2", Some("192.0.2.1:1")),
            ("UNKNOWN", None),
            ("UNKNOWN  \n\r \u{fc}", None),
            (&unknown, None),
        ];
        for (text, expected) in cases {
            let expected = expected.map(|address| address.parse().unwrap());
            let line = format!("PROXY {text}\r\n");
            assert_eq!(source(line.as_bytes()), Ok(expected), "{text}");
        }
    }

    #[test]
    fn a_malformed_line_is_refused() {
        let cases = [
            "",
            "TCP4",
            "tcp4 192.0.2.1 192.0.2.2 1 2",
            "TCP5 192.0.2.1 192.0.2.2 1 2",
            "UDP4 192.0.2.1 192.0.2.2 1 2",
            " TCP4 192.0.2.1 192.0.2.2 1 2",
            "TCP4  192.0.2.1 192.0.2.2 1 2",
            "TCP4 192.0.2.1 192.0.2.2 1 2 ",
            "TCP4 192.0.2.1 192.0.2.2 1 2 3",
            "TCP4 192.0.2.1 192.0.2.2 1",
            "TCP4 192.0.2.1\t192.0.2.2 1 2",
            "TCP4 192.0.2.01 192.0.2.2 1 2",
            "TCP4 192.0.2 192.0.2.2 1 2",
            "TCP4 192.0.2.1 192.0.2.256 1 2",
            "TCP4 ::1 ::1 1 2",
            "TCP6 192.0.2.1 192.0.2.2 1 2",
            "TCP6 ::1 192.0.2.2 1 2",
            "TCP6 fe80::1%1 ::1 1 2",
            "TCP6 [::1] ::1 1 2",
            "TCP4 192.0.2.1 192.0.2.2 65536 2",
            "TCP4 192.0.2.1 192.0.2.2 1 65536",
            "TCP4 192.0.2.1 192.0.2.2 01 2",
            "TCP4 192.0.2.1 192.0.2.2 1 00",
            "TCP4 192.0.2.1 192.0.2.2 +1 2",
            "TCP4 192.0.2.1 192.0.2.2 -1 2",
            "TCP4 192.0.2.1 192.0.2.2 \u{fc} 2",
            "TCP4 192.0.2.1 192.0.2.2 1 2\n",
            "TCP4 192.0.2.1 192.0.2.2 1 2\r",
        ];
        for text in cases {
            let line = format!("PROXY {text}\r\n");
            assert_eq!(outcome(line.as_bytes()), Err(HeaderError::Line), "{text:?}");
        }
    }

    #[test]
    fn a_line_ends_within_107_bytes() {
        let unknown = |length: usize| format!("PROXY UNKNOWN{}", " ".repeat(length - 13));
        let cases = [
            (format!("{}\r\n", unknown(105)), Ok(Some((Header { source: None }, 107)))),
            (format!("{}\r\n", unknown(106)), Err(HeaderError::LineTooLong)),
            (unknown(106), Ok(None)),
            (unknown(107), Err(HeaderError::LineTooLong)),
        ];
        for (line, expected) in cases {
            assert_eq!(outcome(line.as_bytes()), expected, "{} bytes", line.len());
        }
    }

    #[test]
    fn version_2_names_its_source() {
        let v4 = block("192.0.2.1:258".parse().unwrap(), "192.0.2.2:443".parse().unwrap());
        let v6 = block("[2001:db8::1]:258".parse().unwrap(), "[::1]:443".parse().unwrap());
        let mapped = block("[::ffff:192.0.2.1]:258".parse().unwrap(), "[::1]:443".parse().unwrap());
        let extended = [&v4[..], &[4, 0, 1, 0]].concat();
        let most = [&v6[..], &[0; 2048 - 36]].concat();
        let cases: &[(Vec<u8>, Option<&str>)] = &[
            (v2(0x21, 0x11, &v4), Some("192.0.2.1:258")),
            (v2(0x21, 0x21, &v6), Some("[2001:db8::1]:258")),
            (v2(0x21, 0x21, &mapped), Some("192.0.2.1:258")),
            (v2(0x21, 0x11, &extended), Some("192.0.2.1:258")),
            (v2(0x21, 0x21, &most), Some("[2001:db8::1]:258")),
            (v2(0x21, 0x12, &v4), None),
            (v2(0x21, 0x22, &v6), None),
            (v2(0x21, 0x31, &[b'/'; 216]), None),
            (v2(0x21, 0x32, &[b'/'; 220]), None),
            (v2(0x21, 0x00, &[]), None),
            (v2(0x21, 0x00, &v4), None),
            (v2(0x21, 0x10, &v4), None),
            (v2(0x21, 0x01, &[1]), None),
            (v2(0x20, 0x00, &[]), None),
            (v2(0x20, 0x11, &v4), None),
            (v2(0x20, 0xff, &[1, 2, 3]), None),
        ];
        for (bytes, expected) in cases {
            let expected = expected.map(|address| address.parse().unwrap());
            assert_eq!(source(bytes), Ok(expected), "{bytes:?}");
        }
    }

    #[test]
    fn a_malformed_version_2_is_refused_with_its_reason() {
        let cases: &[(Vec<u8>, HeaderError)] = &[
            (v2(0x11, 0x11, &[0; 12]), HeaderError::Version(1)),
            (v2(0x30, 0x00, &[]), HeaderError::Version(3)),
            (v2(0x22, 0x11, &[0; 12]), HeaderError::Command(2)),
            (v2(0x2f, 0x11, &[0; 12]), HeaderError::Command(15)),
            (v2(0x21, 0x41, &[0; 216]), HeaderError::Family(0x41)),
            (v2(0x21, 0x13, &[0; 216]), HeaderError::Family(0x13)),
            (v2(0x21, 0x03, &[]), HeaderError::Family(0x03)),
            (v2(0x21, 0x11, &[0; 11]), HeaderError::TooShort(11)),
            (v2(0x21, 0x12, &[]), HeaderError::TooShort(0)),
            (v2(0x21, 0x21, &[0; 35]), HeaderError::TooShort(35)),
            (v2(0x21, 0x22, &[0; 12]), HeaderError::TooShort(12)),
            (v2(0x21, 0x31, &[0; 215]), HeaderError::TooShort(215)),
            (v2(0x21, 0x32, &[0; 215]), HeaderError::TooShort(215)),
            (v2(0x21, 0x11, &[0; 2049]), HeaderError::TooLong(2049)),
            (v2(0x20, 0x00, &[0; 2049]), HeaderError::TooLong(2049)),
        ];
        for (bytes, reason) in cases {
            assert_eq!(outcome(bytes), Err(*reason), "{bytes:?}");
            // Nobody waits for addresses that will not be used.
            assert_eq!(parse(&bytes[..16]), Err(*reason), "{bytes:?}");
        }
    }

    #[test]
    fn what_begins_otherwise_is_absent_at_once() {
        let cases: &[&[u8]] = &[b"G", b"PROXx", b"PROXY\r", b"\r\n\r\n\0\r\nQUIX", b"\x05", b"\n"];
        for bytes in cases {
            assert_eq!(outcome(bytes), Err(HeaderError::Absent), "{bytes:?}");
            let (_, before) = bytes.split_last().unwrap();
            assert_eq!(parse(before), Ok(None), "{bytes:?}");
        }
    }

    #[test]
    fn our_own_header_names_no_source() {
        assert_eq!(local(), *v2(0x20, 0x00, &[]));
        assert_eq!(source(&local()), Ok(None));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]
        #[test]
        fn what_is_encoded_is_decoded(
            ips in prop_oneof![
                any::<[std::net::Ipv4Addr; 2]>().prop_map(|ips| ips.map(IpAddr::V4)),
                any::<[std::net::Ipv6Addr; 2]>().prop_map(|ips| ips.map(IpAddr::V6)),
            ],
            ports in any::<[u16; 2]>(),
            extension in vec(0_u8.., 0..40),
        ) {
            let [from, to] = [0, 1].map(|at| SocketAddr::new(ips[at], ports[at]));
            let (family, name) = if from.is_ipv4() { (0x11, "TCP4") } else { (0x21, "TCP6") };
            let expected = SocketAddr::new(from.ip().to_canonical(), from.port());
            let bytes = v2(0x21, family, &[block(from, to), extension].concat());
            prop_assert_eq!(source(&bytes), Ok(Some(expected)));
            let line = format!("PROXY {name} {} {} {} {}\r\n", ips[0], ips[1], ports[0], ports[1]);
            prop_assert_eq!(source(line.as_bytes()), Ok(Some(expected)));
        }

        #[test]
        fn random_bytes_never_panic_and_pieces_change_nothing(bytes in vec(0_u8.., 0..300), text in "[ 0-9.:CPTU46\r\n]{0,110}") {
            let _any = outcome(&bytes);
            let _any = outcome(&[&V2_SIGNATURE[..], &bytes].concat());
            let _any = outcome(&[&V2_SIGNATURE[..], b"\x21\x11\x00", &bytes].concat());
            let _any = outcome(format!("PROXY {text}").as_bytes());
        }
    }
}
