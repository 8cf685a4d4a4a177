//! Code that changes while a pipeline runs, on a real Apache Kafka: swapped under load, killed in between, given up when it is bad.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    process::{Command, Output},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use reelflow_broker_tests::Broker;
use reelflow_pipelines::{Job, Lateness, LogKind, prepared, said, variant, workload};
use serde_json::Value;

mod anew;
#[path = "../feeder/mod.rs"]
mod feeder;
mod life;
#[path = "../processes/mod.rs"]
mod processes;
mod project;
mod readers;
mod watched;

use feeder::Feeder;
use processes::{Process, create_topics, finish, leave, log_end, start};
use readers::Reader;

/// Gives the job a folder of components of its own, which may be changed.
fn own_components(job: &Job) -> Result<()> {
    let plugins = job.path().join("plugins");
    fs::remove_file(&plugins)?;
    fs::create_dir(&plugins)?;
    for entry in fs::read_dir(prepared("plugins"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "wasm") {
            fs::copy(&path, plugins.join(path.file_name().context("a file has a name")?))?;
        }
    }
    Ok(())
}

/// Another variant of the plugins of the pipeline, but for one that stays.
fn swap(job: &Job, originals: &BTreeMap<&str, Vec<u8>>, nth: usize) -> Result<()> {
    for (name, original) in originals {
        let bytes = if nth.is_multiple_of(2) { variant(original, 1) } else { original.clone() };
        fs::write(job.path().join("plugins").join(name), bytes)?;
    }
    Ok(())
}

fn reload(job: &Job, args: &[&str]) -> Result<Output> {
    job.reel(&[&["reload"], args].concat()).output().context("start reel")
}

/// Waits until the pipeline has said what it runs, so that its history can be asked for.
fn await_start(history: impl Fn() -> Command, log: impl Fn() -> String) -> Result<()> {
    let begin = Instant::now();
    while !history().output()?.status.success() {
        ensure!(begin.elapsed() < Duration::from_secs(60), "it did not start:\n{}", log());
        thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}

/// Of each partition of `topic` which code made its records, in their order: runs of equal makers.
fn makers(job: &Job, topic: &str) -> Result<BTreeMap<u64, Vec<String>>> {
    let mut found: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    for line in job.read(&["topic", "read", topic, "--format", "json"])?.lines() {
        let record: Value = serde_json::from_str(line)?;
        let maker = record["headers"]["reel-plugin"].as_str().with_context(|| format!("{topic}: nobody made {line}"))?;
        let of_partition = found.entry(record["partition"].as_u64().context("a partition")?).or_default();
        if of_partition.last().is_none_or(|last| last != maker) {
            of_partition.push(maker.to_owned());
        }
    }
    Ok(found)
}

/// How many records the topic of components has.
fn n_component_records(job: &Job) -> Result<u64> {
    let topics: Value = serde_json::from_str(&job.read(&["topic", "list", "--format", "json"])?)?;
    let mut topics = topics["topics"].as_array().context("a list of topics")?.iter();
    let found = topics.find(|topic| topic["topic"] == "reel.personalization.components");
    found.and_then(|topic| topic["offsets"].as_u64()).context("the topic of components is there")
}

/// What the processes said of their pauses, in ms.
fn pauses(job: &Job, names: &[&str]) -> Result<Vec<u64>> {
    let mut found = Vec::new();
    for name in names {
        for line in fs::read_to_string(job.path().join(format!("{name}.log")))?.lines() {
            if let Some((_, rest)) = line.split_once("after a pause of ") {
                found.push(rest.split(' ').next().and_then(|ms| ms.parse().ok()).context("a number of ms")?);
            }
        }
    }
    found.sort_unstable();
    Ok(found)
}

const SWAPPED: [&str; 2] = ["clean_heartbeats.wasm", "trending.wasm"];

fn originals(job: &Job) -> Result<BTreeMap<&'static str, Vec<u8>>> {
    SWAPPED.into_iter().map(|name| Ok((name, fs::read(job.path().join("plugins").join(name))?))).collect()
}

/// Feeds at most `n_slices` slices of so many records, about three quarters of all, until it is told that this is enough. What is left is for a run
/// that ends.
fn feed(mut feeder: Feeder, n_slices: usize, slice: usize, is_enough: Arc<AtomicBool>) -> thread::JoinHandle<Result<Feeder>> {
    thread::spawn(move || {
        for _ in 0..n_slices {
            if is_enough.load(Ordering::Relaxed) {
                break;
            }
            feeder.feed_slice(slice)?;
            // As many a second, whatever the slice.
            thread::sleep(Duration::from_micros(800 * slice as u64));
        }
        Ok(feeder)
    })
}

/// 20 swaps while records come in: no row is lost, doubled or changed, each says which code made it, and each partition has one clean cut a swap. Nobody
/// leaves the group for it.
#[test]
fn twenty_swaps_under_load_change_no_row() -> Result<()> {
    const N_SWAPS: usize = 20;
    let data = workload(120_000, 5);
    let broker = Broker::start()?;
    let job = Job::personalization(&LogKind::Kafka(broker.bootstrap()), Lateness::Complete)?;
    own_components(&job)?;
    let originals = originals(&job)?;
    create_topics(&job)?;
    let processes: BTreeMap<&str, Process> = [("a", start(&job, "a")?), ("b", start(&job, "b")?)].into();
    await_start(|| job.reel(&["history"]), || log_end(&job, "a"))?;
    let is_enough = Arc::new(AtomicBool::new(false));
    let feeding = feed(Feeder::new(&broker.bootstrap(), &data)?, 1_500, 60, is_enough.clone());
    let reader = Reader::start(&broker.bootstrap(), "clean_playback_events")?;
    let mut swaps = Vec::new();
    let mut n_half_way = 0;
    for nth in 0..N_SWAPS {
        swap(&job, &originals, nth)?;
        reader.await_commits(5);
        let begin = Instant::now();
        let output = reload(&job, &["--wait", "60"])?;
        ensure!(output.status.success(), "swap {nth}: {}{}{}", said(&output), log_end(&job, "a"), log_end(&job, "b"));
        swaps.push((begin, Instant::now()));
        if nth + 1 == N_SWAPS / 2 {
            n_half_way = n_component_records(&job)?;
        }
    }
    reader.await_commits(5);
    let seen = reader.stop()?;
    let n_now = n_component_records(&job)?;
    ensure!(
        0 < n_now && n_now <= n_half_way,
        "components of old proposals stay: {n_half_way} records after half of the swaps, now {n_now}"
    );
    is_enough.store(true, Ordering::Relaxed);
    let mut feeder = feeding.join().expect("the feeder does not panic")?;
    feeder.wait_until_read()?;
    for (name, process) in processes {
        leave(process).with_context(|| log_end(&job, name))?;
    }
    let told = ["a", "b"].map(|name| fs::read_to_string(job.path().join(format!("{name}.log"))));
    feeder.feed_all()?;
    finish(&job, BTreeMap::new())?;
    job.dump()?;
    job.oracle("fates", &data)?;
    job.oracle("personalization", &data)?;

    let all = makers(&job, "clean_playback_events")?;
    let codes: BTreeSet<&String> = all.values().flatten().collect();
    ensure!(codes.len() == 2, "both codes have made rows: {codes:?}");
    for (partition, runs) in &all {
        // One task writes each partition of this topic: its rows keep their source's key.
        ensure!(runs.len() <= N_SWAPS + 1, "partition {partition} has {} runs of equal code", runs.len());
    }
    ensure!(makers(&job, "trending")?.values().flatten().all(|maker| maker.starts_with("trending@")), "another plugin made it");
    for text in told {
        let text = text?;
        ensure!(!text.contains("lost its partitions") && !text.contains("trying again"), "a session was lost:\n{text}");
        ensure!(text.matches("accepted: ").count() == N_SWAPS, "not every swap was accepted:\n{text}");
    }
    let pauses = pauses(&job, &["a", "b"])?;
    let p99 = pauses[(pauses.len() * 99).div_ceil(100) - 1];
    seen.print(&swaps);
    println!("{} pauses of workers, median {} ms, p99 {p99} ms", pauses.len(), pauses[pauses.len() / 2]);
    let history: Value = serde_json::from_str(&job.read(&["history", "--format", "json"])?)?;
    let entries = history.as_array().context("a list")?;
    let n_reloaded = entries.iter().filter(|entry| entry["how"] == "reloaded" && entry["verdict"] == "accepted").count();
    // Beside the starts: of both processes, and the last life of the pipeline was started with what ran.
    ensure!(n_reloaded == N_SWAPS && entries.len() <= N_SWAPS + 2, "{history}");
    Ok(())
}

/// Processes are killed while code is swapped, 20 times; those that come back have whatever file lies there, and run what the pipeline runs.
#[test]
fn kills_in_the_middle_of_swaps_change_no_row() -> Result<()> {
    const N_KILLS: usize = 20;
    let data = workload(60_000, 11);
    let broker = Broker::start()?;
    let job = Job::personalization(&LogKind::Kafka(broker.bootstrap()), Lateness::Complete)?;
    own_components(&job)?;
    let originals = originals(&job)?;
    create_topics(&job)?;
    let mut processes: BTreeMap<&str, Process> = [("a", start(&job, "a")?), ("b", start(&job, "b")?)].into();
    await_start(|| job.reel(&["history"]), || log_end(&job, "a"))?;
    let is_enough = Arc::new(AtomicBool::new(false));
    let feeding = feed(Feeder::new(&broker.bootstrap(), &data)?, 90, 500, is_enough.clone());
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let mut n_accepted = 0;
    for nth in 0..N_KILLS {
        swap(&job, &originals, nth)?;
        let asking = job.reel(&["reload", "--wait", "40", "--format", "json"]).stdout(std::process::Stdio::piped()).spawn()?;
        thread::sleep(Duration::from_millis(rng.random_range(300..2_500)));
        let name = if rng.random_bool(0.5) { "a" } else { "b" };
        processes.get_mut(name).context("both run")?.kill()?;
        processes.insert(name, start(&job, name)?);
        // A start with new files counts at once, so a reload of the same code may find nothing left to do.
        n_accepted += usize::from(asking.wait_with_output()?.status.success());
    }
    println!("{n_accepted} of {N_KILLS} reloads were accepted");
    is_enough.store(true, Ordering::Relaxed);
    let mut feeder = feeding.join().expect("the feeder does not panic")?;
    processes.values_mut().try_for_each(Process::kill)?;
    feeder.feed_all()?;
    finish(&job, BTreeMap::new())?;
    job.dump()?;
    job.oracle("fates", &data)?;
    job.oracle("personalization", &data)?;
    makers(&job, "clean_playback_events")?;
    Ok(())
}
