//! The threads that serve: one single-threaded runtime for each core.
//!
//! A connection stays on the thread it was given to, with its buffers, its pipes and its counters.
//! Measured on two cores against one runtime of two threads that steal each other's tasks
//! (`scripts/bench.sh --proxy-cores 0,1 --load-cores 0,1`): 13 % more tunnels and 15 % more
//! requests a second, 8 % more bulk for 6 % less processor time, and a token is 23 % less late; only
//! the median of 1,000 streams beside a bulk tunnel is better with stealing, by 12 %.

use std::io;
use std::pin::Pin;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio_util::sync::CancellationToken;

use super::StartError;

/// All threads but the first, which is the caller's.
#[derive(Debug)]
pub struct Crew {
    handles: Vec<Handle>,
    end: CancellationToken,
    ended: Receiver<()>,
}

/// A runtime of one thread.
///
/// # Errors
///
/// The operating system has no thread or descriptor left.
pub fn single() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

/// Runs `serving` on the caller's thread, and every task of its runtime meanwhile. The loop that does
/// it is compiled where it is named, so it is named here, where code is built for speed.
///
/// # Errors
///
/// Those of `serving`.
pub fn block_on(runtime: &Runtime, serving: Pin<Box<Serving<'_>>>) -> Result<(), StartError> {
    runtime.block_on(serving)
}

/// The whole work of the first thread.
pub type Serving<'s> = dyn Future<Output = Result<(), StartError>> + 's;

impl Crew {
    /// Starts threads until there are `workers` together with the caller's.
    ///
    /// # Errors
    ///
    /// As of [`single`].
    pub fn start(workers: usize) -> io::Result<Self> {
        let end = CancellationToken::new();
        let (done, ended) = channel();
        let mut handles = Vec::new();
        for number in 1..workers {
            let runtime = single()?;
            handles.push(runtime.handle().clone());
            let (end, done): (CancellationToken, Sender<()>) = (end.clone(), done.clone());
            std::thread::Builder::new().name(format!("worker-{number}")).spawn(move || {
                runtime.block_on(end.cancelled());
                // What is still open is cut here.
                drop(runtime);
                drop(done);
            })?;
        }
        Ok(Self { handles, end, ended })
    }

    /// What connections are given to.
    pub fn handles(&self) -> Vec<Handle> {
        self.handles.clone()
    }

    /// Ends the threads and cuts what they carry; waits for that, at most `limit`.
    pub fn end(self, limit: Duration) {
        self.end.cancel();
        // Closed when the last thread has ended.
        let _either_way = self.ended.recv_timeout(limit);
    }
}
