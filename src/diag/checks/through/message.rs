//! HTTP/1.1 as a diagnosis needs it: one answer, its head and the beginning of its body.

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::Instant;

use super::super::path::exchange::printable;
use super::walk::Trouble;
use crate::diag::fact::How;
use crate::wire::http1::head::{HeadScan, parse_response};

/// A text of a peer is kept up to here.
const LONGEST_TEXT: usize = 200;

/// The head of an answer.
#[derive(Debug)]
pub(in super::super) struct Head {
    pub(in super::super) status: u16,
    /// Names in lower case.
    fields: Vec<(String, Vec<u8>)>,
    /// When the first byte came.
    pub(in super::super) first: Instant,
    /// What came after the head.
    pub(in super::super) rest: BytesMut,
}

impl Head {
    /// The first field of that name (lower case), as it came.
    pub(in super::super) fn raw<'s>(&'s self, name: &'s str) -> Option<&'s [u8]> {
        self.all(name).next()
    }

    /// Every field of that name (lower case).
    pub(in super::super) fn all<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'s [u8]> {
        self.fields.iter().filter(move |(of, _)| of == name).map(|(_, value)| value.as_slice())
    }

    /// The same as a text that is harmless wherever it is printed, shortened.
    pub(in super::super) fn text(&self, name: &str) -> Option<String> {
        self.raw(name).map(|value| shown(value, LONGEST_TEXT))
    }

    /// The same as a number.
    pub(in super::super) fn number(&self, name: &str) -> Option<u64> {
        std::str::from_utf8(self.raw(name)?).ok()?.trim().parse().ok()
    }
}

/// `bytes` as printable ASCII of at most `most` characters.
pub(in super::super) fn shown(bytes: &[u8], most: usize) -> String {
    printable(bytes.get(..most).unwrap_or(bytes)).chars().take(most).collect()
}

/// Reads the head of the next final answer; interim ones (RFC 9110 §15.2) are passed over.
pub(in super::super) async fn head(
    stream: &mut (impl AsyncRead + Unpin + ?Sized),
) -> Result<Head, How> {
    head_into(stream, &mut BytesMut::with_capacity(4096)).await.map_err(|trouble| trouble.how)
}

/// The same, with what came of it when it is no HTTP; `buffer` may have its beginning.
pub(in super::super) async fn head_into(
    stream: &mut (impl AsyncRead + Unpin + ?Sized),
    buffer: &mut BytesMut,
) -> Result<Head, Trouble> {
    let mut first = None;
    loop {
        let mut scan = HeadScan::default();
        let bytes = loop {
            if let Some(bytes) = scan.take(buffer).map_err(|_| strange(buffer))? {
                break bytes;
            }
            // TLS and banners have no lines to wait for.
            if !buffer.iter().zip(b"HTTP/").all(|(came, wanted)| came == wanted) {
                return Err(strange(buffer));
            }
            match stream.read_buf(buffer).await {
                Ok(0) if buffer.is_empty() => return Err(How::Closed.into()),
                Ok(0) => return Err(strange(buffer)),
                Ok(_) => first.get_or_insert_with(Instant::now),
                Err(error) => return Err(error.into()),
            };
        };
        let Ok(parsed) = parse_response(&bytes) else {
            return Err(strange(&bytes));
        };
        if parsed.status >= 200 {
            let fields = parsed.fields.iter();
            let fields =
                fields.map(|it| (it.name.to_ascii_lowercase(), it.value.to_vec())).collect();
            let first = first.unwrap_or_else(Instant::now);
            return Ok(Head { status: parsed.status, fields, first, rest: buffer.split() });
        }
    }
}

/// It is no HTTP.
fn strange(bytes: &[u8]) -> Trouble {
    Trouble::with(How::Malformed, shown(bytes, LONGEST_TEXT))
}
