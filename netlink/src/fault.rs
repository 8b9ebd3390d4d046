//! What went wrong in an exchange with the kernel, whatever it was about.

use std::io;

use crate::Error;
use crate::channel::Channel;

/// What went wrong, before it is said with what.
#[derive(Debug)]
pub(crate) enum Fault {
    Refused(i32, Option<String>),
    Socket(io::Error),
    Overrun,
    Timeout,
    Truncated(usize),
    Malformed(String),
}

impl Fault {
    pub(crate) fn error(&self, operation: String) -> Error {
        match self {
            Self::Refused(errno, kernel) => {
                Error::Refused { operation, errno: *errno, kernel: kernel.clone() }
            }
            Self::Socket(error) => {
                // Errors of the system can be told again, though not copied.
                let source = match error.raw_os_error() {
                    Some(errno) => io::Error::from_raw_os_error(errno),
                    None => io::Error::new(error.kind(), error.to_string()),
                };
                Error::Socket { operation, source }
            }
            Self::Overrun => Error::Overrun { operation },
            Self::Timeout => Error::Timeout { operation },
            Self::Truncated(length) => Error::Truncated { operation, length: *length, limit: Channel::LIMIT },
            Self::Malformed(detail) => Error::Malformed { operation, detail: detail.clone() },
        }
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Socket(error)
    }
}
