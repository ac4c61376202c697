//! Bulk without a copy in user space: socket → pipe → socket (Linux).
//!
//! Pipes come from a pool of the thread, only for as long as they hold bytes: an idle tunnel owns
//! none. They are few, for the kernel gives a user only `pipe-user-pages-soft` pages of them, which
//! all containers of one user share; who gets none copies.

use std::io;
use std::task::{Context, Poll, ready};

use tokio::net::TcpStream;

use super::relay::Broken;

/// A splice that moves less than this costs more than a copy: measured crossover 8 KiB, halved so
/// that a stream does not change its mind at every segment.
#[cfg(target_os = "linux")]
const LITTLE: usize = 4 * 1024;

/// What one step has done.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// That many bytes are with the writer.
    Moved(usize),
    /// The reader has ended.
    End,
    /// Something to do again at once, or when the sockets are ready.
    Again,
    /// Go on copying: no pipe, no splice here, or too few bytes at a time.
    Copy,
}

/// Bytes between two sockets of one direction.
#[derive(Debug, Default)]
pub struct Conduit {
    #[cfg(target_os = "linux")]
    held: Option<linux::Held>,
}

#[cfg(target_os = "linux")]
impl Conduit {
    /// Whether bytes are on their way that only [`Conduit::poll`] can deliver.
    pub const fn is_empty(&self) -> bool {
        self.held.is_none()
    }

    /// Writes what is held, or else takes what `from` has.
    ///
    /// The pipe is filled only when it is empty: with bytes in it nobody could tell "nothing to
    /// read" from "the pipe is full".
    pub fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &TcpStream,
        to: &TcpStream,
    ) -> Poll<Result<Step, Broken>> {
        match self.held.take() {
            Some(held) => self.drain(cx, held, to),
            None => self.fill(cx, from),
        }
    }

    fn drain(
        &mut self,
        cx: &mut Context<'_>,
        mut held: linux::Held,
        to: &TcpStream,
    ) -> Poll<Result<Step, Broken>> {
        let Poll::Ready(ready) = to.poll_write_ready(cx) else {
            self.held = Some(held);
            return Poll::Pending;
        };
        if ready.is_err() {
            return Poll::Ready(Err(Broken::Writer));
        }
        let step = match held.write_to(to) {
            Ok(moved) => Step::Moved(moved),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Step::Again,
            Err(_) => return Poll::Ready(Err(Broken::Writer)),
        };
        if held.bytes() > 0 {
            self.held = Some(held);
        }
        Poll::Ready(Ok(step))
    }

    fn fill(&mut self, cx: &mut Context<'_>, from: &TcpStream) -> Poll<Result<Step, Broken>> {
        if ready!(from.poll_read_ready(cx)).is_err() {
            return Poll::Ready(Err(Broken::Reader));
        }
        let Some(mut held) = linux::Held::take() else { return Poll::Ready(Ok(Step::Copy)) };
        let step = match held.read_from(from) {
            Ok(0) => Step::End,
            Ok(bytes) => {
                self.held = Some(held);
                if bytes < LITTLE { Step::Copy } else { Step::Again }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Step::Again,
            Err(error) if linux::is_refusal(&error) => {
                linux::disable(&error);
                Step::Copy
            }
            Err(_) => return Poll::Ready(Err(Broken::Reader)),
        };
        Poll::Ready(Ok(step))
    }
}

#[cfg(not(target_os = "linux"))]
impl Conduit {
    /// There is nothing to hold.
    pub const fn is_empty(&self) -> bool {
        true
    }

    /// Other systems copy.
    pub fn poll(
        &mut self,
        _cx: &mut Context<'_>,
        _from: &TcpStream,
        _to: &TcpStream,
    ) -> Poll<Result<Step, Broken>> {
        Poll::Ready(Ok(Step::Copy))
    }
}

#[cfg(target_os = "linux")]
mod linux {
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

    /// The size we ask for: most of the gain of a larger pipe comes at 256 KiB, and 64 of them are a
    /// quarter of what an unprivileged user may have.
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
            if OPEN.fetch_add(1, Relaxed) >= MOST {
                OPEN.fetch_sub(1, Relaxed);
                return None;
            }
            let Ok((reader, writer)) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK) else {
                OPEN.fetch_sub(1, Relaxed);
                return None;
            };
            let pipe = Self { reader, writer };
            // Refused over the budget; then the default of 64 KiB may still be there.
            let _granted = fcntl_setpipe_size(&pipe.writer, SIZE);
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
        bytes: usize,
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

        pub(super) const fn bytes(&self) -> usize {
            self.bytes
        }

        pub(super) fn read_from(&mut self, socket: &TcpStream) -> io::Result<usize> {
            let Some(pipe) = &self.pipe else { return Ok(0) };
            let bytes = socket.try_io(Interest::READABLE, || {
                Ok(splice(socket, None, &pipe.writer, None, AT_MOST, SpliceFlags::NONBLOCK)?)
            })?;
            self.bytes = bytes;
            Ok(bytes)
        }

        pub(super) fn write_to(&mut self, socket: &TcpStream) -> io::Result<usize> {
            let Some(pipe) = &self.pipe else { return Ok(0) };
            let moved = socket.try_io(Interest::WRITABLE, || {
                Ok(splice(&pipe.reader, None, socket, None, self.bytes, SpliceFlags::NONBLOCK)?)
            })?;
            self.bytes = self.bytes.saturating_sub(moved);
            Ok(moved)
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
}
