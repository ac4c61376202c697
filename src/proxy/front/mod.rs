//! What clients speak; one file a protocol.

pub mod http;
