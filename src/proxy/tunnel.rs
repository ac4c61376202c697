//! A tunnel: both legs are there, from now on bytes are only carried.

use super::accept::Permit;
use super::access_log::Record;
use super::connection::Client;
use super::server::Shared;
use crate::net::leg::Stream;
use crate::net::meter::Meter;
use crate::net::relay::{Account, Early, Ended, relay};

/// What a tunnel holds besides its legs.
struct Tunnel {
    record: Record,
    _permit: Permit,
}

impl Account for Tunnel {
    fn meter(&self) -> &Meter {
        &self.record.meter
    }

    fn moved(&self, up: u64, down: u64) {
        self.record.passed(up, down);
    }

    fn ended(&mut self, how: Ended) {
        self.record.ended(how);
    }
}

/// Hands both legs to a task of their own, which is small: what was needed to set the tunnel up
/// is freed with the caller. `down` is what the target has said already; what the client has said
/// is still in its buffer.
pub fn start(shared: &Shared, client: Client, target: Stream, down: &[u8], mut record: Record) {
    let Client { leg, buffer, permit, .. } = client;
    let early = Early { up: &buffer, down };
    record.opened();
    let tunnel = Tunnel { record, _permit: permit };
    shared.tracker.spawn(relay((leg, target), early, shared.sweeps.mine(), tunnel));
}

#[cfg(test)]
mod tests {
    use super::Tunnel;

    #[test]
    fn the_books_of_a_tunnel_are_small() {
        let size = size_of::<Tunnel>();
        println!("record and permit of a tunnel are {size} bytes");
        assert!(size <= 288, "{size}");
    }
}
