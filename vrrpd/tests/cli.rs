//! `vrrpd` as it is typed: what it says, and its exit codes.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn vrrpd(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_vrrpd")).args(arguments).output().expect("vrrpd can be executed")
}

fn check(file: &Path) -> Output {
    vrrpd(&["--check", "--config", file.to_str().expect("UTF-8")])
}

fn input(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config").join(name)
}

fn text(octets: &[u8]) -> &str {
    std::str::from_utf8(octets).expect("UTF-8")
}

#[test]
fn check_passes_a_good_file_and_says_what_this_machine_lacks() {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("check_passes.toml");
    let router = "interface = \"nosuch0\"\nvrid = 201\npriority = 150\naddresses = [\"192.0.2.201\"]\n";
    std::fs::write(&file, format!("[virtual_router.bootstrap]\n{router}")).expect("a directory for tests");
    let output = check(&file);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("warning") && said.contains("nosuch0"), "{said}");
}

#[test]
fn check_refuses_a_faulty_file_with_every_fault() {
    let output = check(&input("ranges.toml"));
    let faults = |said: &str| said.lines().filter(|line| line.contains(": error: ")).count();
    let expected = std::fs::read_to_string(input("ranges.expected")).expect("it is beside the input");
    assert_eq!(output.status.code(), Some(78));
    assert!(faults(&expected) > 5);
    assert_eq!(faults(text(&output.stderr)), faults(&expected), "{}", text(&output.stderr));
}

#[test]
fn a_file_that_is_missing_is_a_fault_of_the_configuration() {
    for arguments in [["--check", "--config", "/no/such/file"].as_slice(), &["--config", "/no/such/file"]] {
        let output = vrrpd(arguments);
        assert_eq!(output.status.code(), Some(78), "{arguments:?}");
        assert!(text(&output.stderr).contains("/no/such/file"), "{}", text(&output.stderr));
    }
}

#[test]
fn wrong_usage_and_help_have_their_codes() {
    for wrong in [["--chekc"].as_slice(), &["dem"], &["--check", "demo"], &["--config"]] {
        let output = vrrpd(wrong);
        assert_eq!((output.status.code(), output.stdout.len()), (Some(64), 0), "{wrong:?}");
    }
    for asked in ["--help", "--version"] {
        let output = vrrpd(&[asked]);
        assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0), "{asked}");
        assert!(text(&output.stdout).contains("vrrpd"));
    }
}
