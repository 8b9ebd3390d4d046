//! The `process` probe: is there such a process? It looks into `/proc` and asks the process nothing.

use std::fs;
use std::path::Path;

use super::say::verb;
use crate::config::Process;

/// Octets of a name that the kernel keeps (`TASK_COMM_LEN` without its end).
const COMM_LEN: usize = 15;

/// One look.
pub(super) fn look(process: &Process) -> Result<String, String> {
    look_in(Path::new("/proc"), process)
}

fn look_in(proc: &Path, process: &Process) -> Result<String, String> {
    match &process.pidfile {
        Some(pidfile) => by_pidfile(proc, pidfile, process.name.as_deref()),
        None => by_name(proc, process.name.as_deref().unwrap_or_default(), process.min),
    }
}

fn by_name(proc: &Path, name: &str, min: u32) -> Result<String, String> {
    let entries = fs::read_dir(proc).map_err(|error| format!("cannot list {}: {error}", proc.display()))?;
    let numbers = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let mut pids: Vec<u32> =
        numbers.filter(|pid| alive(proc, *pid).is_some_and(|comm| is(&comm, name))).collect();
    pids.sort_unstable();
    let found = pids.len();
    match pids.first() {
        Some(first) if found >= usize::try_from(min).unwrap_or(usize::MAX) => {
            let which = if found == 1 {
                format!("pid {first}")
            } else {
                format!("{found}, the first is pid {first}")
            };
            Ok(format!("{name} runs: {which}"))
        }
        Some(_) => Err(format!("{found} of {name} {}, min is {min}", verb(found, "run"))),
        None => Err(format!("{name} does not run")),
    }
}

fn by_pidfile(proc: &Path, pidfile: &Path, name: Option<&str>) -> Result<String, String> {
    let shown = pidfile.display();
    let text = super::read_capped(pidfile, 64).map_err(|error| format!("cannot read {shown}: {error}"))?;
    let text = String::from_utf8_lossy(&text);
    let word = text.split_whitespace().next().unwrap_or_default();
    let pid = word.parse::<u32>().ok().filter(|pid| *pid > 0);
    let pid = pid.ok_or_else(|| format!("{shown} holds no pid"))?;
    match (alive(proc, pid), name) {
        (None, _) => Err(format!("pid {pid} of {shown} does not run")),
        (Some(comm), Some(name)) if !is(&comm, name) => {
            Err(format!("pid {pid} of {shown} is {comm}, not {name}: the file is out of date"))
        }
        (Some(comm), _) => Ok(format!("{comm} runs: pid {pid}")),
    }
}

fn is(comm: &str, name: &str) -> bool {
    let kept = name.as_bytes().get(..COMM_LEN).unwrap_or(name.as_bytes());
    comm.as_bytes() == kept
}

/// Name of a process that is neither a zombie nor dead.
fn alive(proc: &Path, pid: u32) -> Option<String> {
    let stat = fs::read(proc.join(pid.to_string()).join("stat")).ok()?;
    let stat = String::from_utf8_lossy(&stat);
    // The name may hold brackets and spaces itself: it ends at the last bracket.
    let (head, state) = stat.rsplit_once(") ")?;
    let (_, comm) = head.split_once(" (")?;
    (!state.starts_with(['Z', 'X', 'x'])).then(|| comm.to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::scratch::Scratch;
    use super::*;

    /// `/proc` with these processes: pid, name, state.
    fn proc(scratch: &Scratch, processes: &[(u32, &str, char)]) {
        for (pid, comm, state) in processes {
            scratch.write(&format!("{pid}/stat"), &format!("{pid} ({comm}) {state} 1 1 1 0 -1"));
        }
        scratch.write("self/stat", "1 (haproxy) R 1");
    }

    fn named(name: &str, min: u32) -> Process {
        Process { name: Some(name.to_owned()), pidfile: None, min }
    }

    #[test]
    fn processes_are_counted_by_name() {
        let scratch = Scratch::new();
        proc(
            &scratch,
            &[(7, "haproxy", 'S'), (31, "haproxy", 'R'), (5, "haproxy", 'Z'), (9, "haproxy2", 'S')],
        );
        let look = |name, min| look_in(&scratch.path(""), &named(name, min));
        assert_eq!(look("haproxy", 1), Ok("haproxy runs: 2, the first is pid 7".to_owned()));
        assert_eq!(look("haproxy", 3), Err("2 of haproxy run, min is 3".to_owned()), "a zombie does not run");
        assert_eq!(look("haproxy2", 1), Ok("haproxy2 runs: pid 9".to_owned()));
        assert_eq!(look("hapro", 1), Err("hapro does not run".to_owned()));
    }

    #[test]
    fn odd_names_are_found() {
        let scratch = Scratch::new();
        proc(&scratch, &[(1, "a) R (b", 'S'), (2, "containerd-shim", 'S')]);
        let look = |name| look_in(&scratch.path(""), &named(name, 1));
        assert_eq!(look("a) R (b"), Ok("a) R (b runs: pid 1".to_owned()));
        assert!(look("containerd-shim-runc-v2").is_ok(), "the kernel keeps 15 octets");
        assert!(look("containerd-shi").is_err());
    }

    #[test]
    fn a_pidfile_names_a_process_that_may_be_another_by_now() {
        let scratch = Scratch::new();
        proc(&scratch, &[(7, "haproxy", 'S'), (8, "sh", 'Z')]);
        let look = |text: &str, name: Option<&str>| {
            let pidfile = Some(scratch.write("pid", text));
            let process = Process { name: name.map(str::to_owned), pidfile, min: 1 };
            let said = look_in(&scratch.path(""), &process);
            said.map_err(|said| said.replace(&scratch.path("pid").display().to_string(), "FILE"))
        };
        assert_eq!(look("7\n", None), Ok("haproxy runs: pid 7".to_owned()));
        assert_eq!(look("7 8\n", Some("haproxy")), Ok("haproxy runs: pid 7".to_owned()));
        let said = "pid 7 of FILE is haproxy, not nginx: the file is out of date";
        assert_eq!(look("7", Some("nginx")), Err(said.to_owned()));
        assert_eq!(look("8", None), Err("pid 8 of FILE does not run".to_owned()));
        assert_eq!(look("9", None), Err("pid 9 of FILE does not run".to_owned()));
        for nonsense in ["", "0", "-1", "haproxy", "99999999999"] {
            assert_eq!(look(nonsense, None), Err("FILE holds no pid".to_owned()), "{nonsense:?}");
        }
        let missing = Process { name: None, pidfile: Some(scratch.path("none")), min: 1 };
        assert!(look_in(&scratch.path(""), &missing).expect_err("missing").starts_with("cannot read "));
    }

    #[test]
    fn this_test_runs() {
        let pidfile = Scratch::new();
        let path = pidfile.write("pid", &std::process::id().to_string());
        assert!(look(&Process { name: None, pidfile: Some(path), min: 1 }).is_ok());
    }
}
