//! A stream read and written at the same time, by one task.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::tcp;

use super::leg::Stream;

/// The half that is read.
#[derive(Debug)]
pub enum Reading<'s> {
    /// Of a bare connection: costs nothing.
    Tcp(tcp::ReadHalf<'s>),
    /// Of any other.
    Other(tokio::io::ReadHalf<&'s mut Stream>),
}

/// The half that is written.
#[derive(Debug)]
pub enum Writing<'s> {
    /// Of a bare connection: costs nothing.
    Tcp(tcp::WriteHalf<'s>),
    /// Of any other.
    Other(tokio::io::WriteHalf<&'s mut Stream>),
}

impl Stream {
    /// Both halves.
    pub fn split(&mut self) -> (Reading<'_>, Writing<'_>) {
        if let Self::Tcp(stream) = self {
            let (reading, writing) = stream.split();
            return (Reading::Tcp(reading), Writing::Tcp(writing));
        }
        let (reading, writing) = tokio::io::split(self);
        (Reading::Other(reading), Writing::Other(writing))
    }
}

impl AsyncRead for Reading<'_> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(half) => Pin::new(half).poll_read(cx, buffer),
            Self::Other(half) => Pin::new(half).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Writing<'_> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(half) => Pin::new(half).poll_write(cx, bytes),
            Self::Other(half) => Pin::new(half).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(half) => Pin::new(half).poll_flush(cx),
            Self::Other(half) => Pin::new(half).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(half) => Pin::new(half).poll_shutdown(cx),
            Self::Other(half) => Pin::new(half).poll_shutdown(cx),
        }
    }
}
