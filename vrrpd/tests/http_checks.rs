//! `http`, `s3` and `tcp` with what they ask of an answer and of a certificate, against little servers,
//! some of which mean no good.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, date_time_ymd};
use ring::digest::{SHA256, digest};
use time::OffsetDateTime;
use tokio::io::AsyncWriteExt;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

mod forked;
mod servers;

use forked::{Fixture, cases};
use servers::{
    Page, Site, certified, drips, endless, hold, issued, ok, page, question, said, said_within, says, serve,
    server_config, temporary,
};

fn main() -> ExitCode {
    forked::run(cases![
        a_body_has_to_contain_a_text,
        a_body_has_to_match_a_pattern,
        a_body_has_to_have_a_value_of_json,
        a_body_has_to_have_its_length,
        a_body_has_to_have_its_digest,
        an_endless_body_ends_at_max_body,
        a_dripping_body_ends_at_the_deadline,
        a_body_of_another_length_than_announced_fails,
        an_unexpected_body_is_shown_in_one_harmless_line,
        fields_and_credentials_are_sent_and_not_shown,
        credentials_that_others_can_read_are_not_sent,
        an_object_is_there_with_length_and_digest,
        a_certificate_has_to_carry_the_names_of_clients,
        another_server_name_is_asked_for,
        a_certificate_that_expires_soon_warns_and_then_fails,
        a_pinned_certificate_needs_no_authority,
        a_pinned_certificate_has_names_and_dates_all_the_same,
        an_authority_as_a_server_is_told_to_be_pinned,
        an_authority_outside_of_its_dates_vouches_for_nothing,
        a_renewed_authority_vouches_beside_the_old_one,
        a_host_may_be_an_address_or_end_in_a_dot,
        tls_garbage_is_a_failure,
        a_server_says_what_is_expected_first,
    ])
}

fn hex(octets: &[u8]) -> String {
    digest(&SHA256, octets).as_ref().iter().map(|octet| format!("{octet:02x}")).collect()
}

/// The verdict on a body, for keys of `http`.
async fn body(fixture: &Fixture, body: &str, keys: &str) -> Result<String, String> {
    let address = says(ok(body)).await;
    said(&fixture.launcher, &format!("http = {{ url = \"http://{address}/\", {keys} }}")).await
}

async fn a_body_has_to_contain_a_text(fixture: Fixture) {
    let keys = "body = { contains = '\"healthy\":true' }";
    assert!(body(&fixture, "{\"healthy\":true}", keys).await.is_ok());
    let wrong = body(&fixture, "{\"healthy\":false}", keys).await;
    let wanted = "200 without \"\\\"healthy\\\":true\" in the body: {\"healthy\":false}";
    assert_eq!(wrong, Err(wanted.to_owned()));
    let empty = body(&fixture, "", keys).await;
    assert_eq!(empty, Err("200 without \"\\\"healthy\\\":true\" in the body: nothing".to_owned()));
    let beyond = body(&fixture, "0123456789needle", "body = { contains = \"needle\" }, max_body = 12").await;
    let wanted = "200 without \"needle\" in the first 12 octets of the body: 0123456789ne";
    assert_eq!(beyond, Err(wanted.to_owned()));
}

async fn a_body_has_to_match_a_pattern(fixture: Fixture) {
    let keys = r"body = { regex = '^OK: \d+ backends$' }";
    assert!(body(&fixture, "OK: 2 backends", keys).await.is_ok());
    let wrong = body(&fixture, "OK: no backends", keys).await;
    let wanted = r#"200 without a match of "^OK: \\d+ backends$" in the body: OK: no backends"#;
    assert_eq!(wrong, Err(wanted.to_owned()));
    // A pattern that backtracks for ever elsewhere, and a body that is not text.
    let evil = r"body = { regex = '(a+)+$' }";
    let long = format!("{}!", "a".repeat(100_000));
    assert!(body(&fixture, &long, evil).await.is_err());
    let address = says(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n\xff\xfeOK".as_slice()).await;
    let text = format!("http = {{ url = \"http://{address}/\", body = {{ regex = 'OK$' }} }}");
    assert!(said(&fixture.launcher, &text).await.is_ok());
}

async fn a_body_has_to_have_a_value_of_json(fixture: Fixture) {
    let keys = |equals: &str| format!("body = {{ json_pointer = \"/status\", equals = {equals} }}");
    assert!(body(&fixture, r#"{"status":"healthy"}"#, &keys("\"healthy\"")).await.is_ok());
    assert!(body(&fixture, r#"{"status":3}"#, &keys("3")).await.is_ok());
    assert!(body(&fixture, r#"{"status":true}"#, &keys("true")).await.is_ok());
    for (json, fault) in [
        (r#"{"status":"ill"}"#, r#"200 with "ill" at "/status" instead of "healthy""#),
        (r#"{"status":["healthy"]}"#, r#"200 with ["healthy"] at "/status" instead of "healthy""#),
        (r#"{"state":1}"#, r#"200 with nothing at "/status" instead of "healthy": {"state":1}"#),
    ] {
        assert_eq!(body(&fixture, json, &keys("\"healthy\"")).await, Err(fault.to_owned()));
    }
    let html = body(&fixture, "<html>", &keys("\"healthy\"")).await.expect_err("it is not JSON");
    assert!(html.starts_with("200 with a body that is not JSON (") && html.ends_with("): <html>"), "{html}");
    // What takes down a parser that recurses.
    let deep = body(&fixture, &"[".repeat(100_000), &keys("1")).await.expect_err("it is too deep");
    assert!(deep.starts_with("200 with a body that is not JSON ("), "{deep}");
}

async fn a_body_has_to_have_its_length(fixture: Fixture) {
    assert!(body(&fixture, "12345", "length = 5").await.is_ok());
    assert_eq!(body(&fixture, "1234", "length = 5").await, Err("200 and 4 octets instead of 5".to_owned()));
    assert!(body(&fixture, "12345", "min_length = 5").await.is_ok());
    let short = body(&fixture, "", "min_length = 5").await;
    assert_eq!(short, Err("200 and 0 octets instead of at least 5".to_owned()));
    let long = body(&fixture, "123456", "length = 5, max_body = 5").await;
    assert_eq!(long, Err("200 and more than 5 octets instead of 5".to_owned()));
}

async fn a_body_has_to_have_its_digest(fixture: Fixture) {
    let keys = format!("sha256 = \"{}\"", hex(b"content"));
    assert!(body(&fixture, "content", &keys).await.is_ok());
    let other = body(&fixture, "contents", &keys).await;
    let wanted =
        format!("200 and 8 octets with sha256:{} instead of sha256:{}", hex(b"contents"), hex(b"content"));
    assert_eq!(other, Err(wanted));
    let short = body(&fixture, "content", &format!("{keys}, max_body = 6")).await;
    assert_eq!(short, Err("200 and a body of more than max_body, which is 6 octets".to_owned()));
}

async fn an_endless_body_ends_at_max_body(fixture: Fixture) {
    let address = endless("").await;
    let text = |keys: &str| format!("http = {{ url = \"http://{address}/\", max_body = 2097152{keys} }}");
    let passed = said(&fixture.launcher, &text("")).await.expect("it has seen enough");
    assert!(passed.ends_with(" ms, of the body the first 2 MiB"), "{passed}");
    let digest = said(&fixture.launcher, &text(&format!(", sha256 = \"{}\"", hex(b"")))).await;
    assert_eq!(digest, Err("200 and a body of more than max_body, which is 2 MiB".to_owned()));
}

async fn a_dripping_body_ends_at_the_deadline(fixture: Fixture) {
    let address = drips().await;
    let text = format!("http = {{ url = \"http://{address}/\", body = {{ contains = \"x\" }} }}");
    let late = said_within(&fixture.launcher, &text, Duration::from_millis(250)).await;
    assert_eq!(late, Err("deadline of 250 ms passed while waiting for the answer's body".to_owned()));
}

async fn a_body_of_another_length_than_announced_fails(fixture: Fixture) {
    let short = serve(|mut stream| async move {
        question(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ncontent").await;
    })
    .await;
    let text = |address: SocketAddr| {
        format!("http = {{ url = \"http://{address}/\", sha256 = \"{}\" }}", hex(b"content"))
    };
    let fault = said(&fixture.launcher, &text(short)).await.expect_err("two octets are missing");
    assert!(fault.starts_with("200 and then the body broke off: "), "{fault}");
    let long = says("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\ncontent").await;
    let fault = said(&fixture.launcher, &text(long)).await.expect_err("only three octets count");
    assert!(fault.starts_with("200 and 3 octets with "), "{fault}");
}

async fn an_unexpected_body_is_shown_in_one_harmless_line(fixture: Fixture) {
    let evil = format!("\u{1b}[2J\r\n\u{7}{}", "y".repeat(10_000));
    let keys = "body = { contains = \"x\" }";
    let fault = body(&fixture, &evil, keys).await.expect_err("there is no x");
    assert!(!fault.contains(char::is_control) && fault.len() < 160, "{fault:?}");
}

fn secret_file(name: &str, mode: u32) -> std::path::PathBuf {
    let path = temporary(name);
    std::fs::write(&path, "rootuser:open sesame\n").expect("cargo gave us a directory");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("it is ours");
    path
}

async fn fields_and_credentials_are_sent_and_not_shown(fixture: Fixture) {
    let site = Site::default();
    site.put("/a?b=c", page("well"));
    let (address, file) = (site.serve().await, secret_file("credentials", 0o640));
    let text = format!(
        "http = {{ url = \"http://www.example.com:1/a?b=c\", connect = \"{address}\", basic_auth_file = {file:?}, \
         headers = {{ X-Asked-By = \"vrrpd\", accept = \"text/plain\" }} }}"
    );
    assert!(said(&fixture.launcher, &text).await.is_ok());
    let asked = site.asked().concat();
    for field in [
        "GET /a?b=c HTTP/1.1\r\n",
        "host: www.example.com:1\r\n",
        "accept: text/plain\r\n",
        "x-asked-by: vrrpd\r\n",
        "authorization: Basic cm9vdHVzZXI6b3BlbiBzZXNhbWU=\r\n",
    ] {
        assert!(asked.contains(field), "{asked}");
    }
    assert_eq!(asked.matches("accept:").count(), 1, "{asked}");
    let check = servers::check_of(&text);
    let shown = format!("{check:?}");
    assert!(!shown.contains("sesame") && !shown.contains("cm9vd"), "{shown}");
}

async fn credentials_that_others_can_read_are_not_sent(fixture: Fixture) {
    let site = Site::default();
    let (address, file) = (site.serve().await, secret_file("open-credentials", 0o644));
    let text = format!("http = {{ url = \"http://{address}/\", basic_auth_file = {file:?} }}");
    let fault = said(&fixture.launcher, &text).await.expect_err("others may read it");
    assert!(fault.contains("has mode 0644: others may read or change it"), "{fault}");
    assert_eq!(site.asked(), [""; 0], "nothing was sent");
}

async fn an_object_is_there_with_length_and_digest(fixture: Fixture) {
    let site = Site::default();
    site.put("/kubean/canary", page("content"));
    site.put("/kubean/empty", page(""));
    site.put("/kubean/private", Page { status: 403, ..page("<Code>AccessDenied</Code>") });
    let address = site.serve().await;
    let object = async |name: &str, keys: &str| {
        let text = format!("s3 = {{ url = \"http://{address}/kubean/{name}\"{keys} }}");
        said(&fixture.launcher, &text).await
    };
    assert!(object("canary", "").await.is_ok());
    assert!(site.asked()[0].starts_with("HEAD /kubean/canary "), "the head is enough");
    assert!(object("canary", ", length = 7").await.is_ok());
    assert_eq!(object("canary", ", length = 8").await, Err("200 and 7 octets instead of 8".to_owned()));
    assert_eq!(object("empty", "").await, Err("200 and 0 octets instead of at least 1".to_owned()));
    assert_eq!(object("missing", "").await, Err("404 instead of 200".to_owned()));
    let private = object("private", "").await.expect_err("nobody may read it");
    assert!(private.starts_with("403 instead of 200") && private.contains("signs no requests"), "{private}");
    site.asked();
    let digest = |text: &str| format!(", sha256 = \"{}\"", hex(text.as_bytes()));
    assert!(object("canary", &digest("content")).await.is_ok());
    assert!(site.asked()[0].starts_with("GET /kubean/canary "), "it is downloaded");
    let other = object("canary", &digest("other")).await.expect_err("it has changed");
    assert!(other.starts_with("200 and 7 octets with sha256:"), "{other}");
}

/// A TLS server that says 200.
async fn tls_server(config: Arc<ServerConfig>) -> SocketAddr {
    let acceptor = TlsAcceptor::from(config);
    serve(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            if let Ok(mut stream) = acceptor.accept(stream).await {
                question(&mut stream).await;
                let name = stream.get_ref().1.server_name().unwrap_or_default().to_owned();
                // The client may have turned away.
                let _ = stream.write_all(ok(&name).as_bytes()).await;
                let _ = stream.shutdown().await;
            }
        }
    })
    .await
}

fn long() -> (OffsetDateTime, OffsetDateTime) {
    (date_time_ymd(2020, 1, 1), date_time_ymd(4000, 1, 1))
}

/// A certificate that is good for so many days and an hour.
fn days(days: i64) -> (OffsetDateTime, OffsetDateTime) {
    let now = OffsetDateTime::now_utc();
    (now - time::Duration::days(1), now + time::Duration::days(days) + time::Duration::hours(1))
}

async fn https(fixture: &Fixture, address: SocketAddr, host: &str, keys: &str) -> Result<String, String> {
    let text = format!("http = {{ url = \"https://{host}/\", connect = \"{address}\", {keys} }}");
    said(&fixture.launcher, &text).await
}

async fn a_certificate_has_to_carry_the_names_of_clients(fixture: Fixture) {
    let (ca_file, server, _) =
        certified("names", &["www.example.com", "192.0.2.193", "*.example.org"], long());
    let address = tls_server(server).await;
    let names = |names: &str| format!("ca_file = {ca_file:?}, names = [{names}]");
    let all = names("\"192.0.2.193\", \"a.example.org\", \"www.example.com\"");
    let passed = https(&fixture, address, "www.example.com", &all).await.expect("it carries them");
    assert!(passed.ends_with(" ms"), "nothing to warn of: {passed}");
    let lacking =
        https(&fixture, address, "www.example.com", &names("\"192.0.2.201\", \"b.a.example.org\"")).await;
    let wanted = format!(
        "certificate of {address} lacks 192.0.2.201 and b.a.example.org: it is for www.example.com, 192.0.2.193, \
         *.example.org"
    );
    assert_eq!(lacking, Err(wanted));
    let host = https(&fixture, address, "192.0.2.201", &names("")).await.expect_err("the host counts, too");
    assert!(
        host.starts_with(&format!("certificate of {address} is not valid for name 192.0.2.201")),
        "{host}"
    );
}

async fn another_server_name_is_asked_for(fixture: Fixture) {
    let (ca_file, server, _) = certified("server-name", &["www.example.com"], long());
    let address = tls_server(server).await;
    let keys = format!(
        "ca_file = {ca_file:?}, server_name = \"www.example.com\", body = {{ contains = \"www.example.com\" }}"
    );
    assert!(https(&fixture, address, "192.0.2.193", &keys).await.is_ok(), "SNI has it, and the certificate");
}

async fn a_certificate_that_expires_soon_warns_and_then_fails(fixture: Fixture) {
    let (ca_file, server, _) = certified("soon", &["www.example.com"], days(20));
    let address = tls_server(server).await;
    let keys = |more: &str| format!("ca_file = {ca_file:?}{more}");
    let warned =
        https(&fixture, address, "www.example.com", &keys("")).await.expect("a warning is no failure");
    assert!(warned.contains("; the certificate expires in 20 days, at "), "{warned}");
    let quiet = https(&fixture, address, "www.example.com", &keys(", expires_in_warn = 20")).await;
    assert!(quiet.expect("20 days are enough").ends_with(" ms"));
    let failed = https(&fixture, address, "www.example.com", &keys(", expires_in_fail = 21")).await;
    let failed = failed.expect_err("21 days are asked for");
    assert!(failed.starts_with(&format!("certificate of {address} expires in 20 days, at ")), "{failed}");
    assert!(failed.ends_with(": expires_in_fail is 21"), "{failed}");
}

async fn a_pinned_certificate_needs_no_authority(fixture: Fixture) {
    let key = KeyPair::generate().expect("there is randomness");
    // As `openssl req -x509` makes it: its own authority.
    let mut own = CertificateParams::new(vec!["www.example.com".to_owned()]).expect("the name is good");
    own.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let own = own.self_signed(&key).expect("the key fits");
    let address = tls_server(server_config(own.der().clone(), &key)).await;
    let pin = format!("pin = \"{}\"", hex(own.der()));
    assert!(https(&fixture, address, "www.example.com", &pin).await.is_ok());
    let other = format!("pin = \"{}\"", hex(b"another"));
    let wanted = format!(
        "certificate of {address} is sha256:{} instead of the pinned sha256:{}",
        hex(own.der()),
        hex(b"another")
    );
    assert_eq!(https(&fixture, address, "www.example.com", &other).await, Err(wanted));
}

async fn a_pinned_certificate_has_names_and_dates_all_the_same(fixture: Fixture) {
    let (_, server, der) = certified("pinned", &["www.example.com"], days(5));
    let address = tls_server(server).await;
    let pin = format!("pin = \"{}\"", hex(&der));
    let named = https(&fixture, address, "www.example.org", &pin).await.expect_err("another name");
    assert!(named.contains("is not valid for name www.example.org"), "{named}");
    let past = (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
    let future = (date_time_ymd(3000, 1, 1), date_time_ymd(4000, 1, 1));
    for (days, fault) in [
        (past, "expired at 2021-01-01T00:00:00Z"),
        (future, "is not valid before 3000-01-01T00:00:00Z: is the clock of this node right?"),
    ] {
        let (_, server, der) = certified("pinned-dates", &["www.example.com"], days);
        let address = tls_server(server).await;
        let said = https(&fixture, address, "www.example.com", &format!("pin = \"{}\"", hex(&der))).await;
        assert_eq!(said, Err(format!("certificate of {address} {fault}")));
    }
}

async fn an_authority_as_a_server_is_told_to_be_pinned(fixture: Fixture) {
    let key = KeyPair::generate().expect("there is randomness");
    let mut own = CertificateParams::new(vec!["www.example.com".to_owned()]).expect("the name is good");
    own.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let own = own.self_signed(&key).expect("the key fits");
    let ca_file = temporary("own-authority.pem");
    std::fs::write(&ca_file, own.pem()).expect("cargo gave us a directory");
    let address = tls_server(server_config(own.der().clone(), &key)).await;
    let said = https(&fixture, address, "www.example.com", &format!("ca_file = {ca_file:?}")).await;
    assert!(said.expect_err("webpki takes none").ends_with("give its SHA-256 as pin"));
}

/// Clients compare the dates of the authority too, so the service is broken for all of them.
async fn an_authority_outside_of_its_dates_vouches_for_nothing(fixture: Fixture) {
    let past = (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
    let future = (date_time_ymd(3000, 1, 1), date_time_ymd(4000, 1, 1));
    for (term, fault) in [
        (past, "comes from an authority that expired at 2021-01-01T00:00:00Z"),
        (
            future,
            "comes from an authority that is not valid before 3000-01-01T00:00:00Z: is the clock of this node \
             right?",
        ),
    ] {
        let (ca_file, server, _) = issued("out-of-date", &["www.example.com"], &[term], long());
        let address = tls_server(server).await;
        let said = https(&fixture, address, "www.example.com", &format!("ca_file = {ca_file:?}")).await;
        assert_eq!(said, Err(format!("certificate of {address} {fault}")));
    }
}

async fn a_renewed_authority_vouches_beside_the_old_one(fixture: Fixture) {
    let past = (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
    let (ca_file, server, _) = issued("renewed", &["www.example.com"], &[past, long()], long());
    let address = tls_server(server).await;
    let said = https(&fixture, address, "www.example.com", &format!("ca_file = {ca_file:?}")).await;
    assert!(said.is_ok(), "{said:?}");
}

async fn a_host_may_be_an_address_or_end_in_a_dot(fixture: Fixture) {
    let names = ["www.example.com", "192.0.2.193", "2001:db8::193"];
    let (ca_file, server, _) = certified("hosts", &names, long());
    let address = tls_server(server).await;
    for host in ["www.example.com.", "WWW.Example.com", "192.0.2.193", "[2001:db8::193]"] {
        let said = https(&fixture, address, host, &format!("ca_file = {ca_file:?}")).await;
        assert!(said.is_ok(), "{host}: {said:?}");
    }
}

async fn tls_garbage_is_a_failure(fixture: Fixture) {
    // A record of TLS with nonsense in it, a record that never ends, and a connection that is closed.
    for garbage in [
        &b"\x16\x03\x03\x00\x05\x02\x00\x00\x01\x00"[..],
        b"\x16\x03\x03\xff\xff",
        b"\x15\x03\x03\x00\x02\x02\x28",
    ] {
        let address = serve(move |mut stream| async move {
            let _ = stream.write_all(garbage).await;
            let _ = stream.shutdown().await;
            hold(stream).await;
        })
        .await;
        let said = https(
            &fixture,
            address,
            "www.example.com",
            "pin = \"00000000000000000000000000000000000000000000\
                         00000000000000000000\"",
        )
        .await;
        assert!(said.expect_err("it is garbage").contains(&address.to_string()));
    }
}

async fn a_server_says_what_is_expected_first(fixture: Fixture) {
    let greets = async |greeting: &'static [u8], end: bool| {
        serve(move |mut stream| async move {
            // In pieces, for they need not come together.
            for piece in greeting.chunks(3) {
                let _ = stream.write_all(piece).await;
                tokio::task::yield_now().await;
            }
            if !end {
                hold(stream).await;
            }
        })
        .await
    };
    let expect = |address: SocketAddr| format!("tcp = {{ address = \"{address}\", expect = \"SSH-2.0-\" }}");
    let address = greets(b"SSH-2.0-OpenSSH_9.2\r\n", false).await;
    let passed = said(&fixture.launcher, &expect(address)).await.expect("it is ssh");
    assert!(passed.starts_with("connected in ") && passed.ends_with(" ms, \"SSH-2.0-\" came"), "{passed}");
    let address = greets(b"220 mail\x1b[2J", false).await;
    let other = said(&fixture.launcher, &expect(address)).await.expect_err("it is mail");
    assert!(
        other.starts_with("220") && other.ends_with(&format!(" instead of \"SSH-2.0-\" from {address}")),
        "{other}"
    );
    assert!(!other.contains('\u{1b}'), "{other}");
    let address = greets(b"SSH", true).await;
    let short = said(&fixture.launcher, &expect(address)).await;
    assert_eq!(short, Err(format!("SSH instead of \"SSH-2.0-\" from {address}")));
    let address = greets(b"", false).await;
    let silent = said_within(&fixture.launcher, &expect(address), Duration::from_millis(250)).await;
    assert_eq!(
        silent,
        Err(format!("deadline of 250 ms passed while waiting for \"SSH-2.0-\" from {address}"))
    );
}
