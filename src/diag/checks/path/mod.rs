//! The way to the port and what answers there.

pub(super) mod connect;
pub(super) mod control;
pub(super) mod exchange;
pub(super) mod hello;
pub(super) mod ladder;
pub(super) mod other_resolver;
pub(super) mod resolve;
pub(super) mod route;
pub(super) mod siblings;
mod speaks;
