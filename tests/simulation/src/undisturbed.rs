//! A run in which nothing goes wrong: what it gives, and how much it keeps meanwhile.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use reelflow_core::{plan::Plan, record::Offset, time::WallTime};
use reelflow_ports::{
    engine::Plugin,
    log::{Log, NewTopic, Retention},
    schemas::KnownSchemas,
    simulated::{NoFaults, SimulatedLog, VirtualClock, at},
};
use reelflow_runtime::{
    finish::Goal,
    observe::Blind,
    pipeline,
    settings::{Alignment, Settings},
    worker::{Job, Worker},
};

use crate::{
    input::{self, BEGIN_MS, Event},
    shape::Shape,
};

/// A run that takes longer than this will not end.
const STEPS_MAX: usize = 200_000;

/// How the work is cut up, which must show nowhere.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    pub n_workers: usize,
    pub epoch_records_max: usize,
    pub alignment: Option<Alignment>,
}

impl Manner {
    /// One worker, and short epochs, so that the state shows often.
    pub const STANDARD: Manner = Manner { n_workers: 1, epoch_records_max: 100, alignment: None };
}

/// What a run gave.
pub struct Given {
    pub log: SimulatedLog,
    pub plan: Arc<Plan>,
    /// The values of the results, the late records and the dead letters; sorted.
    pub outputs: Vec<String>,
    /// The results of each key, in their order.
    pub by_key: BTreeMap<Vec<u8>, Vec<Vec<u8>>>,
    /// The most bytes of state at the end of an epoch.
    pub state_bytes_max: u64,
    /// What was kept when each slice was processed.
    pub kept: Vec<Kept>,
    /// What was kept each time that the changelog had been trimmed.
    pub trimmed: Vec<Kept>,
}

/// What a pipeline keeps, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    pub state_bytes: u64,
    /// Of all partitions, trimmed as always.
    pub changelog_bytes: u64,
}

/// Runs the pipeline over `slices`, each written when what was there before is processed, by one worker.
///
/// Panics when the run does not end.
pub fn run(shape: &Shape, slices: &[&[Event]], alignment: Option<Alignment>) -> Given {
    run_as(shape, slices, Manner { alignment, ..Manner::STANDARD })
}

/// The same, in any manner.
pub fn run_as(shape: &Shape, slices: &[&[Event]], manner: Manner) -> Given {
    let Manner { n_workers, epoch_records_max, alignment } = manner;
    let clock = VirtualClock::starting_at(WallTime(BEGIN_MS));
    let log = SimulatedLog::new(clock.clone(), Box::new(NoFaults));
    let (plan, plugins) = shape.build();
    let topics: Vec<Arc<str>> = plan.sources.iter().map(|source| source.topic.clone()).collect();
    for name in topics.clone() {
        let topic = NewTopic { name, n_partitions: shape.n_partitions, retention: Retention::FromTimestamp };
        log.create_topic(&topic).expect("the model takes a new topic");
    }
    pipeline::prepare(&log, &plan, &Blind).expect("the topics are as the plan needs them");
    let settings = Settings {
        n_workers,
        epoch_records_max,
        commit_interval: Duration::from_millis(20),
        // Behind every base.
        trim_slack_bytes: 1,
        until_end: true,
        alignment,
        ..Settings::standard("calm".into())
    };
    let job = job(plan, plugins, &log, &clock, settings);
    let mut workers: Vec<Worker> =
        (0..n_workers).map(|idx| Worker::new(idx, job.clone()).expect("native plugins need nothing")).collect();
    let kept_by = |workers: &[Worker]| workers.iter().map(|worker| worker.summary(Duration::ZERO).state_bytes).sum::<u64>();
    let mut state_bytes_max = 0;
    let changelog_bytes = || {
        let records = log.committed_records(&job.plan.changelog_topic);
        records.iter().flatten().map(|record| record.value.as_ref().map_or(0, |value| value.len() as u64)).sum()
    };
    let first_offset = || {
        let of = |partition| log.offsets(&at(&job.plan.changelog_topic, partition)).expect("the model answers").0;
        (0..shape.n_partitions).map(of).sum::<Offset>()
    };
    let (mut trimmed, mut first) = (Vec::new(), 0);
    let mut settle = |workers: &mut [Worker]| {
        let goal = Goal::at_start(&log, &job.plan).expect("the model answers");
        for _ in 0..STEPS_MAX {
            clock.advance(Duration::from_millis(1));
            for worker in &mut *workers {
                worker.step().expect("nothing goes wrong");
            }
            let state_bytes = kept_by(workers);
            state_bytes_max = state_bytes_max.max(state_bytes);
            let before = std::mem::replace(&mut first, first_offset());
            if before < first {
                trimmed.push(Kept { state_bytes, changelog_bytes: changelog_bytes() });
            }
            if goal.is_reached(&log, &job.plan, &job.group()).expect("the model answers") {
                return;
            }
        }
        panic!("the run did not end within {STEPS_MAX} steps");
    };
    let mut kept = Vec::new();
    for slice in slices {
        input::outgoing(slice).iter().for_each(|records| log.write(records).expect("the model takes records"));
        settle(&mut workers);
        kept.push(Kept { state_bytes: kept_by(&workers), changelog_bytes: changelog_bytes() });
    }
    topics.iter().for_each(|topic| log.write(&input::ends(topic, shape.n_partitions)).expect("the model takes records"));
    settle(&mut workers);
    let (outputs, by_key) = (outputs(&log, shape), by_key(&log));
    Given { log, plan: job.plan.clone(), outputs, by_key, state_bytes_max, kept, trimmed }
}

fn job(plan: Plan, plugins: Vec<Arc<dyn Plugin>>, log: &SimulatedLog, clock: &Arc<VirtualClock>, settings: Settings) -> Job {
    Job {
        plan: Arc::new(plan),
        plugins,
        log: Arc::new(log.clone()),
        bases: None,
        schemas: Arc::new(KnownSchemas::default()),
        clock: clock.clone(),
        settings,
        observer: Arc::new(Blind),
        board: None,
    }
}

/// The values of the results, the late records and the dead letters; sorted.
fn outputs(log: &SimulatedLog, shape: &Shape) -> Vec<String> {
    let late = format!("late.{}", shape.last_stage());
    let mut outputs = Vec::new();
    for topic in ["out", &late, "dead.sim"] {
        let line = |value: Option<&[u8]>| format!("{topic} {}", String::from_utf8_lossy(value.unwrap_or_default()));
        outputs.extend(log.committed_records(topic).iter().flatten().map(|record| line(record.value.as_deref())));
    }
    outputs.sort();
    outputs
}

/// The results of each key, in their order.
fn by_key(log: &SimulatedLog) -> BTreeMap<Vec<u8>, Vec<Vec<u8>>> {
    let mut by_key: BTreeMap<Vec<u8>, Vec<Vec<u8>>> = BTreeMap::new();
    for record in log.committed_records("out").into_iter().flatten() {
        by_key.entry(record.key.unwrap_or_default()).or_default().push(record.value.unwrap_or_default());
    }
    by_key
}
