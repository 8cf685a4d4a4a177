//! A crate of `reel new`, on Kafka, whose code is changed by hand while its pipeline runs.

use std::{
    fs,
    ops::Range,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use reelflow_pipelines::{prepared, said, target};
use serde_json::Value;

/// What a change over HTTP needs.
pub const TOKEN: &str = "a-token-that-nobody-guesses";

pub fn event_ms(profile: i64) -> i64 {
    1_767_225_600_000 + 1_000 * profile
}

pub fn play(profile: i64) -> String {
    format!("{{\"profile_id\":{profile},\"title_id\":{},\"event_ts\":{}}}", profile % 7, event_ms(profile))
}

/// A crate of `reel new`, on Kafka, whose code is changed by hand.
pub struct Project {
    folder: tempfile::TempDir,
}

impl Project {
    pub fn new(brokers: &str) -> Result<Project> {
        let project = Project::embedded()?;
        let manifest = project.path().join("reel.toml");
        let text = fs::read_to_string(&manifest)?;
        let embedded = "kind = \"embedded\"\npath = \".reel/log\"";
        ensure!(text.contains(embedded), "the template has another [log]:\n{text}");
        fs::write(&manifest, text.replace(embedded, &format!("kind = \"kafka\"\nbrokers = \"{brokers}\"")))?;
        Ok(project)
    }

    /// As the template has it, on the embedded log.
    pub fn embedded() -> Result<Project> {
        let folder = tempfile::Builder::new().prefix("reelflow-").tempdir()?;
        let project = Project { folder };
        project.reel(project.folder.path(), &["new", "swapped", "--kind", "aggregate"])?;
        Ok(project)
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("swapped")
    }

    pub fn command(&self, folder: &Path, args: &[&str]) -> Command {
        let mut command = Command::new(prepared("debug/reel"));
        command.current_dir(folder).args(args).stdin(Stdio::null());
        command.env("CARGO_TARGET_DIR", target().join("first-steps"));
        command
    }

    pub fn reel(&self, folder: &Path, args: &[&str]) -> Result<String> {
        let output = self.command(folder, args).output().context("start reel")?;
        ensure!(output.status.success(), "reel {} ended with {}: {}", args.join(" "), output.status, said(&output));
        Ok(said(&output))
    }

    /// Replaces `from` by `to` in the code, and builds it.
    pub fn edit(&self, edits: &[(&str, &str)]) -> Result<()> {
        let code = self.path().join("src/lib.rs");
        let mut text = fs::read_to_string(&code)?;
        for (from, to) in edits {
            ensure!(text.contains(from), "the code does not contain {from:?}:\n{text}");
            text = text.replace(from, to);
        }
        fs::write(&code, text)?;
        // All of these crates have one name, and overwrite each other in the folder that they share.
        let one_at_a_time = fs::File::create(target().join("first-steps.lock"))?;
        one_at_a_time.lock()?;
        self.reel(&self.path(), &["build"]).map(drop)
    }

    /// Plays of profiles `profiles`, one a second.
    pub fn write_plays(&self, profiles: Range<i64>) -> Result<()> {
        fs::write(self.path().join("more.ndjson"), profiles.map(|profile| play(profile) + "\n").collect::<String>())?;
        let write =
            ["topic", "write", "plays", "more.ndjson", "--key", "profile_id", "--timestamp", "event_ts", "--partitions", "2"];
        self.reel(&self.path(), &write).map(drop)
    }

    /// As [`Project::write_plays`] from `next` on, at a steady rate, until it is told to stop. Gives the next profile.
    pub fn feed(&self, brokers: &str, mut next: i64, stop: &AtomicBool) -> Result<i64> {
        let mut config = rdkafka::ClientConfig::new();
        let producer: BaseProducer =
            config.set("bootstrap.servers", brokers).set("partitioner", "murmur2_random").set("linger.ms", "5").create()?;
        while !stop.load(Ordering::Relaxed) {
            for profile in next..next + 40 {
                let (key, value, at) = (profile.to_string(), play(profile), event_ms(profile));
                let record = BaseRecord::to("plays").key(&key).payload(&value).timestamp(at);
                producer.send(record).map_err(|(error, _)| error)?;
            }
            next += 40;
            producer.poll(Duration::ZERO);
            thread::sleep(Duration::from_millis(20));
        }
        producer.flush(Duration::from_secs(20))?;
        Ok(next)
    }

    pub fn start(&self) -> Result<Running> {
        self.start_with(&["--workers", "2", "--admin", "0"])
    }

    pub fn start_with(&self, args: &[&str]) -> Result<Running> {
        let log = fs::File::options().create(true).append(true).open(self.path().join("run.log"))?;
        let mut command = self.command(&self.path(), &[&["run"], args].concat());
        command.env("REEL_ADMIN_TOKEN", TOKEN);
        Ok(Running(command.stdout(Stdio::null()).stderr(log).spawn()?))
    }

    pub fn run_log(&self) -> String {
        fs::read_to_string(self.path().join("run.log")).unwrap_or_default()
    }

    pub fn wait_for(&self, words: &str) -> Result<()> {
        let begin = Instant::now();
        while !self.run_log().contains(words) {
            ensure!(begin.elapsed() < Duration::from_secs(60), "it never said {words:?}:\n{}", self.run_log());
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// What is kept, as it was committed last.
    pub fn state(&self) -> Result<String> {
        self.reel(&self.path(), &["state", "export", "--to", "state.ndjson"])?;
        let text = fs::read_to_string(self.path().join("state.ndjson"))?;
        let line = |line: &str| -> Result<String> {
            let mut kept: Value = serde_json::from_str(line)?;
            // How often a run has committed is its own affair.
            kept.as_object_mut().context("an object a line")?.remove("epoch");
            Ok(kept.to_string())
        };
        let mut lines = text.lines().map(line).collect::<Result<Vec<String>>>()?;
        lines.sort_unstable();
        Ok(lines.join("\n"))
    }
}

/// A process that does not outlive a test that fails.
pub struct Running(pub Child);

impl Running {
    pub fn leave(mut self) -> Result<()> {
        let status = Command::new("kill").args(["-TERM", &self.0.id().to_string()]).status()?;
        ensure!(status.success() && self.0.wait()?.success(), "it was asked to leave");
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
