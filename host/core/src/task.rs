//! A task: one fragment on one partition, the unit of ownership, state, watermark and recovery.
//!
//! The driver's contract with [`Task::handle`]:
//! - before each `Records` it gives a `ClockRead`, and one about every second while nothing comes;
//! - it performs effects in the order given; it answers an [`Effect::Call`] by `PluginReturned` before any other input;
//! - `Seal` comes only when no call is open; it answers with exactly one [`Effect::Sealed`].
//!
//! Inside, a task is a scheduler over its stages. There is one queue of rows that stages have not taken yet, first in, first out,
//! and one plugin call open at a time. An input becomes rows; the rows flow through the DAG until the queue is empty; then the
//! watermarks of the stages are raised in topological order, and what a stage emits because of that has flowed on before the next
//! one is raised. So rows are always judged by the watermark from before the records that brought them, and by one that has not
//! seen later rows of the stage that emitted them.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use crate::{
    plan::{Consumer, FragmentIdx, Plan, PluginIdx, ShuffleIdx, SourceIdx, StageIdx, Stream},
    plugin::{PluginFault, Request, Response},
    record::{Outgoing, Partition, RecordBatch},
    stage::{Batch, Outbox, StageCounts},
    state::{ChangeWriter, StateError, sections},
    time::{WallTime, Watermark},
    watermark::{InputMark, LowWatermark},
};

mod files;
mod input;
mod memory;
mod output;
mod stages;
mod terms;
#[cfg(test)]
mod tests;

pub use input::SourceCounts;

use files::FedFiles;
use input::InputState;
use memory::Memory;
use output::{Outputs, Place};
use stages::{Feed, Stage};

/// A base is written when the changes since the last one have more bytes than this, and than twice the state.
const BASE_AFTER_BYTES: usize = 64 * 1024;

/// Everything that can happen to a task.
#[derive(Debug)]
pub enum Input {
    /// Records came on `input` (an index into the fragment's inputs), in offset order.
    Records { input: usize, batch: Arc<RecordBatch> },
    /// The open call was answered.
    PluginReturned { result: Result<Response, PluginFault> },
    /// Wall time is data, never asked for.
    ClockRead { now: WallTime },
    /// The lowest watermark among the tasks of this partition, of all fragments.
    JobWatermark { watermark: Watermark },
    /// The epoch ends here.
    Seal,
}

/// Everything that a task wants done.
#[derive(Debug)]
pub enum Effect {
    Call {
        plugin: PluginIdx,
        request: Request,
    },
    /// Outputs, shuffled rows, late records and dead letters.
    Append(Outgoing),
    Sealed(SealedTask),
}

/// What a task leaves for recovery at the end of an epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedTask {
    /// State changes since the last seal, or the whole state; see [`crate::state`]. May be empty.
    pub chunks: Vec<Vec<u8>>,
    /// Whether `chunks` is the whole state: what was written before is not needed any more.
    pub is_base: bool,
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
    outputs: Outputs,
    outbox: Outbox,
    /// The task's memory as it was last written.
    written: Vec<u8>,
    /// Bytes of changes since the last base.
    n_bytes_since_base: usize,
}

/// Rows that a stage has not taken yet.
#[derive(Debug)]
struct Waiting {
    stage: usize,
    port: usize,
    batch: Batch,
}

/// A shuffle that leads out of the fragment.
#[derive(Debug)]
struct Outward {
    shuffle: ShuffleIdx,
    feeds: Vec<Feed>,
    low: LowWatermark,
    /// What its partitions were told last.
    sent: InputMark,
}

impl Task {
    /// The task of `fragment` on `partition`, without any state.
    pub fn new(plan: Arc<Plan>, fragment: FragmentIdx, partition: Partition) -> Task {
        let of_fragment = &plan.fragments[fragment];
        let stages = Stage::all(&plan, of_fragment);
        let mut places = vec![None; plan.stages.len()];
        stages.iter().enumerate().for_each(|(at, stage)| places[stage.idx] = Some(at));
        let outward = |shuffle| Outward {
            shuffle,
            feeds: stages::feeds_of_shuffle(&plan, fragment, shuffle),
            low: LowWatermark::default(),
            sent: InputMark::UNKNOWN,
        };
        Task {
            fragment,
            partition,
            inputs: of_fragment.inputs.iter().map(|input| InputState::new(&plan, *input)).collect(),
            outward: output::shuffles_of(&plan, fragment).map(outward).collect(),
            files: FedFiles::all(&plan, fragment),
            stages,
            places,
            low: LowWatermark::default(),
            now: None,
            queue: VecDeque::new(),
            running: None,
            is_call_open: false,
            raising: None,
            outputs: Outputs::new(plan.clone(), partition),
            outbox: Outbox::default(),
            written: Vec::new(),
            n_bytes_since_base: 0,
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
            Input::Records { input, batch } => self.records(input, &batch, effects),
            Input::PluginReturned { result } => self.returned(result, effects),
            Input::ClockRead { now } => self.clock_read(now, effects),
            Input::JobWatermark { watermark } => {
                self.stages.iter_mut().for_each(|stage| stage.state.operator().advance_job(watermark))
            }
            Input::Seal => self.seal(effects),
        }
    }

    /// Applies a chunk of an earlier life. The chunks of a [`crate::checkpoint::chain`] come in its order, before any input.
    pub fn restore(&mut self, chunk: &[u8]) -> Result<(), StateError> {
        for (name, mut body) in sections(chunk)? {
            if name == memory::SECTION {
                self.memory().read(&mut body)?;
                continue;
            }
            let stage = self.stages.iter_mut().find(|stage| *self.plan.stages[stage.idx].name == *name);
            stage.ok_or_else(|| StateError::UnknownStage(name.to_owned()))?.state.operator().restore(&mut body)?;
        }
        self.written = self.memory().write();
        self.n_bytes_since_base += chunk.len();
        Ok(())
    }

    /// The lowest watermark of the task's inputs. Never goes back.
    pub fn watermark(&self) -> Watermark {
        self.low.watermark()
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

    /// Whether all inputs have ended: nothing more will ever come of this task.
    pub fn finished(&self) -> bool {
        self.inputs.iter().all(|input| input::has_ended(input.mark(self.now)))
    }

    fn records(&mut self, input: usize, batch: &Arc<RecordBatch>, effects: &mut Vec<Effect>) {
        let plan = self.plan.clone();
        let of_fragment = plan.fragments[self.fragment].inputs[input];
        let decoded = self.inputs[input].decode(&plan, self.partition, batch, self.now);
        let place = match &self.inputs[input] {
            InputState::Source(source) => Place::Source(&plan.sources[source.source].name),
            InputState::Shuffle(shuffle) => Place::Source(&plan.shuffles[shuffle.shuffle].topic),
        };
        self.outputs.dead_records(place, plan.input_topic(of_fragment), batch, &decoded.dead, effects);
        for batch in decoded.batches {
            self.deliver(plan.input_stream(of_fragment), batch, effects);
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

    fn clock_read(&mut self, now: WallTime, effects: &mut Vec<Effect>) {
        if self.now.is_none() {
            self.inputs.iter_mut().for_each(|input| input.first_clock_read(now));
        }
        self.now = Some(now);
        self.raising = Some(0);
        self.run(effects);
    }

    /// Goes on until a plugin must be called or nothing is left to do.
    fn run(&mut self, effects: &mut Vec<Effect>) {
        loop {
            if let Some(running) = self.running {
                let stage = &mut self.stages[running];
                match stage.state.operator().next_call() {
                    Some(request) => {
                        let plugin =
                            Stage::plugin(&self.plan.stages[stage.idx]).expect("only stages with a plugin ask for calls");
                        self.is_call_open = true;
                        effects.push(Effect::Call { plugin, request });
                        return;
                    }
                    None => self.running = None,
                }
            } else if let Some(Waiting { stage: at, port, batch }) = self.queue.pop_front() {
                let stage = &mut self.stages[at];
                let watermark = stage.low.watermark();
                stage.state.operator().accept(port, batch, watermark, &mut self.outbox);
                self.running = Some(at);
                self.empty_outbox(at, effects);
            } else if let Some(at) = self.raising {
                self.raising = self.raise(at, effects);
            } else {
                self.outputs.flush(effects);
                return;
            }
        }
    }

    /// Raises the watermark of the stage at `at`, or at the end that of the task. Gives what to raise next.
    fn raise(&mut self, at: usize, effects: &mut Vec<Effect>) -> Option<usize> {
        if at == self.stages.len() {
            self.low.update(self.inputs.iter().map(|input| input.mark(self.now)));
            return None;
        }
        if let Some(watermark) = stages::raise(&mut self.stages, at, &self.inputs, self.now) {
            self.stages[at].state.operator().advance(watermark, &mut self.outbox);
            self.running = Some(at);
            self.empty_outbox(at, effects);
        }
        Some(at + 1)
    }

    /// Sends on what the stage at `at` gave away.
    fn empty_outbox(&mut self, at: usize, effects: &mut Vec<Effect>) {
        let mut outbox = std::mem::take(&mut self.outbox);
        let stage = &mut self.stages[at];
        let stage_idx = stage.idx;
        memory::add_counts(&mut stage.counts, &std::mem::take(&mut outbox.counts));
        let plan = self.plan.clone();
        for (output, batch) in outbox.emitted.drain(..) {
            self.deliver(&plan.stages[stage_idx].outputs[output], batch, effects);
        }
        outbox.late.drain(..).for_each(|late| self.outputs.late(stage_idx, &late, effects));
        outbox.dead.drain(..).for_each(|dead| self.outputs.dead_rows(stage_idx, &dead, effects));
        self.outbox = outbox;
    }

    /// Gives rows of `stream` to all who consume it. The last stage gets them, the others copies.
    fn deliver(&mut self, stream: &Stream, batch: Batch, effects: &mut Vec<Effect>) {
        let mut readers = Vec::new();
        for consumer in &stream.consumers {
            match *consumer {
                Consumer::Sink(sink) => self.outputs.sink(sink, &batch, self.now, effects),
                Consumer::Shuffle(shuffle) => self.outputs.shuffle(shuffle, &batch, self.now, effects),
                Consumer::Stage { stage, port } => readers.push((self.places[stage].expect("of this fragment"), port)),
            }
        }
        let Some((last, others)) = readers.split_last() else { return };
        for (stage, port) in others {
            self.enqueue(*stage, *port, batch.clone());
        }
        self.enqueue(last.0, last.1, batch);
    }

    fn enqueue(&mut self, stage: usize, port: usize, batch: Batch) {
        let batch = self.stages[stage].state.intake(batch);
        if !batch.is_empty() {
            self.queue.push_back(Waiting { stage, port, batch });
        }
    }

    fn seal(&mut self, effects: &mut Vec<Effect>) {
        for outward in &mut self.outward {
            outward.low.update(stages::marks(&outward.feeds, &self.inputs, &self.stages, self.now));
            let mark = outward.low.mark();
            if mark != outward.sent {
                outward.sent = mark;
                self.outputs.shuffle_mark(outward.shuffle, mark, self.now);
            }
        }
        files::tell(&mut self.files, &self.inputs, &self.stages, self.now, &mut self.outputs);
        self.outputs.flush(effects);
        let sealed = self.seal_state();
        effects.push(Effect::Sealed(sealed));
    }

    fn seal_state(&mut self) -> SealedTask {
        let is_base = self.n_bytes_since_base > BASE_AFTER_BYTES.max(2 * self.state_bytes());
        let mut writer = ChangeWriter::default();
        let memory = self.memory().write();
        if is_base || memory != self.written {
            writer.stage(memory::SECTION);
            writer.body().fixed(&memory);
            writer.end_change();
            self.written = memory;
        }
        for stage in &mut self.stages {
            writer.stage(&self.plan.stages[stage.idx].name);
            let operator = stage.state.operator();
            if is_base { operator.image(&mut writer) } else { operator.changes(&mut writer) }
        }
        let chunks = writer.finish();
        let n_bytes: usize = chunks.iter().map(Vec::len).sum();
        self.n_bytes_since_base = if is_base { 0 } else { self.n_bytes_since_base + n_bytes };
        SealedTask { chunks, is_base }
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
