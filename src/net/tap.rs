//! A stream whose first bytes are kept, so that it can be said what came instead of TLS.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// So much is kept.
const MOST: usize = 200;

/// Keeps what is read from the stream, as long as it is told to.
#[derive(Debug)]
pub struct Tap<S> {
    stream: S,
    first: Option<Vec<u8>>,
}

impl<S> Tap<S> {
    pub(super) const fn new(stream: S) -> Self {
        Self { stream, first: Some(Vec::new()) }
    }

    /// Nothing is kept any more; returns what was, 200 bytes at most.
    pub(super) fn close(&mut self) -> Vec<u8> {
        self.first.take().unwrap_or_default()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Tap<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buffer))?;
        if let Some(first) = &mut this.first {
            let fresh = buffer.filled().get(before..).unwrap_or_default();
            first.extend(fresh.iter().take(MOST - first.len().min(MOST)));
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Tap<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
