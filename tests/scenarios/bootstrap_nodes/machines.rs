//! A node goes, comes back, or only seems to serve.

use lab::services::{Charts, Errand, Files, Image, Registry, charts, container, front};
use lab::story::VIP;
use lab::{DEADLINE, Lab, wait_for};

use crate::site::{Images, ROUTER, Site, hardly_noticed, takeovers, wait_for_check, waited_for_proof};

#[test]
fn a_container_whose_nat_rules_are_gone_moves_the_address_though_it_accepts_connections() {
    let Some(site) = Site::in_containers() else { return };
    let Images::Container(container) = &site.on_a.images else { unreachable!("they were asked for") };
    let tcp =
        format!("\n[check.port]\ntcp = {{ address = \"{}:443\" }}\non_failure = \"alert\"\n", site.a.ipv4());
    // What such a check would say.
    let _daemons = site.start_vrrpd(&[
        ("\"parity\", ", "\"parity\", \"port\", "),
        ("\n[check.hosts]", &format!("{tcp}\n[check.hosts]")),
    ]);
    wait_for_check(&site.a, "port", "passing");
    let client = site.client();
    client.wait_for_success();

    container::flush_nat(&site.a);
    site.lab.settles_on(VIP, "b", 2);
    wait_for_check(&site.a, "registry", "failing");
    wait_for_check(&site.a, "port", "passing");
    client.wait_for_success();
    client.stop().tell("NAT rules flushed");

    let client = site.client();
    container.reload_network(&site.a);
    site.lab.settles_on(VIP, "a", 2);
    client.wait_for_success();
    let visits = client.stop();
    visits.tell("NAT rules written again");
    hardly_noticed(&visits, &Errand::ALL);
}

#[test]
fn a_primary_that_reboots_waits_for_its_services_and_takes_the_address_back_once() {
    let Some(mut site) = Site::open() else { return };
    let [primary, _secondary] = site.start_vrrpd(&[]);
    let client = site.client();
    client.wait_for_success();

    site.lab.power_off(&site.a, primary);
    site.lab.settles_on(VIP, "b", 2);
    client.wait_for_success();
    client.stop().tell("primary loses its power");

    // vrrpd is there first, and the services one after the other.
    let client = site.client();
    client.wait_for_success();
    site.on_a.images = Images::Stopped;
    site.a.power_on();
    site.lab.switch().plug("a");
    let _primary = site.a.start_vrrpd();
    for check in ["registry", "layers", "files"] {
        wait_for_check(&site.a, check, "failing");
    }
    site.on_a.images = Images::Process(Registry::start(&site.a, &site.certificate));
    wait_for_check(&site.a, "registry", "passing");
    wait_for_check(&site.a, "layers", "passing");
    site.lab.settles_on(VIP, "b", 2);
    site.on_a.charts = Charts::start(&site.a);
    site.on_a.files = Files::start(&site.a);
    site.lab.settles_on(VIP, "a", 2);
    client.wait_for_success();

    waited_for_proof(&site.a, "files");
    assert_eq!([takeovers(&site.a), takeovers(&site.b)], [1, 1], "no early attempt");
    let visits = client.stop();
    visits.tell("primary comes back");
    hardly_noticed(&visits, &Errand::ALL);
}

#[test]
fn a_peer_that_lacks_an_image_is_shown_and_takes_over_from_a_dead_node_all_the_same() {
    let Some(site) = Site::open() else { return };
    let [primary, _secondary] = site.start_vrrpd(&[]);
    let client = site.client();
    client.wait_for_success();
    let image = Image::make(site.lab.directory(), "insight", "1", &[10_000]);
    image.push(&site.a, &site.a.ipv4(), "insight/insight-agent:0.20.1");
    let message = wait_for_check(&site.b, "parity", "failing");
    assert!(message.contains("insight/insight-agent:0.20.1"), "names the image: {message}");
    site.lab.settles_on(VIP, "a", 2);
    assert_eq!([takeovers(&site.a), takeovers(&site.b)], [1, 0], "it does not move by itself");

    site.lab.power_off(&site.a, primary);
    site.lab.settles_on(VIP, "b", 2);
    client.wait_for_success();
    client.stop().tell("primary dies, backup lacks an image");
}

#[test]
fn a_proxy_without_a_server_behind_it_moves_the_address() {
    let programs = [&Charts::PROGRAMS[..], &["haproxy", "curl"]].concat();
    let Some(lab) = Lab::with(&programs) else { return };
    let (a, b) = (lab.node("a"), lab.node("b"));
    let [charts, _other] = [&a, &b].map(|node| Charts::start(node));
    let mut proxies = [&a, &b].map(|node| front::haproxy(node));
    let config = |address: &str, priority: u8| {
        format!(
            "[virtual_router.{ROUTER}]\ninterface = \"eth0\"\nvrid = 201\npriority = {priority}\n\
             addresses = [\"{VIP}\"]\nchecks = [\"haproxy\"]\n\n\
             [check.haproxy]\npreset = \"haproxy\"\nwith = {{ address = \"{address}\" }}\n"
        )
    };
    let _daemons = [(&a, 150), (&b, 100)].map(|(node, priority)| node.vrrpd(&config(&node.ipv4(), priority)));
    for node in [&a, &b] {
        wait_for_check(node, "haproxy", "passing");
    }
    lab.settles_on(VIP, "a", 2);
    drop(charts);
    lab.settles_on(VIP, "b", 2);
    let message = wait_for_check(&a, "haproxy", "failing");
    assert!(message.contains("503"), "says what the proxy answered: {message}");
    assert!(proxies.iter_mut().all(lab::Daemon::is_running), "no proxy has ended");
    let url = format!("http://{VIP}:{}/{}", front::PORT, charts::archive());
    wait_for("the chart by way of the other proxy", DEADLINE, || {
        let mut command = lab.client().namespace().command("curl");
        let output = command.args(["--silent", "--fail", "--max-time", "1", "--output", "/dev/null", &url]);
        output.status().expect("available() has found it").success().then_some(())
    });
}
