//! The main job on the embedded log.

use std::{process::Stdio, thread, time::Duration};

use anyhow::{Context, Result};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use reelflow_pipelines::{Job, Lateness, LogKind, workload};

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

/// D6 over heartbeats: sessions of half an hour, with and without a bound on lateness, and killed in the middle.
#[test]
fn sessions_equal_the_batch_job_also_after_kills() -> Result<()> {
    let data = workload(N_EVENTS, 11);
    let topic = data.join("topics/playback_events.tsv");
    let topic = topic.to_str().context("a path that is text")?;
    for (lateness, n_kills) in [("8d", 0), ("1h", 0), ("8d", 4)] {
        let edit = format!("lateness = \"{lateness}\"");
        let job = Job::example("viewing-sessions", &LogKind::Embedded, &[("lateness = \"1h\"", &edit)])?;
        job.read(&["topic", "write", "playback_events", topic, "--lines", "tsv", "--partitions", "4", "--end"])?;
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
        job.oracle("sessions", &data)?;
    }
    Ok(())
}

/// Runs an example over the plays, is killed so often, and runs to its end; the batch oracle says whether the rows are right.
fn check_plays(example: &str, edits: &[(&str, &str)], n_kills: u64) -> Result<()> {
    let data = workload(N_EVENTS, 11);
    let topic = data.join("topics/play_starts.tsv");
    let topic = topic.to_str().context("a path that is text")?;
    let job = Job::example(example, &LogKind::Embedded, edits)?;
    job.read(&["topic", "write", "play_starts", topic, "--lines", "tsv", "--partitions", "4", "--end"])?;
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
        check_plays("recent-plays", &[], n_kills)?;
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
    check_plays("rolling-counters", &complete, 0)?;
    check_plays("rolling-counters", &[], 0)?;
    check_plays("rolling-counters", &complete, 4)?;
    Ok(())
}
