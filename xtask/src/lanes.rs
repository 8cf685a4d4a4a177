//! The workspace's test programs, run side by side in two lanes: what waits for a broker most of the time in one, what computes in the other.
//! The one that computes has less to do, and helps the other when it is done.
//!
//! `cargo test` runs one program after the other, and half of the machine is idle while a test waits for Kafka.

use std::{
    collections::VecDeque,
    io::Write,
    path::PathBuf,
    process::{Command, Output, Stdio},
    sync::{Mutex, PoisonError},
    thread,
    time::Instant,
};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::sh::{command, linting, read};

/// Packages whose tests start brokers and the pipelines on them. At most two of their programs run at a time.
const WAITING: [&str; 2] = ["reelflow-pipelines", "reelflow-broker-tests"];

/// What tests counted.
#[derive(Clone, Copy, Default)]
pub(crate) struct Counts {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
}

/// A program with tests.
struct Program {
    package: String,
    /// As cargo calls it, with its place.
    name: String,
    path: PathBuf,
    /// The folder of its package, in which cargo runs it.
    folder: PathBuf,
}

/// Runs all tests of the workspace. What each program says is shown when it has ended.
pub(crate) fn run() -> Result<Counts> {
    let (waiting, computing): (VecDeque<Program>, VecDeque<Program>) =
        programs()?.into_iter().partition(|program| WAITING.contains(&program.package.as_str()));
    let (waiting, computing) = (Mutex::new(waiting), Mutex::new(computing));
    let (computed, waited) = thread::scope(|scope| {
        let waited = scope.spawn(|| lane(&waiting, VecDeque::pop_front));
        let computed = lane(&computing, VecDeque::pop_front).and_then(|counts| Ok(counts.and(documented()?)));
        let helped = computed.and_then(|counts| Ok(counts.and(lane(&waiting, VecDeque::pop_back)?)));
        (helped, waited.join().unwrap_or_else(|_| anyhow::bail!("a lane panicked")))
    });
    Ok(computed?.and(waited?))
}

/// Runs one program after the other, as `next` takes them, until there is none.
fn lane(programs: &Mutex<VecDeque<Program>>, next: fn(&mut VecDeque<Program>) -> Option<Program>) -> Result<Counts> {
    // Tests of macros load the compiler's own libraries, which cargo would tell them.
    let libraries = read(command("rustc").args(["--print", "target-libdir"]))?;
    let mut counts = Counts::default();
    loop {
        let program = next(&mut programs.lock().unwrap_or_else(PoisonError::into_inner));
        let Some(program) = program else { return Ok(counts) };
        let mut command = Command::new(&program.path);
        command.current_dir(&program.folder).stdin(Stdio::null()).env("RUST_BACKTRACE", "0");
        command.env("CARGO_MANIFEST_DIR", &program.folder);
        command.env("LD_LIBRARY_PATH", libraries.trim()).env("DYLD_FALLBACK_LIBRARY_PATH", libraries.trim());
        let began = Instant::now();
        let output = command.output().with_context(|| format!("start {}", program.path.display()))?;
        let name = format!("{} ({} s)", program.name, began.elapsed().as_secs());
        counts = counts.and(shown(&name, &output)?);
    }
}

/// The examples in the documentation.
fn documented() -> Result<Counts> {
    let output = linting().args(["test", "--workspace", "--doc", "--no-fail-fast"]).output().context("start cargo test --doc")?;
    shown("documentation", &output)
}

/// All programs that `cargo test` would run, compiled.
fn programs() -> Result<Vec<Program>> {
    let messages = read(linting().args(["test", "--workspace", "--no-run", "--message-format", "json-render-diagnostics"]))?;
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let program = |message: Value| {
        let path = PathBuf::from(message["executable"].as_str()?);
        let manifest = PathBuf::from(message["manifest_path"].as_str()?);
        let is_test = message["profile"]["test"].as_bool()?;
        let folder = manifest.parent()?.to_owned();
        let id = message["package_id"].as_str()?;
        let package = package(id)?.to_owned();
        let name = format!("{package} {}", message["target"]["name"].as_str()?);
        is_test.then_some(Program { package, name, path, folder })
    };
    Ok(messages.filter_map(program).collect())
}

/// The name in what cargo calls a package: `path+file:///…/tests/pipelines#reelflow-pipelines@0.1.0`, or `path+file:///…/xtask#0.1.0` where the
/// folder is called like it.
fn package(id: &str) -> Option<&str> {
    let (path, name) = id.rsplit_once('#')?;
    name.split_once('@').map_or_else(|| path.rsplit('/').next(), |(name, _)| Some(name))
}

/// Shows what a program with tests said, in one piece, and adds up its lines `test result: …`.
fn shown(name: &str, output: &Output) -> Result<Counts> {
    let text = String::from_utf8_lossy(&output.stdout);
    let mut all = format!("\n     Running {name}\n{text}").into_bytes();
    all.extend_from_slice(&output.stderr);
    std::io::stdout().lock().write_all(&all)?;
    let results = text.lines().filter(|line| line.starts_with("test result: "));
    let counts = results.fold(Counts::default(), |counts, line| counts.and(result(line)));
    // One that does not compile, or dies, prints no result.
    let is_silent = !output.status.success() && counts.failed == 0;
    Ok(Counts { failed: counts.failed + u64::from(is_silent), ..counts })
}

fn result(line: &str) -> Counts {
    let of = |word: &str| -> u64 {
        let before = line.split(word).next().unwrap_or_default();
        before.rsplit(' ').find_map(|part| part.parse().ok()).unwrap_or(0)
    };
    Counts { passed: of(" passed"), failed: of(" failed") }
}

impl Counts {
    pub(crate) fn and(self, more: Counts) -> Counts {
        Counts { passed: self.passed + more.passed, failed: self.failed + more.failed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_is_told_by_its_id() {
        assert_eq!(package("path+file:///a/tests/pipelines#reelflow-pipelines@0.1.0"), Some("reelflow-pipelines"));
        assert_eq!(package("path+file:///a/xtask#0.1.0"), Some("xtask"));
    }

    #[test]
    fn the_line_of_a_result_is_counted() {
        let counts = result("test result: FAILED. 41 passed; 2 failed; 1 ignored; 0 measured; 3 filtered out; finished in 1.58s");
        assert_eq!((counts.passed, counts.failed), (41, 2));
        assert_eq!(result("test result: ok. 0 passed; 0 failed; 0 ignored").passed, 0);
    }
}
