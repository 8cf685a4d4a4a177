//! Files that cannot be replayed, and records in them that cannot be read.

use std::fs;

use anyhow::Result;
use reelflow_pipelines::Job;

use crate::{PLAY, job, judge};

const TOPIC: &str = "topic = \"plays\"";
const BACKFILL: &[&str] = &["backfill", "--suffix", ".fixed", "--partitions", "2"];

/// A pipeline with `files` of its source, and what lies beside its manifest.
fn with(files: &str, beside: &[(&str, &[u8])]) -> Result<Job> {
    let to = format!("topic = \"plays\"\n{files}");
    let job = job((TOPIC, &to))?;
    for (path, bytes) in beside {
        let path = job.path().join(path);
        fs::create_dir_all(path.parent().expect("it lies in the job's folder"))?;
        fs::write(path, bytes)?;
    }
    Ok(job)
}

/// What lies where, what is asked for, and what is said.
struct Case {
    name: &'static str,
    files: &'static str,
    beside: &'static [(&'static str, &'static [u8])],
    args: &'static [&'static str],
    exit: i32,
    says: &'static [&'static str],
}

const LINES: &str = "files = { path = \"history\", format = \"ndjson\" }";
const COLUMNS: &str = "files = { path = \"history\", format = \"parquet\" }";

fn refused(
    name: &'static str,
    files: &'static str,
    beside: &'static [(&'static str, &'static [u8])],
    says: &'static [&'static str],
) -> Case {
    Case { name, files, beside, args: BACKFILL, exit: 3, says }
}

fn usage(name: &'static str, args: &'static [&'static str], says: &'static [&'static str]) -> Case {
    Case { name, files: LINES, beside: &[("history/a.ndjson", b"{}\n")], args, exit: 2, says }
}

fn cases() -> Vec<Case> {
    vec![
        refused("no folder", LINES, &[], &["RF0521", "history\" does not exist", "mend the path"]),
        refused("an empty folder", LINES, &[("history/_SUCCESS", b"")], &["RF0521", "no record lies there"]),
        refused("an empty file", LINES, &[("history/a.ndjson", b"")], &["RF0521", "no record lies there"]),
        refused("a line that is cut off", LINES, &[("history/a.ndjson", b"{\"event_id\":")], &["a.ndjson\" is damaged", "ends within line 1"]),
        refused("another file", LINES, &[("history/a.ndjson", b"{}\n"), ("history/b.csv", b"")], &["b.csv\" is no ndjson file"]),
        refused("compressed lines", LINES, &[("history/a.ndjson.gz", b"\x1f\x8b")], &["is no ndjson file by its name"]),
        refused("lines that are no columns", COLUMNS, &[("history/a.parquet", b"{\"event_id\":\"e\"}\n")], &["a.parquet\" is damaged"]),
        refused("columns without a byte", COLUMNS, &[("history/a.parquet", b"")], &["a.parquet\" is damaged"]),
        refused("a pattern that finds nothing", "files = { path = \"history/*.ndjson\", format = \"ndjson\" }", &[], &["no file has a name like"]),
        refused("a pattern that is none", "files = { path = \"history/[a\", format = \"ndjson\" }", &[], &["is no pattern"]),
        Case {
            name: "no time asked for",
            files: LINES,
            beside: &[("history/a.ndjson", b"{\"event_id\":\"e1\",\"event_ts\":5,\"profile_id\":1,\"account_id\":1,\"device\":\"tv\",\"country\":\"NL\",\"title_id\":7,\"playback_id\":\"p1\",\"offline\":false,\"trailer\":false}\n")],
            args: &["backfill", "--suffix", ".fixed", "--partitions", "2", "--from", "2026-01-01"],
            exit: 3,
            says: &["RF0521", "within the times asked for", "--from and --to"],
        },
        Case {
            name: "nowhere to sort",
            files: LINES,
            beside: &[("history/a.ndjson", b"{}\n")],
            args: &["backfill", "--suffix", ".fixed", "--partitions", "2", "--spool", "nowhere"],
            exit: 3,
            says: &["RF0521", "nowhere", "--spool"],
        },
        Case { name: "a source without files", files: "", beside: &[], args: BACKFILL, exit: 2, says: &["RF0520", "has no files to replay"] },
        Case {
            name: "topics that are not there",
            files: LINES,
            beside: &[("history/a.ndjson", b"{}\n")],
            args: &["backfill", "--in-place"],
            exit: 3,
            says: &["RF0501", "\"plays\" does not exist"],
        },
        usage("no place for results", &["backfill"], &["--suffix", "--in-place"]),
        usage("two places for results", &["backfill", "--suffix", ".x", "--in-place"], &["cannot be used with"]),
        usage("a suffix that no topic may have", &["backfill", "--suffix", "/x"], &["must be up to 32 letters"]),
        usage("no time", &["backfill", "--in-place", "--from", "yesterday"], &["must be a time such as"]),
        usage("no source of this name", &["backfill", "--in-place", "--partitions", "2", "--only", "pauses"], &["reads no such source", "plays"]),
        usage("a bad name", &["backfill", "--in-place", "--name", "Fix It"], &["a name is 1 to 64 of a-z"]),
    ]
}

#[test]
fn what_cannot_be_replayed_is_refused_and_leaves_no_topic() -> Result<()> {
    let mut failures = Vec::new();
    for case in cases() {
        let job = with(case.files, case.beside)?;
        let output = job.reel(case.args).output()?;
        judge(case.name, &output, case.exit, case.says, &mut failures);
        let topics = job.read(&["topic", "list"])?;
        if topics.contains("reel.") {
            failures.push(format!("{}: topics were made:\n{topics}", case.name));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n---\n"));
    Ok(())
}

#[test]
fn files_of_the_live_pipeline_are_not_mixed_with_those_of_a_backfill() -> Result<()> {
    let job = with(LINES, &[("history/a.ndjson", b"{}\n")])?;
    let path = job.path().join("reel.toml");
    let text = fs::read_to_string(&path)?;
    fs::write(
        path,
        text.replace("topic = \"clean\"\nkey = [\"profile_id\"]", "files = { path = \"out\", format = \"ndjson\" }"),
    )?;
    let mut failures = Vec::new();
    let output = job.reel(&["backfill", "--in-place", "--partitions", "2"]).output()?;
    judge("in place", &output, 3, &["RF0513", "the live pipeline publishes here", "--suffix"], &mut failures);
    let output = job.reel(BACKFILL).output()?;
    judge("beside", &output, 0, &["1 dead letters"], &mut failures);
    assert!(failures.is_empty(), "{}", failures.join("\n---\n"));
    assert!(job.path().join("out.fixed/_reel").is_dir() && !job.path().join("out").exists());
    Ok(())
}

/// A line that cannot be read is a dead letter that names its file; other files than before are refused.
#[test]
fn what_cannot_be_read_says_where_it_lies() -> Result<()> {
    let lines =
        format!("{PLAY}\nnot json\n{}\n", PLAY.replace("\"e1\"", "\"e2\"").replace("\"profile_id\":1", "\"profile_id\":\"x\""));
    let job = with(LINES, &[("history/dt=1/a.ndjson", lines.as_bytes())])?;
    let mut failures = Vec::new();
    let output = job.reel(BACKFILL).output()?;
    judge("the first time", &output, 0, &["2 dead letters"], &mut failures);
    let dead = job.read(&["topic", "read", "dead.bad-input.fixed", "--format", "json"])?;
    for says in ["history/dt=1/a.ndjson:2", "history/dt=1/a.ndjson:3", "not json"] {
        if !dead.contains(says) {
            failures.push(format!("the dead letters do not say {says:?}:\n{dead}"));
        }
    }
    fs::write(job.path().join("history/dt=1/b.ndjson"), format!("{PLAY}\n"))?;
    let output = job.reel(BACKFILL).output()?;
    judge(
        "one file more",
        &output,
        3,
        &["RF0521", "cannot go on", "not those that this backfill began with", "--name"],
        &mut failures,
    );
    let output = job.reel(&[BACKFILL, &["--name", "again"]].concat()).output()?;
    judge("under another name", &output, 0, &["2 dead letters"], &mut failures);
    assert!(failures.is_empty(), "{}", failures.join("\n---\n"));
    Ok(())
}
