//! What a user can get wrong, in one table: each case gets its error, its exit code, and loses nothing.
//!
//! The manifests' own mistakes, some seventy of them, stand in `host/config/tests/cases`; hostile components in `host/wasm/tests`.
//! Here the whole program meets what lies in files, topics, components and the environment.

mod cases;
mod files;
mod histories;
mod joins;
mod logs;
mod plugins;
mod records;
mod windows;

use std::{fs, process::Output};

use anyhow::Result;
use cases::{CASES, NO_EDIT, NO_FILE};
use reelflow_pipelines::{Job, LogKind, ONE_STAGE, said};

pub const PLAY: &str = r#"{"event_id":"e1","event_ts":1767225600000,"profile_id":1,"account_id":1,"device":"tv","country":"NL","title_id":7,"playback_id":"p1","offline":false,"trailer":false}"#;

fn job(edit: (&str, &str)) -> Result<Job> {
    let job = Job::example("flights", &LogKind::Embedded, &[])?;
    let mut text = ONE_STAGE.to_owned();
    if edit != NO_EDIT {
        assert!(text.contains(edit.0), "the manifest does not contain {:?}", edit.0);
        text = text.replacen(edit.0, edit.1, 1);
    }
    fs::write(job.path().join("reel.toml"), text)?;
    Ok(job)
}

/// The exit code and what was said are as wanted, and it was no panic.
fn judge(name: &str, output: &Output, exit: i32, says: &[&str], failures: &mut Vec<String>) {
    let text = said(output);
    if output.status.code() != Some(exit) {
        failures.push(format!("{name}: ended with {} instead of {exit}:\n{text}", output.status));
    }
    for wanted in says {
        if !text.contains(wanted) {
            failures.push(format!("{name}: does not say {wanted:?}:\n{text}"));
        }
    }
    if text.contains("panicked") || text.contains("RUST_BACKTRACE") {
        failures.push(format!("{name}: panicked:\n{text}"));
    }
    if text.contains("hunter2") {
        failures.push(format!("{name}: says a secret:\n{text}"));
    }
}

#[test]
fn every_mistake_gets_its_error_and_its_exit_code() -> Result<()> {
    let mut failures = Vec::new();
    for case in CASES.iter().chain(windows::CASES) {
        let job = job(case.edit)?;
        if case.file != NO_FILE {
            fs::write(job.path().join(case.file.0), case.file.1)?;
        }
        let output = job.reel(case.args).output()?;
        judge(case.name, &output, case.exit, case.says, &mut failures);
    }
    assert!(failures.is_empty(), "{} of {} cases failed:\n{}", failures.len(), CASES.len(), failures.join("\n---\n"));
    Ok(())
}
