//! The client's end of the control socket: blocking, with one deadline for everything.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use socket2::{Domain, SockAddr, Type};

use super::protocol::{Answer, Refusal, Request};
use super::{exit, io_words};

/// Why there is no answer. Each has an exit code.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody listens there.
    #[error("cannot reach vrrpd at {}: {}; is it running (systemctl status vrrpd)? Another socket is named with --socket or VRRPD_SOCKET", path.display(), io_words(source))]
    Unreachable {
        /// The socket.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The socket's mode does not let us in.
    #[error("not permitted to open {}: be root, or a member of the group that ls -l shows for it", .0.display())]
    NotPermitted(PathBuf),
    /// Somebody listens and says nothing in time.
    #[error("vrrpd at {} did not answer within {} s; its log may say why", path.display(), patience.as_secs())]
    Silent {
        /// The socket.
        path: PathBuf,
        /// How long was waited.
        patience: Duration,
    },
    /// An answer that makes no sense.
    #[error("vrrpd at {} answered what this program does not understand ({detail}); are both of the same version?", path.display())]
    Garbled {
        /// The socket.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// The daemon refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

impl Error {
    /// The exit code for it: 69, 77, or what the daemon said.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Unreachable { .. } | Self::Silent { .. } | Self::Garbled { .. } => exit::UNAVAILABLE,
            Self::NotPermitted(_) => exit::NOT_PERMITTED,
            Self::Refused(refusal) => refusal.exit_code,
        }
    }
}

/// Time that an answer to `request` may take in all: more than the server's own deadlines, so that
/// its explanation arrives before ours is needed.
pub const fn patience(request: &Request) -> Duration {
    Duration::from_secs(if request.takes_time() { 75 } else { 15 })
}

/// Asks the daemon at `socket` and waits for at most `patience`.
///
/// # Errors
/// There is no answer, or it is a refusal: [`Answer::Error`] is never returned as an answer.
pub fn ask(socket: &Path, request: &Request, patience: Duration) -> Result<Answer, Error> {
    let deadline = Instant::now() + patience;
    let stream = connect(socket, patience).map_err(|source| match source.kind() {
        io::ErrorKind::PermissionDenied => Error::NotPermitted(socket.to_owned()),
        // A full queue until the deadline: it exists, but it does not accept.
        io::ErrorKind::WouldBlock => Error::Silent { path: socket.to_owned(), patience },
        _ => Error::Unreachable { path: socket.to_owned(), source },
    })?;
    let mut line = serde_json::to_vec(request).expect("requests have string keys and no failing serializer");
    line.push(b'\n');
    // A server that refuses early may have closed: its answer is there all the same.
    let written = (&stream).write_all(&line);
    let answer = read_line(&stream, deadline)
        .and_then(|answer| if answer.is_empty() { written.map(|()| answer) } else { Ok(answer) });
    let answer = answer.map_err(|source| match source.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            Error::Silent { path: socket.to_owned(), patience }
        }
        _ => Error::Unreachable { path: socket.to_owned(), source },
    })?;
    if !answer.ends_with(b"\n") {
        let detail = format!("{} bytes without an end", answer.len());
        return Err(Error::Garbled { path: socket.to_owned(), detail });
    }
    match serde_json::from_slice(&answer) {
        Ok(Answer::Error(refusal)) => Err(refusal.into()),
        Ok(answer) => Ok(answer),
        Err(error) => Err(Error::Garbled { path: socket.to_owned(), detail: error.to_string() }),
    }
}

/// Connecting waits only while the server's queue is full.
fn connect(path: &Path, patience: Duration) -> io::Result<UnixStream> {
    let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_write_timeout(Some(patience))?;
    socket.connect(&SockAddr::unix(path)?)?;
    Ok(socket.into())
}

/// All bytes up to the first newline, or to the end.
fn read_line(mut stream: &UnixStream, deadline: Instant) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    let mut chunk = [0; 16 * 1024];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut chunk) {
            Ok(0) => return Ok(line),
            Ok(length) => {
                line.extend_from_slice(&chunk[..length]);
                if chunk[..length].contains(&b'\n') {
                    return Ok(line);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
