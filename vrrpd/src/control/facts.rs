//! Answers that follow from what is known, without doing anything.

use super::protocol::{Answer, Check, Checks, Events, Refusal, Request, State, VERSION, Why, WhyRouter};
use super::time::WallTime;
use crate::history::{History, why};

/// All that the daemon knows at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The state of every virtual router.
    pub state: &'a State,
    /// Every check, whether or not a virtual router names it.
    pub checks: &'a [Check],
    /// Names of the hooks.
    pub hooks: &'a [String],
    /// What happened.
    pub history: &'a History,
}

impl Facts<'_> {
    /// The answer to a request that only reads, including the refusal of a name that does not exist;
    /// `None` for `reload`, `check --now`, `config show` and the operator's orders, which are for the main loop itself.
    pub fn answer(&self, request: &Request) -> Option<Answer> {
        let answer = match request {
            Request::State { name } => self.state.clone().only(name.as_deref()).map(Answer::State),
            Request::Check { name, now: false } => self.checks(name.as_deref()).map(Answer::Checks),
            Request::Why { name } => self.why(name.as_deref()).map(Answer::Why),
            Request::History { name, since } => self.history(name.as_deref(), *since).map(Answer::History),
            Request::Check { now: true, .. } | Request::Reload { .. } | Request::ConfigShow { .. } => {
                return None;
            }
            Request::Drain { .. } | Request::Undrain { .. } | Request::Switchover { .. } => return None,
            Request::Freeze { .. } | Request::Unfreeze { .. } | Request::Announce { .. } => return None,
        };
        Some(answer.unwrap_or_else(Answer::Error))
    }

    /// The answer to `check`: the check `name`, or all.
    ///
    /// # Errors
    /// There is no such check.
    pub fn checks(&self, name: Option<&str>) -> Result<Checks, Refusal> {
        let is_meant = |check: &&Check| name.is_none_or(|name| check.name == name);
        let checks: Vec<Check> = self.checks.iter().filter(is_meant).cloned().collect();
        match name {
            Some(name) if checks.is_empty() => {
                Err(Refusal::unknown_name("check", name, self.checks.iter().map(|check| check.name.as_str())))
            }
            _ => Ok(Checks { version: VERSION, time: self.state.time, checks }),
        }
    }

    fn why(&self, name: Option<&str>) -> Result<Why, Refusal> {
        let state = self.state.clone().only(name)?;
        let routers = state.virtual_routers.iter().map(|router| WhyRouter {
            name: router.name.clone(),
            lines: why(&router.name, &state, self.history),
        });
        Ok(Why { version: VERSION, time: state.time, virtual_routers: routers.collect() })
    }

    /// A name may also be one that only the history still knows.
    fn history(&self, name: Option<&str>, since: Option<WallTime>) -> Result<Events, Refusal> {
        if let Some(name) = name {
            let mut known = self.names();
            let remembered = || self.history.iter().any(|event| event.what.names(name));
            if !known.contains(&name) && !remembered() {
                known.sort_unstable();
                known.dedup();
                return Err(Refusal::unknown_name(
                    "virtual router, check, hook, dns_update or interface",
                    name,
                    known.into_iter(),
                ));
            }
        }
        let events = self.history.select(name, since);
        Ok(Events { version: VERSION, time: self.state.time, events, forgotten: self.history.forgotten() })
    }

    fn names(&self) -> Vec<&str> {
        let routers = self.state.virtual_routers.iter();
        let routers = routers.flat_map(|router| [router.name.as_str(), router.interface.as_str()]);
        let checks = self.checks.iter().map(|check| check.name.as_str());
        let updates = self.state.virtual_routers.iter().flat_map(|router| &router.dns_updates);
        let checks = checks.chain(updates.map(|update| update.name.as_str()));
        routers.chain(checks).chain(self.hooks.iter().map(String::as_str)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::testing;
    use crate::history::{LinkChange, What};

    fn answer(request: &Request) -> Option<Answer> {
        let mut history = History::default();
        let time = testing::at("2026-11-23T06:00:00Z");
        history.record(time, What::Started { version: "0.1.0".to_owned() });
        history.record(
            time,
            What::LinkChanged {
                interface: "eth9".to_owned(),
                change: LinkChange::Vanished,
                virtual_routers: vec!["removed".to_owned()],
            },
        );
        let state = testing::state(vec![testing::router()]);
        let (checks, hooks) = ([testing::check()], ["log".to_owned()]);
        Facts { state: &state, checks: &checks, hooks: &hooks, history: &history }.answer(request)
    }

    fn named(name: &str) -> Option<String> {
        Some(name.to_owned())
    }

    #[test]
    fn reading_is_answered_and_doing_is_not() {
        assert!(matches!(answer(&Request::State { name: None }), Some(Answer::State(_))));
        let Some(Answer::Checks(checks)) = answer(&Request::Check { name: named("registry"), now: false })
        else {
            panic!("no checks");
        };
        assert_eq!(checks.checks, [testing::check()]);
        let Some(Answer::Why(why)) = answer(&Request::Why { name: None }) else { panic!("no why") };
        assert!(why.virtual_routers[0].lines[0].starts_with("bootstrap is ACTIVE"));
        assert_eq!(answer(&Request::Check { name: None, now: true }), None);
        assert_eq!(answer(&Request::Reload { reason: None }), None);
        assert_eq!(answer(&Request::ConfigShow { expanded: false }), None);
    }

    #[test]
    fn a_history_is_of_any_name_that_is_or_was() {
        let events = |name: &str| match answer(&Request::History { name: named(name), since: None }) {
            Some(Answer::History(events)) => Ok(events.events.len()),
            Some(Answer::Error(refusal)) => Err(refusal.message),
            other => panic!("{other:?}"),
        };
        for name in ["bootstrap", "registry", "log", "eth0"] {
            assert_eq!(events(name), Ok(1), "{name}: only the start concerns it");
        }
        for name in ["removed", "eth9"] {
            assert_eq!(events(name), Ok(2), "{name}: no longer configured");
        }
        assert_eq!(
            events("regstry"),
            Err("there is no virtual router, check, hook, dns_update or interface \"regstry\" (did you mean \"registry\"?); \
                 there are: bootstrap, eth0, log, registry"
                .to_owned())
        );
    }

    #[test]
    fn an_unknown_name_is_refused_with_64() {
        let unknown = named("nobody");
        for request in [
            Request::State { name: unknown.clone() },
            Request::Check { name: unknown.clone(), now: false },
            Request::Why { name: unknown },
        ] {
            let Some(Answer::Error(refusal)) = answer(&request) else { panic!("{request:?}") };
            assert_eq!(refusal.exit_code, 64);
        }
    }
}
