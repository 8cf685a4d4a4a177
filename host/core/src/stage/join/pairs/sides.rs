//! What the join of all pairs keeps: the rows of both sides, in the order of time, and by key.

use std::collections::{BTreeMap, VecDeque};

use crate::{
    stage::keys::{KeyIdx, Keys},
    time::{EventTime, Watermark, Window},
};

pub(super) const LEFT: usize = 0;
pub(super) const RIGHT: usize = 1;

/// A row: its time, and a number that rises in the order in which rows of its side came.
pub(super) type RowId = (EventTime, u64);

/// About what a row costs beside its bytes and key, for `state_bytes`.
const ROW_BYTES: usize = 12;

#[derive(Debug)]
pub(super) struct Row {
    pub(super) key: KeyIdx,
    /// Whether it was emitted with a partner; known of intervals, and of sides that are kept alone.
    pub(super) has_partner: bool,
    pub(super) packed: Box<[u8]>,
    pub(super) dirty: Dirty,
}

/// What of a row is not written down yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dirty {
    Nothing,
    Partner,
    Row,
}

/// The rows of a key.
#[derive(Debug, Default)]
struct OfKey {
    /// Null is equal to nothing.
    has_null: bool,
    /// Sorted.
    rows: [VecDeque<RowId>; 2],
}

#[derive(Debug, Default)]
pub(super) struct Sides {
    keys: Keys<OfKey>,
    sides: [Side; 2],
    n_bytes: usize,
}

#[derive(Debug, Default)]
struct Side {
    rows: BTreeMap<RowId, Row>,
    next_number: u64,
    dirty: Vec<RowId>,
    /// Rows that missed windows which are not closed yet: up to which end. Never written down, as the watermark has risen to their marks
    /// before anything is.
    missed: BTreeMap<RowId, Watermark>,
}

impl Sides {
    /// The key's index; it is made if need be. `has_null`: it has no partners, whatever comes.
    pub(super) fn find_or_insert(&mut self, key: &[u8], has_null: bool) -> KeyIdx {
        let key_idx = self.keys.find_or_insert(key);
        self.keys.kept_mut(key_idx).has_null = has_null;
        key_idx
    }

    pub(super) fn key(&self, key: KeyIdx) -> &[u8] {
        self.keys.bytes(key)
    }

    /// Keeps a row that came now.
    pub(super) fn add(&mut self, side: usize, key: KeyIdx, time: EventTime, packed: &[u8]) -> RowId {
        let id = (time, self.sides[side].next_number);
        self.restore(side, id, Row { key, has_partner: false, packed: packed.into(), dirty: Dirty::Row });
        self.sides[side].dirty.push(id);
        id
    }

    /// Keeps a row that has an id already.
    pub(super) fn restore(&mut self, side: usize, id: RowId, row: Row) {
        self.n_bytes += self.keys.bytes(row.key).len() + row.packed.len() + ROW_BYTES;
        let of_key = &mut self.keys.kept_mut(row.key).rows[side];
        of_key.insert(of_key.partition_point(|one| *one < id), id);
        let Side { rows, next_number, .. } = &mut self.sides[side];
        *next_number = (*next_number).max(id.1 + 1);
        rows.insert(id, row);
    }

    pub(super) fn row(&self, side: usize, id: RowId) -> Option<&Row> {
        self.sides[side].rows.get(&id)
    }

    /// The values of a row that is kept.
    pub(super) fn packed(&self, side: usize, id: RowId) -> &[u8] {
        &self.sides[side].rows[&id].packed
    }

    pub(super) fn has_partner(&self, side: usize, id: RowId) -> bool {
        self.sides[side].rows[&id].has_partner
    }

    /// Notes that a row, if it is kept, has a partner.
    pub(super) fn set_partner(&mut self, side: usize, id: RowId) {
        let Side { rows, dirty, .. } = &mut self.sides[side];
        let Some(row) = rows.get_mut(&id).filter(|row| !row.has_partner) else { return };
        row.has_partner = true;
        if row.dirty == Dirty::Nothing {
            row.dirty = Dirty::Partner;
            dirty.push(id);
        }
    }

    /// The rows of the other side with the key of row `id` of `side` and `first <= time <= last`, in the order of (time, arrival).
    pub(super) fn partners(&self, side: usize, id: RowId, first: EventTime, last: EventTime) -> impl Iterator<Item = RowId> + '_ {
        let OfKey { has_null, rows } = self.keys.kept(self.sides[side].rows[&id].key);
        let others = &rows[1 - side];
        let start = if *has_null { others.len() } else { others.partition_point(|(time, _)| *time < first) };
        others.range(start..).copied().take_while(move |(time, _)| *time <= last)
    }

    /// The rows of the other side with the key of row `id` of `side` that count in `window`, in the order of (time, arrival).
    pub(super) fn partners_in(&self, side: usize, id: RowId, window: Window) -> impl Iterator<Item = RowId> + '_ {
        let partners = self.partners(side, id, window.start(), EventTime(window.end().0 - 1));
        partners.filter(move |partner| self.counts_in(1 - side, *partner, window.end()))
    }

    /// Row `id` of `side` came too late for windows that end until `until`.
    pub(super) fn set_missed(&mut self, side: usize, id: RowId, until: Watermark) {
        self.sides[side].missed.insert(id, until);
    }

    /// Whether a row was on time for its window that ends at `end`.
    pub(super) fn counts_in(&self, side: usize, id: RowId, end: EventTime) -> bool {
        self.sides[side].missed.get(&id).is_none_or(|until| !until.reached(end))
    }

    /// The windows that end until `until` are closed: who missed them no longer matters.
    pub(super) fn forget_missed(&mut self, until: Watermark) {
        self.sides.iter_mut().for_each(|side| side.missed.retain(|_, missed| *missed > until));
    }

    /// The first row of `side` at or after `from`, in the order of (time, arrival).
    pub(super) fn next(&self, side: usize, from: RowId) -> Option<RowId> {
        self.sides[side].rows.range(from..).next().map(|(id, _)| *id)
    }

    /// Forgets the rows of `side` with a time before `before`.
    pub(super) fn forget_before(&mut self, side: usize, before: EventTime) {
        let Sides { keys, sides, n_bytes } = self;
        while let Some(first) = sides[side].rows.first_entry().filter(|first| first.key().0 < before) {
            let row = first.remove();
            *n_bytes -= keys.bytes(row.key).len() + row.packed.len() + ROW_BYTES;
            let of_key = keys.kept_mut(row.key);
            // Of the first row of all, the key has none before it.
            of_key.rows[side].pop_front();
            if of_key.rows.iter().all(VecDeque::is_empty) {
                keys.forget(row.key);
            }
        }
    }

    pub(super) fn rows(&self, side: usize) -> impl Iterator<Item = (RowId, &Row)> {
        self.sides[side].rows.iter().map(|(id, row)| (*id, row))
    }

    /// The rows that changed since the last call and are still there, and what of them changed.
    pub(super) fn take_dirty(&mut self, side: usize) -> Vec<(RowId, Dirty)> {
        let Side { rows, dirty, missed, .. } = &mut self.sides[side];
        debug_assert!(missed.is_empty(), "rows are written down that the watermark has not come to");
        let mut taken = Vec::new();
        for id in std::mem::take(dirty) {
            if let Some(row) = rows.get_mut(&id) {
                taken.push((id, std::mem::replace(&mut row.dirty, Dirty::Nothing)));
            }
        }
        taken
    }

    /// Bytes of all rows with their keys, and a little for each.
    pub(super) fn n_bytes(&self) -> usize {
        self.n_bytes
    }
}
