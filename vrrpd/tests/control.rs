//! The control socket with a real server, a made-up main loop and real clients in one process.

use std::fs;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::unistd::{Gid, Uid, User};
use tokio::sync::{mpsc, oneshot};
use vrrpd::control::client::{self, Error};
use vrrpd::control::protocol::{Answer, ConfigText, Refusal, Reloaded, Request, State, VERSION};
use vrrpd::control::server::{self, Call, Limits};
use vrrpd::control::socket::{BindError, Socket};

/// Long enough that only a hang reaches it.
const LONG: Duration = Duration::from_secs(30);

/// More than the buffers of a Unix socket take.
const HUGE: usize = 8 * 1024 * 1024;

#[test]
fn each_request_gets_its_answer() {
    let daemon = Daemon::start(Limits::default());
    let Ok(Answer::State(state)) = daemon.ask(&Request::State { name: None }) else { panic!("no state") };
    assert_eq!(state, example_state());
    let unknown = daemon.ask(&Request::State { name: Some("botstrap".to_owned()) }).expect_err("unknown");
    assert_eq!(unknown.exit_code(), 64);
    assert!(unknown.to_string().contains("did you mean \"bootstrap\""), "{unknown}");
    let why = daemon.ask(&Request::Why { name: None }).expect_err("the made-up daemon refuses it");
    assert_eq!(why.exit_code(), 78);
}

#[test]
fn vrrpctl_prints_the_state_and_exits_with_its_code() {
    let daemon = Daemon::start(Limits::default());
    let output = daemon.vrrpctl(&["state"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(text.lines().nth(1).is_some_and(|line| line.starts_with("bootstrap  ACTIVE")), "{text}");
    let output = daemon.vrrpctl(&["state", "--json"]);
    let state: State = serde_json::from_slice(&output.stdout).expect("a state");
    assert_eq!(state, example_state());
    assert_eq!(daemon.vrrpctl(&["state", "nobody"]).status.code(), Some(64));
    assert_eq!(daemon.vrrpctl(&["why"]).status.code(), Some(78));
    let socket = daemon.socket.clone();
    daemon.stop();
    assert_eq!(vrrpctl(&socket, &["state"]).output().expect("it runs").status.code(), Some(69));
}

#[test]
fn changing_is_for_root_only() {
    let daemon = Daemon::start(Limits::default());
    if !Uid::effective().is_root() {
        let refusal = daemon.ask(&Request::Reload { reason: None }).expect_err("we are not root");
        assert_eq!(refusal.exit_code(), 77);
        eprintln!("skipped the half that needs root");
        return;
    }
    let reloaded = daemon.ask(&Request::Reload { reason: Some("a test".to_owned()) });
    let Ok(Answer::Reloaded(Reloaded { changes, .. })) = reloaded else { panic!("{reloaded:?}") };
    assert_eq!(changes, ["uid 0: a test"]);

    // A member of read_group may read, and only that; anybody else may not even open the socket.
    let member = |args: &[&str]| daemon.vrrpctl_as(nobody().uid, read_gid(), args);
    assert_eq!(member(&["state"]).status.code(), Some(0));
    for args in [&["reload"][..], &["check", "--now"]] {
        let output = member(args);
        assert_eq!(output.status.code(), Some(77), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("for root"), "{output:?}");
    }
    let stranger = daemon.vrrpctl_as(nobody().uid, Gid::from_raw(read_gid().as_raw() + 1), &["state"]);
    assert_eq!(stranger.status.code(), Some(77), "{stranger:?}");
    assert!(String::from_utf8_lossy(&stranger.stderr).contains("not permitted to open"), "{stranger:?}");
}

#[test]
fn a_good_client_is_served_among_bad_ones() {
    let limits = Limits {
        request: Duration::from_millis(300),
        answer: Duration::from_millis(300),
        ..Limits::default()
    };
    let daemon = Daemon::start(limits);
    let mut mute = daemon.connect();
    let mut slow = daemon.connect();
    slow.write_all(br#"{"request":"#).expect("a part");
    let mut half = daemon.connect();
    half.write_all(br#"{"request":"sta"#).expect("a half");
    half.shutdown(std::net::Shutdown::Write).expect("the end");
    let mut garbage = daemon.connect();
    garbage.write_all(b"\xff\xfe\0[[[[\n").expect("garbage");
    let mut deep = daemon.connect();
    deep.write_all(&[b'['; 60_000]).and_then(|()| deep.write_all(b"\n")).expect("60000 brackets");
    let mut gone = daemon.connect();
    gone.write_all(b"{\"request\":\"config_show\"}\n").expect("a request");
    drop(gone);
    let mut deaf = daemon.connect();
    deaf.write_all(b"{\"request\":\"config_show\"}\n").expect("a request");

    for _ in 0..20 {
        daemon.ask(&Request::State { name: None }).expect("served");
    }

    for (client, code) in
        [(&mut half, 64), (&mut garbage, 64), (&mut deep, 64), (&mut mute, 69), (&mut slow, 69)]
    {
        assert_eq!(refusal(client).exit_code, code);
    }
    // The deaf one is hung up on although it never takes its answer.
    wait_for_hang_up(&deaf);
    let mut taken = Vec::new();
    deaf.read_to_end(&mut taken).expect("what was in the buffer");
    assert!(taken.len() < HUGE, "{} bytes", taken.len());
    daemon.ask(&Request::State { name: None }).expect("served");
}

#[test]
fn an_endless_request_ends_at_its_limit() {
    let daemon = Daemon::start(Limits::default());
    let mut endless = daemon.connect();
    let chunk = vec![b'x'; 1 << 20];
    // The server hangs up long before a gigabyte has been taken.
    let taken = (0..1024).take_while(|_| endless.write_all(&chunk).is_ok()).count();
    assert!(taken < 2, "{taken} MiB were taken");
    let refusal = refusal(&mut endless);
    assert_eq!((refusal.exit_code, refusal.message.contains("65536")), (64, true), "{refusal:?}");
    daemon.ask(&Request::State { name: None }).expect("served");
}

#[test]
fn too_many_clients_are_told_so_and_room_is_found_again() {
    let limits = Limits { connections: 3, reserved: 0, ..Limits::default() };
    let daemon = Daemon::start(limits);
    let mute: Vec<UnixStream> = (0..3).map(|_| daemon.connect()).collect();
    let refused = daemon.ask(&Request::State { name: None }).expect_err("no room");
    assert_eq!(refused.exit_code(), 69);
    assert!(refused.to_string().contains("already serves 3 clients"), "{refused}");
    drop(mute);
    wait_until("there is room", || daemon.ask(&Request::State { name: None }).is_ok());
}

#[test]
fn a_main_loop_that_is_stuck_or_stopping_is_reported() {
    let limits = Limits { handling: Duration::from_millis(50), ..Limits::default() };
    let daemon = Daemon::start(limits);
    let stuck =
        daemon.ask(&Request::History { name: Some("never".to_owned()), since: None }).expect_err("no answer");
    assert_eq!(stuck.exit_code(), 69);
    assert!(stuck.to_string().contains("did not answer within"), "{stuck}");
    let dropped = daemon.ask(&Request::History { name: None, since: None }).expect_err("no answer");
    assert_eq!((dropped.exit_code(), dropped.to_string().as_str()), (69, "vrrpd is stopping"));
}

#[test]
fn the_socket_is_for_root_and_its_group() {
    let daemon = Daemon::start(Limits::default());
    let found = fs::symlink_metadata(&daemon.socket).expect("it exists");
    assert!(found.file_type().is_socket());
    assert_eq!(found.permissions().mode() & 0o7777, 0o660);
    if Uid::effective().is_root() {
        assert_eq!(found.gid(), read_gid().as_raw());
    }
    let names: Vec<_> = fs::read_dir(daemon.directory.path()).expect("readable").collect();
    assert_eq!(names.len(), 1, "nothing is left beside it: {names:?}");
}

#[test]
fn the_socket_of_a_dead_daemon_is_replaced_and_ours_removed() {
    let directory = Directory::new();
    let path = directory.path().join("run").join("control.sock");
    fs::create_dir(directory.path().join("run")).expect("a directory");
    drop(UnixListener::bind(&path).expect("a socket"));
    assert!(path.exists(), "a dead daemon leaves its socket behind");
    let (socket, _) = Socket::bind(&path, "").expect("replaced");
    UnixStream::connect(&path).expect("ours listens");
    drop(socket);
    assert!(!path.exists(), "removed at the end");
}

#[test]
fn a_missing_directory_is_made_and_a_missing_group_is_no_fault() {
    let directory = Directory::new();
    let path = directory.path().join("run").join("control.sock");
    let (_socket, warnings) = Socket::bind(&path, "no-such-group").expect("bound");
    assert_eq!(warnings, [""; 0]);
    assert!(path.exists());
    let too_deep = directory.path().join("a").join("b").join("control.sock");
    let error = Socket::bind(&too_deep, "").expect_err("two directories are missing").to_string();
    assert!(
        error.contains("no such file or directory (ENOENT)") && error.contains("control_socket"),
        "{error}"
    );
}

#[test]
fn only_what_passes_by_itself_is_worth_another_attempt() {
    let refused = |errno: i32| BindError::Create {
        path: "/run/vrrpd/control.sock".into(),
        source: std::io::Error::from_raw_os_error(errno),
    };
    for errno in [libc::ENOSPC, libc::EROFS, libc::EDQUOT, libc::ENOMEM] {
        assert!(refused(errno).may_pass(), "{}", refused(errno));
    }
    for errno in [libc::EACCES, libc::ENOENT, libc::ENOTDIR, libc::ENAMETOOLONG, libc::EINVAL] {
        assert!(!refused(errno).may_pass(), "{}", refused(errno));
    }
    let living = BindError::Living("/run/vrrpd/control.sock".into());
    assert!(!living.may_pass());
    assert_eq!(living.exit_code(), 78, "as when the other daemon has one of the virtual routers");
    let denied = std::io::ErrorKind::PermissionDenied.into();
    let denied = BindError::Create { path: "/run/vrrpd/control.sock".into(), source: denied };
    assert_eq!((denied.may_pass(), denied.exit_code()), (false, 77));
}

#[test]
fn the_socket_of_a_living_daemon_is_left_alone() {
    let daemon = Daemon::start(Limits::default());
    let error = Socket::bind(&daemon.socket, "").expect_err("it lives");
    assert!(matches!(error, BindError::Living(_)), "{error}");
    daemon.ask(&Request::State { name: None }).expect("still served");

    let directory = Directory::new();
    let path = directory.path().join("file");
    fs::write(&path, "precious").expect("a file");
    assert!(matches!(Socket::bind(&path, ""), Err(BindError::NotASocket(_))));
    assert_eq!(fs::read_to_string(&path).expect("still there"), "precious");
}

#[test]
fn a_socket_that_was_replaced_is_not_removed() {
    let directory = Directory::new();
    let path = directory.path().join("control.sock");
    let (first, _) = Socket::bind(&path, "").expect("bound");
    fs::remove_file(&path).expect("somebody removes it");
    let (_second, _) = Socket::bind(&path, "").expect("bound again");
    drop(first);
    UnixStream::connect(&path).expect("the second one is there");
}

#[test]
fn a_silent_or_senseless_server_is_named() {
    let directory = Directory::new();
    let path = directory.path().join("control.sock");
    let request = Request::State { name: None };
    let listener = UnixListener::bind(&path).expect("a socket");
    let silent = client::ask(&path, &request, Duration::from_millis(50)).expect_err("nobody accepts");
    assert!(matches!(silent, Error::Silent { .. }), "{silent}");
    assert_eq!(silent.exit_code(), 69);
    drop(listener.accept().expect("the client from before"));

    for answer in ["what?\n", "{\"answer\":\"state\"}\n", "{\"answer\":", ""] {
        let asked = std::thread::spawn({
            let (path, request) = (path.clone(), request.clone());
            move || client::ask(&path, &request, LONG)
        });
        let (mut stream, _) = listener.accept().expect("a client");
        let mut request = [0; 1024];
        let _ = stream.read(&mut request).expect("its request");
        stream.write_all(answer.as_bytes()).expect("an answer");
        drop(stream);
        let error = asked.join().expect("no panic").expect_err("senseless");
        assert!(matches!(error, Error::Garbled { .. }), "{answer:?}: {error}");
        assert_eq!(error.exit_code(), 69);
    }
}

/// The state of `interface.md`, and what it must have besides.
fn example_state() -> State {
    serde_json::from_value(serde_json::json!({
        "version": 1, "time": "2026-11-23T07:05:11Z", "node": "bootstrap-a", "alarms": [],
        "daemon": { "version": "0.1.0", "pid": 4711, "uptime": "1h", "scheduling": "realtime" },
        "virtual_routers": [ {
            "name": "bootstrap", "interface": "eth0", "vrid": 201, "family": "ipv4", "vrrp_version": 3,
            "state": "active", "reason": "no_response", "since": "2026-11-23T07:02:11.123456Z",
            "phase": "settled", "heard": true, "pending": false, "preempt_mode": true, "alarms": [],
            "priority": { "configured": 150, "effective": 150 },
            "active_router": { "address": "192.0.2.193", "priority": 150, "this_node": true },
            "addresses": [ { "address": "192.0.2.201/32", "present": true, "foreign": false } ],
            "checks": [], "advertisement_interval": "1s", "active_adver_interval": "1s",
            "source_address": "192.0.2.193", "peers": [], "lease": "2s",
            "statistics": { "advertisement_sent": 11532, "advertisement_rcvd": 4, "master_transitions": 1 } } ]
    }))
    .expect("the example is a state")
}

/// What a main loop would answer; none: it never does.
fn answer(call: &Call) -> Option<Answer> {
    Some(match &call.request {
        Request::State { name } => match example_state().only(name.as_deref()) {
            Ok(state) => Answer::State(state),
            Err(refusal) => Answer::Error(refusal),
        },
        Request::Reload { reason } => Answer::Reloaded(Reloaded {
            version: VERSION,
            changes: vec![format!("uid {}: {}", call.peer.uid, reason.as_deref().unwrap_or_default())],
            warnings: Vec::new(),
        }),
        Request::ConfigShow { .. } => Answer::Config(ConfigText { version: VERSION, toml: "x".repeat(HUGE) }),
        Request::History { .. } => return None,
        Request::Why { .. } | Request::Check { .. } => {
            Answer::Error(Refusal { exit_code: 78, message: "made up".to_owned() })
        }
        order => Answer::Error(Refusal { exit_code: 1, message: format!("{} was asked", order.command()) }),
    })
}

/// A server with a made-up main loop on a thread of its own.
struct Daemon {
    socket: PathBuf,
    directory: Directory,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Daemon {
    fn start(limits: Limits) -> Self {
        let directory = Directory::new();
        let path = directory.path().join("control.sock");
        let group = nix::unistd::Group::from_gid(read_gid()).expect("readable").map(|group| group.name);
        let (socket, warnings) = Socket::bind(&path, &group.unwrap_or_default()).expect("a free path");
        if Uid::effective().is_root() {
            assert_eq!(warnings, [""; 0]);
        }
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let (calls, mut called) = mpsc::channel::<Call>(4);
                let main_loop = async {
                    let mut unanswered = Vec::new();
                    while let Some(call) = called.recv().await {
                        match answer(&call) {
                            Some(answer) => drop(call.answer.send(answer)),
                            // "never" is kept without an answer, other histories are dropped.
                            None if matches!(&call.request, Request::History { name: Some(_), .. }) => {
                                unanswered.push(call);
                            }
                            None => {}
                        }
                    }
                };
                tokio::select! {
                    served = server::serve(socket, calls, limits) => served.expect("the socket works"),
                    () = main_loop => {}
                    _ = stopped => {}
                }
            });
        });
        Self { socket: path, directory, stop: Some(stop), thread: Some(thread) }
    }

    fn ask(&self, request: &Request) -> Result<Answer, Error> {
        client::ask(&self.socket, request, LONG)
    }

    fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(&self.socket).expect("it listens");
        stream.set_read_timeout(Some(LONG)).expect("a time");
        stream
    }

    fn vrrpctl(&self, args: &[&str]) -> Output {
        vrrpctl(&self.socket, args).output().expect("it runs")
    }

    /// As another user, from a copy that everybody may execute.
    fn vrrpctl_as(&self, uid: Uid, gid: Gid, args: &[&str]) -> Output {
        let program = self.directory.path().join("vrrpctl");
        if !program.exists() {
            fs::copy(env!("CARGO_BIN_EXE_vrrpctl"), &program).expect("a copy");
        }
        let mut command = Command::new(program);
        command.arg("--socket").arg(&self.socket).args(args).uid(uid.as_raw()).gid(gid.as_raw());
        command.output().expect("it runs")
    }

    /// Ends it and waits for the end.
    fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        if let (Some(stop), Some(thread)) = (self.stop.take(), self.thread.take()) {
            let _ = stop.send(());
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "the server panicked");
            assert!(!self.socket.exists(), "the socket is removed with the server");
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.end();
    }
}

fn vrrpctl(socket: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vrrpctl"));
    command.arg("--socket").arg(socket).args(args);
    command
}

/// A user without rights.
fn nobody() -> User {
    User::from_name("nobody").expect("readable").expect("every Linux has nobody")
}

/// The group that may read in these tests: that of `nobody`, or our own when we are not root.
fn read_gid() -> Gid {
    if Uid::effective().is_root() { nobody().gid } else { Gid::effective() }
}

/// What the server said to a client, and that it then hung up.
fn refusal(stream: &mut UnixStream) -> Refusal {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    // After a request that was not read to its end, the end is a reset.
    while let Ok(length @ 1..) = stream.read(&mut chunk) {
        bytes.extend_from_slice(&chunk[..length]);
    }
    match serde_json::from_slice(&bytes) {
        Ok(Answer::Error(refusal)) => refusal,
        other => panic!("{other:?} from {:?}", String::from_utf8_lossy(&bytes)),
    }
}

fn wait_for_hang_up(stream: &UnixStream) {
    let timeout = PollTimeout::try_from(LONG).expect("a time");
    let mut polled = [PollFd::new(stream.as_fd(), PollFlags::empty())];
    assert_eq!(nix::poll::poll(&mut polled, timeout), Ok(1), "never hung up");
    assert!(polled[0].revents().is_some_and(|events| events.contains(PollFlags::POLLHUP)));
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + LONG;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::yield_now();
    }
}

/// A directory that everybody may enter, removed at the end.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("vrrpd-control-{}-{number}", std::process::id()));
        fs::create_dir(&path).expect("a new directory");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("our directory");
        Self(path)
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
