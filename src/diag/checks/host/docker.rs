//! Docker's socket.

use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use bollard::{API_DEFAULT_VERSION, Docker};
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::diag::fact::Reach;

/// Where it is on every distribution.
const USUAL: &str = "/var/run/docker.sock";

/// One question.
pub(super) const LIMIT: Duration = Duration::from_secs(4);

/// The path of the socket: `DOCKER_HOST`, the usual one, or that of a Docker without root.
pub(super) fn socket() -> String {
    let told = std::env::var("DOCKER_HOST").ok();
    if let Some(path) = told.as_deref().and_then(|it| it.strip_prefix("unix://")) {
        return path.to_owned();
    }
    let own = std::env::var("XDG_RUNTIME_DIR").ok().map(|folder| format!("{folder}/docker.sock"));
    let own = own.filter(|path| !Path::new(USUAL).exists() && Path::new(path).exists());
    own.unwrap_or_else(|| USUAL.to_owned())
}

/// What connecting to it comes to.
pub(super) async fn reach(path: &str) -> (Reach, Option<i32>) {
    match timeout(LIMIT, UnixStream::connect(path)).await {
        Ok(Ok(_)) => (Reach::Works, None),
        Err(_) => (Reach::Silent, None),
        Ok(Err(error)) => {
            #[allow(clippy::wildcard_enum_match_arm, reason = "a foreign enum of dozens of kinds")]
            let reach = match error.kind() {
                ErrorKind::NotFound => Reach::Missing,
                ErrorKind::ConnectionRefused => Reach::Refused,
                ErrorKind::PermissionDenied => Reach::Forbidden,
                _ => Reach::Failed,
            };
            (reach, error.raw_os_error())
        }
    }
}

/// Docker, in the words that both sides know.
pub(super) async fn connect(path: &str) -> Option<Docker> {
    let docker = Docker::connect_with_unix(path, LIMIT.as_secs(), API_DEFAULT_VERSION).ok()?;
    timeout(LIMIT, docker.negotiate_version()).await.ok()?.ok()
}

#[cfg(test)]
mod tests {
    use super::reach;
    use crate::diag::fact::Reach;

    #[tokio::test]
    async fn a_socket_is_missing_refused_or_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("docker.sock");
        let text = path.to_str().unwrap();
        assert_eq!(reach(text).await.0, Reach::Missing);
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        assert_eq!(reach(text).await, (Reach::Works, None));
        // As after `kill -9`: the file stays.
        drop(listener);
        assert_eq!(reach(text).await.0, Reach::Refused);
    }
}
