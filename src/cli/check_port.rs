//! `check-port`: is the port reachable, and if not, who says no.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::args::{self, PortFlags};
use super::progress::Progress;
use super::{crew, exit, text_file};
use crate::diag::diagnosis::State;
use crate::diag::evidence::{Evidence, Family, Subject};
use crate::diag::report::Report;
use crate::diag::run::run as examine;
use crate::render::human::{self, Detail};
use crate::render::json;
use crate::render::look::Look;
use crate::render::words::Words;
use crate::target::{Host, Target};

/// More at once would look like a scan, and be one.
const MOST_TARGETS: usize = 64;
/// The longest run that makes sense.
const LONGEST: Duration = Duration::from_secs(600);

/// What was asked for.
#[derive(Debug)]
struct Request {
    subjects: Vec<Subject>,
    budget: Duration,
}

/// What is printed.
#[derive(Debug, Clone, Copy)]
enum Form {
    Human(Detail),
    Json,
}

/// 0 every port is open and a proxy answers, 1 a problem, 2 bad usage, 3 it could not be told.
pub(super) fn run(flags: &PortFlags, words: &Words, look: Look) -> ExitCode {
    let (form, reports) = match form(flags).and_then(|form| Ok((form, evidence(flags, words)?))) {
        Ok((form, evidence)) => (form, evidence.into_iter().map(Report::new).collect::<Vec<_>>()),
        Err(problem) => return exit::line(problem, exit::USAGE),
    };
    let text = match (form, reports.as_slice()) {
        (Form::Json, [one]) => format!("{:#}\n", json::document(one, args::CHECK_PORT, words)),
        (Form::Json, all) => format!("{:#}\n", json::documents(all, args::CHECK_PORT, words)),
        (Form::Human(detail), [one]) => human::text(one, detail, words, look),
        (Form::Human(detail), all) => human::table(all, detail, words, look),
    };
    // A reader that has gone away, such as `head`, does not change what was found.
    let _gone = std::io::stdout().lock().write_all(text.as_bytes());
    let worst = reports.iter().map(|report| report.diagnosis.state).max();
    match worst {
        Some(State::Ok | State::Degraded) => ExitCode::SUCCESS,
        Some(State::Broken) => ExitCode::from(exit::PROBLEM),
        Some(State::Inconclusive) | None => ExitCode::from(exit::INCONCLUSIVE),
    }
}

fn form(flags: &PortFlags) -> Result<Form, String> {
    match (flags.has(args::JSON), flags.has(args::VERBOSE)) {
        (true, true) => Err("--json tells everything already; leave out --verbose".to_owned()),
        (true, false) => Ok(Form::Json),
        (false, true) => Ok(Form::Human(Detail::Full)),
        (false, false) => Ok(Form::Human(Detail::Short)),
    }
}

/// Measured now, or read from a saved report.
fn evidence(flags: &PortFlags, words: &Words) -> Result<Vec<Evidence>, String> {
    let Some(file) = &flags.from else {
        return measure(&request(flags)?, words);
    };
    let live = flags.timeout.is_some() || flags.has(args::IPV4) || flags.has(args::IPV6);
    if live || !flags.targets.is_empty() {
        return Err(
            "--from diagnoses a saved report again: no HOST:PORT, --timeout, -4 or -6 with it"
                .to_owned(),
        );
    }
    let text = text_file::read(file.as_ref()).map_err(|error| format!("--from {file}: {error}"))?;
    let document =
        serde_json::from_str(&text).map_err(|error| format!("--from {file}: {error}"))?;
    json::evidence(&document)
        .filter(|all| !all.is_empty())
        .ok_or_else(|| format!("--from {file}: this is no report of sami-proxy --json"))
}

fn request(flags: &PortFlags) -> Result<Request, String> {
    let given = &flags.targets;
    if given.is_empty() {
        return Err("check-port needs HOST:PORT, such as 81.85.76.160:8080".to_owned());
    }
    if given.len() > MOST_TARGETS {
        return Err(format!("more than {MOST_TARGETS} ports at once are a scan"));
    }
    let family = match (flags.has(args::IPV4), flags.has(args::IPV6)) {
        (true, true) => return Err("-4 and -6 exclude each other".to_owned()),
        (true, false) => Family::Ipv4,
        (false, true) => Family::Ipv6,
        (false, false) => Family::Any,
    };
    let mut subjects: Vec<Subject> = Vec::new();
    for text in given {
        let subject = subject(text, family)?;
        if !subjects.contains(&subject) {
            subjects.push(subject);
        }
    }
    Ok(Request { subjects, budget: budget(flags)? })
}

fn subject(text: &str, family: Family) -> Result<Subject, String> {
    let target = Target::from_authority(text)
        .map_err(|error| format!("{}: {error}; write HOST:PORT", text.escape_debug()))?;
    let host = match &target.host {
        Host::Ip(ip) if !family.has(*ip) => {
            return Err(format!("{text}: the address is not of the family that -4 or -6 asks for"));
        }
        Host::Ip(ip) if ip.is_unspecified() || ip.is_multicast() => {
            return Err(format!("{text}: nobody can connect to that address"));
        }
        Host::Ip(ip) => ip.to_string(),
        Host::Name(name) => name.to_string(),
    };
    Ok(Subject { host, port: target.port.get(), family })
}

fn budget(flags: &PortFlags) -> Result<Duration, String> {
    let text = flags.timeout.as_deref().unwrap_or("15");
    let seconds = text.parse::<f64>().ok().filter(|it| it.is_finite() && *it >= 0.1);
    let budget = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    budget.filter(|it| *it <= LONGEST).ok_or_else(|| {
        format!("--timeout {}: not a number of seconds from 0.1 to 600", text.escape_debug())
    })
}

fn measure(request: &Request, words: &Words) -> Result<Vec<Evidence>, String> {
    let runtime = crew::single().map_err(|error| format!("cannot start: {error}"))?;
    let evidence = runtime.block_on(all(request, words));
    // The operating system's resolver can't be interrupted; nobody waits for it.
    runtime.shutdown_background();
    Ok(evidence)
}

async fn all(request: &Request, words: &Words) -> Vec<Evidence> {
    let stop = CancellationToken::new();
    let interrupted = stop.clone();
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            interrupted.cancel();
        }
    });
    let progress = Progress::new(request.subjects.len(), words);
    let mut running = JoinSet::new();
    for (number, subject) in request.subjects.iter().cloned().enumerate() {
        let (budget, stop) = (request.budget, stop.clone());
        let begins = progress.of(&subject, words);
        running.spawn(async move { (number, examine(subject, budget, stop, begins).await) });
    }
    let mut done = Vec::new();
    while let Some(ended) = running.join_next().await {
        // A task that panicked has said so.
        done.extend(ended);
        progress.done(done.len(), words);
    }
    done.sort_by_key(|(number, _)| *number);
    done.into_iter().map(|(_, evidence)| evidence).collect()
}
