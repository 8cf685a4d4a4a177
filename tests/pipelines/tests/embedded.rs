//! The main job on the embedded log.

use std::{path::Path, process::Stdio, thread, time::Duration};

use anyhow::{Context, Result};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use reelflow_pipelines::{Job, Lateness, LogKind, workload};
use serde_json::Value;

const N_EVENTS: u64 = 60_000;

fn check(lateness: Lateness, workers: &str) -> Result<()> {
    let data = workload(N_EVENTS, 11);
    let job = Job::personalization(&LogKind::Embedded, lateness)?;
    job.load(&data)?;
    job.run_to_end(&["--workers", workers])?;
    job.dump()?;
    job.oracle("fates", &data)?;
    let table = job.oracle("personalization", &data)?;
    if lateness == Lateness::Bounded {
        for dataset in ["d1 ", "d10 "] {
            let has_late = table.lines().any(|line| line.starts_with(dataset) && !line.ends_with(" 0"));
            assert!(has_late, "{dataset}: a bounded run has late records:\n{table}");
        }
    }
    Ok(())
}

#[test]
fn nothing_is_late_and_all_datasets_equal_the_batch_job() -> Result<()> {
    check(Lateness::Complete, "1")
}

#[test]
fn what_is_not_late_equals_the_batch_job_without_what_is() -> Result<()> {
    check(Lateness::Bounded, "2")
}

/// Each play with every impression near it, of both sides what is not late.
#[test]
fn an_interval_join_equals_the_batch_job() -> Result<()> {
    let data = workload(N_EVENTS, 11);
    for (lateness, has_late) in [("8d", false), ("10m", true)] {
        let lateness = format!("lateness = \"{lateness}\"");
        let edits = [
            ("match = \"latest-before\"", "match = \"all\"\nafter = \"10m\""),
            ("tie = \"event_id\"\n", ""),
            ("emit = \"upsert\"\n", ""),
            ("lateness = \"6h\"", lateness.as_str()),
        ];
        let job = Job::example("personalization", &LogKind::Embedded, &edits)?;
        job.load(&data)?;
        job.run_to_end(&["--workers", "2"])?;
        job.dump()?;
        let table = job.oracle("considered", &data)?;
        let pairs = table.lines().find(|line| line.starts_with("pairs")).context("the table has the dataset")?;
        assert_eq!(!pairs.ends_with(" 0"), has_late, "{table}");
    }
    Ok(())
}

/// I-6 and R5: killed at random moments, the outputs are the same.
#[test]
fn a_run_that_is_killed_again_and_again_gives_the_same_rows() -> Result<()> {
    let data = workload(N_EVENTS, 11);
    let calm = Job::personalization(&LogKind::Embedded, Lateness::Complete)?;
    calm.load(&data)?;
    calm.run_to_end(&[])?;
    calm.dump()?;

    let killed = Job::personalization(&LogKind::Embedded, Lateness::Complete)?;
    killed.load(&data)?;
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    for _ in 0..8 {
        let mut child =
            killed.reel(&["run", "--until-end", "--workers", "2"]).stderr(Stdio::null()).stdout(Stdio::null()).spawn()?;
        thread::sleep(Duration::from_millis(rng.random_range(50..900)));
        child.kill()?;
        child.wait()?;
    }
    killed.run_to_end(&["--workers", "2"])?;
    killed.dump()?;
    killed.oracle("fates", &data)?;
    killed.oracle("personalization", &data)?;
    assert!(calm.canonical()? == killed.canonical()?, "the rows differ after kills");
    Ok(())
}

/// The example of sessions with `edits` of its manifest, its topics written and ended.
fn sessions(data: &Path, edits: &[(&str, &str)]) -> Result<Job> {
    let job = Job::example("viewing-sessions", &LogKind::Embedded, edits)?;
    job.load_topics(data, &["play_starts", "playback_events"])?;
    Ok(job)
}

fn check_sessions(job: &Job, data: &Path) -> Result<String> {
    let summary = job.run_to_end(&["--workers", "2"])?;
    assert_eq!(summary["state_bytes"], 0, "nothing is kept after the end: {summary}");
    job.dump()?;
    job.oracle("sessions", data)
}

/// D6 over plays and heartbeats: sessions of half an hour, with and without a bound on lateness, and killed in the middle.
#[test]
fn sessions_equal_the_batch_job_also_after_kills() -> Result<()> {
    let data = workload(N_EVENTS, 11);
    for (lateness, n_kills) in [("8d", 0), ("1h", 0), ("8d", 4), ("1h", 4)] {
        let edit = format!("lateness = \"{lateness}\"");
        let job = sessions(&data, &[("lateness = \"1h\"", &edit)])?;
        let mut rng = ChaCha8Rng::seed_from_u64(n_kills);
        for _ in 0..n_kills {
            let mut child = job.reel(&["run", "--until-end"]).stderr(Stdio::null()).stdout(Stdio::null()).spawn()?;
            thread::sleep(Duration::from_millis(rng.random_range(50..400)));
            child.kill()?;
            child.wait()?;
        }
        let table = check_sessions(&job, &data)?;
        let has_late = table.lines().any(|line| line.starts_with("d6 ") && !line.ends_with(" 0"));
        assert_eq!(has_late, lateness == "1h", "late are those of a bounded run, and no others:\n{table}");
    }
    Ok(())
}

/// The same rows from one dedup of both streams, and when both come through topics of their own because neither says how it lies.
#[test]
fn sessions_of_a_union_are_the_same_wherever_the_streams_are_united() -> Result<()> {
    let data = workload(N_EVENTS, 11);
    let complete = ("lateness = \"1h\"", "lateness = \"8d\"");
    let one_dedup = [
        complete,
        ("input = \"clean_plays\"", "inputs = [\"clean_plays\", \"clean_heartbeats\"]"),
        ("[stage.unique_heartbeats]\nkind = \"dedup\"\ninput = \"clean_heartbeats\"\nhorizon = \"9d\"\n", ""),
        ("inputs = [\"unique_plays\", \"unique_heartbeats\"]", "input = \"unique_plays\""),
    ];
    let shuffled = [complete, ("key = [\"profile_id\"]\nbound", "bound")];
    for (edits, n_shuffles) in [(&one_dedup[..], 0), (&shuffled[..], 2)] {
        let job = sessions(&data, edits)?;
        let explained: Value = serde_json::from_str(&job.read(&["explain", "--format", "json"])?)?;
        assert_eq!(explained["shuffles"].as_array().map(Vec::len), Some(n_shuffles), "{explained}");
        check_sessions(&job, &data)?;
    }
    Ok(())
}

/// Runs an example over these topics, is killed so often, and runs to its end; the batch oracle says whether the rows are right.
fn check_example(example: &str, topics: &[&str], edits: &[(&str, &str)], n_kills: u64) -> Result<()> {
    let data = workload(N_EVENTS, 11);
    let job = Job::example(example, &LogKind::Embedded, edits)?;
    job.load_topics(&data, topics)?;
    let mut rng = ChaCha8Rng::seed_from_u64(n_kills);
    for _ in 0..n_kills {
        let mut child = job.reel(&["run", "--until-end"]).stderr(Stdio::null()).stdout(Stdio::null()).spawn()?;
        thread::sleep(Duration::from_millis(rng.random_range(50..400)));
        child.kill()?;
        child.wait()?;
    }
    let summary = job.run_to_end(&["--workers", "2"])?;
    assert_eq!(summary["state_bytes"], 0, "nothing is kept after the end: {summary}");
    job.dump()?;
    job.oracle(example, &data)?;
    Ok(())
}

/// D5: keyed state without windows; any order of the plays gives the same last row.
#[test]
fn recent_plays_equal_the_batch_job_also_after_kills() -> Result<()> {
    for n_kills in [0, 4] {
        check_example("recent-plays", &["play_starts"], &[], n_kills)?;
    }
    Ok(())
}

/// D4: event-time timers, with and without a bound on lateness, and killed in the middle.
#[test]
fn rolling_counters_equal_the_batch_job_also_after_kills() -> Result<()> {
    // State must outlive the lateness by a week.
    let complete = [
        ("lateness_ms = 3600000", "lateness_ms = 691200000"),
        ("lateness = \"1h\"", "lateness = \"8d\""),
        ("state_ttl = \"170h\"", "state_ttl = \"16d\""),
    ];
    check_example("rolling-counters", &["play_starts"], &complete, 0)?;
    check_example("rolling-counters", &["play_starts"], &[], 0)?;
    check_example("rolling-counters", &["play_starts"], &complete, 4)?;
    Ok(())
}

/// D2, D7, D8 and D9: tables as of a time, rows with a time of their own, and files, with the bounds that ship and killed in the middle.
#[test]
fn rows_of_another_time_equal_the_batch_job_also_after_kills() -> Result<()> {
    let (impressions, plays, beats) = ("impressions", "play_starts", "playback_events");
    check_example("take-rate-hourly", &[impressions, plays], &[], 3)?;
    check_example("completion", &[plays, beats, "catalog"], &[], 3)?;
    check_example("continue-watching", &[beats, "catalog"], &[], 3)?;
    check_example("labelled-impressions", &[impressions, plays, beats, "catalog", "profile_changes"], &[], 3)?;
    Ok(())
}
