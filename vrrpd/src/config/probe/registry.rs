//! `registry = { ... }`.

use std::fmt;
use std::net::IpAddr;
use std::path::Path;

use toml::de::DeValue;

use super::Kind;
use super::endpoint::{Endpoint, endpoint_keys};
use crate::config::Sha256;
use crate::config::diagnostic::Faults;
use crate::config::keys::Key;
use crate::config::raw::no_duplicates;
use crate::config::show::{Entries, inline, list, quoted};
use crate::config::table::{Field, Table};
use crate::config::value::{self, Read, refuse};

/// Its keys.
pub(in crate::config) const KEYS: &[Key] = endpoint_keys!["canary", "digest", "blobs"];

/// `registry = { url = "https://www.example.com", canary = ["ns/name:tag"] }`: images that must be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registry {
    /// The registry; its API is at `/v2/` below the path.
    pub endpoint: Endpoint,
    /// The images, at least one.
    pub canary: Vec<Image>,
    /// What the tags have to point to; default: anything whole.
    pub digest: ImageDigest,
    /// How the layers are looked at; default: `head`.
    pub blobs: Blobs,
}

/// An image by name and tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Name with its namespaces: `library/alpine`.
    pub name: String,
    /// Tag.
    pub tag: String,
}

impl fmt::Display for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.name, self.tag)
    }
}

/// `digest`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageDigest {
    /// Left out: the content fits the digest that comes with it, whichever that is.
    Any,
    /// `"remember"`: that of the first passing run since the check was started or reloaded.
    Remember,
    /// This one.
    Pin(Sha256),
}

/// `blobs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blobs {
    /// Not at all.
    None,
    /// Each is there and has its length.
    Head,
    /// Besides, the smallest layer is downloaded and has its digest.
    PullSmallest,
}

pub(super) fn read(check: &Table<'_>, faults: &mut Faults) -> Option<Registry> {
    let table = check.table("registry", KEYS, faults);
    let table = table.given()?;
    let endpoint = Endpoint::read(table, "https://192.0.2.193", value::base_url, faults);
    let canary = table.list("canary", faults, image);
    let digest = table.field("digest", faults, digest);
    let blobs = table.field("blobs", faults, blobs);
    match &canary {
        Field::Absent => faults.error(
            &table.span,
            format!("[{}] has no canary", table.path),
            "an image that must be there: canary = [\"library/alpine:3.20\"]; /v2/ answers with an empty store, \
             too",
        ),
        Field::Is(list) if list.value.is_empty() => {
            faults.error(&list.span, "canary is empty", "an image that must be there");
        }
        Field::Is(list) => {
            no_duplicates("canary", &list.value, faults);
            if let Some(digest) = digest.at().filter(|at| matches!(at.value, ImageDigest::Pin(_)))
                && list.value.len() > 1
            {
                faults.error(
                    &digest.span,
                    format!("one digest cannot be that of {} images", list.value.len()),
                    "one canary, or digest = \"remember\"",
                );
            }
        }
        Field::Unknown => {}
    }
    Some(Registry {
        endpoint: endpoint?,
        canary: canary.given()?.iter().map(|at| at.value.clone()).collect(),
        digest: digest.or(ImageDigest::Any)?,
        blobs: blobs.or(Blobs::Head)?,
    })
}

/// An image with its tag.
pub(super) fn image(key: &str, value: &DeValue<'_>) -> Read<Image> {
    let text = value::string(key, value)?;
    let image = text.rsplit_once(':').filter(|(name, tag)| is_repository(name) && is_tag(tag));
    match image {
        Some((name, tag)) => Ok(Image { name: name.to_owned(), tag: tag.to_owned() }),
        None => {
            let shown: String = text.chars().take(256).collect();
            refuse(
                format!("{key} {shown:?} is not an image with a tag"),
                "without the registry, as in \"library/alpine:3.20\"",
            )
        }
    }
}

/// Is it the name of a repository (OCI distribution specification)? Those go into paths unescaped.
pub(crate) fn is_repository(name: &str) -> bool {
    let part = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            && part.ends_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c))
    };
    name.len() <= 255 && name.split('/').all(part)
}

/// Is it a tag (OCI distribution specification)?
pub(crate) fn is_tag(tag: &str) -> bool {
    (1..=128).contains(&tag.len())
        && tag.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && tag.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
}

fn digest(key: &str, value: &DeValue<'_>) -> Read<ImageDigest> {
    match value {
        DeValue::String(text) if text == "remember" => Ok(ImageDigest::Remember),
        DeValue::String(text) if Sha256::parse(text).is_none() => {
            let shown: String = text.chars().take(80).collect();
            refuse(format!("{key} {shown:?} is neither a SHA-256 digest nor \"remember\""), "")
        }
        _ => value::sha256(key, value).map(ImageDigest::Pin),
    }
}

/// How the layers are looked at.
pub(super) fn blobs(key: &str, value: &DeValue<'_>) -> Read<Blobs> {
    let words = [("head", Blobs::Head), ("none", Blobs::None), ("pull-smallest", Blobs::PullSmallest)];
    value::word(key, value, &words)
}

impl Kind for Registry {
    fn show(&self) -> Entries {
        let mut entries = self.endpoint.show();
        entries.push(("canary", list(&self.canary, |image| quoted(&image.to_string()))));
        match self.digest {
            ImageDigest::Any => {}
            ImageDigest::Remember => entries.push(("digest", quoted("remember"))),
            ImageDigest::Pin(digest) => entries.push(("digest", quoted(&digest.to_string()))),
        }
        let blobs = match self.blobs {
            Blobs::None => "none",
            Blobs::Head => "head",
            Blobs::PullSmallest => "pull-smallest",
        };
        entries.push(("blobs", quoted(blobs)));
        vec![("registry", inline(&entries))]
    }

    fn files(&self) -> Vec<(&'static str, &Path)> {
        self.endpoint.files()
    }

    fn target(&self) -> Option<IpAddr> {
        self.endpoint.target()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_would_change_a_path_are_none() {
        assert!(is_repository("library/alpine") && is_repository("a") && is_repository("k8s.gcr.io/pause-1"));
        for wrong in ["", "/a", "a/", "a//b", "../v2", "a/..", "A", "a?n=1", "a b", &"a".repeat(256)] {
            assert!(!is_repository(wrong), "{wrong}");
        }
        assert!(is_tag("3.20") && is_tag("_x") && is_tag("V1"));
        for wrong in ["", ".x", "-x", "a/b", "a?b", &"a".repeat(129)] {
            assert!(!is_tag(wrong), "{wrong}");
        }
    }
}
