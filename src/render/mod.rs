//! Words for people: a cause and its arguments become a text in Russian or English.

pub mod words;
