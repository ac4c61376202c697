//! What is seen on the server itself: Docker by its socket, the rest in `/proc`. It looks and changes
//! nothing; nothing is run in a container.

pub(super) mod address;
#[cfg(target_os = "linux")]
mod containers;
#[cfg(target_os = "linux")]
mod docker;
#[cfg(target_os = "linux")]
mod egress;
#[cfg(target_os = "linux")]
mod engine;
#[cfg(target_os = "linux")]
mod group;
#[cfg(target_os = "linux")]
mod inside;
#[cfg(target_os = "linux")]
mod inspect;
pub(super) mod kernel;
pub(super) mod listeners;
pub(super) mod packets;
#[cfg(target_os = "linux")]
mod process;
#[cfg(target_os = "linux")]
mod redact;
#[cfg(target_os = "linux")]
mod resources;
#[cfg(target_os = "linux")]
mod tool;
#[cfg(target_os = "linux")]
mod visitor;
pub(super) mod witness;

use super::{Context, Measured};
use crate::diag::fact::{Skip, Status};

/// The checks for which there is nothing to look at elsewhere than on Linux.
macro_rules! only_on_linux {
    ($($(#[$doc:meta])* $check:ident;)*) => { $(
        $(#[$doc])*
        #[cfg(target_os = "linux")]
        pub(super) async fn $check(context: &Context) -> Measured {
            $check::run(context).await
        }

        $(#[$doc])*
        #[cfg(not(target_os = "linux"))]
        pub(super) async fn $check(_context: &Context) -> Measured {
            std::future::ready((Status::Skipped(Skip::NotHere), None)).await
        }
    )* };
}

only_on_linux! {
    /// Docker's engine.
    engine;
    /// The containers that may be the proxy's.
    containers;
    /// What the proxy's container reaches.
    egress;
    /// The container that this is.
    inside;
    /// What may run out.
    resources;
}

/// Whether this machine listens on `port` for others than itself; `None` where that can't be seen.
#[cfg(target_os = "linux")]
pub(super) fn listens_here(port: u16) -> Option<bool> {
    process::listens_here(port)
}

/// Whether this machine listens on `port` for others than itself; `None` where that can't be seen.
#[cfg(not(target_os = "linux"))]
pub(super) const fn listens_here(_port: u16) -> Option<bool> {
    None
}

/// Does `look` where it does not hold up anybody; elsewhere than on Linux there is nothing to see.
async fn on_linux(look: impl FnOnce() -> Measured + Send + 'static) -> Measured {
    if !cfg!(target_os = "linux") {
        return (Status::Skipped(Skip::NotHere), None);
    }
    let looked = tokio::task::spawn_blocking(look).await;
    looked.unwrap_or((Status::Failed, None))
}

/// A file of the kernel, or what there is of it.
fn file(path: &str) -> Option<String> {
    use std::io::Read;
    /// A server with a hundred thousand connections lists them in 15 MB.
    const MOST: u64 = 32 << 20;
    let mut text = Vec::new();
    std::fs::File::open(path).ok()?.take(MOST).read_to_end(&mut text).ok()?;
    Some(String::from_utf8_lossy(&text).into_owned())
}

/// A file below `/proc/net`, of the network that this thread is in.
fn network_file(name: &str) -> Option<String> {
    file(&format!("/proc/thread-self/net/{name}"))
}

/// A number that is all there is in a file.
fn number<T: std::str::FromStr>(path: &str) -> Option<T> {
    file(path)?.split_whitespace().next()?.parse().ok()
}
