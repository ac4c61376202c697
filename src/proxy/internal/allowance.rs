//! What strangers may ask of the service, by address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

use crate::proxy::attempts::network_of;
use crate::proxy::destinations::special;

/// A request costs one, and one more for each so many bytes.
const UNIT: u64 = 64 * 1024;
/// Enough for three complete diagnoses in a row: each has a mebibyte down, up, and back.
const BURST: f64 = 180.0;
/// Comes back each second.
const REFILL: f64 = 2.0;
/// So many may share an address that is not a public one.
const CROWD: f64 = 20.0;
/// Addresses remembered.
const REMEMBERED: usize = 10_000;

/// What is left for each address that has asked lately.
#[derive(Debug, Default)]
pub(super) struct Allowance(Mutex<HashMap<IpAddr, Left>>);

#[derive(Debug, Clone, Copy)]
struct Left {
    units: f64,
    at: Instant,
}

impl Allowance {
    /// Takes a request for `bytes` from what `peer` has left; false when that is not enough.
    pub(super) fn take(&self, peer: IpAddr, bytes: u64, now: Instant) -> bool {
        #[allow(clippy::cast_precision_loss, reason = "units of megabytes")]
        let cost = 1.0 + (bytes / UNIT) as f64;
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= REMEMBERED {
            all.retain(|_, left| left.now(now) < BURST);
            if all.len() >= REMEMBERED {
                all.clear();
            }
        }
        let left = all.entry(network_of(peer)).or_insert(Left { units: BURST, at: now });
        let units = left.now(now);
        // Behind Docker's NAT everybody has the same address.
        let cost = if special(peer).is_some() { cost / CROWD } else { cost };
        let enough = units >= cost;
        *left = Left { units: if enough { units - cost } else { units }, at: now };
        enough
    }
}

impl Left {
    fn now(&self, now: Instant) -> f64 {
        let since = now.saturating_duration_since(self.at).as_secs_f64();
        REFILL.mul_add(since, self.units).min(BURST)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::{Allowance, UNIT};

    #[test]
    fn an_address_that_asks_too_much_waits_and_the_others_do_not() {
        let allowance = Allowance::default();
        let (one, other) = ("8.8.8.1".parse().unwrap(), "8.8.8.2".parse().unwrap());
        let now = Instant::now();
        let taken = (0..1000).filter(|_| allowance.take(one, 0, now)).count();
        assert_eq!(taken, 180);
        assert!(allowance.take(other, 16 * UNIT, now));
        // Everybody behind Docker's gateway.
        let crowd = (0..10_000).filter(|_| allowance.take("172.17.0.1".parse().unwrap(), 0, now));
        assert!((3590..=3600).contains(&crowd.count()));
        let later = now + Duration::from_secs(1);
        assert!(allowance.take(one, UNIT, later));
        assert!(!allowance.take(one, 0, later));
    }
}
