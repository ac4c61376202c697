//! `doctor --watch`: looks again and again, and tells only what changes.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use tokio::runtime::Runtime;
use tokio::time::MissedTickBehavior;

use super::args::{self, Flags};
use super::examine::Form;
use super::{crew, exit};
use crate::diag::changes::{Change, changes};
use crate::diag::diagnosis::State;
use crate::diag::evidence::Evidence;
use crate::diag::fact::Skip;
use crate::diag::report::Report;
use crate::render::compare;
use crate::render::human::{self, Detail};
use crate::render::json;
use crate::render::look::Look;
use crate::render::words::Words;

const SHORTEST: u64 = 5;
const LONGEST: u64 = 86_400;

/// What has no sense beside it.
const AGAINST: [&str; 4] = [args::FROM, args::BUNDLE, args::PSEUDONYMS, args::COMPARE];

/// What comes after a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Again,
    End,
}

/// How long from the beginning of a run to that of the next; `None` when nobody wants to watch.
pub(super) fn period(flags: Flags<'_>) -> Result<Option<Duration>, String> {
    let Some(text) = flags.one(args::WATCH) else { return Ok(None) };
    if let Some(other) = AGAINST.into_iter().find(|name| flags.is_given(name)) {
        return Err(format!("--watch looks again and again: leave out {}", args::spelled(other)));
    }
    let seconds = text.parse().ok().filter(|it| (SHORTEST..=LONGEST).contains(it));
    let wrong = || {
        let text = text.escape_debug();
        format!("--watch={text}: not a number of seconds from {SHORTEST} to {LONGEST}")
    };
    seconds.map(|it| Some(Duration::from_secs(it))).ok_or_else(wrong)
}

/// Watches until Ctrl-C, or until nobody reads any more; the exit code is that of the last state.
pub(super) fn run(
    period: Duration,
    form: Form,
    (words, look): (&Words, Look),
    measure: impl FnMut() -> Result<Vec<Evidence>, String>,
) -> ExitCode {
    let clock = match crew::single() {
        Ok(runtime) => runtime,
        Err(error) => return exit::line(format!("cannot start: {error}"), exit::INCONCLUSIVE),
    };
    let tick = ticks(&clock, period);
    let mut screen = Screen { out: io::stdout(), form, words, look, now };
    watch(measure, tick, &mut screen)
}

/// Waits for the next round, or for Ctrl-C, which also counts when it came during a run.
fn ticks(clock: &Runtime, period: Duration) -> impl FnMut() -> Next {
    let mut rounds = clock.block_on(async {
        let mut rounds = tokio::time::interval(period);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first one is at once.
        rounds.tick().await;
        rounds
    });
    // From here on Ctrl-C no longer ends the program by itself.
    let mut interrupt = Box::pin(tokio::signal::ctrl_c());
    clock.block_on(async {
        tokio::select! {
            biased;
            _ = &mut interrupt => {}
            () = std::future::ready(()) => {}
        }
    });
    move || {
        clock.block_on(async {
            tokio::select! {
                biased;
                _ = &mut interrupt => Next::End,
                _ = rounds.tick() => Next::Again,
            }
        })
    }
}

fn now() -> String {
    humantime::format_rfc3339_seconds(SystemTime::now()).to_string()
}

/// Where it is told.
struct Screen<'w, W, N> {
    out: W,
    form: Form,
    words: &'w Words,
    look: Look,
    now: N,
}

/// One run after the other: what takes long delays the next.
fn watch<W: Write, N: Fn() -> String>(
    mut measure: impl FnMut() -> Result<Vec<Evidence>, String>,
    mut tick: impl FnMut() -> Next,
    screen: &mut Screen<'_, W, N>,
) -> ExitCode {
    let mut last: Option<Report> = None;
    loop {
        let report = match measure().map(|all| all.into_iter().next()) {
            Ok(Some(evidence)) => Report::new(evidence),
            Ok(None) => return exit::state(None),
            Err(problem) => return exit::line(problem, exit::USAGE),
        };
        let cut = report.is_cut_short() == Some(Skip::Interrupted);
        // What was cut short says nothing of a change.
        if cut && last.is_some() {
            break;
        }
        let told = match &last {
            None => screen.first(&report),
            Some(before) => screen.next(before, &report),
        };
        last = Some(report);
        // Who has gone away does not want more.
        if told.is_err() || cut || tick() == Next::End {
            break;
        }
    }
    exit::state(last.map(|it| it.diagnosis.state))
}

impl<W: Write, N: Fn() -> String> Screen<'_, W, N> {
    /// The whole report, or a line when all is well.
    fn first(&mut self, report: &Report) -> io::Result<()> {
        let text = match self.form {
            Form::Json => self.document(report, &[]),
            Form::Human(detail) => {
                let text = human::text(report, detail, self.words, self.look);
                if report.diagnosis.state == State::Ok && detail == Detail::Short {
                    format!("{}  {}\n", (self.now)(), text.lines().next().unwrap_or_default())
                } else {
                    format!("{}\n{text}", (self.now)())
                }
            }
        };
        self.tell(&text)
    }

    /// What has changed; nothing when nothing has.
    fn next(&mut self, before: &Report, report: &Report) -> io::Result<()> {
        let changes = changes(&before.evidence, &report.evidence);
        if changes.is_empty() {
            return Ok(());
        }
        let text = match self.form {
            Form::Json => self.document(report, &changes),
            Form::Human(_) => {
                let whole = human::text(report, Detail::Short, self.words, self.look);
                let mut lines =
                    vec![format!("{}  {}", (self.now)(), whole.lines().next().unwrap_or_default())];
                let line = |it: &Change| format!("    {}", compare::line(it, self.words, self.look));
                lines.extend(changes.iter().map(line));
                lines.push(String::new());
                lines.join("\n")
            }
        };
        self.tell(&text)
    }

    fn document(&self, report: &Report, changes: &[Change]) -> String {
        let mut document = json::document(report, args::DOCTOR, self.words);
        compare::put(&mut document, changes, self.words);
        format!("{document}\n")
    }

    fn tell(&mut self, text: &str) -> io::Result<()> {
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }
}
