//! The one call of Windows that no well-kept safe crate has.

#![allow(unsafe_code, reason = "an interface of the operating system")]

use windows_sys::Win32::System::Console::GetConsoleProcessList;

/// How many processes share the console of this one, itself among them; 0 when it has none.
pub(super) fn processes() -> u32 {
    let mut first = [0_u32; 2];
    // SAFETY: the pointer and the count 2 describe `first`, which outlives the call; Windows writes
    // at most so many numbers, and none when there are more processes than that.
    unsafe { GetConsoleProcessList(first.as_mut_ptr(), 2) }
}
