//! What the examining commands share: flags, saved reports, the run itself, and how it is printed.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::args::{self, Flags};
use super::beside::Beside;
use super::progress::Progress;
use super::{exit, text_file};
use crate::config::name_server;
use crate::diag::ask::Ask;
use crate::diag::diagnosis::State;
use crate::diag::evidence::{Evidence, Family, Subject};
use crate::diag::report::Report;
use crate::diag::run::run as examine;
use crate::diag::saved::{self, Unread};
use crate::net::resolve::NameServer;
use crate::proxy::crew;
use crate::render::human::{self, Detail};
use crate::render::json;
use crate::render::look::Look;
use crate::render::words::Words;
use crate::target::{Host, Target};

/// The longest run that makes sense.
const LONGEST: Duration = Duration::from_secs(600);

/// What is printed.
#[derive(Debug, Clone, Copy)]
pub(super) enum Form {
    /// For a person.
    Human(Detail),
    /// For a program.
    Json,
}

impl Form {
    pub(super) fn of(flags: Flags<'_>) -> Result<Self, String> {
        match (flags.has(args::JSON), flags.has(args::VERBOSE)) {
            (true, true) => Err("--json tells everything already; leave out --verbose".to_owned()),
            (true, false) => Ok(Self::Json),
            (false, true) => Ok(Self::Human(Detail::Full)),
            (false, false) => Ok(Self::Human(Detail::Short)),
        }
    }
}

/// Prints what the evidence that is `asked` for means: 0 all well, 1 a problem, 2 bad usage, 3 it
/// could not be told.
pub(super) fn report(
    flags: Flags<'_>,
    command: &str,
    spoken: (&Words, Look),
    asked: impl FnOnce() -> Result<Vec<Evidence>, String>,
) -> ExitCode {
    report_beside(flags, command, spoken, &Beside::default(), asked)
}

/// The same, and what is to be made of the report `beside`.
pub(super) fn report_beside(
    flags: Flags<'_>,
    command: &str,
    spoken: (&Words, Look),
    beside: &Beside,
    asked: impl FnOnce() -> Result<Vec<Evidence>, String>,
) -> ExitCode {
    let found = Form::of(flags).and_then(|form| Ok((form, asked()?)));
    match found.and_then(|found| beside.suits(found.1.len()).map(|()| found)) {
        Ok((form, evidence)) => print(evidence, (form, command), spoken, beside),
        Err(problem) => exit::line(problem, exit::USAGE),
    }
}

fn print(
    evidence: Vec<Evidence>,
    (form, command): (Form, &str),
    (words, look): (&Words, Look),
    beside: &Beside,
) -> ExitCode {
    let reports: Vec<Report> = evidence.into_iter().map(Report::new).collect();
    let text = match (form, reports.as_slice()) {
        (Form::Json, [one]) => {
            let mut document = json::document(one, command, words);
            beside.complete(&mut document, one, words);
            format!("{document:#}\n")
        }
        (Form::Json, all) => format!("{:#}\n", json::documents(all, command, words)),
        (Form::Human(detail), [one]) => {
            human::text(one, detail, words, look) + &beside.section(one, words, look)
        }
        (Form::Human(detail), all) => human::table(all, detail, words, look),
    };
    // A reader that has gone away, such as `head`, does not change what was found.
    let _gone = std::io::stdout().lock().write_all(text.as_bytes());
    if reports.iter().any(|report| !beside.keep(report, command, words)) {
        return ExitCode::from(exit::USAGE);
    }
    exit_code(reports.iter().map(|report| report.diagnosis.state).max())
}

/// What the worst verdict comes to.
pub(super) fn exit_code(worst: Option<State>) -> ExitCode {
    match worst {
        Some(State::Ok | State::Degraded) => ExitCode::SUCCESS,
        Some(State::Broken) => ExitCode::from(exit::PROBLEM),
        Some(State::Inconclusive) | None => ExitCode::from(exit::INCONCLUSIVE),
    }
}

/// The evidence in the report `file`, which no flag of `live` may stand beside.
pub(super) fn again(file: &str, flags: Flags<'_>, live: &[&str]) -> Result<Vec<Evidence>, String> {
    if let Some(other) = live.iter().find(|name| flags.is_given(name)) {
        let other = args::spelled(other);
        return Err(format!("--from diagnoses a saved report again: leave out {other}"));
    }
    read(args::FROM, file)
}

/// The evidence in the report `file` that `flag` names.
pub(super) fn read(flag: &str, file: &str) -> Result<Vec<Evidence>, String> {
    let flag = args::spelled(flag);
    let text = text_file::read(file.as_ref()).map_err(|error| format!("{flag} {file}: {error}"))?;
    let no_report = "this is no report of sami-proxy --json";
    let document = serde_json::from_str(&text)
        .map_err(|error| format!("{flag} {file}: {no_report} ({error})"))?;
    saved::all(&document).map_err(|why| match why {
        Unread::NoReport => format!("{flag} {file}: {no_report}"),
        Unread::OtherVersion => format!(
            "{flag} {file}: another version of sami-proxy made this report; diagnose it with that one"
        ),
    })
}

pub(super) fn family(flags: Flags<'_>) -> Result<Family, String> {
    match (flags.has(args::IPV4), flags.has(args::IPV6)) {
        (true, true) => Err("-4 and -6 exclude each other".to_owned()),
        (true, false) => Ok(Family::Ipv4),
        (false, true) => Ok(Family::Ipv6),
        (false, false) => Ok(Family::Any),
    }
}

/// `--dns`, else `default`: name servers whose answers are compared with the system's.
pub(super) fn name_servers(
    flags: Flags<'_>,
    default: &[&str],
) -> Result<Vec<(String, NameServer)>, String> {
    let mut given: Vec<&str> = flags.many(args::DNS).collect();
    if given.is_empty() {
        given.extend(default);
    }
    given.dedup();
    let read = |text: &str| match name_server(text) {
        Ok(server) => Ok((text.to_owned(), server)),
        Err(problem) => Err(format!("--dns {}: {problem}", text.escape_debug())),
    };
    given.into_iter().map(read).collect()
}

/// What is examined: `target`, if anybody can connect to it.
pub(super) fn subject(target: &Target, family: Family) -> Result<Subject, String> {
    let host = match &target.host {
        Host::Ip(ip) if !family.has(*ip) => {
            return Err(format!(
                "{target}: the address is not of the family that -4 or -6 asks for"
            ));
        }
        Host::Ip(ip) if ip.is_unspecified() || ip.is_multicast() => {
            return Err(format!("{target}: nobody can connect to that address"));
        }
        Host::Ip(ip) => ip.to_string(),
        Host::Name(name) => name.to_string(),
    };
    Ok(Subject { host, port: target.port.get(), family })
}

/// `--timeout`, or `default`.
pub(super) fn budget(flags: Flags<'_>, default: Duration) -> Result<Duration, String> {
    let Some(text) = flags.one(args::TIMEOUT) else { return Ok(default) };
    let seconds = text.parse::<f64>().ok().filter(|it| it.is_finite() && *it >= 0.1);
    let budget = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    budget.filter(|it| *it <= LONGEST).ok_or_else(|| {
        format!("--timeout {}: not a number of seconds from 0.1 to 600", text.escape_debug())
    })
}

/// Examines all at the same time; Ctrl-C ends it with what is known by then.
pub(super) fn measure(
    asks: Vec<Ask>,
    budget: Duration,
    words: &Words,
) -> Result<Vec<Evidence>, String> {
    let runtime = crew::single().map_err(|error| format!("cannot start: {error}"))?;
    let evidence = runtime.block_on(all(asks, budget, words));
    // The operating system's resolver can't be interrupted; nobody waits for it.
    runtime.shutdown_background();
    Ok(evidence)
}

async fn all(asks: Vec<Ask>, budget: Duration, words: &Words) -> Vec<Evidence> {
    let stop = CancellationToken::new();
    let interrupted = stop.clone();
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            interrupted.cancel();
        }
    });
    let progress = Progress::new(asks.len(), words);
    let mut running = JoinSet::new();
    for (number, ask) in asks.into_iter().enumerate() {
        let (stop, begins) = (stop.clone(), progress.of(&ask.subject, words));
        running.spawn(async move { (number, examine(ask, budget, stop, begins).await) });
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
