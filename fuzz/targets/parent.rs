//! What a parent answers is the same however it arrives, ends within what it sent, and is safe to
//! show.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sami_proxy::net::pin::Pin;
use sami_proxy::wire::parent::{Answer, AnswerScan, MAX_WORDS};
use sami_proxy::wire::socks_client::{Reply, read_method, read_reply, read_verdict};

/// Once `read` has an answer or an error, more bytes do not change it.
fn stays<A: PartialEq + std::fmt::Debug>(bytes: &[u8], read: impl Fn(&[u8]) -> A, more: &A) -> A {
    let mut last = read(&[]);
    for end in 0..=bytes.len().min(300) {
        let now = read(&bytes[..end]);
        assert!(last == *more || last == now, "{last:?} became {now:?}");
        last = now;
    }
    last
}

fuzz_target!(|bytes: &[u8]| {
    let whole = AnswerScan::default().advance(bytes);
    let mut scan = AnswerScan::default();
    let pieces = (1..=bytes.len()).map(|end| scan.advance(&bytes[..end]));
    let found = pieces.into_iter().find(|step| !matches!(step, Ok(None)));
    assert_eq!(found.unwrap_or(Ok(None)), whole);
    match whole {
        Ok(Some(Answer::Established { length })) => {
            assert!(length <= bytes.len() && bytes[..length].ends_with(b"\r\n\r\n"));
        }
        Ok(Some(Answer::Refused(refusal))) => {
            assert!(refusal.status >= 300);
            for text in [Some(refusal.reason), refusal.details].into_iter().flatten() {
                assert!(text.len() <= MAX_WORDS);
                assert!(text.bytes().all(|byte| matches!(byte, b' '..=b'~')));
            }
        }
        Ok(None) | Err(_) => {}
    }
    let _method = stays(bytes, read_method, &Ok(None));
    let _verdict = stays(bytes, read_verdict, &Ok(None));
    match stays(bytes, read_reply, &Ok(None)) {
        Ok(Some(Reply::Established { length })) => assert!((7..=bytes.len()).contains(&length)),
        Ok(Some(Reply::Refused(code))) => assert_ne!(code, 0),
        Ok(None) | Err(_) => {}
    }
    if let Ok(Ok(pin)) = std::str::from_utf8(bytes).map(Pin::parse) {
        assert_eq!(Pin::parse(&pin.to_string()), Ok(pin));
    }
});
