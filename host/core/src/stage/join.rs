//! Joins: rows of two inputs with one key, near each other in event time.
//!
//! Port 0 is left, port 1 right. Null in a key column matches nothing. This is the join *latest before* (as of); the one that makes all
//! pairs, of an interval or of windows, is in [`pairs`].
//!
//! Each left row gets the latest right row with `left time − within <= right time <= left time`; among those of one time the one with the
//! greatest value in the tie column, then the greatest row: so the match never depends on the order of arrival.
//!
//! - A row with `time < watermark − lateness` is late, on either side; the watermark is the one from before the row.
//! - A left row is *final* once `time + lateness < watermark`, strictly, because a right row at exactly `watermark − lateness` is
//!   still accepted. Inner: a left row without a match emits nothing. Left: it is emitted once it is final.
//! - What is kept: left rows until they are final; right rows while `time + within + lateness >= watermark`. A left row that is not
//!   late has `time >= watermark − lateness`, so no right row that it could match has been purged.
//! - With [`Emission::Final`] a left row is emitted when it is final, once. With [`Emission::Upsert`]: when `time <= watermark`, again
//!   after each batch that brought a better match, and a last time with `is_final`; if both are due at once, only the last time.
//!
//! Rows that come together are each judged by their own mark, and what is due because of them is done behind them all: the final rows are
//! those of rows that come one by one. For a right row that is not late has `time >= mark − lateness`, so it matches no left row that
//! the mark had made final; and a left row that is not late matches no right row that the mark had purged.
//!
//! What becomes due leaves in the order of (left time, arrival). A left row that the plugin refuses, or breaks on, when it is final is a
//! dead letter; `dead_panes` counts it, since it was accepted when it came.

use std::collections::BTreeSet;

use crate::{
    column::Kind,
    key::{encode_key_bytes, has_null},
    packed_row::encode_row,
    plan::{Emission, JoinKind, Matching, StageKind, StagePlan},
    plugin::{PluginFault, Request, Response},
    schema::Schema,
    stage::{Batch, Operator, Outbox, Revision, kept::Kept, lateness::without_late},
    state::{ChangeReader, ChangeWriter, StateError},
    time::{EventTime, Watermark},
};

use pairing::{Calls, Columns, Pairs, kinds};
use sides::{LeftId, Right, Sides};

mod pairing;
pub mod pairs;
mod sides;
mod store;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

const LEFT: usize = 0;
const RIGHT: usize = 1;

/// The columns that are kept of the rows of a join of `inputs` whose plugin reads the columns `read` of the right one.
///
/// A side whose rows can die without a partner is kept whole, for dead letters: the left one always, the right one if its rows are emitted
/// alone.
pub(crate) fn kept_columns(inputs: &[Schema], read: &[usize], right_alone: bool) -> [Vec<usize>; 2] {
    let whole = |side: usize| (0..inputs[side].len()).collect::<Vec<_>>();
    [whole(LEFT), if right_alone { whole(RIGHT) } else { read.to_vec() }]
}

/// The operator of [`StageKind::Join`] with [`Matching::LatestBefore`]. See the module's text.
#[derive(Debug)]
pub struct Join {
    facts: Facts,
    sides: Sides,
    /// Up to where left rows were emitted.
    watermark: Watermark,
    /// Whether the watermark is not written down yet.
    is_watermark_dirty: bool,
    due: Due,
    calls: Calls,
}

/// What never changes.
#[derive(Debug)]
struct Facts {
    columns: Columns,
    left_key: Vec<usize>,
    right_key: Vec<usize>,
    key_kinds: Vec<Kind>,
    tie: Option<usize>,
    tie_kind: Option<Kind>,
    within_ms: i64,
    /// Whether a left row without a match is emitted too.
    outer: bool,
    lateness_ms: i64,
    emission: Emission,
}

/// The left rows that are still to be emitted.
#[derive(Debug)]
enum Due {
    Nothing,
    /// The watermark has risen from `old`; left rows before `from` are done.
    Advance {
        old: Watermark,
        from: LeftId,
    },
    /// A batch brought these a match, or came after the watermark had passed them.
    Rows(BTreeSet<LeftId>),
}

impl Join {
    /// The operator of `stage`. Panics if it is of another kind.
    pub fn new(stage: &StagePlan) -> Join {
        let StageKind::Join {
            left_columns,
            right_columns,
            left_key,
            right_key,
            matching: Matching::LatestBefore { within_ms },
            tie,
            join: join @ (JoinKind::Inner | JoinKind::Left),
            lateness_ms,
            emission,
            ..
        } = &stage.kind
        else {
            unreachable!("stage \"{}\" is not a latest-before join, inner or left", stage.name);
        };
        let [left, right] = stage.inputs.as_slice() else { unreachable!("join \"{}\" has two inputs", stage.name) };
        assert!(
            *within_ms >= 0 && *lateness_ms >= 0,
            "join \"{}\" looks back {within_ms} ms, waits {lateness_ms} ms",
            stage.name
        );
        let facts = Facts {
            columns: Columns::new(&stage.inputs, [left_columns, right_columns], false),
            left_key: left_key.clone(),
            right_key: right_key.clone(),
            key_kinds: kinds(left, left_key),
            tie: *tie,
            tie_kind: tie.map(|column_idx| right.fields[column_idx].field_type.kind()),
            within_ms: *within_ms,
            outer: join.keeps_left(),
            lateness_ms: *lateness_ms,
            emission: *emission,
        };
        assert_eq!(facts.key_kinds, kinds(right, right_key), "the keys of join \"{}\"", stage.name);
        Join {
            facts,
            sides: Sides::default(),
            watermark: Watermark::UNKNOWN,
            is_watermark_dirty: false,
            due: Due::Nothing,
            calls: Calls::default(),
        }
    }

    /// Rows before this are late, and left rows before it final.
    fn on_time_from(&self) -> EventTime {
        EventTime(self.watermark.minus(self.facts.lateness_ms).0)
    }

    fn accept_left(&mut self, batch: &Batch, rows: &[u32]) -> Due {
        let (mut key, mut packed) = (Vec::new(), Vec::new());
        let mut due = self.nothing_due();
        for row in rows.iter().map(|row| *row as usize) {
            key.clear();
            packed.clear();
            encode_key_bytes(&batch.rows, &self.facts.left_key, row, &mut key);
            encode_row(&batch.rows, &self.facts.columns.kept[LEFT], row, &mut packed);
            let key_idx = self.sides.find_or_insert(&key);
            let id = self.sides.add_left(key_idx, batch.times[row], &packed);
            if let Due::Rows(ids) = &mut due
                && self.watermark.reached(id.0)
            {
                ids.insert(id);
            }
        }
        due
    }

    /// What [`Join::accept_left`] and [`Join::accept_right`] add to.
    fn nothing_due(&self) -> Due {
        match self.facts.emission {
            Emission::Upsert => Due::Rows(BTreeSet::new()),
            Emission::Final => Due::Nothing,
        }
    }

    fn accept_right(&mut self, batch: &Batch, rows: &[u32]) -> Due {
        let (mut key, mut tie, mut packed) = (Vec::new(), Vec::new(), Vec::new());
        let mut due = self.nothing_due();
        for row in rows.iter().map(|row| *row as usize) {
            // No left row finds a right row with null in its key: none is kept.
            if has_null(&batch.rows, &self.facts.right_key, row) {
                continue;
            }
            key.clear();
            tie.clear();
            packed.clear();
            encode_key_bytes(&batch.rows, &self.facts.right_key, row, &mut key);
            encode_key_bytes(&batch.rows, self.facts.tie.as_slice(), row, &mut tie);
            encode_row(&batch.rows, &self.facts.columns.kept[RIGHT], row, &mut packed);
            let key_idx = self.sides.find_or_insert(&key);
            let right = Right::new(batch.times[row], &tie, &packed);
            let changed = self.sides.add_right(key_idx, right, self.facts.within_ms);
            if let (Due::Rows(ids), Some((first, last))) = (&mut due, changed) {
                ids.extend(self.sides.lefts_between(key_idx, first, last.min(EventTime(self.watermark.0))));
            }
        }
        due
    }

    /// Finds the next call, and does all that needs none.
    fn settle(&mut self, out: &mut Outbox) {
        while !self.calls.go_on(&self.facts.columns, out) {
            let mut pairs = Pairs::new(&self.facts.columns);
            while !pairs.is_full() {
                let Some((id, is_final)) = self.next_due() else { break };
                self.push_match(id, is_final, &mut pairs);
            }
            if !self.calls.open(pairs) {
                self.due = Due::Nothing;
                return;
            }
        }
    }

    /// The next left row to emit, and whether for the last time.
    fn next_due(&mut self) -> Option<(LeftId, bool)> {
        let final_before = self.on_time_from();
        match &mut self.due {
            Due::Nothing => None,
            Due::Rows(ids) => ids.pop_first().map(|id| (id, false)),
            Due::Advance { old, from } => {
                let mut next = self.sides.next_left(*from)?;
                let is_final = next.0 < final_before;
                if !is_final {
                    if self.facts.emission == Emission::Final {
                        return None;
                    }
                    // Left rows that the watermark had passed before are due again only when they are final.
                    let first = EventTime(old.0.saturating_add(1)).max(final_before);
                    if next.0 < first {
                        next = self.sides.next_left((first, 0))?;
                    }
                    if !self.watermark.reached(next.0) {
                        return None;
                    }
                }
                *from = (next.0, next.1 + 1);
                Some((next, is_final))
            }
        }
    }

    /// Finds the match of a left row as it is now; a final row is forgotten.
    fn push_match(&mut self, id: LeftId, is_final: bool, pairs: &mut Pairs) {
        let left = self.sides.left(id).expect("what is due is kept until it is final");
        let n_emitted = left.n_emitted;
        let right = self.sides.latest_before(left.key, id.0, self.facts.within_ms);
        let is_emitted = right.is_some() || self.facts.outer;
        if is_emitted {
            pairs.push(id.0, [Some(&left.row), right.map(Right::row)], Revision { rev: n_emitted, is_final });
        }
        if is_final {
            self.sides.remove_left(id);
        } else if is_emitted {
            self.sides.set_emitted(id, n_emitted + 1);
        }
    }

    /// Forgets right rows that no left row can match any more.
    fn purge(&mut self) {
        self.sides.purge_rights(EventTime(self.on_time_from().0.saturating_sub(self.facts.within_ms)));
    }

    /// Forgets left rows that are final, and so were emitted.
    fn forget_final_lefts(&mut self) {
        while let Some(id) = self.sides.next_left((EventTime(i64::MIN), 0)).filter(|id| id.0 < self.on_time_from()) {
            self.sides.remove_left(id);
        }
    }
}

impl Operator for Join {
    fn accept(&mut self, port: usize, batch: Batch, marks: &[Watermark], out: &mut Outbox) {
        assert!(port < 2, "a join has two inputs, got rows on port {port}");
        assert!(!self.calls.are_open(), "rows came while calls were open");
        debug_assert!(marks.iter().all(|mark| *mark >= self.watermark), "rows are judged by less than {}", self.watermark);
        let rows = without_late(port, &batch, marks, self.facts.lateness_ms, out);
        out.counts.rows_in += batch.len() as u64;
        out.counts.accepted += rows.len() as u64;
        self.due = match port {
            LEFT => self.accept_left(&batch, &rows),
            _ => self.accept_right(&batch, &rows),
        };
        self.settle(out);
    }

    fn advance(&mut self, watermark: Watermark, out: &mut Outbox) {
        assert!(!self.calls.are_open(), "the watermark rose while calls were open");
        if watermark <= self.watermark {
            return;
        }
        self.due = Due::Advance { old: self.watermark, from: (EventTime(i64::MIN), 0) };
        self.watermark = watermark;
        self.is_watermark_dirty = true;
        self.settle(out);
        if !self.calls.are_open() {
            self.purge();
        }
    }

    fn next_call(&mut self) -> Option<Request> {
        self.calls.next()
    }

    fn returned(&mut self, result: Result<Response, PluginFault>, out: &mut Outbox) {
        self.calls.returned(result, self.facts.emission == Emission::Upsert, out);
        self.settle(out);
        if !self.calls.are_open() {
            self.purge();
        }
    }

    fn changes(&mut self, to: &mut ChangeWriter) {
        store::write_changes(self, to);
    }

    fn image(&mut self, to: &mut ChangeWriter) {
        store::write_image(self, to);
    }

    fn restore(&mut self, from: &mut ChangeReader<'_>) -> Result<(), StateError> {
        store::restore(self, from)
    }

    fn kept(&self, each: &mut dyn FnMut(Kept<'_>)) {
        self.sides.rights().for_each(|(key, right)| each(Kept::Right { key, time: right.time, row: right.row() }));
        for ((time, _), left) in self.sides.lefts() {
            each(Kept::Left { key: self.sides.key(left.key), time, n_emitted: left.n_emitted, row: &left.row });
        }
    }

    fn state_bytes(&self) -> usize {
        self.sides.n_bytes()
    }
}
