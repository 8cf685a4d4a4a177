//! Stages that begin anew: what they keep is forgotten, how far they have come and what became of their rows is not.
//!
//! The plan says which stages, and for which record of the control topic ([`crate::plan::Plan::resets`]). A task remembers beside each stage's state for
//! which record that was forgotten last. So it is forgotten once, whoever recovers the task, and by whoever does so: in the trial of new code, at a
//! start, or after the owner has died between the verdict and its commit. The next seal writes the whole state, so that nothing is left on the
//! chain of what was forgotten.

use crate::{
    plan::Plan,
    record::Offset,
    stage::Outbox,
    state::StateError,
    task::{
        Task,
        stages::{Stage, StageState},
        terms::{OtherTerm, may_change_with_a_reset},
        versions::Versions,
    },
    time::Watermark,
};

/// What becomes of the stored state of a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Restoring {
    /// The stage keeps it.
    Whole,
    /// It is read, and forgotten at the end: what was told of it stays known.
    Forgotten,
    /// It was made by other terms, maybe in another form, and is not read.
    Skipped,
}

impl Task {
    /// All chunks of an earlier life were applied: forgets what the plan wants to begin anew. O(state of these stages).
    pub fn restored(&mut self) {
        for stage in self.stages.iter_mut().filter(|stage| stage.restoring != Restoring::Whole) {
            stage.forget(&self.plan);
            self.bases.is_owed = true;
        }
    }

    /// That a stage began anew for a record of the control topic of which the plan does not know: who goes on would write what those who know of it
    /// cannot read.
    pub fn not_ahead(&self) -> Result<(), StateError> {
        let is_ahead = |stage: &&Stage| stage.reset > self.plan.resets.get(&stage.idx).copied();
        match self.stages.iter().find(is_ahead) {
            Some(stage) => Err(StateError::Ahead(self.plan.stages[stage.idx].name.to_string())),
            None => Ok(()),
        }
    }

    /// Whether the next seal shall write the whole state, also if nothing happens until then.
    pub fn owes_base(&self) -> bool {
        self.bases.is_owed
    }

    /// Whether the log says something else of the task than it would write: what another plan keeps, or that nothing is kept of an old version.
    pub fn owes_seal(&mut self) -> bool {
        self.bases.is_owed || self.memory().write() != self.written
    }
}

impl Stage {
    /// Its stored state follows, which was forgotten last for the record at `reset`, and made by terms of which `others` differ.
    pub fn begin_restoring(&mut self, name: &str, reset: Option<Offset>, others: Vec<OtherTerm>) -> Result<(), StateError> {
        let is_reset = self.reset > reset;
        let is_same = others.is_empty();
        let refused = others.into_iter().find(|other| !is_reset || !may_change_with_a_reset(other.term));
        if let Some(other) = refused {
            return Err(other.refused(name));
        }
        self.restoring = match (is_reset, is_same) {
            (false, _) => Restoring::Whole,
            (true, true) => Restoring::Forgotten,
            (true, false) => Restoring::Skipped,
        };
        // Whoever looks at it without knowing of the last reset does not undo it.
        self.reset = self.reset.max(reset);
        Ok(())
    }

    fn forget(&mut self, plan: &Plan) {
        match &mut self.state {
            StageState::Aggregate(aggregate) => aggregate.forget_states(),
            StageState::Global(global) => global.forget_states(),
            StageState::Combine(_) => {}
            other => *other = StageState::new(&plan.stages[self.idx]),
        }
        let mut out = Outbox::default();
        let operator = self.state.operator();
        if let Some(table) = self.table.as_ref().filter(|table| table.low.watermark() > Watermark::UNKNOWN) {
            operator.advance_table(table.low.watermark(), &mut out);
        }
        if self.low.watermark() > Watermark::UNKNOWN {
            operator.advance(self.low.watermark(), &mut out);
        }
        assert!(operator.next_call().is_none() && out.emitted.is_empty(), "a stage that keeps nothing has nothing to tell");
        self.versions = Versions::new(plan.stages[self.idx].state.clone());
        self.restoring = Restoring::Whole;
    }
}
