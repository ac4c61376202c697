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

/// Docker's engine.
pub(super) async fn engine(context: &Context) -> Measured {
    #[cfg(target_os = "linux")]
    return engine::run(context).await;
    #[cfg(not(target_os = "linux"))]
    not_here(context).await
}

/// The containers that may be the proxy's.
pub(super) async fn containers(context: &Context) -> Measured {
    #[cfg(target_os = "linux")]
    return containers::run(context).await;
    #[cfg(not(target_os = "linux"))]
    not_here(context).await
}

/// What the proxy's container reaches.
pub(super) async fn egress(context: &Context) -> Measured {
    #[cfg(target_os = "linux")]
    return egress::run(context).await;
    #[cfg(not(target_os = "linux"))]
    not_here(context).await
}

/// The container that this is.
pub(super) async fn inside(context: &Context) -> Measured {
    #[cfg(target_os = "linux")]
    return inside::run(context).await;
    #[cfg(not(target_os = "linux"))]
    not_here(context).await
}

/// What may run out.
pub(super) async fn resources(context: &Context) -> Measured {
    #[cfg(target_os = "linux")]
    return resources::run(context).await;
    #[cfg(not(target_os = "linux"))]
    not_here(context).await
}

#[cfg(not(target_os = "linux"))]
async fn not_here(_context: &Context) -> Measured {
    std::future::ready((Status::Skipped(Skip::NotHere), None)).await
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
