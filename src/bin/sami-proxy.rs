//! The program; everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    sami_proxy::cli::main(std::env::args_os())
}
