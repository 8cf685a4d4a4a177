//! Settled parts on their way into sessions, and closed sessions on their way out: what has several parts is merged, what is closed is emitted.
//!
//! A session of which the merging breaks the plugin is lost: a dead row of its key tells it. What comes later begins another one.

use std::ops::Range;

use super::{
    extent::{Extent, Rules},
    sessions::{Due, Part, Sessions},
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
    time::{EventTime, Window},
};

/// About how many parts are taken at a time.
pub(super) const PARTS_MAX: usize = 4096;
/// The most parts of one session in one call.
const MERGED_MAX: usize = 1024;
/// A call ends once its states have more bytes than this: plugins have 64 MiB, and copy.
const CALL_BYTES_MAX: usize = 4 << 20;

#[derive(Debug)]
pub(super) struct Closing {
    rules: Rules,
    keys: Packed,
    runs: Vec<Run>,
    /// Of the parts of all runs, one after the other.
    states: Vec<Vec<u8>>,
    step: Step,
    /// The runs of this step: those that have several parts, then those that are closed.
    of_step: Vec<u32>,
    /// Its units are positions in `of_step`.
    bisect: Bisect,
    dead: Deads,
}

/// What is one session.
#[derive(Debug)]
struct Run {
    /// Index in `keys`.
    key: usize,
    extent: Extent,
    /// Where those of its parts stand, in the order of time; one once it is merged.
    states: Range<usize>,
    is_closed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    Merge,
    Emit,
}

impl Closing {
    /// What becomes of `due` when no row before `settled_before` can come any more.
    pub(super) fn new(due: Due, rules: Rules, settled_before: EventTime) -> Closing {
        let Due { keys, ends, parts } = due;
        let mut runs: Vec<Run> = Vec::with_capacity(ends.len());
        let mut start = 0;
        for (key, end) in ends.into_iter().enumerate() {
            let first = runs.len();
            for (at, Part { extent, .. }) in (start..).zip(&parts[start..end]) {
                match runs[first..].last_mut() {
                    Some(run) if !rules.separates(&run.extent, extent) => {
                        run.extent = run.extent.with(*extent);
                        run.states.end = at + 1;
                    }
                    _ => runs.push(Run { key, extent: *extent, states: at..at + 1, is_closed: true }),
                }
            }
            let last = runs.last_mut().expect("a key that is due has parts");
            last.is_closed = rules.open_until(&last.extent) < settled_before;
            start = end;
        }
        let states = parts.into_iter().map(|part| part.state).collect();
        let (step, of_step, bisect, dead) = (Step::Merge, Vec::new(), Bisect::default(), Deads::default());
        let mut closing = Closing { rules, keys, runs, states, step, of_step, bisect, dead };
        closing.begin_round(|run| run.states.len() > 1);
        closing
    }

    /// The next call, or `None` when every closed session was emitted or is dead. Sessions that are not closed go back to `sessions`.
    pub(super) fn next_call(&mut self, key: &[Kind], sessions: &mut Sessions) -> Option<Request> {
        loop {
            if self.bisect.open_next().is_some() {
                return Some(match self.step {
                    Step::Merge => self.merge(),
                    Step::Emit => self.emit(key),
                });
            }
            if self.step == Step::Emit {
                return None;
            }
            // The end of a round of merges: long sessions need another one.
            self.begin_round(|run| run.states.len() > 1);
            if self.of_step.is_empty() {
                self.step = Step::Emit;
                self.put_back(sessions);
                self.begin_round(|run| run.is_closed);
            }
        }
    }

    fn begin_round(&mut self, is_in: impl Fn(&Run) -> bool) {
        let runs = (0..).zip(&self.runs).filter(|(idx, run)| !self.dead.contains(*idx) && is_in(run));
        self.of_step = runs.map(|(idx, _)| idx).collect();
        self.bisect = Bisect::new(self.of_step.len(), PARTS_MAX);
    }

    fn put_back(&mut self, sessions: &mut Sessions) {
        for (idx, run) in (0..).zip(&self.runs) {
            if !run.is_closed && !self.dead.contains(idx) {
                let state = std::mem::take(&mut self.states[run.states.start]);
                let key = sessions.find_or_insert(self.keys.at(run.key));
                sessions.replace(key, &[], Part { extent: run.extent, state });
            }
        }
    }

    fn merge(&mut self) -> Request {
        let (mut parts, mut ends) = (Packed::default(), Vec::new());
        for idx in self.in_flight() {
            if parts.data().len() > CALL_BYTES_MAX {
                break;
            }
            let of_run = self.runs[*idx as usize].states.clone();
            self.states[of_run].iter().take(MERGED_MAX).for_each(|state| parts.push(state));
            ends.push(parts.len() as u32);
        }
        self.bisect.shorten(ends.len() as u32);
        Request::Merge { parts, ends }
    }

    fn emit(&mut self, key: &[Kind]) -> Request {
        let mut states = Packed::default();
        for idx in self.in_flight() {
            if states.data().len() > CALL_BYTES_MAX {
                break;
            }
            states.push(&self.states[self.runs[*idx as usize].states.start]);
        }
        self.bisect.shorten(states.len() as u32);
        let windows = self.in_flight().iter().map(|idx| self.window(*idx)).collect();
        Request::Emit { windows, keys: self.keys(self.in_flight(), key), states }
    }

    /// Takes the merged states of an answered call. A state that came back empty breaks the contract.
    pub(super) fn merge_answered(&mut self, states: &Packed, rejects: Vec<Reject>) {
        if states.iter().any(<[u8]>::is_empty) {
            return self.faulted(PluginFault::Malformed("an empty state".to_owned()));
        }
        self.rejected(rejects);
        for (at, state) in self.bisect.succeeded().zip(states.iter()) {
            // The last one that was merged makes way for what came of all.
            let of_run = &mut self.runs[self.of_step[at as usize] as usize].states;
            of_run.start = of_run.end.min(of_run.start + MERGED_MAX) - 1;
            self.states[of_run.start] = state.to_vec();
        }
    }

    /// Gives the rows of an answered call to `out`.
    pub(super) fn emit_answered(&mut self, outputs: Vec<Routed>, rejects: Vec<Reject>, out: &mut Outbox) {
        for Routed { output, rows, origins } in outputs {
            out.counts.rows_out += rows.len() as u64;
            let in_flight = self.in_flight();
            let times = origins.iter().map(|origin| row_time(self.window(in_flight[*origin as usize]))).collect();
            out.emitted.push((output as usize, Batch::made(rows, times, None)));
        }
        self.rejected(rejects);
        self.bisect.succeeded();
    }

    /// The open call gave no answer: it is halved, or its only session given up.
    pub(super) fn faulted(&mut self, fault: PluginFault) {
        if let Failed::Guilty(at) = self.bisect.failed() {
            self.kill(self.of_step[at as usize], DeadReason::Fault(fault));
        }
    }

    pub(super) fn is_merging(&self) -> bool {
        self.step == Step::Merge
    }

    /// The dead sessions, each as a row of its key: called once, at the end.
    pub(super) fn finish(self, key: &[Kind], out: &mut Outbox) {
        if self.dead.is_empty() {
            return;
        }
        out.counts.dead_panes += self.dead.len() as u64;
        let units = self.dead.units();
        let rows = self.keys(&units, key);
        let times = units.iter().map(|idx| row_time(self.window(*idx))).collect();
        out.dead.push(self.dead.into_rows(Batch::made(rows, times, None), RowsOf::Key));
    }

    fn rejected(&mut self, rejects: Vec<Reject>) {
        for Reject { row, code, message } in rejects {
            self.kill(self.in_flight()[row as usize], DeadReason::Rejected { code, message });
        }
    }

    /// This run is dead in the call of this step: before anything of its states changes.
    fn kill(&mut self, idx: u32, why: DeadReason) {
        let states = &self.states[self.runs[idx as usize].states.clone()];
        let (function, n_states) = match self.step {
            Step::Merge => (Function::Merge, MERGED_MAX),
            Step::Emit => (Function::Emit { window: self.window(idx) }, 1),
        };
        self.dead.insert_call(idx, why, function, states.iter().take(n_states).map(Vec::as_slice));
    }

    /// The runs of the open call.
    fn in_flight(&self) -> &[u32] {
        let open = self.bisect.open().expect("a call is open");
        &self.of_step[open.start as usize..open.end as usize]
    }

    fn keys(&self, units: &[u32], key: &[Kind]) -> Rows {
        let mut columns = empty_columns(key);
        for idx in units {
            let bytes = self.keys.at(self.runs[*idx as usize].key);
            decode_key_bytes(bytes, &mut columns).expect("keys are encoded here, and checked when restored");
        }
        Rows::new(units.len(), columns).expect("each key has one value for each column")
    }

    fn window(&self, idx: u32) -> Window {
        self.rules.window(&self.runs[idx as usize].extent)
    }
}

/// The event time of a session's rows: the last ms that belongs to its window.
fn row_time(window: Window) -> EventTime {
    EventTime(window.end().0 - 1)
}
