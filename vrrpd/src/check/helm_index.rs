//! `index.yaml` of a repository of Helm, read event by event: nothing of it is kept but a count and
//! one entry, aliases are not followed, and no tree is built.

use saphyr_parser::{Event, Parser};

use crate::config::Chart;

/// Nesting of an index; charts need six.
const DEEPEST: usize = 64;

/// What an index says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// Names of charts below `entries`.
    pub(super) charts: u32,
    /// The entry that was looked for.
    pub(super) canary: Option<Entry>,
}

/// A version of a chart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Entry {
    version: Option<String>,
    pub(super) digest: Option<String>,
    /// The first of its URLs.
    pub(super) url: Option<String>,
}

/// Reads an index and looks for a chart: that version, or the first in the list, which is the newest.
pub(super) fn read(index: &[u8], canary: Option<&Chart>) -> Result<Found, String> {
    let text =
        std::str::from_utf8(index).map_err(|error| format!("index.yaml is not UTF-8 text: {error}"))?;
    let mut walk =
        Walk { canary, path: Vec::new(), entry: Entry::default(), found: Found::default(), entries: false };
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| format!("index.yaml is not YAML: {error}"))?;
        walk.take(event).map_err(|fault| format!("index.yaml, line {}: {fault}", span.start.line()))?;
    }
    if walk.entries {
        Ok(walk.found)
    } else {
        Err("index.yaml has no entries: it is not an index of charts".to_owned())
    }
}

/// Where the events are: from the root down, each level with the key that is being read.
struct Walk<'a> {
    canary: Option<&'a Chart>,
    path: Vec<Level>,
    /// The version that is being read.
    entry: Entry,
    found: Found,
    /// There was a mapping `entries`.
    entries: bool,
}

enum Level {
    /// The key whose value is next; none: a key is next.
    Mapping(Option<String>),
    /// How many elements there were.
    Sequence(usize),
}

impl Walk<'_> {
    fn take(&mut self, event: Event<'_>) -> Result<(), String> {
        match event {
            Event::MappingStart(..) => self.open(Level::Mapping(None)),
            Event::SequenceStart(..) => self.open(Level::Sequence(0)),
            Event::MappingEnd | Event::SequenceEnd => {
                self.close();
                Ok(())
            }
            Event::Scalar(text, ..) => {
                self.scalar(&text);
                Ok(())
            }
            Event::Alias(_) => {
                self.next();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn open(&mut self, level: Level) -> Result<(), String> {
        if self.path.len() >= DEEPEST {
            return Err(format!("it is nested more than {DEEPEST} times"));
        }
        let is_mapping = matches!(level, Level::Mapping(_));
        self.path.push(level);
        match self.keys()[..] {
            [Some("entries"), None] if is_mapping => self.entries = true,
            [Some("entries"), Some(_), None, None] if is_mapping => self.entry = Entry::default(),
            _ => {}
        }
        Ok(())
    }

    fn close(&mut self) {
        if let [Some("entries"), Some(name), None, None] = self.keys()[..]
            && let Some(canary) = self.canary
            && canary.name == name
            && self.found.canary.is_none()
            && canary.version.as_ref().is_none_or(|version| self.entry.version.as_ref() == Some(version))
        {
            self.found.canary = Some(std::mem::take(&mut self.entry));
        }
        self.path.pop();
        self.next();
    }

    fn scalar(&mut self, text: &str) {
        if let Some(Level::Mapping(key @ None)) = self.path.last_mut() {
            *key = Some(text.to_owned());
            if let [Some("entries"), Some(_)] = self.keys()[..] {
                self.found.charts = self.found.charts.saturating_add(1);
            }
            return;
        }
        match self.keys()[..] {
            [Some("entries"), Some(_), None, Some("version")] => self.entry.version = Some(text.to_owned()),
            [Some("entries"), Some(_), None, Some("digest")] => self.entry.digest = Some(text.to_owned()),
            [Some("entries"), Some(_), None, Some("urls"), None] if self.entry.url.is_none() => {
                self.entry.url = Some(text.to_owned());
            }
            _ => {}
        }
        self.next();
    }

    /// The key of each level; none: an element of a list, or a mapping between two keys.
    fn keys(&self) -> Vec<Option<&str>> {
        let key = |level| match level {
            &Level::Mapping(Some(ref key)) => Some(key.as_str()),
            Level::Mapping(None) | Level::Sequence(_) => None,
        };
        self.path.iter().map(key).collect()
    }

    /// A value is complete.
    fn next(&mut self) {
        match self.path.last_mut() {
            Some(Level::Mapping(key)) => *key = None,
            Some(Level::Sequence(count)) => *count += 1,
            None => {}
        }
    }
}

/// For the fuzzer: looking for a chart counts the same charts.
#[cfg(any(test, feature = "fuzzing"))]
pub(super) fn fuzz(octets: &[u8]) {
    let chart = Chart { name: "nginx".to_owned(), version: None };
    let (all, one) = (read(octets, None), read(octets, Some(&chart)));
    assert_eq!(all.map(|found| found.charts), one.map(|found| found.charts));
}

#[cfg(test)]
mod tests {
    use super::*;

    const INDEX: &str = "apiVersion: v1
entries:
  alpine:
  - name: alpine
    version: 0.2.0
    created: 2016-10-06T16:23:20Z
    digest: aa
    home: https://helm.sh
    urls:
    - charts/alpine-0.2.0.tgz
    - https://elsewhere/alpine-0.2.0.tgz
    maintainers: [{name: one, digest: no}]
  - version: 0.1.0
    digest: bb
    urls: [charts/alpine-0.1.0.tgz]
  'nginx':
  - urls:
      - charts/nginx-1.1.0.tgz
    version: \"1.1.0\"
generated: 2016-10-06T16:23:20Z
";

    fn chart(name: &str, version: Option<&str>) -> Chart {
        Chart { name: name.to_owned(), version: version.map(str::to_owned) }
    }

    fn entry(name: &str, version: Option<&str>) -> Option<(Option<String>, Option<String>)> {
        let found = read(INDEX.as_bytes(), Some(&chart(name, version))).expect("it is an index");
        assert_eq!(found.charts, 2);
        found.canary.map(|entry| (entry.digest, entry.url))
    }

    #[test]
    fn a_chart_is_found_by_name_and_version_or_as_the_first() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(entry("alpine", None), Some((some("aa"), some("charts/alpine-0.2.0.tgz"))));
        assert_eq!(entry("alpine", Some("0.1.0")), Some((some("bb"), some("charts/alpine-0.1.0.tgz"))));
        assert_eq!(entry("nginx", Some("1.1.0")), Some((None, some("charts/nginx-1.1.0.tgz"))));
        assert_eq!(entry("alpine", Some("9")), None);
        assert_eq!(entry("apiVersion", None), None);
    }

    #[test]
    fn json_is_yaml_and_an_empty_index_has_no_chart() {
        let json = br#"{"entries":{"a":[{"version":"1","urls":["a.tgz"],"digest":"cc"}]}}"#;
        let found = read(json, Some(&chart("a", None))).expect("it is an index");
        assert_eq!((found.charts, found.canary.and_then(|entry| entry.digest)), (1, Some("cc".to_owned())));
        assert_eq!(read(b"apiVersion: v1\nentries: {}\n", None), Ok(Found::default()));
    }

    #[test]
    fn what_is_no_index_is_said_to_be_none() {
        for (text, fault) in [
            ("", "index.yaml has no entries"),
            ("<html></html>", "index.yaml has no entries"),
            ("entries: 3", "index.yaml has no entries"),
            ("entries: {a: [", "index.yaml is not YAML: "),
            ("\u{0}", "index.yaml"),
        ] {
            let said = read(text.as_bytes(), None).expect_err(text);
            assert!(said.starts_with(fault), "{said}");
        }
        assert!(read(b"\xff", None).expect_err("not text").starts_with("index.yaml is not UTF-8 text"));
    }

    /// Deep nesting and doubled aliases, which take down parsers that recurse or expand.
    #[test]
    fn an_index_cannot_eat_the_stack_or_the_memory() {
        let block: String = (0..10_000).map(|depth| format!("{}a:\n", " ".repeat(depth % 500))).collect();
        assert!(read(block.as_bytes(), None).is_err());
        assert!(read("[".repeat(100_000).as_bytes(), None).is_err());
        let deep: String = (0..100).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
        assert!(read(deep.as_bytes(), None).expect_err("too deep").contains("nested more than 64 times"));
        let mut laughs = String::from("a0: &a0 [lol]\n");
        for n in 1..60 {
            let aliases = format!("*a{}, ", n - 1).repeat(9);
            laughs.push_str(&format!("a{n}: &a{n} [{aliases}]\n"));
        }
        assert_eq!(read((laughs + "entries: {}\n").as_bytes(), None), Ok(Found::default()));
    }
}
