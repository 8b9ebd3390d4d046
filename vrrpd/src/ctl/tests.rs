use clap::CommandFactory;

use super::*;
use crate::control::alarm::Alarm;
use crate::control::protocol::{
    CheckState, Checks, Done, Events, Refusal, Reloaded, VERSION, Why, WhyRouter,
};
use crate::control::testing::{self, at};
use crate::history::{Event, What};

fn run_with(args: &[&str]) -> (u8, String, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let args = ["vrrpctl"].iter().chain(args).map(OsString::from);
    let code = run(args, &mut out, &mut err);
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (code, text(out), text(err))
}

#[test]
fn the_command_line_is_consistent() {
    Args::command().debug_assert();
}

#[test]
fn wrong_usage_is_64_and_help_is_0() {
    for args in [
        &[][..],
        &["stat"],
        &["state", "--frob"],
        &["switchover"],
        &["freeze", "bootstrap"],
        &["history", "--since"],
    ] {
        let (code, out, err) = run_with(args);
        assert_eq!((code, out.as_str()), (64, ""), "{args:?}");
        assert!(err.contains("--help"), "{args:?}: {err}");
    }
    for args in [&["--help"][..], &["state", "--help"], &["--version"]] {
        let (code, out, err) = run_with(args);
        assert_eq!((code, err.as_str()), (0, ""), "{args:?}");
        assert!(out.contains("vrrpctl"), "{args:?}: {out}");
    }
}

#[test]
fn a_daemon_that_is_not_there_is_69_with_what_to_look_at() {
    let (code, out, err) = run_with(&["state", "--socket", "/nonexistent/control.sock"]);
    assert_eq!((code, out.as_str()), (69, ""));
    assert_eq!(
        err,
        "vrrpctl: cannot reach vrrpd at /nonexistent/control.sock: no such file or directory (ENOENT); is it \
         running (systemctl status vrrpd)? Another socket is named with --socket or VRRPD_SOCKET\n"
    );
}

#[test]
fn since_is_a_time_or_a_span_and_nothing_else() {
    let now = at("2026-11-23T07:05:11Z");
    let since = |text: &str| {
        let command = Command::History { name: None, since: Some(text.to_owned()) };
        request(&command, now).map(|request| match request {
            Request::History { since, .. } => since.map(|time| time.to_string()),
            _ => None,
        })
    };
    assert_eq!(since("10m"), Ok(Some("2026-11-23T06:55:11.000000Z".to_owned())));
    assert_eq!(since("2026-11-23T08:00:00+01:00"), Ok(Some("2026-11-23T07:00:00.000000Z".to_owned())));
    for wrong in ["yesterday", "10", "2026-11-23", "-5m"] {
        let message = since(wrong).expect_err(wrong);
        assert!(message.contains(wrong) && message.contains("10m"), "{message}");
    }
    let (code, _, err) = run_with(&["history", "--since", "yesterday", "--socket", "/nonexistent"]);
    assert_eq!(code, 64, "{err}");
}

#[test]
fn the_exit_code_of_state_is_the_worst_finding() {
    let code = |state| render(&Answer::State(state), false).exit_code;
    let mut state = testing::state(vec![testing::router()]);
    assert_eq!(code(state.clone()), 0);
    state.virtual_routers[0].checks[0].state = CheckState::Failing;
    assert_eq!(code(state.clone()), 1);
    state.virtual_routers[0].alarms.push(Alarm::cannot_send("eth0", libc::EPERM));
    assert_eq!(code(state.clone()), 2);
    assert_eq!(render(&Answer::State(state), true).exit_code, 2, "--json changes no exit code");
}

#[test]
fn json_is_one_line_that_holds_the_payload_alone() {
    let state = testing::state(vec![testing::router()]);
    let text = render(&Answer::State(state.clone()), true).text;
    assert_eq!(text.matches('\n').count(), 1);
    let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(value, serde_json::to_value(state).expect("a state is JSON"));
}

#[test]
fn checks_are_a_table_and_exit_with_1_unless_all_pass() {
    let mut checks = Checks { version: VERSION, time: at(testing::NOW), checks: vec![testing::check()] };
    let output = render(&Answer::Checks(checks.clone()), false);
    assert_eq!(output.exit_code, 0);
    assert_eq!(
        output.text,
        "NAME      STATE    EFFECT  SINCE               LAST RUN   MESSAGE\n\
         registry  passing  -60     06:05:11 UTC (1 h)  0.7 s ago  200 in 3 ms\n"
    );
    checks.checks[0].state = CheckState::Pending;
    checks.checks[0].last_run = None;
    let output = render(&Answer::Checks(checks), false);
    assert_eq!(output.exit_code, 1);
    assert!(output.text.contains("never"), "{}", output.text);
}

#[test]
fn a_reload_prints_what_changed_and_a_refused_one_every_fault() {
    let reloaded = Reloaded {
        version: VERSION,
        changes: vec!["bootstrap: priority 150 -> 140".to_owned()],
        warnings: vec!["vrrpd.toml:3:1: warning: x".to_owned()],
    };
    assert_eq!(
        render(&Answer::Reloaded(reloaded), false).text,
        "reloaded\n  bootstrap: priority 150 -> 140\n  ! vrrpd.toml:3:1: warning: x\n"
    );
    let nothing = Reloaded { version: VERSION, changes: Vec::new(), warnings: Vec::new() };
    assert_eq!(render(&Answer::Reloaded(nothing), false).text, "reloaded; nothing changed\n");
    let refusal =
        Refusal { exit_code: 78, message: "a.toml:1:1: error: x\na.toml:2:1: error: y\n".to_owned() };
    let output = render(&Answer::Error(refusal), false);
    assert_eq!((output.exit_code, output.text.as_str()), (78, ""));
    assert_eq!(output.error, "a.toml:1:1: error: x\na.toml:2:1: error: y\n");
}

#[test]
fn history_and_why_are_lines() {
    let event = Event { time: at(testing::NOW), what: What::Started { version: "0.1.0".to_owned() } };
    let events = Events { version: VERSION, time: at(testing::NOW), events: vec![event], forgotten: 7 };
    assert_eq!(
        render(&Answer::History(events), false).text,
        "(7 older events are no longer kept)\n2026-11-23 07:05:11.000 UTC  vrrpd 0.1.0 started\n"
    );
    let router = |name: &str| WhyRouter {
        name: name.to_owned(),
        lines: vec![format!("{name} is"), "  so".to_owned()],
    };
    let why =
        Why { version: VERSION, time: at(testing::NOW), virtual_routers: vec![router("a"), router("b")] };
    assert_eq!(render(&Answer::Why(why), false).text, "a is\n  so\n\nb is\n  so\n");
}

#[test]
fn what_a_stranger_said_cannot_steer_the_terminal() {
    let mut check = testing::check();
    check.message = "\u{1b}]0;owned\u{7}\u{9b}2J ok".to_owned();
    let checks = Checks { version: VERSION, time: at(testing::NOW), checks: vec![check] };
    let text = render(&Answer::Checks(checks), false).text;
    assert!(text.contains("ok") && !text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
}

#[test]
fn an_order_that_was_obeyed_is_told_with_what_was_not_known() {
    let mut done = Done {
        version: VERSION,
        command: "drain".to_owned(),
        virtual_router: "bootstrap".to_owned(),
        message: "drained; it held no addresses".to_owned(),
        notes: vec!["there is no peer link".to_owned()],
        degraded: false,
        handover: None,
    };
    let output = render(&Answer::Done(done.clone()), false);
    assert_eq!(output.exit_code, 0);
    assert_eq!(output.text, "bootstrap: drained; it held no addresses\n  - there is no peer link\n");
    done.degraded = true;
    assert_eq!(render(&Answer::Done(done.clone()), true).exit_code, 1);
    let json: serde_json::Value =
        serde_json::from_str(&render(&Answer::Done(done), true).text).expect("JSON");
    assert_eq!((&json["version"], &json["command"]), (&1.into(), &"drain".into()));
}

#[test]
fn a_freeze_is_for_a_span() {
    let asked = |lasts: &str| {
        let command = Command::Freeze { name: "web".to_owned(), lasts: lasts.to_owned(), reason: None };
        request(&command, at(testing::NOW)).map(|request| serde_json::to_string(&request).expect("JSON"))
    };
    let expected = r#"{"request":"freeze","name":"web","for":"2h","reason":null}"#;
    assert_eq!(asked("2h").as_deref(), Ok(expected));
    for wrong in ["2", "soon", "-1h", ""] {
        assert!(asked(wrong).expect_err(wrong).contains("--for"), "{wrong}");
    }
}

/// Takes `left` writes, then is closed.
struct Closing {
    left: usize,
    text: Vec<u8>,
}

impl Write for Closing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.left = self.left.checked_sub(1).ok_or(io::ErrorKind::BrokenPipe)?;
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_reader_that_has_seen_enough_changes_no_verdict() {
    let output = Output { text: "long".to_owned(), error: String::new(), exit_code: 1 };
    let mut err = Vec::new();
    assert_eq!(output.write(&mut Closing { left: 0, text: Vec::new() }, &mut err), 1);
    assert!(err.is_empty());
}

#[test]
fn watch_shows_an_unreachable_daemon_as_that_and_ends_with_its_reader() {
    let args = Args::parse_from(["vrrpctl", "watch", "--socket", "/nonexistent/control.sock"]);
    let mut out = Closing { left: 2, text: Vec::new() };
    let code = state::watch(&args, None, &mut out, &mut Vec::new(), std::time::Duration::ZERO);
    assert_eq!(code, 69);
    let text = String::from_utf8(out.text).expect("UTF-8");
    assert_eq!(text.matches("cannot reach vrrpd").count(), 2, "{text}");
}

/// The man page with roff's escapes taken out.
fn man_page() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/man/vrrpctl.8");
    let page = std::fs::read_to_string(path).expect("the man page is in the tree");
    page.replace("\\-", "-").replace("\\fB", "").replace("\\fI", "").replace("\\fR", "")
}

/// Each command as the man page heads it, with the long options of its own.
fn commands(command: &clap::Command, prefix: &str, found: &mut Vec<(String, Vec<String>)>) {
    for sub in command.get_subcommands() {
        let name = format!("{prefix}{}", sub.get_name());
        let own = sub.get_arguments().filter(|argument| !argument.is_global_set());
        let options = own.filter_map(|argument| argument.get_long()).filter(|&long| long != "help");
        let options = options.map(|long| format!("--{long}")).collect();
        if sub.has_subcommands() {
            commands(sub, &format!("{name} "), found);
        } else {
            found.push((name, options));
        }
    }
}

#[test]
fn the_man_page_has_each_command_with_its_options_and_no_other() {
    let page = man_page();
    let section = page.split(".SH COMMANDS").nth(1).and_then(|rest| rest.split(".SH ").next());
    let section = section.expect("a section COMMANDS");
    let mut documented: Vec<(String, Vec<String>)> = Vec::new();
    for paragraph in section.split(".TP\n").skip(1) {
        let heading = paragraph.lines().next().expect("a heading").trim_start_matches(".B ");
        let words =
            heading.split_whitespace().take_while(|word| word.chars().all(|c| c.is_ascii_lowercase()));
        let name = words.collect::<Vec<_>>().join(" ");
        let options = heading.split(['[', ']', ' ']).filter(|word| word.starts_with("--")).map(str::to_owned);
        documented.push((name, options.collect()));
    }
    let mut offered = Vec::new();
    commands(&Args::command(), "", &mut offered);
    documented.sort();
    offered.sort();
    assert_eq!(documented, offered);
}

#[test]
fn the_man_page_has_the_global_options_the_exit_codes_and_the_files() {
    let page = man_page();
    let command = Args::command();
    let global = command.get_arguments().filter(|argument| argument.is_global_set());
    for long in global.filter_map(|argument| argument.get_long()) {
        assert!(page.contains(&format!("\n.B --{long}")), "--{long}");
    }
    let codes = page.split(".SH EXIT STATUS").nth(1).and_then(|rest| rest.split(".SH ").next());
    let codes = codes.expect("a section EXIT STATUS");
    for code in [
        exit::FINE,
        exit::DEGRADED,
        exit::CRITICAL,
        exit::USAGE,
        exit::UNAVAILABLE,
        exit::NOT_PERMITTED,
        exit::CONFIG,
    ] {
        assert!(codes.contains(&format!("\n.B {code}\n")), "exit code {code}");
    }
    for word in [crate::control::DEFAULT_SOCKET, DEFAULT_CONFIG, "VRRPD_SOCKET"] {
        assert!(page.contains(word), "{word}");
    }
}
