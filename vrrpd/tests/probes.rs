//! The kinds of checks that ask name servers, hosts and this node itself: against real sockets, a real
//! file system and real processes, in a network and a table of mounts of their own.

use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use tokio::sync::mpsc;
use vrrpd::check::{CheckResult, Checks};
use vrrpd::config::{Check, Effect, Probe, When};

#[path = "probes/dns.rs"]
mod dns;
mod forked;
#[path = "probes/hosts.rs"]
mod hosts;
#[path = "probes/node.rs"]
mod node;
#[path = "probes/place.rs"]
mod place;

use dns::*;
use forked::{Fixture, cases};
use hosts::*;
use node::*;

fn main() -> ExitCode {
    if let Err(cause) = place::enter() {
        return place::skip(&cause);
    }
    forked::run(cases![
        an_answer_passes_with_data_and_ttl,
        letters_of_another_case_and_an_option_record_make_no_difference,
        another_answer_fails_and_both_are_told,
        a_ttl_that_is_too_long_fails,
        a_response_code_is_told_by_its_name,
        a_name_without_a_record_of_the_type_fails,
        an_alias_is_followed_to_its_end,
        aliases_in_a_circle_end,
        answers_to_other_questions_are_passed_over,
        only_answers_to_other_questions_are_no_answer,
        a_question_that_is_lost_is_asked_again,
        each_question_has_another_number_and_port,
        a_truncated_answer_is_asked_for_over_tcp,
        tcp_alone_is_asked_when_so_configured,
        a_server_that_is_not_there_is_told,
        every_type_is_compared_as_dig_shows_it,
        bind_is_asked_past_the_resolver_of_the_system,
        hosts_of_both_families_answer,
        a_silent_host_is_named_and_the_quorum_decides,
        a_source_that_is_missing_is_told,
        a_link_local_host_is_asked_through_its_interface,
        a_host_that_cannot_be_asked_is_one_that_does_not_answer,
        the_routers_of_default_routes_are_asked,
        a_silent_router_is_made_up_for_by_the_peer,
        a_router_that_is_a_target_too_has_one_vote,
        a_router_of_two_routes_has_one_vote,
        an_address_of_this_node_is_found,
        an_address_that_goes_is_missed,
        a_full_file_system_is_seen,
        a_file_system_that_is_not_mounted_is_missed,
        a_process_that_ends_is_missed,
        a_unit_without_processes_is_missed,
        a_maintenance_file_is_seen,
        a_hosts_file_is_read,
    ])
}

const LONG: Duration = Duration::from_secs(3600);
/// More than any answer takes; the end of patience for those that are to come.
const PATIENCE: Duration = Duration::from_secs(20);

fn check(probe: Probe, timeout: Duration) -> Check {
    Check {
        name: "probe".to_owned(),
        probe,
        interval: LONG,
        preset: None,
        fast_interval: None,
        timeout,
        rise: 2,
        fall: 3,
        when: When::Always,
        effect: Effect::Demote,
    }
}

/// A check that is run by hand.
struct Asked {
    checks: Checks,
    results: mpsc::Receiver<CheckResult>,
    runs: u32,
}

impl Asked {
    fn new(fixture: &Fixture, probe: Probe, timeout: Duration) -> Self {
        let (sender, results) = mpsc::channel(64);
        let mut checks = Checks::new(fixture.launcher.clone(), sender);
        checks.apply(&[check(probe, timeout)]);
        Self { checks, results, runs: 0 }
    }

    /// What the next run says. The first comes by itself.
    async fn said(&mut self) -> Result<String, String> {
        self.runs += 1;
        if self.runs > 1 {
            self.checks.run_now("probe").await.expect("the check runs");
        }
        let result = self.results.recv().await.expect("each run is reported");
        if result.passed { Ok(result.message) } else { Err(result.message) }
    }
}

/// What the first run says.
async fn said(fixture: &Fixture, probe: Probe) -> Result<String, String> {
    said_within(fixture, probe, PATIENCE).await
}

async fn said_within(fixture: &Fixture, probe: Probe, timeout: Duration) -> Result<String, String> {
    Asked::new(fixture, probe, timeout).said().await
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an IP address")
}

fn localhost(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}
