//! What may run out on this server.

use rustix::fs::statvfs;

use super::super::{Context, Measured};
use super::inside::serving;
use super::process::files;
use crate::diag::evidence::Role;
use crate::diag::fact::{Data, Disk, Files, Resources, Status};
use crate::diag::plan_host::NAME;

/// Looks at disks, memory and open files.
pub(in super::super) async fn run(context: &Context) -> Measured {
    let evidence = &context.evidence;
    let root = evidence.engine().and_then(|(_, it)| it.root.clone());
    let paths = [Some("/".to_owned()), root.or_else(|| Some("/var/lib/docker".to_owned()))];
    let disks: Vec<Disk> = paths.into_iter().flatten().filter_map(disk).collect();
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let asked = evidence.asked.container.as_deref().unwrap_or(NAME);
    let proxy = match evidence.asked.role {
        Role::Container => serving().map(|it| (asked, it.process)),
        Role::Client | Role::Host => {
            evidence.container().and_then(|(_, it)| Some((it.name.as_str(), it.last().pid?)))
        }
    };
    let files = proxy.and_then(|(name, process)| {
        let (limit, open) = files(process)?;
        Some(Files { container: name.to_owned(), limit, open })
    });
    let resources = Resources {
        disks,
        memory_available: bytes(&meminfo, "MemAvailable"),
        memory_total: bytes(&meminfo, "MemTotal"),
        swap_free: bytes(&meminfo, "SwapFree"),
        files,
    };
    std::future::ready((Status::Worked, Some(Data::Resources(resources)))).await
}

fn disk(path: String) -> Option<Disk> {
    let found = statvfs(path.as_str()).ok()?;
    Some(Disk {
        path,
        free: found.f_bavail.saturating_mul(found.f_frsize),
        size: found.f_blocks.saturating_mul(found.f_frsize),
        files_free: (found.f_files > 0).then_some(found.f_favail),
    })
}

/// A line of `/proc/meminfo` (proc(5)), in bytes.
fn bytes(meminfo: &str, name: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    let kilobytes: u64 = line.split_ascii_whitespace().next()?.parse().ok()?;
    kilobytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::{bytes, disk};

    #[test]
    fn memory_and_disks_are_counted_in_bytes() {
        let meminfo = "MemTotal:        2035340 kB\nMemAvailable:       9000 kB\nSwapFree: 0 kB\n";
        assert_eq!(bytes(meminfo, "MemAvailable"), Some(9_216_000));
        assert_eq!(bytes(meminfo, "SwapFree"), Some(0));
        assert_eq!(bytes(meminfo, "Mem"), None);
        let root = disk("/".to_owned()).unwrap();
        assert!(root.size > 0 && root.free <= root.size);
        assert!(disk("/there/is/none".to_owned()).is_none());
    }
}
