//! A tunnel: both legs are there, from now on bytes are only carried.

use tokio::net::TcpStream;

use super::access_log::Record;
use super::connection::Client;
use super::server::Shared;
use crate::net::relay::{Early, relay};

/// Hands both legs to a task of their own, which is small: what was needed to set the tunnel up
/// is freed with the caller. `down` is what the target has said already; what the client has said
/// is still in its buffer.
pub fn start(
    shared: &Shared,
    client: Client,
    target: TcpStream,
    down: Vec<u8>,
    mut record: Record,
) {
    let Client { leg, buffer, permit, .. } = client;
    let early = Early { up: buffer.to_vec(), down };
    drop(buffer);
    let patience = shared.settings.times.patience;
    shared.tracker.spawn(async move {
        let ended = relay((leg, target), early, patience, &record.meter).await;
        record.ended(ended);
        drop(permit);
    });
}
