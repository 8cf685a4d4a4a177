//! `format`, `schema`, `message` and `subject` of a sink.

use reelflow_core::format::Binary;

use super::format::only_for;
use crate::{config::written::SinkSchema, problem::Problems, walk::Table};

const FORMATS: [(&str, Option<Binary>); 3] = [("json", None), ("avro", Some(Binary::Avro)), ("protobuf", Some(Binary::Protobuf))];

/// By what the values of a sink are written; `Some(None)`: by nothing, as JSON. `None`: something is wrong with it.
pub(super) fn sink_schema(table: &mut Table<'_>, problems: &mut Problems) -> Option<Option<SinkSchema>> {
    let key_of = |key: &str| table.peek(key).map(|entry| entry.key_span.clone());
    let keys = ["schema", "message", "subject"].map(|key| (key, key_of(key)));
    let is_said = table.peek("format").is_some();
    let format = table.choice("format", &FORMATS, problems);
    let path = table.string("schema", problems);
    let message = table.string("message", problems);
    let subject = table.string("subject", problems);
    let of_others = |keys: &[(&str, Option<_>)], sinks: &str, problems: &mut Problems| {
        keys.iter().for_each(|(key, at)| only_for(key, at.clone(), sinks, table, problems));
    };
    let format = match format.map(|format| format.value) {
        Some(Some(format)) => format,
        // Which of the keys are right is not known where the format is not.
        None if is_said => return None,
        Some(None) | None => {
            of_others(&keys, "sinks whose format is \"avro\" or \"protobuf\"", problems);
            return Some(None);
        }
    };
    if keys[0].1.is_none() {
        let example = if format == Binary::Avro { "\"row.avsc\"" } else { "\"row.proto\"" };
        table.missing("schema", example, problems);
    }
    match format {
        Binary::Avro => of_others(&keys[1..2], "sinks whose format is \"protobuf\"", problems),
        Binary::Protobuf if keys[1].1.is_none() => table.missing("message", "\"Row\"", problems),
        Binary::Protobuf => {}
    }
    Some(Some(SinkSchema { format, path: path?, message, subject }))
}
