//! The rules by which a server's kernel lets packets in, as its tools list them.
//!
//! Values stand as the tools write them, one form for all: `10.0.0.0/8`, `10.0.0.1-10.0.0.9`, `8080`,
//! `8000-8100`, `eth*`, `new`, `0x1/0xff`. What is not understood is kept and called so.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// Everything that the tools told.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PacketFilter {
    /// Who was asked, and whether there was an answer.
    pub read: Vec<Reading>,
    /// In the order of the tools.
    pub tables: Vec<Table>,
    /// Those of `ipset`, which belong to no table.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sets: Vec<Set>,
    /// What ufw says of itself; `None` when that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ufw: Option<Ufw>,
    /// Whether firewalld runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub firewalld: Option<bool>,
    /// The address from which the person that asks is here (SSH).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub visitor: Option<IpAddr>,
}

/// One tool that was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    /// Which.
    pub tool: Tool,
    /// What came of it.
    pub outcome: Read,
}

/// A tool that lists rules, or a file that has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tool {
    /// `iptables-save`, whichever backend it has.
    Iptables,
    /// `ip6tables-save`.
    Ip6tables,
    /// `iptables-legacy-save` beside an `iptables-save` of the other kind, or the reverse.
    OtherIptables,
    /// The same for IPv6.
    OtherIp6tables,
    /// `nft -j list ruleset`.
    Nft,
    /// `ipset save`.
    Ipset,
    /// `ufw status verbose` and `/etc/default/ufw`.
    Ufw,
}

/// What came of asking a tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Read {
    /// All of it is here.
    Whole,
    /// It said more than we keep.
    Cut,
    /// There is no such tool.
    Missing,
    /// Only root may ask.
    Forbidden,
    /// It failed, or said what we can't read.
    Failed,
    /// It did not come back in time.
    Late,
}

/// A table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// Which packets come to it.
    pub family: Layer,
    /// `filter`, `nat`, `docker-bridges`, …
    pub name: String,
    /// Whose it is.
    pub backend: Backend,
    /// In the order of the tool.
    pub chains: Vec<Chain>,
    /// Named sets and maps of nft.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sets: Vec<Set>,
}

/// Which packets a table sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layer {
    /// IPv4.
    Ip,
    /// IPv6.
    Ip6,
    /// Both.
    Inet,
    /// Those of one interface, before everything else.
    Netdev,
    /// Frames on a bridge, ARP: never a packet for a port of ours.
    Other,
}

/// Who holds a table. Rules of several are in force at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Backend {
    /// `iptables` on top of nftables.
    IptablesNft,
    /// The old one.
    IptablesLegacy,
    /// nftables itself.
    Nft,
}

/// A chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chain {
    /// Its name.
    pub name: String,
    /// Where packets enter it; `None` when only a jump leads to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<Base>,
    /// In order.
    pub rules: Vec<Rule>,
}

/// Where packets enter a chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Base {
    /// `prerouting`, `input`, `forward`, `output`, `postrouting`, `ingress`.
    pub hook: String,
    /// The lowest is first.
    pub priority: i64,
    /// Whether it translates addresses; only the first packet of a connection comes to it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub nat: bool,
    /// What happens at its end.
    pub policy: Verdict,
    /// The only interfaces it is for (`netdev`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<String>,
}

/// A rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// Its place in the chain, from 1.
    pub number: u32,
    /// nft's name for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handle: Option<u64>,
    /// As people know it.
    pub text: String,
    /// All must be true.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub matches: Vec<Match>,
    /// What then happens.
    pub verdict: Verdict,
    /// How many packets came to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packets: Option<u64>,
}

/// One condition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Match {
    /// What is looked at.
    pub field: Field,
    /// Whether it must *not* be so.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub not: bool,
    /// One of these, or what the named set has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
    /// The set that has the values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set: Option<String>,
}

/// What a condition looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Field {
    /// The interface it came by.
    In,
    /// The interface it leaves by.
    Out,
    /// The address it comes from.
    Source,
    /// The address it goes to.
    Destination,
    /// The port it comes from.
    SourcePort,
    /// The port it goes to.
    Port,
    /// `tcp`, `udp`, …, or a number.
    Protocol,
    /// `ipv4`, `ipv6`.
    Family,
    /// `new`, `established`, `related`, `invalid`, `untracked`, `dnat`, `snat`.
    State,
    /// `local`, `unicast`, … of the source.
    SourceType,
    /// The same of the destination.
    DestinationType,
    /// The packet's mark.
    Mark,
    /// Flags of TCP: `fin,syn,rst,ack/syn` is of these four SYN only.
    Flags,
    /// The port it went to before it got another destination.
    OriginalPort,
    /// The address it went to before it got another destination.
    OriginalDestination,
    /// `original` is from the client, `reply` to it.
    Direction,
    /// Something that we don't understand; `values` says what.
    Unknown,
}

/// What happens to a packet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// This table is content.
    Accept,
    /// Nobody hears of it again.
    Drop,
    /// The sender is told with this (`tcp-reset`, `icmp-host-prohibited`, …).
    Reject(String),
    /// Back to where the jump was.
    Return,
    /// To another chain and back.
    Jump(String),
    /// To another chain.
    Goto(String),
    /// Another destination: an address, a port, or both.
    Dnat(String),
    /// To a port of this machine; the same one when empty.
    Redirect(String),
    /// Another source.
    Masquerade,
    /// Another mark: `0x1/0xffffffff` clears the bits of the mask and then flips those of the value;
    /// empty when it can't be told.
    Mark(String),
    /// The connection is not tracked.
    Untrack,
    /// It goes on with the next rule: a counter, a line in the log.
    Next,
    /// By the value of a field: entries of the rule, or of a named map.
    Map(VerdictMap),
    /// Something that we don't understand.
    Unknown(String),
}

/// Values and what happens for each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerdictMap {
    /// What is looked at.
    pub field: Field,
    /// In the rule itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub entries: Vec<(String, Verdict)>,
    /// Or in the map of this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub map: Option<String>,
}

/// A named set or map.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Set {
    /// Its name.
    pub name: String,
    /// How much it has.
    pub size: u64,
    /// Its values; of a large one only those that have one of [`asked`](Self::asked).
    pub values: Vec<String>,
    /// When it is large: the addresses that were looked for in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<Vec<IpAddr>>,
    /// Of a map: what happens for each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub entries: Vec<(String, Verdict)>,
    /// Whether it is of a kind that we don't understand.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unknown: bool,
}

/// What ufw says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Ufw {
    /// Whether it is switched on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active: Option<bool>,
    /// `deny`, `allow`, `reject` for what comes in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incoming: Option<String>,
    /// The same for what passes through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub routed: Option<String>,
    /// The lines of its table.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<String>,
}
