//! What the hooks of one virtual router have yet to hear.

use std::collections::VecDeque;

use crate::config::HookState;
use crate::launcher::Run;

/// One transition for one hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Delivery {
    pub(super) hook: String,
    pub(super) state: HookState,
    pub(super) run: Run,
    /// Older transitions that this hook never heard of because this one came before their turn.
    pub(super) superseded: u64,
}

/// Deliveries in the order of their transitions, and of the hooks within one transition.
///
/// For each hook the newest waits alone: it takes the place of what is before it. Only `Stopped` is
/// never displaced but by another `Stopped`, so at most two wait for each hook.
#[derive(Debug, Default)]
pub(super) struct Queue(VecDeque<Delivery>);

impl Queue {
    pub(super) fn push(&mut self, mut new: Delivery) {
        self.0.retain(|old| {
            let stays =
                old.hook != new.hook || (old.state == HookState::Stopped && new.state != HookState::Stopped);
            if !stays {
                new.superseded += old.superseded + 1;
            }
            stays
        });
        self.0.push_back(new);
    }

    pub(super) fn pop(&mut self) -> Option<Delivery> {
        self.0.pop_front()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::HookState::{Active, Backup, Fault, Stopped};
    use super::*;

    fn heard(transitions: &[(&str, HookState)]) -> Vec<(String, HookState, u64)> {
        let mut queue = Queue::default();
        for (hook, state) in transitions {
            let run = Run { argv: vec![], env: vec![], user: None, deadline: Duration::ZERO };
            queue.push(Delivery { hook: (*hook).to_owned(), state: *state, run, superseded: 0 });
        }
        std::iter::from_fn(|| queue.pop()).map(|d| (d.hook, d.state, d.superseded)).collect()
    }

    fn expected(deliveries: &[(&str, HookState, u64)]) -> Vec<(String, HookState, u64)> {
        deliveries.iter().map(|(hook, state, dropped)| ((*hook).to_owned(), *state, *dropped)).collect()
    }

    #[test]
    fn the_newest_state_wins_and_what_it_displaced_is_counted() {
        let seen = heard(&[("log", Active), ("log", Backup), ("log", Active), ("log", Fault)]);
        assert_eq!(seen, expected(&[("log", Fault, 3)]));
    }

    #[test]
    fn hooks_keep_the_order_of_transitions_and_of_configuration() {
        let seen = heard(&[("a", Active), ("b", Active), ("c", Active), ("a", Backup), ("b", Backup)]);
        assert_eq!(seen, expected(&[("c", Active, 0), ("a", Backup, 1), ("b", Backup, 1)]));
    }

    #[test]
    fn stopped_is_always_delivered() {
        let seen = heard(&[("log", Active), ("log", Stopped), ("log", Backup), ("log", Active)]);
        assert_eq!(seen, expected(&[("log", Stopped, 1), ("log", Active, 1)]));
        let seen = heard(&[("log", Stopped), ("log", Backup), ("log", Stopped)]);
        assert_eq!(seen, expected(&[("log", Stopped, 2)]));
    }
}
