//! permit → accept → spawn. Never waits for a client.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::sleep;

use super::access_log::Record;
use super::connection::{self, Client};
use super::destinations::special;
use super::door::Door;
use super::reply::Persist;
use super::server::Shared;
use super::settings::Limits;
use super::spread::Seat;
use super::stop::Stop;
use super::tally::Count;
use crate::net::leg::{INHERITED, prepare};

/// After accept failed for want of descriptors: long enough not to spin, short enough not to be
/// noticed.
pub(super) const BACK_OFF: Duration = Duration::from_millis(100);

/// Refusals answered at once; whoever comes on top of that is closed without an answer.
const REFUSALS: usize = 32;

/// Counts connections.
#[derive(Debug)]
pub struct Places {
    total: Arc<Semaphore>,
    most: usize,
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
    client: Option<Box<ClientPlace>>,
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

impl Places {
    /// Places for as many as `limits` let in.
    pub fn new(limits: Limits) -> Self {
        let total = limits.connections.min(Semaphore::MAX_PERMITS);
        Self {
            total: Arc::new(Semaphore::new(total)),
            most: total,
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
    pub fn admit(&self, peer: IpAddr) -> Result<Permit, Stop> {
        let mut permit = self.admit_anyone()?;
        self.seat_client(&mut permit, peer)?;
        Ok(permit)
    }

    /// A place whose client is not known yet.
    ///
    /// # Errors
    ///
    /// [`Stop::Full`].
    pub fn admit_anyone(&self) -> Result<Permit, Stop> {
        let place = Arc::clone(&self.total).try_acquire_owned().map_err(|_| Stop::Full)?;
        Ok(Permit { _place: place, _seat: None, client: None })
    }

    /// A place for somebody to hear that there is none; `None` when there are too many of those.
    pub fn admit_refused(&self) -> Option<Permit> {
        let place = Arc::clone(&self.refusals).try_acquire_owned().ok()?;
        Some(Permit { _place: place, _seat: None, client: None })
    }

    /// Counts `permit` among those of `peer`.
    ///
    /// # Errors
    ///
    /// [`Stop::ClientFull`].
    pub fn seat_client(&self, permit: &mut Permit, peer: IpAddr) -> Result<(), Stop> {
        permit.client = self.admit_client(peer)?;
        Ok(())
    }

    /// Places that are taken.
    pub fn taken(&self) -> usize {
        self.most - self.total.available_permits()
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
                let count = shared.places.failures.fetch_add(1, Ordering::Relaxed);
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
    // Who stands behind a load balancer is only known from its first bytes.
    let balancer = shared.speaks_proxy_protocol(peer.ip());
    if !balancer && !shared.gate.admits(peer.ip()) {
        tracing::debug!(client = %peer, "closed: not in --allow-client");
        return;
    }
    if !INHERITED && prepare(&stream).is_err() {
        return;
    }
    shared.log.tally.add(Count::Connections, 1);
    let admitted =
        if balancer { shared.places.admit_anyone() } else { shared.places.admit(peer.ip()) };
    match admitted {
        Ok(permit) => {
            let theirs = Arc::clone(shared);
            shared.spread.start(stream, &shared.tracker, move |stream, seat| {
                let permit = Permit { _seat: Some(seat), ..permit };
                connection::serve(theirs, Client::new(stream, peer, permit))
            });
        }
        Err(stop) => refuse(shared, stream, peer, stop),
    }
}

/// Says that the house is full, to a few at a time.
fn refuse(shared: &Arc<Shared>, stream: TcpStream, peer: SocketAddr, stop: Stop) {
    let Some(permit) = shared.places.admit_refused() else {
        let mut record = Record::new(&shared.log, shared.next_id(), (peer, Door::Unknown));
        record.stopped(&stop, Persist::Close);
        shared.log.tally.door(Door::Unknown);
        return;
    };
    let client = Client::new(stream, peer, permit);
    let theirs = Arc::clone(shared);
    shared
        .tracker
        .spawn(async move { connection::turn_away_newcomer(&theirs, client, stop).await });
}

#[cfg(test)]
mod tests {
    use super::Places;
    use crate::proxy::settings::Limits;
    use crate::proxy::stop::Stop;

    #[test]
    fn places_are_given_back_and_counted_per_public_address() {
        let places = Places::new(Limits { connections: 4, per_client: 2 });
        let (one, two) = ("8.8.8.8".parse().unwrap(), "8.8.4.4".parse().unwrap());
        let first = places.admit(one).unwrap();
        let _second = places.admit(one).unwrap();
        assert_eq!(places.admit(one).unwrap_err(), Stop::ClientFull);
        let _third = places.admit(two).unwrap();
        drop(first);
        let _fourth = places.admit(one).unwrap();
        let _fifth = places.admit("172.17.0.1".parse().unwrap()).unwrap();
        assert_eq!(places.admit("172.17.0.1".parse().unwrap()).unwrap_err(), Stop::Full);
    }

    #[test]
    fn a_private_address_is_not_limited() {
        let places = Places::new(Limits { connections: 100, per_client: 1 });
        let places: Vec<_> = (0..50).map(|_| places.admit("172.17.0.1".parse().unwrap())).collect();
        assert!(places.iter().all(Result::is_ok));
    }
}
