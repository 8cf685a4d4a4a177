//! Windowed aggregation: rows into a state per (pane, key), states into rows when windows fire.
//!
//! A row goes into one pane, whatever the number of its windows; a window that fires merges the panes it covers. The semantics:
//!
//! - A window is *closed* once `end + lateness <= watermark`. A row is late for the closed ones of its windows, and stands in the
//!   late topic once for each. Late for all: it is not added. Late for some: it is added to its pane.
//! - With [`Emission::Final`] a window fires once, when it is closed.
//! - With [`Emission::Upsert`] it fires when `end <= watermark`, again for the keys that a late batch changed, and a last time with
//!   `is_final` when it is closed; if both are due at once, only the last time.
//!
//! - With [`Emission::Upsert`] and an `early` interval, what changed in windows that have not ended is told whenever so much wall time has passed:
//!   provisional rows with revisions of their own ([`early`]). They change nothing of what windows hold when they fire.
//!
//! Rows are judged one by one, each by the watermark from before it ([`Operator::accept`]'s marks), so how many come at once changes
//! nothing. Windows fire only when [`Operator::advance`] says so, which may be later than the mark of a row has closed them; that a row
//! must not count in a window which it missed is ensured thus:
//!
//! - Late for all of its windows: it is not added.
//! - Late for some: its pane is shared with windows that it missed. [`Operator::n_acceptable`] stops before it until they have fired for
//!   good, so nobody will ever merge the row's pane for them again: `Advance` never returns to an end at or before its old watermark less
//!   the lateness, and `Again` leaves closed windows out.
//!
//! A pane is dropped when its last window is closed. What fires leaves in the order of (window, key), so the order of hash
//! tables never shows (I-2), and no window fires before its end has been reached, nor twice without a change (I-4).
//!
//! Source of lateness and refinements: Akidau et al., "The Dataflow Model", PVLDB 8(12), 2015, section 2.3.

use crate::{
    column::Kind,
    plan::{Emission, StageKind, StagePlan},
    plugin::{PluginFault, Request, Response},
    stage::{
        Batch, Operator, Outbox, RowsOf,
        kept::Kept,
        lateness::{Closing, Missed, give_late},
    },
    state::{ChangeReader, ChangeWriter, StateError},
    time::{EventTime, WallTime, Watermark},
    window::Windowing,
};

use adding::Adding;
use calls::{Calls, States};
use early::Early;
use firing::{Advance, Again, Firing, Found};
use panes::{Cell, Panes};
use partials::Uniting;
use revisions::Revisions;
use trails::Trails;

mod adding;
mod anew;
mod calls;
pub mod combine;
mod early;
mod firing;
mod merging;
mod pane;
mod panes;
mod partials;
mod revisions;
mod states;
mod store;
#[cfg(test)]
mod tests;
mod trails;

/// The port on which the states come that were added up before a shuffle ([`combine`]).
pub const PARTIALS_PORT: usize = 1;

/// The operator of [`StageKind::Aggregate`]. See the module's text.
#[derive(Debug)]
pub struct Aggregate {
    facts: Facts,
    panes: Panes,
    /// Empty for windows of one pane.
    trails: Trails,
    revisions: Revisions,
    /// `None`: nothing is told before its window ends.
    early: Option<Early>,
    /// Up to where windows have fired.
    watermark: Watermark,
    /// Whether the watermark is not written down yet.
    is_watermark_dirty: bool,
    work: Work,
    /// What [`Operator::next_call`] will give.
    pending: Option<Request>,
}

/// What never changes.
#[derive(Debug)]
struct Facts {
    /// The input columns that the plugin reads, in its order.
    columns: Vec<usize>,
    key: Vec<usize>,
    key_kinds: Vec<Kind>,
    windowing: Windowing,
    lateness_ms: i64,
    emission: Emission,
}

/// What the operator is in the middle of.
#[derive(Debug)]
enum Work {
    Idle,
    Adding { adding: Box<Adding>, late: Vec<Missed>, n_late: usize },
    Uniting(Box<Uniting>),
    Firing { firing: Firing, calls: Option<Box<Calls>> },
}

impl Facts {
    /// Panics for a stage of another kind.
    fn of(stage: &StagePlan) -> Facts {
        let StageKind::Aggregate { columns, key, window, lateness_ms, emission, .. } = &stage.kind else {
            unreachable!("stage \"{}\" is not an aggregate", stage.name);
        };
        let key_kinds = key.iter().map(|column_idx| stage.inputs[0].fields[*column_idx].field_type.kind()).collect();
        Facts {
            columns: columns.clone(),
            key: key.clone(),
            key_kinds,
            windowing: Windowing::new(window.clone()),
            lateness_ms: *lateness_ms,
            emission: *emission,
        }
    }

    fn closing(&self) -> Closing<'_> {
        Closing { windowing: &self.windowing, lateness_ms: self.lateness_ms }
    }

    /// Whether a window merges several panes.
    fn has_trails(&self) -> bool {
        self.windowing.n_panes_per_window() > 1
    }
}

impl Aggregate {
    /// The operator of `stage`. Panics if it is of another kind.
    pub fn new(stage: &StagePlan) -> Aggregate {
        let StageKind::Aggregate { emission, early_ms, .. } = &stage.kind else {
            unreachable!("stage \"{}\" is not an aggregate", stage.name);
        };
        assert!(early_ms.is_none() || *emission == Emission::Upsert, "stage \"{}\" tells results early, and once", stage.name);
        Aggregate {
            facts: Facts::of(stage),
            panes: Panes::default(),
            trails: Trails::default(),
            revisions: Revisions::default(),
            early: early_ms.map(Early::new),
            watermark: Watermark::UNKNOWN,
            is_watermark_dirty: false,
            work: Work::Idle,
            pending: None,
        }
    }

    /// Finds the next call, and does all that needs none.
    fn settle(&mut self, out: &mut Outbox) {
        loop {
            match &mut self.work {
                Work::Idle => return,
                Work::Adding { adding, .. } => {
                    self.pending = adding.next_call(&self.facts.columns, &self.panes);
                    if self.pending.is_some() {
                        return;
                    }
                    self.finish_adding(out);
                }
                Work::Uniting(uniting) => {
                    self.pending = uniting.next_call(&self.panes);
                    if self.pending.is_some() {
                        return;
                    }
                    self.finish_uniting(out);
                }
                Work::Firing { calls: Some(one), .. } => {
                    let states = States { panes: &self.panes, trails: &mut self.trails };
                    self.pending = one.next_call(states, &self.facts.key_kinds);
                    if self.pending.is_some() {
                        return;
                    }
                    self.finish_calls(out);
                }
                Work::Firing { firing, calls } => {
                    let has_trails = self.facts.has_trails();
                    let found = Found {
                        panes: &self.panes,
                        trails: has_trails.then_some(&mut self.trails),
                        windowing: &self.facts.windowing,
                        revisions: &mut self.revisions,
                    };
                    match firing.next_units(found) {
                        Some(units) => {
                            let states = States { panes: &self.panes, trails: &mut self.trails };
                            *calls = Some(Box::new(Calls::new(units, states)));
                        }
                        None => {
                            self.work = Work::Idle;
                            self.forget();
                        }
                    }
                }
            }
        }
    }

    /// All rows of the batch are added, late or dead.
    fn finish_adding(&mut self, out: &mut Outbox) {
        let Work::Adding { adding, mut late, n_late } = std::mem::replace(&mut self.work, Work::Idle) else { return };
        let Adding { batch, cells, was_vacant, is_changed, dead, .. } = *adding;
        late.retain(|missed| missed.is_late_for_all || !dead.contains(missed.row));
        out.counts.rows_in += batch.len() as u64;
        out.counts.late += n_late as u64;
        out.counts.dead += dead.len() as u64;
        out.counts.accepted += (batch.len() - n_late - dead.len()) as u64;
        give_late(0, &batch, &late, out);
        if !dead.is_empty() {
            let rows = batch.take(&dead.units());
            out.dead.push(dead.into_rows(rows, RowsOf::Input(0)));
        }
        self.note_changes(&cells, &was_vacant, &is_changed);
    }

    /// The states of `cells` may have changed: tells all that depends on them.
    fn note_changes(&mut self, cells: &[Cell], was_vacant: &[bool], is_changed: &[bool]) {
        let (mut vacant, mut changed, mut born) = (Vec::new(), Vec::new(), Vec::new());
        for ((cell, was_vacant), is_changed) in cells.iter().zip(was_vacant).zip(is_changed) {
            match (was_vacant, is_changed) {
                (true, false) => vacant.push(*cell),
                (true, true) => born.push(*cell),
                (false, true) => changed.push(*cell),
                (false, false) => {}
            }
        }
        if self.facts.has_trails() {
            born.iter().for_each(|cell| self.trails.born(&self.panes, *cell));
            changed.iter().for_each(|cell| self.trails.changed(&self.panes, *cell));
        }
        if let Some(early) = &mut self.early {
            changed.iter().chain(&born).for_each(|cell| early.changed(self.panes.start(cell.pane), *cell));
        }
        if self.facts.emission == Emission::Upsert {
            let Facts { windowing, lateness_ms, .. } = &self.facts;
            let again = Again::new(&changed, born, &self.panes, windowing, self.watermark, *lateness_ms);
            self.work = Work::Firing { firing: Firing::Again(again), calls: None };
        }
        for cell in vacant {
            self.panes.remove_vacant(cell);
        }
    }

    fn finish_calls(&mut self, out: &mut Outbox) {
        if let Work::Firing { calls, .. } = &mut self.work
            && let Some(calls) = calls.take()
        {
            let states = States { panes: &self.panes, trails: &mut self.trails };
            calls.finish(states, &self.facts.key_kinds, out);
        }
    }

    /// Forgets what only closed windows needed.
    fn forget(&mut self) {
        let closed_until = self.watermark.minus(self.facts.lateness_ms);
        // No window that is open holds a pane before it.
        let oldest = self.facts.windowing.first_after(closed_until).start();
        self.panes.drop_before(oldest);
        if let Some(early) = &mut self.early {
            early.drop_before(oldest);
        }
        self.revisions.drop_until(EventTime(closed_until.0));
        if self.panes.is_empty() {
            self.trails.clear();
        }
    }
}

impl Operator for Aggregate {
    fn accept(&mut self, port: usize, batch: Batch, marks: &[Watermark], out: &mut Outbox) {
        assert!(port <= PARTIALS_PORT, "an aggregate has one input, got rows on port {port}");
        assert!(matches!(self.work, Work::Idle), "rows came while calls were open");
        debug_assert!(marks.iter().all(|mark| *mark >= self.watermark), "rows are judged by less than {}", self.watermark);
        if port == PARTIALS_PORT {
            return self.unite(batch, marks, out);
        }
        let (rows, late, n_late) = self.facts.closing().judge(&batch, marks);
        let adding = Box::new(Adding::new(batch, &rows, &self.facts.key, &self.facts.windowing, &mut self.panes));
        self.work = Work::Adding { adding, late, n_late };
        self.settle(out);
    }

    fn n_acceptable(&self, batch: &Batch, marks: &[Watermark], from: usize) -> usize {
        self.facts.closing().n_acceptable(batch, marks, from, self.watermark)
    }

    fn advance(&mut self, watermark: Watermark, out: &mut Outbox) {
        assert!(matches!(self.work, Work::Idle), "the watermark rose while calls were open");
        if watermark <= self.watermark {
            return;
        }
        let Facts { lateness_ms, emission, .. } = self.facts;
        let firing = Firing::Advance(Advance::new(self.watermark, watermark, lateness_ms, emission));
        self.watermark = watermark;
        self.is_watermark_dirty = true;
        self.work = Work::Firing { firing, calls: None };
        self.settle(out);
    }

    fn clock(&mut self, now: WallTime, out: &mut Outbox) {
        assert!(matches!(self.work, Work::Idle), "the clock was read while calls were open");
        let Some(early) = &mut self.early else { return };
        let changed = early.take_due(now, &self.panes);
        if !changed.is_empty() {
            let again = Again::early(&changed, &self.panes, &self.facts.windowing, self.watermark);
            self.work = Work::Firing { firing: Firing::Again(again), calls: None };
            self.settle(out);
        }
    }

    fn next_call(&mut self) -> Option<Request> {
        self.pending.take()
    }

    fn returned(&mut self, result: Result<Response, PluginFault>, out: &mut Outbox) {
        match (&mut self.work, result) {
            (Work::Adding { adding, .. }, Ok(Response::States { states, rejects })) => {
                adding.answered(&states, rejects, &mut self.panes)
            }
            (Work::Adding { adding, .. }, Err(fault)) => adding.faulted(fault, &self.panes),
            (Work::Uniting(uniting), Ok(Response::States { states, rejects })) => {
                uniting.answered(&states, rejects, &mut self.panes)
            }
            (Work::Uniting(uniting), Err(fault)) => uniting.faulted(fault, &self.panes),
            (Work::Firing { calls: Some(calls), .. }, Err(fault)) => {
                calls.faulted(fault, States { panes: &self.panes, trails: &mut self.trails });
            }
            (Work::Firing { calls: Some(calls), .. }, Ok(Response::States { states, rejects })) if calls.is_merging() => {
                calls.merge_answered(&states, rejects, States { panes: &self.panes, trails: &mut self.trails });
            }
            (Work::Firing { calls: Some(calls), .. }, Ok(Response::Rows { outputs, rejects })) if !calls.is_merging() => {
                let states = States { panes: &self.panes, trails: &mut self.trails };
                calls.emit_answered(outputs, rejects, states, self.facts.emission == Emission::Upsert, out);
            }
            (_, Ok(answer)) => unreachable!("an answer to another call, Request::check lets none through: {answer:?}"),
            (_, Err(fault)) => unreachable!("a fault without a call: {fault}"),
        }
        self.settle(out);
    }

    fn changes(&mut self, to: &mut ChangeWriter) {
        store::write_changes(self, to);
    }

    fn image(&mut self, to: &mut ChangeWriter) {
        store::write_image(self, to);
    }

    fn restore(&mut self, from: &mut ChangeReader<'_>) -> Result<(), StateError> {
        store::restore(self, from)
    }

    fn kept(&self, each: &mut dyn FnMut(Kept<'_>)) {
        for pane_idx in self.panes.all() {
            let (of_pane, pane) = (self.panes.pane(pane_idx), self.facts.windowing.pane(self.panes.start(pane_idx)));
            of_pane.entries().for_each(|entry| each(Kept::Pane { key: of_pane.key(entry), pane, state: of_pane.state(entry) }));
        }
        self.revisions.iter().for_each(|(window, key, rev)| each(Kept::Revision { key, window, rev }));
    }

    fn state_bytes(&self) -> usize {
        self.panes.n_bytes() + self.revisions.n_bytes()
    }
}
