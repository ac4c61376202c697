//! `doctor --watch`: looks again and again, and tells only what changes.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use tokio::runtime::Runtime;
use tokio::time::MissedTickBehavior;

use super::args::{self, Flags};
use super::examine::{Form, exit_code};
use super::exit;
use crate::diag::changes::{Change, changes};
use crate::diag::diagnosis::State;
use crate::diag::evidence::Evidence;
use crate::diag::fact::Skip;
use crate::diag::report::Report;
use crate::proxy::crew;
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
            Ok(None) => return exit_code(None),
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
    exit_code(last.map(|it| it.diagnosis.state))
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
                let line =
                    |it: &Change| format!("    {}", compare::line(it, self.words, self.look));
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

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::io;
    use std::net::{SocketAddr, TcpListener, TcpStream};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread::JoinHandle;
    use std::time::Duration;

    use super::{Form, Next, Screen, watch};
    use crate::cli::diagnose::examine::{self, exit_code};
    use crate::diag::ask::Ask;
    use crate::diag::diagnosis::State;
    use crate::diag::evidence::{Asked, Evidence, Family, Subject};
    use crate::diag::fact::{CheckId, Fact, Reference, Skip, Status};
    use crate::render::human::Detail;
    use crate::render::look::Look;
    use crate::render::words::{Lang, Words};

    /// Accepts on a port and says nothing.
    struct Somebody {
        address: SocketAddr,
        end: Arc<AtomicBool>,
        thread: Option<JoinHandle<()>>,
    }

    impl Somebody {
        fn on(address: SocketAddr) -> Self {
            let listener = TcpListener::bind(address).unwrap();
            let address = listener.local_addr().unwrap();
            let end = Arc::new(AtomicBool::new(false));
            let told = Arc::clone(&end);
            let accept = move || while listener.accept().is_ok() && !told.load(Ordering::SeqCst) {};
            Self { address, end, thread: Some(std::thread::spawn(accept)) }
        }
    }

    impl Drop for Somebody {
        fn drop(&mut self) {
            self.end.store(true, Ordering::SeqCst);
            let _woken = TcpStream::connect(self.address);
            self.thread.take().unwrap().join().unwrap();
        }
    }

    fn screen<W>(out: W, form: Form, words: &Words) -> Screen<'_, W, fn() -> String> {
        Screen { out, form, words, look: Look::PLAIN, now: || "NOW".to_owned() }
    }

    /// Watches a port on which somebody is, is, is not, and is again.
    fn watched(form: Form) -> (String, String) {
        let words = Words::new(Lang::En);
        let mut somebody = Some(Somebody::on(([127, 0, 0, 1], 0).into()));
        let address = somebody.as_ref().unwrap().address;
        let subject =
            Subject { host: address.ip().to_string(), port: address.port(), family: Family::Any };
        let measure =
            || examine::measure(vec![Ask::port(subject.clone())], Duration::from_secs(5), &words);
        let mut rounds = 0;
        let tick = || {
            rounds += 1;
            match rounds {
                1 => {}
                2 => somebody = None,
                3 => somebody = Some(Somebody::on(address)),
                _ => return Next::End,
            }
            Next::Again
        };
        let mut out = Vec::new();
        let code = watch(measure, tick, &mut screen(&mut out, form, &words));
        (String::from_utf8(out).unwrap(), format!("{code:?}"))
    }

    #[test]
    fn only_changes_are_told() {
        let (text, code) = watched(Form::Human(Detail::Short));
        let told: Vec<&str> = text.split("NOW").skip(1).collect();
        let [first, gone, back] = told.as_slice() else { panic!("{text}") };
        assert!(first.contains("because  "), "{text}");
        assert!(gone.contains("verdict: accepted-then-closed → port-refused"), "{text}");
        assert!(back.contains("verdict: port-refused → accepted-then-closed"), "{text}");
        assert!(!gone.contains("because  ") && !back.contains("because  "), "{text}");
        assert_eq!(code, format!("{:?}", exit_code(Some(State::Broken))));
    }

    #[test]
    fn for_programs_each_change_is_a_line() {
        let (text, _) = watched(Form::Json);
        let documents: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let codes: Vec<_> = documents.iter().map(|it| it["verdict"]["code"].as_str()).collect();
        let expected = ["accepted-then-closed", "port-refused", "accepted-then-closed"].map(Some);
        assert_eq!(codes, expected);
        let changed = |it: &serde_json::Value| !it["changes"].as_array().unwrap().is_empty();
        assert_eq!(documents.iter().map(changed).collect::<Vec<_>>(), [false, true, true]);
    }

    fn evidence(skipped: Option<Skip>) -> Evidence {
        let subject = Subject { host: "127.0.0.1".to_owned(), port: 1, family: Family::Any };
        let mut evidence = Evidence::new(subject, Asked::default());
        evidence.facts.extend(skipped.map(|why| Fact {
            reference: Reference::number(1),
            check: CheckId::Hello,
            subject: String::new(),
            status: Status::Skipped(why),
            data: None,
            took_ms: 0,
        }));
        evidence
    }

    #[test]
    fn what_was_interrupted_ends_it_and_says_nothing() {
        let words = Words::new(Lang::En);
        let runs = Cell::new(0);
        let measure = || {
            runs.set(runs.get() + 1);
            Ok(vec![evidence((runs.get() > 1).then_some(Skip::Interrupted))])
        };
        let mut out = Vec::new();
        watch(measure, || Next::Again, &mut screen(&mut out, Form::Json, &words));
        assert_eq!((runs.get(), String::from_utf8(out).unwrap().lines().count()), (2, 1));
    }

    #[test]
    fn nobody_who_listens_ends_it() {
        struct Gone;
        impl io::Write for Gone {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let words = Words::new(Lang::En);
        let runs = Cell::new(0);
        let measure = || {
            runs.set(runs.get() + 1);
            Ok(vec![evidence(None)])
        };
        watch(measure, || Next::Again, &mut screen(Gone, Form::Json, &words));
        assert_eq!(runs.get(), 1);
    }
}
