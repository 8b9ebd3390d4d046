//! The Unix socket itself: made in one step with its final mode, never taken from a living daemon,
//! removed at the end.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use nix::unistd::Group;
use socket2::{Domain, SockAddr, Type};

use super::{exit, io_words};

/// Mode of the socket: root and the group that may read.
const MODE: u32 = 0o660;

/// A bound control socket. Dropping it removes it from the file system, if it is still the same.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    path: PathBuf,
    identity: (u64, u64),
}

/// Why there is no control socket.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another daemon answers on it.
    #[error(
        "{} belongs to a running vrrpd; stop it first, or give this one its own control_socket",
        .0.display()
    )]
    Living(PathBuf),
    /// There is something else under that name.
    #[error("{} exists and is not a socket; remove it, or choose another control_socket", .0.display())]
    NotASocket(PathBuf),
    /// The kernel said no.
    #[error("cannot create the control socket {}: {}; control_socket must name a file of at most 107 bytes in a directory that vrrpd may write to", path.display(), io_words(source))]
    Create {
        /// The configured path.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

impl BindError {
    /// Is it for want of something that comes back without a word to us, as room on a disk does?
    pub fn may_pass(&self) -> bool {
        use nix::errno::Errno::{EDQUOT, EIO, EMFILE, ENFILE, ENOMEM, ENOSPC, EROFS};
        let Self::Create { source, .. } = self else { return false };
        let passing = [EDQUOT, EIO, EMFILE, ENFILE, ENOMEM, ENOSPC, EROFS];
        passing.iter().any(|errno| source.raw_os_error() == Some(*errno as i32))
    }

    /// What the daemon exits with when this does not pass: 77 where it is not permitted, else 78, since
    /// `control_socket` has to be another one, or the other daemon to go.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Create { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                exit::NOT_PERMITTED
            }
            _ => exit::CONFIG,
        }
    }
}

impl Socket {
    /// Listens on `path`, readable for `read_group` when such a group exists. A missing directory
    /// is made; the socket of a dead daemon is replaced. Returns warnings beside it.
    ///
    /// # Errors
    /// Another daemon lives there, something that is no socket is in the way, or the kernel refuses.
    pub fn bind(path: &Path, read_group: &str) -> Result<(Self, Vec<String>), BindError> {
        let create = |source| BindError::Create { path: path.to_owned(), source };
        if let Some(directory) =
            path.parent().filter(|directory| !directory.as_os_str().is_empty() && !directory.exists())
        {
            fs::create_dir(directory).map_err(create)?;
        }
        refuse_unless_free(path)?;
        // Made under another name and renamed when its mode is right: nobody can connect too early,
        // and there is no moment without a socket.
        let draft = path.with_file_name(format!(".{}", std::process::id()));
        let _ = fs::remove_file(&draft);
        let listener = UnixListener::bind(&draft).map_err(create)?;
        let finish = || -> io::Result<(Vec<String>, (u64, u64))> {
            fs::set_permissions(&draft, fs::Permissions::from_mode(MODE))?;
            let warnings = give_to_group(&draft, path, read_group);
            let identity = identity(&draft)?;
            fs::rename(&draft, path)?;
            Ok((warnings, identity))
        };
        match finish() {
            Ok((warnings, identity)) => Ok((Self { listener, path: path.to_owned(), identity }, warnings)),
            Err(source) => {
                let _ = fs::remove_file(&draft);
                Err(create(source))
            }
        }
    }

    /// The listening socket for a runtime of tokio.
    pub(super) fn listener(&self) -> io::Result<tokio::net::UnixListener> {
        let listener = self.listener.try_clone()?;
        listener.set_nonblocking(true)?;
        tokio::net::UnixListener::from_std(listener)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|now| now == self.identity) {
            // Nothing can be done about a failure here; the next daemon replaces the remains.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Fine if there is nothing, or the socket of a daemon that is dead.
fn refuse_unless_free(path: &Path) -> Result<(), BindError> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(BindError::Create { path: path.to_owned(), source }),
        Ok(found) if !found.file_type().is_socket() => return Err(BindError::NotASocket(path.to_owned())),
        Ok(_) => {}
    }
    match knock(path) {
        // EAGAIN: somebody listens, with a full queue.
        Ok(()) => Err(BindError::Living(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(BindError::Living(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(BindError::Create { path: path.to_owned(), source }),
    }
}

/// Connects without waiting.
fn knock(path: &Path) -> io::Result<()> {
    let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.connect(&SockAddr::unix(path)?)
}

/// Hands the socket to `group`. A group that does not exist is no fault: then only root reads.
fn give_to_group(draft: &Path, path: &Path, group: &str) -> Vec<String> {
    let warning = |error: String| {
        vec![format!(
            "read_group \"{group}\" cannot read {}: {error}; only root and this daemon's user can",
            path.display()
        )]
    };
    match Group::from_name(group) {
        Ok(None) => Vec::new(),
        Ok(Some(found)) => match chown(draft, None, Some(found.gid.as_raw())) {
            Ok(()) => Vec::new(),
            Err(error) => warning(io_words(&error)),
        },
        Err(errno) => warning(super::errno_words(errno as i32)),
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|found| (found.dev(), found.ino()))
}
