//! What died, where, why and how often; and one of them in full.

use std::fs;

use anyhow::{Context, Result};
use reelflow_pipelines::{Job, LogKind};
use serde_json::{Value, json};

use crate::{dlq, feed, job, judge, lines, play};

fn fed() -> Result<Job> {
    let job = job(&LogKind::Embedded, "")?;
    let mut values: Vec<String> = (0..10).map(|n| play(n, if n < 3 { "\"fridge\"" } else { "\"tv\"" })).collect();
    values[5] = play(5, "7");
    values[6] = "hello".to_owned();
    feed(&job, &values)?;
    Ok(job)
}

#[test]
fn dead_letters_are_counted_by_kind() -> Result<()> {
    let job = fed()?;
    let listed = dlq(&job, &["list"])?;
    assert_eq!((&listed["letters"], &listed["retried"], &listed["others"]), (&json!(5), &json!(0), &json!(0)), "{listed}");
    let groups = listed["groups"].as_array().context("groups")?;
    let of = |reason: &str| groups.iter().find(|group| group["reason"] == reason).with_context(|| format!("{reason}: {listed}"));
    let rejected = of("rejected")?;
    assert_eq!((&rejected["letters"], &rejected["stage"]), (&json!(3), &json!("clean")), "{rejected}");
    assert_eq!(groups[0], *rejected, "the most frequent kind comes first");
    let wrong_type = of("type")?;
    assert_eq!((&wrong_type["letters"], &wrong_type["source"]), (&json!(1), &json!("plays")), "{wrong_type}");
    assert!(wrong_type["error"].as_str().is_some_and(|error| error.contains("\"device\" at byte # must be")), "{wrong_type}");
    assert_eq!(wrong_type["first"], wrong_type["last"], "{wrong_type}");

    assert_eq!(dlq(&job, &["list", "--reason", "type", "--reason", "json"])?["letters"], 2);
    assert_eq!(dlq(&job, &["list", "--stage", "clean"])?["letters"], 3);
    assert_eq!(dlq(&job, &["list", "--source", "plays", "--error", "device"])?["letters"], 1);
    assert_eq!(dlq(&job, &["list", "--until", "2026-01-01"])?["letters"], 0);
    assert_eq!(dlq(&job, &["list", "--since", "2026-01-01"])?["letters"], 5);
    let text = job.read(&["dlq", "list"])?;
    let plugin = rejected["plugin"].as_str().filter(|plugin| plugin.starts_with("clean@")).context("a plugin")?;
    assert!(text.contains("has 5 dead letters"), "{text}");
    assert!(text.contains(&format!("3  stage clean, plugin {plugin}  rejected: ")), "{text}");
    Ok(())
}

#[test]
fn one_letter_is_shown_in_full() -> Result<()> {
    let job = fed()?;
    let exported = lines(&job, &["dlq", "export", "--to", "-"])?;
    assert_eq!(exported.len(), 5, "{exported:#?}");
    let wrong_type = exported.iter().find(|letter| letter["reason"] == "type").context("one of the wrong type")?;
    assert_eq!(wrong_type["value"], play(5, "7"));
    assert_eq!((&wrong_type["from"]["topic"], &wrong_type["key"]), (&json!("plays"), &json!("5")), "{wrong_type}");
    assert_eq!(wrong_type["from"]["timestamp"], 1_767_225_600_000_i64);
    let address = wrong_type["letter"].as_str().context("an address")?;
    let shown = dlq(&job, &["show", "--at", address])?;
    let mut expected = wrong_type.clone();
    expected["format"] = json!(1);
    assert_eq!(shown, expected);
    // The caret stands below the 7.
    let text = job.read(&["dlq", "show", "--at", address])?;
    let caret = text.lines().position(|line| line.trim() == "^").with_context(|| text.clone())?;
    let all: Vec<&str> = text.lines().collect();
    let column = all[caret].chars().count() - 1;
    assert_eq!(all[caret - 1].chars().nth(column), Some('7'), "{text}");

    job.read(&["dlq", "export", "--reason", "rejected", "--to", "dead.ndjson"])?;
    let file = fs::read_to_string(job.path().join("dead.ndjson"))?;
    let written: Vec<Value> = file.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let rejected: Vec<Value> = exported.into_iter().filter(|letter| letter["reason"] == "rejected").collect();
    assert_eq!(written, rejected);
    Ok(())
}

#[test]
fn what_is_asked_for_wrongly_is_said() -> Result<()> {
    let job = job(&LogKind::Embedded, "")?;
    let show = |at: &str| job.reel(&["dlq", "show", "--at", at]).output();
    judge(&show("0:0")?, 2, &["topic \"dead.plays\" has no dead letter at 0:0", "it has 0 partitions"]);
    judge(&job.reel(&["dlq", "list"]).output()?, 0, &["pipeline \"plays\" has no such dead letters in topic \"dead.plays\""]);
    feed(&job, &[play(0, "7")])?;
    judge(&show("9:0")?, 2, &["no dead letter at 9:0", "it has 2 partitions"]);
    judge(&show("1:77")?, 2, &["no dead letter at 1:77", "partition 1 holds offsets 0 to "]);
    judge(&show("first")?, 2, &["must be the partition and the offset of a dead letter, such as 0:17"]);
    let nowhere = job.reel(&["dlq", "export", "--to", "no/such/folder/dead.ndjson"]).output()?;
    judge(&nowhere, 3, &["no/such/folder/dead.ndjson cannot be written"]);
    Ok(())
}
