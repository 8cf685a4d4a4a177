//! The life of a plugin whose code is changed: given up when it is bad, kept when it is good, refused when others would break.

use std::{
    fs,
    process::Output,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use reelflow_broker_tests::Broker;
use reelflow_pipelines::said;
use serde_json::Value;

use crate::project::{Project, TOKEN};

/// Breaks on one record in a hundred.
const BREAKS: &str = "if play.profile_id % 100 == 7 {\n            panic!(\"seven\");\n        }\n        state.plays += 1;";

/// What refuses one record in ten, and what the template has in its place.
const REFUSES: (&str, &str) = ("play.profile_id % 10 == 3", "play.profile_id <= 0");

fn reload(project: &Project, args: &[&str]) -> Result<Output> {
    let mut command = project.command(&project.path(), &[&["reload", "--wait", "40"], args].concat());
    Ok(command.env("REEL_ADMIN_TOKEN", TOKEN).output()?)
}

/// Where the process that was started last is asked and changed.
fn admin(project: &Project) -> Result<String> {
    project.wait_for("admin at http://")?;
    let text = project.run_log();
    let last = text.lines().rev().find_map(|line| line.strip_prefix("admin at "));
    last.map(str::to_owned).context("an address")
}

/// Code that breaks on one record in a hundred is given up, and nothing shows that it ever ran; code with a newer state is accepted; who comes
/// back with the old file runs the new code; a sink that loses a field asks first.
#[test]
fn bad_code_is_rolled_back_and_good_code_stays() -> Result<()> {
    let broker = Broker::start()?;
    let project = Project::new(&broker.bootstrap())?;
    project.edit(&[])?;
    let first = fs::read(project.path().join("swapped.wasm"))?;
    project.write_plays(1..2_000)?;
    let running = project.start()?;
    super::await_start(|| project.command(&project.path(), &["history"]), || project.run_log())?;
    let next = given_up(&project, &broker.bootstrap())?;
    refusing_too_much(&project, &broker.bootstrap(), next)?;
    running.leave()?;
    leaves_what_an_undisturbed_run_leaves(&project, &broker.bootstrap(), &first)?;

    // The files hold what was given up: the pipeline goes on with what it had.
    let running = project.start()?;
    project.wait_for("were replaced or given up")?;
    accepted(&project)?;
    running.leave()?;

    // A machine that still has the first file, and would refuse the newer state if it used it.
    fs::write(project.path().join("swapped.wasm"), &first)?;
    let running = project.start()?;
    project.write_plays(900_000..900_010)?;
    thread::sleep(Duration::from_secs(2));
    forgotten(&project)?;
    breaking(&project)?;
    running.leave()?;
    unanswered(&project)?;
    let history = project.reel(&project.path(), &["history"])?;
    ensure!(["rolled back", "accepted", "seven"].iter().all(|word| history.contains(word)), "{history}");
    Ok(())
}

/// A sink that loses a field asks first.
fn breaking(project: &Project) -> Result<()> {
    project.edit(&[
        ("plays: i64,\n    viewers", "played: i64,\n    viewers"),
        ("plays: state.plays as i64", "played: state.plays as i64"),
    ])?;
    let refused = reload(project, &[])?;
    let says = said(&refused);
    ensure!(refused.status.code() == Some(2) && says.contains("readers of the results may break"), "{}: {says}", refused.status);
    ensure!(says.contains("- plays: ") && says.contains("--allow-breaking"), "{says}");
    let taken = reload(project, &["--allow-breaking", "--format", "json"])?;
    ensure!(taken.status.success(), "{}{}", said(&taken), project.run_log());
    let entry: Value = serde_json::from_slice(&taken.stdout)?;
    ensure!(entry["verdict"] == "accepted" && entry["how"] == "reloaded" && entry["plugins"]["swapped"].is_string(), "{entry}");
    Ok(())
}

/// The pipeline does not run any more. What it could not take is refused all the same; what it could is proposed, and nobody answers.
fn unanswered(project: &Project) -> Result<()> {
    project.edit(&[("    profile_id: i64,\n}", "    profile_id: i64,\n    device: Option<i64>,\n}")])?;
    let blocked = reload(project, &[])?;
    let says = said(&blocked);
    ensure!(blocked.status.code() == Some(2), "{}: {says}", blocked.status);
    ensure!(
        says.contains("a running pipeline cannot take this") && says.contains("rows with the old fields are under way"),
        "{says}"
    );
    let planned: Value = serde_json::from_slice(&reload(project, &["--plan", "--format", "json"])?.stdout)?;
    let differences = planned["differences"].as_array().context("a list")?;
    ensure!(differences.iter().any(|one| one["blocks"].is_string()) && planned["plugins"][0]["plugin"] == "swapped", "{planned}");
    project.edit(&[("    device: Option<i64>,\n", ""), ("\"not a profile\"", "\"no profile\"")])?;
    let alone = project.command(&project.path(), &["reload", "--wait", "1", "--format", "json"]).output()?;
    ensure!(
        alone.status.code() == Some(3) && said(&alone).contains("no verdict within 1 s"),
        "{}: {}",
        alone.status,
        said(&alone)
    );
    ensure!(alone.stdout.is_empty(), "there is no verdict to print");
    Ok(())
}

/// Reloads while plays come in, of profiles from `next` on. Gives the next profile as well.
fn reload_fed(project: &Project, brokers: &str, next: i64, args: &[&str]) -> Result<(Output, i64)> {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let feeding = scope.spawn(|| project.feed(brokers, next, &stop));
        let output = reload(project, args);
        stop.store(true, Ordering::Relaxed);
        let next = feeding.join().expect("the feeder does not panic")?;
        Ok((output?, next))
    })
}

/// While records come in. Asked for over HTTP: the verdict is the same, and the process that was asked says it as well.
fn given_up(project: &Project, brokers: &str) -> Result<i64> {
    let admin = admin(project)?;
    project.edit(&[("state.plays += 1;", BREAKS)])?;
    let (refused, next) = reload_fed(project, brokers, 2_000, &["--admin", &admin])?;
    let text = said(&refused);
    ensure!(refused.status.code() == Some(1), "it ended with {}: {text}{}", refused.status, project.run_log());
    ensure!(text.contains("plugin \"swapped\": plugin trapped: panicked at src/lib.rs") && text.contains("seven"), "{text}");
    project.wait_for("ROLLED BACK")?;
    let status = project.reel(&project.path(), &["status", "--admin", &admin])?;
    ensure!(status.contains("ROLLED BACK") && status.contains("seven") && status.contains(" at "), "{status}");
    let top =
        project.reel(&project.path(), &["top", "--once", "--every", "1", "--metrics", admin.trim_start_matches("http://")])?;
    ensure!(top.contains("ROLLED BACK 1 trials of new code"), "{top}");
    Ok(next)
}

/// Code that refuses one record in ten, where the one before refused none.
fn refusing_too_much(project: &Project, brokers: &str, next: i64) -> Result<()> {
    project.edit(&[(BREAKS, "state.plays += 1;"), (REFUSES.1, REFUSES.0)])?;
    let (refused, _) = reload_fed(project, brokers, next, &[])?;
    let text = said(&refused);
    ensure!(refused.status.code() == Some(1), "it ended with {}: {text}{}", refused.status, project.run_log());
    ensure!(text.contains("plugin \"swapped\" refused ") && text.contains(" rows, the one before 0.0 %"), "{text}");
    Ok(())
}

/// `project` was stopped; a pipeline of another name with its first code reads the same topic, and keeps the same.
fn leaves_what_an_undisturbed_run_leaves(project: &Project, brokers: &str, first: &[u8]) -> Result<()> {
    let undisturbed = Project::new(brokers)?;
    let manifest = undisturbed.path().join("reel.toml");
    let text = fs::read_to_string(&manifest)?;
    let (name, topic) = ("name = \"swapped\"", "topic = \"swapped\"");
    ensure!(text.contains(name) && text.contains(topic), "the template has other names:\n{text}");
    fs::write(&manifest, text.replace(name, "name = \"undisturbed\"").replace(topic, "topic = \"undisturbed\""))?;
    fs::write(undisturbed.path().join("swapped.wasm"), first)?;
    project.reel(&project.path(), &["run", "--until-end"])?;
    undisturbed.reel(&undisturbed.path(), &["run", "--until-end", "--workers", "2"])?;
    let (ours, theirs) = (project.state()?, undisturbed.state()?);
    let other = ours.lines().zip(theirs.lines()).find(|(ours, theirs)| ours != theirs);
    ensure!(
        ours == theirs,
        "the state shows that other code ran, in {} and {} lines: {other:?}",
        ours.lines().count(),
        theirs.lines().count()
    );
    let dead = project.reel(&project.path(), &["topic", "read", "dead.swapped"])?;
    ensure!(dead.is_empty(), "a record died of code that was given up: {dead}");
    Ok(())
}

/// The first file lies there, which cannot read the state of version 2: refused, unless that is forgotten.
fn forgotten(project: &Project) -> Result<()> {
    let refused = reload(project, &[])?;
    let says = said(&refused);
    ensure!(
        refused.status.code() == Some(2) && says.contains("would be unreadable") && says.contains("`--reset result`"),
        "{says}"
    );
    let planned: Value =
        serde_json::from_str(&project.reel(&project.path(), &["reload", "--plan", "--reset", "result", "--format", "json"])?)?;
    let keeps = &planned["resets"][0]["forgotten"];
    ensure!(keeps["keys"].as_u64() > Some(0) && keeps["windows"].as_u64() > Some(0), "{planned}");
    ensure!(planned["differences"][0]["breaking"] == false, "{planned}");
    let taken = reload(project, &["--reset", "result"])?;
    let says = said(&taken);
    ensure!(taken.status.success(), "{says}{}", project.run_log());
    ensure!(says.contains("state of stage \"result\": RESET: ") && says.contains(" open windows are forgotten"), "{says}");
    // The trial is committed when the processes have read the verdict.
    for _ in 0..100 {
        if project.state()?.is_empty() {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(200));
    }
    bail!("it was to be forgotten: {}", project.state()?)
}

/// State of version 2, which migrates that of version 1.
fn accepted(project: &Project) -> Result<()> {
    let migration = "#[derive(State)]\n#[state(version = 1)]\npub struct ViewsV1 {\n    plays: u64,\n    viewers: BTreeSet<i64>,\n}\n\n\
                     fn from_v1(old: ViewsV1) -> Views {\n    Views { plays: old.plays, trailers: 0, viewers: old.viewers }\n}\n\n#[derive(Config)]";
    project.edit(&[
        REFUSES,
        ("#[state(version = 1)]", "#[state(version = 2, migrate(1 => from_v1))]"),
        ("    plays: u64,\n    viewers", "    plays: u64,\n    trailers: u64,\n    viewers"),
        ("#[derive(Config)]", migration),
    ])?;
    let planned = said(&reload(project, &["--plan"])?);
    ensure!(planned.contains("stage \"result\" keeps Views 1 → Views 2 and migrates 1"), "{planned}");
    let taken = reload(project, &["--eager"])?;
    ensure!(taken.status.success(), "{}{}", said(&taken), project.run_log());
    let again = reload(project, &[])?;
    ensure!(again.status.code() == Some(2) && said(&again).contains("runs this code already"), "{}", said(&again));
    let kept = project.reel(&project.path(), &["state", "export", "--to", "-"])?;
    ensure!(kept.contains("\"versions\":[2]"), "a state has another version: {kept}");
    Ok(())
}
