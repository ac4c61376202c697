//! The names that a worker has just used, in front of the cache that all workers share: a hit costs
//! one look-up, no allocation, and no lock that another worker would want.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use crate::worker::Each;

/// Names of one worker; then all are forgotten, and asked for again in the shared cache.
const SIZE: usize = 1024;

/// One map for each worker.
#[derive(Default)]
pub(super) struct AtHand(Each<Mutex<Names>>);

#[derive(Default)]
struct Names {
    known: HashMap<Box<str>, (Arc<[IpAddr]>, Instant)>,
    hits: u64,
}

impl AtHand {
    /// The addresses of `name`, if they are known here and have not run out.
    pub(super) fn get(&self, name: &str) -> Option<Arc<[IpAddr]>> {
        let mut names = self.mine();
        let (addresses, until) = names.known.get(name)?;
        if Instant::now() >= *until {
            return None;
        }
        let addresses = Arc::clone(addresses);
        names.hits += 1;
        Some(addresses)
    }

    /// How often a name was known here.
    pub(super) fn hits(&self) -> u64 {
        let of = |names: &Mutex<Names>| names.lock().unwrap_or_else(PoisonError::into_inner).hits;
        self.0.iter().map(of).sum()
    }

    /// Notes the addresses of `name`.
    pub(super) fn put(&self, name: &str, addresses: &Arc<[IpAddr]>, until: Instant) {
        let mut names = self.mine();
        if names.known.len() >= SIZE {
            names.known.clear();
        }
        names.known.insert(name.into(), (Arc::clone(addresses), until));
    }

    fn mine(&self) -> MutexGuard<'_, Names> {
        self.0.mine().lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::time::{Instant, advance};

    use super::{AtHand, SIZE};

    #[tokio::test(start_paused = true)]
    async fn an_answer_lives_as_long_as_it_may_and_names_are_bounded() {
        let names = AtHand::default();
        let addresses: Arc<[IpAddr]> = Arc::new(["192.0.2.1".parse().unwrap()]);
        names.put("a.example", &addresses, Instant::now() + Duration::from_secs(60));
        advance(Duration::from_secs(59)).await;
        assert_eq!(names.get("a.example").unwrap(), addresses);
        assert!(names.get("b.example").is_none());
        advance(Duration::from_secs(1)).await;
        assert!(names.get("a.example").is_none());
        for number in 0..3 * SIZE {
            names.put(&number.to_string(), &addresses, Instant::now() + Duration::from_secs(60));
        }
        assert!(names.mine().known.len() <= SIZE);
        assert_eq!(names.hits(), 1);
    }
}
