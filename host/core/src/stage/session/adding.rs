//! One batch on its way into clusters: rows of a key within the reach of the rules, not yet united with what is there.
//!
//! The rows of a cluster are added to a state of its own; or to that of a session, where it is the only cluster of its key and touches nothing
//! else: then there is nothing left to merge. A session itself changes only when all calls are answered.
//!
//! A row that the plugin refuses must not hold its neighbours together. So when all calls are answered, a cluster that falls apart, or from its
//! session, without its dead rows is added anew as the clusters that remain; a plugin is a pure function, and loses nothing by that.

use std::{collections::BTreeMap, ops::Range};

use super::sessions::{Part, Sessions};
use crate::{
    column::{Packed, Rows},
    key::encode_key_bytes,
    letter::call::Function,
    plugin::{Grouped, PluginFault, Reject, Request},
    stage::{
        Batch, DeadReason,
        bisect::{Bisect, Failed},
        dead::Deads,
        keys::KeyIdx,
    },
    time::EventTime,
};

/// The most rows of one call.
const CALL_ROWS_MAX: usize = 16 * 1024;
/// A call with more bytes of states than this ends at the next cluster: plugins have 64 MiB, and copy.
const CALL_BYTES_MAX: usize = 4 << 20;

/// Rows of one batch that belong together, and what the plugin made of them.
#[derive(Debug)]
pub(super) struct Cluster {
    pub(super) key: KeyIdx,
    pub(super) first: EventTime,
    pub(super) last: EventTime,
    /// Where its rows stand in [`Adding::order`]; those that are dead are among them until the round ends.
    pub(super) rows: Range<usize>,
    /// The session to which they are added, by its first row.
    pub(super) base: Option<EventTime>,
    /// Empty: no call was answered yet.
    pub(super) state: Vec<u8>,
}

impl Cluster {
    /// The state to which its next rows are added.
    fn given<'a>(&'a self, sessions: &'a Sessions) -> &'a [u8] {
        match (self.state.is_empty(), self.base) {
            (true, Some(first)) => &sessions.part(self.key, first).state,
            _ => &self.state,
        }
    }
}

#[derive(Debug)]
pub(super) struct Adding {
    pub(super) batch: Batch,
    /// How many rows there are to add.
    pub(super) n_rows: usize,
    reach_ms: i64,
    /// Rows of the batch, by cluster, and in order of (time, arrival) within each. Those of a later round stand behind.
    pub(super) order: Vec<u32>,
    /// The keys of the batch, each once.
    pub(super) keys: Vec<KeyIdx>,
    /// The clusters that are being added, in their order in `order`.
    round: Vec<Cluster>,
    /// Where the round starts in `order`.
    start: usize,
    /// Its units are positions in the round.
    bisect: Bisect,
    /// Clusters that are through.
    pub(super) done: Vec<Cluster>,
    pub(super) dead: Deads,
}

impl Adding {
    /// `rows` of `batch`, by the columns `key`.
    pub(super) fn new(batch: Batch, rows: &[u32], key: &[usize], reach_ms: i64, sessions: &mut Sessions) -> Adding {
        let mut keyed: Vec<(KeyIdx, EventTime, u32)> = Vec::with_capacity(rows.len());
        let mut bytes = Vec::new();
        for row in rows {
            bytes.clear();
            encode_key_bytes(&batch.rows, key, *row as usize, &mut bytes);
            keyed.push((sessions.find_or_insert(&bytes), batch.times[*row as usize], *row));
        }
        keyed.sort_unstable();
        let (mut round, mut keys): (Vec<Cluster>, Vec<KeyIdx>) = (Vec::new(), Vec::new());
        for (at, (key, time, _)) in keyed.iter().enumerate() {
            match round.last_mut() {
                Some(cluster) if cluster.key == *key && time.0 - cluster.last.0 <= reach_ms => {
                    cluster.last = *time;
                    cluster.rows.end = at + 1;
                }
                before => {
                    if before.is_none_or(|before| before.key != *key) {
                        keys.push(*key);
                    }
                    let (first, last, rows) = (*time, *time, at..at + 1);
                    round.push(Cluster { key: *key, first, last, rows, base: None, state: Vec::new() });
                }
            }
        }
        for of_key in round.chunk_by_mut(|a, b| a.key == b.key) {
            if let [only] = of_key {
                only.base = base(only, sessions, reach_ms);
            }
        }
        let mut adding = Adding {
            batch,
            n_rows: rows.len(),
            reach_ms,
            order: keyed.into_iter().map(|(_, _, row)| row).collect(),
            keys,
            round: Vec::new(),
            start: 0,
            bisect: Bisect::default(),
            done: Vec::new(),
            dead: Deads::default(),
        };
        adding.begin_round(round, 0);
        adding
    }

    /// The next call, or `None` when every row is in a cluster or dead.
    pub(super) fn next_call(&mut self, columns: &[usize], sessions: &Sessions) -> Option<Request> {
        loop {
            if self.bisect.open_next().is_some() {
                return Some(self.call(columns, sessions));
            }
            if !self.end_round(sessions) {
                return None;
            }
        }
    }

    fn call(&mut self, columns: &[usize], sessions: &Sessions) -> Request {
        let whole = self.in_flight();
        let (mut states, mut ends) = (Packed::default(), Vec::new());
        for cluster in &self.round[self.clusters(&whole)] {
            if states.data().len() > CALL_BYTES_MAX {
                break;
            }
            states.push(cluster.given(sessions));
            ends.push((cluster.rows.end.min(whole.end) - whole.start) as u32);
        }
        self.bisect.shorten(*ends.last().expect("a call has rows"));
        let rows = &self.order[self.in_flight()];
        let taken = columns.iter().map(|column_idx| self.batch.rows.column(*column_idx).take(rows)).collect();
        let rows = Rows::new(rows.len(), taken).expect("each column was taken at the same rows");
        Request::Add { grouped: Grouped { rows, ends }, states }
    }

    /// Takes the states of an answered call. A group of which every row was refused keeps its state as it was; an empty state for a row
    /// that was added breaks the contract.
    pub(super) fn answered(&mut self, states: &Packed, rejects: Vec<Reject>, sessions: &Sessions) {
        let range = self.in_flight();
        let refused: BTreeMap<usize, Reject> =
            rejects.into_iter().map(|reject| (range.start + reject.row as usize, reject)).collect();
        let has_left = |cluster: &Cluster| {
            let rows = cluster.rows.start.max(range.start)..cluster.rows.end.min(range.end);
            refused.is_empty() || refused.range(rows.clone()).count() < rows.len()
        };
        let clusters = self.clusters(&range);
        let mut answers = self.round[clusters.clone()].iter().zip(states.iter());
        if answers.any(|(cluster, state)| state.is_empty() && has_left(cluster)) {
            return self.faulted(PluginFault::Malformed("an empty state".to_owned()), sessions);
        }
        for (cluster, state) in self.round[clusters].iter_mut().zip(states.iter()) {
            if has_left(cluster) {
                cluster.state = state.to_vec();
            }
        }
        for (at, Reject { code, message, .. }) in refused {
            self.dead.insert(self.order[at], DeadReason::Rejected { code, message });
        }
        self.bisect.succeeded();
    }

    /// The open call gave no answer: it is halved, or its only row given up.
    pub(super) fn faulted(&mut self, fault: PluginFault, sessions: &Sessions) {
        if let Failed::Guilty(at) = self.bisect.failed() {
            let at = self.start + at as usize;
            let cluster = &self.round[self.clusters(&(at..at + 1)).start];
            let state = cluster.given(sessions);
            self.dead.insert_call(self.order[at], DeadReason::Fault(fault), Function::Add, [state].into_iter());
        }
    }

    /// `round` has the rows of `order` from `start` on.
    fn begin_round(&mut self, round: Vec<Cluster>, start: usize) {
        self.round = round;
        self.start = start;
        self.bisect = Bisect::new(self.order.len() - start, CALL_ROWS_MAX);
    }

    /// Puts aside the clusters that hold together without their dead rows. Whether others must be added anew.
    fn end_round(&mut self, sessions: &Sessions) -> bool {
        let round = std::mem::take(&mut self.round);
        let (start, mut again) = (self.order.len(), Vec::new());
        if self.dead.is_empty() {
            self.done.extend(round);
        } else {
            round.into_iter().for_each(|cluster| self.end_cluster(cluster, sessions, &mut again));
        }
        let has_more = !again.is_empty();
        self.begin_round(again, start);
        has_more
    }

    /// Puts `cluster` aside without its dead rows, or what remains of it into `again`.
    fn end_cluster(&mut self, mut cluster: Cluster, sessions: &Sessions, again: &mut Vec<Cluster>) {
        let rows = cluster.rows.clone();
        let left: Vec<u32> = self.order[rows.clone()].iter().filter(|row| !self.dead.contains(**row)).copied().collect();
        if left.len() == rows.len() {
            return self.done.push(cluster);
        }
        let time = |row: &u32| self.batch.times[*row as usize];
        let runs: Vec<&[u32]> = left.chunk_by(|a, b| time(b).0 - time(a).0 <= self.reach_ms).collect();
        if let [whole] = runs.as_slice() {
            (cluster.first, cluster.last) = (time(&whole[0]), time(&whole[whole.len() - 1]));
            if cluster.base.is_none_or(|first| touches(&cluster, sessions.part(cluster.key, first), self.reach_ms)) {
                cluster.rows.end = rows.start + whole.len();
                self.order[cluster.rows.clone()].copy_from_slice(whole);
                return self.done.push(cluster);
            }
        }
        for part in runs {
            let (first, last) = (time(&part[0]), time(&part[part.len() - 1]));
            let rows = self.order.len()..self.order.len() + part.len();
            self.order.extend(part);
            again.push(Cluster { key: cluster.key, first, last, rows, base: None, state: Vec::new() });
        }
    }

    /// Where the rows of the open call stand in `order`.
    fn in_flight(&self) -> Range<usize> {
        let open = self.bisect.open().expect("a call is open");
        self.start + open.start as usize..self.start + open.end as usize
    }

    /// The clusters of a part of the round's order.
    fn clusters(&self, of: &Range<usize>) -> Range<usize> {
        let first = self.round.partition_point(|cluster| cluster.rows.end <= of.start);
        first..first + self.round[first..].partition_point(|cluster| cluster.rows.start < of.end)
    }
}

/// The only session that `cluster` touches.
fn base(cluster: &Cluster, sessions: &Sessions, reach_ms: i64) -> Option<EventTime> {
    let mut touched = sessions.parts(cluster.key).iter().filter(|part| touches(cluster, part, reach_ms));
    let first = touched.next()?.extent.first;
    touched.next().is_none().then_some(first)
}

fn touches(cluster: &Cluster, part: &Part, reach_ms: i64) -> bool {
    cluster.first.0 - part.extent.last.0 <= reach_ms && part.extent.first.0 - cluster.last.0 <= reach_ms
}
