//! For windows of several panes: which panes each key is in, and what of their merging is done already.
//!
//! A window that slides by one pane shares all others with the one before. So each key keeps *two stacks*: the oldest cells as
//! suffixes (each merged with all that are younger, up to a border), the younger ones as one state. A window is then one suffix
//! and that one state: at most two parts, whatever the number of panes, and a cell is merged at most twice in its life. When the
//! suffixes are used up, the younger cells become suffixes ([`super::merging`] does so, since merging is a plugin's work).
//!
//! All of this is derived from the panes and is never stored.
//!
//! Source: Tangwongsan, Hirzel, Schneider, "Low-latency sliding-window aggregation in worst-case constant time", DEBS 2017,
//! section 3 (two-stacks, amortised constant).

use std::{collections::VecDeque, ops::Range};

use hashbrown::HashTable;

use super::panes::{Cell, Panes};
use crate::{
    key::{HashedKey, KeyHash},
    time::{EventTime, Window},
};

/// Index of a key's trail for as long as the key is in any pane.
pub(super) type TrailIdx = u32;

/// All keys of a stage.
#[derive(Debug, Default)]
pub(super) struct Trails {
    table: HashTable<Slot>,
    trails: Vec<Trail>,
    free: Vec<TrailIdx>,
    /// In the order of their keys, but for `fresh`.
    sorted: Vec<TrailIdx>,
    fresh: Vec<TrailIdx>,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    hash: KeyHash,
    trail: TrailIdx,
}

/// One key: its cells by the start of their panes, and the two stacks of each sequence of windows.
#[derive(Debug, Default)]
pub(super) struct Trail {
    key: Box<[u8]>,
    pub(super) cells: VecDeque<(EventTime, Cell)>,
    /// By [`Sequence`].
    pub(super) stacks: [Stacks; 2],
}

/// Windows fire in the order of their ends within each of these.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Sequence {
    /// Windows that fire for the first time.
    First = 0,
    /// Windows that have fired and become final.
    Again = 1,
}

/// The two stacks of one key.
#[derive(Debug)]
pub(super) struct Stacks {
    /// (start of the oldest pane in it, state): the last one is the longest and starts with the oldest cell.
    pub(super) suffixes: Vec<(EventTime, Piece)>,
    /// The cells between the suffixes and `upto`.
    pub(super) young: Option<(EventTime, Piece)>,
    /// Cells of panes that start before this are in the stacks, or too old for any window to come.
    pub(super) upto: EventTime,
}

/// A state: of one cell, or merged.
#[derive(Clone, Debug)]
pub(super) enum Piece {
    Cell(Cell),
    Merged(Box<[u8]>),
}

impl Piece {
    pub(super) fn state<'a>(&'a self, panes: &'a Panes) -> &'a [u8] {
        match self {
            Piece::Cell(cell) => panes.state(*cell),
            Piece::Merged(state) => state,
        }
    }
}

const NEVER: EventTime = EventTime(i64::MIN);

impl Default for Stacks {
    fn default() -> Stacks {
        Stacks { suffixes: Vec::new(), young: None, upto: NEVER }
    }
}

impl Stacks {
    /// Forgets all merging.
    pub(super) fn clear(&mut self) {
        *self = Stacks::default();
    }

    /// The cell of the pane at `start` has changed, or is new: forgets what it is merged into.
    fn changed(&mut self, start: EventTime) {
        if start >= self.upto {
            return;
        }
        match self.suffixes.first() {
            Some((youngest, _)) if start <= *youngest => self.clear(),
            _ => {
                let first = self.young.take().map_or(start, |(first, _)| first.min(start));
                self.upto = first;
            }
        }
    }
}

impl Trail {
    /// The positions in `cells` of the panes that start in `starts`.
    pub(super) fn range(&self, starts: Range<EventTime>) -> Range<usize> {
        let before = |start: EventTime| self.cells.partition_point(|(at, _)| *at < start);
        before(starts.start)..before(starts.end)
    }
}

impl Trails {
    pub(super) fn trail(&self, trail: TrailIdx) -> &Trail {
        &self.trails[trail as usize]
    }

    pub(super) fn trail_mut(&mut self, trail: TrailIdx) -> &mut Trail {
        &mut self.trails[trail as usize]
    }

    pub(super) fn key(&self, trail: TrailIdx) -> &[u8] {
        &self.trails[trail as usize].key
    }

    /// A key has its first state in a pane.
    pub(super) fn born(&mut self, panes: &Panes, cell: Cell) {
        let start = panes.start(cell.pane);
        let trail_idx = self.find_or_insert(HashedKey::new(panes.key(cell)));
        let trail = &mut self.trails[trail_idx as usize];
        let at = trail.range(start..start).start;
        trail.cells.insert(at, (start, cell));
        trail.stacks.iter_mut().for_each(|stacks| stacks.changed(start));
    }

    /// A cell that is known has another state.
    pub(super) fn changed(&mut self, panes: &Panes, cell: Cell) {
        if let Some(trail) = self.find(HashedKey::new(panes.key(cell))) {
            let start = panes.start(cell.pane);
            self.trails[trail as usize].stacks.iter_mut().for_each(|stacks| stacks.changed(start));
        }
    }

    /// The keys that have cells in `window`, in their order. Cells before `oldest` are forgotten, and keys without any.
    ///
    /// Costs a look at every key: as much as firing them.
    pub(super) fn open(&mut self, window: Window, oldest: EventTime) -> Vec<TrailIdx> {
        self.sort_fresh();
        let mut into = Vec::new();
        let mut sorted = std::mem::take(&mut self.sorted);
        sorted.retain(|trail_idx| {
            let trail = &mut self.trails[*trail_idx as usize];
            while trail.cells.front().is_some_and(|(start, _)| *start < oldest) {
                trail.cells.pop_front();
            }
            if trail.cells.is_empty() {
                self.forget(*trail_idx);
                return false;
            }
            let first = trail.cells[0].0;
            let is_in = if first >= window.start() {
                first < window.end()
            } else {
                !trail.range(window.start()..window.end()).is_empty()
            };
            if is_in {
                into.push(*trail_idx);
            }
            true
        });
        self.sorted = sorted;
        into
    }

    pub(super) fn clear(&mut self) {
        *self = Trails::default();
    }

    fn find(&self, key: HashedKey<'_>) -> Option<TrailIdx> {
        let same = |slot: &Slot| slot.hash == key.hash && *self.trails[slot.trail as usize].key == *key.bytes;
        self.table.find(key.hash.spread(), same).map(|slot| slot.trail)
    }

    fn find_or_insert(&mut self, key: HashedKey<'_>) -> TrailIdx {
        if let Some(trail) = self.find(key) {
            return trail;
        }
        let trail = Trail { key: key.bytes.into(), ..Trail::default() };
        let trail_idx = match self.free.pop() {
            Some(trail_idx) => {
                self.trails[trail_idx as usize] = trail;
                trail_idx
            }
            None => {
                self.trails.push(trail);
                (self.trails.len() - 1) as TrailIdx
            }
        };
        self.table.insert_unique(key.hash.spread(), Slot { hash: key.hash, trail: trail_idx }, |slot| slot.hash.spread());
        self.fresh.push(trail_idx);
        trail_idx
    }

    fn forget(&mut self, trail_idx: TrailIdx) {
        let hash = HashedKey::new(&self.trails[trail_idx as usize].key).hash;
        if let Ok(found) = self.table.find_entry(hash.spread(), |slot| slot.trail == trail_idx) {
            found.remove();
        }
        self.trails[trail_idx as usize] = Trail::default();
        self.free.push(trail_idx);
    }

    /// Merges the keys that came since the last time into the sorted ones.
    fn sort_fresh(&mut self) {
        if self.fresh.is_empty() {
            return;
        }
        let Trails { trails, sorted, fresh, .. } = self;
        sorted.append(fresh);
        // Stable sorting finds the sorted run in front and merges: linear but for the fresh ones.
        sorted.sort_by(|a, b| trails[*a as usize].key.cmp(&trails[*b as usize].key));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(start: i64, end: i64) -> Window {
        Window::new(EventTime(start), EventTime(end))
    }

    #[test]
    fn keys_are_listed_in_order_while_they_have_cells() {
        let (mut panes, mut trails) = (Panes::default(), Trails::default());
        for (start, key) in [(20, "b"), (0, "c"), (0, "a"), (10, "c"), (30, "a")] {
            let (cell, _) = panes.restore_state(EventTime(start), key.as_bytes(), b"1");
            trails.born(&panes, cell);
        }
        let mut keys = |of: Window, oldest: i64| {
            let open = trails.open(of, EventTime(oldest));
            open.iter().map(|trail| String::from_utf8(trails.key(*trail).to_vec()).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(keys(window(0, 10), 0), ["a", "c"]);
        assert_eq!(keys(window(0, 30), 0), ["a", "b", "c"]);
        assert_eq!(keys(window(10, 30), 10), ["b", "c"]);
        assert_eq!(keys(window(20, 50), 20), ["a", "b"]);
        assert_eq!(trails.table.len(), 2);
    }

    #[test]
    fn a_change_spoils_what_it_is_merged_into_and_nothing_else() {
        let merged = |start: i64| (EventTime(start), Piece::Merged(b"m".as_slice().into()));
        let stacks = || Stacks { suffixes: vec![merged(20), merged(10)], young: Some(merged(40)), upto: EventTime(60) };
        let left = |start: i64| {
            let mut stacks = stacks();
            stacks.changed(EventTime(start));
            (stacks.suffixes.len(), stacks.young.is_some(), stacks.upto.0)
        };
        assert_eq!(left(60), (2, true, 60));
        assert_eq!(left(50), (2, false, 40));
        assert_eq!(left(40), (2, false, 40));
        assert_eq!(left(30), (2, false, 30));
        assert_eq!(left(20), (0, false, i64::MIN));
        assert_eq!(left(0), (0, false, i64::MIN));
    }
}
