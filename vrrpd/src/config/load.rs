//! From a file to a [`Config`] or to all that is wrong with it.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use toml::de::DeTable;

use super::diagnostic::{Diagnostics, Faults, Source, Span, Warnings};
use super::secrecy::is_hidden;
use super::{Config, defaults, raw, validate};

/// A configuration has some hundred lines; whatever is larger than this is something else.
const LARGEST_OCTETS: usize = 1 << 20;

/// Faults of syntax that are looked at; each costs a look at other lines, and more are noise.
const MOST_SYNTAX_FAULTS: usize = 1000;

/// Reads and validates a file.
///
/// # Errors
///
/// Every fault of the file at once, or why it cannot be read: missing, not a regular file, larger than
/// 1 MiB, not UTF-8.
pub fn load(path: &Path) -> Result<(Config, Warnings), Diagnostics> {
    validated(path, read_file(path))
}

/// As [`load`], also from what can be read but once, such as `/dev/stdin`: for who only wants to check it.
/// Waits for the end of it.
///
/// # Errors
///
/// As [`load`].
pub fn load_once(path: &Path) -> Result<(Config, Warnings), Diagnostics> {
    validated(path, File::open(path).map_err(|error| words(&error)).and_then(read))
}

fn validated(path: &Path, text: Result<String, String>) -> Result<(Config, Warnings), Diagnostics> {
    let name = path.display().to_string();
    match text {
        Ok(text) => parse(&name, &text),
        Err(message) => Err(Diagnostics::of_file(&name, message)),
    }
}

/// Validates the text of a file; `name` is what the diagnostics call it.
///
/// # Errors
///
/// Every fault of the text at once, warnings among them, in the order of the text.
pub fn parse(name: &str, text: &str) -> Result<(Config, Warnings), Diagnostics> {
    let source = Source::new(name, text);
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut faults = Faults::new(source.clone());
    report_syntax(errors, &source, &mut faults);

    let file = raw::read(table.get_ref(), &mut faults);
    validate::check(&file, &mut faults);
    match defaults::config(&file) {
        Some(config) if !faults.has_errors() => Ok((config, faults.finish())),
        _ => Err(faults.finish()),
    }
}

/// A file that is there when it is read again: at a reload, and by the launcher.
fn read_file(path: &Path) -> Result<String, String> {
    // A pipe would be waited for already here.
    let opened = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path);
    let file = opened.map_err(|error| words(&error))?;
    let kind = file.metadata().map_err(|error| words(&error))?.file_type();
    if !kind.is_file() && !kind.is_dir() {
        return Err(String::from(
            "this is not a regular file, and vrrpd reads it again at each reload; vrrpd --check takes a pipe",
        ));
    }
    read(file)
}

fn words(error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => String::from("there is no such file"),
        ErrorKind::PermissionDenied => String::from("this user may not read the file"),
        ErrorKind::IsADirectory => String::from("this is a directory, not a file"),
        _ => format!("the file cannot be read: {error}"),
    }
}

fn read(file: File) -> Result<String, String> {
    let mut octets = Vec::new();
    file.take(LARGEST_OCTETS as u64 + 1).read_to_end(&mut octets).map_err(|error| words(&error))?;
    if octets.len() > LARGEST_OCTETS {
        return Err(String::from("the file is larger than 1 MiB and cannot be a configuration"));
    }
    String::from_utf8(octets).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + good.iter().filter(|octet| **octet == b'\n').count();
        format!("line {line} is not UTF-8 text")
    })
}

fn report_syntax(mut errors: Vec<toml::de::Error>, source: &Source, faults: &mut Faults) {
    // Faults of the lexer, the grammar and the tables come one after another; only the first of a
    // line is of interest.
    errors.sort_by_key(|error| error.span().map_or(0, |span| span.start));
    for error in errors.into_iter().take(MOST_SYNTAX_FAULTS) {
        let span = error.span().unwrap_or(0..0);
        let (message, label) = in_our_words(error.message(), &span, source);
        faults.syntax(span, message, label);
    }
}

/// The usual faults, for people who do not know the grammar of TOML by heart.
fn in_our_words(message: &str, span: &Span, source: &Source) -> (String, String) {
    let found = source.text().get(span.clone()).unwrap_or("").trim();
    if message == "duplicate key" {
        let label = first_of_duplicate(source, span, found).map(|line| format!("first at line {line}"));
        return (format!("{found} is there twice"), label.unwrap_or_default());
    }
    if message.starts_with("string values must be quoted") {
        return if found.is_empty() {
            (String::from("there is no value"), String::new())
        } else {
            (String::from("a string needs quotes"), format!("write \"{}\"", found.escape_debug()))
        };
    }
    // `192.0.2.1` and `2026-x` begin like a number or a date and go on otherwise.
    if ["invalid float", "invalid integer", "invalid date"].iter().any(|start| message.starts_with(start)) {
        let hidden = is_hidden(source, source.line(span.start));
        let word = || format!("write \"{}\"", word_around(source.text(), span.start).escape_debug());
        let label = if hidden { String::new() } else { word() };
        return (String::from("neither a number nor a date, and a string needs quotes"), label);
    }
    (message.to_owned(), String::new())
}

/// What stands between two signs of the grammar.
fn word_around(text: &str, octet: usize) -> &str {
    let ends = |c: char| c.is_whitespace() || matches!(c, '=' | ',' | '[' | ']' | '{' | '}' | '#');
    let (before, after) = text.split_at_checked(octet).unwrap_or((text, ""));
    let from = before.char_indices().rev().find(|(_, c)| ends(*c)).map_or(0, |(at, c)| at + c.len_utf8());
    let to = after.find(ends).map_or(text.len(), |at| before.len() + at);
    &text[from..to]
}

/// Line of the header or key that the one at `span` repeats.
fn first_of_duplicate(source: &Source, span: &Span, key: &str) -> Option<usize> {
    let duplicate = source.line(span.start);
    let header = |line: usize| {
        let text = source.line_text(line).trim_start();
        text.starts_with('[').then(|| text.split(']').next().unwrap_or(text))
    };
    if let Some(name) = header(duplicate) {
        return (1..duplicate).find(|line| header(*line) == Some(name));
    }
    let is_key = |line: &usize| {
        let rest = source.line_text(*line).trim_start().strip_prefix(key);
        rest.is_some_and(|rest| rest.trim_start().starts_with('='))
    };
    (1..duplicate).rev().take_while(|line| header(*line).is_none()).find(is_key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault_of(path: &Path) -> String {
        load(path).expect_err("the file cannot be used").to_string()
    }

    #[test]
    fn a_file_that_cannot_be_read_says_why() {
        let dir = std::env::temp_dir().join(format!("vrrpd-config-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("the temporary directory can be written");
        let file = |name: &str, octets: &[u8]| {
            let path = dir.join(name);
            std::fs::write(&path, octets).expect("the temporary directory can be written");
            path
        };
        assert!(fault_of(&dir.join("missing")).ends_with("missing: error: there is no such file\n"));
        assert!(fault_of(&dir).ends_with(": error: this is a directory, not a file\n"));
        let pipe = dir.join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).expect("the directory can be written");
        assert!(fault_of(&pipe).contains("not a regular file"), "nobody writes to it: it is not waited for");
        let writer = std::thread::spawn({
            let pipe = pipe.clone();
            move || std::fs::write(pipe, "vrid = ")
        });
        let read = load_once(&pipe).expect_err("half a line").to_string();
        assert!(read.contains("1 | vrid ="), "{read}");
        writer.join().expect("it does not panic").expect("somebody reads");
        assert!(fault_of(&file("latin1", b"a = 1\nb = \"\xfc\"\n")).ends_with("line 2 is not UTF-8 text\n"));
        assert!(fault_of(&file("large", &vec![b' '; LARGEST_OCTETS + 1])).contains("larger than 1 MiB"));
        let largest = fault_of(&file("largest", &vec![b' '; LARGEST_OCTETS]));
        assert!(largest.contains("there is no virtual router"), "{largest}");
        std::fs::remove_dir_all(&dir).expect("the temporary directory can be removed");
    }
}
