//! A call that failed, taken to another machine: an empty folder with nothing but the bundle.

use std::{fs, path::Path, process::Output};

use anyhow::{Context, Result};
use reelflow_pipelines::{Job, LogKind, guest, guest_stage::GuestStage, prepared};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{feed, job, judge, lines, play};

/// The first letter with this reason, bundled, in a folder of its own.
pub(crate) fn bundled(job: &Job, reason: &str) -> Result<TempDir> {
    let letters = lines(job, &["dlq", "export", "--reason", reason, "--to", "-"])?;
    let address = letters.first().context("a letter")?["letter"].as_str().context("an address")?.to_owned();
    let folder = tempfile::Builder::new().prefix("reelflow-").tempdir()?;
    let to = folder.path().join("incident.reel");
    let output = job.reel(&["dlq", "export", "--at", &address, "--bundle", to.to_str().context("text")?]).output()?;
    judge(&output, 0, &["fails as the letter says"]);
    Ok(folder)
}

pub(crate) fn replay(folder: &Path, args: &[&str]) -> Result<Output> {
    let mut reel = std::process::Command::new(prepared("debug/reel"));
    Ok(reel.current_dir(folder).args(["replay", "incident.reel"]).args(args).output()?)
}

pub(crate) fn replayed(folder: &Path, args: &[&str], exit: i32) -> Result<Value> {
    let output = replay(folder, &[args, &["--format", "json"]].concat())?;
    judge(&output, exit, &[]);
    Ok(serde_json::from_slice(&output.stdout)?)
}

pub(crate) fn bundle_of(folder: &Path) -> Result<Value> {
    Ok(serde_json::from_slice(&fs::read(folder.join("incident.reel"))?)?)
}

/// A row that was refused is refused again, and a plugin that takes it says so.
#[test]
fn a_refused_row_is_refused_again_until_the_plugin_is_mended() -> Result<()> {
    let job = job(&LogKind::Embedded, "")?;
    feed(&job, &[play(0, "\"tv\""), play(2, "\"fridge\"")])?;
    let folder = bundled(&job, "rejected")?;
    let again = replayed(folder.path(), &[], 1)?;
    assert_eq!(
        (&again["outcome"], &again["now"], &again["stage"]),
        (&json!("reproduced"), &again["then"], &json!("clean")),
        "{again}"
    );
    let text = replay(folder.path(), &[])?;
    judge(&text, 1, &["of pipeline plays, stage clean, plugin clean", "then  rejected", "fridge", "now   the same"]);

    let mended = prepared("plugins/filter_half.wasm");
    let answers = replayed(folder.path(), &["--plugin", mended.to_str().context("text")?], 0)?;
    let row = json!({ "event_id": "e2", "event_ts": 1_767_225_600_000_i64, "profile_id": 2, "title_id": 7 });
    assert_eq!(
        (&answers["outcome"], &answers["rows"]),
        (&json!("answered"), &json!([{ "output": "out", "row": row }])),
        "{answers}"
    );
    let aggregate = prepared("plugins/flight_delays.wasm");
    let other = replay(folder.path(), &["--plugin", aggregate.to_str().context("text")?])?;
    judge(&other, 2, &["plugin \"clean\" cannot be called", "it is of kind aggregate, and the call is one of kind transform"]);
    Ok(())
}

/// A trap comes with its message and its backtrace.
#[test]
fn a_trap_is_reproduced_with_its_backtrace() -> Result<()> {
    let lines = "{\"ts\":1,\"n\":7}\n{\"ts\":2,\"n\":13,\"deep\":{\"text\":\"t\"}}\n";
    let job = GuestStage::transform("panic").job(lines, "1", &[])?;
    job.run_to_end(&[])?;
    let shown: Value = serde_json::from_str(&job.read(&["dlq", "export", "--to", "-"])?)?;
    assert!(shown["backtrace"].as_array().is_some_and(|frames| !frames.is_empty()), "{shown}");
    let folder = bundled(&job, "trap")?;
    let again = replayed(folder.path(), &[], 1)?;
    assert_eq!((&again["outcome"], &again["now"]["error"]), (&json!("reproduced"), &shown["error"]), "{again}");
    Ok(())
}

/// The state of the key goes along.
#[test]
fn an_aggregate_has_the_state_of_its_key() -> Result<()> {
    let job = Job::example("flights", &LogKind::Embedded, &[])?;
    let line =
        |delay: i64| format!("{{\"flight_id\":\"f{delay}\",\"origin\":\"JFK\",\"scheduled_ms\":1000,\"dep_delay\":{delay}}}\n");
    fs::write(job.path().join("in.ndjson"), line(5) + &line(i64::MAX))?;
    let write =
        ["topic", "write", "departures", "in.ndjson", "--key", "origin", "--timestamp", "scheduled_ms", "--partitions", "1"];
    job.read(&write)?;
    job.run_to_end(&[])?;
    let folder = bundled(&job, "rejected")?;
    assert_eq!(replayed(folder.path(), &[], 1)?["outcome"], "reproduced");
    let mut bundle = bundle_of(folder.path())?;
    assert_eq!(bundle["call"]["function"], "aggregate.add");
    let kept: Value =
        serde_json::from_str(&job.read(&["state", "get", "--stage", "hourly", "--key", "\"JFK\"", "--format", "json"])?)?;
    assert_eq!(bundle["call"]["state"]["base64"], kept["kept"][0]["state"]["base64"], "{kept}");
    // The plugin reads it: a state that is none breaks it.
    bundle["call"]["state"]["base64"] = json!("////");
    fs::write(folder.path().join("incident.reel"), bundle.to_string())?;
    assert_eq!(replayed(folder.path(), &[], 1)?["outcome"], "other");
    Ok(())
}

/// The trap of a join with these keys: its letter, and the call of its bundle, which fails as the letter says. A row is its time, its key and its value.
fn trap_of_a_join(keys: &str, left: &[(i64, i64, i64)], right: &[(i64, i64, i64)]) -> Result<(Value, Value)> {
    let job = Job::example("flights", &LogKind::Embedded, &[])?;
    let source = |side: &str| {
        format!("[source.{side}]\ntopic = \"{side}\"\nevent_time = \"ts\"\nbound = \"0s\"\nfields = {{ k = \"i64\" }}\n")
    };
    let manifest = r#"
        pipeline = { name = "pairs" }
        log = { kind = "embedded", path = "log" }
        LEFT
        RIGHT
        [plugin.guest]
        path = "guest.wasm"
        config = { mode = "panic", at = "pair" }
        [stage.pairs]
        kind = "join"
        left = "left"
        right = "right"
        on = ["k"]
        lateness = "0s"
        KEYS
        plugin = "guest"
        [sink.out]
        input = "pairs"
        topic = "out"
    "#;
    let manifest = manifest.replace("LEFT", &source("left")).replace("RIGHT", &source("right")).replace("KEYS", keys);
    fs::write(job.path().join("reel.toml"), manifest)?;
    fs::copy(guest("join"), job.path().join("guest.wasm"))?;
    for (side, name, rows) in [("left", "l", left), ("right", "r", right)] {
        let line = |(ts, k, value): &(i64, i64, i64)| format!("{{\"ts\":{ts},\"k\":{k},\"{name}\":{value}}}\n");
        fs::write(job.path().join("in.ndjson"), rows.iter().map(line).collect::<String>())?;
        job.read(&["topic", "write", side, "in.ndjson", "--timestamp", "ts", "--partitions", "1"])?;
    }
    job.run_to_end(&[])?;
    let letter = lines(&job, &["dlq", "export", "--reason", "trap", "--to", "-"])?.remove(0);
    let folder = bundled(&job, "trap")?;
    assert_eq!(replayed(folder.path(), &[], 1)?["outcome"], "reproduced");
    Ok((letter, bundle_of(folder.path())?["call"].clone()))
}

fn value(call: &Value, side: &str, name: &str) -> Option<Value> {
    call[side].as_array().into_iter().flatten().find(|named| named["name"] == name).map(|named| named["value"].clone())
}

/// The right row is looked for among those that are kept.
#[test]
fn a_join_has_both_sides() -> Result<()> {
    let keys = "match = \"latest-before\"\nwithin = \"1h\"\njoin = \"left\"\nemit = \"final\"";
    let (_, call) = trap_of_a_join(keys, &[(2, 4, 7), (9_000, 5, 0)], &[(1, 4, 8), (9_000, 5, 0)])?;
    assert_eq!(
        (&call["function"], value(&call, "left", "l"), value(&call, "right", "r")),
        (&json!("join.pair"), Some(json!(7)), Some(json!(8)))
    );
    Ok(())
}

/// Its letter says that there was no left one.
#[test]
fn a_right_row_alone_is_called_alone() -> Result<()> {
    let keys = "match = \"all\"\nwithin = \"1s\"\nafter = \"1s\"\njoin = \"right\"";
    let (letter, call) = trap_of_a_join(keys, &[(9_000, 5, 0)], &[(1, 4, 8), (9_000, 6, 0)])?;
    assert_eq!(letter["call"], "pair of a right row alone");
    assert_eq!(
        (&call["function"], &call["left"], value(&call, "right", "r"), value(&call, "right", "k")),
        (&json!("join.pair"), &Value::Null, Some(json!(8)), Some(json!(4)))
    );
    Ok(())
}

#[test]
fn a_process_has_its_key_its_state_and_its_time() -> Result<()> {
    // The key is no key of the source, so the row comes through a shuffle: its letter holds the row alone.
    let lines = "{\"ts\":1,\"k\":4,\"n\":5}\n{\"ts\":2,\"k\":4,\"n\":-1}\n";
    let stage = GuestStage { kind: "process", mode: "", function: "", more: "key = [\"k\"]" };
    let job = stage.job(lines, "2", &[])?;
    job.run_to_end(&[])?;
    let folder = bundled(&job, "rejected")?;
    assert_eq!(replayed(folder.path(), &[], 1)?["outcome"], "reproduced");
    let call = bundle_of(folder.path())?["call"].clone();
    let key = json!([{ "name": "k", "type": "i64", "value": 4 }]);
    assert_eq!((&call["function"], &call["time"], &call["key"]), (&json!("process.take"), &json!(2), &key), "{call}");
    // The sum of the key, 5, as eight bytes.
    assert_eq!(call["state"]["base64"], "BQAAAAAAAAA=", "{call}");

    // A row alone cannot be put back.
    let retry: Value = serde_json::from_str(&job.read(&["dlq", "retry", "--format", "json"])?)?;
    assert_eq!((&retry["put_back"], &retry["left"][0]["letters"]), (&json!(0), &json!(1)), "{retry}");
    assert!(retry["left"][0]["why"].as_str().is_some_and(|why| why.starts_with("a row that a stage made")), "{retry}");
    Ok(())
}

#[test]
fn what_gives_no_call_and_what_is_damaged_is_said() -> Result<()> {
    let job = job(&LogKind::Embedded, "")?;
    feed(&job, &[play(0, "7"), play(2, "\"fridge\"")])?;
    let letters = lines(&job, &["dlq", "export", "--reason", "type", "--to", "-"])?;
    let address = letters.first().context("a letter")?["letter"].as_str().context("an address")?;
    let export = |args: &[&str]| job.reel(&[&["dlq", "export"], args].concat()).output();
    judge(&export(&["--at", address, "--bundle", "i.reel"])?, 2, &["gives no call: source \"plays\" refused it"]);
    judge(&export(&["--at", "0:7", "--at", "0:8", "--bundle", "i.reel"])?, 2, &["--bundle takes one dead letter"]);
    judge(&export(&["--bundle", "i.reel"])?, 2, &["--at"]);
    assert!(!job.path().join("i.reel").exists());

    let folder = bundled(&job, "rejected")?;
    let good = bundle_of(folder.path())?;
    let with = |at: &str, value: Value, exit: i32, says: &str| -> Result<()> {
        let mut bundle = good.clone();
        *bundle.pointer_mut(at).context("it is there")? = value;
        fs::write(folder.path().join("incident.reel"), bundle.to_string())?;
        judge(&replay(folder.path(), &[])?, exit, &[says]);
        Ok(())
    };
    with("/version", json!(2), 2, "\"incident.reel\" is no good incident bundle: it is of version 2")?;
    with("/plugin/digest", json!("0"), 2, "its component is damaged")?;
    with("/plugin/limits/memory_bytes", json!(1_u64 << 50), 2, "its limit memory_bytes is")?;
    with("/call/row", json!([]), 2, "which the row does not have")?;
    with("/died/error", json!("another\u{1b}[2J"), 1, "now   rejected")?;
    fs::write(folder.path().join("incident.reel"), "\x00\x01")?;
    judge(&replay(folder.path(), &[])?, 2, &["is no good incident bundle"]);
    fs::remove_file(folder.path().join("incident.reel"))?;
    judge(&replay(folder.path(), &[])?, 3, &["\"incident.reel\" cannot be read"]);
    Ok(())
}
