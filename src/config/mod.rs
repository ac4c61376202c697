//! What the user wrote → settings that are valid by construction.
//!
//! [`table`] lists every setting once; flags, environment variables, the configuration file, the
//! help text and `--check-config` all come from it. [`layer`] collects what was given and where;
//! [`mod@convert`] makes [`Settings`](crate::proxy::Settings) of it.

pub mod convert;
pub mod layer;
pub mod parent_url;
pub mod table;

pub use convert::{Machine, Serve, convert, name_server};
pub use layer::{Given, Layers, Origin};

/// What is wrong with a setting, and where it was given.
#[derive(Debug, thiserror::Error)]
#[error("{origin}: {problem}")]
pub struct ConfigError {
    /// Where.
    pub origin: Origin,
    /// What; names the value unless it is secret.
    pub problem: String,
}
