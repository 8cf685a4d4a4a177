//! Lookups: each row with what a table said of its key at its event time.
//!
//! Port 0 are rows, port 1 the table: versions, each valid from its event time on until the next one of its key; a version may say that the
//! key was deleted. A row at `t` gets the version with the greatest time `<= t`; of versions of one time the last to come. Null in a key
//! column matches nothing.
//!
//! - A row waits until the *table's* watermark is past its time, strictly: a version of exactly that time may still come. Then it is looked
//!   up, once, and emitted. So the answer never depends on which of the two streams was faster, and is the same on replay. A table that
//!   is idle has come as far as the rows (`task::stages::raise`): nobody waits for one that says nothing.
//! - A version is late when its time is before the table's watermark from before it: rows may have been looked up without it.
//! - A row is late when `time < watermark − lateness`, the watermark being the lower one of rows and table; without a lateness none is.
//! - What is kept: rows that wait; of each key the versions from `watermark − lateness` on, and the one before them, unless it says that
//!   the key was deleted. Without a lateness all versions.
//! - Inner: a row without a version emits nothing. Outer: it is emitted without one.
//! - A row that the plugin refuses or breaks on is a dead letter; `dead_panes` counts it, since it was accepted when it came.
//!
//! Rows that need not wait leave in the order in which they came, with their marks, as through a transform; rows that waited in the order of
//! their times. Source of the idea: temporal table joins as of event time, as in SQL:2011 (`FOR SYSTEM_TIME AS OF`).

use crate::{
    column::{Bitmap, Kind, Rows, Value},
    key::{empty_columns, encode_key_bytes, has_null},
    packed_row::{decode_row, encode_row},
    plan::{StageKind, StagePlan},
    plugin::{PluginFault, Request, Response},
    schema::Schema,
    stage::{
        Batch, DeadReason, DeadRows, Operator, Outbox, RowsOf,
        bisect::{Bisect, Failed},
        kept::Kept,
        lateness::without_late,
        transform::route,
    },
    state::{ChangeReader, ChangeWriter, StateError},
    time::{EventTime, Watermark},
};

use versions::{Version, Versions};
use waiting::Waiting;

mod store;
#[cfg(test)]
mod tests;
mod versions;
mod waiting;

const ROWS: usize = 0;
const TABLE: usize = 1;
/// The most rows of one call.
const CALL_ROWS_MAX: usize = 4096;
/// A call of rows that waited ends once they have more bytes than this.
const CALL_BYTES_MAX: usize = 4 << 20;

/// The operator of [`StageKind::Lookup`]. See the module's text.
#[derive(Debug)]
pub struct Lookup {
    facts: Facts,
    versions: Versions,
    waiting: Waiting,
    /// Of rows and table together.
    watermark: Watermark,
    /// Of the table alone: rows before it are looked up.
    table: Watermark,
    is_watermark_dirty: bool,
    open: Option<Open>,
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
    /// Of all columns of the rows: they are all kept, for dead letters.
    left_kinds: Vec<Kind>,
    /// Of the columns of the table that the plugin reads: nothing else is kept.
    right_kinds: Vec<Kind>,
    deleted: usize,
    outer: bool,
    lateness_ms: Option<i64>,
}

/// Rows on their way through the plugin, each with its version.
#[derive(Debug)]
struct Open {
    batch: Batch,
    versions: Rows,
    matched: Bitmap,
    bisect: Bisect,
}

impl Lookup {
    /// The operator of `stage`. Panics if it is of another kind.
    pub fn new(stage: &StagePlan) -> Lookup {
        let StageKind::Lookup {
            left_columns,
            right_columns,
            left_key,
            right_key,
            deleted,
            outer,
            lateness_ms,
            is_broadcast: _,
            plugin: _,
        } = &stage.kind
        else {
            unreachable!("stage \"{}\" is no lookup", stage.name);
        };
        let [left, right] = stage.inputs.as_slice() else { unreachable!("lookup \"{}\" has two inputs", stage.name) };
        let facts = Facts {
            left_columns: left_columns.clone(),
            right_columns: right_columns.clone(),
            left_key: left_key.clone(),
            right_key: right_key.clone(),
            key_kinds: kinds(left, left_key),
            left_kinds: left.fields.iter().map(|field| field.field_type.kind()).collect(),
            right_kinds: kinds(right, right_columns),
            deleted: *deleted,
            outer: *outer,
            lateness_ms: *lateness_ms,
        };
        assert_eq!(facts.key_kinds, kinds(right, right_key), "the keys of lookup \"{}\"", stage.name);
        Lookup {
            facts,
            versions: Versions::default(),
            waiting: Waiting::default(),
            watermark: Watermark::UNKNOWN,
            table: Watermark::UNKNOWN,
            is_watermark_dirty: false,
            open: None,
            pending: None,
        }
    }

    /// Rows that wait for the table to come past them.
    pub fn n_waiting(&self) -> usize {
        self.waiting.len()
    }

    /// No row before this will be looked up any more.
    fn floor(&self) -> Watermark {
        let rows = match self.facts.lateness_ms {
            Some(lateness_ms) => self.watermark.minus(lateness_ms),
            None if self.watermark == Watermark::END => Watermark::END,
            None => Watermark::UNKNOWN,
        };
        rows.min(self.table)
    }

    /// Looks up the rows that need not wait, and keeps the others.
    fn take_rows(&mut self, batch: Batch, rows: &[u32]) {
        let is_known = |row: &u32| batch.times[*row as usize].0 < self.table.0;
        let (now, later): (Vec<u32>, Vec<u32>) = rows.iter().partition(|row| is_known(row));
        let all_columns: Vec<usize> = (0..self.facts.left_kinds.len()).collect();
        let (mut key, mut packed) = (Vec::new(), Vec::new());
        for row in later.iter().map(|row| *row as usize) {
            packed.clear();
            self.key_of(&batch.rows, row, &mut key);
            encode_row(&batch.rows, &all_columns, row, &mut packed);
            self.waiting.add(batch.times[row], &key, &packed);
        }
        let mut looked_up = Looked::new(&self.facts);
        let mut kept: Vec<u32> = Vec::with_capacity(now.len());
        for row in now {
            self.key_of(&batch.rows, row as usize, &mut key);
            if looked_up.push(self.versions.as_of(&key, batch.times[row as usize])) {
                kept.push(row);
            }
        }
        let batch = if kept.len() == batch.len() { batch } else { batch.take(&kept) };
        self.open = looked_up.open(batch);
    }

    /// The key bytes of a row; none if there is null among them, which no key has.
    fn key_of(&self, rows: &Rows, row: usize, key: &mut Vec<u8>) {
        key.clear();
        if !has_null(rows, &self.facts.left_key, row) {
            encode_key_bytes(rows, &self.facts.left_key, row, key);
        }
    }

    /// The next rows that need not wait any more.
    fn release(&mut self) -> Option<Open> {
        let (mut left, mut times, mut n_bytes) = (empty_columns(&self.facts.left_kinds), Vec::new(), 0);
        let mut looked_up = Looked::new(&self.facts);
        while times.len() < CALL_ROWS_MAX
            && n_bytes < CALL_BYTES_MAX
            && let Some((time, row)) = self.waiting.take_before(EventTime(self.table.0))
        {
            if looked_up.push(self.versions.as_of(&row.key, time)) {
                decode_row(&row.row, &mut left).expect("rows are packed here, and checked when restored");
                n_bytes += row.row.len();
                times.push(time);
            }
        }
        let rows = Rows::new(times.len(), left).expect("each row has one value for each column");
        looked_up.open(Batch::made(rows, times, None))
    }

    /// Finds the next call, and does all that needs none.
    fn settle(&mut self) {
        loop {
            if self.open.is_none() {
                self.open = self.release();
            }
            let Some(open) = &mut self.open else {
                let floor = self.floor();
                return self.versions.purge(floor);
            };
            self.pending = open.next_call(&self.facts.left_columns);
            if self.pending.is_some() {
                return;
            }
            self.open = None;
        }
    }
}

/// Versions found for rows, one after the other.
struct Looked {
    outer: bool,
    versions: Vec<crate::column::Column>,
    matched: Bitmap,
}

impl Looked {
    fn new(facts: &Facts) -> Looked {
        Looked { outer: facts.outer, versions: empty_columns(&facts.right_kinds), matched: Bitmap::default() }
    }

    /// Takes the version of the next row. Whether the row goes to the plugin.
    fn push(&mut self, version: Option<&[u8]>) -> bool {
        match version {
            Some(row) => decode_row(row, &mut self.versions).expect("rows are packed here, and checked when restored"),
            None if !self.outer => return false,
            None => self.versions.iter_mut().for_each(|column| column.push(Value::Null)),
        }
        self.matched.push(version.is_some());
        true
    }

    /// `batch`: the rows that go to the plugin.
    fn open(self, batch: Batch) -> Option<Open> {
        if batch.is_empty() {
            return None;
        }
        let versions = Rows::new(batch.len(), self.versions).expect("one version for each row");
        Some(Open { bisect: Bisect::new(batch.len(), CALL_ROWS_MAX), batch, versions, matched: self.matched })
    }
}

impl Open {
    fn next_call(&mut self, left_columns: &[usize]) -> Option<Request> {
        let rows: Vec<u32> = self.bisect.open_next()?.collect();
        if rows.len() == self.batch.len() {
            let left = self.batch.rows.project(left_columns);
            return Some(Request::Pair { left, right: self.versions.clone(), matched: self.matched.clone(), has_left: None });
        }
        let mut matched = Bitmap::default();
        rows.iter().for_each(|row| matched.push(self.matched.at(*row as usize)));
        let left = self.batch.rows.take(&rows).project(left_columns);
        Some(Request::Pair { left, right: self.versions.take(&rows), matched, has_left: None })
    }
}

fn kinds(schema: &Schema, columns: &[usize]) -> Vec<Kind> {
    columns.iter().map(|column_idx| schema.fields[*column_idx].field_type.kind()).collect()
}

impl Operator for Lookup {
    fn accept(&mut self, port: usize, batch: Batch, marks: &[Watermark], out: &mut Outbox) {
        assert!(self.open.is_none(), "rows came while calls were open");
        let lateness_ms = if port == TABLE { Some(0) } else { self.facts.lateness_ms };
        let rows = match lateness_ms {
            Some(lateness_ms) => without_late(port, &batch, marks, lateness_ms, out),
            None => (0..batch.len() as u32).collect(),
        };
        out.counts.rows_in += batch.len() as u64;
        out.counts.accepted += rows.len() as u64;
        if port == ROWS {
            self.take_rows(batch, &rows);
            return self.settle();
        }
        let (mut key, mut packed) = (Vec::new(), Vec::new());
        for row in rows.iter().map(|row| *row as usize) {
            key.clear();
            packed.clear();
            encode_key_bytes(&batch.rows, &self.facts.right_key, row, &mut key);
            encode_row(&batch.rows, &self.facts.right_columns, row, &mut packed);
            let is_deleted = batch.rows.column(self.facts.deleted).at(row) == Value::Bool(true);
            self.versions.add(&key, batch.times[row], Version::new((!is_deleted).then_some(&packed)));
        }
    }

    fn advance_table(&mut self, watermark: Watermark, _out: &mut Outbox) {
        if watermark > self.table {
            self.table = watermark;
            self.is_watermark_dirty = true;
            self.settle();
        }
    }

    fn advance(&mut self, watermark: Watermark, _out: &mut Outbox) {
        if watermark > self.watermark {
            self.watermark = watermark;
            self.is_watermark_dirty = true;
            self.settle();
        }
    }

    fn next_call(&mut self) -> Option<Request> {
        self.pending.take()
    }

    fn returned(&mut self, result: Result<Response, PluginFault>, out: &mut Outbox) {
        let open = self.open.as_mut().expect("an answer follows a call");
        match result {
            Ok(Response::Rows { outputs, rejects }) => {
                let range = open.bisect.succeeded();
                out.counts.dead_panes += route(&open.batch, range, outputs, rejects, out);
            }
            Ok(answer) => unreachable!("an answer to another call, Request::check lets none through: {answer:?}"),
            Err(fault) => {
                if let Failed::Guilty(row) = open.bisect.failed() {
                    out.counts.dead_panes += 1;
                    let (batch, reasons) = (open.batch.take(&[row]), vec![DeadReason::Fault(fault)]);
                    out.dead.push(DeadRows { batch, of: RowsOf::Input(ROWS), reasons, calls: Vec::new() });
                }
            }
        }
        self.settle();
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
        self.versions.all().for_each(|(key, time, version)| each(Kept::Version { key, time, row: version.row() }));
        self.waiting.all().for_each(|((time, _), waits)| each(Kept::Waiting { key: &waits.key, time, row: &waits.row }));
    }

    fn state_bytes(&self) -> usize {
        self.versions.n_bytes() + self.waiting.n_bytes()
    }
}
