//! sami-proxy
pub mod failure;
pub mod secret;
pub mod target;
pub mod wire;
