//! Events in the order of their time; those of one time in the order in which they were planned.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// The heap moves small keys only; the events stay in their places until they are due.
#[derive(Debug)]
pub(crate) struct Queue<Event> {
    keys: BinaryHeap<Reverse<Key>>,
    places: Vec<Option<Event>>,
    /// Which of the places are free.
    free: Vec<u32>,
    planned: u32,
}

/// When, the how-manieth, and where the event is.
type Key = (u64, u32, u32);

impl<Event> Queue<Event> {
    pub(crate) fn new() -> Self {
        Self { keys: BinaryHeap::new(), places: Vec::new(), free: Vec::new(), planned: 0 }
    }

    pub(crate) fn push(&mut self, at: u64, event: Event) {
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            self.places.len() as u32 - 1
        });
        self.places[place as usize] = Some(event);
        self.planned += 1;
        self.keys.push(Reverse((at, self.planned, place)));
    }

    /// The next event, and when it happens.
    pub(crate) fn pop(&mut self) -> Option<(u64, Event)> {
        let Reverse((at, _, place)) = self.keys.pop()?;
        self.free.push(place);
        let event = self.places[place as usize].take().expect("each key has its event");
        Some((at, event))
    }
}
