//! This machine: its adapters, its proxy settings, its hosts file, and the network it is in.

pub(super) mod adapters;
pub(super) mod hosts_file;
pub(super) mod nat64;
mod read;
pub(super) mod system_proxy;

use std::time::Duration;

use crate::diag::fact::ProxySettings;

/// Programs that are asked for a setting may hang.
const READING: Duration = Duration::from_secs(3);

/// The proxy settings of this machine; `None` when they can't be read in time.
pub fn proxy_settings() -> Option<ProxySettings> {
    let (tell, told) = std::sync::mpsc::channel();
    // Who hangs holds up nobody but this thread.
    std::thread::spawn(move || tell.send(read::all()));
    told.recv_timeout(READING).ok()
}
