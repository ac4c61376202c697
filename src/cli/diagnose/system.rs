//! What only the operating system knows about the person and the console.

use std::io::IsTerminal;

use super::double_click::{Console, Person};

/// The language of the user interface, such as `ru-RU`.
#[cfg(windows)]
pub(super) fn language() -> Option<String> {
    sys_locale::get_locale()
}

/// Elsewhere the environment says it.
#[cfg(not(windows))]
pub(super) const fn language() -> Option<String> {
    None
}

/// Makes the console obey colours. Text needs nothing: the standard library writes UTF-16 to a
/// console, and UTF-8 to a pipe or a file.
#[cfg(windows)]
pub(super) fn prepare_console() {
    // It changes nothing when standard output is no console.
    let _older_than_windows_10 = colored::control::set_virtual_terminal(true);
}

/// Elsewhere every terminal does.
#[cfg(not(windows))]
pub(super) const fn prepare_console() {}

/// Whose console this is.
pub(super) fn console() -> Console {
    let there = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    Console::of(processes(), if there { Person::There } else { Person::Absent })
}

#[cfg(windows)]
fn processes() -> u32 {
    super::windows_console::processes()
}

/// Elsewhere a program in a window of its own is started with a command.
#[cfg(not(windows))]
const fn processes() -> u32 {
    0
}
