//! What the operating system lets this process have.

/// Raises the limit of open descriptors to what is allowed and returns it.
///
/// `None` where there is no such limit or it can't be read.
#[cfg(unix)]
pub fn raise_descriptor_limit() -> Option<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let limit = getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if setrlimit(Resource::Nofile, wanted).is_ok() { limit.maximum } else { limit.current }
}

/// The limit of open descriptors.
#[cfg(unix)]
pub fn descriptor_limit() -> Option<u64> {
    use rustix::process::{Resource, getrlimit};

    getrlimit(Resource::Nofile).current
}

/// Windows has no such limit.
#[cfg(not(unix))]
pub fn descriptor_limit() -> Option<u64> {
    None
}

/// How many descriptors are open, where the operating system has a list of them.
pub fn open_descriptors() -> Option<u64> {
    let list =
        std::fs::read_dir(if cfg!(target_os = "linux") { "/proc/self/fd" } else { "/dev/fd" });
    // The list itself is open while it is read.
    list.ok().map(|entries| (entries.count() as u64).saturating_sub(1))
}

/// Windows has no such limit.
#[cfg(not(unix))]
pub fn raise_descriptor_limit() -> Option<u64> {
    None
}
