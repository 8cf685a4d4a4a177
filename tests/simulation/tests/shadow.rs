//! A candidate beside a pipeline that runs: equal code never differs, whatever comes; other code differs where it is other; and the log never
//! learns of it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use reelflow_core::{
    column::{Column, Rows, Value, Values},
    plan::{Emission, Plan},
    plugin::Response,
    schema::{FieldType, Schema},
    shadow::{Pair, written::Outlet},
    time::WallTime,
};
use reelflow_ports::{
    engine::Plugin,
    log::{Guarantee, Log, NewTopic, Retention},
    native::{
        NativePlugin,
        ready::{field, tally},
    },
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
    versioned::{On99, versioned},
};

const KINDS: [Kind; 6] = [Kind::Tumbling, Kind::Hopping, Kind::Session, Kind::Join, Kind::Union, Kind::Process];
const STEPS_MAX: usize = 100_000;

/// A pipeline that runs, and who looks at it.
struct World {
    shape: Shape,
    rng: ChaCha8Rng,
    clock: Arc<VirtualClock>,
    log: SimulatedLog,
    job: Job,
    worker: Worker,
}

/// All that others can see of a log.
type Seen = BTreeMap<String, Vec<String>>;

impl World {
    fn new(kind: Kind, seed: u64) -> World {
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
            schemas: Arc::new(KnownSchemas::default()),
            clock: clock.clone(),
            settings,
            observer: Arc::new(Blind),
            board: None,
        };
        let worker = Worker::new(0, job.clone()).expect("native plugins need nothing");
        World { shape, rng, clock, log, job, worker }
    }

    fn write(&self, events: &[Event]) {
        input::outgoing(events).iter().for_each(|records| self.log.write(records).expect("the model takes records"));
    }

    fn end(&self) {
        for source in &self.job.plan.sources {
            self.log.write(&input::ends(&source.topic, self.shape.n_partitions)).expect("the model takes records");
        }
    }

    fn live(&mut self, n_steps: usize) {
        for _ in 0..n_steps {
            self.clock.advance(Duration::from_millis(1));
            self.worker.step().expect("nothing goes wrong");
        }
    }

    /// Until all that was written is processed and committed, behind every change of key.
    fn settle(&mut self) {
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
    fn begin_with(&mut self, idx: usize, change: impl Fn() -> NativePlugin) {
        self.job.plugins[idx] = Arc::new(change());
        self.job.plan = self.program(|_, plugin| plugin.clone()).plan;
        self.worker = Worker::new(0, self.job.clone()).expect("native plugins need nothing");
    }

    /// This pipeline with its plugins, or with others that `change` makes of them.
    fn program(&self, change: impl Fn(usize, &Arc<dyn Plugin>) -> Arc<dyn Plugin>) -> Program {
        let mut plan = Plan::clone(&self.job.plan);
        let plugins: Vec<Arc<dyn Plugin>> =
            self.job.plugins.iter().enumerate().map(|(idx, plugin)| change(idx, plugin)).collect();
        declare_states(&mut plan, &plugins);
        let names = (0..plugins.len()).map(|idx| format!("p{idx}").into()).collect();
        Program::new(plan, plugins, names)
    }

    fn same(&self) -> Program {
        self.program(|_, plugin| plugin.clone())
    }

    fn shadow(&self, new: &Program) -> Shadow {
        self.shadow_of(new, false)
    }

    fn shadow_of(&self, new: &Program, is_alone: bool) -> Shadow {
        let reading = Reading {
            log: Arc::new(self.log.clone()),
            schemas: Arc::new(KnownSchemas::default()),
            clock: self.clock.clone(),
            guarantee: Guarantee::ExactlyOnce,
            outage: Outage::standard(),
            first_max: 1_000,
            until_end: is_alone,
            is_alone,
        };
        Shadow::begin(reading, &self.same(), new).expect("the state fits")
    }

    fn seen(&self) -> Seen {
        let topics = self.log.topics().expect("the model answers");
        let lines = |topic: &str| -> Vec<String> {
            let records = self.log.committed_records(topic).into_iter().flatten();
            records.map(|record| format!("{:?} {:?} {:?}", record.key, record.value, record.headers)).collect()
        };
        let mut seen: Seen = topics.iter().map(|(topic, _)| (topic.to_string(), lines(topic))).collect();
        seen.insert("positions".to_owned(), vec![format!("{:?}", self.log.commits(&self.job.group()))]);
        seen
    }

    /// One step of the shadow, of which the log learns nothing.
    fn look(&self, shadow: &mut Shadow) -> Step {
        let before = self.seen();
        let step = shadow.step().expect("nothing goes wrong");
        assert_eq!(self.seen(), before, "a shadow leaves something in the log");
        step
    }

    fn n_rows(&self, topic: &str) -> usize {
        self.log.committed_records(topic).iter().flatten().count()
    }
}

/// The simulation's plans know nothing of the versions of states.
fn declare_states(plan: &mut Plan, plugins: &[Arc<dyn Plugin>]) {
    for stage in &mut plan.stages {
        stage.state = stage.kind.plugin().and_then(|plugin| plugins[plugin].declaration().state.clone());
    }
}

/// Runs the pipeline and a shadow with `new` over the input of `seed`, in whatever order things happen, and to the end.
fn run(world: &mut World, new: &Program) -> Report {
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

fn sum(report: &Report, at: &Outlet) -> u64 {
    report.outlets.get(at).map_or(0, |compared| compared.rows.equal)
}

/// Whatever comes, and however late the shadow is.
#[test]
fn two_equal_programs_never_differ() {
    let (mut n_records, mut n_rows, mut n_late) = (0, 0, 0);
    for kind in KINDS {
        for seed in 0..40 {
            let mut world = World::new(kind, seed);
            let same = world.same();
            let report = run(&mut world, &same);
            assert!(!report.differs(), "{kind:?}, seed {seed}: {:?} {:?}", report.outlets, report.states);
            assert_eq!(report.n_unread, 0, "{kind:?}, seed {seed}");
            n_records += report.n_records;
            n_rows += report.outlets.values().map(|compared| compared.rows.equal).sum::<u64>();
            n_late += u64::from(report.n_copies > 1);
        }
    }
    eprintln!("{n_records} records, {n_rows} rows; {n_late} shadows were too late once");
    assert!(n_records > 1_000 && n_rows > 1_000 && n_late > 0, "the seeds try something: {n_records} {n_rows} {n_late}");
}

/// What the shadow writes with the code that runs is what the pipeline has written since its state was copied.
#[test]
fn a_shadow_does_what_the_pipeline_does() {
    let mut n_rows = 0;
    for kind in KINDS {
        for seed in 0..20 {
            let mut world = World::new(kind, seed);
            // Intermediate results depend on batches, and what is late of two sources on which of them was read first.
            let has_two = matches!(kind, Kind::Join | Kind::Union);
            if world.shape.emission == Emission::Upsert || (has_two && world.shape.lateness_ms != FOR_EVER_MS) {
                continue;
            }
            // Nothing is cut, so nobody is too late.
            world.job.settings.trim_slack = i64::MAX / 4;
            world.worker = Worker::new(0, world.job.clone()).expect("native plugins need nothing");
            let events = input::events(&world.shape, &mut world.rng.clone());
            let (before, rest) = events.split_at(events.len() / 2);
            world.write(before);
            world.settle();
            let late = format!("late.{}", world.shape.last_stage());
            let counts = |world: &World| ["out", &late, "dead.sim"].map(|topic| world.n_rows(topic) as u64);
            let at_first = counts(&world);
            let mut shadow = world.shadow(&world.same());
            world.write(rest);
            world.end();
            world.settle();
            while world.look(&mut shadow) != Step::Idle {}
            let report = shadow.finish();
            let of_shadow = report.outlets.iter().fold([0; 3], |mut sums, (at, _)| {
                match at {
                    Outlet::Sink(_) => sums[0] += sum(&report, at),
                    Outlet::Late(_) => sums[1] += sum(&report, at),
                    Outlet::DeadLetters => sums[2] += sum(&report, at),
                    Outlet::Shuffle(_) => {}
                }
                sums
            });
            let since: Vec<u64> = counts(&world).iter().zip(at_first).map(|(now, before)| now - before).collect();
            assert_eq!(of_shadow.to_vec(), since, "{kind:?}, seed {seed}");
            n_rows += since.iter().sum::<u64>();
        }
    }
    assert!(n_rows > 1_000, "{n_rows}");
}

/// While nobody runs the pipeline, a shadow does to the end what the pipeline does then.
#[test]
fn a_shadow_alone_does_what_the_pipeline_will_do() {
    let mut n_rows = 0;
    for kind in [Kind::Hopping, Kind::Tumbling, Kind::Process] {
        for seed in 0..20 {
            let mut world = World::new(kind, seed);
            if world.shape.emission == Emission::Upsert {
                continue;
            }
            let events = input::events(&world.shape, &mut world.rng.clone());
            let (before, rest) = events.split_at(events.len() / 2);
            world.write(before);
            world.settle();
            let at_first = world.n_rows("out");
            world.write(rest);
            world.end();
            let mut shadow = world.shadow_of(&world.same(), true);
            for _ in 0..STEPS_MAX {
                if shadow.is_over() {
                    break;
                }
                world.look(&mut shadow);
            }
            let report = shadow.finish();
            assert!(!report.differs(), "{kind:?}, seed {seed}: {:?} {:?}", report.outlets, report.states);
            world.settle();
            let since = (world.n_rows("out") - at_first) as u64;
            assert_eq!(sum(&report, &Outlet::Sink(0)), since, "{kind:?}, seed {seed}");
            n_rows += since;
        }
    }
    assert!(n_rows > 300, "{n_rows}");
}

/// `inner`, whose rows with `p3` in their first column have 1000 more in their fourth.
fn more_of_p3(inner: &Arc<dyn Plugin>) -> Arc<dyn Plugin> {
    let (declaration, inner) = (inner.declaration().clone(), inner.clone());
    Arc::new(NativePlugin::new("candidate", declaration, move |request| {
        let mut response = inner.instance().expect("native plugins need nothing").call(request)?;
        if let Response::Rows { outputs, .. } = &mut response {
            for routed in outputs {
                let rows = &routed.rows;
                let is_p3 = |row: usize| rows.column(0).at(row) == Value::Bytes(b"p3");
                let more = |row: usize| match rows.column(3).at(row) {
                    Value::Int(value) => value + if is_p3(row) { 1_000 } else { 0 },
                    other => unreachable!("the fourth column is a required number, not {other:?}"),
                };
                let column = Column::from_parts(Values::Int((0..rows.len()).map(more).collect()), None).expect("no validity");
                let mut columns = rows.columns().to_vec();
                columns[3] = column;
                routed.rows = Rows::new(rows.len(), columns).expect("equally many values");
            }
        }
        Ok(response)
    }))
}

/// The rows of one key, all of them, with what they were and what they would be.
#[test]
fn a_changed_key_is_told_and_no_other() {
    let mut n_changed = 0;
    for kind in [Kind::Tumbling, Kind::Session] {
        for seed in 0..20 {
            let mut world = World::new(kind, seed);
            let new = world.program(|idx, plugin| if idx == 1 { more_of_p3(plugin) } else { plugin.clone() });
            let report = run(&mut world, &new);
            let rows = report.outlets.get(&Outlet::Sink(0)).cloned().unwrap_or_default().rows;
            assert_eq!(
                report.outlets.values().map(|compared| compared.rows.differing()).sum::<u64>(),
                rows.changed,
                "{kind:?} {seed}"
            );
            assert_eq!(rows.first.len() as u64, rows.changed);
            for pair in &rows.first {
                let Pair::Changed { old, new } = pair else { panic!("{kind:?}, seed {seed}: {pair:?}") };
                let key = String::from_utf8_lossy(old.key.as_deref().unwrap_or_default()).into_owned();
                assert!(key.starts_with("[\"p3\","), "{kind:?}, seed {seed}: {key}");
                let number = |value: &Option<Vec<u8>>| -> i64 {
                    let row: serde_json::Value = serde_json::from_slice(value.as_deref().unwrap_or_default()).expect("a row");
                    row["count"].as_i64().expect("a count")
                };
                assert_eq!(number(&new.value), number(&old.value) + 1_000);
            }
            // The plugin's states are as they were: only what it tells of them is other.
            assert!(report.states.by_stage.values().all(|kept| kept.keys.differing() == 0), "{kind:?}, seed {seed}");
            n_changed += rows.changed;
        }
    }
    assert!(n_changed > 20, "{n_changed}");
}

/// A row that goes to another key is told where it leaves; what the pipeline makes of its own row is the same for both.
#[test]
fn behind_a_change_of_key_the_row_itself_is_told() {
    let mut n_changed = 0;
    for seed in 0..20 {
        let mut world = World::new(Kind::Hopping, seed);
        let new = world.program(|idx, plugin| if idx == 0 { more_of_p3(plugin) } else { plugin.clone() });
        let report = run(&mut world, &new);
        for (at, compared) in &report.outlets {
            let rows = &compared.rows;
            match at {
                Outlet::Shuffle(0) => n_changed += rows.changed,
                _ => assert_eq!(rows.differing(), 0, "seed {seed}: {at:?} {rows:?}"),
            }
            assert_eq!(rows.only_old + rows.only_new, 0, "seed {seed}: {rows:?}");
        }
        // The tally is no other code.
        assert!(!report.outlets.contains_key(&Outlet::Sink(0)), "seed {seed}: a task without new code was run");
    }
    assert!(n_changed > 20, "{n_changed}");
}

/// Before any window closes, only what is kept tells that the code is other.
#[test]
fn states_that_differ_are_told_by_key() {
    let mut world = World::new(Kind::Tumbling, 1);
    world.shape.lateness_ms = FOR_EVER_MS;
    let row = |profile: &str, after_ms: i64| input::of_profile(&world.shape, "plays", profile.to_owned(), after_ms);
    let (first, second) = ([row("p1", 1), row("p3", 2)], [row("p1", 3), row("p2", 4), row("p3", 5)]);
    world.write(&first);
    world.settle();
    let new = world.program(|idx, plugin| if idx == 0 { more_of_p3(plugin) } else { plugin.clone() });
    let mut shadow = world.shadow(&new);
    world.write(&second);
    world.settle();
    while world.look(&mut shadow) != Step::Idle {}
    assert_eq!(shadow.n_differing(), 0);
    let report = shadow.finish();
    let stages: Vec<(usize, u64, u64)> =
        report.states.by_stage.iter().map(|(stage, kept)| (*stage, kept.keys.equal, kept.keys.changed)).collect();
    // Five ids of the dedup, three keys of the tally.
    assert_eq!(stages, [(1, 5, 0), (2, 2, 1)]);
    let [Pair::Changed { old: key, .. }] = &report.states.by_stage[&2].keys.first[..] else { panic!("{:?}", report.states) };
    assert!(key.windows(2).any(|two| two == b"p3"), "{key:?}");
    assert!(report.differs());
}

/// A newer state is read from the older one where it is touched, as in a run; what is kept is not compared then.
#[test]
fn a_candidate_with_a_newer_state_reads_the_older_one() {
    let key = || Schema { fields: vec![field("profile", FieldType::Text)] };
    let version = |version, reads: &[u32]| versioned(tally(key()), version, reads, On99::Migrates);
    let mut n_rows = 0;
    for seed in 0..20 {
        let mut world = World::new(Kind::Tumbling, seed);
        world.begin_with(1, || version(1, &[]));
        let new = world.program(|idx, plugin| if idx == 1 { Arc::new(version(2, &[1])) } else { plugin.clone() });
        let report = run(&mut world, &new);
        assert!(!report.differs(), "seed {seed}: {:?} {:?}", report.outlets, report.states);
        assert!(report.states.by_stage.get(&2).is_none_or(|kept| kept.versions == Some([1, 2])), "{:?}", report.states);
        n_rows += sum(&report, &Outlet::Sink(0));
    }
    assert!(n_rows > 200, "{n_rows}");
}
