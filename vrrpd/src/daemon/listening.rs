//! The control socket, as soon as it can be had: a `/run` that is full or read-only takes `vrrpctl` away,
//! and not the addresses.

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tracing::{error, info, warn};

use crate::config::Daemon;
use crate::control::server::{self, Call, Limits};
use crate::control::socket::{BindError, Socket};

/// How often it is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Serves clients on the control socket, from now on or from when it can be had.
///
/// # Errors
///
/// When it cannot be had for a reason that does not pass by itself, such as another daemon on it.
pub(super) fn listen(
    daemon: &Daemon,
    calls: mpsc::Sender<Call>,
) -> Result<JoinHandle<io::Result<()>>, BindError> {
    let (path, group) = (daemon.control_socket.clone(), daemon.read_group.clone());
    let socket = match bind(&path, &group) {
        Ok(socket) => Some(socket),
        Err(error) if error.may_pass() => {
            error!("{error}; going on without it: vrrpctl cannot reach this daemon until that is over");
            None
        }
        Err(error) => return Err(error),
    };
    Ok(tokio::spawn(async move {
        let socket = match socket {
            Some(socket) => socket,
            None => bind_when_possible(&path, &group).await,
        };
        server::serve(socket, calls, Limits::default()).await
    }))
}

async fn bind_when_possible(path: &Path, group: &str) -> Socket {
    loop {
        tokio::time::sleep(RETRY).await;
        // Whatever stands against it now: who could say so to whom?
        if let Ok(socket) = bind(path, group) {
            info!("the control socket {} is open", path.display());
            return socket;
        }
    }
}

fn bind(path: &Path, group: &str) -> Result<Socket, BindError> {
    let (socket, warnings) = Socket::bind(path, group)?;
    warnings.iter().for_each(|warning| warn!("{warning}"));
    Ok(socket)
}
