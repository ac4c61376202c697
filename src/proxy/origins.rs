//! Connections to origins, kept for the next plain request to the same target.
//!
//! Only requests without a body that may be sent twice (RFC 9110 §9.2.2) go on connections that are
//! kept: the origin may close one at the moment it is used, and without a body no two readers can
//! differ about where the next request begins. A connection is kept only when the answer has
//! certainly ended (RFC 9112 §9.3), nothing came behind it, and no credentials are bound to it. It
//! belongs to nobody: whoever may reach the target may have it.

use std::collections::HashMap;
use std::io;
use std::mem::MaybeUninit;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use socket2::SockRef;
use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::net::leg::Stream;
use crate::target::Target;
use crate::worker::Each;

/// Origins close idle connections themselves after 5 s (Node.js) to 75 s (nginx).
const KEPT_FOR: Duration = Duration::from_secs(30);
/// How often what has run out or was closed by its origin is put away.
const TIDY: Duration = Duration::from_secs(5);
/// A busy connection is given up after this long, for the name may have other addresses by now.
const OLDEST: Duration = Duration::from_secs(300);
/// Kept for one target by one worker; as many as a browser would open, and some.
const PER_TARGET: usize = 16;
/// Kept altogether by all workers; the descriptors for them are set aside.
pub const MOST: usize = 128;

/// A connection to an origin.
#[derive(Debug)]
pub struct Origin {
    /// The socket.
    pub stream: Stream,
    /// What its other end has said already.
    pub early: Vec<u8>,
    /// Where it leads.
    pub target: Target,
    /// The address that was dialed.
    pub dialed: SocketAddr,
    /// The address of ours that it was dialed from.
    pub egress: Option<IpAddr>,
    /// When it was dialed.
    pub born: Instant,
    /// It has carried a request before.
    pub used: bool,
}

/// All kept connections.
#[derive(Debug, Default)]
pub struct Origins {
    stores: Each<Mutex<Store>>,
    first: Notify,
}

#[derive(Debug, Default)]
struct Store {
    kept: HashMap<Target, Vec<Kept>>,
    count: usize,
}

#[derive(Debug)]
struct Kept {
    origin: Origin,
    until: Instant,
}

impl Kept {
    /// Still open, and nothing was said out of turn: what is there already would be taken for the
    /// answer to the next request. The kernel is asked; the runtime may not have heard of it yet.
    fn is_fit(&self, now: Instant) -> bool {
        let Some(socket) = self.origin.stream.bare() else { return false };
        let peeked = SockRef::from(socket).peek(&mut [MaybeUninit::uninit()]);
        now < self.until && peeked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }
}

impl Origins {
    /// A connection to `target`, if one is kept here: the one that was used last.
    pub fn take(&self, target: &Target) -> Option<Origin> {
        let mut store = self.mine();
        let now = Instant::now();
        let mut taken = 0;
        let kept = store.kept.get_mut(target)?;
        let found = loop {
            let Some(last) = kept.pop() else { break None };
            taken += 1;
            if last.is_fit(now) {
                break Some(last.origin);
            }
        };
        store.count -= taken;
        found
    }

    /// Keeps `origin`, if there is room.
    pub fn put(&self, mut origin: Origin) {
        let now = Instant::now();
        // Under TLS nobody could tell whether it is still quiet.
        if now > origin.born + OLDEST || origin.stream.bare().is_none() {
            return;
        }
        let most = (MOST / self.stores.count()).max(1);
        let mut store = self.mine();
        if store.count >= most {
            return;
        }
        let kept = match store.kept.get_mut(&origin.target) {
            Some(kept) => kept,
            None => store.kept.entry(origin.target.clone()).or_default(),
        };
        if kept.len() >= PER_TARGET {
            return;
        }
        origin.used = true;
        kept.push(Kept { origin, until: now + KEPT_FOR });
        store.count += 1;
        if store.count == 1 {
            self.first.notify_one();
        }
    }

    /// What this worker keeps.
    fn mine(&self) -> MutexGuard<'_, Store> {
        self.stores.mine().lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts away what is no longer fit, for ever; without a timer while nothing is kept.
    pub async fn run(&self) {
        loop {
            self.first.notified().await;
            let mut ticks = interval(TIDY);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            while self.tidy() > 0 {
                ticks.tick().await;
            }
        }
    }

    /// Returns how many are left.
    fn tidy(&self) -> usize {
        let now = Instant::now();
        let mut left = 0;
        for each in self.stores.iter() {
            let mut store = each.lock().unwrap_or_else(PoisonError::into_inner);
            store.kept.retain(|_, kept| {
                kept.retain(|kept| kept.is_fit(now));
                !kept.is_empty()
            });
            store.count = store.kept.values().map(Vec::len).sum();
            left += store.count;
        }
        left
    }
}

#[cfg(test)]
mod tests {
    use std::mem::MaybeUninit;
    use std::time::Duration;

    use socket2::SockRef;
    use tokio::io::AsyncWriteExt;
    use tokio::net::{TcpListener, TcpStream};
    use tokio::time::{Instant, advance};

    use super::{KEPT_FOR, OLDEST, Origin, Origins, PER_TARGET};
    use crate::target::Target;

    async fn connection(listener: &TcpListener) -> (Origin, TcpStream) {
        let dialed = listener.local_addr().unwrap();
        let (stream, accepted) = tokio::join!(TcpStream::connect(dialed), listener.accept());
        let target = Target::from_authority("a.example:80").unwrap();
        let (stream, born) = (stream.unwrap(), Instant::now());
        let origin = Origin {
            stream: stream.into(),
            early: Vec::new(),
            target,
            dialed,
            egress: None,
            born,
            used: false,
        };
        (origin, accepted.unwrap().0)
    }

    #[tokio::test]
    async fn only_a_quiet_connection_to_the_same_target_is_used_again() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origins = Origins::default();
        let (one, _end) = connection(&listener).await;
        let (target, other) = (one.target.clone(), Target::from_authority("b.example:80").unwrap());
        origins.put(one);
        assert!(origins.take(&other).is_none());
        let again = origins.take(&target).unwrap();
        assert!(again.used && origins.take(&target).is_none());

        for say in [&b""[..], b"HTTP/1.1 408 Request Timeout\r\n\r\n"] {
            let (one, mut end) = connection(&listener).await;
            end.write_all(say).await.unwrap();
            end.shutdown().await.unwrap();
            // Not one.stream.readable(): nobody has told the runtime's side of the socket.
            while SockRef::from(one.stream.bare().unwrap())
                .peek(&mut [MaybeUninit::uninit()])
                .is_err()
            {
                tokio::task::yield_now().await;
            }
            origins.put(one);
            assert!(origins.take(&target).is_none(), "{say:?}");
        }
    }

    #[tokio::test]
    async fn what_is_kept_is_bounded_and_runs_out() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origins = Origins::default();
        let mut ends = Vec::new();
        for _ in 0..PER_TARGET + 5 {
            let (one, end) = connection(&listener).await;
            ends.push(end);
            origins.put(one);
        }
        assert_eq!(origins.tidy(), PER_TARGET);
        tokio::time::pause();
        advance(KEPT_FOR + Duration::from_secs(1)).await;
        assert_eq!(origins.tidy(), 0);
        tokio::time::resume();
        let (old, _end) = connection(&listener).await;
        tokio::time::pause();
        advance(OLDEST + Duration::from_secs(1)).await;
        origins.put(old);
        assert_eq!(origins.tidy(), 0);
    }
}
