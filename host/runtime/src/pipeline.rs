//! A pipeline in one process: checks before the start, some workers on a thread each, one end.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use reelflow_core::{plan::Plan, time::WallTime};
use reelflow_ports::{
    history::History,
    log::{Log, LogError, NewTopic, Retention, TopicPartition},
};
use tracing::{error, warn};

use crate::{
    bases,
    control::{self, Started, Upgrader},
    error::RunError,
    finish::Goal,
    hand_over::{self, HandOver},
    load,
    observe::{Event, Observer},
    patience::{Patience, Wait},
    publish::{self, FileSinks, Publisher, Totals},
    summary::Summary,
    worker::{Job, Step, Worker, status::WorkerStatus},
};

const PROGRESS_EVERY_MS: i64 = 250;
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A pipeline that is about to run in this process.
pub struct Pipeline {
    job: Job,
    files: FileSinks,
    history: Option<Box<dyn History>>,
    /// What is to go on behind the history.
    live: Option<Arc<Plan>>,
    started: Option<Started>,
    upgrader: Upgrader,
    stopper: Stopper,
}

/// Stops a pipeline from another thread, e.g. on a signal: every worker seals what it has and leaves.
#[derive(Clone, Debug, Default)]
pub struct Stopper {
    inner: Arc<(Mutex<bool>, Condvar)>,
}

impl Stopper {
    pub fn stop(&self) {
        let (stopped, changed) = &*self.inner;
        *stopped.lock().unwrap_or_else(PoisonError::into_inner) = true;
        changed.notify_all();
    }

    pub fn is_stopped(&self) -> bool {
        *self.inner.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for `at_most`, or until stopped.
    pub(crate) fn wait(&self, at_most: Duration) {
        let (stopped, changed) = &*self.inner;
        let stopped = stopped.lock().unwrap_or_else(PoisonError::into_inner);
        drop(changed.wait_timeout_while(stopped, at_most, |stopped| !*stopped));
    }
}

impl Pipeline {
    pub fn new(job: Job) -> Pipeline {
        Pipeline {
            job,
            files: FileSinks::new(),
            history: None,
            live: None,
            started: None,
            upgrader: Upgrader::default(),
            stopper: Stopper::default(),
        }
    }

    /// Publishes the rows of the plan's file sinks in `files`. Without it they wait in their topics.
    pub fn with_files(self, files: FileSinks) -> Pipeline {
        Pipeline { files, ..self }
    }

    /// Loads `history` into the topics of the plan's sources, which are the pipeline's own. A run with an end ends when all of it is processed.
    pub fn with_history(self, history: Box<dyn History>) -> Pipeline {
        Pipeline { history: Some(history), ..self }
    }

    /// Has the pipeline go on behind its history with `live`, the same plan on its topics. A run with an end leaves it there.
    pub fn then_live(self, live: Arc<Plan>) -> Pipeline {
        Pipeline { live: Some(live), ..self }
    }

    /// Lets the code change while the pipeline runs. `started` is what the job was made of.
    pub fn with_upgrades(self, started: Started) -> Pipeline {
        Pipeline { started: Some(started), ..self }
    }

    /// Asks this pipeline, once it runs, to take other components. Without [`Pipeline::with_upgrades`] nobody listens.
    pub fn upgrader(&self) -> Upgrader {
        self.upgrader.clone()
    }

    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// Checks and creates the topics, then runs until stopped, until the end if there is one, or until an error.
    pub fn run(self) -> Result<Summary, RunError> {
        let Pipeline { mut job, files, history, live, started, upgrader, stopper } = self;
        let publisher = Publisher::new(job.clone(), files)?;
        let hand_over = live.zip(history.as_ref()).map(|(live, history)| HandOver::new(&job, live, &**history));
        match &hand_over {
            Some(hand_over) => {
                patiently(&job, &stopper, || prepare(&*job.log, hand_over.live(), &*job.observer))?;
                if hand_over.is_done()? {
                    return Ok(Summary::of(&job.plan, Duration::ZERO, &[]));
                }
            }
            None if history.is_none() => patiently(&job, &stopper, || hand_over::none_under_way(&job))?,
            None => {}
        }
        if history.is_some() {
            patiently(&job, &stopper, || prepare_history(&*job.log, &job.plan, &*job.observer))?;
        }
        patiently(&job, &stopper, || prepare(&*job.log, &job.plan, &*job.observer))?;
        if !stopper.is_stopped() {
            publisher.check()?;
            bases::check(&job, &stopper)?;
        }
        let control = match started {
            Some(started) => control::start(&mut job, &started, &upgrader, &stopper)?,
            None => None,
        };
        // A stopped run may not even have topics.
        let until = match (&history, job.settings.until_end && !stopper.is_stopped()) {
            (_, false) => Until::Stopped,
            (None, true) => Until::Reached(Goal::at_start(&*job.log, &job.plan)?),
            (Some(_), true) => Until::Loaded(Arc::default()),
        };
        let began = job.clock.now();
        let statuses: Vec<Arc<Mutex<WorkerStatus>>> = (0..job.settings.n_workers).map(|_| Arc::default()).collect();
        let threads: Vec<JoinHandle<Result<(), RunError>>> =
            (0..).zip(&statuses).map(|(idx, status)| spawn(idx, &job, status, &stopper)).collect();
        let controlling = control.map(|control| control::spawn(control, job.settings.outage, stopper.clone()));
        let writing = bases::spawn(&job, stopper.clone());
        let publishing = publish::spawn(publisher, statuses.clone(), stopper.clone());
        let is_loaded = if let Until::Loaded(is_loaded) = &until { is_loaded.clone() } else { Arc::default() };
        let loading = history.map(|history| load::spawn(job.clone(), history, hand_over.is_some(), is_loaded, stopper.clone()));
        let watched = watch(&job, until, began, &statuses, &threads, &stopper);
        stopper.stop();
        let has_ended = matches!(watched, Ok(Watched::ReachedEnd));
        let mut result = watched.map(|_| ());
        for (idx, thread) in threads.into_iter().enumerate() {
            result = result.and(joined(Some(thread), |message| RunError::Panicked { worker: idx, message }));
        }
        result = result.and(joined(controlling, |message| RunError::ControlPanicked { message }));
        result = result.and(joined(writing, |message| RunError::BasesPanicked { message }));
        result = result.and(joined(loading, |message| RunError::LoaderPanicked { message }));
        job.bases.iter().for_each(|bases| bases.finish());
        let published = publish_rest(publishing, result.is_ok(), has_ended, &statuses);
        let Totals { n_files, n_rows } = published.as_ref().copied().unwrap_or_default();
        let summary = Summary::of_job(&job, elapsed(&job, began), &statuses);
        let summary = Summary { files_published: n_files, rows_published: n_rows, ..summary };
        job.observer.progress(&summary);
        for name in summary.unaccounted() {
            error!(%name, "the counts of a source or stage do not add up");
        }
        result?;
        published?;
        if let Some(hand_over) = hand_over.filter(|_| has_ended) {
            hand_over.run()?;
        }
        if let Err(error) = await_visible(&*job.log, &job.plan) {
            warn!(%error, "it is not known whether readers see all that was committed yet");
        }
        Ok(summary)
    }
}

/// What became of a thread, once it has ended.
fn joined(thread: Option<JoinHandle<Result<(), RunError>>>, panicked: impl FnOnce(String) -> RunError) -> Result<(), RunError> {
    let ended = thread.map_or(Ok(Ok(())), JoinHandle::join);
    ended.unwrap_or_else(|panic| Err(panicked(text(&*panic))))
}

/// Publishes what the workers have committed last: of a run that has reached its end everything, whoever owned it, since the other
/// processes may have gone; otherwise what this process owned. After an error nothing: the next run will.
fn publish_rest(
    publishing: JoinHandle<Result<Publisher, RunError>>,
    is_well: bool,
    has_ended: bool,
    statuses: &[Arc<Mutex<WorkerStatus>>],
) -> Result<Totals, RunError> {
    let joined = publishing.join();
    let mut publisher = joined.unwrap_or_else(|panic| Err(RunError::PublisherPanicked { message: text(&*panic) }))?;
    match (is_well, has_ended) {
        (true, true) => publisher.finish()?,
        (true, false) => publisher.leave(&publish::owned(statuses)),
        (false, _) => publisher.discard(),
    }
    Ok(publisher.totals)
}

/// Tries `prepare` again and again while the log does not answer. A stop in between leaves the rest to the next run.
pub(crate) fn patiently(job: &Job, stopper: &Stopper, mut prepare: impl FnMut() -> Result<(), RunError>) -> Result<(), RunError> {
    let mut patience = Patience::new(job.settings.outage);
    while !stopper.is_stopped() {
        match prepare() {
            Err(RunError::Log(error)) if error.ends_only_the_session() => {
                let Wait { failing_for, after, .. } = patience.failed(job.clock.now(), &error)?;
                job.observer.event(&Event::Retrying { worker: None, error, failing_for, after });
                stopper.wait(after);
            }
            outcome => return outcome,
        }
    }
    Ok(())
}

/// Checks that the sources' topics exist with the plan's partition count, and creates all others that are missing. Reports
/// everything that is wrong at once; a log that does not answer is wrong by itself.
pub fn prepare(log: &dyn Log, plan: &Plan, observer: &dyn Observer) -> Result<(), RunError> {
    let mut problems = Vec::new();
    let mut seen: BTreeSet<&Arc<str>> = BTreeSet::new();
    for source in &plan.sources {
        if !seen.insert(&source.topic) {
            return Err(RunError::TopicReadTwice { topic: source.topic.clone() });
        }
        match log.n_partitions(&source.topic)? {
            None => problems.push(LogError::TopicMissing(source.topic.clone())),
            Some(found) if found != plan.n_partitions => {
                problems.push(LogError::PartitionCount { topic: source.topic.clone(), found, wanted: plan.n_partitions });
            }
            Some(_) => {}
        }
    }
    if problems.is_empty() {
        for topic in own_topics(plan) {
            match create(log, &topic, observer) {
                Ok(()) => {}
                Err(error) if error.ends_only_the_session() => return Err(error.into()),
                Err(problem) => problems.push(problem),
            }
        }
    }
    match problems.is_empty() {
        true => Ok(()),
        false => Err(RunError::Topics { pipeline: plan.name.clone(), problems }),
    }
}

/// Creates the topics that a history is loaded into, where they are missing.
pub fn prepare_history(log: &dyn Log, plan: &Plan, observer: &dyn Observer) -> Result<(), RunError> {
    for source in &plan.sources {
        let topic = NewTopic { name: source.topic.clone(), n_partitions: plan.n_partitions, retention: Retention::UntilTrimmed };
        create(log, &topic, observer)?;
    }
    Ok(())
}

/// All topics that the pipeline writes.
fn own_topics(plan: &Plan) -> Vec<NewTopic> {
    let topic = |name: &Arc<str>, n_partitions, retention| NewTopic { name: name.clone(), n_partitions, retention };
    let internal = [&plan.changelog_topic].into_iter().chain(plan.shuffles.iter().map(|shuffle| &shuffle.topic));
    let mut topics: Vec<NewTopic> = internal.map(|name| topic(name, plan.n_partitions, Retention::UntilTrimmed)).collect();
    topics.extend(plan.sinks.iter().map(|sink| {
        // Rows that wait to become files are not to be forgotten before.
        let retention = if sink.files.is_some() { Retention::UntilTrimmed } else { Retention::FromArrival };
        topic(&sink.topic, sink.n_partitions, retention)
    }));
    let side = plan.stages.iter().filter_map(|stage| stage.late_topic.as_ref()).chain([&plan.dead_letter_topic]);
    topics.extend(side.map(|name| topic(name, plan.side_partitions, Retention::FromArrival)));
    topics
}

/// Whoever reads after a run has ended well must see all that it committed: a log that makes a commit visible a moment later gives
/// offsets only once it has.
fn await_visible(log: &dyn Log, plan: &Plan) -> Result<(), LogError> {
    for topic in own_topics(plan) {
        for partition in 0..topic.n_partitions {
            log.offsets(&TopicPartition { topic: topic.name.clone(), partition })?;
        }
    }
    Ok(())
}

pub(crate) fn create(log: &dyn Log, topic: &NewTopic, observer: &dyn Observer) -> Result<(), LogError> {
    let existed = log.n_partitions(&topic.name)?.is_some();
    log.create_topic(topic)?;
    if !existed {
        observer.event(&Event::TopicCreated { topic: topic.name.clone(), n_partitions: topic.n_partitions });
    }
    Ok(())
}

fn spawn(idx: usize, job: &Job, status: &Arc<Mutex<WorkerStatus>>, stopper: &Stopper) -> JoinHandle<Result<(), RunError>> {
    let (job, status, stopper) = (job.clone(), status.clone(), stopper.clone());
    let run = move || {
        let mut worker = Worker::with_status(idx, job, status)?;
        while !stopper.is_stopped() {
            if let Step::Retry { after } = worker.step()? {
                stopper.wait(after);
            }
        }
        match worker.stop() {
            // What was not sealed is done again by whoever owns the partitions next.
            Err(RunError::Log(error)) if error.ends_only_the_session() => {
                warn!(worker = idx, %error, "stopped without sealing the open epoch");
                Ok(())
            }
            ended => ended,
        }
    };
    thread::Builder::new().name(format!("worker-{idx}")).spawn(run).expect("the machine has room for a few threads")
}

/// When a run ends by itself.
enum Until {
    /// Never.
    Stopped,
    /// Once so much is processed.
    Reached(Goal),
    /// Once this is true and all that is in the log then is processed.
    Loaded(Arc<AtomicBool>),
}

impl Until {
    /// Whether the end is reached.
    fn is_reached(&mut self, job: &Job) -> Result<bool, LogError> {
        if let Until::Loaded(is_loaded) = self
            && is_loaded.load(Ordering::Acquire)
        {
            *self = Until::Reached(Goal::at_start(&*job.log, &job.plan)?);
        }
        match self {
            Until::Stopped | Until::Loaded(_) => Ok(false),
            Until::Reached(goal) => goal.is_reached(&*job.log, &job.plan, &job.group()),
        }
    }
}

/// What ended a run that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Watched {
    ReachedEnd,
    Stopped,
}

/// Reports progress until something ends the run.
fn watch(
    job: &Job,
    mut until: Until,
    began: WallTime,
    statuses: &[Arc<Mutex<WorkerStatus>>],
    threads: &[JoinHandle<Result<(), RunError>>],
    stopper: &Stopper,
) -> Result<Watched, RunError> {
    let mut shown = began;
    while !stopper.is_stopped() && !threads.iter().any(JoinHandle::is_finished) {
        stopper.wait(LOOK_EVERY);
        let now = job.clock.now();
        if now.0 - shown.0 < PROGRESS_EVERY_MS {
            continue;
        }
        shown = now;
        job.observer.progress(&Summary::of_job(job, elapsed(job, began), statuses));
        match until.is_reached(job) {
            Ok(true) => {
                job.observer.event(&Event::ReachedEnd);
                return Ok(Watched::ReachedEnd);
            }
            // The workers see the same trouble, and know when to give up.
            Err(error) if !error.ends_only_the_session() => return Err(error.into()),
            Err(_) | Ok(false) => {}
        }
    }
    Ok(Watched::Stopped)
}

fn elapsed(job: &Job, began: WallTime) -> Duration {
    Duration::from_millis((job.clock.now().0 - began.0).max(0) as u64)
}

fn text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}
