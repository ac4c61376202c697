//! Pipes, pooled by thread and bounded by process.

use std::cell::RefCell;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use rustix::io::Errno;
use rustix::pipe::{
    PipeFlags, SpliceFlags, fcntl_getpipe_size, fcntl_setpipe_size, pipe_with, splice,
};
use tokio::io::Interest;
use tokio::net::TcpStream;

/// The first pipes hold as much as an unprivileged user may ask for: their size is how much moves
/// at once (page by page, so that 64 slots are 256 KiB at most and 93 kB of packets), and fewer,
/// larger steps cost 15 % less (`scripts/bench.sh --modes bulk-down`). They are few, for 64 of them
/// are all that user may have.
const LARGE: (usize, usize) = (16, 1024 * 1024);
/// The other ones.
const SIZE: usize = 256 * 1024;
/// Two pages: what a user gets whose budget is used up. Copying is faster than that.
const USELESS: usize = 8 * 1024;
/// Pipes of this process.
const MOST: usize = 64;
/// Empty pipes a thread keeps.
const KEPT: usize = 8;
/// After a failure to get a pipe so many wishes go by without asking the kernel again.
const PAUSE: usize = 1024;
/// `usize::MAX` is refused by newer kernels (EINVAL).
const AT_MOST: usize = 1 << 20;

static OPEN: AtomicUsize = AtomicUsize::new(0);
static WISHES_TO_SKIP: AtomicUsize = AtomicUsize::new(0);
static DISABLED: AtomicBool = AtomicBool::new(false);

thread_local! {
    static EMPTY: RefCell<Vec<Pipe>> = const { RefCell::new(Vec::new()) };
}

#[derive(Debug)]
struct Pipe {
    reader: OwnedFd,
    writer: OwnedFd,
}

impl Pipe {
    fn open() -> Option<Self> {
        let others = OPEN.fetch_add(1, Relaxed);
        if others >= MOST {
            OPEN.fetch_sub(1, Relaxed);
            return None;
        }
        let Ok((reader, writer)) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK) else {
            OPEN.fetch_sub(1, Relaxed);
            return None;
        };
        let pipe = Self { reader, writer };
        // Refused over the budget; then the default of 64 KiB may still be there.
        let (large_ones, large) = LARGE;
        let size = if others < large_ones { large } else { SIZE };
        let _granted = fcntl_setpipe_size(&pipe.writer, size);
        fcntl_getpipe_size(&pipe.writer).is_ok_and(|size| size > USELESS).then_some(pipe)
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        OPEN.fetch_sub(1, Relaxed);
    }
}

/// A pipe and how many bytes are in it. An empty one goes back to the pool, one with bytes is
/// closed: they belong to nobody any more.
#[derive(Debug)]
pub(super) struct Held {
    pipe: Option<Pipe>,
    /// Pipes are smaller than 4 GiB.
    bytes: u32,
}

impl Held {
    /// An empty pipe, if there is one to be had.
    pub(super) fn take() -> Option<Self> {
        if DISABLED.load(Relaxed) {
            return None;
        }
        let pipe = EMPTY.with_borrow_mut(Vec::pop).or_else(new_pipe)?;
        Some(Self { pipe: Some(pipe), bytes: 0 })
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    pub(super) fn read_from(&mut self, socket: &TcpStream) -> io::Result<usize> {
        let Some(pipe) = &self.pipe else { return Ok(0) };
        let bytes = socket.try_io(Interest::READABLE, || {
            Ok(splice(socket, None, &pipe.writer, None, AT_MOST, SpliceFlags::NONBLOCK)?)
        })?;
        self.bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        Ok(bytes)
    }

    pub(super) fn write_to(&mut self, socket: &TcpStream) -> io::Result<usize> {
        let Some(pipe) = &self.pipe else { return Ok(0) };
        let moved = socket.try_io(Interest::WRITABLE, || {
            let bytes = self.bytes as usize;
            Ok(splice(&pipe.reader, None, socket, None, bytes, SpliceFlags::NONBLOCK)?)
        })?;
        self.bytes = self.bytes.saturating_sub(u32::try_from(moved).unwrap_or(u32::MAX));
        Ok(moved)
    }

    /// Takes the bytes back into user space.
    pub(super) fn spill(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; self.bytes as usize];
        let mut filled = 0;
        while let (Some(pipe), Some(room @ [_, ..])) = (&self.pipe, bytes.get_mut(filled..)) {
            match rustix::io::read(&pipe.reader, room)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => filled += count,
            }
        }
        self.bytes = 0;
        Ok(bytes)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let (Some(pipe), 0) = (self.pipe.take(), self.bytes) {
            EMPTY.with_borrow_mut(|pool| {
                pool.push(pipe);
                pool.truncate(KEPT);
            });
        }
    }
}

fn new_pipe() -> Option<Pipe> {
    let skip = WISHES_TO_SKIP.load(Relaxed);
    if skip > 0 {
        WISHES_TO_SKIP.store(skip - 1, Relaxed);
        return None;
    }
    let pipe = Pipe::open();
    if pipe.is_none() {
        WISHES_TO_SKIP.store(PAUSE, Relaxed);
    }
    pipe
}

/// What a sandbox or an exotic socket says to splice.
pub(super) fn is_refusal(error: &io::Error) -> bool {
    const REFUSALS: [i32; 4] = [
        Errno::INVAL.raw_os_error(),
        Errno::NOSYS.raw_os_error(),
        Errno::PERM.raw_os_error(),
        Errno::ACCESS.raw_os_error(),
    ];
    error.raw_os_error().is_some_and(|code| REFUSALS.contains(&code))
}

/// From now on everything is copied; said once.
pub(super) fn disable(error: &io::Error) {
    if !DISABLED.swap(true, Relaxed) {
        tracing::info!(reason = %error, "splice is not available here: bulk data is copied");
    }
}

#[cfg(test)]
mod tests {
    use super::Held;

    #[test]
    fn what_could_not_be_written_is_not_lost() {
        let mut held = Held::take().unwrap();
        let bytes: Vec<u8> = (0..50_000_u32).map(|at| (at % 251) as u8).collect();
        let pipe = held.pipe.as_ref().unwrap();
        assert_eq!(rustix::io::write(&pipe.writer, &bytes).unwrap(), bytes.len());
        held.bytes = 50_000;
        assert_eq!(held.spill().unwrap(), bytes);
        assert!(held.is_empty());
    }
}
