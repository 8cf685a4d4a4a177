//! A stage that forgets what it keeps: at a start, with another manifest.

use std::fs;

use anyhow::{Result, ensure};
use reelflow_pipelines::{Job, LogKind, said};
use serde_json::Value;

fn departure(number: u32, minute: i64) -> String {
    let at = 1_357_034_400_000 + 60_000 * minute;
    format!("EWR\t{at}\t{{\"flight_id\":\"{number}\",\"scheduled_ms\":{at},\"origin\":\"EWR\",\"dep_delay\":{number}}}\n")
}

fn write(job: &Job, lines: &str, args: &[&str]) -> Result<()> {
    fs::write(job.path().join("more.tsv"), lines)?;
    job.read(&[&["topic", "write", "departures", "more.tsv", "--lines", "tsv"], args].concat()).map(drop)
}

/// Other windows over a state of hours: refused, forgotten once with `--reset`, and what has come since counts by the new windows.
#[test]
fn a_start_with_other_windows_forgets_and_goes_on() -> Result<()> {
    let job = Job::example("flights", &LogKind::Embedded, &[])?;
    write(&job, &(departure(1, 0) + &departure(2, 10)), &["--partitions", "1"])?;
    job.run_to_end(&[])?;
    let manifest = job.path().join("reel.toml");
    let text = fs::read_to_string(&manifest)?;

    let run = |args: &[&str]| -> Result<(Option<i32>, String)> {
        let output = job.reel(&[&["run", "--until-end"], args].concat()).output()?;
        Ok((output.status.code(), said(&output)))
    };
    fs::write(&manifest, text.replace("size = \"1h\"", "size = \"30m\""))?;
    let (code, says) = run(&[])?;
    ensure!(code == Some(2) && says.contains("RF0512") && says.contains("`reel run --reset hourly`"), "{code:?}:\n{says}");
    let (code, says) = run(&["--reset", "hourli"])?;
    ensure!(code == Some(2) && says.contains("did you mean \"hourly\"?"), "{code:?}:\n{says}");
    let (code, says) = run(&["--reset", "hourly"])?;
    ensure!(code == Some(0) && says.contains("state of stage \"hourly\": RESET"), "{code:?}:\n{says}");
    let kept = job.read(&["state", "export", "--stage", "hourly", "--to", "-"])?;
    ensure!(kept.is_empty(), "it was to be forgotten: {kept}");

    // Nobody resets any more.
    write(&job, &(departure(3, 20) + &departure(4, 40)), &["--end"])?;
    let summary = job.run_to_end(&[])?;
    ensure!(summary["stages"][0]["total"]["rows_in"] == 4, "counts stay: {summary}");
    let rows = job.read(&["topic", "read", "hourly"])?;
    let counts: Vec<Value> = rows.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let delays: Vec<&Value> = counts.iter().map(|row| &row["delay_sum_min"]).collect();
    ensure!(delays == [3, 4], "the half hours of what came since: {rows}");
    let history = job.read(&["history"])?;
    ensure!(history.matches("the state of stage \"hourly\" is forgotten").count() >= 1, "{history}");
    Ok(())
}
