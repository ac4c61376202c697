//! What is measured of the way to the proxy with the proxy's own help, and of the way beyond.

use serde::{Deserialize, Serialize};

use super::{End, Stage};

/// Bytes to or from `sami-proxy.internal`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transfer {
    /// Which way.
    pub direction: Direction,
    /// So many were to come.
    pub wanted: u64,
    /// So many came; upward, as the proxy says, or else as its kernel has acknowledged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moved: Option<u64>,
    /// How it ended: `Answered` is all of them.
    pub end: End,
    /// From the request to the end, in microseconds.
    pub elapsed_us: u64,
    /// Until the first byte of the answer, in microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_us: Option<u64>,
    /// The longest time without a byte, in microseconds; also before the first and after the last.
    pub longest_gap_us: u64,
    /// Bytes that we had sent and the other kernel had not acknowledged at the end; only known on
    /// Linux.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unacknowledged: Option<u64>,
    /// The status of an answer that is not what was asked for; then `end` is [`End::Closed`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
}

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// From the proxy.
    Down,
    /// To the proxy.
    Up,
}

/// Events that the proxy sent one by one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Streaming {
    /// So far apart, in milliseconds.
    pub interval_ms: u64,
    /// So many were to come.
    pub wanted: u32,
    /// In their order.
    pub events: Vec<Event>,
    /// How it ended: `Answered` is all of them.
    pub end: End,
    /// The status of an answer that is not what was asked for; then `end` is [`End::Closed`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
}

/// One event, in milliseconds since the first byte of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When it was sent, by the proxy's clock.
    pub sent_ms: u64,
    /// When it came.
    pub came_ms: u64,
}

/// A tunnel to the proxy itself that was silent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Idle {
    /// For so long.
    pub seconds: u64,
    /// How the first word came back: `Answered` is well.
    pub before: End,
    /// How the word after the silence came back; `None` when there was no first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<End>,
    /// How long that took, in microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub echo_us: Option<u64>,
    /// When the other side ended the tunnel in its silence, in milliseconds since the first word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_after_ms: Option<u64>,
    /// The status of an answer to `CONNECT` that is a refusal; then `before` is [`End::Closed`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
}

/// Requests that differ in one thing: what passes and what does not tells who minds what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trials {
    /// Each on a connection of its own. What could tell nothing more was not tried.
    pub trials: Vec<Trial>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    /// What was asked.
    pub trick: Trick,
    /// How it ended.
    pub end: End,
    /// Where it ended, for [`Trick::OtherSni`] and [`Trick::WantedSni`]: at [`Stage::Proxy`] when there
    /// was no tunnel, else at [`Stage::TargetTls`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<Stage>,
    /// The status of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Whether the proxy's kernel has acknowledged everything; only known on Linux.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged: Option<bool>,
    /// Until the end, in microseconds.
    pub elapsed_us: u64,
}

/// What a trial asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trick {
    /// `GET /healthz`: nothing that looks like a proxy.
    OriginForm,
    /// `CONNECT` to a name that means nothing to anybody: `sami-proxy.internal:7` when the proxy is
    /// ours, else one of `.invalid`.
    NeutralName,
    /// `CONNECT` to the first target.
    WantedName,
    /// `CONNECT` to the first target, in pieces: in none of them the name is whole.
    SplitLine,
    /// A tunnel to the first target and a `ClientHello` for it.
    WantedSni,
    /// The same tunnel and a `ClientHello` for a neutral name.
    OtherSni,
}

/// What the proxy says of its own way out (`sami-proxy.internal/health`).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Health {
    /// Why nothing is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<End>,
    /// The status of an answer that is not what was asked for; then `failure` is [`End::Closed`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// What it tried to reach, `HOST:PORT`; printable ASCII.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Looking up its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns: Option<Far>,
    /// A connection by IPv4.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv4: Option<Far>,
    /// A connection by IPv6.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv6: Option<Far>,
    /// A tunnel through its parent proxy, when it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream: Option<Far>,
}

/// One thing that the proxy tried.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Far {
    /// `None` when there was nothing to try: a name without such an address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ok: Option<bool>,
    /// In milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ms: Option<u64>,
    /// The word of RFC 9209 §2.3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// From which address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub egress: Option<String>,
}
