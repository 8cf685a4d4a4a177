//! The main job on a real Apache Kafka, as large as CI affords, calm and under fire.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use reelflow_broker_tests::Broker;
use reelflow_pipelines::{Job, Lateness, LogKind, workload};

mod feeder;
mod processes;

use feeder::Feeder;
use processes::{Process, create_topics, finish, leave, log_end, start};

const N_EVENTS: u64 = 400_000;
const SEED: u64 = 1;

/// Two workers, everything there from the start, nothing late.
fn calm() -> Result<Job> {
    let data = workload(N_EVENTS, SEED);
    let broker = Broker::start()?;
    let job = Job::personalization(&LogKind::Kafka(broker.bootstrap()), Lateness::Complete)?;
    create_topics(&job)?;
    Feeder::new(&broker.bootstrap(), &data)?.feed_all()?;
    job.run_to_end(&["--workers", "2"])?;
    job.dump()?;
    job.oracle("fates", &data)?;
    job.oracle("personalization", &data)?;
    Ok(job)
}

/// While records come in, a slice after the other, so that what comes late is late: of two topics that are read at once the one may be days ahead,
/// and the slower one decides.
#[test]
fn bounded_lateness_equals_batch_without_the_late() -> Result<()> {
    let data = workload(N_EVENTS, SEED);
    let broker = Broker::start()?;
    let job = Job::personalization(&LogKind::Kafka(broker.bootstrap()), Lateness::Bounded)?;
    create_topics(&job)?;
    let mut feeder = Feeder::new(&broker.bootstrap(), &data)?;
    let processes: BTreeMap<&str, Process> = [("a", start(&job, "a")?), ("b", start(&job, "b")?)].into();
    while feeder.feed_slice(4_000)? {
        feeder.wait_until_read().with_context(|| format!("{}{}", log_end(&job, "a"), log_end(&job, "b")))?;
    }
    finish(&job, processes)?;
    job.dump()?;
    job.oracle("fates", &data)?;
    let table = job.oracle("personalization", &data)?;
    for dataset in ["d1 ", "d3 ", "d10 "] {
        let has_late = table.lines().any(|line| line.starts_with(dataset) && !line.ends_with(" 0"));
        ensure!(has_late, "{dataset}: nothing was late:\n{table}");
    }
    Ok(())
}

/// R3 and R5: 20 kills of the processes and 3 of the broker, while records come in; the rows are those of a calm run.
#[test]
fn kills_and_restarts_change_no_row() -> Result<()> {
    const N_KILLS: usize = 20;
    let data = workload(N_EVENTS, SEED);
    let mut broker = Broker::start()?;
    let job = Job::personalization(&LogKind::Kafka(broker.bootstrap()), Lateness::Complete)?;
    create_topics(&job)?;
    let feeder = Arc::new(Mutex::new(Feeder::new(&broker.bootstrap(), &data)?));
    let feeding = thread::spawn({
        let feeder = feeder.clone();
        // In slices, so that there is always something left to be killed in.
        move || -> Result<()> {
            loop {
                let more = feeder.lock().unwrap_or_else(PoisonError::into_inner).feed_slice(8_000)?;
                if !more {
                    return Ok(());
                }
                thread::sleep(Duration::from_millis(700));
            }
        }
    });
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let mut processes: BTreeMap<&str, Process> = BTreeMap::new();
    for name in ["a", "b"] {
        processes.insert(name, start(&job, name)?);
    }
    for kill in 0..N_KILLS {
        thread::sleep(Duration::from_millis(rng.random_range(200..2_500)));
        if [5, 10, 15].contains(&kill) {
            // Nothing may be in the air from the feeder: it would not know what arrived.
            let guard = feeder.lock().unwrap_or_else(PoisonError::into_inner);
            broker.kill()?;
            broker.restart()?;
            drop(guard);
        }
        let name = if rng.random_bool(0.5) { "a" } else { "b" };
        let victim = processes.get_mut(name).context("both run")?;
        victim.kill()?;
        *victim = start(&job, name)?;
    }
    feeding.join().expect("the feeder does not panic")?;
    finish(&job, processes)?;
    job.dump()?;
    job.oracle("fates", &data)?;
    job.oracle("personalization", &data)?;

    let undisturbed = calm()?;
    assert!(undisturbed.canonical()? == job.canonical()?, "the rows differ from those of an undisturbed run");
    Ok(())
}

/// Processes come and go while records come in: 1, then 4, then 2. Who is asked to leave seals its epoch and says so with exit code 0.
#[test]
fn rescaling_changes_no_row() -> Result<()> {
    let data = workload(60_000, 11);
    let broker = Broker::start()?;
    // Partitions are paused and resumed by the way.
    let complete = [("lateness = \"6h\"", "lateness = \"8d\""), ("lateness = \"2m\"", "lateness = \"8d\"")];
    let aligned = ("commit_interval = \"500ms\"", "commit_interval = \"500ms\"\nmax_drift = \"10m\"");
    let edits = [complete[0], complete[1], aligned];
    let job = Job::example("personalization", &LogKind::Kafka(broker.bootstrap()), &edits)?;
    create_topics(&job)?;
    let mut feeder = Feeder::new(&broker.bootstrap(), &data)?;
    let mut feed = |n_slices: usize| -> Result<()> {
        for _ in 0..n_slices {
            feeder.feed_slice(2_000)?;
            thread::sleep(Duration::from_millis(150));
        }
        Ok(())
    };
    let mut processes: BTreeMap<&str, Process> = [("a", start(&job, "a")?)].into();
    feed(10)?;
    for name in ["b", "c", "d"] {
        processes.insert(name, start(&job, name)?);
    }
    feed(12)?;
    for name in ["a", "c"] {
        leave(processes.remove(name).context("it runs")?).with_context(|| log_end(&job, name))?;
    }
    feed(60)?;
    finish(&job, processes)?;
    job.dump()?;
    job.oracle("fates", &data)?;
    job.oracle("personalization", &data)?;
    Ok(())
}

/// At least once: rows may stand twice, counts are right.
#[test]
fn at_least_once_counts_once() -> Result<()> {
    let data = workload(60_000, 11);
    let broker = Broker::start()?;
    let text = [
        ("guarantee = \"exactly-once\"", "guarantee = \"at-least-once\""),
        ("lateness = \"6h\"", "lateness = \"8d\""),
        ("lateness = \"2m\"", "lateness = \"8d\""),
    ];
    let job = Job::example("personalization", &LogKind::Kafka(broker.bootstrap()), &text)?;
    create_topics(&job)?;
    Feeder::new(&broker.bootstrap(), &data)?.feed_all()?;
    for _ in 0..4 {
        let mut process = start(&job, "a")?;
        thread::sleep(Duration::from_millis(1_500));
        process.kill()?;
    }
    job.run_to_end(&["--instance", "a"])?;
    job.dump()?;
    job.oracle("fates", &data)?;
    Ok(())
}
