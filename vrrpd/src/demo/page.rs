//! How the demo is told: plain lines of at most 100 columns, the same on a terminal and in a file.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use vrrp_proto::AdverInterval;

use super::cast::{self, Node};
use super::client::{Client, GRID, Probe};
use super::watch::Outcome;
use crate::ctl::table::Table;

/// Slices of time in one row of the drawing.
const ROW: u32 = 60;
/// Slices in one advertisement interval.
const SLICES: u32 = 20;

/// Where it is told, and what has been drawn.
pub(super) struct Page<'a> {
    out: &'a mut dyn Write,
    slice: Duration,
    patience: Duration,
    /// Begin of the present step.
    origin: Instant,
    /// Slices of it that have been drawn.
    drawn: u32,
}

impl<'a> Page<'a> {
    /// `patience` is how long a probe waits for its answer.
    pub(super) fn new(out: &'a mut dyn Write, interval: AdverInterval, patience: Duration) -> Self {
        Self { out, slice: interval.duration() / SLICES, patience, origin: Instant::now(), drawn: 0 }
    }

    pub(super) fn introduce(&mut self, interval: AdverInterval) -> io::Result<()> {
        writeln!(
            self.out,
            "Two nodes keep one address on one of them, and a client uses it. All of this lives in"
        )?;
        writeln!(self.out, "private network namespaces; nothing else on this machine is touched.\n")?;
        let [a, b] = Node::BOTH;
        let columns = |cells: [String; 3]| format!("  {:<22}{:<22}{}", cells[0], cells[1], cells[2]);
        let node = |node: Node| node.name().to_owned();
        writeln!(self.out, "{}", columns([node(a), node(b), "client".into()]))?;
        let address = |node: Node| node.address().to_string();
        writeln!(self.out, "{}", columns([address(a), address(b), cast::CLIENT.to_string()]))?;
        let priority = |node: Node| format!("priority {}", node.priority().get());
        let asks = format!("asks {} every {}", cast::ADDRESS, time(GRID));
        writeln!(self.out, "{}", columns([priority(a), priority(b), asks]))?;
        writeln!(self.out, "       |                     |                     |")?;
        writeln!(self.out, "       +------------------ switch -------------------+\n")?;
        writeln!(self.out, "Who answers the client: each character is {} of its time.", time(self.slice))?;
        writeln!(self.out, "  a  bootstrap-a     b  bootstrap-b     .  a question stayed without answer")?;
        writeln!(self.out, "The nodes advertise every {}.", time(interval.duration()))?;
        self.out.flush()
    }

    /// Opens a step that begins at `origin`.
    pub(super) fn open(&mut self, number: usize, title: &str, origin: Instant) -> io::Result<()> {
        (self.origin, self.drawn) = (origin, 0);
        writeln!(self.out, "\n{number}. {title}")?;
        self.out.flush()
    }

    /// Draws what the client has seen until now, but for the last probes, which may yet be answered.
    pub(super) fn draw(&mut self, client: &Client) -> io::Result<()> {
        let from = self.origin + self.slice * self.drawn;
        let due = Instant::now().checked_duration_since(from + self.patience).unwrap_or_default();
        let slices = u32::try_from(due.as_nanos() / self.slice.as_nanos()).unwrap_or(0);
        if slices == 0 {
            return Ok(());
        }
        let probes = client.since(from);
        for _ in 0..slices {
            let begin = self.origin + self.slice * self.drawn;
            let end = begin + self.slice;
            let inside = probes.iter().filter(|probe| (begin..end).contains(&probe.sent));
            let mark = mark(inside, self.patience);
            if self.drawn.is_multiple_of(ROW) {
                let line_end = if self.drawn == 0 { "" } else { "\n" };
                let since = (begin - self.origin).as_secs_f64();
                write!(self.out, "{line_end}   +{since:5.2} s  ")?;
            }
            write!(self.out, "{mark}")?;
            self.drawn += 1;
        }
        self.out.flush()
    }

    /// Closes a step.
    pub(super) fn close(&mut self, outcome: &Outcome) -> io::Result<()> {
        let line_end = if self.drawn == 0 { "" } else { "\n" };
        writeln!(self.out, "{line_end}   {}", outcome.sentence())?;
        if let Some(quotation) = outcome.quotation() {
            writeln!(self.out, "   {quotation}")?;
        }
        for fault in &outcome.faults {
            writeln!(self.out, "   WRONG: {fault}")?;
        }
        self.out.flush()
    }

    /// What daemons wrote last, where that may explain what went wrong.
    pub(super) fn quote(&mut self, whose: &str, lines: &[String]) -> io::Result<()> {
        writeln!(self.out, "   The last that vrrpd on {whose} logged:")?;
        lines.iter().try_for_each(|line| writeln!(self.out, "     {line}"))
    }

    /// Closes the demo: a table of all steps, and the verdict.
    pub(super) fn summarize(&mut self, outcomes: &[Outcome], steps: usize) -> io::Result<()> {
        let mut table =
            Table::new(["", "WHAT HAPPENED", "ANSWERS NOW", "NO ANSWER FOR", "ALLOWED", "BECAUSE"]);
        for (index, outcome) in outcomes.iter().enumerate() {
            table.push([
                (index + 1).to_string(),
                outcome.summary.to_owned(),
                outcome.holder.map_or("nobody", Node::name).to_owned(),
                time(outcome.silence),
                time(outcome.allowed),
                outcome.because.to_owned(),
            ]);
        }
        writeln!(self.out)?;
        table.lines().iter().try_for_each(|line| writeln!(self.out, "{line}"))?;
        let dispute = outcomes.iter().map(|outcome| outcome.dispute).max().unwrap_or_default();
        writeln!(self.out, "\nTwo machines had the address at the same time for {} at most.", time(dispute))?;
        let faults: Vec<_> = (1..)
            .zip(outcomes)
            .flat_map(|(number, outcome)| {
                outcome.faults.iter().map(move |fault| format!("step {number}: {fault}"))
            })
            .collect();
        if faults.is_empty() {
            writeln!(self.out, "The client saw what it should.")?;
        } else {
            writeln!(self.out, "The client saw what it should not:")?;
            faults.iter().try_for_each(|fault| writeln!(self.out, "  {fault}"))?;
        }
        if outcomes.len() < steps {
            writeln!(self.out, "The story ended early: the next steps build on the failed one.")?;
        }
        self.out.flush()
    }
}

/// The character for the probes of one slice.
fn mark<'p>(probes: impl Iterator<Item = &'p Probe>, patience: Duration) -> char {
    let mut mark = ' ';
    for probe in probes {
        match probe.answered(patience) {
            Some(node) => mark = node.letter(),
            None => return '.',
        }
    }
    mark
}

/// A span as the page writes it: `0`, `15 ms`, `3.42 s`.
pub(super) fn time(span: Duration) -> String {
    match span.as_millis() {
        0 => "0".to_owned(),
        ms @ 1..1000 => format!("{ms} ms"),
        _ => format!("{:.2} s", span.as_secs_f64()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_lost_probe_marks_its_slice() {
        let sent = Instant::now();
        let probe = |node| Probe { sent, answer: Some((node, sent)) };
        let lost = Probe { sent, answer: None };
        let of = |probes: &[Probe]| mark(probes.iter(), GRID);
        assert_eq!(of(&[probe(Node::A), probe(Node::B)]), 'b');
        assert_eq!(of(&[probe(Node::A), lost, probe(Node::A)]), '.');
        assert_eq!(of(&[]), ' ');
    }

    #[test]
    fn spans_are_short() {
        assert_eq!(time(Duration::ZERO), "0");
        assert_eq!(time(Duration::from_millis(15)), "15 ms");
        assert_eq!(time(Duration::from_millis(3424)), "3.42 s");
    }
}
