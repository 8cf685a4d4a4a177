//! What a test expects, place by place.

use std::collections::BTreeSet;

use reelflow_core::{
    plan::{Plan, SinkPlan, StagePlan},
    schema::{FieldType, Schema},
};
use serde_json::Value;

use super::{Expected, Place, no_such_field, typed};
use crate::{
    config::test::{Leaf, OutputName, Test, TestOutput, TestRow},
    problem::{At, Problems},
};

/// Of the fields that a row may have, one: its path, and its type if that is known.
type Known = (String, Option<FieldType>);

/// In the order of the plan: sinks, late records, dead letters, and the states that are asked for.
pub(super) fn expected(test: &Test, plan: &Plan, problems: &mut Problems) -> Vec<Expected> {
    let mut all = Vec::new();
    let mut add = |place, output: Option<&TestOutput>, what: String, known: Vec<Known>| {
        let said = output.map(|output| output.rows.as_deref());
        let unsaid: Option<&[TestRow]> = if test.others_may_speak { None } else { Some(&[]) };
        all.push(of_rows(place, said.unwrap_or(unsaid), test, &what, &known, problems));
    };
    for (idx, sink) in plan.sinks.iter().enumerate() {
        let output = find(test, |of| matches!(of, OutputName::Sink(name) if *name.value == *sink.name));
        add(Place::Sink(idx), output, format!("sink \"{}\"", sink.name), of_sink(sink));
    }
    for (idx, stage) in plan.stages.iter().enumerate().filter(|(_, stage)| stage.late_topic.is_some()) {
        let output = find(test, |of| matches!(of, OutputName::Late(name) if *name.value == *stage.name));
        let known = stage.inputs.iter().flat_map(of_schema).collect();
        add(Place::Late(idx), output, format!("a late record of stage \"{}\"", stage.name), known);
    }
    let output = find(test, |of| matches!(of, OutputName::Dead(_)));
    add(Place::DeadLetters, output, "a dead letter".to_owned(), of_dead_letters());
    for (idx, stage) in plan.stages.iter().enumerate() {
        let output = find(test, |of| matches!(of, OutputName::State(name) if *name.value == *stage.name));
        if output.is_some() {
            add(Place::State(idx), output, format!("what stage \"{}\" keeps", stage.name), of_state(stage));
        }
    }
    all
}

fn find(test: &Test, is_it: impl Fn(&OutputName) -> bool) -> Option<&TestOutput> {
    test.expected.iter().find(|output| is_it(&output.of))
}

fn of_rows(
    place: Place,
    rows: Option<&[TestRow]>,
    test: &Test,
    what: &str,
    known: &[Known],
    problems: &mut Problems,
) -> Expected {
    let mut times = BTreeSet::new();
    let mut row = |row: &TestRow| -> Vec<(String, Value)> {
        let values = row
            .fields
            .iter()
            .filter_map(|leaf| Some((leaf.path.value.clone(), value(leaf, test, what, known, &mut times, problems)?)));
        values.collect()
    };
    let rows = rows.map(|rows| rows.iter().map(&mut row).collect());
    Expected { place, rows, times }
}

fn value(
    leaf: &Leaf,
    test: &Test,
    what: &str,
    known: &[Known],
    times: &mut BTreeSet<String>,
    problems: &mut Problems,
) -> Option<Value> {
    let At { value: path, .. } = &leaf.path;
    // What lies below a name that ends with a dot is not known.
    let is_it = |(name, _): &&Known| name == path || (name.ends_with('.') && path.starts_with(name.as_str()));
    let Some((_, field_type)) = known.iter().find(is_it) else {
        let names: Vec<&str> = known.iter().map(|(name, _)| name.trim_end_matches('.')).collect();
        problems.push(no_such_field(leaf, what, "it is never there", &names));
        return None;
    };
    if *field_type == Some(FieldType::Int) && leaf.value.is_string() {
        times.insert(path.clone());
    }
    match field_type {
        Some(field_type) => typed(leaf, *field_type, &test.calendar, what, problems),
        None => Some(leaf.value.value.clone()),
    }
}

fn of_schema(schema: &Schema) -> Vec<Known> {
    schema.fields.iter().map(|field| (field.name.clone(), Some(field.field_type))).collect()
}

fn of_sink(sink: &SinkPlan) -> Vec<Known> {
    let mut known = of_schema(&sink.schema);
    if sink.upsert {
        known.extend([("rev".to_owned(), Some(FieldType::Int)), ("final".to_owned(), Some(FieldType::Bool))]);
    }
    known
}

/// What `reel test` shows of a dead letter.
fn of_dead_letters() -> Vec<Known> {
    let texts = ["source", "stage", "reason", "error", "raw"].map(|name| (name.to_owned(), Some(FieldType::Text)));
    let others = [("code".to_owned(), Some(FieldType::Int)), ("record.".to_owned(), None)];
    texts.into_iter().chain(others).collect()
}

/// What `reel state get` shows of what a stage keeps.
fn of_state(stage: &StagePlan) -> Vec<Known> {
    let mut known = vec![("kind".to_owned(), Some(FieldType::Text)), ("xxh3".to_owned(), Some(FieldType::Text))];
    let numbers = ["start", "end", "first", "last", "time", "until", "emitted", "rev", "new_rows", "told"];
    known.extend(numbers.map(|name| (name.to_owned(), Some(FieldType::Int))));
    let key = stage.key_schema().unwrap_or_default();
    known.extend(key.fields.iter().map(|field| (format!("key.{}", field.name), Some(field.field_type))));
    known.extend(["row.", "state.", "timers."].map(|name| (name.to_owned(), None)));
    known
}
