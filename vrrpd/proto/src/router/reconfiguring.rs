//! New parameters while the router runs: what stays is not touched.

use super::{Context, Counting, Heard, Paths, State, VirtualRouter};
use crate::Version;
use crate::parameters::Parameters;
use crate::snapshot::StateName;

impl VirtualRouter {
    /// New parameters for the same link, VRID and family.
    pub(crate) fn reconfigure(&mut self, parameters: Parameters, cx: &mut Context<'_>) {
        let before = std::mem::replace(&mut self.parameters, parameters);
        if before.peers != self.parameters.peers || before.checksum_policy != self.parameters.checksum_policy
        {
            let heard = Heard { form: self.parameters.checksum_form, from: None };
            self.shown.begin_with(heard.form);
            self.forms = vec![heard; self.parameters.peers.len().max(1)].into();
        }
        if before.authentication != self.parameters.authentication || before.peers != self.parameters.peers {
            self.keying.reconfigured(&self.parameters);
        }
        if heard_by(&before) != heard_by(&self.parameters) {
            self.unheard_is_over(cx);
        }
        if matches!(self.state, State::Initialize) {
            self.active_adver_interval = self.parameters.interval;
        }
        let addresses_changed = before.addresses != self.parameters.addresses
            || before.extra_addresses != self.parameters.extra_addresses;
        if addresses_changed {
            self.listed = self.parameters.advertised().iter().map(|address| address.ip).collect();
            let count = self.parameters.addresses.len();
            self.elsewhere.become_others(count);
            self.turns.become_others(count);
            self.addresses_reconfigured(&before.addresses, cx);
        }
        self.respace(cx);
        if self.owner() && !before.priority.is_owner() {
            self.became_owner(cx);
        }
        if before.second_path != self.parameters.second_path {
            self.paths = Paths::new(cx.now);
            self.begin_to_ask_client_lan(cx.now);
        }
        if before.witness != self.parameters.witness {
            self.witnesses_reconfigured(before.witness.as_ref(), cx);
        }
        let interval_changed = before.interval != self.parameters.interval;
        if interval_changed {
            self.questions_respaced(cx.now);
        }
        if interval_changed && [before.version(), self.parameters.version()].contains(&Version::V2) {
            self.interval_of_all_changed(&before, cx);
        }
        if before.preempt_mode && !self.parameters.preempt_mode {
            self.preempts_no_more(cx);
        }
        if (addresses_changed || interval_changed) && matches!(self.state, State::Active { .. }) {
            // Backups learn of it before they time out by the old promise.
            self.advertise_and_rearm(cx);
        }
    }

    /// In VRRPv2 the interval is that of the whole group (RFC 3768 7.1), and another version is another
    /// group: what was heard does not count any more. A Backup gives the others, who are reconfigured as
    /// well, its whole wait from now.
    fn interval_of_all_changed(&mut self, before: &Parameters, cx: &Context<'_>) {
        self.active_adver_interval = self.parameters.interval;
        if before.version() != self.parameters.version() {
            self.rival = None;
            self.lower_ignored = false;
        }
        if matches!(self.state, State::Backup { .. }) {
            self.counting = Counting { from: cx.now, resigned: false };
            self.state = State::Backup { active_down: self.active_down() };
        }
    }

    /// A living router of lower priority that was about to be preempted is one to watch (row 7).
    pub(super) fn preempts_no_more(&mut self, cx: &mut Context<'_>) {
        let waits = matches!(self.state, State::Backup { .. } | State::Willing | State::Claiming { .. });
        if !waits || !self.accepts_rival(cx.now) {
            return;
        }
        if matches!(self.state, State::Claiming { .. }) {
            return self.abort_claim(self.reason, cx);
        }
        let waited = if let State::Backup { active_down } = self.state { active_down } else { cx.now };
        self.state = State::Backup { active_down: self.active_down().max(waited).max(cx.now) };
    }

    /// The addresses are the administrator's from now on, and must be there.
    fn became_owner(&mut self, cx: &mut Context<'_>) {
        self.holding.become_owned();
        if let Some(reason) = self.unfit().filter(|_| !matches!(self.state, State::Initialize)) {
            self.drop_out(reason, cx);
        }
    }

    /// Checks that are new to a router which holds the role are trusted until they have decided,
    /// unless it took the role although older ones had not.
    pub(crate) fn trust_new_checks(&mut self) {
        let holds = self.state_name() == StateName::Active;
        self.trust_pending |= holds && !self.health().pending;
    }
}

/// What decides who is heard; with another of it, whoever is not will show it anew.
fn heard_by(parameters: &Parameters) -> impl PartialEq + '_ {
    let Parameters { interval, authentication, peers, allowed, group, second_path, .. } = parameters;
    let Parameters { min_hop_limit, checksum_policy, strict, .. } = parameters;
    let who = (peers, allowed, group, second_path);
    (who, interval, authentication, min_hop_limit, checksum_policy, strict)
}
