//! Pairs on their way to the plugin, and its rows on their way out.

use super::{RIGHT, kept_columns};
use crate::{
    column::{Bitmap, Column, Kind, Rows, Value},
    key::empty_columns,
    letter::call::DeadCall,
    packed_row::decode_row,
    plugin::{PluginFault, Reject, Request, Response, Routed},
    schema::Schema,
    stage::{
        Batch, DeadReason, DeadRows, Outbox, Revision, RowsOf,
        bisect::{Bisect, Failed},
    },
    time::EventTime,
};

/// The most pairs of one call.
const CALL_PAIRS_MAX: usize = 4096;
/// A call ends once its rows have more bytes than this.
const CALL_BYTES_MAX: usize = 4 << 20;

/// What is kept of the rows of both sides, left first.
#[derive(Debug)]
pub(super) struct Columns {
    /// Of each side, the input columns that are kept.
    pub(super) kept: [Vec<usize>; 2],
    pub(super) kinds: [Vec<Kind>; 2],
    /// Of each side, the columns among the kept ones that the plugin reads.
    read: [Vec<usize>; 2],
    /// Whether rows of the right side come without a left one: then a call says which have one.
    right_alone: bool,
}

impl Columns {
    /// Of a join of `inputs` whose plugin reads the columns `read`.
    pub(super) fn new(inputs: &[Schema], read: [&[usize]; 2], right_alone: bool) -> Columns {
        let kept = kept_columns(inputs, read[1], right_alone);
        let read = [read[0].to_vec(), if right_alone { read[1].to_vec() } else { (0..read[1].len()).collect() }];
        let kinds = [0, 1].map(|side| kinds(&inputs[side], &kept[side]));
        Columns { kept, kinds, read, right_alone }
    }
}

pub(super) fn kinds(schema: &Schema, columns: &[usize]) -> Vec<Kind> {
    columns.iter().map(|column_idx| schema.fields[*column_idx].field_type.kind()).collect()
}

/// The calls that a join makes, one after the other.
#[derive(Debug, Default)]
pub(super) struct Calls {
    pairing: Option<Pairing>,
    /// What [`crate::stage::Operator::next_call`] will give.
    pending: Option<Request>,
}

impl Calls {
    /// Whether pairs are not answered for.
    pub(super) fn are_open(&self) -> bool {
        self.pairing.is_some()
    }

    /// Finds the next call of the open pairs, and closes them when each was answered for. Whether there is a call.
    pub(super) fn go_on(&mut self, columns: &Columns, out: &mut Outbox) -> bool {
        let Some(pairing) = &mut self.pairing else { return false };
        self.pending = pairing.next_call(columns);
        if self.pending.is_none()
            && let Some(pairing) = self.pairing.take()
        {
            pairing.finish(out);
        }
        self.pending.is_some()
    }

    /// Opens `pairs`, unless there are none. Whether there are any.
    pub(super) fn open(&mut self, pairs: Pairs) -> bool {
        let is_any = !pairs.times.is_empty();
        self.pairing = is_any.then(|| Pairing::new(pairs));
        is_any
    }

    pub(super) fn next(&mut self) -> Option<Request> {
        self.pending.take()
    }

    /// Takes the answer to the call that [`Calls::next`] gave last.
    pub(super) fn returned(&mut self, result: Result<Response, PluginFault>, upsert: bool, out: &mut Outbox) {
        let pairing = self.pairing.as_mut().expect("an answer follows a call");
        match result {
            Ok(Response::Rows { outputs, rejects }) => pairing.answered(outputs, rejects, upsert, out),
            Ok(answer) => unreachable!("an answer to another call, Request::check lets none through: {answer:?}"),
            Err(fault) => pairing.faulted(fault),
        }
    }
}

/// Rows to emit, each with its partner or alone.
#[derive(Debug)]
struct Pairing {
    /// What is kept of each side: rows of equal number.
    sides: [Rows; 2],
    /// Which rows each side has.
    present: [Bitmap; 2],
    times: Vec<EventTime>,
    revisions: Vec<Revision>,
    bisect: Bisect,
    dead: Vec<(u32, DeadReason)>,
}

/// Collects pairs for one [`Pairing`].
#[derive(Debug)]
pub(super) struct Pairs {
    sides: [Vec<Column>; 2],
    present: [Bitmap; 2],
    times: Vec<EventTime>,
    revisions: Vec<Revision>,
    n_bytes: usize,
}

impl Pairs {
    pub(super) fn new(columns: &Columns) -> Pairs {
        let sides = [0, 1].map(|side: usize| empty_columns(&columns.kinds[side]));
        Pairs { sides, present: Default::default(), times: Vec::new(), revisions: Vec::new(), n_bytes: 0 }
    }

    /// Appends a pair of packed rows, left first; one of them may be missing.
    pub(super) fn push(&mut self, time: EventTime, rows: [Option<&[u8]>; 2], revision: Revision) {
        for (side, row) in rows.into_iter().enumerate() {
            match row {
                Some(row) => {
                    decode_row(row, &mut self.sides[side]).expect("rows are packed here, and checked when restored");
                    self.n_bytes += row.len();
                }
                None => self.sides[side].iter_mut().for_each(|column| column.push(Value::Null)),
            }
            self.present[side].push(row.is_some());
        }
        self.times.push(time);
        self.revisions.push(revision);
    }

    pub(super) fn is_full(&self) -> bool {
        self.times.len() >= CALL_PAIRS_MAX || self.n_bytes >= CALL_BYTES_MAX
    }
}

impl Pairing {
    fn new(pairs: Pairs) -> Pairing {
        let Pairs { sides, present, times, revisions, .. } = pairs;
        Pairing {
            sides: sides.map(|columns| Rows::new(times.len(), columns).expect("each push appends to every column")),
            present,
            bisect: Bisect::new(times.len(), CALL_PAIRS_MAX),
            times,
            revisions,
            dead: Vec::new(),
        }
    }

    /// The next call, or `None` when every pair was answered for.
    fn next_call(&mut self, columns: &Columns) -> Option<Request> {
        let open = self.bisect.open_next()?;
        let ([left, right], [has_left, matched]) = if open.len() == self.times.len() {
            ([0, 1].map(|side: usize| self.sides[side].project(&columns.read[side])), self.present.clone())
        } else {
            let rows: Vec<u32> = open.collect();
            let taken = [0, 1].map(|side: usize| self.sides[side].take(&rows).project(&columns.read[side]));
            let mut present: [Bitmap; 2] = Default::default();
            for (some, all) in present.iter_mut().zip(&self.present) {
                rows.iter().for_each(|row| some.push(all.at(*row as usize)));
            }
            (taken, present)
        };
        Some(Request::Pair { left, right, matched, has_left: columns.right_alone.then_some(has_left) })
    }

    /// Gives the rows of an answered call to `out`.
    fn answered(&mut self, routed: Vec<Routed>, rejects: Vec<Reject>, upsert: bool, out: &mut Outbox) {
        let start = self.bisect.succeeded().start;
        for Routed { output, rows, origins } in routed {
            out.counts.rows_out += rows.len() as u64;
            let times = origins.iter().map(|origin| self.times[(start + origin) as usize]).collect();
            let revisions = upsert.then(|| origins.iter().map(|origin| self.revisions[(start + origin) as usize]).collect());
            out.emitted.push((output as usize, Batch::made(rows, times, revisions)));
        }
        for Reject { row, code, message } in rejects {
            self.dead.push((start + row, DeadReason::Rejected { code, message }));
        }
    }

    /// The open call gave no answer: it is halved, or its only pair given up.
    fn faulted(&mut self, fault: PluginFault) {
        if let Failed::Guilty(row) = self.bisect.failed() {
            self.dead.push((row, DeadReason::Fault(fault)));
        }
    }

    /// The dead pairs, as rows of the left input, or of the right one where there is none: called once, at the end.
    ///
    /// Only final ones: a pair that is refused provisionally may still get another match, and a row has one fate.
    fn finish(mut self, out: &mut Outbox) {
        self.dead.retain(|(row, _)| self.revisions[*row as usize].is_final);
        self.dead.sort_by_key(|(row, _)| *row);
        self.dead.dedup_by_key(|(row, _)| *row);
        out.counts.dead_panes += self.dead.len() as u64;
        let has_left = |(row, _): &(u32, DeadReason)| self.present[0].at(*row as usize);
        let (of_left, of_right): (Vec<_>, Vec<_>) = self.dead.into_iter().partition(has_left);
        for (side, dead) in [of_left, of_right].into_iter().enumerate().filter(|(_, dead)| !dead.is_empty()) {
            let (rows, reasons): (Vec<u32>, Vec<DeadReason>) = dead.into_iter().unzip();
            let times = rows.iter().map(|row| self.times[*row as usize]).collect();
            let batch = Batch::made(self.sides[side].take(&rows), times, None);
            // That there is no left row is all that the right one does not say of the call. Who has a left row may have had any partner.
            let calls = match side {
                RIGHT => rows.iter().map(|_| Some(Box::new(DeadCall::right_alone()))).collect(),
                _ => Vec::new(),
            };
            out.dead.push(DeadRows { batch, of: RowsOf::Input(side), reasons, calls });
        }
    }
}
