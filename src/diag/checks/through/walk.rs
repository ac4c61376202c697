//! Phase after phase: how long each took, when it is too late, what an error means.

use std::io;
use std::net::SocketAddr;

use tokio::time::{Instant, timeout_at};

use super::super::{Context, micros};
use super::entry::{failure, how_of};
use crate::diag::fact::{Failure, How, Lap, Stage};
use crate::net::unacked::unacknowledged;

/// What went wrong in a phase.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) struct Trouble {
    pub(in super::super) how: How,
    pub(in super::super) os_error: Option<i32>,
    /// Printable ASCII.
    pub(in super::super) detail: Option<String>,
}

impl Trouble {
    pub(in super::super) fn with(how: How, detail: String) -> Self {
        let detail = Some(detail).filter(|it| !it.is_empty());
        Self { how, os_error: None, detail }
    }
}

impl From<How> for Trouble {
    fn from(how: How) -> Self {
        Self { how, os_error: None, detail: None }
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self { how: how_of(&error), os_error: error.raw_os_error(), detail: None }
    }
}

/// One way, from its beginning.
#[derive(Debug)]
pub(in super::super) struct Walk<'c> {
    /// What it took so far.
    pub(in super::super) laps: Vec<Lap>,
    /// Our end and the peer's, once there is a connection.
    pub(in super::super) ends: Option<(SocketAddr, SocketAddr)>,
    until: Instant,
    context: &'c Context,
}

impl<'c> Walk<'c> {
    /// Ends at `until` at the latest.
    pub(in super::super) const fn new(until: Instant, context: &'c Context) -> Self {
        Self { laps: Vec::new(), ends: None, until, context }
    }

    /// `work` as a phase. Silence is silence until the end of all time; a user who has had enough
    /// ends it at once.
    pub(in super::super) async fn lap<T>(
        &mut self,
        stage: Stage,
        work: impl Future<Output = Result<T, Trouble>>,
    ) -> Result<T, Failure> {
        let begun = Instant::now();
        let done = self.in_time(work).await;
        self.laps.push(Lap { stage, us: micros(begun.elapsed()) });
        done.map_err(|trouble| self.failed(stage, trouble))
    }

    /// `work`, not measured.
    pub(in super::super) async fn in_time<T>(
        &self,
        work: impl Future<Output = Result<T, Trouble>>,
    ) -> Result<T, Trouble> {
        tokio::select! {
            biased;
            () = self.context.stop.cancelled() => Err(How::Unfinished.into()),
            done = timeout_at(self.until, work) => done.unwrap_or(Err(How::Silent.into())),
        }
    }

    /// The failure that `trouble` in `stage` is.
    pub(in super::super) fn failed(&self, stage: Stage, trouble: Trouble) -> Failure {
        let Trouble { how, os_error, detail } = trouble;
        let outstanding = match (how, self.ends) {
            (How::Silent, Some((local, peer))) => unacknowledged(local, peer),
            _ => None,
        };
        let acknowledged = outstanding.map(|bytes| bytes == 0);
        Failure { acknowledged, detail, ..failure(stage, how, os_error) }
    }
}
