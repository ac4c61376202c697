//! What the other end says: the server's own evidence, or the little of it that fits into a token.
//! Pure.

use serde::{Deserialize, Serialize};

use super::evidence::{Evidence, Role};
use super::fact::{OwnAddresses, Reference, Witness};

/// The other end, as a client has heard of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    /// How it was asked.
    pub by: By,
    /// What it said.
    pub heard: Heard,
    /// The host that was asked for it, when it was reached by another way than the proxy's port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// When the client knocked at the port, since the server was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub knocking: Option<Knocking>,
    /// How old it is by the client's clock, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age_s: Option<u64>,
}

/// How the server was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum By {
    /// By the system's `ssh`.
    Ssh,
    /// Through the proxy itself, at `sami-proxy.internal/report`.
    Proxy,
    /// A person has brought its token.
    Token,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Heard {
    /// Everything that it has measured.
    Evidence(Box<Evidence>),
    /// What a token holds.
    Digest(Digest),
    /// Nothing, and why.
    Nothing(Silence),
}

/// Why nothing was heard of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Silence {
    /// There is no `ssh` on this machine.
    NoSsh,
    /// Its name has no address.
    NoName,
    /// Nobody listens where it was asked.
    Refused,
    /// No answer.
    TimedOut,
    /// Its key is not known yet, and nobody is there to be asked.
    KeyUnknown,
    /// It has another key than before.
    KeyChanged,
    /// It does not let us in.
    Denied,
    /// There is neither this program nor its image.
    NoProgram,
    /// Docker does not answer there, and without it there is no program.
    NoDocker,
    /// Only its administrator may, with a password that nobody is there to type.
    NeedsPassword,
    /// It does not serve its report to this client.
    NotTrusted,
    /// It has no report to give: another program, or an old version.
    NoReport,
    /// What it said is no report.
    Unreadable,
    /// Its report is of another version than this program reads.
    OtherVersion,
    /// The time was over.
    OutOfTime,
    /// The user ended it.
    Interrupted,
    /// Something else.
    Failed,
}

/// When a client knocked while the server watched. Both clocks begin when the server was asked.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Knocking {
    /// The beginning of each connect, in milliseconds.
    pub at_ms: Vec<u64>,
    /// When the server's answer was there.
    pub took_ms: u64,
}

/// What a token holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest {
    /// From where it was looked.
    pub role: Role,
    /// The port that was looked at.
    pub port: u16,
    /// When, in seconds since 1970.
    pub when: u64,
    /// The version of the program.
    pub version: String,
    /// What was found, the verdict first.
    pub findings: Vec<Finding>,
    /// Who knocked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub witness: Option<Witness>,
    /// The addresses of the server.
    #[serde(default)]
    pub addresses: OwnAddresses,
}

/// One cause that a server has found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Its code.
    pub code: String,
    /// How sure, as JSON has it.
    pub confidence: String,
    /// Whether it does not stop anything from working.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub warning: bool,
    /// For its sentence.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub arguments: Vec<(String, String)>,
}

impl Server {
    /// What was heard `by` some way; the server's facts get names of their own: `s1`, `s2`, …
    pub fn new(by: By, mut heard: Heard) -> Self {
        if let Heard::Evidence(evidence) = &mut heard {
            evidence.server = None;
            for (at, fact) in evidence.facts.iter_mut().enumerate() {
                fact.reference = Reference::of_server(at + 1);
            }
        }
        Self { by, heard, host: None, knocking: None, age_s: None }
    }

    /// What it has measured, when it said all of it.
    pub fn evidence(&self) -> Option<&Evidence> {
        match &self.heard {
            Heard::Evidence(evidence) => Some(evidence),
            Heard::Digest(_) | Heard::Nothing(_) => None,
        }
    }

    /// Why nothing was heard.
    pub fn silence(&self) -> Option<Silence> {
        match &self.heard {
            Heard::Nothing(why) => Some(*why),
            Heard::Evidence(_) | Heard::Digest(_) => None,
        }
    }
}
