//! Plays a [`Rehearsal`] from its beginning to its end: the same worker as in a run, on a log in memory, in virtual time.
//!
//! One thread, no real time, no randomness: the same records give the same results, whenever they are played. Wall time stands still but
//! for going on to the time of the next arrival, whatever polls and commits take.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use reelflow_core::{
    plan::Plan,
    record::{END_KEY, Outgoing},
    rehearsal::{Arrival, Rehearsal},
    time::{WallTime, Watermark},
};
use reelflow_ports::{
    clock::Clock,
    engine::Plugin,
    log::{Guarantee, Log, LogError, NewTopic, Retention, Who},
    schemas::KnownSchemas,
    simulated::{Call, Fault, Faults, NoFaults, SimulatedLog, VirtualClock},
};

use crate::{
    error::RunError,
    finish::Goal,
    inspect::{TaskState, inspect},
    observe::Blind,
    pipeline,
    settings::Settings,
    worker::{Job, Step, Worker},
};

/// Processing what has arrived takes a few steps for each record; who takes so many will not end.
const STEPS_MAX: usize = 100_000;

/// How the records come, and what goes wrong meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Each is processed and committed before the next one arrives.
    OneByOne,
    /// Records of one source that nothing comes between arrive together, when the last of them does.
    InBatches,
    /// One by one, and at each commit the process dies twice: before it, so that all is done again, and after it.
    Crashing,
}

/// What a rehearsal left in its log.
pub struct Rehearsed {
    log: SimulatedLog,
    plan: Arc<Plan>,
    /// In the order of time: the end of each time that something arrived.
    pub moments: Vec<Moment>,
    /// Sources and stages whose counts do not add up: a bug.
    pub unaccounted: Vec<Arc<str>>,
}

/// How far the pipeline had come when all that had arrived was processed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Of the rehearsal's arrivals.
    pub n_arrived: usize,
    /// Whether all partitions had ended.
    pub is_end: bool,
    /// The lowest of all tasks.
    pub watermark: Watermark,
    /// How many records each topic of results had.
    n_records: BTreeMap<Arc<str>, usize>,
}

/// Why a rehearsal could not be played.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RehearsalError {
    #[error(transparent)]
    Run(#[from] RunError),
    #[error("the pipeline is not done with what has arrived after {STEPS_MAX} steps")]
    Endless,
}

impl RehearsalError {
    pub fn who(&self) -> Who {
        match self {
            RehearsalError::Run(error) => error.who(),
            RehearsalError::Endless => Who::Bug,
        }
    }
}

impl From<LogError> for RehearsalError {
    fn from(error: LogError) -> RehearsalError {
        RehearsalError::Run(error.into())
    }
}

/// A record of a topic of results.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    /// Names and values.
    pub headers: Vec<(Arc<str>, Vec<u8>)>,
    /// Which of [`Rehearsed::moments`] it came before.
    pub moment: usize,
}

impl Rehearsed {
    /// The committed records of `topic`, in order.
    pub fn records(&self, topic: &str) -> Vec<Given> {
        let records = self.log.committed_records(topic).into_iter().flatten();
        let moment = |idx: usize| self.moments.partition_point(|moment| moment.n_records.get(topic).is_none_or(|n| *n <= idx));
        records
            .enumerate()
            .map(|(idx, record)| Given { key: record.key, value: record.value, headers: record.headers, moment: moment(idx) })
            .collect()
    }

    /// What the tasks keep in the end.
    pub fn states(&self) -> Result<Vec<TaskState>, RehearsalError> {
        Ok(inspect(&self.log, None, &self.plan, Guarantee::ExactlyOnce)?)
    }
}

/// Plays `rehearsal`. `plan` has one partition, see [`Plan::of_rehearsal`]; `plugins` are in its order.
pub fn rehearse(
    plan: &Arc<Plan>,
    plugins: &[Arc<dyn Plugin>],
    rehearsal: &Rehearsal,
    manner: Manner,
) -> Result<Rehearsed, RehearsalError> {
    let begin = rehearsal.arrivals.first().map_or(WallTime(0), |arrival| arrival.at);
    let mut stage = Playing::new(plan, plugins, begin, manner)?;
    let mut moments = Vec::new();
    let mut n_arrived = 0;
    while n_arrived < rehearsal.arrivals.len() {
        let rest = &rehearsal.arrivals[n_arrived..];
        let together = &rest[..n_together(rest, manner)];
        stage.go_on_to(together.last().expect("some are left").at)?;
        stage.arrive(together)?;
        n_arrived += together.len();
        moments.push(stage.moment(n_arrived, false));
    }
    if let Some(until) = rehearsal.until {
        stage.go_on_to(until)?;
        moments.push(stage.moment(n_arrived, false));
    }
    if rehearsal.ends {
        stage.end()?;
        moments.push(stage.moment(n_arrived, true));
    }
    let unaccounted = stage.worker.as_ref().map(|worker| worker.summary(Duration::ZERO).unaccounted()).unwrap_or_default();
    Ok(Rehearsed { log: stage.log, plan: plan.clone(), moments, unaccounted })
}

/// How many of the next arrivals come at once.
fn n_together(arrivals: &[Arrival], manner: Manner) -> usize {
    match manner {
        Manner::OneByOne | Manner::Crashing => 1,
        Manner::InBatches => arrivals.iter().take_while(|arrival| arrival.source == arrivals[0].source).count(),
    }
}

/// A pipeline of one worker in the middle of a rehearsal.
struct Playing {
    job: Job,
    log: SimulatedLog,
    /// What the worker takes for wall time. The log has a clock of its own, which goes on where a poll waits.
    clock: Arc<VirtualClock>,
    /// `None`: it is dead, and starts again with the next step.
    worker: Option<Worker>,
}

impl Playing {
    fn new(plan: &Arc<Plan>, plugins: &[Arc<dyn Plugin>], begin: WallTime, manner: Manner) -> Result<Playing, RehearsalError> {
        let log = SimulatedLog::new(VirtualClock::starting_at(begin), Box::new(NoFaults));
        for source in &plan.sources {
            let (name, retention) = (source.topic.clone(), Retention::FromTimestamp);
            log.create_topic(&NewTopic { name, n_partitions: plan.n_partitions, retention })?;
        }
        pipeline::prepare(&log, plan, &Blind)?;
        if manner == Manner::Crashing {
            log.set_faults(Box::new(DeadlyCommits { n_commits: 0 }));
        }
        let clock = VirtualClock::starting_at(begin);
        // Whatever came is committed at once. With an end, positions are committed too where nothing else changed.
        let settings = Settings { commit_interval: Duration::ZERO, until_end: true, ..Settings::standard("test".into()) };
        let job = Job {
            plan: plan.clone(),
            plugins: plugins.to_vec(),
            log: Arc::new(log.clone()),
            bases: None,
            schemas: Arc::new(KnownSchemas::default()),
            clock: clock.clone(),
            settings,
            observer: Arc::new(Blind),
            board: None,
        };
        let mut playing = Playing { job, log, clock, worker: None };
        playing.settle()?;
        Ok(playing)
    }

    /// Wall time passes, and what is due by then happens.
    fn go_on_to(&mut self, at: WallTime) -> Result<(), RehearsalError> {
        let now = self.clock.now();
        if at <= now {
            return Ok(());
        }
        self.clock.advance(Duration::from_millis(at.0.abs_diff(now.0)));
        self.settle()
    }

    /// Records arrive at one source, and are processed.
    fn arrive(&mut self, arrivals: &[Arrival]) -> Result<(), RehearsalError> {
        let source = &self.job.plan.sources[arrivals[0].source];
        let mut records = Outgoing::new(source.topic.clone());
        for Arrival { timestamp_ms, key, value, .. } in arrivals {
            records.push(0, *timestamp_ms, key.as_deref(), value.as_deref(), &[]);
        }
        self.log.write(&records)?;
        self.settle()
    }

    /// All partitions end.
    fn end(&mut self) -> Result<(), RehearsalError> {
        for source in &self.job.plan.sources {
            let mut end = Outgoing::new(source.topic.clone());
            end.push(0, self.clock.now().0, Some(END_KEY), Some(b""), &[]);
            self.log.write(&end)?;
        }
        self.settle()
    }

    /// Goes on until all that has arrived is processed and committed, and the worker has looked once more and found nothing to do.
    fn settle(&mut self) -> Result<(), RehearsalError> {
        let goal = Goal::at_start(&self.log, &self.job.plan)?;
        for _ in 0..STEPS_MAX {
            let is_idle = self.step()?;
            if is_idle && is_reached(&goal, &self.job)? {
                return Ok(());
            }
        }
        Err(RehearsalError::Endless)
    }

    /// One step of the worker. Whether it had nothing to do.
    fn step(&mut self) -> Result<bool, RehearsalError> {
        let worker = match &mut self.worker {
            Some(worker) => worker,
            dead => dead.insert(Worker::new(0, self.job.clone()).map_err(RunError::from)?),
        };
        let step = worker.step()?;
        let has_died = !self.log.take_crashed().is_empty();
        if has_died {
            self.worker = None;
        }
        Ok(step == Step::Idle && !has_died)
    }

    fn moment(&self, n_arrived: usize, is_end: bool) -> Moment {
        let plan = &self.job.plan;
        let of_stages = plan.stages.iter().filter_map(|stage| stage.late_topic.as_ref());
        let topics = plan.sinks.iter().map(|sink| &sink.topic).chain(of_stages).chain([&plan.dead_letter_topic]);
        let n_records = topics.map(|topic| (topic.clone(), self.log.committed_records(topic).iter().map(Vec::len).sum()));
        let watermarks = self.worker.as_ref().map(|worker| worker.summary(Duration::ZERO).watermarks).unwrap_or_default();
        let watermark = watermarks.values().min().copied().unwrap_or(Watermark::UNKNOWN);
        Moment { n_arrived, is_end, watermark, n_records: n_records.collect() }
    }
}

/// A transaction that a death left open hides the truth for a moment.
fn is_reached(goal: &Goal, job: &Job) -> Result<bool, RehearsalError> {
    match goal.is_reached(&*job.log, &job.plan, &job.group()) {
        Err(error) if error.ends_only_the_session() => Ok(false),
        outcome => Ok(outcome?),
    }
}

/// The process dies before each commit, and then, when it tries again, after it.
struct DeadlyCommits {
    n_commits: usize,
}

impl Faults for DeadlyCommits {
    fn decide(&mut self, _member: &str, call: Call) -> Fault {
        if call != Call::Commit {
            return Fault::None;
        }
        self.n_commits += 1;
        if self.n_commits % 2 == 1 { Fault::CrashBefore } else { Fault::CrashAfter }
    }
}
