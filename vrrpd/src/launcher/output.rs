//! What a script said last, in a form that fits a line of a log.

/// Octets of output that are remembered.
const KEPT: usize = 1024;

/// Octets of a line that are shown.
const SHOWN: usize = 200;

/// The end of a stream.
#[derive(Debug, Default)]
pub(super) struct Tail(Vec<u8>);

impl Tail {
    pub(super) fn push(&mut self, octets: &[u8]) {
        self.0.extend_from_slice(octets);
        let surplus = self.0.len().saturating_sub(KEPT);
        self.0.drain(..surplus);
    }

    /// The last line that is not blank, or nothing.
    pub(super) fn line(&self) -> String {
        let line = self.0.split(|octet| *octet == b'\n').rfind(|line| !line.trim_ascii().is_empty());
        printable(line.unwrap_or_default(), SHOWN)
    }

    /// All that is remembered.
    pub(super) fn text(&self) -> String {
        printable(&self.0, KEPT)
    }
}

/// Text without controls, in `limit` octets at most; what is left out is marked with an ellipsis.
pub(crate) fn printable(octets: &[u8], limit: usize) -> String {
    let lossy = String::from_utf8_lossy(octets);
    let clean: String = lossy.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if clean.len() <= limit {
        return clean;
    }
    let mut end = limit.saturating_sub('…'.len_utf8());
    while !clean.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &clean[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_with_something_in_it_counts() {
        let mut tail = Tail::default();
        assert_eq!(tail.line(), "");
        tail.push(b"first\nsec");
        tail.push(b"ond \r\n\n  \n");
        assert_eq!(tail.line(), "second");
    }

    #[test]
    fn a_flood_is_forgotten_but_for_its_end() {
        let mut tail = Tail::default();
        for _ in 0..1000 {
            tail.push(&[b'x'; 1000]);
        }
        tail.push(b"\nthe end");
        assert_eq!(tail.line(), "the end");
        assert!(tail.0.len() <= KEPT);
    }

    #[test]
    fn controls_and_half_characters_do_no_harm() {
        assert_eq!(printable(b"a\x1b[31mb\0c\xff", 80), "a [31mb c\u{fffd}");
        assert_eq!(printable("ééé".as_bytes(), 5), "é…");
        assert_eq!(printable("ééé".as_bytes(), 6), "ééé");
        assert_eq!(printable(b"abc", 0), "…");
    }
}
