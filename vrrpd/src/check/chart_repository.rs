//! The `chart_repository` probe: the index of a repository of Helm, and one chart of it.

use std::time::{Duration, Instant};

use hyper::StatusCode;

use super::client::{Client, Question, Session, show_octets};
use super::hash::Hasher;
use super::helm_index::{self, Found};
use super::stage::{Stage, aside, within};
use super::tls::Authorities;
use super::{Prober, Run};
use crate::config::{ChartRepository, Sha256, Url};
use crate::launcher::printable;

/// The probe of one check.
#[derive(Debug)]
pub(super) struct ChartProbe {
    repository: ChartRepository,
    client: Client,
}

impl ChartProbe {
    pub(super) fn new(repository: &ChartRepository, authorities: &Authorities) -> Self {
        let client = Client::new(&repository.endpoint, authorities);
        Self { repository: repository.clone(), client }
    }

    async fn look(&mut self, stage: &Stage) -> Result<String, String> {
        let started = Instant::now();
        let path = self.client.below("/index.yaml");
        let mut session = self.client.session(stage);
        let mut answer = session.ask(&Question::get(&path)).await?;
        if answer.status != StatusCode::OK {
            return Err(format!("index.yaml: {}", answer.unexpected("200", stage).await));
        }
        let index = answer.whole("index.yaml", self.repository.max_body).await?;
        stage.set("reading index.yaml");
        let canary = self.repository.canary.clone();
        let found = aside(move || helm_index::read(&index, canary.as_ref())).await??;
        let least = self.repository.min_entries;
        if found.charts < least {
            return Err(format!("index.yaml has {} charts instead of at least {least}", found.charts));
        }
        let mut said = format!("{} charts", found.charts);
        if let Some(canary) = &self.repository.canary {
            let octets = fetch(&mut session, &canary.to_string(), &found, self.repository.max_body).await?;
            said = format!("{said}, {canary} has its {octets} octets");
        }
        Ok(format!("{said} in {} ms{}", started.elapsed().as_millis(), session.warning()))
    }
}

impl Prober for ChartProbe {
    fn run(&mut self, deadline: Duration) -> Run<'_> {
        Box::pin(async move {
            let stage = Stage::default();
            within(deadline, &stage, self.look(&stage)).await
        })
    }
}

/// Downloads a chart and compares its digest; returns its length.
async fn fetch(session: &mut Session<'_>, chart: &str, found: &Found, most: u64) -> Result<u64, String> {
    let entry = found.canary.as_ref().ok_or_else(|| format!("index.yaml has no chart {chart}"))?;
    let wanted = entry.digest.as_deref().ok_or_else(|| format!("index.yaml has no digest of {chart}"))?;
    let wanted = Sha256::parse(wanted).ok_or_else(|| {
        format!("digest {:?} of {chart} in index.yaml is not of SHA-256", printable(wanted.as_bytes(), 80))
    })?;
    let url = entry.url.as_deref().ok_or_else(|| format!("index.yaml has no URL of {chart}"))?;
    let path = path_of(url, session.client)?;
    let mut answer = session.ask(&Question::get(&path)).await?;
    let shown = printable(path.as_bytes(), 120);
    if answer.status != StatusCode::OK {
        return Err(format!("{chart} at {shown}: {}", answer.unexpected("200", session.stage).await));
    }
    let mut hasher = Hasher::new();
    let extent = answer
        .read(most, |octets| hasher.update(octets))
        .await
        .map_err(|fault| format!("{chart} at {shown}: {fault}"))?;
    if extent.cut {
        return Err(format!("{chart} at {shown} has more than max_body, which is {}", show_octets(most)));
    }
    let digest = hasher.finish();
    if digest != wanted {
        let octets = extent.octets;
        return Err(format!("{chart} at {shown} is {octets} octets with {digest} instead of {wanted}"));
    }
    Ok(extent.octets)
}

/// The path of a chart, whose URL is relative to the repository's or has the same host.
fn path_of(url: &str, client: &Client) -> Result<String, String> {
    let shown = printable(url.as_bytes(), 120);
    let path = match url.split_once("://") {
        None if url.starts_with('/') => url.to_owned(),
        None => client.below(&format!("/{url}")),
        Some((scheme, rest)) => {
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            if !same_server(scheme, authority, client.url()) {
                return Err(format!(
                    "the chart is at {shown}, which is another server than {}",
                    client.url()
                ));
            }
            path.to_owned()
        }
    };
    let is_path = path.starts_with('/') && path.chars().all(|c| c.is_ascii_graphic() && c != '#');
    if is_path { Ok(path) } else { Err(format!("{shown:?} in index.yaml is not a URL of a chart")) }
}

fn same_server(scheme: &str, authority: &str, ours: &Url) -> bool {
    let usual = if scheme == "https" { 443 } else { 80 };
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().unwrap_or(0)),
        _ => (authority, usual),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    (scheme == "https") == ours.tls && host.eq_ignore_ascii_case(&ours.host) && port == ours.port
}
