use serde_json::json;

use super::*;
use crate::control::testing;

#[test]
fn state_json_is_the_contract_of_the_users() {
    let state = testing::state(vec![testing::router()]);
    let json = serde_json::to_value(&state).expect("a state is JSON");
    assert_eq!(json["version"], 1);
    assert_eq!(json["node"], "bootstrap-a");
    let router = &json["virtual_routers"][0];
    for (key, value) in [
        ("name", json!("bootstrap")),
        ("interface", json!("eth0")),
        ("vrid", json!(201)),
        ("family", json!("ipv4")),
        ("vrrp_version", json!(3)),
        ("state", json!("active")),
        ("reason", json!("no_response")),
        ("since", json!("2026-11-23T07:02:11.000000Z")),
        ("priority", json!({ "configured": 150, "effective": 150 })),
        ("active_router", json!({ "address": "192.0.2.193", "priority": 150, "this_node": true })),
        ("advertisement_interval", json!("1s")),
        ("lease", json!("2s")),
    ] {
        assert_eq!(router[key], value, "{key}");
    }
    assert_eq!(router["addresses"][0]["address"], "192.0.2.201/32");
    assert_eq!(router["addresses"][0]["present"], true);
    let check = &router["checks"][0];
    assert_eq!(check["name"], "registry");
    assert_eq!(check["state"], "passing");
    assert_eq!(check["weight"], -60);
    assert_eq!(check["message"], "200 in 3 ms");
    assert_eq!(router["statistics"]["advertisement_sent"], 180);
    assert_eq!(router["statistics"]["master_transitions"], 1);
}

#[test]
fn answers_survive_the_wire() {
    let state = testing::state(vec![testing::router(), testing::backup()]);
    for answer in [
        Answer::State(state),
        Answer::Checks(Checks {
            version: VERSION,
            time: testing::at(testing::NOW),
            checks: vec![testing::check()],
        }),
        Answer::Reloaded(Reloaded {
            version: VERSION,
            changes: vec!["a\nb".to_owned()],
            warnings: Vec::new(),
        }),
        Answer::Config(ConfigText { version: VERSION, toml: "[daemon]\n".to_owned() }),
        Answer::Error(Refusal::usage("no")),
    ] {
        let line = serde_json::to_string(&answer).expect("an answer is JSON");
        assert!(!line.contains('\n'), "one line: {line}");
        assert_eq!(serde_json::from_str::<Answer>(&line).expect("what was written"), answer);
    }
}

#[test]
fn a_request_is_easy_to_type() {
    let parse = |text: &str| serde_json::from_str::<Request>(text);
    assert_eq!(parse(r#"{"request":"state"}"#).expect("a state"), Request::State { name: None });
    assert_eq!(
        parse(r#"{"request":"check","name":"registry"}"#).expect("a check"),
        Request::Check { name: Some("registry".to_owned()), now: false }
    );
    for (text, expanded) in
        [(r#"{"request":"config_show"}"#, false), (r#"{"request":"config_show","expanded":true}"#, true)]
    {
        assert_eq!(parse(text).expect("config show"), Request::ConfigShow { expanded });
    }
}

#[test]
fn half_a_command_is_none() {
    for text in [
        r#"{"request":"reload","dry_run":true}"#,
        r#"{"request":"config_show","file":"x"}"#,
        r#"{"request":"switchover"}"#,
        r#"{"name":"bootstrap"}"#,
        "[]",
        "null",
    ] {
        assert!(serde_json::from_str::<Request>(text).is_err(), "{text}");
    }
}

#[test]
fn only_reload_and_check_now_change_something() {
    assert!(Request::Reload { reason: None }.changes());
    assert!(Request::Check { name: None, now: true }.changes());
    assert!(!Request::Check { name: None, now: false }.changes());
    assert!(!Request::State { name: None }.changes());
    assert!(!Request::ConfigShow { expanded: true }.changes());
}

#[test]
fn an_unknown_name_is_answered_with_the_known_ones() {
    let mut other = testing::backup();
    other.name = "outside".to_owned();
    let state = testing::state(vec![testing::router(), other]);
    let one = state.clone().only(Some("outside")).expect("it exists");
    assert_eq!(one.virtual_routers.len(), 1);
    assert_eq!(one.virtual_routers[0].name, "outside");
    let refusal = state.only(Some("botstrap")).expect_err("a typo");
    assert_eq!(refusal.exit_code, 64);
    assert_eq!(
        refusal.message,
        "there is no virtual router \"botstrap\" (did you mean \"bootstrap\"?); there are: bootstrap, outside"
    );
}
