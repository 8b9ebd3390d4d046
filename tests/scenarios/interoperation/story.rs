//! What every row tells: the group settles on its first member; a stop, a crash and a fault move the
//! address to the second, and each time the first takes it back. There is one holder, whom the client
//! reaches, and nobody flaps.

use std::sync::{Arc, RwLock};
use std::time::Duration;

use lab::{DEADLINE, Lab, Prober, frr, story, wait_for};

use crate::member::Member;
use crate::setting::{Setting, Software};
use crate::{ROWS, page};

/// One row of the table.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    /// By falling priority.
    pub(crate) software: &'static [Software],
    pub(crate) setting: Setting,
}

/// For how many advertisements nobody may flap once a group has settled.
const LONG: usize = 20;
/// The same between two steps.
const SHORT: usize = 3;

/// The longest that a client waited at each step.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Waits {
    pub(crate) stop: Duration,
    pub(crate) start: Duration,
    pub(crate) crash: Duration,
    pub(crate) restart: Duration,
    pub(crate) fault: Duration,
    pub(crate) recovery: Duration,
}

/// Tells the story of the row with this name.
pub(crate) fn play(name: &str) {
    let row = ROWS.iter().find(|row| row.name == name).expect("each test has its row");
    let mut programs = Vec::new();
    for software in row.software {
        match software {
            Software::Vrrpd => {}
            Software::Keepalived => programs.push("keepalived"),
            Software::Frr => programs.extend(frr::PROGRAMS),
        }
    }
    let Some(lab) = Lab::with(&programs) else { return };
    static MACHINE: RwLock<()> = RwLock::new(());
    let (_alone, _together);
    if row.setting.is_fast() {
        _alone = MACHINE.write().unwrap_or_else(std::sync::PoisonError::into_inner);
    } else {
        _together = MACHINE.read().unwrap_or_else(std::sync::PoisonError::into_inner);
    }
    let waits = Group::new(&lab, row).tell();
    // FRR's first advertisement over IPv6 is an interval late, and until then the virtual MAC is nowhere.
    if row.software[0] == Software::Vrrpd && row.software[1] != Software::Frr && !row.setting.is_fast() {
        let skew = Duration::from_nanos(story::SKEW_NS.unsigned_abs());
        assert!(waits.stop < skew && waits.fault < skew, "vrrpd left before its successor came: {waits:?}");
    }
    page::passed(row, waits);
}

struct Group<'a> {
    lab: &'a Lab,
    address: &'static str,
    members: Vec<Member>,
    /// Members without power: what their kernel still has reaches nobody.
    dark: Vec<usize>,
}

impl<'a> Group<'a> {
    fn new(lab: &'a Lab, row: &Row) -> Self {
        let names = ["a", "b", "c"];
        let members = row
            .software
            .iter()
            .enumerate()
            .map(|(rank, &software)| Member::new(lab.node(names[rank]), software, rank, row.setting));
        Self { lab, address: row.setting.family.address(), members: members.collect(), dark: Vec::new() }
    }

    fn tell(mut self) -> Waits {
        // The others come when the first one speaks: FRR's first advertisement over IPv6 is an interval late, and
        // a Backup that is already there would rightly claim meanwhile.
        let capture = self.lab.capture();
        self.start(0);
        capture.wait_for_advert(self.members[0].node.name(), 0);
        (1..self.members.len()).for_each(|index| self.start(index));
        self.settles_on(0, LONG);
        let waits = Waits {
            stop: self.client_waits(|group| {
                group.members[0].stop();
                group.settles_on(1, SHORT);
            }),
            start: self.client_waits(|group| {
                group.start(0);
                group.settles_on(0, SHORT);
            }),
            crash: self.client_waits(|group| {
                group.dark.push(0);
                group.members[0].crash(group.lab);
                group.settles_on(1, SHORT);
            }),
            restart: self.client_waits(|group| {
                group.members[0].node.power_on();
                group.dark.clear();
                group.start(0);
                group.settles_on(0, SHORT);
            }),
            fault: self.client_waits(|group| {
                group.members[0].fail(group.lab, true);
                group.settles_on(1, SHORT);
            }),
            recovery: self.client_waits(|group| {
                group.members[0].fail(group.lab, false);
                group.settles_on(0, SHORT);
            }),
        };
        // The other end may go and come as well: nothing moves.
        self.members[1].stop();
        self.settles_on(0, SHORT);
        self.start(1);
        self.settles_on(0, LONG);
        waits
    }

    fn start(&mut self, index: usize) {
        let nodes = self.members.iter().map(|member| Arc::clone(&member.node));
        let others: Vec<_> =
            nodes.enumerate().filter(|&(other, _)| other != index).map(|(_, node)| node).collect();
        self.members[index].start(&others);
    }

    /// The longest wait of a client that asks while `step` happens, and is answered after it.
    fn client_waits(&mut self, step: impl FnOnce(&mut Self)) -> Duration {
        let prober = Prober::start(self.lab.client(), self.address);
        prober.wait_for_answer();
        step(self);
        prober.wait_for_answer();
        prober.stop().longest_wait()
    }

    /// Waits until the member alone holds the addresses, then watches while it sends `adverts`
    /// advertisements that this stays so and nobody else speaks.
    fn settles_on(&self, index: usize, adverts: usize) {
        let name = self.members[index].node.name();
        wait_for(&format!("{name} alone holds {}", self.address), DEADLINE, || {
            (self.holders() == [name] && self.members[index].holds_all()).then_some(())
        });
        // The addresses may come before the first advertisement, and the last one of the loser after.
        self.lab.capture().wait_for_advert(name, 0);
        let capture = self.lab.capture();
        wait_for(&format!("{adverts} advertisements of {name}"), DEADLINE, || {
            let holders = self.holders();
            assert!(holders == [name], "{holders:?} hold the address after it had settled on {name}");
            let speakers = capture.speakers();
            assert!(speakers.iter().all(|speaker| speaker == name), "advertisements from {speakers:?}");
            (speakers.len() >= adverts).then_some(())
        });
    }

    fn holders(&self) -> Vec<&str> {
        let lit = self.members.iter().enumerate().filter(|(index, _)| !self.dark.contains(index));
        lit.filter(|(_, member)| member.holds()).map(|(_, member)| member.node.name()).collect()
    }
}
