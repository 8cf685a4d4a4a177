//! Joins: rows of two inputs with one key, near each other in event time.
//!
//! Port 0 is left, port 1 right. A right row matches when `left time − within <= right time <= left time + after`. Null in a key column
//! matches nothing: such a right row is dropped, such a left row has no match. Two ways of matching ([`Matching`]):
//!
//! - *Latest before* (as of; `after` is 0): each left row with the latest right row that matches; among those of one time the one with the
//!   greatest value in the tie column, then the greatest row: so the match never depends on the order of arrival.
//! - *All* (an interval join): a pair for every right row that matches, as often as rows came.
//!
//! What holds for both:
//!
//! - A row with `time < watermark − lateness` is late, on either side; the watermark is the one from before the row.
//! - A left row is *final* once `time + after + lateness < watermark`, strictly, because a right row at exactly `watermark − lateness` is
//!   still accepted. Inner: a left row without a match emits nothing. Outer: it is emitted once it is final.
//! - What is kept: left rows until they are final; right rows while `time + within + lateness >= watermark`. A left row that is not
//!   late has `time >= watermark − lateness`, so no right row that it could match has been purged.
//!
//! When pairs are emitted:
//!
//! - All: when the later one of the two comes, once, since nothing can change it; with the later time of the two.
//! - Latest before with [`Emission::Final`]: when the left row is final, once. With [`Emission::Upsert`]: when `time <= watermark`, again
//!   after each batch that brought a better match, and a last time with `is_final`; if both are due at once, only the last time.
//!
//! Rows that come together are each judged by their own mark, and what is due because of them is done behind them all: the final rows are
//! those of rows that come one by one. For a right row that is not late has `time >= mark − lateness`, so it matches no left row that
//! the mark had made final; and a left row that is not late matches no right row that the mark had purged.
//!
//! What becomes due leaves in the order of (left time, arrival). A left row that the plugin refuses, or breaks on, when it is final is a
//! dead letter; `dead_panes` counts it, since it was accepted when it came. Of an interval join each pair is judged for itself.

use std::collections::{BTreeSet, VecDeque};

use crate::{
    column::Kind,
    key::{encode_key_bytes, has_null},
    packed_row::encode_row,
    plan::{Emission, Matching, StageKind, StagePlan},
    plugin::{PluginFault, Request, Response},
    schema::Schema,
    stage::{Batch, Operator, Outbox, Revision, kept::Kept, lateness::without_late},
    state::{ChangeReader, ChangeWriter, StateError},
    time::{EventTime, Watermark},
};

use pairing::{Pairing, Pairs};
use sides::{LeftId, Right, RightId, Sides};

mod pairing;
mod sides;
mod store;
#[cfg(test)]
mod tests;

const LEFT: usize = 0;

/// The operator of [`StageKind::Join`]. See the module's text.
#[derive(Debug)]
pub struct Join {
    facts: Facts,
    sides: Sides,
    /// Up to where left rows were emitted.
    watermark: Watermark,
    /// Whether the watermark is not written down yet.
    is_watermark_dirty: bool,
    due: Due,
    pairing: Option<Pairing>,
    /// What [`Operator::next_call`] will give.
    pending: Option<Request>,
}

/// What never changes.
#[derive(Debug)]
struct Facts {
    left_columns: Vec<usize>,
    right_columns: Vec<usize>,
    left_key: Vec<usize>,
    right_key: Vec<usize>,
    key_kinds: Vec<Kind>,
    /// Of all columns of the left input: they are all kept, for dead letters.
    left_kinds: Vec<Kind>,
    /// Of the columns of the right input that the plugin reads: nothing else is kept.
    right_kinds: Vec<Kind>,
    tie: Option<usize>,
    tie_kind: Option<Kind>,
    within_ms: i64,
    matching: Matching,
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
    /// A batch made these pairs, of an interval join.
    Pairs(VecDeque<(LeftId, RightId)>),
}

impl Facts {
    /// Whether results come more than once. Pairs of an interval join never change.
    fn is_upsert(&self) -> bool {
        self.emission == Emission::Upsert && self.matching == Matching::LatestBefore
    }
}

impl Join {
    /// The operator of `stage`. Panics if it is of another kind.
    pub fn new(stage: &StagePlan) -> Join {
        let StageKind::Join {
            left_columns,
            right_columns,
            left_key,
            right_key,
            within_ms,
            matching,
            tie,
            outer,
            lateness_ms,
            emission,
            ..
        } = &stage.kind
        else {
            unreachable!("stage \"{}\" is not a join", stage.name);
        };
        let [left, right] = stage.inputs.as_slice() else { unreachable!("join \"{}\" has two inputs", stage.name) };
        assert!(
            *within_ms >= 0 && *lateness_ms >= 0,
            "join \"{}\" looks back {within_ms} ms, waits {lateness_ms} ms",
            stage.name
        );
        let facts = Facts {
            left_columns: left_columns.clone(),
            right_columns: right_columns.clone(),
            left_key: left_key.clone(),
            right_key: right_key.clone(),
            key_kinds: kinds(left, left_key),
            left_kinds: left.fields.iter().map(|field| field.field_type.kind()).collect(),
            right_kinds: kinds(right, right_columns),
            tie: *tie,
            tie_kind: match matching {
                Matching::LatestBefore => tie.map(|column_idx| right.fields[column_idx].field_type.kind()),
                // The number of its arrival, so that equal rows are several.
                Matching::All { .. } => Some(Kind::Int),
            },
            within_ms: *within_ms,
            matching: *matching,
            outer: *outer,
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
            pairing: None,
            pending: None,
        }
    }

    /// Rows before this are late.
    fn on_time_from(&self) -> EventTime {
        EventTime(self.watermark.minus(self.facts.lateness_ms).0)
    }

    /// Left rows before this are final.
    fn final_before(&self) -> EventTime {
        EventTime(self.watermark.minus(self.facts.lateness_ms + self.facts.matching.after_ms()).0)
    }

    fn accept_left(&mut self, batch: &Batch, rows: &[u32]) -> Due {
        let all_columns: Vec<usize> = (0..self.facts.left_kinds.len()).collect();
        let (mut key, mut packed) = (Vec::new(), Vec::new());
        let mut due = self.nothing_due();
        for row in rows.iter().map(|row| *row as usize) {
            key.clear();
            packed.clear();
            encode_key_bytes(&batch.rows, &self.facts.left_key, row, &mut key);
            encode_row(&batch.rows, &all_columns, row, &mut packed);
            let key_idx = self.sides.find_or_insert(&key);
            let id = self.sides.add_left(key_idx, batch.times[row], &packed);
            match &mut due {
                Due::Pairs(pairs) => {
                    let (first, last) = (id.0.0 - self.facts.within_ms, id.0.0 + self.facts.matching.after_ms());
                    let rights = self.sides.rights_between(key_idx, EventTime(first), EventTime(last));
                    pairs.extend(rights.map(|right| (id, right)));
                }
                Due::Rows(ids) if self.watermark.reached(id.0) => drop(ids.insert(id)),
                _ => {}
            }
        }
        due
    }

    /// What [`Join::accept_left`] and [`Join::accept_right`] add to.
    fn nothing_due(&self) -> Due {
        match (self.facts.matching, self.facts.emission) {
            (Matching::All { .. }, _) => Due::Pairs(VecDeque::new()),
            (Matching::LatestBefore, Emission::Upsert) => Due::Rows(BTreeSet::new()),
            (Matching::LatestBefore, Emission::Final) => Due::Nothing,
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
            match self.facts.matching {
                Matching::LatestBefore => encode_key_bytes(&batch.rows, self.facts.tie.as_slice(), row, &mut tie),
                Matching::All { .. } => self.sides.number_right(&mut tie),
            }
            encode_row(&batch.rows, &self.facts.right_columns, row, &mut packed);
            let key_idx = self.sides.find_or_insert(&key);
            let right = Right::new(batch.times[row], &tie, &packed);
            let changed = self.sides.add_right(key_idx, right, self.facts.within_ms);
            match (&mut due, changed) {
                (Due::Pairs(pairs), _) => {
                    let at = batch.times[row];
                    let right = RightId { key: key_idx, time: at, number: self.sides.last_number() };
                    let (first, last) =
                        (EventTime(at.0 - self.facts.matching.after_ms()), EventTime(at.0 + self.facts.within_ms));
                    pairs.extend(self.sides.lefts_between(key_idx, first, last).map(|left| (left, right)));
                }
                (Due::Rows(ids), Some((first, last))) => {
                    ids.extend(self.sides.lefts_between(key_idx, first, last.min(EventTime(self.watermark.0))));
                }
                _ => {}
            }
        }
        due
    }

    /// Finds the next call, and does all that needs none.
    fn settle(&mut self, out: &mut Outbox) {
        loop {
            if let Some(pairing) = &mut self.pairing {
                self.pending = pairing.next_call(&self.facts.left_columns);
                if self.pending.is_some() {
                    return;
                }
            }
            if let Some(pairing) = self.pairing.take() {
                pairing.finish(out);
            }
            let mut pairs = Pairs::new(&self.facts.left_kinds, &self.facts.right_kinds);
            while !pairs.is_full() {
                if let Due::Pairs(due) = &mut self.due {
                    let Some((left, right)) = due.pop_front() else { break };
                    self.push_partners(left, right, &mut pairs);
                } else {
                    let Some((id, is_final)) = self.next_due() else { break };
                    self.push_match(id, is_final, &mut pairs);
                }
            }
            if pairs.is_empty() {
                self.due = Due::Nothing;
                return;
            }
            self.pairing = Some(Pairing::new(pairs));
        }
    }

    /// The next left row to emit, and whether for the last time.
    fn next_due(&mut self) -> Option<(LeftId, bool)> {
        let final_before = self.final_before();
        match &mut self.due {
            Due::Nothing | Due::Pairs(_) => None,
            Due::Rows(ids) => ids.pop_first().map(|id| (id, false)),
            Due::Advance { old, from } => {
                let mut next = self.sides.next_left(*from)?;
                let is_final = next.0 < final_before;
                if !is_final {
                    if self.facts.emission == Emission::Final || self.facts.matching != Matching::LatestBefore {
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

    /// A pair of an interval join.
    fn push_partners(&mut self, id: LeftId, right: RightId, pairs: &mut Pairs) {
        let left = self.sides.left(id).expect("it was there when its partner came");
        let row = self.sides.right(right).expect("it was there when its partner came").row();
        let n_emitted = left.n_emitted;
        pairs.push(id.0.max(right.time), &left.row, Some(row), Revision { rev: 0, is_final: true });
        // Only whether it has a partner matters.
        if n_emitted == 0 {
            self.sides.set_emitted(id, 1);
        }
    }

    /// Finds the match of a left row as it is now; a final row is forgotten. Of an interval join, a final row without a partner.
    fn push_match(&mut self, id: LeftId, is_final: bool, pairs: &mut Pairs) {
        let left = self.sides.left(id).expect("what is due is kept until it is final");
        let n_emitted = left.n_emitted;
        let (right, is_emitted) = match self.facts.matching {
            Matching::LatestBefore => {
                let right = self.sides.latest_before(left.key, id.0, self.facts.within_ms);
                (right, right.is_some() || self.facts.outer)
            }
            Matching::All { .. } => (None, self.facts.outer && n_emitted == 0),
        };
        if is_emitted {
            pairs.push(id.0, &left.row, right.map(Right::row), Revision { rev: n_emitted, is_final });
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
        while let Some(id) = self.sides.next_left((EventTime(i64::MIN), 0)).filter(|id| id.0 < self.final_before()) {
            self.sides.remove_left(id);
        }
    }
}

fn kinds(schema: &Schema, columns: &[usize]) -> Vec<Kind> {
    columns.iter().map(|column_idx| schema.fields[*column_idx].field_type.kind()).collect()
}

impl Operator for Join {
    fn accept(&mut self, port: usize, batch: Batch, marks: &[Watermark], out: &mut Outbox) {
        assert!(port < 2, "a join has two inputs, got rows on port {port}");
        assert!(self.pairing.is_none(), "rows came while calls were open");
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
        assert!(self.pairing.is_none(), "the watermark rose while calls were open");
        if watermark <= self.watermark {
            return;
        }
        self.due = Due::Advance { old: self.watermark, from: (EventTime(i64::MIN), 0) };
        self.watermark = watermark;
        self.is_watermark_dirty = true;
        self.settle(out);
        if self.pairing.is_none() {
            self.purge();
        }
    }

    fn next_call(&mut self) -> Option<Request> {
        self.pending.take()
    }

    fn returned(&mut self, result: Result<Response, PluginFault>, out: &mut Outbox) {
        let pairing = self.pairing.as_mut().expect("an answer follows a call");
        match result {
            Ok(Response::Rows { outputs, rejects }) => pairing.answered(outputs, rejects, self.facts.is_upsert(), out),
            Ok(answer) => unreachable!("an answer to another call, Request::check lets none through: {answer:?}"),
            Err(fault) => pairing.faulted(fault),
        }
        self.settle(out);
        if self.pairing.is_none() {
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
