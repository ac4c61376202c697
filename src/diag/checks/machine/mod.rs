//! This machine: its adapters, its proxy settings, its hosts file, and the network it is in.

pub(super) mod adapters;
pub(super) mod hosts_file;
pub(super) mod nat64;
mod read;
pub(super) mod system_proxy;
