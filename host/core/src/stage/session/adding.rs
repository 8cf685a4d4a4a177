//! One batch on its way into clusters: rows of a key within the reach of the rules, each with a state of its own, not yet united with what
//! is there.
//!
//! A row that the plugin refuses must not hold its neighbours together. So when all calls are answered, a cluster that falls apart
//! without its dead rows is added anew as the clusters that remain; a plugin is a pure function, and loses nothing by that.

use std::{collections::BTreeMap, ops::Range};

use super::sessions::KeyBytes;
use crate::{
    column::{Packed, Rows},
    key::encode_key_bytes,
    letter::call::Function,
    plugin::{Grouped, PluginFault, Reject, Request},
    stage::{
        Batch, DeadReason,
        bisect::{Bisect, Failed},
        dead::Deads,
    },
    time::EventTime,
};

/// The most rows of one call.
const CALL_ROWS_MAX: usize = 16 * 1024;

/// Rows of one batch that belong together, and what the plugin made of them.
#[derive(Debug)]
pub(super) struct Cluster {
    pub(super) key: KeyBytes,
    pub(super) first: EventTime,
    pub(super) last: EventTime,
    /// Rows of the batch; those that are dead are in it until the round ends.
    pub(super) rows: Vec<u32>,
    pub(super) state: Vec<u8>,
}

#[derive(Debug)]
pub(super) struct Adding {
    pub(super) batch: Batch,
    /// How many rows there are to add.
    pub(super) n_rows: usize,
    reach_ms: i64,
    /// The clusters that are being added, in the order of key and time.
    round: Vec<Cluster>,
    /// For each row of the round, in the order of its clusters: the row, and the index of its cluster.
    order: Vec<(u32, u32)>,
    /// Its units are positions in `order`.
    bisect: Bisect,
    /// Clusters that are through.
    pub(super) done: Vec<Cluster>,
    pub(super) dead: Deads,
}

impl Adding {
    /// `rows` of `batch`, by the columns `key`.
    pub(super) fn new(batch: Batch, rows: &[u32], key: &[usize], reach_ms: i64) -> Adding {
        let mut keyed: Vec<(Vec<u8>, EventTime, u32)> = Vec::with_capacity(rows.len());
        for row in rows {
            let mut bytes = Vec::new();
            encode_key_bytes(&batch.rows, key, *row as usize, &mut bytes);
            keyed.push((bytes, batch.times[*row as usize], *row));
        }
        keyed.sort();
        let mut round: Vec<Cluster> = Vec::new();
        for (bytes, at, row) in keyed {
            match round.last_mut().filter(|cluster| *cluster.key == *bytes) {
                Some(cluster) if at.0 - cluster.last.0 <= reach_ms => {
                    cluster.last = at;
                    cluster.rows.push(row);
                }
                // The same key again: its bytes are shared.
                Some(cluster) => {
                    let key = cluster.key.clone();
                    round.push(Cluster { key, first: at, last: at, rows: vec![row], state: Vec::new() });
                }
                None => round.push(Cluster { key: bytes.into(), first: at, last: at, rows: vec![row], state: Vec::new() }),
            }
        }
        let mut adding = Adding {
            batch,
            n_rows: rows.len(),
            reach_ms,
            round: Vec::new(),
            order: Vec::new(),
            bisect: Bisect::default(),
            done: Vec::new(),
            dead: Deads::default(),
        };
        adding.begin_round(round);
        adding
    }

    /// The next call, or `None` when every row is in a cluster or dead.
    pub(super) fn next_call(&mut self, columns: &[usize]) -> Option<Request> {
        loop {
            if let Some(range) = self.bisect.open_next() {
                return Some(self.call(as_usize(&range), columns));
            }
            if !self.end_round() {
                return None;
            }
        }
    }

    fn call(&self, range: Range<usize>, columns: &[usize]) -> Request {
        let (mut states, mut ends) = (Packed::default(), Vec::new());
        for run in self.runs(range.clone()) {
            states.push(&self.round[self.order[run.start].1 as usize].state);
            ends.push((run.end - range.start) as u32);
        }
        let rows: Vec<u32> = self.order[range].iter().map(|(row, _)| *row).collect();
        let taken = columns.iter().map(|column_idx| self.batch.rows.column(*column_idx).take(&rows)).collect();
        let rows = Rows::new(rows.len(), taken).expect("each column was taken at the same rows");
        Request::Add { grouped: Grouped { rows, ends }, states }
    }

    /// Takes the states of an answered call. A group of which every row was refused keeps its state as it was; an empty state for a row
    /// that was added breaks the contract.
    pub(super) fn answered(&mut self, states: &Packed, rejects: Vec<Reject>) {
        let range = as_usize(&self.bisect.open().expect("an answer follows a call"));
        let refused: BTreeMap<usize, Reject> =
            rejects.into_iter().map(|reject| (range.start + reject.row as usize, reject)).collect();
        let runs: Vec<Range<usize>> = self.runs(range).collect();
        let n_left = |run: &Range<usize>| run.len() - refused.range(run.clone()).count();
        if runs.iter().zip(states.iter()).any(|(run, state)| state.is_empty() && n_left(run) > 0) {
            return self.faulted(PluginFault::Malformed("an empty state".to_owned()));
        }
        for (run, state) in runs.iter().zip(states.iter()) {
            if n_left(run) > 0 {
                self.round[self.order[run.start].1 as usize].state = state.to_vec();
            }
        }
        for (at, Reject { code, message, .. }) in refused {
            self.dead.insert(self.order[at].0, DeadReason::Rejected { code, message });
        }
        self.bisect.succeeded();
    }

    /// The open call gave no answer: it is halved, or its only row given up.
    pub(super) fn faulted(&mut self, fault: PluginFault) {
        if let Failed::Guilty(at) = self.bisect.failed() {
            let (row, cluster) = self.order[at as usize];
            let state = &self.round[cluster as usize].state[..];
            self.dead.insert_call(row, DeadReason::Fault(fault), Function::Add, [state].into_iter());
        }
    }

    fn begin_round(&mut self, round: Vec<Cluster>) {
        self.order = (0..).zip(&round).flat_map(|(idx, cluster)| cluster.rows.iter().map(move |row| (*row, idx))).collect();
        self.round = round;
        self.bisect = Bisect::new(self.order.len(), CALL_ROWS_MAX);
    }

    /// Puts aside the clusters that hold together without their dead rows. Whether others must be added anew.
    fn end_round(&mut self) -> bool {
        let mut again = Vec::new();
        for mut cluster in std::mem::take(&mut self.round) {
            let n_rows = cluster.rows.len();
            cluster.rows.retain(|row| !self.dead.contains(*row));
            let time = |row: &u32| self.batch.times[*row as usize];
            if cluster.rows.len() == n_rows {
                self.done.push(cluster);
                continue;
            }
            let runs: Vec<&[u32]> = cluster.rows.chunk_by(|a, b| time(b).0 - time(a).0 <= self.reach_ms).collect();
            match runs.as_slice() {
                [] => {}
                [whole] => {
                    (cluster.first, cluster.last) = (time(&whole[0]), time(&whole[whole.len() - 1]));
                    self.done.push(cluster);
                }
                parts => again.extend(parts.iter().map(|part| Cluster {
                    key: cluster.key.clone(),
                    first: time(&part[0]),
                    last: time(&part[part.len() - 1]),
                    rows: part.to_vec(),
                    state: Vec::new(),
                })),
            }
        }
        let has_more = !again.is_empty();
        self.begin_round(again);
        has_more
    }

    /// The clusters of a range of `order`: a range for each.
    fn runs(&self, range: Range<usize>) -> impl Iterator<Item = Range<usize>> + '_ {
        let mut start = range.start;
        self.order[range].chunk_by(|a, b| a.1 == b.1).map(move |run| {
            let run = start..start + run.len();
            start = run.end;
            run
        })
    }
}

fn as_usize(range: &Range<u32>) -> Range<usize> {
    range.start as usize..range.end as usize
}
