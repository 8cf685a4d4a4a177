//! The clusters of a batch and the parts that are there, on their way to parts that lie farther apart than the reach of the rules.

use super::{
    adding::{Adding, Cluster},
    extent::{Extent, Rules},
    sessions::{self, KeyBytes, Sessions},
};
use crate::{
    column::{Packed, Value},
    letter::call::Function,
    plugin::{PluginFault, Reject, Request},
    stage::{
        Batch, DeadReason,
        bisect::{Bisect, Failed},
        dead::Deads,
    },
    time::EventTime,
};

/// A call ends once its states have more bytes than this: plugins have 64 MiB, and copy.
const CALL_BYTES_MAX: usize = 4 << 20;

#[derive(Debug)]
pub(super) struct Uniting {
    batch: Batch,
    n_rows: usize,
    clusters: Vec<Cluster>,
    unions: Vec<Union>,
    /// The unions of several parts: they are merged by the plugin.
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
    key: KeyBytes,
    extent: Extent,
    /// In the order of time.
    parts: Vec<From>,
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
        let Adding { batch, n_rows, done: mut clusters, dead, .. } = adding;
        clusters.sort_by(|a, b| (&a.key, a.first).cmp(&(&b.key, b.first)));
        let extents: Vec<Extent> = clusters.iter().map(|cluster| extent(cluster, &batch, rules)).collect();
        let mut unions: Vec<Union> = Vec::new();
        let mut start = 0;
        for of_key in clusters.chunk_by(|a, b| a.key == b.key) {
            let new = (start..).zip(of_key).map(|(idx, _)| (extents[idx], From::Cluster(idx)));
            unions_of_key(&of_key[0].key, new, sessions, rules.reach_ms(), &mut unions);
            start += of_key.len();
        }
        for union in &mut unions {
            if let [From::Cluster(idx)] = union.parts[..] {
                union.state = Some(std::mem::take(&mut clusters[idx].state));
            }
        }
        let to_merge: Vec<u32> = (0..).zip(&unions).filter(|(_, union)| union.parts.len() > 1).map(|(idx, _)| idx).collect();
        let bisect = Bisect::new(to_merge.len(), usize::MAX);
        Uniting { batch, n_rows, clusters, unions, to_merge, bisect, dead }
    }

    /// The next call, or `None` when every union has its state or was given up.
    pub(super) fn next_call(&mut self, sessions: &Sessions) -> Option<Request> {
        let range = self.bisect.open_next()?;
        let (mut parts, mut ends) = (Packed::default(), Vec::new());
        for at in range {
            if parts.data().len() > CALL_BYTES_MAX {
                break;
            }
            self.states(at, sessions).for_each(|state| parts.push(state));
            ends.push(parts.len() as u32);
        }
        self.bisect.shorten(ends.len() as u32);
        Some(Request::Merge { parts, ends })
    }

    /// The states of the parts of a union.
    fn states<'a>(&'a self, at: u32, sessions: &'a Sessions) -> impl Iterator<Item = &'a [u8]> {
        let union = &self.unions[self.to_merge[at as usize] as usize];
        let of_key = sessions.of_key(&union.key);
        union.parts.iter().map(move |part| match part {
            From::Cluster(idx) => &self.clusters[*idx].state[..],
            From::Session(first) => {
                let found = of_key.iter().find(|part| part.extent.first == *first);
                &found.expect("nothing changes while it is united").state
            }
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
        let clusters = union.parts.iter().filter_map(|part| if let From::Cluster(idx) = part { Some(*idx) } else { None });
        let mut rows: Vec<u32> = clusters.flat_map(|idx| self.clusters[idx].rows.iter().copied()).collect();
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
        for Union { key, extent, parts, state } in self.unions {
            let Some(state) = state else { continue };
            let start = |part: &From| if let From::Session(first) = part { Some(*first) } else { None };
            let swallowed: Vec<EventTime> = parts.iter().filter_map(start).collect();
            sessions.replace(&key, &swallowed, sessions::Part { extent, state });
        }
        United { batch: self.batch, n_rows: self.n_rows, dead: self.dead }
    }
}

/// What is known of a cluster without its dead rows.
fn extent(cluster: &Cluster, batch: &Batch, rules: Rules) -> Extent {
    let is_end = |row: &u32| rules.cuts.end.is_some_and(|end| batch.rows.column(end).at(*row as usize) == Value::Bool(true));
    let Cluster { first, last, rows, .. } = cluster;
    Extent { first: *first, last: *last, n_rows: rows.len() as u64, is_ended: rows.iter().any(is_end) }
}

/// The unions of one key, whose clusters are `new`. Parts that no cluster touches are no union.
fn unions_of_key(
    key: &KeyBytes,
    new: impl Iterator<Item = (Extent, From)>,
    sessions: &Sessions,
    reach_ms: i64,
    unions: &mut Vec<Union>,
) {
    let old = sessions.of_key(key).iter().map(|part| (part.extent, From::Session(part.extent.first)));
    let mut spans: Vec<(Extent, From)> = old.chain(new).collect();
    spans.sort_by_key(|(extent, _)| (extent.first, extent.last));
    let mut open: Option<Union> = None;
    let mut keep = |union: Option<Union>| {
        unions.extend(union.filter(|union| union.parts.iter().any(|part| matches!(part, From::Cluster(_)))));
    };
    for (extent, part) in spans {
        match &mut open {
            Some(union) if extent.first.0 - union.extent.last.0 <= reach_ms => {
                union.extent = union.extent.with(extent);
                union.parts.push(part);
            }
            _ => keep(open.replace(Union { key: key.clone(), extent, parts: vec![part], state: None })),
        }
    }
    keep(open);
}
