//! `vrrpctl doctor`: gathers what there is to look at, and prints what was found.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::print::one_line;
use super::{Output, print, to_json};
use crate::config::{self, Config};
use crate::control::DEFAULT_SOCKET;
use crate::control::client;
use crate::control::exit;
use crate::control::protocol::{Answer, Refusal, Request, State, VERSION};
use crate::doctor::{self, Case, Finding};

/// What the command line says.
pub(super) struct Options<'a> {
    pub(super) name: Option<&'a str>,
    pub(super) config: &'a Path,
    pub(super) peer_config: Option<&'a Path>,
    pub(super) socket: &'a Path,
    pub(super) json: bool,
}

/// Looks at everything. The daemon need not run.
pub(super) fn run(options: &Options<'_>) -> Output {
    match case(options) {
        Ok(case) => report(&doctor::examine(&case), options.json),
        Err(refusal) => Output::failure(refusal.exit_code, &refusal.message),
    }
}

fn case(options: &Options<'_>) -> Result<Case, Refusal> {
    let mut config = load(options.config)?;
    if let Some(name) = options.name {
        if !config.virtual_routers.iter().any(|router| router.name == name) {
            let known = config.virtual_routers.iter().map(|router| router.name.as_str());
            return Err(Refusal::unknown_name("virtual router", name, known));
        }
        config.virtual_routers.retain(|router| router.name == name);
    }
    let peer = options.peer_config.map(load).transpose()?;
    // The file knows where its daemon listens, unless the command line does.
    let is_default = options.socket == Path::new(DEFAULT_SOCKET);
    let socket = if is_default { &config.daemon.control_socket } else { options.socket };
    let state = state(socket);
    Ok(Case { config, peer, state, root: PathBuf::from("/") })
}

/// A file without a fault; otherwise all of them.
pub(super) fn load(file: &Path) -> Result<Config, Refusal> {
    let loaded = config::load(file);
    loaded
        .map(|(config, _)| config)
        .map_err(|faults| Refusal { exit_code: exit::CONFIG, message: faults.to_string() })
}

/// What the daemon says of itself, or in a few words why it says nothing.
fn state(socket: &Path) -> Result<State, String> {
    let request = Request::State { name: None };
    match client::ask(socket, &request, client::patience(&request)) {
        Ok(Answer::State(state)) => Ok(state),
        Ok(_) => Err("the daemon answers something else; are both of the same version?".to_owned()),
        Err(client::Error::Unreachable { path, .. }) => {
            Err(format!("no daemon answers at {}", path.display()))
        }
        Err(error) => Err(error.to_string()),
    }
}

/// `vrrpctl doctor --json`.
#[derive(Serialize)]
struct Report<'a> {
    version: u32,
    findings: &'a [Finding],
}

fn report(findings: &[Finding], json: bool) -> Output {
    let exit_code = doctor::exit_code(findings);
    let text = if json {
        to_json(&Report { version: VERSION, findings })
    } else {
        print::harmless(&findings.iter().map(lines).collect::<String>())
    };
    Output { text, error: String::new(), exit_code }
}

/// A line, and below it why it matters and what to do.
fn lines(finding: &Finding) -> String {
    let mut text = format!("{:7}  {}\n", finding.verdict.as_str(), one_line(&finding.what));
    if !finding.why.is_empty() {
        text.push_str(&format!("         why: {}\n", one_line(&finding.why)));
    }
    if let Some(fix) = &finding.fix {
        text.push_str(&format!("         fix: {}\n", one_line(fix)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Verdict;

    fn findings() -> Vec<Finding> {
        let fix = Some("remove line 7".to_owned());
        vec![
            Finding {
                name: "a",
                verdict: Verdict::Ok,
                what: "fine".to_owned(),
                why: String::new(),
                fix: None,
            },
            Finding {
                name: "b",
                verdict: Verdict::Fail,
                what: "/etc/hosts:7 maps\nx\u{1b}[2J".to_owned(),
                why: "programs believe it".to_owned(),
                fix,
            },
        ]
    }

    #[test]
    fn a_finding_is_a_line_with_reason_and_fix_below() {
        let output = report(&findings(), false);
        assert_eq!(output.exit_code, 2);
        assert_eq!(
            output.text,
            "ok       fine\n\
             FAIL     /etc/hosts:7 maps x\u{fffd}[2J\n         why: programs believe it\n         fix: remove line 7\n"
        );
    }

    #[test]
    fn the_file_says_where_the_daemon_listens() {
        let file = std::env::temp_dir().join(format!("vrrpctl-doctor-{}.toml", std::process::id()));
        let text = "[daemon]\ncontrol_socket = \"/nonexistent/of-file.sock\"\n[virtual_router.a]\ninterface = \"eth0\"\n\
                    vrid = 7\naddresses = [\"192.0.2.7\"]\n";
        std::fs::write(&file, text).expect("the temporary directory is writable");
        let state_with = |socket: &str, name| {
            let options =
                Options { name, config: &file, peer_config: None, socket: Path::new(socket), json: false };
            case(&options).map(|case| case.state.expect_err("there is no daemon"))
        };
        let said = state_with(DEFAULT_SOCKET, None).expect("a valid file");
        assert!(said.contains("/nonexistent/of-file.sock"), "{said}");
        let said = state_with("/nonexistent/other.sock", Some("a")).expect("a valid file");
        assert!(said.contains("/nonexistent/other.sock"), "{said}");
        let refusal = state_with(DEFAULT_SOCKET, Some("b")).expect_err("there is no such router");
        assert_eq!(refusal.exit_code, 64);
        let _ = std::fs::remove_file(&file);
    }

    #[test]
    fn json_has_every_field_of_every_finding() {
        let output = report(&findings(), true);
        let json: serde_json::Value = serde_json::from_str(&output.text).expect("JSON");
        assert_eq!(output.exit_code, 2, "--json changes no exit code");
        assert_eq!(json["findings"][1]["verdict"], "fail");
        assert_eq!(json["findings"][1]["fix"], "remove line 7");
        assert_eq!(json["findings"][0]["fix"], serde_json::Value::Null);
    }
}
