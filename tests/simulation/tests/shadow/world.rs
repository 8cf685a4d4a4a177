//! A pipeline that runs in the simulation, and who looks at it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use reelflow_core::{
    plan::{Emission, Plan},
    time::WallTime,
};
use reelflow_ports::{
    engine::Plugin,
    log::{Guarantee, Log, NewTopic, Retention},
    native::NativePlugin,
    schemas::KnownSchemas,
    simulated::{NoFaults, SimulatedLog, VirtualClock},
};
use reelflow_runtime::{
    code::Program,
    finish::Goal,
    observe::Blind,
    pipeline,
    settings::{Outage, Settings},
    shadow::{Reading, Report, Shadow},
    worker::{Job, Step, Worker},
};
use reelflow_simulation::{
    input::{self, BEGIN_MS, Event},
    shape::{FOR_EVER_MS, Kind, Shape},
};

pub const KINDS: [Kind; 7] =
    [Kind::Tumbling, Kind::Hopping, Kind::Combined, Kind::Session, Kind::Join, Kind::Union, Kind::Process];
pub const STEPS_MAX: usize = 100_000;

/// A pipeline that runs, and who looks at it.
pub struct World {
    pub shape: Shape,
    pub rng: ChaCha8Rng,
    pub clock: Arc<VirtualClock>,
    pub log: SimulatedLog,
    pub job: Job,
    pub worker: Worker,
}

/// All that others can see of a log.
pub type Seen = BTreeMap<String, Vec<String>>;

impl World {
    pub fn new(kind: Kind, seed: u64) -> World {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let emission = match kind {
            Kind::Session | Kind::Process => Emission::Final,
            _ if rng.random_bool(0.5) => Emission::Final,
            _ => Emission::Upsert,
        };
        let lateness_ms = if emission == Emission::Final && rng.random_bool(0.5) { FOR_EVER_MS } else { 20_000 };
        let shape = Shape { kind, n_partitions: rng.random_range(1..4), lateness_ms, horizon_ms: FOR_EVER_MS, emission };
        let clock = VirtualClock::starting_at(WallTime(BEGIN_MS));
        let log = SimulatedLog::new(clock.clone(), Box::new(NoFaults));
        let (mut plan, plugins) = shape.build();
        declare_states(&mut plan, &plugins);
        for source in &plan.sources {
            let retention = Retention::FromTimestamp;
            let topic = NewTopic { name: source.topic.clone(), n_partitions: shape.n_partitions, retention };
            log.create_topic(&topic).expect("the model takes a new topic");
        }
        pipeline::prepare(&log, &plan, &Blind).expect("the topics are as the plan needs them");
        let settings = Settings {
            epoch_records_max: rng.random_range(1..100),
            commit_interval: Duration::from_millis(rng.random_range(5..100)),
            trim_slack: rng.random_range(1..200),
            ..Settings::standard("live".into())
        };
        let job = Job {
            plan: Arc::new(plan),
            plugins,
            log: Arc::new(log.clone()),
            bases: None,
            schemas: Arc::new(KnownSchemas::default()),
            clock: clock.clone(),
            settings,
            observer: Arc::new(Blind),
            board: None,
        };
        let worker = Worker::new(0, job.clone()).expect("native plugins need nothing");
        World { shape, rng, clock, log, job, worker }
    }

    pub fn write(&self, events: &[Event]) {
        input::outgoing(events).iter().for_each(|records| self.log.write(records).expect("the model takes records"));
    }

    pub fn end(&self) {
        for source in &self.job.plan.sources {
            self.log.write(&input::ends(&source.topic, self.shape.n_partitions)).expect("the model takes records");
        }
    }

    pub fn live(&mut self, n_steps: usize) {
        for _ in 0..n_steps {
            self.clock.advance(Duration::from_millis(1));
            self.worker.step().expect("nothing goes wrong");
        }
    }

    /// Until all that was written is processed and committed, behind every change of key.
    pub fn settle(&mut self) {
        for _ in 0..STEPS_MAX / 100 {
            let goal = Goal::at_start(&self.log, &self.job.plan).expect("the model answers");
            if goal.is_reached(&self.log, &self.job.plan, &self.job.group()).expect("the model answers") {
                self.live(300);
                return;
            }
            self.live(100);
        }
        panic!("the run did not end");
    }

    /// From now on this pipeline runs the plugin that `change` makes of its plugin `idx`.
    pub fn begin_with(&mut self, idx: usize, change: impl Fn() -> NativePlugin) {
        self.job.plugins[idx] = Arc::new(change());
        self.job.plan = self.program(|_, plugin| plugin.clone()).plan;
        self.worker = Worker::new(0, self.job.clone()).expect("native plugins need nothing");
    }

    /// This pipeline with its plugins, or with others that `change` makes of them.
    pub fn program(&self, change: impl Fn(usize, &Arc<dyn Plugin>) -> Arc<dyn Plugin>) -> Program {
        let mut plan = Plan::clone(&self.job.plan);
        let plugins: Vec<Arc<dyn Plugin>> =
            self.job.plugins.iter().enumerate().map(|(idx, plugin)| change(idx, plugin)).collect();
        declare_states(&mut plan, &plugins);
        let names = (0..plugins.len()).map(|idx| format!("p{idx}").into()).collect();
        Program::new(plan, plugins, names)
    }

    pub fn same(&self) -> Program {
        self.program(|_, plugin| plugin.clone())
    }

    pub fn shadow(&self, new: &Program) -> Shadow {
        self.shadow_of(new, false)
    }

    pub fn shadow_of(&self, new: &Program, is_alone: bool) -> Shadow {
        let reading = Reading {
            log: Arc::new(self.log.clone()),
            bases: None,
            schemas: Arc::new(KnownSchemas::default()),
            clock: self.clock.clone(),
            guarantee: Guarantee::ExactlyOnce,
            outage: Outage::standard(),
            first_max: 1_000,
            until_end: is_alone,
            is_alone,
        };
        let before = self.seen();
        let shadow = Shadow::begin(reading, &self.same(), new).expect("the state fits");
        assert_eq!(self.seen(), before, "a shadow leaves something in the log");
        shadow
    }

    pub fn seen(&self) -> Seen {
        let topics = self.log.topics().expect("the model answers");
        let lines = |topic: &str| -> Vec<String> {
            // What was cut is gone from these.
            let records = self.log.committed_records(topic).into_iter().flatten();
            records.map(|record| format!("{:?} {:?} {:?}", record.key, record.value, record.headers)).collect()
        };
        let mut seen: Seen = topics.iter().map(|(topic, _)| (topic.to_string(), lines(topic))).collect();
        seen.insert("positions".to_owned(), vec![format!("{:?}", self.log.commits(&self.job.group()))]);
        seen
    }

    /// One step of the shadow, of which the log learns nothing (I-15).
    pub fn look(&self, shadow: &mut Shadow) -> Step {
        let before = self.seen();
        let step = shadow.step().expect("nothing goes wrong");
        assert_eq!(self.seen(), before, "a shadow leaves something in the log");
        step
    }

    pub fn n_rows(&self, topic: &str) -> usize {
        self.log.committed_records(topic).iter().flatten().count()
    }
}

/// The simulation's plans know nothing of the versions of states.
pub fn declare_states(plan: &mut Plan, plugins: &[Arc<dyn Plugin>]) {
    for stage in &mut plan.stages {
        stage.state = stage.kind.plugin().and_then(|plugin| plugins[plugin].declaration().state.clone());
    }
}

/// Runs the pipeline and a shadow with `new` over the input of `seed`, in whatever order things happen, and to the end.
pub fn run(world: &mut World, new: &Program) -> Report {
    let events = input::events(&world.shape, &mut world.rng.clone());
    let (before, mut rest) = events.split_at(world.rng.random_range(1..events.len()));
    world.write(before);
    world.live(100);
    let n_steps = world.rng.random_range(0..100);
    world.live(n_steps);
    let mut shadow = world.shadow(new);
    assert_eq!(shadow.n_committed() > 0, !world.log.commits(&world.job.group()).is_empty());
    while !rest.is_empty() {
        match world.rng.random_range(0..4) {
            0 => {
                let (now, later) = rest.split_at(world.rng.random_range(1..=rest.len().min(15)));
                world.write(now);
                rest = later;
            }
            1 => world.clock.advance(Duration::from_millis(world.rng.random_range(0..2_000))),
            2 => drop(world.look(&mut shadow)),
            _ => {
                let n_steps = world.rng.random_range(1..30);
                world.live(n_steps);
            }
        }
    }
    world.end();
    world.settle();
    while world.look(&mut shadow) != Step::Idle {}
    shadow.finish()
}
