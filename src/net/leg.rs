//! One leg of a tunnel: a TCP connection, bare or under TLS, or a stream of HTTP/2.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::BytesMut;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsStream;

use super::h2::H2Stream;
use super::scratch;

/// A dead peer is found by the kernel, not by a timer of ours: after 45 s of silence it probes
/// every 15 s and gives up after 4 probes. NAT boxes on the way forget idle connections after a
/// minute or more; the first probe comes before that.
const KEEPALIVE: TcpKeepalive =
    TcpKeepalive::new().with_time(Duration::from_secs(45)).with_interval(Duration::from_secs(15));

/// Unacknowledged data is given up after this long (RFC 5482); keepalive does not cover it.
#[cfg(any(target_os = "linux", target_os = "android"))]
const USER_TIMEOUT: Duration = Duration::from_secs(120);

/// `WSAENOPROTOOPT`. Elsewhere every option that we set is there.
const NO_SUCH_OPTION: Option<i32> = if cfg!(windows) { Some(10042) } else { None };

/// A connection: a client's, a target's, a parent's.
#[derive(Debug)]
pub enum Stream {
    /// TCP and nothing else.
    Tcp(TcpStream),
    /// One end of TLS is here.
    Tls(Box<TlsStream<TcpStream>>),
    /// A stream of a client's HTTP/2 connection.
    Http2(Box<H2Stream>),
}

impl Stream {
    /// The socket, when its bytes are the stream's bytes: nothing in between.
    pub fn bare(&self) -> Option<&TcpStream> {
        match self {
            Self::Tcp(stream) => Some(stream),
            Self::Tls(_) | Self::Http2(_) => None,
        }
    }

    /// Apart, so that what every byte of a bare connection passes through stays small.
    #[inline(never)]
    fn read_covered(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Http2(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }

    #[inline(never)]
    fn write_covered(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Http2(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    /// Makes the coming close a reset: data in flight is dropped and the peer sees an error, not
    /// an end.
    pub fn reset_on_close(&self) {
        let socket = match self {
            Self::Tcp(stream) => stream,
            Self::Tls(stream) => stream.get_ref().0,
            Self::Http2(stream) => return stream.reset_on_close(),
        };
        // A socket that refuses the option is already dead.
        drop(SockRef::from(socket).set_linger(Some(Duration::ZERO)));
    }
}

/// Whether accepted sockets have the options of their listener already (`inet_csk_clone_lock`).
pub const INHERITED: bool = cfg!(target_os = "linux");

/// Sets what every connection of ours needs: no Nagle delay (a relay must not add latency of its
/// own) and the discovery of dead peers.
///
/// # Errors
///
/// The operating system's; the socket is then of no use.
pub fn prepare<'s>(socket: impl Into<SockRef<'s>>) -> io::Result<()> {
    let socket = socket.into();
    socket.set_tcp_nodelay(true)?;
    #[cfg(not(target_os = "openbsd"))]
    let keepalive = KEEPALIVE.with_retries(4);
    match socket.set_tcp_keepalive(&keepalive) {
        // The number of probes is what is set last. Windows before 10 (1703) and Wine always send 10.
        Err(error) if error.raw_os_error() == NO_SUCH_OPTION => {}
        outcome => outcome?,
    }
    #[cfg(any(target_os = "linux", target_os = "android"))]
    socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
    Ok(())
}

/// Appends what `reader` has to `buffer`, at most 16 KiB; 0 is the end. Whoever waits needs no
/// room: `buffer` grows by what came.
///
/// # Errors
///
/// The reader's.
///
/// # Cancel safety
///
/// Nothing is lost: what was read is in `buffer`.
pub async fn receive<R: AsyncRead + Unpin>(
    reader: &mut R,
    buffer: &mut BytesMut,
) -> io::Result<usize> {
    poll_fn(|cx| {
        scratch::with(|room| {
            let mut read = ReadBuf::new(room);
            ready!(Pin::new(&mut *reader).poll_read(cx, &mut read))?;
            buffer.extend_from_slice(read.filled());
            Poll::Ready(Ok(read.filled().len()))
        })
    })
    .await
}

impl From<TcpStream> for Stream {
    fn from(stream: TcpStream) -> Self {
        Self::Tcp(stream)
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
            covered @ (Self::Tls(_) | Self::Http2(_)) => covered.read_covered(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            covered @ (Self::Tls(_) | Self::Http2(_)) => covered.write_covered(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
            Self::Http2(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Http2(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
