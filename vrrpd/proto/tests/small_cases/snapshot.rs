//! What makes two states of the world the same: everything that the nodes, the kernels and the wire go by,
//! with all times counted from now.

use std::fmt::Write;
use std::hash::{DefaultHasher, Hash, Hasher};

use vrrp_proto::Node;

use super::world::{News, World};

/// What is kept for people only, what never changes here, and the number of a tenure, of which only
/// counts whether it is the present one.
fn has_no_effect(field: &str) -> bool {
    matches!(
        field,
        "by_key"
            | "conflict"
            | "defended_at"
            | "discards"
            | "forms"
            | "last_adv_source"
            | "last_event"
            | "lateness"
            | "links"
            | "listed"
            | "new_master_reason"
            | "now"
            | "parameters"
            | "shown"
            | "statistics"
            | "ticket"
            | "up_since"
            | "wall"
    )
}

/// A time as it matters: how far ahead, or how long ago. What is `far` ahead counts as never, what is
/// `old` as always; both are beyond every timer of these cases but for the ones that grow with each
/// vain attempt.
pub(crate) fn relative(at: u64, now: u64, interval: u64) -> i64 {
    let (old, far) = (5 * interval, 12 * interval);
    if at == 0 { i64::MIN } else { (at as i64 - now as i64).clamp(-(old as i64), far as i64) }
}

/// One number for all that matters of a world.
pub(crate) fn digest(world: &World<'_>) -> u64 {
    let mut hasher = DefaultHasher::new();
    let (now, interval) = (world.now, world.case.interval());
    let relative = |at: u64| relative(at, now, interval);
    let failed = world.hosts.iter().any(|host| host.failed_since.is_some());
    for host in &world.hosts {
        if let Some(inside) = &host.inside {
            inside.digest.hash(&mut hasher);
            inside.instants.iter().for_each(|&at| relative(at).hash(&mut hasher));
        }
        let kernel = &host.kernel;
        for &(request, number) in &kernel.queue {
            (request as u8, number == host.ticket).hash(&mut hasher);
        }
        let entry =
            kernel.entry.map(|entry| (relative(entry.expires), relative(entry.renewed), entry.disclaimed));
        (entry, relative(kernel.slow_until), kernel.refuses).hash(&mut hasher);
        (relative(host.stalled_until), relative(host.start_at), relative(host.mute_until)).hash(&mut hasher);
        (host.runs_at_once, host.check_fails, host.stops, host.node.is_some()).hash(&mut hasher);
        (host.last_word, relative(host.heard.0), host.heard.1).hash(&mut hasher);
        host.inbox
            .iter()
            .for_each(|(flight, at)| (flight.from, flight.what, relative(*at)).hash(&mut hasher));
        for news in &host.news {
            let current = !matches!(news, News::Outcome(ticket, _) if *ticket != host.ticket);
            current.then(|| format!("{news:?}")).hash(&mut hasher);
        }
        host.failed_since.map(relative).hash(&mut hasher);
        failed.then(|| (relative(host.since), host.by_silence)).hash(&mut hasher);
    }
    let mut wire: Vec<_> =
        world.wire.iter().map(|flight| (flight.from, flight.to, flight.what, relative(flight.by))).collect();
    wire.sort_unstable();
    wire.hash(&mut hasher);
    world.cut.iter().flatten().for_each(|&until| relative(until).hash(&mut hasher));
    (world.lossless, world.ordered).hash(&mut hasher);
    world.wrong_since.map(|since| since.map(relative)).hash(&mut hasher);
    hasher.finish()
}

/// A node, apart from the time.
#[derive(Debug)]
pub(crate) struct Inside {
    /// Of its debug output, without what has no effect.
    digest: u64,
    /// The times in it, in order.
    instants: Vec<u64>,
}

impl Inside {
    pub(crate) fn of(node: &Node) -> Self {
        let mut reader =
            Reader { hasher: DefaultHasher::new(), instants: Vec::with_capacity(32), at: At::Value };
        write!(reader, "{node:?}").expect("a reader takes everything");
        Self { digest: reader.hasher.finish(), instants: reader.instants }
    }
}

/// Reads debug output piece by piece: names, brackets, commas and values come one by one.
struct Reader {
    hasher: DefaultHasher,
    instants: Vec<u64>,
    at: At,
}

/// What the next piece may be.
enum At {
    /// The name of a field, or a value.
    Name,
    Value,
    /// What is behind the word `Instant`,
    Instant,
    /// and the number in the parentheses.
    Number,
    /// A value without effect, inside so many brackets.
    Skipped(u32),
}

impl Write for Reader {
    fn write_str(&mut self, piece: &str) -> std::fmt::Result {
        if let At::Skipped(depth) = &mut self.at {
            let mut over = false;
            for octet in piece.bytes() {
                match octet {
                    b'(' | b'[' | b'{' => *depth += 1,
                    b')' | b']' | b'}' | b',' if *depth == 0 => over = true,
                    b')' | b']' | b'}' => *depth -= 1,
                    _ => {}
                }
            }
            if !over {
                return Ok(());
            }
            self.at = At::Value;
        }
        self.at = match (&self.at, piece) {
            (_, " { " | ", ") => At::Name,
            (At::Name, name) if has_no_effect(name) => At::Skipped(0),
            (_, "Instant") => At::Instant,
            (At::Instant, "(") => At::Number,
            (At::Number, number) => {
                self.instants.push(number.parse().expect("an instant is a number in parentheses"));
                self.at = At::Value;
                return Ok(());
            }
            _ => At::Value,
        };
        self.hasher.write(piece.as_bytes());
        Ok(())
    }
}
