//! Lines for the operator, written behind the back of whoever has something to say.
//!
//! A full or blocked standard output must not delay a single byte of a tunnel: lines go through a
//! bounded queue to one thread; what does not fit is dropped, counted, and the count is written
//! as soon as there is room.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

/// Lines that wait at most; about 2 MB.
const QUEUE: usize = 8192;

/// Where lines are handed in; cheap to clone.
#[derive(Debug, Clone)]
pub struct Journal {
    queue: SyncSender<Entry>,
    dropped: Arc<AtomicU64>,
}

#[derive(Debug)]
enum Entry {
    Line(Vec<u8>),
    /// Answer when everything before this is written.
    Written(SyncSender<()>),
}

impl Journal {
    /// Starts the thread that writes to `sink`; `lost` makes the line that reports how many lines
    /// were dropped. The thread ends with the last clone of the journal.
    pub fn start(
        sink: impl Write + Send + 'static,
        lost: impl Fn(u64) -> String + Send + 'static,
    ) -> Self {
        let (queue, entries) = sync_channel(QUEUE);
        let dropped = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&dropped);
        std::thread::spawn(move || write_all(sink, &entries, &counter, &lost));
        Self { queue, dropped }
    }

    /// Hands in one line with its line end; never waits.
    pub fn line(&self, line: Vec<u8>) {
        match self.queue.try_send(Entry::Line(line)) {
            Ok(()) | Err(TrySendError::Disconnected(_)) => {}
            Err(TrySendError::Full(_)) => {
                self.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Waits until everything handed in so far is written, at most `limit` once it is queued.
    pub fn written(&self, limit: Duration) {
        let (done, wait) = sync_channel(1);
        if self.queue.send(Entry::Written(done)).is_ok() {
            // A blocked output must not keep the program from ending.
            let _either_way = wait.recv_timeout(limit);
        }
    }
}

fn write_all(
    mut sink: impl Write,
    entries: &Receiver<Entry>,
    dropped: &AtomicU64,
    lost: &impl Fn(u64) -> String,
) {
    let mut batch = Vec::new();
    while let Ok(first) = entries.recv() {
        batch.clear();
        let mut waiting = Vec::new();
        for entry in std::iter::once(first).chain(entries.try_iter().take(QUEUE)) {
            match entry {
                Entry::Line(line) => batch.extend_from_slice(&line),
                Entry::Written(done) => waiting.push(done),
            }
        }
        match dropped.swap(0, Ordering::Relaxed) {
            0 => {}
            count => batch.extend_from_slice(lost(count).as_bytes()),
        }
        // A closed standard output is no reason to stop serving.
        drop(sink.write_all(&batch).and_then(|()| sink.flush()));
        for done in waiting {
            let _nobody_waits = done.send(());
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
            self.journal.line(std::mem::take(&mut self.text));
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

    use super::{Journal, QUEUE};

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
        let given = 3 * QUEUE;
        for _ in 0..given {
            journal.line(b"x\n".to_vec());
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
        assert!(lost > 0, "the queue is bounded");
        assert_eq!(written + lost, given, "every line is written or counted");
    }
}
