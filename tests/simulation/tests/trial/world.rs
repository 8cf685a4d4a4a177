//! Processes of one pipeline on the model broker, where nothing fails, and what they say of new code.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use reelflow_core::{plan::Emission, record::Offset, time::WallTime};
use reelflow_ports::{
    clock::Clock,
    log::{Log, NewTopic, Retention},
    schemas::KnownSchemas,
    simulated::{Call, Fault, Faults, SimulatedLog, VirtualClock, at},
};
use reelflow_runtime::{
    observe::{Blind, Event, Observer},
    pipeline,
    settings::Settings,
    summary::Summary,
    worker::{Job, Worker},
};
use reelflow_simulation::{
    input::{self, BEGIN_MS},
    shape::{FOR_EVER_MS, Kind, Shape},
    upgrades::Upgrades,
};

pub const FETCH_MAX: usize = 5;
/// What takes longer will never be.
const STEPS_MAX: usize = 100_000;

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

/// All that was said, and when.
struct Heard {
    clock: Arc<VirtualClock>,
    events: Mutex<Vec<(i64, Event)>>,
}

impl Observer for Heard {
    fn event(&self, event: &Event) {
        self.events.lock().expect("no panic with this lock").push((self.clock.now().0, event.clone()));
    }

    fn progress(&self, _: &Summary) {}
}

pub struct World {
    clock: Arc<VirtualClock>,
    pub upgrades: Upgrades,
    shape: Shape,
    log: SimulatedLog,
    job: Job,
    workers: BTreeMap<usize, Worker>,
    heard: Arc<Heard>,
    /// How many rows were written.
    n_written: i64,
}

impl World {
    /// A pipeline of `kind` that nobody runs yet.
    pub fn new(kind: Kind, n_partitions: u32, settings: Settings) -> World {
        let emission = Emission::Final;
        let shape = Shape { kind, n_partitions, lateness_ms: FOR_EVER_MS, horizon_ms: FOR_EVER_MS, emission };
        let clock = VirtualClock::starting_at(WallTime(BEGIN_MS));
        let log = SimulatedLog::new(clock.clone(), Box::new(Slow));
        let (plan, plugins) = shape.build();
        let topic = NewTopic { name: "plays".into(), n_partitions, retention: Retention::FromTimestamp };
        log.create_topic(&topic).expect("the model takes a new topic");
        pipeline::prepare(&log, &plan, &Blind).expect("the topics are as the plan needs them");
        let heard = Arc::new(Heard { clock: clock.clone(), events: Mutex::default() });
        let job = Job {
            plan: Arc::new(plan),
            plugins,
            log: Arc::new(log.clone()),
            bases: None,
            schemas: Arc::new(KnownSchemas::default()),
            clock: clock.clone(),
            settings,
            observer: heard.clone(),
            board: None,
        };
        let upgrades = Upgrades::new(0, shape, &log, &clock);
        World { clock, upgrades, shape, log, job, workers: BTreeMap::new(), heard, n_written: 0 }
    }

    /// The process of `slot` begins.
    pub fn enter(&mut self, slot: usize) {
        let job = self.upgrades.enter(slot, &self.job).expect("nothing fails");
        self.workers.insert(slot, Worker::new(slot, job).expect("native plugins need nothing"));
    }

    /// A step of each of `slots`. The controls of all processes go on, also of those that stand still.
    pub fn step(&mut self, slots: &[usize]) {
        self.clock.advance(Duration::from_millis(1));
        self.workers.iter().for_each(|_| self.upgrades.step());
        for slot in slots {
            self.workers.get_mut(slot).expect("it has begun").step().expect("nothing fails");
        }
    }

    /// Steps of `slots` until somebody has said such an event. Gives when that was.
    pub fn until(&mut self, slots: &[usize], is_it: impl Fn(&Event) -> bool) -> i64 {
        for _ in 0..STEPS_MAX {
            if let Some(at) = self.heard(&is_it) {
                return at;
            }
            self.step(slots);
        }
        panic!("nobody ever said it: {:?}", self.heard.events.lock().expect("no panic with this lock"));
    }

    /// When such an event was told first.
    pub fn heard(&self, is_it: impl Fn(&Event) -> bool) -> Option<i64> {
        let events = self.heard.events.lock().expect("no panic with this lock");
        events.iter().find(|(_, event)| is_it(event)).map(|(at, _)| *at)
    }

    /// Writes `n` rows, whose field `mark` is `mark`.
    pub fn write(&mut self, n: i64, mark: &str) {
        let row = |at: i64| {
            let mut event = input::of_profile(&self.shape, "plays", format!("p{}", at % 20), at);
            event.json = event.json.replace("\"mark\":\"\"", &format!("\"mark\":\"{mark}\""));
            event
        };
        let events: Vec<_> = (self.n_written..self.n_written + n).map(row).collect();
        self.n_written += n;
        input::outgoing(&events).iter().for_each(|records| self.log.write(records).expect("the model takes records"));
    }

    pub fn now_ms(&self) -> i64 {
        self.clock.now().0
    }

    pub fn n_read(&self, slot: usize) -> usize {
        self.workers[&slot].summary(Duration::ZERO).records_read as usize
    }

    /// Up to where the first partition of `topic` is committed, and written.
    pub fn positions(&self, topic: &str) -> (Offset, Offset) {
        let at = at(topic, 0);
        let committed = self.log.commits(&self.job.group()).get(&at).map_or(0, |commit| commit.next);
        (committed, self.log.offsets(&at).expect("the model answers").1)
    }
}

pub fn begins(event: &Event) -> bool {
    matches!(event, Event::TrialBegan { .. })
}

pub fn is_tried(event: &Event) -> bool {
    matches!(event, Event::Switched { is_trial: true, .. })
}

pub fn is_accepted(event: &Event) -> bool {
    matches!(event, Event::CodeAccepted { .. })
}

pub fn is_rolled_back(event: &Event) -> bool {
    matches!(event, Event::CodeRolledBack { .. })
}

/// Because of `why`.
pub fn is_rolled_back_as(event: &Event, why: &str) -> bool {
    matches!(event, Event::CodeRolledBack { why: told, .. } if told.contains(why))
}
