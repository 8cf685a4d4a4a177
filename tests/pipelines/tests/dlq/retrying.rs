//! Records of dead letters go back where they came from, once, as they were or mended.

use std::{collections::BTreeMap, fs};

use anyhow::{Context, Result};
use reelflow_pipelines::{Job, LogKind};
use serde_json::{Value, json};

use crate::{clean, dlq, feed, job, judge, lines, play};

/// Profiles 0 to 2 have a device that nobody knows, 3 one that is no text, the others come through.
fn fed(more: &str) -> Result<Job> {
    let job = job(&LogKind::Embedded, more)?;
    let device = |n| match n {
        0..3 => "\"fridge\"",
        3 => "7",
        _ => "\"tv\"",
    };
    feed(&job, &(0..6).map(|n| play(n, device(n))).collect::<Vec<_>>())?;
    assert_eq!(clean(&job)?, [4, 5]);
    Ok(job)
}

fn n_plays(job: &Job) -> Result<usize> {
    Ok(lines(job, &["topic", "read", "plays", "--format", "json"])?.len())
}

#[test]
fn patched_records_go_back_once() -> Result<()> {
    let job = fed("")?;
    let patch = ["--reason", "rejected", "--patch", r#"{"device":"tv"}"#];
    let dry = dlq(&job, &[&["retry", "--dry-run"][..], &patch].concat())?;
    assert_eq!((&dry["put_back"], &dry["topics"], &dry["before"]), (&json!(3), &json!({ "plays": 3 }), &json!(0)), "{dry}");
    assert_eq!(n_plays(&job)?, 6, "a dry run changes nothing");

    let done = dlq(&job, &[&["retry"][..], &patch].concat())?;
    assert_eq!((&done["put_back"], &done["before"], &done["left"]), (&json!(3), &json!(0), &json!([])), "{done}");
    let again = dlq(&job, &[&["retry"][..], &patch].concat())?;
    assert_eq!((&again["put_back"], &again["before"]), (&json!(0), &json!(3)), "{again}");
    assert_eq!(n_plays(&job)?, 9);
    job.run_to_end(&[])?;
    assert_eq!(clean(&job)?, [0, 1, 2, 4, 5]);
    let listed = dlq(&job, &["list"])?;
    assert_eq!((&listed["letters"], &listed["retried"]), (&json!(4), &json!(3)), "{listed}");

    // The record is as it was but for the patch: its key, its partition, its time.
    let plays = lines(&job, &["topic", "read", "plays", "--format", "json"])?;
    let of_profile = |n: &str| plays.iter().filter(move |record| record["key"] == n).collect::<Vec<_>>();
    let [was, is] = of_profile("1")[..] else { panic!("twice: {plays:#?}") };
    assert_eq!((&was["partition"], &was["timestamp"]), (&is["partition"], &is["timestamp"]));
    assert_eq!(is["headers"], json!({ "reel-retries": "1" }));
    let mut patched: Value = serde_json::from_str(was["value"].as_str().context("a value")?)?;
    patched["device"] = json!("tv");
    assert_eq!(serde_json::from_str::<Value>(is["value"].as_str().context("a value")?)?, patched);
    Ok(())
}

#[test]
fn records_mended_by_hand_go_back_once() -> Result<()> {
    let job = fed("")?;
    let mut letters = lines(&job, &["dlq", "export", "--to", "-"])?;
    let wrong_type = letters.iter_mut().find(|letter| letter["reason"] == "type").context("one of the wrong type")?;
    let mut value: Value = serde_json::from_str(wrong_type["value"].as_str().context("a value")?)?;
    value["device"] = json!("web");
    (wrong_type["value"], wrong_type["key"]) = (value, json!("another key"));
    let text = letters.iter().map(|letter| format!("{letter}\n")).collect::<String>();
    fs::write(job.path().join("mended.ndjson"), format!("{text}\n{{\"letter\":\"1:9999\"}}\n"))?;
    let done = dlq(&job, &["retry", "--from", "mended.ndjson"])?;
    let left = json!([{ "why": "not in the topic of dead letters", "letters": 1, "first": "1:9999" }]);
    assert_eq!((&done["put_back"], &done["left"]), (&json!(4), &left), "{done}");
    let again = dlq(&job, &["retry", "--from", "mended.ndjson"])?;
    assert_eq!((&again["put_back"], &again["before"]), (&json!(0), &json!(4)), "{again}");
    job.run_to_end(&[])?;
    assert_eq!(clean(&job)?, [3, 4, 5]);
    Ok(())
}

/// Nothing is done when a line is wrong.
#[test]
fn files_with_a_mistake_are_refused() -> Result<()> {
    let job = fed("")?;
    let letters = job.read(&["dlq", "export", "--to", "-"])?;
    let first = letters.lines().next().context("a line")?;
    for (second, exit, says) in [
        (first, 2, "stands in a line above as well"),
        ("{", 2, "mended.ndjson:2: not a JSON object"),
        ("{\"key\":\"k\"}", 2, "no member \"letter\" that names a dead letter"),
        ("{\"letter\":\"one\"}", 2, "\"letter\" must be the partition and the offset"),
        ("{\"letter\":\"0:1\",\"value\":7}", 2, "\"value\" is no text, object, list or null"),
    ] {
        fs::write(job.path().join("mended.ndjson"), format!("{first}\n{second}\n"))?;
        let output = job.reel(&["dlq", "retry", "--from", "mended.ndjson"]).output()?;
        judge(&output, exit, &[says, "mended.ndjson:2: "]);
    }
    let retry = |args: &[&str]| job.reel(&[&["dlq", "retry"], args].concat()).output();
    judge(&retry(&["--from", "none.ndjson"])?, 3, &["\"none.ndjson\" cannot be read"]);
    judge(&retry(&["--from", "mended.ndjson", "--stage", "clean"])?, 2, &["cannot be combined with filters"]);
    judge(&retry(&["--patch", "[]"])?, 2, &["--patch [] is no patch: it must be a JSON object with members"]);
    assert_eq!(n_plays(&job)?, 6);
    Ok(())
}

#[test]
fn a_record_that_dies_again_says_so_and_is_left_in_the_end() -> Result<()> {
    let job = fed("")?;
    for round in 1..=3_u32 {
        let done = dlq(&job, &["retry", "--reason", "rejected"])?;
        assert_eq!(done["put_back"], 3, "round {round}: {done}");
        job.run_to_end(&[])?;
    }
    let letters = lines(&job, &["dlq", "export", "--reason", "rejected", "--to", "-"])?;
    let mut n_by_retries: BTreeMap<u64, usize> = BTreeMap::new();
    letters.iter().for_each(|letter| *n_by_retries.entry(letter["retries"].as_u64().unwrap_or(u64::MAX)).or_default() += 1);
    assert_eq!(n_by_retries, [(0, 3), (1, 3), (2, 3), (3, 3)].into());
    let left = dlq(&job, &["retry", "--reason", "rejected"])?;
    assert_eq!((&left["put_back"], &left["before"]), (&json!(0), &json!(9)), "{left}");
    assert_eq!((&left["left"][0]["why"], &left["left"][0]["letters"]), (&json!("put back 3 times already"), &json!(3)), "{left}");
    assert_eq!(dlq(&job, &["retry", "--reason", "rejected", "--retries-max", "4"])?["put_back"], 3);
    let text = job.read(&["dlq", "retry", "--reason", "rejected"])?;
    assert!(text.contains("put 0 records back") && text.contains("12  were put back before"), "{text}");
    Ok(())
}

/// A second reader of the source has counted the record already.
#[test]
fn records_that_others_have_read_are_left_unless_that_is_wanted() -> Result<()> {
    let all = "[sink.all]\ninput = \"plays\"\ntopic = \"all\"\n";
    let job = fed(all)?;
    let done = dlq(&job, &["retry", "--dry-run"])?;
    let shared = json!([{
        "why": "sink \"all\" has read the record as well, and would count it twice",
        "letters": 3,
        "first": done["left"][0]["first"],
    }]);
    // What the source refused nobody has seen.
    assert_eq!((&done["put_back"], &done["left"]), (&json!(1), &shared), "{done}");
    assert_eq!(dlq(&job, &["retry", "--dry-run", "--shared"])?["put_back"], 4);
    Ok(())
}
