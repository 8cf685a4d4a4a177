//! `reel dlq`, as an operator types it: dead letters are looked at, mended and put back, once.

mod calls;
mod incidents;
mod kills;
mod looking;
mod retrying;

use std::{fs, process::Output};

use anyhow::{Context, Result, ensure};
use reelflow_pipelines::{Job, LogKind, ONE_STAGE, said};
use serde_json::Value;

/// [`ONE_STAGE`], whose plugin refuses devices that it does not know, on this log and with more behind it.
fn job(log: &LogKind, more: &str) -> Result<Job> {
    let job = Job::example("flights", &LogKind::Embedded, &[])?;
    let mut text = ONE_STAGE.replace("bad-input", "plays") + more;
    if let LogKind::Kafka(address) = log {
        text = text.replace("kind = \"embedded\"\npath = \"log\"", &format!("kind = \"kafka\"\nbrokers = \"{address}\""));
    }
    fs::write(job.path().join("reel.toml"), text)?;
    Ok(job)
}

/// A play by profile `n`; `device` as JSON.
fn play(n: usize, device: &str) -> String {
    format!(
        r#"{{"event_id":"e{n}","event_ts":1767225600000,"profile_id":{n},"title_id":7,"device":{device},"country":"NL","playback_id":"p{n}"}}"#
    )
}

/// Writes `values`, keyed by their numbers, and runs the pipeline over them. Nothing ends, so more can come.
fn feed(job: &Job, values: &[String]) -> Result<()> {
    let line = |(n, value): (usize, &String)| format!("{n}\t1767225600000\t{value}\n");
    fs::write(job.path().join("plays.tsv"), values.iter().enumerate().map(line).collect::<String>())?;
    job.read(&["topic", "write", "plays", "plays.tsv", "--lines", "tsv", "--partitions", "2"])?;
    job.run_to_end(&[])?;
    Ok(())
}

/// The JSON lines that a command prints.
fn lines(job: &Job, args: &[&str]) -> Result<Vec<Value>> {
    let all = job.read(args)?;
    all.lines().map(|line| serde_json::from_str(line).with_context(|| line.to_owned())).collect()
}

/// The JSON document that `reel dlq` prints.
fn dlq(job: &Job, args: &[&str]) -> Result<Value> {
    let mut all = lines(job, &[&["dlq"], args, &["--format", "json"]].concat())?;
    ensure!(all.len() == 1, "one document: {all:?}");
    Ok(all.remove(0))
}

/// The profiles of the rows that came through, sorted.
fn clean(job: &Job) -> Result<Vec<u64>> {
    let rows = lines(job, &["topic", "read", "clean"])?;
    let mut profiles: Vec<u64> = rows.iter().filter_map(|row| row["profile_id"].as_u64()).collect();
    profiles.sort_unstable();
    Ok(profiles)
}

/// The exit code and what was said are as wanted.
#[track_caller]
fn judge(output: &Output, exit: i32, words: &[&str]) {
    let text = said(output);
    assert_eq!(output.status.code(), Some(exit), "{text}");
    words.iter().for_each(|word| assert!(text.contains(word), "{word}: {text}"));
}
