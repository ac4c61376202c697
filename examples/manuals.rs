//! Writes the manual pages and the shell completions, from the command line as the program has it:
//!
//! ```sh
//! cargo run --example manuals -- FOLDER
//! ```
//!
//! `FOLDER/man` gets one page for each command, `FOLDER/completions` one file for each shell.

use std::ffi::OsString;
use std::fs::create_dir_all;
use std::io::{Error, ErrorKind, Result};
use std::path::Path;

use clap_complete::Shell;

const NAME: &str = "sami-proxy";

fn main() -> Result<()> {
    let folder: OsString = std::env::args_os()
        .nth(1)
        .ok_or_else(|| Error::new(ErrorKind::InvalidInput, "usage: manuals FOLDER"))?;
    let folder = Path::new(&folder);
    let (man, completions) = (folder.join("man"), folder.join("completions"));
    create_dir_all(&man)?;
    create_dir_all(&completions)?;
    // `help` would have a page that says nothing.
    clap_mangen::generate_to(sami_proxy::cli::command().disable_help_subcommand(true), &man)?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish, Shell::PowerShell] {
        clap_complete::generate_to(shell, &mut sami_proxy::cli::command(), NAME, &completions)?;
    }
    Ok(())
}
