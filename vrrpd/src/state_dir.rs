//! The directory of files that outlive the process: written whole or not at all, and set aside when
//! they are damaged, so that nothing is believed that cannot be read, and nothing of it is lost.
//!
//! A disk that is full or read-only takes away what these files are for and nothing else. What could
//! not be written is tried again by [`StateDir::retry`], and shown until it is.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use nix::unistd::geteuid;

/// A file larger than this is none of ours.
const MOST_OCTETS: u64 = 16 << 20;

/// The files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StateFile {
    /// Addresses that are ours, where the kernel cannot mark them.
    Addresses,
    /// The checksum form that peers were last heard in.
    ChecksumForms,
    /// Drain, freeze, handovers.
    Orders,
    /// Starts that no clean end came before.
    Starts,
    /// Devices and settings of virtual MAC addresses.
    VirtualMac,
}

use StateFile::{Addresses, ChecksumForms, Orders, Starts, VirtualMac};

impl StateFile {
    /// All of them, each at the place of its number.
    const ALL: [Self; 5] = [Addresses, ChecksumForms, Orders, Starts, VirtualMac];

    fn name(self) -> &'static str {
        match self {
            Addresses => "addresses",
            ChecksumForms => "checksum-forms",
            Orders => "orders.json",
            Starts => "starts",
            VirtualMac => "virtual-mac",
        }
    }

    /// What follows when it cannot be read.
    fn lost(self) -> &'static str {
        match self {
            Addresses => "an address that an earlier daemon left is not known to be ours",
            ChecksumForms => "the first advertisements may have a checksum that the peer does not accept",
            Orders => "no drain, freeze or handover of before is in force",
            Starts => "crashes before this start are not counted",
            VirtualMac => "what an earlier daemon changed for virtual MAC addresses is not put back",
        }
    }

    /// Does it count after a loss of power? Then it is on the disk when it is written.
    fn outlives_power(self) -> bool {
        matches!(self, ChecksumForms | Orders)
    }
}

/// The directory; clones share what is known of trouble with it.
#[derive(Clone, Debug)]
pub(crate) struct StateDir {
    path: PathBuf,
    /// For each file what could not be written. Locked while that file is written, so that of two
    /// threads the later one's words stay.
    unwritten: Arc<[Mutex<Option<Unwritten>>; StateFile::ALL.len()]>,
}

#[derive(Debug)]
struct Unwritten {
    octets: Vec<u8>,
    refusal: Refusal,
}

/// Why a file could not be written.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Refusal {
    why: String,
    /// It is this user who may not, which does not pass by itself.
    denied: bool,
}

/// Trouble with a file, for `vrrpctl state`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// It could not be read at a start; it lies here until somebody removes it.
    SetAside(StateFile, PathBuf),
    /// It could not be written, and is tried again.
    Unwritten {
        /// For this reason.
        why: String,
        /// What to do about it.
        remedy: String,
    },
}

impl StateDir {
    /// The directory of this name, which need not be there yet.
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, unwritten: Arc::default() }
    }

    /// Reads a file. One that is damaged is as good as empty; it is set aside, and told as the second
    /// value.
    pub(crate) fn read<T: Default>(
        &self,
        file: StateFile,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> (T, Option<String>) {
        let path = self.path.join(file.name());
        let why = match read(&path) {
            Ok(octets) => {
                let text = String::from_utf8(octets).map_err(|_| "it is no text".to_owned());
                match text.and_then(|text| parse(&text)) {
                    Ok(value) => return (value, None),
                    Err(why) => format!("is damaged ({why})"),
                }
            }
            Err(error) if error.kind() == ErrorKind::NotFound => return (T::default(), None),
            Err(error) => format!("cannot be read ({})", self.words(&error)),
        };
        // Kept for whoever wants to know why; the next one that is written would replace it.
        let aside = path.with_extension("damaged");
        let moved = fs::rename(&path, &aside).err();
        let moved = moved.map(|error| format!(", which failed: {error}")).unwrap_or_default();
        let (path, aside, lost) = (path.display(), aside.display(), file.lost());
        (T::default(), Some(format!("{path} {why}: {lost}; it is set aside as {aside}{moved}")))
    }

    /// As [`read`](Self::read), for a file of [`keep_for_this_boot`](Self::keep_for_this_boot): of one
    /// of another boot nothing is left. `parse` gets the lines; nothing from it means damage.
    pub(crate) fn read_of_this_boot<T: Default>(
        &self,
        file: StateFile,
        parse: impl FnOnce(&mut std::str::Lines<'_>) -> Option<T>,
    ) -> (T, Option<String>) {
        self.read(file, |text| of_boot(text, &boot_id(), parse))
    }

    /// Writes a file so that a crash leaves either the old or the new one; makes the directory.
    ///
    /// # Errors
    ///
    /// A sentence that names the file. The old one is still there, and is not tried to replace again.
    pub(crate) fn write(&self, file: StateFile, octets: &[u8]) -> Result<(), String> {
        let mut unwritten = self.lock(file);
        self.replace(file, octets).map_err(|refusal| self.sentence(&refusal))?;
        *unwritten = None;
        Ok(())
    }

    /// As [`write`](Self::write), for what is true whether it can be written or not: it is tried again.
    /// Gives the reason when this is the first time that it fails.
    pub(crate) fn keep(&self, file: StateFile, octets: &[u8]) -> Option<String> {
        let mut unwritten = self.lock(file);
        let refusal = self.replace(file, octets).err();
        let known = unwritten.take().is_some();
        let told = refusal.as_ref().filter(|_| !known);
        let told = told.map(|refusal| format!("{}; it is tried again", self.sentence(refusal)));
        *unwritten = refusal.map(|refusal| Unwritten { octets: octets.to_owned(), refusal });
        told
    }

    /// As [`keep`](Self::keep), for what a reboot makes untrue.
    pub(crate) fn keep_for_this_boot(&self, file: StateFile, lines: &str) -> Option<String> {
        self.keep(file, format!("{}\n{lines}", boot_id()).as_bytes())
    }

    /// Removes a file.
    pub(crate) fn remove(&self, file: StateFile) {
        *self.lock(file) = None;
        // One that stays on a disk that is read-only was there before as well.
        let _ = fs::remove_file(self.path.join(file.name()));
    }

    /// Is there anything for [`retry`](Self::retry) to do? Waits for nobody.
    pub(crate) fn is_behind(&self) -> bool {
        self.unwritten.iter().any(|file| file.try_lock().is_ok_and(|unwritten| unwritten.is_some()))
    }

    /// Tries again to write what could not be written; true when something was.
    pub(crate) fn retry(&self) -> bool {
        let mut written = false;
        for file in StateFile::ALL {
            // Whoever holds it is writing.
            let Ok(mut unwritten) = self.unwritten[file as usize].try_lock() else { continue };
            if let Some(Unwritten { octets, refusal }) = &mut *unwritten {
                match self.replace(file, octets) {
                    Ok(()) => (*unwritten, written) = (None, true),
                    Err(now) => *refusal = now,
                }
            }
        }
        written
    }

    /// What is wrong just now. Waits for nobody.
    pub(crate) fn troubles(&self) -> Vec<Trouble> {
        let mut troubles = Vec::new();
        for file in StateFile::ALL {
            let aside = self.path.join(file.name()).with_extension("damaged");
            if aside.exists() {
                troubles.push(Trouble::SetAside(file, aside));
            }
            let unwritten = match self.unwritten[file as usize].try_lock() {
                Ok(unwritten) => unwritten,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => continue,
            };
            troubles.extend(unwritten.iter().map(|it| self.trouble(&it.refusal)));
        }
        troubles
    }

    fn lock(&self, file: StateFile) -> MutexGuard<'_, Option<Unwritten>> {
        self.unwritten[file as usize].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn trouble(&self, refusal: &Refusal) -> Trouble {
        let remedy = match refusal.denied {
            true => self.let_in(),
            false => "df and mount show whether its disk is full or read-only; it is tried again by itself"
                .to_owned(),
        };
        Trouble::Unwritten { why: refusal.why.clone(), remedy }
    }

    fn sentence(&self, refusal: &Refusal) -> String {
        let remedy = refusal.denied.then(|| format!("; {}", self.let_in()));
        refusal.why.clone() + &remedy.unwrap_or_default()
    }

    fn replace(&self, file: StateFile, octets: &[u8]) -> Result<(), Refusal> {
        let path = self.path.join(file.name());
        let beside = path.with_extension("new");
        let written = fs::create_dir_all(&self.path)
            .and_then(|()| File::create(&beside))
            .and_then(|mut new| {
                new.write_all(octets)?;
                if file.outlives_power() { new.sync_all() } else { Ok(()) }
            })
            .and_then(|()| fs::rename(&beside, &path))
            .and_then(|()| if file.outlives_power() { File::open(&self.path)?.sync_all() } else { Ok(()) });
        written.map_err(|error| {
            let _ = fs::remove_file(&beside);
            let why = format!("cannot write {}: {error}", path.display());
            Refusal { why, denied: error.kind() == ErrorKind::PermissionDenied }
        })
    }

    /// An error, with the remedy where it is that this user may not.
    fn words(&self, error: &io::Error) -> String {
        let denied = error.kind() == ErrorKind::PermissionDenied;
        self.sentence(&Refusal { why: error.to_string(), denied })
    }

    /// The remedy where this user may not; root may not either, who has no rights here. A directory that
    /// was not there at the start may not be written until the next one, whosever it is by then.
    fn let_in(&self) -> String {
        let (path, uid) = (self.path.display(), geteuid());
        format!("stop vrrpd, mkdir -p {path}, chown -R {uid} {path}, and start it again")
    }
}

impl StateFile {
    /// The words for a person who sees that it was set aside at `path`.
    pub(crate) fn set_aside(self, path: &Path) -> String {
        format!("a damaged file is set aside as {}: {}", path.display(), self.lost())
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    // Whatever else a path may lead to, nothing here waits for it.
    let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let mut octets = Vec::new();
    let read = file.take(MOST_OCTETS + 1).read_to_end(&mut octets)? as u64;
    if read > MOST_OCTETS { Err(ErrorKind::FileTooLarge.into()) } else { Ok(octets) }
}

/// Names the time since the kernel was started.
fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

fn of_boot<T: Default>(
    text: &str,
    boot: &str,
    parse: impl FnOnce(&mut std::str::Lines<'_>) -> Option<T>,
) -> Result<T, String> {
    let mut lines = text.lines();
    let first = lines.next().unwrap_or_default();
    if first.len() != boot.len() || !first.chars().all(|c| c.is_ascii_hexdigit() || c == '-') {
        return Err("it does not begin with the id of a boot".to_owned());
    }
    if first != boot {
        return Ok(T::default());
    }
    parse(&mut lines).ok_or_else(|| "a line of it makes no sense".to_owned())
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// An empty directory of this test's own.
    pub(crate) fn temporary(name: &str) -> PathBuf {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("vrrpd-{name}-{}-{number}", std::process::id()));
        fs::create_dir_all(&directory).expect("a temporary directory");
        directory
    }

    /// A state directory of this test's own.
    pub(crate) fn temporary_state(name: &str) -> StateDir {
        StateDir::new(temporary(name))
    }

    fn text(text: &str) -> Result<String, String> {
        if text.starts_with("good") { Ok(text.to_owned()) } else { Err("not good".to_owned()) }
    }

    #[test]
    fn every_file_has_its_own_place_and_name() {
        for (number, file) in StateFile::ALL.into_iter().enumerate() {
            assert_eq!(file as usize, number);
            let same = StateFile::ALL.into_iter().filter(|other| {
                let stem = |file: StateFile| Path::new(file.name()).file_stem().map(ToOwned::to_owned);
                stem(*other) == stem(file)
            });
            assert_eq!(same.count(), 1, "{}: its draft or its damaged copy is that of another", file.name());
        }
    }

    #[test]
    fn what_was_written_is_read_and_the_directory_is_made() {
        let state = StateDir::new(temporary("state").join("a/b"));
        assert_eq!(state.read(Starts, text), (String::new(), None), "nothing yet");
        state.write(Starts, b"good").expect("the directory is made");
        assert_eq!(state.read(Starts, text), ("good".to_owned(), None));
        state.remove(Starts);
        assert_eq!(state.read(Starts, text), (String::new(), None));
        assert_eq!(state.troubles(), []);
    }

    #[test]
    fn a_file_that_is_damaged_or_none_is_set_aside_and_told_until_it_is_removed() {
        for damage in [&b"bad"[..], b"", b"good\xff"] {
            let directory = temporary("state");
            fs::write(directory.join("checksum-forms"), damage).expect("written");
            let state = StateDir::new(directory.clone());
            let (value, told) = state.read(ChecksumForms, text);
            assert_eq!(value, "");
            let told = told.expect("it is damaged");
            assert!(told.contains("/checksum-forms is damaged (") && told.contains("checksum-forms.damaged"));
            let aside = directory.join("checksum-forms.damaged");
            assert_eq!(fs::read(&aside).expect("it is kept"), damage);
            assert_eq!(state.read(ChecksumForms, text), (String::new(), None), "told once");
            assert_eq!(state.troubles(), [Trouble::SetAside(ChecksumForms, aside.clone())]);
            fs::remove_file(aside).expect("it is there");
            assert_eq!(state.troubles(), []);
        }
        let state = temporary_state("state");
        fs::create_dir(state.path.join("orders.json")).expect("a directory in its place");
        let told = state.read(Orders, text).1.expect("it cannot be read");
        assert!(told.contains("orders.json cannot be read (") && !told.contains("failed"), "{told}");
    }

    #[test]
    fn a_directory_of_another_user_is_told_with_the_remedy() {
        let state = StateDir::new(PathBuf::from("/var/lib/vrrpd"));
        let denied = state.words(&ErrorKind::PermissionDenied.into());
        assert!(
            denied.ends_with(&format!("chown -R {} /var/lib/vrrpd, and start it again", geteuid())),
            "{denied}"
        );
        let refused = |denied| Refusal { why: "cannot write it".to_owned(), denied };
        let Trouble::Unwritten { why, remedy } = state.trouble(&refused(true)) else { panic!("it is") };
        assert_eq!(why, "cannot write it");
        assert!(remedy.contains("chown") && !remedy.contains("by itself"), "{remedy}");
        let Trouble::Unwritten { remedy, .. } = state.trouble(&refused(false)) else { panic!("it is") };
        assert!(!remedy.contains("chown") && remedy.contains("by itself"), "{remedy}");
        assert!(!state.words(&ErrorKind::StorageFull.into()).contains("chown"));
    }

    #[test]
    fn what_cannot_be_written_is_told_once_and_written_when_it_can_be() {
        let state = temporary_state("state");
        let blocking = state.path.join("starts");
        fs::create_dir(&blocking).expect("a directory in its place");
        assert!(state.keep(Starts, b"good 1").expect("told").starts_with("cannot write "));
        assert_eq!(state.keep(Starts, b"good 2"), None, "told before");
        assert!(!state.retry() && state.is_behind());
        assert!(matches!(&state.troubles()[..], [Trouble::Unwritten { why, .. }] if why.contains("starts")));
        fs::remove_dir(&blocking).expect("it is empty");
        assert!(state.retry());
        assert_eq!(state.troubles(), []);
        assert_eq!(state.read(Starts, text).0, "good 2", "the last words count");
        assert!(!state.retry() && !state.is_behind(), "there is nothing to do");
    }

    #[test]
    fn an_order_that_could_not_be_written_is_not_tried_again() {
        let state = temporary_state("state");
        let blocking = state.path.join("orders.json");
        fs::create_dir(&blocking).expect("a directory in its place");
        assert!(state.write(Orders, b"good").expect_err("it is a directory").contains("orders.json"));
        assert_eq!(state.troubles(), [], "who gave the order was told");
        fs::remove_dir(&blocking).expect("it is empty");
        assert!(!state.retry());
        assert_eq!(state.read(Orders, text).0, "");
    }

    #[test]
    fn what_counts_for_a_boot_is_believed_within_it_alone() {
        let here = "01234567-89ab-cdef-0123-456789abcdef";
        let other = here.replace('0', "1");
        let parse = |text: &str| {
            of_boot(text, here, |lines| lines.map(|line| line.parse().ok()).collect::<Option<Vec<u8>>>())
        };
        assert_eq!(parse(&format!("{here}\n1\n2\n")), Ok(vec![1, 2]));
        assert_eq!(parse(&format!("{other}\n1\n")), Ok(vec![]));
        for damaged in ["", "1\n2\n", &here[1..], &format!("{here}\nx\n"), &here.replace('0', "x")] {
            assert!(parse(damaged).is_err(), "{damaged:?}");
        }
        let state = temporary_state("state");
        assert_eq!(state.keep_for_this_boot(Addresses, "7\n"), None);
        let read = state.read_of_this_boot(Addresses, |lines| lines.next().map(str::to_owned));
        assert_eq!(read, ("7".to_owned(), None));
    }
}
