//! What the join of all pairs keeps: the rows of both sides, by key, and in the order of time.

use std::collections::{BTreeMap, VecDeque};

use crate::{
    stage::keys::{KeyIdx, Keys},
    time::{EventTime, Watermark, Window},
};

pub(super) const LEFT: usize = 0;
pub(super) const RIGHT: usize = 1;

/// A row: its time, and a number that rises in the order in which rows of its side came.
pub(super) type RowId = (EventTime, u64);

/// Where a row is found for as long as it is kept.
pub(super) type Place = u32;

/// About what a row costs beside its bytes and key, for `state_bytes`.
const ROW_BYTES: usize = 12;

/// For how many rows a key that has none may have room: most of them have as few again.
const ROOM_ROWS: usize = 8;

#[derive(Debug)]
pub(super) struct Row {
    pub(super) id: RowId,
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
    /// In the order of (time, arrival).
    rows: [VecDeque<(EventTime, Place)>; 2],
}

#[derive(Debug, Default)]
pub(super) struct Sides {
    keys: Keys<OfKey>,
    sides: [Side; 2],
    n_bytes: usize,
}

#[derive(Debug, Default)]
struct Side {
    /// Places that are free hold a row without bytes, of which there is nothing to be written.
    rows: Vec<Row>,
    free: Vec<Place>,
    /// Those of each ms in the order in which they came.
    by_time: BTreeMap<EventTime, Vec<Place>>,
    next_number: u64,
    dirty: Vec<Place>,
    /// Rows that missed windows which are not closed yet: up to which end. Never written down, as the watermark has risen to their marks
    /// before anything is.
    missed: BTreeMap<RowId, Watermark>,
}

impl Side {
    fn put(&mut self, row: Row) -> Place {
        match self.free.pop() {
            Some(place) => {
                self.rows[place as usize] = row;
                place
            }
            None => {
                self.rows.push(row);
                (self.rows.len() - 1) as Place
            }
        }
    }

    /// Empties a place. The row that was there.
    fn take(&mut self, place: Place) -> Row {
        self.free.push(place);
        let row = &mut self.rows[place as usize];
        let nothing = Row { id: row.id, key: row.key, has_partner: false, packed: Box::default(), dirty: Dirty::Nothing };
        std::mem::replace(row, nothing)
    }

    fn number(&self, place: Place) -> u64 {
        self.rows[place as usize].id.1
    }
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
    pub(super) fn add(&mut self, side: usize, key: KeyIdx, time: EventTime, packed: &[u8]) -> Place {
        let id = (time, self.sides[side].next_number);
        let place = self.restore(side, Row { id, key, has_partner: false, packed: packed.into(), dirty: Dirty::Row });
        self.sides[side].dirty.push(place);
        place
    }

    /// Keeps a row that has an id already.
    pub(super) fn restore(&mut self, side: usize, row: Row) -> Place {
        self.n_bytes += self.keys.bytes(row.key).len() + row.packed.len() + ROW_BYTES;
        let ((time, number), key) = (row.id, row.key);
        let Sides { keys, sides, .. } = self;
        let place = sides[side].put(row);
        let Side { rows, by_time, next_number, .. } = &mut sides[side];
        *next_number = (*next_number).max(number + 1);
        let came_before = |one: &Place| rows[*one as usize].id.1 < number;
        let of_time = by_time.entry(time).or_default();
        // What comes is the newest, but for a row that is restored.
        let newest = of_time.last().is_none_or(came_before);
        of_time.insert(if newest { of_time.len() } else { of_time.partition_point(came_before) }, place);
        let of_key = &mut keys.kept_mut(key).rows[side];
        let is_before = |(at, one): &(EventTime, Place)| *at < time || (*at == time && came_before(one));
        of_key.insert(of_key.partition_point(is_before), (time, place));
        place
    }

    /// The row with this id, if it is kept.
    pub(super) fn find(&self, side: usize, id: RowId) -> Option<Place> {
        self.next(side, id).filter(|place| self.row(side, *place).id == id)
    }

    pub(super) fn row(&self, side: usize, place: Place) -> &Row {
        &self.sides[side].rows[place as usize]
    }

    /// Notes that a row has a partner.
    pub(super) fn set_partner(&mut self, side: usize, place: Place) {
        let Side { rows, dirty, .. } = &mut self.sides[side];
        let row = &mut rows[place as usize];
        if std::mem::replace(&mut row.has_partner, true) {
            return;
        }
        if row.dirty == Dirty::Nothing {
            row.dirty = Dirty::Partner;
            dirty.push(place);
        }
    }

    /// The rows of the other side with the key of a row of `side` and `first <= time <= last`, in the order of (time, arrival).
    pub(super) fn partners(
        &self,
        side: usize,
        of: Place,
        first: EventTime,
        last: EventTime,
    ) -> impl Iterator<Item = (EventTime, Place)> + '_ {
        let OfKey { has_null, rows } = self.keys.kept(self.row(side, of).key);
        let others = &rows[1 - side];
        let start = if *has_null { others.len() } else { others.partition_point(|(time, _)| *time < first) };
        others.range(start..).copied().take_while(move |(time, _)| *time <= last)
    }

    /// The rows of the other side with the key of a row of `side` that count in `window`, in the order of (time, arrival).
    pub(super) fn partners_in(&self, side: usize, of: Place, window: Window) -> impl Iterator<Item = Place> + '_ {
        let partners = self.partners(side, of, window.start(), EventTime(window.end().0 - 1)).map(|(_, partner)| partner);
        partners.filter(move |partner| self.counts_in(1 - side, *partner, window.end()))
    }

    /// A row of `side` came too late for windows that end until `until`.
    pub(super) fn set_missed(&mut self, side: usize, place: Place, until: Watermark) {
        let id = self.row(side, place).id;
        self.sides[side].missed.insert(id, until);
    }

    /// Whether a row was on time for its window that ends at `end`.
    pub(super) fn counts_in(&self, side: usize, place: Place, end: EventTime) -> bool {
        let Side { missed, rows, .. } = &self.sides[side];
        missed.is_empty() || missed.get(&rows[place as usize].id).is_none_or(|until| !until.reached(end))
    }

    /// The windows that end until `until` are closed: who missed them no longer matters.
    pub(super) fn forget_missed(&mut self, until: Watermark) {
        self.sides.iter_mut().for_each(|side| side.missed.retain(|_, missed| *missed > until));
    }

    /// The first row of `side` at or after `from`, in the order of (time, arrival).
    pub(super) fn next(&self, side: usize, from: RowId) -> Option<Place> {
        let side = &self.sides[side];
        let mut of_times = side.by_time.range(from.0..);
        let (time, places) = of_times.next()?;
        let start = if *time == from.0 { places.partition_point(|place| side.number(*place) < from.1) } else { 0 };
        places.get(start).or_else(|| of_times.next()?.1.first()).copied()
    }

    /// Forgets the rows of `side` with a time before `before`.
    pub(super) fn forget_before(&mut self, side: usize, before: EventTime) {
        let Sides { keys, sides, n_bytes } = self;
        while let Some(first) = sides[side].by_time.first_entry().filter(|first| *first.key() < before) {
            for place in first.remove() {
                let row = sides[side].take(place);
                *n_bytes -= keys.bytes(row.key).len() + row.packed.len() + ROW_BYTES;
                let of_key = keys.kept_mut(row.key);
                // Of the first row of all, the key has none before it.
                of_key.rows[side].pop_front();
                if of_key.rows.iter().all(VecDeque::is_empty) {
                    of_key.rows.iter_mut().for_each(|rows| rows.shrink_to(ROOM_ROWS));
                    keys.forget(row.key);
                }
            }
        }
    }

    /// The rows of `side`, in the order of (time, arrival).
    pub(super) fn rows(&self, side: usize) -> impl Iterator<Item = &Row> {
        let Side { rows, by_time, .. } = &self.sides[side];
        by_time.values().flatten().map(|place| &rows[*place as usize])
    }

    /// Gives each row that changed since the last call and is still there, and what of it changed.
    pub(super) fn take_dirty(&mut self, side: usize, mut write: impl FnMut(&[u8], &Row, Dirty)) {
        let Sides { keys, sides, .. } = self;
        let Side { rows, dirty, missed, .. } = &mut sides[side];
        debug_assert!(missed.is_empty(), "rows are written down that the watermark has not come to");
        for place in std::mem::take(dirty) {
            let row = &mut rows[place as usize];
            match std::mem::replace(&mut row.dirty, Dirty::Nothing) {
                // It was forgotten, or what came to its place is written already.
                Dirty::Nothing => {}
                changed => write(keys.bytes(row.key), row, changed),
            }
        }
    }

    /// Bytes of all rows with their keys, and a little for each.
    pub(super) fn n_bytes(&self) -> usize {
        self.n_bytes
    }
}
