//! What clients speak; one file a protocol.

pub mod http;
pub mod http2;
mod inside;
pub mod socks;
