//! The shipped pipelines end to end, as a user runs them: a folder with a manifest and components, the `reel` program, a log, and
//! the batch oracle that says whether the answer is right.
//!
//! Needs what `cargo xtask test` prepares (programs, components, Python packages) and says so when it is missing.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::{LazyLock, Mutex},
};

use anyhow::{Context, Result, bail, ensure};
use reelflow_workload::{files, fingerprint, model::Model};
use serde_json::{Value, json};
use tempfile::TempDir;

pub mod console;
pub mod guest_stage;

/// The topics of events; those that the personalization pipeline reads.
pub const TOPICS: [&str; 3] = ["impressions", "play_starts", "playback_events"];
/// The topics that are tables.
pub const TABLES: [&str; 2] = ["catalog", "profile_changes"];
/// Topics of which the last record of a key counts, and says by having no value that there is no row: they are read with their keys, also when a
/// backfill has written them.
const COMPACTED: [&str; 1] = ["continue_watching"];

/// A pipeline of one stage, for tests that change it in one place.
pub const ONE_STAGE: &str = r#"
[pipeline]
name = "bad-input"
[log]
kind = "embedded"
path = "log"
[source.plays]
topic = "plays"
event_time = "event_ts"
id = "event_id"
key = ["profile_id"]
bound = "0s"
[plugin.clean]
path = "plugins/clean_plays.wasm"
[stage.clean]
kind = "transform"
input = "plays"
plugin = "clean"
[sink.clean]
input = "clean"
topic = "clean"
key = ["profile_id"]
"#;

/// How late a record may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lateness {
    /// Later than any record is: nothing is late.
    Complete,
    /// As the shipped manifest says; what is late goes to the late topics.
    Bounded,
}

/// Which log the manifest names.
#[derive(Clone, Debug)]
pub enum LogKind {
    Embedded,
    /// At this address.
    Kafka(String),
}

/// Other bytes with the same meaning: a custom section at the end of the component.
pub fn variant(component: &[u8], mark: u8) -> Vec<u8> {
    const NAME: &[u8] = b"variant";
    let section = [&[0, NAME.len() as u8 + 2, NAME.len() as u8], NAME, &[mark]].concat();
    [component, &section].concat()
}

/// The root of the checkout.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("the crate lies in tests/").to_owned()
}

/// Where cargo puts what it builds: this program runs from `<target>/debug/deps`.
pub fn target() -> PathBuf {
    let program = std::env::current_exe().expect("a running program has a path");
    program.ancestors().nth(3).expect("tests run from target/debug/deps").to_owned()
}

/// Something that `cargo xtask test` prepares.
pub fn prepared(path: impl AsRef<Path>) -> PathBuf {
    let path = target().join(path);
    assert!(path.exists(), "{} is missing: `cargo xtask test` makes it", path.display());
    path
}

/// The component of `tests/guests/<name>`, built by `reel build` once for each test program.
pub fn guest(name: &str) -> PathBuf {
    static BUILT: LazyLock<Mutex<BTreeSet<String>>> = LazyLock::new(Mutex::default);
    let mut built = BUILT.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let out = target().join(format!("guests/{name}.wasm"));
    if built.insert(name.to_owned()) {
        let mut reel = Command::new(prepared("debug/reel"));
        reel.arg("build").arg(root().join("tests/guests").join(name)).arg("--out").arg(&out);
        let output = reel.env("CARGO_TARGET_DIR", target().join("guests")).output().expect("reel can be started");
        assert!(output.status.success(), "{}", said(&output));
    }
    out
}

/// A workload of about `n_events` events, made once and kept; several tests may ask for it at once.
pub fn workload(n_events: u64, seed: u64) -> PathBuf {
    static ONE_AT_A_TIME: LazyLock<Mutex<()>> = LazyLock::new(Mutex::default);
    let guard = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let folder = target().join(format!("workload/{n_events}-{seed}-{:016x}", fingerprint()));
    if !folder.join("truth.json").exists() {
        // Beside and then renamed: another test program must not find half of it.
        let fresh = tempfile::Builder::new().tempdir_in(target()).expect("the target folder can be written");
        files::write(&Model::of_size(seed, n_events), fresh.path()).expect("the workload can be written");
        fs::create_dir_all(folder.parent().expect("it has one")).expect("the target folder can be written");
        if fs::rename(fresh.keep(), &folder).is_err() {
            assert!(folder.join("truth.json").exists(), "another program made it meanwhile");
        }
    }
    drop(guard);
    folder
}

/// The manifest of one of `examples/`, as it is.
pub fn example_text(name: &str) -> Result<String> {
    Ok(fs::read_to_string(root().join("examples").join(name).join("reel.toml"))?)
}

/// A folder with a manifest and its components, and the log that it names.
pub struct Job {
    folder: TempDir,
}

impl Job {
    /// The pipeline of one of `examples/`, its components, and `edits` (from, to) of the manifest; an edit that finds nothing is an error.
    /// Without the example's tests: they would be of a pipeline that is edited.
    pub fn example(name: &str, log: &LogKind, edits: &[(&str, &str)]) -> Result<Job> {
        let text = example_text(name)?;
        let pipeline = text.split("\n[[test]]\n").next().expect("a text has a beginning");
        Job::of(name, pipeline, log, edits)
    }

    /// As [`Job::example`], with its tests.
    pub fn tested_example(name: &str, edits: &[(&str, &str)]) -> Result<Job> {
        Job::of(name, &example_text(name)?, &LogKind::Embedded, edits)
    }

    fn of(name: &str, text: &str, log: &LogKind, edits: &[(&str, &str)]) -> Result<Job> {
        let folder = tempfile::Builder::new().prefix("reelflow-").tempdir()?;
        let mut text = text.to_owned();
        for (from, to) in edits {
            ensure!(text.contains(from), "examples/{name} does not contain {from:?}");
            text = text.replace(from, to);
        }
        if let LogKind::Kafka(address) = log {
            let embedded = "kind = \"embedded\"\npath = \"log\"";
            ensure!(text.contains(embedded), "examples/{name} has another [log]");
            text = text.replace(embedded, &format!("kind = \"kafka\"\nbrokers = \"{address}\""));
        }
        fs::write(folder.path().join("reel.toml"), text)?;
        std::os::unix::fs::symlink(prepared("plugins"), folder.path().join("plugins"))?;
        Ok(Job { folder })
    }

    /// The main job.
    pub fn personalization(log: &LogKind, lateness: Lateness) -> Result<Job> {
        let complete = [("lateness = \"6h\"", "lateness = \"8d\""), ("lateness = \"2m\"", "lateness = \"8d\"")];
        Job::example("personalization", log, if lateness == Lateness::Complete { &complete } else { &[] })
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// `reel` with `args`, in the job's folder.
    pub fn reel(&self, args: &[&str]) -> Command {
        let mut command = Command::new(prepared("debug/reel"));
        command.current_dir(self.path()).args(args).stdin(Stdio::null());
        command
    }

    /// Runs `reel` to its end; gives its standard output, or all it said if it failed.
    pub fn read(&self, args: &[&str]) -> Result<String> {
        let output = self.reel(args).output().context("start reel")?;
        ensure!(output.status.success(), "reel {} ended with {}: {}", args.join(" "), output.status, said(&output));
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Writes the files that `workload` made into the topics of events, and ends them.
    pub fn load(&self, data: &Path) -> Result<()> {
        self.load_topics(data, &TOPICS)
    }

    /// Writes the files that `workload` made into these topics, and ends them.
    pub fn load_topics(&self, data: &Path, topics: &[&str]) -> Result<()> {
        for topic in topics {
            let file = data.join(format!("topics/{topic}.tsv"));
            let file = file.to_str().context("a path that is text")?;
            self.read(&["topic", "write", topic, file, "--lines", "tsv", "--partitions", "4", "--end"])?;
        }
        Ok(())
    }

    /// Runs the pipeline until everything is processed; keeps and gives its summary, in which all that came has a fate.
    pub fn run_to_end(&self, args: &[&str]) -> Result<Value> {
        let all = [&["run", "--until-end", "--format", "json"], args].concat();
        let summary = self.read(&all)?;
        self.keep_summary("summary.json", &summary)?;
        let summary: Value = serde_json::from_str(&summary)?;
        ensure!(summary["unaccounted"] == json!([]), "counts do not add up: {summary}");
        Ok(summary)
    }

    /// Keeps a run's summary for [`Job::oracle`].
    pub fn keep_summary(&self, name: &str, summary: &str) -> Result<()> {
        fs::create_dir_all(self.outputs())?;
        Ok(fs::write(self.outputs().join(name), summary)?)
    }

    pub fn outputs(&self) -> PathBuf {
        self.path().join("outputs")
    }

    /// Reads every topic that is not internal into `outputs/`, as a reader of committed records sees it.
    pub fn dump(&self) -> Result<()> {
        fs::create_dir_all(self.outputs())?;
        let topics: Value = serde_json::from_str(&self.read(&["topic", "list", "--format", "json"])?)?;
        for topic in topics["topics"].as_array().context("a list of topics")? {
            let topic = topic["topic"].as_str().context("a topic's name")?;
            if !topic.starts_with("reel.") && !TOPICS.contains(&topic) && !TABLES.contains(&topic) {
                let format = if COMPACTED.contains(&topic.trim_end_matches(".fixed")) { "json" } else { "value" };
                let bytes = self.read_bytes(&["topic", "read", topic, "--format", format])?;
                fs::write(self.outputs().join(format!("{topic}.ndjson")), bytes)?;
            }
        }
        Ok(())
    }

    /// As [`Job::dump`], out of what `other` has dumped of the same log.
    pub fn dump_of(&self, other: &Job) -> Result<()> {
        fs::create_dir_all(self.outputs())?;
        for entry in fs::read_dir(other.outputs())? {
            let path = entry?.path();
            if path.extension().is_some_and(|ending| ending == "ndjson") {
                fs::hard_link(&path, self.outputs().join(path.file_name().context("a file has a name")?))?;
            }
        }
        Ok(())
    }

    /// Like [`Job::read`], for what need not be text: dead letters.
    fn read_bytes(&self, args: &[&str]) -> Result<Vec<u8>> {
        let output = self.reel(args).output().context("start reel")?;
        ensure!(output.status.success(), "reel {} ended with {}: {}", args.join(" "), output.status, said(&output));
        Ok(output.stdout)
    }

    /// Has the batch oracle judge the outputs; shows its table, fails unless it says equal.
    pub fn oracle(&self, dataset: &str, input: &Path) -> Result<String> {
        let output = Command::new(prepared("venv/bin/python"))
            .arg(root().join("tests/oracle/oracle.py"))
            .args([dataset.as_ref(), input.as_os_str(), self.outputs().as_os_str()])
            .output()
            .context("start the oracle")?;
        let table = said(&output);
        println!("{table}");
        if !output.status.success() {
            bail!("the oracle says no:\n{table}");
        }
        Ok(table)
    }

    /// The committed rows of the datasets as one canonical text: the last revision of each key, without its number, sorted.
    pub fn canonical(&self) -> Result<String> {
        let mut all = Vec::new();
        for topic in ["clean_playback_events", "source_of_discovery", "trending", "frequency_cap"] {
            let mut last = std::collections::BTreeMap::new();
            for (idx, line) in fs::read_to_string(self.outputs().join(format!("{topic}.ndjson")))?.lines().enumerate() {
                let mut row: Value = serde_json::from_str(line)?;
                let rev = row.as_object_mut().context("a row is an object")?.remove("rev").and_then(|rev| rev.as_u64());
                let key = if rev.is_some() { row["playback_id"].to_string() } else { format!("{idx}") };
                let newest = last.entry(key).or_insert((rev, row.to_string()));
                if newest.0 < rev {
                    *newest = (rev, row.to_string());
                }
            }
            all.extend(last.into_values().map(|(_, row)| format!("{topic} {row}")));
        }
        all.sort();
        Ok(all.join("\n"))
    }
}

/// Everything that a program said.
pub fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
