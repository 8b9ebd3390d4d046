//! `vrrpctl check --budget`: finds the configurations, and prints what follows from them.

use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use super::table::Table;
use super::{Output, doctor, print, to_json};
use crate::budget::{self, Budget, Holder};
use crate::config::{self, Config};
use crate::control::client;
use crate::control::exit;
use crate::control::protocol::{Answer, Refusal, Request, VERSION};

/// The budget of `file`, or of the running daemon's configuration, against that of `peer`.
pub(super) fn run(file: Option<&Path>, peer: Option<&Path>, socket: &Path, json: bool) -> Output {
    let configs = file
        .map_or_else(|| of_daemon(socket), doctor::load)
        .and_then(|config| Ok((config, peer.map(doctor::load).transpose()?)));
    match configs {
        Ok((config, peer)) => report(&budget::budgets(&config, peer.as_ref()), json),
        Err(refusal) => Output::failure(refusal.exit_code, &refusal.message),
    }
}

fn of_daemon(socket: &Path) -> Result<Config, Refusal> {
    let request = Request::ConfigShow { expanded: false };
    let answer = client::ask(socket, &request, client::patience(&request));
    let answer = answer.map_err(|error| match error {
        client::Error::Refused(refusal) => refusal,
        other => Refusal { exit_code: other.exit_code(), message: other.to_string() },
    })?;
    let Answer::Config(config) = answer else {
        let message = "the daemon answers something else; are both of the same version?".to_owned();
        return Err(Refusal { exit_code: exit::UNAVAILABLE, message });
    };
    let parsed = config::parse("the daemon's configuration", &config.toml);
    parsed
        .map(|(config, _)| config)
        .map_err(|faults| Refusal { exit_code: exit::CONFIG, message: faults.to_string() })
}

/// `vrrpctl check --budget --json`.
#[derive(Serialize)]
struct Report<'a> {
    version: u32,
    virtual_routers: &'a [Budget],
}

fn report(budgets: &[Budget], json: bool) -> Output {
    if json {
        return Output::fine(to_json(&Report { version: VERSION, virtual_routers: budgets }));
    }
    let paragraphs: Vec<String> = budgets.iter().map(paragraph).collect();
    Output::fine(print::harmless(&paragraphs.join("\n")))
}

fn paragraph(budget: &Budget) -> String {
    let holder = match budget.holder {
        Holder::ThisNode => "this node",
        Holder::Peer => "the peer",
    };
    let other = budget.other_priority.map_or_else(|| "unknown".to_owned(), |priority| priority.to_string());
    let mut text = format!(
        "{}: held by {holder} (priority {}; the other node: {other})\n",
        budget.virtual_router, budget.priority
    );
    let mut table = Table::new(["FAILURE", "NOTICED WITHIN", "MOVED WITHIN", "HOW"]);
    for row in &budget.rows {
        table.push([row.failure.clone(), seconds(row.noticed), seconds(row.moved), row.how.clone()]);
    }
    text.extend(table.lines().iter().map(|line| format!("{line}\n")));
    text
}

/// Up to the next millisecond, because these are bounds.
fn seconds(time: Option<Duration>) -> String {
    let Some(time) = time else { return "-".to_owned() };
    let ms = time.as_nanos().div_ceil(1_000_000);
    format!("{}.{:03} s", ms / 1000, ms % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(priority: u8, keys: &str) -> Config {
        let text = format!(
            "[virtual_router.bootstrap]\ninterface = \"eth0\"\nvrid = 201\npriority = {priority}\n\
             addresses = [\"192.0.2.201\"]\n{keys}"
        );
        config::parse("test.toml", &text).expect("a valid configuration").0
    }

    #[test]
    fn the_budget_is_a_table_with_bounds() {
        let check = "checks = [\"x\"]\n[check.x]\ntcp = { address = \"192.0.2.193:443\" }\nweight = -30\n";
        let budgets = budget::budgets(&config(150, check), Some(&config(100, "")));
        let output = report(&budgets, false);
        let lines: Vec<&str> = output.text.lines().collect();
        assert_eq!(lines[0], "bootstrap: held by this node (priority 150; the other node: 100)");
        assert!(lines[2].starts_with("crash of the node      3.610 s         3.610 s"), "{}", lines[2]);
        // 3 x 1 s + 0.1 s + 0.9 s.
        assert!(
            lines[6].starts_with(
                "check x fails          4.000 s         -             moves nothing: 150 - 30 = 120 > 100"
            ),
            "{}",
            lines[6]
        );
        assert_eq!(output.exit_code, 0);
    }

    #[test]
    fn json_has_the_exact_times() {
        let budgets = budget::budgets(&config(150, ""), Some(&config(100, "")));
        let json: serde_json::Value = serde_json::from_str(&report(&budgets, true).text).expect("JSON");
        let router = &json["virtual_routers"][0];
        assert_eq!(
            (router["holder"].as_str(), router["rows"][0]["moved"].as_str()),
            (Some("this_node"), Some("3609375us"))
        );
    }

    #[test]
    fn without_a_file_and_a_daemon_there_is_no_budget() {
        let output = run(None, None, Path::new("/nonexistent/control.sock"), false);
        assert_eq!(output.exit_code, 69);
        let output = run(Some(Path::new("/nonexistent.toml")), None, Path::new("/nonexistent"), false);
        assert_eq!(output.exit_code, 78);
    }
}
