//! The operator's orders that outlive the process: who is drained, frozen, or has handed over.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::control::protocol::{CheckState, Orders};
use crate::state_dir;

/// Version of the file.
const VERSION: u32 = 1;

/// A file in `state_dir`, as JSON: for each virtual router what it stands under.
#[derive(Debug)]
pub(super) struct Standing {
    file: PathBuf,
    /// Where a file is that could not be read at the start.
    aside: PathBuf,
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
    pub(super) fn load(state_dir: &Path) -> (Self, Option<String>) {
        let file = state_dir.join("orders.json");
        let aside = state_dir.join("orders.damaged");
        let (orders, trouble) = match fs::read(&file) {
            Ok(octets) => match parse(&octets) {
                Ok(orders) => (orders, None),
                Err(why) => {
                    let moved = fs::rename(&file, &aside).err();
                    let moved = moved.map(|error| format!(", which failed: {error}")).unwrap_or_default();
                    let (file, to) = (file.display(), aside.display());
                    let trouble = format!(
                        "{file} is damaged ({why}): no drain, freeze or handover of before is in force; \
                         it is set aside as {to}{moved}"
                    );
                    (BTreeMap::new(), Some(trouble))
                }
            },
            Err(error) if error.kind() == ErrorKind::NotFound => (BTreeMap::new(), None),
            Err(error) => (BTreeMap::new(), Some(format!("cannot read {}: {error}", file.display()))),
        };
        (Self { file, aside, orders }, trouble)
    }

    /// The damaged file that was set aside, for as long as it is there.
    pub(super) fn damaged(&self) -> Option<&Path> {
        self.aside.exists().then_some(&*self.aside)
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

    /// Changes what it stands under, in the file first.
    ///
    /// # Errors
    ///
    /// A sentence, when the file cannot be written; nothing has changed then.
    pub(super) fn change(&mut self, name: &str, change: impl FnOnce(&mut Orders)) -> Result<(), String> {
        let mut orders = self.of(name);
        change(&mut orders);
        let mut all = self.orders.clone();
        if orders == Orders::default() {
            all.remove(name);
        } else {
            all.insert(name.to_owned(), orders);
        }
        self.replace(all)
    }

    /// A reload gave the virtual router another name.
    ///
    /// # Errors
    ///
    /// As [`change`](Self::change).
    pub(super) fn rename(&mut self, from: &str, to: &str) -> Result<(), String> {
        let mut all = self.orders.clone();
        if let Some(orders) = all.remove(from) {
            all.insert(to.to_owned(), orders);
        }
        self.replace(all)
    }

    fn replace(&mut self, virtual_routers: BTreeMap<String, Orders>) -> Result<(), String> {
        if virtual_routers == self.orders {
            return Ok(());
        }
        let kept = Kept { version: VERSION, virtual_routers };
        let text =
            serde_json::to_vec_pretty(&kept).expect("orders have string keys and no failing serializer");
        state_dir::write_through(&self.file, &text)?;
        self.orders = kept.virtual_routers;
        Ok(())
    }
}

fn parse(octets: &[u8]) -> Result<BTreeMap<String, Orders>, String> {
    let kept: Kept = serde_json::from_slice(octets).map_err(|error| error.to_string())?;
    if kept.version != VERSION {
        return Err(format!("version {} instead of {VERSION}", kept.version));
    }
    Ok(kept.virtual_routers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::protocol::{By, Frozen};
    use crate::control::testing::at;

    fn by() -> By {
        let reason = Some("new kernel".to_owned());
        By { uid: 0, user: Some("root".to_owned()), node: None, at: at("2026-11-23T07:00:00Z"), reason }
    }

    #[test]
    fn an_order_outlives_the_process_and_its_end_leaves_nothing() {
        let directory = state_dir::tests::temporary("orders");
        let (mut standing, trouble) = Standing::load(&directory);
        assert_eq!(trouble, None);
        standing.change("web", |orders| orders.drained = Some(by())).expect("written");
        let (mut again, _) = Standing::load(&directory);
        assert_eq!(again.of("web").drained, Some(by()));
        again.rename("web", "www").expect("written");
        assert_eq!((again.of("web"), again.of("www").drained), (Orders::default(), Some(by())));
        again.change("www", |orders| orders.drained = None).expect("written");
        assert_eq!(Standing::load(&directory).0.iter().count(), 0);
    }

    #[test]
    fn all_of_a_group_are_frozen_as_the_first_one_was() {
        let directory = state_dir::tests::temporary("orders");
        let (mut standing, _) = Standing::load(&directory);
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
        let directory = state_dir::tests::temporary("orders");
        for damage in ["", "{\"version\":1,\"virtual", "{\"version\":2,\"virtual_routers\":{}}", "\0\0\0\0"] {
            fs::write(directory.join("orders.json"), damage).expect("written");
            let (standing, trouble) = Standing::load(&directory);
            assert!(trouble.is_some_and(|text| text.contains("orders.damaged")), "{damage:?}");
            assert_eq!(standing.iter().count(), 0);
            let aside = standing.damaged().expect("it is there");
            assert_eq!(fs::read_to_string(aside).expect("it is text"), damage);
        }
        assert_eq!(Standing::load(&directory).1, None, "told once");
    }

    #[test]
    fn what_cannot_be_written_has_not_changed() {
        let directory = state_dir::tests::temporary("orders");
        let (mut standing, _) = Standing::load(&directory);
        fs::create_dir(directory.join("orders.json")).expect("a directory in its place");
        let refused = standing.change("web", |orders| orders.drained = Some(by()));
        assert!(refused.expect_err("it is a directory").contains("orders.json"));
        assert_eq!(standing.of("web"), Orders::default());
    }
}
