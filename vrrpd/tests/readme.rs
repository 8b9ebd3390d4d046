//! What the README says of the program, where it would grow old unnoticed.

use std::collections::BTreeSet;
use std::path::Path;

use clap::CommandFactory;
use vrrpd::config::{Support, TABLES};

fn read(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What stands between two phrases.
fn between<'a>(text: &'a str, from: &str, to: &str) -> &'a str {
    let (_, rest) = text.split_once(from).expect("the README has the beginning");
    rest.split_once(to).expect("and the end").0
}

#[test]
fn what_is_not_there_yet_is_not_there() {
    let readme = read("README.md");
    let missing = between(&readme, "**Not there yet.**", "## ");
    let quoted: BTreeSet<&str> = missing.split('`').skip(1).step_by(2).collect();
    assert!(quoted.len() > 3, "{quoted:?}");
    let commands = vrrpd::ctl::Args::command();
    for words in quoted {
        let key = words.split(" =").next().expect("a split has a first part");
        let mut known = TABLES.iter().flat_map(|(_, keys)| *keys).filter(|known| known.name == key);
        assert!(!known.any(|known| known.support == Support::Full), "the program reads {key}");
        let mut names = words.trim_start_matches("vrrpctl ").split(' ');
        let found = names.try_fold(&commands, |command, name| command.find_subcommand(name));
        assert!(found.is_none(), "vrrpctl has {words}");
    }
}

#[test]
fn the_packages_that_the_tests_need_are_named() {
    let (readme, run) = (read("README.md"), read("tests/run"));
    let told: BTreeSet<&str> =
        between(&readme, "what the tests need (", ")").split([',', ' ', '\n']).collect();
    let needs = run
        .lines()
        .filter_map(|line| line.split_once("needs=(").or_else(|| line.split_once("needs+=(")))
        .map(|(_, rest)| rest);
    let pairs = needs.flat_map(|list| list.trim_end_matches(')').split(' '));
    let packages: BTreeSet<&str> =
        pairs.map(|pair| pair.split_once(':').expect("program:package").1).collect();
    assert!(packages.len() > 3, "{packages:?}");
    assert_eq!(told.into_iter().filter(|word| !word.is_empty()).collect::<BTreeSet<_>>(), packages);
}
