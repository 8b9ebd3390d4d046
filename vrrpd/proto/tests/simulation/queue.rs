//! Events in the order of their time; those of one time in the order in which they were planned.

/// What is planned is mostly due before what was planned already. So the keys stand in order, the next one
/// at the end, and a new one looks for its place from there; the events themselves do not move.
#[derive(Debug)]
pub(crate) struct Queue<Event> {
    keys: Vec<Key>,
    places: Vec<Option<Event>>,
    /// Which of the places are free.
    free: Vec<usize>,
}

#[derive(Clone, Copy, Debug)]
struct Key {
    at: u64,
    place: usize,
}

impl<Event> Queue<Event> {
    pub(crate) fn new() -> Self {
        Self { keys: Vec::new(), places: Vec::new(), free: Vec::new() }
    }

    pub(crate) fn push(&mut self, at: u64, event: Event) {
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            self.places.len() - 1
        });
        self.places[place] = Some(event);
        let index = self.keys.iter().rposition(|key| key.at > at).map_or(0, |later| later + 1);
        self.keys.insert(index, Key { at, place });
    }

    /// The next event, and when it happens.
    pub(crate) fn pop(&mut self) -> Option<(u64, Event)> {
        let Key { at, place } = self.keys.pop()?;
        self.free.push(place);
        let event = self.places[place].take().expect("each key has its event");
        Some((at, event))
    }
}
