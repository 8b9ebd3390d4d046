//! What is installed beside the programs: unit, accounts, examples and manual page agree with them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use vrrpd::config::{self, Change, Config, Support};

fn packaging(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging").join(file)
}

fn read(file: &str) -> String {
    let path = packaging(file);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

// The example.

fn example(file: &str) -> Config {
    let (config, warnings) = config::load(&packaging(file)).unwrap_or_else(|faults| panic!("{faults}"));
    assert!(warnings.is_empty(), "{warnings}");
    config
}

#[test]
fn the_two_node_example_differs_where_it_says() {
    let a = example("examples/two-node/bootstrap-a.toml");
    let b = example("examples/two-node/bootstrap-b.toml");
    let mut keys = Vec::new();
    for difference in config::differences(&a, &b) {
        let Change::Changed(changes) = difference.change else { panic!("{difference}") };
        keys.extend(changes.iter().map(|change| format!("{}.{}", difference.section, change.key)));
    }
    keys.sort();
    assert_eq!(
        keys,
        [
            "check.charts.with",
            "check.files.with",
            "check.layers.with",
            "check.parity.registry_parity",
            "check.registry.with",
            "virtual_router.bootstrap.peers",
            "virtual_router.bootstrap.preempt_delay",
            "virtual_router.bootstrap.priority",
            "virtual_router.bootstrap.source_address",
        ]
    );
}

/// Each node's file names the other as its peer, and its checks ask the node itself.
#[test]
fn the_two_node_example_fits_together() {
    let nodes =
        [example("examples/two-node/bootstrap-a.toml"), example("examples/two-node/bootstrap-b.toml")];
    let [a, b] = nodes.each_ref().map(|node| &node.virtual_routers[0]);
    let own = [a, b].map(|router| router.source_address.expect("both name their own address"));
    assert_eq!((&a.peers[..], &b.peers[..]), (&own[1..], &own[..1]));
    for (node, own) in nodes.iter().zip(own) {
        let text = config::to_toml_expanded(node);
        let asked = text.lines().filter(|line| line.contains(&format!("{own}:"))).count();
        assert_eq!(asked, 5, "five checks ask {own}:\n{text}");
    }
    let demoted = a.priority.demoted();
    assert!(
        demoted < b.priority && b.priority.demoted() < demoted,
        "a failing node loses, two keep their order"
    );
}

// The unit.

/// Values of each key, in the order of the file, under `Section.Key`.
fn ini(text: &str) -> BTreeMap<String, Vec<String>> {
    let mut keys: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut section = String::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name.to_owned();
        } else {
            let (key, value) =
                line.split_once('=').unwrap_or_else(|| panic!("neither section nor key: {line}"));
            keys.entry(format!("{section}.{key}")).or_default().push(value.to_owned());
        }
    }
    keys
}

fn unit() -> BTreeMap<String, Vec<String>> {
    ini(&read("systemd/vrrpd.service"))
}

#[test]
fn the_unit_restarts_watches_and_reloads_the_daemon() {
    let unit = unit();
    for (key, value) in [
        ("Service.Type", "notify"),
        ("Service.NotifyAccess", "main"),
        ("Service.WatchdogSec", "10"),
        ("Service.ExecStart", "/usr/sbin/vrrpd --config /etc/vrrpd/vrrpd.toml"),
        ("Service.ExecReload", "/bin/kill -HUP $MAINPID"),
        ("Service.Restart", "always"),
        ("Service.RestartSec", "100ms"),
        ("Service.KillMode", "mixed"),
        ("Service.LimitMEMLOCK", "infinity"),
        ("Unit.StartLimitIntervalSec", "0"),
        ("Install.WantedBy", "multi-user.target"),
    ] {
        assert_eq!(unit.get(key).map(Vec::as_slice), Some(&[value.to_owned()][..]), "{key}");
    }
    let permanent = &unit["Service.RestartPreventExitStatus"][0];
    assert!(permanent.split(' ').any(|code| code == "78"), "a faulty file is not tried ten times a second");
}

#[test]
fn the_unit_is_stopped_before_the_services_behind_the_address() {
    let after = unit()["Unit.After"].join(" ");
    for service in [
        "network.target",
        "podman.service",
        "docker.service",
        "haproxy.service",
        "nginx.service",
        "named.service",
    ] {
        assert!(after.split(' ').any(|name| name == service), "{service}");
    }
}

/// Whatever the program calls its devices, no other manager of networks may touch them.
#[test]
fn network_managers_leave_the_devices_with_virtual_mac_addresses_alone() {
    let both = |key: &str, file: &str, separator: char| -> Vec<String> {
        let values = ini(&read(file)).remove(key).unwrap_or_else(|| panic!("{file}: no {key}"));
        values[0].split(separator).map(|name| name.trim_start_matches("interface-name:").to_owned()).collect()
    };
    let files = [
        both("device-vrrpd.match-device", "NetworkManager/conf.d/90-vrrpd.conf", ';'),
        both("Match.Name", "systemd/network/05-vrrpd.network", ' '),
        both("Match.OriginalName", "systemd/network/05-vrrpd.link", ' '),
    ];
    for patterns in files {
        assert_eq!(patterns, config::DEVICE_PREFIXES.map(|prefix| format!("{prefix}*")));
    }
    assert_eq!(ini(&read("NetworkManager/conf.d/90-vrrpd.conf"))["device-vrrpd.managed"], ["0"]);
    assert_eq!(ini(&read("systemd/network/05-vrrpd.network"))["Link.Unmanaged"], ["yes"]);
    let link = ini(&read("systemd/network/05-vrrpd.link"));
    assert_eq!((&link["Link.NamePolicy"][0][..], &link["Link.MACAddressPolicy"][0][..]), ("keep", "none"));
}

/// vrrpd writes settings of its interfaces there.
#[test]
fn the_unit_leaves_the_settings_of_the_network_writable() {
    let unit = unit();
    assert!(
        !unit.contains_key("Service.ProtectKernelTunables")
            || unit["Service.ReadWritePaths"].contains(&"/proc/sys/net".to_owned())
    );
}

#[test]
fn the_unit_runs_without_root_and_with_five_capabilities() {
    let unit = unit();
    let mut granted: Vec<&str> = unit["Service.AmbientCapabilities"][0].split(' ').collect();
    granted.sort_unstable();
    assert_eq!(granted, ["CAP_KILL", "CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_SETGID", "CAP_SETUID"]);
    assert_eq!(unit["Service.AmbientCapabilities"], unit["Service.CapabilityBoundingSet"]);
    assert_eq!(unit["Service.NoNewPrivileges"], ["yes"]);
    assert_eq!(unit["Service.LimitRTPRIO"], ["10"], "the priority that vrrpd asks for");
    // On a systemd that does not know the group, a list of what is allowed would allow nothing.
    assert!(unit["Service.SystemCallFilter"].iter().all(|list| list.starts_with('~')));
    for forbidden in ["RestrictRealtime", "ProtectProc", "ProcSubset"] {
        assert!(
            !unit.contains_key(&format!("Service.{forbidden}")),
            "vrrpd needs what {forbidden} takes away"
        );
    }
}

/// VRRP itself, and what any service may have as its address.
#[test]
fn the_unit_lets_through_what_vrrp_sends_and_what_checks_may_ask() {
    let unit = unit();
    assert_eq!(unit["Service.IPAddressDeny"], ["any"]);
    let allowed = &unit["Service.IPAddressAllow"][0];
    let within = |address: &str| {
        let address: std::net::IpAddr = address.parse().expect("an address");
        allowed.split(' ').any(|prefix| {
            let (network, length) = prefix.split_once('/').expect("a prefix");
            let length: u32 = length.parse().expect("a number");
            match (address, network.parse().expect("an address")) {
                (std::net::IpAddr::V4(address), std::net::IpAddr::V4(network)) => {
                    (address.to_bits() ^ network.to_bits()) >> (32 - length) == 0
                }
                (std::net::IpAddr::V6(address), std::net::IpAddr::V6(network)) => {
                    (address.to_bits() ^ network.to_bits()) >> (128 - length) == 0
                }
                _ => false,
            }
        })
    };
    for address in [
        "0.0.0.0",
        "10.0.0.1",
        "127.0.0.1",
        "169.254.1.1",
        "172.16.0.1",
        "192.0.2.1",
        "198.51.100.1",
        "203.0.113.1",
        "223.255.255.255",
        "224.0.0.18",
        "224.0.0.22",
        "239.1.2.3",
        "::",
        "::1",
        "::ffff:192.0.2.1",
        "64:ff9b::1",
        "2001:db8::1",
        "2620::1",
        "fd00::1",
        "fe80::1",
        "ff02::12",
        "ff02::1:ff00:1",
        "ff05::2",
    ] {
        assert!(within(address), "{address}");
    }
    assert!(!within("255.255.255.255") && !within("4000::1"));
}

/// What is left is told in the unit itself.
#[test]
fn systemd_finds_little_exposure_in_the_unit() {
    let unit = packaging("systemd/vrrpd.service");
    let mut command = Command::new("systemd-analyze");
    command.args(["security", "--offline=yes", "--no-pager", "--threshold=26"]).arg(&unit);
    let output = match command.output() {
        Ok(output) => output,
        Err(error) => return eprintln!("SKIPPED: systemd-analyze: {error}"),
    };
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "more than 2.6 of 10:\n{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = read("systemd/vrrpd.service");
    for line in said.lines().filter(|line| line.starts_with('\u{2717}')) {
        let key = line.split_whitespace().nth(1).expect("a key").trim_end_matches('=');
        let words = match key.split_once("=~") {
            Some(("SystemCallFilter", group)) => group,
            Some(("CapabilityBoundingSet", "CAP_SET(UID|GID|PCAP)")) => "CAP_SETUID",
            Some(("CapabilityBoundingSet", "CAP_NET_(BIND_SERVICE|BROADCAST|RAW)")) => "CAP_NET_RAW",
            Some(("CapabilityBoundingSet", right)) => right,
            Some((other, _)) => other,
            None => key.split("=/").next().expect("the first of a split"),
        };
        let counted = text.split("counts what is left").nth(1).expect("the list is there");
        assert!(counted.contains(words), "{words} is not explained: {line}");
    }
}

#[test]
fn the_unit_runs_as_an_account_that_is_made() {
    let accounts = read("sysusers.d/vrrpd.conf");
    let made: Vec<&str> =
        accounts.lines().filter_map(|line| line.strip_prefix("u ")?.split(' ').next()).collect();
    assert_eq!(made, ["vrrpd", "vrrpd-check"]);
    let unit = unit();
    assert_eq!(
        (&unit["Service.User"][0], &unit["Service.Group"][0]),
        (&made[0].to_owned(), &made[0].to_owned())
    );
}

#[test]
fn the_unit_makes_the_directories_that_are_the_default() {
    let (config, _) = config::parse("minimal", SHORTEST).expect("the file is right");
    let unit = unit();
    assert_eq!(config.daemon.runtime_dir, Path::new("/run").join(&unit["Service.RuntimeDirectory"][0]));
    assert_eq!(config.daemon.state_dir, Path::new("/var/lib").join(&unit["Service.StateDirectory"][0]));
    assert!(read("tmpfiles.d/vrrpd.conf").contains(&format!("d {} ", config.daemon.state_dir.display())));
}

#[test]
fn systemd_accepts_the_unit() {
    let unit = packaging("systemd/vrrpd.service");
    let output = match Command::new("systemd-analyze").arg("verify").arg("--man=no").arg(&unit).output() {
        Ok(output) => output,
        Err(error) => return eprintln!("SKIPPED: systemd-analyze: {error}"),
    };
    let said = String::from_utf8_lossy(&output.stderr);
    let complaints: Vec<&str> = said
        .lines()
        .filter(|line| line.contains("vrrpd.service"))
        // The daemon is not installed where it is built.
        .filter(|line| !line.contains("/usr/sbin/vrrpd is not executable"))
        .collect();
    assert!(complaints.is_empty(), "{complaints:#?}");
}

// The manual page.

const SHORTEST: &str =
    "[virtual_router.a]\ninterface = \"eth0\"\nvrid = 201\naddresses = [\"192.0.2.201\"]\n";

/// Text of each key under `table.key`, from `.It Ic key` to the end of its entry.
fn manual() -> BTreeMap<String, String> {
    let page = read("man/vrrpd.toml.5").replace("\\(dq", "\"");
    let mut keys: BTreeMap<String, String> = BTreeMap::new();
    let mut table = String::new();
    let mut key = String::new();
    for line in page.lines() {
        if let Some(name) = line.strip_prefix(".Ss ") {
            table = name.trim_matches(['[', ']']).trim_end_matches(".NAME").to_owned() + ".";
        } else if line.starts_with(".Sh ") {
            table.clear();
        } else if let Some(item) = line.strip_prefix(".It Ic ") {
            key = format!("{table}{}", item.split(' ').next().unwrap_or(item));
            assert!(keys.insert(key.clone(), String::new()).is_none(), "{key} is described twice");
        } else if let Some(text) = keys.get_mut(&key) {
            text.push_str(line);
            text.push('\n');
        }
    }
    keys
}

#[test]
fn the_manual_describes_the_keys_that_the_program_knows() {
    let mut known = Vec::new();
    for (table, keys) in config::TABLES {
        for key in *keys {
            match (*table, key.support) {
                // The tables themselves are headings.
                ("", Support::Full) => {}
                ("", _) => known.push(key.name.to_owned()),
                _ => known.push(format!("{table}.{}", key.name)),
            }
        }
    }
    known.sort();
    let described: Vec<String> = manual().into_keys().collect();
    assert_eq!(described, known);
}

/// Every default that the program fills in stands in the manual with the same value.
#[test]
fn the_manual_has_the_defaults_of_the_program() {
    let text = format!(
        "{SHORTEST}\n[interface.eth0]\n[check.e]\nexec = [\"/bin/true\"]\n[check.h]\nhttp = {{ url = \"https://192.0.2.193/\" }}\n\
         [check.s]\ns3 = {{ url = \"https://192.0.2.193/a/b\" }}\n\
         [check.r]\nregistry = {{ url = \"https://192.0.2.193\", canary = [\"a/b:c\"] }}\n\
         [check.c]\nchart_repository = {{ url = \"https://192.0.2.193\" }}\ninterval = \"1s\"\n\
         [check.p]\nregistry_parity = {{ url = \"https://192.0.2.193\", peer = {{ url = \"https://192.0.2.194\" }} }}\n\
         interval = \"1s\"\non_failure = \"demote\"\n\
         [check.d]\ndns = {{ server = \"192.0.2.192:53\", name = \"a.example.com\" }}\non_failure = \"demote\"\n\
         [check.n]\nhosts = {{ absent = [\"a.example.com\"] }}\non_failure = \"demote\"\n\
         [check.i]\nping = {{ targets = [\"192.0.2.1\"] }}\n[check.g]\ngateway = {{}}\n\
         [check.f]\nfile = {{ path = \"/run/maintenance\" }}\n[check.o]\nprocess = {{ name = \"haproxy\" }}\n\
         [hook.h]\non = [\"active\"]\nexec = [\"/bin/true\"]\n\
         [dns_update.d]\nvirtual_router = \"a\"\nserver = \"192.0.2.192\"\nzone = \"example.net\"\n\
         name = \"www.example.net\"\nvalue = \"192.0.2.193\"\n\
         tsig = {{ name = \"key\", secret_file = \"/etc/vrrpd/tsig.key\" }}\n"
    );
    let given: toml::Table = text.parse().expect("the text is TOML");
    let (config, _) = config::parse("defaults", &text).expect("the text is a configuration");
    let full: toml::Table = config::to_toml(&config).parse().expect("what is written is TOML");

    let mut defaults = Vec::new();
    filled_in("daemon", &full["daemon"], None, &mut defaults);
    for kind in ["interface", "virtual_router", "check", "hook", "dns_update"] {
        for (name, table) in full[kind].as_table().expect("a table of tables") {
            filled_in(kind, table, Some(&given[kind][name]), &mut defaults);
        }
    }
    let manual = manual();
    assert!(defaults.len() > 30, "{defaults:?}");
    for (key, value) in defaults.iter().filter(|(key, _)| key != "daemon.node") {
        let text = &manual[key];
        assert!(
            text.contains(&format!("Default\n.Li {value} .\n")),
            "{key} has the default {value}, but\n{text}"
        );
    }
}

fn filled_in(
    path: &str,
    full: &toml::Value,
    given: Option<&toml::Value>,
    defaults: &mut Vec<(String, String)>,
) {
    for (key, value) in full.as_table().expect("a table") {
        let given = given.and_then(|given| given.get(key));
        match value {
            toml::Value::Table(_) => filled_in(key, value, given, defaults),
            _ if given.is_none() => defaults.push((format!("{path}.{key}"), value.to_string())),
            _ => {}
        }
    }
}

#[test]
fn the_manual_is_free_of_faults() {
    let page = packaging("man/vrrpd.toml.5");
    match Command::new("mandoc").args(["-T", "lint", "-W", "warning"]).arg(&page).output() {
        Ok(output) => assert!(output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stdout)),
        Err(error) => eprintln!("SKIPPED: mandoc: {error}"),
    }
}
