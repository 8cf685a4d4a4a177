//! Rows that wait for the table to come past them.

use std::collections::{BTreeMap, BTreeSet};

use crate::time::EventTime;

/// About what a row costs beside its bytes and key, for `state_bytes`.
const ROW_BYTES: usize = 12;

/// A row's time, and a number that rises in the order in which rows came.
pub(super) type RowId = (EventTime, u64);

#[derive(Debug)]
pub(super) struct WaitingRow {
    /// Key bytes; none if there is null among them.
    pub(super) key: Box<[u8]>,
    /// All columns, packed.
    pub(super) row: Box<[u8]>,
}

#[derive(Debug, Default)]
pub(super) struct Waiting {
    rows: BTreeMap<RowId, WaitingRow>,
    next: u64,
    dirty: BTreeSet<RowId>,
    n_bytes: usize,
}

impl Waiting {
    pub(super) fn add(&mut self, at: EventTime, key: &[u8], row: &[u8]) {
        let id = (at, self.next);
        self.restore(id, key, row);
        self.dirty.insert(id);
    }

    /// Keeps a row that is already written down.
    pub(super) fn restore(&mut self, id: RowId, key: &[u8], row: &[u8]) {
        self.next = self.next.max(id.1 + 1);
        self.n_bytes += key.len() + row.len() + ROW_BYTES;
        self.rows.insert(id, WaitingRow { key: key.into(), row: row.into() });
    }

    /// Takes the first row with a time before `before`.
    pub(super) fn take_before(&mut self, before: EventTime) -> Option<(EventTime, WaitingRow)> {
        let first = self.rows.first_entry().filter(|first| first.key().0 < before)?;
        let (id, row) = first.remove_entry();
        self.dirty.remove(&id);
        self.n_bytes -= row.key.len() + row.row.len() + ROW_BYTES;
        Some((id.0, row))
    }

    /// The rows that came since the last call and are still there.
    pub(super) fn take_dirty(&mut self) -> impl Iterator<Item = (RowId, &WaitingRow)> {
        let dirty = std::mem::take(&mut self.dirty);
        dirty.into_iter().map(|id| (id, &self.rows[&id]))
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (RowId, &WaitingRow)> {
        self.rows.iter().map(|(id, row)| (*id, row))
    }

    /// Bytes of all rows with their keys, and a little for each.
    pub(super) fn n_bytes(&self) -> usize {
        self.n_bytes
    }
}
