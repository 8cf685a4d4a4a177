//! What happens when a plugin fails: what a stage's policy says, with real components on the embedded log.

use anyhow::{Context, Result};
use reelflow_pipelines::{Job, guest_stage::GuestStage, said};
use serde_json::{Value, json};

/// A folder with the guest, and `numbers` in its topic.
fn job(mode: &str, policy: &str, numbers: &[i64]) -> Result<Job> {
    let line = |(idx, n): (usize, &i64)| format!("{{\"ts\":{idx},\"n\":{n},\"i\":{idx}}}\n");
    let lines: String = numbers.iter().enumerate().map(line).collect();
    stage(mode, policy).job(&lines, "1", &["--end"])
}

fn stage<'a>(mode: &'a str, policy: &'a str) -> GuestStage<'a> {
    GuestStage { more: policy, ..GuestStage::transform(mode) }
}

/// The number of each committed row.
fn numbers(job: &Job) -> Result<Vec<i64>> {
    let rows = job.read(&["topic", "read", "out"])?;
    rows.lines().map(|row| serde_json::from_str::<Value>(row)?["i"].as_i64().context("a row has its number")).collect()
}

fn dead_letters(job: &Job) -> Result<Vec<Value>> {
    let letters = job.read(&["topic", "read", "dead.hostile", "--format", "json"])?;
    letters.lines().map(|letter| Ok(serde_json::from_str(letter)?)).collect()
}

/// `N` numbers that the guest takes, but for those at `guilty`.
fn with_guilty<const N: usize>(guilty: &[usize]) -> [i64; N] {
    std::array::from_fn(|idx| if guilty.contains(&idx) { 13 } else { 100 })
}

#[test]
fn three_traps_among_4096_records_cost_at_most_72_calls_more_and_nobody_else() -> Result<()> {
    let guilty = [17, 2048, 4095];
    let job = job("panic", "", &with_guilty::<4096>(&guilty))?;
    let summary = job.run_to_end(&[])?;
    let letters = dead_letters(&job)?;
    assert_eq!(letters.len(), 3, "{letters:#?}");
    for (letter, idx) in letters.iter().zip(guilty) {
        let header = |name: &str| letter["headers"][name].as_str().unwrap_or_default().to_owned();
        assert_eq!((header("reel-offset"), header("reel-partition")), (idx.to_string(), "0".to_owned()));
        assert_eq!((header("reel-topic"), header("reel-reason")), ("numbers".to_owned(), "trap".to_owned()));
        assert!(header("reel-error").contains("asked to panic in apply, in guest_shared::misbehave"), "{letter}");
        let backtrace = header("reel-backtrace");
        let frames: Vec<&str> = backtrace.lines().collect();
        let at = |name: &str| frames.iter().position(|frame| frame.contains(name));
        assert!(at("guest_shared::misbehave") < at("Guest>::apply") && at("Guest>::apply").is_some(), "{backtrace}");
        assert!(!backtrace.contains("_ZN") && frames.len() <= 32, "{backtrace}");
    }
    let innocent: Vec<i64> = (0..4096).filter(|idx| !guilty.contains(&(*idx as usize))).collect();
    assert_eq!(numbers(&job)?, innocent, "each once, in order");
    let usage = &summary["stages"][0]["calls"];
    let n_calls = usage["calls"].as_u64().context("calls are counted")?;
    // However the log cut the records, each batch is one call without the guilty.
    let n_batches = usage["rows"].as_u64().context("rows are counted")?.div_ceil(4096).max(1);
    assert!((1 + 3..=72 + n_batches).contains(&n_calls), "{usage}");
    assert!(usage["faults"]["trap"].as_u64() >= Some(3), "{usage}");
    Ok(())
}

#[test]
fn what_is_skipped_is_counted_and_written_nowhere() -> Result<()> {
    let job = job("panic", "on_error = \"skip\"", &[1, 2, 13, -5])?;
    let summary = job.run_to_end(&[])?;
    let total = &summary["stages"][0]["total"];
    assert_eq!((&total["skipped"], &total["dead"], &total["accepted"]), (&json!(2), &json!(0), &json!(2)), "{summary}");
    assert_eq!(summary["dead_letters"], 0);
    assert!(dead_letters(&job)?.is_empty());
    assert_eq!(numbers(&job)?, [0, 1]);
    Ok(())
}

#[test]
fn a_stage_that_fails_commits_nothing_and_goes_on_with_a_mended_plugin() -> Result<()> {
    let job = job("panic", "on_error = \"fail\"", &[1, 2, 13, 3])?;
    for _ in 0..2 {
        let output = job.reel(&["run", "--until-end"]).output()?;
        let text = said(&output);
        assert_eq!(output.status.code(), Some(1), "{text}");
        for word in
            ["[RF0540]", "stage \"guest\" failed at topic \"numbers\", partition 0, offset 2", "(trap)", "on_error = \"fail\""]
        {
            assert!(text.contains(word), "it does not say {word:?}:\n{text}");
        }
        assert!(numbers(&job)?.is_empty() && dead_letters(&job)?.is_empty(), "nothing was committed");
    }
    // The guest that meets its number without harm stands for the mended one.
    stage("behave", "on_error = \"fail\"").put(&job)?;
    let summary = job.run_to_end(&[])?;
    assert_eq!(summary["stages"][0]["total"]["rows_in"], 4, "{summary}");
    assert_eq!(numbers(&job)?, [0, 1, 2, 3], "each once");
    Ok(())
}

#[test]
fn too_many_errors_stop_the_pipeline_also_after_a_restart() -> Result<()> {
    let job = job("panic", "errors_max = { share = \"10%\", of = 20 }", &with_guilty::<40>(&[30, 33, 34, 35, 36]))?;
    for _ in 0..2 {
        let output = job.reel(&["run", "--until-end"]).output()?;
        let text = said(&output);
        assert_eq!(output.status.code(), Some(1), "{text}");
        for word in ["[RF0541]", "too much went wrong in stage \"guest\"", "offset 36", "share = \"10%\""] {
            assert!(text.contains(word), "it does not say {word:?}:\n{text}");
        }
        assert!(dead_letters(&job)?.is_empty(), "nothing was committed");
    }
    stage("panic", "errors_max = { share = \"20%\", of = 20 }").put(&job)?;
    job.run_to_end(&[])?;
    assert_eq!(dead_letters(&job)?.len(), 5);
    Ok(())
}

/// A row that takes for ever is tried again before it is given up; a bounded number of times.
#[test]
fn only_a_lone_row_that_ran_into_the_deadline_is_tried_again() -> Result<()> {
    for (policy, n_retries) in [("retries = 2\nbackoff = \"1ms\"", 2), ("retries = 0", 0)] {
        let job = job("loop", policy, &[1, 13, 2])?;
        let summary = job.run_to_end(&[])?;
        let usage = &summary["stages"][0]["calls"];
        assert_eq!(usage["retries"], n_retries, "{usage}");
        assert_eq!(dead_letters(&job)?[0]["headers"]["reel-reason"], "deadline");
        assert_eq!(numbers(&job)?, [0, 2]);
    }
    let job = job("panic", "retries = 5", &[13])?;
    let summary = job.run_to_end(&[])?;
    assert_eq!(summary["stages"][0]["calls"]["retries"], 0, "a trap is a trap again: {summary}");
    Ok(())
}
