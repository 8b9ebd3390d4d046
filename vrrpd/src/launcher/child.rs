//! From `fork` to `execve`: the child of the launcher turns into the script.
//!
//! Everything that may hang or fail by the outside world happens here rather than in the launcher:
//! looking up a user (NSS may ask a directory server) and looking at files (which may lie on a dead
//! server). The deadline covers it.

use std::ffi::CString;
use std::fs::{self, File};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::Path;

use caps::{CapSet, Capability};
use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::{self, AccessFlags, Pid, Uid, User};

use super::{Run, path, sys};

/// Where programs look for others.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Users that a script runs as when none is named, the first that exists.
const DEFAULT_USERS: [&str; 2] = ["vrrpd-check", "nobody"];

/// The write ends that the child owns.
pub(super) struct Ends {
    pub(super) stdout: OwnedFd,
    pub(super) stderr: OwnedFd,
    /// Takes the reason why the script could not be started; closed by a successful `execve`.
    pub(super) report: OwnedFd,
}

/// Turns this process, a child of `launcher`, into the program, or reports why not and ends.
pub(super) fn become_script(run: &Run, ends: Ends, launcher: Pid) -> ! {
    let Ends { stdout, stderr, report } = ends;
    let reason = match execute(run, &stdout, &stderr, launcher) {
        Ok(never) => match never {},
        Err(reason) => reason,
    };
    // When nobody reads the reason any more there is nobody to tell.
    let _ = File::from(report).write_all(reason.as_bytes());
    sys::exit(127)
}

fn execute(
    run: &Run,
    stdout: &OwnedFd,
    stderr: &OwnedFd,
    launcher: Pid,
) -> Result<std::convert::Infallible, String> {
    let failed = |what: &'static str| move |error: Errno| format!("cannot {what}: {}", error.desc());
    unistd::setsid().map_err(failed("start a session"))?;
    let null = File::open("/dev/null").map_err(|error| format!("cannot open /dev/null: {error}"))?;
    unistd::dup2_stdin(&null).map_err(failed("set stdin"))?;
    unistd::dup2_stdout(stdout).map_err(failed("set stdout"))?;
    unistd::dup2_stderr(stderr).map_err(failed("set stderr"))?;
    unistd::chdir("/").map_err(failed("change to /"))?;
    // The daemon's protection from the kernel's memory killer is not for scripts.
    let _ = fs::write("/proc/self/oom_score_adj", "0");

    let user = become_user(run.user.as_deref())?;
    // After the change of user, which clears it: a script does not outlive a killed launcher.
    prctl::set_pdeathsig(Signal::SIGKILL).map_err(failed("tie it to the launcher"))?;
    if unistd::getppid() != launcher {
        return Err("the launcher has ended".to_owned());
    }

    let program = Path::new(run.argv.first().ok_or("the argument vector is empty")?);
    path::vet(program, user, path::look)?;
    unistd::access(program, AccessFlags::X_OK).map_err(|error| {
        let shown = program.display();
        let who = path::name_of(user);
        format!("{shown} cannot be executed by {who}: {}; type: chmod a+x {shown}", error.desc())
    })?;
    let (argv, env) = vectors(run)?;
    SigSet::all().thread_unblock().map_err(failed("unblock signals"))?;
    unistd::execve(&argv[0], &argv, &env).map_err(|error| match error {
        Errno::ENOEXEC => format!("{} is neither a binary nor a script with a #! line", program.display()),
        Errno::ENOENT => format!("the interpreter of {} does not exist", program.display()),
        _ => format!("cannot execute {}: {}", program.display(), error.desc()),
    })
}

fn vectors(run: &Run) -> Result<(Vec<CString>, Vec<CString>), String> {
    let text = |value: String| CString::new(value).map_err(|_| "a NUL in an argument or variable".to_owned());
    let argv: Result<_, _> = run.argv.iter().cloned().map(text).collect();
    let given = run.env.iter().map(|(name, value)| format!("{name}={value}"));
    let env: Result<_, _> = std::iter::once(PATH.to_owned()).chain(given).map(text).collect();
    Ok((argv?, env?))
}

/// Becomes the user that is asked for, or the default one; never root by accident.
fn become_user(asked: Option<&str>) -> Result<Uid, String> {
    let own = unistd::geteuid();
    let target = match asked {
        Some(name) => Some(look_up(name)?.ok_or_else(|| {
            format!("there is no user {name}; type: useradd --system --shell /usr/sbin/nologin {name}")
        })?),
        None => DEFAULT_USERS.iter().find_map(|name| look_up(name).transpose()).transpose()?,
    };
    match target {
        Some(user) if asked.is_none() && user.uid.is_root() => {
            Err(format!("user {} is root in disguise; name a user for this script", user.name))
        }
        Some(user) if user.uid == own => Ok(own),
        Some(user) if may_change_user() => change_to(&user),
        Some(user) if asked.is_some() => Err(format!(
            "cannot become user {}: vrrpd was started as {} without CAP_SETUID and CAP_SETGID; start it as root \
             or leave out `user`",
            user.name,
            path::name_of(own)
        )),
        _ if own.is_root() => {
            Err("will not run as root: there is no user vrrpd-check or nobody to run as, or no right \
                                   to become it; create one, or give user = \"root\" if root is meant"
                .to_owned())
        }
        _ => Ok(own),
    }
}

fn look_up(name: &str) -> Result<Option<User>, String> {
    User::from_name(name).map_err(|error| format!("cannot look up user {name}: {}", error.desc()))
}

fn may_change_user() -> bool {
    let holds = |right| caps::has_cap(None, CapSet::Effective, right).unwrap_or(false);
    holds(Capability::CAP_SETUID) && holds(Capability::CAP_SETGID)
}

fn change_to(user: &User) -> Result<Uid, String> {
    let failed = |error: Errno| format!("cannot become user {}: {}", user.name, error.desc());
    let name = CString::new(user.name.as_str()).map_err(|_| "a NUL in a user's name".to_owned())?;
    let groups = unistd::getgrouplist(&name, user.gid).map_err(failed)?;
    unistd::setgroups(&groups).map_err(failed)?;
    unistd::setresgid(user.gid, user.gid, user.gid).map_err(failed)?;
    unistd::setresuid(user.uid, user.uid, user.uid).map_err(failed)?;
    Ok(user.uid)
}
