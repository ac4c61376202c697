//! `check-port`: is the port reachable, and if not, who says no.

use std::process::ExitCode;
use std::time::Duration;

use super::args::{self, Flags};
use super::examine;
use crate::diag::ask::Ask;
use crate::diag::evidence::{Evidence, Subject};
use crate::render::look::Look;
use crate::render::words::Words;
use crate::target::Target;

/// More at once would look like a scan, and be one.
const MOST_TARGETS: usize = 64;
const BUDGET: Duration = Duration::from_secs(15);

/// What has no sense with `--from`.
const LIVE: [&str; 5] = [args::TARGETS, args::TIMEOUT, args::DNS, args::IPV4, args::IPV6];

/// 0 every port is open and a proxy answers, 1 a problem, 2 bad usage, 3 it could not be told.
pub(super) fn run(flags: Flags<'_>, words: &Words, look: Look) -> ExitCode {
    examine::report(flags, args::CHECK_PORT, (words, look), || evidence(flags, words))
}

/// Measured now, or read from a saved report.
fn evidence(flags: Flags<'_>, words: &Words) -> Result<Vec<Evidence>, String> {
    if let Some(file) = flags.one(args::FROM) {
        return examine::again(file, flags, &LIVE);
    }
    let name_servers = examine::name_servers(flags, &[])?;
    let asked = |subject| Ask::port(subject).comparing(name_servers.clone());
    let asks = subjects(flags)?.into_iter().map(asked).collect();
    examine::measure(asks, examine::budget(flags, BUDGET)?, words)
}

fn subjects(flags: Flags<'_>) -> Result<Vec<Subject>, String> {
    let given: Vec<&str> = flags.many(args::TARGETS).collect();
    if given.is_empty() {
        return Err("check-port needs HOST:PORT, such as 81.85.76.160:8080".to_owned());
    }
    if given.len() > MOST_TARGETS {
        return Err(format!("more than {MOST_TARGETS} ports at once are a scan"));
    }
    let family = examine::family(flags)?;
    let mut subjects: Vec<Subject> = Vec::new();
    for text in given {
        if text.contains('@') {
            // It is not repeated: it may hold a password.
            return Err("check-port needs HOST:PORT, without user and password".to_owned());
        }
        let target = Target::from_authority(text)
            .map_err(|error| format!("{}: {error}; write HOST:PORT", text.escape_debug()))?;
        let subject = examine::subject(&target, family)?;
        if !subjects.contains(&subject) {
            subjects.push(subject);
        }
    }
    Ok(subjects)
}
