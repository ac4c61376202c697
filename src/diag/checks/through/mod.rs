//! Through the proxy to a target, and the same without it.

mod body;
pub(super) mod client;
mod direct;
pub(super) mod entry;
mod goal;
pub(super) mod journey;
pub(super) mod message;
pub(super) mod reply;
mod secure;
pub(super) mod tunnel;
pub(super) mod walk;

#[cfg(test)]
mod tests;
