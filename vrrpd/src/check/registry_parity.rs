//! The `registry_parity` probe: both registries have the same tags, with the same digests.
//!
//! All of both catalogues is gone through, page by page and no faster than `rate`. What is kept is the
//! names of repositories, and of one repository the names of its tags; each is bounded.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use tokio::time::sleep_until;

use super::client::{Client, Session};
use super::distribution::{self, Page};
use super::stage::{Stage, within};
use super::tls::Authorities;
use super::{Prober, Run};
use crate::config::{RegistryParity, Sha256};

/// Names of a list that are kept; with names of 255 octets these are some 25 MB.
const MOST_NAMES: usize = 100_000;

/// Names that a message has for each kind of difference.
const NAMED: usize = 3;

/// The probe of one check.
#[derive(Debug)]
pub(super) struct ParityProbe {
    parity: RegistryParity,
    ours: Client,
    peers: Client,
}

impl ParityProbe {
    pub(super) fn new(parity: &RegistryParity, authorities: &Authorities) -> Self {
        let (ours, peers) =
            (Client::new(&parity.endpoint, authorities), Client::new(&parity.peer, authorities));
        Self { parity: parity.clone(), ours, peers }
    }

    async fn compare(&mut self, stages: [&Stage; 2], total: &Stage) -> Result<String, String> {
        let RegistryParity { page_size, rate, .. } = self.parity;
        let mut ours = Side::new("here", self.ours.session(stages[0]), rate);
        let mut peers = Side::new("on peer", self.peers.session(stages[1]), rate);
        total.set("listing the repositories");
        let (ours_has, peer_has) =
            tokio::try_join!(ours.repositories(page_size), peers.repositories(page_size))?;
        let mut tally = Tally::default();
        for name in ours_has.union(&peer_has) {
            total.set(format!("comparing {name}: {tally} so far"));
            let (here, there) = tokio::try_join!(
                ours.tags(name, page_size, ours_has.contains(name)),
                peers.tags(name, page_size, peer_has.contains(name))
            )?;
            for tag in here.union(&there) {
                let (here, there) = tokio::try_join!(
                    ours.digest(name, tag, here.contains(tag)),
                    peers.digest(name, tag, there.contains(tag))
                )?;
                tally.count(name, tag, here, there);
            }
        }
        let warning = format!("{}{}", ours.session.warning(), peers.session.warning());
        tally.verdict().map(|said| said + &warning)
    }
}

impl Prober for ParityProbe {
    fn run(&mut self, deadline: Duration) -> Run<'_> {
        Box::pin(async move {
            let (ours, peers, total) = (Stage::default(), Stage::default(), Stage::default());
            within(deadline, &total, self.compare([&ours, &peers], &total)).await
        })
    }
}

/// One of the two registries.
struct Side<'a> {
    place: &'static str,
    session: Session<'a>,
    next: Instant,
    gap: Duration,
}

impl<'a> Side<'a> {
    fn new(place: &'static str, session: Session<'a>, rate: u16) -> Self {
        Self { place, session, next: Instant::now(), gap: Duration::from_secs(1) / u32::from(rate) }
    }

    /// Waits until the next request may be made.
    async fn pace(&mut self) {
        sleep_until(self.next.into()).await;
        self.next = self.next.max(Instant::now()) + self.gap;
    }

    async fn repositories(&mut self, page_size: u16) -> Result<BTreeSet<String>, String> {
        let first = distribution::catalog(&self.session, page_size);
        let what = format!("the catalogue {}", self.place);
        self.list(first, &what).await
    }

    async fn tags(&mut self, name: &str, page_size: u16, there: bool) -> Result<BTreeSet<String>, String> {
        if !there {
            return Ok(BTreeSet::new());
        }
        let first = distribution::tags(&self.session, name, page_size);
        let what = format!("the list of tags of {name} {}", self.place);
        self.list(first, &what).await
    }

    async fn list(&mut self, first: String, what: &str) -> Result<BTreeSet<String>, String> {
        let mut all = BTreeSet::new();
        let mut path = Some(first);
        while let Some(current) = path {
            self.pace().await;
            let Page { names, next } = distribution::page(&mut self.session, &current, what).await?;
            let before = all.len();
            all.extend(names);
            if all.len() > MOST_NAMES {
                return Err(format!("{what} has more than {MOST_NAMES} names"));
            }
            if next.is_some() && all.len() == before {
                return Err(format!("{what} goes on without another name: its pages do not end"));
            }
            path = next;
        }
        Ok(all)
    }

    async fn digest(&mut self, name: &str, tag: &str, there: bool) -> Result<Option<Sha256>, String> {
        if !there {
            return Ok(None);
        }
        self.pace().await;
        let digest = distribution::digest_of(&mut self.session, name, tag).await;
        digest.map_err(|fault| format!("{}: {fault}", self.place))
    }
}

/// What the comparison has found.
#[derive(Default)]
struct Tally {
    tags: usize,
    same: usize,
    missing_on_peer: Found,
    missing_here: Found,
    differs: Found,
}

/// How many of a kind, and the first of them.
#[derive(Default)]
struct Found {
    count: usize,
    first: Vec<String>,
}

impl Found {
    fn add(&mut self, name: &str, tag: &str) {
        self.count += 1;
        if self.first.len() < NAMED {
            self.first.push(format!("{name}:{tag}"));
        }
    }
}

impl Tally {
    fn count(&mut self, name: &str, tag: &str, here: Option<Sha256>, there: Option<Sha256>) {
        match (here, there) {
            (Some(here), Some(there)) if here == there => self.same += 1,
            (Some(_), Some(_)) => self.differs.add(name, tag),
            (Some(_), None) => self.missing_on_peer.add(name, tag),
            (None, Some(_)) => self.missing_here.add(name, tag),
            // It went between the list and the question.
            (None, None) => return,
        }
        self.tags += 1;
    }

    fn verdict(&self) -> Result<String, String> {
        let differences = [
            (&self.missing_on_peer, "missing on peer"),
            (&self.missing_here, "missing here"),
            (&self.differs, "differs"),
        ];
        let names: Vec<String> = differences
            .iter()
            .filter(|(found, _)| found.count > 0)
            .map(|(found, what)| {
                let more = if found.count > found.first.len() { ", ..." } else { "" };
                format!("{what}: {}{more}", found.first.join(", "))
            })
            .collect();
        match (self.tags, &names[..]) {
            (0, _) => Err("neither registry has a tag: is their storage there?".to_owned()),
            (_, []) => Ok(self.to_string()),
            (_, names) => Err(format!("{self}; {}", names.join("; "))),
        }
    }
}

impl std::fmt::Display for Tally {
    /// `412 tags: 409 same, 2 missing on peer, 1 differs`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} tags: {} same", self.tags, self.same)?;
        for (found, what) in
            [(&self.missing_on_peer, "missing on peer"), (&self.missing_here, "missing here")]
        {
            if found.count > 0 {
                write!(f, ", {} {what}", found.count)?;
            }
        }
        match self.differs.count {
            0 => Ok(()),
            1 => f.write_str(", 1 differs"),
            count => write!(f, ", {count} differ"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tally_counts_and_names_what_is_not_the_same() {
        let digest = |octet| Some(Sha256([octet; 32]));
        let mut tally = Tally::default();
        for tag in 0..409 {
            tally.count("ns/same", &tag.to_string(), digest(1), digest(1));
        }
        assert_eq!(tally.verdict(), Ok("409 tags: 409 same".to_owned()));
        tally.count("ns/a", "1", digest(1), None);
        tally.count("ns/a", "2", digest(1), None);
        tally.count("ns/b", "1", digest(1), digest(2));
        tally.count("ns/gone", "1", None, None);
        let wanted = "412 tags: 409 same, 2 missing on peer, 1 differs; missing on peer: ns/a:1, ns/a:2; \
                      differs: ns/b:1";
        assert_eq!(tally.verdict(), Err(wanted.to_owned()));
        for tag in 0..9 {
            tally.count("ns/c", &tag.to_string(), None, digest(1));
        }
        let said = tally.verdict().expect_err("there are differences");
        assert!(
            said.contains(", 9 missing here, ") && said.contains("missing here: ns/c:0, ns/c:1, ns/c:2, ..."),
            "{said}"
        );
    }

    #[test]
    fn two_empty_registries_are_no_parity() {
        assert!(
            Tally::default().verdict().expect_err("nothing is there").contains("is their storage there?")
        );
    }
}
