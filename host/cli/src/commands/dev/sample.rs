//! The sample of a manifest: files of records beside it, as a test that expects nothing.

use std::fs;

use reelflow_config::{
    At, Config,
    config::test::{Given, Test, TestInput, TestRecord},
    moment::Calendar,
};
use reelflow_core::plan::{EventTimeFrom, Plan, SourcePlan};
use serde_json::Value;

use crate::{
    failure::{Exit, Failure},
    manifest::Manifest,
};

/// The config with the sample as its only test: of each source the lines of `TOPIC.ndjson`, if there is such a file.
pub(super) fn config(manifest: &Manifest, plan: &Plan) -> Result<Config, Failure> {
    let mut inputs = Vec::new();
    for source in &plan.sources {
        let path = manifest.sample(&source.topic);
        if !path.is_file() {
            continue;
        }
        let text = fs::read_to_string(&path)
            .map_err(|why| Failure::new(Exit::Environment, format!("{} cannot be read: {why}", path.display())))?;
        let records = text.lines().filter(|line| !line.is_empty()).map(|line| record(source, line));
        inputs.push(TestInput { source: At::new(source.name.to_string(), 0..0), records: records.collect() });
    }
    let sample = Test {
        name: At::new("sample".to_owned(), 0..0),
        calendar: Calendar::utc(),
        inputs,
        expected: Vec::new(),
        others_may_speak: true,
        until: None,
        ends: true,
        once: true,
    };
    Ok(Config { tests: vec![sample], ..manifest.config.clone() })
}

/// A line as a record. One that does not say when it happened arrives with the one before it, and is refused as in a run.
fn record(source: &SourcePlan, line: &str) -> TestRecord {
    let at = match source.event_time {
        EventTimeFrom::LogTimestamp => None,
        EventTimeFrom::Field(column) => {
            let schema = source.table.as_ref().map_or(&source.stream.schema, |table| &table.schema);
            let record = serde_json::from_str::<Value>(line).unwrap_or_default();
            schema.fields[column].path.split('.').fold(&record, |value, part| &value[part]).as_i64()
        }
    };
    TestRecord { span: 0..0, given: Given::Raw(line.to_owned()), at: at.map(|ms| At::new(ms, 0..0)), arrives: None }
}
