//! Single values: from what TOML has to what we mean, with the range and a remedy when it is not.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use toml::de::DeValue;
use vrrp_proto::parameters::OnConflict;
use vrrp_proto::{AdverInterval, Priority, Vrid};

use super::keys::nearest;
use super::{GarpForm, HookState, HttpMethod, Ipv4Checksum, Lease, Scheduling, Sha256};

mod net;

pub(super) use net::{
    MAIN_TABLE, address, any_ip, authority, base_url, destination, host, host_port, ip, multicast_group,
    network, routing_table, server, socket_address, url, usable,
};

/// Why a value is refused, and what to write instead.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) message: String,
    pub(super) label: String,
}

pub(super) type Read<T> = Result<T, Refusal>;

pub(super) fn refuse<T>(message: impl Into<String>, label: impl Into<String>) -> Read<T> {
    Err(Refusal { message: message.into(), label: label.into() })
}

/// What TOML calls the value, with its article.
pub(super) fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a fraction",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

// Types of TOML.

pub(super) fn string<'a>(key: &str, value: &'a DeValue<'_>) -> Read<&'a str> {
    match value {
        DeValue::String(text) => Ok(text),
        DeValue::Integer(number) => refuse(
            format!("{key} must be a string, not an integer"),
            format!("write \"{}\"", number.as_str()),
        ),
        other => refuse(format!("{key} must be a string, not {}", kind(other)), ""),
    }
}

pub(super) fn boolean(key: &str, value: &DeValue<'_>) -> Read<bool> {
    match value {
        DeValue::Boolean(value) => Ok(*value),
        other => refuse(format!("{key} must be true or false, not {}", kind(other)), ""),
    }
}

pub(super) fn integer(key: &str, value: &DeValue<'_>, range: RangeInclusive<i64>) -> Read<i64> {
    let DeValue::Integer(number) = value else {
        let label = match value {
            DeValue::String(text) if text.parse::<i64>().is_ok() => format!("write {text}"),
            _ => String::new(),
        };
        return refuse(format!("{key} must be an integer, not {}", kind(value)), label);
    };
    let (min, max) = (range.start(), range.end());
    match i64::from_str_radix(number.as_str(), number.radix()) {
        Ok(number) if range.contains(&number) => Ok(number),
        _ => refuse(format!("{key} {number} is out of range {min}..={max}"), ""),
    }
}

/// One of a few words.
pub(super) fn word<T: Copy>(key: &str, value: &DeValue<'_>, words: &[(&str, T)]) -> Read<T> {
    let text = string(key, value)?;
    if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
        return Ok(*value);
    }
    let allowed: Vec<String> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
    let label = nearest(text, words.iter().map(|(word, _)| *word))
        .map_or(String::new(), |word| format!("did you mean \"{word}\"?"));
    refuse(format!("{key} {text:?} is none of {}", allowed.join(", ")), label)
}

pub(super) fn scheduling(key: &str, value: &DeValue<'_>) -> Read<Scheduling> {
    word(key, value, &[("realtime", Scheduling::Realtime), ("normal", Scheduling::Normal)])
}

pub(super) fn ipv4_checksum(key: &str, value: &DeValue<'_>) -> Read<Ipv4Checksum> {
    let words = [
        ("auto", Ipv4Checksum::Auto),
        ("rfc9568", Ipv4Checksum::Rfc9568),
        ("pseudo_header", Ipv4Checksum::PseudoHeader),
    ];
    word(key, value, &words)
}

pub(super) fn on_conflict(key: &str, value: &DeValue<'_>) -> Read<OnConflict> {
    word(key, value, &[OnConflict::Claim, OnConflict::Hold].map(|each| (each.as_str(), each)))
}

pub(super) fn garp_form(key: &str, value: &DeValue<'_>) -> Read<GarpForm> {
    word(key, value, &[("request", GarpForm::Request), ("reply", GarpForm::Reply)])
}

pub(super) fn on_failure(key: &str, value: &DeValue<'_>) -> Read<super::Effect> {
    use super::Effect::{Alert, Demote, Fault};
    word(key, value, &[("demote", Demote), ("fault", Fault), ("alert", Alert)])
}

pub(super) fn when(key: &str, value: &DeValue<'_>) -> Read<super::When> {
    use super::When::{Active, Always, Backup};
    word(key, value, &[("active", Active), ("backup", Backup), ("always", Always)])
}

pub(super) fn http_method(key: &str, value: &DeValue<'_>) -> Read<HttpMethod> {
    word(key, value, &[("GET", HttpMethod::Get), ("HEAD", HttpMethod::Head)])
}

pub(super) fn hook_state(key: &str, value: &DeValue<'_>) -> Read<HookState> {
    let words = [
        ("active", HookState::Active),
        ("backup", HookState::Backup),
        ("fault", HookState::Fault),
        ("stopped", HookState::Stopped),
        ("master", HookState::Active),
    ];
    word(key, value, &words)
}

// Numbers of VRRP and of checks.

pub(super) fn vrid(key: &str, value: &DeValue<'_>) -> Read<Vrid> {
    let number = integer(key, value, 1..=255)?;
    match u8::try_from(number).ok().and_then(Vrid::new) {
        Some(vrid) => Ok(vrid),
        None => refuse(format!("{key} {number} is out of range 1..=255"), ""),
    }
}

pub(super) fn priority(key: &str, value: &DeValue<'_>) -> Read<Priority> {
    match integer(key, value, 1..=255) {
        Ok(number) => Ok(Priority::new(u8::try_from(number).unwrap_or(u8::MAX))),
        Err(refusal) if integer(key, value, 0..=0).is_ok() => {
            refuse(refusal.message, "0 is only ever sent, by a router that stops being Active")
        }
        Err(refusal) => Err(refusal),
    }
}

pub(super) fn weight(key: &str, value: &DeValue<'_>) -> Read<i16> {
    match integer(key, value, -253..=253)? {
        0 => refuse(format!("{key} 0 moves nothing"), "a check that only tells has on_failure = \"alert\""),
        number => Ok(i16::try_from(number).unwrap_or(i16::MAX)),
    }
}

pub(super) fn runs(key: &str, value: &DeValue<'_>) -> Read<u32> {
    integer(key, value, 1..=1000).map(|number| u32::try_from(number).unwrap_or(u32::MAX))
}

/// A number of things.
pub(super) fn count(key: &str, value: &DeValue<'_>, range: RangeInclusive<u32>) -> Read<u32> {
    let range = i64::from(*range.start())..=i64::from(*range.end());
    integer(key, value, range).map(|number| u32::try_from(number).unwrap_or(u32::MAX))
}

pub(super) fn garp_count(key: &str, value: &DeValue<'_>) -> Read<u8> {
    integer(key, value, 1..=255).map(|number| u8::try_from(number).unwrap_or(u8::MAX))
}

/// As [`garp_count`], where none is a wish as well.
pub(super) fn garp_count_or_none(key: &str, value: &DeValue<'_>) -> Read<u8> {
    integer(key, value, 0..=255).map(|number| u8::try_from(number).unwrap_or(u8::MAX))
}

pub(super) fn min_ttl(key: &str, value: &DeValue<'_>) -> Read<u8> {
    integer(key, value, 1..=255).map(|number| u8::try_from(number).unwrap_or(u8::MAX))
}

pub(super) fn http_status(key: &str, value: &DeValue<'_>) -> Read<u16> {
    integer(key, value, 100..=599).map(|number| u16::try_from(number).unwrap_or(u16::MAX))
}

/// A number of octets.
pub(super) fn octets(key: &str, value: &DeValue<'_>) -> Read<u64> {
    integer(key, value, 1..=1 << 40).map(i64::unsigned_abs)
}

pub(super) fn days(key: &str, value: &DeValue<'_>) -> Read<u16> {
    integer(key, value, 0..=3650).map(|number| u16::try_from(number).unwrap_or(u16::MAX))
}

pub(super) fn up_to_1000(key: &str, value: &DeValue<'_>) -> Read<u16> {
    integer(key, value, 1..=1000).map(|number| u16::try_from(number).unwrap_or(u16::MAX))
}

pub(super) fn sha256(key: &str, value: &DeValue<'_>) -> Read<Sha256> {
    let text = string(key, value)?;
    Sha256::parse(text).map_or_else(
        || {
            let shown: String = text.chars().take(80).collect();
            refuse(
                format!("{key} {shown:?} is not a SHA-256 digest"),
                "64 hexadecimal digits, as sha256sum prints them",
            )
        },
        Ok,
    )
}

/// A text of 1 to 4096 octets.
pub(super) fn filled(key: &str, value: &DeValue<'_>) -> Read<String> {
    let text = string(key, value)?;
    match text.len() {
        1..=4096 => Ok(text.to_owned()),
        octets => refuse(format!("{key} has {octets} octets, out of range 1..=4096"), ""),
    }
}

// Durations.

/// As it is written in the file: whole seconds where it is, else milliseconds.
pub(super) fn show_duration(duration: Duration) -> String {
    if duration.subsec_millis() == 0 {
        format!("{}s", duration.as_secs())
    } else {
        format!("{}ms", duration.as_millis())
    }
}

pub(super) fn duration(key: &str, value: &DeValue<'_>, range: RangeInclusive<Duration>) -> Read<Duration> {
    let text = match value {
        DeValue::String(text) => text,
        DeValue::Integer(number) => return without_unit(key, number.as_str(), "needs quotes and a unit"),
        DeValue::Float(number) => return without_unit(key, number.as_str(), "needs quotes and a unit"),
        other => return refuse(format!("{key} must be a duration such as \"1s\", not {}", kind(other)), ""),
    };
    let Some((number, unit_ms)) = split_unit(text) else {
        if text.parse::<f64>().is_ok_and(f64::is_finite) {
            return without_unit(key, text, "has no unit");
        }
        return refuse(
            format!("{key} {text:?} is not a duration"),
            "a whole number with ms, s, m or h: \"100ms\", \"1s\", \"2m\", \"1h\"",
        );
    };
    let Ok(count) = number.parse::<u64>() else {
        return refuse(format!("{key} {text:?} is not a whole number"), in_whole_units(number, unit_ms));
    };
    let duration = count.checked_mul(unit_ms).map(Duration::from_millis);
    match duration.filter(|duration| range.contains(duration)) {
        Some(duration) => Ok(duration),
        None => {
            let (min, max) = (show_duration(*range.start()), show_duration(*range.end()));
            refuse(format!("{key} {text:?} is out of range {min}..={max}"), "")
        }
    }
}

/// Time between repetitions: none, or a second and more, lest the LAN is flooded.
pub(super) fn refresh(key: &str, value: &DeValue<'_>) -> Read<Duration> {
    let second = Duration::from_secs(1);
    let duration = duration(key, value, Duration::ZERO..=Duration::from_secs(24 * 3600))?;
    if !duration.is_zero() && duration < second {
        return refuse(
            format!("{key} \"{}\" is out of range 1s..=86400s", show_duration(duration)),
            "\"0s\" for none",
        );
    }
    Ok(duration)
}

/// The number before the unit, which may have a fraction, and the unit in milliseconds.
fn split_unit(text: &str) -> Option<(&str, u64)> {
    let units = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)];
    let (number, unit_ms) =
        units.iter().find_map(|(unit, ms)| text.strip_suffix(unit).map(|number| (number, *ms)))?;
    let is_number = number.starts_with(|c: char| c.is_ascii_digit())
        && number.chars().all(|c| c.is_ascii_digit() || c == '.')
        && number.parse::<f64>().is_ok_and(f64::is_finite);
    is_number.then_some((number, unit_ms))
}

fn without_unit<T>(key: &str, number: &str, fault: &str) -> Read<T> {
    refuse(format!("{key} {number} {fault}"), in_whole_units(number, 1000))
}

/// The same time without a fraction: 1.5 s is 1500 ms.
fn in_whole_units(number: &str, unit_ms: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "a unit is 3600000 at most")]
    let ms = number.parse::<f64>().map_or(f64::NAN, |number| number * unit_ms as f64);
    if !(1.0..=1e15).contains(&ms) {
        return String::from("a whole number with ms, s, m or h");
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "in 1 to 1e15")]
    let whole = Duration::from_millis(ms.round() as u64);
    format!("write \"{}\"", show_duration(whole))
}

pub(super) fn advertisement_interval(key: &str, value: &DeValue<'_>) -> Read<AdverInterval> {
    let duration = duration(key, value, AdverInterval::MIN.duration()..=AdverInterval::MAX.duration())?;
    AdverInterval::from_duration(duration).ok_or_else(|| {
        let shown = show_duration(duration);
        let below = Duration::from_millis(u64::try_from(duration.as_millis()).unwrap_or(0) / 10 * 10);
        Refusal {
            message: format!("{key} {shown:?} is not a multiple of 10ms"),
            label: format!("write \"{}\"", show_duration(below)),
        }
    })
}

pub(super) fn lease(key: &str, value: &DeValue<'_>) -> Read<Lease> {
    match value {
        DeValue::String(text) if text == "auto" => return Ok(Lease::Auto),
        DeValue::String(text) if text == "off" => return Ok(Lease::Off),
        DeValue::String(text) if split_unit(text).is_none() && text.parse::<f64>().is_err() => {
            return refuse(format!("{key} {text:?} is neither \"auto\" nor \"off\" nor a duration"), "");
        }
        _ => {}
    }
    duration(key, value, Duration::from_millis(100)..=Duration::from_secs(3600)).map(Lease::For)
}

// Names and paths.

/// Names of virtual routers, checks and hooks: they go into logs, JSON, variables and commands.
pub(super) fn table_name(name: &str) -> Read<()> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    if (1..=64).contains(&name.len()) && name.chars().all(allowed) {
        return Ok(());
    }
    let shown: String = name.chars().take(64).collect();
    refuse(format!("the name {shown:?} is not allowed"), "1 to 64 of the letters A-Z, a-z, 0-9, _, . and -")
}

/// A name that refers to another table.
pub(super) fn reference(key: &str, value: &DeValue<'_>) -> Read<String> {
    string(key, value).map(str::to_owned)
}

/// What Linux allows as the name of a network device.
pub(super) fn interface(key: &str, value: &DeValue<'_>) -> Read<String> {
    let name = string(key, value)?;
    interface_name(key, name)?;
    Ok(name.to_owned())
}

pub(super) fn interface_name(key: &str, name: &str) -> Read<()> {
    let forbidden = |c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control();
    if !(1..=15).contains(&name.len()) {
        return refuse(format!("{key} {name:?} has {} octets, out of range 1..=15", name.len()), "");
    }
    if name.contains(forbidden) || name == "." || name == ".." {
        let label = if name.contains(':') {
            "an alias is not an interface: leave out the colon and what follows"
        } else {
            ""
        };
        return refuse(format!("{key} {name:?} cannot be the name of an interface"), label);
    }
    Ok(())
}

pub(super) fn node(key: &str, value: &DeValue<'_>) -> Read<String> {
    let name = string(key, value)?;
    if !(1..=64).contains(&name.chars().count()) || name.contains(char::is_control) {
        return refuse(format!("{key} {name:?} is not 1 to 64 printable characters"), "");
    }
    Ok(name.to_owned())
}

/// A user or a group; whether it exists is seen when it is needed.
pub(super) fn account(key: &str, value: &DeValue<'_>) -> Read<String> {
    let name = string(key, value)?;
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    if !(1..=32).contains(&name.len()) || !name.chars().all(allowed) || name.starts_with('-') {
        return refuse(
            format!("{key} {name:?} is not the name of an account"),
            "1 to 32 of the letters A-Z, a-z, 0-9, _, . and -",
        );
    }
    Ok(name.to_owned())
}

pub(super) fn absolute_path(key: &str, value: &DeValue<'_>) -> Read<PathBuf> {
    let text = string(key, value)?;
    path_text(key, text)?;
    Ok(PathBuf::from(text))
}

/// The path of a file with a secret. Nothing of it is in the message: it may be the secret itself.
pub(super) fn secret_path(key: &str, value: &DeValue<'_>) -> Read<PathBuf> {
    let text = string(key, value)?;
    match path_text(key, text) {
        Ok(()) => Ok(PathBuf::from(text)),
        Err(_) => refuse(format!("{key} is not an absolute path"), "a path that begins with /"),
    }
}

/// The path of a Unix socket, which the kernel keeps in 108 octets with a final zero.
pub(super) fn socket_path(key: &str, value: &DeValue<'_>) -> Read<PathBuf> {
    let path = absolute_path(key, value)?;
    match path.as_os_str().len() {
        1..=107 => Ok(path),
        octets => refuse(
            format!("{key} has {octets} octets, out of range 2..=107"),
            "a Unix socket has no longer path",
        ),
    }
}

/// A directory in which the path of `control.sock` is not too long.
pub(super) fn socket_directory(key: &str, value: &DeValue<'_>) -> Read<PathBuf> {
    let path = absolute_path(key, value)?;
    match path.as_os_str().len() {
        1..=94 => Ok(path),
        octets => refuse(
            format!("{key} has {octets} octets, out of range 1..=94"),
            "a socket below it has no longer path",
        ),
    }
}

/// One argument of a program; the first one is checked by [`program`].
pub(super) fn argument(key: &str, value: &DeValue<'_>) -> Read<String> {
    let text = string(key, value)?;
    if text.contains('\0') {
        return refuse(format!("{key} {text:?} contains a zero octet"), "");
    }
    Ok(text.to_owned())
}

pub(super) fn program(path: &str) -> Read<()> {
    path_text("the program", path)
}

fn path_text(what: &str, text: &str) -> Read<()> {
    if !text.starts_with('/') {
        return refuse(format!("{what} {text:?} is not an absolute path"), "a path that begins with /");
    }
    if text.contains('\0') {
        return refuse(format!("{what} {text:?} contains a zero octet"), "");
    }
    Ok(())
}

#[cfg(test)]
mod tests;
