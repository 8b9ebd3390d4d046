//! `docs/rfc9568.md` says no more than what is there: tests, files, vectors, and every item once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::vectors::vectors;

/// How many items each group has: C-1.1 to C-1.25, and so on.
const GROUPS: [usize; 13] = [25, 17, 5, 16, 22, 10, 43, 11, 15, 10, 13, 6, 13];
/// A test that stands for more would hardly tell what broke.
const ITEMS_OF_A_TEST: usize = 5;
/// Tests that run each case of a collection stand for any number of items, each with its cases.
const OF_CASES: [(&str, &[&str]); 8] = [
    ("config::every_input_gets_its_answer", &[".toml"]),
    ("neighbours::announcements_are_the_vectors_octet_by_octet", &["L"]),
    ("packets::malformed_vectors_fail_the_check_they_break", &["B"]),
    ("packets::valid_vectors_decode_to_their_fields", &["V2", "V3", "V6"]),
    ("packets::valid_vectors_encode_to_the_same_octets", &["V2", "V3", "V6"]),
    ("receiving::a_malformed_packet_moves_one_counter_and_nothing_else", &["B"]),
    ("receiving::a_valid_packet_is_received_and_moves_no_error_counter_but_a_warning", &["V2", "V3", "V6"]),
    ("state_machine::the_state_machine_follows_the_golden_rows", &["F"]),
];

/// A row of the page, its cells without blanks around them.
struct Row<'a> {
    id: &'a str,
    cells: Vec<&'a str>,
}

impl Row<'_> {
    fn shown_by(&self) -> &str {
        self.cells.last().expect("a row has cells")
    }
}

/// What stands between back quotes.
fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

fn tests_in(cell: &str) -> impl Iterator<Item = &str> {
    quoted(cell).filter(|quoted| quoted.contains("::"))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn page() -> String {
    std::fs::read_to_string(root().join("docs/rfc9568.md")).expect("the ledger is in the repository")
}

fn rows(page: &str) -> Vec<Row<'_>> {
    let cells = |line| -> Option<Vec<&str>> {
        let line: &str = line;
        Some(line.strip_prefix("| ")?.strip_suffix(" |")?.split(" | ").map(str::trim).collect())
    };
    let row = |cells: Vec<_>| Row { id: cells[0], cells };
    page.lines().filter(|line| line.starts_with("| C-")).filter_map(cells).map(row).collect()
}

/// Every Rust source of the repository but what was built, with its path from the root.
fn sources() -> Vec<(String, String)> {
    fn collect(directory: &Path, below: &Path, found: &mut Vec<(String, String)>) {
        let entries = std::fs::read_dir(directory).expect("the repository is readable");
        for path in entries.map(|entry| entry.expect("a directory entry").path()) {
            if path.is_dir() {
                collect(&path, below, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(below).expect("it is below").to_string_lossy().into_owned();
                found.push((name, std::fs::read_to_string(&path).expect("sources are text")));
            }
        }
    }
    let (root, mut found) = (root(), Vec::new());
    for folder in ["vrrpd/src", "vrrpd/tests", "vrrpd/proto", "netlink", "tests"] {
        collect(&root.join(folder), &root, &mut found);
    }
    found
}

/// Does the path end like this, by whole names?
fn ends_with(path: &str, end: &str) -> bool {
    path.strip_suffix(end).is_some_and(|rest| rest.is_empty() || rest.ends_with('/'))
}

/// Is there a `#[test]` of that name in a file of that name?
fn is_test(sources: &[(String, String)], test: &str) -> bool {
    let (file, name) = test.rsplit_once("::").expect("a test is written with its file");
    let file = format!("{}.rs", file.replace("::", "/"));
    let begins = format!("fn {name}() {{");
    sources.iter().filter(|(path, _)| ends_with(path, &file)).any(|(_, source)| {
        let mut lines = source.lines().map(str::trim).rev().skip_while(|line| *line != begins).skip(1);
        lines.next() == Some("#[test]")
    })
}

fn cases_of(test: &str) -> Option<&'static [&'static str]> {
    OF_CASES.iter().find(|(name, _)| *name == test).map(|(_, kinds)| *kinds)
}

#[test]
fn each_item_has_one_row() {
    let page = page();
    let listed: Vec<&str> = rows(&page).iter().map(|row| row.id).collect();
    let numbers = (1..).zip(GROUPS);
    let expected: Vec<String> =
        numbers.flat_map(|(group, count)| (1..=count).map(move |item| format!("C-{group}.{item}"))).collect();
    assert_eq!(expected.len(), 206);
    for (row, expected) in listed.iter().zip(&expected) {
        assert_eq!(row, expected, "missing, doubled or out of order");
    }
    assert_eq!(listed.len(), expected.len());
}

#[test]
fn each_name_in_the_ledger_is_a_test() {
    let (page, sources) = (page(), sources());
    for test in tests_in(&page) {
        assert!(is_test(&sources, test), "{test} is no test");
    }
}

#[test]
fn each_row_has_its_code_and_a_test_or_the_reason_why_not() {
    let (page, sources) = (page(), sources());
    for row in rows(&page) {
        assert_eq!(row.cells.len(), 5, "{}", row.id);
        assert!(row.cells.iter().all(|cell| !cell.is_empty()), "{} has an empty cell", row.id);
        let reason = row.shown_by().split("; ").find_map(|part| part.strip_prefix("not done"));
        let has_reason = reason.is_some_and(|reason| reason.split_once(": ").is_some());
        assert!(
            has_reason || tests_in(row.shown_by()).next().is_some(),
            "{}: neither test nor reason",
            row.id
        );
    }
    for end in quoted(&page).filter(|quoted| quoted.ends_with(".rs") && !quoted.contains('*')) {
        let paths: Vec<_> =
            sources.iter().map(|(path, _)| path).filter(|path| ends_with(path, end)).collect();
        assert_eq!(paths.len(), 1, "{end} is to be the end of one path, not of {paths:?}");
    }
}

/// A change that breaks one line should be told by a test that names few.
#[test]
fn no_test_stands_for_many_items() {
    let page = page();
    let mut items: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let rows = rows(&page);
    for row in &rows {
        for test in tests_in(row.shown_by()) {
            items.entry(test).or_default().insert(row.id);
        }
    }
    for (test, items) in items.iter().filter(|(test, _)| cases_of(test).is_none()) {
        assert!(items.len() <= ITEMS_OF_A_TEST, "{test} stands for {items:?}");
    }
}

#[test]
fn a_test_of_cases_is_named_with_cases_that_exist() {
    let files = ["valid", "malformed", "link", "fsm"];
    let ids: BTreeSet<String> = files
        .iter()
        .flat_map(|file| vectors(file))
        .map(|vector| vector["id"].as_str().expect("an id").to_owned())
        .collect();
    let inputs = root().join("vrrpd/tests/config");
    let page = page();
    for row in rows(&page) {
        // A name, and what is written before the next one.
        let mut pieces = row.shown_by().split('`').skip(1);
        while let (Some(test), cases) = (pieces.next(), pieces.next().unwrap_or_default()) {
            let Some(kinds) = cases_of(test) else { continue };
            let cases: Vec<&str> = cases.split(';').next().unwrap_or_default().split_whitespace().collect();
            assert!(!cases.is_empty(), "{}: {test} without cases", row.id);
            for case in cases {
                let exists = ids.contains(case) || inputs.join(case).is_file();
                let fits =
                    kinds.iter().any(|kind| case.ends_with(kind) || case.split('-').next() == Some(kind));
                assert!(exists && fits, "{}: {test} has no case {case}", row.id);
            }
        }
    }
}
