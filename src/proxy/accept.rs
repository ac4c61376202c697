//! permit → accept → spawn. Never waits for a client.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::BytesMut;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::sleep;

use super::access_log::Record;
use super::connection::{self, Client};
use super::destinations::special;
use super::reply::{self, Persist, Show};
use super::server::Shared;
use super::settings::Limits;
use super::spread::Seat;
use super::stop::Stop;
use super::tally::Count;
use crate::net::leg::{INHERITED, Stream, prepare};

/// After accept failed for want of descriptors: long enough not to spin, short enough not to be
/// noticed.
const BACK_OFF: Duration = Duration::from_millis(100);

/// Refusals answered at once; whoever comes on top of that is closed without an answer.
const REFUSALS: usize = 32;

/// Counts connections.
#[derive(Debug)]
pub struct Door {
    total: Arc<Semaphore>,
    refusals: Arc<Semaphore>,
    per_client: usize,
    clients: Arc<Mutex<HashMap<IpAddr, usize>>>,
    failures: AtomicUsize,
}

/// A place among all connections, held for the connection's life.
#[derive(Debug)]
pub struct Permit {
    _place: OwnedSemaphorePermit,
    _seat: Option<Seat>,
    /// Boxed: behind Docker's NAT hardly any connection has one.
    _client: Option<Box<ClientPlace>>,
}

#[derive(Debug)]
struct ClientPlace {
    clients: Arc<Mutex<HashMap<IpAddr, usize>>>,
    address: IpAddr,
}

impl Drop for ClientPlace {
    fn drop(&mut self) {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut entry) = clients.entry(self.address) {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }
}

impl Door {
    /// A door that lets `limits` in.
    pub fn new(limits: Limits) -> Self {
        let total = limits.connections.min(Semaphore::MAX_PERMITS);
        Self {
            total: Arc::new(Semaphore::new(total)),
            refusals: Arc::new(Semaphore::new(REFUSALS)),
            per_client: limits.per_client,
            clients: Arc::default(),
            failures: AtomicUsize::new(0),
        }
    }

    /// A place for a connection from `peer`.
    ///
    /// # Errors
    ///
    /// [`Stop::Full`] or [`Stop::ClientFull`].
    fn admit(&self, peer: IpAddr) -> Result<Permit, Stop> {
        let place = Arc::clone(&self.total).try_acquire_owned().map_err(|_| Stop::Full)?;
        Ok(Permit { _place: place, _seat: None, _client: self.admit_client(peer)? })
    }

    /// Private and gateway addresses are not counted: behind Docker's NAT everybody has one.
    fn admit_client(&self, address: IpAddr) -> Result<Option<Box<ClientPlace>>, Stop> {
        if special(address).is_some() {
            return Ok(None);
        }
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let count = clients.entry(address).or_insert(0);
        if *count >= self.per_client {
            return Err(Stop::ClientFull);
        }
        *count += 1;
        Ok(Some(Box::new(ClientPlace { clients: Arc::clone(&self.clients), address })))
    }
}

/// Accepts from `listener` until the proxy drains.
pub async fn run(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shared.drain.cancelled() => return,
        };
        match accepted {
            Ok((stream, peer)) => welcome(&shared, stream, peer),
            Err(error) => {
                // The peer of one connection may be gone already; anything else is a shortage.
                let count = shared.door.failures.fetch_add(1, Ordering::Relaxed);
                if count.is_power_of_two() || count == 0 {
                    tracing::warn!(%error, times = count + 1, "accept failed");
                }
                sleep(BACK_OFF).await;
            }
        }
    }
}

fn welcome(shared: &Arc<Shared>, stream: TcpStream, peer: SocketAddr) {
    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
    if !shared.gate.admits(peer.ip()) {
        tracing::debug!(client = %peer, "closed: not in --allow-client");
        return;
    }
    if !INHERITED && prepare(&stream).is_err() {
        return;
    }
    shared.log.tally.add(Count::Connections, 1);
    match shared.door.admit(peer.ip()) {
        Ok(permit) => {
            let theirs = Arc::clone(shared);
            shared.spread.start(stream, &shared.tracker, move |stream, seat| {
                connection::serve(theirs, stream, peer, Permit { _seat: Some(seat), ..permit })
            });
        }
        Err(stop) => refuse(shared, stream, peer, stop),
    }
}

/// Says that the house is full, to a few at a time.
fn refuse(shared: &Arc<Shared>, stream: TcpStream, peer: SocketAddr, stop: Stop) {
    let mut record = Record::new(&shared.log, shared.next_id(), peer);
    record.stopped(stop, Persist::Close);
    let Ok(place) = Arc::clone(&shared.door.refusals).try_acquire_owned() else { return };
    let permit = Permit { _place: place, _seat: None, _client: None };
    let leg = Stream::Tcp(stream);
    let mut client = Client { leg, buffer: BytesMut::new(), peer, permit };
    shared.tracker.spawn(async move {
        // Who does not take the answer loses nothing.
        drop(client.send(&reply::answer(stop, Persist::Close, Show::Body)).await);
        client.close().await;
    });
}

#[cfg(test)]
mod tests {
    use super::Door;
    use crate::proxy::settings::Limits;
    use crate::proxy::stop::Stop;

    #[test]
    fn places_are_given_back_and_counted_per_public_address() {
        let door = Door::new(Limits { connections: 4, per_client: 2 });
        let (one, two) = ("8.8.8.8".parse().unwrap(), "8.8.4.4".parse().unwrap());
        let first = door.admit(one).unwrap();
        let _second = door.admit(one).unwrap();
        assert_eq!(door.admit(one).unwrap_err(), Stop::ClientFull);
        let _third = door.admit(two).unwrap();
        drop(first);
        let _fourth = door.admit(one).unwrap();
        let _fifth = door.admit("172.17.0.1".parse().unwrap()).unwrap();
        assert_eq!(door.admit("172.17.0.1".parse().unwrap()).unwrap_err(), Stop::Full);
    }

    #[test]
    fn a_private_address_is_not_limited() {
        let door = Door::new(Limits { connections: 100, per_client: 1 });
        let places: Vec<_> = (0..50).map(|_| door.admit("172.17.0.1".parse().unwrap())).collect();
        assert!(places.iter().all(Result::is_ok));
    }
}
