//! Sockets. Knows neither proxying nor diagnosing.

mod at_hand;
pub mod certificate;
pub mod dial;
pub mod direction;
pub mod h2;
pub mod halves;
pub mod judge;
pub mod knock;
pub mod leg;
pub mod limits;
pub mod listen;
mod lookups;
pub mod meter;
pub mod parent;
mod parent_error;
pub mod pin;
pub mod relay;
pub mod replay;
pub mod resolve;
mod scratch;
pub mod sniff;
pub mod splice;
pub mod sweep;
pub mod system_names;
pub mod tap;
pub mod tls;
pub mod unacked;
