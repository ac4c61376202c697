//! Both ends together: what the one has seen decides what the other could only suspect.

use super::{Suspect, alone};
use crate::diag::code::Code;
use crate::diag::evidence::Evidence;
use crate::diag::server::{Heard, Server};

/// The suspects of the client and of its server.
pub(super) fn joined(here: Vec<Suspect>, evidence: &Evidence, server: &Server) -> Vec<Suspect> {
    let _client = evidence;
    let there = match &server.heard {
        Heard::Evidence(evidence) => alone(evidence),
        Heard::Digest(_) | Heard::Nothing(_) => Vec::new(),
    };
    // All is well only when the client says so as well.
    let there = there.into_iter().filter(|it| it.code != Code::Ok);
    here.into_iter().chain(there).collect()
}
