//! Faults of a configuration file, and how they are shown to the one who wrote it.
//!
//! ```text
//! vrrpd.toml:14:12: error: priority 300 is out of range 1..=255
//!    14 | priority = 300
//!       |            ^^^
//! ```

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;

use super::secrecy::is_hidden;

/// Octets of the file, from and to.
pub(super) type Span = Range<usize>;

/// More than this many are counted, not shown: a file of noise must not become a log of noise.
const SHOWN: usize = 100;
/// Characters of a source line that are shown.
const LINE_SHOWN: usize = 160;

/// How bad a [`Diagnostic`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The file is not used.
    Error,
    /// The file is used, and is probably not what was meant.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

/// One fault of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Does it keep the file from being used?
    pub severity: Severity,
    /// What is wrong: the value and what is allowed.
    pub message: String,
    /// The remedy or the other half of a contradiction; empty when the message says it all.
    pub label: String,
    /// Octets of the file that it is about; `None` when it is about the file as a whole.
    pub span: Option<Range<usize>>,
}

/// All faults of one file, in the order of the file. Displays as many lines, the last one complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostics {
    source: Source,
    list: Vec<Diagnostic>,
}

/// Diagnostics of a file that can be used: all of them are warnings, and mostly there are none.
pub type Warnings = Diagnostics;

impl Diagnostics {
    /// A single error about the file as a whole.
    pub(super) fn of_file(name: &str, message: String) -> Self {
        let error = Diagnostic { severity: Severity::Error, message, label: String::new(), span: None };
        Self { source: Source::new(name, ""), list: vec![error] }
    }

    /// The faults, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.list.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Is there nothing to say?
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for diagnostic in self.list.iter().take(SHOWN) {
            self.source.show(diagnostic, f)?;
        }
        match self.list.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => writeln!(f, "{}: and {more} more", self.source.name),
        }
    }
}

impl std::error::Error for Diagnostics {}

/// Name and text of a file, with an index of its lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Source {
    name: String,
    text: String,
    line_starts: Vec<usize>,
}

impl Source {
    pub(super) fn new(name: &str, text: &str) -> Self {
        let line_starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { name: name.to_owned(), text: text.to_owned(), line_starts }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Number of the line that holds the octet, from 1.
    pub(super) fn line(&self, octet: usize) -> usize {
        self.line_starts.partition_point(|&start| start <= octet)
    }

    /// The line without its end; empty past the last one.
    pub(super) fn line_text(&self, number: usize) -> &str {
        let start = number.checked_sub(1).and_then(|index| self.line_starts.get(index));
        let rest = start.and_then(|&start| self.text.get(start..)).unwrap_or("");
        rest.lines().next().unwrap_or("")
    }

    /// Characters between the start of the line and the octet.
    fn column(&self, number: usize, octet: usize) -> usize {
        let start = self.line_starts[number - 1];
        self.line_text(number).char_indices().take_while(|(at, _)| start + at < octet).count()
    }

    fn show(&self, diagnostic: &Diagnostic, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Diagnostic { severity, message, label, span } = diagnostic;
        let Some(span) = span else {
            return writeln!(f, "{}: {severity}: {message}", self.name);
        };
        let number = self.line(span.start);
        let line = self.line_text(number);
        let from = self.column(number, span.start);
        let to = self.column(number, span.end).max(from + 1);
        writeln!(f, "{}:{number}:{}: {severity}: {message}", self.name, from + 1)?;

        if is_hidden(self, number) {
            writeln!(f, "{number:>5} | (not shown: it may hold a secret)")?;
            return if label.is_empty() { Ok(()) } else { writeln!(f, "      | {label}") };
        }
        let shown: String = line.chars().take(LINE_SHOWN).map(printable).collect();
        let cut = if line.chars().nth(LINE_SHOWN).is_some() { "…" } else { "" };
        writeln!(f, "{number:>5} | {shown}{cut}")?;
        // A tab of the source line is a tab here as well, so that the carets stand below the fault.
        let indent: String = shown.chars().take(from).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
        let carets = "^".repeat(to.min(LINE_SHOWN).saturating_sub(from).max(1));
        writeln!(f, "      | {}", format!("{indent}{carets} {label}").trim_end())
    }
}

/// A stranger's control characters are not sent to the terminal.
fn printable(c: char) -> char {
    if c.is_control() && c != '\t' { char::REPLACEMENT_CHARACTER } else { c }
}

/// Collects the faults of a file while it is read.
#[derive(Debug)]
pub(super) struct Faults {
    source: Source,
    list: Vec<Diagnostic>,
    /// Lines with a fault of syntax; what is wrong there besides is a consequence of it.
    broken_lines: BTreeSet<usize>,
}

impl Faults {
    pub(super) fn new(source: Source) -> Self {
        Self { source, list: Vec::new(), broken_lines: BTreeSet::new() }
    }

    /// What TOML itself does not allow. One for each line: the others on it follow from the first.
    pub(super) fn syntax(&mut self, at: Span, message: String, label: String) {
        let line = self.source.line(at.start);
        if self.broken_lines.insert(line) {
            self.push(Severity::Error, Some(at), message, label);
        }
    }

    /// Was a part of the file unreadable, so that nothing can be said about what is missing?
    pub(super) fn incomplete(&self) -> bool {
        !self.broken_lines.is_empty()
    }

    pub(super) fn error(&mut self, at: &Span, message: impl Into<String>, label: impl Into<String>) {
        self.on_whole_line(Severity::Error, at, message.into(), label.into());
    }

    pub(super) fn warning(&mut self, at: &Span, message: impl Into<String>, label: impl Into<String>) {
        self.on_whole_line(Severity::Warning, at, message.into(), label.into());
    }

    /// An error about the file as a whole.
    pub(super) fn error_of_file(&mut self, message: impl Into<String>) {
        self.push(Severity::Error, None, message.into(), String::new());
    }

    pub(super) fn line(&self, at: &Span) -> usize {
        self.source.line(at.start)
    }

    pub(super) fn has_errors(&self) -> bool {
        self.list.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
    }

    pub(super) fn finish(mut self) -> Diagnostics {
        self.list.sort_by_key(|diagnostic| diagnostic.span.as_ref().map_or(0, |span| span.start));
        Diagnostics { source: self.source, list: self.list }
    }

    fn on_whole_line(&mut self, severity: Severity, at: &Span, message: String, label: String) {
        if !self.broken_lines.contains(&self.source.line(at.start)) {
            self.push(severity, Some(at.clone()), message, label);
        }
    }

    /// Does the remedy hold the value of a line that is not shown?
    fn repeats_hidden(&self, span: &Span, label: &str) -> bool {
        let value = self.source.text.get(span.clone()).unwrap_or("").trim();
        !value.is_empty() && label.contains(value) && is_hidden(&self.source, self.source.line(span.start))
    }

    fn push(&mut self, severity: Severity, span: Option<Span>, message: String, mut label: String) {
        if span.as_ref().is_some_and(|span| self.repeats_hidden(span, &label)) {
            label.clear();
        }
        self.list.push(Diagnostic { severity, message, label, span });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, at: Span, message: &str, label: &str) -> String {
        let mut faults = Faults::new(Source::new("vrrpd.toml", text));
        faults.error(&at, message, label);
        faults.finish().to_string()
    }

    #[test]
    fn carets_stand_below_the_fault() {
        let expected = "vrrpd.toml:2:8: error: VRID 51 is used twice\n    2 | vrid = 51\n      |        ^^ first used at line 1\n";
        assert_eq!(
            shown("vrid = 51\nvrid = 51\n", 17..19, "VRID 51 is used twice", "first used at line 1"),
            expected
        );
    }

    #[test]
    fn tabs_and_wide_letters_do_not_move_the_carets() {
        let text = "\tü = 7";
        let at = text.find('7').expect("there is a 7");
        assert_eq!(
            shown(text, at..at + 1, "seven", ""),
            "vrrpd.toml:1:6: error: seven\n    1 | \tü = 7\n      | \t    ^\n"
        );
    }

    #[test]
    fn a_fault_over_several_lines_is_shown_on_the_first() {
        assert_eq!(
            shown("a = [\n1,\n]", 4..10, "bad", ""),
            "vrrpd.toml:1:5: error: bad\n    1 | a = [\n      |     ^\n"
        );
    }

    #[test]
    fn a_fault_at_the_end_of_the_file_has_a_line() {
        assert_eq!(
            shown("a = 1\n", 6..6, "ends here", ""),
            "vrrpd.toml:2:1: error: ends here\n    2 | \n      | ^\n"
        );
    }

    #[test]
    fn escape_sequences_do_not_reach_the_terminal() {
        assert!(!shown("a = \"\u{1b}[2J\"", 4..5, "bad", "").contains('\u{1b}'));
    }

    #[test]
    fn a_thousand_faults_are_counted_rather_than_shown() {
        let mut faults = Faults::new(Source::new("vrrpd.toml", "x"));
        for _ in 0..1000 {
            faults.error(&(0..1), "bad", "");
        }
        let shown = faults.finish().to_string();
        assert_eq!(shown.lines().count(), 3 * SHOWN + 1);
        assert!(shown.ends_with("vrrpd.toml: and 900 more\n"));
    }

    #[test]
    fn a_long_line_is_cut() {
        let text = format!("a = \"{}\"", "x".repeat(100_000));
        assert!(shown(&text, 4..text.len(), "too long", "").len() < 1000);
    }
}
