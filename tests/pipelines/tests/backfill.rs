//! Files in place of topics: the shipped pipelines over NDJSON and Parquet give what a batch job gives, whatever happens meanwhile.

use std::{
    collections::BTreeSet,
    fs,
    io::Write,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use reelflow_broker_tests::Broker;
use reelflow_pipelines::{Job, LogKind, TABLES, TOPICS, prepared, root, workload};
use serde_json::{Value, json};

const N_EVENTS: u64 = 60_000;
const SEED: u64 = 11;
const FIXED: &[&str] = &["backfill", "--suffix", ".fixed", "--partitions", "4", "--workers", "2", "--format", "json"];

/// A pipeline that ships: its example, its name for the oracle, the sources and tables that it reads, and what makes nothing late.
type Shipped = (&'static str, &'static str, &'static [&'static str], &'static [(&'static str, &'static str)]);

const SHIPPED: [Shipped; 8] = [
    (
        "personalization",
        "personalization",
        &TOPICS,
        &[("lateness = \"6h\"", "lateness = \"8d\""), ("lateness = \"2m\"", "lateness = \"8d\"")],
    ),
    ("rolling-counters", "rolling-counters", &["play_starts"], &[]),
    ("recent-plays", "recent-plays", &["play_starts"], &[]),
    ("viewing-sessions", "sessions", &["play_starts", "playback_events"], &[]),
    ("take-rate-hourly", "take-rate-hourly", &["impressions", "play_starts"], &[]),
    ("completion", "completion", &["play_starts", "playback_events", "catalog"], &[]),
    ("continue-watching", "continue-watching", &["playback_events", "catalog"], &[]),
    (
        "labelled-impressions",
        "labelled-impressions",
        &["impressions", "play_starts", "playback_events", "catalog", "profile_changes"],
        &[],
    ),
];

/// A pipeline whose sources have the workload's records as files of `format`.
fn with_histories(shipped: &Shipped, log: &LogKind, format: &str) -> Result<Job> {
    let (example, _, topics, edits) = shipped;
    let files = |topic: &&str| {
        let ending = if format == "ndjson" { ".ndjson" } else { "" };
        let also = if TABLES.contains(topic) { "deleted = \"deleted\"" } else { "timestamp = \"sent_ts\"" };
        let line = format!("files = {{ path = \"history/{topic}{ending}\", format = \"{format}\", {also} }}");
        (format!("topic = \"{topic}\"\nevent_time"), format!("topic = \"{topic}\"\n{line}\nevent_time"))
    };
    let histories: Vec<(String, String)> = topics.iter().map(files).collect();
    let all: Vec<(&str, &str)> =
        histories.iter().map(|(from, to)| (from.as_str(), to.as_str())).chain(edits.iter().copied()).collect();
    let job = Job::example(example, log, &all)?;
    fs::create_dir(job.path().join("history"))?;
    for topic in *topics {
        let lines = job.path().join(format!("history/{topic}.ndjson"));
        write_lines(topic, &lines)?;
        if format == "parquet" {
            let status = Command::new(prepared("venv/bin/python"))
                .arg(root().join("tests/oracle/columns.py"))
                .args([topic.as_ref(), lines.as_os_str(), job.path().join("history").join(topic).as_os_str()])
                .status()?;
            ensure!(status.success(), "the files of {topic} could not be written: {status}");
        }
    }
    Ok(job)
}

/// The values of a topic, without keys and timestamps, which a backfill must find by itself. A record of a table without a value becomes what a
/// warehouse would hold: a row that says so.
fn write_lines(topic: &str, lines: &Path) -> Result<()> {
    let mut to = std::io::BufWriter::new(fs::File::create(lines)?);
    let bytes = fs::read(workload(N_EVENTS, SEED).join(format!("topics/{topic}.tsv")))?;
    for line in bytes.strip_suffix(b"\n").unwrap_or(&bytes).split(|byte| *byte == b'\n') {
        let parts: Vec<&[u8]> = line.splitn(3, |byte| *byte == b'\t').collect();
        match (&parts[..], topic) {
            ([_, _, value], _) => to.write_all(value)?,
            ([key, at], "catalog") => to.write_all(&deleted("title_id", key, at)?)?,
            ([key, at], "profile_changes") => to.write_all(&deleted("profile_id", key, at)?)?,
            (other, _) => bail!("{topic} has a line of {} parts", other.len()),
        }
        to.write_all(b"\n")?;
    }
    Ok(to.flush()?)
}

fn deleted(name: &str, key: &[u8], at: &[u8]) -> Result<Vec<u8>> {
    let (key, at): (i64, i64) = (std::str::from_utf8(key)?.parse()?, std::str::from_utf8(at)?.parse()?);
    Ok(json!({ name: key, "valid_from": at, "deleted": true }).to_string().into_bytes())
}

/// Reads the topics of a backfill, and takes the folders of its files, under the names that the live pipeline's have.
fn dump(job: &Job) -> Result<()> {
    job.dump()?;
    let folders = job.path().join("out");
    let of_files = if folders.exists() { Some(fs::read_dir(&folders)?) } else { None };
    for entry in fs::read_dir(job.outputs())?.chain(of_files.into_iter().flatten()) {
        let path = entry?.path();
        let name = path.file_name().context("a name")?.to_string_lossy().into_owned();
        if let Some((live, ending)) = name.split_once(".fixed") {
            fs::rename(&path, path.with_file_name(format!("{live}{ending}")))?;
        }
    }
    Ok(())
}

fn summary(text: &str) -> Result<Value> {
    Ok(serde_json::from_str(text)?)
}

/// Nothing is late in the order of event time, also with the lateness that ships.
#[test]
fn every_shipped_dataset_from_files_equals_the_batch_job() -> Result<()> {
    for format in ["ndjson", "parquet"] {
        for shipped in &SHIPPED {
            let job = with_histories(shipped, &LogKind::Embedded, format)?;
            job.read(FIXED)?;
            dump(&job)?;
            job.oracle(shipped.1, &workload(N_EVENTS, SEED)).with_context(|| format!("{} from {format}", shipped.0))?;
            for entry in fs::read_dir(job.outputs())? {
                let entry = entry?;
                let is_late = entry.file_name().to_string_lossy().starts_with("late.") && entry.metadata()?.len() > 0;
                ensure!(!is_late, "something was late: {:?}", entry.path());
            }
        }
    }
    Ok(())
}

/// Kills a backfill again and again, each time after it had a little longer, so that all it does is hit on a fast machine and on a slow one.
fn kill_until_it_ends(job: &Job, seed: u64) -> Result<usize> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut n_kills = 0;
    for step in 0..14 {
        let longest = 100 * 5_u64.pow(step) / 4_u64.pow(step);
        let mut child = job.reel(FIXED).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let until = Instant::now() + Duration::from_millis(rng.random_range(longest / 2..longest));
        while Instant::now() < until && child.try_wait()?.is_none() {
            thread::sleep(Duration::from_millis(5));
        }
        n_kills += usize::from(child.try_wait()?.is_none());
        child.kill()?;
        child.wait()?;
    }
    let last = summary(&job.read(FIXED)?)?;
    let read: u64 = last["sources"].as_array().context("sources")?.iter().filter_map(|one| one["total"]["read"].as_u64()).sum();
    ensure!(read == 61_019, "each record counts once, and there were {read}");
    let again = summary(&job.read(FIXED)?)?;
    ensure!(again["records_read"] == 0, "nothing is left to do: {again}");
    Ok(n_kills)
}

/// R5 and R11.
#[test]
fn kills_lose_and_repeat_no_record() -> Result<()> {
    let job = with_histories(&SHIPPED[0], &LogKind::Embedded, "ndjson")?;
    let n_kills = kill_until_it_ends(&job, 5)?;
    ensure!(n_kills > 3, "only {n_kills} kills hit");
    dump(&job)?;
    job.oracle("personalization", &workload(N_EVENTS, SEED))?;
    Ok(())
}

#[test]
fn kills_on_kafka_lose_and_repeat_no_record() -> Result<()> {
    let broker = Broker::start()?;
    let job = with_histories(&SHIPPED[0], &LogKind::Kafka(broker.bootstrap()), "parquet")?;
    let mut child = job.reel(FIXED).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    thread::sleep(Duration::from_secs(8));
    child.kill()?;
    child.wait()?;
    job.read(FIXED)?;
    dump(&job)?;
    job.oracle("personalization", &workload(N_EVENTS, SEED))?;
    Ok(())
}

/// R12 b: a day is missing in the live topic; afterwards the results hold every record once.
#[test]
fn a_gap_is_filled_in_place() -> Result<()> {
    const DAY_MS: i64 = 86_400_000;
    const FIRST_MS: i64 = 1_767_225_600_000;
    let edits = [(
        "topic = \"play_starts\"\nevent_time",
        "topic = \"play_starts\"\nfiles = { path = \"all.ndjson\", format = \"ndjson\", timestamp = \"sent_ts\" }\nevent_time",
    )];
    let job = Job::example("recent-plays", &LogKind::Embedded, &edits)?;
    let manifest = fs::read_to_string(job.path().join("reel.toml"))?;
    let (head, _) = manifest.split_once("[stage.").context("stages")?;
    let clean = "[stage.clean]\nkind = \"transform\"\ninput = \"play_starts\"\nplugin = \"clean-plays\"\n[sink.clean]\ninput = \"clean\"\ntopic = \"clean\"\n";
    fs::write(job.path().join("reel.toml"), format!("{head}\n{clean}"))?;
    let lines = job.path().join("all.ndjson");
    write_lines("play_starts", &lines)?;
    let text = fs::read(&lines)?;
    let is_missing = |line: &[u8]| {
        let value: Option<Value> = serde_json::from_slice(line).ok();
        value
            .and_then(|value| value["event_ts"].as_i64())
            .is_some_and(|ms| (FIRST_MS + DAY_MS..FIRST_MS + 2 * DAY_MS).contains(&ms))
    };
    let live: Vec<&[u8]> = text
        .split(|byte| *byte == b'\n')
        .filter(|line| {
            serde_json::from_slice::<Value>(line)
                .is_ok_and(|value| value["profile_id"].is_number() && value["sent_ts"].is_number())
        })
        .filter(|line| !is_missing(line))
        .collect();
    fs::write(job.path().join("live.ndjson"), live.join(&b'\n'))?;
    job.read(&[
        "topic",
        "write",
        "play_starts",
        "live.ndjson",
        "--key",
        "profile_id",
        "--timestamp",
        "sent_ts",
        "--partitions",
        "4",
        "--end",
    ])?;
    let before = job.run_to_end(&[])?;
    let missing = ["backfill", "--in-place", "--from", "2026-01-02", "--to", "2026-01-03T00:00:00Z", "--format", "json"];
    let filled = summary(&job.read(&missing)?)?;
    let count = |summary: &Value| summary["stages"][0]["total"]["rows_out"].as_u64().unwrap_or(0);
    ensure!(count(&before) > 500 && count(&filled) > 100, "both have something to do: {before} {filled}");
    job.dump()?;
    let rows = fs::read_to_string(job.outputs().join("clean.ndjson"))?;
    ensure!(rows.lines().count() as u64 == count(&before) + count(&filled), "each row is there once");
    let times: BTreeSet<i64> =
        rows.lines().filter_map(|row| serde_json::from_str::<Value>(row).ok()?["event_ts"].as_i64()).collect();
    ensure!(times.range(FIRST_MS + DAY_MS..FIRST_MS + 2 * DAY_MS).count() > 100, "the day is there");
    Ok(())
}

const COMPLETE: [(&str, &str); 2] = [("lateness = \"6h\"", "lateness = \"8d\""), ("lateness = \"2m\"", "lateness = \"8d\"")];

/// The main job, whose topics hold everything, and whose files hold the first half of each partition.
fn with_half_in_files(log: &LogKind) -> Result<Job> {
    let position = "partition = \"kafka_partition\", offset = \"kafka_offset\"";
    let files = |topic: &&str| {
        let line = format!("files = {{ path = \"{topic}.ndjson\", format = \"ndjson\", timestamp = \"sent_ts\", {position} }}");
        (format!("topic = \"{topic}\"\nevent_time"), format!("topic = \"{topic}\"\n{line}\nevent_time"))
    };
    let files: Vec<(String, String)> = TOPICS.iter().map(files).collect();
    let edits: Vec<(&str, &str)> = files.iter().map(|(from, to)| (from.as_str(), to.as_str())).chain(COMPLETE).collect();
    let job = Job::example("personalization", log, &edits)?;
    job.load(&workload(N_EVENTS, SEED))?;
    for topic in TOPICS {
        let text = job.read(&["topic", "read", topic, "--format", "json"])?;
        let records: Vec<Value> = text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
        let mut n_records = [0; 4];
        let partition = |record: &Value| record["partition"].as_u64().unwrap_or(0) as usize;
        records.iter().for_each(|record| n_records[partition(record)] += 1);
        let mut lines = String::new();
        for record in records.iter().filter(|record| record["offset"].as_u64() < Some(n_records[partition(record)] / 2)) {
            let value = record["value"].as_str().unwrap_or_default();
            match serde_json::from_str::<Value>(value) {
                Ok(Value::Object(mut fields)) if !value.contains('\u{fffd}') => {
                    fields.insert("kafka_partition".to_owned(), record["partition"].clone());
                    fields.insert("kafka_offset".to_owned(), record["offset"].clone());
                    lines.push_str(&Value::Object(fields).to_string());
                    lines.push('\n');
                }
                // A warehouse has no row of such a record.
                _ => {}
            }
        }
        fs::write(job.path().join(format!("{topic}.ndjson")), lines)?;
    }
    Ok(job)
}

/// Whether records of a history are committed.
fn is_loading(job: &Job) -> Result<bool> {
    let topics = summary(&job.read(&["topic", "list", "--format", "json"])?)?;
    let is_history = |topic: &&Value| topic["topic"].as_str().is_some_and(|name| name.contains(".history."));
    let mut histories = topics["topics"].as_array().context("topics")?.iter().filter(is_history);
    Ok(histories.any(|topic| topic["offsets"].as_u64() > Some(0)))
}

fn refused(job: &Job, args: &[&str], exit: i32, why: &str) -> Result<()> {
    let output = job.reel(args).output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.code() == Some(exit) && said.contains(why), "{why}: {}, {said}", output.status);
    Ok(())
}

/// The files hold what came first, the topics go on behind it: state, results and duplicates are those of one run over all of it.
fn history_and_topics(log: &LogKind) -> Result<()> {
    let job = with_half_in_files(log)?;
    let then_live = ["backfill", "--then-live", "--session-timeout", "6", "--format", "json"];
    let mut child = job.reel(&then_live).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    match log {
        // Its log belongs to one process: nobody sees how far it is.
        LogKind::Embedded => thread::sleep(Duration::from_secs(2)),
        LogKind::Kafka(_) => while !is_loading(&job)? && child.try_wait()?.is_none() {},
    }
    child.kill()?;
    child.wait()?;
    if matches!(log, LogKind::Kafka(_)) {
        refused(&job, &["run", "--until-end"], 3, "history is being replayed")?;
    }
    job.read(&then_live)?;
    let again = summary(&job.read(&then_live)?)?;
    ensure!(again["records_read"] == 0, "it was done: {again}");
    job.run_to_end(&["--workers", "2", "--session-timeout", "6"])?;
    job.dump()?;
    job.oracle("personalization", &workload(N_EVENTS, SEED))?;
    Ok(())
}

#[test]
fn a_pipeline_goes_on_live_behind_its_history() -> Result<()> {
    history_and_topics(&LogKind::Embedded)
}

#[test]
fn a_pipeline_on_kafka_goes_on_live_behind_its_history() -> Result<()> {
    let broker = Broker::start()?;
    history_and_topics(&LogKind::Kafka(broker.bootstrap()))
}

/// What a user can get wrong with it.
#[test]
fn a_history_that_does_not_meet_its_topics_is_refused() -> Result<()> {
    const THEN_LIVE: &[&str] = &["backfill", "--then-live"];
    let job = with_half_in_files(&LogKind::Embedded)?;
    let lines = job.path().join("impressions.ndjson");
    let text = fs::read_to_string(&lines)?;
    fs::write(&lines, text.replacen("\"kafka_offset\":", "\"kafka_offset\":999999", 1))?;
    refused(&job, THEN_LIVE, 3, "they are of another topic")?;
    fs::write(&lines, text.replacen("\"kafka_offset\":", "\"offset\":", 1))?;
    refused(&job, THEN_LIVE, 3, "record 1 does not say at which partition and offset")?;
    fs::write(&lines, text)?;
    job.run_to_end(&[])?;
    refused(&job, THEN_LIVE, 3, "has read its topics already")?;
    let plain = Job::example("recent-plays", &LogKind::Embedded, &[])?;
    plain.load_topics(&workload(N_EVENTS, SEED), &["play_starts"])?;
    refused(&plain, THEN_LIVE, 2, "has no files to replay")
}
