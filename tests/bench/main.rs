//! vrrpd beside keepalived, in one run, run by run in turn.
//!
//! ```text
//! cargo build --release -p vrrpd -p e2e
//! target/release/bench --raw raw.jsonl            # all of it, five runs of each: an afternoon
//! target/release/bench --quick --raw raw.jsonl    # all of it, once and briefly
//! ```
//!
//! `--part` chooses what is measured: `pair`, one virtual router from start to stop; `failover`, the mean of crashes at any
//! moment, with and without suspicion; `handover`, checks, a sole backup, keepalived on the other side; `scale`, many of them;
//! `addresses`, many addresses of one; `strain`, a short interval on a busy machine, a flood, and the kernel's
//! lock in other hands; `connections`, clients that are in the middle of a download (takes podman and skopeo).
//! Without it, all of them. What only one daemon has is in its column alone.
//!
//! Unless a part says otherwise: VRRPv3, IPv4 multicast, an interval of one second, priorities 200 and 100, one address, every
//! other setting of either daemon at its default. keepalived logs to a file, as vrrpd does: without
//! `/dev/log` each line to syslog costs it 0.9 ms in the middle of a takeover.

mod addresses;
mod connections;
mod failover;
mod gauge;
mod handover;
mod measure;
mod scale;
mod strain;
mod table;

use std::fs::File;
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use lab::Contender;
use measure::Measures;

const USAGE: &str =
    "usage: bench [--runs N] [--quick] [--part PART]... [--only vrrpd|keepalived] [--raw FILE]
  --runs N     runs of each daemon (default 5)
  --quick      one run, five instead of twenty seconds of idling, 20 s instead of 10 min of strain, four crashes
               instead of ten
  --part PART  pair, failover, handover, scale, addresses, strain or connections; may be given several times (default: all)
  --only NAME  one daemon alone
  --raw FILE   every value as a line of JSON, appended";

struct Options {
    runs: u32,
    idle: Duration,
    /// How long the short interval is watched.
    strain: Duration,
    /// How many crashes a mean is of.
    crashes: u32,
    parts: Vec<Part>,
    contenders: Vec<Contender>,
    raw: Option<File>,
}

/// What is measured together.
#[derive(Clone, Copy)]
enum Part {
    Pair,
    Failover,
    Handover,
    Scale,
    Addresses,
    Strain,
    Connections,
}

impl Part {
    const ALL: [(&str, Self); 7] = [
        ("pair", Self::Pair),
        ("failover", Self::Failover),
        ("handover", Self::Handover),
        ("scale", Self::Scale),
        ("addresses", Self::Addresses),
        ("strain", Self::Strain),
        ("connections", Self::Connections),
    ];

    fn measure(self, contender: Contender, options: &Options) -> Measures {
        match self {
            Self::Pair => measure::run(contender, options.idle),
            Self::Failover => failover::run(contender, options.crashes),
            Self::Handover => handover::run(contender),
            Self::Scale => {
                [1, 50, 250, 1000].into_iter().flat_map(|n| scale::run(contender, n, options.idle)).collect()
            }
            Self::Addresses => addresses::run(contender),
            Self::Connections => connections::run(contender),
            Self::Strain => strain::run(contender, options.strain)
                .into_iter()
                .chain(measure::under_foreign_load(contender))
                .collect(),
        }
    }
}

fn main() -> ExitCode {
    let options = match parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(fault) => {
            eprintln!("bench: {fault}\n{USAGE}");
            return ExitCode::from(64);
        }
    };
    let mut needs = Vec::new();
    let beside_keepalived = options.parts.iter().any(|part| matches!(part, Part::Handover));
    if beside_keepalived || options.contenders.contains(&Contender::Keepalived) {
        needs.push("keepalived");
    }
    if options.parts.iter().any(|part| matches!(part, Part::Connections)) {
        needs.extend(connections::PROGRAMS);
    }
    if !lab::available(&needs) {
        return ExitCode::FAILURE;
    }
    match run(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: cannot write: {error}");
            ExitCode::FAILURE
        }
    }
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options = Options {
        runs: 5,
        idle: Duration::from_secs(20),
        strain: Duration::from_secs(600),
        crashes: 10,
        parts: Vec::new(),
        contenders: vec![Contender::Vrrpd, Contender::Keepalived],
        raw: None,
    };
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value"));
        match argument.as_str() {
            "--runs" => {
                let text = value()?;
                let runs = text.parse().ok().filter(|runs| (1..=1000).contains(runs));
                options.runs = runs.ok_or_else(|| format!("--runs {text} is out of range 1..=1000"))?;
            }
            "--quick" => {
                (options.runs, options.crashes) = (1, 4);
                (options.idle, options.strain) = (Duration::from_secs(5), Duration::from_secs(20));
            }
            "--part" => {
                let name = value()?;
                let part = Part::ALL.iter().find(|(each, _)| *each == name).map(|(_, part)| *part);
                options.parts.push(part.ok_or_else(|| format!("there is no part {name}"))?);
            }
            "--only" => options.contenders = vec![value()?.parse()?],
            "--raw" => {
                let path = value()?;
                let file = File::options().create(true).append(true).open(&path);
                options.raw = Some(file.map_err(|e| format!("cannot open {path}: {e}"))?);
            }
            _ => return Err(format!("unknown argument {argument}")),
        }
    }
    if options.parts.is_empty() {
        options.parts = Part::ALL.map(|(_, part)| part).to_vec();
    }
    Ok(options)
}

fn run(mut options: Options) -> std::io::Result<()> {
    let mut results: Vec<(Contender, Vec<Measures>)> =
        options.contenders.iter().map(|contender| (*contender, Vec::new())).collect();
    for number in 1..=options.runs {
        for (contender, measures) in &mut results {
            eprintln!("run {number} of {}: {contender}", options.runs);
            let values = options.parts.iter().flat_map(|part| part.measure(*contender, &options)).collect();
            if let Some(raw) = &mut options.raw {
                writeln!(raw, "{}", table::raw_line(number, *contender, &values))?;
            }
            measures.push(values);
        }
    }
    table::print(&results, &mut std::io::stdout().lock())
}
