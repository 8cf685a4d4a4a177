//! From the topic of a file sink to its files: reads what is committed, writes it into the open roll, and has the roll published when
//! it is due.
//!
//! The order of events, and why a crash changes nothing:
//! 1. rows are committed to the sink's topic with the epoch that made them (`seal`); only committed rows are read here;
//! 2. [`PartitionFiles::publish`] publishes them, whole or not at all, together with the offset behind them: the folder alone says what
//!    is published, and this process keeps nothing that it could not read there again;
//! 3. the topic is trimmed up to that offset.
//!
//! A process publishes the partitions that its workers own. That is no fence: a process that has lost a partition learns it late. The
//! folder is one: of two that publish the same rows, one is overtaken and begins again behind what the other has published.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

use reelflow_core::{
    frame::{self, Frame},
    plan::{FilesPlan, SinkIdx, SinkPlan},
    record::{Offset, Partition, Record},
    time::WallTime,
    watermark::InputMark,
};
use reelflow_ports::{
    files::{FileSink, FilesError, PartitionFiles, Published},
    log::{Log, LogError, TopicPartition, Who},
};
use tracing::warn;

use crate::{
    error::RunError,
    observe::Event,
    patience::Patience,
    pipeline::Stopper,
    worker::{Job, status::WorkerStatus},
};

/// How often the topics are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// A partition that is opened while another process publishes it is looked at again.
const OPEN_TRIES_MAX: u32 = 5;

/// The file sinks of a pipeline, by their place in the plan.
pub type FileSinks = BTreeMap<SinkIdx, Arc<dyn FileSink>>;

/// What a process has published in this run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub n_files: u64,
    pub n_rows: u64,
}

/// Publishes the partitions of this process.
pub(crate) struct Publisher {
    job: Job,
    sinks: FileSinks,
    parts: BTreeMap<(SinkIdx, Partition), Part>,
    patience: Patience,
    pub totals: Totals,
}

/// One partition of one sink.
struct Part {
    files: Box<dyn PartitionFiles>,
    at: TopicPartition,
    /// The next offset to read.
    read_to: Offset,
    /// What the task said last.
    mark: InputMark,
    /// When the first thing came that is not published.
    since: Option<WallTime>,
}

/// What came of a look at one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Advanced {
    has_published: bool,
    /// All that was committed is read.
    is_at_end: bool,
}

/// What the owner of a partition wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    /// Publish what is due.
    Steady,
    /// Publish everything that can be seen.
    Leaving,
    /// Publish everything, also what a dead worker's open transaction still hides.
    Last,
}

impl Publisher {
    /// Prepares the folders.
    pub fn new(job: Job, sinks: FileSinks) -> Result<Publisher, RunError> {
        for (sink, files) in &sinks {
            files.prepare().map_err(|why| of_sink(&job.plan.sinks[*sink], why))?;
        }
        let patience = Patience::new(job.settings.outage);
        Ok(Publisher { job, sinks, parts: BTreeMap::new(), patience, totals: Totals::default() })
    }

    /// Checks that the folders fit the topics, before anything is read or written, and does what earlier runs have left to do.
    pub fn check(&self) -> Result<(), RunError> {
        for (sink, files) in &self.sinks {
            for partition in 0..self.job.plan.n_partitions {
                self.open(*sink, partition)?.check(&*self.job.log, &self.job.plan.sinks[*sink])?;
            }
            files.mark_complete().map_err(|why| of_sink(&self.job.plan.sinks[*sink], why))?;
        }
        Ok(())
    }

    /// Publishes what is due of `partitions`, and lets go of all others. Returns whether there is nothing more to read.
    fn step(&mut self, partitions: &BTreeSet<Partition>, pace: Pace) -> Result<bool, RunError> {
        self.parts.retain(|(_, partition), part| {
            let is_kept = partitions.contains(partition);
            if !is_kept {
                part.files.discard();
            }
            is_kept
        });
        let sinks: Vec<SinkIdx> = self.sinks.keys().copied().collect();
        let mut is_at_end = true;
        for sink in sinks {
            let mut has_published = false;
            for partition in partitions {
                let advanced = self.advance(sink, *partition, pace)?;
                has_published |= advanced.has_published;
                is_at_end &= advanced.is_at_end;
            }
            // At the end always: an attempt that failed may have published the last rows.
            if has_published || pace != Pace::Steady {
                self.sinks[&sink].mark_complete().map_err(|why| of_sink(&self.job.plan.sinks[sink], why))?;
            }
        }
        Ok(is_at_end)
    }

    /// Reads on, and publishes what is due: one roll and no more at a steady pace, so that no partition waits for another's backlog.
    fn advance(&mut self, sink: SinkIdx, partition: Partition, pace: Pace) -> Result<Advanced, RunError> {
        let plan = self.job.plan.clone();
        let plan = &plan.sinks[sink];
        let files = plan.files.as_ref().expect("a file sink has files");
        let mut part = match self.parts.remove(&(sink, partition)) {
            Some(part) => part,
            None => self.open(sink, partition)?,
        };
        // Asked before reading: what is decided in between is seen below.
        let is_undecided = pace == Pace::Last && self.job.log.is_undecided(&part.at)?;
        let mut advanced = Advanced { has_published: false, is_at_end: false };
        while !advanced.is_at_end {
            advanced.is_at_end = part.read(&*self.job.log, plan, files, self.job.clock.now())?;
            if part.is_due(files, self.job.clock.now()) || (pace != Pace::Steady && part.since.is_some()) {
                let published = part.publish(plan)?;
                advanced.has_published = true;
                self.published(plan, partition, published);
                if let Err(error) = self.job.log.trim(&part.at, part.read_to) {
                    warn!(at = %part.at, before = part.read_to, %error, "could not trim the topic of a file sink");
                }
            }
            if pace == Pace::Steady {
                break;
            }
        }
        if is_undecided {
            return Err(LogError::Unavailable(format!("an open transaction hides records of {}", part.at)).into());
        }
        self.parts.insert((sink, partition), part);
        Ok(advanced)
    }

    fn published(&mut self, plan: &SinkPlan, partition: Partition, published: Published) {
        let Published { n_rows, n_files, n_bytes } = published;
        self.totals.n_files += n_files as u64;
        self.totals.n_rows += n_rows;
        if n_files > 0 {
            self.job.observer.event(&Event::Published { sink: plan.name.clone(), partition, n_files, n_rows, n_bytes });
        }
    }

    /// Opens a partition where its folder says, if that fits the topic.
    fn open(&self, sink: SinkIdx, partition: Partition) -> Result<Part, RunError> {
        let plan = &self.job.plan.sinks[sink];
        let at = TopicPartition { topic: plan.topic.clone(), partition };
        let mut tries = 1;
        loop {
            let files = self.sinks[&sink].open(partition).map_err(|why| of_sink(plan, why))?;
            // Read after the folder: nothing was published beyond this end.
            let (earliest, end) = self.job.log.offsets(&at)?;
            let next = files.next();
            if let Some(next) = next.filter(|next| *next > end) {
                return Err(of_sink(plan, FilesError::Ahead { partition, next, end }));
            }
            if next.unwrap_or(0) >= earliest {
                let (read_to, mark) = (next.unwrap_or(earliest), files.mark());
                return Ok(Part { files, at, read_to, mark, since: None });
            }
            // Unless somebody has published meanwhile, and trimmed the topic, rows are gone.
            if tries == OPEN_TRIES_MAX {
                return Err(of_sink(plan, FilesError::Behind { partition, earliest }));
            }
            tries += 1;
        }
    }

    /// What to do after an error: wait so long and begin again from what the folder says, or give up.
    fn failed(&mut self, error: RunError) -> Result<Duration, RunError> {
        self.parts.values_mut().for_each(|part| part.files.discard());
        self.parts.clear();
        let may_pass = match &error {
            RunError::Log(error) => error.ends_only_the_session(),
            RunError::Files { why: FilesError::Overtaken { .. }, .. } => return Ok(Duration::ZERO),
            error => error.who() == Who::Environment,
        };
        let wait = self.patience.wait(self.job.clock.now());
        if !may_pass || wait.is_over {
            return Err(error);
        }
        warn!(%error, "files cannot be published, trying again");
        Ok(wait.after)
    }

    /// Publishes everything that was committed, of all partitions. Waits while open transactions hide some of it.
    pub fn finish(&mut self) -> Result<(), RunError> {
        let all = (0..self.job.plan.n_partitions).collect();
        while let Err(error) = self.step(&all, Pace::Last) {
            thread::sleep(self.failed(error)?);
        }
        Ok(())
    }

    /// Publishes what can be seen of `partitions`. Who is asked to stop does not wait for what fails: the next run will publish it.
    pub fn leave(&mut self, partitions: &BTreeSet<Partition>) {
        while let Err(error) = self.step(partitions, Pace::Leaving) {
            self.discard();
            self.parts.clear();
            if !matches!(error, RunError::Files { why: FilesError::Overtaken { .. }, .. }) {
                warn!(%error, "stopped before all files were published");
                break;
            }
        }
    }

    /// Gives up what was written and not published.
    pub fn discard(&mut self) {
        self.parts.values_mut().for_each(|part| part.files.discard());
    }
}

impl Part {
    /// Checks that the first rows that wait, and so all of them, have the fields that the sink has now: no run adds rows to others
    /// that it could not publish.
    fn check(&self, log: &dyn Log, plan: &SinkPlan) -> Result<(), RunError> {
        let (earliest, end) = log.offsets(&self.at)?;
        let from = self.read_to.max(earliest);
        let mut misfit = None;
        if from < end {
            log.scan(&self.at, from, end, &mut |record| match record.key {
                None => true,
                Some(digest) => {
                    misfit = (digest != plan.rows_digest()).then_some(record.offset);
                    false
                }
            })?;
        }
        match misfit {
            None => Ok(()),
            Some(offset) => Err(of_sink(plan, self.misfit(offset))),
        }
    }

    fn misfit(&self, offset: Offset) -> FilesError {
        let why = "they have other fields than the sink has now".to_owned();
        FilesError::Unreadable { partition: self.at.partition, offset, why }
    }

    /// Reads what is committed, up to where the roll is full. Returns whether that is all.
    fn read(&mut self, log: &dyn Log, plan: &SinkPlan, files: &FilesPlan, now: WallTime) -> Result<bool, RunError> {
        let (earliest, end) = log.offsets(&self.at)?;
        if self.read_to < earliest {
            return Err(of_sink(plan, FilesError::Overtaken { partition: self.at.partition }));
        }
        if self.read_to >= end {
            return Ok(true);
        }
        let mut outcome = Ok(());
        let mut is_full = false;
        let (at, from) = (self.at.clone(), self.read_to);
        log.scan(&at, from, end, &mut |record| {
            outcome = self.take(&record, plan);
            if outcome.is_ok() {
                self.read_to = record.offset + 1;
            }
            is_full = self.is_full(files);
            outcome.is_ok() && !is_full
        })?;
        outcome.map_err(|why| of_sink(plan, why))?;
        if self.mark != self.files.mark() || self.files.open_roll().n_rows > 0 {
            self.since.get_or_insert(now);
        }
        if !is_full {
            // The markers of transactions take offsets too.
            self.read_to = end;
        }
        Ok(!is_full)
    }

    fn take(&mut self, record: &Record<'_>, plan: &SinkPlan) -> Result<(), FilesError> {
        if record.key.is_some_and(|digest| digest != plan.rows_digest()) {
            return Err(self.misfit(record.offset));
        }
        match frame::decode(record.value.unwrap_or_default(), &plan.schema) {
            Ok(Frame::Rows { batch, .. }) => self.files.write(record.offset, &batch),
            Ok(Frame::Watermark { mark: InputMark { watermark, is_idle }, .. }) => {
                // A task that was recovered may say less than it did before.
                self.mark = InputMark { watermark: watermark.max(self.mark.watermark), is_idle };
                Ok(())
            }
            Err(why) => {
                let why = why.to_string();
                Err(FilesError::Unreadable { partition: self.at.partition, offset: record.offset, why })
            }
        }
    }

    fn is_full(&self, files: &FilesPlan) -> bool {
        let roll = self.files.open_roll();
        roll.is_full || roll.bytes_max >= files.roll_bytes
    }

    fn is_due(&self, files: &FilesPlan, now: WallTime) -> bool {
        self.is_full(files) || self.since.is_some_and(|since| now.0 - since.0 >= files.roll_every_ms)
    }

    fn publish(&mut self, plan: &SinkPlan) -> Result<Published, RunError> {
        let published = self.files.publish(self.read_to, self.mark).map_err(|why| of_sink(plan, why))?;
        self.since = None;
        Ok(published)
    }
}

/// The partitions that the workers of this process own, or owned when they ended.
pub(crate) fn owned(statuses: &[Arc<Mutex<WorkerStatus>>]) -> BTreeSet<Partition> {
    let of_worker = |status: &Arc<Mutex<WorkerStatus>>| status.lock().unwrap_or_else(PoisonError::into_inner).owned.clone();
    statuses.iter().flat_map(of_worker).collect()
}

/// Publishes on a thread of its own until stopped, and gives the publisher back for what is left. An error that will not pass stops
/// the pipeline.
pub(crate) fn spawn(
    mut publisher: Publisher,
    statuses: Vec<Arc<Mutex<WorkerStatus>>>,
    stopper: Stopper,
) -> JoinHandle<Result<Publisher, RunError>> {
    let run = move || {
        while !stopper.is_stopped() {
            let wait = match publisher.step(&owned(&statuses), Pace::Steady) {
                Ok(is_at_end) => {
                    publisher.patience.succeeded();
                    if is_at_end { LOOK_EVERY } else { Duration::ZERO }
                }
                Err(error) => publisher.failed(error).inspect_err(|_| stopper.stop())?,
            };
            stopper.wait(wait);
        }
        Ok(publisher)
    };
    thread::Builder::new().name("files".to_owned()).spawn(run).expect("the machine has room for a thread")
}

fn of_sink(plan: &SinkPlan, why: FilesError) -> RunError {
    RunError::Files { sink: plan.name.clone(), why }
}
