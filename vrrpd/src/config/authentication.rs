//! `authentication`: how advertisements show that they belong to the group.

use std::path::{Path, PathBuf};

use toml::de::DeValue;
use vrrp_proto::Version;
use vrrp_proto::packet::Password;

use super::diagnostic::Faults;
use super::show::{inline, quoted};
use super::table::{At, Field, Table};
use super::value::{self, Read, refuse};
use super::{keys, raw};

/// What `config show` has in place of a password. It is longer than any, so that it is refused where
/// somebody takes it for one.
const NOT_SHOWN: &str = "(not shown)";

/// `authentication = { ... }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authentication {
    /// `type = "pass"`: the simple password of VRRPv2 (RFC 2338 5.3.10).
    Pass(PasswordSource),
}

impl Authentication {
    /// The files that it has its secrets from.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        match self {
            Self::Pass(PasswordSource::File(file)) => Some(file.as_path()),
            Self::Pass(PasswordSource::Here(_)) => None,
        }
        .into_iter()
    }
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
}

/// The table as it is written.
pub(super) struct Raw {
    kind: At<Kind>,
    source: PasswordSource,
}

pub(super) fn read(table: &Table<'_>, faults: &mut Faults) -> Field<Raw> {
    let At { value: table, span } = match table.table("authentication", keys::AUTHENTICATION, faults) {
        Field::Is(at) => at,
        Field::Absent => return Field::Absent,
        Field::Unknown => return Field::Unknown,
    };
    let kind = table.required("type", "type = \"pass\", for version 2", faults, kind);
    let here = table.field("password", faults, password);
    let file = table.field("password_file", faults, value::absolute_path);
    let source = match (&here, &file) {
        (Field::Is(_), Field::Is(At { span, .. })) => {
            faults.error(span, "authentication has both password and password_file", "one of them");
            None
        }
        (Field::Absent, Field::Absent) => {
            let remedy = "a file with up to 8 octets: password_file = \"/etc/vrrpd/vrrp.password\"";
            faults.error(&span, "authentication has no password", remedy);
            None
        }
        (Field::Is(At { value, .. }), _) => Some(PasswordSource::Here(*value)),
        (_, Field::Is(At { value, .. })) => Some(PasswordSource::File(value.clone())),
        _ => None,
    };
    match (kind.at(), source) {
        (Some(kind), Some(source)) => Field::Is(At { value: Raw { kind: kind.clone(), source }, span }),
        _ => Field::Unknown,
    }
}

fn kind(key: &str, value: &DeValue<'_>) -> Read<Kind> {
    match value::string(key, value)? {
        text if text.eq_ignore_ascii_case("ah") => refuse(
            "authentication of type \"ah\" is not spoken: it rests on MD5, and only keepalived has it like that",
            "leave it out on every node, or type = \"pass\"",
        ),
        _ => value::word(key, value, &[("pass", Kind::Pass)]),
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
    let Some(At { value: Raw { kind, .. }, span }) = router.authentication.at() else { return };
    match (kind.value, router.version.or(Version::V3)) {
        (Kind::Pass, Some(Version::V3)) => faults.error(
            &kind.span,
            "a password is for version 2: VRRPv3 has no field for it (RFC 9568 9)",
            "version = 2, where the peers speak it",
        ),
        (Kind::Pass, _) => faults.warning(
            span,
            "the password stands in every advertisement for all to read",
            "it keeps groups apart that share a VRID by mistake, and keeps nobody out",
        ),
    }
}

pub(super) fn config(raw: &Field<Raw>) -> Option<Option<Authentication>> {
    match raw {
        Field::Is(At { value: Raw { source, .. }, .. }) => Some(Some(Authentication::Pass(source.clone()))),
        Field::Absent => Some(None),
        Field::Unknown => None,
    }
}

/// As it is written in a file, but for a password.
pub(super) fn show(authentication: &Authentication) -> String {
    match authentication {
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
