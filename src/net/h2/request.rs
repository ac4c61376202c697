//! What the client says: the head, then the DATA frames in the framing of HTTP/1.1.

use std::io;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use h2::RecvStream;
use tokio::io::ReadBuf;

use super::head::{Framing, Head, trailers};
use super::reset;

/// The request, as far as it has not been read.
#[derive(Debug)]
pub(super) struct Said {
    body: RecvStream,
    framing: Framing,
    /// Words of ours to be read next.
    text: Bytes,
    /// One DATA frame to be read then; its bytes still take up the client's window.
    data: Bytes,
    ended: bool,
}

impl Said {
    pub(super) fn new(head: Head, body: RecvStream) -> Self {
        let Head { text, framing, .. } = head;
        Self { body, framing, text: text.into(), data: Bytes::new(), ended: false }
    }

    /// Whether the end of the stream is an end for the reader too.
    pub(super) fn is_raw(&self) -> bool {
        self.framing == Framing::Raw
    }

    /// Whether everything up to `END_STREAM` has been read.
    pub(super) const fn has_ended(&self) -> bool {
        self.ended
    }

    /// Fills `buffer` with what is there; ready without a byte is the end of the request.
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        while buffer.remaining() > 0 {
            self.give(buffer)?;
            if !self.text.is_empty() || !self.data.is_empty() {
                continue;
            }
            match self.next(cx) {
                Poll::Ready(Ok(())) if !self.ended || !self.text.is_empty() => {}
                Poll::Ready(Ok(())) => break,
                // What is there first; an error will be there the next time too.
                Poll::Ready(Err(_)) | Poll::Pending if buffer.filled().len() > before => break,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Text, or else data. The client may send as much anew as the reader has taken of it
    /// (RFC 9113 §5.2).
    fn give(&mut self, buffer: &mut ReadBuf<'_>) -> io::Result<()> {
        if !self.text.is_empty() {
            take(&mut self.text, buffer);
        } else if !self.data.is_empty() {
            let taken = take(&mut self.data, buffer);
            self.body.flow_control().release_capacity(taken).map_err(reset)?;
            if self.data.is_empty() && self.framing == Framing::Chunked {
                self.text = Bytes::from_static(b"\r\n");
            }
        }
        Ok(())
    }

    /// The next frame.
    fn next(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.ended {
            return Poll::Ready(Ok(()));
        }
        match ready!(self.body.poll_data(cx)) {
            // A chunk without bytes would be the last one.
            Some(Ok(data)) if data.is_empty() => {}
            Some(Ok(data)) => {
                if self.framing == Framing::Chunked {
                    self.text = format!("{:x}\r\n", data.len()).into();
                }
                self.data = data;
            }
            Some(Err(error)) => return Poll::Ready(Err(reset(error))),
            None => {
                let fields = ready!(self.body.poll_trailers(cx)).map_err(reset)?;
                self.ended = true;
                if self.framing == Framing::Chunked {
                    let mut text = b"0\r\n".to_vec();
                    text.extend(trailers(&fields.unwrap_or_default()));
                    self.text = text.into();
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// Moves what fits.
fn take(from: &mut Bytes, buffer: &mut ReadBuf<'_>) -> usize {
    let length = from.len().min(buffer.remaining());
    buffer.put_slice(from.get(..length).unwrap_or_default());
    from.advance(length);
    if from.is_empty() {
        // An idle tunnel holds no frame.
        *from = Bytes::new();
    }
    length
}
