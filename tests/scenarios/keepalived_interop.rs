//! A pair of vrrpd and Debian's keepalived, in both roles, over both families and both transports.

use std::net::TcpListener;

use lab::story::{self, PRIMARY, SECONDARY, SKEW_NS, VIP, VIP6, VIP6_LINK_LOCAL};
use lab::{Daemon, Lab, Node, Prober};

#[derive(Clone, Copy)]
enum Family {
    Ipv4,
    Ipv6,
}

#[derive(Clone, Copy)]
enum Transport {
    Multicast,
    Unicast,
}

#[derive(Clone, Copy)]
enum Software {
    Vrrpd,
    Keepalived,
}

/// What all tests of this file tell: the pair settles on its primary; a stop and a crash move the
/// address, a start brings it back, and each time there is one holder whom the client reaches.
fn failover_and_return(family: Family, transport: Transport, primary: Software) {
    let Some(lab) = Lab::with(&["keepalived"]) else { return };
    let (a, b) = (lab.node("a"), lab.node("b"));
    let vip = match family {
        Family::Ipv4 => VIP,
        Family::Ipv6 => VIP6,
    };
    let secondary = match primary {
        Software::Vrrpd => Software::Keepalived,
        Software::Keepalived => Software::Vrrpd,
    };
    let start_a = || start(primary, &a, &b, PRIMARY, family, transport);
    let daemon = start_a();
    let other = start(secondary, &b, &a, SECONDARY, family, transport);
    lab.settles_on(vip, "a", 10);
    let prober = Prober::start(lab.client(), vip);
    prober.wait_for_answer();

    assert!(daemon.terminate().success());
    lab.settles_on(vip, "b", 10);
    prober.wait_for_answer();
    let daemon = start_a();
    lab.settles_on(vip, "a", 10);
    prober.wait_for_answer();

    lab.power_off(&a, daemon);
    // A crash leaves the address in the dead machine's kernel, so holders() would count two.
    prober.wait_for_answer();
    assert!(b.has(vip));
    a.power_on();
    let _daemon = start_a();
    lab.settles_on(vip, "a", 10);
    prober.wait_for_answer();

    // The other end of the pair may go and come as well: nothing moves.
    assert!(other.terminate().success());
    lab.settles_on(vip, "a", 5);
    let _other = start(secondary, &b, &a, SECONDARY, family, transport);
    lab.settles_on(vip, "a", 10);
}

fn start(
    software: Software,
    node: &Node,
    peer: &Node,
    priority: u8,
    family: Family,
    transport: Transport,
) -> Daemon {
    let (addresses, own, other): (&[&str], _, _) = match family {
        Family::Ipv4 => (&[VIP], node.ipv4(), peer.ipv4()),
        Family::Ipv6 => (&[VIP6_LINK_LOCAL, VIP6], node.ipv6(), peer.ipv6()),
    };
    match (software, transport) {
        (Software::Vrrpd, Transport::Multicast) => node.vrrpd(&story::router(priority, addresses, "")),
        (Software::Vrrpd, Transport::Unicast) => {
            let unicast = format!("source_address = \"{own}\"\npeers = [\"{other}\"]");
            node.vrrpd(&story::router(priority, addresses, &unicast))
        }
        (Software::Keepalived, Transport::Multicast) => node.keepalived(&instance(priority, addresses, "")),
        (Software::Keepalived, Transport::Unicast) => {
            let unicast = format!("unicast_src_ip {own}\nunicast_peer {{\n{other}\n}}");
            node.keepalived(&instance(priority, addresses, &unicast))
        }
    }
}

fn instance(priority: u8, addresses: &[&str], more: &str) -> String {
    let addresses = addresses.join("\n");
    format!(
        "vrrp_instance web {{\n\
           interface eth0\n\
           virtual_router_id 201\n\
           priority {priority}\n\
           advert_int 0.1\n\
           {more}\n\
           virtual_ipaddress {{\n{addresses}\n}}\n\
         }}\n"
    )
}

#[test]
fn a_failing_check_hands_over_to_keepalived_before_the_client_notices() {
    let Some(lab) = Lab::with(&["keepalived"]) else { return };
    let (a, b) = (lab.node("a"), lab.node("b"));
    let listen = || {
        a.namespace().enter(|| TcpListener::bind("127.0.0.1:8443")).expect("nobody else uses the port here")
    };
    let service = listen();
    let check = "checks = [\"service\"]\n\n[check.service]\ntcp = { address = \"127.0.0.1:8443\" }\n\
                 interval = \"100ms\"\nrise = 1\nfall = 2\n";
    let _vrrpd = a.vrrpd(&story::web(PRIMARY, check));
    let _keepalived = start(Software::Keepalived, &b, &a, SECONDARY, Family::Ipv4, Transport::Multicast);
    lab.settles_on(VIP, "a", 10);
    let prober = Prober::start(lab.client(), VIP);
    prober.wait_for_answer();
    drop(service);
    lab.settles_on(VIP, "b", 10);
    let _service = listen();
    lab.settles_on(VIP, "a", 10);
    prober.wait_for_answer();
    let gap = prober.stop().longest_wait().as_nanos();
    assert!(gap < SKEW_NS.unsigned_abs().into(), "the client noticed: {gap} ns");
}

#[test]
fn vrrpd_is_primary_over_ipv4_multicast() {
    failover_and_return(Family::Ipv4, Transport::Multicast, Software::Vrrpd);
}

#[test]
fn vrrpd_is_primary_over_ipv4_unicast() {
    failover_and_return(Family::Ipv4, Transport::Unicast, Software::Vrrpd);
}

#[test]
fn vrrpd_is_primary_over_ipv6_multicast() {
    failover_and_return(Family::Ipv6, Transport::Multicast, Software::Vrrpd);
}

#[test]
fn vrrpd_is_primary_over_ipv6_unicast() {
    failover_and_return(Family::Ipv6, Transport::Unicast, Software::Vrrpd);
}

#[test]
fn keepalived_is_primary_over_ipv4_multicast() {
    failover_and_return(Family::Ipv4, Transport::Multicast, Software::Keepalived);
}

#[test]
fn keepalived_is_primary_over_ipv4_unicast() {
    failover_and_return(Family::Ipv4, Transport::Unicast, Software::Keepalived);
}

#[test]
fn keepalived_is_primary_over_ipv6_multicast() {
    failover_and_return(Family::Ipv6, Transport::Multicast, Software::Keepalived);
}

#[test]
fn keepalived_is_primary_over_ipv6_unicast() {
    failover_and_return(Family::Ipv6, Transport::Unicast, Software::Keepalived);
}
