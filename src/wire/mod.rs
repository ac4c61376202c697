//! Bytes ↔ values. No sockets, no clocks, no policy.

pub mod basic_auth;
pub mod decimal;
pub mod http1;
pub mod parent;
pub mod proxy_header;
pub mod socks;
pub mod socks_client;
