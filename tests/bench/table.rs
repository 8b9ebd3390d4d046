//! Medians, spread and ratio as a table; every value as JSON.

use std::io::{self, Write};

use lab::Contender;
use serde_json::{Map, Value, json};

use crate::measure::{Measures, NAMES};

/// All values of one run as one line.
pub(crate) fn raw_line(run: u32, contender: Contender, values: &Measures) -> Value {
    let named: Map<String, Value> =
        NAMES.iter().zip(values).map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
    json!({ "run": run, "daemon": contender.to_string(), "values": named })
}

/// One row a measure: `median [min..max]` of each daemon, and the ratio of the medians, first to second.
pub(crate) fn print(results: &[(Contender, Vec<Measures>)], out: &mut impl Write) -> io::Result<()> {
    write!(out, "{:<48}", "median [min..max]")?;
    for (contender, runs) in results {
        write!(out, " {:>28}", format!("{contender} ({} runs)", runs.len()))?;
    }
    writeln!(out, "{}", if results.len() == 2 { "   ratio" } else { "" })?;
    for (row, name) in NAMES.iter().enumerate() {
        write!(out, "{name:<48}")?;
        let mut medians = Vec::new();
        for (_, runs) in results {
            let [low, median, high] = spread(runs.iter().map(|values| values[row]).collect());
            write!(out, " {:>28}", format!("{median:.1} [{low:.1}..{high:.1}]"))?;
            medians.push(median);
        }
        match medians[..] {
            [ours, theirs] => writeln!(out, " {:>7.2}", ours / theirs)?,
            _ => writeln!(out)?,
        }
    }
    Ok(())
}

/// Least, median and greatest.
fn spread(mut values: Vec<f64>) -> [f64; 3] {
    values.sort_by(f64::total_cmp);
    let last = values.len() - 1;
    let median = (values[last / 2] + values[last.div_ceil(2)]) / 2.0;
    [values[0], median, values[last]]
}
