//! The configuration file as a user meets it: files of `tests/config` beside what vrrpd says about
//! them. `UPDATE_EXPECT=1 cargo test -p vrrpd --test config` writes the answers anew.

use std::path::{Path, PathBuf};

use vrrpd::config::{self, Config, Diagnostics, Warnings};

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config")
}

fn inputs() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory()).expect("the directory of inputs exists");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry can be read").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    paths.sort();
    assert!(paths.len() >= 10, "inputs are missing");
    paths
}

fn name(path: &Path) -> String {
    path.file_name().expect("an input has a name").to_string_lossy().into_owned()
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn parse(path: &Path) -> Result<(Config, Warnings), Diagnostics> {
    config::parse(&name(path), &text(path))
}

fn valid() -> Vec<(String, Config)> {
    let all = inputs().into_iter().filter_map(|path| Some((name(&path), parse(&path).ok()?.0)));
    let all: Vec<_> = all.collect();
    assert!(all.len() >= 3, "valid inputs are missing");
    all
}

#[test]
fn every_input_gets_its_answer() {
    let mut wrong = Vec::new();
    for path in inputs() {
        let answer = match parse(&path) {
            Ok((config, warnings)) => format!("{warnings}-- valid, and in full\n{config}"),
            Err(diagnostics) => diagnostics.to_string(),
        };
        let expected = path.with_extension("expected");
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            std::fs::write(&expected, &answer).expect("the directory of inputs can be written");
        }
        if text(&expected) != answer {
            wrong.push(format!("{}:\n{answer}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "other answers than expected:\n{}", wrong.join("\n"));
}

#[test]
fn a_kind_is_called_by_the_key_that_makes_it() {
    let mut kinds = std::collections::BTreeSet::new();
    for (file, config) in valid() {
        let text = config::to_toml_expanded(&config);
        for check in &config.checks {
            let key = check.probe.key();
            kinds.insert(key);
            let table = text.split(&format!("[check.{}]\n", check.name)).nth(1).expect("each check is shown");
            assert!(table.split(' ').next() == Some(key), "{file}: {} is not {key}:\n{table}", check.name);
        }
    }
    assert_eq!(kinds.len(), 17, "every kind but presets, which stand for others: {kinds:?}");
}

#[test]
fn the_effective_configuration_parses_back_to_itself() {
    for (name, config) in valid() {
        let written = config::to_toml(&config);
        let (again, _) = config::parse(&name, &written).unwrap_or_else(|faults| panic!("{faults}{written}"));
        assert_eq!(again, config, "{name}");
        assert!(config::differences(&config, &again).is_empty(), "{name}");
        assert_eq!(config::to_toml(&again), written, "{name}");
    }
}

/// `presets.toml` beside what it stands for, which asks the same in the same way.
#[test]
fn a_preset_is_spelt_out_as_what_it_stands_for() {
    let path = directory().join("presets.toml");
    let (config, _) = parse(&path).expect("the presets are right");
    let written = config::to_toml_expanded(&config);
    let expected = path.with_extension("expanded");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(&expected, &written).expect("the directory of inputs can be written");
    }
    assert_eq!(text(&expected), written);

    let (again, _) = config::parse("expanded", &written).unwrap_or_else(|faults| panic!("{faults}{written}"));
    assert_eq!(again.checks.len(), config.checks.len());
    for (spelt_out, preset) in again.checks.iter().zip(&config.checks) {
        assert!(preset.preset.is_some() && spelt_out.preset.is_none(), "{}", preset.name);
        let alike = config::Check { preset: preset.preset.clone(), ..spelt_out.clone() };
        assert_eq!(alike, *preset);
    }
}

#[test]
fn a_configuration_differs_from_every_other() {
    let all = valid();
    for (name, config) in &all {
        for (other_name, other) in all.iter().filter(|(_, other)| other != config) {
            assert!(!config::differences(config, other).is_empty(), "{name} and {other_name}");
        }
    }
}

/// Every fault of a file with many of them is found in one go, however they are mixed.
#[test]
fn faults_of_different_kinds_come_together() {
    let text = "[virtual_router.a]\ninterface = eth0\nvrid = 300\npriorty = 1\naddresses = [\"x\"]\n";
    let faults = config::parse("vrrpd.toml", text).expect_err("there are faults");
    let messages: Vec<&str> = faults.iter().map(|fault| fault.message.as_str()).collect();
    assert_eq!(
        messages,
        [
            "a string needs quotes",
            "vrid 300 is out of range 1..=255",
            "unknown key \"priorty\" in [virtual_router.a]",
            "addresses: \"x\" is not an address",
        ]
    );
}

#[test]
fn a_whole_line_that_is_unreadable_does_not_look_like_a_missing_one() {
    let text = "[virtual_router.a]\ninterface \"eth0\"\nvrid = 2 01\naddresses = [\"192.0.2.1\"]\nchecks = [\"a\"]\n[check.a\nexec = []\n";
    let shown = config::parse("vrrpd.toml", text).expect_err("there are faults").to_string();
    assert!(!shown.contains("has no interface"), "{shown}");
    assert!(!shown.contains("does not exist"), "{shown}");
}

#[test]
fn the_order_of_the_file_is_kept() {
    let router = |name: &str, last: u8| {
        format!(
            "[virtual_router.{name}]\ninterface = \"eth0\"\nvrid = {last}\naddresses = [\"192.0.2.{last}\"]\n"
        )
    };
    let text = router("zebra", 1) + &router("ant", 2) + &router("mouse", 3);
    let (config, _) = config::parse("vrrpd.toml", &text).expect("the file is right");
    let names: Vec<&str> = config.virtual_routers.iter().map(|router| router.name.as_str()).collect();
    assert_eq!(names, ["zebra", "ant", "mouse"]);
}

#[test]
fn an_advertisement_has_room_for_255_ipv4_and_90_ipv6_addresses() {
    let parse = |prefix: &str, count: usize| {
        let addresses: Vec<String> = (1..=count).map(|n| format!("\"{prefix}{n:x}\"")).collect();
        let text = format!(
            "[virtual_router.a]\ninterface = \"eth0\"\nvrid = 1\naddresses = [{}]\n",
            addresses.join(", ")
        );
        config::parse("vrrpd.toml", &text).map(|(config, _)| config.virtual_routers[0].addresses.len())
    };
    let fault = |prefix: &str, count: usize| {
        let faults = parse(prefix, count).expect_err("there is no room");
        faults.iter().map(|fault| fault.message.clone()).collect::<Vec<_>>()
    };
    assert_eq!(parse("fe80::", 90).ok(), Some(90));
    assert_eq!(fault("fe80::", 91), ["91 addresses are out of range 1..=90"]);

    let ipv4 = |count: u32| {
        let addresses: Vec<String> =
            (1..=count).map(|n| format!("\"198.51.{}.{}\"", n / 250, 1 + n % 250)).collect();
        let text = format!(
            "[virtual_router.a]\ninterface = \"eth0\"\nvrid = 1\naddresses = [{}]\n",
            addresses.join(", ")
        );
        config::parse("vrrpd.toml", &text).map_err(|faults| faults.to_string())
    };
    assert!(ipv4(255).is_ok());
    assert!(ipv4(256).expect_err("there is no room").contains("256 addresses are out of range 1..=255"));
}

#[test]
fn lists_and_tables_are_bounded() {
    let fault = |text: String| {
        let faults = config::parse("vrrpd.toml", &text).expect_err("there is too much");
        faults.iter().map(|fault| fault.message.clone()).collect::<Vec<_>>()
    };
    let router = "[virtual_router.a]\ninterface = \"eth0\"\nvrid = 1\naddresses = [\"192.0.2.1\"]\n";
    let checks = "\"x\", ".repeat(1001);
    assert_eq!(
        fault(format!("{router}checks = [{checks}]\n")),
        ["checks has 1001 entries, out of range 0..=1000"]
    );
    let extra = |most: u32| {
        let address = |n: u32| format!("\"198.51.{}.{}\", ", 100 + n / 256, n % 256);
        let addresses: String = (0..most).map(address).collect();
        format!("{router}extra_addresses = [{addresses}]\n")
    };
    assert!(config::parse("vrrpd.toml", &extra(4096)).is_ok());
    assert_eq!(fault(extra(4097)), ["extra_addresses has 4097 entries, out of range 0..=4096"]);
    let hooks: String =
        (0..4097).map(|n| format!("[hook.h{n}]\non = [\"active\"]\nexec = [\"/bin/true\"]\n")).collect();
    let messages = fault(format!("{router}{hooks}"));
    assert!(messages.contains(&String::from("4097 tables [hook.NAME] are out of range 0..=4096")));
}

/// Tokens of the whole example deleted, doubled, swapped and replaced: the answer is a configuration
/// or at least one error, and never a panic.
#[test]
fn no_mutation_of_a_file_makes_it_panic() {
    let whole = text(&directory().join("whole.toml"));
    let tokens = tokens(&whole);
    let foreign = [
        "",
        "=",
        "[",
        "]",
        "[[",
        "{",
        "}",
        "\"",
        "\"\"\"",
        "'",
        ",",
        ".",
        "#",
        "\n",
        "\r",
        "\0",
        "\u{1b}",
        "\u{feff}",
        "ü",
        "🦀",
        "0",
        "-1",
        "1e999",
        "nan",
        "0x",
        "99999999999999999999",
        "\"\"",
        "\"1s\"",
        "true",
        "[]",
        "{}",
        "1979-05-27",
        "\"\\u0000\"",
        "\"fe80::1\"",
        "virtual_router",
        "a.a.a.a.a",
    ];
    let mut answers = 0;
    let mut check = |mutant: String| {
        answers += 1;
        match config::parse("mutant.toml", &mutant) {
            Ok((config, _)) => {
                let again = config::parse("again.toml", &config::to_toml(&config));
                assert_eq!(again.map(|(again, _)| again).as_ref(), Ok(&config), "{mutant}");
            }
            Err(faults) => {
                let errors = faults.iter().filter(|fault| fault.severity == config::Severity::Error).count();
                assert!(errors > 0, "refused without an error:\n{mutant}");
                assert!(!faults.to_string().is_empty());
            }
        }
    };
    for (index, token) in tokens.iter().enumerate() {
        let before = tokens[..index].concat();
        let after = tokens[index + 1..].concat();
        check(format!("{before}{after}"));
        check(format!("{before}{token}{token}{after}"));
        check(before.clone());
        if let Some(next) = tokens.get(index + 1) {
            check(format!("{before}{next}{token}{}", tokens[index + 2..].concat()));
        }
        // Every token meets every foreign one in turn; all pairs would take minutes.
        for step in 0..4 {
            check(format!("{before}{}{after}", foreign[(index * 4 + step) % foreign.len()]));
        }
    }
    assert!(answers > 3000, "{answers} mutants are too few");
}

/// Words, strings, single signs and gaps.
fn tokens(text: &str) -> Vec<&str> {
    let kind = |c: char| match c {
        c if c.is_alphanumeric() || c == '_' => 0,
        ' ' => 1,
        _ => 2,
    };
    let mut tokens = Vec::new();
    let mut start = 0;
    let mut previous = None;
    for (at, c) in text.char_indices() {
        if previous.is_some_and(|previous| previous != kind(c) || previous == 2) {
            tokens.push(&text[start..at]);
            start = at;
        }
        previous = Some(kind(c));
    }
    tokens.push(&text[start..]);
    tokens
}
