//! The operator's orders that outlive the process: who is drained, frozen, or has handed over.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::control::protocol::{CheckState, Orders};
use crate::state_dir::{StateDir, StateFile};

/// Version of the file.
const VERSION: u32 = 1;

/// A file in `state_dir`, as JSON: for each virtual router what it stands under.
#[derive(Debug)]
pub(super) struct Standing {
    state: StateDir,
    orders: BTreeMap<String, Orders>,
}

#[derive(Serialize, Deserialize)]
struct Kept {
    version: u32,
    virtual_routers: BTreeMap<String, Orders>,
}

impl Standing {
    /// What the file says. One that is damaged is set aside and told as the second value: nobody is
    /// drained then, and a person has to look.
    pub(super) fn load(state: &StateDir) -> (Self, Option<String>) {
        let (orders, damaged) = state.read(StateFile::Orders, parse);
        (Self { state: state.clone(), orders }, damaged)
    }

    /// What this virtual router stands under.
    pub(super) fn of(&self, name: &str) -> Orders {
        self.orders.get(name).cloned().unwrap_or_default()
    }

    /// How the checks count for the virtual router and the others of its sync group, while any of them
    /// is frozen.
    pub(super) fn frozen_checks(&self, name: &str, group: &[String]) -> Option<BTreeMap<String, CheckState>> {
        let all = std::iter::once(name).chain(group.iter().map(String::as_str));
        all.filter_map(|name| self.orders.get(name)?.frozen.as_ref())
            .next()
            .map(|frozen| frozen.checks.clone())
    }

    /// Everybody who stands under anything.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&String, &Orders)> {
        self.orders.iter()
    }

    /// An order: changes what it stands under, in the file first.
    ///
    /// # Errors
    ///
    /// A sentence, when the file cannot be written; nothing has changed then.
    pub(super) fn change(&mut self, name: &str, change: impl FnOnce(&mut Orders)) -> Result<(), String> {
        let changed = self.with(name, change);
        if changed != self.orders {
            self.state.write(StateFile::Orders, &text(&changed))?;
            self.orders = changed;
        }
        Ok(())
    }

    /// Something that has happened: what it stands under has changed, whether that can be written or
    /// not. Gives the reason when it cannot, if that is news; it is tried again.
    pub(super) fn note(&mut self, name: &str, change: impl FnOnce(&mut Orders)) -> Option<String> {
        self.replace(self.with(name, change))
    }

    /// A reload gave the virtual router another name. As [`note`](Self::note).
    pub(super) fn rename(&mut self, from: &str, to: &str) -> Option<String> {
        let mut all = self.orders.clone();
        if let Some(orders) = all.remove(from) {
            all.insert(to.to_owned(), orders);
        }
        self.replace(all)
    }

    /// What everybody stands under after a change of one.
    fn with(&self, name: &str, change: impl FnOnce(&mut Orders)) -> BTreeMap<String, Orders> {
        let mut orders = self.of(name);
        change(&mut orders);
        let mut all = self.orders.clone();
        if orders == Orders::default() {
            all.remove(name);
        } else {
            all.insert(name.to_owned(), orders);
        }
        all
    }

    fn replace(&mut self, changed: BTreeMap<String, Orders>) -> Option<String> {
        if changed == self.orders {
            return None;
        }
        self.orders = changed;
        self.state.keep(StateFile::Orders, &text(&self.orders))
    }
}

fn text(orders: &BTreeMap<String, Orders>) -> Vec<u8> {
    let kept = Kept { version: VERSION, virtual_routers: orders.clone() };
    serde_json::to_vec_pretty(&kept).expect("orders have string keys and no failing serializer")
}

fn parse(text: &str) -> Result<BTreeMap<String, Orders>, String> {
    let kept: Kept = serde_json::from_str(text).map_err(|error| error.to_string())?;
    if kept.version != VERSION {
        return Err(format!("version {} instead of {VERSION}", kept.version));
    }
    Ok(kept.virtual_routers)
}

/// For the fuzzer.
#[cfg(any(test, feature = "fuzzing"))]
pub(super) fn fuzz(text: &str) {
    if let Ok(virtual_routers) = parse(text) {
        let kept = Kept { version: VERSION, virtual_routers };
        let text = serde_json::to_string_pretty(&kept).expect("orders have string keys");
        assert_eq!(parse(&text), Ok(kept.virtual_routers));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::protocol::{By, Frozen, Yielded};
    use crate::control::testing::at;
    use crate::state_dir::tests::{temporary, temporary_state};

    fn by() -> By {
        let reason = Some("new kernel".to_owned());
        By { uid: 0, user: Some("root".to_owned()), node: None, at: at("2026-11-23T07:00:00Z"), reason }
    }

    #[test]
    fn an_order_outlives_the_process_and_its_end_leaves_nothing() {
        let state = temporary_state("orders");
        let (mut standing, trouble) = Standing::load(&state);
        assert_eq!(trouble, None);
        standing.change("web", |orders| orders.drained = Some(by())).expect("written");
        let (mut again, _) = Standing::load(&state);
        assert_eq!(again.of("web").drained, Some(by()));
        assert_eq!(again.rename("web", "www"), None);
        assert_eq!((again.of("web"), again.of("www").drained), (Orders::default(), Some(by())));
        again.change("www", |orders| orders.drained = None).expect("written");
        assert_eq!(Standing::load(&state).0.iter().count(), 0);
    }

    #[test]
    fn all_of_a_group_are_frozen_as_the_first_one_was() {
        let (mut standing, _) = Standing::load(&temporary_state("orders"));
        let group = ["inside", "outside"].map(str::to_owned);
        assert_eq!(standing.frozen_checks("outside", &group), None);
        let checks = BTreeMap::from([("uplink".to_owned(), CheckState::Passing)]);
        let frozen = Frozen { by: by(), until: at("2026-11-23T09:00:00Z"), checks: checks.clone() };
        standing.change("inside", |orders| orders.frozen = Some(frozen)).expect("written");
        assert_eq!(standing.frozen_checks("outside", &group), Some(checks));
        assert_eq!(standing.frozen_checks("outside", &[]), None, "without a group it is on its own");
    }

    #[test]
    fn a_damaged_file_is_told_and_set_aside() {
        let directory = temporary("orders");
        let state = StateDir::new(directory.clone());
        for damage in ["", "{\"version\":1,\"virtual", "{\"version\":2,\"virtual_routers\":{}}", "\0\0\0\0"] {
            std::fs::write(directory.join("orders.json"), damage).expect("written");
            let (standing, trouble) = Standing::load(&state);
            assert!(trouble.is_some_and(|text| text.contains("orders.damaged")), "{damage:?}");
            assert_eq!(standing.iter().count(), 0);
        }
        assert_eq!(Standing::load(&state).1, None, "told once");
    }

    #[test]
    fn an_order_that_cannot_be_written_is_not_given_and_what_happened_has() {
        let directory = temporary("orders");
        let state = StateDir::new(directory.clone());
        let (mut standing, _) = Standing::load(&state);
        std::fs::create_dir(directory.join("orders.json")).expect("a directory in its place");
        let refused = standing.change("web", |orders| orders.drained = Some(by()));
        assert!(refused.expect_err("it is a directory").contains("orders.json"));
        assert_eq!(standing.of("web"), Orders::default());
        let yielded =
            |standing: &mut Standing, yielded| standing.note("web", |orders| orders.yielded = yielded);
        let handed_over = Yielded { by: by(), to: "192.0.2.194".parse().expect("an address") };
        assert!(
            yielded(&mut standing, Some(handed_over.clone())).is_some_and(|why| why.contains("orders.json"))
        );
        assert_eq!(standing.of("web").yielded, Some(handed_over.clone()));
        std::fs::remove_dir(directory.join("orders.json")).expect("it is empty");
        assert!(state.retry());
        assert_eq!(Standing::load(&state).0.of("web").yielded, Some(handed_over));
        assert_eq!(yielded(&mut standing, None), None);
        assert_eq!(Standing::load(&state).0.iter().count(), 0);
    }
}
