//! What goes wrong. Each function returns when it is over.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use lab::story::{PRIMARY, VIP};
use lab::{Burden, Contender};

use crate::site::Site;

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

pub(crate) fn kill(site: &mut Site) {
    site.primary.take().expect("it runs").crash();
}

/// As the shipped unit has it: `Restart=always`, `RestartSec=100ms`.
pub(crate) fn kill_and_restart(site: &mut Site) {
    kill(site);
    site.pass(Duration::from_millis(100));
    site.restart();
}

pub(crate) fn wedge_12s(site: &mut Site) {
    wedge(site, seconds(12));
}

pub(crate) fn wedge_5s(site: &mut Site) {
    wedge(site, seconds(5));
}

/// keepalived has one thread for everything.
fn wedge(site: &Site, time: Duration) {
    match site.contender {
        Contender::Vrrpd => {
            let _wedged = site.primary().wedge("vrrp-protocol");
            site.pass(time);
        }
        Contender::Keepalived => stop(site, time),
    }
}

fn stop(site: &Site, time: Duration) {
    site.primary().freeze();
    site.pass(time);
    site.primary().thaw();
}

pub(crate) fn stop_5(site: &mut Site) {
    stop(site, site.task.interval * 5);
}

pub(crate) fn stop_60s(site: &mut Site) {
    stop(site, seconds(60));
}

pub(crate) fn stop_backup_5(site: &mut Site) {
    let backup = site.secondary.as_ref().expect("it runs");
    backup.freeze();
    site.intervals(5);
    backup.thaw();
}

/// A hypervisor that pauses both, as for a snapshot. The first one wakes a little earlier.
pub(crate) fn stop_both_5(site: &mut Site) {
    let daemons = [site.primary(), site.secondary.as_ref().expect("it runs")];
    daemons.iter().for_each(|daemon| daemon.freeze());
    site.intervals(5);
    daemons.iter().for_each(|daemon| daemon.thaw());
}

pub(crate) fn pull_the_cable(site: &mut Site) {
    site.lab.switch().unplug("a");
    site.pass(seconds(2));
    site.lab.switch().plug("a");
}

fn while_it_lasts(site: &Site, time: Duration) {
    site.pass(time);
    site.lab.switch().heal();
}

/// A switch that no longer forwards, and does not say so.
pub(crate) fn cut_off_active(site: &mut Site) {
    site.lab.switch().isolate("a", false, false);
    while_it_lasts(site, seconds(5));
}

pub(crate) fn cut_off_backup(site: &mut Site) {
    site.lab.switch().isolate("b", false, false);
    while_it_lasts(site, seconds(5));
}

pub(crate) fn mute_active(site: &mut Site) {
    site.lab.switch().mute("a", "b");
    while_it_lasts(site, seconds(5));
}

pub(crate) fn mute_backup(site: &mut Site) {
    site.lab.switch().mute("b", "a");
    while_it_lasts(site, seconds(5));
}

pub(crate) fn mute_both(site: &mut Site) {
    site.lab.switch().mute("a", "b");
    site.lab.switch().mute("b", "a");
    while_it_lasts(site, seconds(5));
}

pub(crate) fn lose_10(site: &mut Site) {
    lose(site, 10);
}

pub(crate) fn lose_30(site: &mut Site) {
    lose(site, 30);
}

pub(crate) fn lose_50(site: &mut Site) {
    lose(site, 50);
}

fn lose(site: &Site, percent: u8) {
    site.lab.switch().lose_between("a", "b", percent);
    site.lab.switch().lose_between("b", "a", percent);
    while_it_lasts(site, seconds(10));
}

/// Another namespace keeps the kernel's lock busy; meanwhile the first node is stopped in good
/// order, and comes back.
pub(crate) fn hold_the_lock(site: &mut Site) {
    let _burden = Burden::start();
    site.pass(seconds(2));
    site.primary.take().expect("it runs").terminate();
    site.pass(seconds(2));
    site.restart();
    site.pass(seconds(4));
}

/// A third party that does not want the address there, and takes it from whoever has it.
pub(crate) fn flush(site: &mut Site) {
    let end = Instant::now() + seconds(5);
    while Instant::now() < end {
        for node in [&site.a, &site.b] {
            node.delete_address(site.task.address());
        }
        site.pass(Duration::from_millis(100));
    }
}

pub(crate) fn link_down_and_up(site: &mut Site) {
    for _ in 0..3 {
        site.a.link_down();
        site.pass(seconds(1));
        site.a.link_up();
        site.pass(seconds(2));
    }
}

pub(crate) fn rename(site: &mut Site) {
    site.a.ip("link set dev eth0 name lan0");
    site.pass(seconds(2));
    site.a.ip("link set dev lan0 name eth0");
}

pub(crate) fn delete(site: &mut Site) {
    site.a.delete_interface();
    site.pass(seconds(2));
    site.a.create_interface();
}

/// The daemon is not scheduled for a moment, less than anybody misses it, in which the kernel has
/// more to say than fits its socket; what got lost includes that the address is gone.
pub(crate) fn overrun(site: &mut Site) {
    let flood: String = (0..6000).map(|n| format!("link set lo mtu {}\n", 60_000 + n % 2)).collect();
    site.primary().freeze();
    site.a.namespace().ip(&format!("addr del {VIP}/32 dev eth0\n{flood}"));
    site.primary().thaw();
}

/// An operator starts it twice, and ends the second one when the mistake is found.
pub(crate) fn second_daemon(site: &mut Site) {
    let mut second = site.contender.start(&site.a.beside(), PRIMARY, site.task);
    site.pass(seconds(3));
    if second.is_running() {
        second.terminate();
    }
}

pub(crate) fn fill_the_disk(site: &mut Site) {
    // The disk exists only in the daemon's mount namespace.
    let inside = format!("/proc/{}/root{}/fill", site.primary().pid(), site.a.disk().display());
    let filled = std::fs::write(inside, vec![0; 1 << 20]);
    filled.expect_err("a megabyte does not fit on 64 KiB");
    pull_the_cable(site);
}

/// Clients that ask and never read, send what is no question, and hold what they have opened.
pub(crate) fn flood_control(site: &mut Site) {
    let (socket, end) = (site.a.control_socket(), Instant::now() + seconds(5));
    std::thread::scope(|scope| {
        for nth in 0..8 {
            let socket = &socket;
            let said = [&b"{\"request\":\"history\"}\n"[..], &[b'x'; 4096]][nth % 2];
            scope.spawn(move || {
                let mut open = Vec::new();
                while Instant::now() < end {
                    if let Ok(mut client) = UnixStream::connect(socket) {
                        // What it does not take is the point.
                        let _ = client.set_nonblocking(true);
                        let _ = client.write(said);
                        open.push(client);
                    }
                    if open.len() > 100 {
                        open.clear();
                    }
                }
            });
        }
    });
}
