//! `registry`, `registry_parity` and `chart_repository` against little servers that answer as real ones
//! were seen to, and against some that lie.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use ring::digest::{SHA256, digest};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;
use vrrpd::check::Checks;

mod forked;
mod servers;

use forked::{Fixture, cases};
use servers::{Page, Site, check_of, ok, page, question, said, said_within, serve};

fn main() -> ExitCode {
    forked::run(cases![
        an_image_is_there_with_its_blobs,
        a_manifest_is_asked_for_with_all_four_kinds,
        an_empty_store_fails_although_the_registry_answers,
        a_layer_that_is_missing_or_cut_fails,
        a_layer_that_only_the_cache_of_the_registry_remembers_fails,
        a_layer_that_lies_elsewhere_is_as_good_as_its_head,
        the_smallest_layer_is_pulled_and_has_its_digest,
        a_tag_has_the_digest_that_is_pinned,
        a_digest_is_remembered_until_it_is_configured_anew,
        a_manifest_that_is_not_what_its_digest_says_fails,
        of_an_index_the_image_of_this_machine_is_looked_at,
        a_registry_that_wants_credentials_says_which,
        a_registry_that_lies_is_found_out,
        equal_registries_are_in_parity,
        what_differs_is_counted_and_named,
        all_pages_are_read,
        pages_without_end_are_given_up,
        parity_keeps_to_its_rate,
        parity_is_cut_short_at_its_deadline,
        charts_are_counted_and_one_is_downloaded,
        a_chart_that_is_missing_or_changed_fails,
        an_index_that_is_none_or_too_long_fails,
    ])
}

const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";

fn hex(octets: &[u8]) -> String {
    let hex: String = digest(&SHA256, octets).as_ref().iter().map(|octet| format!("{octet:02x}")).collect();
    format!("sha256:{hex}")
}

fn descriptor(content: &[u8]) -> Value {
    json!({ "digest": hex(content), "size": content.len() })
}

/// Puts a manifest under its tag and its digest, which it returns.
fn put_manifest(site: &Site, name: &str, tag: &str, manifest: &Value) -> String {
    let body = manifest.to_string();
    let digest = hex(body.as_bytes());
    let page = page(body).with("Docker-Content-Digest", &digest).with("Content-Type", IMAGE);
    site.put(&format!("/v2/{name}/manifests/{tag}"), page.clone());
    site.put(&format!("/v2/{name}/manifests/{digest}"), page);
    digest
}

fn put_blob(site: &Site, name: &str, content: &[u8]) -> String {
    let path = format!("/v2/{name}/blobs/{}", hex(content));
    site.put(&path, page(content));
    path
}

/// An image of a configuration and layers, all of them there.
fn put_image(site: &Site, name: &str, tag: &str, layers: &[&[u8]]) -> String {
    put_blob(site, name, b"{}");
    layers.iter().for_each(|layer| drop(put_blob(site, name, layer)));
    let layers: Vec<Value> = layers.iter().map(|layer| descriptor(layer)).collect();
    put_manifest(site, name, tag, &json!({ "config": descriptor(b"{}"), "layers": layers }))
}

/// A registry as one sees it from outside: `/v2/` and the catalogue answer whatever is in it.
fn store() -> Site {
    let site = Site::default();
    site.put("/v2/", page("{}"));
    site.put("/v2/_catalog?n=100", page("{\"repositories\":[]}"));
    site
}

async fn registry(fixture: &Fixture, site: &Site, keys: &str) -> Result<String, String> {
    let address = site.serve().await;
    let text = format!("registry = {{ url = \"http://{address}/\", canary = [\"ns/pause:3.9\"]{keys} }}");
    said(&fixture.launcher, &text).await
}

async fn an_image_is_there_with_its_blobs(fixture: Fixture) {
    let site = store();
    let digest = put_image(&site, "ns/pause", "3.9", &[b"large layer", b"small"]);
    let passed = registry(&fixture, &site, "").await.expect("all is there");
    assert!(passed.starts_with(&format!("ns/pause:3.9 is {digest}, 3 blobs in ")), "{passed}");
    assert_eq!(site.asked().len(), 4, "the manifest, and each blob once");
    assert!(registry(&fixture, &site, ", blobs = \"none\"").await.is_ok());
    assert_eq!(site.asked().len(), 1, "the manifest alone");

    let address = site.serve().await;
    site.put("/mirror/v2/ns/pause/manifests/3.9", Page { status: 500, ..page("") });
    let below = format!("registry = {{ url = \"http://{address}/mirror\", canary = [\"ns/pause:3.9\"] }}");
    let below = said(&fixture.launcher, &below).await;
    assert_eq!(below, Err("manifest of ns/pause:3.9: 500 instead of 200".to_owned()));
}

async fn a_manifest_is_asked_for_with_all_four_kinds(fixture: Fixture) {
    let site = store();
    put_image(&site, "ns/pause", "3.9", &[b"layer"]);
    registry(&fixture, &site, "").await.expect("all is there");
    let asked = site.asked();
    for kind in [
        "application/vnd.oci.image.index.v1+json",
        IMAGE,
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    ] {
        assert!(asked[0].contains(kind), "{}", asked[0]);
    }
}

async fn an_empty_store_fails_although_the_registry_answers(fixture: Fixture) {
    let site = store();
    let body = r#"{"errors":[{"code":"MANIFEST_UNKNOWN"}]}"#;
    site.put("/v2/ns/pause/manifests/3.9", Page { status: 404, ..page(body) });
    let empty = registry(&fixture, &site, "").await;
    assert_eq!(empty, Err(format!("manifest of ns/pause:3.9: 404 instead of 200: {body}")));
}

async fn a_layer_that_is_missing_or_cut_fails(fixture: Fixture) {
    let site = store();
    put_image(&site, "ns/pause", "3.9", &[b"a layer"]);
    let blob = hex(b"a layer");
    site.put(&format!("/v2/ns/pause/blobs/{blob}"), page("a lay"));
    let cut = registry(&fixture, &site, "").await;
    assert_eq!(cut, Err(format!("blob {blob} of ns/pause:3.9 has 5 octets instead of 7")));
    let part = page("a lay").with("Accept-Ranges", "bytes").with("Content-Range", "bytes */5");
    site.put(&format!("/v2/ns/pause/blobs/{blob}"), part);
    assert_eq!(registry(&fixture, &site, "").await, cut);
    site.remove(&format!("/v2/ns/pause/blobs/{blob}"));
    let missing = registry(&fixture, &site, "").await;
    assert_eq!(missing, Err(format!("blob {blob} of ns/pause:3.9: 404 instead of 200: no such page")));
    assert!(registry(&fixture, &site, ", blobs = \"none\"").await.is_ok());
}

/// The configuration that comes with the registry's official image keeps lengths in memory: HEAD is
/// answered with 200 and the right length after the file has gone or was cut.
async fn a_layer_that_only_the_cache_of_the_registry_remembers_fails(fixture: Fixture) {
    let site = store();
    put_image(&site, "ns/pause", "3.9", &[b"a layer"]);
    let (path, blob) = (format!("/v2/ns/pause/blobs/{}", hex(b"a layer")), hex(b"a layer"));
    let layer = page("a layer").with("Accept-Ranges", "bytes");
    for whole in [page("a layer"), layer.clone()] {
        site.put(&path, whole.clone());
        let passed = registry(&fixture, &site, "").await;
        assert!(passed.is_ok(), "{passed:?}");
        site.put(&path, Page { hollow: true, ..whole });
        let said = registry(&fixture, &site, "").await.expect_err("the layer is gone");
        assert!(said.starts_with(&format!("blob {blob} of ns/pause:3.9: ")), "{said}");
        assert!(said.contains(" and then the body broke off: "), "{said}");
    }
    site.put(&path, page("a layer").with("Accept-Ranges", "bytes"));
    site.asked();
    registry(&fixture, &site, "").await.expect("all is there");
    let last = |head: &&String| head.starts_with("GET ") && head.contains("range: bytes=6-6\r\n");
    assert_eq!(site.asked().iter().filter(last).count(), 1, "the last octet is not there when it was cut");
}

async fn a_layer_that_lies_elsewhere_is_as_good_as_its_head(fixture: Fixture) {
    let address = serve(|mut stream| async move {
        loop {
            let head = question(&mut stream).await;
            let manifest = json!({ "layers": [descriptor(b"a layer")] }).to_string();
            let answer = match head.split(' ').next() {
                Some("HEAD") => "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n".to_owned(),
                Some("GET") if head.contains("/manifests/") => ok(&manifest),
                Some("GET") => {
                    "HTTP/1.1 307 Elsewhere\r\nLocation: http://s3.example/\r\nContent-Length: 0\r\n\r\n"
                        .to_owned()
                }
                _ => return,
            };
            if stream.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    })
    .await;
    let text = format!("registry = {{ url = \"http://{address}/\", canary = [\"ns/pause:3.9\"] }}");
    let passed = said(&fixture.launcher, &text).await;
    assert!(passed.is_ok(), "{passed:?}");
}

async fn the_smallest_layer_is_pulled_and_has_its_digest(fixture: Fixture) {
    let site = store();
    put_image(&site, "ns/pause", "3.9", &[b"large layer", b"small"]);
    let keys = ", blobs = \"pull-smallest\"";
    let passed = registry(&fixture, &site, keys).await.expect("it is whole");
    assert!(passed.contains(", 3 blobs, 5 octets pulled in "), "{passed}");
    let pulled = |head: &&String| head.starts_with("GET /v2/ns/pause/blobs/") && !head.contains("range: ");
    assert_eq!(site.asked().iter().filter(pulled).count(), 1);
    let blob = hex(b"small");
    site.put(&format!("/v2/ns/pause/blobs/{blob}"), page("sma11"));
    assert!(registry(&fixture, &site, "").await.is_ok(), "the length is the same");
    let rotten = registry(&fixture, &site, keys).await;
    assert_eq!(rotten, Err(format!("blob {blob} of ns/pause:3.9 has {}", hex(b"sma11"))));
}

async fn a_tag_has_the_digest_that_is_pinned(fixture: Fixture) {
    let site = store();
    let digest = put_image(&site, "ns/pause", "3.9", &[b"layer"]);
    assert!(registry(&fixture, &site, &format!(", digest = \"{digest}\"")).await.is_ok());
    let other = hex(b"other");
    let moved = registry(&fixture, &site, &format!(", digest = \"{other}\"")).await;
    assert_eq!(moved, Err(format!("ns/pause:3.9 is {digest} instead of {other}")));
}

async fn a_digest_is_remembered_until_it_is_configured_anew(fixture: Fixture) {
    let site = store();
    let first = put_image(&site, "ns/pause", "3.9", &[b"first"]);
    let address = site.serve().await;
    let text = format!(
        "registry = {{ url = \"http://{address}/\", canary = [\"ns/pause:3.9\"], digest = \"remember\" }}"
    );
    let (sender, mut results) = mpsc::channel(8);
    let mut checks = Checks::new(fixture.launcher.clone(), sender);
    checks.apply(&[check_of(&text)]);
    assert!(results.recv().await.expect("it runs").passed);
    let second = put_image(&site, "ns/pause", "3.9", &[b"second"]);
    let changed = checks.run_now("it").await.expect("it is configured");
    let wanted = format!("ns/pause:3.9 is {second} instead of the remembered {first}");
    assert_eq!((changed.passed, changed.message), (false, wanted));
    checks.apply(&[check_of(&text)]);
    assert!(checks.run_now("it").await.expect("it is configured").passed);
}

async fn a_manifest_that_is_not_what_its_digest_says_fails(fixture: Fixture) {
    let site = store();
    let announced = put_image(&site, "ns/pause", "3.9", &[b"layer"]);
    let rotten = page("{\"layers\":[]}").with("Docker-Content-Digest", &announced);
    site.put("/v2/ns/pause/manifests/3.9", rotten);
    let said = registry(&fixture, &site, "").await;
    let found = hex(b"{\"layers\":[]}");
    assert_eq!(said, Err(format!("manifest of ns/pause:3.9 has {found}, but the registry says {announced}")));
}

async fn of_an_index_the_image_of_this_machine_is_looked_at(fixture: Fixture) {
    let site = store();
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let ours = put_image(&site, "ns/pause", "ours", &[b"ours"]);
    let entry = |digest: &str, architecture: &str| json!({ "digest": digest, "size": 1, "platform": { "os": "linux", "architecture": architecture } });
    let index = json!({ "manifests": [entry(&hex(b"elsewhere"), "s390x"), entry(&ours, architecture)] });
    let digest = put_manifest(&site, "ns/pause", "3.9", &index);
    let passed = registry(&fixture, &site, "").await.expect("the image of this machine is whole");
    assert!(passed.starts_with(&format!("ns/pause:3.9 is {digest}, 2 blobs in ")), "{passed}");
    site.remove(&format!("/v2/ns/pause/manifests/{ours}"));
    let missing = registry(&fixture, &site, "").await;
    let wanted =
        format!("manifest of ns/pause:3.9 for linux/{architecture}: 404 instead of 200: no such page");
    assert_eq!(missing, Err(wanted));
}

async fn a_registry_that_wants_credentials_says_which(fixture: Fixture) {
    for (challenge, remedy) in [
        ("Basic realm=\"registry\"", "it wants a user and a password: basic_auth_file"),
        ("Bearer realm=\"https://auth.example.com/token\"", "it wants a token, which vrrpd does not fetch"),
    ] {
        let site = store();
        let refusal = Page { status: 401, ..page("") }.with("WWW-Authenticate", challenge);
        site.put("/v2/ns/pause/manifests/3.9", refusal);
        let said = registry(&fixture, &site, "").await.expect_err("it is not for everybody");
        assert!(said.starts_with("manifest of ns/pause:3.9: 401 instead of 200; "), "{said}");
        assert!(said.contains(remedy), "{said}");
    }
}

async fn a_registry_that_lies_is_found_out(fixture: Fixture) {
    let large = json!({ "layers": [], "annotations": "x".repeat(5 * 1024 * 1024) });
    let blobs: Vec<Value> = (0..1001).map(|_| descriptor(b"x")).collect();
    for (manifest, fault) in [
        (json!("text"), "manifest of ns/pause:3.9 cannot be read: "),
        (json!({ "fsLayers": [] }), "manifest of ns/pause:3.9 lists neither layers nor images"),
        (
            json!({ "layers": [{ "digest": "sha256:../../x", "size": 1 }] }),
            "ns/pause:3.9 lists a blob whose digest",
        ),
        (
            json!({ "layers": [{ "digest": hex(b"x"), "size": -1 }] }),
            "manifest of ns/pause:3.9 cannot be read: ",
        ),
        (json!({ "layers": blobs }), "manifest of ns/pause:3.9 lists 1001 blobs, more than 1000"),
        (large, "manifest of ns/pause:3.9 has more than 4 MiB"),
        (
            json!({ "manifests": [{ "digest": "md5:x", "size": 1 }] }),
            "ns/pause:3.9 lists an image whose digest",
        ),
    ] {
        let site = store();
        put_manifest(&site, "ns/pause", "3.9", &manifest);
        let said = registry(&fixture, &site, "").await.expect_err(fault);
        assert!(said.starts_with(fault), "{said}");
    }
    // A blob that never ends is read no further than it should go.
    let site = store();
    put_image(&site, "ns/pause", "3.9", &[b"layer"]);
    let blob = hex(b"layer");
    let manifest = json!({ "layers": [{ "digest": blob, "size": 5 }] }).to_string();
    let address = serve(move |mut stream| {
        let manifest = manifest.clone();
        async move {
            let head = question(&mut stream).await;
            if head.starts_with("GET /v2/ns/pause/manifests/") {
                let length = manifest.len();
                let head =
                    format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
                let _ = stream.write_all((head + &manifest).as_bytes()).await;
            } else if head.starts_with("HEAD ") {
                let _ = stream
                    .write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\n")
                    .await;
            } else {
                let mut alive = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
                while alive.is_ok() {
                    alive = stream.write_all(&[b'x'; 8192]).await;
                }
            }
        }
    })
    .await;
    let text = format!(
        "registry = {{ url = \"http://{address}\", canary = [\"ns/pause:3.9\"], blobs = \"pull-smallest\" }}"
    );
    let endless = said(&fixture.launcher, &text).await;
    assert_eq!(endless, Err(format!("blob {blob} of ns/pause:3.9: more than 5 octets came instead of 5")));
}

/// A registry with these tags, each with a content of its own, on pages of this size.
fn catalogue(images: &[(&str, &str, &str)], page_size: usize) -> Site {
    let site = Site::default();
    let mut names: Vec<&str> = images.iter().map(|(name, _, _)| *name).collect();
    names.sort_unstable();
    names.dedup();
    put_pages(&site, "/v2/_catalog", "repositories", &names, page_size);
    for name in names {
        let tags: Vec<&str> = images.iter().filter(|image| image.0 == name).map(|image| image.1).collect();
        put_pages(&site, &format!("/v2/{name}/tags/list"), "tags", &tags, page_size);
    }
    for (name, tag, content) in images {
        put_manifest(&site, name, tag, &json!(content));
    }
    site
}

fn put_pages(site: &Site, path: &str, key: &str, names: &[&str], page_size: usize) {
    let mut query = format!("n={page_size}");
    let pages: Vec<&[&str]> = if names.is_empty() { vec![&[]] } else { names.chunks(page_size).collect() };
    for (index, names) in pages.iter().enumerate() {
        let mut page = page(json!({ key: names }).to_string());
        let last = format!("last={}&n={page_size}", names.last().unwrap_or(&""));
        if index + 1 < pages.len() {
            page = page.with("Link", &format!("<{path}?{last}>; rel=\"next\""));
        }
        site.put(&format!("{path}?{query}"), page);
        query = last;
    }
}

fn parity_text(ours: std::net::SocketAddr, peer: std::net::SocketAddr, keys: &str) -> String {
    format!("registry_parity = {{ url = \"http://{ours}\", peer = {{ url = \"http://{peer}\" }}{keys} }}")
}

async fn parity(fixture: &Fixture, ours: &Site, peer: &Site, keys: &str) -> Result<String, String> {
    let text = parity_text(ours.serve().await, peer.serve().await, &format!(", rate = 1000{keys}"));
    said(&fixture.launcher, &text).await
}

async fn equal_registries_are_in_parity(fixture: Fixture) {
    let images = [("a", "1", "x"), ("a", "2", "y"), ("ns/b", "1", "z")];
    let (ours, peer) = (catalogue(&images, 100), catalogue(&images, 100));
    assert_eq!(parity(&fixture, &ours, &peer, "").await, Ok("3 tags: 3 same".to_owned()));
    let asked = ours.asked();
    let heads: Vec<&String> = asked.iter().filter(|head| head.starts_with("HEAD ")).collect();
    assert!(heads.len() == 3 && heads.iter().all(|head| head.contains(IMAGE)), "{heads:?}");
}

async fn what_differs_is_counted_and_named(fixture: Fixture) {
    let ours = catalogue(&[("a", "1", "x"), ("a", "2", "y"), ("a", "3", "z"), ("b", "1", "b")], 100);
    let peer = catalogue(&[("a", "1", "x"), ("a", "2", "other"), ("a", "4", "w"), ("c", "1", "c")], 100);
    let said = parity(&fixture, &ours, &peer, "").await;
    let wanted = "6 tags: 1 same, 2 missing on peer, 2 missing here, 1 differs; \
                  missing on peer: a:3, b:1; missing here: a:4, c:1; differs: a:2";
    assert_eq!(said, Err(wanted.to_owned()));
    // Listed, and gone: a repository whose last tag was deleted, and a tag whose manifest was.
    let ours = catalogue(&[("a", "1", "x"), ("a", "2", "y")], 100);
    let peer = catalogue(&[("a", "1", "x"), ("a", "2", "y"), ("b", "1", "b")], 100);
    peer.remove("/v2/b/tags/list?n=100");
    peer.remove("/v2/a/manifests/2");
    let said = parity(&fixture, &ours, &peer, "").await;
    assert_eq!(said, Err("2 tags: 1 same, 1 missing on peer; missing on peer: a:2".to_owned()));
    let nothing = catalogue(&[], 100);
    let said = parity(&fixture, &nothing, &nothing, "").await;
    assert_eq!(said, Err("neither registry has a tag: is their storage there?".to_owned()));
}

async fn all_pages_are_read(fixture: Fixture) {
    let names: Vec<String> = (0..7).map(|n| format!("n{n}")).collect();
    let tags: Vec<String> = (0..7).map(|n| format!("t{n}")).collect();
    let mut images: Vec<(&str, &str, &str)> = names.iter().map(|name| (name.as_str(), "1", "x")).collect();
    images.extend(tags.iter().map(|tag| ("n3", tag.as_str(), "y")));
    let (ours, peer) = (catalogue(&images, 2), catalogue(&images, 2));
    let said = parity(&fixture, &ours, &peer, ", page_size = 2").await;
    assert_eq!(said, Ok("14 tags: 14 same".to_owned()));
    let pages = |what: &str| ours.asked().into_iter().filter(|head| head.contains(what)).count();
    assert_eq!(pages("/v2/_catalog?"), 4);
}

async fn pages_without_end_are_given_up(fixture: Fixture) {
    let ours = catalogue(&[("a", "1", "x")], 100);
    let peer = catalogue(&[("a", "1", "x")], 100);
    let again = page(json!({ "repositories": ["a"] }).to_string());
    peer.put("/v2/_catalog?n=100", again.with("Link", "</v2/_catalog?n=100>; rel=\"next\""));
    let said = parity(&fixture, &ours, &peer, "").await;
    assert_eq!(
        said,
        Err("the catalogue on peer goes on without another name: its pages do not end".to_owned())
    );
    peer.put("/v2/_catalog?n=100", page(json!({ "repositories": ["../../secret"] }).to_string()));
    let said = parity(&fixture, &ours, &peer, "").await;
    assert_eq!(said, Err("the catalogue on peer has the name \"../../secret\", which is none".to_owned()));
    peer.put("/v2/_catalog?n=100", page("x".repeat(5 * 1024 * 1024)));
    let said = parity(&fixture, &ours, &peer, "").await;
    assert_eq!(said, Err("the catalogue on peer has more than 4 MiB".to_owned()));
}

async fn parity_keeps_to_its_rate(fixture: Fixture) {
    let images = [("a", "1", "x"), ("a", "2", "x"), ("a", "3", "x"), ("a", "4", "x")];
    let (ours, peer) = (catalogue(&images, 100), catalogue(&images, 100));
    let text = parity_text(ours.serve().await, peer.serve().await, ", rate = 20");
    let started = Instant::now();
    assert!(said(&fixture.launcher, &text).await.is_ok());
    let asked = ours.asked().len();
    assert_eq!(asked, 6, "a page of repositories, a page of tags, four manifests");
    let least = Duration::from_millis(50) * 5;
    assert!(started.elapsed() >= least, "{asked} requests at 20 a second in {:?}", started.elapsed());
}

async fn parity_is_cut_short_at_its_deadline(fixture: Fixture) {
    let images = [("a", "1", "x"), ("b", "1", "x"), ("c", "1", "x")];
    let (ours, peer) = (catalogue(&images, 100), catalogue(&images, 100));
    let text = parity_text(ours.serve().await, peer.serve().await, ", rate = 1");
    let late = said_within(&fixture.launcher, &text, Duration::from_millis(800)).await;
    let late = late.expect_err("there are eight requests");
    assert!(late.starts_with("deadline of 800 ms passed while comparing a: 0 tags: 0 same so far"), "{late}");
}

/// A repository of Helm with one chart.
fn charts(url: &str, digest: &str) -> Site {
    let site = Site::default();
    let index = format!(
        "apiVersion: v1\nentries:\n  agent:\n  - version: 1.0.0\n    digest: {digest}\n    urls:\n    - {url}\n  \
         other:\n  - version: 2.0.0\n"
    );
    site.put("/charts/index.yaml", page(index));
    site.put("/charts/charts/agent-1.0.0.tgz", page("a chart"));
    site
}

async fn helm(fixture: &Fixture, site: &Site, keys: &str) -> Result<String, String> {
    let address = site.serve().await;
    let text = format!("chart_repository = {{ url = \"http://{address}/charts\"{keys} }}");
    said(&fixture.launcher, &text).await
}

async fn charts_are_counted_and_one_is_downloaded(fixture: Fixture) {
    let site = charts("charts/agent-1.0.0.tgz", hex(b"a chart").trim_start_matches("sha256:"));
    let passed = helm(&fixture, &site, "").await.expect("there are charts");
    assert!(passed.starts_with("2 charts in "), "{passed}");
    let few = helm(&fixture, &site, ", min_entries = 3").await;
    assert_eq!(few, Err("index.yaml has 2 charts instead of at least 3".to_owned()));
    for canary in ["agent", "agent:1.0.0"] {
        let passed = helm(&fixture, &site, &format!(", canary = \"{canary}\"")).await.expect("it is whole");
        assert!(passed.starts_with(&format!("2 charts, {canary} has its 7 octets in ")), "{passed}");
    }
    for url in ["/charts/charts/agent-1.0.0.tgz", "http://www.example.com:1/charts/charts/agent-1.0.0.tgz"] {
        let address = charts(url, &hex(b"a chart")).serve().await;
        let text = format!(
            "chart_repository = {{ url = \"http://www.example.com:1/charts\", connect = \"{address}\", canary = \"agent\" }}"
        );
        assert!(said(&fixture.launcher, &text).await.is_ok(), "{url}");
    }
}

async fn a_chart_that_is_missing_or_changed_fails(fixture: Fixture) {
    let canary = ", canary = \"agent\"";
    let site = charts("charts/agent-1.0.0.tgz", &hex(b"a chart"));
    let unknown = helm(&fixture, &site, ", canary = \"agent:2.0.0\"").await;
    assert_eq!(unknown, Err("index.yaml has no chart agent:2.0.0".to_owned()));
    let other = helm(&fixture, &site, ", canary = \"other\"").await;
    assert_eq!(other, Err("index.yaml has no digest of other".to_owned()));
    site.put("/charts/charts/agent-1.0.0.tgz", page("another"));
    let changed = helm(&fixture, &site, canary).await;
    let wanted = format!(
        "agent at /charts/charts/agent-1.0.0.tgz is 7 octets with {} instead of {}",
        hex(b"another"),
        hex(b"a chart")
    );
    assert_eq!(changed, Err(wanted));
    site.remove("/charts/charts/agent-1.0.0.tgz");
    let missing = helm(&fixture, &site, canary).await;
    let wanted = "agent at /charts/charts/agent-1.0.0.tgz: 404 instead of 200: no such page";
    assert_eq!(missing, Err(wanted.to_owned()));
    let elsewhere = charts("https://www.example.com/agent.tgz", &hex(b"a chart"));
    let elsewhere = helm(&fixture, &elsewhere, canary).await.expect_err("it is another server");
    assert!(
        elsewhere.starts_with("the chart is at https://www.example.com/agent.tgz, which is another server")
    );
}

async fn an_index_that_is_none_or_too_long_fails(fixture: Fixture) {
    let site = Site::default();
    let missing = helm(&fixture, &site, "").await;
    assert_eq!(missing, Err("index.yaml: 404 instead of 200: no such page".to_owned()));
    site.put("/charts/index.yaml", page("<html>login</html>"));
    let html = helm(&fixture, &site, "").await;
    assert_eq!(html, Err("index.yaml has no entries: it is not an index of charts".to_owned()));
    site.put("/charts/index.yaml", page("entries: {}\n"));
    let empty = helm(&fixture, &site, "").await;
    assert_eq!(empty, Err("index.yaml has 0 charts instead of at least 1".to_owned()));
    assert!(helm(&fixture, &site, ", min_entries = 0").await.is_ok());
    let long = helm(&fixture, &site, ", max_body = 5").await;
    assert_eq!(long, Err("index.yaml has more than 5 octets".to_owned()));
}
