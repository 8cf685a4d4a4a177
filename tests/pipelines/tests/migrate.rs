//! A plugin with a new version of its state, against the state that a pipeline keeps: what a rehearsal says, and that it is so.

use std::{fs, path::Path};

use anyhow::{Result, ensure};
use reelflow_pipelines::{Job, LogKind, console::type_in, said};
use serde_json::{Value, json};

/// Older views, and what becomes of them; the template's state is version 1.
const MIGRATION: &str = r#"
#[derive(State)]
#[state(version = 1)]
pub struct ViewsV1 {
    plays: u64,
    viewers: BTreeSet<i64>,
}

fn from_v1(old: ViewsV1) -> Result<Views, Reject> {
    if old.viewers.contains(&8) {
        return Err(Reject::from("nobody may be 8").with_code(88));
    }
    assert!(!old.viewers.contains(&9), "a nine");
    Ok(Views { plays: old.plays, trailers: 0, viewers: old.viewers })
}
"#;

/// One play of each title by each profile.
fn plays(of: &[(i64, i64)]) -> String {
    let line =
        |(title, profile): &(i64, i64)| format!("{{\"profile_id\":{profile},\"title_id\":{title},\"event_ts\":1767225600000}}\n");
    of.iter().map(line).collect()
}

/// Runs `commands`, which must fail, and gives what they said.
fn fails(commands: &str, folder: &Path) -> Result<String> {
    match type_in(commands, folder) {
        Ok(said) => anyhow::bail!("{commands} did not fail:\n{said}"),
        Err(why) => Ok(why.to_string()),
    }
}

fn has(text: &str, words: &[&str]) -> Result<()> {
    for word in words {
        ensure!(text.contains(word), "no {word:?} in:\n{text}");
    }
    Ok(())
}

#[test]
fn a_rehearsal_says_what_a_run_would_find() -> Result<()> {
    let folder = tempfile::Builder::new().prefix("reelflow-").tempdir()?;
    type_in("reel new migrated --kind aggregate", folder.path())?;
    let (project, code) = (folder.path().join("migrated"), folder.path().join("migrated/src/lib.rs"));
    let (mut first, rest) = ((0..40).map(|title| (title, 1)).collect::<Vec<_>>(), (0..40).map(|title| (title, 2)));
    first.extend([(7, 8), (8, 9)]);
    fs::write(project.join("first.ndjson"), plays(&first))?;
    fs::write(project.join("rest.ndjson"), plays(&rest.collect::<Vec<_>>()))?;
    let write = |file: &str| format!("reel topic write plays {file} --key title_id --partitions 2");
    let dry_run = "reel state migrate --dry-run";

    type_in("reel build && mv migrated.wasm v1.wasm && cp v1.wasm migrated.wasm", &project)?;
    has(&type_in(&format!("{} && {dry_run}", write("first.ndjson")), &project)?, &["has committed nothing yet"])?;
    let said = type_in(&format!("reel run --until-end && {dry_run}"), &project)?;
    has(&said, &["stage \"result\", whose plugin writes Views 1", "40 of version 1 need no migration"])?;
    let before = type_in("reel state export --to - 2>/dev/null", &project)?;

    // Version 2, which reads version 1 with two exceptions: a key that it refuses, and one on which it panics.
    let text = fs::read_to_string(&code)?;
    let raised = text.replace("version = 1", "version = 2").replace("    plays: u64,", "    plays: u64,\n    trailers: u64,");
    let second = raised.replace("version = 2", "version = 2, migrate(1 => from_v1)") + MIGRATION;
    fs::write(&code, &second)?;
    type_in("reel build && mv migrated.wasm v2.wasm && cp v1.wasm migrated.wasm", &project)?;
    let why = fails(&format!("{dry_run} --plugin v2.wasm"), &project)?;
    has(
        &why,
        &[
            "ended with exit status: 1",
            "stage \"result\", whose plugin writes Views 2",
            "38 of version 1 can be migrated",
            "2 cannot be migrated",
            "[7] from 2026-01-01T00:00:00Z in partition",
            "refused with code 88: nobody may be 8",
            "plugin trapped: panicked at src/lib.rs",
            "a nine",
        ],
    )?;
    let json = fails(&format!("{dry_run} --plugin migrated=v2.wasm --format json"), &project)?;
    let line = json.lines().find(|line| line.starts_with("{\"format\"")).unwrap_or_default();
    let mut stage: Value = serde_json::from_str::<Value>(line)?["stages"][0].take();
    let failures = stage["failures"].take();
    let expected = json!({ "stage": "result", "type": "Views", "version": 2, "by_version": { "1": 38 }, "migrated": 38, "failed": 2, "failures": null });
    ensure!(stage == expected, "{stage}");
    let codes: Vec<(&Value, &Value)> = failures.as_array().into_iter().flatten().map(|one| (&one["key"], &one["code"])).collect();
    let (seven, eight) = (json!([7]), json!([8]));
    ensure!(codes.len() == 2 && codes.contains(&(&seven, &json!(88))) && codes.contains(&(&eight, &Value::Null)), "{failures}");
    ensure!(type_in("reel state export --to - 2>/dev/null", &project)? == before, "a rehearsal changes nothing");

    // One that migrates nothing is refused before any call; one that migrates all does so in a run, state by state.
    fs::write(&code, &raised)?;
    type_in("reel build && mv migrated.wasm blind.wasm", &project)?;
    let why = fails(&format!("cp v1.wasm migrated.wasm && {dry_run} --plugin blind.wasm"), &project)?;
    has(&why, &["ended with exit status: 2", "RF0512", "keeps state Views 1, its plugin reads Views 2"])?;
    let good = second.replace("contains(&8)", "contains(&-8)").replace("contains(&9)", "contains(&-9)");
    fs::write(&code, &good)?;
    has(&type_in(&format!("reel build && {dry_run}"), &project)?, &["40 of version 1 can be migrated"])?;
    type_in(&format!("head -10 rest.ndjson > some.ndjson && {} && reel run --until-end", write("some.ndjson")), &project)?;
    has(&type_in(dry_run, &project)?, &["30 of version 1 can be migrated", "10 of version 2 need no migration"])?;
    let back = fails(&format!("{dry_run} --plugin v1.wasm"), &project)?;
    has(&back, &["RF0512", "keeps state Views 2, its plugin reads Views 1"])?;
    let end = format!("tail -n +11 rest.ndjson > others.ndjson && {} --end", write("others.ndjson"));
    let said = type_in(&format!("{end} && reel run --until-end && reel topic read migrated"), &project)?;
    let rows = said.lines().filter(|line| line.starts_with("{\"title_id\"")).count();
    ensure!(rows == 40 && said.contains(r#""title_id":7,"window_start":1767225600000,"plays":3,"viewers":3}"#), "{said}");
    Ok(())
}

#[test]
fn the_keys_of_a_process_are_asked_about() -> Result<()> {
    let folder = tempfile::Builder::new().prefix("reelflow-").tempdir()?;
    type_in("reel new silent --kind process", folder.path())?;
    let (project, code) = (folder.path().join("silent"), folder.path().join("silent/src/lib.rs"));
    fs::write(project.join("first.ndjson"), plays(&[(70, 1), (70, 2), (71, 2), (70, 3)]))?;
    let write = "reel topic write plays first.ndjson --key profile_id --partitions 2";
    let said = type_in(&format!("reel build && {write} && reel run --until-end && reel state migrate --dry-run"), &project)?;
    has(&said, &["whose plugin writes Seen 1", "3 of version 1 need no migration"])?;
    let text = fs::read_to_string(&code)?;
    let migration = "\n#[derive(State)]\n#[state(version = 1)]\npub struct SeenV1 {\n    plays: u64,\n    times: BTreeSet<i64>,\n}\n\n\
                     fn from_v1(old: SeenV1) -> Seen {\n    Seen { plays: old.plays, skips: 0, times: old.times }\n}\n";
    let second = text.replace("version = 1", "version = 2, migrate(1 => from_v1)");
    fs::write(&code, second.replace("    plays: u64,\n    ///", "    plays: u64,\n    skips: u64,\n    ///") + migration)?;
    let said = type_in("reel build && reel state migrate --dry-run", &project)?;
    has(&said, &["whose plugin writes Seen 2", "3 of version 1 can be migrated"])
}

#[test]
fn a_candidate_is_named() -> Result<()> {
    let job = Job::example("personalization", &LogKind::Embedded, &[])?;
    let ask = |plugin: &str, exit: i32, words: &[&str]| -> Result<()> {
        let output = job.reel(&["state", "migrate", "--dry-run", "--plugin", plugin]).output()?;
        ensure!(output.status.code() == Some(exit), "{}", said(&output));
        has(&said(&output), words)
    };
    ask("new.wasm", 2, &["--plugin new.wasm names no plugin of pipeline", "write NAME=new.wasm; its plugins are clean-"])?;
    ask("trending=no/such.wasm", 3, &["the component \"no/such.wasm\" cannot be read"])?;
    let output = job.reel(&["state", "migrate"]).output()?;
    ensure!(output.status.code() == Some(2) && said(&output).contains("--dry-run"), "{}", said(&output));
    Ok(())
}
