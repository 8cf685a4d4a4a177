//! Closed sessions on their way out.

use std::collections::BTreeMap;

use super::sessions::Closed;
use crate::{
    column::{Kind, Packed, Rows},
    key::{decode_key_bytes, empty_columns},
    plugin::{PluginFault, Reject, Request, Routed},
    stage::{
        Batch, DeadReason, DeadRows, Outbox, RowsOf,
        bisect::{Bisect, Failed},
    },
    time::{EventTime, Window},
};

/// How many sessions are closed at a time.
pub(super) const SESSIONS_MAX: usize = 4096;
/// A call ends once its states have more bytes than this: plugins have 64 MiB, and copy.
const CALL_BYTES_MAX: usize = 4 << 20;

#[derive(Debug)]
pub(super) struct Closing {
    closed: Vec<Closed>,
    gap_ms: i64,
    /// Its units are `closed`.
    bisect: Bisect,
    dead: BTreeMap<u32, DeadReason>,
}

impl Closing {
    pub(super) fn new(closed: Vec<Closed>, gap_ms: i64) -> Closing {
        let bisect = Bisect::new(closed.len(), SESSIONS_MAX);
        Closing { closed, gap_ms, bisect, dead: BTreeMap::new() }
    }

    /// The next call, or `None` when every session was emitted or is dead.
    pub(super) fn next_call(&mut self, key: &[Kind]) -> Option<Request> {
        let range = self.bisect.open_next()?;
        let mut states = Packed::default();
        for idx in range.clone() {
            if states.data().len() > CALL_BYTES_MAX {
                break;
            }
            states.push(&self.closed[idx as usize].session.state);
        }
        self.bisect.shorten(states.len() as u32);
        let in_call: Vec<u32> = (range.start..range.start + states.len() as u32).collect();
        let windows = in_call.iter().map(|idx| self.window(*idx)).collect();
        Some(Request::Emit { windows, keys: self.keys(&in_call, key), states })
    }

    /// Gives the rows of an answered call to `out`.
    pub(super) fn answered(&mut self, outputs: Vec<Routed>, rejects: Vec<Reject>, out: &mut Outbox) {
        let start = self.bisect.succeeded().start;
        for Routed { output, rows, origins } in outputs {
            out.counts.rows_out += rows.len() as u64;
            let times = origins.iter().map(|origin| row_time(self.window(start + origin))).collect();
            out.emitted.push((output as usize, Batch::made(rows, times, None)));
        }
        for Reject { row, code, message } in rejects {
            self.dead.insert(start + row, DeadReason::Rejected { code, message });
        }
    }

    /// The open call gave no answer: it is halved, or its only session given up.
    pub(super) fn faulted(&mut self, fault: PluginFault) {
        if let Failed::Guilty(idx) = self.bisect.failed() {
            self.dead.insert(idx, DeadReason::Fault(fault));
        }
    }

    /// The dead sessions, each as a row of its key: called once, at the end.
    pub(super) fn finish(self, key: &[Kind], out: &mut Outbox) {
        if self.dead.is_empty() {
            return;
        }
        out.counts.dead_panes += self.dead.len() as u64;
        let units: Vec<u32> = self.dead.keys().copied().collect();
        let rows = self.keys(&units, key);
        let times = units.iter().map(|idx| row_time(self.window(*idx))).collect();
        let batch = Batch::made(rows, times, None);
        out.dead.push(DeadRows { batch, of: RowsOf::Key, reasons: self.dead.into_values().collect() });
    }

    fn keys(&self, units: &[u32], key: &[Kind]) -> Rows {
        let mut columns = empty_columns(key);
        for idx in units {
            let bytes = &self.closed[*idx as usize].key;
            decode_key_bytes(bytes, &mut columns).expect("keys are encoded here, and checked when restored");
        }
        Rows::new(units.len(), columns).expect("each key has one value for each column")
    }

    fn window(&self, idx: u32) -> Window {
        let session = &self.closed[idx as usize].session;
        Window::new(session.first, EventTime(session.last.0 + self.gap_ms))
    }
}

/// The event time of a session's rows: the last ms that belongs to its window.
fn row_time(window: Window) -> EventTime {
    EventTime(window.end().0 - 1)
}
