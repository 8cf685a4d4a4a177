//! The calls that turn some results into rows: merge what has several parts, in rounds, then emit.

use super::{
    firing::{Source, Unit, Units},
    merging::Merging,
    panes::Panes,
    trails::Trails,
};
use crate::{
    column::{Kind, Packed, Rows},
    key::{decode_key_bytes, empty_columns},
    letter::call::Function,
    plugin::{PluginFault, Reject, Request, Routed},
    stage::{
        Batch, DeadReason, Outbox, RowsOf,
        bisect::{Bisect, Failed},
        dead::Deads,
    },
    time::EventTime,
};

/// A call ends once its states have more bytes than this: plugins have 64 MiB, and copy.
const CALL_BYTES_MAX: usize = 4 << 20;

#[derive(Debug)]
pub(super) struct Calls {
    units: Units,
    /// The state of each unit.
    mergings: Vec<Merging>,
    step: Step,
    /// The units of this step: those that wait for a merge, then those that are alive.
    of_step: Vec<u32>,
    /// Its units are positions in `of_step`.
    bisect: Bisect,
    /// For each unit of the open merge: how many parts it gave.
    n_parts: Vec<usize>,
    dead: Deads,
    is_dead: Vec<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    Merge,
    Emit,
}

/// Where states are.
pub(super) struct States<'a> {
    pub(super) panes: &'a Panes,
    pub(super) trails: &'a mut Trails,
}

impl Calls {
    pub(super) fn new(units: Units, states: States<'_>) -> Calls {
        let merging = |unit: &Unit| match &unit.source {
            Source::Cells(cells) => Merging::of_cells(&units.cells, cells.clone()),
            Source::Trail(trail, sequence) => Merging::of_trail(states.trails, *trail, *sequence, unit.window),
        };
        let mergings: Vec<Merging> = units.units.iter().map(merging).collect();
        let of_step: Vec<u32> = (0..).zip(&mergings).filter(|(_, merging)| !merging.is_done()).map(|(idx, _)| idx).collect();
        let bisect = Bisect::new(of_step.len(), usize::MAX);
        let is_dead = vec![false; units.units.len()];
        Calls { units, mergings, step: Step::Merge, of_step, bisect, n_parts: Vec::new(), dead: Deads::default(), is_dead }
    }

    /// The next call, or `None` when every result was emitted or is dead.
    pub(super) fn next_call(&mut self, states: States<'_>, key: &[Kind]) -> Option<Request> {
        loop {
            if self.bisect.open_next().is_some() {
                return Some(match self.step {
                    Step::Merge => self.merge(&states),
                    Step::Emit => self.emit(&states, key),
                });
            }
            if self.step == Step::Emit {
                return None;
            }
            // The end of a round of merges: some states may need another one.
            self.of_step.retain(|idx| !self.is_dead[*idx as usize] && !self.mergings[*idx as usize].is_done());
            if self.of_step.is_empty() {
                self.of_step = (0..self.units.units.len() as u32).filter(|idx| !self.is_dead[*idx as usize]).collect();
                self.step = Step::Emit;
            }
            self.bisect = Bisect::new(self.of_step.len(), usize::MAX);
        }
    }

    fn merge(&mut self, states: &States<'_>) -> Request {
        let (mut parts, mut ends) = (Packed::default(), Vec::new());
        let mut n_parts = std::mem::take(&mut self.n_parts);
        n_parts.clear();
        for idx in self.in_flight() {
            if parts.data().len() > CALL_BYTES_MAX {
                break;
            }
            let before = parts.len();
            self.mergings[*idx as usize].push_parts(&self.units.cells, states.panes, states.trails, &mut parts);
            n_parts.push(parts.len() - before);
            ends.push(parts.len() as u32);
        }
        self.n_parts = n_parts;
        self.bisect.shorten(ends.len() as u32);
        Request::Merge { parts, ends }
    }

    fn emit(&mut self, states: &States<'_>, key: &[Kind]) -> Request {
        let mut packed = Packed::default();
        for idx in self.in_flight() {
            if packed.data().len() > CALL_BYTES_MAX {
                break;
            }
            packed.push(self.mergings[*idx as usize].state(states.panes, states.trails));
        }
        self.bisect.shorten(packed.len() as u32);
        let in_flight = self.in_flight();
        let windows = in_flight.iter().map(|idx| self.units.units[*idx as usize].window).collect();
        let keys = self.keys(in_flight.iter().copied(), states, key);
        Request::Emit { windows, keys, states: packed }
    }

    fn keys(&self, units: impl ExactSizeIterator<Item = u32>, states: &States<'_>, key: &[Kind]) -> Rows {
        let n_rows = units.len();
        let mut columns = empty_columns(key);
        for idx in units {
            let bytes = match &self.units.units[idx as usize].source {
                Source::Cells(cells) => states.panes.key(self.units.cells[cells.start]),
                Source::Trail(trail, _) => states.trails.key(*trail),
            };
            decode_key_bytes(bytes, &mut columns).expect("keys are encoded here, and checked when restored");
        }
        Rows::new(n_rows, columns).expect("each key has one value for each column")
    }

    /// Takes the merged states of an answered call. A state that came back empty breaks the contract.
    pub(super) fn merge_answered(&mut self, merged: &Packed, rejects: Vec<Reject>, states: States<'_>) {
        if merged.iter().any(<[u8]>::is_empty) {
            return self.faulted(PluginFault::Malformed("an empty state".to_owned()), states);
        }
        self.rejected(rejects, &states);
        for ((at, state), n_parts) in self.bisect.succeeded().zip(merged.iter()).zip(&self.n_parts) {
            let idx = self.of_step[at as usize] as usize;
            match self.is_dead[idx] {
                true => self.mergings[idx].give_up(states.trails),
                false => self.mergings[idx].merged(state, *n_parts, states.trails),
            }
        }
    }

    /// Gives the rows of an answered call to `out`.
    pub(super) fn emit_answered(
        &mut self,
        routed: Vec<Routed>,
        rejects: Vec<Reject>,
        states: States<'_>,
        upsert: bool,
        out: &mut Outbox,
    ) {
        let in_flight = self.in_flight();
        let unit = |origin: &u32| &self.units.units[in_flight[*origin as usize] as usize];
        for Routed { output, rows, origins } in routed {
            out.counts.rows_out += rows.len() as u64;
            let times = origins.iter().map(|origin| row_time(unit(origin).window.end())).collect();
            let revisions = upsert.then(|| origins.iter().map(|origin| unit(origin).revision).collect());
            out.emitted.push((output as usize, Batch::made(rows, times, revisions)));
        }
        self.rejected(rejects, &states);
        self.bisect.succeeded();
    }

    /// The open call gave no answer: it is halved, or its only result given up.
    pub(super) fn faulted(&mut self, fault: PluginFault, states: States<'_>) {
        if let Failed::Guilty(at) = self.bisect.failed() {
            let idx = self.of_step[at as usize];
            self.kill(idx, DeadReason::Fault(fault), &states);
            self.mergings[idx as usize].give_up(states.trails);
        }
    }

    /// The units of the open call.
    fn in_flight(&self) -> &[u32] {
        let open = self.bisect.open().expect("a call is open");
        &self.of_step[open.start as usize..open.end as usize]
    }

    fn rejected(&mut self, rejects: Vec<Reject>, states: &States<'_>) {
        for Reject { row, code, message } in rejects {
            let idx = self.in_flight()[row as usize];
            if !self.is_dead[idx as usize] {
                self.kill(idx, DeadReason::Rejected { code, message }, states);
            }
        }
    }

    /// This unit is dead in the call of this step: before anything of its state changes.
    fn kill(&mut self, idx: u32, why: DeadReason, states: &States<'_>) {
        self.is_dead[idx as usize] = true;
        let merging = &self.mergings[idx as usize];
        match self.step {
            Step::Merge => {
                let mut parts = Packed::default();
                merging.push_parts(&self.units.cells, states.panes, states.trails, &mut parts);
                self.dead.insert_call(idx, why, Function::Merge, parts.iter());
            }
            Step::Emit => {
                let function = Function::Emit { window: self.units.units[idx as usize].window };
                self.dead.insert_call(idx, why, function, [merging.state(states.panes, states.trails)].into_iter());
            }
        }
    }

    pub(super) fn is_merging(&self) -> bool {
        self.step == Step::Merge
    }

    /// The dead results, each as a row of its key: called once, at the end.
    pub(super) fn finish(self, states: States<'_>, key: &[Kind], out: &mut Outbox) {
        if self.dead.is_empty() {
            return;
        }
        let units = self.dead.units();
        out.counts.dead_panes += units.len() as u64;
        let rows = self.keys(units.iter().copied(), &states, key);
        let times = units.iter().map(|idx| row_time(self.units.units[*idx as usize].window.end())).collect();
        out.dead.push(self.dead.into_rows(Batch::made(rows, times, None), RowsOf::Key));
    }
}

/// The event time of a window's rows: the last ms that belongs to it.
fn row_time(window_end: EventTime) -> EventTime {
    EventTime(window_end.0 - 1)
}
