//! The control socket: how `vrrpctl` asks the daemon, and what it is told.
//!
//! A client connects, writes one line of JSON ([`protocol::Request`]), reads one line of JSON
//! ([`protocol::Answer`]) and is disconnected. [`socket`] makes the Unix socket, [`server`] speaks
//! with clients so that none of them can harm the daemon, [`client`] is the other end. [`describe`]
//! turns what the protocol core knows into what users see, [`verdict`] judges it (fine, degraded or
//! critical, why, and what to type), and [`facts`] answers whatever only reads. What is true belongs
//! to the main loop, which gets each request as a [`server::Call`].

pub mod alarm;
pub mod client;
pub mod describe;
pub mod exit;
pub mod facts;
pub mod protocol;
pub mod server;
pub mod socket;
pub mod time;
pub mod verdict;

#[cfg(test)]
pub(crate) mod testing;

/// Where the control socket is unless configured otherwise.
pub const DEFAULT_SOCKET: &str = "/run/vrrpd/control.sock";

/// An error number in words: `operation not permitted (EPERM)`.
pub fn errno_words(number: i32) -> String {
    let errno = nix::errno::Errno::from_raw(number);
    if errno == nix::errno::Errno::UnknownErrno {
        return format!("error number {number}");
    }
    let words = errno.desc();
    let mut chars = words.chars();
    match (chars.next(), chars.clone().next()) {
        // "I/O error" keeps its capital.
        (Some(first), Some(second)) if second.is_lowercase() => {
            format!("{}{} ({errno:?})", first.to_lowercase(), chars.as_str())
        }
        _ => format!("{words} ({errno:?})"),
    }
}

/// An I/O error in words: by its number where it has one.
pub(crate) fn io_words(error: &std::io::Error) -> String {
    error.raw_os_error().map_or_else(|| error.to_string(), errno_words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_words_with_their_name() {
        assert_eq!(errno_words(libc::EPERM), "operation not permitted (EPERM)");
        assert_eq!(errno_words(libc::EIO), "I/O error (EIO)");
        assert_eq!(errno_words(-7), "error number -7");
    }
}
