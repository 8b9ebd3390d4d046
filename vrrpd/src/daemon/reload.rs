//! The configuration that is in force, and how another one comes to be.

use tracing::{error, info, warn};
use vrrp_proto::action::Input;
use vrrp_proto::tracking::TrackerState;

use super::roster::{self, Order};
use super::{Daemon, reports};
use crate::authentication::Secrets;
use crate::config::{self, Config};
use crate::control::exit;
use crate::control::protocol::{Refusal, Reloaded, VERSION};
use crate::control::time::WallTime;
use crate::history::What;
use crate::{kernel, protocol};

impl Daemon {
    /// Tells the threads what the configuration asks of them.
    pub(super) fn put_in_force(&mut self) {
        let forms = &self.forms;
        let orders = self.roster.apply(&self.config, |name| forms.get(name), self.starts.may_resume());
        for order in orders {
            match order {
                Order::Protocol(message) => {
                    let configured = match &message {
                        protocol::Message::Input(Input::Configure { router, .. }) => Some(*router),
                        _ => None,
                    };
                    self.wires.messages.push_waiting(message);
                    // Before the kernel thread can say that it may start.
                    configured.into_iter().for_each(|router| self.remind(router));
                }
                Order::Kernel(message) => self.wires.kernel.push_waiting(message),
            }
        }
        self.wires.kernel.push_waiting(kernel::Message::Complete);
        self.hooks.apply(&self.config);
        self.ask_by_role();
        let asked = self.config.checks.iter().filter(|check| self.roles.asks(&check.name));
        self.checks.apply(asked);
        self.track();
        self.dns.apply(&self.config.dns_updates);
        // A router may have another name now than when it became Active.
        self.observer.heartbeat(&self.roster, &self.wires);
    }

    /// Starts the checks that are asked from now on and stops those that are not any more. Until a
    /// check has been asked often enough again it is pending.
    pub(super) fn ask_by_role(&mut self) {
        for (name, asked) in self.roles.update(&self.config) {
            let Some(check) = self.config.checks.iter().find(|check| check.name == name) else { continue };
            let state = if asked {
                self.checks.start(check);
                TrackerState::Pending
            } else {
                self.checks.stop(&name);
                TrackerState::Skipped
            };
            // A decision that counts no more is the reason of what follows.
            if let Some(what) = self.observer.asked(check, asked, &self.config) {
                self.history.record(WallTime::now(), what);
            }
            let tracker = self.roster.tracker(&name);
            self.wires.messages.push_waiting(protocol::Message::Input(Input::Tracked { tracker, state }));
        }
    }

    /// Reads the file again. A faulty one changes nothing.
    pub(super) fn reload(
        &mut self,
        uid: Option<u32>,
        command: &str,
        reason: Option<String>,
    ) -> Result<Reloaded, Refusal> {
        self.record(What::Command { uid, command: command.to_owned(), reason });
        self.systemd.reloading();
        let loaded = config::load(&self.path).map_err(|faults| faults.to_string());
        let loaded = loaded.and_then(|(config, warnings)| match Secrets::load(&config) {
            Ok(secrets) => Ok((config, secrets, warnings)),
            Err(faults) => Err(faults.join("\n")),
        });
        // The last that may fail: what is taken here is in force.
        let loaded = loaded.and_then(|loaded| {
            self.berths.take(&loaded.0).map_err(|taken| taken.to_string())?;
            Ok(loaded)
        });
        let answer = match loaded {
            Err(diagnostics) => {
                error!(
                    "the configuration is faulty and was not taken over; running on what was\n{diagnostics}"
                );
                self.record(What::ReloadRefused { diagnostics: diagnostics.clone() });
                Err(Refusal { exit_code: exit::CONFIG, message: diagnostics })
            }
            Ok((config, secrets, warnings)) => {
                let differences = config::differences(&self.config, &config);
                let mut reloaded = Reloaded { version: VERSION, changes: Vec::new(), warnings: Vec::new() };
                for difference in &differences {
                    let words = difference.to_string();
                    if difference.needs_restart() {
                        reloaded.warnings.push(format!("{words}: takes effect at the next start"));
                    }
                    info!("reload: {words}");
                    reloaded.changes.push(words);
                }
                for name in secrets.changed(&self.roster.secrets) {
                    let said = format!("virtual_router.{name}: ");
                    let shown = |words: &String| words.starts_with(&said) && words.contains("authentication");
                    if reloaded.changes.iter().any(shown) {
                        continue;
                    }
                    let words = format!("{said}another secret of authentication");
                    info!("reload: {words}");
                    reloaded.changes.push(words);
                }
                reloaded.warnings.extend(warnings.iter().map(|warning| warning.message.clone()));
                reloaded.warnings.iter().for_each(|warning| warn!("{warning}"));
                self.roster.secrets = secrets;
                self.launcher.reread();
                self.take_over(config);
                self.record(What::Reloaded { changes: reloaded.changes.clone() });
                Ok(reloaded)
            }
        };
        self.systemd.ready();
        answer
    }

    pub(super) fn take_over(&mut self, config: Config) {
        // What is read at start only stays as it was started.
        let config = Config { daemon: self.config.daemon.clone(), ..config };
        for (_, entry) in self.roster.iter().filter(|(_, entry)| !entry.leaving) {
            let gone =
                !config.virtual_routers.iter().any(|new| roster::key(new) == roster::key(&entry.config));
            if gone {
                self.hooks.notify(&entry.config.name, &reports::stopped(entry.config.priority));
            }
        }
        for (from, to) in self.renamed(&config) {
            if let Some(trouble) = self.standing.rename(&from, &to) {
                warn!("{trouble}: {to} stands under no order after a restart");
            }
        }
        self.peers.restart(config.peer_link.as_ref(), &config.daemon.node);
        self.config = config;
        self.observer.configured(&self.config);
        if !self.ending {
            self.put_in_force();
        }
    }

    /// Virtual routers that have another name in `config`, with both.
    pub(super) fn renamed(&self, config: &Config) -> Vec<(String, String)> {
        let before = self.roster.iter().filter(|(_, entry)| !entry.leaving).map(|(_, entry)| &entry.config);
        before
            .filter_map(|old| {
                let new = config.virtual_routers.iter().find(|new| roster::key(new) == roster::key(old))?;
                (new.name != old.name).then(|| (old.name.clone(), new.name.clone()))
            })
            .collect()
    }
}
