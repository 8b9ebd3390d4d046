//! The launcher and scripts, as real processes.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid, User, geteuid};
use tokio::task::JoinSet;
use vrrpd::launcher::{Allowed, End, Launcher, LauncherHandle, MAX_SCRIPTS, Outcome, Run};

mod forked;

use forked::{Fixture, alive, cases, until};

/// Cases that need neither rights nor a directory to write in.
const ANYWHERE: [&str; 6] = [
    "the_exit_code_and_the_last_line_are_told",
    "a_script_starts_with_a_clean_slate",
    "the_launcher_keeps_three_rights_and_no_descriptor",
    "a_deadline_kills_the_whole_group_even_if_the_leader_exits_well",
    "without_a_user_a_script_is_never_root",
    "root_is_only_for_root",
];

/// Makes this program a daemon that waits to be killed.
const AS_DAEMON: &str = "--as-daemon";

fn main() -> ExitCode {
    if std::env::args().any(|argument| argument == AS_DAEMON) {
        return daemon();
    }
    forked::run(cases![
        the_exit_code_and_the_last_line_are_told,
        a_crash_is_told_with_its_signal,
        a_script_starts_with_a_clean_slate,
        a_flood_of_output_blocks_nobody,
        a_deadline_kills_the_whole_group_even_if_the_leader_exits_well,
        what_a_script_leaves_in_its_group_is_killed,
        a_run_that_nobody_waits_for_is_killed,
        what_cannot_be_executed_is_refused_with_a_remedy,
        an_insecure_script_is_refused_with_a_remedy,
        without_a_user_a_script_is_never_root,
        root_is_only_for_root,
        an_unknown_user_is_refused,
        only_what_the_configuration_file_says_is_run,
        what_was_taken_over_is_run_whatever_becomes_of_the_file,
        too_many_scripts_are_refused,
        a_request_that_is_too_long_is_refused,
        a_dead_launcher_fails_every_run_and_takes_its_scripts_along,
        a_stopped_launcher_is_not_waited_for,
        the_launcher_ends_with_the_daemon,
        the_launcher_keeps_three_rights_and_no_descriptor,
        signals_that_end_the_daemon_do_not_end_the_launcher,
        all_this_holds_without_privileges,
        all_this_holds_with_the_rights_that_systemd_gives_a_user,
        all_this_holds_when_signals_are_ignored,
    ])
}

fn run(argv: &[&str]) -> Run {
    let argv = argv.iter().map(|&word| word.to_owned()).collect();
    Run { argv, env: Vec::new(), user: None, deadline: Duration::from_secs(30) }
}

fn shell(script: &str) -> Run {
    run(&["/bin/sh", "-c", script])
}

fn with_deadline(run: Run, millis: u64) -> Run {
    Run { deadline: Duration::from_millis(millis), ..run }
}

/// Runs as whoever runs the tests, who may read what they have written.
fn as_ourselves(run: Run) -> Run {
    let us = User::from_uid(geteuid()).expect("users can be looked up").expect("we have a name");
    Run { user: Some(us.name), ..run }
}

fn refusal(outcome: Outcome) -> String {
    match outcome.end {
        End::Refused(reason) => reason,
        other => panic!("not refused but {other:?}: {}", outcome.line),
    }
}

fn number(outcome: &Outcome) -> u32 {
    outcome.line.parse().unwrap_or_else(|_| panic!("not a number: {outcome:?}"))
}

fn script(name: &str, text: &str, mode: u32) -> PathBuf {
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
    // Written under another name and moved, so that nobody holds it open for writing when it is run.
    let draft = file.with_extension("draft");
    fs::write(&draft, text).expect("cargo gave us a directory to write in");
    fs::set_permissions(&draft, fs::Permissions::from_mode(mode)).expect("it is ours");
    fs::rename(&draft, &file).expect("it is ours");
    file
}

/// Is the way to cargo's directory as secure as the launcher wants it for a script?
fn can_hold_secure_files() -> bool {
    let insecure = Path::new(env!("CARGO_TARGET_TMPDIR")).ancestors().find(|directory| {
        let metadata = fs::metadata(directory).expect("it exists");
        metadata.mode() & 0o022 != 0 || ![0, geteuid().as_raw()].contains(&metadata.uid())
    });
    if let Some(directory) = insecure {
        println!("skipped: others may write in {}", directory.display());
    }
    insecure.is_none()
}

fn text(path: &Path) -> &str {
    path.to_str().expect("cargo's directories are UTF-8")
}

async fn the_exit_code_and_the_last_line_are_told(Fixture { launcher, .. }: Fixture) {
    let outcome = launcher.run(shell("echo out; echo first >&2; printf 'la\\033st\\n\\n' >&2; exit 3")).await;
    assert_eq!((outcome.end, outcome.line.as_str()), (End::Exited(3), "la st"));
    let outcome = launcher.run(shell("echo out")).await;
    assert_eq!((outcome.end, outcome.line.as_str()), (End::Exited(0), "out"));
}

async fn a_crash_is_told_with_its_signal(Fixture { launcher, .. }: Fixture) {
    let outcome = launcher.run(shell("kill -SEGV $$")).await;
    assert_eq!(outcome.end, End::Signalled(11));
    assert!(!outcome.passed());
}

async fn a_script_starts_with_a_clean_slate(Fixture { launcher, .. }: Fixture) {
    let script = r#"
        [ "$(pwd)" = / ] || { echo "directory $(pwd)"; exit 1; }
        [ "$GIVEN" = "a b" ] || { echo "variable $GIVEN"; exit 1; }
        [ -z "$HOME$CARGO_PKG_NAME" ] || { echo "variables leak"; exit 1; }
        read -r line && { echo "stdin has $line"; exit 1; }
        [ "$(cut -d' ' -f5,6 /proc/$$/stat)" = "$$ $$" ] || { echo "no group and session of its own"; exit 1; }
        # 32 and 33 are the C library's own; it lets nobody touch what it inherited for them.
        [ "$(grep -Ec '^Sig(Blk|Ign):.0+(180000000)?$' /proc/$$/status)" = 2 ] || { echo $(grep -E '^Sig' /proc/$$/status); exit 1; }
        [ "$(grep -Ec '^Cap(Inh|Prm|Eff|Amb):.0+$' /proc/$$/status)" = 4 ] || { echo "capabilities"; exit 1; }
        for fd in /proc/$$/fd/*; do
            [ "${fd##*/}" -le 2 ] || [ ! -e "$fd" ] || { echo "descriptor $(readlink "$fd")"; exit 1; }
        done
    "#;
    let env = vec![("GIVEN".to_owned(), "a b".to_owned())];
    let outcome = launcher.run(Run { env, ..shell(script) }).await;
    assert_eq!((outcome.end, outcome.line.as_str()), (End::Exited(0), ""));
}

async fn a_flood_of_output_blocks_nobody(Fixture { launcher, .. }: Fixture) {
    let outcome = launcher.run(shell("yes | head -c 3000000; echo the end")).await;
    assert_eq!((outcome.end, outcome.line.as_str()), (End::Exited(0), "the end"));
}

async fn a_deadline_kills_the_whole_group_even_if_the_leader_exits_well(Fixture { launcher, .. }: Fixture) {
    let script = "trap 'exit 0' TERM; sleep 1000 & echo $!; while :; do wait; done";
    let outcome = launcher.run(with_deadline(shell(script), 300)).await;
    assert_eq!(outcome.end, End::TimedOut);
    let sleeper = number(&outcome);
    until(|| !alive(sleeper)).await;
}

async fn what_a_script_leaves_in_its_group_is_killed(Fixture { launcher, .. }: Fixture) {
    let outcome = launcher.run(shell("sleep 1000 & echo $!")).await;
    assert_eq!(outcome.end, End::Exited(0), "an open pipe is not waited for");
    let sleeper = number(&outcome);
    until(|| !alive(sleeper)).await;
}

async fn a_run_that_nobody_waits_for_is_killed(Fixture { launcher, pid }: Fixture) {
    let running = tokio::spawn({
        let launcher = launcher.clone();
        async move { launcher.run(run(&["/bin/sleep", "1000"])).await }
    });
    until(|| !children(pid).is_empty()).await;
    let script = children(pid)[0];
    running.abort();
    until(|| !alive(script)).await;
}

/// Processes whose parent is this one.
fn children(parent: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc").expect("/proc is mounted").filter_map(|entry| {
        let pid: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let of: u32 = stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()?;
        (of == parent && alive(pid)).then_some(pid)
    });
    processes.collect()
}

async fn what_cannot_be_executed_is_refused_with_a_remedy(Fixture { launcher, .. }: Fixture) {
    let reason = refusal(launcher.run(run(&["/does/not/exist"])).await);
    assert_eq!(reason, "/does does not exist");
    assert!(refusal(launcher.run(run(&["true"])).await).contains("not an absolute path"));
    assert!(refusal(launcher.run(run(&[])).await).contains("empty"));
    assert!(refusal(launcher.run(run(&["/etc"])).await).contains("is a directory"));

    if !can_hold_secure_files() {
        return;
    }
    let plain = script("plain", "#!/bin/sh\n", 0o644);
    let reason = refusal(launcher.run(as_ourselves(run(&[text(&plain)]))).await);
    assert!(reason.ends_with(&format!("type: chmod a+x {}", plain.display())), "{reason}");
    let bare = script("bare", "exit 0\n", 0o755);
    let reason = refusal(launcher.run(as_ourselves(run(&[text(&bare)]))).await);
    assert!(reason.ends_with("is neither a binary nor a script with a #! line"), "{reason}");
    let lost = script("lost", "#!/does/not/exist\n", 0o755);
    let reason = refusal(launcher.run(as_ourselves(run(&[text(&lost)]))).await);
    assert!(reason.starts_with("the interpreter of "), "{reason}");
}

async fn an_insecure_script_is_refused_with_a_remedy(Fixture { launcher, .. }: Fixture) {
    if !can_hold_secure_files() {
        return;
    }
    let secure = script("secure", "#!/bin/sh\necho well\n", 0o755);
    let outcome = launcher.run(as_ourselves(run(&[text(&secure)]))).await;
    assert_eq!((outcome.end, outcome.line.as_str()), (End::Exited(0), "well"));

    let insecure = script("insecure", "#!/bin/sh\n", 0o777);
    let reason = refusal(launcher.run(as_ourselves(run(&[text(&insecure)]))).await);
    assert!(reason.starts_with(&format!("{} is writable by everybody", insecure.display())), "{reason}");
    assert!(reason.ends_with(&format!("type: chmod go-w {}", insecure.display())), "{reason}");
    let link = secure.with_extension("link");
    std::os::unix::fs::symlink(&insecure, &link).expect("the directory is ours");
    assert_eq!(refusal(launcher.run(as_ourselves(run(&[text(&link)]))).await), reason, "links are followed");
}

async fn without_a_user_a_script_is_never_root(Fixture { launcher, .. }: Fixture) {
    let outcome = launcher.run(shell("id -u")).await;
    let ran_as = Uid::from_raw(number(&outcome));
    let named = |name| User::from_name(name).ok().flatten().map(|user| user.uid);
    let default = named("vrrpd-check").or(named("nobody")).expect("this system has a user nobody");
    assert!(!ran_as.is_root());
    assert_eq!(ran_as, if may_change_user() { default } else { geteuid() });
}

async fn root_is_only_for_root(Fixture { launcher, .. }: Fixture) {
    let outcome = launcher.run(Run { user: Some("root".to_owned()), ..shell("id -u") }).await;
    if may_change_user() {
        assert_eq!((outcome.end, outcome.line.as_str()), (End::Exited(0), "0"));
    } else {
        let reason = refusal(outcome);
        assert!(reason.starts_with("cannot become user root: vrrpd was started as "), "{reason}");
    }
}

fn may_change_user() -> bool {
    capabilities(std::process::id(), "CapEff") & (1 << 7) != 0
}

async fn an_unknown_user_is_refused(Fixture { launcher, .. }: Fixture) {
    let outcome = launcher.run(Run { user: Some("no-such-user".to_owned()), ..shell("exit 0") }).await;
    let reason = refusal(outcome);
    assert!(reason.starts_with("there is no user no-such-user; type: useradd "), "{reason}");
}

/// A configuration file with this check and hook, and a launcher for it.
struct Configured {
    file: PathBuf,
    launcher: LauncherHandle,
}

impl Configured {
    fn new(name: &str) -> Self {
        let file = script(name, "", 0o600);
        write(&file, "good");
        let (config, _) = vrrpd::config::load(&file).unwrap_or_else(|faults| panic!("{faults}"));
        let allowed = Allowed::of_file(&file, &config).expect("its path is absolute");
        let launcher = Launcher::start(allowed).expect("this process has one thread");
        Self { file, launcher: launcher.handle().expect("the socket can be watched") }
    }

    async fn says(&self, run: Run) -> String {
        self.launcher.run(run).await.to_string()
    }
}

impl Drop for Configured {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.file);
    }
}

/// Writes a configuration with a check that says `word`, and a hook.
fn write(file: &Path, word: &str) {
    let text = format!(
        "[virtual_router.web]\ninterface = \"eth0\"\nvrid = 201\naddresses = [\"192.0.2.51/24\"]\n\
         checks = [\"c\"]\nhooks = [\"h\"]\n[check.c]\nexec = [\"/bin/echo\", \"{word}\"]\n\
         [hook.h]\non = [\"active\"]\nexec = [\"/bin/echo\", \"told\"]\n"
    );
    fs::write(file, text).expect("it is ours");
}

async fn only_what_the_configuration_file_says_is_run(_: Fixture) {
    let configured = Configured::new("allowed.toml");
    let check = || run(&["/bin/echo", "good"]);
    assert_eq!(configured.says(check()).await, "exit code 0: good");
    let told = run(&["/bin/echo", "told", "INSTANCE", "web", "MASTER", "100"]);
    assert_eq!(configured.says(told).await, "exit code 0: told INSTANCE web MASTER 100");

    let root = Run { user: Some("root".to_owned()), ..check() };
    let others =
        [&["/bin/echo", "bad"][..], &["/bin/echo", "told"], &["/bin/echo", "good", "INSTANCE", "", "", ""]];
    for other in others.map(run).into_iter().chain([root]) {
        let said = configured.says(other).await;
        assert!(said.contains("allowed.toml") && said.contains("vrrpctl reload"), "{said}");
    }
    let env = vec![("LD_PRELOAD".to_owned(), "/tmp/evil.so".to_owned())];
    assert_eq!(configured.says(Run { env, ..check() }).await, "the variable LD_PRELOAD is none of vrrpd's");
}

async fn what_was_taken_over_is_run_whatever_becomes_of_the_file(_: Fixture) {
    let configured = Configured::new("reread.toml");
    let echo = |word: &'static str| run(&["/bin/echo", word]);
    write(&configured.file, "better");
    assert_eq!(configured.says(echo("better")).await, "exit code 0: better", "it is read for a new command");
    assert_eq!(configured.says(echo("good")).await, "exit code 0: good", "the reload may have been refused");
    write(&configured.file, "best");
    configured.launcher.reread();
    assert_eq!(configured.says(echo("good")).await, "exit code 0: good", "by now it was read");
    fs::write(&configured.file, "faulty").expect("it is ours");
    assert_eq!(configured.says(echo("best")).await, "exit code 0: best");
}

async fn too_many_scripts_are_refused(Fixture { launcher, .. }: Fixture) {
    let mut runs = JoinSet::new();
    for _ in 0..MAX_SCRIPTS + 16 {
        let launcher = launcher.clone();
        runs.spawn(async move { launcher.run(run(&["/bin/sleep", "1000"])).await });
    }
    for _ in 0..16 {
        let first = runs.join_next().await.expect("80 were started").expect("none panics");
        assert_eq!(refusal(first), "64 scripts are running, which is the most at a time");
    }
    assert!(runs.try_join_next().is_none(), "the others run");
    runs.shutdown().await;
    // What nobody waits for is killed, and makes room.
    while !launcher.run(shell("exit 0")).await.passed() {}
}

async fn a_request_that_is_too_long_is_refused(Fixture { launcher, .. }: Fixture) {
    let reason = refusal(launcher.run(run(&["/bin/echo", &"x".repeat(70_000)])).await);
    assert!(reason.contains("of at most 65536"), "{reason}");
    let outcome = launcher.run(run(&["/bin/echo", &"x".repeat(60_000)])).await;
    assert_eq!((outcome.end, outcome.line.len()), (End::Exited(0), 200));
}

async fn a_dead_launcher_fails_every_run_and_takes_its_scripts_along(Fixture { launcher, pid }: Fixture) {
    let mut running = tokio::spawn({
        let launcher = launcher.clone();
        async move { launcher.run(run(&["/bin/sleep", "1000"])).await }
    });
    tokio::select! {
        outcome = &mut running => panic!("{outcome:?}"),
        () = until(|| children(pid).iter().any(|pid| comm(*pid) == "sleep")) => (),
    }
    let script = children(pid)[0];
    kill(pid_of(pid), Signal::SIGKILL).expect("it is ours");
    let reason = refusal(running.await.expect("it does not panic"));
    assert_eq!(
        reason,
        format!("the launcher of scripts (pid {pid}) has ended: no script can run; restart vrrpd")
    );
    until(|| !alive(script)).await;
    assert_eq!(refusal(launcher.run(shell("exit 0")).await), reason);
}

async fn a_stopped_launcher_is_not_waited_for(Fixture { launcher, pid }: Fixture) {
    kill(pid_of(pid), Signal::SIGSTOP).expect("it is ours");
    let reason = refusal(launcher.run(with_deadline(shell("exit 0"), 50)).await);
    assert!(reason.contains("does not answer"), "{reason}");
    kill(pid_of(pid), Signal::SIGCONT).expect("it is ours");
    assert!(launcher.run(shell("exit 0")).await.passed(), "it goes on where it was");
}

async fn the_launcher_ends_with_the_daemon(_: Fixture) {
    let mut command = Command::new(std::env::current_exe().expect("/proc is mounted"));
    let mut daemon = command.arg(AS_DAEMON).stdout(Stdio::piped()).spawn().expect("it is this program");
    let mut line = String::new();
    BufReader::new(daemon.stdout.take().expect("it is piped")).read_line(&mut line).expect("it says a pid");
    let pid: u32 = line.trim().parse().expect("it says a pid");
    until(|| children(pid).iter().any(|pid| !children(*pid).is_empty())).await;
    let script = children(pid)[0];
    let sleeper = children(script)[0];
    daemon.kill().expect("it is ours");
    until(|| !alive(pid) && !alive(script) && !alive(sleeper)).await;
    daemon.wait().expect("it is ours");
}

/// A daemon that runs one endless script, until it is killed.
fn daemon() -> ExitCode {
    let launcher = Launcher::start(Allowed::all()).expect("this process has one thread");
    println!("{}", launcher.pid());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("the kernel has descriptors left").block_on(async {
        let launcher = launcher.handle().expect("the socket can be watched");
        launcher.run(shell("sleep 1000 & wait")).await;
    });
    ExitCode::FAILURE
}

async fn the_launcher_keeps_three_rights_and_no_descriptor(Fixture { launcher, pid }: Fixture) {
    assert!(launcher.run(shell("exit 0")).await.passed(), "it has settled");
    assert_eq!(comm(pid), "vrrpd-launcher");
    let kept = capabilities(pid, "CapPrm");
    assert_eq!(kept & !0b1110_0000, 0, "beside CAP_KILL, CAP_SETGID and CAP_SETUID it has {kept:#x}");
    assert_eq!(capabilities(pid, "CapInh"), 0);
    assert_eq!(capabilities(pid, "CapAmb"), 0);
    let open = fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs").count();
    assert_eq!(open, 5, "stdio, the socket and the signal");
}

async fn signals_that_end_the_daemon_do_not_end_the_launcher(Fixture { launcher, pid }: Fixture) {
    assert!(launcher.run(shell("exit 0")).await.passed(), "it has settled");
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT] {
        kill(pid_of(pid), signal).expect("it is ours");
    }
    assert!(launcher.run(shell("exit 0")).await.passed());
}

async fn all_this_holds_without_privileges(_: Fixture) {
    again_by("setpriv", &["--reuid=65534", "--regid=65534", "--clear-groups"]);
}

async fn all_this_holds_with_the_rights_that_systemd_gives_a_user(_: Fixture) {
    let rights = "+setuid,+setgid,+kill,+net_raw";
    let (inheritable, ambient) = (format!("--inh-caps={rights}"), format!("--ambient-caps={rights}"));
    again_by("setpriv", &["--reuid=12345", "--regid=12345", "--clear-groups", &inheritable, &ambient]);
}

async fn all_this_holds_when_signals_are_ignored(_: Fixture) {
    again_by("sh", &["-c", "trap '' CHLD PIPE TERM USR1; exec \"$0\" \"$@\""]);
}

/// Runs cases of this program once more by another one; only root can make setpriv do its work.
fn again_by(other: &str, options: &[&str]) {
    if other == "setpriv" && !geteuid().is_root() {
        println!("skipped: only root can become somebody else");
        return;
    }
    let program = std::env::current_exe().expect("/proc is mounted");
    let output = Command::new(other).args(options).arg(&program).args(ANYWHERE).output();
    let output = output.expect("util-linux is installed");
    let said = String::from_utf8_lossy(&output.stdout);
    if String::from_utf8_lossy(&output.stderr).contains(": Permission denied") {
        println!("skipped: {} is out of reach of other users", program.display());
        return;
    }
    assert!(output.status.success() && said.contains("running 6 tests"), "{said}");
}

fn pid_of(pid: u32) -> Pid {
    Pid::from_raw(i32::try_from(pid).expect("pids are small"))
}

fn comm(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().to_owned()
}

fn capabilities(pid: u32, set: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix(set)).expect("the kernel tells");
    u64::from_str_radix(line.trim_start_matches(':').trim(), 16).expect("in hexadecimal")
}
