//! The beginning of a body: enough to see what it is.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::{Instant, timeout_at};

use super::message::{Head, shown};
use super::walk::Trouble;
use crate::diag::fact::How;

/// After the head.
const PATIENCE: Duration = Duration::from_secs(1);
/// The most that is read.
const MOST: usize = 64 * 1024;
/// The most that is shown, in characters.
const SHOWN: usize = 600;

/// What came of a body.
#[derive(Debug, Default)]
pub(super) struct Body {
    pub(super) bytes: u64,
    /// Printable ASCII.
    pub(super) beginning: String,
}

/// Where a body ends (RFC 9112 §6.3).
enum Until {
    Bytes(usize),
    LastChunk,
    Close,
}

impl Until {
    fn of(head: &Head) -> Self {
        let chunked = head
            .raw("transfer-encoding")
            .is_some_and(|value| value.to_ascii_lowercase().trim_ascii().ends_with(b"chunked"));
        if matches!(head.status, 204 | 304) {
            Self::Bytes(0)
        } else if chunked {
            Self::LastChunk
        } else {
            let length = head.number("content-length").and_then(|it| usize::try_from(it).ok());
            length.map_or(Self::Close, Self::Bytes)
        }
    }

    fn is_reached(&self, read: &[u8]) -> bool {
        match self {
            Self::Bytes(length) => read.len() >= *length,
            // Good enough without reading the chunks: who ends so by chance is only read shorter.
            Self::LastChunk => read == b"0\r\n\r\n" || read.ends_with(b"\r\n0\r\n\r\n"),
            Self::Close => false,
        }
    }
}

/// Reads the body after `head`: at most 64 KiB, one second long. That there would be more is no
/// trouble; a reset, or an end before the end, is.
pub(super) async fn body(
    stream: &mut (impl AsyncRead + Unpin + ?Sized),
    head: &mut Head,
) -> (Body, Option<Trouble>) {
    let until = Until::of(head);
    let patience = Instant::now() + PATIENCE;
    let mut buffer = head.rest.split();
    let trouble = loop {
        if until.is_reached(&buffer) || buffer.len() >= MOST {
            break None;
        }
        match timeout_at(patience, stream.read_buf(&mut buffer)).await {
            Err(_) => break None,
            Ok(Ok(0)) => break early(&until),
            Ok(Ok(_)) => {}
            // TLS that ends without its own farewell.
            Ok(Err(error)) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                break early(&until);
            }
            Ok(Err(error)) => break Some(error.into()),
        }
    };
    let begin = if matches!(until, Until::LastChunk) { first_chunk(&buffer) } else { &buffer };
    let beginning = shown(begin, SHOWN);
    (Body { bytes: u64::try_from(buffer.len()).unwrap_or(u64::MAX), beginning }, trouble)
}

fn early(until: &Until) -> Option<Trouble> {
    match until {
        Until::Close => None,
        Until::Bytes(_) | Until::LastChunk => Some(How::Closed.into()),
    }
}

/// Without the line that has the length of the first chunk (RFC 9112 §7.1).
fn first_chunk(bytes: &[u8]) -> &[u8] {
    let line = bytes.iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    bytes.get(line..).unwrap_or_default()
}
