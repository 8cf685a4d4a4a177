//! `reel dev`: what is saved is built, tested and played, and what has changed is shown.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, sync_channel},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use reelflow_pipelines::{console::type_in, prepared, target};

/// A round may have to compile everything, on a machine that does other things.
const PATIENCE: Duration = Duration::from_secs(300);

/// A running `reel dev` and what it says; it ends with this value.
struct Running {
    child: Child,
    lines: Receiver<(Stream, String)>,
}

/// Where a line was printed. The two come on their own, so which of two lines was printed first is known within a stream alone.
#[derive(Clone, Copy)]
enum Stream {
    Out,
    Err,
}

impl Running {
    fn start(project: &Path) -> Result<Running> {
        let mut command = Command::new(prepared("debug/reel"));
        command.arg("dev").current_dir(project).env("CARGO_TARGET_DIR", target().join("first-steps"));
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let (to, lines) = sync_channel(1_000);
        let (stdout, stderr) = (child.stdout.take().context("asked for")?, child.stderr.take().context("asked for")?);
        let both: [(Stream, Box<dyn BufRead + Send>); 2] =
            [(Stream::Out, Box::new(BufReader::new(stdout))), (Stream::Err, Box::new(BufReader::new(stderr)))];
        for (stream, lines) in both {
            let to = to.clone();
            thread::spawn(move || lines.lines().map_while(Result::ok).all(|line| to.send((stream, line)).is_ok()));
        }
        Ok(Running { child, lines })
    }

    /// All lines up to the one that ends a round, and says how many files are watched: what was printed, and then what was said beside it.
    fn round(&self) -> Result<String> {
        let [mut out, mut err] = [String::new(), String::new()];
        let mut patience = PATIENCE;
        loop {
            match self.lines.recv_timeout(patience) {
                Ok((stream, line)) => {
                    if line.starts_with("watching ") {
                        // What was printed before this line may still be on its way.
                        patience = Duration::from_millis(500);
                    }
                    let text = if let Stream::Out = stream { &mut out } else { &mut err };
                    *text += &line;
                    text.push('\n');
                }
                Err(_) if patience < PATIENCE => return Ok(out + &err),
                Err(why) => return Err(why).with_context(|| format!("the round does not end:\n{out}{err}")),
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.child.kill().and_then(|()| self.child.wait()).expect("it runs until it is killed");
    }
}

fn says(round: &str, all: &[&str]) -> Result<()> {
    for words in all {
        ensure!(round.contains(words), "it does not say {words:?}:\n{round}");
    }
    Ok(())
}

#[test]
fn what_is_saved_is_built_tested_and_played() -> Result<()> {
    let folder = tempfile::Builder::new().prefix("reelflow-").tempdir()?;
    // A name of its own: crates of one name would overwrite each other in the folder that all share.
    type_in("reel new daily", folder.path())?;
    let project = folder.path().join("daily");
    let running = Running::start(&project)?;
    let row = "{ title_id = 70, window_start = 1767225600000, plays = 4, viewers = 3 }";
    let first = running.round()?;
    says(
        &first,
        &["built ", "1 passed, 0 failed", "sample:\n  sink result\n", row, "error = \"not a profile\"", "watching 4 files"],
    )?;

    let code = fs::read_to_string(project.join("src/lib.rs"))?;
    let counted = code.replacen("plays: state.plays as i64", "plays: state.plays as i64 + 1", 1);
    ensure!(counted != code, "the template has another plugin:\n{code}");
    fs::write(project.join("src/lib.rs"), &counted)?;
    let changed = running.round()?;
    let gone = format!("    - {row}");
    let new = format!("    + {}", row.replace("plays = 4", "plays = 5"));
    says(&changed, &["0 passed, 1 failed", "sample: changed\n  sink result\n", &gone, &new])?;

    fs::write(project.join("src/lib.rs"), "nothing that compiles")?;
    says(&running.round()?, &["does not compile"])?;
    fs::write(project.join("src/lib.rs"), &counted)?;
    says(&running.round()?, &["sample: as before"])?;

    let manifest = fs::read_to_string(project.join("reel.toml"))?;
    fs::write(project.join("reel.toml"), manifest.replace("input = \"plays\"", "input = \"play\""))?;
    says(&running.round()?, &["error[RF0210]", "did you mean this one?"])?;
    Ok(())
}

#[test]
fn without_a_manifest_there_is_nothing_to_watch() -> Result<()> {
    let folder = tempfile::Builder::new().prefix("reelflow-").tempdir()?;
    let output = Command::new(prepared("debug/reel")).arg("dev").current_dir(folder.path()).output()?;
    ensure!(output.status.code() == Some(3), "{output:?}");
    says(&String::from_utf8_lossy(&output.stderr), &["RF0504", "reel.toml"])
}
