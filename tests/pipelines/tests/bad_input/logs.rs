//! Topics, files of lines, and the log itself.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use rand::{Rng, SeedableRng, distr::Alphanumeric};
use rand_chacha::ChaCha8Rng;
use reelflow_pipelines::{Job, LogKind, prepared};

use crate::{
    PLAY,
    cases::{NO_EDIT, RUN},
    job, judge,
};

/// Two topics that should lie side by side do not.
#[test]
fn different_partition_counts_are_refused() -> Result<()> {
    let job = Job::example("personalization", &LogKind::Embedded, &[])?;
    for (topic, n) in [("impressions", "4"), ("play_starts", "3"), ("playback_events", "4")] {
        job.read(&["topic", "create", topic, "--partitions", n])?;
    }
    let mut failures = Vec::new();
    let output = job.reel(RUN).output()?;
    judge("run", &output, 3, &["RF0502", "topic \"play_starts\" has 3 partitions, \"impressions\" has 4"], &mut failures);
    let output = job.reel(&["check", "--online"]).output()?;
    judge("check --online", &output, 3, &["RF0502"], &mut failures);
    let output = job.reel(&["topic", "create", "impressions", "--partitions", "5"]).output()?;
    judge("topic create", &output, 2, &["has 4 partitions instead of 5"], &mut failures);
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    Ok(())
}

/// Files that `reel topic write` cannot take: the line is named, and what came before it is not written twice on a second try.
#[test]
fn lines_that_cannot_be_written_are_named() -> Result<()> {
    let job = job(NO_EDIT)?;
    let mut failures = Vec::new();
    for (name, bytes, args, says) in [
        ("no key", "{\"a\":1}\n{\"b\":1}\n", &["--key", "a"][..], "no key:2: no field \"a\""),
        ("no JSON", "{\"a\":1}\nhello\n", &["--key", "a"], "no JSON:2: not JSON"),
        ("no time", "{\"a\":\"now\"}\n", &["--timestamp", "a"], "no time:1: field \"a\" is not a timestamp"),
        ("no tabs", "a b c\n", &["--lines", "tsv"], "no tabs:1: not key, timestamp and value"),
        (
            "neither key nor value",
            "\t1767225600000\n",
            &["--lines", "tsv"],
            "neither key nor value:1: not key, timestamp and value",
        ),
    ] {
        fs::write(job.path().join(name), bytes)?;
        let output = job.reel(&[&["topic", "write", "lines", name, "--partitions", "1"], args].concat()).output()?;
        judge(name, &output, 2, &[says], &mut failures);
    }
    let output = job.reel(&["topic", "write", "lines", "nothing.ndjson", "--partitions", "1"]).output()?;
    judge("no file", &output, 3, &["nothing.ndjson"], &mut failures);
    let huge = format!("{}\n", "x".repeat(2_000_000));
    fs::write(job.path().join("huge"), huge)?;
    let output = job.reel(&["topic", "write", "lines", "huge", "--partitions", "1"]).output()?;
    judge("a record of two megabytes", &output, 2, &["larger than the log takes"], &mut failures);
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    Ok(())
}

/// The embedded log runs out of space: a clear error, and nothing that was committed is lost.
#[test]
fn a_full_disk_loses_nothing() -> Result<()> {
    let job = job(NO_EDIT)?;
    let line = format!("k\t1767225600000\t{PLAY}\n");
    fs::write(job.path().join("first.tsv"), line.repeat(1_000))?;
    job.read(&["topic", "write", "plays", "first.tsv", "--lines", "tsv", "--partitions", "1"])?;
    // A limit on the size of files stands for the full disk: an error of the same call, on every machine. What is written must not
    // be compressible.
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut second = String::new();
    for _ in 0..400 {
        let noise: String = (0..100_000).map(|_| char::from(rng.sample(Alphanumeric))).collect();
        second.push_str(&format!("k\t1767225600000\t{noise}\n"));
    }
    fs::write(job.path().join("second.tsv"), second)?;
    let reel = prepared("debug/reel");
    let script = format!("trap '' XFSZ; ulimit -f 16384; exec {} topic write plays second.tsv --lines tsv", quoted(&reel));
    let output = std::process::Command::new("bash").args(["-c", &script]).current_dir(job.path()).output()?;
    let mut failures = Vec::new();
    judge("topic write", &output, 3, &["no space is left for the log"], &mut failures);
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    let kept = job.read(&["topic", "read", "plays"])?;
    assert!(kept.lines().filter(|line| *line == PLAY).count() == 1_000, "committed records were lost");
    Ok(())
}

fn quoted(path: &Path) -> String {
    format!("'{}'", path.display())
}

/// Two processes on one embedded log: the second is told, the first is not disturbed.
#[test]
fn an_embedded_log_serves_one_process() -> Result<()> {
    let job = job(NO_EDIT)?;
    job.read(&["topic", "create", "plays"])?;
    let mut first = job.reel(&["run"]).stdout(std::process::Stdio::null()).stderr(std::process::Stdio::piped()).spawn()?;
    // It says so once it has the log.
    let mut reader = std::io::BufReader::new(first.stderr.take().context("it was asked for")?);
    let mut line = String::new();
    while !line.contains("stop with ctrl-c") {
        line.clear();
        let n_bytes = std::io::BufRead::read_line(&mut reader, &mut line)?;
        assert!(n_bytes > 0, "the first process ended");
    }
    let output = job.reel(&["topic", "list"]).output()?;
    let mut failures = Vec::new();
    judge("topic list", &output, 3, &["RF0508", "another process has the embedded log"], &mut failures);
    first.kill()?;
    first.wait()?;
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    Ok(())
}

/// What a pipeline keeps can be looked at between two runs, and looking changes nothing.
#[test]
fn the_state_between_two_runs_is_listed() -> Result<()> {
    let job = Job::example("flights", &LogKind::Embedded, &[])?;
    let value = r#"{"flight_id":"1","scheduled_ms":1357034400000,"origin":"EWR","dep_delay":1}"#;
    fs::write(job.path().join("first.tsv"), format!("EWR\t1357034400000\t{value}\n"))?;
    job.read(&["topic", "write", "departures", "first.tsv", "--lines", "tsv", "--partitions", "1"])?;
    let before = job.read(&["state", "list"])?;
    assert!(before.contains("has committed nothing yet"), "{before}");
    job.read(&["run", "--until-end"])?;
    let listed =
        || -> Result<serde_json::Value> { Ok(serde_json::from_str(&job.read(&["state", "list", "--format", "json"])?)?) };
    let open = listed()?;
    let stage = |of: &serde_json::Value, name: &str| -> serde_json::Value {
        let mut stages =
            of["tasks"].as_array().into_iter().flatten().flat_map(|task| task["stages"].as_array().into_iter().flatten());
        stages.find(|stage| stage["stage"] == name).cloned().unwrap_or_default()
    };
    let hourly = stage(&open, "hourly");
    assert!(hourly["state_bytes"].as_u64() > Some(0) && hourly["counts"]["accepted"] == 1, "{open}");
    assert_eq!(listed()?, open, "looking changes nothing");
    fs::write(job.path().join("none.tsv"), "")?;
    job.read(&["topic", "write", "departures", "none.tsv", "--lines", "tsv", "--end"])?;
    job.read(&["run", "--until-end"])?;
    let closed = listed()?;
    assert_eq!(stage(&closed, "hourly")["state_bytes"], 0, "{closed}");
    let text = job.read(&["state", "list"])?;
    assert!(text.contains("watermark end") && text.contains("0 offsets behind"), "{text}");
    Ok(())
}

/// What decides the results of a stage cannot change under its state: the old results stay right, and go on once it is undone. (I-11)
#[test]
fn state_of_a_changed_stage_is_refused() -> Result<()> {
    let job = Job::example("flights", &LogKind::Embedded, &[])?;
    let departure = |number: u32| {
        let value = format!(r#"{{"flight_id":"{number}","scheduled_ms":1357034400000,"origin":"EWR","dep_delay":{number}}}"#);
        format!("EWR\t1357034400000\t{value}\n")
    };
    let mut failures = Vec::new();
    fs::write(job.path().join("first.tsv"), departure(1))?;
    job.read(&["topic", "write", "departures", "first.tsv", "--lines", "tsv", "--partitions", "1"])?;
    job.read(&["run", "--until-end"])?;
    let manifest = job.path().join("reel.toml");
    let text = fs::read_to_string(&manifest)?;
    let renamed = text.replace("[stage.hourly]", "[stage.daily]").replace("input = \"hourly\"", "input = \"daily\"");
    for (edited, says) in [
        (
            text.replace("size = \"1h\"", "size = \"30m\""),
            "stage \"hourly\" had window = tumbling 1h, offset 0s, now it is tumbling 30m, offset 0s",
        ),
        (
            text.replace("size = \"1h\"", "size = \"1h\", time_zone = \"America/New_York\""),
            "stage \"hourly\" had window = tumbling 1h, offset 0s, now it is tumbling 1h, offset 0s, time zone America/New_York with rules",
        ),
        (text.replace("lateness = \"24h\"", "lateness = \"1h\""), "stage \"hourly\" had lateness = 1d, now it is 1h"),
        (renamed, "state of a stage \"hourly\" that the pipeline does not have"),
    ] {
        fs::write(&manifest, edited)?;
        judge(says, &job.reel(RUN).output()?, 2, &["RF0512", says, "give the pipeline a new name"], &mut failures);
    }
    fs::write(&manifest, text)?;
    fs::write(job.path().join("second.tsv"), departure(2))?;
    job.read(&["topic", "write", "departures", "second.tsv", "--lines", "tsv", "--end"])?;
    job.read(RUN)?;
    let hours = job.read(&["topic", "read", "hourly"])?;
    if !hours.contains(r#""departures":2"#) {
        failures.push(format!("the hour lost a departure: {hours}"));
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    Ok(())
}

/// Streams that had tasks of their own cannot become one stream, as one of the two states would be forgotten. A stream that is new can join.
#[test]
fn states_of_two_tasks_do_not_become_one() -> Result<()> {
    let job = Job::example("viewing-sessions", &LogKind::Embedded, &[])?;
    for (topic, line) in [
        ("play_starts", r#"{"event_id":"p","event_ts":5,"profile_id":7,"title_id":70,"playback_id":"p-1"}"#),
        (
            "playback_events",
            r#"{"event_id":"b","event_ts":9,"profile_id":7,"title_id":70,"playback_id":"p-1","seq":1,"type":"STOP","pos_ms":4,"watched_ms":4}"#,
        ),
    ] {
        fs::write(job.path().join("line.tsv"), format!("7\t9\t{line}\n"))?;
        job.read(&["topic", "write", topic, "line.tsv", "--lines", "tsv", "--partitions", "1"])?;
    }
    let manifest = job.path().join("reel.toml");
    let united = fs::read_to_string(&manifest)?;
    let alone = |text: &str| text.replace("inputs = [\"unique_plays\", \"unique_heartbeats\"]", "input = \"unique_heartbeats\"");
    let plays = "\n[sink.plays]\ninput = \"unique_plays\"\ntopic = \"clean_plays\"\n";
    let mut failures = Vec::new();

    fs::write(&manifest, alone(&united) + plays)?;
    job.read(&["run", "--until-end"])?;
    fs::write(&manifest, united.clone() + plays)?;
    let says = "\"play_starts\" and \"playback_events\" were read apart, with states of their own, and are now read as one";
    judge("two tasks", &job.reel(RUN).output()?, 2, &["RF0512", says], &mut failures);

    let united = united.replace("name = \"viewing-sessions\"", "name = \"of-heartbeats\"");
    let between = |from: &str, to: &str| {
        let start = united.find(from).expect("the example has it");
        let len = united[start..].find(to).expect("the example has it");
        united[start..start + len].to_owned()
    };
    let source = between("[source.play_starts]", "[source.playback_events]");
    let stages = between("[plugin.clean-plays]", "[plugin.clean-heartbeats]");
    let heartbeats = united.replace(&source, "").replace(&stages, "");
    fs::write(&manifest, alone(&heartbeats))?;
    job.read(&["run", "--until-end"])?;
    fs::write(&manifest, &united)?;
    let says = "what task \"playback_events\" read is now read by task \"play_starts\": the first source names a task";
    judge("a new first source", &job.reel(RUN).output()?, 2, &["RF0512", says], &mut failures);
    fs::write(&manifest, format!("{heartbeats}\n{source}{stages}"))?;
    for topic in ["play_starts", "playback_events"] {
        job.read(&["topic", "write", topic, "/dev/null", "--lines", "tsv", "--end"])?;
    }
    job.read(RUN)?;
    let sessions = job.read(&["topic", "read", "viewing_sessions"])?;
    if !sessions.contains(r#""session_start":5,"session_end":9,"events":2,"#) {
        failures.push(format!("a play that joined is missing: {sessions}"));
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    Ok(())
}
