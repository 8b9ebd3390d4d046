//! Lines of a file that are not shown with what is wrong there.
//!
//! Diagnostics go to logs, and to whoever may read the history. What belongs into a file of its own and
//! was written here by mistake does not, and a fault is just what makes a secret appear where nobody
//! looks for one: with another daemon's word as its key, without quotes, in a table that is none. So
//! whatever looks like one is hidden, and now and then a harmless line with it.

use super::diagnostic::Source;

/// Parts of words that stand before a secret.
const WORDS: [&str; 10] = ["auth", "pass", "pasw", "pwd", "pw", "psk", "secret", "token", "cookie", "key"];
/// What a key ends with that takes a path to a secret.
const FILES: [&str; 4] = ["auth_file", "key_file", "password_file", "secret_file"];
/// The statement or table that a line is part of begins no further above; what goes on for longer is
/// hidden.
const LINES_ABOVE: usize = 1000;

/// May the line hold a secret, by itself or as a part of what begins above it?
pub(super) fn is_hidden(source: &Source, number: usize) -> bool {
    let line = source.line_text(number);
    if is_header(line) {
        return false;
    }
    if may_hold_secret(line) {
        return true;
    }
    let mut begun = begins_statement(line);
    let mut open = 0;
    for above in (1..number).rev().take(LINES_ABOVE).map(|number| source.line_text(number)) {
        if heads_secrets(above) {
            return true;
        }
        if is_header(above) {
            return false;
        }
        open += braces(above);
        let continues = open > 0 || !begun;
        if continues && may_hold_secret(above) {
            return true;
        }
        begun |= begins_statement(above);
    }
    number > LINES_ABOVE
}

fn may_hold_secret(line: &str) -> bool {
    if is_header(line) {
        return false;
    }
    let lower = line.to_ascii_lowercase();
    // In quotes as well: a parameter of a URL.
    let assigned = |word: &&str| {
        lower.match_indices(*word).any(|(at, _)| {
            let rest = lower[at + word.len()..]
                .trim_start_matches(|c: char| c.is_whitespace() || c == '"' || c == '\'');
            rest.starts_with('=')
        })
    };
    // The secret itself in place of the path to it.
    let no_path = |(at, name): (usize, &str)| {
        let value = lower[at + name.len()..].trim_start().strip_prefix('=').map(str::trim_start);
        value.is_some_and(|value| !value.starts_with(['"', '\'']) || !value[1..].starts_with('/'))
    };
    let in_url = |(at, _): (usize, &str)| {
        lower[at + 3..].split(['/', '"', ' ']).next().is_some_and(|host| host.contains('@'))
    };
    names_secret(&outside_of_strings(&lower))
        || WORDS.iter().any(assigned)
        || FILES.iter().flat_map(|name| lower.match_indices(name)).any(no_path)
        || lower.contains("\"hex:")
        || lower.match_indices("://").any(in_url)
}

/// Is one of the words there, other than in the name of a key that takes a path to it?
fn names_secret(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    lower.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == '-')).any(|name| {
        !FILES.iter().any(|file| name.ends_with(file)) && WORDS.iter().any(|word| name.contains(word))
    })
}

/// The line without the strings that are values. One that does not end is no string.
fn outside_of_strings(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some(at) = rest.find(['"', '\'']) {
        let (before, quoted) = rest.split_at(at);
        let Some(end) = quoted[1..].find(&quoted[..1]) else { break };
        let (string, after) = quoted.split_at(end + 2);
        out.push_str(before);
        // Escaped quotes end it too early, which shows less rather than more.
        out.push_str(if after.trim_start().starts_with('=') { string } else { " " });
        rest = after;
    }
    out + rest
}

/// `[virtual_router.gateway]`: names alone. One in quotes might be the value of a list.
fn is_header(line: &str) -> bool {
    line.trim_start().starts_with('[') && !line.contains(['=', '"', '\''])
}

/// `[virtual_router.gateway.authentication]`, whatever the router is called.
fn heads_secrets(line: &str) -> bool {
    let is_header = line.trim_start().starts_with('[') && !line.contains('=');
    is_header && outside_of_strings(line).split('.').skip(2).any(names_secret)
}

/// `priority = `, and not the `1 = ` of a list of keys, or a part of a value.
fn begins_statement(line: &str) -> bool {
    let Some((key, _)) = line.split_once('=') else { return false };
    let key = key.trim();
    key.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
}

/// How many tables the line leaves open, less those that it closes.
fn braces(line: &str) -> i64 {
    line.chars()
        .map(|c| match c {
            '{' => 1,
            '}' => -1,
            _ => 0,
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    #[test]
    fn a_line_that_may_hold_a_secret_is_known() {
        for line in [
            "http = { url = \"http://user:pw@192.0.2.1/\" }",
            "http = { url = \"http://192.0.2.1/?token=x\" }",
            "headers = { Authorization = \"Basic eDp5\" }",
            "headers = { \"Cookie\" = \"a=b\" }",
            "authentication = { type = \"pass\", password=\"x\" }",
            "authentication = { type = \"hmac-sha256\", keys = { 1 = \"in the wrong place\" } }",
            "1 = \"hex:00112233\"",
            "auth_pass s3cr3t",
            "password\t= x",
            "Pasword: x",
            "key_file = \"x\"",
            "\"a\", 'auth_pass' = \"x",
        ] {
            assert!(may_hold_secret(line), "{line}");
        }
        for line in [
            "url = \"https://www.example.com/a@b\"",
            "canary = [\"secret:x\"]",
            "secret_file = \"/x\"",
            "http = { url = \"https://192.0.2.1/\", basic_auth_file = \"/etc/x\" }",
            "[virtual_router.gateway.authentication]",
            "interface = \"keys0\"",
            "",
        ] {
            assert!(!may_hold_secret(line), "{line}");
        }
    }

    /// What is said of a router with these lines, each of which is wrong somehow.
    fn said_of(lines: &str) -> String {
        let text = format!(
            "[virtual_router.a]\ninterface = \"eth0\"\nvrid = 7\nversion = 2\naddresses = [\"192.0.2.7\"]\n{lines}\n"
        );
        parse("test", &text).expect_err(lines).to_string()
    }

    #[test]
    fn whatever_is_wrong_with_it_no_secret_is_shown() {
        for lines in [
            "authentication = { type = \"pass\", auth_pass = \"s3cr3t\" }",
            "authentication = { type = \"pass\", pass = \"s3cr3t\" }",
            "authentication = { type = \"pass\", passwd = \"s3cr3t\" }",
            "authentication = { type = \"pass\", pasword = \"s3cr3t\" }",
            "authentication = { type = \"pass\", password\t= \"s3cr3t-ninebytes9\" }",
            "authentication = { type = \"pass\", password = \"s3cr3t }",
            "authentication = { type = \"pass\", password \"s3cr3t\" }",
            "authentication = { type = \"pass\", password = s3cr3t }",
            "authentication = { type = \"pass\", password_file = \"s3cr3t\" }",
            "authentication = { type = \"hmac-sha256\", mode = \"enforce\", keys = { 1 = \"file:s3cr3t\" } }",
            "authentication = { type = \"hmac-sha256\", mode = \"enforce\", keys = \"s3cr3t\" }",
            "authentication = \"s3cr3t\"",
            "authentication {\n  auth_type PASS\n  auth_pass s3cr3t\n}",
            "auth_pass = \"s3cr3t\"",
            "authentication.word = \"s3cr3t\"",
            "[virtual_router.a.authentication]\ntype = \"pass\"\nword = \"s3cr3t\"",
            "[virtual_router.a.authentication]\ntype = \"pass\"\nword = s3cr3t",
            "[virtual_router.\"a.b\".authentication]\ntype = \"pass\"\nword = \"s3cr3t\"",
            "[virtual_router.a.authentication.keys]\n1 = \"s3cr3t\"",
            "authentication = {\n  type = \"pass\",\n  word = \"s3cr3t\",\n}",
            "authentication = { type = \"pass\", password = \"\"\"\n\\s3cr3t\n\"\"\" }",
            "authentication = [\n  \"x\",\n  s3cr3t,\n]",
        ] {
            let said = said_of(lines);
            assert!(!said.contains("s3cr3t"), "{lines}\n{said}");
        }
    }

    #[test]
    fn a_number_in_place_of_a_password_is_not_repeated() {
        let ill = said_of("authentication = { type = \"pass\", password = 73737373 }");
        assert!(ill.contains("password must be a string") && !ill.contains("73737373"), "{ill}");
        let ill = said_of("authentication = { type = \"pass\", password = 737.37.37.3 }");
        assert!(ill.contains("a string needs quotes") && !ill.contains("37.3"), "{ill}");
    }

    #[test]
    fn the_lines_around_a_secret_are_shown() {
        let said = said_of(
            "authentication = { type = \"pass\", password = \"s3cr3t\" }\npriority = 300\n\
             [check.key]\ntcp = \"192.0.2.1:0\"",
        );
        assert!(said.contains("| priority = 300") && said.contains("| tcp = \"192.0.2.1:0\""), "{said}");
    }
}
