//! A dead letter as JSON for programs.

use reelflow_core::{
    letter::{
        Letter, Place,
        call::{DeadCall, Function, States},
    },
    plugin::Clock,
    time::Watermark,
};
use serde_json::{Map, Value, json};

use crate::{args::dlq::Address, json_bytes, summary};

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
    if let Some(plugin) = letter.plugin {
        insert("plugin", json!(plugin));
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
    if let Some(bytes) = letter.call {
        insert("call", json!(call(bytes)));
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

/// The call of a letter in words: what was called, of what time, with how much of states.
pub(super) fn call(bytes: &[u8]) -> String {
    let DeadCall { function, states } = match DeadCall::decode(bytes) {
        Ok(call) => call,
        Err(why) => return format!("unreadable: {why}"),
    };
    let date = |ms: i64| summary::date(Watermark(ms));
    let function = match function {
        Function::Add => "add".to_owned(),
        Function::Merge => "merge".to_owned(),
        Function::Emit { window } => format!("emit of the window {} to {}", date(window.start().0), date(window.end().0)),
        Function::Take { .. } => "take".to_owned(),
        Function::Fire { timer, .. } => {
            let clock = if timer.clock == Clock::EventTime { "event time" } else { "the clock" };
            format!("fire of the timer of {clock} at {}", date(timer.at))
        }
        Function::PairRight => return "pair of a right row alone".to_owned(),
    };
    let states = match states {
        States::Whole { states, .. } => format!("with {} states of {} bytes", states.len(), states.data().len()),
        States::LeftOut { n_states, n_bytes } => format!("without its {n_states} states of {n_bytes} bytes"),
    };
    format!("{function}, {states}")
}
