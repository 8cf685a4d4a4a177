//! A candidate beside a pipeline that runs on a real Kafka: told apart under load, promoted, refused; and beside one that is stopped.

use std::{
    fs,
    process::Output,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use reelflow_broker_tests::Broker;
use reelflow_pipelines::{Job, LogKind, console::type_in, said, variant};
use serde_json::Value;

mod cost;
#[path = "../reload/project.rs"]
mod project;

use project::Project;

/// Plays of the title 3 count twice.
const TWICE: &str = "state.plays += 1 + u64::from(play.profile_id % 7 == 3);";

fn shadow(project: &Project, args: &[&str]) -> Result<Output> {
    Ok(project.command(&project.path(), &[&["shadow"], args].concat()).output()?)
}

/// The report, which is the first line of what was written.
fn report(output: &Output, exit: i32) -> Result<Value> {
    ensure!(output.status.code() == Some(exit), "it ended with {}: {}", output.status, said(output));
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(text.lines().next().unwrap_or_default()).with_context(|| said(output))
}

fn ends(output: &Output, exit: i32, words: &[&str]) -> Result<()> {
    let text = said(output);
    ensure!(output.status.code() == Some(exit), "it ended with {} instead of {exit}: {text}", output.status);
    for word in words {
        ensure!(text.contains(word), "no {word:?} in: {text}");
    }
    Ok(())
}

/// Only the title that the candidate counts otherwise, and of it what it was and would be.
fn tells_of_title_3_alone(report: &Value) -> Result<()> {
    let outputs = report["outputs"].as_array().context("a list")?;
    let [sink] = &outputs[..] else { anyhow::bail!("other outputs differ: {report}") };
    ensure!(sink["kind"] == "sink" && sink["name"] == "result" && sink["keys"] == 1, "{sink}");
    ensure!(sink["only_old"] == 0 && sink["only_new"] == 0 && sink["equal"].as_u64() > Some(0), "{sink}");
    let differences = sink["differences"].as_array().context("a list")?;
    ensure!(!differences.is_empty() && sink["changed"].as_u64() >= Some(differences.len() as u64), "{sink}");
    for one in differences {
        let plays = |side: &str| one[side]["plays"].as_i64().unwrap_or_default();
        ensure!(one["what"] == "changed" && one["key"] == "3" && plays("new") > plays("old") && plays("old") > 0, "{one}");
        ensure!(one["old"]["viewers"] == one["new"]["viewers"], "{one}");
    }
    let state = &report["state"][0];
    ensure!(state["stage"] == "result" && state["changed"] == 1 && state["differences"][0]["key"] == "[3]", "{state}");
    Ok(())
}

/// Every record of the results was made by code with the digest that begins with `digest`.
fn are_all_of(project: &Project, digest: &str) -> Result<()> {
    let records = project.reel(&project.path(), &["topic", "read", "swapped", "--format", "json"])?;
    let is_of = |line: &&str| line.contains(&format!("\"reel-plugin\":\"swapped@{digest}"));
    let other = records.lines().filter(|line| line.starts_with('{')).find(|line| !is_of(line));
    ensure!(other.is_none(), "another code made {other:?}, not {digest}");
    Ok(())
}

/// Under load: equal code does not differ, other code where it is other, and nothing of it shows before it is promoted.
#[test]
fn a_candidate_is_told_apart_and_promoted() -> Result<()> {
    let broker = Broker::start()?;
    let project = Project::new(&broker.bootstrap())?;
    project.edit(&[])?;
    let (path, wasm) = (project.path(), project.path().join("swapped.wasm"));
    let first = fs::read(&wasm)?;
    fs::write(path.join("same.wasm"), variant(&first, 1))?;
    project.write_plays(1..2_000)?;
    ends(&shadow(&project, &["--plugin", "same.wasm"])?, 3, &["has never run on the Kafka at"])?;
    let running = project.start()?;
    project.wait_for("stop with ctrl-c")?;
    project.edit(&[("state.plays += 1;", TWICE)])?;
    fs::rename(&wasm, path.join("twice.wasm"))?;
    fs::write(&wasm, &first)?;

    let stop = AtomicBool::new(false);
    thread::scope(|scope| -> Result<()> {
        let feeding = scope.spawn(|| project.feed(&broker.bootstrap(), 2_000, &stop));
        let found = beside(&project);
        stop.store(true, Ordering::Relaxed);
        println!("{} plays", feeding.join().expect("the feeder does not panic")?);
        found
    })?;
    running.leave()?;
    let history = project.reel(&path, &["history"])?;
    ensure!(history.contains("accepted") && history.contains("by reel shadow"), "{history}");

    // Nobody runs it, and all is processed: nothing comes, and nothing changes.
    project.reel(&path, &["run", "--until-end"])?;
    let before = project.state()?;
    let output = shadow(&project, &["--plugin", "same.wasm", "--for", "2s", "--promote"])?;
    ends(&output, 1, &["no record came, so nothing was compared"])?;
    ensure!(project.state()? == before, "a shadow changed the state");
    ensure!(!project.run_log().contains("trying again"), "a session was lost:\n{}", project.run_log());
    Ok(())
}

/// Until the pipeline has written results, so that it has committed something.
fn await_results(project: &Project) -> Result<()> {
    let begin = Instant::now();
    while !project.reel(&project.path(), &["topic", "read", "swapped", "--limit", "1"]).is_ok_and(|said| !said.is_empty()) {
        ensure!(begin.elapsed() < Duration::from_secs(60), "no result came:\n{}", project.run_log());
        thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}

fn beside(project: &Project) -> Result<()> {
    await_results(project)?;
    let same = report(&shadow(project, &["--plugin", "same.wasm", "--for", "10s", "--format", "json"])?, 0)?;
    ensure!(same["differs"] == false && same["outputs"][0]["equal"].as_u64() > Some(100), "{same}");
    let digest = same["plan"]["plugins"][0]["was"].as_str().context("a digest")?;
    let twice = shadow(project, &["--plugin", "swapped=twice.wasm", "--for", "10s", "--format", "json"])?;
    tells_of_title_3_alone(&report(&twice, 1)?)?;
    let refused = shadow(project, &["--plugin", "twice.wasm", "--for", "6s", "--show", "2", "--promote"])?;
    ends(
        &refused,
        1,
        &["sink \"result\": ", "  ~ 3  2026-", "plays: ", "  and ", "  ~ [3]", "the candidate is not promoted: it differs"],
    )?;
    are_all_of(project, digest)?;
    let wanted = ["--plugin", "twice.wasm", "--for", "6s", "--promote", "--accept-differences", "--wait", "40"];
    ends(&shadow(project, &wanted)?, 0, &["accepted: swapped "])
}

/// On a log on disk, what was written since the last run is given to both, also behind a change of key.
#[test]
fn a_stopped_pipeline_is_shadowed_to_the_end_of_its_topics() -> Result<()> {
    let folder = tempfile::Builder::new().prefix("reelflow-").tempdir()?;
    // A name of its own: crates of one name would overwrite each other in the folder that all share.
    type_in("reel new stopped --kind aggregate && cd stopped && reel build", folder.path())?;
    let project = folder.path().join("stopped");
    let first = fs::read(project.join("stopped.wasm"))?;
    let code = fs::read_to_string(project.join("src/lib.rs"))?;
    fs::write(project.join("src/lib.rs"), code.replace("state.plays += 1;", TWICE))?;
    type_in("reel build && mv stopped.wasm twice.wasm", &project)?;
    fs::write(project.join("stopped.wasm"), &first)?;
    for (file, profiles) in [("first", 1..5_000), ("rest", 5_000..12_000)] {
        fs::write(project.join(file), profiles.map(|profile| project::play(profile) + "\n").collect::<String>())?;
    }
    let write = |file: &str| format!("reel topic write plays {file} --key profile_id --timestamp event_ts --partitions 2");
    type_in(&format!("{} && reel run --until-end && {}", write("first"), write("rest")), &project)?;
    let said = type_in("reel shadow --plugin twice.wasm --show 3 || echo it ended with $?", &project)?;
    for words in [
        "change of key \"reel.stopped.result\": 7000 equal",
        "sink \"result\": ",
        "  ~ 3  2026-",
        "  ~ [3]",
        "different",
        "it ended with 1",
    ] {
        ensure!(said.contains(words), "no {words:?} in:\n{said}");
    }
    // What it said of title 3 is what a run with that code writes.
    let changed = said.lines().find(|line| line.starts_with("  ~ 3")).context("a row of title 3")?;
    let is = changed.split("plays: ").nth(1).and_then(|rest| rest.split(" → ").nth(1)).context("what it would be")?;
    let run = type_in("cp twice.wasm stopped.wasm && reel run --until-end && reel topic read stopped", &project)?;
    ensure!(run.contains("\"title_id\":3,\"window_start\":") && run.contains(&format!("\"plays\":{is},")), "{changed}\n{run}");
    let said = type_in("reel shadow --promote || echo it ended with $?", &project)?;
    ensure!(said.contains("nothing can be promoted on a log on disk") && said.contains("it ended with 2"), "{said}");
    Ok(())
}

/// What a user can get wrong: each is said, with its exit code.
#[test]
fn what_cannot_be_shadowed_is_refused() -> Result<()> {
    let job = Job::example("personalization", &LogKind::Embedded, &[])?;
    let ask = |args: &[&str], exit: i32, words: &[&str]| ends(&job.reel(&[&["shadow"], args].concat()).output()?, exit, words);
    ask(&["--plugin", "new.wasm"], 2, &["--plugin new.wasm names no plugin of pipeline", "write NAME=new.wasm"])?;
    ask(&["--plugin", "trending=no/such.wasm"], 3, &["the component \"no/such.wasm\" cannot be read"])?;
    ask(&["--for", "0s"], 2, &["must be longer than nothing"])?;
    ask(&["--accept-differences"], 2, &["--promote"])?;
    let nobody = Job::example("personalization", &LogKind::Kafka("127.0.0.1:9".to_owned()), &[])?;
    let output = nobody.reel(&["shadow", "--for", "1s"]).output()?;
    ends(&output, 3, &["RF0503"])
}

/// A state that it cannot read, and a pipeline that has written nothing yet.
#[test]
fn a_candidate_must_fit_what_is_kept() -> Result<()> {
    let folder = tempfile::Builder::new().prefix("reelflow-").tempdir()?;
    type_in("reel new kept --kind aggregate && cd kept && reel build && cp kept.wasm first.wasm", folder.path())?;
    let project = folder.path().join("kept");
    let code = fs::read_to_string(project.join("src/lib.rs"))?;
    fs::write(project.join("src/lib.rs"), code.replace("version = 1", "version = 2"))?;
    type_in("reel build && mv kept.wasm second.wasm && cp first.wasm kept.wasm", &project)?;
    let fails = |command: &str, exit: i32, words: &[&str]| -> Result<()> {
        let said = type_in(&format!("{command} || echo it ended with $?"), &project)?;
        let ended = format!("it ended with {exit}");
        for word in words.iter().chain([&ended.as_str()]) {
            ensure!(said.contains(word), "no {word:?} in:\n{said}");
        }
        Ok(())
    };
    type_in("reel topic create plays --partitions 2 && reel run --until-end", &project)?;
    fails("reel shadow --plugin second.wasm --for 1s", 2, &["the state that is kept would be unreadable"])?;
    let other = variant(&fs::read(project.join("first.wasm"))?, 1);
    fs::write(project.join("other.wasm"), other)?;
    fails("reel shadow --plugin other.wasm --for 1s", 3, &["pipeline \"kept\" has committed nothing yet"])?;
    fails("reel shadow --plugin first.wasm --for 1s", 2, &["the pipeline runs this code already"])?;
    Ok(())
}
