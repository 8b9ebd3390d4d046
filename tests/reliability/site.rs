//! The place of a case: two nodes with a daemon each, a client, somebody who watches, and a stranger.

use std::sync::Arc;
use std::time::Duration;

use lab::contender::{Extra, Task};
use lab::story::{PRIMARY, SECONDARY};
use lab::{Contender, Daemon, Lab, Node};

use crate::case::Case;

/// Everything an adversity may touch.
pub(crate) struct Site {
    /// The daemon of `a`; none while it is dead.
    pub(crate) primary: Option<Daemon>,
    pub(crate) secondary: Option<Daemon>,
    pub(crate) contender: Contender,
    pub(crate) task: Task,
    pub(crate) a: Arc<Node>,
    pub(crate) b: Arc<Node>,
    pub(crate) watcher: Arc<Node>,
    pub(crate) stranger: Arc<Node>,
    /// Dropped last.
    pub(crate) lab: Lab,
}

impl Site {
    /// Starts both daemons and waits until `a` holds the address and `b` is content with it.
    pub(crate) fn open(case: &Case, contender: Contender) -> Self {
        let lab = Lab::open().expect("main() has asked whether the laboratory is available");
        let [a, b, watcher, stranger] = ["a", "b", "watcher", "stranger"].map(|name| lab.node(name));
        let task = case.task;
        if task.extra == Extra::SecondPath {
            a.cable_to(&b);
        }
        let primary = if case.small_disk {
            contender.start_on_small_disk(&a, PRIMARY, task)
        } else {
            contender.start(&a, PRIMARY, task)
        };
        lab.wait_for_holder(task.address(), "a");
        let secondary = contender.start(&b, SECONDARY, task);
        let site = Self {
            primary: Some(primary),
            secondary: Some(secondary),
            contender,
            task,
            a,
            b,
            watcher,
            stranger,
            lab,
        };
        // By then the second one has started, and would have claimed.
        site.lab.settles_on(task.address(), "a", 5);
        site
    }

    /// The daemon of `a`.
    pub(crate) fn primary(&self) -> &Daemon {
        self.primary.as_ref().expect("the adversity has not killed it")
    }

    /// Starts the daemon of `a` again.
    pub(crate) fn restart(&mut self) {
        self.a.remove_pid_files();
        self.primary = Some(self.contender.start(&self.a, PRIMARY, self.task));
    }

    /// Lets time pass.
    pub(crate) fn pass(&self, time: Duration) {
        std::thread::sleep(time);
    }

    /// Lets a number of advertisement intervals pass.
    pub(crate) fn intervals(&self, count: u32) {
        self.pass(self.task.interval * count);
    }

    /// What the daemon of `a` has logged so far, in bytes.
    pub(crate) fn logged(&self) -> u64 {
        let file = self.a.directory().join(format!("{}.log", self.contender));
        std::fs::metadata(file).map_or(0, |file| file.len())
    }
}
