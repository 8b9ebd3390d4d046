//! Points in time and spans of it, as people and JSON read them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A point in time by the wall clock, in whole microseconds: `2026-11-23T07:02:11.123456Z`
/// (RFC 3339, always UTC). For reading only; nothing is ever timed with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WallTime(Timestamp);

impl WallTime {
    /// The present.
    pub fn now() -> Self {
        Self::from(Timestamp::now())
    }

    /// The point `span` earlier; the clock's first point if there is none.
    pub fn minus(self, span: Duration) -> Self {
        let microseconds = i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
        Self::from_microseconds(self.0.as_microsecond().saturating_sub(microseconds))
    }

    /// The point `span` later; the clock's last point if there is none.
    pub fn plus(self, span: Duration) -> Self {
        let microseconds = i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
        let later = self.0.as_microsecond().saturating_add(microseconds);
        Self(Timestamp::from_microsecond(later).unwrap_or(Timestamp::MAX))
    }

    /// Time from `earlier` to this point; zero if that is later, as after a step of the clock.
    pub fn since(self, earlier: Self) -> Duration {
        let microseconds = self.0.as_microsecond().saturating_sub(earlier.0.as_microsecond());
        Duration::from_micros(u64::try_from(microseconds).unwrap_or(0))
    }

    /// The time of day with its zone, `07:02:11 UTC`, and before it the date where that is not the
    /// date of `now`.
    pub fn clock(self, now: Self) -> String {
        let date = |time: Self| time.0.strftime("%F").to_string();
        let format = if date(self) == date(now) { "%T UTC" } else { "%F %T UTC" };
        self.0.strftime(format).to_string()
    }

    /// Date and time to the millisecond, `2026-11-23 07:02:11.123 UTC`.
    pub fn full(self) -> String {
        self.0.strftime("%F %T%.3f UTC").to_string()
    }

    fn from_microseconds(microseconds: i64) -> Self {
        Self(Timestamp::from_microsecond(microseconds).unwrap_or(Timestamp::MIN))
    }
}

impl From<Timestamp> for WallTime {
    fn from(time: Timestamp) -> Self {
        Self::from_microseconds(time.as_microsecond())
    }
}

impl fmt::Display for WallTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.6}", self.0)
    }
}

impl FromStr for WallTime {
    type Err = jiff::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse::<Timestamp>().map(Self::from)
    }
}

impl Serialize for WallTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for WallTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// A span of time as files and JSON write it: a whole number and `us`, `ms`, `s`, `m`, `h` or `d`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

/// Microseconds in each unit, largest first.
const UNITS: [(&str, u64); 6] = [
    ("d", 86_400_000_000),
    ("h", 3_600_000_000),
    ("m", 60_000_000),
    ("s", 1_000_000),
    ("ms", 1_000),
    ("us", 1),
];

impl fmt::Display for Span {
    /// In the largest unit that divides it; below a microsecond it is cut off.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total = u64::try_from(self.0.as_micros()).unwrap_or(u64::MAX);
        let zero = ("s", 1_000_000);
        let fitting = UNITS.into_iter().find(|(_, size)| total > 0 && total % size == 0).unwrap_or(zero);
        write!(f, "{}{}", total / fitting.1, fitting.0)
    }
}

/// A text that is no [`Span`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{0}\" is not a span of time: write a whole number and a unit, such as \"500ms\", \"90s\", \"10m\", \"2h\" or \"7d\""
)]
pub struct SpanError(String);

impl FromStr for Span {
    type Err = SpanError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let span = UNITS.into_iter().find(|(name, _)| *name == unit).and_then(|(_, size)| {
            let microseconds = number.parse::<u64>().ok()?.checked_mul(size)?;
            Some(Self(Duration::from_micros(microseconds)))
        });
        span.ok_or_else(|| SpanError(text.to_owned()))
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// How long something took or has lasted, in the two units that matter: `0.4 s`, `12 s`, `3 min`,
/// `1 h 2 min`, `3 d 4 h`.
pub fn age(span: Duration) -> String {
    let seconds = span.as_secs();
    let two = |large: u64, large_unit, small: u64, small_unit| match small {
        0 => format!("{large} {large_unit}"),
        _ => format!("{large} {large_unit} {small} {small_unit}"),
    };
    match seconds {
        0..10 => format!("{}.{} s", seconds, span.subsec_millis() / 100),
        10..120 => format!("{seconds} s"),
        120..3_600 => format!("{} min", seconds / 60),
        3_600..86_400 => two(seconds / 3_600, "h", seconds % 3_600 / 60, "min"),
        _ => two(seconds / 86_400, "d", seconds % 86_400 / 3_600, "h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> WallTime {
        text.parse().expect("a time")
    }

    #[test]
    fn json_time_has_microseconds_and_is_utc() {
        let time = at("2026-11-23T08:02:11.123456789+01:00");
        assert_eq!(time.to_string(), "2026-11-23T07:02:11.123456Z");
        assert_eq!(at("2026-11-23T07:02:11Z").to_string(), "2026-11-23T07:02:11.000000Z");
        assert_eq!(at(&time.to_string()), time);
    }

    #[test]
    fn the_date_is_shown_only_when_it_is_another_day() {
        let now = at("2026-11-23T00:00:10Z");
        assert_eq!(at("2026-11-23T00:00:01Z").clock(now), "00:00:01 UTC");
        assert_eq!(at("2026-11-22T23:59:59Z").clock(now), "2026-11-22 23:59:59 UTC");
        assert_eq!(now.full(), "2026-11-23 00:00:10.000 UTC");
    }

    #[test]
    fn neither_end_of_the_clock_panics() {
        let now = at("2026-11-23T00:00:10Z");
        let first = now.minus(Duration::MAX);
        assert!(first < now);
        assert_eq!(first.since(now), Duration::ZERO);
        assert_eq!(now.minus(Duration::from_secs(10)).since(now), Duration::ZERO);
        assert_eq!(now.since(now.minus(Duration::from_secs(10))), Duration::from_secs(10));
    }

    #[test]
    fn spans_are_written_as_they_are_read() {
        for text in ["0s", "10ms", "1s", "1500ms", "2m", "90s", "36h", "7d", "250us"] {
            let span: Span = text.parse().expect(text);
            assert_eq!(span.to_string(), text);
        }
        assert_eq!("60s".parse(), Ok(Span(Duration::from_secs(60))));
        assert_eq!(Span(Duration::from_secs(60)).to_string(), "1m");
    }

    #[test]
    fn what_is_no_span_is_named_with_a_remedy() {
        for text in ["", "5", "s", "-1s", "1.5s", "1 s", "99999999999999999999s", "9999999999999999d", "ä"] {
            let error = text.parse::<Span>().expect_err(text).to_string();
            assert!(error.contains(&format!("\"{text}\"")) && error.contains("10m"), "{error}");
        }
    }

    #[test]
    fn ages_have_two_units_at_most() {
        let of = |ms| age(Duration::from_millis(ms));
        assert_eq!(of(0), "0.0 s");
        assert_eq!(of(449), "0.4 s");
        assert_eq!(of(12_900), "12 s");
        assert_eq!(of(119_000), "119 s");
        assert_eq!(of(180_000), "3 min");
        assert_eq!(of(3_720_000), "1 h 2 min");
        assert_eq!(of(7_200_000), "2 h");
        assert_eq!(of(273_600_000), "3 d 4 h");
    }
}
