//! HTTP/1.0 and HTTP/1.1 messages (RFC 9112), strictly.
//!
//! [`head`] finds and reads a message head, [`fields`] answers questions about its fields,
//! [`framing`] decides where the body ends, [`body`] and [`chunked`] follow it there, [`form`] reads the
//! request-target. Whatever two readers could understand differently is refused here, so that
//! nothing behind these modules has to think of request smuggling.

pub mod body;
pub mod chunked;
pub mod fields;
pub mod form;
pub mod framing;
pub mod head;
