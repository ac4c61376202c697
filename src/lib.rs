//! sami-proxy
pub mod cli;
pub mod config;
pub mod failure;
pub mod journal;
pub mod net;
pub mod proxy;
pub mod secret;
pub mod target;
pub mod wire;
