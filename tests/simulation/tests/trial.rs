//! A trial is an epoch, and an epoch is bounded: what is beyond waits for the verdict.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use reelflow_core::{plan::Emission, time::WallTime};
use reelflow_ports::{
    clock::Clock,
    log::{Log, NewTopic, Retention},
    schemas::KnownSchemas,
    simulated::{Call, Fault, Faults, SimulatedLog, VirtualClock},
};
use reelflow_runtime::{
    observe::{Blind, Event, Observer},
    pipeline,
    settings::{Settings, TrialRules},
    summary::Summary,
    worker::{Job, Worker},
};
use reelflow_simulation::{
    input::{self, BEGIN_MS},
    shape::{FOR_EVER_MS, Kind, Shape},
    upgrades::Upgrades,
};

const RECORDS_MAX: usize = 20;
const FETCH_MAX: usize = 5;

/// Nothing fails, and records come a few at a time.
struct Slow;

impl Faults for Slow {
    fn decide(&mut self, _: &str, _: Call) -> Fault {
        Fault::None
    }

    fn fetch_max(&mut self) -> usize {
        FETCH_MAX
    }
}

/// Whether a trial has begun, and whether it was accepted.
#[derive(Default)]
struct Seen(Mutex<[bool; 2]>);

impl Observer for Seen {
    fn event(&self, event: &Event) {
        let mut seen = self.0.lock().expect("no panic with this lock");
        match event {
            Event::Switched { is_trial: true, .. } => seen[0] = true,
            Event::CodeAccepted { .. } => seen[1] = true,
            _ => {}
        }
    }

    fn progress(&self, _: &Summary) {}
}

#[test]
fn a_trial_that_is_full_reads_on_after_its_verdict() {
    let shape = Shape {
        kind: Kind::Tumbling,
        n_partitions: 1,
        lateness_ms: FOR_EVER_MS,
        horizon_ms: FOR_EVER_MS,
        emission: Emission::Final,
    };
    let clock = VirtualClock::starting_at(WallTime(BEGIN_MS));
    let log = SimulatedLog::new(clock.clone(), Box::new(Slow));
    let (plan, plugins) = shape.build();
    let topic = NewTopic { name: "plays".into(), n_partitions: 1, retention: Retention::FromTimestamp };
    log.create_topic(&topic).expect("the model takes a new topic");
    pipeline::prepare(&log, &plan, &Blind).expect("the topics are as the plan needs them");
    let seen = Arc::new(Seen::default());
    let settings = Settings {
        commit_interval: Duration::from_millis(500),
        epoch_records_max: RECORDS_MAX,
        trial: TrialRules { n_epochs: 5, ..TrialRules::STANDARD },
        ..Settings::standard("sim".into())
    };
    let job = Job {
        plan: Arc::new(plan),
        plugins,
        log: Arc::new(log.clone()),
        bases: None,
        schemas: Arc::new(KnownSchemas::default()),
        clock: clock.clone(),
        settings,
        observer: seen.clone(),
        board: None,
    };
    let mut upgrades = Upgrades::new(0, shape, &log, &clock);
    let job = upgrades.enter(0, &job).expect("nothing fails");
    let mut worker = Worker::new(0, job).expect("native plugins need nothing");
    let step = |upgrades: &mut Upgrades, worker: &mut Worker| {
        clock.advance(Duration::from_millis(1));
        upgrades.step();
        worker.step().expect("nothing fails");
    };
    let has = |at: usize| seen.0.lock().expect("no panic with this lock")[at];
    let n_read = |worker: &Worker| worker.summary(Duration::ZERO).records_read as usize;
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut write = |n: i64| {
        let events: Vec<_> = (0..n).map(|at| input::on_time(&shape, "plays", at, &mut rng)).collect();
        input::outgoing(&events).iter().for_each(|records| log.write(records).expect("the model takes records"));
    };

    (0..100).for_each(|_| step(&mut upgrades, &mut worker));
    upgrades.propose_version("v2", &[]);
    (0..2_000).for_each(|_| {
        if !has(0) {
            step(&mut upgrades, &mut worker)
        }
    });
    assert!(has(0) && !has(1), "the trial has begun");
    write(200);
    let begin = clock.now();
    while clock.now().0 < begin.0 + 2_000 {
        step(&mut upgrades, &mut worker);
    }
    assert!(!has(1), "it lasts for five intervals");
    let read = n_read(&worker);
    assert!((RECORDS_MAX..RECORDS_MAX + FETCH_MAX).contains(&read), "{read} records are more than an epoch may have");
    (0..4_000).for_each(|_| step(&mut upgrades, &mut worker));
    assert!(has(1) && n_read(&worker) == 200, "{} records were read after the verdict", n_read(&worker));
}
