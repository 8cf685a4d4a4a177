//! A task: one fragment on one partition, the unit of ownership, state, watermark and recovery.
//!
//! The driver's contract with [`Task::handle`]:
//! - before each `Records` it gives a `ClockRead`, and one about every second while nothing comes;
//! - before `Records` it gives a `WriterSchema` for each schema that the task [lacks](Task::lacks);
//! - it gives a `Reading` when an input comes to the end of its log, and when there is more again;
//! - it performs effects in the order given; it answers an [`Effect::Call`] by `PluginReturned` before any other input;
//! - after an [`Effect::Failed`] the task is given nothing more, and its open epoch is not sealed;
//! - `Seal` comes only when no call is open; it answers with exactly one [`Effect::Sealed`].
//!
//! Inside, a task is a scheduler over its stages. There is one queue of rows that stages have not taken yet, first in, first out,
//! and one plugin call open at a time. An input becomes rows; the rows flow through the DAG until the queue is empty; then the
//! watermarks of the stages are raised in topological order, and what a stage emits because of that has flowed on before the next
//! one is raised. Rows that came on an input are judged by the watermark as it would be had the rows before them come alone
//! ([`Feeds::judge`]), rows that a stage made by one that has not seen later rows of that stage. A stage that cannot take a row before
//! windows have fired that the row missed is raised to the row's mark in between ([`Operator::n_acceptable`]). So which rows are late,
//! and what the final results are, does not depend on how records are cut into batches (I-12).

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use crate::{
    format::SchemaAnswer,
    letter::Place,
    plan::{FragmentIdx, Plan, PluginIdx, ShuffleIdx, SourceIdx, StageIdx},
    plugin::{PluginFault, Request, Response},
    record::{Header, Outgoing, Partition, RecordBatch},
    stage::{Outbox, StageCounts, kept::Kept},
    state::{ChangeWriter, StateError, sections},
    time::{WallTime, Watermark},
    watermark::{InputMark, LowWatermark},
};

mod anew;
mod bases;
mod combining;
mod failing;
mod feeds;
mod files;
mod flow;
mod input;
mod memory;
mod migrating;
mod output;
mod retime;
mod stages;
mod terms;
#[cfg(test)]
mod tests;
mod versions;

pub use bases::BasePlace;
pub use failing::{Exceeded, RowFailure, RowPlace, StageFailure};
pub use input::SourceCounts;
pub(crate) use terms::{OtherTerm, may_change_with_a_reset, other_terms};

pub use migrating::{FAILURES_MAX, Migration, StageMigration, Unmigrated};

use anew::Restoring;
use bases::Bases;
use combining::Said;
use feeds::Feeds;
use files::FedFiles;
use flow::Waiting;
use input::{Arrived, Delivery, InputState};
use memory::Memory;
use output::Outputs;
use stages::Stage;

/// Everything that can happen to a task.
#[derive(Debug)]
pub enum Input {
    /// What a registry says of the schema `id`, for the source `input`.
    WriterSchema { input: usize, id: u32, answer: SchemaAnswer },
    /// Records came on `input` (an index into the fragment's inputs), in offset order.
    Records { input: usize, batch: Arc<RecordBatch> },
    /// Whether all that the log holds of `input` was read. Until it is said, it counts as no.
    Reading { input: usize, is_at_end: bool },
    /// The open call was answered.
    PluginReturned { result: Result<Response, PluginFault> },
    /// Wall time is data, never asked for.
    ClockRead { now: WallTime },
    /// The lowest watermark among the tasks of this partition, of all fragments.
    JobWatermark { watermark: Watermark },
    /// The next seal shall write the whole state, however few changes there are: others wait for this task's base to cut the changelog.
    BaseDue,
    /// Where the whole state goes, should it be due; into the epoch until it is said.
    BasesGo { to: BasePlace },
    /// All states that have an older version than their plugin writes shall have that one: see [`Task::migration`]. Answered by
    /// [`Effect::Migrated`], and only for plugins that can.
    Migrate,
    /// The epoch ends here.
    Seal,
}

/// Everything that a task wants done.
#[derive(Debug)]
pub enum Effect {
    Call {
        stage: StageIdx,
        plugin: PluginIdx,
        request: Request,
    },
    /// Outputs, shuffled rows, late records and dead letters.
    Append(Outgoing),
    /// If all states were migrated, the next seal writes the whole state, so that nothing is left of the older versions. If one was not, the
    /// task is to be dropped and recovered from the log.
    Migrated(Vec<StageMigration>),
    Sealed(SealedTask),
    /// The pipeline must stop.
    Failed(Box<StageFailure>),
}

/// Headers that say which code made a record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stamps {
    /// For each sink of the plan those of its records.
    pub sinks: Vec<Arc<[Header]>>,
    /// For each stage of the plan that of what dies in its plugin; `None`: it has none.
    pub stages: Vec<Option<Header>>,
}

/// What a task leaves for recovery at the end of an epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedTask {
    /// State changes since the last seal, or the whole state; see [`crate::state`]. May be empty.
    pub chunks: Vec<Vec<u8>>,
    /// Whether `chunks` is the whole state: what was written before is not needed any more.
    pub is_base: bool,
    /// Whether the whole state is to be taken for a store once the epoch is committed: see [`Task::store_image`].
    pub is_image_due: bool,
}

/// What became of everything that entered a task since the pipeline began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskCounts {
    /// The fragment's sources.
    pub sources: BTreeMap<SourceIdx, SourceCounts>,
    /// The shuffles that lead to the fragment.
    pub shuffles: BTreeMap<ShuffleIdx, SourceCounts>,
    /// The fragment's stages.
    pub stages: BTreeMap<StageIdx, StageCounts>,
}

/// One fragment on one partition. See the module's text.
#[derive(Debug)]
pub struct Task {
    plan: Arc<Plan>,
    fragment: FragmentIdx,
    partition: Partition,
    inputs: Vec<InputState>,
    /// In topological order.
    stages: Vec<Stage>,
    /// Stage of the plan → its place in `stages`.
    places: Vec<Option<usize>>,
    outward: Vec<Outward>,
    files: Vec<FedFiles>,
    low: LowWatermark,
    now: Option<WallTime>,
    queue: VecDeque<Waiting>,
    /// The stage that was given something and may still need calls.
    running: Option<usize>,
    is_call_open: bool,
    /// The stage whose watermark is to be raised next, once the queue is empty.
    raising: Option<usize>,
    /// [`Input::Migrate`] is being done.
    migrating: Option<Migration>,
    outputs: Outputs,
    outbox: Outbox,
    /// The task's memory as the log has it.
    written: Vec<u8>,
    bases: Bases,
}

/// A shuffle that leads out of the fragment.
#[derive(Debug)]
struct Outward {
    shuffle: ShuffleIdx,
    feeds: Feeds,
    low: LowWatermark,
    /// What its partitions were told last.
    sent: InputMark,
    /// Up to where others may ever have gone on without this task, as it was idle.
    granted: Watermark,
}

impl Task {
    /// The task of `fragment` on `partition`, without any state.
    pub fn new(plan: Arc<Plan>, fragment: FragmentIdx, partition: Partition) -> Task {
        let of_fragment = &plan.fragments[fragment];
        let mut stages = Stage::all(&plan, of_fragment);
        combining::add_stages(&plan, fragment, &mut stages);
        let mut places = vec![None; plan.stages.len()];
        stages.iter().enumerate().for_each(|(at, stage)| places[stage.idx] = Some(at));
        let outward = |shuffle| Outward {
            shuffle,
            feeds: Feeds::of_shuffle(&plan, fragment, shuffle, &stages),
            low: LowWatermark::default(),
            sent: InputMark::UNKNOWN,
            granted: Watermark::UNKNOWN,
        };
        Task {
            fragment,
            partition,
            inputs: of_fragment.inputs.iter().map(|input| InputState::new(&plan, *input)).collect(),
            outward: output::shuffles_of(&plan, fragment).map(outward).collect(),
            files: FedFiles::all(&plan, fragment, &stages),
            stages,
            places,
            low: LowWatermark::default(),
            now: None,
            queue: VecDeque::new(),
            running: None,
            is_call_open: false,
            raising: None,
            migrating: None,
            outputs: Outputs::new(plan.clone(), partition),
            outbox: Outbox::default(),
            written: Vec::new(),
            bases: Bases::new(),
            plan,
        }
    }

    /// Never waits and never fails: a bad record or a trap is one more thing that happened.
    ///
    /// Panics when the driver breaks its contract: an input while a call is open, or an answer without a call.
    pub fn handle(&mut self, input: Input, effects: &mut Vec<Effect>) {
        let is_answer = matches!(input, Input::PluginReturned { .. });
        assert!(self.is_call_open == is_answer, "an open call is answered before anything else happens");
        match input {
            Input::WriterSchema { input, id, answer } => {
                if let Some(source) = self.inputs[input].as_source_mut() {
                    source.decoder.learn(id, answer);
                }
            }
            Input::Records { input, batch } => self.records(input, &batch, effects),
            Input::PluginReturned { result } if self.migrating.is_some() => self.migration_returned(result, effects),
            Input::PluginReturned { result } => self.returned(result, effects),
            Input::Reading { input, is_at_end } => self.reading(input, is_at_end),
            Input::ClockRead { now } => self.clock_read(now, effects),
            Input::JobWatermark { watermark } => {
                self.stages.iter_mut().for_each(|stage| stage.state.operator().advance_job(watermark))
            }
            Input::BaseDue => self.bases.is_asked = true,
            Input::BasesGo { to } => self.bases.go(to),
            Input::Migrate => self.migrate(effects),
            Input::Seal => self.seal(effects),
        }
    }

    /// Applies a chunk of an earlier life. The chunks of a [`crate::checkpoint::chain`] come in its order, before any input, and then
    /// [`Task::restored`].
    pub fn restore(&mut self, chunk: &[u8]) -> Result<(), StateError> {
        for (name, mut body) in sections(chunk)? {
            if name == memory::SECTION {
                self.written = body.rest().to_vec();
                self.memory().read(&mut body)?;
                continue;
            }
            let is_it = |stage: &&mut Stage| *self.plan.stages[stage.idx].name == *name && stage.state.keeps_state();
            let stage = self.stages.iter_mut().find(is_it);
            let stage = stage.ok_or_else(|| StateError::UnknownStage(name.to_owned()))?;
            if stage.restoring != Restoring::Skipped {
                stage.state.operator().restore(&mut body)?;
            }
        }
        self.bases.n_bytes_since += chunk.len();
        Ok(())
    }

    /// Records of sinks and dead letters carry these headers from now on. Between epochs only.
    pub fn stamp(&mut self, stamps: Arc<Stamps>) {
        self.outputs.stamp(stamps);
    }

    /// This task under another plan, as if it had been sealed whole and recovered by it: what recovery would refuse is refused here.
    /// Between epochs only. O(state). The task itself stays as it was.
    pub fn under(&mut self, plan: Arc<Plan>) -> Result<Task, StateError> {
        let mut task = Task::new(plan, self.fragment, self.partition);
        let in_log = self.written.clone();
        let image = self.image();
        self.written.clone_from(&in_log);
        for chunk in image {
            task.restore(&chunk)?;
        }
        task.restored();
        task.written = in_log;
        task.bases.n_bytes_since = self.bases.n_bytes_since;
        Ok(task)
    }

    pub fn partition(&self) -> Partition {
        self.partition
    }

    /// The lowest watermark of the task's inputs. Never goes back.
    pub fn watermark(&self) -> Watermark {
        self.low.watermark()
    }

    /// How far a source among the inputs has come; `None` for a shuffle.
    pub fn source_mark(&self, input: usize) -> Option<InputMark> {
        self.inputs[input].as_source().map(|_| self.inputs[input].mark(self.now))
    }

    /// The schemas by which records of `batch` on `input` were written, and which the task does not know yet. O(records).
    pub fn lacks(&self, input: usize, batch: &RecordBatch) -> BTreeSet<u32> {
        self.inputs[input].as_source().map_or_else(BTreeSet::new, |source| source.decoder.lacks(batch))
    }

    /// What became of everything that entered the task since the pipeline began.
    pub fn counts(&self) -> TaskCounts {
        let sources = self.inputs.iter().filter_map(InputState::as_source);
        let shuffles = self.inputs.iter().filter_map(InputState::as_shuffle);
        TaskCounts {
            sources: sources.map(|source| (source.source, source.counts)).collect(),
            shuffles: shuffles.map(|shuffle| (shuffle.shuffle, shuffle.counts)).collect(),
            stages: self.stages.iter().map(|stage| (stage.idx, stage.counts)).collect(),
        }
    }

    /// About how many bytes a base would have. O(stages).
    pub fn state_bytes(&self) -> usize {
        self.stages.iter().map(|stage| stage.state.state_bytes()).sum()
    }

    /// How many rows wait for a table in each stage, by its place in the plan. O(stages).
    pub fn waiting_by_stage(&self) -> impl Iterator<Item = (StageIdx, usize)> {
        self.stages.iter().map(|stage| (stage.idx, stage.state.n_waiting()))
    }

    /// The bytes of [`Task::state_bytes`] of each stage, by its place in the plan.
    pub fn state_bytes_by_stage(&self) -> impl Iterator<Item = (StageIdx, usize)> {
        self.stages.iter().map(|stage| (stage.idx, stage.state.state_bytes()))
    }

    /// Shows all that the stages keep, each with its place in the plan.
    pub fn kept(&self, each: &mut dyn FnMut(StageIdx, Kept<'_>)) {
        self.stages.iter().for_each(|stage| stage.state.kept(&mut |kept| each(stage.idx, kept)));
    }

    /// The versions of its plugin's state that what the stage keeps may have. None: its plugin has no state, or nothing is kept.
    pub fn state_versions(&self, stage: StageIdx) -> impl Iterator<Item = u32> {
        self.places[stage].into_iter().flat_map(|at| self.stages[at].versions.kept())
    }

    /// Whether all inputs have ended: nothing more will ever come of this task.
    pub fn finished(&self) -> bool {
        self.inputs.iter().all(|input| input::has_ended(input.mark(self.now)))
    }

    fn records(&mut self, input: usize, batch: &Arc<RecordBatch>, effects: &mut Vec<Effect>) {
        let plan = self.plan.clone();
        let of_fragment = plan.fragments[self.fragment].inputs[input];
        let from = Delivery { partition: self.partition, batch, now: self.now };
        let decoded = self.inputs[input].decode(&plan, input, &from);
        let place = match &self.inputs[input] {
            InputState::Source(source) => Place::Source(&plan.sources[source.source].name),
            InputState::Shuffle(shuffle) => Place::Source(&plan.shuffles[shuffle.shuffle].topic),
        };
        self.outputs.dead_records(place, plan.input_topic(of_fragment), batch, &decoded.dead, effects);
        for arrived in decoded.arrived {
            match arrived {
                Arrived::Rows(batch) => self.deliver(plan.input_stream(of_fragment), batch, effects),
                Arrived::Partials(made, batch) => self.partials(plan.input_stream(of_fragment), &made, batch, effects),
            }
        }
        self.raising = Some(0);
        self.run(effects);
    }

    fn returned(&mut self, result: Result<Response, PluginFault>, effects: &mut Vec<Effect>) {
        self.is_call_open = false;
        let running = self.running.expect("the stage that asked for the call is running");
        self.stages[running].state.operator().returned(result, &mut self.outbox);
        self.empty_outbox(running, effects);
        self.run(effects);
    }

    fn reading(&mut self, input: usize, is_at_end: bool) {
        if let (InputState::Source(source), Some(now)) = (&mut self.inputs[input], self.now) {
            source.clock.reading(is_at_end, now);
        }
    }

    fn clock_read(&mut self, now: WallTime, effects: &mut Vec<Effect>) {
        if self.now.is_none() {
            self.inputs.iter_mut().for_each(|input| input.first_clock_read(now));
        }
        self.now = Some(now);
        self.raising = Some(0);
        self.run(effects);
    }

    fn seal(&mut self, effects: &mut Vec<Effect>) {
        for outward in &mut self.outward {
            outward.low.update(outward.feeds.marks(&self.inputs, &self.stages, self.now));
            let mark = outward.low.mark();
            match outward.said(&self.plan, mark, self.now) {
                Some(Said::Mark(mark)) => self.outputs.shuffle_mark(outward.shuffle, mark, self.now),
                Some(Said::Idle { watermark, until }) => self.outputs.shuffle_idle(outward.shuffle, watermark, until, self.now),
                None => {}
            }
        }
        files::tell(&mut self.files, &self.inputs, &self.stages, self.now, &mut self.outputs);
        self.outputs.flush(effects);
        let sealed = self.seal_state();
        effects.push(Effect::Sealed(sealed));
    }

    /// What has changed since the last seal.
    fn changes(&mut self) -> Vec<Vec<u8>> {
        let mut writer = ChangeWriter::default();
        let memory = self.memory().write();
        if memory != self.written {
            writer.stage(memory::SECTION);
            writer.body().fixed(&memory);
            writer.end_change();
            self.written = memory;
        }
        for stage in &mut self.stages {
            writer.stage(&self.plan.stages[stage.idx].name);
            stage.state.operator().changes(&mut writer);
        }
        writer.finish()
    }

    /// The whole state, as a base has it.
    fn image(&mut self) -> Vec<Vec<u8>> {
        let mut writer = ChangeWriter::default();
        self.written = self.memory().write();
        writer.stage(memory::SECTION);
        writer.body().fixed(&self.written);
        writer.end_change();
        for stage in &mut self.stages {
            writer.stage(&self.plan.stages[stage.idx].name);
            stage.state.operator().image(&mut writer);
        }
        writer.finish()
    }

    fn memory(&mut self) -> Memory<'_> {
        Memory {
            plan: &self.plan,
            low: &mut self.low,
            inputs: &mut self.inputs,
            stages: &mut self.stages,
            outward: &mut self.outward,
        }
    }
}
