//! Medians, spread and ratio as a table; every value as JSON.

use std::io::{self, Write};

use lab::Contender;
use serde_json::{Map, Value, json};

use crate::measure::Measures;

/// All values of one run as one line.
pub(crate) fn raw_line(run: u32, contender: Contender, values: &Measures) -> Value {
    let named: Map<String, Value> = values.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    json!({ "run": run, "daemon": contender.to_string(), "values": named })
}

/// One row a measure: `median [min..max]` of each daemon, and the ratio of the medians, first to second.
pub(crate) fn print(results: &[(Contender, Vec<Measures>)], out: &mut impl Write) -> io::Result<()> {
    write!(out, "{:<72}", "median [min..max]")?;
    for (contender, runs) in results {
        write!(out, " {:>28}", format!("{contender} ({} runs)", runs.len()))?;
    }
    writeln!(out, "{}", if results.len() == 2 { "   ratio" } else { "" })?;
    let mut names: Vec<&str> = Vec::new();
    for (name, _) in results.iter().flat_map(|(_, runs)| runs).flatten() {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    for name in names {
        write!(out, "{name:<72}")?;
        let mut medians = Vec::new();
        for (_, runs) in results {
            let of_name = runs.iter().flatten().filter(|(row, _)| row == name);
            let spread = spread(of_name.map(|(_, value)| *value).collect());
            let cell = spread.map(|[low, median, high]| format!("{median:.1} [{low:.1}..{high:.1}]"));
            write!(out, " {:>28}", cell.as_deref().unwrap_or("-"))?;
            medians.push(spread.map(|[_, median, _]| median));
        }
        match medians[..] {
            [Some(ours), Some(theirs)] => writeln!(out, " {:>7.2}", ours / theirs)?,
            _ => writeln!(out)?,
        }
    }
    Ok(())
}

/// Least, median and greatest, if there are any: one daemon may have what the other has not.
fn spread(mut values: Vec<f64>) -> Option<[f64; 3]> {
    values.sort_by(f64::total_cmp);
    let last = values.len().checked_sub(1)?;
    let median = (values[last / 2] + values[last.div_ceil(2)]) / 2.0;
    Some([values[0], median, values[last]])
}
