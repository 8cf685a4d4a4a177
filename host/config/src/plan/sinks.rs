//! The columns that a sink names.

use reelflow_core::schema::FieldType;

use super::{
    disagree::{not_a_key, type_text, unknown_column},
    stages::input,
    streams::{Streams, column},
};
use crate::{
    code::Code,
    config::{self, Config},
    problem::{Problem, Problems},
};

/// The columns of the record key. What is wrong is reported.
pub(super) fn sink_key(config: &Config, streams: &Streams<'_>, idx: usize, problems: &mut Problems) -> Option<Vec<usize>> {
    let sink = &config.sinks[idx];
    let origin = streams.sink_input(idx)?;
    let input = input(streams, origin, &sink.input)?;
    let what = format!("\"key\" of sink \"{}\"", *sink.name);
    let mut columns = Vec::new();
    for name in sink.key() {
        let Some(at) = column(&input.schema, name) else {
            problems.push(unknown_column(Code::UnknownSinkKey, &what, name, &input));
            continue;
        };
        // A record whose only key column is null has no key.
        match not_a_key(&what, name, &input.schema.fields[at], &input, true) {
            Some(problem) => problems.push(problem),
            None => columns.push(at),
        }
    }
    let reserved = ["rev", "final"].into_iter().find(|name| input.schema.position(name).is_some());
    if let Some(name) = reserved.filter(|_| streams.is_upsert(config, origin)) {
        let message = format!("the rows of sink \"{}\" have a field \"{name}\" already", *sink.name);
        problems.push(
            Problem::at(
                Code::ReservedField,
                sink.input.span.clone(),
                message,
                "an upsert stream adds \"rev\" and \"final\" to its rows",
            )
            .help("rename the plugin's field, or write `emit = \"final\"`"),
        );
        return None;
    }
    (columns.len() == sink.key().len()).then_some(columns)
}

/// The field that says which rows delete their key. What is wrong is reported.
pub(super) fn tombstone(config: &Config, streams: &Streams<'_>, idx: usize, problems: &mut Problems) -> Option<usize> {
    let sink = &config.sinks[idx];
    let config::SinkTo::Topic { tombstone: Some(name), .. } = &sink.to else { return None };
    let input = input(streams, streams.sink_input(idx)?, &sink.input)?;
    let what = format!("\"tombstone\" of sink \"{}\"", *sink.name);
    let Some(at) = column(&input.schema, name) else {
        problems.push(unknown_column(Code::UnknownColumn, &what, name, &input));
        return None;
    };
    let field = &input.schema.fields[at];
    if field.field_type != FieldType::Bool || !field.required {
        let label = format!("field \"{}\" is {}", field.name, type_text(field));
        let problem =
            Problem::at(Code::TombstoneType, name.span.clone(), format!("{what} must be a bool that is never null"), label);
        problems.push(problem.also(input.from.span.clone(), "in this stream"));
    }
    Some(at)
}
