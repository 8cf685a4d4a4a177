//! Adding rows up before they change their partition: what is sent is a state for each key in a pane, instead of its rows.
//!
//! An aggregate with `combine` has this operator in the fragment before its shuffle. It gives the plugin the rows of a batch, with no states to
//! begin with, and sends what comes back; the aggregate behind merges it into its panes ([`super::partials`]). What the plugin refuses, or breaks
//! on, is met here as it would be there. Nothing is kept from one batch to the next, so there is nothing to recover.
//!
//! **Only rows that are surely on time are added up**, since a late row must go to the late topic by itself. All others are sent as they are. Be `m`
//! the mark of a row: how far this task had said to have come before it, or would have, had the rows before come alone. Be `g` the watermark up to
//! which this task ever allowed others to go without it. A row is surely on time if its pane's end + lateness > max(m, g). Then every window
//! that holds it is open behind the shuffle when it comes there, because no watermark `s` by which anything is judged or fired there is above
//! max(m, g):
//!
//! - The stage reads this shuffle and nothing else, so `s` is one that the shuffle's input had, or that a row of it had been judged by.
//! - All these are minima over the upstream tasks, taken when some prefix of what each has sent was read ([`crate::watermark::Upstreams`]). What this task
//!   has said in frames of watermarks before the row is at most `m`, as marks never fall below what was sent; marks of rows count for their own row alone.
//! - A minimum that has this task in it is at most what this task has said. One that leaves it out was taken while it was idle; it is at most the
//!   `until` of the frame that said so, which is at most `g`. One that has passed it because it has ended judges no row of it: then `m` is the end,
//!   and no row is on time.
//! - A row of another task is judged by a minimum that has this task in it, or leaves it out, as above.
//!
//! All frames of a task for one partition are read in the order in which they were sent, and in exactly-once each once. With at-least-once a task
//! may send rows again that have lower marks than what it had said: so there nothing is added up (`config` refuses it).
//!
//! **Partial states are sent before the other rows of their batch.** A row that is late for some of its windows makes the stage fire what it missed, up
//! to its own mark, before it is taken ([`Operator::n_acceptable`]). No row that was before it may be missing by then. That rows behind it come
//! earlier changes nothing: all windows of their pane are open at their own marks, which are no lower, so none of these is fired.
//!
//! `lateness`, both kinds of emission, `early` results, rows that wait and rows with another event time than before (`hold_ms`, `behind`) need no word
//! of their own: they are in the marks, or in what is done with a pane.
//!
//! A row that is alone in its pane is sent as it is: its state is hardly shorter, and would have to be merged.

use super::{Facts, adding::Adding, panes::Panes};
use crate::{
    column::{Column, Kind, Rows, Value},
    key::{decode_key_bytes, empty_columns},
    plan::StagePlan,
    plugin::{PluginFault, Request, Response},
    stage::{Batch, Crossing, Operator, Outbox, RowsOf, kept::Kept},
    state::{ChangeReader, ChangeWriter, StateError},
    time::Watermark,
};

/// Which code made a partial state, and by which terms of its stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MadeBy {
    /// The name of the plugin's state, empty if it declares none.
    pub state: String,
    pub version: u32,
    /// A checksum of what decides which rows belong together, and until when they are on time.
    pub terms: u32,
}

/// The operator in front of a shuffle. See the module's text.
#[derive(Debug)]
pub struct Combine {
    facts: Facts,
    /// Up to where others may have gone without this task.
    granted: Watermark,
    /// Of the batch that is being added up.
    panes: Panes,
    work: Option<Work>,
    /// What [`Operator::next_call`] will give.
    pending: Option<Request>,
}

#[derive(Debug)]
struct Work {
    adding: Adding,
    marks: Vec<Watermark>,
    /// The rows that are sent as they are.
    plain: Vec<u32>,
}

impl Combine {
    /// Adds rows up for `stage`. Panics if it is no aggregate.
    pub fn new(stage: &StagePlan) -> Combine {
        let facts = Facts::of(stage);
        Combine { facts, granted: Watermark::UNKNOWN, panes: Panes::default(), work: None, pending: None }
    }

    /// Others may have gone up to `granted` without this task.
    pub fn granted(&mut self, granted: Watermark) {
        self.granted = granted;
    }

    fn is_surely_on_time(&self, batch: &Batch, row: usize, mark: Watermark) -> bool {
        let Facts { windowing, lateness_ms, .. } = &self.facts;
        let closed_until = mark.max(self.granted).minus(*lateness_ms);
        // The first of a row's windows ends with its pane, which ends after it.
        closed_until.0 <= batch.times[row].0 || !closed_until.reached(windowing.pane(batch.times[row]).end())
    }

    /// Finds the next call, or sends what was added up.
    fn settle(&mut self, out: &mut Outbox) {
        let Some(work) = &mut self.work else { return };
        self.pending = work.adding.next_call(&self.facts.columns, &self.panes);
        if self.pending.is_none() {
            self.finish(out);
        }
    }

    fn finish(&mut self, out: &mut Outbox) {
        let Some(Work { adding, marks, plain }) = self.work.take() else { return };
        let (partials, partial_marks) = self.partials(&adding, &marks);
        let (n_added, Adding { batch, dead, .. }) = (adding.n_rows(), adding);
        out.counts.rows_in += n_added as u64;
        out.counts.dead += dead.len() as u64;
        out.counts.accepted += (n_added - dead.len()) as u64;
        if !dead.is_empty() {
            let rows = batch.take(&dead.units());
            out.dead.push(dead.into_rows(rows, RowsOf::Input(0)));
        }
        let marks = plain.iter().map(|row| marks[*row as usize]).collect();
        out.crossing.push(Crossing { partials, partial_marks, rows: batch.take(&plain), marks });
        self.panes = Panes::default();
    }

    /// The states that rows were added to, each with the time of its first row and the highest mark of them.
    fn partials(&self, adding: &Adding, marks: &[Watermark]) -> (Batch, Vec<Watermark>) {
        let mut of_cells = vec![None; adding.cells.len()];
        for (row, cell) in adding.alive() {
            let (time, mark) = (adding.batch.times[row as usize], marks[row as usize]);
            let (_, highest) = of_cells[cell as usize].get_or_insert((time, mark));
            *highest = mark.max(*highest);
        }
        let mut columns = empty_columns(&self.facts.key_kinds);
        let mut states = Column::empty(Kind::Bytes);
        let (mut times, mut highest) = (Vec::new(), Vec::new());
        for (cell, (time, mark)) in adding.cells.iter().zip(of_cells).filter_map(|(cell, of)| of.map(|of| (cell, of))) {
            decode_key_bytes(self.panes.key(*cell), &mut columns).expect("keys are encoded here");
            states.push(Value::Bytes(self.panes.state(*cell)));
            times.push(time);
            highest.push(mark);
        }
        columns.push(states);
        let rows = Rows::new(times.len(), columns).expect("each state has a key");
        (Batch::made(rows, times, None), highest)
    }
}

impl Operator for Combine {
    fn accept(&mut self, port: usize, batch: Batch, marks: &[Watermark], out: &mut Outbox) {
        assert!(port == 0 && self.work.is_none(), "rows came on port {port}, or while calls were open");
        let is_on_time = |row: &u32| self.is_surely_on_time(&batch, *row as usize, marks[*row as usize]);
        let (rows, mut plain): (Vec<u32>, Vec<u32>) = (0..batch.len() as u32).partition(is_on_time);
        let mut adding = Adding::new(batch, &rows, &self.facts.key, &self.facts.windowing, &mut self.panes);
        plain.extend(adding.leave_alone());
        plain.sort_unstable();
        self.work = Some(Work { adding, marks: marks.to_vec(), plain });
        self.settle(out);
    }

    /// Rows bring their marks with them.
    fn advance(&mut self, _watermark: Watermark, _out: &mut Outbox) {}

    fn next_call(&mut self) -> Option<Request> {
        self.pending.take()
    }

    fn returned(&mut self, result: Result<Response, PluginFault>, out: &mut Outbox) {
        let adding = &mut self.work.as_mut().expect("an answer follows a call").adding;
        match result {
            Ok(Response::States { states, rejects }) => adding.answered(&states, rejects, &mut self.panes),
            Ok(answer) => unreachable!("an answer to another call, Request::check lets none through: {answer:?}"),
            Err(fault) => adding.faulted(fault, &self.panes),
        }
        self.settle(out);
    }

    fn changes(&mut self, _to: &mut ChangeWriter) {}

    fn image(&mut self, _to: &mut ChangeWriter) {}

    fn restore(&mut self, _from: &mut ChangeReader<'_>) -> Result<(), StateError> {
        unreachable!("no chunk has state of what keeps none")
    }

    fn kept(&self, _each: &mut dyn FnMut(Kept<'_>)) {}

    fn state_bytes(&self) -> usize {
        0
    }
}
