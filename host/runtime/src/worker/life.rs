//! One session of a worker with the log, and everything that is forgotten when it ends: tasks, positions, the open epoch.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use reelflow_core::{
    checkpoint::{Incarnation, RecoveryPoint},
    letter::Letter,
    plan::FragmentIdx,
    record::{Offset, Outgoing, Partition},
    task::{Effect, Input, SealedTask, StageMigration, Stamps, Task},
    time::{WallTime, Watermark},
    upgrade::tally::Tally,
};
use reelflow_ports::log::{Fetched, Session, TopicPartition};

use crate::{
    bases::Writing,
    error::{RunError, StageError},
    observe::DeadLetter,
    recovery::{self, Recovered},
    seal::{self, TaskEpoch},
    worker::{Job, alignment::Held, calls::Plugins, schemas::Asking},
};

/// Tasks are told the time about this often, records or none: an idle partition is noticed by it.
const TICK_MS: i64 = 1000;
/// How long a poll may wait while a verdict is awaited.
const TRIAL_POLL: Duration = Duration::from_millis(10);

/// What exists only between joining the group and the end of the session.
pub(super) struct Life {
    pub session: Box<dyn Session>,
    pub tasks: Vec<OwnedTask>,
    pub open: OpenEpoch,
    /// (index into `tasks`, index into its fragment's inputs)
    pub by_input: BTreeMap<TopicPartition, (usize, usize)>,
    /// What aligned reading holds back, and what cannot be read yet.
    pub held: Held,
    pub asking: Asking,
    pub job_watermarks: BTreeMap<Partition, Watermark>,
    ticked: WallTime,
    /// Tasks without a known change are asked at the next seal as well, since the passing of time may have changed something in
    /// them that must be told downstream (an input went idle).
    probe: bool,
    /// Up to where the changelog and the internal topics were cut.
    pub trimmed: BTreeMap<TopicPartition, Offset>,
    /// What was written to each partition of the changelog since it was cut.
    pub untrimmed_bytes: BTreeMap<Partition, usize>,
    /// How the plugins have done so far.
    pub tally: Tally,
    /// The headers of each sink's records.
    pub stamps: Arc<Stamps>,
    /// The open epoch waits for a verdict, not for its time.
    pub is_trial: bool,
    /// What became of the states that were to be migrated all at once.
    pub migrated: Vec<StageMigration>,
}

/// A task, where it stands in the log, and whether it has anything to seal.
pub(super) struct OwnedTask {
    pub fragment: FragmentIdx,
    pub partition: Partition,
    pub task: Task,
    pub point: RecoveryPoint,
    pub incarnation: Incarnation,
    pub inputs: Vec<TopicPartition>,
    /// Whether all that the log holds of an input was given to the task.
    pub at_end: Vec<bool>,
    positions: Vec<Offset>,
    pub committed: Vec<Offset>,
    /// Records came, or effects left, since the last seal.
    pub changed: bool,
    /// What all tasks of the partition have written to the changelog since this one's base.
    pub changelog_bytes: usize,
    /// A base of it is on its way to the store.
    pub writing: Option<Arc<Writing>>,
    watermark_sealed: Watermark,
}

/// What the open epoch holds so far.
#[derive(Debug, Default)]
pub(super) struct OpenEpoch {
    /// When the first change came; `None`: there is nothing to seal.
    pub since: Option<WallTime>,
    pub records_read: u64,
    pub bytes_read: u64,
    pub records_written: u64,
    pub bytes_written: u64,
    pub dead_letters: u64,
    pub dead_letters_by: BTreeMap<(String, String), u64>,
    pub dead_letter: Option<DeadLetter>,
}

/// What a seal gave.
pub(super) struct SealedTotals {
    pub epoch: OpenEpoch,
    pub changelog_bytes: u64,
}

impl Life {
    pub fn new(session: Box<dyn Session>, asking: Asking, stamps: Arc<Stamps>, now: WallTime) -> Life {
        Life {
            session,
            tasks: Vec::new(),
            open: OpenEpoch::default(),
            by_input: BTreeMap::new(),
            held: Held::default(),
            asking,
            job_watermarks: BTreeMap::new(),
            ticked: now,
            probe: false,
            trimmed: BTreeMap::new(),
            untrimmed_bytes: BTreeMap::new(),
            tally: Tally::default(),
            stamps,
            is_trial: false,
            migrated: Vec::new(),
        }
    }

    /// Takes over the tasks of an assignment and starts reading where they stand.
    pub fn start(&mut self, job: &Job, recovered: Vec<Recovered>, incarnation: Incarnation) -> Result<(), RunError> {
        self.forget();
        for mut one in recovered {
            one.task.stamp(self.stamps.clone());
            let leaves_store = job.leaves_store(&mut one);
            let inputs = recovery::inputs(&job.plan, one.fragment, one.partition);
            for (input_idx, at) in inputs.iter().enumerate() {
                self.by_input.insert(at.clone(), (self.tasks.len(), input_idx));
            }
            let watermark_sealed = one.task.watermark();
            let is_due = one.is_forgotten || one.task.owes_base() || leaves_store;
            if is_due {
                self.open.since.get_or_insert_with(|| job.clock.now());
            }
            self.tasks.push(OwnedTask {
                fragment: one.fragment,
                partition: one.partition,
                task: one.task,
                point: one.point,
                incarnation,
                at_end: vec![false; inputs.len()],
                inputs,
                committed: one.positions.clone(),
                positions: one.positions,
                changed: is_due,
                changelog_bytes: one.changelog_bytes,
                writing: None,
                watermark_sealed,
            });
        }
        let start = |owned: &OwnedTask| owned.inputs.iter().cloned().zip(owned.positions.iter().copied()).collect::<Vec<_>>();
        let positions: Vec<(TopicPartition, Offset)> = self.tasks.iter().flat_map(start).collect();
        self.session.start(&positions)?;
        Ok(())
    }

    /// Forgets all tasks and the open epoch, without a trace in the log.
    pub fn forget(&mut self) {
        self.tasks.clear();
        self.by_input.clear();
        self.held = Held::default();
        self.job_watermarks.clear();
        self.open = OpenEpoch::default();
        self.is_trial = false;
    }

    /// Gives records to their task.
    pub fn take(&mut self, job: &Job, plugins: &mut Plugins, fetched: Fetched) -> Result<(), RunError> {
        let Some(&(task_idx, input)) = self.by_input.get(&fetched.at) else {
            return Err(RunError::NotOwned(fetched.at));
        };
        self.say_reading(job, plugins, &fetched.at, fetched.at_end)?;
        if !fetched.batch.is_empty() {
            let now = job.clock.now();
            self.open.since.get_or_insert(now);
            self.open.records_read += fetched.batch.len() as u64;
            self.open.bytes_read += fetched.batch.n_bytes() as u64;
            self.tasks[task_idx].changed = true;
            self.give(job, plugins, task_idx, Input::ClockRead { now })?;
            self.give(job, plugins, task_idx, Input::Records { input, batch: fetched.batch })?;
        }
        self.tasks[task_idx].positions[input] = fetched.next;
        Ok(())
    }

    /// Tells a task whether there is more to read of an input, if that is news.
    pub fn say_reading(
        &mut self,
        job: &Job,
        plugins: &mut Plugins,
        at: &TopicPartition,
        is_at_end: bool,
    ) -> Result<(), RunError> {
        let Some(&(task_idx, input)) = self.by_input.get(at) else { return Err(RunError::NotOwned(at.clone())) };
        if self.tasks[task_idx].at_end[input] != is_at_end {
            self.tasks[task_idx].at_end[input] = is_at_end;
            self.give(job, plugins, task_idx, Input::ClockRead { now: job.clock.now() })?;
            self.give(job, plugins, task_idx, Input::Reading { input, is_at_end })?;
        }
        Ok(())
    }

    /// Tells the tasks what time it is, at most once a second.
    pub fn tick(&mut self, job: &Job, plugins: &mut Plugins, now: WallTime) -> Result<(), RunError> {
        if now.0 - self.ticked.0 >= TICK_MS {
            self.ticked = now;
            self.probe = true;
            for task_idx in 0..self.tasks.len() {
                self.give(job, plugins, task_idx, Input::ClockRead { now })?;
            }
        }
        Ok(())
    }

    /// Tells the tasks of each partition the lowest watermark among them, where it has risen.
    pub fn spread_watermarks(&mut self, job: &Job, plugins: &mut Plugins) -> Result<(), RunError> {
        let mut lowest: BTreeMap<Partition, Watermark> = BTreeMap::new();
        for owned in &self.tasks {
            let watermark = owned.task.watermark();
            lowest.entry(owned.partition).and_modify(|low| *low = watermark.min(*low)).or_insert(watermark);
        }
        for task_idx in 0..self.tasks.len() {
            let partition = self.tasks[task_idx].partition;
            let watermark = lowest[&partition];
            if self.job_watermarks.get(&partition).copied().unwrap_or(Watermark::UNKNOWN) < watermark {
                self.give(job, plugins, task_idx, Input::JobWatermark { watermark })?;
            }
        }
        self.job_watermarks = lowest;
        Ok(())
    }

    /// Opens an epoch when a watermark rose, since that must reach the state and the tasks downstream; and, for runs that end, when
    /// only a position moved, past the markers of transactions: whether the end is reached is judged by committed positions.
    pub fn notice_changes(&mut self, job: &Job, now: WallTime) {
        let until_end = job.settings.until_end;
        let moved = |owned: &OwnedTask| {
            owned.watermark_sealed < owned.task.watermark() || (until_end && owned.positions != owned.committed)
        };
        for owned in self.tasks.iter_mut().filter(|owned| moved(owned)) {
            owned.changed = true;
            self.open.since.get_or_insert(now);
        }
    }

    /// Seals the open epoch. `None`: there was nothing to seal.
    pub fn seal(&mut self, job: &Job, plugins: &mut Plugins) -> Result<Option<SealedTotals>, RunError> {
        let mut sealed: Vec<(usize, TaskEpoch)> = Vec::new();
        let probe = std::mem::take(&mut self.probe);
        self.ask_for_bases(job, plugins)?;
        let mut images = Vec::new();
        for task_idx in 0..self.tasks.len() {
            if !self.tasks[task_idx].changed && !probe {
                continue;
            }
            let permit = self.place_base(job, plugins, task_idx)?;
            let changes = self.give(job, plugins, task_idx, Input::Seal)?;
            let changes = changes.expect("a task answers `Seal` with `Sealed`");
            let permit = permit.filter(|_| changes.is_image_due);
            let owned = &mut self.tasks[task_idx];
            if owned.changed || !changes.chunks.is_empty() {
                images.extend(permit.map(|permit| (task_idx, permit)));
                sealed.push((task_idx, owned.epoch(job, changes)));
            }
        }
        let (owners, epochs): (Vec<usize>, Vec<TaskEpoch>) = sealed.into_iter().unzip();
        if epochs.is_empty() {
            self.open = OpenEpoch::default();
            return Ok(None);
        }
        let result = seal::seal(&mut *self.session, &job.plan.changelog_topic, &epochs, job.clock.now())?;
        for (task_idx, point) in owners.iter().zip(result.points) {
            let owned = &mut self.tasks[*task_idx];
            owned.point = point;
            owned.committed.clone_from(&owned.positions);
            owned.changed = false;
            owned.watermark_sealed = owned.task.watermark();
        }
        self.count_changelog(&owners, &epochs, &images);
        self.follow_bases(job, &owners, &epochs, images);
        let epoch = std::mem::take(&mut self.open);
        Ok(Some(SealedTotals { epoch, changelog_bytes: result.changelog_bytes }))
    }

    /// How long a poll may wait.
    pub fn wait(&self, job: &Job, now: WallTime) -> Duration {
        if self.is_trial {
            return TRIAL_POLL;
        }
        if self.held.is_interrupted {
            return Duration::ZERO;
        }
        let until_tick = TICK_MS - (now.0 - self.ticked.0).clamp(0, TICK_MS);
        let until_seal = match self.open.since {
            Some(since) => job.commit_interval_ms() - (now.0 - since.0),
            None => TICK_MS,
        };
        Duration::from_millis(until_tick.min(until_seal).clamp(0, 100) as u64)
    }

    /// Whether the open epoch must end: by time, records or bytes. A trial ends by none of them, but takes no more once it is full.
    pub fn is_due(&self, job: &Job, now: WallTime) -> bool {
        let Some(since) = self.open.since else { return self.probe && !self.is_trial };
        (now.0 - since.0 >= job.commit_interval_ms() && !self.is_trial) || self.is_full(job)
    }

    /// Whether the open epoch has as many records or bytes as one may have.
    pub fn is_full(&self, job: &Job) -> bool {
        let settings = &job.settings;
        self.open.records_read >= settings.epoch_records_max as u64
            || self.open.bytes_read + self.open.bytes_written >= settings.epoch_bytes_max as u64
    }

    /// Gives `input` to a task and performs its effects in order. Returns what it sealed, if it did.
    pub fn give(
        &mut self,
        job: &Job,
        plugins: &mut Plugins,
        task_idx: usize,
        input: Input,
    ) -> Result<Option<SealedTask>, RunError> {
        let mut fresh = Vec::new();
        let mut effects = VecDeque::new();
        let mut sealed = None;
        self.tasks[task_idx].task.handle(input, &mut fresh);
        effects.extend(fresh.drain(..));
        while let Some(effect) = effects.pop_front() {
            match effect {
                Effect::Call { stage, plugin, request } => {
                    let result = plugins.call(job, stage, plugin, &request);
                    self.tally.count(plugin, &request, &result);
                    self.tasks[task_idx].task.handle(Input::PluginReturned { result }, &mut fresh);
                    effects.extend(fresh.drain(..));
                }
                Effect::Append(records) => {
                    self.tasks[task_idx].changed = true;
                    self.open.since.get_or_insert_with(|| job.clock.now());
                    self.open.wrote(&records, &job.plan.dead_letter_topic);
                    self.session.append(&records)?;
                }
                Effect::Migrated(found) => self.migrated.extend(found),
                Effect::Sealed(changes) => sealed = Some(changes),
                // What is open is never sealed: the session ends with the worker.
                Effect::Failed(failure) => return Err(StageError::of(&job.plan, *failure).into()),
            }
        }
        Ok(sealed)
    }
}

impl OwnedTask {
    fn epoch(&self, job: &Job, sealed: SealedTask) -> TaskEpoch {
        TaskEpoch {
            fragment: job.plan.fragments[self.fragment].name.clone(),
            partition: self.partition,
            before: self.point,
            incarnation: self.incarnation,
            sealed,
            named: self.writing.as_ref().and_then(|writing| writing.done()),
            positions: self.inputs.iter().cloned().zip(self.positions.iter().copied()).collect(),
        }
    }
}

impl OpenEpoch {
    fn wrote(&mut self, records: &Outgoing, dead_letter_topic: &Arc<str>) {
        self.records_written += records.len() as u64;
        self.bytes_written += records.records.n_bytes() as u64;
        if records.topic == *dead_letter_topic && !records.is_empty() {
            self.dead_letters += records.len() as u64;
            let letters = || (0..records.len()).map(|idx| dead_letter(records, idx));
            letters().for_each(|letter| *self.dead_letters_by.entry((letter.by, letter.reason)).or_default() += 1);
            self.dead_letter = self.dead_letter.take().or_else(|| letters().next());
        }
    }
}

/// What the headers of a dead letter say.
fn dead_letter(records: &Outgoing, idx: usize) -> DeadLetter {
    let letter = Letter::read(records.records.record(idx)).expect("the core writes whole letters");
    DeadLetter { by: letter.place.name().to_owned(), reason: letter.reason.to_owned(), error: letter.error.to_owned() }
}
