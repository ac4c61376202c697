//! Lines for the operator, written behind the back of whoever has something to say.
//!
//! A full or blocked standard output must not delay a single byte of a tunnel: every thread writes
//! into a bounded buffer of its own, and one thread empties them all. The first line after a quiet
//! time is written at once, the following ones together every 50 ms, so that a busy proxy is not
//! woken for each. What does not fit is dropped, counted, and the count is written as soon as
//! there is room. The lines of one thread keep their order.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Thread;
use std::time::Duration;

use tokio::time::Instant;

use crate::worker::Each;

/// Bytes that wait at most in one buffer.
const ROOM: usize = 1 << 20;
/// A buffer this full is emptied without delay.
const FULL_ENOUGH: usize = ROOM / 4;
/// How long lines are gathered.
const GATHER: Duration = Duration::from_millis(50);

/// Where lines are handed in; cheap to clone.
#[derive(Debug, Clone)]
pub struct Journal(Arc<Ends>);

/// The ends of the journal that speakers hold; the writer leaves with the last of them.
#[derive(Debug)]
struct Ends {
    desk: Arc<Desk>,
    writer: Thread,
}

impl Drop for Ends {
    fn drop(&mut self) {
        self.desk.closed.store(true, Ordering::Release);
        self.writer.unpark();
    }
}

/// What speakers and the writer share.
#[derive(Debug)]
struct Desk {
    buffers: Each<Mutex<Vec<u8>>>,
    dropped: AtomicU64,
    /// There is something to write, and the writer knows.
    told: AtomicBool,
    /// The writer must not gather any longer.
    urgent: AtomicBool,
    closed: AtomicBool,
    /// Answered when everything handed in before is written.
    waiting: Mutex<Vec<SyncSender<()>>>,
}

impl Journal {
    /// Starts the thread that writes to `sink`; `lost` makes the line that reports how many lines
    /// were dropped. The thread ends with the last clone of the journal.
    pub fn start(
        sink: impl Write + Send + 'static,
        lost: impl Fn(u64) -> String + Send + 'static,
    ) -> Self {
        let desk = Arc::new(Desk {
            buffers: Each::default(),
            dropped: AtomicU64::new(0),
            told: AtomicBool::new(false),
            urgent: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            waiting: Mutex::default(),
        });
        let theirs = Arc::clone(&desk);
        let writer = std::thread::spawn(move || write_all(sink, &theirs, &lost));
        Self(Arc::new(Ends { desk, writer: writer.thread().clone() }))
    }

    /// Lets `write` append one line with its line end; never waits for the output.
    pub fn line(&self, write: impl FnOnce(&mut Vec<u8>)) {
        let desk = &self.0.desk;
        let held = {
            let mut buffer = desk.buffers.mine().lock().unwrap_or_else(PoisonError::into_inner);
            if buffer.len() >= ROOM {
                desk.dropped.fetch_add(1, Ordering::Relaxed);
                return;
            }
            write(&mut buffer);
            buffer.len()
        };
        if held >= FULL_ENOUGH && !desk.urgent.swap(true, Ordering::AcqRel) {
            self.0.writer.unpark();
        }
        if !desk.told.swap(true, Ordering::AcqRel) {
            self.0.writer.unpark();
        }
    }

    /// Waits until everything handed in so far is written, at most `limit`.
    pub fn written(&self, limit: Duration) {
        let (done, wait) = sync_channel(1);
        let desk = &self.0.desk;
        desk.waiting.lock().unwrap_or_else(PoisonError::into_inner).push(done);
        desk.urgent.store(true, Ordering::Release);
        desk.told.store(true, Ordering::Release);
        self.0.writer.unpark();
        // A blocked output must not keep the program from ending.
        let _either_way = wait.recv_timeout(limit);
    }

    /// How many lines were dropped since the start.
    pub fn dropped(&self) -> u64 {
        self.0.desk.dropped.load(Ordering::Relaxed)
    }
}

fn write_all(mut sink: impl Write, desk: &Desk, lost: &impl Fn(u64) -> String) {
    let (mut batch, mut reported) = (Vec::new(), 0);
    loop {
        let closing = desk.closed.load(Ordering::Acquire);
        if !closing && !desk.told.swap(false, Ordering::AcqRel) {
            std::thread::park();
            continue;
        }
        desk.urgent.store(false, Ordering::Release);
        let waiting =
            std::mem::take(&mut *desk.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        desk.collect(&mut batch, &mut reported, lost);
        // A closed standard output is no reason to stop serving.
        drop(sink.write_all(&batch).and_then(|()| sink.flush()));
        for done in waiting {
            let _nobody_waits = done.send(());
        }
        if closing {
            return;
        }
        let rested = Instant::now();
        while !desk.urgent.load(Ordering::Acquire) && !desk.closed.load(Ordering::Acquire) {
            match GATHER.checked_sub(rested.elapsed()) {
                None | Some(Duration::ZERO) => break,
                Some(left) => std::thread::park_timeout(left),
            }
        }
    }
}

impl Desk {
    /// Moves everything that was handed in to `batch`; `reported` is how many dropped lines have
    /// been told of.
    fn collect(&self, batch: &mut Vec<u8>, reported: &mut u64, lost: &impl Fn(u64) -> String) {
        batch.clear();
        for buffer in self.buffers.iter() {
            let mut buffer = buffer.lock().unwrap_or_else(PoisonError::into_inner);
            if batch.is_empty() {
                std::mem::swap(&mut *buffer, batch);
            } else {
                batch.append(&mut buffer);
            }
        }
        let dropped = self.dropped.load(Ordering::Relaxed);
        if dropped > *reported {
            batch.extend_from_slice(lost(dropped - *reported).as_bytes());
            *reported = dropped;
        }
    }
}

/// One event of `tracing`, collected and handed in as one line.
#[derive(Debug)]
pub struct Event<'j> {
    journal: &'j Journal,
    text: Vec<u8>,
}

impl Write for Event<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Event<'_> {
    fn drop(&mut self) {
        if !self.text.is_empty() {
            self.journal.line(|line| line.append(&mut self.text));
        }
    }
}

impl<'j> tracing_subscriber::fmt::MakeWriter<'j> for Journal {
    type Writer = Event<'j>;

    fn make_writer(&'j self) -> Event<'j> {
        Event { journal: self, text: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::{Arc, Condvar, Mutex};
    use std::time::Duration;

    use super::{Journal, ROOM};

    /// Blocks the first write until the gate is opened.
    #[derive(Clone, Default)]
    struct Gated(Arc<(Mutex<(bool, Vec<u8>)>, Condvar)>);

    impl Write for Gated {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let (state, opened) = &*self.0;
            let mut state = opened.wait_while(state.lock().unwrap(), |state| !state.0).unwrap();
            state.1.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_blocked_output_blocks_nobody_and_the_loss_is_told() {
        let sink = Gated::default();
        let journal = Journal::start(sink.clone(), |count| format!("lost {count}\n"));
        let given = 3 * ROOM / 2;
        for _ in 0..given {
            journal.line(|line| line.extend_from_slice(b"x\n"));
        }
        sink.0.0.lock().unwrap().0 = true;
        sink.0.1.notify_all();
        journal.written(Duration::from_secs(60));
        let text = String::from_utf8(sink.0.0.lock().unwrap().1.clone()).unwrap();
        let written = text.lines().filter(|line| *line == "x").count();
        let lost: usize = text
            .lines()
            .filter_map(|line| line.strip_prefix("lost "))
            .map(|count| count.parse::<usize>().unwrap())
            .sum();
        assert!(lost > 0, "the buffer is bounded");
        assert_eq!(written + lost, given, "every line is written or counted");
    }
}
