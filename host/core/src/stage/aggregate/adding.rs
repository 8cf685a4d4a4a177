//! One batch on its way into the panes.
//!
//! Rows are put into groups (pane, key) with one hash and one look-up each; a group's state crosses to the plugin once per call.
//! A call that faults is cut down to its guilty rows ([`Bisect`]), so all others are added, and added once: states are only taken
//! from calls that were answered.

use std::{collections::BTreeMap, ops::Range};

use super::{
    pane::NO_MARK,
    panes::{Cell, Panes},
};
use crate::{
    column::{Packed, Rows},
    key::{HashedKey, encode_key_bytes},
    letter::call::Function,
    plugin::{Grouped, PluginFault, Reject, Request},
    stage::{
        Batch, DeadReason,
        bisect::{Bisect, Failed},
        dead::Deads,
        runs::{as_usize, runs},
    },
    time::EventTime,
    window::Windowing,
};

/// The most rows of one call.
const CALL_ROWS_MAX: usize = 16 * 1024;
/// A call with more bytes of states than this is ended at the next group: plugins have 64 MiB, and copy.
const CALL_BYTES_MAX: usize = 4 << 20;

#[derive(Debug)]
pub(super) struct Adding {
    pub(super) batch: Batch,
    /// The rows to add, sorted by group, in their order within each.
    order: Vec<u32>,
    /// For each of `order`: index into `cells`.
    groups: Vec<u32>,
    /// The groups, in the order of their first rows.
    pub(super) cells: Vec<Cell>,
    /// Whether a group had no state before this batch.
    pub(super) was_vacant: Vec<bool>,
    /// Whether a group got any row, so that not all of its rows are dead.
    pub(super) is_changed: Vec<bool>,
    /// Its units are positions in `order`.
    bisect: Bisect,
    pub(super) dead: Deads,
}

impl Adding {
    /// Groups `rows` of `batch`, and makes their panes and entries.
    pub(super) fn new(batch: Batch, rows: &[u32], key: &[usize], windowing: &Windowing, panes: &mut Panes) -> Adding {
        let mut cells: Vec<Cell> = Vec::new();
        let mut sizes: Vec<u32> = Vec::new();
        let mut group_of = Vec::with_capacity(rows.len());
        let mut key_bytes = Vec::new();
        let mut pane_idx = 0;
        // The pane of the row before: most rows are in the same, and it spares a division and a look-up.
        let mut held = EventTime(0)..EventTime(0);
        for row in rows {
            let at = batch.times[*row as usize];
            if !held.contains(&at) {
                let pane = windowing.pane(at);
                held = pane.start()..pane.end();
                pane_idx = panes.find_or_insert(pane.start());
            }
            key_bytes.clear();
            encode_key_bytes(&batch.rows, key, *row as usize, &mut key_bytes);
            let pane = panes.pane_mut(pane_idx);
            let entry = pane.find_or_insert(HashedKey::new(&key_bytes));
            let mut group = pane.mark(entry);
            if group == NO_MARK {
                group = cells.len() as u32;
                pane.set_mark(entry, group);
                cells.push(Cell { pane: pane_idx, entry });
                sizes.push(0);
            }
            sizes[group as usize] += 1;
            group_of.push(group);
        }
        let is_changed = vec![false; cells.len()];
        let was_vacant = cells.iter().map(|cell| panes.state(*cell).is_empty()).collect();
        for cell in &cells {
            panes.pane_mut(cell.pane).set_mark(cell.entry, NO_MARK);
        }
        let (order, groups) = sorted_by_group(rows, &group_of, &sizes);
        let bisect = Bisect::new(order.len(), CALL_ROWS_MAX);
        Adding { batch, order, groups, cells, was_vacant, is_changed, bisect, dead: Deads::default() }
    }

    /// Takes out the rows that have a group to themselves. Before the first call.
    pub(super) fn leave_alone(&mut self) -> Vec<u32> {
        let mut alone = Vec::new();
        let (mut order, mut groups) = (Vec::with_capacity(self.order.len()), Vec::with_capacity(self.groups.len()));
        for run in self.runs(0..self.order.len()) {
            if run.len() == 1 {
                alone.push(self.order[run.start]);
            } else {
                order.extend_from_slice(&self.order[run.clone()]);
                groups.extend_from_slice(&self.groups[run]);
            }
        }
        self.bisect = Bisect::new(order.len(), CALL_ROWS_MAX);
        (self.order, self.groups) = (order, groups);
        alone
    }

    /// How many rows there are to add.
    pub(super) fn n_rows(&self) -> usize {
        self.order.len()
    }

    /// The rows that are not dead, each with its group: an index into `cells`.
    pub(super) fn alive(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        let rows = self.order.iter().copied().zip(self.groups.iter().copied());
        rows.filter(|(row, _)| !self.dead.contains(*row))
    }

    /// The next call, or `None` when all rows are added or dead.
    pub(super) fn next_call(&mut self, columns: &[usize], panes: &Panes) -> Option<Request> {
        let whole = as_usize(&self.bisect.open_next()?);
        let n_rows = self.n_rows_of_call(whole.clone(), panes);
        self.bisect.shorten(n_rows as u32);
        let range = whole.start..whole.start + n_rows;
        let mut states = Packed::default();
        let mut ends = Vec::new();
        let mut last = None;
        for (row_idx, group) in self.groups[range.clone()].iter().enumerate() {
            if last.replace(*group) != Some(*group) {
                if row_idx > 0 {
                    ends.push(row_idx as u32);
                }
                states.push(panes.state(self.cells[*group as usize]));
            }
        }
        ends.push(range.len() as u32);
        let rows = &self.order[range.clone()];
        let taken = columns.iter().map(|column_idx| self.batch.rows.column(*column_idx).take(rows)).collect();
        let rows = Rows::new(rows.len(), taken).expect("each column was taken at the same rows");
        Some(Request::Add { grouped: Grouped { rows, ends }, states })
    }

    /// Takes the states of an answered call.
    ///
    /// A group of which every row was refused keeps its state as it was, whatever came back for it. An empty state for a row that
    /// was added breaks the contract: it would make the row vanish.
    pub(super) fn answered(&mut self, states: &Packed, rejects: Vec<Reject>, panes: &mut Panes) {
        let range = as_usize(&self.bisect.open().expect("an answer follows a call"));
        let refused: BTreeMap<usize, Reject> =
            rejects.into_iter().map(|reject| (range.start + reject.row as usize, reject)).collect();
        let runs: Vec<Range<usize>> = self.runs(range).collect();
        let n_left =
            |run: &Range<usize>| if refused.is_empty() { run.len() } else { run.len() - refused.range(run.clone()).count() };
        if runs.iter().zip(states.iter()).any(|(run, state)| state.is_empty() && n_left(run) > 0) {
            return self.faulted(PluginFault::Malformed("an empty state".to_owned()), panes);
        }
        for (run, state) in runs.iter().zip(states.iter()) {
            if n_left(run) > 0 {
                let group = self.groups[run.start] as usize;
                self.is_changed[group] = true;
                panes.set_state(self.cells[group], state);
            }
        }
        for (at, Reject { code, message, .. }) in refused {
            self.dead.insert(self.order[at], DeadReason::Rejected { code, message });
        }
        self.bisect.succeeded();
    }

    /// The open call gave no answer: it is halved, or its only row given up.
    pub(super) fn faulted(&mut self, fault: PluginFault, panes: &Panes) {
        if let Failed::Guilty(at) = self.bisect.failed() {
            let (row, cell) = (self.order[at as usize], self.cells[self.groups[at as usize] as usize]);
            self.dead.insert_call(row, DeadReason::Fault(fault), Function::Add, [panes.state(cell)].into_iter());
        }
    }

    /// How many rows of `whole` one call can take: it ends before the group whose state would make it too large.
    fn n_rows_of_call(&self, whole: Range<usize>, panes: &Panes) -> usize {
        let mut n_bytes = 0;
        for run in self.runs(whole.clone()) {
            n_bytes += panes.state(self.cells[self.groups[run.start] as usize]).len();
            if n_bytes > CALL_BYTES_MAX && run.start > whole.start {
                return run.start - whole.start;
            }
        }
        whole.len()
    }

    fn runs(&self, range: Range<usize>) -> impl Iterator<Item = Range<usize>> + '_ {
        runs(&self.groups, range, |a, b| a == b)
    }
}

/// `rows` sorted by their groups, stably, and the group of each. `sizes` holds the number of rows of each group.
fn sorted_by_group(rows: &[u32], group_of: &[u32], sizes: &[u32]) -> (Vec<u32>, Vec<u32>) {
    let mut next: Vec<u32> = sizes
        .iter()
        .scan(0, |sum, size| {
            let start = *sum;
            *sum += size;
            Some(start)
        })
        .collect();
    let mut order = vec![0; rows.len()];
    let mut groups = vec![0; rows.len()];
    for (row, group) in rows.iter().zip(group_of) {
        let at = &mut next[*group as usize];
        order[*at as usize] = *row;
        groups[*at as usize] = *group;
        *at += 1;
    }
    (order, groups)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_sorted_stably() {
        let (order, groups) = sorted_by_group(&[3, 4, 6, 8, 9], &[1, 0, 1, 2, 0], &[2, 2, 1]);
        assert_eq!(order, [4, 9, 3, 6, 8]);
        assert_eq!(groups, [0, 0, 1, 1, 2]);
    }
}
