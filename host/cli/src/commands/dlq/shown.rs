//! A dead letter as JSON for programs.

use reelflow_core::letter::{Letter, Place};
use serde_json::{Map, Value, json};

use crate::{args::dlq::Address, json_bytes};

/// The JSON object of a dead letter. Members are added, never renamed; times are in ms since 1970.
pub(super) fn json_of(address: Address, letter: &Letter<'_>, is_retried: bool) -> Map<String, Value> {
    let mut members = Map::new();
    let mut insert = |name: &str, value: Value| drop(members.insert(name.to_owned(), value));
    insert("letter", json!(address.to_string()));
    insert("pipeline", json!(letter.pipeline));
    match letter.place {
        Place::Source(name) => insert("source", json!(name)),
        Place::Stage(name) => insert("stage", json!(name)),
    }
    insert("reason", json!(letter.reason));
    if let Some(code) = letter.code {
        insert("code", json!(code));
    }
    insert("error", json!(letter.error));
    let frames = backtrace(letter);
    if !frames.is_empty() {
        insert("backtrace", json!(frames));
    }
    insert("timestamp", json!(letter.record.timestamp_ms));
    if let Some(origin) = letter.origin {
        let from = json!({
            "topic": origin.topic,
            "partition": origin.partition,
            "offset": origin.offset,
            "timestamp": letter.timestamp_ms,
        });
        insert("from", from);
    } else {
        insert("event_time", json!(letter.timestamp_ms));
    }
    insert("retries", json!(letter.retries));
    insert("retried", json!(is_retried));
    json_bytes::insert(&mut members, "key", letter.record.key);
    json_bytes::insert(&mut members, "value", letter.record.value);
    if !letter.headers.is_empty() {
        let mut headers = Map::new();
        letter.headers.iter().for_each(|(name, bytes)| json_bytes::insert(&mut headers, name, Some(bytes)));
        members.insert("headers".to_owned(), Value::Object(headers));
    }
    members
}

/// The plugin's functions in which it trapped, the innermost first.
pub(super) fn backtrace<'a>(letter: &Letter<'a>) -> Vec<&'a str> {
    letter.backtrace.map(|text| text.lines().collect()).unwrap_or_default()
}
