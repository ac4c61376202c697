//! What `/proc` tells of processes and of their networks.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, ErrorKind};

use crate::diag::fact::{Listener, Unseen, Why};
use crate::net::unacked::{Listening, listening};

/// Whether a process of this name runs; `None` when no process can be seen.
pub(super) fn runs(name: &str) -> Option<bool> {
    let folders = fs::read_dir("/proc").ok()?.flatten();
    let mut seen = false;
    for folder in folders {
        if let Ok(comm) = fs::read_to_string(folder.path().join("comm")) {
            seen = true;
            if comm.trim_end() == name {
                return Some(true);
            }
        }
    }
    seen.then_some(false)
}

/// Whether anything on this machine listens on `port`, for more than this machine itself.
pub(super) fn listens_here(port: u16) -> Option<bool> {
    let all = tables("thread-self").ok()?;
    Some(all.iter().any(|it| it.address.port() == port && !it.address.ip().is_loopback()))
}

/// What listens in the network of process `pid`; with `Whose::Own` it is said which is that
/// process's.
pub(super) fn listeners(pid: i32, whose: Whose) -> Result<Vec<Listener>, Unseen> {
    let all = tables(&pid.to_string()).map_err(|error| unseen(&error))?;
    let own = match whose {
        Whose::All => None,
        Whose::Own => sockets(pid),
    };
    let mut found: Vec<Listener> = all
        .into_iter()
        .filter(|it| !is_dockers(it))
        .map(|it| Listener {
            address: it.address,
            waiting: it.waiting,
            waiting_later: None,
            own: own.as_ref().map(|own| own.contains(&it.inode)),
        })
        .collect();
    found.sort_unstable();
    Ok(found)
}

/// Whether it is asked whose a listener is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    /// The network is the container's alone.
    All,
    /// It is the host's.
    Own,
}

/// Docker's own name server listens inside, on 127.0.0.11 and some port.
fn is_dockers(it: &Listening) -> bool {
    it.address.ip() == std::net::IpAddr::from([127, 0, 0, 11])
}

fn tables(process: &str) -> io::Result<Vec<Listening>> {
    let mut all = listening(&fs::read_to_string(format!("/proc/{process}/net/tcp"))?);
    // A kernel without IPv6 has no such table.
    let v6 = fs::read_to_string(format!("/proc/{process}/net/tcp6")).unwrap_or_default();
    all.extend(listening(&v6));
    Ok(all)
}

/// The numbers of the sockets that a process has open; root only.
fn sockets(pid: i32) -> Option<BTreeSet<u64>> {
    let files = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.flatten();
    let links = files.filter_map(|file| fs::read_link(file.path()).ok());
    let number = |link: std::path::PathBuf| {
        link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
    };
    Some(links.filter_map(number).collect())
}

/// `ListenOverflows` in the network of process `pid`.
pub(super) fn overflows(pid: i32) -> Option<u64> {
    counter(&fs::read_to_string(format!("/proc/{pid}/net/netstat")).ok()?, "ListenOverflows")
}

/// A number of `/proc/net/netstat`: a line of names, and one of numbers.
fn counter(table: &str, name: &str) -> Option<u64> {
    let lines: Vec<&str> = table.lines().collect();
    lines.chunks(2).find_map(|pair| {
        let [names, numbers] = pair else { return None };
        let at = names.split_ascii_whitespace().position(|it| it == name)?;
        numbers.split_ascii_whitespace().nth(at)?.parse().ok()
    })
}

/// The limit of open files of process `pid`, and how many are open; the latter is for root.
pub(super) fn files(pid: i32) -> Option<(u64, Option<u64>)> {
    let limit = file_limit(&fs::read_to_string(format!("/proc/{pid}/limits")).ok()?)?;
    let open = fs::read_dir(format!("/proc/{pid}/fd")).ok();
    Some((limit, open.and_then(|all| u64::try_from(all.count()).ok())))
}

/// The soft limit in `/proc/PID/limits`.
fn file_limit(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

/// What an error means.
pub(super) fn unseen(error: &io::Error) -> Unseen {
    #[allow(clippy::wildcard_enum_match_arm, reason = "a foreign enum of dozens of kinds")]
    let why = match error.kind() {
        ErrorKind::PermissionDenied => Why::Forbidden,
        ErrorKind::NotFound => Why::Gone,
        _ => Why::Failed,
    };
    Unseen { why, os_error: error.raw_os_error() }
}

#[cfg(test)]
mod tests {
    use super::{Whose, counter, file_limit, files, listeners, listens_here, overflows, runs};

    #[test]
    fn numbers_are_found_by_their_names() {
        let table = "TcpExt: SyncookiesSent ListenOverflows ListenDrops\nTcpExt: 1 22 333\n\
                     IpExt: InNoRoutes\nIpExt: 4\n";
        assert_eq!(counter(table, "ListenOverflows"), Some(22));
        assert_eq!(counter(table, "InNoRoutes"), Some(4));
        assert_eq!(counter(table, "Other"), None);
        assert_eq!(counter("TcpExt: ListenOverflows", "ListenOverflows"), None);
        let limits = "Limit                     Soft Limit           Hard Limit           Units\n\
                      Max open files            12                   524288               files\n";
        assert_eq!(file_limit(limits), Some(12));
        assert_eq!(file_limit("Max open files            unlimited"), None);
    }

    #[test]
    fn we_see_ourselves() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let pid = i32::try_from(std::process::id()).unwrap();
        let all = listeners(pid, Whose::Own).unwrap();
        let ours = all.iter().find(|it| it.address == address).unwrap();
        assert_eq!((ours.own, ours.waiting), (Some(true), 0));
        // Only this machine hears it.
        assert_eq!(listens_here(address.port()), Some(false));
        assert!(overflows(pid).is_some());
        let (limit, open) = files(pid).unwrap();
        assert!(open.unwrap() > 3 && open.unwrap() <= limit);
        assert!(listeners(i32::MAX, Whose::All).is_err());
        assert_eq!(runs("there is none"), Some(false));
    }
}
