//! Real lateness and real clicks.

use std::{
    fs::File,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use reelflow_pipelines::{Job, LogKind, prepared, root};

/// Turns a CSV file into lines and writes them to `topic`.
fn feed(job: &Job, kind: &str, csv: &Path, topic: &str, options: &[&str]) -> Result<()> {
    let lines = job.path().join("input.ndjson");
    let status = Command::new(prepared("venv/bin/python"))
        .arg(root().join("tests/oracle/feed.py"))
        .args([kind.as_ref(), csv.as_os_str()])
        .stdin(Stdio::null())
        .stdout(File::create(&lines)?)
        .status()
        .context("start the feeder")?;
    ensure!(status.success(), "the feeder ended with {status}");
    let lines = lines.to_str().context("a path that is text")?;
    job.read(&[&["topic", "write", topic, lines, "--end"], options].concat())?;
    Ok(())
}

fn flights(dataset: &str, edits: &[(&str, &str)]) -> Result<String> {
    let csv = root().join("tests/data/flights/flights-2013.csv.gz");
    let job = Job::example("flights", &LogKind::Embedded, edits)?;
    feed(&job, "flights", &csv, "departures", &["--key", "origin", "--timestamp", "departed_ms", "--partitions", "3"])?;
    let summary = job.run_to_end(&["--workers", "2"])?;
    ensure!(summary["dead_letters"] == 0, "all flights are sound: {summary}");
    job.dump()?;
    job.oracle(dataset, &csv)
}

#[test]
fn with_a_day_of_lateness_no_window_of_2013_is_wrong() -> Result<()> {
    let table = flights("flights", &[])?;
    assert!(table.contains("windows wrong when counted by arrival: 18616 of 21130; wrong in the stream's answer: 0"), "{table}");
    Ok(())
}

#[test]
fn with_an_hour_of_lateness_the_stream_equals_batch_without_the_late() -> Result<()> {
    let table = flights("flights", &[("lateness = \"24h\"", "lateness = \"1h\"")])?;
    let row = table.lines().find(|line| line.starts_with("hourly")).context("a row")?;
    let late: u64 = row.split_whitespace().last().context("a column")?.parse()?;
    // How many depends on how the records lie in batches: a batch is judged by the watermark from before it.
    assert!(late > 0, "some flights leave hours late: {table}");
    Ok(())
}

#[test]
fn days_of_new_york_begin_at_five_utc() -> Result<()> {
    let days = ("size = \"1h\"", "size = \"1d\", offset = \"5h\"");
    let table = flights("flights-days", &[days])?;
    assert!(table.lines().any(|line| line.starts_with("hourly")), "{table}");
    Ok(())
}

#[test]
fn dates_of_new_york_have_23_24_or_25_hours() -> Result<()> {
    let dates = ("size = \"1h\"", "size = \"1d\", time_zone = \"America/New_York\"");
    let table = flights("flights-dates", &[dates])?;
    assert!(table.contains("days by their hours: 1 of 23, 362 of 24, 1 of 25"), "{table}");
    Ok(())
}

#[test]
fn the_take_rate_of_real_clicks_equals_batch() -> Result<()> {
    let csv = prepared("obp/obp/dataset/obd/random/all/all.csv");
    let job = Job::example("take-rate", &LogKind::Embedded, &[])?;
    feed(&job, "take-rate", &csv, "impressions", &["--key", "position", "--timestamp", "event_ts", "--partitions", "2"])?;
    job.run_to_end(&[])?;
    job.dump()?;
    job.oracle("take-rate", &csv)?;
    Ok(())
}
