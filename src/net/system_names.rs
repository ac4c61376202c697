//! Names as the operating system's applications find them: `getaddrinfo`, with its hosts file, its
//! cache and its name servers.

use std::io;
use std::net::IpAddr;

/// Why the operating system has no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameError {
    /// There is no such name.
    NoSuchName,
    /// It has no address.
    NoAddress,
    /// Nobody could be asked, or nobody could tell.
    TryAgain,
    /// A server refused to answer.
    Failed,
    /// Anything else.
    Other,
}

/// The addresses of `name`, each once, in the order of the operating system.
///
/// # Errors
///
/// What `getaddrinfo` says, and its number where the operating system has one.
///
/// # Cancel safety
///
/// The question goes on in a thread of its own when the future is dropped.
pub async fn lookup(name: &str) -> Result<Vec<IpAddr>, (NameError, Option<i32>)> {
    match tokio::net::lookup_host((name, 0)).await {
        Ok(found) => {
            let mut addresses: Vec<IpAddr> = Vec::new();
            for address in found {
                let ip = address.ip();
                if !addresses.contains(&ip) {
                    addresses.push(ip);
                }
            }
            Ok(addresses)
        }
        Err(error) => Err((reason(&error), error.raw_os_error())),
    }
}

/// The standard library drops the `EAI` number and keeps its text (of glibc or musl; we never
/// choose a locale, so it is English). Windows has numbers.
fn reason(error: &io::Error) -> NameError {
    const NUMBERS: [(i32, NameError); 4] = [
        (11001, NameError::NoSuchName),
        (11002, NameError::TryAgain),
        (11003, NameError::Failed),
        (11004, NameError::NoAddress),
    ];
    const TEXTS: [(&str, NameError); 10] = [
        ("Name or service not known", NameError::NoSuchName),
        ("Name does not resolve", NameError::NoSuchName),
        ("nodename nor servname provided", NameError::NoSuchName),
        ("No address associated with hostname", NameError::NoAddress),
        ("Address family for hostname not supported", NameError::NoAddress),
        ("Name has no usable address", NameError::NoAddress),
        ("Temporary failure in name resolution", NameError::TryAgain),
        ("Try again", NameError::TryAgain),
        ("Non-recoverable failure in name resolution", NameError::Failed),
        ("Non-recoverable error", NameError::Failed),
    ];
    if cfg!(windows) {
        let number = error.raw_os_error();
        let known = NUMBERS.iter().find(|(of, _)| number == Some(*of));
        return known.map_or(NameError::Other, |(_, reason)| *reason);
    }
    let text = error.to_string();
    let known = TEXTS.iter().find(|(of, _)| text.contains(of));
    known.map_or(NameError::Other, |(_, reason)| *reason)
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::{NameError, lookup, reason};

    #[tokio::test]
    async fn localhost_is_here() {
        assert!(lookup("localhost").await.unwrap().iter().all(std::net::IpAddr::is_loopback));
    }

    #[test]
    #[cfg(not(windows))]
    fn what_the_c_library_says_is_understood() {
        let of = |text: &str| {
            reason(&io::Error::other(format!("failed to lookup address information: {text}")))
        };
        assert_eq!(of("Name or service not known"), NameError::NoSuchName);
        assert_eq!(of("Name does not resolve"), NameError::NoSuchName);
        assert_eq!(of("Temporary failure in name resolution"), NameError::TryAgain);
        assert_eq!(of("Try again"), NameError::TryAgain);
        assert_eq!(of("Non-recoverable error"), NameError::Failed);
        assert_eq!(of("tea"), NameError::Other);
    }
}
