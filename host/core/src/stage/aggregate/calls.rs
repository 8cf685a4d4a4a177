//! The calls that turn some results into rows: merge what has several parts, then emit.

use super::{firing::Units, panes::Panes};
use crate::{
    column::{Kind, Packed, Rows},
    key::{decode_key_bytes, empty_columns},
    plugin::{PluginFault, Reject, Request, Routed},
    stage::{
        Batch, DeadReason, DeadRows, Origins, Outbox, RowsOf,
        bisect::{Bisect, Failed},
    },
    time::EventTime,
};

/// Has no merged state: one part, or none yet.
const UNMERGED: u32 = u32::MAX;

#[derive(Debug)]
pub(super) struct Calls {
    units: Units,
    step: Step,
    /// The units of this step: those with several parts, then those that are alive.
    of_step: Vec<u32>,
    /// Its units are positions in `of_step`.
    bisect: Bisect,
    merged: Packed,
    /// For each unit: where in `merged` its state is.
    merged_of: Vec<u32>,
    dead: Vec<(u32, DeadReason)>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    Merge,
    Emit,
}

impl Calls {
    pub(super) fn new(units: Units) -> Calls {
        let several = |idx: &u32| units.units[*idx as usize].parts.len() > 1;
        let of_step: Vec<u32> = (0..units.units.len() as u32).filter(several).collect();
        let merged_of = vec![UNMERGED; units.units.len()];
        let bisect = Bisect::new(of_step.len(), usize::MAX);
        Calls { units, step: Step::Merge, of_step, bisect, merged: Packed::default(), merged_of, dead: Vec::new() }
    }

    /// The next call, or `None` when every result was emitted or is dead.
    pub(super) fn next_call(&mut self, panes: &Panes, key: &[Kind]) -> Option<Request> {
        loop {
            match self.bisect.open_next() {
                Some(_) => {
                    return Some(match self.step {
                        Step::Merge => self.merge(panes),
                        Step::Emit => self.emit(panes, key),
                    });
                }
                None if self.step == Step::Merge => {
                    let dead = &self.dead;
                    let alive = (0..self.units.units.len() as u32).filter(|idx| dead.iter().all(|(dead, _)| dead != idx));
                    self.of_step = alive.collect();
                    self.step = Step::Emit;
                    self.bisect = Bisect::new(self.of_step.len(), usize::MAX);
                }
                None => return None,
            }
        }
    }

    fn merge(&self, panes: &Panes) -> Request {
        let (mut parts, mut ends) = (Packed::default(), Vec::new());
        for idx in self.in_flight() {
            for cell in &self.units.cells[self.units.units[*idx as usize].parts.clone()] {
                parts.push(panes.state(*cell));
            }
            ends.push(parts.len() as u32);
        }
        Request::Merge { parts, ends }
    }

    fn emit(&self, panes: &Panes, key: &[Kind]) -> Request {
        let in_flight = self.in_flight();
        let mut states = Packed::default();
        for idx in in_flight {
            match self.merged_of[*idx as usize] {
                UNMERGED => states.push(panes.state(self.units.cells[self.units.units[*idx as usize].parts.start])),
                merged => states.push(self.merged.at(merged as usize)),
            }
        }
        let windows = in_flight.iter().map(|idx| self.units.units[*idx as usize].window).collect();
        Request::Emit { windows, keys: self.keys(in_flight.iter().copied(), panes, key), states }
    }

    fn keys(&self, units: impl ExactSizeIterator<Item = u32>, panes: &Panes, key: &[Kind]) -> Rows {
        let n_rows = units.len();
        let mut columns = empty_columns(key);
        for idx in units {
            let cell = self.units.cells[self.units.units[idx as usize].parts.start];
            decode_key_bytes(panes.key(cell), &mut columns).expect("keys are encoded here, and checked when restored");
        }
        Rows::new(n_rows, columns).expect("each key has one value for each column")
    }

    /// Takes the merged states of an answered call. A state that came back empty breaks the contract.
    pub(super) fn merge_answered(&mut self, states: &Packed, rejects: Vec<Reject>) {
        if states.iter().any(<[u8]>::is_empty) {
            return self.faulted(PluginFault::Malformed("an empty state".to_owned()));
        }
        self.rejected(rejects);
        for (at, state) in self.bisect.succeeded().zip(states.iter()) {
            self.merged_of[self.of_step[at as usize] as usize] = self.merged.len() as u32;
            self.merged.push(state);
        }
    }

    /// Gives the rows of an answered call to `out`.
    pub(super) fn emit_answered(&mut self, routed: Vec<Routed>, rejects: Vec<Reject>, upsert: bool, out: &mut Outbox) {
        let in_flight = self.in_flight();
        let unit = |origin: &u32| &self.units.units[in_flight[*origin as usize] as usize];
        for Routed { output, rows, origins } in routed {
            out.counts.rows_out += rows.len() as u64;
            let times = origins.iter().map(|origin| row_time(unit(origin).window.end())).collect();
            let revisions = upsert.then(|| origins.iter().map(|origin| unit(origin).revision).collect());
            out.emitted.push((output as usize, Batch { rows, times, origins: Origins::Rows, revisions }));
        }
        self.rejected(rejects);
        self.bisect.succeeded();
    }

    /// The open call gave no answer: it is halved, or its only result given up.
    pub(super) fn faulted(&mut self, fault: PluginFault) {
        if let Failed::Guilty(at) = self.bisect.failed() {
            self.dead.push((self.of_step[at as usize], DeadReason::Fault(fault)));
        }
    }

    /// The units of the open call.
    fn in_flight(&self) -> &[u32] {
        let open = self.bisect.open().expect("a call is open");
        &self.of_step[open.start as usize..open.end as usize]
    }

    fn rejected(&mut self, rejects: Vec<Reject>) {
        for Reject { row, code, message } in rejects {
            let idx = self.in_flight()[row as usize];
            if self.dead.iter().all(|(dead, _)| *dead != idx) {
                self.dead.push((idx, DeadReason::Rejected { code, message }));
            }
        }
    }

    pub(super) fn is_merging(&self) -> bool {
        self.step == Step::Merge
    }

    /// The dead results, each as a row of its key: called once, at the end.
    pub(super) fn finish(mut self, panes: &Panes, key: &[Kind], out: &mut Outbox) {
        if self.dead.is_empty() {
            return;
        }
        self.dead.sort_by_key(|(idx, _)| *idx);
        out.counts.dead_panes += self.dead.len() as u64;
        let rows = self.keys(self.dead.iter().map(|(idx, _)| *idx), panes, key);
        let times = self.dead.iter().map(|(idx, _)| row_time(self.units.units[*idx as usize].window.end())).collect();
        let reasons = self.dead.into_iter().map(|(_, reason)| reason).collect();
        out.dead.push(DeadRows {
            batch: Batch { rows, times, origins: Origins::Rows, revisions: None },
            of: RowsOf::Key,
            reasons,
        });
    }
}

/// The event time of a window's rows: the last ms that belongs to it.
fn row_time(window_end: EventTime) -> EventTime {
    EventTime(window_end.0 - 1)
}
