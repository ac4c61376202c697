//! Which protocol a connection begins with. Pure.

/// What a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.0 or HTTP/1.1.
    Http1,
    /// HTTP/2 with prior knowledge (RFC 9113 §3.3).
    Http2,
    /// SOCKS4 or SOCKS4a.
    Socks4,
    /// SOCKS5 (RFC 1928).
    Socks5,
    /// A TLS handshake record (RFC 8446 §5.1).
    Tls,
    /// None of these; named as far as it can be told.
    Foreign(&'static str),
}

/// RFC 9113 §3.4. No request of HTTP/1 begins so: PRI is no method.
const HTTP2: &[u8] = b"PRI ";

/// What scanners and mistaken clients begin with. Longer than one byte, for the first one could
/// begin a method.
const FOREIGN: [(&[u8], &str); 6] = [
    (b"SSH-", "SSH"),
    (b"EHLO ", "SMTP"),
    (b"HELO ", "SMTP"),
    (b"PROXY ", "the PROXY protocol, from an address that is not in --proxy-protocol-from"),
    (b"\r\n\r\n\0", "the PROXY protocol, from an address that is not in --proxy-protocol-from"),
    (b"CNXN", "ADB"),
];

/// What `bytes` are the beginning of; `None` when more of them are needed, and never more than the
/// longest prefix has.
pub fn sniff(bytes: &[u8]) -> Option<Protocol> {
    let first = *bytes.first()?;
    match first {
        0x04 => return Some(Protocol::Socks4),
        0x05 => return Some(Protocol::Socks5),
        0x16 => return Some(Protocol::Tls),
        0x03 => return Some(Protocol::Foreign("RDP")),
        _ => {}
    }
    if bytes.starts_with(HTTP2) {
        return Some(Protocol::Http2);
    }
    if let Some((_, name)) = FOREIGN.iter().find(|(prefix, _)| bytes.starts_with(prefix)) {
        return Some(Protocol::Foreign(name));
    }
    let mut longer = FOREIGN.iter().map(|(prefix, _)| *prefix).chain([HTTP2]);
    if longer.any(|prefix| prefix.starts_with(bytes)) {
        return None;
    }
    // Any text: what is no request is told so. Empty lines before one are allowed (RFC 9112 §2.2).
    if first.is_ascii_graphic() || first.is_ascii_whitespace() {
        return Some(Protocol::Http1);
    }
    Some(Protocol::Foreign("unknown bytes"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{ProptestConfig, any, proptest};

    use super::{Protocol, sniff};

    #[test]
    fn each_protocol_is_known_by_its_first_bytes_and_not_one_more() {
        let cases: [(&[u8], Protocol); 16] = [
            (b"G", Protocol::Http1),
            (b"CO", Protocol::Http1),
            (b"PO", Protocol::Http1),
            (b"PRI ", Protocol::Http2),
            (b"\r\nG", Protocol::Http1),
            (b"\n", Protocol::Http1),
            (b" ", Protocol::Http1),
            (b"\x04", Protocol::Socks4),
            (b"\x05", Protocol::Socks5),
            (b"\x16", Protocol::Tls),
            (b"SSH-", Protocol::Foreign("SSH")),
            (b"EHLO ", Protocol::Foreign("SMTP")),
            (b"\x03", Protocol::Foreign("RDP")),
            (b"\0", Protocol::Foreign("unknown bytes")),
            (b"PROPFIND", Protocol::Http1),
            (b"SEARCH", Protocol::Http1),
        ];
        for (bytes, protocol) in cases {
            assert_eq!(sniff(bytes), Some(protocol), "{bytes:?}");
        }
        for waiting in
            [&b""[..], b"P", b"PR", b"PRI", b"PRO", b"PROXY", b"S", b"\r", b"\r\n\r\n", b"EHLO"]
        {
            assert_eq!(sniff(waiting), None, "{waiting:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn six_bytes_are_always_enough_and_more_never_change_the_answer(
            bytes in proptest::collection::vec(any::<u8>(), 6..20)
        ) {
            let whole = sniff(&bytes).unwrap();
            for length in 0..bytes.len() {
                if let Some(early) = sniff(&bytes[..length]) {
                    assert_eq!(early, whole);
                }
            }
        }
    }
}
