//! What a token says was found.

use super::{Arguments, Confidence, Suspect};
use crate::diag::code::{Code, Severity};
use crate::diag::server::{Digest, Finding};

/// The arguments that a token may hold: a name is one byte in it, its place here. Only added to.
pub const NAMES: &[&str] = &[
    "port",
    "other",
    "setting",
    "container",
    "name",
    "inside",
    "count",
    "client",
    "seconds",
    "limit",
    "host",
    "tool",
    "status",
    "rule",
    "left",
    "inputport",
    "image",
    "chain",
    "with",
    "ufwroute",
    "ufwport",
    "twice",
    "table",
    "service",
    "server",
    "provider",
    "process",
    "path",
    "number",
    "list",
    "jail",
    "interface",
    "half",
    "forwardport",
    "firewalld",
    "firewall",
    "family",
    "exit",
    "dport",
    "decision",
    "console",
    "bytes",
    "base",
    "address",
    "socket",
    "said",
    "seek",
];

/// Its findings; those of a later version that nobody knows here are left out.
pub(super) fn suspects(digest: &Digest) -> Vec<Suspect> {
    digest.findings.iter().filter_map(suspect).collect()
}

fn suspect(it: &Finding) -> Option<Suspect> {
    let code = Code::find(&it.code)?;
    let confidence = Confidence::ALL.into_iter().find(|known| known.word() == it.confidence)?;
    let known = |(name, value): &(String, String)| {
        let name = NAMES.iter().find(|known| *known == name)?;
        Some((*name, value.clone()))
    };
    let arguments: Arguments = it.arguments.iter().filter_map(known).collect();
    Some(Suspect {
        code,
        confidence,
        severity: if it.warning { Severity::Warning } else { code.severity() },
        because: Vec::new(),
        look_alikes: Vec::new(),
        arguments,
    })
}
