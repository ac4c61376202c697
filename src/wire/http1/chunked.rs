//! The chunked coding (RFC 9112 §7.1), followed without buffering.

use std::ops::Range;

/// The longest chunk extension; RFC 9112 §7.1.1 asks recipients to limit them.
const MAX_EXTENSION: usize = 4096;

/// Why bytes are no chunked body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    /// Not hexadecimal digits, none, or more than 64 bits.
    #[error("a chunk size is malformed")]
    Size,
    /// A control character in it, or longer than 4 KiB.
    #[error("a chunk extension is malformed")]
    Extension,
    /// A line or a chunk does not end in CR LF.
    #[error("a chunk does not end in CR LF")]
    LineEnd,
}

/// What was made of some input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of the input that belong to the body so far.
    pub consumed: usize,
    /// Where in the input one stretch of payload lies; may be empty.
    pub payload: Range<usize>,
    /// The last chunk has passed; the trailer section begins after `consumed`.
    pub end: bool,
}

/// Follows a chunked body; nothing is copied, whatever is malformed is refused before it is
/// passed on.
#[derive(Debug, Default)]
pub struct ChunkedDecoder(State);

#[derive(Debug)]
enum State {
    Size { value: u64, digits: u8 },
    Extension { size: u64, length: usize },
    SizeLf { size: u64 },
    Payload { left: u64 },
    PayloadCr,
    PayloadLf,
    End,
}

impl Default for State {
    fn default() -> Self {
        Self::Size { value: 0, digits: 0 }
    }
}

impl ChunkedDecoder {
    /// Reads on, until the input or one stretch of payload is used up.
    ///
    /// Call again with what is left while `consumed` is less than the input and `end` is not set.
    ///
    /// # Errors
    ///
    /// [`ChunkError`]; the body is then unusable.
    pub fn advance(&mut self, input: &[u8]) -> Result<Progress, ChunkError> {
        for (at, byte) in input.iter().enumerate() {
            match &mut self.0 {
                State::End => return Ok(Progress { consumed: at, payload: at..at, end: true }),
                State::Payload { left } => {
                    let here = u64::try_from(input.len() - at).unwrap_or(u64::MAX).min(*left);
                    *left -= here;
                    if *left == 0 {
                        self.0 = State::PayloadCr;
                    }
                    // Never more than the input holds.
                    let end = at + usize::try_from(here).unwrap_or(usize::MAX);
                    return Ok(Progress { consumed: end, payload: at..end, end: false });
                }
                State::Size { .. }
                | State::Extension { .. }
                | State::SizeLf { .. }
                | State::PayloadCr
                | State::PayloadLf => self.0 = self.0.after(*byte)?,
            }
        }
        let all = input.len();
        let end = matches!(self.0, State::End);
        Ok(Progress { consumed: all, payload: all..all, end })
    }
}

impl State {
    /// The state after one byte of framing.
    fn after(&self, byte: u8) -> Result<Self, ChunkError> {
        Ok(match (self, byte) {
            (Self::Size { digits: 1.., value }, b'\r') => Self::SizeLf { size: *value },
            (Self::Size { digits: 1.., value }, b';') => {
                Self::Extension { size: *value, length: 0 }
            }
            (Self::Size { digits, value }, _) => Self::Size {
                value: value << 4 | u64::from(hexadecimal(byte).ok_or(ChunkError::Size)?),
                digits: if *digits < 16 { digits + 1 } else { return Err(ChunkError::Size) },
            },
            (Self::Extension { size, .. }, b'\r') => Self::SizeLf { size: *size },
            (Self::Extension { size, length }, b'\t' | 0x20..=0x7e | 0x80..)
                if *length < MAX_EXTENSION =>
            {
                Self::Extension { size: *size, length: length + 1 }
            }
            (Self::Extension { .. }, _) => return Err(ChunkError::Extension),
            (Self::SizeLf { size: 0 }, b'\n') => Self::End,
            (Self::SizeLf { size }, b'\n') => Self::Payload { left: *size },
            (Self::PayloadCr, b'\r') => Self::PayloadLf,
            (Self::PayloadLf, b'\n') => Self::default(),
            _ => return Err(ChunkError::LineEnd),
        })
    }
}

const fn hexadecimal(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Just, ProptestConfig, Strategy, prop_oneof, proptest};

    use super::{ChunkError, ChunkedDecoder};

    /// Payload and length of the coding, when `bytes` arrive in pieces.
    fn decode(bytes: &[u8], piece: usize) -> Result<(Vec<u8>, usize, bool), ChunkError> {
        let mut decoder = ChunkedDecoder::default();
        let (mut payload, mut used) = (Vec::new(), 0);
        for part in bytes.chunks(piece) {
            let mut rest = part;
            while !rest.is_empty() {
                let step = decoder.advance(rest)?;
                payload.extend_from_slice(&rest[step.payload]);
                used += step.consumed;
                rest = &rest[step.consumed..];
                if step.end {
                    return Ok((payload, used, true));
                }
            }
        }
        Ok((payload, used, false))
    }

    #[test]
    fn payload_is_found_however_the_bytes_arrive() {
        let bytes = b"5\r\nhello\r\n6;a=\"b\"\r\n world\r\n000\r\n\r\nGET";
        for piece in 1..bytes.len() {
            let expected = (b"hello world".to_vec(), bytes.len() - 5, true);
            assert_eq!(decode(bytes, piece), Ok(expected), "pieces of {piece}");
        }
    }

    #[test]
    fn malformed_chunks_are_refused() {
        let long = format!("1;{}\r\n", "a".repeat(5000));
        let cases: &[(&[u8], ChunkError)] = &[
            (b"\r\n", ChunkError::Size),
            (b";a\r\n", ChunkError::Size),
            (b"-1\r\n", ChunkError::Size),
            (b"+1\r\n", ChunkError::Size),
            (b"0x1\r\n", ChunkError::Size),
            (b" 1\r\n", ChunkError::Size),
            (b"1 \r\n", ChunkError::Size),
            (b"1\n", ChunkError::Size),
            (b"00000000000000001\r\n", ChunkError::Size),
            (b"1\rx", ChunkError::LineEnd),
            (b"1;\n", ChunkError::Extension),
            (b"1;a\x00\r\n", ChunkError::Extension),
            (long.as_bytes(), ChunkError::Extension),
            (b"1\r\nab\r\n", ChunkError::LineEnd),
            (b"1\r\na\n", ChunkError::LineEnd),
            (b"1\r\na\rx", ChunkError::LineEnd),
        ];
        for (bytes, reason) in cases {
            for piece in [1, bytes.len()] {
                assert_eq!(
                    decode(bytes, piece),
                    Err(*reason),
                    "{:?}",
                    String::from_utf8_lossy(bytes)
                );
            }
        }
    }

    #[test]
    fn a_truncated_body_is_never_at_its_end() {
        let bytes = b"5\r\nhello\r\n0\r\n";
        for cut in 0..bytes.len() {
            assert!(!decode(&bytes[..cut], 1).unwrap().2, "cut at {cut}");
        }
    }

    fn chunk() -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(0_u8.., 1..40)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn what_is_encoded_is_decoded(chunks in proptest::collection::vec(chunk(), 0..6), piece in 1_usize..50) {
            let mut coded = Vec::new();
            for chunk in &chunks {
                coded.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                coded.extend_from_slice(chunk);
                coded.extend_from_slice(b"\r\n");
            }
            coded.extend_from_slice(b"0\r\n");
            assert_eq!(decode(&coded, piece), Ok((chunks.concat(), coded.len(), true)));
        }

        #[test]
        fn pieces_change_nothing(
            bytes in proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'1'), Just(b'0'), Just(b';'), 0_u8..], 0..60),
            piece in 1_usize..9,
        ) {
            assert_eq!(decode(&bytes, piece), decode(&bytes, 1));
        }
    }
}
