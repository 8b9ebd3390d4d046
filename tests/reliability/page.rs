//! The figures as tables: on the terminal, and in the page.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::Path;

use lab::Contender;
use lab::watcher::Spells;

use crate::Series;
use crate::case::{CASES, Case, Group};
use crate::measure::Figures;

const BEGIN: &str = "<!-- figures -->\n";
const END: &str = "<!-- end of figures -->\n";

/// Writes the tables of what was run.
pub(crate) fn print(results: &[Series], out: &mut impl Write) -> io::Result<()> {
    out.write_all(tables(results).as_bytes())
}

/// Puts the tables between the markers of the page in `file`.
pub(crate) fn write(file: &Path, results: &[Series], runs: usize) -> io::Result<()> {
    let page = std::fs::read_to_string(file)?;
    let parts = page.split_once(BEGIN).and_then(|(head, rest)| Some((head, rest.split_once(END)?.1)));
    let (head, tail) = parts
        .ok_or_else(|| io::Error::other(format!("{} has no lines {BEGIN:?} and {END:?}", file.display())))?;
    let date = time::OffsetDateTime::now_utc().date();
    let each =
        if runs == 1 { "one run of each".to_owned() } else { format!("{runs} runs of each: median (worst)") };
    std::fs::write(file, format!("{head}{BEGIN}{date}, {each}.\n{}{END}{tail}", tables(results)))
}

fn tables(results: &[Series]) -> String {
    let mut text = String::new();
    for group in Group::ALL {
        text += &table(group.title(), &COLUMNS, group, results);
    }
    text + &table("What a flood costs", &COSTS, Group::Strangers, results)
}

/// One row a case; in each cell vrrpd's figure, then keepalived's.
fn table(title: &str, columns: &[Column], group: Group, results: &[Series]) -> String {
    let rows: Vec<String> = CASES
        .iter()
        .filter(|case| case.group == group)
        .filter_map(|case| row(case, columns, results))
        .collect();
    if rows.is_empty() {
        return String::new();
    }
    let names: String = columns.iter().map(|column| format!(" {} |", column.name)).collect();
    let line = "---|".repeat(columns.len());
    format!("\n### {title}\n\n| | A | due |{names}\n|---|---|---|{line}\n{}", rows.concat())
}

fn row(case: &Case, columns: &[Column], results: &[Series]) -> Option<String> {
    let of = |contender| {
        let found =
            results.iter().find(|series| series.case.name == case.name && series.contender == contender);
        found.map_or(&[][..], |series| &series.figures)
    };
    let both = [Contender::Vrrpd, Contender::Keepalived].map(of);
    if both.iter().all(|figures| figures.is_empty()) {
        return None;
    }
    let mut row = format!("| {} | {} ms | {} |", case.says, case.task.interval.as_millis(), case.due);
    for column in columns {
        let cells = both.map(|figures| cell(figures, column.value));
        let _ = write!(row, " {} |", cells.join(" / "));
    }
    Some(row + "\n")
}

struct Column {
    name: &'static str,
    /// A number, and whether it would have grown with longer watching.
    value: fn(&Figures) -> Option<(i64, bool)>,
}

const COLUMNS: [Column; 5] = [
    Column { name: "transitions", value: |figures| number(figures.claims.len()) },
    Column { name: "two answer, ms", value: |figures| total(&figures.by_two) },
    Column { name: "nobody answers, ms", value: |figures| total(&figures.by_nobody) },
    Column { name: "client waits, ms", value: |figures| number(figures.client_waited_ns / 1_000_000) },
    Column { name: "in two kernels, ms", value: |figures| total(&figures.in_two_tables) },
];

const COSTS: [Column; 2] = [
    Column { name: "log, KiB", value: |figures| number(figures.logged / 1024) },
    Column { name: "memory, KiB", value: |figures| figures.grown_kib.map(|kib| (kib, false)) },
];

fn number(value: impl TryInto<i64>) -> Option<(i64, bool)> {
    Some((value.try_into().ok()?, false))
}

fn total(spells: &Spells) -> Option<(i64, bool)> {
    Some((i64::try_from(spells.total().as_millis()).ok()?, spells.lasts))
}

/// The median, and the worst where they differ; `>` when it had not ended.
fn cell(figures: &[Figures], value: impl Fn(&Figures) -> Option<(i64, bool)>) -> String {
    let mut values: Vec<(i64, bool)> = figures.iter().filter_map(value).collect();
    values.sort_unstable();
    let words = |&(number, lasts): &(i64, bool)| format!("{}{number}", if lasts { "> " } else { "" });
    match (values.get((values.len().max(1) - 1) / 2), values.last()) {
        (Some(median), Some(worst)) if median != worst => format!("{} ({})", words(median), words(worst)),
        (Some(median), _) => words(median),
        _ => "–".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_every_case() {
        let page = include_str!("../../docs/reliability.md");
        let missing: Vec<_> = CASES
            .iter()
            .map(|case| format!("| {} | {} ms | {} |", case.says, case.task.interval.as_millis(), case.due))
            .filter(|row| !page.contains(row))
            .collect();
        assert!(missing.is_empty(), "run the bench with --page again: {missing:#?}");
    }
}
