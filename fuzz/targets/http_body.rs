//! A body followed in pieces is the body followed at once, and never goes beyond its input.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sami_proxy::wire::http1::body::{BodyError, BodyScan, Piece};
use sami_proxy::wire::http1::framing::Body;

/// Payload and length of the body.
fn follow(bytes: &[u8], piece: usize) -> Result<(Vec<u8>, usize, bool), BodyError> {
    let mut scan = BodyScan::new(Body::Chunked);
    let (mut payload, mut used, mut seen) = (Vec::new(), 0, 0);
    while seen < bytes.len() {
        seen = (seen + piece).min(bytes.len());
        loop {
            match scan.advance(&bytes[used..seen])? {
                Piece::More | Piece::End => break,
                Piece::Bytes { consumed, payload: range } => {
                    payload.extend_from_slice(&bytes[used..seen][range]);
                    used += consumed;
                }
                Piece::Trailers(length) => used += length,
            }
        }
    }
    Ok((payload, used, scan.is_done()))
}

fuzz_target!(|bytes: &[u8]| {
    let whole = follow(bytes, bytes.len().max(1));
    for piece in [1, 2, 7] {
        assert_eq!(follow(bytes, piece), whole);
    }
    if let Ok((payload, used, _)) = whole {
        assert!(payload.len() <= used && used <= bytes.len());
    }
});
