//! The story: six things that happen to machines.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use vrrp_proto::{AdverInterval, Priority};

use super::cast::{self, FALL, Node, RISE};
use super::client::Client;
use super::daemon::Signals;
use super::lan::{Station, Switch, in_subnet};
use super::machine::{Machine, Word};
use super::newcomer::Newcomer;
use super::page::Page;
use super::watch::{Bounds, Outcome, Progress, Promise, progress};
use super::{Error, Fault, Options, Verdict};

/// Time between two looks at the probes.
const LOOK: Duration = Duration::from_millis(10);
/// A daemon that was told to end takes no longer; its own deadlines are shorter.
const FAREWELL: Duration = Duration::from_secs(8);

/// Tells all of it, as far as it goes.
pub(super) fn tell(options: &Options, signals: &Signals, out: &mut dyn Write) -> Result<Verdict, Error> {
    let bounds = Bounds::new(options.interval);
    let mut page = Page::new(out, options.interval, bounds.patience);
    page.introduce(options.interval)?;
    let mut stage = Stage::new(options, signals, page, bounds)?;
    let mut outcomes = Vec::new();
    for step in STEPS {
        let (outcome, done) = step.play(&mut stage, outcomes.len() + 1)?;
        outcomes.push(outcome);
        if !done {
            break;
        }
    }
    stage.page.summarize(&outcomes, STEPS.len())?;
    let fine = outcomes.iter().all(|outcome| outcome.faults.is_empty());
    Ok(if fine { Verdict::AsPromised } else { Verdict::NotAsPromised })
}

/// One thing that happens.
#[derive(Clone, Copy)]
enum Step {
    Election,
    FailingCheck,
    Recovery,
    Death,
    Return,
    Stop,
}

const STEPS: [Step; 6] =
    [Step::Election, Step::FailingCheck, Step::Recovery, Step::Death, Step::Return, Step::Stop];

impl Step {
    const fn title(self) -> &'static str {
        match self {
            Self::Election => {
                "Both nodes are switched on: they listen first, then the higher priority takes the address."
            }
            Self::FailingCheck => "The registry on bootstrap-a breaks: its check fails, the node hands over.",
            Self::Recovery => "The registry is repaired: bootstrap-a takes the address back.",
            Self::Death => "bootstrap-a loses its power: its backup notices by its silence.",
            Self::Return => "bootstrap-a is switched on again: it takes the address back.",
            Self::Stop => "vrrpd on bootstrap-a is stopped in good order (SIGTERM): it hands over first.",
        }
    }

    fn promise(self, interval: AdverInterval) -> Promise {
        const SEAMLESS: &str = "a hand-over, seamless";
        let one = interval.duration();
        let check = cast::check_interval(interval);
        let [a, b] = Node::BOTH.map(Node::priority);
        // Until its check has passed, a node counts as demoted.
        let listening = interval.active_down_interval(Priority::demoted(a));
        let (summary, holder, silence, because, until) = match self {
            Self::Election => {
                ("both nodes start", Node::A, listening + one, "they listen first", listening + one)
            }
            // The last run may hang until its timeout, less than an interval of it; then the backup
            // waits for its Skew_Time.
            Self::FailingCheck => {
                let until = check * (FALL + 1) + interval.skew_time(b) + one;
                ("a's registry breaks", Node::B, one / 10, SEAMLESS, until)
            }
            Self::Recovery => {
                let until = check * (RISE + 1) + interval.active_down_interval(a) + one;
                ("a's registry is repaired", Node::A, one / 10, SEAMLESS, until)
            }
            Self::Death => {
                let down = interval.active_down_interval(b) + one;
                ("a loses its power", Node::B, down, "3 missed adverts, +1", down)
            }
            Self::Return => {
                let until = check * (RISE + 1) + listening + 2 * one;
                ("a is switched on again", Node::A, one / 10, SEAMLESS, until)
            }
            Self::Stop => ("vrrpd on a is stopped", Node::B, one / 10, SEAMLESS, interval.skew_time(b) + one),
        };
        Promise { summary, holder, silence, because, until }
    }

    /// Has it happen.
    fn happen(self, stage: &mut Stage<'_>) -> Result<(), Error> {
        match self {
            Self::Election => {
                stage.switch_on(Node::A)?;
                stage.switch_on(Node::B)?;
            }
            Self::FailingCheck => {
                if stage.options.fault == Some(Fault::TwoOwners) {
                    stage.add_impostor()?;
                }
                stage.machine(Node::A).stop_registry();
            }
            Self::Recovery => stage.machine(Node::A).start_registry()?,
            Self::Death => {
                if stage.options.fault == Some(Fault::NoTakeover) {
                    stage.machine(Node::B).daemon.signal(Signal::SIGSTOP);
                }
                stage.switch_off(Node::A)?;
            }
            Self::Return => stage.switch_on(Node::A)?,
            Self::Stop => {
                let hard = stage.options.fault == Some(Fault::HardStop);
                let signal = if hard { Signal::SIGKILL } else { Signal::SIGTERM };
                stage.machine(Node::A).dismiss(signal);
            }
        }
        Ok(())
    }

    /// Plays the step; what it came to, and whether the next can follow.
    fn play(self, stage: &mut Stage<'_>, number: usize) -> Result<(Outcome, bool), Error> {
        let promise = self.promise(stage.options.interval);
        let begin = Instant::now();
        stage.page.open(number, self.title(), begin)?;
        self.happen(stage)?;
        let mut deserter = None;
        let missed = loop {
            stage.signals.check()?;
            stage.page.draw(&stage.client)?;
            deserter = deserter.or_else(|| stage.deserter());
            let probes = stage.client.since(begin);
            match progress(&promise, stage.bounds, begin, &probes, Instant::now()) {
                _ if deserter.is_some() => break true,
                Progress::Going => std::thread::sleep(LOOK),
                Progress::Settled => break false,
                Progress::Missed => break true,
            }
        };
        let dispute = stage.newcomer.longest_dispute(begin);
        let probes = stage.client.since(begin);
        let mut outcome = Outcome::judge(&promise, stage.bounds, missed, &probes, dispute);
        outcome.hear(promise.holder, stage.words());
        outcome.faults.extend(deserter);
        if matches!(self, Self::Stop) {
            outcome.faults.extend(stage.farewell(Node::A));
        }
        stage.page.close(&outcome)?;
        if !outcome.faults.is_empty() {
            stage.quote_logs()?;
        }
        Ok((outcome, !missed))
    }
}

/// The machines, and who looks at them. Field order is the order of the end.
struct Stage<'a> {
    options: &'a Options,
    signals: &'a Signals,
    page: Page<'a>,
    bounds: Bounds,
    machines: [Option<Machine>; 2],
    client: Client,
    newcomer: Newcomer,
    /// The machines that only look, and a third one with the address.
    _stations: Vec<Station>,
    impostor: Option<Station>,
    switch: Switch,
    /// Cables that have been plugged in, for their names.
    cables: u32,
    directory: Directory,
}

impl<'a> Stage<'a> {
    fn new(
        options: &'a Options,
        signals: &'a Signals,
        page: Page<'a>,
        bounds: Bounds,
    ) -> Result<Self, Error> {
        let directory = Directory::new()?;
        let mut switch = Switch::new()?;
        let watched = switch.plug_in("client", cast::CLIENT)?;
        let new = switch.plug_in("newcomer", cast::NEWCOMER)?;
        Ok(Self {
            options,
            signals,
            page,
            bounds,
            machines: [None, None],
            client: Client::start(&watched.namespace)?,
            newcomer: Newcomer::start(&new)?,
            _stations: vec![watched, new],
            impostor: None,
            switch,
            cables: 0,
            directory,
        })
    }

    fn machine(&mut self, node: Node) -> &mut Machine {
        self.machines[node.index()].as_mut().expect("the story has switched it on")
    }

    fn switch_on(&mut self, node: Node) -> Result<(), Error> {
        self.cables += 1;
        let port = format!("{}-{}", node.letter(), self.cables);
        let directory = &self.directory.path;
        let machine = Machine::boot(node, &mut self.switch, &port, directory, self.options.interval)?;
        self.machines[node.index()] = Some(machine);
        Ok(())
    }

    fn switch_off(&mut self, node: Node) -> Result<(), Error> {
        let machine = self.machines[node.index()].take();
        machine.map_or(Ok(()), |machine| machine.power_off(&mut self.switch))
    }

    fn add_impostor(&mut self) -> Result<(), Error> {
        let station = self.switch.plug_in("impostor", cast::IMPOSTOR)?;
        station.add_address(in_subnet(cast::ADDRESS))?;
        self.impostor = Some(station);
        Ok(())
    }

    /// What the daemons say of themselves.
    fn words(&self) -> Vec<Word> {
        self.machines.iter().flatten().filter_map(Machine::says).collect()
    }

    /// In a sentence, a daemon that ended by itself.
    fn deserter(&mut self) -> Option<String> {
        self.machines.iter_mut().flatten().find_map(|machine| {
            let status = machine.deserted()?;
            Some(format!("vrrpd on {} ended by itself with {status}", machine.node.name()))
        })
    }

    /// In a sentence, what was wrong with how a dismissed daemon ended.
    fn farewell(&mut self, node: Node) -> Option<String> {
        let name = node.name();
        match self.machine(node).daemon.wait(FAREWELL) {
            Some(status) if status.success() => None,
            Some(status) => Some(format!("vrrpd on {name} should have ended with 0, but did with {status}")),
            None => Some(format!("vrrpd on {name} did not end in time")),
        }
    }

    fn quote_logs(&mut self) -> Result<(), Error> {
        for machine in self.machines.iter().flatten() {
            self.page.quote(machine.node.name(), &machine.daemon.last_words(5))?;
        }
        Ok(())
    }
}

/// A directory of our own for files and sockets of the daemons, removed in the end.
struct Directory {
    path: PathBuf,
}

impl Directory {
    fn new() -> Result<Self, Error> {
        let template = std::env::temp_dir().join("vrrpd-demo-XXXXXX");
        let path = nix::unistd::mkdtemp(&template)
            .map_err(Error::system(format!("make the directory {}", template.display())))?;
        Ok(Self { path })
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // What cannot be removed is left to the cleaner of temporary files.
        let _ = fs::remove_dir_all(&self.path);
    }
}
