//! What a newcomer does: the commands that `reel new` prints for each kind of plugin, and those of the documents, typed as they stand.

use std::fs;

use anyhow::{Context, Result, ensure};
use reelflow_pipelines::{root, type_in};

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

/// The console blocks of a document: commands after `$ `, and the lines that each prints; `…` stands for anything.
fn blocks(document: &str) -> Vec<Vec<(String, Vec<String>)>> {
    let mut blocks = Vec::new();
    let mut rest = document;
    while let Some((_, after)) = rest.split_once("```console\n") {
        let (block, after) = after.split_once("```").expect("a block ends");
        let mut commands: Vec<(String, Vec<String>)> = Vec::new();
        for line in block.lines() {
            match (line.strip_prefix("$ "), commands.last_mut()) {
                (Some(command), _) => commands.push((command.to_owned(), Vec::new())),
                (None, Some((_, lines))) => lines.push(line.to_owned()),
                (None, None) => {}
            }
        }
        blocks.push(commands);
        rest = after;
    }
    blocks
}

/// Whether `line` is `wanted`, in which `…` stands for anything.
fn fits(line: &str, wanted: &str) -> bool {
    let mut rest = line;
    let mut parts = wanted.split('…').enumerate().peekable();
    while let Some((idx, part)) = parts.next() {
        let is_last = parts.peek().is_none();
        match (idx, is_last) {
            (0, true) => return rest == part,
            (0, false) if !rest.starts_with(part) => return false,
            (_, true) => return rest.ends_with(part),
            _ => {}
        }
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    true
}

/// Every console block of `document`, but those that run everything, prints what it says.
fn check_document(document: &str) -> Result<()> {
    let text = fs::read_to_string(root().join(document))?;
    let mut n_commands = 0;
    for block in blocks(&text) {
        if block.iter().any(|(command, _)| command.starts_with("cargo xtask") || command.starts_with("git clone")) {
            continue;
        }
        let folder = tempfile::Builder::new().prefix("reelflow-").tempdir()?;
        // One shell for the whole block, since it may change its folder; what each command prints is told apart by a line.
        const MARK: &str = "-- next command --";
        let script: Vec<String> = block.iter().map(|(command, _)| format!("{command}\necho '{MARK}'")).collect();
        let output = type_in(&format!("exec 2>&1\n{}", script.join("\n")), folder.path())?;
        for ((command, wanted), printed) in block.iter().zip(output.split(MARK)) {
            let mut lines = printed.lines();
            for wanted in wanted.iter().filter(|wanted| *wanted != "…") {
                ensure!(
                    lines.any(|line| fits(line.trim_end(), wanted)),
                    "{document}: `{command}` does not print {wanted:?}:\n{printed}"
                );
            }
            n_commands += 1;
        }
    }
    ensure!(n_commands > 0, "{document} has no commands to try");
    Ok(())
}

#[test]
fn the_commands_of_the_readme_print_what_it_says() -> Result<()> {
    check_document("README.md")
}

#[test]
fn dots_stand_for_anything() {
    for (line, wanted, fit) in [
        ("built a.wasm  42 KB", "built a.wasm  … KB", true),
        ("built a.wasm  42 KB", "built b.wasm  … KB", false),
        ("built a.wasm  42 KB", "built a.wasm  … MB", false),
        ("one", "one", true),
        ("one two", "one", false),
        ("one two three", "… two …", true),
    ] {
        assert_eq!(fits(line, wanted), fit, "{line} as {wanted}");
    }
}
