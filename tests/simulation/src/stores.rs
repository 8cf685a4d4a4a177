//! The store of bases in a run: it fails, loses and damages objects, as its seed decides, and each process has a queue of its own that dies with it.

use std::{collections::BTreeMap, sync::Arc};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use reelflow_core::{
    checkpoint::{
        RecoveryPoint,
        stored::{folder, object_name},
    },
    record::Partition,
};
use reelflow_ports::{
    clock::Clock,
    log::{Guarantee, TopicPartition},
    simulated::{BaseFault, SimulatedBases, SimulatedLog, VirtualClock},
};
use reelflow_runtime::{
    bases::{Bases, Worked},
    observe::Observer,
    worker::Job,
};

/// What happened to bases in a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreReport {
    pub n_named: usize,
    pub n_spoilt: usize,
    pub n_orphans: usize,
}

pub struct Stores {
    rng: ChaCha8Rng,
    store: SimulatedBases,
    clock: Arc<VirtualClock>,
    observer: Arc<dyn Observer>,
    by_slot: BTreeMap<usize, Arc<Bases>>,
    /// Those of processes that were replaced and do not know it.
    of_zombies: Vec<Arc<Bases>>,
    /// Without transactions nobody knows the last commit once positions are forgotten, and may go by the one before, which names another pair.
    spoils: bool,
    /// Objects that are no longer what was written.
    spoilt: Vec<String>,
}

impl Stores {
    pub fn new(seed: u64, guarantee: Guarantee, clock: &Arc<VirtualClock>, observer: Arc<dyn Observer>) -> Stores {
        let store = SimulatedBases::new();
        let mut of_faults = ChaCha8Rng::seed_from_u64(seed ^ 0xba5e_fa17);
        let rate = [0, 500, 3_000][of_faults.random_range(0..3)];
        store.set_faults(Box::new(move |_| match of_faults.random_range(0..10_000) < rate {
            true => [BaseFault::FailBefore, BaseFault::FailAfter][of_faults.random_range(0..2)],
            false => BaseFault::None,
        }));
        Stores {
            rng: ChaCha8Rng::seed_from_u64(seed ^ 0xba5e),
            store,
            clock: clock.clone(),
            observer,
            by_slot: BTreeMap::new(),
            of_zombies: Vec::new(),
            spoils: guarantee == Guarantee::ExactlyOnce,
            spoilt: Vec::new(),
        }
    }

    /// `job` as a new process in `slot` has it.
    pub fn enter(&mut self, slot: usize, job: &Job) -> Job {
        let bases = Arc::new(Bases::new(Arc::new(self.store.clone()), true));
        self.by_slot.insert(slot, bases.clone());
        Job { bases: Some(bases), ..job.clone() }
    }

    /// The process in `slot` was replaced, and lives on.
    pub fn replaced(&mut self, slot: usize) {
        self.of_zombies.extend(self.by_slot.remove(&slot));
    }

    /// The process in `slot` is dead, and what it had not put is lost.
    pub fn died(&mut self, slot: usize) {
        self.by_slot.remove(&slot);
    }

    /// Maybe a thread of some process gets on, maybe an object is spoilt.
    pub fn step(&mut self, log: &SimulatedLog, job: &Job) {
        if self.rng.random_bool(0.2) {
            let all: Vec<Arc<Bases>> = self.by_slot.values().chain(&self.of_zombies).cloned().collect();
            if !all.is_empty() {
                let one = &all[self.rng.random_range(0..all.len())];
                one.work(self.clock.now(), &*self.observer);
            }
        }
        if self.rng.random_bool(0.01) && self.spoils {
            self.spoil(log, job);
        }
    }

    /// Nothing fails from here on.
    pub fn calm(&mut self) {
        self.store.set_faults(Box::new(|_| BaseFault::None));
        self.of_zombies.clear();
    }

    /// Loses or damages one of the bases that some task names, if the other one is sound: two at once are more than is promised.
    fn spoil(&mut self, log: &SimulatedLog, job: &Job) {
        let named = self.named(log, job);
        if named.is_empty() {
            return;
        }
        let of_task = &named[self.rng.random_range(0..named.len())];
        let names = self.store.names();
        if of_task.iter().any(|name| self.spoilt.contains(name) || !names.contains(name)) {
            return;
        }
        let name = &of_task[self.rng.random_range(0..of_task.len())];
        match self.rng.random_bool(0.5) {
            true => self.store.lose(name),
            false => self.store.damage(name, self.rng.random_range(0..10_000)),
        }
        self.spoilt.push(name.clone());
    }

    /// For each task that names any, its bases, the newest first.
    fn named(&self, log: &SimulatedLog, job: &Job) -> Vec<Vec<String>> {
        let points: BTreeMap<(usize, Partition), RecoveryPoint> = log
            .commits(&job.group())
            .into_iter()
            .filter_map(|(at, commit)| Some((place(job, &at)?, commit.metadata.parse().expect("the host writes points"))))
            .collect();
        let names = |((fragment, partition), point): ((usize, Partition), RecoveryPoint)| {
            let folder = folder(&job.plan.name, &job.plan.fragments[fragment].name, partition);
            point.stored.newest_first().map(|base| object_name(&folder, &base)).collect::<Vec<_>>()
        };
        points.into_iter().map(names).filter(|names| !names.is_empty()).collect()
    }

    /// Looks at what is left. Panics if a base that is named is not there, unless it was spoilt.
    pub fn check(&mut self, log: &SimulatedLog, job: &Job) -> StoreReport {
        for bases in self.by_slot.values() {
            // What failed before waits a little.
            self.clock.advance(std::time::Duration::from_secs(60));
            while bases.work(self.clock.now(), &*self.observer) == Worked::Done {}
        }
        let names = self.store.names();
        let named: Vec<String> = self.named(log, job).into_iter().flatten().collect();
        for name in &named {
            assert!(names.contains(name) || self.spoilt.contains(name), "{name} is named, and is gone");
        }
        StoreReport {
            n_named: named.len(),
            n_spoilt: self.spoilt.len(),
            n_orphans: names.iter().filter(|name| !named.contains(name)).count(),
        }
    }
}

/// Fragment and partition of the task that reads `at`.
fn place(job: &Job, at: &TopicPartition) -> Option<(usize, Partition)> {
    let plan = &job.plan;
    let reads = |fragment: &usize| plan.fragments[*fragment].inputs.iter().any(|input| *plan.input_topic(*input) == at.topic);
    (0..plan.fragments.len()).find(reads).map(|fragment| (fragment, at.partition))
}
