//! A node as a machine: switched on, with its registry and its daemon, and what can happen to it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use nix::sys::signal::Signal;
use vrrp_proto::AdverInterval;
use vrrp_proto::snapshot::StateName;

use super::Error;
use super::cast::{self, FALL, Node, REGISTRY_PORT, RISE};
use super::daemon::Daemon;
use super::lan::{Station, Switch};
use super::service::{self, Worker};
use crate::control::client;
use crate::control::protocol::{Answer, Request};
use crate::control::time::Span;

/// Name of the control socket, beside the configuration.
const SOCKET: &str = "control.sock";

/// What a daemon says that it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Word {
    pub(super) node: Node,
    /// None: it did not answer.
    pub(super) state: Option<StateName>,
}

/// A running node. Dropping it ends all that runs on it.
pub(super) struct Machine {
    pub(super) node: Node,
    pub(super) daemon: Daemon,
    /// Where the daemon can be asked.
    socket: PathBuf,
    /// It was told to end.
    dismissed: bool,
    registry: Option<Worker>,
    _responder: Worker,
    station: Station,
}

impl Machine {
    /// Switches the machine on. `port` names its cable, `directory` is what is left of it in between.
    pub(super) fn boot(
        node: Node,
        switch: &mut Switch,
        port: &str,
        directory: &Path,
        interval: AdverInterval,
    ) -> Result<Self, Error> {
        let config = write_config(node, &directory.join(node.name()), interval)?;
        let station = switch.plug_in(port, node.address())?;
        let registry = Some(service::registry(node, &station.namespace)?);
        let responder = service::responder(node, &station.namespace)?;
        let daemon = Daemon::start(&config, &station.namespace)?;
        let socket = config.with_file_name(SOCKET);
        Ok(Self { node, daemon, socket, dismissed: false, registry, _responder: responder, station })
    }

    /// The registry ends; connections to it are refused from here on.
    pub(super) fn stop_registry(&mut self) {
        self.registry = None;
    }

    pub(super) fn start_registry(&mut self) -> Result<(), Error> {
        self.registry = Some(service::registry(self.node, &self.station.namespace)?);
        Ok(())
    }

    /// Off, without a word to anybody.
    pub(super) fn power_off(self, switch: &mut Switch) -> Result<(), Error> {
        // The cable first: as of a machine without power, nothing is heard of it any more.
        switch.cut(&self.station)?;
        self.daemon.signal(Signal::SIGKILL);
        Ok(())
    }

    /// Has the daemon end.
    pub(super) fn dismiss(&mut self, signal: Signal) {
        self.dismissed = true;
        self.daemon.signal(signal);
    }

    /// What the daemon says that it is; one that was told to end is not asked.
    pub(super) fn says(&self) -> Option<Word> {
        /// It answers within milliseconds, or something is wrong with it.
        const PATIENCE: Duration = Duration::from_secs(2);
        if self.dismissed {
            return None;
        }
        let state = match client::ask(&self.socket, &Request::State { name: None }, PATIENCE) {
            Ok(Answer::State(state)) => state.virtual_routers.first().map(|router| router.state),
            _ => None,
        };
        Some(Word { node: self.node, state })
    }

    /// How the daemon ended that nobody had dismissed.
    pub(super) fn deserted(&mut self) -> Option<ExitStatus> {
        if self.dismissed { None } else { self.daemon.ended() }
    }
}

/// Writes the node's file, whose name is returned.
fn write_config(node: Node, directory: &Path, interval: AdverInterval) -> Result<PathBuf, Error> {
    let file = directory.join("vrrpd.toml");
    fs::create_dir_all(directory)
        .and_then(|()| fs::write(&file, config(node, directory, interval)))
        .map_err(Error::system(format!("write {}", file.display())))?;
    Ok(file)
}

fn config(node: Node, directory: &Path, interval: AdverInterval) -> String {
    let directory = directory.display().to_string();
    let quoted = |text: String| toml::Value::String(text).to_string();
    let (name, state) = (quoted(node.name().into()), quoted(directory.clone()));
    let socket = quoted(format!("{directory}/{SOCKET}"));
    let (priority, address) = (node.priority().get(), cast::ADDRESS);
    let (advertise, check) = (Span(interval.duration()), Span(cast::check_interval(interval)));
    let url = quoted(format!("http://{}:{REGISTRY_PORT}/v2/", node.address()));
    let interface = quoted(Station::INTERFACE.into());
    format!(
        r#"[daemon]
node = {name}
control_socket = {socket}
runtime_dir = {state}
state_dir = {state}
scheduling = "normal"

[virtual_router.bootstrap]
interface = {interface}
vrid = 201
priority = {priority}
advertisement_interval = "{advertise}"
addresses = ["{address}"]
checks = ["registry"]

[check.registry]
http = {{ url = {url} }}
interval = "{check}"
rise = {RISE}
fall = {FALL}
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_of_each_node_is_accepted() {
        for (node, interval) in Node::BOTH.into_iter().zip([10, 1000]) {
            let interval = AdverInterval::from_centiseconds(interval).expect("in range");
            let text = config(node, Path::new("/tmp/a \"quoted\" place"), interval);
            let (config, _) = crate::config::parse("demo.toml", &text).expect("valid");
            assert_eq!(config.virtual_routers[0].advertisement_interval, interval);
            assert_eq!(config.checks[0].interval, cast::check_interval(interval));
        }
    }
}
