//! What a newcomer does: the commands that `reel new` prints for each kind of plugin, and those of the documents, typed as they stand.

use std::fs;

use anyhow::{Context, Result, ensure};
use reelflow_pipelines::console::{check_document, type_in};

/// The crate of that kind works as it was made, with the commands that were printed; its output ends with `rows`.
fn check(kind: &str, rows: &[&str]) -> Result<()> {
    let folder = tempfile::Builder::new().prefix("reelflow-").tempdir()?;
    let printed = type_in(&format!("reel new first --kind {kind}"), folder.path())?;
    let (_, next) = printed.split_once("Next:\n").context("it says what comes next")?;
    let said = type_in(next, folder.path())?;
    let found: Vec<&str> = said.lines().filter(|line| line.starts_with("{\"")).collect();
    for row in rows {
        ensure!(found.contains(row), "{kind}: no {row} in:\n{said}");
    }
    ensure!(said.contains("test result: ok. 1 passed"), "{kind}: the test of the new crate did not run:\n{said}");
    ensure!(said.contains("\n1 passed, 0 failed"), "{kind}: the test of the new manifest did not run:\n{said}");
    let checked = type_in("cd first && reel check && reel explain", folder.path())?;
    ensure!(checked.contains("pipeline first"), "{kind}:\n{checked}");
    Ok(())
}

#[test]
fn a_new_plugin_of_each_kind_works_as_it_was_made() -> Result<()> {
    check("transform", &[r#"{"profile_id":1,"title_id":70,"device":"tv","weight":1.0}"#])?;
    check("aggregate", &[r#"{"title_id":70,"window_start":1767225600000,"plays":4,"viewers":3}"#])?;
    check("join", &[r#"{"profile_id":1,"title_id":70,"source":"genre"}"#])?;
    check("process", &[r#"{"profile_id":2,"since":1767225712000,"plays":4}"#])?;
    Ok(())
}

/// A plugin whose state has another version is refused where the pipeline keeps older state, unless it migrates that; then it goes on.
#[test]
fn a_plugin_must_read_the_state_that_is_kept() -> Result<()> {
    let folder = tempfile::Builder::new().prefix("reelflow-").tempdir()?;
    // A name of its own: crates of one name would overwrite each other in the folder that all share.
    type_in("reel new views --kind aggregate", folder.path())?;
    let (project, code) = (folder.path().join("views"), folder.path().join("views/src/lib.rs"));
    let play = |profile: u32| format!("{{\"profile_id\":{profile},\"title_id\":70,\"event_ts\":1767225600000}}\n");
    fs::write(project.join("first.ndjson"), play(1))?;
    fs::write(project.join("second.ndjson"), play(2))?;
    let write = |file: &str| format!("reel topic write plays {file} --partitions 1");
    type_in(&format!("reel build && {} && reel run --until-end", write("first.ndjson")), &project)?;

    let text = fs::read_to_string(&code)?;
    let second = text.replace("version = 1", "version = 2").replace("    plays: u64,", "    plays: u64,\n    trailers: u64,");
    ensure!(second.contains("version = 2") && second.contains("trailers: u64"), "the template has another state:\n{text}");
    fs::write(&code, &second)?;
    let refused = type_in(&format!("reel build && {} && reel run --until-end", write("second.ndjson")), &project);
    let why = refused.map_or_else(|error| error.to_string(), |said| format!("it ran: {said}"));
    ensure!(why.contains("RF0512") && why.contains("keeps state Views 1, its plugin reads Views 2"), "{why}");

    let migration = "\n#[derive(State)]\n#[state(version = 1)]\npub struct ViewsV1 {\n    plays: u64,\n    viewers: BTreeSet<i64>,\n}\n\n\
                     fn from_v1(old: ViewsV1) -> Views {\n    Views { plays: old.plays, trailers: 0, viewers: old.viewers }\n}\n";
    fs::write(&code, second.replace("version = 2", "version = 2, migrate(1 => from_v1)") + migration)?;
    let end = "touch end.ndjson && reel topic write plays end.ndjson --end";
    let said = type_in(&format!("reel build && {end} && reel run --until-end && reel topic read views"), &project)?;
    ensure!(said.contains(r#"{"title_id":70,"window_start":1767225600000,"plays":2,"viewers":2}"#), "a play is missing:\n{said}");
    Ok(())
}

#[test]
fn the_commands_of_the_readme_print_what_it_says() -> Result<()> {
    check_document("README.md")
}

#[test]
fn the_tutorial_works_line_by_line() -> Result<()> {
    check_document("docs/tutorial.md")
}
