//! The panes of one stage, found by when they start.

use std::{collections::BTreeMap, ops::Range};

use super::pane::{ENTRY_BYTES, EntryIdx, Pane};
use crate::{key::HashedKey, time::EventTime};

/// Index of a pane for as long as it lives.
pub(super) type PaneIdx = u32;

/// One key in one pane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) pane: PaneIdx,
    pub(super) entry: EntryIdx,
}

#[derive(Debug, Default)]
pub(super) struct Panes {
    by_start: BTreeMap<EventTime, PaneIdx>,
    slots: Vec<Slot>,
    free: Vec<PaneIdx>,
    /// Panes with dirty entries.
    dirty: Vec<PaneIdx>,
    n_bytes: usize,
}

#[derive(Debug)]
struct Slot {
    start: EventTime,
    pane: Pane,
    n_bytes: usize,
    is_dirty: bool,
}

impl Panes {
    /// The pane that starts at `start`; it is made if need be.
    pub(super) fn find_or_insert(&mut self, start: EventTime) -> PaneIdx {
        let Panes { by_start, slots, free, .. } = self;
        *by_start.entry(start).or_insert_with(|| {
            let slot = Slot { start, pane: Pane::default(), n_bytes: 0, is_dirty: false };
            match free.pop() {
                Some(pane_idx) => {
                    slots[pane_idx as usize] = slot;
                    pane_idx
                }
                None => {
                    slots.push(slot);
                    (slots.len() - 1) as PaneIdx
                }
            }
        })
    }

    pub(super) fn pane(&self, pane: PaneIdx) -> &Pane {
        &self.slots[pane as usize].pane
    }

    /// For looking up and marking; states are set by [`Panes::set_state`], which counts bytes.
    pub(super) fn pane_mut(&mut self, pane: PaneIdx) -> &mut Pane {
        &mut self.slots[pane as usize].pane
    }

    pub(super) fn start(&self, pane: PaneIdx) -> EventTime {
        self.slots[pane as usize].start
    }

    pub(super) fn key(&self, cell: Cell) -> &[u8] {
        self.pane(cell.pane).key(cell.entry)
    }

    pub(super) fn state(&self, cell: Cell) -> &[u8] {
        self.pane(cell.pane).state(cell.entry)
    }

    /// Replaces a state; the next `changes` will write it.
    pub(super) fn set_state(&mut self, cell: Cell, state: &[u8]) {
        self.count_bytes(cell, state);
        let slot = &mut self.slots[cell.pane as usize];
        slot.pane.set_state(cell.entry, state);
        if !std::mem::replace(&mut slot.is_dirty, true) {
            self.dirty.push(cell.pane);
        }
    }

    /// Puts a state that is already written down. Returns its cell, and whether it is a new one.
    pub(super) fn restore_state(&mut self, start: EventTime, key: &[u8], state: &[u8]) -> (Cell, bool) {
        let pane = self.find_or_insert(start);
        let entry = self.pane_mut(pane).find_or_insert(HashedKey::new(key));
        let cell = Cell { pane, entry };
        let is_new = self.state(cell).is_empty();
        self.count_bytes(cell, state);
        self.pane_mut(pane).put_state(entry, state);
        (cell, is_new)
    }

    /// Forgets a key that got no state after all, and its pane if it was the only one.
    pub(super) fn remove_vacant(&mut self, cell: Cell) {
        let slot = &mut self.slots[cell.pane as usize];
        slot.pane.remove_vacant(cell.entry);
        if slot.pane.len() == 0 {
            self.by_start.remove(&slot.start);
            self.free.push(cell.pane);
        }
    }

    /// Forgets all panes that start before `start`.
    pub(super) fn drop_before(&mut self, start: EventTime) {
        while let Some(first) = self.by_start.first_entry()
            && *first.key() < start
        {
            let pane_idx = first.remove();
            let slot = &mut self.slots[pane_idx as usize];
            self.n_bytes -= slot.n_bytes;
            slot.pane = Pane::default();
            if slot.is_dirty {
                self.dirty.retain(|dirty| *dirty != pane_idx);
            }
            self.free.push(pane_idx);
        }
    }

    pub(super) fn starting(&self, start: EventTime) -> Option<PaneIdx> {
        self.by_start.get(&start).copied()
    }

    /// The panes that start in `starts`, in that order.
    pub(super) fn range(&self, starts: Range<EventTime>) -> impl Iterator<Item = PaneIdx> + '_ {
        self.by_start.range(starts).map(|(_, pane_idx)| *pane_idx)
    }

    /// Where the first pane at or after `start` starts.
    pub(super) fn first_start(&self, start: EventTime) -> Option<EventTime> {
        self.by_start.range(start..).next().map(|(start, _)| *start)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_start.is_empty()
    }

    pub(super) fn all(&self) -> impl Iterator<Item = PaneIdx> + '_ {
        self.by_start.values().copied()
    }

    /// The cells that changed since the last call, by pane, in the order in which they first did.
    pub(super) fn take_dirty(&mut self) -> Vec<(PaneIdx, Vec<EntryIdx>)> {
        let Panes { dirty, slots, .. } = self;
        let taken = dirty.drain(..).map(|pane_idx| {
            let slot = &mut slots[pane_idx as usize];
            slot.is_dirty = false;
            (pane_idx, slot.pane.take_dirty())
        });
        taken.collect()
    }

    /// Bytes of all keys and states, and a little for each.
    pub(super) fn n_bytes(&self) -> usize {
        self.n_bytes
    }

    fn count_bytes(&mut self, cell: Cell, state: &[u8]) {
        let slot = &mut self.slots[cell.pane as usize];
        let key_len = slot.pane.key(cell.entry).len();
        let before = match slot.pane.state(cell.entry).len() {
            0 => 0,
            state_len => key_len + state_len + ENTRY_BYTES,
        };
        let after = key_len + state.len() + ENTRY_BYTES;
        slot.n_bytes = slot.n_bytes + after - before;
        self.n_bytes = self.n_bytes + after - before;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_counted_in_and_out() {
        let mut panes = Panes::default();
        let (first, _) = panes.restore_state(EventTime(-10), b"a", b"123");
        panes.restore_state(EventTime(10), b"a", b"123");
        assert_eq!(panes.n_bytes(), 2 * (4 + ENTRY_BYTES));
        panes.set_state(first, b"1");
        assert_eq!(panes.n_bytes(), 2 + ENTRY_BYTES + 4 + ENTRY_BYTES);
        panes.drop_before(EventTime(10));
        assert_eq!(panes.n_bytes(), 4 + ENTRY_BYTES);
        assert_eq!(panes.take_dirty(), []);
        panes.drop_before(EventTime(11));
        assert_eq!((panes.n_bytes(), panes.all().count()), (0, 0));
    }

    #[test]
    fn panes_are_found_by_start() {
        let mut panes = Panes::default();
        for start in [30, -10, 10] {
            panes.restore_state(EventTime(start), b"a", b"1");
        }
        let starts = |panes: &Panes, range: Range<i64>| {
            panes.range(EventTime(range.start)..EventTime(range.end)).map(|idx| panes.start(idx).0).collect::<Vec<_>>()
        };
        assert_eq!(starts(&panes, -10..30), [-10, 10]);
        assert_eq!(panes.first_start(EventTime(11)), Some(EventTime(30)));
        assert_eq!(panes.first_start(EventTime(31)), None);
    }
}
