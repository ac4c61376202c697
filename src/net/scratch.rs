//! One buffer for every read of a thread: what waits for bytes needs no room for them.

use std::cell::RefCell;

/// One read. Chunks of a token stream are far smaller; bulk is faster in larger pieces, but two of
/// these fit the first-level cache.
pub(super) const SCRATCH: usize = 16 * 1024;

thread_local! {
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH].into_boxed_slice());
}

/// Lends the buffer; `borrow` must not ask for it again.
pub(super) fn with<R>(borrow: impl FnOnce(&mut [u8]) -> R) -> R {
    BUFFER.with_borrow_mut(|buffer| borrow(buffer))
}
