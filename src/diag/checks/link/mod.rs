//! The way to the proxy and the way beyond, with the proxy's own help (`sami-proxy.internal`).

mod ask;
pub(super) mod health;
pub(super) mod idle;
pub(super) mod report;
pub(super) mod stream;
pub(super) mod transfer;
pub(super) mod trials;

#[cfg(test)]
mod tests;
