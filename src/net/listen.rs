//! Binding, and why it failed.

use std::io;
use std::net::SocketAddr;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

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

/// Listens on `address`. An IPv6 wildcard takes IPv4 clients too unless `v6_only`.
///
/// # Errors
///
/// [`ListenError`].
pub fn listen(address: SocketAddr, v6_only: bool) -> Result<TcpListener, ListenError> {
    bind(address, v6_only)
        .map_err(|source| ListenError { address, reason: reason(&source), source })
}

fn bind(address: SocketAddr, v6_only: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // On Unix: a restart need not wait for TIME_WAIT. On Windows it would share the port.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(v6_only)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

fn reason(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "the port is taken by another program",
        io::ErrorKind::AddrNotAvailable => "this machine does not have that address",
        io::ErrorKind::PermissionDenied => "this user may not listen there",
        _ => "the operating system refused",
    }
}
