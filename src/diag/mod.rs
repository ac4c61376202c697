//! Diagnosing: facts, then reasons, then words; three layers that do not know each other.
//!
//! [`plan`] says what to do, [`run`] does it with the files in `checks`, [`evidence`] holds the facts,
//! [`infer`] finds suspects, [`diagnosis`] picks the one cause, [`fix`] what mends it, [`report`]
//! is all of it for [`crate::render`].

pub mod ask;
pub mod changes;
mod checks;
pub mod code;
pub mod diagnosis;
pub mod evidence;
pub mod fact;
pub mod fix;
pub mod infer;
pub mod interceptors;
pub mod llm;
pub mod packets;
pub mod plan;
pub mod plan_host;
pub mod report;
mod report_host;
pub mod run;
pub mod saved;
pub mod scrub;
pub mod server;
pub mod settings;
pub mod ssh;
pub mod times;
pub mod token;
pub mod withheld;

pub use checks::proxy_settings;
