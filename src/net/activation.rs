//! Sockets that the service manager has opened for us (`sd_listen_fds(3)`, systemd.socket(5)).

use std::io;
use std::net::TcpListener;

/// Why the sockets can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ActivationError {
    /// `LISTEN_FDS` or `LISTEN_PID` is no number, or there are fewer descriptors than it says.
    #[error("LISTEN_FDS: the sockets of the service manager can't be taken: {0}")]
    Environment(io::Error),
    /// One of them is no socket, or not of TCP.
    #[error("LISTEN_FDS: socket {number} of {count} is not a listening TCP socket: {source}")]
    NotTcp {
        /// Which, from 1.
        number: usize,
        /// How many there are.
        count: usize,
        /// What it is instead.
        source: io::Error,
    },
    /// A TCP socket that does not listen: the unit has `Accept=yes`.
    #[error("LISTEN_FDS: socket {number} of {count} does not listen (Accept=no is needed)")]
    NotListening {
        /// Which, from 1.
        number: usize,
        /// How many there are.
        count: usize,
    },
}

/// Takes the sockets that the service manager hands over: `LISTEN_FDS` of them from descriptor 3 on,
/// when `LISTEN_PID` is this process. None is the rule: then we open our own.
///
/// The variables are removed: call it once, before there are threads.
///
/// # Errors
///
/// [`ActivationError`]: all of them have to be listening TCP sockets.
#[cfg(target_os = "linux")]
pub fn handed_over() -> Result<Vec<TcpListener>, ActivationError> {
    // It minds LISTEN_PID and bad numbers, which listenfd lets pass.
    if sd_notify::listen_fds().map_err(ActivationError::Environment)?.len() == 0 {
        return Ok(Vec::new());
    }
    let mut given = listenfd::ListenFd::from_env();
    let count = given.len();
    (0..count).map(|at| take(&mut given, at)).collect()
}

#[cfg(target_os = "linux")]
fn take(given: &mut listenfd::ListenFd, at: usize) -> Result<TcpListener, ActivationError> {
    let (number, count) = (at + 1, given.len());
    let no_tcp = |source| ActivationError::NotTcp { number, count, source };
    let taken = given.take_tcp_listener(at).map_err(no_tcp)?;
    let listener = taken.ok_or_else(|| no_tcp(io::ErrorKind::NotFound.into()))?;
    if socket2::SockRef::from(&listener).is_listener().map_err(no_tcp)? {
        return Ok(listener);
    }
    Err(ActivationError::NotListening { number, count })
}

/// Elsewhere nobody hands any over.
///
/// # Errors
///
/// None.
#[cfg(not(target_os = "linux"))]
pub fn handed_over() -> Result<Vec<TcpListener>, ActivationError> {
    Ok(Vec::new())
}
