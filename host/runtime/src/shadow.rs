//! A candidate beside the pipeline that runs: it gets the same input and a copy of the state, and what it would have written is compared
//! with what the code that runs writes. Nothing of it leaves this process.
//!
//! A shadow is a process of its own, and only reads: it joins no group, opens no transaction and writes nothing. Each task is copied as it was
//! committed last ([`recovery`]), for both programs, and then both are given the records from its committed positions on, in the same
//! batches and with the same readings of the clock. Since a task is a function of its inputs, what the two write differs by their code
//! alone, however late the shadow reads what the pipeline has read. So no snapshot across tasks is needed either, and none is taken: a task
//! behind a change of key gets what the pipeline has written there, not what the candidate would have.
//!
//! The pipeline cuts its internal topics behind what it has committed. A shadow that is so late that records are gone takes another copy of all
//! tasks and goes on there; how often is part of the report.
//!
//! Only tasks whose plugins differ are run. A dedup among them sees their watermarks alone, and forgets by those: the same for both programs.
//! Where nobody runs the pipeline meanwhile, all tasks are, and what the code that runs sends to another key is passed on here ([`passing`]).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use reelflow_core::{
    plan::{FragmentIdx, StagePlan},
    record::{Offset, Partition, RecordBatch},
    shadow::{
        comparison::{Compared, Comparison},
        states::States,
        written::Outlet,
    },
    task::Input,
    time::{WallTime, Watermark},
};
use reelflow_ports::{
    bases::BaseStore,
    clock::Clock,
    log::{Guarantee, Log, LogError, TopicPartition},
    schemas::Schemas,
};

use crate::{
    code::Program,
    error::{RunError, StageError},
    patience::Patience,
    settings::Outage,
    shadow::{passing::Passing, read_only::ReadOnly, side::Side},
    usage::CallUsage,
    worker::Step,
};

mod copying;
mod passing;
mod read_only;
mod schemas;
mod side;

/// A batch ends with so many records, or bytes.
const BATCH_RECORDS: usize = 8 * 1024;
const BATCH_BYTES: usize = 4 << 20;
/// Tasks are told the time about this often, and sealed, so that what has changed since does not grow (I-9).
const TICK_MS: i64 = 1_000;
/// While a pipeline commits and cuts its topics, what is copied may be gone before it was read: so many copies are begun.
const COPIES_MAX: u32 = 10;
const COPY_AGAIN_AFTER: Duration = Duration::from_millis(200);

/// What a shadow reads, and how.
#[derive(Clone)]
pub struct Reading {
    pub log: Arc<dyn Log>,
    /// Where the pipeline has bases of its state, if it has a store.
    pub bases: Option<Arc<dyn BaseStore>>,
    pub schemas: Arc<dyn Schemas>,
    pub clock: Arc<dyn Clock>,
    /// That of the pipeline.
    pub guarantee: Guarantee,
    /// How long to go on while the log, or a registry, does not answer.
    pub outage: Outage,
    /// How many differences of each outlet, or stage, are kept.
    pub first_max: usize,
    /// Stop where the topics end now.
    pub until_end: bool,
    /// Nobody runs the pipeline meanwhile.
    pub is_alone: bool,
}

/// Two programs on the same tasks.
pub struct Shadow {
    reading: Reading,
    patience: Patience,
    /// The code that runs, and the candidate.
    sides: [Side; 2],
    fragments: BTreeSet<FragmentIdx>,
    inputs: Vec<ShadowInput>,
    goals: BTreeMap<TopicPartition, Offset>,
    job_watermarks: BTreeMap<Partition, Watermark>,
    passing: Passing,
    comparison: Comparison,
    ticked: WallTime,
    /// Nothing came of the last step.
    is_idle: bool,
    n_records: u64,
    n_copies: u32,
    n_committed: usize,
}

/// An input of a task, and how far it was read.
struct ShadowInput {
    at: TopicPartition,
    task_idx: usize,
    input: usize,
    next: Offset,
    is_at_end: bool,
}

/// What a shadow has found.
pub struct Report {
    pub outlets: BTreeMap<Outlet, Compared>,
    pub states: States,
    /// Records that both programs were given.
    pub n_records: u64,
    pub n_tasks: usize,
    /// 1, and one more for each time that the shadow was too late.
    pub n_copies: u32,
    /// How many offsets the log held in the end that were not read.
    pub n_unread: u64,
    /// What the calls of each stage have cost, of the code that runs and of the candidate.
    pub usage: [Vec<CallUsage>; 2],
    /// Why the pipeline would have stopped, by either.
    pub stopped: [Option<Box<StageError>>; 2],
}

impl Report {
    /// Whether anything differs.
    pub fn differs(&self) -> bool {
        self.outlets.values().any(|compared| compared.rows.differing() > 0)
            || self.states.by_stage.values().any(|kept| kept.keys.differing() > 0)
            || self.stopped[0] != self.stopped[1]
    }
}

impl Shadow {
    /// Copies the tasks of all partitions. `new` is a program that a running pipeline can take in place of `old`.
    ///
    /// If no plugin of `new` is another one, all tasks are run.
    pub fn begin(reading: Reading, old: &Program, new: &Program) -> Result<Shadow, RunError> {
        let reading = Reading { log: Arc::new(ReadOnly(reading.log.clone())), ..reading };
        let now = reading.clock.now();
        let mut shadow = Shadow {
            patience: Patience::new(reading.outage),
            sides: [Side::new(old, &reading)?, Side::new(new, &reading)?],
            fragments: if reading.is_alone { all_fragments(new) } else { differing_fragments(old, new) },
            inputs: Vec::new(),
            goals: BTreeMap::new(),
            job_watermarks: BTreeMap::new(),
            passing: Passing::default(),
            comparison: Comparison::new(&old.plan, &new.plan, reading.first_max),
            ticked: now,
            is_idle: false,
            n_records: 0,
            n_copies: 0,
            n_committed: 0,
            reading,
        };
        shadow.copy()?;
        if shadow.reading.until_end {
            for input in &shadow.inputs {
                let (_, end) = shadow.reading.log.offsets(&input.at)?;
                shadow.goals.insert(input.at.clone(), end);
            }
        }
        Ok(shadow)
    }

    /// How many of the tasks have ever committed anything.
    pub fn n_committed(&self) -> usize {
        self.n_committed
    }

    pub fn n_records(&self) -> u64 {
        self.n_records
    }

    /// How many rows differ so far. What the other program has not written yet counts.
    pub fn n_differing(&self) -> u64 {
        self.comparison.n_differing()
    }

    /// Whether there is nothing left to do: the end is reached, or one of the programs would have stopped the pipeline.
    pub fn is_over(&self) -> bool {
        let is_read = |input: &ShadowInput| self.goals.get(&input.at).is_some_and(|goal| input.next >= *goal);
        let is_passed_on = !self.reading.is_alone || self.is_idle;
        self.sides.iter().any(|side| side.stopped.is_some()) || (is_passed_on && self.inputs.iter().all(is_read))
    }

    /// Reads a batch of each input that has more, and gives it to both programs.
    pub fn step(&mut self) -> Result<Step, RunError> {
        match self.read_all() {
            Ok(step) => {
                self.patience.succeeded();
                self.is_idle = step == Step::Idle;
                Ok(step)
            }
            Err(RunError::Log(LogError::OffsetLost { .. })) => self.copy().map(|()| Step::Busy),
            Err(RunError::Log(error)) if error.ends_only_the_session() => {
                let wait = self.patience.failed(self.reading.clock.now(), &error)?;
                Ok(Step::Retry { after: wait.after })
            }
            Err(error) => Err(error),
        }
    }

    /// Compares what is kept, and tells all.
    pub fn finish(mut self) -> Report {
        let n_unread = self.inputs.iter().map(|input| match self.reading.log.offsets(&input.at) {
            Ok((_, end)) => u64::try_from(end - input.next).unwrap_or(0),
            Err(_) => 0,
        });
        let n_unread = n_unread.sum();
        let mut states = States::default();
        let [old, new] = &mut self.sides;
        for (one, other) in old.tasks.iter().zip(&new.tasks) {
            states.compare((old.plan(), one), (new.plan(), other), self.reading.first_max);
        }
        Report {
            outlets: self.comparison.finish(),
            states,
            n_records: self.n_records,
            n_tasks: old.tasks.len(),
            n_copies: self.n_copies,
            n_unread,
            usage: [old.usage(), new.usage()],
            stopped: [old.stopped.take(), new.stopped.take()],
        }
    }

    fn read_all(&mut self) -> Result<Step, RunError> {
        let mut step = Step::Idle;
        for idx in 0..self.inputs.len() {
            if self.read(idx)? {
                step = Step::Busy;
            }
            if self.sides.iter().any(|side| side.stopped.is_some()) {
                return Ok(step);
            }
        }
        self.spread_watermarks()?;
        let now = self.reading.clock.now();
        // How far a task has come is told behind a change of key with each seal; there, somebody may wait for it.
        let is_waited_for = self.reading.is_alone && step == Step::Idle;
        if now.0 - self.ticked.0 >= TICK_MS || is_waited_for {
            self.ticked = now;
            for task_idx in 0..self.sides[0].tasks.len() {
                self.both(task_idx, || Input::ClockRead { now })?;
                self.both(task_idx, || Input::Seal)?;
            }
        }
        Ok(if self.passing.is_empty() { step } else { Step::Busy })
    }

    /// Reads a batch of one input. `false`: there is nothing new.
    fn read(&mut self, idx: usize) -> Result<bool, RunError> {
        let ShadowInput { at, task_idx, input, next, .. } = &self.inputs[idx];
        let (task_idx, input, next) = (*task_idx, *input, *next);
        let (earliest, end) = self.reading.log.offsets(at)?;
        if next < earliest {
            return Err(LogError::OffsetLost { at: at.clone(), wanted: next, earliest, end }.into());
        }
        let to = self.goals.get(at).map_or(end, |goal| end.min(*goal));
        let mut batch = RecordBatch::default();
        if next < to {
            self.reading.log.scan(at, next, to, &mut |record| {
                batch.push(record);
                batch.len() < BATCH_RECORDS && batch.n_bytes() < BATCH_BYTES
            })?;
        }
        let is_full = batch.len() >= BATCH_RECORDS || batch.n_bytes() >= BATCH_BYTES;
        let after = if is_full { batch.record(batch.len() - 1).offset + 1 } else { to.max(next) };
        let is_at_end = after >= end;
        let now = self.reading.clock.now();
        if self.inputs[idx].is_at_end != is_at_end {
            self.inputs[idx].is_at_end = is_at_end;
            self.both(task_idx, || Input::ClockRead { now })?;
            self.both(task_idx, || Input::Reading { input, is_at_end })?;
        }
        self.inputs[idx].next = after;
        if batch.is_empty()
            && let Some(passed) = self.passing.take(&self.inputs[idx].at)
        {
            batch = passed;
        }
        if batch.is_empty() {
            return Ok(after > next);
        }
        self.n_records += batch.len() as u64;
        let batch = Arc::new(batch);
        self.learn(task_idx, input, &batch)?;
        self.both(task_idx, || Input::ClockRead { now })?;
        self.both(task_idx, || Input::Records { input, batch: batch.clone() })?;
        Ok(true)
    }

    /// Tells the tasks of each partition the lowest watermark among them, where it has risen.
    fn spread_watermarks(&mut self) -> Result<(), RunError> {
        let mut lowest: BTreeMap<Partition, Watermark> = BTreeMap::new();
        for task in &self.sides[0].tasks {
            let watermark = task.watermark();
            lowest.entry(task.partition()).and_modify(|low| *low = watermark.min(*low)).or_insert(watermark);
        }
        for task_idx in 0..self.sides[0].tasks.len() {
            let partition = self.sides[0].tasks[task_idx].partition();
            let watermark = lowest[&partition];
            if self.job_watermarks.get(&partition).copied().unwrap_or(Watermark::UNKNOWN) < watermark {
                self.both(task_idx, || Input::JobWatermark { watermark })?;
            }
        }
        self.job_watermarks = lowest;
        Ok(())
    }

    /// Gives an input to a task of both programs, and compares what they write.
    fn both(&mut self, task_idx: usize, input: impl Fn() -> Input) -> Result<(), RunError> {
        if self.sides.iter().any(|side| side.stopped.is_some()) {
            return Ok(());
        }
        let [old, new] = &mut self.sides;
        let (one, other) = (old.give(task_idx, input()), new.give(task_idx, input()));
        if !(one.is_empty() && other.is_empty()) {
            self.comparison.compare(&one, &other);
            if self.reading.is_alone {
                self.passing.pass(old.plan(), &one);
            }
        }
        Ok(())
    }
}

/// The fragments with a plugin that is another one in `new`; all of them, if there is none.
fn differing_fragments(old: &Program, new: &Program) -> BTreeSet<FragmentIdx> {
    let is_new = new.changed_from(old);
    let is_new = |stage: &StagePlan| stage.kind.plugin().is_some_and(|plugin| is_new[plugin]);
    let stages = new.plan.stages.iter().filter(|stage| is_new(stage)).map(|stage| stage.fragment);
    // Where rows are added up before they are moved, the plugin works there as well.
    let combined = (0..new.plan.shuffles.len())
        .filter(|shuffle| new.plan.combines_for(*shuffle).is_some_and(|stage| is_new(&new.plan.stages[stage])))
        .map(|shuffle| new.plan.shuffles[shuffle].from_fragment);
    let found: BTreeSet<FragmentIdx> = stages.chain(combined).collect();
    if found.is_empty() { all_fragments(new) } else { found }
}

fn all_fragments(program: &Program) -> BTreeSet<FragmentIdx> {
    (0..program.plan.fragments.len()).collect()
}
