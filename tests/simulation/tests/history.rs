//! I-6: whatever fails, and whoever dies, a history lies in the log once and in its order.

use std::{sync::Arc, time::Duration};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use reelflow_core::{
    plan::{Emission, SourceIdx},
    record::{END_KEY, WATERMARK_KEY},
    time::WallTime,
};
use reelflow_ports::{
    history::{HistoryError, Remembered, RememberedRecord},
    schemas::KnownSchemas,
    simulated::{NoFaults, SimulatedLog, VirtualClock},
};
use reelflow_runtime::{
    error::RunError,
    load::Loader,
    observe::Blind,
    pipeline,
    settings::{Outage, Settings},
    worker::{Job, Step},
};
use reelflow_simulation::{
    chaos::Chaos,
    input::BEGIN_MS,
    shape::{FOR_EVER_MS, Kind, Shape},
};

const N_PARTITIONS: u32 = 3;
/// Loading that takes longer than this will not end.
const STEPS_MAX: usize = 200_000;

fn records(rng: &mut ChaCha8Rng, sources: std::ops::Range<SourceIdx>) -> Vec<RememberedRecord> {
    (0..rng.random_range(1..150))
        .map(|n| {
            let (source, partition) = (rng.random_range(sources.clone()), rng.random_range(0..N_PARTITIONS));
            (source, partition, n, (n % 3 > 0).then(|| vec![n as u8]), format!("record {n}").into_bytes())
        })
        .collect()
}

fn job(log: &SimulatedLog, clock: &Arc<VirtualClock>) -> Job {
    let shape = Shape {
        kind: Kind::Join,
        n_partitions: N_PARTITIONS,
        lateness_ms: 0,
        horizon_ms: FOR_EVER_MS,
        emission: Emission::Final,
    };
    let (plan, plugins) = shape.build();
    // No failure is final here.
    let outage = Outage { give_up_after: Duration::from_secs(1 << 20), ..Outage::standard() };
    let settings = Settings { epoch_records_max: 7, outage, ..Settings::standard("load".into()) };
    let (log, clock, observer) = (Arc::new(log.clone()), clock.clone(), Arc::new(Blind));
    let job = Job {
        plan: Arc::new(plan.of_history()),
        plugins,
        log,
        bases: None,
        schemas: Arc::new(KnownSchemas::default()),
        clock,
        settings,
        observer,
        board: None,
    };
    pipeline::prepare_history(&*job.log, &job.plan, &Blind).expect("the model takes new topics");
    job
}

/// Steps loaders, one life after the other, until one is done. Gives how many lives there were.
fn load(
    job: &Job,
    log: &SimulatedLog,
    clock: &VirtualClock,
    records: &[RememberedRecord],
    rng: &mut ChaCha8Rng,
) -> Result<usize, RunError> {
    let begin = || Loader::new(job.clone(), Box::new(Remembered::new("these", records.to_vec())), false);
    let (mut loader, mut n_lives) = (begin(), 1);
    for _ in 0..STEPS_MAX {
        clock.advance(Duration::from_millis(1));
        if let Step::Retry { after } = loader.step()? {
            clock.advance(after);
        }
        if loader.is_ended() {
            return Ok(n_lives);
        }
        if !log.take_crashed().is_empty() || rng.random_bool(0.02) {
            (loader, n_lives) = (begin(), n_lives + 1);
        }
    }
    panic!("loading did not end within {STEPS_MAX} steps");
}

fn check(log: &SimulatedLog, job: &Job, records: &[RememberedRecord]) {
    for (source, plan) in job.plan.sources.iter().enumerate() {
        let found = log.committed_records(&plan.topic);
        for (partition, found) in (0..).zip(&found) {
            let of_partition = records.iter().filter(|one| (one.0, one.1) == (source, partition));
            let mut expected: Vec<_> = of_partition.map(|one| (one.2, one.3.clone(), Some(one.4.clone()))).collect();
            let mut found: Vec<_> = found.iter().map(|one| (one.timestamp_ms, one.key.clone(), one.value.clone())).collect();
            let end = |one: &(i64, Option<Vec<u8>>, Option<Vec<u8>>)| one.1.as_deref() == Some(END_KEY);
            assert!(found.iter().filter(|one| end(one)).count() == 1, "{}[{partition}] is ended once", plan.topic);
            // Where nothing was to come, nothing holds the others back.
            let has_history = records.iter().any(|one| one.0 == source);
            assert!(end(found.last().expect("the end")) && (has_history || found.len() == 1));
            found.retain(|one| !end(one));
            // Behind a promise nothing older comes.
            let mut promised = i64::MIN;
            found.retain(|one| {
                assert!(one.0 >= promised, "{}[{partition}] at {} is promised", plan.topic, promised);
                let is_promise = one.1.as_deref() == Some(WATERMARK_KEY);
                promised = if is_promise { one.0 } else { promised };
                !is_promise
            });
            assert_eq!(found, std::mem::take(&mut expected), "{}[{partition}]", plan.topic);
        }
    }
}

#[test]
fn i_6_a_history_is_loaded_once_whatever_fails() {
    let mut n_lives = 0;
    for seed in 0..300 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let clock = VirtualClock::starting_at(WallTime(BEGIN_MS));
        let log = SimulatedLog::new(clock.clone(), Box::new(Chaos::new(seed)));
        let job = job(&log, &clock);
        let sources = if seed % 3 == 0 { 0..1 } else { 0..2 };
        let records = records(&mut rng, sources);
        n_lives += load(&job, &log, &clock, &records, &mut rng).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        // Until then the open transactions of the dead hide what was committed behind them.
        clock.advance(job.settings.transaction_timeout * 2);
        reelflow_ports::log::Log::topics(&log).expect("the model answers");
        check(&log, &job, &records);
    }
    assert!(n_lives > 600, "only {n_lives} lives: the seeds try something");
}

#[test]
fn other_records_and_a_forgotten_count_are_refused() {
    let clock = VirtualClock::starting_at(WallTime(BEGIN_MS));
    let log = SimulatedLog::new(clock.clone(), Box::new(NoFaults));
    let job = job(&log, &clock);
    let records = records(&mut ChaCha8Rng::seed_from_u64(1), 0..2);
    let refusal = |history: Remembered| {
        let mut loader = Loader::new(job.clone(), Box::new(history), false);
        for _ in 0..STEPS_MAX {
            clock.advance(Duration::from_millis(1));
            match loader.step() {
                Err(RunError::History(why)) => return Some(why),
                Err(error) => panic!("another error: {error}"),
                Ok(_) if loader.is_ended() => return None,
                Ok(_) => {}
            }
        }
        panic!("loading did not end");
    };
    assert_eq!(refusal(Remembered::new("these", records.clone())), None);
    check(&log, &job, &records);
    assert_eq!(refusal(Remembered::new("these", records.clone())), None);
    check(&log, &job, &records);
    let changed = HistoryError::Changed { was: "these".to_owned(), is: "others".to_owned() };
    assert_eq!(refusal(Remembered::new("others", records.clone())), Some(changed));
    log.expire_commits(&format!("{}.history", job.group()));
    let uncounted = HistoryError::Uncounted(job.plan.sources[0].topic.clone());
    assert_eq!(refusal(Remembered::new("these", records)), Some(uncounted));
}
