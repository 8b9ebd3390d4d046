//! What becomes of a record at a real server, and what the server's refusals are called.

use super::super::exchange::Server;
use super::super::message::{Found, signer};
use super::named::Named;
use super::*;
use crate::config::{Tsig, TsigAlgorithm};

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn keeper(update: &DnsUpdate) -> Keeper {
    Keeper::new(update.clone(), watch::channel(true).1, mpsc::channel(1).0)
}

/// One attempt with this configuration: the addresses that it replaced, or the words of its failure.
async fn attempt(update: &DnsUpdate) -> Result<Option<Vec<IpAddr>>, String> {
    keeper(update).attempt().await.map(|kept| kept.was).map_err(|failure| failure.message)
}

async fn refusal(update: &DnsUpdate) -> String {
    attempt(update).await.expect_err("the server refuses")
}

fn with(update: &DnsUpdate, change: impl FnOnce(&mut DnsUpdate)) -> DnsUpdate {
    let mut changed = update.clone();
    change(&mut changed);
    changed
}

/// The record as the server has it.
async fn record(update: &DnsUpdate) -> Found {
    let key = update.tsig.as_ref().map(|tsig| signer(tsig).expect("the key can be used"));
    let server = Server { address: update.servers[0], key: key.as_ref(), clock: wall_clock };
    ask(&server, &Target::new(update).expect("names are right")).await.expect("the server answers")
}

#[tokio::test]
async fn a_record_is_made_ours_once_with_each_algorithm() {
    let Some(named) = Named::start() else { return };
    let mut before = ip("192.0.2.194");
    for (algorithm, value) in [
        (TsigAlgorithm::HmacSha256, "192.0.2.193"),
        (TsigAlgorithm::HmacSha384, "192.0.2.195"),
        (TsigAlgorithm::HmacSha512, "192.0.2.196"),
    ] {
        let update = with(&named.update(), |update| {
            update.tsig = Some(named.key(algorithm));
            update.value = ip(value);
        });
        assert_eq!(attempt(&update).await, Ok(Some(vec![before])), "{algorithm:?}");
        assert!(Target::new(&update).expect("names are right").is(&record(&update).await), "TTL and all");
        assert_eq!(attempt(&update).await, Ok(None), "what is right is left alone");
        before = ip(value);
    }
}

#[tokio::test]
async fn a_name_without_a_record_gets_one_and_the_other_family_is_left_alone() {
    let Some(named) = Named::start() else { return };
    let new = with(&named.update(), |update| update.record = "new.example.net".to_owned());
    assert_eq!(attempt(&new).await, Ok(Some(vec![])));
    let six = with(&named.update(), |update| update.value = ip("2001:db8::193"));
    assert_eq!(attempt(&six).await, Ok(Some(vec![])));
    assert_eq!(record(&named.update()).await.addresses, [ip("192.0.2.194")]);
    assert_eq!(record(&six).await.addresses, [ip("2001:db8::193")]);
}

/// The server answers with the wildcard's address, and the name has no record that could be compared.
#[tokio::test]
async fn a_name_below_a_wildcard_gets_a_record_of_its_own() {
    let Some(named) = Named::start() else { return };
    let wild = with(&named.update(), |update| update.record = "www.wild.example.net".to_owned());
    assert_eq!(record(&wild).await.addresses, [ip("192.0.2.200")]);
    assert_eq!(attempt(&wild).await, Ok(Some(vec![ip("192.0.2.200")])));
    assert!(Target::new(&wild).expect("names are right").is(&record(&wild).await));
    assert_eq!(attempt(&wild).await, Ok(None));
}

#[tokio::test]
async fn a_ttl_that_outlives_a_failover_is_replaced() {
    let Some(named) = Named::start() else { return };
    let same = with(&named.update(), |update| update.value = ip("192.0.2.194"));
    assert_eq!(attempt(&same).await, Ok(Some(vec![ip("192.0.2.194")])), "it had a day");
    assert_eq!(attempt(&same).await, Ok(None));
}

/// Between the question and the UPDATE somebody else was faster: nothing is overwritten unseen.
#[tokio::test]
async fn an_update_holds_only_for_what_was_read() {
    let Some(named) = Named::start() else { return };
    let update = named.update();
    let key = signer(update.tsig.as_ref().expect("it has one")).expect("the key can be used");
    let server = Server { address: named.address, key: Some(&key), clock: wall_clock };
    let target = Target::new(&update).expect("names are right");
    let nothing = server.exchange(&target.change(&Found::default()), Task::Change).await.expect("an answer");
    assert_eq!(nothing.metadata.response_code, ResponseCode::YXRRSet);
    let read = record(&update).await;
    let other = with(&update, |update| update.value = ip("192.0.2.195"));
    assert_eq!(attempt(&other).await, Ok(Some(vec![ip("192.0.2.194")])));
    let late = server.exchange(&target.change(&read), Task::Change).await.expect("an answer");
    assert_eq!(late.metadata.response_code, ResponseCode::NXRRSet);
    assert_eq!(record(&update).await.addresses, [ip("192.0.2.195")]);
    assert_eq!(
        attempt(&update).await,
        Ok(Some(vec![ip("192.0.2.195")])),
        "read again, it is ours to replace"
    );
}

#[tokio::test]
async fn what_a_server_refuses_has_a_name_and_a_reason() {
    let Some(named) = Named::start() else { return };
    let (update, server) = (named.update(), named.address);
    let key = |name: &str, secret: &str| {
        let secret_file = named.secret_file("other", secret);
        Some(Tsig { name: name.to_owned(), algorithm: TsigAlgorithm::HmacSha256, secret_file })
    };

    let fixed = with(&update, |update| {
        update.zone = "static.example".to_owned();
        update.record = "www.static.example".to_owned();
    });
    assert_eq!(
        refusal(&fixed).await,
        format!(
            "REFUSED: the zone static.example has allow-update none, is frozen, or does not let key hmac-sha256 \
             change www.static.example A at {server}"
        )
    );
    let forbidden = with(&update, |update| update.record = "ns.example.net".to_owned());
    assert!(refusal(&forbidden).await.starts_with("REFUSED: the zone example.net has "));
    let failure = keeper(&forbidden).attempt().await.err().and_then(|failure| failure.remedy);
    assert_eq!(
        failure.as_deref(),
        Some("in the zone: update-policy { grant hmac-sha256. name ns.example.net. A; };")
    );

    let stranger = with(&update, |update| update.tsig = key("nobody", "c2VjcmV0"));
    assert_eq!(
        refusal(&stranger).await,
        format!("BADKEY: {server} does not know key nobody with hmac-sha256")
    );
    let forger = with(&update, |update| update.tsig = key("hmac-sha256", "c2VjcmV0"));
    assert_eq!(refusal(&forger).await, format!("BADSIG: {server} has another secret for key hmac-sha256"));
    let unsigned = with(&update, |update| update.tsig = None);
    assert!(refusal(&unsigned).await.contains("does not let this node change www.example.net A"));

    let parent = with(&update, |update| update.zone = "net".to_owned());
    assert_eq!(refusal(&parent).await, format!("NOTAUTH: {server} does not have the zone net"));
    let outside = with(&update, |update| update.record = "www.static.example".to_owned());
    assert_eq!(
        refusal(&outside).await,
        format!("NOTZONE: www.static.example is not in the zone example.net of {server}")
    );
    let elsewhere = with(&update, |update| update.record = "www.example.org".to_owned());
    assert_eq!(
        refusal(&elsewhere).await,
        format!("REFUSED: {server} does not let this node ask for www.example.org")
    );
    let alias = with(&update, |update| update.record = "alias.example.net".to_owned());
    assert!(refusal(&alias).await.starts_with("alias.example.net is an alias (CNAME) of www.example.net."));
    assert_eq!(record(&update).await.addresses, [ip("192.0.2.194")], "none of them changed it");
}

#[tokio::test]
async fn a_wrong_clock_is_named_with_how_wrong_it_is() {
    let Some(named) = Named::start() else { return };
    for (clock, way) in [
        ((|| wall_clock() + 3600) as fn() -> u64, "behind"),
        ((|| wall_clock() - 3600) as fn() -> u64, "ahead of"),
    ] {
        let mut keeper = keeper(&named.update());
        keeper.clock = clock;
        let message = keeper.attempt().await.err().expect("the server refuses").message;
        let seconds = message.split(' ').find_map(|word| word.parse::<u64>().ok()).expect("a number");
        assert!(message.starts_with(&format!("BADTIME: the clock of {} is ", named.address)), "{message}");
        assert!(message.ends_with(&format!(" s {way} this node's")), "{message}");
        assert!((3590..=3610).contains(&seconds), "{message}");
    }
}

#[tokio::test]
async fn a_server_that_is_silent_or_gone_leaves_it_to_the_next() {
    let Some(named) = Named::start() else { return };
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").expect("the loopback has ports");
    let gone = {
        let closed = std::net::UdpSocket::bind("127.0.0.1:0").expect("the loopback has ports");
        closed.local_addr().expect("it is bound")
    };
    let silent_address = silent.local_addr().expect("it is bound");
    let alone = with(&named.update(), |update| {
        update.servers = vec![silent_address, gone];
        update.timeout = Duration::from_millis(100);
    });
    let both = refusal(&alone).await;
    assert!(both.starts_with(&format!(
        "timeout: {silent_address} was not done within 100 ms; {gone} cannot be reached"
    )));
    // One deadline for each: the one that answers has as long as it needs.
    let helped = with(&named.update(), |update| update.servers = vec![gone, named.address]);
    assert_eq!(attempt(&helped).await, Ok(Some(vec![ip("192.0.2.194")])));
}

/// A cache may have any answer, an authority its own one.
#[test]
fn only_an_authority_is_believed() {
    let update = DnsUpdate {
        name: "www".to_owned(),
        virtual_router: "bootstrap".to_owned(),
        servers: vec!["192.0.2.192:53".parse().expect("an address with a port")],
        zone: "example.net".to_owned(),
        record: "www.example.net".to_owned(),
        value: ip("192.0.2.193"),
        ttl: Duration::from_secs(10),
        refresh: Duration::from_secs(60),
        timeout: Duration::from_secs(5),
        tsig: None,
    };
    let target = Target::new(&update).expect("names are right");
    let mut answer = target.ask().into_response();
    answer.metadata.authoritative = false;
    assert_eq!(target.found(&answer), Err(Fault::NotAuthoritative));
    answer.metadata.authoritative = true;
    assert_eq!(target.found(&answer), Ok(Found::default()));
    answer.metadata.response_code = ResponseCode::NXDomain;
    assert_eq!(target.found(&answer), Ok(Found::default()));
    answer.metadata.response_code = ResponseCode::ServFail;
    assert_eq!(target.found(&answer), Err(Fault::Declined(Task::Ask, ResponseCode::ServFail)));
}

async fn next(reports: &mut mpsc::Receiver<Report>, progress: Progress) -> Report {
    let fitting = async {
        loop {
            let report = reports.recv().await.expect("the task runs");
            if report.standing.progress == progress {
                return report;
            }
        }
    };
    timeout(Duration::from_secs(30), fitting).await.expect("it comes to this in time")
}

#[tokio::test]
async fn the_role_decides_and_what_others_change_is_put_back() {
    let Some(named) = Named::start() else { return };
    let update = named.update();
    let (role, followed) = watch::channel(false);
    let (sender, mut reports) = mpsc::channel(64);
    let task = tokio::spawn(Keeper::new(update.clone(), followed, sender).run());

    // Whatever it did as a Backup would be seen before this.
    assert_eq!(record(&update).await.addresses, [ip("192.0.2.194")]);
    role.send_replace(true);
    let first = next(&mut reports, Progress::Confirmed).await;
    let server = named.address;
    let was = vec![ip("192.0.2.194")];
    assert_eq!(first.event, Some(Event::Changed { server, was, again: false }));
    assert!(first.standing.confirmed.is_some());

    let other = with(&update, |update| update.value = ip("192.0.2.195"));
    assert_eq!(attempt(&other).await, Ok(Some(vec![ip("192.0.2.193")])));
    let again = loop {
        if let Some(event) = next(&mut reports, Progress::Confirmed).await.event {
            break event;
        }
    };
    assert_eq!(again, Event::Changed { server, was: vec![ip("192.0.2.195")], again: true });

    role.send_replace(false);
    let standby = next(&mut reports, Progress::Standby).await;
    assert_eq!((standby.event, standby.standing.confirmed), (None, None));
    assert_eq!(record(&update).await.addresses, [ip("192.0.2.193")], "who leaves removes nothing");
    drop(role);
    task.await.expect("it ends when nobody follows");
}

#[tokio::test]
async fn a_failure_is_told_once_and_tried_again() {
    let Some(named) = Named::start() else { return };
    let mut update = named.update();
    let secret_file = update.tsig.as_ref().expect("it has one").secret_file.clone();
    std::fs::rename(&secret_file, secret_file.with_extension("away")).expect("ours");
    update.timeout = Duration::from_secs(30);
    let (_role, followed) = watch::channel(true);
    let (sender, mut reports) = mpsc::channel(64);
    let _task = tokio::spawn(Keeper::new(update, followed, sender).run());
    let first = next(&mut reports, Progress::Failing).await;
    let message = format!("secret_file {}: there is no such file", secret_file.display());
    assert_eq!(first.event, Some(Event::Failed { message }));
    let second = next(&mut reports, Progress::Failing).await;
    assert_eq!((second.event, second.standing.since), (None, first.standing.since));
    std::fs::rename(secret_file.with_extension("away"), &secret_file).expect("ours");
    next(&mut reports, Progress::Confirmed).await;
}

#[test]
fn the_wait_after_failures_doubles_up_to_a_minute_and_is_never_the_same() {
    let seconds = |failures: u32| (0..100).map(move |_| back_off(failures).as_secs_f64());
    for (failures, middle) in [(1, 1.0), (2, 2.0), (4, 8.0), (7, 60.0), (u32::MAX, 60.0)] {
        assert!(seconds(failures).all(|wait| (middle * 0.75..=middle * 1.25).contains(&wait)), "{failures}");
        let first = back_off(failures);
        assert!((0..100).any(|_| back_off(failures) != first), "{failures}");
    }
}
