//! Tests whose fields are known: records to play, rows to find.

use std::collections::BTreeSet;

use reelflow_core::{
    plan::{Plan, SinkIdx, StageIdx},
    rehearsal::Rehearsal,
    schema::FieldType,
};
use serde_json::{Number, Value};

use crate::{
    code::Code,
    config::{
        Config,
        test::{Leaf, Test},
    },
    moment::Calendar,
    problem::{Problem, Problems, Span},
    value::closest,
};

mod arrivals;
mod expected;

/// A test that can be played.
#[derive(Clone, Debug, PartialEq)]
pub struct TestPlan {
    pub rehearsal: Rehearsal,
    /// Whether it is played one record at a time and in no other manner.
    pub once: bool,
    /// Every place where something could come, and each stage whose state is asked for.
    pub expected: Vec<Expected>,
    /// How its times are written.
    pub calendar: Calendar,
}

/// What is to be found in one place.
#[derive(Clone, Debug, PartialEq)]
pub struct Expected {
    pub place: Place,
    /// Fields by their paths, with their values; in no order. `None`: whatever is there is right.
    pub rows: Option<Vec<Vec<(String, Value)>>>,
    /// The fields that the test writes as times.
    pub times: BTreeSet<String>,
}

/// Where results are found; places in the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Sink(SinkIdx),
    /// The late records of a stage.
    Late(StageIdx),
    DeadLetters,
    State(StageIdx),
}

impl Config {
    /// The tests of the manifest, in the order of the text; or everything that does not fit the fields of the plan.
    pub fn rehearsals(&self, plan: &Plan) -> Result<Vec<TestPlan>, Problems> {
        let mut problems = Problems::default();
        let tests = self.tests.iter().map(|test| self.test_plan(test, plan, &mut problems)).collect();
        if problems.has_errors() { Err(problems) } else { Ok(tests) }
    }

    fn test_plan(&self, test: &Test, plan: &Plan, problems: &mut Problems) -> TestPlan {
        let until = test.until.as_ref().map(|at| reelflow_core::time::WallTime(**at));
        let arrivals = arrivals::arrivals(self, test, plan, problems);
        if let (Some(until), Some(last)) = (&test.until, arrivals.last())
            && **until < last.at.0
        {
            let message = format!("test \"{}\" ends before its last record arrives", *test.name);
            let label = format!("the last one arrives at {}", test.calendar.text(last.at.0));
            problems.push(Problem::at(Code::OutOfRange, until.span.clone(), message, label));
        }
        let rehearsal = Rehearsal { name: test.name.value.as_str().into(), arrivals, until, ends: test.ends };
        let expected = expected::expected(test, plan, problems);
        TestPlan { rehearsal, once: test.once, expected, calendar: test.calendar.clone() }
    }
}

/// The value of `leaf` as one of `field_type`. Where an i64 is wanted, a string is a time. What does not fit is a problem of the row `what`.
fn typed(leaf: &Leaf, field_type: FieldType, calendar: &Calendar, what: &str, problems: &mut Problems) -> Option<Value> {
    let value = &leaf.value.value;
    let mut refuse = |label: String| {
        let message = format!("\"{}\" of {what} is no {}", *leaf.path, field_type.name());
        problems.push(Problem::at(Code::BadTestRow, leaf.value.span.clone(), message, label));
        None
    };
    match (field_type, value) {
        (FieldType::Int, Value::String(text)) => match calendar.read(text) {
            Ok(at) => Some(at.0.into()),
            Err(why) => refuse(why),
        },
        (FieldType::Float, Value::Number(number)) => number.as_f64().and_then(Number::from_f64).map(Value::Number),
        (FieldType::Int, Value::Number(number)) if number.is_i64() => Some(value.clone()),
        (FieldType::Bool, Value::Bool(_)) | (FieldType::Text | FieldType::Bytes, Value::String(_)) => Some(value.clone()),
        (_, Value::Bool(_)) => refuse("this is a boolean".to_owned()),
        (_, Value::Number(_)) => refuse("this is a number".to_owned()),
        _ => refuse("this is a string".to_owned()),
    }
}

/// A field that a row of `what` does not have.
fn no_such_field(leaf: &Leaf, what: &str, label: &str, known: &[&str]) -> Problem {
    let message = format!("{what} has no field \"{}\"", *leaf.path);
    let problem = Problem::at(Code::BadTestRow, leaf.path.span.clone(), message, label);
    match closest(&leaf.path, known.iter().copied()) {
        Some(meant) if !meant.contains('.') && !leaf.path.contains('.') => {
            problem.patch("a field with a similar name exists", leaf.path.span.clone(), meant)
        }
        _ => problem.note(format!("fields: {}", known.join(", "))),
    }
}

fn bad_row(span: &Span, message: String, label: &str) -> Problem {
    Problem::at(Code::BadTestRow, span.clone(), message, label)
}
