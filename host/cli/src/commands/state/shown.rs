//! One thing that a stage keeps, as JSON for programs and as a line for people.

use reelflow_core::{
    column::Rows,
    json::encode,
    plan::StagePlan,
    plugin::{Clock, Timer},
    schema::Schema,
    stage::kept::Kept,
    state::StateError,
    time::{EventTime, Watermark},
};
use reelflow_runtime::inspect::TaskState;
use serde_json::{Map, Value, json};

use crate::{json_bytes, summary};

/// The JSON object of one thing that `stage` keeps. Members are added, never renamed; times are in ms since 1970.
pub(in crate::commands) fn json_of(
    task: &TaskState,
    stage: &StagePlan,
    versions: &[u32],
    kept: &Kept<'_>,
) -> Result<Value, StateError> {
    let mut members = Map::new();
    members.insert("stage".to_owned(), json!(&*stage.name));
    members.insert("partition".to_owned(), json!(task.partition));
    members.insert("epoch".to_owned(), json!(task.epoch));
    if let (Some(schema), Some(key)) = (stage.key_schema(), kept.key()) {
        members.insert("key".to_owned(), row(&schema, &schema.decode_key(key)?));
    }
    let state = |state: &[u8]| plugin_state(stage, versions, state);
    let rest = match *kept {
        Kept::Pane { pane, state: bytes, .. } => {
            json!({ "kind": "window", "start": pane.start().0, "end": pane.end().0, "state": state(bytes) })
        }
        Kept::Revision { window, rev, .. } => {
            json!({ "kind": "revision", "start": window.start().0, "end": window.end().0, "rev": rev })
        }
        Kept::Session { first, last, state: bytes, .. } => {
            json!({ "kind": "session", "first": first.0, "last": last.0, "state": state(bytes) })
        }
        Kept::Global { first, last, n_new, n_told, state: bytes, .. } => {
            let state = if bytes.is_empty() { Value::Null } else { state(bytes) };
            json!({ "kind": "global", "first": first.0, "last": last.0, "new_rows": n_new, "told": n_told, "state": state })
        }
        Kept::Left { time, n_emitted, row: packed, .. } => {
            json!({ "kind": "left", "time": time.0, "emitted": n_emitted, "row": packed_row(stage, 0, packed)? })
        }
        Kept::Right { time, row: packed, .. } => {
            json!({ "kind": "right", "time": time.0, "row": packed_row(stage, 1, packed)? })
        }
        Kept::Waiting { time, row: packed, .. } => {
            json!({ "kind": "waiting", "time": time.0, "row": packed_row(stage, 0, packed)? })
        }
        Kept::Version { time, row: packed, .. } => {
            let version = packed.map(|packed| packed_row(stage, 1, packed)).transpose()?;
            json!({ "kind": "version", "time": time.0, "row": version })
        }
        Kept::Key { last, state: bytes, timers, .. } => {
            let state = if bytes.is_empty() { Value::Null } else { state(bytes) };
            json!({ "kind": "key", "last": last.0, "state": state, "timers": timers.iter().map(timer).collect::<Vec<_>>() })
        }
        Kept::Id { hash, until } => json!({ "kind": "id", "xxh3": format!("{hash:032x}"), "until": until }),
    };
    if let Value::Object(rest) = rest {
        members.extend(rest);
    }
    Ok(Value::Object(members))
}

/// The same for people, without the key.
pub(super) fn text_of(stage: &StagePlan, versions: &[u32], kept: &Kept<'_>) -> Result<String, StateError> {
    let state = |bytes: &[u8]| {
        let name = stage.state.as_ref().map_or("", |state| &state.name);
        let versions = versions.iter().map(u32::to_string).collect::<Vec<_>>().join(" or ");
        format!("{name} {versions}, {} bytes: {}", bytes.len(), json_bytes::encoded(bytes))
    };
    Ok(match *kept {
        Kept::Pane { pane, state: bytes, .. } => {
            format!("window   {} to {}  {}", date(pane.start()), date(pane.end()), state(bytes))
        }
        Kept::Revision { window, rev, .. } => {
            format!("emitted  {} to {}  last as revision {rev}", date(window.start()), date(window.end()))
        }
        Kept::Session { first, last, state: bytes, .. } => {
            format!("session  {} to {}  {}", date(first), date(last), state(bytes))
        }
        Kept::Global { first, last, n_new, n_told, state: bytes, .. } => {
            let state = if bytes.is_empty() { "no state".to_owned() } else { state(bytes) };
            format!("global   {} to {}  told {n_told} times, {n_new} rows since  {state}", date(first), date(last))
        }
        Kept::Left { time, n_emitted, row, .. } => {
            format!("left     {}  emitted {n_emitted} times  {}", date(time), packed_row(stage, 0, row)?)
        }
        Kept::Right { time, row, .. } => format!("right    {}  {}", date(time), packed_row(stage, 1, row)?),
        Kept::Waiting { time, row, .. } => format!("waits    {}  {}", date(time), packed_row(stage, 0, row)?),
        Kept::Version { time, row: None, .. } => format!("version  from {}  deleted", date(time)),
        Kept::Version { time, row: Some(row), .. } => format!("version  from {}  {}", date(time), packed_row(stage, 1, row)?),
        Kept::Key { last, state: bytes, timers, .. } => {
            let state = if bytes.is_empty() { "no state".to_owned() } else { state(bytes) };
            let timers: Vec<String> = timers
                .iter()
                .map(|timer| format!("\n  timer    {} by {}", date(EventTime(timer.at)), clock(timer.clock)))
                .collect();
            format!("key      last row {}  {state}{}", date(last), timers.concat())
        }
        Kept::Id { until, .. } => format!("id       until the watermark is {}", date(EventTime(until))),
    })
}

/// A key as `--key` takes it: an array of its values.
pub(in crate::commands) fn key_text(schema: &Schema, key: &Rows) -> String {
    let Value::Object(mut members) = row(schema, key) else { unreachable!("a row is an object") };
    let values = schema.fields.iter().map(|field| members.remove(&field.name).unwrap_or(Value::Null));
    Value::Array(values.collect()).to_string()
}

fn row(schema: &Schema, rows: &Rows) -> Value {
    let mut text = Vec::new();
    encode::row(schema, rows, 0, None, &mut text);
    serde_json::from_slice(&text).expect("the encoder writes JSON")
}

/// A row that a join or a lookup keeps; `side`: 0 left or a row, 1 right or a version.
fn packed_row(stage: &StagePlan, side: usize, packed: &[u8]) -> Result<Value, StateError> {
    let schema = &stage.kept_rows()[side];
    Ok(row(schema, &schema.decode_packed(packed)?))
}

/// What a state says is its plugin's secret: its bytes, and which versions they may have.
fn plugin_state(stage: &StagePlan, versions: &[u32], bytes: &[u8]) -> Value {
    let name = stage.state.as_ref().map(|state| state.name.as_str());
    json!({ "type": name, "versions": versions, "bytes": bytes.len(), "base64": json_bytes::encoded(bytes) })
}

fn timer(timer: &Timer) -> Value {
    json!({ "clock": clock(timer.clock), "at": timer.at })
}

fn clock(clock: Clock) -> &'static str {
    match clock {
        Clock::EventTime => "event time",
        Clock::WallTime => "wall time",
    }
}

fn date(at: EventTime) -> String {
    summary::date(Watermark(at.0))
}
