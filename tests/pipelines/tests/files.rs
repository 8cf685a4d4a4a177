//! Rows as files: each in one of them, in the folder of its hour, whatever happens.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use reelflow_pipelines::{Job, LogKind, workload};
use serde_json::Value;

const COMPLETE: (&str, &str) = ("lateness = \"6h\"", "lateness = \"8d\"");
/// Rolls so short that kills hit many of them.
const OFTEN: [(&str, &str); 3] = [
    ("roll_every = \"5m\"\n", ""),
    ("roll_bytes = \"128MiB\"\n", ""),
    ("format = \"parquet\"", "format = \"parquet\"\nroll_every = \"100ms\"\nroll_bytes = \"4KiB\""),
];
const NDJSON: (&str, &str) = ("format = \"parquet\"", "format = \"ndjson\"");

fn loaded(edits: &[(&str, &str)]) -> Result<(Job, PathBuf)> {
    let data = workload(60_000, 11);
    let job = Job::example("training-rows", &LogKind::Embedded, edits)?;
    job.load_topics(&data, &["impressions", "play_starts"])?;
    Ok((job, data))
}

fn judge(job: &Job, data: &Path) -> Result<()> {
    job.dump()?;
    job.oracle("training-rows", data).map(|_| ())
}

fn start(job: &Job) -> Result<Child> {
    let mut command = job.reel(&["run", "--until-end", "--workers", "2"]);
    Ok(command.stderr(Stdio::null()).stdout(Stdio::null()).spawn()?)
}

/// Kills a run at a random moment after it has begun to write files, if it does.
fn kill_while_publishing(job: &Job, rng: &mut ChaCha8Rng) -> Result<()> {
    let mut child = start(job)?;
    let staging = job.path().join("out/impressions/_reel/staging");
    let names = || -> Vec<PathBuf> {
        let partitions = (0..4).flat_map(|partition| fs::read_dir(staging.join(format!("p{partition:05}"))));
        partitions.flatten().flatten().map(|entry| entry.path()).collect()
    };
    let before = names();
    let deadline = Instant::now() + Duration::from_secs(5);
    while Instant::now() < deadline && child.try_wait()?.is_none() && names().iter().all(|name| before.contains(name)) {
        thread::sleep(Duration::from_millis(2));
    }
    thread::sleep(Duration::from_millis(rng.random_range(0..40)));
    child.kill()?;
    child.wait()?;
    Ok(())
}

/// The files that a glob finds.
fn published(job: &Job, sink: &str, ending: &str) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let folders = |path: &Path| -> Result<Vec<PathBuf>> {
        if !path.exists() {
            return Ok(Vec::new());
        }
        Ok(fs::read_dir(path)?.map(|entry| entry.map(|entry| entry.path())).collect::<std::io::Result<_>>()?)
    };
    for day in folders(&job.path().join("out").join(sink))? {
        for hour in folders(&day)?.into_iter().filter(|_| day.to_string_lossy().contains("dt=")) {
            files.extend(folders(&hour)?.into_iter().filter(|path| path.extension().is_some_and(|of| of == ending)));
        }
    }
    Ok(files)
}

#[test]
fn parquet_files_equal_the_batch_job() -> Result<()> {
    let (job, data) = loaded(&[COMPLETE])?;
    let summary = job.run_to_end(&["--workers", "2"])?;
    judge(&job, &data)?;
    // Few files: at most one for each partition and hour, since the run is shorter than a roll.
    for sink in ["impressions", "discoveries"] {
        let files = published(&job, sink, "parquet")?;
        ensure!(files.len() <= 4 * 70, "{sink}: {} files", files.len());
    }
    ensure!(summary["rows_published"].as_u64() > Some(40_000), "{summary}");
    Ok(())
}

#[test]
fn json_files_equal_the_batch_job_without_what_is_late() -> Result<()> {
    let (job, data) = loaded(&[NDJSON])?;
    job.run_to_end(&[])?;
    judge(&job, &data)?;
    let again = job.run_to_end(&[])?;
    ensure!(again["files_published"] == 0, "there is nothing left to publish: {again}");
    judge(&job, &data)
}

/// I-13 and I-6: killed at random moments. In between, a reader finds whole files only, and no row twice.
#[test]
fn kills_leave_each_row_in_one_file() -> Result<()> {
    let (job, data) = loaded(&[&[COMPLETE][..], &OFTEN, &[NDJSON]].concat())?;
    let mut rng = ChaCha8Rng::seed_from_u64(12);
    let mut n_seen = Vec::new();
    for _ in 0..12 {
        kill_while_publishing(&job, &mut rng)?;
        let mut ids = BTreeSet::new();
        for file in published(&job, "impressions", "ndjson")? {
            let text = fs::read_to_string(&file)?;
            ensure!(text.ends_with('\n'), "{} is torn", file.display());
            for line in text.lines() {
                let row: Value = serde_json::from_str(line)?;
                let id = row["event_id"].as_str().unwrap_or_default().to_owned();
                ensure!(ids.insert(id), "{line} stands twice");
            }
        }
        n_seen.push(ids.len());
    }
    println!("rows that a reader saw after each kill: {n_seen:?}");
    ensure!(n_seen[0] < 47_000, "the first kill came when almost all was published: {n_seen:?}");
    job.run_to_end(&["--workers", "2"])?;
    judge(&job, &data)
}

#[test]
fn kills_leave_no_torn_parquet_file() -> Result<()> {
    let (job, data) = loaded(&[&[COMPLETE][..], &OFTEN].concat())?;
    let mut rng = ChaCha8Rng::seed_from_u64(13);
    for _ in 0..10 {
        kill_while_publishing(&job, &mut rng)?;
        for file in published(&job, "impressions", "parquet")? {
            let bytes = fs::read(&file)?;
            ensure!(bytes.starts_with(b"PAR1") && bytes.ends_with(b"PAR1"), "{} is torn", file.display());
        }
    }
    job.run_to_end(&["--workers", "2"])?;
    judge(&job, &data)
}

/// A run that is asked to stop publishes what it has committed; the next one publishes the rest.
#[test]
fn a_run_that_is_stopped_loses_nothing_and_leaves_nothing_staged() -> Result<()> {
    let (job, data) = loaded(&[COMPLETE])?;
    for _ in 0..2 {
        let mut command = job.reel(&["run", "--until-end", "--workers", "2"]);
        let mut child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn()?;
        let mut said = BufReader::new(child.stderr.take().context("it is piped")?);
        let mut line = String::new();
        // From here on signals are handled.
        while said.read_line(&mut line)? > 0 && !line.contains("created topic") && !line.contains("recovered") {
            line.clear();
        }
        thread::sleep(Duration::from_millis(400));
        ensure!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status()?.success(), "kill -TERM");
        said.read_to_string(&mut line)?;
        let status = child.wait()?;
        ensure!(status.success(), "ended with {status}: {line}");
        let left = Command::new("find").arg(job.path().join("out")).args(["-path", "*/staging/p*/*"]).output()?;
        ensure!(left.stdout.is_empty(), "{}", String::from_utf8_lossy(&left.stdout));
    }
    job.run_to_end(&[])?;
    judge(&job, &data)
}
