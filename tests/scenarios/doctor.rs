//! `vrrpctl doctor` finds the faults that need a real network: a rule that drops protocol 112, a third
//! machine that answers for the address, a name that leads elsewhere.

use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use lab::story::{PRIMARY, SECONDARY, VIP, VIP6, VIP6_LINK_LOCAL, web, web6};
use lab::{DEADLINE, Lab, Node, Pair, daemon, wait_for};
use serde_json::Value;

/// What doctor says on a node, and its exit code; `files` are put in the place of the machine's own.
fn doctor(node: &Node, options: &str, files: &[(&str, &Path)]) -> (Vec<Value>, Option<i32>) {
    let mounts: String =
        files.iter().map(|(place, file)| format!("mount --bind {} {place} && ", file.display())).collect();
    let mut command = node.namespace().command("unshare");
    command.args([
        "--mount",
        "--propagation",
        "private",
        "sh",
        "-c",
        &format!("{mounts} exec \"$0\" \"$@\""),
    ]);
    command.arg(daemon::binary("vrrpctl")).arg("--socket").arg(node.control_socket());
    command.args(["--json", "doctor", "--config"]).arg(node.vrrpd_config()).args(options.split_whitespace());
    let output = command.output().expect("unshare runs");
    let json: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&output.stderr)));
    let findings = json["findings"].as_array().expect("a list").clone();
    (findings, output.status.code())
}

/// The verdicts and texts of the findings of that name.
fn named(node: &Node, name: &str) -> Vec<(String, String)> {
    pick(&doctor(node, "", &[]).0, name)
}

fn pick(findings: &[Value], name: &str) -> Vec<(String, String)> {
    let found = findings.iter().filter(|finding| finding["name"] == name);
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    found.map(|finding| (text(&finding["verdict"]), text(&finding["what"]))).collect()
}

/// The one finding of that name has this verdict, and names all of `words`.
fn assert_found(node: &Node, name: &str, verdict: &str, words: &[&str]) {
    let found = named(node, name);
    let fits = |(is, what): &(String, String)| is == verdict && words.iter().all(|word| what.contains(word));
    assert!(found.iter().any(fits), "{}: {name} should be {verdict} with {words:?}: {found:?}", node.name());
}

#[test]
fn a_healthy_pair_has_no_failure() {
    let Some(Pair { lab, a, b, primary: _primary, secondary: _secondary }) = Pair::open("") else { return };
    lab.settles_on(VIP, "a", 5);
    for node in [&a, &b] {
        let (findings, code) = doctor(node, "", &[]);
        let failures: Vec<_> = findings.iter().filter(|finding| finding["verdict"] == "fail").collect();
        assert!(failures.is_empty(), "{}: {failures:?}", node.name());
        // This machine's clock and the like may be worth a warning.
        assert!(code == Some(0) || code == Some(1), "{code:?}");
    }
    assert_found(&b, "protocol_112_arrives", "ok", &[&a.ipv4()]);
    assert_found(&a, "address_answers_from_one_mac", "ok", &["held by this node"]);
    // The MAC address that the lab gave to a.
    assert_found(&b, "address_answers_from_one_mac", "ok", &["02:00:00:00:00:c1", "that of the Active node"]);
    for name in ["firewall_vrrp_in", "firewall_vrrp_out", "firewall_arp"] {
        assert_found(&b, name, "ok", &["eth0"]);
    }
}

#[test]
fn a_rule_that_drops_protocol_112_is_found_from_both_ends() {
    let Some(Pair { lab, a, b, primary: _primary, secondary: _secondary }) = Pair::open("") else { return };
    lab.settles_on(VIP, "a", 5);
    b.namespace().nft(
        "table inet site {\nchain input {\ntype filter hook input priority 0\nct state established accept\n\
         ip protocol vrrp drop\n}\n}",
    );
    b.wait_for_state("web", "active");
    a.wait_for_router("web", "with two Active routers", |router| {
        router["alarms"]
            .as_array()
            .is_some_and(|all| all.iter().any(|one| one["name"] == "two_active_routers"))
    });
    assert_found(&b, "firewall_vrrp_in", "fail", &["inet site input", "protocol 112"]);
    assert_found(&b, "firewall_vrrp_out", "ok", &[]);
    assert_found(&a, "firewall_vrrp_in", "ok", &[]);
    assert_found(&a, "protocol_112_is_heard", "fail", &[&b.ipv4()]);
    assert_eq!(doctor(&b, "", &[]).1, Some(2));

    b.namespace().nft("flush ruleset");
    b.wait_for_state("web", "backup");
    assert_found(&b, "firewall_vrrp_in", "ok", &[]);
    assert_found(&b, "protocol_112_arrives", "ok", &[&a.ipv4()]);
}

#[test]
fn a_third_machine_that_answers_for_the_address_is_named_by_its_mac() {
    let Some(Pair { lab, a, b, primary: _primary, secondary: _secondary }) = Pair::open("") else { return };
    lab.settles_on(VIP, "a", 5);
    // 02:00:00:00:00:0a, by the lab.
    lab.client().ip(&format!("addr add {VIP}/32 dev eth0"));
    for node in [&a, &b] {
        assert_found(node, "address_answers_from_one_mac", "fail", &[VIP, "02:00:00:00:00:0a"]);
    }
    lab.client().ip(&format!("addr del {VIP}/32 dev eth0"));
    assert_found(&a, "address_answers_from_one_mac", "ok", &[VIP]);
}

#[test]
fn an_ipv6_address_is_asked_for_by_neighbour_discovery() {
    let Some(lab) = Lab::open() else { return };
    let (a, b) = (lab.node("a"), lab.node("b"));
    let (_primary, _secondary) = (a.vrrpd(&web6(PRIMARY, "")), b.vrrpd(&web6(SECONDARY, "")));
    lab.wait_for_holder(VIP6, "a");
    b.wait_for_router("web", "that hears a", |router| router["heard"] == true);
    for address in [VIP6, VIP6_LINK_LOCAL] {
        assert_found(&b, "address_answers_from_one_mac", "ok", &[address, "02:00:00:00:00:c1"]);
    }
    lab.client().ip(&format!("addr add {VIP6}/128 dev eth0 nodad"));
    assert_found(&b, "address_answers_from_one_mac", "fail", &[VIP6, "02:00:00:00:00:0a"]);
    assert_found(&b, "address_answers_from_one_mac", "ok", &[VIP6_LINK_LOCAL]);
}

#[test]
fn an_active_node_that_keeps_its_answers_back_is_found_from_both_ends() {
    let Some(Pair { lab, a, b, primary: _primary, secondary: _secondary }) = Pair::open("") else { return };
    lab.settles_on(VIP, "a", 5);
    a.namespace().sysctl(&[("net/ipv4/conf/eth0/arp_ignore", "8")]);
    assert_found(&a, "arp_ignore", "fail", &["arp_ignore = 8"]);
    assert_found(&b, "address_answers_from_one_mac", "fail", &["nobody answers"]);
    a.namespace().sysctl(&[("net/ipv4/conf/eth0/arp_ignore", "0")]);
    assert_found(&a, "arp_ignore", "ok", &[]);
    assert_found(&b, "address_answers_from_one_mac", "ok", &[]);
}

#[test]
fn a_service_that_listens_on_the_address_alone_is_found_where_the_address_is() {
    let Some(Pair { lab, a, b: _b, primary: _primary, secondary: _secondary }) = Pair::open("") else {
        return;
    };
    lab.settles_on(VIP, "a", 5);
    assert_found(&a, "service_bound_to_address", "ok", &[]);
    let service =
        a.namespace().enter(|| std::net::TcpListener::bind((VIP, 443)).expect("the address is here"));
    assert_found(&a, "service_bound_to_address", "warn", &["192.0.2.201:443", "ip_nonlocal_bind"]);
    a.namespace().sysctl(&[("net/ipv4/ip_nonlocal_bind", "1")]);
    assert_found(&a, "service_bound_to_address", "ok", &["192.0.2.201:443"]);
    drop(service);
}

#[test]
fn without_a_daemon_what_it_knows_is_unknown_and_the_rest_is_said() {
    let Some(lab) = Lab::open() else { return };
    let a = lab.node("a");
    a.write_vrrpd_config(&web(PRIMARY, ""));
    for name in ["protocol_112_arrives", "vrid_strangers", "capabilities"] {
        assert_found(&a, name, "unknown", &["no daemon answers"]);
    }
    assert_found(&a, "address_answers_from_one_mac", "ok", &["free"]);
    assert_found(&a, "firewall_vrrp_in", "ok", &[]);
}

/// A program in a namespace, killed when the test is over.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// BIND with a zone in which www.example.com has this address.
fn name_server(node: &Node, address: &str) -> Running {
    let directory = node.directory().display();
    let zone = format!(
        "$TTL 1D\n@ SOA ns hostmaster 0 3H 15M 1W 3H\n@ NS ns\nns A {}\nwww A {address}\n",
        node.ipv4()
    );
    let config = format!(
        "options {{ directory \"{directory}\"; pid-file none; session-keyfile none; listen-on {{ {}; }}; \
         listen-on-v6 {{ none; }}; recursion no; }};\ncontrols {{ }};\n\
         zone \"example.com\" {{ type primary; file \"zone\"; }};\n",
        node.ipv4()
    );
    write(node, "zone", &zone);
    let file = write(node, "named.conf", &config);
    let mut command = node.namespace().command("named");
    command.arg("-f").arg("-c").arg(file).stdout(Stdio::null()).stderr(Stdio::null());
    Running(command.spawn().expect("available() has found it"))
}

fn write(node: &Node, name: &str, text: &str) -> PathBuf {
    let file = node.directory().join(name);
    std::fs::write(&file, text).expect("the lab's directory is writable");
    file
}

#[test]
fn a_name_is_followed_through_the_hosts_file_and_each_name_server() {
    let Some(lab) = Lab::with(&["named", "unshare"]) else { return };
    let [a, right, wrong] = ["a", "right", "wrong"].map(|name| lab.node(name));
    a.write_vrrpd_config(&web(
        PRIMARY,
        "checks = [\"registry\"]\n[check.registry]\nhttp = { url = \"http://www.example.com/v2/\", \
         connect = \"192.0.2.193:80\" }\n",
    ));
    let _servers = [name_server(&right, VIP), name_server(&wrong, &a.ipv4())];
    let resolv = |servers: &[&Node]| {
        let lines: String = servers.iter().map(|server| format!("nameserver {}\n", server.ipv4())).collect();
        write(&a, "resolv.conf", &lines)
    };
    let hosts = write(&a, "hosts", "127.0.0.1 localhost\n");
    let look = |resolv: &Path| doctor(&a, "", &[("/etc/resolv.conf", resolv), ("/etc/hosts", &hosts)]);
    let well = resolv(&[&right]);
    wait_for("the name server", DEADLINE, || {
        let found = pick(&look(&well).0, "name_resolves");
        (found.len() == 1 && found[0].0 == "ok" && found[0].1.contains(VIP)).then_some(())
    });
    let both = resolv(&[&right, &wrong]);
    let found = wait_for("both name servers", DEADLINE, || {
        let found = pick(&look(&both).0, "name_resolves");
        (found.iter().all(|(_, what)| what.contains("is 192.0.2."))).then_some(found)
    });
    assert_eq!((found[0].0.as_str(), found[1].0.as_str()), ("ok", "fail"), "{found:?}");
    assert!(found[1].1.contains(&wrong.ipv4()) && found[1].1.contains(&a.ipv4()), "{found:?}");
    let (findings, _) = look(&both);
    // Only the record of a node's own address has to change one day.
    let lasting: Vec<String> = pick(&findings, "name_ttl").into_iter().map(|(verdict, _)| verdict).collect();
    assert_eq!(lasting, ["ok", "warn"], "{findings:?}");
    assert_eq!(pick(&findings, "name_in_hosts")[0].0, "ok");

    write(&a, "hosts", &format!("127.0.0.1 localhost\n{} www.example.com\n", a.ipv4()));
    let (findings, code) = look(&both);
    let overridden = &pick(&findings, "name_in_hosts")[0];
    assert_eq!((overridden.0.as_str(), code), ("fail", Some(2)), "{overridden:?}");
    assert!(overridden.1.contains("/etc/hosts:2 maps www.example.com to 192.0.2.193"), "{overridden:?}");
}

#[test]
fn the_files_of_both_nodes_tell_what_moves() {
    let Some(Pair { lab: _lab, a, b, primary: _primary, secondary: _secondary }) = Pair::open("") else {
        return;
    };
    let other = b.vrrpd_config().display().to_string();
    let output = a.vrrpctl(&format!("check --budget --peer {other} --json"));
    let json: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let router = &json["virtual_routers"][0];
    assert_eq!(
        (&router["priority"], &router["other_priority"]),
        (&Value::from(PRIMARY), &Value::from(SECONDARY))
    );
    // 3 x 100 ms + 156/256 x 100 ms, in whole microseconds.
    assert_eq!(router["rows"][0]["moved"], "360937us");
    let (findings, _) = doctor(&a, &format!("--peer-config {other}"), &[]);
    assert_eq!(pick(&findings, "configurations_agree")[0].0, "ok");
}
