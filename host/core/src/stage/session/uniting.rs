//! The clusters of a batch and the parts that are there, on their way to parts that lie farther apart than the reach of the rules.

use std::ops::Range;

use super::{
    adding::{Adding, Cluster},
    extent::{Extent, Rules},
    sessions::{self, Sessions},
};
use crate::{
    column::{Packed, Value},
    letter::call::Function,
    plugin::{PluginFault, Reject, Request},
    stage::{
        Batch, DeadReason,
        bisect::{Bisect, Failed},
        dead::Deads,
        keys::KeyIdx,
    },
    time::EventTime,
};

/// A call ends once its states have more bytes than this: plugins have 64 MiB, and copy.
const CALL_BYTES_MAX: usize = 4 << 20;

#[derive(Debug)]
pub(super) struct Uniting {
    batch: Batch,
    n_rows: usize,
    /// Rows of the batch, by cluster.
    order: Vec<u32>,
    /// The keys of the batch, each once.
    keys: Vec<KeyIdx>,
    clusters: Vec<Cluster>,
    unions: Vec<Union>,
    /// Of all unions, one after the other.
    parts: Vec<From>,
    /// The unions of several states: they are merged by the plugin.
    to_merge: Vec<u32>,
    /// Its units are positions in `to_merge`.
    bisect: Bisect,
    dead: Deads,
}

/// What became of a batch.
pub(super) struct United {
    pub(super) batch: Batch,
    /// How many rows there were to add, and which of them are dead.
    pub(super) n_rows: usize,
    pub(super) dead: Deads,
}

/// What becomes one part.
#[derive(Debug)]
struct Union {
    key: KeyIdx,
    extent: Extent,
    /// Where its parts stand, in the order of time.
    parts: Range<usize>,
    /// `None`: not merged yet, or given up.
    state: Option<Vec<u8>>,
}

#[derive(Clone, Copy, Debug)]
enum From {
    /// The part of the key that starts here.
    Session(EventTime),
    /// Index of a cluster.
    Cluster(usize),
}

impl Uniting {
    pub(super) fn new(adding: Adding, sessions: &Sessions, rules: Rules) -> Uniting {
        let Adding { batch, n_rows, order, keys, done: mut clusters, dead, .. } = adding;
        // Those of a first round are in this order.
        clusters.sort_by_key(|cluster| (cluster.key, cluster.first));
        let (mut unions, mut parts, mut to_merge) = (Vec::new(), Vec::new(), Vec::new());
        let (mut start, mut spans) = (0, Vec::new());
        for of_key in clusters.chunk_by(|a, b| a.key == b.key) {
            spans.clear();
            spans.extend(sessions.parts(of_key[0].key).iter().map(|part| (part.extent, From::Session(part.extent.first))));
            let new = (start..).zip(of_key).map(|(idx, cluster)| {
                let rows = &order[cluster.rows.clone()];
                (extent(cluster, rows, &batch, rules), From::Cluster(idx))
            });
            spans.extend(new);
            spans.sort_by_key(|(extent, _)| (extent.first, extent.last));
            unions_of_key(of_key[0].key, &spans, rules.reach_ms(), &mut unions, &mut parts);
            start += of_key.len();
        }
        for (idx, union) in (0..).zip(&mut unions) {
            match of_one_state(&parts[union.parts.clone()], &clusters) {
                Some(cluster) => union.state = Some(std::mem::take(&mut clusters[cluster].state)),
                None => to_merge.push(idx),
            }
        }
        let bisect = Bisect::new(to_merge.len(), usize::MAX);
        Uniting { batch, n_rows, order, keys, clusters, unions, parts, to_merge, bisect, dead }
    }

    /// The next call, or `None` when every union has its state or was given up.
    pub(super) fn next_call(&mut self, sessions: &Sessions) -> Option<Request> {
        let range = self.bisect.open_next()?;
        let (mut states, mut ends) = (Packed::default(), Vec::new());
        for at in range {
            if states.data().len() > CALL_BYTES_MAX {
                break;
            }
            self.states(at, sessions).for_each(|state| states.push(state));
            ends.push(states.len() as u32);
        }
        self.bisect.shorten(ends.len() as u32);
        Some(Request::Merge { parts: states, ends })
    }

    /// The states of the parts of a union.
    fn states<'a>(&'a self, at: u32, sessions: &'a Sessions) -> impl Iterator<Item = &'a [u8]> {
        let union = &self.unions[self.to_merge[at as usize] as usize];
        self.parts[union.parts.clone()].iter().map(move |part| match part {
            From::Cluster(idx) => &self.clusters[*idx].state[..],
            From::Session(first) => &sessions.part(union.key, *first).state[..],
        })
    }

    /// Takes the merged states of an answered call. A state that came back empty breaks the contract.
    pub(super) fn answered(&mut self, states: &Packed, rejects: Vec<Reject>, sessions: &Sessions) {
        if states.iter().any(<[u8]>::is_empty) {
            return self.faulted(&PluginFault::Malformed("an empty state".to_owned()), sessions);
        }
        let range = self.bisect.succeeded();
        for (at, state) in range.clone().zip(states.iter()) {
            self.unions[self.to_merge[at as usize] as usize].state = Some(state.to_vec());
        }
        for Reject { row, code, message } in rejects {
            self.give_up(range.start + row, &DeadReason::Rejected { code, message }, sessions);
        }
    }

    /// The open call gave no answer: it is halved, or its only union given up.
    pub(super) fn faulted(&mut self, fault: &PluginFault, sessions: &Sessions) {
        if let Failed::Guilty(at) = self.bisect.failed() {
            self.give_up(at, &DeadReason::Fault(fault.clone()), sessions);
        }
    }

    /// The sessions stay as they were; the rows that came for them are dead. As there may be many, the letter of the first one has the states.
    fn give_up(&mut self, at: u32, why: &DeadReason, sessions: &Sessions) {
        let states: Vec<Vec<u8>> = self.states(at, sessions).map(<[u8]>::to_vec).collect();
        let union = &mut self.unions[self.to_merge[at as usize] as usize];
        union.state = None;
        let parts = self.parts[union.parts.clone()].iter();
        let clusters = parts.filter_map(|part| if let From::Cluster(idx) = part { Some(*idx) } else { None });
        let mut rows: Vec<u32> = clusters.flat_map(|idx| &self.order[self.clusters[idx].rows.clone()]).copied().collect();
        rows.sort_unstable();
        for (nth, row) in rows.into_iter().enumerate() {
            match nth {
                0 => self.dead.insert_call(row, why.clone(), Function::Merge, states.iter().map(Vec::as_slice)),
                _ => self.dead.insert_call_without(row, why.clone(), Function::Merge, &states),
            }
        }
    }

    /// Puts the unions into `sessions`.
    pub(super) fn finish(self, sessions: &mut Sessions) -> United {
        let mut swallowed = Vec::new();
        for Union { key, extent, parts, state } in self.unions {
            let Some(state) = state else { continue };
            let start = |part: &From| if let From::Session(first) = part { Some(*first) } else { None };
            swallowed.clear();
            swallowed.extend(self.parts[parts].iter().filter_map(start));
            sessions.replace(key, &swallowed, sessions::Part { extent, state });
        }
        if !self.dead.is_empty() {
            self.keys.into_iter().for_each(|key| sessions.forget_vacant(key));
        }
        United { batch: self.batch, n_rows: self.n_rows, dead: self.dead }
    }
}

/// What is known of a cluster of `rows`, none of which is dead.
fn extent(cluster: &Cluster, rows: &[u32], batch: &Batch, rules: Rules) -> Extent {
    let is_end = |row: &u32| rules.cuts.end.is_some_and(|end| batch.rows.column(end).at(*row as usize) == Value::Bool(true));
    let Cluster { first, last, .. } = cluster;
    Extent { first: *first, last: *last, n_rows: rows.len() as u64, is_ended: rows.iter().any(is_end) }
}

/// The cluster that has the state of all `parts`: it is alone, or its rows were added to the session that is the other part.
fn of_one_state(parts: &[From], clusters: &[Cluster]) -> Option<usize> {
    match *parts {
        [From::Cluster(idx)] => Some(idx),
        [From::Session(first), From::Cluster(idx)] | [From::Cluster(idx), From::Session(first)] => {
            (clusters[idx].base == Some(first)).then_some(idx)
        }
        _ => None,
    }
}

/// The unions of one key, whose sessions and clusters are `spans`, in order of time. Parts that no cluster touches are no union.
fn unions_of_key(key: KeyIdx, spans: &[(Extent, From)], reach_ms: i64, unions: &mut Vec<Union>, parts: &mut Vec<From>) {
    let mut rest = spans;
    while let Some(((first, _), behind)) = rest.split_first() {
        let mut extent = *first;
        let mut n_spans = 1;
        for (next, _) in behind {
            if next.first.0 - extent.last.0 > reach_ms {
                break;
            }
            extent = extent.with(*next);
            n_spans += 1;
        }
        let (of_union, later) = rest.split_at(n_spans);
        if of_union.iter().any(|(_, part)| matches!(part, From::Cluster(_))) {
            let start = parts.len();
            parts.extend(of_union.iter().map(|(_, part)| *part));
            unions.push(Union { key, extent, parts: start..parts.len(), state: None });
        }
        rest = later;
    }
}
