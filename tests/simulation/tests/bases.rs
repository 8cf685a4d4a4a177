//! I-16: what recovery makes of a store: which base it takes, what it says of those that it does not, and when it refuses to go on.

use std::{sync::Arc, time::Duration};

use reelflow_core::{
    checkpoint::{
        RecoveryPoint,
        stored::{folder, object_name},
    },
    plan::Emission,
};
use reelflow_ports::{
    clock::Clock,
    log::{Guarantee, Log, NewTopic, Retention},
    schemas::KnownSchemas,
    simulated::{NoFaults, SimulatedBases, SimulatedLog, VirtualClock, at},
};
use reelflow_runtime::{
    bases::{Bases, Worked},
    error::RunError,
    inspect::inspect,
    observe::Blind,
    pipeline,
    settings::Settings,
    worker::{Job, Worker},
};
use reelflow_simulation::{
    input::{self, BEGIN_MS},
    shape::{FOR_EVER_MS, Kind, Shape},
};

/// A pipeline of one task that has bases in a store, and stands still.
struct World {
    log: SimulatedLog,
    store: SimulatedBases,
    job: Job,
    clock: Arc<VirtualClock>,
}

/// Runs until the task has named so many bases of the store.
fn world(n_named: usize) -> World {
    let shape =
        Shape { kind: Kind::Tumbling, n_partitions: 1, lateness_ms: 1_000, horizon_ms: FOR_EVER_MS, emission: Emission::Final };
    let clock = VirtualClock::starting_at(reelflow_core::time::WallTime(BEGIN_MS));
    let log = SimulatedLog::new(clock.clone(), Box::new(NoFaults));
    let (plan, plugins) = shape.build();
    for source in &plan.sources {
        let topic = NewTopic { name: source.topic.clone(), n_partitions: 1, retention: Retention::FromTimestamp };
        log.create_topic(&topic).expect("the model takes a new topic");
    }
    pipeline::prepare(&log, &plan, &Blind).expect("the topics are as the plan needs them");
    let store = SimulatedBases::new();
    let job = Job {
        plan: Arc::new(plan),
        plugins,
        log: Arc::new(log.clone()),
        bases: Some(Arc::new(Bases::new(Arc::new(store.clone()), true))),
        schemas: Arc::new(KnownSchemas::default()),
        clock: clock.clone(),
        settings: Settings {
            commit_interval: Duration::from_millis(10),
            base_after_bytes: 300,
            trim_slack: 1,
            ..Settings::standard("0".into())
        },
        observer: Arc::new(Blind),
        board: None,
    };
    let world = World { log, store, job, clock };
    let mut worker = Worker::new(0, world.job.clone()).expect("native plugins need nothing");
    let mut nth = 0;
    while world.named().len() < n_named {
        let event = input::of_profile(&shape, "plays", format!("p{nth}"), 60_000 * nth);
        input::outgoing(&[event]).iter().for_each(|records| world.log.write(records).expect("the model takes records"));
        for _ in 0..5 {
            worker.step().expect("nothing fails");
            world.clock.advance(Duration::from_millis(20));
        }
        let bases = world.job.bases.as_ref().expect("it was just made");
        while bases.work(world.clock.now(), &Blind) == Worked::Done {}
        nth += 1;
        assert!(nth < 2_000, "bases come");
    }
    worker.stop().expect("nothing fails");
    world
}

impl World {
    /// The bases that are named, the newest first.
    fn named(&self) -> Vec<String> {
        let commits = self.log.commits(&self.job.group());
        let point =
            |commit: &reelflow_ports::log::Commit| commit.metadata.parse::<RecoveryPoint>().expect("the host writes points");
        let stored = commits.values().next().map(|commit| point(commit).stored.newest_first().collect::<Vec<_>>());
        let folder = folder("sim", "plays", 0);
        stored.unwrap_or_default().iter().map(|base| object_name(&folder, base)).collect()
    }

    /// The state, as those see it who only read; or why they cannot.
    fn read(&self) -> Result<(usize, usize), RunError> {
        let tasks = inspect(&self.log, Some(&self.store), &self.job.plan, Guarantee::ExactlyOnce)?;
        Ok((tasks[0].stages.iter().map(|stage| stage.state_bytes).sum(), tasks[0].n_changes))
    }

    fn refused(&self) -> String {
        self.read().expect_err("nobody goes on").to_string()
    }
}

#[test]
fn i_16_the_newest_sound_base_is_taken_and_without_any_nothing_is_started() {
    let world = world(2);
    let (kept, n_changes) = world.read().expect("all is there");
    let [newest, older] = &world.named()[..] else { panic!("it names two") };
    assert_eq!(world.store.names().len(), 2, "others are forgotten: {:?}", world.store.names());
    world.store.damage(newest, 77);
    let (kept_by_older, more_changes) = world.read().expect("the older one is there");
    assert_eq!(kept_by_older, kept);
    assert!(more_changes > n_changes, "its chain is longer");
    world.store.lose(older);
    let why = world.refused();
    let expected = "the state of task \"plays\" [0] cannot be recovered: the store of bases at memory lacks";
    assert!(why.starts_with(expected), "{why}");
    assert!(why.contains(&format!("{newest} (its ")) && why.contains(&format!("{older} (it is not there)")), "{why}");
    let error = inspect(&world.log, None, &world.job.plan, Guarantee::ExactlyOnce).expect_err("it needs a store").to_string();
    assert_eq!(
        error,
        format!(
            "the state of task \"plays\" [0] cannot be recovered: its base {newest} lies in a store, and the manifest names none"
        )
    );
    // Without positions the changelog says the same.
    world.log.expire_commits(&world.job.group());
    assert_eq!(world.refused(), why);
}

#[test]
fn i_16_the_first_base_of_a_store_has_the_changelog_behind_it() {
    let world = world(1);
    let (kept, _) = world.read().expect("all is there");
    let (earliest, _) = world.log.offsets(&at(&world.job.plan.changelog_topic, 0)).expect("the model answers");
    world.store.lose(&world.named()[0]);
    assert_eq!(world.read().map(|(kept, _)| kept), Ok(kept), "the changelog is whole from {earliest} on");
}

/// The object of another task, or of another epoch, under the right name: somebody has moved files.
#[test]
fn i_16_a_base_of_somebody_else_is_not_taken() {
    let world = world(2);
    let [newest, older] = &world.named()[..] else { panic!("it names two") };
    let (kept, _) = world.read().expect("all is there");
    let swapped = reelflow_ports::bases::BaseStore::load(&world.store, older).expect("nothing fails").expect("it is there");
    reelflow_ports::bases::BaseStore::put(&world.store, newest, &swapped).expect("nothing fails");
    assert_eq!(world.read().map(|(kept, _)| kept), Ok(kept));
}
