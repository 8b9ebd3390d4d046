//! What a step must not do to the client, and whether it did.

use std::time::{Duration, Instant};

use vrrp_proto::AdverInterval;
use vrrp_proto::snapshot::StateName;

use super::cast::Node;
use super::client::{GRID, Probe, longest_silence, moves};
use super::machine::Word;
use super::page::time;
use crate::control::protocol::state_word;

/// What a step promises.
pub(super) struct Promise {
    /// A few words for the summary.
    pub(super) summary: &'static str,
    /// Who holds the address when all is over.
    pub(super) holder: Node,
    /// The longest that the client may stay without answer.
    pub(super) silence: Duration,
    /// Why so long.
    pub(super) because: &'static str,
    /// The longest until the holder answers.
    pub(super) until: Duration,
}

/// The spans that hold in every step.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    /// A probe waits so long for its answer.
    pub(super) patience: Duration,
    /// The new holder must have answered alone for so long, before a step is over.
    settled: Duration,
    /// Two may have the address for so long, while one hands it over to the other.
    dispute: Duration,
}

impl Bounds {
    pub(super) fn new(interval: AdverInterval) -> Self {
        let settled = interval.duration();
        // Below some tens of milliseconds it is the scheduler that one measures.
        let patience = (settled / 10).max(Duration::from_millis(50));
        Self { patience, settled, dispute: (settled / 4).max(Duration::from_millis(100)) }
    }
}

/// How far a step has come.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Progress {
    Going,
    /// The new holder has answered alone for a while.
    Settled,
    /// The time is over.
    Missed,
}

/// Looks at the probes that were sent since `begin`.
pub(super) fn progress(
    promise: &Promise,
    bounds: Bounds,
    begin: Instant,
    probes: &[Probe],
    now: Instant,
) -> Progress {
    let judged = now.checked_sub(bounds.patience).unwrap_or(begin);
    let probes = &probes[..probes.partition_point(|probe| probe.sent <= judged)];
    let other = |probe: &Probe| probe.answered(bounds.patience) != Some(promise.holder);
    let steady_since = match probes.iter().rposition(other) {
        Some(last) => probes.get(last + 1),
        None => probes.first(),
    };
    let steady = steady_since.map(|probe| judged.saturating_duration_since(probe.sent)).unwrap_or_default();
    let over = now.saturating_duration_since(begin);
    let answers = steady_since.is_some();
    if steady >= bounds.settled {
        Progress::Settled
    } else if (over > promise.until + bounds.patience && !answers)
        || over > promise.until + 3 * bounds.settled
    {
        Progress::Missed
    } else {
        Progress::Going
    }
}

/// What a step came to.
pub(super) struct Outcome {
    pub(super) summary: &'static str,
    pub(super) holder: Option<Node>,
    pub(super) silence: Duration,
    pub(super) allowed: Duration,
    pub(super) because: &'static str,
    /// The longest that two stations had the address.
    pub(super) dispute: Duration,
    /// What the daemons said of themselves in the end.
    words: Vec<Word>,
    /// In sentences without their full stop.
    pub(super) faults: Vec<String>,
}

impl Outcome {
    pub(super) fn judge(
        promise: &Promise,
        bounds: Bounds,
        missed: bool,
        probes: &[Probe],
        dispute: Duration,
    ) -> Self {
        let judged = Instant::now().checked_sub(bounds.patience);
        let probes = &probes[..probes.partition_point(|probe| judged.is_some_and(|at| probe.sent <= at))];
        let silence = longest_silence(probes, bounds.patience);
        let holder = probes.last().and_then(|probe| probe.answered(bounds.patience));
        let mut faults = Vec::new();
        if missed {
            let who = holder.map_or("nobody", Node::name);
            let (wanted, until) = (promise.holder.name(), time(promise.until));
            faults.push(format!("{wanted} should have answered the client within {until}, but {who} did"));
        } else if silence > promise.silence + GRID {
            let (silence, allowed) = (time(silence), time(promise.silence));
            faults.push(format!("the client had no answer for {silence}, and {allowed} is allowed"));
        }
        let moves = moves(probes, bounds.patience);
        if moves > 1 {
            faults.push(format!("the address moved {moves} times, and once is enough"));
        }
        if dispute > bounds.dispute {
            let (dispute, allowed) = (time(dispute), time(bounds.dispute));
            faults.push(format!("two machines had the address for {dispute}, and {allowed} is allowed"));
        }
        let (summary, allowed, because) = (promise.summary, promise.silence, promise.because);
        Self { summary, holder, silence, allowed, because, dispute, words: Vec::new(), faults }
    }

    /// Takes what the daemons say of themselves, and finds fault with it.
    pub(super) fn hear(&mut self, holder: Node, words: Vec<Word>) {
        self.faults.extend(contradictions(holder, &words));
        self.words = words;
    }

    /// What the client saw.
    pub(super) fn sentence(&self) -> String {
        let holder = self.holder.map_or("Nobody", Node::name);
        match self.silence {
            Duration::ZERO => format!("{holder} answers; the client was never without answer."),
            silence => format!("{holder} answers; the client was without answer for {}.", time(silence)),
        }
    }

    /// What the daemons said, when any was asked.
    pub(super) fn quotation(&self) -> Option<String> {
        let say = |word: &Word| {
            let state = word.state.map_or("nothing", state_word);
            format!("{} says {state}", word.node.name())
        };
        let said: Vec<String> = self.words.iter().map(say).collect();
        (!said.is_empty()).then(|| format!("When asked, {}.", said.join(" and ")))
    }
}

/// In sentences, what in the daemons' words does not fit together, or not with the story.
fn contradictions(holder: Node, words: &[Word]) -> Vec<String> {
    let silent = words.iter().filter(|word| word.state.is_none());
    let mut faults: Vec<String> = silent
        .map(|word| format!("vrrpd on {} did not answer when it was asked", word.node.name()))
        .collect();
    let active: Vec<Node> =
        words.iter().filter(|word| word.state == Some(StateName::Active)).map(|word| word.node).collect();
    match active[..] {
        [node] if node == holder => {}
        [node] => {
            faults.push(format!("{} says that it is ACTIVE, and {} should", node.name(), holder.name()));
        }
        [] => faults.push("no node says that it is ACTIVE".to_owned()),
        _ => faults.push("both nodes say that they are ACTIVE".to_owned()),
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROMISE: Promise = Promise {
        summary: "",
        holder: Node::B,
        silence: Duration::from_millis(100),
        because: "",
        until: Duration::from_secs(2),
    };

    /// One probe each 100 ms since `begin`.
    fn probes(begin: Instant, text: &str) -> Vec<Probe> {
        let probe = |(index, letter)| {
            let sent = begin + Duration::from_millis(100) * index;
            Probe { sent, answer: Node::from_letter(letter).map(|node| (node, sent)) }
        };
        (0..).zip(text.bytes()).map(probe).collect()
    }

    #[test]
    fn a_step_is_over_when_the_holder_has_answered_for_an_interval() {
        let (begin, bounds) = (Instant::now(), Bounds::new(AdverInterval::DEFAULT));
        let after = |text: &str| {
            let now = begin + Duration::from_millis(100) * u32::try_from(text.len()).expect("short");
            progress(&PROMISE, bounds, begin, &probes(begin, text), now)
        };
        assert_eq!(after(""), Progress::Going);
        assert_eq!(after("aaaaaaaaaaaaaaa"), Progress::Going);
        assert_eq!(after("aaaabbbbbbbbbb"), Progress::Going);
        assert_eq!(after("aaaabbbbbbbbbbbb"), Progress::Settled);
        assert_eq!(after("aaaabbbbbbbb.bbb"), Progress::Going);
        assert_eq!(after(&"a".repeat(25)), Progress::Missed);
        assert_eq!(after(&".".repeat(25)), Progress::Missed);
        assert_eq!(after(&"b.".repeat(26)), Progress::Missed);
    }

    #[test]
    fn words_that_contradict_each_other_or_the_story_are_told() {
        use StateName::{Active, Backup};
        let of = |words: &[(Node, Option<StateName>)]| {
            let words: Vec<Word> = words.iter().map(|&(node, state)| Word { node, state }).collect();
            contradictions(Node::B, &words)
        };
        assert_eq!(of(&[(Node::A, Some(Backup)), (Node::B, Some(Active))]), Vec::<String>::new());
        assert_eq!(of(&[(Node::B, Some(Active))]), Vec::<String>::new());
        assert_eq!(
            of(&[(Node::A, Some(Active)), (Node::B, Some(Active))]),
            ["both nodes say that they are ACTIVE"]
        );
        assert_eq!(
            of(&[(Node::A, Some(Active)), (Node::B, Some(Backup))]),
            ["bootstrap-a says that it is ACTIVE, and bootstrap-b should"]
        );
        assert_eq!(of(&[(Node::B, Some(Backup))]), ["no node says that it is ACTIVE"]);
        assert_eq!(
            of(&[(Node::A, None), (Node::B, Some(Active))]),
            ["vrrpd on bootstrap-a did not answer when it was asked"]
        );
    }

    #[test]
    fn each_broken_promise_is_told() {
        let bounds = Bounds::new(AdverInterval::DEFAULT);
        let begin =
            Instant::now().checked_sub(Duration::from_secs(10)).expect("the machine is up for longer");
        let faults = |text: &str, missed, dispute| {
            let dispute = Duration::from_millis(dispute);
            Outcome::judge(&PROMISE, bounds, missed, &probes(begin, text), dispute).faults
        };
        assert_eq!(faults("aa.bbb", false, 60), Vec::<String>::new());
        assert_eq!(
            faults("aa...bbb", false, 0),
            ["the client had no answer for 300 ms, and 100 ms is allowed"]
        );
        assert_eq!(faults("abab", false, 0), ["the address moved 3 times, and once is enough"]);
        assert_eq!(
            faults("aaaa....", true, 0),
            ["bootstrap-b should have answered the client within 2.00 s, but nobody did"]
        );
        assert_eq!(
            faults("aabb", false, 300),
            ["two machines had the address for 300 ms, and 250 ms is allowed"]
        );
    }
}
