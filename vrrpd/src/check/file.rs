//! The `file` probe: what is there, how old it is, and what stands in it.

use std::fs::Metadata;
use std::io::ErrorKind;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::say::rounded;
use crate::config::File;
use crate::launcher::printable;

/// Octets of a file that are looked at.
const CAP: u64 = 64 * 1024;

/// Octets of what stands in a file that are shown.
const SHOWN: usize = 40;

/// One look.
pub(super) fn look(file: &File) -> Result<String, String> {
    let shown = file.path.display();
    match std::fs::metadata(&file.path) {
        Ok(_) if file.absent => Err(format!("{shown} exists")),
        Ok(metadata) => {
            let mut said = format!("{shown} exists");
            if let Some(most) = file.max_age {
                said = young(&file.path, &metadata, most)?;
            }
            if file.min.is_some() || file.max.is_some() || file.contains.is_some() {
                said = content(file)?;
            }
            Ok(said)
        }
        // Of a path through something that is no directory, there is nothing either.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            let said = format!("{shown} does not exist");
            if file.absent { Ok(said) } else { Err(said) }
        }
        Err(error) => Err(format!("cannot look at {shown}: {error}")),
    }
}

fn young(path: &Path, metadata: &Metadata, most: Duration) -> Result<String, String> {
    let shown = path.display();
    let modified = metadata.modified().map_err(|error| format!("{shown} has no time of change: {error}"))?;
    let (age, word) = match SystemTime::now().duration_since(modified) {
        Ok(age) => (age, "ago"),
        // A little ahead is another clock; far ahead, it would pass for ever.
        Err(ahead) => (ahead.duration(), "from now, by the clock of this node"),
    };
    let said = format!("{shown} was changed {} {word}", rounded(age));
    if age <= most { Ok(said) } else { Err(format!("{said}; max_age is {}", rounded(most))) }
}

fn content(file: &File) -> Result<String, String> {
    let shown = file.path.display();
    let octets =
        super::read_capped(&file.path, CAP).map_err(|error| format!("cannot read {shown}: {error}"))?;
    let text = String::from_utf8_lossy(&octets);
    let begins = printable(&octets, SHOWN);
    if let Some(wanted) = &file.contains {
        if !text.contains(wanted.as_str()) {
            return Err(format!("{shown} does not contain {wanted:?}; it begins with {begins:?}"));
        }
        return Ok(format!("{shown} contains {wanted:?}"));
    }
    let number: i64 =
        text.trim().parse().map_err(|_| format!("{shown} holds no integer; it begins with {begins:?}"))?;
    let (min, max) = (file.min.unwrap_or(i64::MIN), file.max.unwrap_or(i64::MAX));
    let said = format!("{shown} holds {number}");
    if number < min {
        return Err(format!("{said}; min is {min}"));
    }
    if number > max {
        return Err(format!("{said}; max is {max}"));
    }
    Ok(said)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::scratch::Scratch;
    use super::*;

    fn file(path: &Path) -> File {
        File { path: path.to_owned(), absent: false, max_age: None, min: None, max: None, contains: None }
    }

    #[test]
    fn a_maintenance_file_must_not_exist() {
        let scratch = Scratch::new();
        let flag = scratch.path("maintenance");
        let absent = File { absent: true, ..file(&flag) };
        assert_eq!(look(&absent), Ok(format!("{} does not exist", flag.display())));
        assert_eq!(look(&file(&flag)), Err(format!("{} does not exist", flag.display())));
        scratch.write("maintenance", "");
        assert_eq!(look(&absent), Err(format!("{} exists", flag.display())));
        assert_eq!(look(&file(&flag)), Ok(format!("{} exists", flag.display())));
        let below = File { absent: true, ..file(&flag.join("below a file")) };
        assert!(look(&below).expect("there cannot be one").ends_with("does not exist"));
    }

    #[test]
    fn what_cannot_be_looked_at_is_a_failure_either_way() {
        let scratch = Scratch::new();
        let circle = scratch.path("circle");
        std::os::unix::fs::symlink(&circle, &circle).expect("the directory is ours");
        for absent in [true, false] {
            let said = look(&File { absent, ..file(&circle) }).expect_err("nobody knows");
            assert!(said.starts_with("cannot look at "), "{said}");
        }
    }

    #[test]
    fn a_heartbeat_must_be_young() {
        let scratch = Scratch::new();
        let beat = scratch.write("beat", "");
        let young = File { max_age: Some(Duration::from_secs(60)), ..file(&beat) };
        let set = |time| {
            let handle = fs::File::options().write(true).open(&beat).expect("it was written");
            handle.set_modified(time).expect("it is ours");
        };
        assert!(look(&young).expect("it is new").contains(" was changed "));
        set(SystemTime::now() - Duration::from_secs(90));
        let said = look(&young).expect_err("it is old");
        assert!(said.ends_with("was changed 90 s ago; max_age is 60 s"), "{said}");
        set(SystemTime::now() + Duration::from_secs(7200));
        let said = look(&young).expect_err("it would be young for ever");
        assert!(said.contains("from now, by the clock of this node; max_age is 60 s"), "{said}");
    }

    #[test]
    fn a_number_must_be_in_range() {
        let scratch = Scratch::new();
        let number = scratch.write("number", " -7\n");
        let range = |min, max| look(&File { min, max, ..file(&number) });
        assert!(range(Some(-7), Some(-7)).expect("both ends belong to it").ends_with(" holds -7"));
        assert!(range(Some(-6), None).expect_err("too small").ends_with(" holds -7; min is -6"));
        assert!(range(None, Some(-8)).expect_err("too great").ends_with(" holds -7; max is -8"));
        scratch.write("number", "seven\n");
        let said = range(Some(0), None).expect_err("a word");
        assert!(said.ends_with("holds no integer; it begins with \"seven\""), "{said}");
    }

    #[test]
    fn a_text_must_stand_in_it() {
        let scratch = Scratch::new();
        let state = scratch.write("state", "role: primary\n");
        let contains = |text: &str| look(&File { contains: Some(text.to_owned()), ..file(&state) });
        assert!(contains("primary").is_ok());
        let said = contains("replica").expect_err("another role");
        assert!(said.ends_with("does not contain \"replica\"; it begins with \"role: primary\""), "{said}");
    }

    #[test]
    fn what_is_no_regular_file_is_not_read() {
        let scratch = Scratch::new();
        let fifo = scratch.path("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).expect("the directory is ours");
        for path in [fifo.as_path(), Path::new("/dev/zero"), Path::new("/")] {
            let said = look(&File { min: Some(0), ..file(path) }).expect_err("no file");
            assert!(said.starts_with(&format!("cannot read {}", path.display())), "{said}");
        }
    }
}
