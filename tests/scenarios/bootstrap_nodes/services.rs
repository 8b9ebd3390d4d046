//! The services themselves, proven without vrrpd, so that no story blames it for them.

use lab::services::{Charts, Errand, front, registry};
use lab::story::VIP;
use lab::{DEADLINE, Lab, Node, wait_for};

use crate::site::Site;

#[test]
fn a_client_gets_images_files_and_charts_by_name_and_notices_what_breaks() {
    let Some(site) = Site::open() else { return };
    site.a.ip(&format!("addr add {VIP}/32 dev eth0"));
    let client = site.client();
    client.wait_for_success();
    registry::delete_layer(&site.a, &site.image);
    let reason = client.wait_for_failure(Errand::Image);
    assert!(reason.contains("404"), "the layer is not there: {reason}");
    registry::remove_storage(&site.a);
    let reason = client.wait_for_failure(Errand::Image);
    assert!(reason.contains("manifest unknown"), "nor is the manifest: {reason}");
    drop(site.on_a.charts);
    let reason = client.wait_for_failure(Errand::Chart);
    assert!(reason.contains("connect"), "nobody listens: {reason}");
    drop(site.on_a.files);
    client.wait_for_failure(Errand::File);
    client.stop().tell("services that break");
}

#[test]
fn haproxy_lives_and_says_503_without_a_server_behind_it() {
    let Some(lab) = Lab::with(&[&Charts::PROGRAMS[..], &["haproxy", "curl"]].concat()) else { return };
    let a = lab.node("a");
    let charts = Charts::start(&a);
    let (mut proxy, _front) = (front::haproxy(&a), front::nginx(&a));
    let monitor = format!("http://{}:{}/health", a.ipv4(), front::MONITOR_PORT);
    let wait_for_status = |status: &str| {
        let asked = ["--output", "/dev/null", "--write-out", "%{http_code}", &monitor];
        wait_for(&format!("{status} of haproxy"), DEADLINE, || (curl(&a, &asked).1 == status).then_some(()));
    };
    wait_for_status("200");
    for port in [front::PORT, front::NGINX_PORT] {
        let (code, index) = curl(&a, &["--fail", &format!("http://{}:{port}/index.yaml", a.ipv4())]);
        assert_eq!(code, Some(0));
        assert!(index.contains("insight"), "{index}");
    }
    drop(charts);
    wait_for_status("503");
    assert!(proxy.is_running());
}

/// Runs curl on `node`; gives its exit code and standard output.
fn curl(node: &Node, arguments: &[&str]) -> (Option<i32>, String) {
    let output = node.namespace().command("curl").arg("--silent").args(arguments).output();
    let output = output.expect("available() has found it");
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}
