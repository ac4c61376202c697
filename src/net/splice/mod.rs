//! Bulk without a copy in user space: socket → pipe → socket (Linux).
//!
//! Pipes come from a pool of the thread, only for as long as they hold bytes: an idle tunnel owns
//! none. They are few, for the kernel gives a user only `pipe-user-pages-soft` pages of them, which
//! all containers of one user share; who gets none copies.

#[cfg(not(target_os = "linux"))]
mod elsewhere;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
mod pipe;

#[cfg(not(target_os = "linux"))]
pub use elsewhere::Conduit;
#[cfg(target_os = "linux")]
pub use linux::Conduit;

/// What one step has done.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// That many bytes are with the writer.
    Moved(usize),
    /// Something to do again at once, or when the sockets are ready.
    Again,
    /// The kernel refused to write what it had read: these bytes are still to be written.
    Spilled(Vec<u8>),
    /// Go on copying: no pipe, no splice here, too few bytes at a time, or the end.
    Copy,
}
