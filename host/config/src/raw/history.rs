//! `files` of a source: where its history lies.

use reelflow_core::plan::FileFormat;

use super::sink::local;
use crate::{
    code::Code,
    config::history::History,
    problem::{At, Problem, Problems},
    walk::Table,
};

/// `event_time`: what the source says of it.
pub(super) fn history(
    source: &mut Table<'_>,
    event_time: Option<&At<String>>,
    is_table: bool,
    problems: &mut Problems,
) -> Option<History> {
    let what = format!("\"files\" of {}", source.what);
    let mut table = source.table("files", what, problems)?;
    let path = table.required_string("path", "\"history/plays\"", problems);
    let path = path.and_then(|path| local(path, "read from", problems));
    if table.peek("format").is_none() {
        table.missing("format", "\"parquet\"` or `format = \"ndjson\"", problems);
    }
    let formats = [FileFormat::Ndjson, FileFormat::Parquet].map(|format| (format.name(), format));
    let format = table.choice("format", &formats, problems);
    let timestamp = table.string("timestamp", problems);
    if let Some(event_time) = event_time.filter(|field| field.value == "@timestamp" && timestamp.is_none()) {
        let message = format!("records in the files of {} would have no event time", source.what);
        problems.push(
            Problem::at(Code::MissingKey, table.span.clone(), message, "\"timestamp\" is missing")
                .also(event_time.span.clone(), "the event time is the log's, which files do not have")
                .help("add `timestamp = \"…\"` with the field that holds it, in ms since 1970"),
        );
    }
    let deleted = if is_table { table.string("deleted", problems) } else { None };
    let position = match (table.string("partition", problems), table.string("offset", problems)) {
        (Some(partition), Some(offset)) => Some((partition, offset)),
        (None, None) => None,
        (Some(_), None) => {
            table.missing("offset", "\"kafka_offset\"", problems);
            None
        }
        (None, Some(_)) => {
            table.missing("partition", "\"kafka_partition\"", problems);
            None
        }
    };
    table.finish(&[("deleted", "tables: no other record is one without a value")], problems);
    Some(History { path: path?, format: *format?, timestamp, deleted, position })
}
