//! Processes of a pipeline that come and go.

use std::{
    collections::BTreeMap,
    fs,
    process::{Child, Command, Stdio},
};

use anyhow::{Result, ensure};
use reelflow_pipelines::{Job, TABLES, TOPICS};

pub fn create_topics(job: &Job) -> Result<()> {
    for topic in TOPICS.into_iter().chain(TABLES) {
        job.read(&["topic", "create", topic, "--partitions", "4"])?;
    }
    Ok(())
}

/// A running `reel`, which does not outlive a test that fails.
pub struct Process(Child);

impl Process {
    pub fn kill(&mut self) -> Result<()> {
        self.0.kill()?;
        self.0.wait()?;
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already, which is as good.
        drop(self.kill());
    }
}

/// Asks a process to stop, as an operator or a supervisor does.
pub fn leave(mut process: Process) -> Result<()> {
    let status = Command::new("kill").args(["-TERM", &process.0.id().to_string()]).status()?;
    ensure!(status.success(), "the signal could not be sent");
    let status = process.0.wait()?;
    ensure!(status.success(), "it was asked to leave, and ended with {status}");
    Ok(())
}

/// A process that runs until it is stopped. It keeps its name, so a new life takes over at once.
pub fn start(job: &Job, name: &str) -> Result<Process> {
    let log = fs::File::options().create(true).append(true).open(job.path().join(format!("{name}.log")))?;
    let args = ["run", "--instance", name, "--session-timeout", "6", "--format", "json"];
    Ok(Process(job.reel(&args).stdout(Stdio::null()).stderr(log).spawn()?))
}

/// What a process said last.
pub fn log_end(job: &Job, name: &str) -> String {
    const N_LINES: usize = 30;
    let text = fs::read_to_string(job.path().join(format!("{name}.log"))).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    format!("{name}.log ends with:\n{}\n", lines[lines.len().saturating_sub(N_LINES)..].join("\n"))
}

/// Ends the processes, and has one more life process what is left. A single one, since its totals are those of all tasks: two would both
/// report a task that moved between them.
pub fn finish(job: &Job, processes: BTreeMap<&str, Process>) -> Result<()> {
    for (_, mut process) in processes {
        process.kill()?;
    }
    job.run_to_end(&["--instance", "a", "--workers", "2", "--session-timeout", "6"])?;
    Ok(())
}
