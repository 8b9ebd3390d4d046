//! What can go wrong between us and the kernel, in words for an operator.

use std::io;

use nix::errno::Errno;

/// Why a request, a list or the monitor failed.
///
/// `operation` is what was attempted and on what, such as `add 192.0.2.10/32 to link 7`.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel refused.
    #[error("cannot {operation}: {}", reason(*errno, kernel.as_deref()))]
    Refused {
        /// What was attempted.
        operation: String,
        /// The error number, positive, as in `errno`(3).
        errno: i32,
        /// The kernel's own words (extended acknowledgement, Linux 4.12), where it has some.
        kernel: Option<String>,
    },
    /// A system call on the netlink socket failed.
    #[error("cannot {operation}: {}", system_call(source))]
    Socket {
        /// What was attempted.
        operation: String,
        /// What the system call said.
        source: io::Error,
    },
    /// The kernel dropped answers because the receive buffer was full: the request may or may not
    /// have been performed.
    #[error(
        "cannot tell whether to {operation} worked: the kernel's answer was lost (ENOBUFS); list and compare"
    )]
    Overrun {
        /// What was attempted.
        operation: String,
    },
    /// No answer within a second: the request may or may not have been performed.
    #[error("cannot tell whether to {operation} worked: no answer from the kernel; list and compare")]
    Timeout {
        /// What was attempted.
        operation: String,
    },
    /// A message was longer than the largest buffer that we are ready to use for it.
    #[error(
        "cannot {operation}: a message of the kernel has {length} bytes, more than the {limit} we accept"
    )]
    Truncated {
        /// What was attempted.
        operation: String,
        /// The length of the message in bytes.
        length: usize,
        /// The size of the buffer in bytes.
        limit: usize,
    },
    /// A message from the kernel does not follow the format.
    #[error("cannot {operation}: the kernel's message does not make sense: {detail}")]
    Malformed {
        /// What was attempted.
        operation: String,
        /// What is wrong with it.
        detail: String,
    },
    /// What was listed changed during each of the attempts to list it.
    #[error(
        "cannot {operation}: it changed during each of {attempts} attempts; try again when the system is calmer"
    )]
    Unstable {
        /// What was attempted.
        operation: String,
        /// How often it was tried.
        attempts: u32,
    },
    /// A name that no link can have; the request was not sent.
    #[error(
        "cannot {operation}: the name {name:?} is not possible; a link's name has 1 to 15 bytes without '/', ':', white space and NUL"
    )]
    Name {
        /// What was attempted.
        operation: String,
        /// The name.
        name: String,
    },
}

impl Error {
    /// The error number behind it, as in `errno`(3); `None` where the kernel did not say no.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Refused { errno, .. } => Some(*errno),
            Self::Socket { source, .. } => source.raw_os_error(),
            _ => None,
        }
    }
}

/// `operation not permitted (EPERM); vrrpd needs CAP_NET_ADMIN`
fn reason(number: i32, kernel: Option<&str>) -> String {
    let errno = Errno::from_raw(number);
    let mut text = match errno {
        Errno::UnknownErrno => format!("error {number}"),
        known => format!("{} ({known:?})", lower_first(known.desc())),
    };
    if let Some(words) = kernel {
        text.push_str(": ");
        text.push_str(words);
    }
    if let Some(remedy) = remedy(errno, kernel) {
        text.push_str("; ");
        text.push_str(remedy);
    }
    text
}

fn system_call(source: &io::Error) -> String {
    source.raw_os_error().map_or_else(|| source.to_string(), |number| reason(number, None))
}

fn remedy(errno: Errno, kernel: Option<&str>) -> Option<&'static str> {
    Some(match errno {
        Errno::EPERM => "vrrpd needs CAP_NET_ADMIN",
        // Linux answers so where IPv6 is switched off for one link.
        Errno::EACCES if kernel.is_none_or(|words| words.contains("IPv6")) => {
            "for an IPv6 address, set the sysctl net.ipv6.conf.INTERFACE.disable_ipv6 to 0"
        }
        Errno::ENODEV => "there is no such link in this network namespace",
        Errno::EEXIST => "remove what is there, or choose another name",
        Errno::EOPNOTSUPP => "this kernel was built without it, or its module is not loaded",
        Errno::EAFNOSUPPORT => "this kernel runs without that address family",
        Errno::EMFILE => "raise the limit of open files (LimitNOFILE)",
        Errno::ENOBUFS | Errno::ENOMEM => "the system is short of memory",
        _ => return None,
    })
}

fn lower_first(text: &str) -> String {
    // "I/O error" keeps its capitals.
    let mut letters = text.chars();
    match (letters.next(), letters.next()) {
        (Some(first), Some(second)) if second.is_lowercase() => {
            first.to_lowercase().chain([second]).chain(letters).collect()
        }
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(errno: Errno, kernel: Option<&str>) -> String {
        let operation = "add 192.0.2.10/32 to link 7".to_owned();
        Error::Refused { operation, errno: errno as i32, kernel: kernel.map(str::to_owned) }.to_string()
    }

    #[test]
    fn names_operation_object_errno_and_remedy() {
        assert_eq!(
            refused(Errno::EPERM, None),
            "cannot add 192.0.2.10/32 to link 7: operation not permitted (EPERM); vrrpd needs CAP_NET_ADMIN"
        );
    }

    #[test]
    fn repeats_the_words_of_the_kernel() {
        assert_eq!(
            refused(Errno::EINVAL, Some("ipv4: Invalid prefix length")),
            "cannot add 192.0.2.10/32 to link 7: invalid argument (EINVAL): ipv4: Invalid prefix length"
        );
    }

    #[test]
    fn an_unknown_number_is_still_shown() {
        let error = Error::Refused { operation: "list links".into(), errno: 4095, kernel: None };
        assert_eq!(error.to_string(), "cannot list links: error 4095");
        assert_eq!(error.errno(), Some(4095));
    }

    #[test]
    fn an_abbreviation_keeps_its_capitals() {
        assert_eq!(lower_first("I/O error"), "I/O error");
        assert_eq!(lower_first("No such device"), "no such device");
        assert_eq!(lower_first(""), "");
    }

    #[test]
    fn a_failed_system_call_reads_the_same_way() {
        let source = io::Error::from_raw_os_error(Errno::EMFILE as i32);
        let error = Error::Socket { operation: "open a netlink socket".into(), source };
        assert_eq!(
            error.to_string(),
            "cannot open a netlink socket: too many open files (EMFILE); raise the limit of open files (LimitNOFILE)"
        );
        assert_eq!(error.errno(), Some(Errno::EMFILE as i32));
    }
}
