//! Work inside the network of another process. Linux, and root only.

use std::io;

/// Does `work` on a thread of its own that has entered the network namespace of process `pid`;
/// sockets that are opened there stay there. Nothing else of this program enters it, and nothing of
/// that process is changed.
///
/// # Errors
///
/// The operating system's: `EACCES` or `EPERM` without root, `ENOENT` when the process is gone;
/// `Unsupported` everywhere but on Linux.
///
/// # Cancel safety
///
/// When the future is dropped the work still goes on to its end.
#[cfg(target_os = "linux")]
pub async fn within<T, W, F>(pid: i32, work: W) -> io::Result<T>
where
    T: Send + 'static,
    W: FnOnce() -> F + Send + 'static,
    F: Future<Output = T>,
{
    let namespace = std::fs::File::open(format!("/proc/{pid}/ns/net"))?;
    on_a_thread(move || {
        use std::os::fd::AsFd as _;

        use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(runtime.block_on(work()))
    })
    .await
}

#[cfg(target_os = "linux")]
async fn on_a_thread<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let (done, is_done) = tokio::sync::oneshot::channel();
    std::thread::Builder::new().name("namespace".into()).spawn(move || {
        let _nobody_waits = done.send(work());
    })?;
    is_done.await.unwrap_or_else(|_| Err(io::Error::other("the thread has ended")))
}

/// Elsewhere there are no namespaces.
///
/// # Errors
///
/// Always.
#[cfg(not(target_os = "linux"))]
pub async fn within<T, W, F>(_pid: i32, _work: W) -> io::Result<T>
where
    T: Send + 'static,
    W: FnOnce() -> F + Send + 'static,
    F: Future<Output = T>,
{
    std::future::ready(Err(io::ErrorKind::Unsupported.into())).await
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::within;

    #[tokio::test]
    async fn our_own_namespace_is_where_we_are_and_nobody_has_that_of_nobody() {
        let here = std::fs::read_link("/proc/thread-self/ns/net").unwrap();
        let pid = i32::try_from(std::process::id()).unwrap();
        let there =
            within(pid, || async { std::fs::read_link("/proc/thread-self/ns/net").unwrap() }).await;
        match there {
            Ok(there) => assert_eq!(there, here),
            // Only root may.
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied),
        }
        assert!(within(i32::MAX, || async {}).await.is_err());
    }
}
