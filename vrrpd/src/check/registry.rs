//! The `registry` probe: images that must be there are, down to their layers.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hyper::{Method, StatusCode};

use super::client::{Answer, Client, Question, Session};
use super::distribution::{Content, Descriptor, Manifest, manifest, refused};
use super::hash::Hasher;
use super::stage::{Stage, within};
use super::tls::Authorities;
use super::{Prober, Run};
use crate::config::{Blobs, Image, ImageDigest, Registry, Sha256};

/// The most blobs of one image: more are a jest.
const MOST_BLOBS: usize = 1000;

/// The probe of one check.
#[derive(Debug)]
pub(super) struct RegistryProbe {
    registry: Registry,
    client: Client,
    /// By image, with `digest = "remember"`.
    remembered: BTreeMap<String, Sha256>,
}

impl RegistryProbe {
    pub(super) fn new(registry: &Registry, authorities: &Authorities) -> Self {
        let client = Client::new(&registry.endpoint, authorities);
        Self { registry: registry.clone(), client, remembered: BTreeMap::new() }
    }

    async fn look(&mut self, stage: &Stage) -> Result<String, String> {
        let started = Instant::now();
        let mut seen = Seen::default();
        let mut session = self.client.session(stage);
        let mut found = Vec::new();
        for image in &self.registry.canary {
            let shown = image.to_string();
            let manifest = manifest(&mut session, &image.name, &image.tag, &shown).await?;
            let wanted = match self.registry.digest {
                ImageDigest::Any => None,
                ImageDigest::Remember => self.remembered.get(&shown).copied(),
                ImageDigest::Pin(digest) => Some(digest),
            };
            if let Some(wanted) = wanted.filter(|wanted| *wanted != manifest.digest) {
                let what = match self.registry.digest {
                    ImageDigest::Remember => "the remembered ",
                    _ => "",
                };
                return Err(format!("{shown} is {} instead of {what}{wanted}", manifest.digest));
            }
            found.push((shown.clone(), manifest.digest));
            if self.registry.blobs != Blobs::None {
                look_at_blobs(&mut session, image, &shown, manifest, self.registry.blobs, &mut seen).await?;
            }
        }
        let warning = session.warning();
        let digest = match &found[..] {
            [(image, digest)] => format!("{image} is {digest}"),
            several => format!("{} images", several.len()),
        };
        if self.registry.digest == ImageDigest::Remember {
            self.remembered.extend(found);
        }
        Ok(format!("{digest}{seen} in {} ms{warning}", started.elapsed().as_millis()))
    }
}

impl Prober for RegistryProbe {
    fn run(&mut self, deadline: Duration) -> Run<'_> {
        Box::pin(async move {
            let stage = Stage::default();
            within(deadline, &stage, self.look(&stage)).await
        })
    }
}

/// What has been looked at besides manifests.
#[derive(Default)]
struct Seen {
    blobs: usize,
    pulled: u64,
}

impl std::fmt::Display for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.blobs > 0 {
            write!(f, ", {} blobs", self.blobs)?;
        }
        if self.pulled > 0 {
            write!(f, ", {} octets pulled", self.pulled)?;
        }
        Ok(())
    }
}

async fn look_at_blobs(
    session: &mut Session<'_>,
    image: &Image,
    shown: &str,
    manifest: Manifest,
    how: Blobs,
    seen: &mut Seen,
) -> Result<(), String> {
    let content = of_platform(session, image, shown, manifest.content).await?;
    let blobs: Vec<&Descriptor> =
        content.config.iter().chain(&content.layers).filter(|blob| blob.urls.is_empty()).collect();
    if content.layers.is_empty() && content.config.is_none() {
        return Err(format!(
            "manifest of {shown} lists neither layers nor images: it is of a kind that vrrpd does not read; \
             blobs = \"none\""
        ));
    }
    if blobs.len() > MOST_BLOBS {
        return Err(format!("manifest of {shown} lists {} blobs, more than {MOST_BLOBS}", blobs.len()));
    }
    for blob in &blobs {
        touch(session, image, shown, blob).await?;
        seen.blobs += 1;
    }
    let smallest = content.layers.iter().filter(|blob| blob.urls.is_empty()).min_by_key(|blob| blob.size);
    if let (Blobs::PullSmallest, Some(blob)) = (how, smallest) {
        pull(session, image, shown, blob).await?;
        seen.pulled += blob.size;
    }
    Ok(())
}

/// The manifest itself, or of an index the one for machines like this one, else the first.
async fn of_platform(
    session: &mut Session<'_>,
    image: &Image,
    shown: &str,
    content: Content,
) -> Result<Content, String> {
    let ours = |entry: &&Descriptor| {
        let platform = entry.platform.as_ref();
        platform.is_some_and(|platform| platform.os == "linux" && platform.architecture == architecture())
    };
    let Some(entry) = content.manifests.iter().find(ours).or_else(|| content.manifests.first()) else {
        return Ok(content);
    };
    let reference = entry.sha256().map_err(|fault| format!("{shown} lists an image whose {fault}"))?;
    let platform = entry.platform.as_ref().map_or_else(
        || "no platform".to_owned(),
        |platform| format!("{}/{}", platform.os, platform.architecture),
    );
    let what = crate::launcher::printable(format!("{shown} for {platform}").as_bytes(), 300);
    let inner = manifest(session, &image.name, &reference.to_string(), &what).await?;
    if inner.digest != reference {
        return Err(format!("{what} is {} instead of {reference}", inner.digest));
    }
    Ok(inner.content)
}

/// What registries call this machine.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// The registry says that the blob is there and has its length; nothing of it is read.
async fn head(
    session: &mut Session<'_>,
    image: &Image,
    shown: &str,
    blob: &Descriptor,
) -> Result<(), String> {
    let (what, answer) = ask(session, image, shown, blob, Method::HEAD).await?;
    match answer.content_length() {
        Some(octets) if octets == blob.size => Ok(()),
        Some(octets) => Err(format!("{what} has {octets} octets instead of {}", blob.size)),
        None => Err(format!("{what} comes without Content-Length")),
    }
}

/// The blob can be downloaded and has its digest.
async fn pull(
    session: &mut Session<'_>,
    image: &Image,
    shown: &str,
    blob: &Descriptor,
) -> Result<(), String> {
    let (what, mut answer) = ask(session, image, shown, blob, Method::GET).await?;
    let mut hasher = Hasher::new();
    let read = answer.read(blob.size, |octets| hasher.update(octets)).await;
    let extent = read.map_err(|fault| format!("{what}: {fault}"))?;
    if extent.cut || extent.octets != blob.size {
        let more = if extent.cut { "more than " } else { "" };
        return Err(format!("{what}: {more}{} octets came instead of {}", extent.octets, blob.size));
    }
    let found = hasher.finish();
    if found == blob.sha256()? { Ok(()) } else { Err(format!("{what} has {found}")) }
}

/// The blob has its length and a last octet, which is read.
///
/// `HEAD` alone would not do: a registry that keeps lengths in memory, as the configuration of its
/// official image has it, answers that for a blob that has gone or was cut since.
async fn touch(
    session: &mut Session<'_>,
    image: &Image,
    shown: &str,
    blob: &Descriptor,
) -> Result<(), String> {
    let Some(last) = blob.size.checked_sub(1) else { return head(session, image, shown, blob).await };
    let (what, path) = place(session, image, shown, blob)?;
    let range = [("Range".to_owned(), format!("bytes={last}-{last}"))];
    let mut answer = session.ask(&Question { headers: &range, ..Question::get(&path) }).await?;
    // `bytes 6-6/7`, or `bytes */5` when there is no such octet (RFC 9110 14.4).
    let total = answer.header("content-range").and_then(|range| range.rsplit_once('/')?.1.parse().ok());
    let octets = match answer.status {
        StatusCode::PARTIAL_CONTENT => total,
        StatusCode::RANGE_NOT_SATISFIABLE if total.is_some() => total,
        // A server that knows no ranges begins at the beginning.
        StatusCode::OK if answer.content_length().is_some() => answer.content_length(),
        // It lies elsewhere, and this registry knows of it what `HEAD` says.
        status if status == StatusCode::OK || status.is_redirection() => {
            // The connection is not free while somebody may read on.
            drop(answer);
            return head(session, image, shown, blob).await;
        }
        _ => return Err(refused(answer, session, &what).await),
    };
    if let Some(octets) = octets.filter(|octets: &u64| *octets != blob.size) {
        return Err(format!("{what} has {octets} octets instead of {}", blob.size));
    }
    let extent = answer.read(1, |_| ()).await.map_err(|fault| format!("{what}: {fault}"))?;
    if extent.octets == 1 { Ok(()) } else { Err(format!("{what}: nothing came of it")) }
}

/// What messages call a blob, and its path.
fn place(
    session: &Session<'_>,
    image: &Image,
    shown: &str,
    blob: &Descriptor,
) -> Result<(String, String), String> {
    let digest = blob.sha256().map_err(|fault| format!("{shown} lists a blob whose {fault}"))?;
    let path = session.client.below(&format!("/v2/{}/blobs/{digest}", image.name));
    Ok((format!("blob {digest} of {shown}"), path))
}

/// Asks for a blob that has to be there; returns what messages call it, and the answer.
async fn ask(
    session: &mut Session<'_>,
    image: &Image,
    shown: &str,
    blob: &Descriptor,
    method: Method,
) -> Result<(String, Answer), String> {
    let (what, path) = place(session, image, shown, blob)?;
    let answer = session.ask(&Question { method, ..Question::get(&path) }).await?;
    if answer.status == StatusCode::OK {
        Ok((what, answer))
    } else {
        Err(refused(answer, session, &what).await)
    }
}
