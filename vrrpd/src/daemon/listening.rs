//! The control socket, as soon as it can be had: a `/run` that is full or read-only takes `vrrpctl` away,
//! and not the addresses.

use std::io;
use std::time::Duration;

use tokio::sync::mpsc;
use tracing::{error, info, warn};

use crate::config::Daemon;
use crate::control::server::{self, Call, Limits};
use crate::control::socket::{BindError, Socket};

/// How often it is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Opens the control socket, before the right to give it to its group is gone. `None`: it cannot be had
/// just now, which has been said.
///
/// # Errors
///
/// When it cannot be had for a reason that does not pass by itself, such as another daemon on it.
pub(super) fn open(daemon: &Daemon) -> Result<Option<Socket>, BindError> {
    match bind(daemon) {
        Ok(socket) => Ok(Some(socket)),
        Err(error) if error.may_pass() => {
            error!("{error}; going on without it: vrrpctl cannot reach this daemon until that is over");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Serves clients on the control socket, from now on or from when it can be had.
///
/// # Errors
///
/// As [`server::serve`].
pub(super) async fn serve(
    socket: Option<Socket>,
    daemon: Daemon,
    calls: mpsc::Sender<Call>,
) -> io::Result<()> {
    let socket = match socket {
        Some(socket) => socket,
        None => bind_when_possible(&daemon).await,
    };
    server::serve(socket, calls, Limits::default()).await
}

async fn bind_when_possible(daemon: &Daemon) -> Socket {
    loop {
        tokio::time::sleep(RETRY).await;
        // Whatever stands against it now: who could say so to whom?
        if let Ok(socket) = bind(daemon) {
            info!("the control socket {} is open", daemon.control_socket.display());
            return socket;
        }
    }
}

fn bind(daemon: &Daemon) -> Result<Socket, BindError> {
    let (socket, warnings) = Socket::bind(&daemon.control_socket, &daemon.read_group)?;
    warnings.iter().for_each(|warning| warn!("{warning}"));
    Ok(socket)
}
