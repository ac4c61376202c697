//! The only way out: judge → resolve → approve → dial.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;

use tokio::time::Instant;

use super::access_log::Record;
use super::origins::Origin;
use super::policy::{Approved, Trust};
use super::server::Shared;
use super::stop::Stop;
use crate::failure::Failure;
use crate::net::dial::dial;
use crate::net::resolve::ResolveError;
use crate::target::{Host, Target};

/// Which connections will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// A fresh one.
    Fresh,
    /// One that was kept, if there is one; its address was approved when it was dialed.
    Kept,
}

/// A connection to `target` for a client of that `trust`.
///
/// A refusal by name costs no look-up, a refusal by address sends no packet to it. One deadline
/// holds for name and connection together.
///
/// # Errors
///
/// [`Stop::Refused`] or [`Stop::Egress`]; `record` tells how far it came.
///
/// # Cancel safety
///
/// Dropping the future ends every attempt to connect.
pub async fn open(
    shared: &Shared,
    target: &Target,
    (trust, way): (Trust, Way),
    record: &mut Record,
) -> Result<Origin, Stop> {
    shared.policy.judge(target, trust).map_err(Stop::Refused)?;
    if way == Way::Kept
        && let Some(origin) = shared.origins.take(target)
    {
        note(&origin, record);
        return Ok(origin);
    }
    let start = Instant::now();
    let deadline = start + shared.settings.times.connect;
    let addresses = resolve(shared, target, deadline).await?;
    record.dns = Some(start.elapsed().into());
    let approved = shared
        .policy
        .approve(target, &addresses, |address| is_own(&shared.listening, address))
        .map_err(Stop::Refused)?;
    let addresses: Vec<SocketAddr> = approved.into_iter().map(Approved::address).collect();
    let start = Instant::now();
    let dialed = dial(&addresses, deadline).await;
    let (stream, dialed) = dialed.map_err(|error| Stop::Egress(error.failure))?;
    record.connect = Some(start.elapsed().into());
    let egress = stream.local_addr().ok().map(|ours| ours.ip());
    let origin = Origin {
        stream: stream.into(),
        target: target.clone(),
        dialed,
        egress,
        born: Instant::now(),
        used: false,
    };
    note(&origin, record);
    Ok(origin)
}

fn note(origin: &Origin, record: &mut Record) {
    record.dialed = Some(origin.dialed);
    record.egress = origin.egress;
}

async fn resolve(
    shared: &Shared,
    target: &Target,
    deadline: Instant,
) -> Result<Arc<[IpAddr]>, Stop> {
    match &target.host {
        Host::Ip(ip) => Ok(Arc::new([*ip])),
        Host::Name(name) => shared.resolver.resolve(name, deadline).await.map_err(|error| {
            tracing::debug!(%target, %error, "no address");
            Stop::Egress(match error {
                ResolveError::Timeout => Failure::DnsTimeout,
                ResolveError::NotFound | ResolveError::Failed(_) => Failure::DnsError,
            })
        }),
    }
}

/// Whether a connection to `address` would come back to us: the port is one of ours and the
/// address is the one we listen on, or any of this machine's when we listen on all.
fn is_own(listening: &[SocketAddr], address: SocketAddr) -> bool {
    let ip = address.ip().to_canonical();
    listening.iter().filter(|ours| ours.port() == address.port()).any(|ours| {
        ours.ip().to_canonical() == ip
            || ip.is_unspecified()
            || (ours.ip().is_unspecified() && is_local(ip))
    })
}

/// Whether `ip` belongs to this machine: only then can a socket be bound to it. (Where
/// `ip_nonlocal_bind` is set everything can; then our port is refused on other machines too.)
fn is_local(ip: IpAddr) -> bool {
    UdpSocket::bind((ip, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::is_own;

    #[test]
    fn our_own_port_is_recognised_on_every_address_of_this_machine() {
        let of = |ours: &str, address: &str| {
            is_own(&[ours.parse::<SocketAddr>().unwrap()], address.parse().unwrap())
        };
        assert!(of("0.0.0.0:8080", "127.0.0.1:8080"));
        assert!(of("0.0.0.0:8080", "127.9.9.9:8080"));
        assert!(of("0.0.0.0:8080", "0.0.0.0:8080"));
        assert!(of("0.0.0.0:8080", "[::ffff:127.0.0.1]:8080"));
        assert!(of("127.0.0.1:8080", "[::]:8080"));
        assert!(of("[::]:8080", "[::1]:8080"));
        assert!(!of("0.0.0.0:8080", "127.0.0.1:8081"));
        assert!(!of("0.0.0.0:8080", "8.8.8.8:8080"));
        assert!(!of("127.0.0.1:8080", "127.0.0.2:8080"));
    }
}
