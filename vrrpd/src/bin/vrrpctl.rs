//! Asks a running vrrpd: see [`vrrpd::ctl`].

use std::io;
use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(vrrpd::ctl::run(std::env::args_os(), &mut io::stdout(), &mut io::stderr()))
}
