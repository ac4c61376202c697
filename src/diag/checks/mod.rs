//! The catalogue of checks. A check observes; it does not judge, print or translate.
//!
//! A new check is a row in [`CheckId`], a file here, a line in [`measure`] and one in
//! [`super::plan`].

mod host;
mod link;
mod machine;
mod path;
mod through;

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::ask::Ask;
use super::evidence::Evidence;
use super::fact::{Attempt, CheckId, Data, Direction, Outcome, Skip, Status};
use super::plan::Step;
use super::server::Server;
use crate::net::knock::{Knock, knock};

pub use machine::proxy_settings;

/// What a check may use.
#[derive(Debug, Clone)]
pub(super) struct Context {
    /// What was asked for, secrets included.
    pub(super) ask: std::sync::Arc<Ask>,
    /// What is known so far.
    pub(super) evidence: std::sync::Arc<Evidence>,
    /// When the whole run is over.
    pub(super) deadline: Instant,
    /// The time of the whole run.
    pub(super) budget: Duration,
    /// Cancelled when the user has had enough.
    pub(super) stop: CancellationToken,
}

/// What a check found.
pub(super) type Measured = (Status, Option<Data>);

/// What the proxy's own doctor says, for who may ask; `None` when it is not ours.
pub(super) async fn other_end(context: &Context) -> Option<Server> {
    link::report::ask(context).await
}

/// Runs the check of `step`. It ends soon after the deadline, with what it has by then.
pub(super) async fn measure(step: &Step, context: &Context) -> Measured {
    match (step.check, step.address) {
        (CheckId::Resolve, _) => path::resolve::run(context).await,
        (CheckId::OtherResolver, _) => path::other_resolver::run(&step.subject, context).await,
        (CheckId::Route, address) => path::route::run(address.map(|it| it.ip())).await,
        (CheckId::TcpConnect, Some(address)) => path::connect::run(address, context).await,
        (CheckId::SiblingPorts, Some(address)) => path::siblings::run(address, context).await,
        (CheckId::TtlLadder, Some(address)) => path::ladder::run(address, context).await,
        (CheckId::ControlAddress, Some(address)) => path::control::run(address, context).await,
        (CheckId::Hello, Some(address)) => path::hello::run(address, context).await,
        (CheckId::LinkDown, Some(proxy)) => {
            link::transfer::run(proxy, Direction::Down, context).await
        }
        (CheckId::LinkUp, Some(proxy)) => link::transfer::run(proxy, Direction::Up, context).await,
        (CheckId::Stream, Some(proxy)) => link::stream::run(proxy, context).await,
        (CheckId::IdleTunnel, Some(proxy)) => link::idle::run(proxy, context).await,
        (CheckId::ProxyHealth, Some(proxy)) => link::health::run(proxy, context).await,
        (CheckId::Trials, Some(proxy)) => link::trials::run(proxy, context).await,
        (CheckId::ThroughProxy | CheckId::Llm, Some(proxy)) => {
            through::journey::run(&step.subject, Some(proxy), context).await
        }
        (CheckId::DockerEngine, _) => host::engine(context).await,
        (CheckId::Container, _) => host::containers(context).await,
        (CheckId::ContainerEgress, _) => host::egress(context).await,
        (CheckId::ContainerInside, _) => host::inside(context).await,
        (CheckId::ServerResources, _) => host::resources(context).await,
        (CheckId::PacketFilter, _) => host::packets::run().await,
        (CheckId::HostListeners, _) => host::listeners::run(context).await,
        (CheckId::KernelSettings, _) => host::kernel::run().await,
        (CheckId::PublicAddress, _) => host::address::run().await,
        (CheckId::Witness, _) => host::witness::run(context).await,
        (CheckId::Adapters, _) => machine::adapters::run(context).await,
        (CheckId::SystemProxy, _) => machine::system_proxy::run(context).await,
        (CheckId::HostsFile, _) => machine::hosts_file::run(context).await,
        (CheckId::Nat64, _) => machine::nat64::run(context).await,
        (CheckId::Direct | CheckId::Portal, _) => {
            through::journey::run(&step.subject, None, context).await
        }
        (CheckId::OrdinaryClient, Some(proxy)) => {
            through::client::run(&step.subject, proxy, context).await
        }
        (
            CheckId::TcpConnect
            | CheckId::SiblingPorts
            | CheckId::TtlLadder
            | CheckId::ControlAddress
            | CheckId::Hello
            | CheckId::LinkDown
            | CheckId::LinkUp
            | CheckId::Stream
            | CheckId::IdleTunnel
            | CheckId::ProxyHealth
            | CheckId::Trials
            | CheckId::ThroughProxy
            | CheckId::Llm
            | CheckId::OrdinaryClient,
            None,
        ) => (Status::Skipped(Skip::NoAddress), None),
    }
}

impl Context {
    /// Done when there is no more time, or no more wish.
    pub(super) async fn over(&self) {
        tokio::select! {
            () = tokio::time::sleep_until(self.deadline) => {}
            () = self.stop.cancelled() => {}
        }
    }

    /// What is left of the whole time.
    pub(super) fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// `limit`, but not more than two fifths of the whole time (a second at least), so that a run
    /// with little time gets to the next area.
    pub(super) fn capped(&self, limit: Duration) -> Duration {
        limit.min((self.budget * 2 / 5).max(Duration::from_secs(1)))
    }

    /// The usual way there and back to `address`; what a far host may need when it is not known.
    pub(super) fn round_trip(&self, address: std::net::SocketAddr) -> Duration {
        let known = [Outcome::Open, Outcome::Refused]
            .into_iter()
            .find_map(|outcome| self.evidence.times(address, outcome).last().copied());
        known.map_or(Duration::from_millis(300), Duration::from_micros)
    }

    /// One connect as a fact.
    pub(super) async fn attempt(
        &self,
        address: std::net::SocketAddr,
        ttl: Option<u8>,
        limit: Duration,
    ) -> Attempt {
        let begun = Instant::now();
        let knocked = tokio::select! {
            knocked = knock(address, ttl, limit) => Some(knocked),
            () = self.over() => None,
        };
        let elapsed = knocked.as_ref().map_or_else(|| begun.elapsed(), |it| it.elapsed);
        let (outcome, os_error) = match knocked {
            None => (Outcome::Unfinished, None),
            Some(Knock { outcome: Ok(_), .. }) => (Outcome::Open, None),
            Some(Knock { outcome: Err(error), .. }) => (outcome_of(&error), error.raw_os_error()),
        };
        Attempt { address, outcome, os_error, elapsed_us: micros(elapsed), ttl }
    }
}

/// A time as facts have it.
pub(super) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// What an error of `connect` means; by the operating system's number where the kind is too coarse.
fn outcome_of(error: &std::io::Error) -> Outcome {
    use std::io::ErrorKind;
    if error.raw_os_error().is_some_and(|number| PROTOCOL_UNREACHABLE.contains(&number)) {
        return Outcome::ProtocolUnreachable;
    }
    if error.raw_os_error().is_some_and(|number| OWN_LIMITS.contains(&number)) {
        return Outcome::OwnLimits;
    }
    #[allow(clippy::wildcard_enum_match_arm, reason = "a foreign enum of dozens of kinds")]
    match error.kind() {
        ErrorKind::ConnectionRefused => Outcome::Refused,
        ErrorKind::TimedOut => Outcome::Silent,
        ErrorKind::HostUnreachable => Outcome::HostUnreachable,
        ErrorKind::NetworkUnreachable | ErrorKind::NetworkDown => Outcome::NetworkUnreachable,
        ErrorKind::PermissionDenied => Outcome::Forbidden,
        ErrorKind::AddrNotAvailable => Outcome::NoSource,
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted => Outcome::Reset,
        _ => Outcome::Other,
    }
}

/// `ENOPROTOOPT`; a `connect` never says that for another reason.
#[cfg(unix)]
const PROTOCOL_UNREACHABLE: [i32; 1] = [rustix::io::Errno::NOPROTOOPT.raw_os_error()];
/// `WSAENOPROTOOPT`.
#[cfg(not(unix))]
const PROTOCOL_UNREACHABLE: [i32; 1] = [10042];

/// `EMFILE`, `ENFILE`, `ENOBUFS`.
#[cfg(unix)]
const OWN_LIMITS: [i32; 3] = [
    rustix::io::Errno::MFILE.raw_os_error(),
    rustix::io::Errno::NFILE.raw_os_error(),
    rustix::io::Errno::NOBUFS.raw_os_error(),
];
/// `WSAEMFILE`, `WSAENOBUFS`, `WSAEPROCLIM`.
#[cfg(not(unix))]
const OWN_LIMITS: [i32; 3] = [10024, 10055, 10067];
