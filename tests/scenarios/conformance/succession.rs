//! A mixed pair, failing over again and again: no two routers are Active for longer than an interval.

use lab::story::{PRIMARY, SECONDARY, VIP, keepalived, web};
use lab::{Daemon, Frame, Lab, Node};

const FAILOVERS: usize = 20;

fn vrrpd(node: &Node, priority: u8) -> Daemon {
    node.vrrpd(&web(priority, ""))
}

/// The primary stops and returns, and each time the other one follows and gives way.
fn fail_over(primary: fn(&Node, u8) -> Daemon, secondary: fn(&Node, u8) -> Daemon) {
    let Some(lab) = Lab::with(&["keepalived"]) else { return };
    let (a, b) = (lab.node("a"), lab.node("b"));
    let _secondary = secondary(&b, SECONDARY);
    lab.wait_for_holder(VIP, "b");
    let capture = lab.capture();
    for _ in 0..FAILOVERS {
        let last = capture.frames().last().map_or(0, |frame| frame.time_ns);
        let daemon = primary(&a, PRIMARY);
        capture.wait_for_advert("a", last + 1);
        lab.wait_for_holder(VIP, "a");
        assert!(daemon.terminate().success());
        let farewell =
            capture.wait_for("a's farewell", last + 1, |frame| frame.interface == "a" && frame.resigns());
        capture.wait_for_advert("b", farewell.time_ns);
        lab.wait_for_holder(VIP, "b");
    }
    // Who speaks, in order, once in a row; the primary's farewells end its turns.
    let mut returns = 0;
    let (mut active, mut beside) = (false, 0);
    for frame in capture.frames().iter().filter(|frame| frame.advert().is_some()) {
        match (frame.interface.as_str(), frame.resigns()) {
            ("a", false) => {
                returns += usize::from(!active);
                active = true;
            }
            ("a", true) => (active, beside) = (false, 0),
            (_, resigns) if active && !resigns => {
                beside += 1;
                assert!(beside <= 1, "b is Active beside a for more than an interval, return {returns}");
            }
            _ => {}
        }
    }
    assert_eq!(returns, FAILOVERS);
    assert!(!capture.adverts_of("b").iter().any(Frame::resigns), "b was told to go by nobody");
}

#[test]
fn vrrpd_that_returns_again_and_again_is_never_beside_keepalived() {
    fail_over(vrrpd, keepalived);
}

#[test]
fn keepalived_that_returns_again_and_again_is_never_beside_vrrpd() {
    fail_over(keepalived, vrrpd);
}
