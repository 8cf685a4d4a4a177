//! Bundles of calls that no record gives again: of windows, sessions and timers. The letter has what the plugin was given.

use std::fs;

use anyhow::{Context, Result};
use reelflow_pipelines::{Job, guest, guest_stage::GuestStage};
use serde_json::{Value, json};

use crate::{
    incidents::{bundle_of, bundled, replay, replayed},
    judge, lines,
};

const TUMBLING: &str = "key = [\"k\"]\nwindow = { kind = \"tumbling\", size = \"1s\" }\nlateness = \"0s\"\nemit = \"final\"";
const HOPPING: &str =
    "key = [\"k\"]\nwindow = { kind = \"hopping\", size = \"2s\", slide = \"1s\" }\nlateness = \"0s\"\nemit = \"final\"";
const SESSION: &str = "key = [\"k\"]\nwindow = { kind = \"session\", gap = \"1s\" }\nlateness = \"1h\"\nemit = \"final\"";

/// Two rows of a key, the second of which is in the next second.
const ROWS: &str = "{\"ts\":100,\"k\":4,\"n\":5}\n{\"ts\":1050,\"k\":4,\"n\":6}\n";

fn aggregate<'a>(function: &'a str, window: &'a str) -> GuestStage<'a> {
    GuestStage { kind: "aggregate", mode: "panic", function, more: window }
}

/// Runs `stage` over the rows. The bundle of its first trap fails as the letter says, also where there is neither log nor manifest; gives the call.
fn check(stage: GuestStage<'_>, end: &[&str]) -> Result<(Job, Value)> {
    let job = stage.job(ROWS, "1", end)?;
    job.run_to_end(&[])?;
    let call = check_bundle(&job, stage.function)?;
    Ok((job, call))
}

fn check_bundle(job: &Job, function: &str) -> Result<Value> {
    let letters = lines(job, &["dlq", "export", "--reason", "trap", "--to", "-"])?;
    let letter = letters.first().context("a letter")?;
    let error = letter["error"].as_str().context("an error")?;
    assert!(error.contains(&format!("asked to panic in {function}, in guest_shared::misbehave")), "{letter}");
    let frames = letter["backtrace"].as_array().context("a backtrace")?;
    assert!(
        frames.iter().any(|frame| frame.as_str().is_some_and(|name| name.contains(&format!("Guest>::{function}")))),
        "{letter}"
    );
    let folder = bundled(job, "trap")?;
    let again = replayed(folder.path(), &[], 1)?;
    assert_eq!((&again["outcome"], &again["now"]["error"]), (&json!("reproduced"), &letter["error"]), "{again}");
    assert_eq!(again["other_component"], Value::Null, "{again}");
    let bundle = bundle_of(folder.path())?;
    assert_eq!(bundle["letter"]["plugin"], letter["plugin"]);
    Ok(bundle["call"].clone())
}

/// A sum, as the guests keep it.
fn sum(n: u8) -> Value {
    json!(match n {
        5 => "BQAAAAAAAAA=",
        6 => "BgAAAAAAAAA=",
        11 => "CwAAAAAAAAA=",
        _ => unreachable!("the rows have no other sums"),
    })
}

#[test]
fn a_window_that_is_emitted() -> Result<()> {
    let (job, call) = check(aggregate("emit", TUMBLING), &["--end"])?;
    let key = json!([{ "name": "k", "type": "i64", "value": 4 }]);
    assert_eq!((&call["function"], &call["window"]), (&json!("aggregate.emit"), &json!({ "start": 0, "end": 1000 })), "{call}");
    assert_eq!((&call["key"], &call["state"]["base64"]), (&key, &sum(5)), "{call}");
    assert_eq!((&call["state"]["type"], &call["state"]["versions"]), (&json!("Sum"), &json!([3])), "{call}");
    // Nothing is kept any more of a window that was emitted: the state is that of the letter.
    let kept = job.reel(&["state", "get", "--stage", "guest", "--key", "4"]).output()?;
    judge(&kept, 2, &["stage \"guest\" keeps nothing of [4]"]);
    let shown = job.read(&["dlq", "show", "--at", "0:0"])?;
    assert!(shown.contains("emit of the window 1970-01-01T00:00:00") && shown.contains("with 1 states of 8 bytes"), "{shown}");
    Ok(())
}

#[test]
fn panes_of_a_hopping_window_that_are_merged() -> Result<()> {
    let (_, call) = check(aggregate("merge", HOPPING), &["--end"])?;
    assert_eq!(call["function"], "aggregate.merge", "{call}");
    assert_eq!((&call["parts"][0]["base64"], &call["parts"][1]["base64"]), (&sum(5), &sum(6)), "{call}");
    Ok(())
}

/// A row comes between two sessions that are there: what dies is the row, and its letter has all three states.
#[test]
fn a_row_that_makes_two_sessions_one() -> Result<()> {
    let stage = aggregate("merge", SESSION);
    let job = stage.job("{\"ts\":100,\"k\":4,\"n\":5}\n{\"ts\":1900,\"k\":4,\"n\":6}\n", "1", &[])?;
    job.run_to_end(&[])?;
    fs::write(job.path().join("in.ndjson"), "{\"ts\":1000,\"k\":4,\"n\":11}\n")?;
    job.read(&["topic", "write", "numbers", "in.ndjson", "--timestamp", "ts"])?;
    job.run_to_end(&[])?;
    let call = check_bundle(&job, "merge")?;
    let parts = [0, 1, 2].map(|part| &call["parts"][part]["base64"]);
    assert_eq!(parts, [&sum(5), &sum(11), &sum(6)], "{call}");
    Ok(())
}

#[test]
fn a_session_that_is_emitted() -> Result<()> {
    let (_, call) = check(aggregate("emit", SESSION), &["--end"])?;
    assert_eq!((&call["function"], &call["window"]), (&json!("aggregate.emit"), &json!({ "start": 100, "end": 2050 })), "{call}");
    Ok(())
}

#[test]
fn a_timer_that_fires() -> Result<()> {
    let (_, call) = check(GuestStage { kind: "process", mode: "panic", function: "fire", more: "key = [\"k\"]" }, &[])?;
    // The timer of the first row, ten ms behind it: the second row came before the watermark had passed it.
    assert_eq!(
        (&call["function"], &call["timer"]),
        (&json!("process.fire"), &json!({ "clock": "event-time", "at": 110 })),
        "{call}"
    );
    assert_eq!((&call["key"][0]["value"], &call["state"]["base64"]), (&json!(4), &sum(11)), "{call}");
    assert!(call["watermark"].as_i64() >= Some(110) && call["now"].as_i64().is_some(), "{call}");
    Ok(())
}

/// What is kept of the key has gone on since; the letter has the state in which the row died.
#[test]
fn a_row_has_the_state_in_which_it_died() -> Result<()> {
    let stage = GuestStage { kind: "process", mode: "", function: "take", more: "key = [\"k\"]" };
    let (first, second) = ROWS.split_once('\n').context("two rows")?;
    let job = stage.job(&format!("{first}\n"), "1", &[])?;
    job.run_to_end(&[])?;
    let add = |line: &str, mode: &str| -> Result<()> {
        GuestStage { mode, ..stage }.put(&job)?;
        fs::write(job.path().join("in.ndjson"), line)?;
        job.read(&["topic", "write", "numbers", "in.ndjson", "--timestamp", "ts"])?;
        job.run_to_end(&[]).map(drop)
    };
    add(second, "panic")?;
    add(second, "")?;
    GuestStage { mode: "panic", ..stage }.put(&job)?;
    let call = check_bundle(&job, "take")?;
    assert_eq!(
        (&call["function"], &call["time"], &call["state"]["base64"]),
        (&json!("process.take"), &json!(1050), &sum(5)),
        "{call}"
    );
    Ok(())
}

/// Beside a long record there is no room for a state: it is said, and the state is what is kept now.
#[test]
fn a_state_without_room_is_taken_from_what_is_kept() -> Result<()> {
    let stage = GuestStage { kind: "process", mode: "", function: "take", more: "key = [\"k\"]" };
    let (first, second) = ROWS.split_once('\n').context("two rows")?;
    let job = stage.job(&format!("{first}\n"), "1", &[])?;
    let run = |mode: &str| -> Result<()> {
        GuestStage { mode, ..stage }.put(&job)?;
        // Records lie by the key already, so the letter holds the record and not the row alone.
        let manifest =
            fs::read_to_string(job.path().join("reel.toml"))?.replace("bound = \"0s\"", "bound = \"0s\"\nkey = [\"k\"]");
        fs::write(job.path().join("reel.toml"), manifest)?;
        job.run_to_end(&[]).map(drop)
    };
    run("")?;
    // As long as a record may be, but for the last four bytes.
    let short = second.trim().replace('}', ",\"pad\":\"\"}");
    let long = short.replace("\"\"", &format!("\"{}\"", "x".repeat((256 << 10) - 4 - short.len())));
    fs::write(job.path().join("in.ndjson"), long + "\n")?;
    job.read(&["topic", "write", "numbers", "in.ndjson", "--timestamp", "ts"])?;
    run("panic")?;
    let letter = lines(&job, &["dlq", "export", "--to", "-"])?.remove(0);
    assert_eq!(letter["call"], "take, without its 1 states of 8 bytes");
    let call = check_bundle(&job, "take")?;
    assert_eq!(call["state"]["base64"], sum(5), "{call}");
    Ok(())
}

/// The letter names its component; whoever has another one is told.
#[test]
fn another_component_is_told() -> Result<()> {
    let (job, _) = check(aggregate("emit", TUMBLING), &["--end"])?;
    let letter = lines(&job, &["dlq", "export", "--to", "-"])?.remove(0);
    let plugin = letter["plugin"].as_str().context("a plugin")?.to_owned();
    assert!(plugin.strip_prefix("guest@").is_some_and(|digits| digits.len() == 16), "{letter}");
    let list = job.read(&["dlq", "list"])?;
    assert!(list.contains(&plugin), "{list}");
    let folder = bundled(&job, "trap")?;
    let other = folder.path().join("other.wasm");
    // A custom section changes nothing but the digest.
    let component = [&fs::read(guest("aggregate"))?[..], b"\0\x02\x01x"].concat();
    fs::write(&other, &component)?;
    let output = replay(folder.path(), &["--plugin", "other.wasm"])?;
    judge(&output, 1, &[&format!("the letter is of component {plugin}, this one is guest@"), "now   the same"]);
    // The manifest's is another one now, and the pipeline has run the old one: that is bundled.
    fs::write(job.path().join("guest.wasm"), &component)?;
    let call = check_bundle(&job, "emit")?;
    assert_eq!(call["state"]["base64"], sum(5));
    Ok(())
}
