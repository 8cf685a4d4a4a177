//! What one program wrote against what the other wrote.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    Pair, Tally,
    written::{Outlet, Outlets, Written},
};
use crate::{
    plan::Plan,
    record::{Outgoing, Partition, Record},
};

/// So many rows that the other program has not written so far are remembered, or bytes of them: it may still do so (I-9).
const OPEN_MAX: usize = 100_000;
const OPEN_BYTES_MAX: usize = 64 << 20;

/// The rows that each of two programs wrote, of which equal ones were taken away.
#[derive(Debug)]
pub struct Comparison {
    outlets: [Outlets; 2],
    first_max: usize,
    open: BTreeMap<Place, [Vec<Written>; 2]>,
    n_open: usize,
    n_open_bytes: usize,
    tallies: BTreeMap<Outlet, Compared>,
}

/// What was found in one outlet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compared {
    pub rows: Tally<Written>,
    /// How many keys have rows that differ. A key counts again where its rows differ again after [`OPEN_MAX`] others.
    pub n_keys: u64,
}

/// Rows of one place can be versions of each other.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    at: Outlet,
    key: Option<Vec<u8>>,
    time_ms: i64,
}

impl Comparison {
    /// `first_max`: how many differences of each outlet are kept, beside their number.
    pub fn new(old: &Arc<Plan>, new: &Arc<Plan>, first_max: usize) -> Comparison {
        Comparison {
            outlets: [Outlets::of(old), Outlets::of(new)],
            first_max,
            open: BTreeMap::new(),
            n_open: 0,
            n_open_bytes: 0,
            tallies: BTreeMap::new(),
        }
    }

    /// Takes what both wrote when they were given the same input.
    pub fn compare(&mut self, old: &[Outgoing], new: &[Outgoing]) {
        let mut topics: Vec<&Arc<str>> = old.iter().chain(new).map(|outgoing| &outgoing.topic).collect();
        topics.sort();
        topics.dedup();
        for topic in topics {
            let sides = [old, new].map(|all| all.iter().filter(|one| one.topic == *topic).collect::<Vec<_>>());
            // Nearly always: then no row needs to be looked up.
            if records(&sides[0]).eq(records(&sides[1])) {
                let outlets = &self.outlets[0];
                let n_rows = each_record(&sides[0]).map(|(outgoing, idx)| outlets.n_rows(outgoing, idx)).sum::<u64>();
                self.tallies.entry(outlets.outlet(topic)).or_default().rows.equal += n_rows;
                continue;
            }
            for (side, written) in sides.iter().enumerate() {
                let mut rows = Vec::new();
                each_record(written)
                    .for_each(|(outgoing, idx)| self.outlets[side].rows(outgoing, idx, &mut |row| rows.push(row)));
                rows.into_iter().for_each(|row| self.take(side, row));
            }
        }
        if self.n_open > OPEN_MAX || self.n_open_bytes > OPEN_BYTES_MAX {
            self.settle();
        }
    }

    /// How many rows differ, as far as it is known.
    pub fn n_differing(&self) -> u64 {
        self.tallies.values().map(|compared| compared.rows.differing()).sum::<u64>() + self.n_open as u64
    }

    /// What was found, by outlet: rows that nobody has written the like of are differences now.
    pub fn finish(mut self) -> BTreeMap<Outlet, Compared> {
        self.settle();
        self.tallies
    }

    fn take(&mut self, side: usize, row: Written) {
        let place = Place { at: row.at, key: row.key.clone(), time_ms: row.time_ms };
        let open = self.open.entry(place.clone()).or_default();
        match open[1 - side].iter().position(|other| *other == row) {
            Some(equal) => {
                open[1 - side].remove(equal);
                if open.iter().all(Vec::is_empty) {
                    self.open.remove(&place);
                }
                self.n_open -= 1;
                self.n_open_bytes -= row.n_bytes();
                self.tallies.entry(row.at).or_default().rows.equal += 1;
            }
            None => {
                self.n_open += 1;
                self.n_open_bytes += row.n_bytes();
                open[side].push(row);
            }
        }
    }

    /// Rows of one place that are open on both sides are versions of each other, in their order.
    fn settle(&mut self) {
        let mut last: Option<(Outlet, Option<Vec<u8>>)> = None;
        for (place, [old, new]) in std::mem::take(&mut self.open) {
            let Compared { rows, n_keys } = self.tallies.entry(place.at).or_default();
            let of_key = (place.at, place.key);
            *n_keys += u64::from(last.as_ref() != Some(&of_key));
            last = Some(of_key);
            let (mut old, mut new) = (old.into_iter(), new.into_iter());
            loop {
                let pair = match (old.next(), new.next()) {
                    (Some(old), Some(new)) => Pair::Changed { old, new },
                    (Some(old), None) => Pair::OnlyOld(old),
                    (None, Some(new)) => Pair::OnlyNew(new),
                    (None, None) => break,
                };
                rows.differs(pair, self.first_max);
            }
        }
        (self.n_open, self.n_open_bytes) = (0, 0);
    }
}

impl Written {
    /// Of what it holds; twice the key, which names its place.
    fn n_bytes(&self) -> usize {
        let len = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
        2 * len(&self.key) + len(&self.value) + self.headers.iter().map(|(name, bytes)| name.len() + bytes.len()).sum::<usize>()
    }
}

/// The records of one topic in their order, however they were cut into batches.
fn each_record<'a>(written: &'a [&Outgoing]) -> impl Iterator<Item = (&'a Outgoing, usize)> {
    written.iter().flat_map(|outgoing| (0..outgoing.len()).map(|record_idx| (*outgoing, record_idx)))
}

/// The same with their partitions; their places in batches are no part of them.
fn records<'a>(written: &'a [&Outgoing]) -> impl Iterator<Item = (Partition, Record<'a>)> {
    each_record(written).map(|(outgoing, idx)| (outgoing.partitions[idx], Record { offset: 0, ..outgoing.records.record(idx) }))
}
