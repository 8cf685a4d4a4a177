//! Code that changes while a pipeline runs, on a real Apache Kafka: swapped under load, killed in between, given up when it is bad.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::Output,
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
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use reelflow_broker_tests::Broker;
use reelflow_pipelines::{Job, Lateness, LogKind, prepared, said, target, workload};
use serde_json::Value;

mod feeder;
mod processes;

use feeder::Feeder;
use processes::{Process, create_topics, finish, leave, log_end, start};

/// Other bytes with the same meaning: a custom section at the end of the component.
fn variant(component: &[u8], mark: u8) -> Vec<u8> {
    const NAME: &[u8] = b"variant";
    let section = [&[0, NAME.len() as u8 + 2, NAME.len() as u8], NAME, &[mark]].concat();
    [component, &section].concat()
}

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

/// Feeds slices until it is told to hurry, then all that is left, and waits until it is read.
fn feed(mut feeder: Feeder, hurry: Arc<AtomicBool>) -> thread::JoinHandle<Result<()>> {
    thread::spawn(move || {
        let mut has_more = true;
        while has_more && !hurry.load(Ordering::Relaxed) {
            has_more = feeder.feed_slice(1_500)?;
            thread::sleep(Duration::from_millis(400));
        }
        if has_more {
            feeder.feed_all()?;
        }
        feeder.wait_until_read()
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
    let hurry = Arc::new(AtomicBool::new(false));
    let feeding = feed(Feeder::new(&broker.bootstrap(), &data)?, hurry.clone());
    for nth in 0..N_SWAPS {
        swap(&job, &originals, nth)?;
        let output = reload(&job, &["--wait", "60"])?;
        ensure!(output.status.success(), "swap {nth}: {}{}{}", said(&output), log_end(&job, "a"), log_end(&job, "b"));
    }
    hurry.store(true, Ordering::Relaxed);
    feeding.join().expect("the feeder does not panic")?;
    for (name, process) in processes {
        leave(process).with_context(|| log_end(&job, name))?;
    }
    let told = ["a", "b"].map(|name| fs::read_to_string(job.path().join(format!("{name}.log"))));
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
    println!("{} pauses, median {} ms, p99 {p99} ms", pauses.len(), pauses[pauses.len() / 2]);
    let history: Value = serde_json::from_str(&job.read(&["history", "--format", "json"])?)?;
    let entries = history.as_array().context("a list")?;
    // One for the start, and the last life of the pipeline was started with what runs.
    ensure!(entries.len() == N_SWAPS + 1, "{history}");
    ensure!(entries.iter().filter(|entry| entry["verdict"] == "accepted").count() == N_SWAPS + 1, "{history}");
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
    let hurry = Arc::new(AtomicBool::new(false));
    let feeding = feed(Feeder::new(&broker.bootstrap(), &data)?, hurry.clone());
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
    hurry.store(true, Ordering::Relaxed);
    feeding.join().expect("the feeder does not panic")?;
    finish(&job, processes)?;
    job.dump()?;
    job.oracle("fates", &data)?;
    job.oracle("personalization", &data)?;
    makers(&job, "clean_playback_events")?;
    Ok(())
}

fn event_ms(profile: i64) -> i64 {
    1_767_225_600_000 + 1_000 * profile
}

fn play(profile: i64) -> String {
    format!("{{\"profile_id\":{profile},\"title_id\":{},\"event_ts\":{}}}", profile % 7, event_ms(profile))
}

/// A crate of `reel new`, on Kafka, whose code is changed by hand.
struct Project {
    folder: tempfile::TempDir,
}

impl Project {
    fn new(brokers: &str) -> Result<Project> {
        let folder = tempfile::Builder::new().prefix("reelflow-").tempdir()?;
        let project = Project { folder };
        project.reel(project.folder.path(), &["new", "swapped", "--kind", "aggregate"])?;
        let manifest = project.path().join("reel.toml");
        let text = fs::read_to_string(&manifest)?;
        let embedded = "kind = \"embedded\"\npath = \".reel/log\"";
        ensure!(text.contains(embedded), "the template has another [log]:\n{text}");
        fs::write(&manifest, text.replace(embedded, &format!("kind = \"kafka\"\nbrokers = \"{brokers}\"")))?;
        Ok(project)
    }

    fn path(&self) -> std::path::PathBuf {
        self.folder.path().join("swapped")
    }

    fn command(&self, folder: &Path, args: &[&str]) -> std::process::Command {
        let mut command = std::process::Command::new(prepared("debug/reel"));
        command.current_dir(folder).args(args).stdin(std::process::Stdio::null());
        command.env("CARGO_TARGET_DIR", target().join("first-steps"));
        command
    }

    fn reel(&self, folder: &Path, args: &[&str]) -> Result<String> {
        let output = self.command(folder, args).output().context("start reel")?;
        ensure!(output.status.success(), "reel {} ended with {}: {}", args.join(" "), output.status, said(&output));
        Ok(said(&output))
    }

    /// Replaces `from` by `to` in the code, and builds it.
    fn edit(&self, edits: &[(&str, &str)]) -> Result<()> {
        let code = self.path().join("src/lib.rs");
        let mut text = fs::read_to_string(&code)?;
        for (from, to) in edits {
            ensure!(text.contains(from), "the code does not contain {from:?}:\n{text}");
            text = text.replace(from, to);
        }
        fs::write(&code, text)?;
        self.reel(&self.path(), &["build"]).map(drop)
    }

    /// Plays of profiles `profiles`, one a second.
    fn write_plays(&self, profiles: std::ops::Range<i64>) -> Result<()> {
        fs::write(self.path().join("more.ndjson"), profiles.map(|profile| play(profile) + "\n").collect::<String>())?;
        let write =
            ["topic", "write", "plays", "more.ndjson", "--key", "profile_id", "--timestamp", "event_ts", "--partitions", "2"];
        self.reel(&self.path(), &write).map(drop)
    }

    /// As [`Project::write_plays`] from `next` on, at a steady rate, until it is told to stop. Gives the next profile.
    fn feed(&self, brokers: &str, mut next: i64, stop: &AtomicBool) -> Result<i64> {
        let mut config = rdkafka::ClientConfig::new();
        let producer: BaseProducer =
            config.set("bootstrap.servers", brokers).set("partitioner", "murmur2_random").set("linger.ms", "5").create()?;
        while !stop.load(Ordering::Relaxed) {
            for profile in next..next + 40 {
                let (key, value, at) = (profile.to_string(), play(profile), event_ms(profile));
                let record = BaseRecord::to("plays").key(&key).payload(&value).timestamp(at);
                producer.send(record).map_err(|(error, _)| error)?;
            }
            next += 40;
            producer.poll(Duration::ZERO);
            thread::sleep(Duration::from_millis(20));
        }
        producer.flush(Duration::from_secs(20))?;
        Ok(next)
    }

    fn start(&self) -> Result<Running> {
        let log = fs::File::options().create(true).append(true).open(self.path().join("run.log"))?;
        let mut command = self.command(&self.path(), &["run", "--workers", "2"]);
        Ok(Running(command.stdout(std::process::Stdio::null()).stderr(log).spawn()?))
    }

    fn run_log(&self) -> String {
        fs::read_to_string(self.path().join("run.log")).unwrap_or_default()
    }

    fn wait_for(&self, words: &str) -> Result<()> {
        let begin = Instant::now();
        while !self.run_log().contains(words) {
            ensure!(begin.elapsed() < Duration::from_secs(60), "it never said {words:?}:\n{}", self.run_log());
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// What is kept, as it was committed last.
    fn state(&self) -> Result<String> {
        self.reel(&self.path(), &["state", "export", "--to", "state.ndjson"])?;
        let text = fs::read_to_string(self.path().join("state.ndjson"))?;
        let mut lines: Vec<&str> = text.lines().collect();
        lines.sort_unstable();
        Ok(lines.join("\n"))
    }
}

/// A process that does not outlive a test that fails.
struct Running(std::process::Child);

impl Running {
    fn leave(mut self) -> Result<()> {
        let status = std::process::Command::new("kill").args(["-TERM", &self.0.id().to_string()]).status()?;
        ensure!(status.success() && self.0.wait()?.success(), "it was asked to leave");
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// The life of a plugin: code that breaks on one record in a hundred is given up, and nothing shows that it ever ran; code with a newer state is
/// accepted; who comes back with the old file runs the new code.
#[test]
fn bad_code_is_rolled_back_and_good_code_stays() -> Result<()> {
    let broker = Broker::start()?;
    let project = Project::new(&broker.bootstrap())?;
    let reload = |args: &[&str]| project.command(&project.path(), &[&["reload", "--wait", "40"], args].concat()).output();
    project.edit(&[])?;
    let first = fs::read(project.path().join("swapped.wasm"))?;
    project.write_plays(1..2_000)?;

    // A run that never sees other code, for the state that it leaves.
    let undisturbed = Project::new(&broker.bootstrap())?;
    let manifest = fs::read_to_string(undisturbed.path().join("reel.toml"))?;
    let apart = manifest
        .replace("name = \"swapped\"", "name = \"undisturbed\"")
        .replace("topic = \"swapped\"", "topic = \"undisturbed\"");
    fs::write(undisturbed.path().join("reel.toml"), apart)?;
    fs::write(undisturbed.path().join("swapped.wasm"), &first)?;

    let running = project.start()?;
    project.wait_for("stop with ctrl-c")?;
    // Records for the trial come while it is under way.
    let breaks = "if play.profile_id % 100 == 7 {\n            panic!(\"seven\");\n        }\n        state.plays += 1;";
    project.edit(&[("state.plays += 1;", breaks)])?;
    let stop = AtomicBool::new(false);
    let refused = thread::scope(|scope| -> Result<Output> {
        let feeding = scope.spawn(|| project.feed(&broker.bootstrap(), 2_000, &stop));
        let refused = reload(&[])?;
        stop.store(true, Ordering::Relaxed);
        let next = feeding.join().expect("the feeder does not panic")?;
        println!("{next} plays");
        Ok(refused)
    })?;
    let text = said(&refused);
    ensure!(refused.status.code() == Some(1), "it ended with {}: {text}{}", refused.status, project.run_log());
    ensure!(text.contains("plugin \"swapped\": plugin trapped: panicked at src/lib.rs") && text.contains("seven"), "{text}");
    project.wait_for("ROLLED BACK")?;
    running.leave()?;
    undisturbed.reel(&undisturbed.path(), &["run", "--until-end", "--workers", "2"])?;
    ensure!(project.state()? == undisturbed.state()?, "the state shows that other code ran");
    let dead = project.reel(&project.path(), &["topic", "read", "dead.swapped"])?;
    ensure!(dead.is_empty(), "a record died of code that was given up: {dead}");

    // The files hold what was given up: the pipeline goes on with what it had.
    let running = project.start()?;
    project.wait_for("older code")?;
    let migrating = "#[state(version = 2, migrate(1 => from_v1))]";
    let state = "    plays: u64,\n    trailers: u64,\n    viewers";
    project.edit(&[
        (breaks, "state.plays += 1;"),
        ("#[state(version = 1)]", migrating),
        ("    plays: u64,\n    viewers", state),
        (
            "#[derive(Config)]",
            "#[derive(State)]\n#[state(version = 1)]\npub struct ViewsV1 {\n    plays: u64,\n    viewers: BTreeSet<i64>,\n}\n\n\
             fn from_v1(old: ViewsV1) -> Views {\n    Views { plays: old.plays, trailers: 0, viewers: old.viewers }\n}\n\n#[derive(Config)]",
        ),
    ])?;
    let planned = said(&reload(&["--plan"])?);
    ensure!(planned.contains("stage \"result\" keeps Views 1 → Views 2 and migrates 1"), "{planned}");
    let accepted = reload(&[])?;
    ensure!(accepted.status.success(), "{}{}", said(&accepted), project.run_log());
    let again = reload(&[])?;
    ensure!(again.status.code() == Some(2) && said(&again).contains("runs this code already"), "{}", said(&again));
    running.leave()?;

    // A machine that still has the first file.
    fs::write(project.path().join("swapped.wasm"), &first)?;
    let running = project.start()?;
    project.write_plays(900_000..900_010)?;
    thread::sleep(Duration::from_secs(2));
    running.leave()?;
    let history = project.reel(&project.path(), &["history"])?;
    ensure!(history.contains("rolled back") && history.contains("accepted") && history.contains("seven"), "{history}");
    let renamed =
        fs::read_to_string(project.path().join("src/lib.rs"))?.replace("plays: i64,\n    viewers", "played: i64,\n    viewers");
    fs::write(project.path().join("src/lib.rs"), renamed.replace("plays: state.plays as i64", "played: state.plays as i64"))?;
    project.reel(&project.path(), &["build"])?;
    let breaking = reload(&[])?;
    ensure!(
        breaking.status.code() == Some(2) && said(&breaking).contains("readers of the results may break"),
        "{}",
        said(&breaking)
    );
    Ok(())
}

/// One process on the embedded log takes what is built beside it.
#[test]
fn a_watched_component_is_taken() -> Result<()> {
    let job = Job::example("flights", &LogKind::Embedded, &[])?;
    own_components(&job)?;
    job.read(&["topic", "create", "departures", "--partitions", "2"])?;
    let component = job.path().join("plugins/flight_delays.wasm");
    let original = fs::read(&component)?;
    let log = fs::File::create(job.path().join("run.log"))?;
    let running = Running(job.reel(&["run", "--watch"]).stdout(std::process::Stdio::null()).stderr(log).spawn()?);
    let wait_for = |words: &str, n: usize| -> Result<()> {
        let begin = Instant::now();
        loop {
            let text = fs::read_to_string(job.path().join("run.log"))?;
            if text.matches(words).count() == n {
                return Ok(());
            }
            ensure!(begin.elapsed() < Duration::from_secs(60), "it did not say {words:?} {n} times:\n{text}");
            thread::sleep(Duration::from_millis(50));
        }
    };
    wait_for("stop with ctrl-c", 1)?;
    thread::sleep(Duration::from_secs(1));
    fs::write(&component, variant(&original, 1))?;
    wait_for("accepted: flight-delays ", 1)?;
    fs::write(&component, b"no component")?;
    wait_for("the new code cannot be used", 1)?;
    fs::write(&component, &original)?;
    wait_for("accepted: flight-delays ", 2)?;
    running.leave()
}
