//! From a history to the log: writes its records, in order, into the topics that the plan reads in place of those of its sources.
//!
//! Each record lies in the log once, wherever a crash comes:
//! - records and how many of them there are now are committed by one transaction ([`seal::load`]); a new life goes on behind that count,
//!   as a history always gives the same records in the same order;
//! - the count is a position of a group of its own, so who loads is decided as everything else is: one member owns it, an earlier
//!   life is fenced;
//! - with the count stands which records these are. Other ones are refused: a count of them would mean nothing.
//!
//! The count goes from 0 (loading has begun) to n (all records) to n + 1 (every partition is ended). Sources without a history are ended
//! first, or they would hold all others back. Where the live topics go on behind the history ([`crate::hand_over`]) nothing is ended, and
//! promises leave room for the disorder of what is still to come.
//!
//! Records come in the order of event time over all topics, so behind each batch every partition is told how far the history has come: a
//! partition without records, or a table that seldom changes, holds nothing back, and nothing is ever late. The loader stays at most [`LEAD_RECORDS_MAX`] ahead of what the
//! pipeline has committed, so the log never holds much more than that: the topics are trimmed behind it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use reelflow_core::record::{END_KEY, Offset, Outgoing, WATERMARK_KEY};
use reelflow_ports::{
    history::{History, HistoryError},
    log::{Commit, Guarantee, LogError, MemberSpec, Polled, Session, TopicPartition},
};

use crate::{
    error::RunError,
    observe::Event,
    patience::{Patience, Wait},
    pipeline::Stopper,
    seal,
    worker::{Job, Step},
};

/// Records that are loaded and not yet processed.
pub const LEAD_RECORDS_MAX: u64 = 200_000;
/// How often the lead is measured, in records that were loaded meanwhile.
const LEAD_EVERY: u64 = LEAD_RECORDS_MAX / 4;
/// One transaction holds at most so many records, and no more than an epoch; or about so many bytes.
const BATCH_RECORDS: usize = 10_000;
const BATCH_BYTES: usize = 4 << 20;
/// The wait for the pipeline to catch up, or for something to do.
const PAUSE: Duration = Duration::from_millis(100);

/// Loads one history.
pub struct Loader {
    job: Job,
    spec: MemberSpec,
    /// Whose position is the count.
    at: TopicPartition,
    history: Box<dyn History>,
    /// The live topics go on behind the history: nothing is ended.
    then_live: bool,
    /// How many records were taken out of the history.
    taken: u64,
    /// Taken, and not known to be in the log.
    pending: Option<Batch>,
    life: Option<Life>,
    /// Loaded since the lead was measured last.
    unmeasured: u64,
    patience: Patience,
    is_ended: bool,
}

/// One session with the log.
struct Life {
    session: Box<dyn Session>,
    /// The committed count, or that there is none; `None` while another member owns it.
    count: Option<Option<u64>>,
}

/// Records that make the count `from` the count `to`.
struct Batch {
    from: u64,
    to: u64,
    lists: Vec<Outgoing>,
}

impl Loader {
    /// `job`: its plan reads histories. `then_live`: the live topics go on behind them. Touches nothing yet.
    pub fn new(job: Job, history: Box<dyn History>, then_live: bool) -> Loader {
        let topic = job.plan.sources[0].topic.clone();
        let group = group_of(&job);
        let spec = MemberSpec {
            member: format!("{group}.{}", job.settings.instance).into(),
            group,
            topics: vec![topic.clone()],
            guarantee: Guarantee::ExactlyOnce,
            session_timeout: job.settings.session_timeout,
            transaction_timeout: job.settings.transaction_timeout,
        };
        Loader {
            at: TopicPartition { topic, partition: 0 },
            spec,
            history,
            then_live,
            taken: 0,
            pending: None,
            life: None,
            // Measured first: a life before may have been ahead.
            unmeasured: LEAD_EVERY,
            patience: Patience::new(job.settings.outage),
            job,
            is_ended: false,
        }
    }

    /// Whether everything is in the log, the ends too.
    pub fn is_ended(&self) -> bool {
        self.is_ended
    }

    /// Joins, or loads one batch. An error is final.
    pub fn step(&mut self) -> Result<Step, RunError> {
        let result = match self.life.take() {
            Some(mut life) => self.live(&mut life).map(|step| (step, life)),
            None => {
                self.job.log.join(&self.spec).map(|session| (Step::Busy, Life { session, count: None })).map_err(RunError::from)
            }
        };
        match result {
            Ok((step, life)) => {
                self.life = Some(life);
                Ok(step)
            }
            Err(RunError::Log(error)) if error.ends_only_the_session() => {
                let Wait { failing_for, after, .. } = self.patience.failed(self.job.clock.now(), &error)?;
                self.job.observer.event(&Event::Retrying { worker: None, error, failing_for, after });
                Ok(Step::Retry { after })
            }
            Err(error) => Err(error),
        }
    }

    /// Leaves the group. What is not committed is loaded by the next life.
    pub fn stop(self) -> Result<(), LogError> {
        self.life.map_or(Ok(()), |life| life.session.leave())
    }

    fn live(&mut self, life: &mut Life) -> Result<Step, RunError> {
        let wait = if life.count.is_some() && !self.is_ended { Duration::ZERO } else { PAUSE };
        match life.session.poll(wait)? {
            // Nothing is read in this group, only counted.
            Polled::Idle | Polled::Fetched(_) => {}
            Polled::Assigned(partitions) => life.count = self.assigned(&mut *life.session, &partitions)?,
            Polled::Revoked | Polled::Lost => {
                life.count = None;
                seal::discard(&mut *life.session)?;
                life.session.give_up()?;
            }
        }
        let Some(count) = life.count else { return Ok(Step::Idle) };
        if self.unmeasured >= LEAD_EVERY {
            if self.lead()? > LEAD_RECORDS_MAX {
                return Ok(Step::Retry { after: PAUSE });
            }
            self.unmeasured = 0;
        }
        self.forget_what_is_loaded(count)?;
        let Some(batch) = self.pending.take().map_or_else(|| self.batch(count), |batch| Ok(Some(batch)))? else {
            self.is_ended = true;
            return Ok(Step::Idle);
        };
        let to = batch.to;
        let commit = Commit { at: self.at.clone(), next: to as Offset, metadata: self.history.identity().to_owned() };
        let batch = self.pending.insert(batch);
        seal::load(&mut *life.session, &batch.lists, &commit)?;
        self.unmeasured += to - batch.from;
        self.pending = None;
        self.patience.succeeded();
        life.count = Some(Some(to));
        Ok(Step::Busy)
    }

    /// Takes partitions on. Gives the count if it is among them.
    fn assigned(&self, session: &mut dyn Session, partitions: &[TopicPartition]) -> Result<Option<Option<u64>>, RunError> {
        let ends = partitions.iter().map(|at| Ok((at.clone(), self.job.log.offsets(at)?.1)));
        session.start(&ends.collect::<Result<Vec<_>, LogError>>()?)?;
        partitions.iter().try_for_each(|at| session.pause(at, true))?;
        if !partitions.contains(&self.at) {
            return Ok(None);
        }
        let committed = self.job.log.committed(&self.spec.group, std::slice::from_ref(&self.at.topic))?;
        match committed.into_iter().find(|commit| commit.at == self.at) {
            Some(commit) if commit.metadata != self.history.identity() => {
                let (was, is) = (commit.metadata, self.history.identity().to_owned());
                Err(HistoryError::Changed { was, is }.into())
            }
            Some(commit) => Ok(Some(Some(commit.next as u64))),
            None => self.nothing_is_loaded().map(|()| Some(None)),
        }
    }

    /// Without a count there must be no records: logs forget positions after some time.
    fn nothing_is_loaded(&self) -> Result<(), RunError> {
        for at in self.partitions() {
            let (earliest, end) = self.job.log.offsets(&at)?;
            let mut is_empty = earliest == 0;
            if is_empty && end > 0 {
                self.job.log.scan(&at, earliest, end, &mut |_| {
                    is_empty = false;
                    false
                })?;
            }
            if !is_empty {
                return Err(HistoryError::Uncounted(at.topic).into());
            }
        }
        Ok(())
    }

    /// Goes on behind `count`, whoever has loaded up to there.
    fn forget_what_is_loaded(&mut self, count: Option<u64>) -> Result<(), RunError> {
        let count = count.unwrap_or(0);
        match &self.pending {
            Some(batch) if batch.to <= count => self.pending = None,
            Some(batch) if batch.from < count => {
                return Err(LogError::Fenced("another process loads the same history".to_owned()).into());
            }
            Some(_) | None => {}
        }
        while self.taken < count.min(self.history.n_records()) {
            self.history.next()?;
            self.taken += 1;
        }
        Ok(())
    }

    /// What comes behind `count`; `None` behind the ends.
    fn batch(&mut self, count: Option<u64>) -> Result<Option<Batch>, RunError> {
        let n_records = self.history.n_records();
        let mut lists: Vec<Outgoing> = self.job.plan.sources.iter().map(|source| Outgoing::new(source.topic.clone())).collect();
        let with_history: Vec<bool> = (0..lists.len()).map(|source| self.history.sources().contains(&source)).collect();
        let now = self.job.clock.now();
        let mut end = |has_history: bool| {
            for (list, _) in lists.iter_mut().zip(&with_history).filter(|(_, of_source)| **of_source == has_history) {
                (0..self.job.plan.n_partitions).for_each(|partition| list.push(partition, now.0, Some(END_KEY), Some(b""), &[]));
            }
        };
        let (from, to) = match count {
            None => {
                if !self.then_live {
                    end(false);
                }
                (0, 0)
            }
            Some(count) if count > n_records || (self.then_live && count == n_records) => return Ok(None),
            Some(count) if count == n_records => {
                end(true);
                (count, count + 1)
            }
            Some(count) => (count, self.take(count, &mut lists)?),
        };
        lists.retain(|list| !list.is_empty());
        Ok(Some(Batch { from, to, lists }))
    }

    /// Takes records out of the history, by source, and promises that none before the last of them will come. Gives the count behind
    /// them.
    fn take(&mut self, count: u64, lists: &mut [Outgoing]) -> Result<u64, RunError> {
        let (mut n_bytes, mut time_ms) = (0, None);
        let n_records_max = BATCH_RECORDS.min(self.job.settings.epoch_records_max) as u64;
        while self.taken < count + n_records_max && n_bytes < BATCH_BYTES {
            let Some(past) = self.history.next()? else { break };
            let origin: Vec<_> = past.origin.iter().map(|origin| ("reel-file".into(), origin.as_bytes().to_vec())).collect();
            lists[past.source].push(past.partition, past.timestamp_ms, past.key, past.value, &origin);
            n_bytes += past.value.unwrap_or_default().len();
            // What a promise may say ends with its timestamp, and Kafka's timestamps begin with 1970.
            time_ms = Some(past.time_ms).filter(|ms| *ms >= 0);
            self.taken += 1;
        }
        for (source, ms) in self.history.sources().iter().zip(time_ms.into_iter().cycle()) {
            // What the live topic holds may still be as disordered as its source says.
            let bound_ms = if self.then_live { self.job.plan.sources[*source].bound_ms } else { 0 };
            let promise = ms.saturating_sub(bound_ms).to_string();
            (0..self.job.plan.n_partitions)
                .for_each(|partition| lists[*source].push(partition, ms, Some(WATERMARK_KEY), Some(promise.as_bytes()), &[]));
        }
        Ok(self.taken)
    }

    /// How many records are loaded and not processed.
    fn lead(&self) -> Result<u64, LogError> {
        let topics: Vec<Arc<str>> = self.job.plan.sources.iter().map(|source| source.topic.clone()).collect();
        let committed = self.job.log.committed(&self.job.group(), &topics)?;
        let mut lead = 0;
        for at in self.partitions() {
            let (earliest, end) = self.job.log.offsets(&at)?;
            let next = committed.iter().find(|commit| commit.at == at).map_or(earliest, |commit| commit.next);
            lead += u64::try_from(end - next).unwrap_or(0);
        }
        Ok(lead)
    }

    fn partitions(&self) -> impl Iterator<Item = TopicPartition> {
        let of_topic = |topic: Arc<str>| {
            (0..self.job.plan.n_partitions).map(move |partition| TopicPartition { topic: topic.clone(), partition })
        };
        self.job.plan.sources.iter().map(|source| source.topic.clone()).flat_map(of_topic)
    }
}

/// The group whose position counts what is loaded.
pub(crate) fn group_of(job: &Job) -> Arc<str> {
    format!("{}.history", job.group()).into()
}

/// Loads on a thread of its own until stopped or ended; says then in `is_loaded` that everything is in the log. An error stops the
/// pipeline.
pub(crate) fn spawn(
    job: Job,
    history: Box<dyn History>,
    then_live: bool,
    is_loaded: Arc<AtomicBool>,
    stopper: Stopper,
) -> JoinHandle<Result<(), RunError>> {
    let run = move || {
        let mut loader = Loader::new(job, history, then_live);
        while !stopper.is_stopped() && !loader.is_ended() {
            if let Step::Retry { after } = loader.step().inspect_err(|_| stopper.stop())? {
                stopper.wait(after);
            }
        }
        is_loaded.store(loader.is_ended(), Ordering::Release);
        match loader.stop() {
            Err(error) if !error.ends_only_the_session() => Err(error.into()),
            // What it held is committed, or will be loaded again.
            Ok(()) | Err(_) => Ok(()),
        }
    };
    thread::Builder::new().name("history".to_owned()).spawn(run).expect("the machine has room for a thread")
}
