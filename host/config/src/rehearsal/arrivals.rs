//! The records of a test, as producers would write them, in the order of their arrival.

use reelflow_core::{
    format::SourceFormat,
    plan::{EventTimeFrom, Plan, SourceIdx, SourcePlan},
    record::WATERMARK_KEY,
    rehearsal::Arrival,
    schema::{Field, Schema},
    time::WallTime,
};
use serde_json::{Map, Value};

use super::{bad_row, no_such_field, typed};
use crate::{
    code::Code,
    config::{
        Config, EventTimeFrom as TimeOf, Source,
        test::{Given, Leaf, Test, TestInput, TestRecord},
    },
    moment::Calendar,
    problem::{At, Problem, Problems},
};

/// Of all sources together. Of those that arrive at one time, records of the source that the manifest names first come first.
pub(super) fn arrivals(config: &Config, test: &Test, plan: &Plan, problems: &mut Problems) -> Vec<Arrival> {
    let mut all = Vec::new();
    for (idx, planned) in plan.sources.iter().enumerate() {
        let Some(input) = test.inputs.iter().find(|input| *input.source.value == *planned.name) else { continue };
        let source = config.sources.iter().find(|source| *source.name.value == *planned.name);
        let source = source.expect("the plan was made from this config");
        let what = format!("{} \"{}\"", source.what(), planned.name);
        Writer { idx, source, planned, calendar: &test.calendar, what }.write(input, &mut all, problems);
    }
    all.sort_by_key(|arrival: &Arrival| arrival.at);
    all
}

/// Writes the records of one source.
struct Writer<'a> {
    idx: SourceIdx,
    source: &'a Source,
    planned: &'a SourcePlan,
    calendar: &'a Calendar,
    what: String,
}

/// A record without its place in time.
struct Written {
    /// When it happened, as far as the test says so.
    happened: Option<i64>,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
}

impl Writer<'_> {
    fn write(&self, input: &TestInput, all: &mut Vec<Arrival>, problems: &mut Problems) {
        let mut before: Option<i64> = None;
        for record in &input.records {
            let Some(Written { happened, key, value }) = self.record(record, problems) else { continue };
            let at = match &record.arrives {
                Some(arrives) if before.is_some_and(|before| **arrives < before) => {
                    let message = format!("a record for {} arrives before the one above it", self.what);
                    let label = "the records of a source arrive in the order in which they stand";
                    problems.push(Problem::at(Code::OutOfRange, arrives.span.clone(), message, label));
                    continue;
                }
                Some(arrives) => **arrives,
                // When the newest one has happened so far.
                None => before.max(happened).unwrap_or_default(),
            };
            before = Some(at);
            let is_logged_then = self.planned.event_time == EventTimeFrom::LogTimestamp || value.is_none();
            let timestamp_ms = happened.filter(|_| is_logged_then).unwrap_or(at);
            all.push(Arrival { source: self.idx, at: WallTime(at), timestamp_ms, key, value });
        }
    }

    /// What is wrong with the record is reported.
    fn record(&self, record: &TestRecord, problems: &mut Problems) -> Option<Written> {
        let at = record.at.as_ref().map(|at| at.value);
        match &record.given {
            Given::Raw(text) => Some(Written { happened: at, key: None, value: Some(text.clone().into_bytes()) }),
            Given::Promise(mark) => {
                let value = Some(mark.to_string().into_bytes());
                Some(Written { happened: at.or(Some(*mark)), key: Some(WATERMARK_KEY.to_vec()), value })
            }
            Given::Deleted(fields) => {
                let key = self.key(&self.values(record, fields, problems)?);
                if self.source.table.is_none() || key.is_none() || at.is_none() {
                    let message = format!("a record for {} deletes nothing", self.what);
                    let label = "a table's key is deleted: it has the fields of the key, and `at`";
                    problems.push(bad_row(&record.span, message, label));
                    return None;
                }
                Some(Written { happened: at, key, value: None })
            }
            Given::Fields(fields) => {
                let values = self.values(record, fields, problems)?;
                match self.planned.format == SourceFormat::Raw {
                    true => self.as_it_stands(record, &values, problems),
                    false => self.as_json(record, values, problems),
                }
            }
        }
    }

    /// A raw record has two fields: its value and its key.
    fn as_it_stands(&self, record: &TestRecord, values: &[(String, Value)], problems: &mut Problems) -> Option<Written> {
        let happened = self.needs_time(record, problems)?;
        let of = |path: &str| {
            let (_, value) = values.iter().find(|(name, _)| name == path)?;
            value.as_str().map(|text| text.as_bytes().to_vec())
        };
        Some(Written { happened: Some(happened), key: of("key"), value: of("value") })
    }

    fn as_json(&self, record: &TestRecord, mut values: Vec<(String, Value)>, problems: &mut Problems) -> Option<Written> {
        let time_path = match &self.planned.event_time {
            EventTimeFrom::LogTimestamp => None,
            EventTimeFrom::Field(column) => Some(self.schema().fields[*column].path.clone()),
        };
        let said = time_path.as_ref().and_then(|path| values.iter().find(|(name, _)| name == path));
        let happened = match (&record.at, said) {
            (Some(at), Some((path, _))) => {
                let message = format!("a record for {} says twice when it happened", self.what);
                problems.push(bad_row(&at.span, message, &format!("\"{path}\" says it too")));
                return None;
            }
            (None, Some((_, value))) => value.as_i64().expect("an event time is an i64"),
            (_, None) => {
                let at = self.needs_time(record, problems)?;
                values.extend(time_path.map(|path| (path, at.into())));
                at
            }
        };
        let key = self.key(&values);
        Some(Written { happened: Some(happened), key, value: Some(object(values).to_string().into_bytes()) })
    }

    fn needs_time(&self, record: &TestRecord, problems: &mut Problems) -> Option<i64> {
        if record.at.is_none() {
            let message = format!("a record for {} does not say when it happened", self.what);
            let problem = Problem::at(Code::MissingKey, record.span.clone(), message, "\"at\" is missing");
            problems.push(problem.help("add `at = \"10:00:05\"`, or write the whole value as text: `raw = '…'`"));
        }
        record.at.as_ref().map(|at| at.value)
    }

    /// What records with a value hold.
    fn schema(&self) -> &Schema {
        self.planned.table.as_ref().map_or(&self.planned.stream.schema, |table| &table.schema)
    }

    /// Fields by their paths, each of its type. `None`: some are not as the source declares them.
    fn values(&self, record: &TestRecord, fields: &[Leaf], problems: &mut Problems) -> Option<Vec<(String, Value)>> {
        let schema = self.schema();
        let holds = |one: &Leaf, other: &Leaf| {
            other.path.strip_prefix(&*one.path.value).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        let holder = fields
            .iter()
            .enumerate()
            .find(|(at, one)| fields.iter().enumerate().any(|(idx, other)| idx != *at && holds(one, other)));
        if let Some((_, leaf)) = holder {
            let message = format!("a record for {} says \"{}\" twice", self.what, *leaf.path);
            problems.push(bad_row(&record.span, message, "a path stands here twice, or leads through a value"));
            return None;
        }
        // What nothing downstream reads may still be a key, or an id.
        let unread = self.source.key.iter().chain(&self.source.id).map(|name| name.value.as_str());
        let of_time = match &self.source.event_time.value {
            TimeOf::Field(name) => Some(name.as_str()),
            TimeOf::LogTimestamp => None,
        };
        let unread: Vec<&str> = unread.chain(of_time).collect();
        let paths: Vec<&str> = schema.fields.iter().map(|field| field.path.as_str()).collect();
        let mut values = Vec::new();
        for leaf in fields {
            match schema.fields.iter().find(|field: &&Field| field.path == *leaf.path) {
                Some(field) => {
                    values.push(typed(leaf, field.field_type, self.calendar, &format!("a record for {}", self.what), problems))
                }
                None if unread.contains(&leaf.path.as_str()) => values.push(Some(leaf.value.value.clone())),
                None => {
                    let label = "nothing reads this field of it";
                    problems.push(no_such_field(leaf, &self.what, label, &paths));
                    values.push(None);
                }
            }
        }
        let names = fields.iter().map(|leaf| leaf.path.value.clone());
        names.zip(values).map(|(name, value)| Some((name, value?))).collect()
    }

    /// The record key, as producers write it; none if a part of it is not given.
    fn key(&self, values: &[(String, Value)]) -> Option<Vec<u8>> {
        let of = |name: &At<String>| {
            let field = self.schema().fields.iter().find(|field| field.name == name.value);
            let path = field.map_or(name.value.as_str(), |field| field.path.as_str());
            values.iter().find(|(other, _)| other == path).map(|(_, value)| value.clone())
        };
        let parts = self.source.key.iter().map(of).collect::<Option<Vec<Value>>>()?;
        match &parts[..] {
            [] => None,
            [Value::String(text)] => Some(text.clone().into_bytes()),
            [only] => Some(only.to_string().into_bytes()),
            _ => Some(Value::Array(parts).to_string().into_bytes()),
        }
    }
}

/// The object that has these values at their paths.
fn object(values: Vec<(String, Value)>) -> Value {
    let mut root = Map::new();
    for (path, value) in values {
        let mut parts: Vec<&str> = path.split('.').collect();
        let leaf = parts.pop().expect("a path has a part");
        let mut inner = &mut root;
        for part in parts {
            let object = inner.entry(part).or_insert_with(|| Value::Object(Map::new()));
            let Value::Object(object) = object else { unreachable!("no path goes through a value: that was checked") };
            inner = object;
        }
        inner.insert(leaf.to_owned(), value);
    }
    Value::Object(root)
}
