//! `[[test]]`: records, times and rows as the text says them.

use serde_json::{Number, Value};
use toml::de::{DeTable, DeValue};

use crate::{
    code::Code,
    config::test::{Given, Leaf, OutputName, Test, TestInput, TestOutput, TestRecord, TestRow},
    moment::Calendar,
    problem::{At, Problem, Problems, Span},
    value::Wrong,
    walk::{Entry, Table, read_text, wrong_type},
    zone,
};

/// The day of times without a date, unless a test names another.
const DAY: &str = "1970-01-01";

pub(super) fn tests(root: &mut Table<'_>, problems: &mut Problems) -> Vec<Test> {
    let Some(entry) = root.take("test") else { return Vec::new() };
    if entry.value.get_ref().as_array().is_none() {
        let problem = wrong_type("test", "the manifest", "a list of tables", entry.value);
        problems.push(problem.help("write [[test]] above its keys"));
        return Vec::new();
    }
    tables(&entry, "the manifest", problems).into_iter().map(|(table, span)| test(table, span, problems)).collect()
}

fn test(table: &DeTable<'_>, span: Span, problems: &mut Problems) -> Test {
    let mut table = Table::new("a test", table, span.clone());
    if let Some(name) = table.peek("name").and_then(|entry| entry.value.get_ref().as_str()) {
        table.what = format!("test \"{name}\"");
    }
    let name = table.required_string("name", "\"a late play counts where it happened\"", problems);
    let calendar = calendar(&mut table, problems);
    let inputs = inputs(&mut table, &calendar, problems);
    let expected = outputs(&mut table, problems);
    let others = table.choice("others", &[("any", ())], problems);
    let until = moment(&mut table, "until", &calendar, problems);
    let ends = table.flag("end", problems).is_none_or(|flag| *flag);
    let once = table.flag("once", problems).is_some_and(|flag| *flag);
    table.finish(&[], problems);
    // That it has no name was reported.
    let name = name.unwrap_or_else(|| At::new(String::new(), span));
    Test { name, calendar, inputs, expected, others_may_speak: others.is_some(), until, ends, once }
}

fn calendar(table: &mut Table<'_>, problems: &mut Problems) -> Calendar {
    let standard = || Calendar::utc().on(DAY).expect("this is a date");
    let on_day = |text: &str| Calendar::utc().on(text).map_err(|why| Wrong { why, instead: None });
    let day = match table.take("date") {
        None => None,
        Some(entry) => match plain(entry.value.get_ref()) {
            Some(Value::String(text)) => {
                let what = format!("\"date\" of {}", table.what);
                read_text(&text, entry.value.span(), &what, Code::BadTime, on_day, problems)
            }
            _ => {
                problems.push(wrong_type("date", &table.what, "a date such as \"2026-03-29\"", entry.value));
                None
            }
        },
    };
    let calendar = day.map_or_else(standard, |day| day.value);
    let known = |text: &str| zone::read(text).map(|_| text.to_owned());
    let zone = table.text_by("time_zone", "the name of a time zone", Code::UnknownTimeZone, known, problems);
    match zone {
        Some(zone) => calendar.in_zone(&zone),
        None => calendar,
    }
}

/// A point in time, in ms since 1970.
fn moment(table: &mut Table<'_>, key: &'static str, calendar: &Calendar, problems: &mut Problems) -> Option<At<i64>> {
    let entry = table.take(key)?;
    let text = match plain(entry.value.get_ref()) {
        Some(Value::String(text)) => text,
        Some(Value::Number(ms)) if ms.is_i64() => ms.to_string(),
        _ => {
            problems.push(wrong_type(key, &table.what, "a time such as \"10:00:05\", or ms since 1970", entry.value));
            return None;
        }
    };
    let read = |text: &str| calendar.read(text).map(|at| at.0).map_err(|why| Wrong { why, instead: None });
    read_text(&text, entry.value.span(), &format!("\"{key}\" of {}", table.what), Code::BadTime, read, problems)
}

fn inputs(table: &mut Table<'_>, calendar: &Calendar, problems: &mut Problems) -> Vec<TestInput> {
    let (what, span) = (table.what.clone(), table.span.clone());
    let is_said = table.peek("input").is_some();
    let input = table.table("input", format!("\"input\" of {what}"), problems);
    let mut inputs = Vec::new();
    let mut is_wrong = is_said && input.is_none();
    for entry in input.into_iter().flat_map(|mut input| input.take_rest()) {
        let source = At::new(entry.key.to_owned(), entry.key_span.clone());
        is_wrong |= entry.value.get_ref().as_array().is_none();
        let of_input = format!("a record for \"{}\" in {what}", entry.key);
        let records = tables(&entry, &format!("\"input\" of {what}"), problems);
        let records = records.into_iter().map(|(table, span)| record(Table::new(&of_input, table, span), calendar, problems));
        inputs.push(TestInput { source, records: records.collect() });
    }
    if !is_wrong && inputs.iter().all(|input| input.records.is_empty()) {
        let problem = Problem::at(Code::NothingTested, span, format!("{what} has no input"), "nothing arrives");
        problems.push(problem.help("add `input.SOURCE = [{ at = \"10:00:05\", … }]` with the records that come to a source"));
    }
    inputs
}

fn record(mut table: Table<'_>, calendar: &Calendar, problems: &mut Problems) -> TestRecord {
    let (what, span) = (table.what.clone(), table.span.clone());
    let at = moment(&mut table, "at", calendar, problems);
    let arrives = moment(&mut table, "arrives", calendar, problems);
    let raw = table.take("raw").and_then(|entry| {
        let text = entry.value.get_ref().as_str().map(str::to_owned);
        if text.is_none() {
            problems.push(wrong_type("raw", &what, "a string", entry.value));
        }
        text
    });
    let is_deleted = table.flag("deleted", problems).is_some_and(|flag| *flag);
    let promise = moment(&mut table, "watermark", calendar, problems);
    let mut fields = Vec::new();
    leaves(table.take_rest(), "", &what, &mut fields, problems);
    let n_said = [raw.is_some(), is_deleted, promise.is_some()].into_iter().filter(|said| *said).count();
    if n_said > 1 || (n_said == 1 && !is_deleted && !fields.is_empty()) {
        let label = "it has fields, or is raw, or deleted, or a watermark";
        problems.push(Problem::at(Code::BadTestRow, span.clone(), format!("{what} says two things"), label));
    }
    let given = match (raw, promise) {
        (Some(text), _) => Given::Raw(text),
        (None, Some(promise)) => Given::Promise(*promise),
        (None, None) if is_deleted => Given::Deleted(fields),
        (None, None) => Given::Fields(fields),
    };
    TestRecord { span, given, at, arrives }
}

fn outputs(table: &mut Table<'_>, problems: &mut Problems) -> Vec<TestOutput> {
    let what = table.what.clone();
    let mut all = Vec::new();
    type OfName = fn(At<String>) -> OutputName;
    let by_name: [(&'static str, OfName); 3] =
        [("expect", OutputName::Sink), ("late", OutputName::Late), ("state", OutputName::State)];
    for (key, of) in by_name {
        let parent = format!("\"{key}\" of {what}");
        for entry in table.table(key, &parent, problems).into_iter().flat_map(|mut named| named.take_rest()) {
            let name = At::new(entry.key.to_owned(), entry.key_span.clone());
            // Of a state that is not asked for nothing is expected: "any" would say nothing.
            let rows = rows(&entry, &parent, key != "state", problems);
            all.extend(rows.map(|rows| TestOutput { of: of(name), rows }));
        }
    }
    if let Some(entry) = table.take("dead") {
        let of = OutputName::Dead(entry.key_span.clone());
        all.extend(rows(&entry, &what, true, problems).map(|rows| TestOutput { of, rows }));
    }
    all
}

/// A list of rows, or `"any"`, which is `Some(None)`.
fn rows(entry: &Entry<'_>, parent: &str, may_be_any: bool, problems: &mut Problems) -> Option<Option<Vec<TestRow>>> {
    match entry.value.get_ref().as_str() {
        Some("any") if may_be_any => return Some(None),
        _ if entry.value.get_ref().as_array().is_none() => {
            let wanted = if may_be_any { "a list of rows, or \"any\"" } else { "a list of rows" };
            problems.push(wrong_type(entry.key, parent, wanted, entry.value));
            return None;
        }
        _ => {}
    }
    let mut rows = Vec::new();
    for (table, span) in tables(entry, parent, problems) {
        let mut fields = Vec::new();
        let what = format!("a row of \"{}\" of {parent}", entry.key);
        leaves(Table::new("", table, span.clone()).take_rest(), "", &what, &mut fields, problems);
        rows.push(TestRow { span, fields });
    }
    Some(Some(rows))
}

/// The tables of a list. What is none is reported.
fn tables<'t>(entry: &Entry<'t>, parent: &str, problems: &mut Problems) -> Vec<(&'t DeTable<'t>, Span)> {
    let Some(array) = entry.value.get_ref().as_array() else {
        problems.push(wrong_type(entry.key, parent, "a list of tables", entry.value));
        return Vec::new();
    };
    let mut tables = Vec::new();
    for item in array.iter() {
        match item.get_ref().as_table() {
            Some(table) => tables.push((table, item.span())),
            None => problems.push(wrong_type(entry.key, parent, "a list of tables", item)),
        }
    }
    tables
}

/// The single values of `entries`, in the order of the text.
fn leaves(entries: Vec<Entry<'_>>, prefix: &str, what: &str, to: &mut Vec<Leaf>, problems: &mut Problems) {
    for entry in entries {
        let path = if prefix.is_empty() { entry.key.to_owned() } else { format!("{prefix}.{}", entry.key) };
        if let Some(table) = entry.value.get_ref().as_table() {
            leaves(Table::new("", table, entry.value.span()).take_rest(), &path, what, to, problems);
            continue;
        }
        let span = entry.value.span();
        match plain(entry.value.get_ref()) {
            Some(value) => to.push(Leaf { path: At::new(path, entry.key_span), value: At::new(value, span) }),
            None => {
                let message = format!("\"{path}\" of {what} is no single value");
                problems.push(Problem::at(Code::BadTestRow, span, message, "fields are bool, i64, f64, string or bytes"));
            }
        }
    }
}

/// A single value. Dates and times become strings.
fn plain(value: &DeValue<'_>) -> Option<Value> {
    match value {
        DeValue::String(text) => Some(Value::String(text.to_string())),
        DeValue::Boolean(value) => Some(Value::Bool(*value)),
        DeValue::Datetime(at) => Some(Value::String(at.to_string())),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix()).ok().map(|number| number.into()),
        DeValue::Float(number) => number.as_str().parse().ok().and_then(Number::from_f64).map(Value::Number),
        DeValue::Array(_) | DeValue::Table(_) => None,
    }
}
