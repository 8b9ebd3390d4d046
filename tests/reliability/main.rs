//! vrrpd and keepalived under the same adversities, one after the other, watched from outside.
//!
//! ```text
//! cargo build --release -p vrrpd -p e2e && target/release/reliability --raw raw.jsonl --page docs/reliability.md
//! ```
//!
//! For each case a pair starts and settles, and then: who claims, by the advertisements on the switch;
//! who answers for the address, by a watcher on the LAN that asks everybody every two milliseconds; whose
//! kernel has it, looked at from the side. What the page says of them is in `docs/reliability.md`.

mod adversity;
mod case;
mod hostile;
mod measure;
mod page;
mod site;

use std::fs::File;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::ExitCode;

use case::{CASES, Case};
use lab::Contender;
use measure::Figures;

const USAGE: &str =
    "usage: reliability [--runs N] [--only vrrpd|keepalived] [--raw FILE] [--page FILE] [CASE...]
  --runs N     runs of each case and daemon (default 1)
  --only NAME  one daemon alone
  --raw FILE   everything measured, a line of JSON for each run, appended
  --page FILE  write the figures between the page's markers; for a run of all cases
  --list       name the cases
  CASE         those whose names begin with it (default all)";

struct Options {
    runs: usize,
    contenders: Vec<Contender>,
    raw: Option<File>,
    page: Option<PathBuf>,
    list: bool,
    wanted: Vec<String>,
}

/// What a case gave, run by run; none where a run failed.
pub(crate) struct Series {
    pub(crate) case: &'static Case,
    pub(crate) contender: Contender,
    pub(crate) figures: Vec<Figures>,
}

fn main() -> ExitCode {
    let mut options = match parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(fault) => {
            eprintln!("reliability: {fault}\n{USAGE}");
            return ExitCode::from(64);
        }
    };
    if options.list {
        CASES.iter().for_each(|case| println!("{:<20} {}", case.name, case.says));
        return ExitCode::SUCCESS;
    }
    let needs: &[&str] =
        if options.contenders.contains(&Contender::Keepalived) { &["keepalived"] } else { &[] };
    if !lab::available(needs) {
        return ExitCode::FAILURE;
    }
    let mut results = planned(&options);
    match run(&mut results, &mut options) {
        Ok(()) if results.iter().all(|result| result.figures.len() == options.runs) => ExitCode::SUCCESS,
        Ok(()) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("reliability: cannot write: {error}");
            ExitCode::FAILURE
        }
    }
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options = Options {
        runs: 1,
        contenders: vec![Contender::Vrrpd, Contender::Keepalived],
        raw: None,
        page: None,
        list: false,
        wanted: Vec::new(),
    };
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value"));
        match argument.as_str() {
            "--runs" => {
                let text = value()?;
                let runs = text.parse().ok().filter(|runs| (1..=100).contains(runs));
                options.runs = runs.ok_or_else(|| format!("--runs {text} is out of range 1..=100"))?;
            }
            "--only" => options.contenders = vec![value()?.parse()?],
            "--raw" => {
                let path = value()?;
                let file = File::options().create(true).append(true).open(&path);
                options.raw = Some(file.map_err(|e| format!("cannot open {path}: {e}"))?);
            }
            "--page" => options.page = Some(value()?.into()),
            "--list" => options.list = true,
            name if CASES.iter().any(|case| case.name.starts_with(name)) => {
                options.wanted.push(name.to_owned());
            }
            _ => return Err(format!("{argument} is neither an option nor a case; --list names the cases")),
        }
    }
    if options.page.is_some() && !(options.wanted.is_empty() && options.contenders.len() == 2) {
        return Err("--page is for all cases and both daemons".to_owned());
    }
    Ok(options)
}

/// Every case with each daemon that it is for, still without figures.
fn planned(options: &Options) -> Vec<Series> {
    let wanted = |case: &&Case| {
        options.wanted.is_empty() || options.wanted.iter().any(|name| case.name.starts_with(name))
    };
    let for_each = |case: &'static Case| {
        let contenders = options.contenders.iter().filter(|contender| case.is_for(**contender));
        contenders.map(|&contender| Series { case, contender, figures: Vec::new() }).collect::<Vec<_>>()
    };
    CASES.iter().filter(wanted).flat_map(for_each).collect()
}

fn run(results: &mut [Series], options: &mut Options) -> std::io::Result<()> {
    for number in 1..=options.runs {
        // Those in which next to nothing happens for a minute share that minute.
        let idle = results.iter_mut().filter(|result| result.case.idle);
        std::thread::scope(|scope| {
            let runs: Vec<_> = idle.map(|result| scope.spawn(move || one(number, result))).collect();
            runs.into_iter().for_each(|run| run.join().expect("one() catches panics"));
        });
        results.iter_mut().filter(|result| !result.case.idle).for_each(|result| one(number, result));
        if let Some(raw) = &mut options.raw {
            for result in results.iter() {
                if let Some(figures) = result.figures.last() {
                    writeln!(raw, "{}", figures.raw(number, result.case, result.contender))?;
                }
            }
        }
    }
    page::print(results, &mut std::io::stdout().lock())?;
    match &options.page {
        Some(page) => page::write(page, results, options.runs),
        None => Ok(()),
    }
}

fn one(number: usize, series: &mut Series) {
    eprintln!("run {number}: {}: {}", series.case.name, series.contender);
    // The others go on, and the exit code tells.
    if let Ok(figures) = catch_unwind(AssertUnwindSafe(|| measure::run(series.case, series.contender))) {
        series.figures.push(figures);
    }
}
