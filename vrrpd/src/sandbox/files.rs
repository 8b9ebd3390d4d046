//! Files that may be written; none may be executed.

use std::fs::{self, File};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use landlock::{
    ABI, AccessFs, BitFlags, CompatLevel, Compatible, PathBeneath, Ruleset, RulesetAttr, RulesetCreatedAttr,
    RulesetError, RulesetStatus,
};

use super::Lack;

/// The settings of the network, of which vrrpd writes those of its interfaces.
const SETTINGS: &str = "/proc/sys/net";

/// Restricts this thread, and says what could not be done.
pub(super) fn restrict(writable: &[&Path]) -> Vec<Lack> {
    let mut told = Vec::new();
    let own = AccessFs::WriteFile
        | AccessFs::Truncate
        | AccessFs::MakeReg
        | AccessFs::MakeSock
        | AccessFs::MakeDir
        | AccessFs::RemoveFile
        | AccessFs::RemoveDir;
    let mut places = Vec::new();
    for &directory in writable {
        match fs::create_dir_all(directory).and_then(|()| open(directory)) {
            Ok(place) => places.push((place, own)),
            Err(error) => told.push(Lack::Directory(format!(
                "cannot use {}: {error}; once that is over, vrrpd has to be started again to write there",
                directory.display()
            ))),
        }
    }
    places.extend(
        open(Path::new(SETTINGS)).ok().map(|place| (place, AccessFs::WriteFile | AccessFs::Truncate)),
    );
    match apply(&places) {
        Ok(RulesetStatus::NotEnforced) => told.push(Lack::OfKernel(
            "this kernel has no landlock (Linux 5.13, in the list of its lsm=): what files vrrpd may write is \
             left to their owners"
                .to_owned(),
        )),
        Ok(_) => {}
        Err(error) => told.push(Lack::OfKernel(format!(
            "what files vrrpd may write is left to their owners: {error}"
        ))),
    }
    // A rule is for an inode, and the kernel forgets those of /proc when nobody has them open.
    std::mem::forget(places);
    told
}

/// For its name alone, without any right to it.
fn open(path: &Path) -> std::io::Result<File> {
    File::options().read(true).custom_flags(libc::O_PATH | libc::O_CLOEXEC).open(path)
}

fn apply(places: &[(File, BitFlags<AccessFs>)]) -> Result<RulesetStatus, RulesetError> {
    let handled = AccessFs::from_write(ABI::V5) | AccessFs::Execute;
    let mut ruleset =
        Ruleset::default().set_compatibility(CompatLevel::BestEffort).handle_access(handled)?.create()?;
    for (place, access) in places {
        ruleset = ruleset.add_rule(PathBeneath::new(place, *access))?;
    }
    Ok(ruleset.restrict_self()?.ruleset)
}
