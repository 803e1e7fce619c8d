//! The `mab` program; everything it does is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    // The sandbox helper has to be single-threaded, so this comes before anything else.
    #[cfg(target_os = "linux")]
    if let Some(code) = mab::engine::embedded::sandbox::helper::main_if_asked() {
        std::process::exit(code);
    }
    mab::cli::main()
}
