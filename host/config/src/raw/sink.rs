//! `[sink.…]`: a topic, or files.

use std::path::{Component, Path};

use reelflow_core::plan::{Divided, FileFormat};

use super::{RawSink, flow::required_topic, written::sink_schema};
use crate::{
    code::Code,
    config::{Files, Sink, SinkTo},
    problem::{At, Problem, Problems},
    walk::Table,
};

const ROLL_EVERY_MS: i64 = 5 * 60_000;
const ROLL_BYTES: u64 = 128 << 20;

/// Keys that say something about records, for the message about them in a sink that writes files.
const OF_TOPICS: [(&str, &str); 8] = [
    ("topic", "sinks without \"files\""),
    ("format", "sinks that write a topic; files have theirs in \"files\""),
    ("schema", "sinks that write a topic"),
    ("message", "sinks that write a topic"),
    ("subject", "sinks that write a topic"),
    ("key", "sinks that write a topic"),
    ("partitions", "sinks that write a topic"),
    ("tombstone", "sinks that write a topic"),
];

pub(super) fn sink(name: At<String>, mut table: Table<'_>, problems: &mut Problems) -> RawSink {
    if table.peek("input").is_none() {
        let message = format!("{} has no input", table.what);
        problems.push(
            Problem::at(Code::SinkWithoutInput, table.span.clone(), message, "\"input\" is missing")
                .help("add `input = \"…\"` with the name of a stage or source"),
        );
    }
    let input = table.string("input", problems);
    if table.peek("files").is_some() {
        return sink_of_files(name, input, table, problems);
    }
    let topic = required_topic(&mut table, &name, problems);
    let key = table.strings("key", problems).map_or_else(Vec::new, |key| key.value);
    let partitions = table.integer("partitions", 1..=100_000, problems);
    let partitions = partitions.map(|n| At::new(u32::try_from(*n).expect("in range"), n.span));
    let tombstone = table.string("tombstone", problems);
    if let (Some(field), true) = (&tombstone, key.is_empty()) {
        let message = format!("{} writes records without a value that have no key", table.what);
        let problem = Problem::at(Code::TombstoneType, field.span.clone(), message, "what would they delete?");
        problems.push(problem.help("add `key = […]` with the fields that identify a record"));
    }
    let schema = sink_schema(&mut table, problems);
    let subject = schema.as_ref().and_then(|schema| schema.as_ref()?.subject.clone());
    table.take("files");
    table.finish(&[], problems);
    let built = (|| {
        let to = SinkTo::Topic { topic: topic.clone()?, key, partitions, tombstone, schema: schema? };
        Some(Sink { name: name.clone(), input: input.clone()?, to })
    })();
    RawSink { name, input, topic, path: None, subject, built }
}

fn sink_of_files(name: At<String>, input: Option<At<String>>, mut table: Table<'_>, problems: &mut Problems) -> RawSink {
    let what = format!("\"files\" of {}", table.what);
    let files = table.table("files", what, problems);
    table.finish(&OF_TOPICS, problems);
    let (path, files) = files.map_or((None, None), |table| read_files(table, problems));
    let built = (|| Some(Sink { name: name.clone(), input: input.clone()?, to: SinkTo::Files(files?) }))();
    RawSink { name, input, topic: None, path, subject: None, built }
}

/// The folder, and all of it if nothing is wrong.
fn read_files(mut table: Table<'_>, problems: &mut Problems) -> (Option<At<String>>, Option<Files>) {
    let path = table.required_string("path", "\"out/rows\"", problems).and_then(|path| local(path, "written to", problems));
    if table.peek("format").is_none() {
        table.missing("format", "\"parquet\"` or `format = \"ndjson\"", problems);
    }
    let formats = [FileFormat::Ndjson, FileFormat::Parquet].map(|format| (format.name(), format));
    let format = table.choice("format", &formats, problems);
    let divisions = [Divided::Hourly, Divided::Daily, Divided::Not].map(|divided| (divided.name(), divided));
    let divided = table.choice("partition_by", &divisions, problems);
    let roll_every = table.positive_duration("roll_every", problems);
    let roll_bytes = table.size("roll_bytes", 1 << 10..=4 << 30, problems);
    table.finish(&[], problems);
    let files = (|| {
        Some(Files {
            path: path.clone()?,
            format: *format?,
            divided: divided.map_or(Divided::Hourly, |divided| *divided),
            roll_every_ms: roll_every.map_or(ROLL_EVERY_MS, |ms| *ms),
            roll_bytes: roll_bytes.map_or(ROLL_BYTES, |bytes| *bytes),
        })
    })();
    (path, files)
}

/// Only local folders can be used so far: a bucket's address would be taken for a folder of that name.
pub(super) fn local(path: At<String>, used: &str, problems: &mut Problems) -> Option<At<String>> {
    if !path.contains("://") {
        return Some(path);
    }
    let message = format!("files cannot be {used} \"{}\"", *path);
    let problem = Problem::at(Code::BadPath, path.span, message, "not a folder of this machine");
    problems.push(problem.note("object stores are not supported yet").help("write a folder, relative to the manifest"));
    None
}

/// Two sinks must not write into each other's folders: neither could tell its own files from the other's.
pub(crate) fn check_paths(sinks: &[RawSink], problems: &mut Problems) {
    let paths: Vec<(&RawSink, &At<String>)> = sinks.iter().filter_map(|sink| Some((sink, sink.path.as_ref()?))).collect();
    for (idx, (sink, path)) in paths.iter().enumerate() {
        let overlaps = |other: &str| {
            let (one, other) = (components(path), components(other));
            one.starts_with(&other) || other.starts_with(&one)
        };
        if let Some((other, other_path)) = paths[..idx].iter().find(|(_, other)| overlaps(other)) {
            let message = format!("sinks \"{}\" and \"{}\" write into one folder", *other.name, *sink.name);
            problems.push(
                Problem::at(Code::PathTwice, path.span.clone(), message, format!("by sink \"{}\"", *sink.name))
                    .also(other_path.span.clone(), format!("by sink \"{}\"", *other.name))
                    .help("give each sink a folder of its own, beside the other's"),
            );
        }
    }
}

/// Without `.`, and with `a/..` taken out: as far as the text alone can tell.
fn components(path: &str) -> Vec<Component<'_>> {
    let mut parts = Vec::new();
    for part in Path::new(path).components() {
        match (part, parts.last()) {
            (Component::CurDir, _) => {}
            (Component::ParentDir, Some(Component::Normal(_))) => {
                parts.pop();
            }
            _ => parts.push(part),
        }
    }
    parts
}
