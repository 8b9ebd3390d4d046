//! `vrrpctl check --budget`: how long each failure takes to be noticed and to be moved, and which
//! failures move nothing, from the configuration of both nodes.
//!
//! Every figure is the worst case of what is configured: what the network, the kernel and a busy
//! machine add is not in it (some milliseconds; `docs/performance.md`). Times count from the failure.

use std::time::Duration;

use serde::{Serialize, Serializer};
use vrrp_proto::Priority;

use crate::config::{Check, Config, Effect, Lease, SHORTEST_FENCED, VirtualRouter, When};
use crate::control::time::Span;
use crate::doctor::{healthy_priority, twin};

/// A router that resigned waits for a successor this much longer than an interval, and so long at most
/// (`docs/handover.md`, "A check that fails: asking").
const ASKING_SPARE: Duration = Duration::from_millis(20);
const ASKING_LONGEST: Duration = Duration::from_secs(3);

/// The longest that the shortest lease lasts: 2 s, which the kernel may end a second late.
const LEASE_ENDS: Duration = Duration::from_secs(3);

/// The budget of one virtual router.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Budget {
    /// Name of the virtual router.
    pub virtual_router: String,
    /// Who holds the addresses when all is well: its priority is the higher one.
    pub holder: Holder,
    /// Priority of that node while it is healthy.
    pub priority: u8,
    /// Priority of the other one; null: its configuration was not given.
    pub other_priority: Option<u8>,
    /// One for each failure.
    pub rows: Vec<Row>,
}

/// Which of two nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Holder {
    /// The one whose configuration was given first.
    ThisNode,
    /// The other one.
    Peer,
}

/// A failure and what comes of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// What fails.
    pub failure: String,
    /// Until somebody knows; null: nobody does.
    #[serde(serialize_with = "span")]
    pub noticed: Option<Duration>,
    /// Until the addresses answer elsewhere; null: they stay.
    #[serde(serialize_with = "span")]
    pub moved: Option<Duration>,
    /// How it comes to that, or why nothing moves.
    pub how: String,
}

impl Row {
    fn follow_name(&mut self, ttl: Duration) {
        if let Some(moved) = &mut self.moved {
            *moved += ttl;
            self.how.push_str(&format!("; then up to {} of the name's TTL", Span(ttl)));
        }
    }
}

fn span<S: Serializer>(value: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    value.map(Span).serialize(serializer)
}

/// The budget of each virtual router of `config`, against `peer` where that is known.
pub fn budgets(config: &Config, peer: Option<&Config>) -> Vec<Budget> {
    config.virtual_routers.iter().map(|router| Pair::new(config, router, peer).budget()).collect()
}

/// One node's part.
#[derive(Clone, Copy)]
struct Side<'a> {
    config: &'a Config,
    router: &'a VirtualRouter,
}

impl<'a> Side<'a> {
    fn priority(self) -> Priority {
        healthy_priority(self.config, self.router)
    }

    fn checks(self) -> impl Iterator<Item = &'a Check> {
        let router = self.router;
        self.config.checks.iter().filter(move |check| router.checks.contains(&check.name))
    }
}

/// The node that holds the addresses, and the one that is to follow.
struct Pair<'a> {
    holder: Side<'a>,
    other: Option<Side<'a>>,
    name: &'a str,
    which: Holder,
}

impl<'a> Pair<'a> {
    fn new(config: &'a Config, router: &'a VirtualRouter, peer: Option<&'a Config>) -> Self {
        let this = Side { config, router };
        let theirs = peer.and_then(|config| Some(Side { config, router: twin(config, router)? }));
        let name = &router.name;
        match theirs {
            Some(theirs) if theirs.priority() > this.priority() => {
                Self { holder: theirs, other: Some(this), name, which: Holder::Peer }
            }
            other => Self { holder: this, other, name, which: Holder::ThisNode },
        }
    }

    fn budget(&self) -> Budget {
        let mut rows = vec![self.node_crash(), self.daemon_crash(), self.link_down(), self.graceful_stop()];
        rows.extend(self.holder.checks().map(|check| self.check_fails(check)));
        rows.push(self.primary_returns());
        if let Some(ttl) = self.name_ttl() {
            rows.iter_mut().for_each(|row| row.follow_name(ttl));
        }
        Budget {
            virtual_router: self.name.to_owned(),
            holder: self.which,
            priority: self.holder.priority().get(),
            other_priority: self.other.map(|other| other.priority().get()),
            rows,
        }
    }

    /// Where a name is all that moves: how long resolvers may keep its old record. It is as old as its
    /// keeper, so that of the holder counts.
    fn name_ttl(&self) -> Option<Duration> {
        let Side { config, router } = self.holder;
        let names = config.dns_updates.iter().filter(|update| update.virtual_router == router.name);
        names.map(|update| update.ttl).max().filter(|_| router.addresses.is_empty())
    }

    /// 3 A + Skew_Time of the node that follows; of the lowest priority there is when that is unknown.
    fn silence(&self) -> Duration {
        self.holder.router.advertisement_interval.active_down_interval(self.follower_priority())
    }

    /// From a priority 0 to the claim: Skew_Time, or nothing where the follower is the sole backup
    /// (`docs/handover.md`, "Planned stop").
    fn after_resignation(&self) -> Duration {
        let is_sole = self.other.is_some_and(|other| other.router.peers.len() == 1);
        if is_sole {
            return Duration::ZERO;
        }
        self.holder.router.advertisement_interval.skew_time(self.follower_priority())
    }

    fn follower_priority(&self) -> Priority {
        self.other.map_or(Priority::new(1), Side::priority)
    }

    /// The machine is gone, after its last advertisement.
    fn node_crash(&self) -> Row {
        let silence = self.silence();
        moved("crash of the node", silence, silence, "silence: 3 intervals and Skew_Time of the other node")
    }

    /// Only the daemon is gone; the kernel answers until the lease ends.
    fn daemon_crash(&self) -> Row {
        let silence = self.silence();
        let interval = self.holder.router.advertisement_interval.duration();
        let how = match self.holder.router.lease {
            Lease::Off => {
                "silence; lease = \"off\": the dead daemon's kernel goes on answering until somebody \
                 removes the address"
            }
            Lease::Auto | Lease::For(_) if silence < LEASE_ENDS && interval < SHORTEST_FENCED => {
                "silence; until the lease ends, up to 3 s after the crash, the dead daemon's kernel \
                 answers as well"
            }
            Lease::Auto | Lease::For(_) => {
                "silence, unless it is started again within it: then it goes on as Active"
            }
        };
        moved("crash of the daemon", silence, silence, how)
    }

    /// A lost carrier is noticed here at once, but nobody can be told.
    fn link_down(&self) -> Row {
        let silence = self.silence();
        moved("link down", silence, silence, "as a crash: nobody can be told")
    }

    fn graceful_stop(&self) -> Row {
        let wait = self.after_resignation();
        moved("graceful stop", Duration::ZERO, wait, &format!("priority 0; {}", self.resignation_words()))
    }

    fn resignation_words(&self) -> &'static str {
        if self.after_resignation().is_zero() {
            "the sole backup claims at once"
        } else {
            "Skew_Time of the other node"
        }
    }

    fn check_fails(&self, check: &Check) -> Row {
        let failure = format!("check {} fails", check.name);
        let noticed = Some(noticed_by(check));
        let stays = |how: String| Row { failure: failure.clone(), noticed, moved: None, how };
        let healthy = self.holder.priority();
        let (failed, sum) = match check.effect {
            _ if check.when == When::Backup => {
                let how = "moves nothing: when = \"backup\", the holder does not ask it".to_owned();
                return Row { noticed: None, ..stays(how) };
            }
            Effect::Alert => return stays("moves nothing: on_failure = \"alert\"".to_owned()),
            _ if healthy.is_owner() => {
                return stays("moves nothing: priority 255 is never lowered".to_owned());
            }
            Effect::Fault => {
                let wait = self.after_resignation();
                let how = format!("leaves with priority 0; {}", self.resignation_words());
                return Row { moved: Some(noticed_by(check) + wait), ..stays(how) };
            }
            Effect::Demote => (demoted(self.holder), format!("{} / 10", self.holder.router.priority)),
            Effect::Weight(weight) => {
                let weight = i32::from(weight.unsigned_abs());
                (healthy.weighted(-weight), format!("{healthy} - {weight}"))
            }
        };
        let Some(other) = self.other.map(Side::priority) else {
            return stays(format!(
                "{sum} = {failed}; whether that moves it, the other node's configuration tells: --peer FILE"
            ));
        };
        if failed >= other {
            let tie =
                if failed == other { "; the higher source address decides, which may be here" } else { "" };
            let relation = if failed == other { "=" } else { ">" };
            return stays(format!("moves nothing: {sum} = {failed} {relation} {other}{tie}"));
        }
        match self.after_asking() {
            Some(wait) => Row {
                moved: Some(noticed_by(check) + wait),
                ..stays(format!(
                    "{sum} = {failed} < {other}; asks with priority 0; {}",
                    self.resignation_words()
                ))
            },
            None => stays(format!(
                "moves nothing: {sum} = {failed} < {other}, but Skew_Time is longer than the question \
                 lasts, and the \
                 other node has preempt_mode = false"
            )),
        }
    }

    /// From asking to the claim: as after a resignation, if that comes while the question lasts;
    /// otherwise the other node preempts, if it does such a thing.
    fn after_asking(&self) -> Option<Duration> {
        let interval = self.holder.router.advertisement_interval.duration();
        let question = (interval + ASKING_SPARE).min(ASKING_LONGEST);
        let wait = self.after_resignation();
        if wait <= question {
            return Some(wait);
        }
        let other = self.other.filter(|other| other.router.preempt_mode)?;
        Some(question + preemption(other.router, self.holder.router))
    }

    fn primary_returns(&self) -> Row {
        let failure = "return of the primary".to_owned();
        let router = self.holder.router;
        if !router.preempt_mode {
            let how = "moves nothing: preempt_mode = false; vrrpctl switchover by hand".to_owned();
            return Row { failure, noticed: None, moved: None, how };
        }
        let ready = ready(self.holder);
        let active = self.other.map_or(router, |other| other.router);
        let mut how = "its checks pass, then 3 intervals and its own Skew_Time".to_owned();
        if !router.preempt_delay.is_zero() {
            how = format!(
                "its checks pass, then preempt_delay {}, then 3 intervals and its own Skew_Time",
                Span(router.preempt_delay)
            );
        }
        Row { failure, noticed: Some(ready), moved: Some(ready + preemption(router, active)), how }
    }
}

fn moved(failure: &str, noticed: Duration, moved: Duration, how: &str) -> Row {
    Row { failure: failure.to_owned(), noticed: Some(noticed), moved: Some(moved), how: how.to_owned() }
}

/// From the failure of what a check looks at to its decision. A run has just passed; the next comes an
/// interval later, and being in doubt the other `fall` - 1 follow at `fast_interval`. Starts are up to a
/// twentieth of an interval early or late, and the last run takes its whole time.
fn noticed_by(check: &Check) -> Duration {
    let doubt = doubt_interval(check);
    let first = check.interval + check.interval / 10;
    let others = doubt.saturating_mul(check.fall.saturating_sub(1));
    // The grid is a new one only where the interval is another.
    let late = if doubt == check.interval { Duration::ZERO } else { doubt / 10 };
    first + others + late + check.timeout
}

/// From start to start while the last run differs from the state.
fn doubt_interval(check: &Check) -> Duration {
    check.fast_interval.unwrap_or(check.interval)
}

/// From the start of the daemon to the decision of a check that all is well: the first run comes at
/// once, the last takes its whole time.
fn passes_after(check: &Check) -> Duration {
    let doubt = doubt_interval(check);
    doubt.saturating_mul(check.rise.saturating_sub(1)) + doubt / 10 + check.timeout
}

/// From the start of the daemon until a router may claim: each check that counts has passed, and
/// `startup_delay` is over.
fn ready(side: Side<'_>) -> Duration {
    let counts = |check: &&Check| check.effect != Effect::Alert && check.when != When::Active;
    let checks = side.checks().filter(counts).map(passes_after).max();
    checks.unwrap_or_default().max(side.router.startup_delay)
}

/// From being ready to the claim over a living lower router (RFC 9568 6.4.2): the timer runs from the
/// last advertisement that was accepted. Without `preempt_delay` that came before; with it, the delay
/// begins with the next one.
fn preemption(router: &VirtualRouter, active: &VirtualRouter) -> Duration {
    let interval = active.advertisement_interval;
    let delay = router.preempt_delay;
    let delay = if delay.is_zero() { delay } else { delay + interval.duration() };
    delay + interval.active_down_interval(router.priority)
}

/// A tenth of what is configured, and what positive weights add to it.
fn demoted(side: Side<'_>) -> Priority {
    let added = i32::from(side.priority().get()) - i32::from(side.router.priority.get());
    side.router.priority.demoted().weighted(added)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The two nodes of the examples, priorities 150 and 100, with further keys.
    fn node(priority: u8, keys: &str, tables: &str) -> Config {
        let text = format!(
            "[virtual_router.bootstrap]\ninterface = \"eth0\"\nvrid = 201\npriority = {priority}\n\
             addresses = [\"192.0.2.201\"]\n{keys}\n{tables}"
        );
        crate::config::parse("test.toml", &text).expect("a valid configuration").0
    }

    fn row(config: &Config, peer: Option<&Config>, failure: &str) -> Row {
        let budget = budgets(config, peer).remove(0);
        let found = budget.rows.iter().find(|row| row.failure == failure);
        found.unwrap_or_else(|| panic!("{failure} is missing from {budget:?}")).clone()
    }

    fn check(effect: &str) -> Config {
        let table = format!(
            "[check.registry]\ntcp = {{ address = \"192.0.2.193:443\" }}\ninterval = \"2s\"\ntimeout = \
             \"1500ms\"\n\
             rise = 2\nfall = 3\n{effect}"
        );
        node(150, "checks = [\"registry\"]", &table)
    }

    const fn us(microseconds: u64) -> Option<Duration> {
        Some(Duration::from_micros(microseconds))
    }

    #[test]
    fn silence_is_three_intervals_and_the_skew_of_who_follows() {
        let (a, b) = (node(150, "", ""), node(100, "", ""));
        for failure in ["crash of the node", "crash of the daemon", "link down"] {
            // 3 x 1 s + 156/256 x 1 s.
            assert_eq!(row(&a, Some(&b), failure).moved, us(3_609_375), "{failure}");
        }
        assert_eq!(row(&b, Some(&a), "crash of the node").moved, us(3_609_375), "whichever file comes first");
        // Unknown, so the lowest: 3 x 1 s + 255/256 x 1 s.
        assert_eq!(
            row(&a, None, "crash of the node").moved,
            us(3_996_093).map(|d| d + Duration::from_nanos(750))
        );
        let fast = "advertisement_interval = \"100ms\"";
        assert_eq!(
            row(&node(150, fast, ""), Some(&node(100, fast, "")), "link down").moved,
            us(360_937).map(|d| d + Duration::from_nanos(500))
        );
    }

    #[test]
    fn a_planned_stop_costs_the_skew_unless_there_is_only_one_to_follow() {
        let (a, b) = (node(150, "", ""), node(100, "", ""));
        assert_eq!(row(&a, Some(&b), "graceful stop").moved, us(609_375));
        let sole = node(100, "peers = [\"192.0.2.193\"]", "");
        assert_eq!(row(&a, Some(&sole), "graceful stop").moved, us(0));
        let three = node(100, "peers = [\"192.0.2.193\", \"192.0.2.195\"]", "");
        assert_eq!(row(&a, Some(&three), "graceful stop").moved, us(609_375));
    }

    #[test]
    fn a_check_is_noticed_after_fall_runs() {
        // 3 x 2 s + 0.2 s + 1.5 s, and then 156/256 s.
        let failing = row(&check("on_failure = \"fault\""), Some(&node(100, "", "")), "check registry fails");
        assert_eq!((failing.noticed, failing.moved), (us(7_700_000), us(8_309_375)));
        let demoted = row(&check(""), Some(&node(100, "", "")), "check registry fails");
        assert_eq!((demoted.noticed, demoted.moved), (us(7_700_000), us(8_309_375)));
        assert!(demoted.how.starts_with("150 / 10 = 15 < 100"), "{demoted:?}");
    }

    #[test]
    fn doubt_is_faster_and_another_role_is_not_asked() {
        let b = node(100, "", "");
        let fast = row(&check("fast_interval = \"1600ms\""), Some(&b), "check registry fails");
        // 2 s + 0.2 s, then 2 x 1.6 s + 0.16 s, and 1.5 s.
        assert_eq!(fast.noticed, us(7_060_000));
        let backup = row(&check("when = \"backup\""), Some(&b), "check registry fails");
        assert!(
            backup.noticed.or(backup.moved).is_none() && backup.how.contains("does not ask"),
            "{backup:?}"
        );
    }

    #[test]
    fn a_weight_that_is_too_small_moves_nothing_and_says_why() {
        let b = node(100, "", "");
        let row_of = |effect| row(&check(effect), Some(&b), "check registry fails");
        let small = row_of("weight = -30");
        assert_eq!((small.moved, small.how.as_str()), (None, "moves nothing: 150 - 30 = 120 > 100"));
        assert_eq!(row_of("weight = -60").moved, us(8_309_375));
        let tie = row_of("weight = -50");
        assert!(
            tie.moved.is_none() && tie.how.contains("150 - 50 = 100 = 100; the higher source address"),
            "{tie:?}"
        );
        let alert = row_of("on_failure = \"alert\"");
        assert_eq!((alert.moved, alert.how.as_str()), (None, "moves nothing: on_failure = \"alert\""));
        let lost = row_of("weight = 20");
        assert!(lost.how.starts_with("moves nothing: 170 - 20 = 150 > 100"), "{lost:?}");
        let unknown = row(&check("weight = -60"), None, "check registry fails");
        assert!(unknown.moved.is_none() && unknown.how.contains("--peer"), "{unknown:?}");
    }

    #[test]
    fn a_question_that_ends_before_the_skew_leaves_it_to_preemption() {
        // A = 10 s: the question lasts 3 s, Skew_Time of 100 is 6.09375 s; then 30 s + 6.09375 s.
        let slow = "advertisement_interval = \"10s\"";
        let mut a = check("weight = -60");
        a.virtual_routers[0].advertisement_interval =
            node(150, slow, "").virtual_routers[0].advertisement_interval;
        let moved = row(&a, Some(&node(100, slow, "")), "check registry fails").moved;
        assert_eq!(moved, us(7_700_000 + 3_000_000 + 36_093_750));
        let stubborn = node(100, &format!("{slow}\npreempt_mode = false"), "");
        let stays = row(&a, Some(&stubborn), "check registry fails");
        assert!(stays.moved.is_none() && stays.how.contains("preempt_mode = false"), "{stays:?}");
    }

    #[test]
    fn the_primary_returns_after_its_checks_its_delay_and_the_silence() {
        let b = node(100, "", "");
        // 3 s + 106/256 s.
        assert_eq!(
            row(&node(150, "", ""), Some(&b), "return of the primary").moved,
            us(3_414_062).map(|d| d + Duration::from_nanos(500))
        );
        // (2 - 1) x 2 s + 0.2 s + 1.5 s before it.
        let checked = row(&check(""), Some(&b), "return of the primary");
        assert_eq!(
            (checked.noticed, checked.moved),
            (us(3_700_000), us(7_114_062).map(|d| d + Duration::from_nanos(500)))
        );
        // 60 s, which begin with the next advertisement.
        let delayed = row(&node(150, "preempt_delay = \"60s\"", ""), Some(&b), "return of the primary");
        assert_eq!(delayed.moved, us(64_414_062).map(|d| d + Duration::from_nanos(500)));
        let never = row(&node(150, "preempt_mode = false", ""), Some(&b), "return of the primary");
        assert!(never.moved.is_none() && never.how.contains("switchover"), "{never:?}");
    }

    #[test]
    fn a_name_is_followed_when_its_ttl_is_over() {
        let named = |priority, peer: &str, value: &str| {
            let text = format!(
                "[virtual_router.www]\ninterface = \"eth0\"\nvrid = 201\npriority = {priority}\npeers = \
                 [\"{peer}\"]\n\
                 [dns_update.www]\nvirtual_router = \"www\"\nserver = \"192.0.2.192\"\nzone = \"example.com\"\n\
                 name = \"www.example.com\"\nvalue = \"{value}\"\nttl = \"10s\"\n"
            );
            crate::config::parse("test.toml", &text).expect("a valid configuration").0
        };
        let a = named(150, "198.51.100.194", "192.0.2.193");
        let b = named(100, "192.0.2.193", "198.51.100.194");
        let crash = row(&a, Some(&b), "crash of the node");
        assert_eq!((crash.noticed, crash.moved), (us(3_609_375), us(13_609_375)));
        assert!(crash.how.ends_with("then up to 10s of the name's TTL"), "{crash:?}");
    }

    #[test]
    fn a_short_interval_is_faster_than_the_lease() {
        let fast = node(150, "advertisement_interval = \"40ms\"", "");
        assert!(row(&fast, None, "crash of the daemon").how.contains("answers as well"));
        let fenced = node(150, "advertisement_interval = \"100ms\"", "");
        assert!(row(&fenced, None, "crash of the daemon").how.contains("started again"));
        assert!(row(&node(150, "", ""), None, "crash of the daemon").how.contains("started again"));
        assert!(
            row(&node(150, "lease = \"off\"", ""), None, "crash of the daemon")
                .how
                .contains("until somebody")
        );
    }

    #[test]
    fn the_budget_names_who_holds() {
        let (a, b) = (node(150, "", ""), node(100, "", ""));
        let of_b = budgets(&b, Some(&a)).remove(0);
        assert_eq!((of_b.holder, of_b.priority, of_b.other_priority), (Holder::Peer, 150, Some(100)));
        let alone = budgets(&b, None).remove(0);
        assert_eq!((alone.holder, alone.priority, alone.other_priority), (Holder::ThisNode, 100, None));
    }
}
