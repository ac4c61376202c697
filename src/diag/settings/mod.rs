//! Proxy settings as operating systems keep them, read into facts. Pure: whoever reads them is in
//! `checks/machine`.

mod address;
mod bypass;
mod desktop;
mod environment;
mod in_use;
mod windows;

pub use address::{proxy, script};
pub use bypass::{Dialect, bypasses, entries};
pub use desktop::{Gnome, of_gnome, of_scutil};
pub use environment::of_environment;
pub use in_use::in_use;
pub use windows::{Blob, WinInet, of_blob, of_winhttp, of_wininet};
