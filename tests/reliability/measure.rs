//! One run of a case, watched from outside.

use lab::watcher::Spells;
use lab::{Contender, Prober, Tables, Watcher, claims, now_ns, usage};
use serde_json::{Value, json};

use crate::case::Case;
use crate::site::Site;

/// What was seen. Times are ns of `CLOCK_REALTIME`.
pub(crate) struct Figures {
    /// When the adversity began.
    began_ns: i64,
    /// Claims since then: who and when.
    pub(crate) claims: Vec<lab::claims::Claim>,
    /// Two nodes answered for the address.
    pub(crate) by_two: Spells,
    /// Nobody did.
    pub(crate) by_nobody: Spells,
    /// Both kernels had it in their tables.
    pub(crate) in_two_tables: Spells,
    /// The longest that a client with an ordinary neighbour table waited for an answer.
    pub(crate) client_waited_ns: u128,
    /// What the daemon of `a` logged meanwhile, in bytes.
    pub(crate) logged: u64,
    /// What it grew by, in KiB of proportional set size; none when it was dead in the end.
    pub(crate) grown_kib: Option<i64>,
}

/// Runs `case` with `contender` once.
pub(crate) fn run(case: &Case, contender: Contender) -> Figures {
    let mut site = Site::open(case, contender);
    let address = site.task.address();
    let adverts = site.lab.capture_adverts(&[&site.a, &site.b]);
    let watcher = Watcher::start(&site.watcher, address);
    let tables = Tables::watch([&site.a, &site.b], address);
    let prober = Prober::start_every(lab::watcher::PERIOD, site.lab.client(), address);
    site.intervals(3);
    let (logged, memory) = (site.logged(), memory_kib(&site));

    let began_ns = now_ns();
    (case.adversity)(&mut site);
    site.pass(case.aftermath);

    let (sightings, holding) = (watcher.stop(), tables.stop());
    let mut claims = claims(&adverts.frames(), site.task.interval);
    claims.retain(|claim| claim.time_ns >= began_ns);
    Figures {
        began_ns,
        claims,
        by_two: sightings.by_two(),
        by_nobody: sightings.by_nobody(),
        in_two_tables: holding.by_both(),
        client_waited_ns: prober.stop().longest_wait().as_nanos(),
        logged: site.logged() - logged,
        grown_kib: memory_kib(&site).zip(memory).map(|(after, before)| after - before),
    }
}

fn memory_kib(site: &Site) -> Option<i64> {
    let daemon = site.primary.as_ref()?;
    i64::try_from(usage::memory(&daemon.processes()).pss_kib).ok()
}

impl Figures {
    /// All of it as one line; times in ms since the adversity began.
    pub(crate) fn raw(&self, run: usize, case: &Case, contender: Contender) -> Value {
        let ms = |time_ns: i64| (time_ns - self.began_ns) as f64 / 1e6;
        let spells = |spells: &Spells| {
            let all: Vec<_> = spells.all.iter().map(|&(from, to)| [ms(from), ms(to)]).collect();
            json!({ "ms": all, "lasts": spells.lasts })
        };
        let claims: Vec<_> = self.claims.iter().map(|claim| json!([claim.node, ms(claim.time_ns)])).collect();
        json!({
            "case": case.name,
            "daemon": contender.to_string(),
            "run": run,
            "due": case.due,
            "claims": claims,
            "answered_by_two": spells(&self.by_two),
            "answered_by_nobody": spells(&self.by_nobody),
            "in_two_tables": spells(&self.in_two_tables),
            "client_waited_ms": self.client_waited_ns as f64 / 1e6,
            "logged_bytes": self.logged,
            "grown_kib": self.grown_kib,
        })
    }
}
