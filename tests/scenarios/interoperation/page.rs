//! `docs/interoperation.md`: the table of what passed.
//!
//! A run of all rows writes it to the file that `INTEROPERATION_PAGE` names, with the client's longest
//! waits; a test holds the page in the repository to the rows that there are.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use crate::ROWS;
use crate::setting::Software;
use crate::story::{Row, Waits};

static PASSED: Mutex<BTreeMap<&str, Waits>> = Mutex::new(BTreeMap::new());

/// Notes a row. The last one of all writes the page.
pub(crate) fn passed(row: &Row, waits: Waits) {
    let mut passed = PASSED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    passed.insert(row.name, waits);
    if passed.len() == ROWS.len()
        && let Some(file) = std::env::var_os("INTEROPERATION_PAGE")
    {
        let file = repository().join(file);
        std::fs::write(&file, page(&passed))
            .unwrap_or_else(|e| panic!("cannot write {}: {e}", file.display()));
    }
}

const HEAD: &str = "# Beside keepalived and FRR

Each row is a group on one segment, in which the daemon named first has the highest priority. All of these happen, in
this order, and after each step exactly one router holds the address, answers the client, and advertises:
the group starts; the first router is stopped and started; loses its power and starts again; fails (a check; with FRR, which has
none, the cable) and is well again; the second is stopped and started. After the start and at the end nobody flaps for 20 intervals.

The figures are the longest that a client waited for an answer in that step, asking each millisecond, in ms, from one run
on a shared machine with two cores. When a router stops or fails, vrrpd answers until its successor does; keepalived and
FRR do not. A crash costs up to three intervals and Skew_Time with any daemon. Waits of seconds behind FRR are its own: it
announces an address once, when it becomes Active (over IPv6 before its first advertisement), and not at all when it was
Active behind a cable that was out; a client that still has the other MAC address asks again after some seconds.

Debian's keepalived and FRR speak IPv4's checksum with the pseudo-header only; the other form is shown between two vrrpd, the
second of which finds out. vrrpd has the virtual MAC address in the rows that say so, FRR has it always.

This page is written by the test run, `tests/scenarios/interoperation/`:
`INTEROPERATION_PAGE=docs/interoperation.md tests/run --test interoperation`. The name of a row is the test's.

";

const TABLE: &str =
    "| format | by falling priority | stop | start | crash | start | fault | well again | test |
|---|---|---|---|---|---|---|---|---|
";

fn page(passed: &BTreeMap<&str, Waits>) -> String {
    let mut page = HEAD.to_owned();
    // What is not installed has no row either.
    let _ = writeln!(page, "Versions: {}.\n", versions().join(", "));
    page += TABLE;
    for row in ROWS {
        let waits = passed.get(row.name).copied().unwrap_or_default();
        let Waits { stop, start, crash, restart, fault, recovery } = waits;
        let figures = [stop, start, crash, restart, fault, recovery].map(ms).join(" | ");
        let _ = writeln!(page, "{} {figures} | `{}` |", key(row), row.name);
    }
    page
}

/// The part of a row that no run changes.
fn key(row: &Row) -> String {
    let software: Vec<&str> = row.software.iter().map(|software| software.name()).collect();
    format!("| {} | {} |", row.title, software.join(", "))
}

fn ms(wait: Duration) -> String {
    let ms = wait.as_secs_f64() * 1000.0;
    if ms < 10.0 { format!("{ms:.1}") } else { format!("{ms:.0}") }
}

impl Software {
    fn name(self) -> &'static str {
        match self {
            Self::Vrrpd => "vrrpd",
            Self::Keepalived => "keepalived",
            Self::Frr => "FRR",
        }
    }
}

fn repository() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn versions() -> Vec<String> {
    let first_line = |program: &str| {
        let output = Command::new(program).arg("--version").output().ok()?;
        let text = [output.stdout, output.stderr].concat();
        String::from_utf8_lossy(&text).lines().next().map(str::to_owned)
    };
    let mut versions: Vec<String> =
        ["keepalived", "/usr/lib/frr/vrrpd"].into_iter().filter_map(first_line).collect();
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    versions.push(format!("Linux {}", kernel.trim()));
    versions
}

#[test]
fn the_page_has_a_line_for_each_row_and_no_other() {
    let page = std::fs::read_to_string(repository().join("docs/interoperation.md"));
    let page = page.expect("the page is in the repository");
    let test_of = |line: &str| line.rsplit('`').nth(1).map(str::to_owned);
    let lines: Vec<&str> = page.lines().filter(|line| line.starts_with("| VRRP")).collect();
    let listed: Vec<_> = lines.iter().filter_map(|line| test_of(line)).collect();
    let run: Vec<_> = ROWS.iter().map(|row| row.name.to_owned()).collect();
    assert_eq!(listed, run, "run INTEROPERATION_PAGE=docs/interoperation.md tests/run --test interoperation");
    for (line, row) in lines.iter().zip(ROWS) {
        assert!(line.starts_with(&key(row)), "{line}\ndoes not begin with\n{}", key(row));
    }
}
