//! Reports and causes → text. Pure. The words of reports are in [`phrases`], those of causes in
//! [`words`].

pub mod human;
pub mod json;
pub mod phrases;
mod sentences;
pub mod words;
