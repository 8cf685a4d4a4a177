//! A worker: one member of the pipeline's group, with the tasks of its partitions, driven step by step.
//!
//! A worker never waits but in [`reelflow_ports::log::Session::poll`], so one thread can drive several (the simulation does). What
//! goes wrong with a session ends that session alone: everything is forgotten, and the next step joins anew and recovers from the
//! log. An output that is too large for the log is not such an error: it would come again and again, so the pipeline stops and says
//! which topic refused it.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use reelflow_core::{checkpoint::Incarnation, plan::Plan, record::Partition, time::WallTime};
use reelflow_ports::{
    clock::Clock,
    engine::{LoadError, Plugin},
    log::{Log, LogError, MemberSpec, Polled, TopicPartition},
    schemas::Schemas,
};

use crate::{
    bases::Bases,
    code::Board,
    error::RunError,
    observe::{Event, Observer},
    patience::{Patience, Wait},
    recovery::{self, Durable},
    seal,
    settings::Settings,
    summary::Summary,
    worker::{calls::Plugins, life::Life, schemas::Asking, status::WorkerStatus, upgrade::Following},
};

mod adopting;
mod alignment;
mod bases;
pub(crate) mod calls;
mod changelog;
mod life;
mod schemas;
pub(crate) mod status;
mod upgrade;

/// How long who waits for the group waits at a time.
pub(crate) const POLL: Duration = Duration::from_millis(100);
/// A session that has worked for so long without anything to seal counts as a success.
const HEALTHY_AFTER_MS: i64 = 10_000;
/// How long to wait for the control to learn of code that others run already.
const BEHIND_WAIT: Duration = Duration::from_millis(100);

/// Everything that all workers of a process share: what to run, on what, and how.
#[derive(Clone)]
pub struct Job {
    pub plan: Arc<Plan>,
    /// In the order of the plan's [`reelflow_core::plan::PluginIdx`].
    pub plugins: Vec<Arc<dyn Plugin>>,
    pub log: Arc<dyn Log>,
    /// The store of bases. `None`: they go into the changelog, with the changes.
    pub bases: Option<Arc<Bases>>,
    /// Who is asked for the schemas of records that name one.
    pub schemas: Arc<dyn Schemas>,
    pub clock: Arc<dyn Clock>,
    pub settings: Settings,
    pub observer: Arc<dyn Observer>,
    /// Where other code is posted while the pipeline runs. `None`: the plan and its plugins stay.
    pub board: Option<Arc<Board>>,
}

impl Job {
    /// The consumer group of the pipeline.
    pub fn group(&self) -> Arc<str> {
        group_of(&self.plan)
    }

    fn commit_interval_ms(&self) -> i64 {
        i64::try_from(self.settings.commit_interval.as_millis()).unwrap_or(i64::MAX)
    }

    pub(crate) fn member(&self, worker_idx: usize) -> MemberSpec {
        MemberSpec {
            group: self.group(),
            member: format!("{}.{}.{worker_idx}", self.group(), self.settings.instance).into(),
            topics: recovery::input_topics(&self.plan),
            guarantee: self.settings.guarantee,
            session_timeout: self.settings.session_timeout,
            transaction_timeout: self.settings.transaction_timeout,
        }
    }
}

pub(crate) fn group_of(plan: &Plan) -> Arc<str> {
    format!("reel.{}", plan.name).into()
}

/// What a step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// There may be more to do at once.
    Busy,
    /// Nothing came.
    Idle,
    /// The session ended by an error; the next step should come after this wait and will begin a new one.
    Retry { after: Duration },
}

/// One worker. Not `Send`: it is made on the thread that drives it, as its plugin instances must be.
pub struct Worker {
    idx: usize,
    job: Job,
    spec: MemberSpec,
    plugins: Plugins,
    life: Option<Life>,
    /// The greatest that this worker has used.
    incarnation: Incarnation,
    patience: Patience,
    joined: WallTime,
    status: Arc<Mutex<WorkerStatus>>,
    following: Following,
}

impl Worker {
    /// Worker `idx` of this process. Instantiates every plugin; does not touch the log yet.
    pub fn new(idx: usize, job: Job) -> Result<Worker, LoadError> {
        Worker::with_status(idx, job, Arc::default())
    }

    /// As [`Worker::new`], with figures that others look at.
    pub(crate) fn with_status(idx: usize, job: Job, status: Arc<Mutex<WorkerStatus>>) -> Result<Worker, LoadError> {
        let following = Following::new(&job);
        let plugins = Plugins::new(&job)?;
        status.lock().unwrap_or_else(PoisonError::into_inner).calls = plugins.usage().to_vec();
        let (spec, joined, patience) = (job.member(idx), job.clock.now(), Patience::new(job.settings.outage));
        Ok(Worker { idx, job, spec, plugins, life: None, incarnation: 0, patience, joined, status, following })
    }

    /// The figures of this worker: those of its tasks as they were committed last.
    pub fn summary(&self, elapsed: Duration) -> Summary {
        Summary::of(&self.job.plan, elapsed, std::slice::from_ref(&self.status))
    }

    /// Joins, or polls once and does what follows from it. Waits up to 100 ms. An error is final: [`Worker::step`] must not be called
    /// again.
    pub fn step(&mut self) -> Result<Step, RunError> {
        let result = match self.life.take() {
            Some(mut life) => {
                let result = self.live(&mut life);
                let result = self.not_of_a_trial(&mut life, result);
                self.status().calls.clone_from_slice(self.plugins.usage());
                self.status().epochs_aborted += u64::from(result.is_err() && life.open.since.is_some());
                result.map(|step| (step, life))
            }
            None => self.join().map(|life| (Step::Busy, life)),
        };
        match result {
            Ok((step, life)) => {
                self.life = Some(life);
                Ok(step)
            }
            Err(RunError::Log(error)) if error.ends_only_the_session() => self.retry(error),
            Err(RunError::Bases(error)) if error.may_pass() => self.await_bases(error),
            Err(refused @ RunError::Recovery { .. }) => match self.following.may_be_behind(&self.job) {
                Ok(false) => Err(refused),
                Ok(true) => Ok(Step::Retry { after: BEHIND_WAIT }),
                Err(RunError::Log(error)) if error.ends_only_the_session() => self.retry(error),
                Err(error) => Err(error),
            },
            Err(error) => Err(error),
        }
    }

    /// Seals the open epoch and leaves the group. After an error of the session the open epoch is not committed; nothing else is lost.
    pub fn stop(mut self) -> Result<(), RunError> {
        let Some(mut life) = self.life.take() else { return Ok(()) };
        // Nobody commits a trial alone; leaving aborts it.
        if !self.following.is_trying() {
            self.seal(&mut life)?;
        }
        life.session.leave()?;
        Ok(())
    }

    fn join(&mut self) -> Result<Life, RunError> {
        self.use_current()?;
        let session = self.job.log.join(&self.spec)?;
        self.joined = self.job.clock.now();
        let asking = Asking::new(self.idx, self.job.settings.outage);
        Ok(Life::new(session, asking, self.following.stamps(), self.joined))
    }

    fn live(&mut self, life: &mut Life) -> Result<Step, RunError> {
        let wait = life.wait(&self.job, self.job.clock.now());
        let mut step = Step::Busy;
        match life.session.poll(wait)? {
            Polled::Idle => step = Step::Idle,
            Polled::Fetched(all) => {
                for fetched in all {
                    self.status().read(fetched.batch.len(), fetched.batch.n_bytes());
                    life.fetched(&self.job, &mut self.plugins, fetched)?;
                }
            }
            Polled::Assigned(partitions) => self.assigned(life, &partitions)?,
            Polled::Revoked => {
                self.seal_or_drop(life)?;
                life.forget();
                self.status().owned.clear();
                life.session.give_up()?;
                self.job.observer.event(&Event::Revoked { worker: self.idx });
            }
            Polled::Lost => {
                self.status().epochs_aborted += u64::from(life.open.since.is_some());
                life.forget();
                self.status().owned.clear();
                seal::discard(&mut *life.session)?;
                self.use_current()?;
                life.stamps = self.following.stamps();
                life.session.give_up()?;
                self.job.observer.event(&Event::Lost { worker: self.idx });
            }
        }
        life.release(&self.job, &mut self.plugins)?;
        let now = self.job.clock.now();
        life.tick(&self.job, &mut self.plugins, now)?;
        life.spread_watermarks(&self.job, &mut self.plugins)?;
        life.notice_changes(&self.job, now);
        life.notice_bases(now);
        self.follow(life)?;
        // What a trial has done is committed by its verdict alone.
        if !self.following.is_trying() && life.is_due(&self.job, now) {
            self.seal(life)?;
        }
        if life.open.since.is_none() && now.0 - self.joined.0 > HEALTHY_AFTER_MS {
            self.patience.succeeded();
        }
        Ok(step)
    }

    fn assigned(&mut self, life: &mut Life, assigned: &[TopicPartition]) -> Result<(), RunError> {
        let partitions: BTreeSet<Partition> = assigned.iter().map(|at| at.partition).collect();
        let partitions: Vec<Partition> = partitions.into_iter().collect();
        self.job.observer.event(&Event::Assigned { worker: self.idx, partitions: partitions.clone() });
        self.recover(life, &partitions)
    }

    /// Brings the tasks of `partitions` to where their last commit left them, and reads on from there.
    fn recover(&mut self, life: &mut Life, partitions: &[Partition]) -> Result<(), RunError> {
        let begin = self.job.clock.now();
        let guarantee = self.job.settings.guarantee;
        let durable = Durable { log: &*self.job.log, bases: self.job.bases.as_deref().map(Bases::store) };
        let recovered = recovery::recover(&durable, &self.job.plan, &self.spec.group, guarantee, partitions)?;
        recovery::not_ahead(&self.job.plan, &recovered)?;
        let last = recovery::last_incarnation(&recovered).max(self.incarnation);
        self.incarnation = recovery::next_incarnation(&self.spec.member, last, begin);
        self.tell_skipped(&recovered);
        self.sweep_orphans(&recovered);
        let n_changes = recovered.iter().map(|one| one.n_changes).sum();
        life.start(&self.job, recovered, self.incarnation)?;
        let took = Duration::from_millis((self.job.clock.now().0 - begin.0).max(0) as u64);
        let state_bytes = life.tasks.iter().map(|owned| owned.task.state_bytes()).sum();
        self.status().recovered(life, begin, took);
        let n_tasks = life.tasks.len();
        self.job.observer.event(&Event::Recovered { worker: self.idx, n_tasks, state_bytes, n_changes, took });
        Ok(())
    }

    fn seal(&mut self, life: &mut Life) -> Result<(), RunError> {
        let begin = self.job.clock.now();
        let Some(totals) = life.seal(&self.job, &mut self.plugins)? else { return Ok(()) };
        self.patience.succeeded();
        let now = self.job.clock.now();
        let took = Duration::from_millis((now.0 - begin.0).max(0) as u64);
        let sealed = self.status().sealed(self.idx, life, now, totals, took);
        self.job.observer.event(&Event::Sealed(sealed));
        life.trim(&self.job);
        Ok(())
    }

    /// The session is over, its tasks are forgotten already.
    fn retry(&mut self, error: LogError) -> Result<Step, RunError> {
        self.following.end();
        self.status().sessions_lost += 1;
        self.status().owned.clear();
        let Wait { failing_for, after, .. } = self.patience.failed(self.job.clock.now(), &error)?;
        self.job.observer.event(&Event::Retrying { worker: Some(self.idx), error, failing_for, after });
        Ok(Step::Retry { after })
    }

    fn status(&self) -> MutexGuard<'_, WorkerStatus> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
