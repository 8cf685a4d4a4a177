//! Results on their way through the plugin.

use super::{
    CALL_BYTES_MAX, Facts,
    keys::{KeyBytes, Keys},
};
use crate::{
    column::{Packed, Rows},
    key::{decode_key_bytes, empty_columns},
    letter::call::Function,
    plugin::{PluginFault, Reject, Request, Routed},
    stage::{
        Batch, DeadReason, Outbox, Revision, RowsOf,
        bisect::{Bisect, Failed},
        dead::Deads,
    },
    time::{EventTime, Window},
};

/// One result to be told: nothing happens to its key before it is.
#[derive(Debug)]
pub(super) struct Unit {
    pub(super) key: KeyBytes,
    pub(super) window: Window,
    pub(super) at: EventTime,
    /// Final: the key is forgotten then.
    pub(super) revision: Revision,
}

#[derive(Debug)]
pub(super) struct Telling {
    units: Vec<Unit>,
    bisect: Bisect,
    dead: Deads,
}

impl Telling {
    pub(super) fn new(units: Vec<Unit>) -> Telling {
        let bisect = Bisect::new(units.len(), usize::MAX);
        Telling { units, bisect, dead: Deads::default() }
    }

    /// The next call, or `None` when every result was told or is dead.
    pub(super) fn next_call(&mut self, keys: &Keys, facts: &Facts) -> Option<Request> {
        let range = self.bisect.open_next()?;
        let mut states = Packed::default();
        for unit in &self.units[range.start as usize..range.end as usize] {
            if states.data().len() > CALL_BYTES_MAX {
                break;
            }
            states.push(keys.state(&unit.key));
        }
        self.bisect.shorten(states.len() as u32);
        let units = self.in_flight();
        let windows = units.iter().map(|unit| unit.window).collect();
        Some(Request::Emit { windows, keys: key_rows(units.iter(), facts), states })
    }

    /// Gives the rows of an answered call to `out`.
    pub(super) fn answered(&mut self, routed: Vec<Routed>, rejects: Vec<Reject>, keys: &Keys, facts: &Facts, out: &mut Outbox) {
        let units = self.in_flight();
        for Routed { output, rows, origins } in routed {
            out.counts.rows_out += rows.len() as u64;
            let times = origins.iter().map(|origin| units[*origin as usize].at).collect();
            let revisions =
                (!facts.window.clear).then(|| origins.iter().map(|origin| units[*origin as usize].revision).collect());
            out.emitted.push((output as usize, Batch::made(rows, times, revisions)));
        }
        let first = self.bisect.succeeded().start;
        for Reject { row, code, message } in rejects {
            self.give_up(first + row, DeadReason::Rejected { code, message }, keys);
        }
    }

    /// The open call gave no answer: it is halved, or its only result given up.
    pub(super) fn faulted(&mut self, fault: PluginFault, keys: &Keys) {
        if let Failed::Guilty(at) = self.bisect.failed() {
            self.give_up(at, DeadReason::Fault(fault), keys);
        }
    }

    /// Forgets the keys that were told for the last time, and gives away the dead results, each as a row of its key: called once, at the end.
    pub(super) fn finish(self, keys: &mut Keys, facts: &Facts, out: &mut Outbox) {
        self.units.iter().filter(|unit| unit.revision.is_final).for_each(|unit| keys.remove(&unit.key));
        if self.dead.is_empty() {
            return;
        }
        let dead: Vec<&Unit> = self.dead.units().into_iter().map(|idx| &self.units[idx as usize]).collect();
        out.counts.dead_panes += dead.len() as u64;
        let times = dead.iter().map(|unit| unit.at).collect();
        let rows = key_rows(dead.into_iter(), facts);
        out.dead.push(self.dead.into_rows(Batch::made(rows, times, None), RowsOf::Key));
    }

    /// The result is lost, but counts as told.
    fn give_up(&mut self, idx: u32, why: DeadReason, keys: &Keys) {
        let unit = &self.units[idx as usize];
        let function = Function::Emit { window: unit.window };
        self.dead.insert_call(idx, why, function, [keys.state(&unit.key)].into_iter());
    }

    /// The units of the open call.
    fn in_flight(&self) -> &[Unit] {
        let open = self.bisect.open().expect("a call is open");
        &self.units[open.start as usize..open.end as usize]
    }
}

/// The keys as rows of their columns.
fn key_rows<'u>(units: impl ExactSizeIterator<Item = &'u Unit>, facts: &Facts) -> Rows {
    let (n_rows, mut columns) = (units.len(), empty_columns(&facts.key_kinds));
    for unit in units {
        decode_key_bytes(&unit.key, &mut columns).expect("keys are encoded here, and checked when restored");
    }
    Rows::new(n_rows, columns).expect("each key has one value for each column")
}
