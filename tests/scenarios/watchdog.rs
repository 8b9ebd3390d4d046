//! Signs of life: systemd gets them for as long as the protocol thread gives them, and for no longer.

use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use lab::story::{PRIMARY, VIP, web};
use lab::{DEADLINE, Lab, wait_for};

/// What the unit's `WatchdogSec` is to systemd, in small.
const WATCHDOG: Duration = Duration::from_millis(600);

/// The socket that systemd would have.
struct Notified(UnixDatagram);

impl Notified {
    /// Is there a sign of life within this time?
    fn hears_within(&self, time: Duration) -> bool {
        let end = Instant::now() + time;
        let mut octets = [0; 256];
        while let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            self.0.set_read_timeout(Some(left)).expect("a time");
            match self.0.recv(&mut octets) {
                Ok(length) if octets[..length].starts_with(b"WATCHDOG=1") => return true,
                Ok(_) => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                Err(error) => panic!("{error}"),
            }
        }
        false
    }

    /// Nothing at all for five times as long as systemd would wait.
    fn falls_silent(&self) -> bool {
        // One that was on its way may still come.
        wait_for("the silence", DEADLINE, || (!self.hears_within(WATCHDOG)).then_some(()));
        !self.hears_within(4 * WATCHDOG)
    }
}

#[test]
fn a_wedged_protocol_thread_gives_no_sign_of_life_although_the_others_go_on() {
    let Some(lab) = Lab::open() else { return };
    let a = lab.node("a");
    a.write_vrrpd_config(&web(PRIMARY, ""));
    let path = a.directory().join("notify");
    let notified = Notified(UnixDatagram::bind(&path).expect("the lab's directory is writable"));
    let daemon = a.start_vrrpd_watched(&path, WATCHDOG);
    lab.wait_for_holder(VIP, "a");
    for _ in 0..5 {
        assert!(notified.hears_within(DEADLINE), "it is well");
    }

    let wedged = daemon.wedge("vrrp-protocol");
    assert!(notified.falls_silent(), "systemd would take it for well");
    // The main thread answers this by itself.
    assert!(a.vrrpctl("config show").status.success());
    drop(wedged);
    assert!(notified.hears_within(DEADLINE), "it goes on");
}
