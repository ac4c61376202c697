//! Binding, and why it failed.

use std::io;
use std::net::SocketAddr;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

use super::leg::prepare;

/// Connections the kernel keeps for us while we are busy; the kernel caps it at
/// `net.core.somaxconn` (4096 on Linux since 5.4).
const BACKLOG: i32 = 4096;

/// Why an address can't be listened on.
#[derive(Debug, thiserror::Error)]
#[error("{address}: {reason}")]
pub struct ListenError {
    /// The address that was asked for.
    pub address: SocketAddr,
    /// What the operating system says, in a person's words.
    pub reason: &'static str,
    /// The operating system's error.
    #[source]
    pub source: io::Error,
}

/// Which clients an IPv6 wildcard takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stack {
    /// IPv4 clients too.
    Dual,
    /// IPv6 clients only: another listener has the others.
    V6Only,
}

/// Listens on `address`.
///
/// # Errors
///
/// [`ListenError`].
pub fn listen(address: SocketAddr, stack: Stack) -> Result<TcpListener, ListenError> {
    bind(address, stack).map_err(|source| ListenError { address, reason: reason(&source), source })
}

/// Takes over a socket that listens already.
///
/// # Errors
///
/// [`ListenError`].
pub fn adopt(listener: std::net::TcpListener) -> Result<TcpListener, ListenError> {
    let address = listener.local_addr().unwrap_or_else(|_| ([0, 0, 0, 0], 0).into());
    let adopted = || {
        listener.set_nonblocking(true)?;
        prepare(&listener)?;
        TcpListener::from_std(listener)
    };
    adopted().map_err(|source| ListenError { address, reason: reason(&source), source })
}

fn bind(address: SocketAddr, stack: Stack) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // On Unix: a restart need not wait for TIME_WAIT. On Windows it would share the port.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(stack == Stack::V6Only)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    // For all accepted connections at once, where they inherit it.
    prepare(&socket)?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

fn reason(error: &io::Error) -> &'static str {
    #[allow(clippy::wildcard_enum_match_arm, reason = "a foreign enum of dozens of kinds")]
    match error.kind() {
        io::ErrorKind::AddrInUse => "the port is taken by another program",
        io::ErrorKind::AddrNotAvailable => "this machine does not have that address",
        io::ErrorKind::PermissionDenied => "this user may not listen there",
        _ => "the operating system refused",
    }
}

#[cfg(test)]
mod tests {
    use socket2::SockRef;
    use tokio::net::TcpStream;

    use super::{Stack, listen};
    use crate::net::leg::INHERITED;

    #[tokio::test]
    async fn accepted_connections_have_their_options() {
        let listener = listen("127.0.0.1:0".parse().unwrap(), Stack::V6Only).unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        let socket = SockRef::from(&accepted);
        if INHERITED {
            assert!(socket.tcp_nodelay().unwrap() && socket.keepalive().unwrap());
            assert_eq!(socket.tcp_keepalive_time().unwrap().as_secs(), 45);
            assert_eq!(socket.tcp_keepalive_interval().unwrap().as_secs(), 15);
            assert_eq!(socket.tcp_keepalive_retries().unwrap(), 4);
            #[cfg(target_os = "linux")]
            assert_eq!(socket.tcp_user_timeout().unwrap().unwrap().as_secs(), 120);
        }
    }
}
