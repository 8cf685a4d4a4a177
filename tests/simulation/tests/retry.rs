//! I-6: whatever fails, and whoever dies, a dead letter's record is put back once.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use rand::{Rng, SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use reelflow_core::{
    letter::retried::Retried,
    plan::{Emission, Plan},
    record::{Outgoing, Partition},
    time::WallTime,
};
use reelflow_ports::{
    log::{Log, NewTopic, Retention},
    simulated::{NoFaults, SimulatedLog, VirtualClock, at},
};
use reelflow_runtime::{
    error::RunError,
    retry::{PutBack, RetriedError, Retrier, Step, retried},
    settings::{Outage, Settings},
};
use reelflow_simulation::{
    chaos::Chaos,
    input::BEGIN_MS,
    shape::{FOR_EVER_MS, Kind, Shape},
};

const N_PARTITIONS: u32 = 3;
const N_LETTERS: i64 = 100;
/// A retry that takes longer than this will not end.
const STEPS_MAX: usize = 200_000;

struct World {
    plan: Plan,
    log: SimulatedLog,
    clock: Arc<VirtualClock>,
    settings: Settings,
}

impl World {
    fn new() -> World {
        let shape = Shape {
            kind: Kind::Join,
            n_partitions: N_PARTITIONS,
            lateness_ms: 0,
            horizon_ms: FOR_EVER_MS,
            emission: Emission::Final,
        };
        let clock = VirtualClock::starting_at(WallTime(BEGIN_MS));
        let log = SimulatedLog::new(clock.clone(), Box::new(NoFaults));
        let (plan, _) = shape.build();
        let topics = plan.sources.iter().map(|source| &source.topic).chain([&plan.dead_letter_topic]);
        for name in topics {
            let topic = NewTopic { name: name.clone(), n_partitions: N_PARTITIONS, retention: Retention::FromArrival };
            log.create_topic(&topic).expect("the model takes new topics");
        }
        let mut letters = Outgoing::new(plan.dead_letter_topic.clone());
        for partition in 0..N_PARTITIONS {
            (0..N_LETTERS).for_each(|n| letters.push(partition, n, None, Some(b"a letter"), &[]));
        }
        log.write(&letters).expect("the topic is there");
        // No failure is final here.
        let outage = Outage { give_up_after: Duration::from_secs(1 << 20), ..Outage::standard() };
        let settings = Settings { outage, ..Settings::standard("0".into()) };
        World { plan, log, clock, settings }
    }

    fn retrier(&self) -> Retrier {
        Retrier::new(Arc::new(self.log.clone()), self.clock.clone(), &self.plan, &self.settings)
    }

    fn put_back(&self, letter: (Partition, i64)) -> PutBack {
        PutBack {
            letter,
            topic: self.plan.sources[(letter.1 % 2) as usize].topic.clone(),
            partition: letter.0,
            timestamp_ms: 7,
            key: None,
            value: Some(format!("{}:{}", letter.0, letter.1).into_bytes()),
            headers: Vec::new(),
        }
    }

    /// Puts `batches` back, by one life after the other until all is done; a new life begins from the start. Gives how many there were.
    fn put_all(&self, batches: &[Vec<PutBack>], rng: &mut ChaCha8Rng) -> Result<usize, RunError> {
        let (mut retrier, mut n_lives, mut next) = (self.retrier(), 1, 0);
        for _ in 0..STEPS_MAX {
            let Some(batch) = batches.get(next) else { return Ok(n_lives) };
            self.clock.advance(Duration::from_millis(1));
            match retrier.step(batch)? {
                Step::Done => next += 1,
                Step::Again => {}
                Step::Trouble { after, .. } => self.clock.advance(after),
            }
            if !self.log.take_crashed().is_empty() || rng.random_bool(0.02) {
                (retrier, n_lives, next) = (self.retrier(), n_lives + 1, 0);
            }
        }
        panic!("putting back did not end within {STEPS_MAX} steps");
    }

    /// How often each letter's record lies in the topics of sources.
    fn found(&self) -> BTreeMap<String, usize> {
        let mut found = BTreeMap::new();
        for source in &self.plan.sources {
            for record in self.log.committed_records(&source.topic).into_iter().flatten() {
                let value = String::from_utf8(record.value.expect("it has one")).expect("it is text");
                *found.entry(value).or_default() += 1;
            }
        }
        found
    }

    fn retried(&self) -> Result<Retried, RunError> {
        retried(&self.log, &self.plan.name, &self.plan.dead_letter_topic)
    }
}

/// Some of all letters, in any order, some more than once, in batches.
fn batches(world: &World, rng: &mut ChaCha8Rng) -> (BTreeSet<(Partition, i64)>, Vec<Vec<PutBack>>) {
    let share = rng.random_range(0.1..1.0);
    let all = (0..N_PARTITIONS).flat_map(|partition| (0..N_LETTERS).map(move |offset| (partition, offset)));
    let chosen: BTreeSet<_> = all.filter(|_| rng.random_bool(share)).collect();
    let mut order: Vec<_> = chosen.iter().copied().chain(chosen.iter().copied().take(5)).collect();
    order.shuffle(rng);
    let n_batch = rng.random_range(8..40);
    let batches = order.chunks(n_batch).map(|letters| letters.iter().map(|one| world.put_back(*one)).collect()).collect();
    (chosen, batches)
}

#[test]
fn i_6_a_dead_letter_is_put_back_once_whatever_fails() {
    let mut n_lives = 0;
    for seed in 0..300 {
        let world = World::new();
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut all = BTreeSet::new();
        // Several retries, whose letters overlap.
        for _ in 0..3 {
            let (chosen, batches) = batches(&world, &mut rng);
            world.log.set_faults(Box::new(Chaos::new(seed)));
            n_lives += world.put_all(&batches, &mut rng).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            all.extend(chosen);
        }
        world.log.set_faults(Box::new(NoFaults));
        // Until then the open transactions of the dead hide what was committed behind them.
        world.clock.advance(world.settings.transaction_timeout * 2);
        let expected: BTreeMap<String, usize> =
            all.iter().map(|(partition, offset)| (format!("{partition}:{offset}"), 1)).collect();
        assert_eq!(world.found(), expected, "seed {seed}");
        let retried = world.retried().expect("the model answers");
        assert_eq!(retried.len(), all.len() as u64, "seed {seed}");
        assert!(all.iter().all(|(partition, offset)| retried.contains(*partition, *offset)), "seed {seed}");
    }
    assert!(n_lives > 1_800, "only {n_lives} lives: the seeds try something");
}

/// The topic of marks does not grow with the number of retries, and forgets letters that are gone.
#[test]
fn marks_are_united_and_those_of_gone_letters_forgotten() {
    let world = World::new();
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let letter = |n: i64| (n as u32 % N_PARTITIONS, n / i64::from(N_PARTITIONS));
    let batches: Vec<Vec<PutBack>> = (0..290).map(|n| vec![world.put_back(letter(n))]).collect();
    for batches in batches.chunks(29) {
        world.put_all(batches, &mut rng).expect("nothing fails");
    }
    let marks = world.log.committed_records(&format!("reel.{}.retried", world.plan.name));
    assert!(marks[0].len() < 100, "{} marks of 290 transactions", marks[0].len());
    assert_eq!(world.retried().expect("it is readable").len(), 290);
    for partition in 0..N_PARTITIONS {
        world.log.trim(&at(&world.plan.dead_letter_topic, partition), 20).expect("it is there");
    }
    assert_eq!(world.retried().expect("it is readable").len(), 290 - 60);
}

/// What cannot be known is not guessed.
#[test]
fn marks_that_make_no_sense_are_refused() {
    let world = World::new();
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let put = |letter| world.put_all(&[vec![world.put_back(letter)]], &mut rng.clone());
    put((0, N_LETTERS - 1)).expect("nothing fails");
    put((0, N_LETTERS)).expect("the retrier does not look at letters");
    let error = put((1, 0)).expect_err("that letter is not there");
    assert!(matches!(error, RunError::Retried(RetriedError::Replaced { retried: N_LETTERS, end: N_LETTERS, .. })), "{error}");

    let world = World::new();
    world.put_all(&[vec![world.put_back((0, 0))]], &mut rng).expect("nothing fails");
    let topic = format!("reel.{}.retried", world.plan.name);
    let mut damaged = Outgoing::new(topic.as_str().into());
    damaged.push(0, 0, None, Some(b"\x01 no mark"), &[]);
    world.log.write(&damaged).expect("the topic is there");
    let error = world.retried().expect_err("it is no mark");
    assert!(matches!(error, RunError::Retried(RetriedError::Unreadable { .. })), "{error}");
}
