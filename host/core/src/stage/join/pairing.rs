//! Pairs on their way to the plugin, and its rows on their way out.

use crate::{
    column::{Bitmap, Kind, Rows, Value},
    key::empty_columns,
    packed_row::decode_row,
    plugin::{PluginFault, Reject, Request, Routed},
    stage::{
        Batch, DeadReason, DeadRows, Outbox, Revision, RowsOf,
        bisect::{Bisect, Failed},
    },
    time::EventTime,
};

/// The most pairs of one call.
pub(super) const CALL_PAIRS_MAX: usize = 4096;
/// A call ends once its rows have more bytes than this.
pub(super) const CALL_BYTES_MAX: usize = 4 << 20;

/// Some left rows to emit, each with its match.
#[derive(Debug)]
pub(super) struct Pairing {
    /// All columns of the left input.
    left: Rows,
    /// The columns of the right input that the plugin reads.
    right: Rows,
    matched: Bitmap,
    times: Vec<EventTime>,
    revisions: Vec<Revision>,
    bisect: Bisect,
    dead: Vec<(u32, DeadReason)>,
}

/// Collects pairs for one [`Pairing`].
#[derive(Debug)]
pub(super) struct Pairs {
    left: Vec<crate::column::Column>,
    right: Vec<crate::column::Column>,
    matched: Bitmap,
    times: Vec<EventTime>,
    revisions: Vec<Revision>,
    n_bytes: usize,
}

impl Pairs {
    pub(super) fn new(left: &[Kind], right: &[Kind]) -> Pairs {
        let (left, right) = (empty_columns(left), empty_columns(right));
        Pairs { left, right, matched: Bitmap::default(), times: Vec::new(), revisions: Vec::new(), n_bytes: 0 }
    }

    /// Appends a pair of packed rows.
    pub(super) fn push(&mut self, time: EventTime, left: &[u8], right: Option<&[u8]>, revision: Revision) {
        let packed_here = "rows are packed here, and checked when restored";
        decode_row(left, &mut self.left).expect(packed_here);
        match right {
            Some(row) => decode_row(row, &mut self.right).expect(packed_here),
            None => self.right.iter_mut().for_each(|column| column.push(Value::Null)),
        }
        self.matched.push(right.is_some());
        self.times.push(time);
        self.revisions.push(revision);
        self.n_bytes += left.len() + right.map_or(0, <[u8]>::len);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.times.len() >= CALL_PAIRS_MAX || self.n_bytes >= CALL_BYTES_MAX
    }
}

impl Pairing {
    pub(super) fn new(pairs: Pairs) -> Pairing {
        let Pairs { left, right, matched, times, revisions, .. } = pairs;
        let same_length = "each push appends to every column";
        Pairing {
            left: Rows::new(times.len(), left).expect(same_length),
            right: Rows::new(times.len(), right).expect(same_length),
            matched,
            bisect: Bisect::new(times.len(), CALL_PAIRS_MAX),
            times,
            revisions,
            dead: Vec::new(),
        }
    }

    /// The next call, or `None` when every pair was answered for.
    pub(super) fn next_call(&mut self, left_columns: &[usize]) -> Option<Request> {
        let open = self.bisect.open_next()?;
        if open.len() == self.times.len() {
            let (left, right, matched) = (self.left.project(left_columns), self.right.clone(), self.matched.clone());
            return Some(Request::Pair { left, right, matched });
        }
        let rows: Vec<u32> = open.collect();
        let mut matched = Bitmap::default();
        rows.iter().for_each(|row| matched.push(self.matched.at(*row as usize)));
        Some(Request::Pair { left: self.left.take(&rows).project(left_columns), right: self.right.take(&rows), matched })
    }

    /// Gives the rows of an answered call to `out`.
    pub(super) fn answered(&mut self, routed: Vec<Routed>, rejects: Vec<Reject>, upsert: bool, out: &mut Outbox) {
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
    pub(super) fn faulted(&mut self, fault: PluginFault) {
        if let Failed::Guilty(row) = self.bisect.failed() {
            self.dead.push((row, DeadReason::Fault(fault)));
        }
    }

    /// The dead pairs, as rows of the left input: called once, at the end.
    ///
    /// Only final ones: a pair that is refused provisionally may still get another match, and a row has one fate.
    pub(super) fn finish(mut self, out: &mut Outbox) {
        self.dead.retain(|(row, _)| self.revisions[*row as usize].is_final);
        self.dead.sort_by_key(|(row, _)| *row);
        self.dead.dedup_by_key(|(row, _)| *row);
        if self.dead.is_empty() {
            return;
        }
        out.counts.dead_panes += self.dead.len() as u64;
        let (rows, reasons): (Vec<u32>, Vec<DeadReason>) = self.dead.into_iter().unzip();
        let times = rows.iter().map(|row| self.times[*row as usize]).collect();
        let batch = Batch::made(self.left.take(&rows), times, None);
        out.dead.push(DeadRows { batch, of: RowsOf::Input(0), reasons });
    }
}
