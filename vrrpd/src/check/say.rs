//! Small things that several probes say alike.

use std::fmt::Display;
use std::time::Duration;

/// A time for people: whole units, the largest that fits twice, so that two minutes are `120 s`.
pub(super) fn rounded(time: Duration) -> String {
    match time.as_secs() {
        0 => format!("{} ms", time.as_millis()),
        seconds @ 1..=179 => format!("{seconds} s"),
        seconds @ 180..=10_799 => format!("{} min", seconds / 60),
        seconds @ 10_800..=172_799 => format!("{} h", seconds / 3600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

/// A time on the wire: tenths of a millisecond below ten of them.
pub(super) fn milliseconds(time: Duration) -> String {
    let ms = time.as_secs_f64() * 1e3;
    if ms < 10.0 { format!("{ms:.1} ms") } else { format!("{ms:.0} ms") }
}

/// A list in a sentence.
pub(super) fn list<T: Display>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}

/// `1 answers`, `2 answer`: the verb of a sentence about so many.
pub(super) fn verb(count: usize, stem: &str) -> String {
    format!("{stem}{}", if count == 1 { "s" } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short() {
        let said: Vec<String> =
            [0, 1, 120, 180, 10_800, 172_800].map(|seconds| rounded(Duration::from_secs(seconds))).to_vec();
        assert_eq!(said, ["0 ms", "1 s", "120 s", "3 min", "3 h", "2 days"]);
        assert_eq!(milliseconds(Duration::from_micros(340)), "0.3 ms");
        assert_eq!(milliseconds(Duration::from_micros(12_340)), "12 ms");
    }

    #[test]
    fn one_answers_and_two_answer() {
        assert_eq!((verb(1, "answer"), verb(2, "answer")), ("answers".to_owned(), "answer".to_owned()));
        assert_eq!(list([1, 2]), "1, 2");
    }
}
