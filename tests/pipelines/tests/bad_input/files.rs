//! Folders that files cannot be published in.

use std::{
    fs,
    path::Path,
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use reelflow_pipelines::Job;

use crate::{PLAY, cases::RUN, job, judge};

const TOPIC: &str = "topic = \"clean\"\nkey = [\"profile_id\"]";

/// A pipeline that writes files to `path`, and two hundred records to read.
fn with_files(path: &str, format: &str) -> Result<Job> {
    let to = format!("files = {{ path = \"{path}\", format = \"{format}\" }}");
    let job = job((TOPIC, &to))?;
    feed(&job)?;
    Ok(job)
}

fn feed(job: &Job) -> Result<()> {
    fs::write(job.path().join("plays.tsv"), format!("k\t1767225600000\t{PLAY}\n").repeat(200))?;
    job.read(&["topic", "write", "plays", "plays.tsv", "--lines", "tsv", "--partitions", "1", "--end"])?;
    Ok(())
}

fn edit(job: &Job, from: &str, to: &str) -> Result<()> {
    let path = job.path().join("reel.toml");
    let text = fs::read_to_string(&path)?;
    assert!(text.contains(from), "the manifest does not contain {from:?}");
    Ok(fs::write(&path, text.replace(from, to))?)
}

/// What is done to a job that has published its rows, and what the next run says.
type Case = (&'static str, fn(&Job) -> Result<()>, &'static [&'static str]);

const CASES: &[Case] = &[
    (
        "another format",
        |job| edit(job, "\"ndjson\"", "\"parquet\""),
        &["holds ndjson files of sink \"clean\"", "not parquet files"],
    ),
    (
        "another division",
        |job| edit(job, "path = \"out\"", "path = \"out\", partition_by = \"day\""),
        &["partitioned by hour, not"],
    ),
    (
        "another pipeline",
        |job| edit(job, "name = \"bad-input\"", "name = \"other\""),
        &["of pipeline \"bad-input\"", "folder of its own"],
    ),
    (
        "another sink",
        |job| edit(job, "[sink.clean]", "[sink.rows]"),
        &["of sink \"clean\" of pipeline", "\"rows\" cannot be published"],
    ),
    (
        "the log is gone",
        |job| Ok(fs::remove_dir_all(job.path().join("log"))?).and_then(|()| feed(job)),
        &["but the log ends at 0"],
    ),
    (
        "the folder is gone",
        |job| Ok(fs::remove_dir_all(job.path().join("out"))?),
        &["were published, but not in this folder", "bring the folder back"],
    ),
    ("a damaged owner", |job| damage(job, "sink.json"), &["sink.json\" cannot be read"]),
    ("a damaged record", |job| damage(job, "rolls/p00000/000000000001.json"), &["000000000001.json\" cannot be read"]),
];

fn damage(job: &Job, file: &str) -> Result<()> {
    Ok(fs::write(job.path().join("out/_reel").join(file), "{\"format\":")?)
}

#[test]
fn a_folder_that_does_not_fit_is_refused() -> Result<()> {
    let mut failures = Vec::new();
    for (name, prepare, says) in CASES {
        let job = with_files("out", "ndjson")?;
        let output = job.reel(RUN).output()?;
        judge("the first run", &output, 0, &["published 200 rows"], &mut failures);
        prepare(&job)?;
        let output = job.reel(RUN).output()?;
        judge(name, &output, 3, &[says, &["RF0513"][..]].concat(), &mut failures);
    }
    assert!(failures.is_empty(), "{}", failures.join("\n---\n"));
    Ok(())
}

#[test]
fn a_folder_that_cannot_be_written_is_refused_before_anything_is_read() -> Result<()> {
    let mut failures = Vec::new();
    for (name, path, prepare, says) in [
        ("a file", "rows", "rows", "\"rows\" is not a folder"),
        ("below a file", "rows/within", "rows", "\"rows\" is not a folder"),
        ("files of nobody", "mine", "mine/thesis.txt", "holds \"thesis.txt\" and is not known to be a sink's"),
        ("no place for folders", "/proc/rows", "unused", "/proc"),
    ] {
        let job = with_files(path, "parquet")?;
        let file = job.path().join(prepare);
        fs::create_dir_all(file.parent().unwrap_or(Path::new(".")))?;
        fs::write(file, "")?;
        let output = job.reel(RUN).output()?;
        judge(name, &output, 3, &["the files of sink \"clean\" cannot be published", says], &mut failures);
        let topics = job.read(&["topic", "list"])?;
        if topics.contains("reel.") {
            failures.push(format!("{name}: topics were made:\n{topics}"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n---\n"));
    Ok(())
}

/// Rows that a killed run has left in the topic, and a manifest that gives the sink other fields.
#[test]
fn rows_that_wait_for_a_sink_with_other_fields_are_refused() -> Result<()> {
    let job = with_files("out", "ndjson")?;
    let mut child = job.reel(&["run"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let staging = job.path().join("out/_reel/staging/p00000");
    let deadline = Instant::now() + Duration::from_secs(60);
    while fs::read_dir(&staging).is_ok_and(|mut entries| entries.next().is_none()) || !staging.exists() {
        assert!(Instant::now() < deadline, "nothing was staged");
        thread::sleep(Duration::from_millis(10));
    }
    child.kill()?;
    child.wait()?;
    edit(&job, "input = \"clean\"\nfiles", "input = \"plays\"\nfiles")?;
    let mut failures = Vec::new();
    let output = job.reel(RUN).output()?;
    let says = ["RF0513", "cannot be read: they have other fields than the sink has now", "publish what waits with the manifest"];
    judge("another input", &output, 3, &says, &mut failures);
    edit(&job, "input = \"plays\"\nfiles", "input = \"clean\"\nfiles")?;
    let output = job.reel(RUN).output()?;
    judge("as it was", &output, 0, &["published 200 rows"], &mut failures);
    assert!(failures.is_empty(), "{}", failures.join("\n---\n"));
    Ok(())
}
