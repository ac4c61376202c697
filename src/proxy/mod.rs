//! Serving clients: the pipeline.
//!
//! ```text
//! accept ─ connection ─ front/http   ─ authorize ─ policy ─ egress ─┬─ tunnel  (CONNECT, WebSocket, SOCKS)
//!   │ permit  │ door    front/http2    │ who      │ may      │ dial  └─ forward (http://) ─ pump
//!   │ spread  │ TLS     front/socks    │          │          │ upstream, origins (kept connections)
//!   │                     └ stop → reply (every refusal)
//!   │                     └ page, internal (what it answers itself)
//!   └─ server: bind, drain; admin, metrics           access_log (one line each), tally
//! ```

pub mod accept;
pub mod access_log;
mod admin;
pub mod attempts;
pub mod authorize;
pub mod connection;
pub mod crew;
pub mod destinations;
pub mod door;
pub mod egress;
pub mod forward;
pub mod front;
pub mod internal;
pub mod known_hosts;
mod log_line;
mod metrics;
pub mod origins;
pub mod page;
pub mod policy;
mod pump;
pub mod reply;
pub mod rewrite;
pub mod server;
pub mod settings;
pub mod spread;
pub mod stop;
pub mod tally;
pub mod tunnel;
pub mod upstream;
pub mod users;
mod words;

pub use internal::Reporter;
pub use server::{Server, StartError};
pub use settings::Settings;
