//! One batch on its way into the keys: rows sorted by key, in calls, until each row is added or dead.

use std::{collections::BTreeMap, ops::Range};

use super::{
    CALL_BYTES_MAX, Facts,
    keys::{KeyBytes, Keys},
    telling::Unit,
};
use crate::{
    column::{Packed, Rows},
    key::encode_key_bytes,
    letter::call::Function,
    plugin::{Grouped, PluginFault, Reject, Request},
    stage::{
        Batch, DeadReason, Outbox, RowsOf,
        bisect::{Bisect, Failed},
        dead::Deads,
        runs::{as_usize, runs},
    },
    time::{EventTime, Watermark},
};

/// The most rows of one call.
const CALL_ROWS_MAX: usize = 16 * 1024;

#[derive(Debug)]
pub(super) struct Adding {
    batch: Batch,
    groups: Vec<Group>,
    /// The rows, those of a key together and in the order in which they came: (row of the batch, index of its group).
    order: Vec<(u32, u32)>,
    /// Its units are positions in `order`.
    bisect: Bisect,
    dead: Deads,
}

#[derive(Debug)]
struct Group {
    key: KeyBytes,
    /// The watermark from before its last row.
    mark: Watermark,
}

impl Adding {
    /// `rows` of `batch`, which never fall, by the columns `key`. Of no key more rows than it needs to be told.
    pub(super) fn new(batch: Batch, rows: &[u32], marks: &[Watermark], key: &[usize]) -> Adding {
        let encoded = |row: &u32| {
            let mut bytes = Vec::new();
            encode_key_bytes(&batch.rows, key, *row as usize, &mut bytes);
            (bytes, *row)
        };
        let mut keyed: Vec<(Vec<u8>, u32)> = rows.iter().map(encoded).collect();
        keyed.sort();
        let (mut groups, mut order): (Vec<Group>, _) = (Vec::new(), Vec::with_capacity(keyed.len()));
        for (bytes, row) in keyed {
            let mark = marks[row as usize];
            match groups.last_mut() {
                Some(last) if *last.key == *bytes => last.mark = mark,
                _ => groups.push(Group { key: bytes.into(), mark }),
            }
            order.push((row, groups.len() as u32 - 1));
        }
        let bisect = Bisect::new(order.len(), CALL_ROWS_MAX);
        Adding { batch, groups, order, bisect, dead: Deads::default() }
    }

    /// The next call, or `None` when every row is added or dead.
    pub(super) fn next_call(&mut self, keys: &Keys, facts: &Facts) -> Option<Request> {
        let range = as_usize(&self.bisect.open_next()?);
        let (mut states, mut ends) = (Packed::default(), Vec::new());
        for run in self.runs(range.clone()) {
            if states.data().len() > CALL_BYTES_MAX {
                break;
            }
            states.push(keys.state(self.key(&run)));
            ends.push((run.end - range.start) as u32);
        }
        let n_rows = *ends.last().expect("a call covers at least one row");
        self.bisect.shorten(n_rows);
        let rows: Vec<u32> = self.order[range][..n_rows as usize].iter().map(|(row, _)| *row).collect();
        let taken = facts.columns.iter().map(|column_idx| self.batch.rows.column(*column_idx).take(&rows)).collect();
        let rows = Rows::new(rows.len(), taken).expect("each column was taken at the same rows");
        Some(Request::Add { grouped: Grouped { rows, ends }, states })
    }

    /// Takes the states of an answered call. A key of which every row was refused stays as it was. An empty state for a row that was added
    /// breaks the contract: it would make the row vanish.
    pub(super) fn answered(&mut self, states: &Packed, rejects: Vec<Reject>, keys: &mut Keys) {
        let range = as_usize(&self.bisect.open().expect("an answer follows a call"));
        let refused: BTreeMap<usize, Reject> =
            rejects.into_iter().map(|reject| (range.start + reject.row as usize, reject)).collect();
        let runs: Vec<Range<usize>> = self.runs(range).collect();
        let mut added = Vec::new();
        for (run, state) in runs.into_iter().zip(states.iter()) {
            let times = || run.clone().filter(|at| !refused.contains_key(at)).map(|at| self.time(at));
            let (Some(first), Some(last)) = (times().min(), times().max()) else { continue };
            if state.is_empty() {
                return self.faulted(PluginFault::Malformed("an empty state".to_owned()), keys);
            }
            let n_rows = times().count() as u64;
            added.push((run, state, (first, last), n_rows));
        }
        for (run, state, times, n_rows) in added {
            keys.add(self.key(&run), state, times, n_rows);
        }
        for (at, Reject { code, message, .. }) in refused {
            self.dead.insert(self.order[at].0, DeadReason::Rejected { code, message });
        }
        self.bisect.succeeded();
    }

    /// The open call gave no answer that holds: it is halved, or its only row given up.
    pub(super) fn faulted(&mut self, fault: PluginFault, keys: &Keys) {
        if let Failed::Guilty(at) = self.bisect.failed() {
            let (row, group) = self.order[at as usize];
            let state = keys.state(&self.groups[group as usize].key);
            self.dead.insert_call(row, DeadReason::Fault(fault), Function::Add, [state].into_iter());
        }
    }

    /// Counts the rows, gives away the dead ones, and tells which keys have as many new rows as they are told for.
    pub(super) fn finish(self, keys: &mut Keys, facts: &Facts, out: &mut Outbox) -> Vec<Unit> {
        out.counts.accepted += (self.order.len() - self.dead.len()) as u64;
        out.counts.dead += self.dead.len() as u64;
        if !self.dead.is_empty() {
            let rows = self.batch.take(&self.dead.units());
            out.dead.push(self.dead.into_rows(rows, RowsOf::Input(0)));
        }
        let mut units = Vec::new();
        for Group { key, mark } in self.groups {
            let Some(kept) = keys.kept(&key) else { continue };
            debug_assert!(kept.n_new <= facts.rows_max(), "more rows than a key is told for");
            if kept.n_new >= facts.rows_max() {
                // The watermark never is at the end: a row of then is late.
                let at = kept.last.max(EventTime(mark.0));
                units.push(keys.tell(key, at, facts.window.clear));
            }
        }
        units
    }

    fn key(&self, run: &Range<usize>) -> &KeyBytes {
        &self.groups[self.order[run.start].1 as usize].key
    }

    /// The event time of the row at a position in `order`.
    fn time(&self, at: usize) -> EventTime {
        self.batch.times[self.order[at].0 as usize]
    }

    fn runs(&self, range: Range<usize>) -> impl Iterator<Item = Range<usize>> + '_ {
        runs(&self.order, range, |a, b| a.1 == b.1)
    }
}
