//! One run of a seed: workers, time and inputs, one step at a time.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use reelflow_core::{checkpoint::BASE_AFTER_BYTES, time::WallTime};
use reelflow_ports::{
    clock::Clock,
    log::{Guarantee, Log, NewTopic, Retention},
    schemas::KnownSchemas,
    simulated::{NoFaults, SimulatedLog, VirtualClock},
};
use reelflow_runtime::{
    error::RunError,
    finish::Goal,
    pipeline,
    settings::{Alignment, Outage, Settings},
    summary::Summary,
    worker::{Job, Step, Worker},
};

use watch::Watch;

use crate::{
    chaos::Chaos,
    input::{self, BEGIN_MS, Event},
    oracle::{self, Outcome},
    shape::Shape,
    stores::{StoreReport, Stores},
    upgrades::Upgrades,
};

mod draw;
pub mod resets;
mod watch;

/// A run that takes longer than this will not end.
const STEPS_MAX: usize = 200_000;

/// What a run came to, when all was well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// A hash of all that happened at the log.
    pub trace: u64,
    pub n_steps: usize,
    pub n_sealed: usize,
    pub n_crashes: usize,
    pub n_retries: usize,
    /// Code that was accepted, and given up, of a run in which it changes.
    pub n_accepted: usize,
    pub n_rolled_back: usize,
    /// Of a run with a store of bases.
    pub bases: StoreReport,
    pub n_skipped: usize,
}

/// What happens in a run beside crashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Also {
    Nothing,
    /// The code changes.
    Upgrades,
    /// Bases go to a store, which fails as well.
    Stores,
}

/// One process, or a place where one may be started.
struct Slot {
    idx: usize,
    worker: Option<Worker>,
    /// Not stepped before this time: a long pause, a back-off, a restart to come.
    wakes: WallTime,
}

struct Run {
    rng: ChaCha8Rng,
    shape: Shape,
    job: Job,
    clock: Arc<VirtualClock>,
    log: SimulatedLog,
    slots: Vec<Slot>,
    /// Earlier lives that do not know that they were replaced.
    zombies: Vec<Worker>,
    watch: Arc<Watch>,
    n_crashes: usize,
    upgrades: Option<Upgrades>,
    stores: Option<Stores>,
}

/// Runs `seed` to its end. Panics when the outputs are not those of a batch job, with the story.
pub fn run(seed: u64, is_loud: bool) -> Report {
    run_with(seed, is_loud, Also::Nothing)
}

/// [`run`] while the code changes as well: good code and bad, proposed at any time.
pub fn run_with_upgrades(seed: u64, is_loud: bool) -> Report {
    run_with(seed, is_loud, Also::Upgrades)
}

/// [`run`] with bases in a store that fails, loses and damages.
pub fn run_with_stores(seed: u64, is_loud: bool) -> Report {
    run_with(seed, is_loud, Also::Stores)
}

fn run_with(seed: u64, is_loud: bool, also: Also) -> Report {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (shape, guarantee) = draw::draw(&mut rng, seed);
    let shape = if also == Also::Upgrades { shape } else { draw::sometimes_global(shape, seed) };
    // Without transactions what a trial has written stays.
    let guarantee = if also == Also::Upgrades { Guarantee::ExactlyOnce } else { guarantee };
    let events = input::events(&shape, &mut rng);
    if is_loud {
        eprintln!("{shape:?} {guarantee:?} {} events", events.len());
    }
    let mut run = Run::new(seed, rng, shape, guarantee, is_loud);
    run.upgrades = (also == Also::Upgrades).then(|| Upgrades::new(seed, shape, &run.log, &run.clock));
    if also == Also::Stores {
        run.stores = Some(Stores::new(seed, guarantee, &run.clock, run.watch.clone()));
        run.job.settings.base_after_bytes = 300;
    }
    let n_steps = run.chaos(&events) + run.calm();
    run.stop_all();
    let outcome = Outcome::new(
        &run.log.committed_records("out"),
        &run.log.committed_records(&format!("late.{}", shape.last_stage())),
        &run.log.committed_records("dead.sim"),
    );
    oracle::check(&shape, guarantee, &events, &outcome);
    if let Some(upgrades) = &mut run.upgrades {
        upgrades.check(&run.log);
    }
    let bases = run.stores.as_mut().map(|stores| stores.check(&run.log, &run.job)).unwrap_or_default();
    let summary = run.recover_all();
    oracle::check_fates(&shape, guarantee, &events, &outcome, &summary);
    let count = |counter: &Mutex<usize>| *counter.lock().expect("no panic with this lock");
    Report {
        trace: run.log.trace(),
        n_steps,
        n_sealed: count(&run.watch.n_sealed),
        n_crashes: run.n_crashes,
        n_retries: count(&run.watch.n_retries),
        n_accepted: run.upgrades.as_ref().map_or(0, |upgrades| upgrades.n_accepted),
        n_rolled_back: run.upgrades.as_ref().map_or(0, |upgrades| upgrades.n_rolled_back),
        bases,
        n_skipped: count(&run.watch.n_skipped),
    }
}

impl Run {
    fn new(seed: u64, mut rng: ChaCha8Rng, shape: Shape, guarantee: Guarantee, is_loud: bool) -> Run {
        let clock = VirtualClock::starting_at(WallTime(BEGIN_MS));
        let log = SimulatedLog::new(clock.clone(), Box::new(NoFaults));
        let (plan, plugins) = shape.build();
        let watch = Arc::new(Watch { is_loud, ..Watch::default() });
        for source in &plan.sources {
            let topic =
                NewTopic { name: source.topic.clone(), n_partitions: shape.n_partitions, retention: Retention::FromTimestamp };
            log.create_topic(&topic).expect("the model takes a new topic");
        }
        pipeline::prepare(&log, &plan, &*watch).expect("the topics are as the plan needs them");
        log.set_faults(Box::new(Chaos::new(seed)));
        let settings = Settings {
            guarantee,
            commit_interval: Duration::from_millis(rng.random_range(1..500)),
            epoch_records_max: rng.random_range(1..200),
            trim_slack: rng.random_range(1..20),
            // Not drawn either. Few runs are long enough for a base of their own accord.
            base_after_bytes: if seed.is_multiple_of(3) { 300 } else { BASE_AFTER_BYTES },
            alignment: rng.random_bool(0.3).then(|| Alignment {
                max_drift: Duration::from_millis(rng.random_range(1..100_000)),
                piece_records: rng.random_range(1..5),
            }),
            outage: Outage { give_up_after: Duration::from_secs(1_000_000), ..Settings::standard("sim".into()).outage },
            until_end: true,
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
            observer: watch.clone(),
            board: None,
        };
        let n_workers = rng.random_range(1..=3);
        let slots = (0..n_workers).map(|idx| Slot { idx, worker: None, wakes: WallTime(BEGIN_MS) }).collect();
        Run { rng, shape, job, clock, log, slots, zombies: Vec::new(), watch, n_crashes: 0, upgrades: None, stores: None }
    }

    /// Writes all inputs, and their ends, while everything goes wrong that the seed wants.
    fn chaos(&mut self, events: &[Event]) -> usize {
        let n_steps = self.write(events);
        for source in &self.job.plan.sources {
            self.log.write(&input::ends(&source.topic, self.shape.n_partitions)).expect("the model takes records");
        }
        let n_more = self.rng.random_range(0..300);
        (0..n_more).for_each(|_| self.step());
        n_steps + n_more
    }

    fn write(&mut self, events: &[Event]) -> usize {
        let mut rest = events;
        let mut n_steps = 0;
        while !rest.is_empty() {
            n_steps += 1;
            match self.rng.random_range(0..1_000) {
                0..40 => {
                    let (now, later) = rest.split_at(self.rng.random_range(1..=rest.len().min(15)));
                    input::outgoing(now).iter().for_each(|records| self.log.write(records).expect("the model takes records"));
                    rest = later;
                }
                40..120 => self.clock.advance(Duration::from_millis(self.rng.random_range(0..300))),
                120..124 => self.pause(),
                124..127 => self.replace(),
                127..130 => self.leave(),
                130 => self.forget(),
                131..300 if self.upgrades.is_some() => self.upgrade(),
                _ => self.step(),
            }
        }
        n_steps
    }

    /// Lets the workers finish undisturbed.
    fn calm(&mut self) -> usize {
        self.log.set_faults(Box::new(NoFaults));
        self.zombies.clear();
        self.stores.iter_mut().for_each(|stores| stores.calm());
        let goal = Goal::at_start(&self.log, &self.job.plan).expect("the model answers");
        for n_steps in 0..STEPS_MAX {
            self.step();
            if let Some(upgrades) = &mut self.upgrades {
                upgrades.step();
            }
            if n_steps % 20 == 0 && goal.is_reached(&self.log, &self.job.plan, &self.job.group()).unwrap_or(false) {
                return n_steps;
            }
        }
        panic!("the run did not end within {STEPS_MAX} steps; committed: {:?}", self.log.commits(&self.job.group()));
    }

    /// Something happens to the code.
    fn upgrade(&mut self) {
        let Some(upgrades) = &mut self.upgrades else { return };
        if self.rng.random_bool(0.03) { upgrades.propose() } else { upgrades.step() }
    }

    /// One step of one worker.
    fn step(&mut self) {
        self.clock.advance(Duration::from_millis(1));
        self.stores.iter_mut().for_each(|stores| stores.step(&self.log, &self.job));
        if !self.zombies.is_empty() && self.rng.random_bool(0.3) {
            let zombie_idx = self.rng.random_range(0..self.zombies.len());
            // A zombie that has noticed is gone: a real one would join again and fence the living for ever.
            if !matches!(unwrap(self.zombies[zombie_idx].step()), Step::Busy | Step::Idle) {
                self.zombies.remove(zombie_idx);
            }
            self.bury();
            return;
        }
        let slot_idx = self.rng.random_range(0..self.slots.len());
        let now = self.clock.now();
        let slot = &mut self.slots[slot_idx];
        if slot.wakes > now {
            return;
        }
        if slot.worker.is_none() {
            let job = match (&mut self.upgrades, &mut self.stores) {
                (Some(upgrades), _) => upgrades.enter(slot.idx, &self.job),
                (None, Some(stores)) => Some(stores.enter(slot.idx, &self.job)),
                (None, None) => Some(self.job.clone()),
            };
            slot.worker = job.map(|job| Worker::new(slot.idx, job).expect("native plugins need nothing"));
        }
        let Some(worker) = &mut slot.worker else { return };
        if let Step::Retry { after } = unwrap(worker.step()) {
            slot.wakes = later(now, after.as_millis() as i64);
        }
        self.bury();
    }

    /// Takes the dead away; they come back after a while, with the same name.
    fn bury(&mut self) {
        for member in self.log.take_crashed() {
            self.n_crashes += 1;
            let of_slot = |slot: &&mut Slot| member.ends_with(&format!(".{}", slot.idx));
            if let Some(slot) = self.slots.iter_mut().find(of_slot) {
                slot.worker = None;
                self.stores.iter_mut().for_each(|stores| stores.died(slot.idx));
                let after_ms = [0, 50, 1_000, 15_000][self.rng.random_range(0..4)];
                slot.wakes = later(self.clock.now(), after_ms);
            }
        }
    }

    /// Freezes a process, maybe for longer than its session lives.
    fn pause(&mut self) {
        let slot_idx = self.rng.random_range(0..self.slots.len());
        self.slots[slot_idx].wakes = later(self.clock.now(), self.rng.random_range(0..30_000));
    }

    /// Starts a process a second time while the first one is still there.
    fn replace(&mut self) {
        let slot_idx = self.rng.random_range(0..self.slots.len());
        self.zombies.extend(self.slots[slot_idx].worker.take());
        self.stores.iter_mut().for_each(|stores| stores.replaced(slot_idx));
    }

    /// Stops a process as an operator does; it may come back.
    fn leave(&mut self) {
        let slot_idx = self.rng.random_range(0..self.slots.len());
        let slot = &mut self.slots[slot_idx];
        slot.wakes = later(self.clock.now(), self.rng.random_range(0..5_000));
        slot.worker.take().into_iter().for_each(stop);
        self.bury();
    }

    /// Everybody is gone for so long that the log forgets the positions.
    fn forget(&mut self) {
        self.zombies.clear();
        self.stop_all();
        self.bury();
        self.log.expire_commits(&self.job.group());
    }

    fn stop_all(&mut self) {
        self.slots.iter_mut().filter_map(|slot| slot.worker.take()).for_each(stop);
        // Until then the open transactions of the dead hide what was committed behind them.
        self.clock.advance(self.job.settings.transaction_timeout * 2);
        self.log.topics().expect("the model answers");
    }

    /// A fresh worker takes over everything and finds the same totals; it has nothing left to do.
    fn recover_all(&mut self) -> Summary {
        let count = |watch: &Watch| *watch.n_recovered.lock().expect("no panic with this lock");
        let before = count(&self.watch);
        let job = match (&mut self.upgrades, &mut self.stores) {
            (Some(upgrades), _) => upgrades.enter(9, &self.job).expect("nothing fails any more"),
            (None, Some(stores)) => stores.enter(9, &self.job),
            (None, None) => self.job.clone(),
        };
        let mut worker = Worker::new(9, job).expect("native plugins need nothing");
        while count(&self.watch) == before {
            unwrap(worker.step());
        }
        let recovered = worker.summary(Duration::ZERO);
        for _ in 0..50 {
            unwrap(worker.step());
        }
        let after = worker.summary(Duration::ZERO);
        assert_eq!((after.records_read, after.records_written), (0, 0), "nothing was left to do");
        recovered
    }
}

/// Stops a worker. It may find out only now that it was replaced long ago.
fn stop(worker: Worker) {
    match worker.stop() {
        Err(RunError::Log(error)) if error.ends_only_the_session() => {}
        ended => ended.expect("a worker stops"),
    }
}

fn later(now: WallTime, ms: i64) -> WallTime {
    WallTime(now.0 + ms)
}

fn unwrap(step: Result<Step, RunError>) -> Step {
    step.unwrap_or_else(|error| panic!("a worker stopped for good: {error}"))
}
