//! What a pipeline keeps, seen from outside.

use std::{collections::BTreeMap, fs, process::Output};

use anyhow::{Context, Result};
use reelflow_pipelines::{Job, LogKind, TOPICS, said, workload};
use serde_json::Value;

const N_EVENTS: u64 = 60_000;

/// An example whose topics hold the workload and have not ended, run until there is no more to read: windows are open.
fn open_windows(example: &str) -> Result<Job> {
    let data = workload(N_EVENTS, 11);
    let job = Job::example(example, &LogKind::Embedded, &[])?;
    for topic in TOPICS {
        let file = data.join(format!("topics/{topic}.tsv"));
        let file = file.to_str().context("a path that is text")?;
        job.read(&["topic", "write", topic, file, "--lines", "tsv", "--partitions", "2"])?;
    }
    job.run_to_end(&[])?;
    Ok(job)
}

fn lines(text: &str) -> Result<Vec<Value>> {
    text.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

fn kept(job: &Job, stage: &str, key: &Value) -> Result<Vec<Value>> {
    let document: Value =
        serde_json::from_str(&job.read(&["state", "get", "--stage", stage, "--key", &key.to_string(), "--format", "json"])?)?;
    Ok(document["kept"].as_array().context("a list")?.clone())
}

/// What one key has in the export is what `get` finds of it, in each stage; and what `list` counts is about as much as the export has.
fn check(job: &Job, expected: &[(&str, &[&str])]) -> Result<()> {
    let listed: Value = serde_json::from_str(&job.read(&["state", "list", "--format", "json"])?)?;
    job.read(&["state", "export", "--to", "all.ndjson"])?;
    let all = lines(&fs::read_to_string(job.path().join("all.ndjson"))?)?;
    let mut kinds: BTreeMap<(String, String), Vec<&Value>> = BTreeMap::new();
    for line in &all {
        let text = |member: &str| line[member].as_str().unwrap_or_default().to_owned();
        kinds.entry((text("stage"), text("kind"))).or_default().push(line);
    }
    for (stage, wanted) in expected {
        let bytes: u64 = listed["tasks"]
            .as_array()
            .into_iter()
            .flatten()
            .flat_map(|task| task["stages"].as_array().into_iter().flatten())
            .filter(|one| one["stage"] == *stage)
            .filter_map(|one| one["state_bytes"].as_u64())
            .sum();
        assert!(bytes > 0, "stage {stage} keeps something: {listed}");
        let of_stage = lines(&job.read(&["state", "export", "--stage", stage, "--to", "-"])?)?;
        assert_eq!(of_stage, all.iter().filter(|line| line["stage"] == *stage).cloned().collect::<Vec<_>>(), "{stage}");
        let found: Vec<&str> = kinds.keys().filter(|(of, _)| of == stage).map(|(_, kind)| kind.as_str()).collect();
        assert_eq!(found, *wanted, "{stage}");
        for kind in wanted.iter().filter(|kind| **kind != "id") {
            let key = &kinds[&((*stage).to_owned(), (*kind).to_owned())][0]["key"];
            let of_key: Vec<Value> = of_stage.iter().filter(|line| line["key"] == *key).cloned().collect();
            assert_eq!(kept(job, stage, key)?, of_key, "{stage} {key}");
        }
    }
    Ok(())
}

#[test]
fn every_kind_of_state_is_shown() -> Result<()> {
    let job = open_windows("personalization")?;
    check(
        &job,
        &[
            ("unique_plays", &["id"]),
            ("discovery", &["left", "right"]),
            ("trending", &["window"]),
            ("frequency_cap", &["window"]),
        ],
    )?;
    // A dedup keeps hashes: an id that it knows is found all the same.
    let plays = job.read(&["topic", "read", "clean_playback_events", "--limit", "1000000"])?;
    let heartbeat: Value = serde_json::from_str(plays.lines().last().context("rows")?)?;
    let found = kept(&job, "unique_heartbeats", &heartbeat["event_id"])?;
    assert_eq!((found.len(), &found[0]["kind"]), (1, &Value::from("id")), "{found:?}");
    Ok(())
}

#[test]
fn sessions_and_processes_are_shown() -> Result<()> {
    check(&open_windows("viewing-sessions")?, &[("sessions", &["session"])])?;
    let job = open_windows("rolling-counters")?;
    check(&job, &[("rolling", &["key"])])?;
    let all = lines(&job.read(&["state", "export", "--stage", "rolling", "--to", "-"])?)?;
    let waiting = all.iter().find(|line| line["timers"][0]["clock"] == "event time").context("a timer")?;
    assert!(waiting["timers"][0]["at"].as_i64() >= waiting["last"].as_i64(), "{waiting}");
    assert_eq!(waiting["state"]["versions"], serde_json::json!([1]), "{waiting}");
    let key = waiting["key"].to_string();
    let text = job.read(&["state", "get", "--stage", "rolling", "--key", &key])?;
    assert!(text.contains("last row 20") && text.contains(" by event time"), "{text}");
    Ok(())
}

/// Looking changes nothing, and what is asked for wrongly is said.
#[test]
fn what_cannot_be_shown_is_said() -> Result<()> {
    let job = Job::example("flights", &LogKind::Embedded, &[])?;
    let value = r#"{"flight_id":"1","scheduled_ms":1357034400000,"origin":"EWR","dep_delay":1}"#;
    fs::write(job.path().join("first.tsv"), format!("EWR\t1357034400000\t{value}\n"))?;
    job.read(&["topic", "write", "departures", "first.tsv", "--lines", "tsv", "--partitions", "1"])?;
    let get = |stage: &str, key: &str| job.reel(&["state", "get", "--stage", stage, "--key", key]).output();
    let judge = |output: Output, exit: i32, words: &[&str]| {
        let text = said(&output);
        assert_eq!(output.status.code(), Some(exit), "{text}");
        words.iter().for_each(|word| assert!(text.contains(word), "{word}: {text}"));
    };
    judge(get("hourly", "[\"EWR\"]")?, 2, &["stage \"hourly\" keeps nothing of [\"EWR\"]"]);
    job.read(&["run", "--until-end"])?;
    let before = job.read(&["state", "list", "--format", "json"])?;
    judge(get("hourly", "\"EWR\"")?, 0, &["window   2013-01-01T10:00:00Z to 2013-01-01T11:00:00Z", "Delays 1, 3 bytes"]);
    judge(get("hourly", "{\"origin\":\"EWR\"}")?, 0, &["window   2013-01-01T10:00:00Z"]);
    judge(get("hurly", "\"EWR\"")?, 2, &["pipeline \"flights\" has no stage \"hurly\"", "did you mean \"hourly\"?"]);
    judge(get("hourly", "\"JFK\"")?, 2, &["keeps nothing of [\"JFK\"]", "among what it keeps is [\"EWR\"]"]);
    judge(get("hourly", "JFK")?, 2, &["it is not JSON", "it is origin string"]);
    judge(get("hourly", "[\"EWR\",1]")?, 2, &["2 values instead of 1"]);
    judge(get("hourly", "7")?, 2, &["field \"origin\"", "must be string, not a number"]);
    judge(get("hourly", "{\"title\":7}")?, 2, &["it has no field \"title\""]);
    let nowhere = job.reel(&["state", "export", "--to", "no/such/folder/all.ndjson"]).output()?;
    judge(nowhere, 3, &["no/such/folder/all.ndjson cannot be written"]);
    assert_eq!(job.read(&["state", "list", "--format", "json"])?, before, "looking changes nothing");
    Ok(())
}
