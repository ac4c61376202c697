//! Reports and causes → text. Pure. All words are those of [`words`].

pub mod bundle;
pub mod compare;
mod ends;
pub mod human;
mod inside;
pub mod json;
pub mod look;
mod machine;
mod not_checked;
mod sentences;
mod server;
mod through;
mod waterfall;
pub mod words;
