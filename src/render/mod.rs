//! Reports → text. Pure. Every word is in [`phrases`].

pub mod human;
pub mod json;
pub mod phrases;
mod sentences;
