//! `reel run --watch`: one process, on the embedded log, takes what is built beside it.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use reelflow_pipelines::{Job, LogKind};

use crate::{
    own_components,
    project::{Project, Running},
    variant,
};

#[test]
fn a_watched_component_is_taken() -> Result<()> {
    let job = Job::example("flights", &LogKind::Embedded, &[])?;
    own_components(&job)?;
    job.read(&["topic", "create", "departures", "--partitions", "2"])?;
    let component = job.path().join("plugins/flight_delays.wasm");
    let original = fs::read(&component)?;
    let log = fs::File::create(job.path().join("run.log"))?;
    let running = Running(job.reel(&["run", "--watch"]).stdout(std::process::Stdio::null()).stderr(log).spawn()?);
    let wait_for = |words: &str, n: usize| -> Result<()> {
        let begin = Instant::now();
        loop {
            let text = fs::read_to_string(job.path().join("run.log"))?;
            if text.matches(words).count() == n {
                return Ok(());
            }
            ensure!(begin.elapsed() < Duration::from_secs(60), "it did not say {words:?} {n} times:\n{text}");
            thread::sleep(Duration::from_millis(50));
        }
    };
    wait_for("stop with ctrl-c", 1)?;
    thread::sleep(Duration::from_secs(1));
    fs::write(&component, variant(&original, 1))?;
    wait_for("accepted: flight-delays ", 1)?;
    fs::write(&component, b"no component")?;
    wait_for("the new code cannot be used", 1)?;
    fs::write(&component, &original)?;
    wait_for("accepted: flight-delays ", 2)?;
    running.leave()
}

/// Code that cannot read what is kept is given up, and what was there goes on.
#[test]
fn a_watched_component_that_fails_its_trial_is_given_up() -> Result<()> {
    let project = Project::embedded()?;
    project.edit(&[])?;
    project.write_plays(1..200)?;
    project.reel(&project.path(), &["run", "--until-end"])?;
    let component = project.path().join("swapped.wasm");
    let (before, first) = (project.state()?, fs::read(&component)?);
    ensure!(before.contains("\"versions\":[1]"), "windows are open: {before}");
    let running = project.start_with(&["--watch"])?;
    project.wait_for("stop with ctrl-c")?;
    project.edit(&[("#[state(version = 1)]", "#[state(version = 2)]")])?;
    project.wait_for("ROLLED BACK")?;
    ensure!(
        project.run_log().contains("stage \"result\" keeps state Views 1, its plugin reads Views 2"),
        "{}",
        project.run_log()
    );
    running.leave()?;
    // What is kept can be read by what wrote it.
    fs::write(&component, first)?;
    let after = project.state()?;
    ensure!(after == before, "something has changed:\n{before}\nis now\n{after}");
    Ok(())
}
