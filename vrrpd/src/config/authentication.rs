//! `authentication`: how advertisements show that they belong to the group.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::de::DeValue;
use vrrp_proto::packet::{Password, TRAILER};
use vrrp_proto::parameters::{KeyMode, Replay};
use vrrp_proto::{AdverInterval, Version};

use super::diagnostic::{Faults, Span};
use super::show::{duration, inline, quoted};
use super::table::{At, Field, Table};
use super::value::{self, Read, refuse};
use super::{keys, raw};

/// What `config show` has in place of a password. It is longer than any, so that it is refused where
/// somebody takes it for one.
const NOT_SHOWN: &str = "(not shown)";

/// `window` unless set: three intervals, and at least this; its least and its most.
const WINDOW: Duration = Duration::from_secs(5);
const WINDOWS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(300);

/// `authentication = { ... }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authentication {
    /// `type = "pass"`: the simple password of VRRPv2 (RFC 2338 5.3.10).
    Pass(PasswordSource),
    /// `type = "hmac-sha256"`: a trailer that who knows a key of the group can make.
    Hmac(Keys),
}

impl Authentication {
    /// The files that it has its secrets from.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let (password, keys) = match self {
            Self::Pass(PasswordSource::File(file)) => (Some(file.as_path()), &[][..]),
            Self::Pass(PasswordSource::Here(_)) => (None, &[][..]),
            Self::Hmac(keys) => (None, &keys.files[..]),
        };
        password.into_iter().chain(keys.iter().map(|(_, file)| file.as_path()))
    }

    /// Is whoever has no key discarded?
    pub const fn enforces(&self) -> bool {
        matches!(self, Self::Hmac(Keys { mode: KeyMode::Enforce, .. }))
    }
}

/// Keys of a group, and what is done with them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    /// `keys`: numbers of 1 to 255 with the files that the keys are in, one at least, sorted.
    pub files: Vec<(u8, PathBuf)>,
    /// `active_key`: the one that is sent with; default: the only one.
    pub active: u8,
    /// `mode`.
    pub mode: KeyMode,
    /// `replay` and `window`; default: by time, three intervals or 5 s, whichever is longer.
    pub replay: Replay,
}

/// Where the password stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PasswordSource {
    /// `password`: in the configuration itself.
    Here(Password),
    /// `password_file`: in a file, all of it but the end of its line.
    File(PathBuf),
}

/// `type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Pass,
    Hmac,
}

/// The table as it is written.
pub(super) enum Raw {
    Pass { kind: Span, source: PasswordSource },
    Hmac { files: Vec<(u8, PathBuf)>, active: u8, mode: KeyMode, by_time: bool, window: Option<Duration> },
}

impl Raw {
    /// Is whoever has no key discarded?
    pub(super) fn enforces(&self) -> bool {
        matches!(self, Self::Hmac { mode: KeyMode::Enforce, .. })
    }

    /// Octets that follow the message of an advertisement.
    pub(super) const fn octets(&self) -> usize {
        match self {
            Self::Pass { .. } => 0,
            Self::Hmac { .. } => TRAILER,
        }
    }
}

pub(super) fn read(table: &Table<'_>, faults: &mut Faults) -> Field<Raw> {
    let At { value: table, span } = match table.table("authentication", keys::AUTHENTICATION, faults) {
        Field::Is(at) => at,
        Field::Absent => return Field::Absent,
        Field::Unknown => return Field::Unknown,
    };
    let remedy = "type = \"hmac-sha256\", or \"pass\" for version 2";
    let kind = table.required("type", remedy, faults, kind);
    let raw = kind.at().and_then(|kind| match kind.value {
        Kind::Pass => pass(&table, &span, kind.span.clone(), faults),
        Kind::Hmac => hmac(&table, &span, faults),
    });
    raw.map_or(Field::Unknown, |value| Field::Is(At { value, span }))
}

fn pass(table: &Table<'_>, span: &Span, kind: Span, faults: &mut Faults) -> Option<Raw> {
    alien(table, "pass", &["keys", "active_key", "mode", "replay", "window"], faults);
    let here = table.field("password", faults, password);
    let file = table.field("password_file", faults, value::secret_path);
    let source = match (&here, &file) {
        (Field::Is(_), Field::Is(At { span, .. })) => {
            faults.error(span, "authentication has both password and password_file", "one of them");
            return None;
        }
        (Field::Absent, Field::Absent) => {
            let remedy = "a file with up to 8 octets: password_file = \"/etc/vrrpd/vrrp.password\"";
            faults.error(span, "authentication has no password", remedy);
            return None;
        }
        (Field::Is(At { value, .. }), _) => PasswordSource::Here(*value),
        (_, Field::Is(At { value, .. })) => PasswordSource::File(value.clone()),
        _ => return None,
    };
    Some(Raw::Pass { kind, source })
}

fn hmac(table: &Table<'_>, span: &Span, faults: &mut Faults) -> Option<Raw> {
    alien(table, "hmac-sha256", &["password", "password_file"], faults);
    let remedy = "keys = { 1 = \"file:/etc/vrrpd/vrrp.key\" }";
    let files = table.required("keys", remedy, faults, key_files);
    let active = table.field("active_key", faults, key_number);
    let remedy = "mode = \"receive-only\" on every node, then \"permissive\", then \"enforce\"";
    let mode = table.required("mode", remedy, faults, |key, value| value::word(key, value, &MODES));
    let by_time = table.field("replay", faults, |key, value| value::word(key, value, &REPLAYS));
    let window = table.field("window", faults, |key, value| value::duration(key, value, WINDOWS));
    if let (Some(At { span, .. }), Some(false)) = (window.at(), by_time.given()) {
        faults.error(span, "window is for replay = \"time\"", "leave it out");
    }
    let files = files.given()?;
    let only = if let [(number, _)] = files[..] { Some(number) } else { None };
    let active = match active.optional()?.or(only) {
        Some(number) if files.iter().any(|(key, _)| *key == number) => number,
        Some(number) => {
            let place = active.at().map_or(span, |at| &at.span);
            faults.error(place, format!("active_key {number} is none of keys"), "one of their numbers");
            return None;
        }
        None => {
            faults.error(span, "authentication has several keys and no active_key", "the one to send with");
            return None;
        }
    };
    let (mode, by_time) = (*mode.given()?, by_time.or(true)?);
    Some(Raw::Hmac { files: files.clone(), active, mode, by_time, window: window.optional()? })
}

const MODES: [(&str, KeyMode); 3] = [
    ("receive-only", KeyMode::ReceiveOnly),
    ("permissive", KeyMode::Permissive),
    ("enforce", KeyMode::Enforce),
];
const REPLAYS: [(&str, bool); 2] = [("time", true), ("monotonic", false)];

/// Reports the keys of another type.
fn alien(table: &Table<'_>, kind: &str, keys: &[&str], faults: &mut Faults) {
    for key in keys {
        if let Some(span) = table.key(key) {
            faults.error(&span, format!("{key} does not go with type \"{kind}\""), "leave it out");
        }
    }
}

/// Files alone: what stands in a configuration is copied, shown and backed up.
fn key_files(key: &str, value: &DeValue<'_>) -> Read<Vec<(u8, PathBuf)>> {
    let DeValue::Table(entries) = value else {
        let message = format!("{key} must be a table, not {}", value::kind(value));
        return refuse(message, "keys = { 1 = \"file:/etc/vrrpd/vrrp.key\" }");
    };
    let mut files = Vec::new();
    for (name, entry) in entries.iter() {
        let number = name.get_ref().parse::<u8>().ok().filter(|number| *number != 0);
        let Some(number) = number else {
            let shown: String = name.get_ref().chars().take(16).collect();
            return refuse(format!("{key} has the number {shown:?}, out of range 1..=255"), "");
        };
        let text = value::string(key, entry.get_ref())?;
        let Some(path) = text.strip_prefix("file:") else {
            // Not the text: it may be a key.
            return refuse(
                format!("{key} {number} is not \"file:\" with a path: a key stands in a file of its own"),
                "\"file:/etc/vrrpd/vrrp.key\"",
            );
        };
        if !path.starts_with('/') || path.contains('\0') {
            return refuse(format!("{key} {number} is not an absolute path"), "file:/ and so on");
        }
        files.push((number, PathBuf::from(path)));
    }
    files.sort();
    let doubled = files.windows(2).any(|pair| pair[0].0 == pair[1].0);
    match files.len() {
        0 => refuse(format!("{key} is empty"), "keys = { 1 = \"file:/etc/vrrpd/vrrp.key\" }"),
        _ if doubled => refuse(format!("{key} has a number twice"), ""),
        _ => Ok(files),
    }
}

fn key_number(key: &str, value: &DeValue<'_>) -> Read<u8> {
    let number = value::integer(key, value, 1..=255)?;
    u8::try_from(number).or_else(|_| refuse(format!("{key} {number} is out of range 1..=255"), ""))
}

fn kind(key: &str, value: &DeValue<'_>) -> Read<Kind> {
    match value::string(key, value)? {
        text if text.eq_ignore_ascii_case("ah") => refuse(
            "authentication of type \"ah\" is not spoken: it rests on MD5, and only keepalived has it like that",
            "type = \"hmac-sha256\" on every node",
        ),
        _ => value::word(key, value, &[("pass", Kind::Pass), ("hmac-sha256", Kind::Hmac)]),
    }
}

/// Nothing of it is in the message.
fn password(key: &str, value: &DeValue<'_>) -> Read<Password> {
    let text = value::string(key, value)?;
    if text == NOT_SHOWN {
        return refuse(format!("{key} is what config show has in its place"), "write the password itself");
    }
    match Password::new(text.as_bytes()) {
        Some(password) => Ok(password),
        None if text.contains('\0') => refuse(format!("{key} has a zero octet in it"), ""),
        None => refuse(
            format!("{key} has {} octets, out of range 1..=8", text.len()),
            "keepalived sends no more than the first 8",
        ),
    }
}

/// Reports what contradicts the rest of the virtual router.
pub(super) fn check(router: &raw::VirtualRouter, faults: &mut Faults) {
    let Some(At { value: Raw::Pass { kind, .. }, span }) = router.authentication.at() else { return };
    match router.version.or(Version::V3) {
        Some(Version::V3) => faults.error(
            kind,
            "a password is for version 2: VRRPv3 has no field for it (RFC 9568 9)",
            "type = \"hmac-sha256\", or version = 2",
        ),
        _ => faults.warning(
            span,
            "the password stands in every advertisement for all to read",
            "it keeps groups apart that share a VRID by mistake, and keeps nobody out",
        ),
    }
}

pub(super) fn config(raw: &Field<Raw>, interval: AdverInterval) -> Option<Option<Authentication>> {
    Some(match raw {
        Field::Absent => None,
        Field::Unknown => return None,
        Field::Is(At { value: Raw::Pass { source, .. }, .. }) => Some(Authentication::Pass(source.clone())),
        Field::Is(At { value: Raw::Hmac { files, active, mode, by_time, window }, .. }) => {
            let usual = (3 * interval.duration()).clamp(WINDOW, *WINDOWS.end());
            let replay = match by_time {
                true => Replay::Time { window: window.unwrap_or(usual) },
                false => Replay::Monotonic,
            };
            Some(Authentication::Hmac(Keys { files: files.clone(), active: *active, mode: *mode, replay }))
        }
    })
}

impl Keys {
    /// The word in the file for what is done with them.
    pub fn mode_word(&self) -> &'static str {
        MODES.iter().find(|(_, mode)| *mode == self.mode).map_or("", |(word, _)| word)
    }

    fn show(&self) -> String {
        let files: Vec<String> = self
            .files
            .iter()
            .map(|(number, file)| format!("{number} = {}", quoted(&format!("file:{}", file.display()))))
            .collect();
        let mut entries = vec![
            ("type", quoted("hmac-sha256")),
            ("keys", format!("{{ {} }}", files.join(", "))),
            ("active_key", self.active.to_string()),
            ("mode", quoted(self.mode_word())),
        ];
        match self.replay {
            Replay::Time { window } => {
                entries.extend([("replay", quoted("time")), ("window", duration(window))]);
            }
            Replay::Monotonic => entries.push(("replay", quoted("monotonic"))),
        }
        inline(&entries)
    }
}

/// As it is written in a file, but for a password.
pub(super) fn show(authentication: &Authentication) -> String {
    match authentication {
        Authentication::Hmac(keys) => keys.show(),
        Authentication::Pass(source) => {
            let source = match source {
                PasswordSource::Here(_) => ("password", quoted(NOT_SHOWN)),
                PasswordSource::File(file) => ("password_file", quoted(&file.to_string_lossy())),
            };
            inline(&vec![("type", quoted("pass")), source])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Config, parse, to_toml};

    fn with(authentication: &str) -> Result<Config, String> {
        let text = format!(
            "[virtual_router.a]\ninterface = \"eth0\"\nvrid = 7\nversion = 2\naddresses = [\"192.0.2.7\"]\n\
             authentication = {authentication}\n"
        );
        parse("test", &text).map(|(config, _)| config).map_err(|faults| faults.to_string())
    }

    #[test]
    fn no_password_is_shown_whatever_is_wrong_with_it() {
        for secret in ["s3cr3t", "ninebytes", "eight chars and more"] {
            let shown = match with(&format!("{{ type = \"pass\", password = \"{secret}\" }}")) {
                Ok(config) => format!("{}{config:?}", to_toml(&config)),
                Err(faults) => faults,
            };
            assert!(!shown.contains(secret), "{shown}");
        }
    }

    #[test]
    fn what_is_shown_in_place_of_a_password_is_no_password() {
        let config = with("{ type = \"pass\", password = \"s3cr3t\" }").expect("valid");
        let refused = parse("shown", &to_toml(&config)).expect_err("the password is not in it").to_string();
        assert!(refused.contains("password is what config show has in its place"), "{refused}");
    }
}
