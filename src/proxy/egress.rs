//! The only way out: judge → resolve → approve → dial; or judge → parent.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::access_log::Record;
use super::origins::Origin;
use super::policy::{Approved, Trust};
use super::server::Shared;
use super::stop::Stop;
use super::upstream::Upstream;
use crate::failure::Failure;
use crate::net::dial::dial;
use crate::net::leg::Stream;
use crate::net::parent::ParentError;
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

/// For whom a connection is, and how it may be had.
#[derive(Debug, Clone, Copy)]
pub struct Terms<'t> {
    /// How much the client may.
    pub trust: Trust,
    /// Which connections will do.
    pub way: Way,
    /// What a parent is told of the proxies on the way, this one included (RFC 9110 §7.6.3).
    pub via: &'t str,
}

/// A connection to `target` on these `terms`.
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
    terms: Terms<'_>,
    record: &mut Record,
) -> Result<Origin, Stop> {
    shared.policy.judge(target, terms.trust).map_err(Stop::Refused)?;
    if terms.way == Way::Kept
        && let Some(origin) = shared.origins.take(target)
    {
        note(&origin, record);
        return Ok(origin);
    }
    let deadline = Instant::now() + shared.settings.times.connect;
    let upstream = shared.settings.upstream.as_ref();
    let found = match upstream.filter(|upstream| upstream.leads_to(target)) {
        None => direct(shared, target, deadline, record).await,
        Some(upstream) => {
            let asked = (target, terms.via);
            let found = Box::pin(through(shared, upstream, asked, deadline, record)).await;
            found.inspect_err(|stop| {
                // The client learns it too, but it is the operator who can mend it.
                tracing::debug!(id = record.id, "no way through the parent: {stop:?}");
            })
        }
    };
    let (stream, early, reached) = found?;
    let origin = Origin {
        stream,
        early,
        target: target.clone(),
        dialed: reached.dialed,
        egress: reached.egress,
        born: Instant::now(),
        used: false,
    };
    note(&origin, record);
    Ok(origin)
}

/// A connection, what its other end has said already, and where it leads.
type Found = (Stream, Vec<u8>, Reached);

/// The two ends of a connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reached {
    /// The address that was dialed.
    pub(super) dialed: SocketAddr,
    /// The address of ours that it was dialed from.
    pub(super) egress: Option<IpAddr>,
}

impl Reached {
    fn by(stream: &TcpStream, dialed: SocketAddr) -> Self {
        Self { dialed, egress: stream.local_addr().ok().map(|ours| ours.ip()) }
    }
}

async fn direct(
    shared: &Shared,
    target: &Target,
    deadline: Instant,
    record: &mut Record,
) -> Result<Found, Stop> {
    let start = Instant::now();
    let addresses = resolve(shared, target, deadline).await?;
    record.dns = Some(start.elapsed().into());
    let start = Instant::now();
    let (stream, dialed) = connect(shared, target, &addresses, deadline).await?;
    record.connect = Some(start.elapsed().into());
    let reached = Reached::by(&stream, dialed);
    Ok((stream.into(), Vec::new(), reached))
}

/// Dials those of `addresses` that policy approves.
async fn connect(
    shared: &Shared,
    target: &Target,
    addresses: &[IpAddr],
    deadline: Instant,
) -> Result<(TcpStream, SocketAddr), Stop> {
    let approved = shared
        .policy
        .approve(target, addresses, |address| is_own(&shared.own, address))
        .map_err(Stop::Refused)?;
    let addresses: Vec<SocketAddr> = approved.into_iter().map(Approved::address).collect();
    dial(&addresses, deadline).await.map_err(|error| Stop::Egress(error.failure))
}

/// Through the parent. Names go to it unresolved: policy has judged the name, and cannot judge the
/// addresses that the parent will find. What the client has sent ahead stays here until the parent
/// has said yes (CVE-2025-64763).
async fn through(
    shared: &Shared,
    upstream: &Upstream,
    (target, via): (&Target, &str),
    deadline: Instant,
    record: &mut Record,
) -> Result<Found, Stop> {
    shared.policy.judge_unresolved(target).map_err(Stop::Refused)?;
    if let Host::Ip(ip) = target.host {
        let own = |address| is_own(&shared.own, address);
        shared.policy.approve(target, &[ip], own).map_err(Stop::Refused)?;
    }
    let start = Instant::now();
    let (stream, reached) = dial_parent(shared, upstream, deadline).await?;
    record.dialed = Some(reached.dialed);
    // Longer than the parent's own time for the same: it knows better what went wrong.
    let deadline = deadline + shared.settings.times.connect / 2;
    let asked = timeout_at(deadline, upstream.parent.ask(stream, target, via)).await;
    let (stream, early) = match asked {
        Ok(Ok(granted)) => granted,
        Ok(Err(error)) => return Err(Stop::Parent(error.into())),
        Err(_) => return Err(Stop::Parent(ParentError::Silent.into())),
    };
    record.connect = Some(start.elapsed().into());
    Ok((stream, early, reached))
}

async fn dial_parent(
    shared: &Shared,
    upstream: &Upstream,
    deadline: Instant,
) -> Result<(TcpStream, Reached), Stop> {
    let parent = &upstream.parent.address;
    let down = |stop: Stop| Stop::ParentDown(stop.failure());
    let addresses = resolve(shared, parent, deadline).await.map_err(down)?;
    let port = parent.port.get();
    let addresses: Vec<SocketAddr> =
        addresses.iter().map(|ip| SocketAddr::new(*ip, port)).collect();
    if addresses.iter().any(|address| is_own(&shared.own, *address)) {
        return Err(Stop::ParentDown(Failure::ProxyLoopDetected));
    }
    let dialed = dial(&addresses, deadline).await;
    let (stream, dialed) = dialed.map_err(|error| Stop::ParentDown(error.failure))?;
    let reached = Reached::by(&stream, dialed);
    Ok((stream, reached))
}

/// Whether one of `addresses` accepts a connection for `target`; it is closed at once.
pub(super) async fn reach(
    shared: &Shared,
    target: &Target,
    addresses: &[IpAddr],
    deadline: Instant,
) -> Result<Reached, Failure> {
    let connected = connect(shared, target, addresses, deadline).await;
    connected.map(|(stream, dialed)| Reached::by(&stream, dialed)).map_err(|stop| stop.failure())
}

/// Whether the parent accepts a connection; it is closed at once.
pub(super) async fn reach_parent(
    shared: &Shared,
    upstream: &Upstream,
    deadline: Instant,
) -> Result<Reached, Failure> {
    let dialed = dial_parent(shared, upstream, deadline).await;
    dialed.map(|(_, reached)| reached).map_err(|stop| stop.failure())
}

fn note(origin: &Origin, record: &mut Record) {
    record.dialed = Some(origin.dialed);
    record.egress = origin.egress;
}

/// The addresses of `target`.
pub(super) async fn resolve(
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
