//! Checks against servers on the loopback interface and against real scripts.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::{HandshakeKind, ServerConfig};
use vrrpd::check::CheckState::{Failing, Passing, Pending};
use vrrpd::check::{CheckResult, Checks};
use vrrpd::config::{Check, Effect, Endpoint, Exec, Http, HttpMethod, MAX_BODY, Probe, Tcp, Tls, Url, When};

mod forked;
mod servers;

use forked::{Fixture, cases};
use servers::{authority, closed, drips, endless, hold, ok, question, says, says_status, serve};

fn main() -> ExitCode {
    forked::run(cases![
        an_allowed_status_passes,
        another_status_fails_with_the_beginning_of_the_body,
        a_redirect_is_an_answer_like_any_other,
        a_name_is_looked_up,
        a_refused_connection_is_named,
        silence_is_a_failure_at_the_deadline,
        a_dribbling_body_is_a_failure_at_the_deadline,
        a_wrong_status_is_told_even_if_the_body_hangs,
        a_broken_body_is_a_failure,
        of_a_long_body_one_mebibyte_is_enough,
        head_waits_for_no_body,
        garbage_is_not_http,
        a_huge_head_is_refused,
        an_early_end_is_a_failure,
        tls_with_the_right_name_passes_and_tells_the_name,
        a_certificate_for_another_name_fails,
        an_unknown_authority_fails,
        an_authority_made_anew_under_its_old_name_is_told,
        each_run_looks_at_the_certificate_anew,
        an_expired_certificate_fails,
        a_ca_file_that_cannot_be_read_fails_each_run,
        plain_http_to_a_tls_port_and_the_reverse_are_told,
        tcp_passes_when_connected_and_fails_when_refused,
        tcp_connects_from_the_source,
        tcp_to_a_full_backlog_fails_at_the_deadline,
        a_script_passes_with_exit_code_zero_only,
        a_script_that_is_missing_or_hangs_fails,
        rise_and_fall_count_real_runs,
        runs_never_overlap,
        a_check_can_be_run_now,
        a_reload_keeps_what_still_holds,
        while_in_doubt_runs_follow_faster,
        a_check_that_is_stopped_in_a_run_says_nothing_more,
    ])
}

const LONG: Duration = Duration::from_secs(3600);

fn check(probe: Probe, timeout: Duration) -> Check {
    let name = "registry".to_owned();
    let (when, effect) = (When::Always, Effect::Demote);
    Check {
        name,
        probe,
        preset: None,
        interval: LONG,
        fast_interval: None,
        timeout,
        rise: 2,
        fall: 3,
        when,
        effect,
    }
}

/// The result of the first run, which comes at once.
async fn first(fixture: &Fixture, check: Check) -> CheckResult {
    let (sender, mut results) = mpsc::channel(8);
    let mut checks = Checks::new(fixture.launcher.clone(), sender);
    checks.apply(&[check]);
    results.recv().await.expect("the check runs")
}

async fn message(fixture: &Fixture, probe: Probe) -> Result<String, String> {
    let result = first(fixture, check(probe, Duration::from_secs(20))).await;
    if result.passed { Ok(result.message) } else { Err(result.message) }
}

async fn late(fixture: &Fixture, probe: Probe) -> String {
    let result = first(fixture, check(probe, Duration::from_millis(250))).await;
    assert!(!result.passed, "{}", result.message);
    result.message
}

fn http(address: SocketAddr) -> Http {
    let url =
        Url { tls: false, host: address.ip().to_string(), port: address.port(), path: "/v2/".to_owned() };
    let endpoint = Endpoint { url, connect: None, basic_auth_file: None, tls: Tls::default() };
    Http {
        endpoint,
        method: HttpMethod::Get,
        headers: Vec::new(),
        status: vec![200],
        body: None,
        length: None,
        min_length: None,
        sha256: None,
        max_body: MAX_BODY,
    }
}

fn probe(http: Http) -> Probe {
    Probe::Http(Box::new(http))
}

fn plain(address: SocketAddr) -> Probe {
    probe(http(address))
}

fn exec(script: &str) -> Probe {
    let argv = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
    Probe::Exec(Exec { argv, user: None })
}

async fn an_allowed_status_passes(fixture: Fixture) {
    let address = says(ok("well")).await;
    let said = message(&fixture, plain(address)).await.expect("200 is expected");
    assert!(said.starts_with("200 in ") && said.ends_with(" ms"), "{said}");

    let address = says("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n").await;
    let both = probe(Http { status: vec![200, 401], ..http(address) });
    assert!(message(&fixture, both).await.expect("401 is expected").starts_with("401 in "));
    let wanted =
        "401 instead of 200; the server wants a user and a password: basic_auth_file, or 401 in status";
    assert_eq!(message(&fixture, plain(address)).await, Err(wanted.to_owned()));
}

async fn another_status_fails_with_the_beginning_of_the_body(fixture: Fixture) {
    let body = format!("no\nstorage {}", "x".repeat(5000));
    let answer = format!("HTTP/1.1 503 Unavailable\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let address = says(answer).await;
    let probe = probe(Http { status: vec![200, 401], ..http(address) });
    let said = message(&fixture, probe).await.expect_err("503 is not expected");
    let shown = said.strip_prefix("503 instead of 200 or 401: ").expect("it says what was wanted");
    assert!(shown.starts_with("no storage xxx") && shown.ends_with('…') && shown.len() <= 80, "{shown}");
}

async fn a_redirect_is_an_answer_like_any_other(fixture: Fixture) {
    let address = says("HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!(message(&fixture, plain(address)).await, Err("302 instead of 200".to_owned()));
}

async fn a_name_is_looked_up(fixture: Fixture) {
    let address = says(ok("")).await;
    let named = |name: &str| {
        let mut http = http(address);
        http.endpoint.url.host = name.to_owned();
        probe(http)
    };
    assert!(message(&fixture, named("localhost")).await.is_ok());
    let said = message(&fixture, named("does-not-exist.invalid")).await.expect_err("no such name");
    assert!(said.starts_with("name does-not-exist.invalid "), "{said}");
}

async fn a_refused_connection_is_named(fixture: Fixture) {
    let address = closed().await;
    assert_eq!(message(&fixture, plain(address)).await, Err(format!("connection refused by {address}")));
}

async fn silence_is_a_failure_at_the_deadline(fixture: Fixture) {
    let address = says("").await;
    let said = late(&fixture, plain(address)).await;
    assert_eq!(said, format!("deadline of 250 ms passed while waiting for the answer of {address}"));
    let (ca_file, _) = authority("silence", "www.example.com", false);
    let said = late(&fixture, https(address, "www.example.com", &ca_file, 200)).await;
    assert_eq!(said, format!("deadline of 250 ms passed while waiting for the TLS handshake of {address}"));
}

async fn a_dribbling_body_is_a_failure_at_the_deadline(fixture: Fixture) {
    let address = drips().await;
    let said = late(&fixture, plain(address)).await;
    assert_eq!(said, "deadline of 250 ms passed while waiting for the answer's body");
}

async fn a_wrong_status_is_told_even_if_the_body_hangs(fixture: Fixture) {
    let address = says("HTTP/1.1 503 Unavailable\r\nContent-Length: 10\r\n\r\n").await;
    let said = late(&fixture, plain(address)).await;
    let deadline = "deadline of 250 ms passed while waiting for the answer's body";
    assert_eq!(said, format!("503 instead of 200; {deadline}"));
}

async fn a_broken_body_is_a_failure(fixture: Fixture) {
    let address = serve(|mut stream| async move {
        question(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort").await;
    })
    .await;
    let said = message(&fixture, plain(address)).await.expect_err("five octets are missing");
    assert!(said.starts_with("200 and then the body broke off: "), "{said}");
}

async fn of_a_long_body_one_mebibyte_is_enough(fixture: Fixture) {
    let address = endless("Content-Length: 99999999999\r\n").await;
    let said = message(&fixture, plain(address)).await.expect("it does not wait for the end");
    assert!(said.ends_with(" ms, of the body the first 1 MiB"), "{said}");
}

async fn head_waits_for_no_body(fixture: Fixture) {
    let address = serve(|mut stream| async move {
        let question = question(&mut stream).await;
        assert!(question.starts_with("HEAD /v2/ HTTP/1.1\r\n"), "{question}");
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n").await;
        hold(stream).await;
    })
    .await;
    let probe = probe(Http { method: HttpMethod::Head, ..http(address) });
    assert!(message(&fixture, probe).await.is_ok());
}

async fn garbage_is_not_http(fixture: Fixture) {
    let address = says("SSH-2.0-OpenSSH_9.2\r\n").await;
    let said = message(&fixture, plain(address)).await.expect_err("it is ssh");
    assert!(said.starts_with(&format!("the answer of {address} is not HTTP: ")), "{said}");
}

async fn a_huge_head_is_refused(fixture: Fixture) {
    for fields in [format!("X: {}\r\n", "x".repeat(200_000)), "X: x\r\n".repeat(1000)] {
        let address = says(format!("HTTP/1.1 200 OK\r\n{fields}\r\n")).await;
        let said = message(&fixture, plain(address)).await.expect_err("that is too much");
        assert!(said.starts_with(&format!("the head of the answer of {address} is too large")), "{said}");
    }
}

async fn an_early_end_is_a_failure(fixture: Fixture) {
    let address = serve(|mut stream| async move {
        question(&mut stream).await;
    })
    .await;
    let said = message(&fixture, plain(address)).await;
    assert_eq!(said, Err(format!("{address} closed the connection before the end of its answer")));
}

/// A TLS server that answers with the name it was asked for.
async fn tls_server(config: Arc<ServerConfig>) -> SocketAddr {
    let acceptor = TlsAcceptor::from(config);
    serve(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            if let Ok(mut stream) = acceptor.accept(stream).await {
                let question = question(&mut stream).await;
                let sni = stream.get_ref().1.server_name().unwrap_or_default().to_owned();
                let agreed = stream.get_ref().1.alpn_protocol() == Some(b"http/1.1");
                let expected = agreed && question.contains(&format!("\r\nhost: {sni}:8443\r\n"));
                answer_tls(&mut stream, if expected { &sni } else { &question }).await;
            }
        }
    })
    .await
}

async fn answer_tls(stream: &mut (impl AsyncWrite + Unpin), name: &str) {
    let answer = format!("HTTP/1.1 203 Name\r\nContent-Length: {}\r\n\r\n{name}", name.len());
    // The client may have turned away.
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.shutdown().await;
}

fn https(address: SocketAddr, host: &str, ca_file: &Path, status: u16) -> Probe {
    let url = Url { tls: true, host: host.to_owned(), port: 8443, path: "/".to_owned() };
    let tls = Tls { ca_file: Some(ca_file.to_owned()), ..Tls::default() };
    let endpoint = Endpoint { url, connect: Some(address), basic_auth_file: None, tls };
    probe(Http { endpoint, status: vec![status], ..http(address) })
}

async fn tls_with_the_right_name_passes_and_tells_the_name(fixture: Fixture) {
    let (ca_file, server) = authority("right", "www.example.com", false);
    let address = tls_server(server).await;
    assert!(message(&fixture, https(address, "www.example.com", &ca_file, 203)).await.is_ok());
    let said = message(&fixture, https(address, "www.example.com", &ca_file, 200)).await;
    assert_eq!(
        said,
        Err("203 instead of 200: www.example.com".to_owned()),
        "SNI and Host carry the URL's host"
    );
}

async fn a_certificate_for_another_name_fails(fixture: Fixture) {
    let (ca_file, server) = authority("other", "www.example.org", false);
    let address = tls_server(server).await;
    let said = message(&fixture, https(address, "www.example.com", &ca_file, 203)).await;
    let begin = format!("certificate of {address} is not valid for name www.example.com: it is for ");
    let said = said.expect_err("another name");
    assert!(said.starts_with(&begin) && said.contains("www.example.org"), "{said}");
}

async fn an_unknown_authority_fails(fixture: Fixture) {
    let (_, server) = authority("one", "www.example.com", false);
    let (ca_file, _) = authority("another", "www.example.com", false);
    let address = tls_server(server).await;
    let said = message(&fixture, https(address, "www.example.com", &ca_file, 203)).await;
    let wanted =
        format!("certificate of {address} comes from an authority that is not trusted here: see ca_file");
    assert_eq!(said, Err(wanted));
}

async fn an_authority_made_anew_under_its_old_name_is_told(fixture: Fixture) {
    let (_, server) = authority("anew", "www.example.com", false);
    let (ca_file, _) = authority("anew", "www.example.com", false);
    let address = tls_server(server).await;
    let said = message(&fixture, https(address, "www.example.com", &ca_file, 203)).await;
    assert!(said.expect_err("the key is another").ends_with("is ca_file out of date?"));
}

async fn each_run_looks_at_the_certificate_anew(fixture: Fixture) {
    let (ca_file, server) = authority("resume", "www.example.com", false);
    let acceptor = TlsAcceptor::from(server);
    let (sender, mut handshakes) = mpsc::channel(8);
    let address = serve(move |stream| {
        let (acceptor, sender) = (acceptor.clone(), sender.clone());
        async move {
            let mut stream = acceptor.accept(stream).await.expect("the client is satisfied");
            let _ = sender.send(stream.get_ref().1.handshake_kind()).await;
            question(&mut stream).await;
            answer_tls(&mut stream, "").await;
            hold(stream).await;
        }
    })
    .await;
    let (results, _receiver) = mpsc::channel(8);
    let mut checks = Checks::new(fixture.launcher.clone(), results);
    let probe = https(address, "www.example.com", &ca_file, 203);
    checks.apply(&[check(probe, Duration::from_secs(20))]);
    for _ in 0..3 {
        assert!(checks.run_now("registry").await.expect("it is configured").passed);
        assert_eq!(handshakes.recv().await, Some(Some(HandshakeKind::Full)));
    }
}

async fn an_expired_certificate_fails(fixture: Fixture) {
    let (ca_file, server) = authority("expired", "www.example.com", true);
    let address = tls_server(server).await;
    let said = message(&fixture, https(address, "www.example.com", &ca_file, 203)).await;
    assert_eq!(said, Err(format!("certificate of {address} expired at 2021-01-01T00:00:00Z")));
}

async fn a_ca_file_that_cannot_be_read_fails_each_run(fixture: Fixture) {
    let probe = https(closed().await, "www.example.com", Path::new("/does/not/exist"), 200);
    let said = message(&fixture, probe).await.expect_err("no such file");
    assert!(said.starts_with("cannot read ca_file /does/not/exist: "), "{said}");
}

async fn plain_http_to_a_tls_port_and_the_reverse_are_told(fixture: Fixture) {
    let (ca_file, server) = authority("reverse", "www.example.com", false);
    let address = tls_server(server).await;
    let said = message(&fixture, plain(address)).await;
    assert_eq!(said, Err(format!("{address} speaks TLS: for HTTPS the URL begins with https://")));

    let address = says("HTTP/1.1 400 Bad Request\r\n\r\n").await;
    let address = serve(move |mut stream| async move {
        let mut other = TcpStream::connect(address).await.expect("it listens");
        let _ = other.write_all(b"\r\n\r\n").await;
        let _ = tokio::io::copy_bidirectional(&mut stream, &mut other).await;
    })
    .await;
    let said = message(&fixture, https(address, "www.example.com", &ca_file, 200)).await;
    let wanted = format!("{address} does not speak TLS: for plain HTTP the URL begins with http://");
    assert_eq!(said, Err(wanted));
}

fn tcp(address: SocketAddr, source: Option<IpAddr>) -> Probe {
    Probe::Tcp(Tcp { address: address.to_string(), source, expect: None })
}

async fn tcp_passes_when_connected_and_fails_when_refused(fixture: Fixture) {
    let address = says("").await;
    let said = message(&fixture, tcp(address, None)).await.expect("it listens");
    assert!(said.starts_with("connected in "), "{said}");
    let address = closed().await;
    assert_eq!(message(&fixture, tcp(address, None)).await, Err(format!("connection refused by {address}")));
}

async fn tcp_connects_from_the_source(fixture: Fixture) {
    let (sender, mut sources) = mpsc::channel(1);
    let address = serve(move |stream| {
        let (sender, peer) = (sender.clone(), stream.peer_addr());
        async move {
            let _ = sender.send(peer.expect("it is connected").ip()).await;
        }
    })
    .await;
    let source = IpAddr::from([127, 0, 0, 77]);
    assert!(message(&fixture, tcp(address, Some(source))).await.is_ok());
    assert_eq!(sources.recv().await, Some(source));
    let said = message(&fixture, tcp(address, Some(IpAddr::from([192, 0, 2, 77])))).await;
    let wanted = "cannot connect from 192.0.2.77: this node does not have that address now";
    assert_eq!(said, Err(wanted.to_owned()));
    let said = message(&fixture, tcp(address, Some("::1".parse().expect("it is an address")))).await;
    assert_eq!(said, Err("the name has no address of the same family as `source`".to_owned()));
}

async fn tcp_to_a_full_backlog_fails_at_the_deadline(fixture: Fixture) {
    let socket = tokio::net::TcpSocket::new_v4().expect("there are descriptors");
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a port is free");
    let listener = socket.listen(1).expect("it is bound");
    let address = listener.local_addr().expect("it is bound");
    let mut waiting = Vec::new();
    while let Ok(Ok(stream)) =
        tokio::time::timeout(Duration::from_millis(200), TcpStream::connect(address)).await
    {
        waiting.push(stream);
    }
    let said = late(&fixture, tcp(address, None)).await;
    assert_eq!(said, format!("deadline of 250 ms passed while connecting to {address}"));
}

async fn a_script_passes_with_exit_code_zero_only(fixture: Fixture) {
    let said = message(&fixture, exec("echo $VRRPD_CHECK is well")).await;
    assert_eq!(said, Ok("exit code 0: registry is well".to_owned()));
    let said = message(&fixture, exec("echo out; echo no disk >&2; exit 3")).await;
    assert_eq!(said, Err("exit code 3: no disk".to_owned()));
    assert_eq!(message(&fixture, exec("kill -KILL $$")).await, Err("killed by SIGKILL".to_owned()));
}

async fn a_script_that_is_missing_or_hangs_fails(fixture: Fixture) {
    let missing = Probe::Exec(Exec { argv: vec!["/does/not/exist".to_owned()], user: None });
    assert_eq!(message(&fixture, missing).await, Err("/does does not exist".to_owned()));
    let said = late(&fixture, exec("trap 'exit 0' TERM; echo copying; sleep 1000")).await;
    assert!(said.starts_with("killed after ") && said.ends_with(" ms, its deadline: copying"), "{said}");
}

async fn rise_and_fall_count_real_runs(fixture: Fixture) {
    let status = Arc::new(AtomicU16::new(200));
    let address = says_status(Arc::clone(&status)).await;
    let (sender, mut results) = mpsc::channel(8);
    let mut checks = Checks::new(fixture.launcher.clone(), sender);
    let interval = Duration::from_millis(20);
    checks.apply(&[Check { interval, ..check(plain(address), Duration::from_secs(20)) }]);
    let mut seen = Vec::new();
    while let Some(result) = results.recv().await {
        if result.state != result.previous_state {
            seen.push((result.previous_state, result.state));
            status.store(if result.state == Passing { 503 } else { 200 }, Ordering::Relaxed);
        }
        if seen.len() == 3 {
            break;
        }
    }
    assert_eq!(seen, [(Pending, Passing), (Passing, Failing), (Failing, Passing)]);
}

async fn runs_never_overlap(fixture: Fixture) {
    let (sender, mut results) = mpsc::channel(8);
    let mut checks = Checks::new(fixture.launcher.clone(), sender);
    let lock = format!("/tmp/vrrpd-overlap-{}", std::process::id());
    let script = format!("mkdir {lock} || exit 9; sleep 0.05; rmdir {lock}");
    // A deadline above the interval is refused in a configuration; here it makes each run too long.
    let seldom = check(exec(&script), Duration::from_secs(20));
    checks.apply(&[Check { interval: Duration::from_millis(10), ..seldom.clone() }]);
    for _ in 0..6 {
        tokio::spawn(checks.run_now("registry"));
        let result = results.recv().await.expect("it runs");
        assert!(result.passed, "{}", result.message);
    }
    // The last one ends well and leaves no lock behind.
    checks.apply(&[seldom]);
    tokio::select! {
        last = checks.run_now("registry") => assert!(last.expect("it is configured").passed),
        () = async { while results.recv().await.is_some() {} } => panic!("the check has ended"),
    }
}

async fn a_check_can_be_run_now(fixture: Fixture) {
    let (sender, mut results) = mpsc::channel(8);
    let mut checks = Checks::new(fixture.launcher.clone(), sender);
    checks.apply(&[check(exec("exit 0"), Duration::from_secs(20))]);
    let first = results.recv().await.expect("it runs");
    assert_eq!((first.previous_state, first.state), (Pending, Pending));
    let now = checks.run_now("registry").await.expect("there is such a check");
    assert_eq!((now.previous_state, now.state), (Pending, Passing), "it counts");
    assert_eq!(results.recv().await, Some(now), "and is reported");
    assert_eq!(checks.run_now("other").await, None);
}

async fn a_reload_keeps_what_still_holds(fixture: Fixture) {
    let (sender, mut results) = mpsc::channel(8);
    let mut checks = Checks::new(fixture.launcher.clone(), sender);
    let configured = check(exec("exit 0"), Duration::from_secs(20));
    checks.apply(std::slice::from_ref(&configured));
    results.recv().await.expect("it runs");

    checks.apply(&[Check { rise: 3, ..configured.clone() }]);
    let second = checks.run_now("registry").await.expect("it goes on");
    assert_eq!(second.state, Pending, "of three runs there were two");
    assert_eq!(checks.run_now("registry").await.expect("it goes on").state, Passing);

    checks.apply(&[check(exec("exit 1"), Duration::from_secs(20))]);
    let afresh = loop {
        let result = results.recv().await.expect("another probe starts at once");
        if !result.passed {
            break result;
        }
    };
    assert_eq!((afresh.previous_state, afresh.state), (Pending, Pending));

    checks.apply(&[]);
    assert_eq!(checks.run_now("registry").await, None);
    drop(checks);
    assert_eq!(results.recv().await, None, "nobody reports any more");
}

async fn while_in_doubt_runs_follow_faster(fixture: Fixture) {
    let status = Arc::new(AtomicU16::new(200));
    let address = says_status(Arc::clone(&status)).await;
    let (sender, mut results) = mpsc::channel(8);
    let mut checks = Checks::new(fixture.launcher.clone(), sender);
    // At the long interval alone none of this would end.
    let fast_interval = Some(Duration::from_millis(10));
    checks.apply(&[Check { fast_interval, rise: 3, ..check(plain(address), Duration::from_secs(20)) }]);
    let mut until = async |state| {
        loop {
            let result = results.recv().await.expect("it runs");
            if result.state == state {
                return result.previous_state;
            }
        }
    };
    assert_eq!(until(Passing).await, Pending, "pending is doubt");
    status.store(503, Ordering::Relaxed);
    // The state is sure, so the next run is far away: one is asked for, and the doubt does the rest.
    assert!(!checks.run_now("registry").await.expect("it is configured").passed);
    assert_eq!(until(Failing).await, Passing);
    status.store(200, Ordering::Relaxed);
    assert!(checks.run_now("registry").await.expect("it is configured").passed);
    assert_eq!(until(Passing).await, Failing);
    let quiet = tokio::time::timeout(Duration::from_millis(300), results.recv()).await;
    assert!(quiet.is_err(), "without doubt the long interval counts: {quiet:?}");
}

async fn a_check_that_is_stopped_in_a_run_says_nothing_more(fixture: Fixture) {
    let (asked, mut questions) = mpsc::channel(8);
    let address = serve(move |mut stream| {
        let asked = asked.clone();
        async move {
            question(&mut stream).await;
            let _ = asked.send(()).await;
            hold(stream).await;
            let _ = asked.send(()).await;
        }
    })
    .await;
    let (sender, mut results) = mpsc::channel(8);
    let mut checks = Checks::new(fixture.launcher.clone(), sender);
    let waiting = check(plain(address), Duration::from_secs(20));
    checks.apply(std::slice::from_ref(&waiting));
    questions.recv().await.expect("it is asked");
    checks.stop("registry");
    questions.recv().await.expect("the connection is closed");
    assert_eq!(checks.run_now("registry").await, None);

    let quick = check(exec("exit 0"), Duration::from_secs(20));
    checks.start(&quick);
    let before = results.recv().await.expect("it runs");
    assert!(checks.is_current(&before));
    checks.stop("registry");
    assert!(!checks.is_current(&before), "it may have been under way when the check was stopped");
    checks.start(&quick);
    let after = results.recv().await.expect("it runs again");
    assert_eq!(after.previous_state, Pending, "what was counted before does not count");
    assert!(checks.is_current(&after) && !checks.is_current(&before));
}
