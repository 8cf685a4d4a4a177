//! Records that cannot be read, or that a plugin refuses.

use std::fs;

use anyhow::{Context, Result};
use reelflow_pipelines::{Job, LogKind};

use crate::{PLAY, cases::NO_EDIT, job};

/// (what is wrong, the record's bytes, the reason in the dead letter's header)
const RECORDS: &[(&str, &[u8], &str)] = &[
    ("empty", b"", "empty"),
    ("no JSON", b"hello", "json"),
    ("cut off", br#"{"event_id":"x","event_ts":17672"#, "json"),
    ("a list", b"[]", "json"),
    ("garbage behind", br#"{"event_id":"x"} {}"#, "json"),
    ("bad UTF-8", b"{\"event_id\":\"\xff\"}", "utf8"),
    ("a field missing", br#"{"event_id":"x","event_ts":1767225600000,"profile_id":1}"#, "missing"),
    ("null where a value is needed", br#"{"event_id":null,"event_ts":1767225600000,"profile_id":1,"title_id":1,"playback_id":"p","offline":false,"trailer":false}"#, "missing"),
    ("text for a number", br#"{"event_id":"x","event_ts":"now","profile_id":1,"title_id":1,"playback_id":"p","offline":false,"trailer":false}"#, "type"),
    ("a fraction for an integer", br#"{"event_id":"x","event_ts":1767225600000,"profile_id":1.5,"title_id":1,"playback_id":"p","offline":false,"trailer":false}"#, "type"),
    ("an integer beyond 64 bits", br#"{"event_id":"x","event_ts":1767225600000,"profile_id":99999999999999999999,"title_id":1,"playback_id":"p","offline":false,"trailer":false}"#, "type"),
    ("a time that no calendar has", br#"{"event_id":"x","event_ts":9223372036854775807,"profile_id":1,"title_id":1,"playback_id":"p","offline":false,"trailer":false}"#, "event-time"),
    ("a future", br#"{"event_id":"x","event_ts":4102444800000,"profile_id":1,"title_id":1,"playback_id":"p","offline":false,"trailer":false}"#, "future"),
    ("an unknown device", br#"{"event_id":"x","event_ts":1767225600000,"profile_id":1,"title_id":1,"device":"fridge","playback_id":"p","offline":false,"trailer":false}"#, "rejected"),
    ("NaN", br#"{"event_id":"x","event_ts":NaN,"profile_id":1,"title_id":1,"playback_id":"p","offline":false,"trailer":false}"#, "json"),
    ("a thousand brackets", &[b'['; 1000], "json"),
];

/// Every broken record is in the dead-letter topic with its bytes and its reason, and its good neighbours come through once.
#[test]
fn broken_records_are_kept_with_their_reason() -> Result<()> {
    let job = job(NO_EDIT)?;
    let mut lines = Vec::new();
    for (idx, (_, bytes, _)) in RECORDS.iter().enumerate() {
        lines.extend_from_slice(format!("{idx}\t1767225600000\t").as_bytes());
        lines.extend_from_slice(bytes);
        lines.extend_from_slice(format!("\ngood\t1767225600000\t{}\n", PLAY.replace("e1", &format!("e{idx}"))).as_bytes());
    }
    lines.extend_from_slice(format!("big\t1767225600000\t{{\"padding\":\"{}\"}}\n", "x".repeat(300_000)).as_bytes());
    lines.extend_from_slice(b"nothing\t1767225600000\n");
    fs::write(job.path().join("records.tsv"), lines)?;
    job.read(&["topic", "write", "plays", "records.tsv", "--lines", "tsv", "--partitions", "1", "--end"])?;
    let summary = job.run_to_end(&[])?;
    assert_eq!(summary["sources"][0]["total"]["read"], 2 * RECORDS.len() + 2, "{summary}");

    let dead = job.read(&["topic", "read", "dead.bad-input", "--format", "json"])?;
    let dead: Vec<serde_json::Value> = dead.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    assert_eq!(dead.len(), RECORDS.len() + 2, "{dead:#?}");
    for (idx, (name, bytes, reason)) in RECORDS.iter().enumerate() {
        let key = idx.to_string();
        let letter =
            dead.iter().find(|letter| letter["key"] == key.as_str()).with_context(|| format!("{name}: no dead letter"))?;
        assert_eq!(letter["headers"]["reel-reason"], *reason, "{name}: {letter}");
        if let Ok(text) = std::str::from_utf8(bytes) {
            assert_eq!(letter["value"], text, "{name}: other bytes");
        }
    }
    assert!(dead.iter().any(|letter| letter["headers"]["reel-reason"] == "too-large"), "{dead:#?}");
    let nothing = dead.iter().find(|letter| letter["key"] == "nothing").context("no dead letter of what has no value")?;
    assert!(nothing["value"].is_null() && nothing["headers"]["reel-reason"] == "empty", "{nothing}");
    assert_eq!(job.read(&["topic", "read", "clean"])?.lines().count(), RECORDS.len(), "a good neighbour was lost or doubled");
    Ok(())
}

/// (what is wrong, what the promise says, the reason in the dead letter's header)
const PROMISES: &[(&str, &str, &str)] = &[
    ("empty", "", "watermark"),
    ("text", "soon", "watermark"),
    ("a fraction", "1767225600000.5", "watermark"),
    ("beyond 64 bits", "99999999999999999999", "watermark"),
    ("a time that no calendar has", "9223372036854775807", "watermark"),
    ("a future", "4102444800000", "future"),
];

/// A promise that nobody should believe moves no watermark, and what comes behind it counts.
#[test]
fn broken_promises_are_dead_letters() -> Result<()> {
    let job = job(NO_EDIT)?;
    let promise = |(_, said, _): &(&str, &str, &str)| format!("__watermark\t1767225600000\t{said}\n");
    let lines = PROMISES.iter().map(promise).collect::<String>() + &format!("good\t1767225600000\t{PLAY}\n");
    fs::write(job.path().join("records.tsv"), lines)?;
    job.read(&["topic", "write", "plays", "records.tsv", "--lines", "tsv", "--partitions", "1", "--end"])?;
    job.run_to_end(&[])?;
    let dead = job.read(&["topic", "read", "dead.bad-input", "--format", "json"])?;
    let dead: Vec<serde_json::Value> = dead.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    assert_eq!(dead.len(), PROMISES.len(), "{dead:#?}");
    for ((name, said, reason), letter) in PROMISES.iter().zip(&dead) {
        assert_eq!(letter["value"], *said, "{name}: {letter}");
        assert_eq!(letter["headers"]["reel-reason"], *reason, "{name}: {letter}");
    }
    assert_eq!(job.read(&["topic", "read", "clean"])?.lines().count(), 1);
    Ok(())
}

/// The plugin refuses single records among many of one group; those are dead letters, the others are counted once.
#[test]
fn records_that_the_plugin_refuses_are_dead_letters() -> Result<()> {
    let job = Job::example("flights", &LogKind::Embedded, &[])?;
    let mut lines = String::new();
    for minute in 0..600_i64 {
        let delay = if minute % 200 == 199 { i64::MAX } else { 5 };
        lines.push_str(&format!(
            "{{\"flight_id\":\"f{minute}\",\"origin\":\"JFK\",\"scheduled_ms\":{},\"dep_delay\":{delay}}}\n",
            minute * 1_000
        ));
    }
    fs::write(job.path().join("in.ndjson"), lines)?;
    job.read(&[
        "topic",
        "write",
        "departures",
        "in.ndjson",
        "--key",
        "origin",
        "--timestamp",
        "scheduled_ms",
        "--partitions",
        "1",
        "--end",
    ])?;
    let summary = job.run_to_end(&[])?;
    let total = &summary["stages"][0]["total"];
    assert_eq!((&total["rows_in"], &total["accepted"], &total["dead"]), (&600.into(), &597.into(), &3.into()), "{summary}");
    let hourly: serde_json::Value = serde_json::from_str(job.read(&["topic", "read", "hourly"])?.trim())?;
    assert_eq!((&hourly["departures"], &hourly["delay_sum_min"]), (&597.into(), &(5 * 597).into()), "{hourly}");
    Ok(())
}
