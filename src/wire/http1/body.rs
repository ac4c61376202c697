//! Follows a body to its end, whatever its framing.

use std::ops::Range;

use super::chunked::{ChunkError, ChunkedDecoder};
use super::framing::Body;
use super::head::{HeadError, HeadScan};

/// Why a body is unusable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// A malformed chunk.
    #[error(transparent)]
    Chunk(#[from] ChunkError),
    /// A malformed trailer section.
    #[error(transparent)]
    Trailer(#[from] HeadError),
}

/// What the next bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Nothing can be said without more bytes.
    More,
    /// `consumed` bytes of the body, with the payload at `payload` (empty in between chunks).
    Bytes {
        /// From the start of the input.
        consumed: usize,
        /// Where the payload in them is.
        payload: Range<usize>,
    },
    /// A complete trailer section of that length, its empty line included; the body is at its end.
    Trailers(usize),
    /// The body is at its end; the input belongs to something else.
    End,
}

/// Where in a body we are.
#[derive(Debug)]
pub struct BodyScan(State);

#[derive(Debug)]
enum State {
    Length(u64),
    Chunks(ChunkedDecoder),
    Trailers(HeadScan),
    UntilClose,
    End,
}

impl BodyScan {
    /// The beginning of `body`.
    pub fn new(body: Body) -> Self {
        Self(match body {
            Body::Empty => State::End,
            Body::Length(bytes) => State::Length(bytes),
            Body::Chunked => State::Chunks(ChunkedDecoder::default()),
            Body::UntilClose => State::UntilClose,
        })
    }

    /// Whether the body is complete.
    pub const fn is_done(&self) -> bool {
        matches!(self.0, State::End)
    }

    /// Whether the end of the connection is the end of the body.
    pub const fn ends_with_connection(&self) -> bool {
        matches!(self.0, State::UntilClose)
    }

    /// Looks at `input`, everything that was received and not consumed yet.
    ///
    /// # Errors
    ///
    /// [`BodyError`]; nothing of a malformed piece is to be passed on.
    pub fn advance(&mut self, input: &[u8]) -> Result<Piece, BodyError> {
        if self.is_done() {
            return Ok(Piece::End);
        }
        if input.is_empty() {
            return Ok(Piece::More);
        }
        match &mut self.0 {
            State::End => Ok(Piece::End),
            State::UntilClose => Ok(whole(input.len())),
            State::Length(left) => {
                let here = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                *left -= here as u64;
                if *left == 0 {
                    self.0 = State::End;
                }
                Ok(whole(here))
            }
            State::Chunks(decoder) => {
                let step = decoder.advance(input)?;
                if step.end {
                    self.0 = State::Trailers(HeadScan::default());
                }
                Ok(Piece::Bytes { consumed: step.consumed, payload: step.payload })
            }
            State::Trailers(scan) => match scan.advance(input)? {
                None => Ok(Piece::More),
                Some(length) => {
                    self.0 = State::End;
                    Ok(Piece::Trailers(length))
                }
            },
        }
    }
}

const fn whole(length: usize) -> Piece {
    Piece::Bytes { consumed: length, payload: 0..length }
}

#[cfg(test)]
mod tests {
    use super::{BodyScan, Piece};
    use crate::wire::http1::framing::Body;

    /// Payload, trailers and what is left, when `bytes` arrive in pieces.
    fn follow(body: Body, bytes: &[u8], piece: usize) -> (Vec<u8>, Vec<u8>, Vec<u8>, bool) {
        let mut scan = BodyScan::new(body);
        let (mut payload, mut trailers, mut buffer) = (Vec::new(), Vec::new(), Vec::new());
        for part in bytes.chunks(piece) {
            buffer.extend_from_slice(part);
            loop {
                match scan.advance(&buffer).unwrap() {
                    Piece::More | Piece::End => break,
                    Piece::Bytes { consumed, payload: range } => {
                        payload.extend_from_slice(&buffer[range]);
                        buffer.drain(..consumed);
                    }
                    Piece::Trailers(length) => trailers.extend(buffer.drain(..length)),
                }
            }
        }
        (payload, trailers, buffer, scan.is_done())
    }

    #[test]
    fn each_framing_is_followed_to_its_end_and_not_further() {
        let cases: &[(Body, &[u8], &[u8], &[u8], &[u8])] = &[
            (Body::Empty, b"GET", b"", b"", b"GET"),
            (Body::Length(3), b"abcGET", b"abc", b"", b"GET"),
            (Body::Chunked, b"1\r\na\r\n2\r\nbc\r\n0\r\n\r\nGET", b"abc", b"\r\n", b"GET"),
            (Body::Chunked, b"1\r\na\r\n0\r\nA: b\r\n\r\nGET", b"a", b"A: b\r\n\r\n", b"GET"),
        ];
        for (body, bytes, payload, trailers, rest) in cases {
            for piece in 1..=bytes.len() {
                let found = follow(*body, bytes, piece);
                let expected = (payload.to_vec(), trailers.to_vec(), rest.to_vec(), true);
                assert_eq!(found, expected, "{body:?} in pieces of {piece}");
            }
        }
        let (payload, _, _, done) = follow(Body::UntilClose, b"abc", 1);
        assert_eq!((payload.as_slice(), done), (&b"abc"[..], false));
    }

    #[test]
    fn a_truncated_body_is_not_done() {
        for (body, bytes) in [(Body::Length(3), &b"ab"[..]), (Body::Chunked, b"1\r\na\r\n0\r\n")] {
            assert!(!follow(body, bytes, 1).3);
        }
    }
}
