//! Sockets. Knows neither proxying nor diagnosing.

mod at_hand;
pub mod dial;
pub mod direction;
pub mod h2;
pub mod halves;
pub mod leg;
pub mod limits;
pub mod listen;
pub mod meter;
pub mod relay;
pub mod resolve;
mod scratch;
pub mod splice;
pub mod sweep;
pub mod tls;
