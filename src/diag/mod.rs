//! Diagnosing: facts, then reasons, then words; three layers that do not know each other.

pub mod code;
