//! One batch on its way into the keys: rows sorted by key, in calls, until each row is taken or dead.

use std::{collections::BTreeMap, ops::Range};

use super::{
    Answer, CALL_BYTES_MAX, Facts, key_rows,
    keys::{KeyBytes, Keys},
};
use crate::{
    column::{Packed, Rows},
    key::encode_key_bytes,
    letter::call::Function,
    plugin::{Grouped, PluginFault, Reject, Request, Routed, TimeRead},
    stage::{
        Batch, DeadReason, Outbox, RowsOf,
        bisect::{Bisect, Failed},
        dead::Deads,
        runs::{as_usize, runs},
    },
    time::EventTime,
};

/// The most rows of one call.
const CALL_ROWS_MAX: usize = 16 * 1024;

#[derive(Debug)]
pub(super) struct Taking {
    batch: Batch,
    groups: Vec<KeyBytes>,
    /// The rows, those of a key together and in the order in which they came: (row of the batch, index of its group).
    order: Vec<(u32, u32)>,
    /// Its units are positions in `order`.
    bisect: Bisect,
    dead: Deads,
    /// Of the open call.
    time: Option<TimeRead>,
}

impl Taking {
    /// `rows` of `batch`, which never fall, by the columns `key`.
    pub(super) fn new(batch: Batch, rows: &[u32], key: &[usize]) -> Taking {
        let encoded = |row: &u32| {
            let mut bytes = Vec::new();
            encode_key_bytes(&batch.rows, key, *row as usize, &mut bytes);
            (bytes, *row)
        };
        let mut keyed: Vec<(Vec<u8>, u32)> = rows.iter().map(encoded).collect();
        keyed.sort();
        let (mut groups, mut order): (Vec<KeyBytes>, _) = (Vec::new(), Vec::with_capacity(keyed.len()));
        for (bytes, row) in keyed {
            if groups.last().is_none_or(|last| **last != *bytes) {
                groups.push(bytes.into());
            }
            order.push((row, groups.len() as u32 - 1));
        }
        let bisect = Bisect::new(order.len(), CALL_ROWS_MAX);
        Taking { batch, groups, order, bisect, dead: Deads::default(), time: None }
    }

    /// The next call, or `None` when every row is taken or dead.
    pub(super) fn next_call(&mut self, keys: &Keys, facts: &Facts, time: TimeRead) -> Option<Request> {
        let range = as_usize(&self.bisect.open_next()?);
        self.time = Some(time);
        let (mut states, mut ends) = (Packed::default(), Vec::new());
        let mut called = Vec::new();
        for run in self.runs(range.clone()) {
            if states.data().len() > CALL_BYTES_MAX {
                break;
            }
            let key = self.key(&run);
            states.push(keys.state(key));
            called.push(key);
            ends.push((run.end - range.start) as u32);
        }
        let keys = key_rows(called.into_iter(), &facts.key_kinds);
        let n_rows = *ends.last().expect("a call covers at least one row");
        self.bisect.shorten(n_rows);
        let rows: Vec<u32> = self.order[range][..n_rows as usize].iter().map(|(row, _)| *row).collect();
        let times = rows.iter().map(|row| self.batch.times[*row as usize]).collect();
        let taken = facts.columns.iter().map(|column_idx| self.batch.rows.column(*column_idx).take(&rows)).collect();
        let rows = Rows::new(rows.len(), taken).expect("each column was taken at the same rows");
        Some(Request::Take { grouped: Grouped { rows, ends }, times, keys, states, time })
    }

    /// Takes over an answer. A key of which every row was refused stays as it was.
    pub(super) fn answered(&mut self, answer: Answer, keys: &mut Keys, out: &mut Outbox) {
        let range = as_usize(&self.bisect.open().expect("an answer follows a call"));
        let refused: BTreeMap<usize, Reject> =
            answer.rejects.into_iter().map(|reject| (range.start + reject.row as usize, reject)).collect();
        let runs: Vec<Range<usize>> = self.runs(range.clone()).collect();
        let mut after = Vec::new();
        for (group, run) in runs.into_iter().enumerate() {
            let accepted = run.clone().filter(|at| !refused.contains_key(at));
            let Some(last) = accepted.map(|at| self.time(at)).max() else { continue };
            let changes = |origin: usize| answer.timers.partition_point(|change| (change.origin as usize) < origin - range.start);
            match keys.changed(self.key(&run), &answer.timers[changes(run.start)..changes(run.end)]) {
                Ok(timers) => after.push((self.key(&run).clone(), group, last, timers)),
                Err(fault) => return self.faulted(fault, keys),
            }
        }
        for (key, group, last, timers) in after {
            keys.put(&key, answer.states.at(group), last, timers);
        }
        for Routed { output, rows, origins } in answer.outputs {
            out.counts.rows_out += rows.len() as u64;
            let times = origins.iter().map(|origin| self.time(range.start + *origin as usize)).collect();
            out.emitted.push((output as usize, Batch::made(rows, times, None)));
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
            let function = Function::Take { time: self.time.expect("a fault follows a call") };
            let state = keys.state(&self.groups[group as usize]);
            self.dead.insert_call(row, DeadReason::Fault(fault), function, [state].into_iter());
        }
    }

    /// Counts the rows, and gives away the dead ones: called once, at the end.
    pub(super) fn finish(self, keys: &mut Keys, out: &mut Outbox) {
        self.groups.iter().for_each(|key| keys.settle(key));
        out.counts.accepted += (self.order.len() - self.dead.len()) as u64;
        out.counts.dead += self.dead.len() as u64;
        if !self.dead.is_empty() {
            let rows = self.batch.take(&self.dead.units());
            out.dead.push(self.dead.into_rows(rows, RowsOf::Input(0)));
        }
    }

    fn key(&self, run: &Range<usize>) -> &KeyBytes {
        &self.groups[self.order[run.start].1 as usize]
    }

    /// The event time of the row at a position in `order`.
    fn time(&self, at: usize) -> EventTime {
        self.batch.times[self.order[at].0 as usize]
    }

    fn runs(&self, range: Range<usize>) -> impl Iterator<Item = Range<usize>> + '_ {
        runs(&self.order, range, |a, b| a.1 == b.1)
    }
}
