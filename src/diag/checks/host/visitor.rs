//! From where the person that asks is here: `SSH_CONNECTION` (ssh(1)) of this process, or of the one
//! from which it came, for `sudo` does not pass it on.

use std::net::IpAddr;

/// Shell, sudo, shell, …
const MOST_PARENTS: u32 = 16;

/// Its address.
pub(super) fn address() -> Option<IpAddr> {
    let mut process = std::process::id();
    for _ in 0..MOST_PARENTS {
        if let Some(found) = of(process) {
            return Some(found);
        }
        process = parent(process).filter(|it| *it > 1)?;
    }
    None
}

fn of(process: u32) -> Option<IpAddr> {
    let environment = super::file(&format!("/proc/{process}/environ"))?;
    let value = environment.split('\0').find_map(|it| it.strip_prefix("SSH_CONNECTION="))?;
    let address: IpAddr = value.split_whitespace().next()?.parse().ok()?;
    Some(address.to_canonical())
}

/// The fourth field of `/proc/PID/stat`, after a name that may have anything in it.
fn parent(process: u32) -> Option<u32> {
    let stat = super::file(&format!("/proc/{process}/stat"))?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}
