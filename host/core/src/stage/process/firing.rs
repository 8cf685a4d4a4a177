//! Timers that are due on their way through the plugin, one of each key.

use std::collections::BTreeMap;

use super::{
    Answer, CALL_BYTES_MAX, FIRINGS_MAX, Facts, key_rows,
    keys::{Due, Keys},
};
use crate::{
    column::Packed,
    letter::call::Function,
    plugin::{PluginFault, Reject, Request, Routed, TimeRead},
    stage::{
        Batch, DeadReason, Outbox, RowsOf,
        bisect::{Bisect, Failed},
        dead::Deads,
    },
    time::EventTime,
};

/// How many timers are fired at a time.
pub(super) const DUE_MAX: usize = 4096;

#[derive(Debug)]
pub(super) struct Firing {
    due: Vec<Due>,
    /// Indices of those that fire.
    order: Vec<u32>,
    /// Its units are positions in `order`.
    bisect: Bisect,
    dead: Deads,
    /// Of the open call.
    time: Option<TimeRead>,
}

impl Firing {
    pub(super) fn new(due: Vec<Due>, keys: &mut Keys) -> Firing {
        let (runaway, order): (Vec<u32>, Vec<u32>) = (0..due.len() as u32).partition(|idx| due[*idx as usize].is_runaway);
        let bisect = Bisect::new(order.len(), DUE_MAX);
        let mut firing = Firing { due, order, bisect, dead: Deads::default(), time: None };
        for idx in runaway {
            firing.dead.insert(idx, DeadReason::Fault(PluginFault::Runaway { limit: FIRINGS_MAX }));
            keys.put_without_timer(&firing.due[idx as usize].key);
        }
        firing
    }

    /// The next call, or `None` when every timer has fired or is dead.
    pub(super) fn next_call(&mut self, keys: &Keys, facts: &Facts, time: TimeRead) -> Option<Request> {
        let range = self.bisect.open_next()?;
        self.time = Some(time);
        let mut states = Packed::default();
        for at in range.clone() {
            if states.data().len() > CALL_BYTES_MAX {
                break;
            }
            states.push(keys.state(&self.due(at).key));
        }
        let n_groups = states.len() as u32;
        self.bisect.shorten(n_groups);
        let in_call = range.start..range.start + n_groups;
        let timers = in_call.clone().map(|at| self.due(at).timer).collect();
        let keys: Vec<_> = in_call.map(|at| &self.due(at).key).collect();
        Some(Request::Fire { timers, keys: key_rows(keys.into_iter(), &facts.key_kinds), states, time })
    }

    /// Takes over an answer. A key whose timer was refused keeps its state.
    pub(super) fn answered(&mut self, answer: Answer, keys: &mut Keys, out: &mut Outbox) {
        let range = self.bisect.open().expect("an answer follows a call");
        let refused: BTreeMap<u32, Reject> = answer.rejects.into_iter().map(|reject| (reject.row, reject)).collect();
        let mut after = Vec::new();
        for unit in (0..range.len() as u32).filter(|unit| !refused.contains_key(unit)) {
            let changes = |origin: u32| answer.timers.partition_point(|change| change.origin < origin);
            match keys.changed(&self.due(range.start + unit).key, &answer.timers[changes(unit)..changes(unit + 1)]) {
                Ok(timers) => after.push((unit, timers)),
                Err(fault) => return self.faulted(fault, keys),
            }
        }
        for (unit, timers) in after {
            keys.put_after_timer(&self.due(range.start + unit).key, answer.states.at(unit as usize), timers);
        }
        for Routed { output, rows, origins } in answer.outputs {
            out.counts.rows_out += rows.len() as u64;
            let times = origins.iter().map(|origin| EventTime(self.due(range.start + origin).timer.at)).collect();
            out.emitted.push((output as usize, Batch::made(rows, times, None)));
        }
        for (unit, Reject { code, message, .. }) in refused {
            let idx = self.order[(range.start + unit) as usize];
            self.give_up(idx, DeadReason::Rejected { code, message }, keys);
        }
        self.bisect.succeeded();
    }

    /// The open call gave no answer that holds: it is halved, or its only timer given up.
    pub(super) fn faulted(&mut self, fault: PluginFault, keys: &mut Keys) {
        if let Failed::Guilty(at) = self.bisect.failed() {
            self.give_up(self.order[at as usize], DeadReason::Fault(fault), keys);
        }
    }

    /// Gives away a dead letter of the key for each dead timer: called once, at the end.
    pub(super) fn finish(self, facts: &Facts, out: &mut Outbox) {
        if self.dead.is_empty() {
            return;
        }
        out.counts.dead_panes += self.dead.len() as u64;
        let dead: Vec<&Due> = self.dead.units().into_iter().map(|idx| &self.due[idx as usize]).collect();
        let rows = key_rows(dead.iter().map(|due| &due.key), &facts.key_kinds);
        let times = dead.iter().map(|due| EventTime(due.timer.at)).collect();
        out.dead.push(self.dead.into_rows(Batch::made(rows, times, None), RowsOf::Key));
    }

    /// The timer is lost, the state stays.
    fn give_up(&mut self, idx: u32, why: DeadReason, keys: &mut Keys) {
        let Due { key, timer, .. } = &self.due[idx as usize];
        let function = Function::Fire { timer: *timer, time: self.time.expect("a timer is given up after a call") };
        self.dead.insert_call(idx, why, function, [keys.state(key)].into_iter());
        keys.put_without_timer(key);
    }

    fn due(&self, at: u32) -> &Due {
        &self.due[self.order[at as usize] as usize]
    }
}
