//! What `registry` and `registry_parity` ask of a registry (OCI distribution specification).

use hyper::StatusCode;
use serde::Deserialize;

use super::client::{Answer, Question, Session};
use super::hash::sha256;
use crate::config::{Sha256, is_repository, is_tag};
use crate::launcher::printable;

/// The four kinds of manifests. A registry answers 404 for an image that is there when its kind is not
/// among those that are accepted.
const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
                         application/vnd.docker.distribution.manifest.list.v2+json, \
                         application/vnd.docker.distribution.manifest.v2+json";

/// Octets of a manifest, and of a page of a list: what registries themselves allow.
const DOCUMENT: u64 = 4 * 1024 * 1024;

/// Octets of a name or a word of a registry that are shown.
const SHOWN: usize = 80;

/// A manifest whose content fits its digest.
#[derive(Debug)]
pub(super) struct Manifest {
    pub(super) digest: Sha256,
    pub(super) content: Content,
}

/// What a manifest lists, whichever its kind.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Content {
    pub(super) config: Option<Descriptor>,
    #[serde(default)]
    pub(super) layers: Vec<Descriptor>,
    /// Of an index: one for each platform.
    #[serde(default)]
    pub(super) manifests: Vec<Descriptor>,
}

/// A blob or a manifest by its digest.
#[derive(Debug, Deserialize)]
pub(super) struct Descriptor {
    pub(super) digest: String,
    pub(super) size: u64,
    pub(super) platform: Option<Platform>,
    /// Where else it is, when it is not in the registry.
    #[serde(default)]
    pub(super) urls: Vec<String>,
}

/// For whom an image is.
#[derive(Debug, Deserialize)]
pub(super) struct Platform {
    pub(super) os: String,
    pub(super) architecture: String,
}

impl Descriptor {
    /// Its digest, which goes into a path.
    pub(super) fn sha256(&self) -> Result<Sha256, String> {
        let digest = self.digest.starts_with("sha256:").then(|| Sha256::parse(&self.digest)).flatten();
        digest
            .ok_or_else(|| format!("digest {:?} is not of SHA-256", printable(self.digest.as_bytes(), SHOWN)))
    }
}

/// The manifest of a tag or a digest. `image` is what messages call it.
pub(super) async fn manifest(
    session: &mut Session<'_>,
    name: &str,
    reference: &str,
    image: &str,
) -> Result<Manifest, String> {
    let path = session.client.below(&format!("/v2/{name}/manifests/{reference}"));
    let question = Question { accept: MANIFESTS, ..Question::get(&path) };
    let mut answer = session.ask(&question).await?;
    if answer.status != StatusCode::OK {
        return Err(refused(answer, session, &format!("manifest of {image}")).await);
    }
    let announced = announced(&answer, image)?;
    let body = answer.whole(&format!("manifest of {image}"), DOCUMENT).await?;
    let digest = sha256(&body);
    if let Some(announced) = announced.filter(|announced| *announced != digest) {
        return Err(format!("manifest of {image} has {digest}, but the registry says {announced}"));
    }
    let content = serde_json::from_slice(&body)
        .map_err(|error| format!("manifest of {image} cannot be read: {error}"))?;
    Ok(Manifest { digest, content })
}

/// The digest that a tag points to, as the registry says; `None` when there is no such tag.
pub(super) async fn digest_of(
    session: &mut Session<'_>,
    name: &str,
    tag: &str,
) -> Result<Option<Sha256>, String> {
    let path = session.client.below(&format!("/v2/{name}/manifests/{tag}"));
    let image = format!("{name}:{tag}");
    let answer = session.ask(&Question { accept: MANIFESTS, ..Question::head(&path) }).await?;
    match answer.status {
        StatusCode::OK => match announced(&answer, &image)? {
            Some(digest) => Ok(Some(digest)),
            None => Err(format!("the answer for {image} has no Docker-Content-Digest")),
        },
        StatusCode::NOT_FOUND => Ok(None),
        _ => Err(refused(answer, session, &format!("manifest of {image}")).await),
    }
}

fn announced(answer: &Answer, image: &str) -> Result<Option<Sha256>, String> {
    let Some(text) = answer.header("docker-content-digest") else { return Ok(None) };
    match Sha256::parse(text) {
        Some(digest) => Ok(Some(digest)),
        None => {
            let shown = printable(text.as_bytes(), SHOWN);
            Err(format!("Docker-Content-Digest {shown:?} of {image} is not of SHA-256"))
        }
    }
}

/// An answer with another status than 200, in words.
pub(super) async fn refused(answer: Answer, session: &Session<'_>, what: &str) -> String {
    let challenge = answer.header("www-authenticate").unwrap_or_default().to_ascii_lowercase();
    let remedy = match answer.status {
        StatusCode::UNAUTHORIZED if challenge.starts_with("bearer") => {
            "; it wants a token, which vrrpd does not fetch: let everybody read it without one, or ask /v2/ \
             by http with status = [401]"
        }
        StatusCode::UNAUTHORIZED if session.client.has_credentials() => {
            "; user or password in basic_auth_file are wrong"
        }
        StatusCode::UNAUTHORIZED => "; it wants a user and a password: basic_auth_file",
        StatusCode::FOUND | StatusCode::TEMPORARY_REDIRECT => {
            "; the registry keeps it elsewhere, and vrrpd follows no redirection: blobs = \"none\""
        }
        _ => "",
    };
    let fault = answer.unexpected("200", session.stage).await;
    format!("{what}: {fault}{remedy}")
}

/// A page of a list, and the path of the next one.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) names: Vec<String>,
    pub(super) next: Option<String>,
}

/// Path of the first page of the catalogue.
pub(super) fn catalog(session: &Session<'_>, page_size: u16) -> String {
    session.client.below(&format!("/v2/_catalog?n={page_size}"))
}

/// Path of the first page of the tags of a repository.
pub(super) fn tags(session: &Session<'_>, name: &str, page_size: u16) -> String {
    session.client.below(&format!("/v2/{name}/tags/list?n={page_size}"))
}

#[derive(Deserialize)]
struct Names {
    repositories: Option<Vec<String>>,
    tags: Option<Vec<String>>,
}

/// One page. A repository that is listed and has nothing left answers 404: then it is empty.
pub(super) async fn page(session: &mut Session<'_>, path: &str, what: &str) -> Result<Page, String> {
    let mut answer = session.ask(&Question::get(path)).await?;
    if answer.status == StatusCode::NOT_FOUND {
        return Ok(Page { names: Vec::new(), next: None });
    }
    if answer.status != StatusCode::OK {
        return Err(refused(answer, session, what).await);
    }
    let next =
        answer.header("link").map(next).transpose().map_err(|fault| format!("{what}: {fault}"))?.flatten();
    let body = answer.whole(what, DOCUMENT).await?;
    Ok(Page { names: names(&body, what)?, next })
}

fn names(body: &[u8], what: &str) -> Result<Vec<String>, String> {
    let names: Names =
        serde_json::from_slice(body).map_err(|error| format!("{what} cannot be read: {error}"))?;
    let is_tags = names.tags.is_some();
    let names = names.repositories.or(names.tags).unwrap_or_default();
    let good = |name: &&String| if is_tags { is_tag(name) } else { is_repository(name) };
    if let Some(bad) = names.iter().find(|name| !good(name)) {
        return Err(format!("{what} has the name {:?}, which is none", printable(bad.as_bytes(), SHOWN)));
    }
    Ok(names)
}

/// The path of the next page from a `Link` field (RFC 8288), which may be a whole URL.
fn next(link: &str) -> Result<Option<String>, String> {
    let Some((target, parameters)) = link.trim().strip_prefix('<').and_then(|rest| rest.split_once('>'))
    else {
        return Err(format!("link {:?} cannot be read", printable(link.as_bytes(), SHOWN)));
    };
    let relation = parameters.to_ascii_lowercase().replace(['"', ' '], "");
    if !relation.contains("rel=next") {
        return Ok(None);
    }
    let path = match target.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("", |at| &rest[at..]),
        None => target,
    };
    if path.starts_with('/') && path.chars().all(|c| c.is_ascii_graphic()) {
        Ok(Some(path.to_owned()))
    } else {
        Err(format!("link to {:?} has no path", printable(target.as_bytes(), SHOWN)))
    }
}

/// For the fuzzer: what a registry may answer.
#[cfg(any(test, feature = "fuzzing"))]
pub(super) fn fuzz(octets: &[u8]) {
    if let Ok(Content { config, layers, manifests }) = serde_json::from_slice(octets) {
        let all = config.iter().chain(&layers).chain(&manifests);
        let _ = all.map(Descriptor::sha256).collect::<Vec<_>>();
    }
    let _ = names(octets, "tags");
    if let Ok(Ok(Some(path))) = std::str::from_utf8(octets).map(next) {
        assert!(path.starts_with('/') && !path.contains(['\r', '\n', ' ']), "{path:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_a_path_on_the_same_server() {
        let next = |link| next(link).expect("it can be read");
        let path = Some("/v2/_catalog?last=b&n=2".to_owned());
        assert_eq!(next("</v2/_catalog?last=b&n=2>; rel=\"next\""), path);
        assert_eq!(next("<https://elsewhere:5000/v2/_catalog?last=b&n=2>; rel=next"), path);
        assert_eq!(next("</v2/_catalog>; rel=\"first\""), None);
        for bad in ["", "/v2", "<v2>; rel=next", "<https://elsewhere>; rel=next", "</v2 x>; rel=next"] {
            assert!(super::next(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_digest_that_is_none_does_not_become_a_path() {
        let descriptor = |digest: &str| {
            serde_json::from_value::<Descriptor>(serde_json::json!({ "digest": digest, "size": 1 }))
                .expect("fits")
        };
        assert!(descriptor(&format!("sha256:{}", "a".repeat(64))).sha256().is_ok());
        for bad in ["", "../../x", "sha512:aa", &"a".repeat(64)] {
            assert!(descriptor(bad).sha256().is_err(), "{bad}");
        }
    }
}
