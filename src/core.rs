//! What every tunnel and request passes through; `src/lib.rs` has the map of the whole program.

pub mod failure;
pub mod journal;
pub mod net;
pub mod proxy;
pub mod secret;
pub mod target;
pub mod wire;
pub mod worker;
