//! A PROXY header is decided at its last byte and not before, whatever follows it; its source is
//! never IPv4 mapped into IPv6.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sami_proxy::wire::proxy_header::{HeaderError, V2_SIGNATURE, parse};

fn check(bytes: &[u8]) {
    let whole = parse(bytes);
    let mut pieces = (0..=bytes.len()).map(|end| (end, parse(&bytes[..end])));
    let (end, first) = pieces.find(|(_, step)| *step != Ok(None)).unwrap_or((0, Ok(None)));
    assert_eq!(first, whole);
    match whole {
        Ok(Some((header, used))) => {
            assert_eq!(used, end);
            assert!(header.source.is_none_or(|source| source.ip().to_canonical() == source.ip()));
        }
        Ok(None) => assert!(bytes.len() < 16 + 2048),
        Err(HeaderError::Absent) => assert!(end <= 12),
        Err(_) => assert!(end <= 107),
    }
}

// Without these beginnings the fuzzer does not find its way in.
fuzz_target!(|bytes: &[u8]| {
    check(bytes);
    check(&[&V2_SIGNATURE[..], bytes].concat());
    check(&[&b"PROXY "[..], bytes].concat());
    check(&[&b"PROXY TCP6 ::ffff:192.0.2.1 "[..], bytes].concat());
    check(&[&b"PROXY TCP4 192.0.2.1 192.0.2.2 "[..], bytes].concat());
});
