//! One client: TLS if it begins so, then HTTP.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::accept::Permit;
use super::front;
use super::server::Shared;
use crate::net::leg::{Stream, receive};
use crate::net::tls::HANDSHAKE_RECORD;

/// How much a client may still send after our last answer before we stop listening, and for how
/// long. Without this the kernel would answer its bytes with a reset that destroys our answer
/// before it is read (RFC 9112 §9.6).
const LINGER: (usize, Duration) = (16 << 20, Duration::from_secs(2));

/// A client's connection and what is known of it.
#[derive(Debug)]
pub struct Client {
    /// The socket.
    pub leg: Stream,
    /// Received, not yet understood.
    pub buffer: BytesMut,
    /// Where it comes from; an IPv4 address is never shown as an IPv6 one.
    pub peer: SocketAddr,
    /// Its place among all connections.
    pub permit: Permit,
}

/// Serves a fresh connection until it has nothing more to say or became a tunnel.
pub async fn serve(shared: Arc<Shared>, stream: TcpStream, peer: SocketAddr, permit: Permit) {
    match open(&shared, stream).await {
        Ok(leg) => {
            front::http::serve(Client { leg, buffer: BytesMut::new(), peer, permit }, &shared)
                .await;
        }
        Err(error) => tracing::debug!(client = %peer, %error, "closed before a request"),
    }
}

async fn open(shared: &Shared, stream: TcpStream) -> io::Result<Stream> {
    let Some(tls) = &shared.tls else { return Ok(Stream::Tcp(stream)) };
    let times = &shared.settings.times;
    let mut first = [0];
    timeout(times.header, stream.peek(&mut first)).await??;
    if first != [HANDSHAKE_RECORD] {
        return Ok(Stream::Tcp(stream));
    }
    let stream =
        timeout(times.handshake, TlsAcceptor::from(Arc::clone(tls)).accept(stream)).await??;
    Ok(Stream::Tls(Box::new(stream.into())))
}

impl Client {
    /// Sends `answer`.
    ///
    /// # Errors
    ///
    /// The client is gone.
    pub async fn send(&mut self, answer: &[u8]) -> io::Result<()> {
        self.leg.write_all(answer).await?;
        self.leg.flush().await
    }

    /// Closes so that the last answer arrives: end of our bytes first, then the client's rest is
    /// thrown away for a while.
    pub async fn close(mut self) {
        let (limit, time) = LINGER;
        let rest = async {
            self.leg.shutdown().await?;
            let mut thrown = 0;
            while thrown < limit {
                self.buffer.clear();
                match receive(&mut self.leg, &mut self.buffer).await? {
                    0 => break,
                    count => thrown += count,
                }
            }
            io::Result::Ok(())
        };
        // Whatever happens now, the connection is over.
        drop(timeout(time, rest).await);
    }
}
