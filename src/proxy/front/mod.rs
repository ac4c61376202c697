//! What clients speak; one file a protocol.

pub mod http;
pub mod http2;
pub mod socks;
