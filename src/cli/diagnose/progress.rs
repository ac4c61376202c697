//! One line on standard error while a diagnosis runs, for a person at a terminal; else nothing.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressState, ProgressStyle};

use crate::diag::evidence::Subject;
use crate::diag::plan::Area;
use crate::render::words::{Arg, Words};

/// How often the seconds are looked at.
const TICK: Duration = Duration::from_millis(200);

/// The line; gone when dropped.
#[derive(Debug)]
pub(super) struct Progress {
    bar: ProgressBar,
    /// `{ $count } of { $attempts }`, when there are several ports: what they share.
    several: Option<u64>,
}

impl Progress {
    /// Begins to count the seconds of `targets` ports; silent where nobody would see it.
    pub(super) fn new(targets: usize, words: &Words) -> Self {
        let seconds = words.text("progress-seconds", &[]);
        let seen = std::io::stderr().is_terminal()
            && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        let bar = if seen { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
        if seen {
            let elapsed = move |state: &ProgressState, out: &mut dyn std::fmt::Write| {
                let _never = write!(out, "{} {seconds}", state.elapsed().as_secs());
            };
            if let Ok(style) = ProgressStyle::with_template("{msg} … {seconds}") {
                bar.set_style(style.with_key("seconds", elapsed));
            }
            bar.enable_steady_tick(TICK);
        }
        let several = u64::try_from(targets).ok().filter(|targets| *targets > 1);
        let progress = Self { bar, several };
        progress.done(0, words);
        progress
    }

    /// What to do when an area of `subject` begins.
    pub(super) fn of(&self, subject: &Subject, words: &Words) -> impl Fn(Area) + Send + use<> {
        let (port, proxy) = (subject.port.to_string(), subject.authority());
        let args = [
            ("host", Arg::Text(&subject.host)),
            ("port", Arg::Text(&port)),
            ("proxy", Arg::Text(&proxy)),
        ];
        let machine = words.text("progress-machine", &args);
        let names = words.text("progress-names", &args);
        let reach = words.text("progress-reach", &args);
        let answer = words.text("progress-answer", &args);
        let link = words.text("progress-link", &args);
        let rhythm = words.text("progress-rhythm", &args);
        let through = words.text("progress-through", &args);
        let docker = words.text("progress-docker", &args);
        let server = words.text("progress-server", &args);
        let inside = words.text("progress-inside", &args);
        let bar = if self.several.is_none() { self.bar.clone() } else { ProgressBar::hidden() };
        move |area| {
            bar.set_message(match area {
                Area::Machine => machine.clone(),
                Area::Names => names.clone(),
                Area::Reach => reach.clone(),
                Area::Answer => answer.clone(),
                Area::Link => link.clone(),
                Area::Rhythm => rhythm.clone(),
                Area::Through => through.clone(),
                Area::Docker => docker.clone(),
                Area::Server => server.clone(),
                Area::Inside => inside.clone(),
            });
        }
    }

    /// So many ports are done.
    pub(super) fn done(&self, count: usize, words: &Words) {
        if let Some(targets) = self.several {
            let count = u64::try_from(count).unwrap_or(u64::MAX);
            let args = [("count", Arg::Number(count)), ("attempts", Arg::Number(targets))];
            self.bar.set_message(words.text("progress-several", &args));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
