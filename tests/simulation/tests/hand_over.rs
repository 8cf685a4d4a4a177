//! I-6: a pipeline that has its past out of files goes on in its topics with each record once, whatever fails while it is handed over.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use reelflow_core::{
    plan::{Emission, Plan},
    record::{Offset, Partition},
    time::WallTime,
};
use reelflow_ports::{
    history::{Remembered, RememberedRecord},
    log::{Guarantee, Log, NewTopic, Retention},
    schemas::KnownSchemas,
    simulated::{Call, Fault, Faults, NoFaults, SimulatedLog, VirtualClock},
};
use reelflow_runtime::{
    error::RunError,
    finish::Goal,
    hand_over::HandOver,
    load::Loader,
    observe::Blind,
    pipeline,
    settings::{Outage, Settings},
    worker::{Job, Worker},
};
use reelflow_simulation::{
    chaos::Chaos,
    input::{self, BEGIN_MS, Event},
    oracle::{self, Outcome},
    shape::{FOR_EVER_MS, Kind, Shape},
};

const STEPS_MAX: usize = 100_000;
const LIVES_MAX: usize = 200;

/// Time passes with every call, and of the first ones many fail: a hand-over is a few calls.
struct Failing {
    clock: Arc<VirtualClock>,
    chaos: Chaos,
    n_left: usize,
    n_failed: Arc<AtomicUsize>,
}

impl Faults for Failing {
    fn decide(&mut self, member: &str, call: Call) -> Fault {
        self.clock.advance(Duration::from_millis(20));
        if self.n_left == 0 {
            return Fault::None;
        }
        self.n_left -= 1;
        let fault = (0..10).map(|_| self.chaos.decide(member, call)).find(|fault| *fault != Fault::None).unwrap_or(Fault::None);
        if !matches!(fault, Fault::None | Fault::Deaf) {
            self.n_failed.fetch_add(1, Ordering::Relaxed);
        }
        fault
    }

    fn fetch_max(&mut self) -> usize {
        self.chaos.fetch_max()
    }
}

/// A pipeline, its topics with all events in them, and how many of each partition lie in files.
struct Case {
    shape: Shape,
    events: Vec<Event>,
    clock: Arc<VirtualClock>,
    log: SimulatedLog,
    live: Arc<Plan>,
    history: Remembered,
    job: Job,
}

impl Case {
    fn new(seed: u64) -> Case {
        let rng = &mut ChaCha8Rng::seed_from_u64(seed);
        let kind = [Kind::Tumbling, Kind::Join, Kind::Hopping, Kind::Session, Kind::Union][rng.random_range(0..5)];
        let n_partitions = rng.random_range(1..=3);
        let emission = Emission::Final;
        let shape = Shape { kind, n_partitions, lateness_ms: FOR_EVER_MS, horizon_ms: FOR_EVER_MS, emission };
        let is_of_two = matches!(kind, Kind::Join | Kind::Union);
        let events: Vec<Event> = (0..rng.random_range(5..80))
            .map(|n| {
                let topic = if is_of_two && rng.random_bool(0.5) { "impressions" } else { "plays" };
                input::on_time(&shape, topic, n * 700, rng)
            })
            .collect();
        let clock = VirtualClock::starting_at(WallTime(BEGIN_MS));
        let log = SimulatedLog::new(clock.clone(), Box::new(NoFaults));
        let (live, plugins) = shape.build();
        for source in &live.sources {
            let topic = NewTopic { name: source.topic.clone(), n_partitions, retention: Retention::FromTimestamp };
            log.create_topic(&topic).expect("the model takes a new topic");
        }
        input::outgoing(&events).iter().for_each(|records| log.write(records).expect("the model takes records"));
        for source in &live.sources {
            log.write(&input::ends(&source.topic, n_partitions)).expect("the model takes records");
        }
        let outage = Outage {
            backoff_min: Duration::from_micros(1),
            backoff_max: Duration::from_micros(2),
            give_up_after: Duration::from_secs(rng.random_range(1..60)),
        };
        let settings = Settings { epoch_records_max: 7, outage, until_end: true, ..Settings::standard("load".into()) };
        let job = Job {
            plan: Arc::new(live.of_history()),
            plugins,
            log: Arc::new(log.clone()),
            bases: None,
            schemas: Arc::new(KnownSchemas::default()),
            clock: clock.clone(),
            settings,
            observer: Arc::new(Blind),
            board: None,
        };
        pipeline::prepare(&log, &live, &Blind).expect("the topics are as the plan needs them");
        pipeline::prepare_history(&log, &job.plan, &Blind).expect("the model takes new topics");
        pipeline::prepare(&log, &job.plan, &Blind).expect("the topics are as the plan needs them");
        let history = in_files(&live, &events, rng);
        Case { shape, events, clock, log, live: Arc::new(live), history, job }
    }

    /// Processes all that lies in files.
    fn replay(&self) {
        let mut loader = Loader::new(self.job.clone(), Box::new(self.history.clone()), true);
        let mut worker = Worker::new(0, self.job.clone()).expect("native plugins need nothing");
        for _ in 0..STEPS_MAX {
            self.clock.advance(Duration::from_millis(1));
            worker.step().expect("nothing goes wrong");
            if !loader.is_ended() {
                loader.step().expect("nothing goes wrong");
                continue;
            }
            let goal = Goal::at_start(&self.log, &self.job.plan).expect("the model answers");
            if goal.is_reached(&self.log, &self.job.plan, &self.job.group()).expect("the model answers") {
                return worker.stop().expect("nothing goes wrong");
            }
        }
        panic!("the replay did not end");
    }

    /// Hands over, in one life after the other. Gives how many it took.
    fn hand_over(&self) -> usize {
        for life in 1..LIVES_MAX {
            // A process of the same name fences the one before; one of another name waits for it.
            let instance = if life % 3 == 0 { "another" } else { "load" };
            let settings = Settings { instance: instance.into(), ..self.job.settings.clone() };
            let job = Job { settings, ..self.job.clone() };
            let ended = HandOver::new(&job, self.live.clone(), &self.history).run();
            self.check_all_or_none();
            match ended {
                Ok(()) => return life,
                Err(RunError::GaveUp { .. } | RunError::History(_)) => {}
                Err(error) => panic!("it ended for good: {error}"),
            }
        }
        panic!("it was not handed over in {LIVES_MAX} lives");
    }

    /// Every task stands in the history, or every task in the topics.
    fn check_all_or_none(&self) {
        let commits = self.log.commits(&self.job.group());
        let of = |plan: &Plan| -> BTreeSet<(Arc<str>, Partition)> {
            let topics: BTreeSet<Arc<str>> = plan.sources.iter().map(|source| source.topic.clone()).collect();
            commits.keys().filter(|at| topics.contains(&at.topic)).map(|at| (at.topic.clone(), at.partition)).collect()
        };
        let n_all = self.live.sources.len() * self.shape.n_partitions as usize;
        let n_live = of(&self.live).len();
        assert!(n_live == 0 || n_live == n_all, "{n_live} of {n_all} positions were handed over: {commits:?}");
    }

    /// Processes what lies in the topics behind.
    fn go_on(&self) {
        // The open transactions of the dead are in its way for a while.
        let settings = Settings { instance: "live".into(), outage: Outage::standard(), ..self.job.settings.clone() };
        let job = Job { plan: self.live.clone(), settings, ..self.job.clone() };
        let mut worker = Worker::new(0, job.clone()).expect("native plugins need nothing");
        let goal = Goal::at_start(&self.log, &job.plan).expect("the model answers");
        for _ in 0..STEPS_MAX {
            self.clock.advance(Duration::from_millis(1));
            worker.step().expect("nothing goes wrong");
            if goal.is_reached(&self.log, &job.plan, &job.group()).expect("the model answers") {
                return worker.stop().expect("nothing goes wrong");
            }
        }
        panic!("the rest was not processed");
    }
}

/// The beginning of each partition, as it lies in files: oldest first, with where the topics go on.
fn in_files(live: &Plan, events: &[Event], rng: &mut ChaCha8Rng) -> Remembered {
    let mut records: Vec<RememberedRecord> = Vec::new();
    let mut next_offsets: Vec<(usize, Partition, Offset)> = Vec::new();
    for (source, plan) in live.sources.iter().enumerate() {
        for partition in 0..live.n_partitions {
            let of_partition: Vec<&Event> =
                events.iter().filter(|event| *event.topic == *plan.topic && event.partition == partition).collect();
            let n_in_files = rng.random_range(0..=of_partition.len());
            let record = |event: &&Event| {
                let key = Some(event.profile.clone().into_bytes());
                (source, partition, event.at_ms, key, event.json.clone().into_bytes())
            };
            records.extend(of_partition[..n_in_files].iter().map(record));
            if n_in_files > 0 {
                next_offsets.push((source, partition, n_in_files as Offset));
            }
        }
    }
    records.sort_by_key(|record| record.2);
    let mut history = Remembered::new("these", records);
    history.next_offsets = next_offsets;
    history
}

#[test]
fn i_6_tasks_are_handed_over_all_or_none_whatever_fails() {
    let (mut n_lives, n_failed) = (0, Arc::new(AtomicUsize::new(0)));
    for seed in 0..300 {
        let case = Case::new(seed);
        if case.history.records.is_empty() {
            continue;
        }
        case.replay();
        let chaos = Chaos::new(seed);
        case.log.set_faults(Box::new(Failing { clock: case.clock.clone(), chaos, n_left: 500, n_failed: n_failed.clone() }));
        n_lives += case.hand_over();
        case.log.set_faults(Box::new(NoFaults));
        case.go_on();
        // Until then the open transactions of the dead hide what was committed behind them.
        case.clock.advance(case.job.settings.transaction_timeout * 2);
        case.log.topics().expect("the model answers");
        let late = format!("late.{}", case.shape.last_stage());
        let [out, late, dead] = ["out", &late, "dead.sim"].map(|topic| case.log.committed_records(topic));
        let outcome = Outcome::new(&out, &late, &dead);
        let compared = std::panic::catch_unwind(|| oracle::check(&case.shape, Guarantee::ExactlyOnce, &case.events, &outcome));
        assert!(compared.is_ok(), "seed {seed}: {:?}", case.shape);
    }
    let n_failed = n_failed.load(Ordering::Relaxed);
    eprintln!("{n_lives} lives, {n_failed} calls failed");
    assert!(n_lives > 300 && n_failed > 100, "the seeds try something: {n_lives} lives, {n_failed} calls failed");
}
