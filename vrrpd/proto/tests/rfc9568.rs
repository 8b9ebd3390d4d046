//! RFC 9568 by its sections, through the public interface of the node. `docs/rfc9568.md` lists what each
//! test stands for.

#[path = "rfc9568/receiving.rs"]
mod receiving;
mod scene;
#[path = "rfc9568/state_machine.rs"]
mod state_machine;
mod vectors;

#[test]
fn each_name_in_the_ledger_is_a_test() {
    let package = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| std::fs::read_to_string(package.join(path)).unwrap_or_default();
    let ledger = read("../../docs/rfc9568.md");
    // Every second piece is between back quotes.
    let quoted: Vec<&str> = ledger.split('`').skip(1).step_by(2).collect();
    let mut tests = 0;
    for (file, name) in quoted.iter().filter_map(|quoted| quoted.split_once("::")) {
        let folders = ["tests", "tests/rfc9568", "src/router/tests"];
        let sources = folders.map(|folder| read(&format!("{folder}/{file}.rs")));
        let test = format!("#[test]\nfn {name}() {{");
        assert!(sources.iter().any(|source| source.contains(&test)), "{file}::{name}");
        tests += 1;
    }
    for path in quoted.iter().filter(|quoted| quoted.starts_with("src/")) {
        assert!(package.join(path).is_file(), "{path}");
    }
    assert!(tests > 40, "{tests}");
}
