//! When results are told before their windows end, and which.
//!
//! An interval of wall time begins with the first reading of the clock. At its end every result of a window that has not ended is told whose
//! states have changed meanwhile, and the next one begins. Nothing of this is stored: after a restart an interval begins anew, and all
//! windows that have not ended count as changed.

use std::collections::BTreeSet;

use super::{
    pane::EntryIdx,
    panes::{Cell, Panes},
};
use crate::time::{EventTime, WallTime};

#[derive(Debug)]
pub(super) struct Early {
    every_ms: i64,
    /// When the interval ends; `None`: the clock was not read yet.
    until: Option<WallTime>,
    /// What changed since results were told: (start of a pane, entry in it), of panes that are there.
    changed: BTreeSet<(EventTime, EntryIdx)>,
}

impl Early {
    pub(super) fn new(every_ms: i64) -> Early {
        assert!(every_ms > 0, "results are told every {every_ms} ms");
        Early { every_ms, until: None, changed: BTreeSet::new() }
    }

    pub(super) fn changed(&mut self, start: EventTime, cell: Cell) {
        self.changed.insert((start, cell.entry));
    }

    /// Forgets what changed in panes that start before `start`.
    pub(super) fn drop_before(&mut self, start: EventTime) {
        self.changed = self.changed.split_off(&(start, 0));
    }

    /// What changed, if an interval ends. Then the next one begins.
    pub(super) fn take_due(&mut self, now: WallTime, panes: &Panes) -> Vec<Cell> {
        let until = *self.until.get_or_insert(WallTime(now.0.saturating_add(self.every_ms)));
        if now < until {
            return Vec::new();
        }
        self.until = Some(WallTime(now.0.saturating_add(self.every_ms)));
        let cell = |(start, entry)| {
            let pane = panes.starting(start).expect("panes that are dropped are forgotten here too");
            Cell { pane, entry }
        };
        std::mem::take(&mut self.changed).into_iter().map(cell).collect()
    }
}
