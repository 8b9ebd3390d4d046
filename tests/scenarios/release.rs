//! An address that a node gave up stays away from it until it is Active again, whatever still waits in
//! queues, of the daemon or of the kernel.

use std::sync::Arc;
use std::time::Duration;

use lab::story::{DOWN_NS, INTERVAL_NS, PRIMARY, VIP, VIP6, web, web6};
use lab::{
    AddressLog, Burden, Capture, DEADLINE, Daemon, Lab, Node, Pair, Watcher, claims, now_ns, wait_for,
};
use nix::sys::signal::Signal;

const INTERVAL: Duration = Duration::from_nanos(INTERVAL_NS.unsigned_abs());

/// How `a` comes to give its address up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Drained,
    Preempted,
    Ended,
}

const WAYS: [Way; 3] = [Way::Drained, Way::Preempted, Way::Ended];

/// All that happens to an address in the kernel of `a`, beside what the nodes say on the wire.
struct Watched<'a> {
    address: &'static str,
    lab: &'a Lab,
    a: &'a Node,
    b: &'a Node,
    adverts: Capture,
    log: AddressLog<'a>,
}

impl<'a> Watched<'a> {
    /// Begins while `a` holds the address.
    fn start(address: &'static str, lab: &'a Lab, [a, b]: [&'a Arc<Node>; 2]) -> Self {
        let (adverts, log) = (lab.capture_adverts(&[a, b]), AddressLog::start(a));
        let watched = Self { address, lab, a, b, adverts, log };
        watched.advertises("a", 1);
        watched
    }

    /// Waits until `node` has sent `count` more advertisements.
    fn advertises(&self, node: &str, count: usize) {
        let enough = self.adverts.adverts_of(node).len() + count;
        wait_for(&format!("{count} advertisements of {node}"), DEADLINE, || {
            (self.adverts.adverts_of(node).len() >= enough).then_some(())
        });
    }

    /// Another priority for `b`, at once.
    fn ranks_b(&self, priority: u8) {
        let config = if self.address == VIP { web(priority, "") } else { web6(priority, "") };
        self.b.write_vrrpd_config(&config);
        assert!(self.b.vrrpctl("reload").status.success());
    }

    /// Has `a` begin to give up its address; `meanwhile` happens while it does.
    fn gives_up(&self, way: Way, primary: &Daemon, meanwhile: impl FnOnce()) {
        match way {
            Way::Drained => std::thread::scope(|scope| {
                let order = scope.spawn(|| self.a.vrrpctl("drain web"));
                meanwhile();
                let done = order.join().expect("it runs").status;
                assert!(done.success(), "drain: {done}");
            }),
            Way::Preempted => {
                self.ranks_b(PRIMARY + 50);
                meanwhile();
            }
            Way::Ended => {
                primary.signal(Signal::SIGTERM);
                meanwhile();
            }
        }
    }

    /// It may have it again.
    fn takes_back(&self, way: Way, primary: &mut Daemon) {
        match way {
            Way::Drained => assert!(self.a.vrrpctl("undrain web").status.success()),
            Way::Preempted => self.ranks_b(lab::story::SECONDARY),
            Way::Ended => {
                assert!(primary.wait().success());
                *primary = self.a.start_vrrpd();
            }
        }
        self.stays_with("a");
    }

    /// `node` alone has the address from here on, and it never was with `a` but while that was Active.
    fn stays_with(&self, node: &str) {
        self.lab.settles_on(self.address, node, 5);
        let claims = claims(&self.adverts.frames(), INTERVAL);
        // The first had been made, and the address had come, when this began.
        let again = claims.iter().filter(|claim| claim.node == "a").count() - 1;
        assert_eq!(self.log.returns(self.address), again, "came back without a claim:\n{}", self.log.said());
    }
}

#[test]
fn an_address_given_up_while_others_hold_the_kernels_lock_stays_away() {
    let Some(Pair { lab, a, b, mut primary, secondary: _secondary }) = Pair::open("") else { return };
    let watched = Watched::start(VIP, &lab, [&a, &b]);
    let burden = Burden::start();
    burden.wait_for_rounds(1);
    for way in WAYS {
        watched.gives_up(way, &primary, || burden.wait_for_rounds(1));
        watched.stays_with("b");
        watched.takes_back(way, &mut primary);
    }
}

#[test]
fn who_was_stopped_while_it_gave_up_its_address_does_not_take_it_back_when_it_wakes() {
    let Some(Pair { lab, a, b, mut primary, secondary: _secondary }) = Pair::open("") else { return };
    let watched = Watched::start(VIP, &lab, [&a, &b]);
    for way in WAYS {
        if way == Way::Preempted {
            // It has yet to hear of that, and the kernel takes the address from it.
            primary.freeze();
        }
        let before_ns = now_ns();
        watched.gives_up(way, &primary, || {
            if way == Way::Preempted {
                wait_for("the end of its lifetime", DEADLINE, || (!a.has(VIP)).then_some(()));
            } else {
                let farewell = |frame: &lab::Frame| frame.interface == "a" && frame.resigns();
                watched.adverts.wait_for("a farewell", before_ns, farewell);
                primary.freeze();
                watched.advertises("b", 3);
            }
            primary.thaw();
        });
        watched.stays_with("b");
        watched.takes_back(way, &mut primary);
    }
}

/// Renewals wait in the queue of the thread that makes them, and before them the address has ended.
#[test]
fn renewals_that_come_too_late_bring_no_address_back() {
    for address in [VIP, VIP6] {
        let config = |node: &Node| {
            let priority = if node.name() == "a" { PRIMARY } else { lab::story::SECONDARY };
            if address == VIP { web(priority, "") } else { web6(priority, "") }
        };
        let Some(pair) = Pair::with_address(address, config) else { return };
        let Pair { lab, a, b, primary, secondary: _secondary } = pair;
        let watched = Watched::start(address, &lab, [&a, &b]);
        let wedged = primary.wedge("vrrp-kernel");
        // For so long that the last of them is younger than a lifetime when the address has ended.
        watched.advertises("a", 15);
        watched.gives_up(Way::Preempted, &primary, || {
            wait_for("the end of its lifetime", DEADLINE, || (!a.has(address)).then_some(()));
        });
        drop(wedged);
        watched.stays_with("b");
        watched.ranks_b(lab::story::SECONDARY);
        watched.stays_with("a");
    }
}

/// The address is there until its lifetime ends, and the fence alone keeps it silent.
#[test]
fn a_fence_that_was_late_does_not_let_an_address_answer_that_was_given_up() {
    let Some(Pair { lab, a, b, primary, secondary: _secondary }) = Pair::open("") else { return };
    let watched = Watched::start(VIP, &lab, [&a, &b]);
    let watcher = Watcher::start(&lab.node("watcher"), VIP);
    let kernel = primary.wedge("vrrp-kernel");
    let fence = primary.wedge("vrrp-fence");
    watched.gives_up(Way::Preempted, &primary, || watched.advertises("b", 5));
    let let_go_ns = now_ns();
    drop(fence);
    watcher.wait_for_questions(100);
    assert!(a.has(VIP), "nothing is left to be kept silent");
    drop(kernel);
    watched.stays_with("b");
    let answered = watcher.stop().by(a.mac()).all;
    let last_ns = answered.last().expect("it answered before").1;
    assert!(last_ns < let_go_ns, "a answers again");
    let claimed_ns = watched.adverts.adverts_of("b")[0].time_ns;
    assert!(last_ns < claimed_ns + DOWN_NS, "a answered for too long");
}
