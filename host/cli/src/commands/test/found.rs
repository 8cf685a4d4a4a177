//! What a rehearsal left, place by place.

use reelflow_config::{Place, moment::Calendar};
use reelflow_core::{
    frame::{self, Frame},
    json::encode,
    plan::{Plan, SinkPlan},
    schema::FieldType,
    time::Watermark,
};
use reelflow_runtime::rehearsal::{Given, RehearsalError, Rehearsed};
use serde_json::{Map, Value};

use super::row::{Fields, Row, flatten};
use crate::commands::state::shown;

/// All that is in `place`, in the order of its coming. An error in words, if it cannot be looked at.
pub(super) fn rows(place: Place, plan: &Plan, played: &Rehearsed, calendar: &Calendar) -> Result<Vec<Row>, String> {
    let when = |given: &Given| when(played, given.moment, calendar);
    match place {
        Place::Sink(idx) => {
            let sink = &plan.sinks[idx];
            let given = played.records(&sink.topic);
            Ok(given
                .iter()
                .flat_map(|one| of_sink(sink, one).into_iter().map(|fields| Row { fields, when: when(one) }))
                .collect())
        }
        Place::Late(idx) => {
            let topic = plan.stages[idx].late_topic.as_ref().expect("a stage with late records has a topic for them");
            Ok(played.records(topic).iter().map(|given| of_late(given, calendar)).collect())
        }
        Place::DeadLetters => {
            let given = played.records(&plan.dead_letter_topic);
            Ok(given.iter().map(|given| Row { fields: of_dead_letter(given), when: when(given) }).collect())
        }
        Place::State(idx) => kept(idx, plan, played).map_err(|why| why.to_string()),
    }
}

fn when(played: &Rehearsed, moment: usize, calendar: &Calendar) -> String {
    let Some(moment) = played.moments.get(moment) else { return String::new() };
    let watermark = match moment.watermark {
        Watermark::UNKNOWN | Watermark::END => String::new(),
        Watermark(ms) => format!(", watermark {}", calendar.text(ms)),
    };
    match moment.is_end {
        true => format!("at the end{watermark}"),
        false => format!("after record {}{watermark}", moment.n_arrived),
    }
}

/// The rows of a record: one, or those of a frame.
fn of_sink(sink: &SinkPlan, given: &Given) -> Vec<Fields> {
    match (&given.value, &sink.files) {
        (None, _) => vec![of_tombstone(sink, given.key.as_deref().unwrap_or_default())],
        (Some(value), None) => vec![in_order(sink, parsed(value))],
        (Some(value), Some(_)) => match frame::decode(value, &sink.schema).expect("this process has written the frame") {
            Frame::Watermark { .. } => Vec::new(),
            Frame::Rows { batch, .. } => {
                let row = |idx: usize| {
                    let mut text = Vec::new();
                    let revision = batch.revisions.as_ref().map(|all| all[idx]);
                    encode::row(&sink.schema, &batch.rows, idx, revision, &mut text);
                    in_order(sink, parsed(&text))
                };
                (0..batch.len()).map(row).collect()
            }
        },
    }
}

/// The fields in the order of the sink, then `rev` and `final`.
pub(in crate::commands) fn in_order(sink: &SinkPlan, mut members: Map<String, Value>) -> Fields {
    let mut fields = Fields::new();
    for field in &sink.schema.fields {
        flatten(&field.name, members.remove(&field.name).unwrap_or_default(), &mut fields);
    }
    ["rev", "final"].into_iter().for_each(|name| flatten(name, members.remove(name).unwrap_or_default(), &mut fields));
    fields
}

/// A record without a value: what its key says, and the field that says that there is no more.
pub(in crate::commands) fn of_tombstone(sink: &SinkPlan, key: &[u8]) -> Fields {
    let text = String::from_utf8_lossy(key).into_owned();
    let parts = match &sink.key[..] {
        [only] if matches!(sink.schema.fields[*only].field_type, FieldType::Text | FieldType::Bytes) => vec![Value::String(text)],
        [_] => vec![serde_json::from_str(&text).unwrap_or_default()],
        _ => serde_json::from_str(&text).unwrap_or_default(),
    };
    let mut members: Map<String, Value> =
        sink.key.iter().zip(parts).map(|(column, part)| (sink.schema.fields[*column].name.clone(), part)).collect();
    if let Some(column) = sink.tombstone {
        members.insert(sink.schema.fields[column].name.clone(), Value::Bool(true));
    }
    in_order(sink, members)
}

fn of_late(given: &Given, calendar: &Calendar) -> Row {
    let mut members = parsed(given.value.as_deref().unwrap_or_default());
    let mut fields = Fields::new();
    flatten("", members.remove("record").unwrap_or_default(), &mut fields);
    let watermark = Watermark(members.get("watermark").and_then(Value::as_i64).unwrap_or_default());
    let when = match watermark {
        Watermark::END => "late behind the end".to_owned(),
        Watermark(ms) => format!("late at watermark {}", calendar.text(ms)),
    };
    Row { fields, when }
}

pub(in crate::commands) fn of_dead_letter(given: &Given) -> Fields {
    let mut fields = Fields::new();
    for name in ["source", "stage", "reason", "code", "error"] {
        let header = given.headers.iter().find(|(header, _)| header.strip_prefix("reel-") == Some(name));
        let Some((_, bytes)) = header else { continue };
        let text = String::from_utf8_lossy(bytes).into_owned();
        let value = if name == "code" { serde_json::from_str(&text).unwrap_or(Value::String(text)) } else { Value::String(text) };
        fields.push((name.to_owned(), value));
    }
    match given.value.as_deref().map(|value| (value, serde_json::from_slice(value))) {
        None => {}
        Some((_, Ok(record @ Value::Object(_)))) => flatten("record", record, &mut fields),
        Some((value, _)) => fields.push(("raw".to_owned(), Value::String(String::from_utf8_lossy(value).into_owned()))),
    }
    fields
}

/// What stage `idx` keeps, as `reel state get` shows it.
fn kept(idx: usize, plan: &Plan, played: &Rehearsed) -> Result<Vec<Row>, RehearsalError> {
    let mut rows = Vec::new();
    for task in played.states()? {
        task.kept(&mut |stage, kept| {
            if stage == idx {
                let shown = shown::json_of(&task, &plan.stages[idx], task.versions(idx), &kept);
                let Value::Object(mut members) = shown.expect("recovery has read these bytes") else {
                    unreachable!("a thing that is kept is shown as an object")
                };
                // Of which there is one only, and how often it was sealed.
                ["stage", "partition", "epoch"].into_iter().for_each(|name| drop(members.remove(name)));
                let mut fields = Fields::new();
                flatten("", Value::Object(members), &mut fields);
                rows.push(Row { fields, when: String::new() });
            }
        });
    }
    Ok(rows)
}

pub(in crate::commands) fn parsed(json: &[u8]) -> Map<String, Value> {
    serde_json::from_slice(json).expect("the encoder writes objects of JSON")
}
