//! Keeps virtual addresses on one healthy router: see [`vrrpd::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    vrrpd::cli::run()
}
