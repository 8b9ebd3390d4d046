//! What the fuzzer kept, for the plain tests that try it again.

use std::path::Path;

/// Gives every file of `tests/fuzz/corpus/TARGET` to `run`; a panic there follows the name of its file.
pub(crate) fn each(target: &str, mut run: impl FnMut(&[u8])) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let found = root.map(|above| above.join("tests/fuzz/corpus").join(target)).find(|path| path.is_dir());
    let directory = found.unwrap_or_else(|| panic!("there is no corpus for {target}"));
    let entries = std::fs::read_dir(&directory).expect("the corpus can be read");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry can be read").path()).collect();
    paths.sort();
    assert!(paths.len() >= 5, "{} is nearly empty", directory.display());
    for path in paths {
        println!("{}", path.display());
        run(&std::fs::read(&path).expect("a file of the corpus can be read"));
    }
}
