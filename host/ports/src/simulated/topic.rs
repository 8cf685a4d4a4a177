//! One partition of a topic: slots with offsets, some of them visible.

use std::collections::{BTreeSet, VecDeque};

use reelflow_core::record::{Header, Offset, Record};

pub(super) type TransactionId = u64;

/// A record as it stands in the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRecord {
    pub offset: Offset,
    pub timestamp_ms: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<Header>,
}

impl StoredRecord {
    pub fn as_record(&self) -> Record<'_> {
        Record {
            offset: self.offset,
            timestamp_ms: self.timestamp_ms,
            key: self.key.as_deref(),
            value: self.value.as_deref(),
            headers: &self.headers,
        }
    }
}

#[derive(Debug)]
enum Slot {
    Record {
        record: StoredRecord,
        transaction: Option<TransactionId>,
    },
    /// The end of a transaction takes an offset too.
    Marker,
}

/// Which transactions a reader of committed records must wait for, or pass over.
#[derive(Debug, Default)]
pub(super) struct Fates {
    pub open: BTreeSet<TransactionId>,
    pub aborted: BTreeSet<TransactionId>,
}

#[derive(Debug, Default)]
pub(super) struct PartitionLog {
    earliest: Offset,
    slots: VecDeque<Slot>,
}

impl PartitionLog {
    pub fn earliest(&self) -> Offset {
        self.earliest
    }

    /// Appends a copy of `record`, as part of `transaction` if there is one. Gives its offset.
    pub fn push(&mut self, record: Record<'_>, transaction: Option<TransactionId>) -> Offset {
        let offset = self.end();
        let record = StoredRecord {
            offset,
            timestamp_ms: record.timestamp_ms,
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            headers: record.headers.to_vec(),
        };
        self.slots.push_back(Slot::Record { record, transaction });
        offset
    }

    pub fn push_marker(&mut self) {
        self.slots.push_back(Slot::Marker);
    }

    /// The last stable offset: where the first open transaction begins, or the end.
    pub fn stable_end(&self, fates: &Fates) -> Offset {
        let is_open = |slot: &Slot| matches!(slot, Slot::Record { transaction: Some(id), .. } if fates.open.contains(id));
        let n_stable = self.slots.iter().position(is_open).unwrap_or(self.slots.len());
        self.earliest + n_stable as Offset
    }

    /// The committed records with `from <= offset < to`; `to` is at most the stable end.
    pub fn committed<'a>(&'a self, from: Offset, to: Offset, fates: &'a Fates) -> impl Iterator<Item = &'a StoredRecord> {
        let first = (from - self.earliest).max(0) as usize;
        let last = (to - self.earliest).max(0) as usize;
        self.slots.range(first.min(self.slots.len())..last.min(self.slots.len())).filter_map(|slot| match slot {
            Slot::Record { transaction: Some(id), .. } if fates.aborted.contains(id) => None,
            Slot::Record { record, .. } => Some(record),
            Slot::Marker => None,
        })
    }

    pub fn trim(&mut self, before: Offset) {
        let n_slots = (before - self.earliest).clamp(0, self.slots.len() as Offset);
        self.slots.drain(..n_slots as usize);
        self.earliest += n_slots;
    }

    /// One past the last slot, visible or not.
    pub fn end(&self) -> Offset {
        self.earliest + self.slots.len() as Offset
    }
}
