//! `sami-proxy.internal`: what diagnostics talk to, through the proxy.
//!
//! The name exists in this proxy only (`.internal` is set aside for private use). It tells the way
//! from the client to the proxy apart from the way beyond: what works here and fails elsewhere
//! fails beyond the proxy.

mod allowance;
mod health;
mod report;
mod transfer;

use std::time::{Duration, SystemTime};

use serde_json::json;
use tokio::time::Instant;

use super::authorize::Identity;
use super::connection::Client;
use super::policy::Trust;
use super::stop::Stop;
use crate::target::{Host, Target};
use allowance::Allowance;
pub use health::Health;
pub use report::Reporter;
pub use transfer::{bytes, echo, sink, stream};

/// The host.
pub const NAME: &str = "sami-proxy.internal";
/// RFC 862.
const ECHO_PORT: u16 = 7;
const HTTP_PORT: u16 = 80;

/// The longest nonce that is echoed.
const LONGEST_NONCE: usize = 64;

/// How much a client may ask for at once.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    bytes: u64,
    events: u32,
}

const STRANGER: Bounds = Bounds { bytes: 1 << 20, events: 60 };
const TRUSTED: Bounds = Bounds { bytes: 64 << 20, events: 1000 };

const fn bounds(trust: Trust) -> Bounds {
    match trust {
        Trust::Trusted => TRUSTED,
        Trust::Stranger => STRANGER,
    }
}

/// The most bytes of one transfer for a client of that `trust`.
pub const fn most_bytes(trust: Trust) -> u64 {
    bounds(trust).bytes
}

/// The longest distance between two events; a stream of a minute's silence is what LLMs do.
const LONGEST_INTERVAL: Duration = Duration::from_secs(60);
/// The longest stream.
const LONGEST_STREAM: Duration = Duration::from_secs(600);

/// What is asked of the service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Task {
    /// Who the client is; this comes back with it.
    WhoAmI(Option<String>),
    /// So many bytes down.
    Bytes(u64),
    /// As many bytes up as the body has.
    Sink,
    /// Server-sent events, and the time between them.
    Stream(u32, Duration),
    /// Whether names and connections work from here.
    Health,
    /// What the machine here looks like; for trusted clients.
    Report,
}

/// Why the service has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ServiceError {
    /// No such path, method or port.
    #[error(
        "sami-proxy.internal has GET /whoami, /bytes?n=, /stream?events=&interval_ms=, /health, /report, and POST /sink"
    )]
    Unknown,
    /// A number is missing, malformed or too large.
    #[error("{0}")]
    Query(&'static str),
    /// The body is longer than this client may send.
    #[error("the body is longer than 1 MiB, or 64 MiB for trusted clients")]
    TooLarge,
    /// Only trusted clients may ask that.
    #[error(
        "the report on this machine is for trusted clients only: those with credentials, from loopback, or of --trust-client"
    )]
    Untrusted,
    /// The machine could not be looked at.
    #[error("there is no report on this machine at the moment")]
    NoReport,
}

/// What the service shares among connections.
#[derive(Debug)]
pub struct Service {
    allowance: Allowance,
    /// The last answer of `/health`.
    pub health: Health,
    /// Looks for `/report`; without it there is no such path.
    pub reporter: Option<Reporter>,
}

/// Whether `target` is this service by HTTP.
pub fn is_service(target: &Target) -> bool {
    is_named(target) && target.port.get() == HTTP_PORT
}

/// Whether `target` is a tunnel that echoes.
pub fn is_echo(target: &Target) -> bool {
    is_named(target) && target.port.get() == ECHO_PORT
}

/// Whether `target` is this service at all.
pub fn is_named(target: &Target) -> bool {
    matches!(&target.host, Host::Name(name) if &**name == NAME)
}

impl Task {
    /// Reads a request for `path`, which may have a query.
    ///
    /// # Errors
    ///
    /// [`ServiceError`].
    pub fn read(method: &str, path: &str, trust: Trust) -> Result<Self, ServiceError> {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let bounds = bounds(trust);
        let got = matches!(method, "GET" | "HEAD");
        match path {
            "/whoami" if got => Ok(Self::WhoAmI(nonce(query))),
            "/health" if got => Ok(Self::Health),
            "/report" if got => match trust {
                Trust::Trusted => Ok(Self::Report),
                Trust::Stranger => Err(ServiceError::Untrusted),
            },
            "/sink" if matches!(method, "POST" | "PUT") => Ok(Self::Sink),
            "/bytes" if got => number(query, "n")
                .filter(|bytes| *bytes <= bounds.bytes)
                .map(Self::Bytes)
                .ok_or(ServiceError::Query("n must be a number up to 1048576 (trusted clients: 67108864)")),
            "/stream" if got => stream_of(query, bounds).ok_or(ServiceError::Query(
                "events must be a number from 1 to 60 (trusted clients: 1000), interval_ms one up to 60000, and both together at most ten minutes",
            )),
            _ => Err(ServiceError::Unknown),
        }
    }

    const fn bytes(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => *bytes,
            // Not known before it comes; one mebibyte is what strangers may send.
            Self::Sink => STRANGER.bytes,
            Self::WhoAmI(_) | Self::Stream(..) | Self::Health | Self::Report => 0,
        }
    }
}

fn stream_of(query: &str, bounds: Bounds) -> Option<Task> {
    let events = u32::try_from(number(query, "events")?).ok()?;
    let interval = Duration::from_millis(number(query, "interval_ms")?);
    let fits = (1..=bounds.events).contains(&events)
        && interval <= LONGEST_INTERVAL
        && interval * events <= LONGEST_STREAM;
    fits.then_some(Task::Stream(events, interval))
}

/// The value of `key`.
fn value<'q>(query: &'q str, key: &str) -> Option<&'q str> {
    query.split('&').filter_map(|pair| pair.split_once('=')).find(|(k, _)| *k == key).map(|it| it.1)
}

fn number(query: &str, key: &str) -> Option<u64> {
    value(query, key)
        .filter(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|digits| digits.parse().ok())
}

/// What identifies an answer as the one to this question; harmless wherever it is printed.
pub fn nonce(query: &str) -> Option<String> {
    value(query, "nonce")
        .filter(|nonce| nonce.len() <= LONGEST_NONCE)
        .filter(|nonce| nonce.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)))
        .map(str::to_owned)
}

/// Who the client is, as this proxy sees it, in JSON.
pub fn whoami(client: &Client, who: &Identity, nonce: Option<&str>) -> String {
    let now = SystemTime::now();
    json!({
        "service": "sami-proxy",
        "version": env!("CARGO_PKG_VERSION"),
        "client": client.peer.to_string(),
        "door": client.door.word(),
        "user": who.user(),
        "trusted": who.trust() == Trust::Trusted,
        "time": humantime::format_rfc3339_millis(now).to_string(),
        "nonce": nonce,
    })
    .to_string()
}

impl Service {
    /// Nothing was asked yet.
    pub fn new(reporter: Option<Reporter>) -> Self {
        Self { allowance: Allowance::default(), health: Health::default(), reporter }
    }

    /// Counts `task` against what the client may ask.
    ///
    /// # Errors
    ///
    /// [`Stop::RateLimited`].
    pub fn admit(&self, task: &Task, client: &Client, who: &Identity) -> Result<(), Stop> {
        self.take(task.bytes(), client, who)
    }

    /// Counts an echo like a body of the most that may come.
    ///
    /// # Errors
    ///
    /// [`Stop::RateLimited`].
    pub fn admit_echo(&self, client: &Client, who: &Identity) -> Result<(), Stop> {
        self.take(STRANGER.bytes, client, who)
    }

    fn take(&self, bytes: u64, client: &Client, who: &Identity) -> Result<(), Stop> {
        let free = who.trust() == Trust::Trusted
            || self.allowance.take(client.peer.ip(), bytes, Instant::now());
        if free { Ok(()) } else { Err(Stop::RateLimited) }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{ServiceError, Task};
    use crate::proxy::policy::Trust;

    #[test]
    fn a_task_is_read_and_bounded() {
        let of = |method, path| Task::read(method, path, Trust::Stranger);
        let trusted = |path| Task::read("GET", path, Trust::Trusted);
        assert_eq!(of("GET", "/whoami"), Ok(Task::WhoAmI(None)));
        assert_eq!(of("GET", "/whoami?nonce=aZ-1_"), Ok(Task::WhoAmI(Some("aZ-1_".into()))));
        assert_eq!(of("GET", "/whoami?nonce=%3Cb%3E"), Ok(Task::WhoAmI(None)));
        assert_eq!(of("GET", "/bytes?n=1048576"), Ok(Task::Bytes(1 << 20)));
        assert!(matches!(of("GET", "/bytes?n=1048577"), Err(ServiceError::Query(_))));
        assert_eq!(trusted("/bytes?n=67108864"), Ok(Task::Bytes(64 << 20)));
        for query in ["n=67108865", "n=-1", "n=+1", "n=", "m=1", "n=99999999999999999999", "n=1%30"]
        {
            let path = format!("/bytes?{query}");
            let read = Task::read("GET", &path, Trust::Trusted);
            assert!(matches!(read, Err(ServiceError::Query(_))));
        }
        let (events, interval) = (3, Duration::from_millis(200));
        let stream = of("GET", "/stream?interval_ms=200&events=3");
        assert_eq!(stream, Ok(Task::Stream(events, interval)));
        assert!(trusted("/stream?events=1000&interval_ms=601").is_err());
        assert!(of("GET", "/stream?events=61&interval_ms=1").is_err());
        assert_eq!(of("POST", "/sink"), Ok(Task::Sink));
        assert_eq!(of("GET", "/report"), Err(ServiceError::Untrusted));
        assert_eq!(trusted("/report"), Ok(Task::Report));
        for (method, path) in
            [("GET", "/sink"), ("POST", "/whoami"), ("GET", "/"), ("POST", "/report")]
        {
            assert_eq!(of(method, path), Err(ServiceError::Unknown));
        }
    }
}
