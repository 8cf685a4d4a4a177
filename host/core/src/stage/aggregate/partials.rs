//! States that were added up before the shuffle ([`super::combine`]), on their way into the panes.
//!
//! A state for which a key has none in its pane yet becomes it, without a call; any other is merged into the one that is there. Their rows were
//! counted where they were added, so a merge that breaks the plugin is a result that is lost, as when a window fires.

use super::{
    Aggregate, Facts, Work,
    pane::NO_MARK,
    panes::{Cell, Panes},
};
use crate::{
    column::{Packed, Rows, Value},
    key::{HashedKey, encode_key_bytes},
    letter::call::Function,
    plugin::{PluginFault, Reject, Request},
    stage::{
        Batch, DeadReason, Outbox, RowsOf,
        bisect::{Bisect, Failed},
        dead::Deads,
    },
    time::Watermark,
};

/// A call with more bytes of states than this is ended at the next group: plugins have 64 MiB, and copy.
const CALL_BYTES_MAX: usize = 4 << 20;

#[derive(Debug)]
pub(super) struct Uniting {
    /// Columns: those of the key, and the states.
    batch: Batch,
    n_key_columns: usize,
    /// The keys in their panes, in the order of their first states.
    cells: Vec<Cell>,
    /// For each cell: its rows in `batch`.
    parts: Vec<Vec<u32>>,
    was_vacant: Vec<bool>,
    is_changed: Vec<bool>,
    /// The cells that need a merge.
    to_merge: Vec<u32>,
    /// Its units are positions in `to_merge`.
    bisect: Bisect,
    /// By row of `batch`.
    dead: Deads,
}

impl Uniting {
    /// Puts each state to its pane and key. `late`: those that come too late, which whoever sent them has promised would not be.
    fn new(batch: Batch, late: &[u32], facts: &Facts, panes: &mut Panes) -> Uniting {
        let key: Vec<usize> = (0..facts.key.len()).collect();
        let (mut cells, mut parts): (Vec<Cell>, Vec<Vec<u32>>) = (Vec::new(), Vec::new());
        let mut dead = Deads::default();
        let mut key_bytes = Vec::new();
        for row in 0..batch.len() as u32 {
            if late.contains(&row) {
                let message = "a partial state of a window that is closed".to_owned();
                dead.insert(row, DeadReason::Rejected { code: 0, message });
                continue;
            }
            let pane_idx = panes.find_or_insert(facts.windowing.pane(batch.times[row as usize]).start());
            key_bytes.clear();
            encode_key_bytes(&batch.rows, &key, row as usize, &mut key_bytes);
            let pane = panes.pane_mut(pane_idx);
            let entry = pane.find_or_insert(HashedKey::new(&key_bytes));
            match pane.mark(entry) {
                NO_MARK => {
                    pane.set_mark(entry, cells.len() as u32);
                    cells.push(Cell { pane: pane_idx, entry });
                    parts.push(vec![row]);
                }
                cell => parts[cell as usize].push(row),
            }
        }
        let was_vacant: Vec<bool> = cells.iter().map(|cell| panes.state(*cell).is_empty()).collect();
        let mut uniting = Uniting {
            batch,
            n_key_columns: key.len(),
            is_changed: vec![false; cells.len()],
            cells,
            parts,
            was_vacant,
            to_merge: Vec::new(),
            bisect: Bisect::default(),
            dead,
        };
        uniting.put_first_ones(panes);
        uniting
    }

    /// Puts the states that need no merge, and lists the others.
    fn put_first_ones(&mut self, panes: &mut Panes) {
        for (idx, cell) in self.cells.iter().enumerate() {
            panes.pane_mut(cell.pane).set_mark(cell.entry, NO_MARK);
            match (self.was_vacant[idx], &self.parts[idx][..]) {
                (true, [row]) => {
                    panes.set_state(*cell, self.state(*row));
                    self.is_changed[idx] = true;
                }
                _ => self.to_merge.push(idx as u32),
            }
        }
        self.bisect = Bisect::new(self.to_merge.len(), usize::MAX);
    }

    fn state(&self, row: u32) -> &[u8] {
        match self.batch.rows.column(self.n_key_columns).at(row as usize) {
            Value::Bytes(state) => state,
            other => unreachable!("a state is bytes, frames are checked: {other:?}"),
        }
    }

    /// The next call, or `None` when all states are in their panes, or dead.
    pub(super) fn next_call(&mut self, panes: &Panes) -> Option<Request> {
        let open = self.bisect.open_next()?;
        let (mut parts, mut ends) = (Packed::default(), Vec::new());
        for unit in open {
            if parts.data().len() > CALL_BYTES_MAX {
                break;
            }
            self.parts_of(self.to_merge[unit as usize], panes).for_each(|part| parts.push(part));
            ends.push(parts.len() as u32);
        }
        self.bisect.shorten(ends.len() as u32);
        Some(Request::Merge { parts, ends })
    }

    /// The state that is there, and those that came.
    fn parts_of<'a>(&'a self, cell: u32, panes: &'a Panes) -> impl Iterator<Item = &'a [u8]> {
        let there = Some(panes.state(self.cells[cell as usize])).filter(|state| !state.is_empty());
        there.into_iter().chain(self.parts[cell as usize].iter().map(|row| self.state(*row)))
    }

    /// Takes the merged states of an answered call. A state that came back empty breaks the contract.
    pub(super) fn answered(&mut self, merged: &Packed, rejects: Vec<Reject>, panes: &mut Panes) {
        if merged.iter().any(<[u8]>::is_empty) {
            return self.faulted(PluginFault::Malformed("an empty state".to_owned()), panes);
        }
        let open = self.bisect.succeeded();
        let mut refused = vec![false; merged.len()];
        for Reject { row, code, message } in rejects {
            if !std::mem::replace(&mut refused[row as usize], true) {
                self.kill(open.start + row, DeadReason::Rejected { code, message }, panes);
            }
        }
        for ((unit, state), _) in open.zip(merged.iter()).zip(refused).filter(|(_, is_refused)| !is_refused) {
            let cell = self.to_merge[unit as usize] as usize;
            self.is_changed[cell] = true;
            panes.set_state(self.cells[cell], state);
        }
    }

    /// The open call gave no answer: it is halved, or the states for its only key are given up.
    pub(super) fn faulted(&mut self, fault: PluginFault, panes: &Panes) {
        if let Failed::Guilty(unit) = self.bisect.failed() {
            self.kill(unit, DeadReason::Fault(fault), panes);
        }
    }

    fn kill(&mut self, unit: u32, why: DeadReason, panes: &Panes) {
        let cell = self.to_merge[unit as usize];
        let mut dead = std::mem::take(&mut self.dead);
        dead.insert_call(self.parts[cell as usize][0], why, Function::Merge, self.parts_of(cell, panes));
        self.dead = dead;
    }
}

impl Aggregate {
    pub(super) fn unite(&mut self, batch: Batch, marks: &[Watermark], out: &mut Outbox) {
        let Facts { windowing, lateness_ms, .. } = &self.facts;
        let is_late = |row: &u32| {
            let end = windowing.pane(batch.times[*row as usize]).end();
            marks[*row as usize].minus(*lateness_ms).reached(end)
        };
        let late: Vec<u32> = (0..batch.len() as u32).filter(is_late).collect();
        let uniting = Uniting::new(batch, &late, &self.facts, &mut self.panes);
        self.work = Work::Uniting(Box::new(uniting));
        self.settle(out);
    }

    /// All states are in their panes, or dead.
    pub(super) fn finish_uniting(&mut self, out: &mut Outbox) {
        let Work::Uniting(uniting) = std::mem::replace(&mut self.work, Work::Idle) else { return };
        let Uniting { batch, n_key_columns, cells, was_vacant, is_changed, dead, .. } = *uniting;
        out.counts.dead_panes += dead.len() as u64;
        if !dead.is_empty() {
            let rows = batch.take(&dead.units());
            let keys = Rows::new(rows.len(), rows.rows.columns()[..n_key_columns].to_vec()).expect("columns of one batch");
            out.dead.push(dead.into_rows(Batch::made(keys, rows.times, None), RowsOf::Key));
        }
        self.note_changes(&cells, &was_vacant, &is_changed);
    }
}
