//! A conduit of one pipe.

use std::io;
use std::task::{Context, Poll, ready};

use tokio::net::TcpStream;

use super::Step;
use super::pipe::{Held, disable, is_refusal};
use crate::net::direction::Broken;

/// A splice that moves less than this costs more than a copy: measured crossover 8 KiB, halved so
/// that a stream does not change its mind at every segment.
const LITTLE: usize = 4 * 1024;

/// Bytes between two sockets of one direction.
#[derive(Debug, Default)]
pub struct Conduit {
    held: Option<Held>,
}

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
        mut held: Held,
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
            Err(error) if is_refusal(&error) => {
                disable(&error);
                match held.spill() {
                    Ok(bytes) => Step::Spilled(bytes),
                    Err(_) => return Poll::Ready(Err(Broken::Reader)),
                }
            }
            Err(_) => return Poll::Ready(Err(Broken::Writer)),
        };
        if !held.is_empty() {
            self.held = Some(held);
        }
        Poll::Ready(Ok(step))
    }

    fn fill(&mut self, cx: &mut Context<'_>, from: &TcpStream) -> Poll<Result<Step, Broken>> {
        if ready!(from.poll_read_ready(cx)).is_err() {
            return Poll::Ready(Err(Broken::Reader));
        }
        let Some(mut held) = Held::take() else { return Poll::Ready(Ok(Step::Copy)) };
        let step = match held.read_from(from) {
            // The end, or a mark of urgent data: reading tells.
            Ok(0) => Step::Copy,
            Ok(bytes) => {
                self.held = Some(held);
                if bytes < LITTLE { Step::Copy } else { Step::Again }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Step::Again,
            Err(error) if is_refusal(&error) => {
                disable(&error);
                Step::Copy
            }
            Err(_) => return Poll::Ready(Err(Broken::Reader)),
        };
        Poll::Ready(Ok(step))
    }
}
