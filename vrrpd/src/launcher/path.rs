//! Whether a program is the one that the administrator put there.
//!
//! Every directory on the way from `/` to the program, along the path as given and along each
//! symbolic link in it, and the program itself must belong to root or to the user it runs as, and be
//! writable by nobody but its owner. Whoever could write there could run a program of his own as
//! that user. A sticky directory such as `/tmp` is no exception: the name belongs to the first who
//! takes it. What an interpreter is told in its arguments is not looked at, so a script is better
//! given by its own path than as an argument of a shell.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use nix::unistd::{Uid, User};

/// As many symbolic links as the kernel follows (path_resolution(7)).
const MAX_LINKS: usize = 40;

/// What is looked at in one file.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    kind: Kind,
    uid: u32,
    mode: u32,
}

#[derive(Clone, Debug)]
enum Kind {
    Directory,
    File,
    Link(PathBuf),
    Other,
}

/// Reads the [`Facts`] of a file, without following a link.
pub(super) fn look(path: &Path) -> io::Result<Facts> {
    let metadata = fs::symlink_metadata(path)?;
    let kind = match metadata.file_type() {
        kind if kind.is_symlink() => Kind::Link(fs::read_link(path)?),
        kind if kind.is_dir() => Kind::Directory,
        kind if kind.is_file() => Kind::File,
        _ => Kind::Other,
    };
    Ok(Facts { kind, uid: metadata.uid(), mode: metadata.mode() })
}

/// Judges `program`, which is to run as `user`; the error names what is wrong and what to type.
pub(super) fn vet(
    program: &Path,
    user: Uid,
    look: impl Fn(&Path) -> io::Result<Facts>,
) -> Result<(), String> {
    if !program.is_absolute() {
        return Err(format!("{} is not an absolute path: give it from / on", program.display()));
    }
    let root = PathBuf::from("/");
    judge(&root, &facts_of(&root, &look)?, user)?;
    let mut at = root.clone();
    let mut ahead: VecDeque<OsString> = steps(program);
    let mut links = 0;
    while let Some(step) = ahead.pop_front() {
        if step == ".." {
            at.pop();
            continue;
        }
        let next = at.join(&step);
        let facts = facts_of(&next, &look)?;
        match &facts.kind {
            // A link needs no judgement: who may make one here has been judged with the directory.
            Kind::Link(target) => {
                links += 1;
                if links > MAX_LINKS {
                    return Err(format!("{} leads through too many symbolic links", program.display()));
                }
                if target.is_absolute() {
                    at.clone_from(&root);
                }
                let mut detour = steps(target);
                detour.append(&mut ahead);
                ahead = detour;
            }
            Kind::Directory => {
                judge(&next, &facts, user)?;
                at = next;
            }
            Kind::File if ahead.is_empty() => return judge(&next, &facts, user),
            Kind::File => return Err(format!("{} is not a directory", next.display())),
            Kind::Other => return Err(format!("{} is not a regular file", next.display())),
        }
    }
    Err(format!("{} is a directory, not a program", program.display()))
}

fn facts_of(path: &Path, look: impl Fn(&Path) -> io::Result<Facts>) -> Result<Facts, String> {
    look(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => format!("{} does not exist", path.display()),
        _ => format!("cannot look at {}: {error}", path.display()),
    })
}

fn steps(path: &Path) -> VecDeque<OsString> {
    let named = path.components().filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir));
    named.map(|part| part.as_os_str().to_owned()).collect()
}

fn judge(path: &Path, facts: &Facts, user: Uid) -> Result<(), String> {
    let shown = path.display();
    if facts.uid != 0 && facts.uid != user.as_raw() {
        return Err(format!(
            "{shown} belongs to {}, who could put another program in its place; type: chown root {shown}",
            name_of(Uid::from_raw(facts.uid))
        ));
    }
    let who = match facts.mode & 0o022 {
        0 => return Ok(()),
        0o020 => "its group",
        _ => "everybody",
    };
    Err(format!(
        "{shown} is writable by {who}, who could put another program in its place; type: chmod go-w {shown}"
    ))
}

/// A user's name, or the number of one that has no name.
pub(super) fn name_of(uid: Uid) -> String {
    match User::from_uid(uid) {
        Ok(Some(user)) => format!("user {}", user.name),
        _ => format!("uid {uid}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHECKER: u32 = 4321;

    fn directory(uid: u32, mode: u32) -> Facts {
        Facts { kind: Kind::Directory, uid, mode }
    }

    fn file(uid: u32, mode: u32) -> Facts {
        Facts { kind: Kind::File, uid, mode }
    }

    fn link(target: &str) -> Facts {
        Facts { kind: Kind::Link(target.into()), uid: 0, mode: 0o777 }
    }

    fn verdict(tree: &[(&str, Facts)], program: &str) -> Result<(), String> {
        vet(Path::new(program), Uid::from_raw(CHECKER), |path| {
            let found = tree.iter().find(|(name, _)| Path::new(name) == path);
            found.map(|(_, facts)| facts.clone()).ok_or_else(|| io::ErrorKind::NotFound.into())
        })
    }

    fn with(extra: &[(&'static str, Facts)]) -> Vec<(&'static str, Facts)> {
        let mut tree = extra.to_vec();
        tree.extend([
            ("/", directory(0, 0o755)),
            ("/etc", directory(0, 0o755)),
            ("/etc/check", file(0, 0o755)),
            ("/tmp", directory(0, 0o1777)),
            ("/tmp/check", file(0, 0o755)),
        ]);
        tree
    }

    #[test]
    fn what_root_or_the_user_owns_alone_is_secure() {
        assert_eq!(verdict(&with(&[]), "/etc/check"), Ok(()));
        let tree = with(&[("/own", directory(CHECKER, 0o755)), ("/own/check", file(CHECKER, 0o700))]);
        assert_eq!(verdict(&tree, "/own/check"), Ok(()));
    }

    #[test]
    fn a_writable_component_is_named_with_the_remedy() {
        let error = verdict(&with(&[]), "/tmp/check").expect_err("anybody may write in /tmp");
        assert!(error.starts_with("/tmp is writable by everybody"), "{error}");
        assert!(error.ends_with("type: chmod go-w /tmp"), "{error}");
        let error = verdict(&with(&[("/etc/check", file(0, 0o775))]), "/etc/check").expect_err("its group");
        assert!(error.starts_with("/etc/check is writable by its group"), "{error}");
        assert!(verdict(&with(&[("/", directory(0, 0o777))]), "/etc/check").is_err());
    }

    #[test]
    fn a_stranger_who_owns_a_component_is_named() {
        let error =
            verdict(&with(&[("/etc", directory(987_654, 0o755))]), "/etc/check").expect_err("a stranger");
        assert!(error.starts_with("/etc belongs to uid 987654"), "{error}");
        assert!(error.ends_with("type: chown root /etc"), "{error}");
    }

    #[test]
    fn links_are_followed_and_judged_along_the_way() {
        let tree = with(&[
            ("/bin", link("usr/bin")),
            ("/usr", directory(0, 0o755)),
            ("/usr/bin", directory(0, 0o755)),
            ("/usr/bin/true", file(0, 0o755)),
        ]);
        assert_eq!(verdict(&tree, "/bin/true"), Ok(()));
        let tree = with(&[("/etc/link", link("/tmp/check"))]);
        assert!(verdict(&tree, "/etc/link").expect_err("it leads to /tmp").starts_with("/tmp is writable"));
        let tree = with(&[("/etc/up", link("../tmp/../etc/check"))]);
        assert!(verdict(&tree, "/etc/up").is_err(), "the detour through /tmp counts");
        let tree = with(&[("/etc/loop", link("loop"))]);
        assert!(verdict(&tree, "/etc/loop").expect_err("endless").contains("too many symbolic links"));
    }

    #[test]
    fn only_a_regular_file_at_the_end_of_an_absolute_path_is_a_program() {
        assert!(verdict(&with(&[]), "check").expect_err("relative").contains("not an absolute path"));
        assert!(verdict(&with(&[]), "/etc/missing").expect_err("missing").contains("does not exist"));
        assert!(verdict(&with(&[]), "/etc").expect_err("directory").contains("is a directory"));
        assert!(verdict(&with(&[]), "/etc/check/x").expect_err("a file").contains("is not a directory"));
        let pipe = Facts { kind: Kind::Other, uid: 0, mode: 0o644 };
        assert!(verdict(&with(&[("/etc/pipe", pipe)]), "/etc/pipe").expect_err("fifo").contains("regular"));
    }
}
