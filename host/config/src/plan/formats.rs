//! How the values of each source and sink are written, and which of the fields that are asked of the one, or are to be written by the other, its
//! schema does not have.

use std::{collections::BTreeMap, sync::Arc};

use reelflow_core::format::{
    self, Binary, SourceFormat, Unmapped, WriterSchema,
    writer::{RowWriter, SinkFormat, Unfit, written_columns},
};

use super::{
    SinkWriter,
    streams::{Origin, Streams},
};
use crate::{
    code::Code,
    config::{self, Config, Sink, Source, written::SinkSchema},
    problem::{Problem, Problems, Span},
};

/// The format of each source. Reports schemas that are not there; their sources count as JSON then, of which nothing is known.
pub(super) fn of_sources(
    config: &Config,
    schemas: &BTreeMap<String, Arc<WriterSchema>>,
    problems: &mut Problems,
) -> Vec<SourceFormat> {
    let mut of = |source: &Source| match &source.format {
        config::SourceFormat::Json => SourceFormat::Json,
        config::SourceFormat::Raw => SourceFormat::Raw,
        config::SourceFormat::Registry(format) => SourceFormat::Registry(format.value),
        config::SourceFormat::Bare { schema, .. } => match schemas.get(&source.name.value) {
            Some(writer) => SourceFormat::Bare(writer.clone()),
            None => {
                problems.push(config.bad_schema(&source.name, format!("what \"{}\" says is not known", schema.value)));
                SourceFormat::Json
            }
        },
    };
    config.sources.iter().map(&mut of).collect()
}

/// Reports each field that is asked of a source and that none of its values can have, or not as the type that is asked for.
pub(super) fn check(config: &Config, formats: &[SourceFormat], streams: &Streams<'_>, problems: &mut Problems) {
    for (idx, (source, format)) in config.sources.iter().zip(formats).enumerate() {
        let Some(schema) = streams.schema_of(Origin::Source(idx)) else { continue };
        for Unmapped { field_idx, found } in format::unmapped(format, &schema) {
            let field = &schema.fields[field_idx];
            let (what, name) = (source.what(), &source.name.value);
            let message = match found {
                Some(_) => format!("field \"{}\" of {what} \"{name}\" is of another type", field.path),
                None => format!("{what} \"{name}\" has no field \"{}\"", field.path),
            };
            let (by, span) = streams.asker(idx, field_idx).unwrap_or_else(|| ("a stage".to_owned(), source.name.span.clone()));
            let label = format!("{by} wants {}", field.field_type.name());
            let mut problem = Problem::at(Code::FieldUnmapped, span, message, label);
            if let Some(at) = schema_span(source) {
                problem = problem.also(
                    at,
                    match &found {
                        Some(found) => format!("here it is {found}"),
                        None => "not in this schema".to_owned(),
                    },
                );
            }
            problems.push(match (format, found) {
                (SourceFormat::Raw, None) => problem.note("raw records have two fields, `value` and `key`"),
                (SourceFormat::Raw, Some(_)) => problem.note("`value` and `key` of raw records are string or bytes"),
                (_, None) => problem.note("every record would be refused, as the field may not be missing"),
                (_, Some(_)) => problem,
            });
        }
    }
}

/// The format of each sink. Reports rows that do not fit the schema by which they are to be written.
pub(super) fn of_sinks(
    config: &Config,
    writers: &BTreeMap<String, SinkWriter>,
    streams: &Streams<'_>,
    problems: &mut Problems,
) -> Vec<SinkFormat> {
    let mut of = |(idx, sink): (usize, &Sink)| {
        let said = sink.schema()?;
        let Some(SinkWriter { schema, path, id }) = writers.get(&sink.name.value) else {
            problems.push(config.bad_sink_schema(sink, said, format!("what \"{}\" says is not known", said.path.value)));
            return None;
        };
        let origin = streams.sink_input(idx)?;
        let (rows, has_revisions) = (streams.schema_of(origin)?, streams.is_upsert(config, origin));
        let columns = written_columns(&rows, has_revisions);
        match RowWriter::new(schema, path, &columns) {
            Ok(writer) => Some(SinkFormat::Binary(match id {
                Some(id) => writer.framed(*id, path),
                None => writer,
            })),
            Err(unfit) => {
                let name = |column: usize| columns[column].name;
                unfit.iter().for_each(|why| problems.push(unwritable(sink, said, why, name)));
                None
            }
        }
    };
    config.sinks.iter().enumerate().map(|sink| of(sink).unwrap_or_default()).collect()
}

fn unwritable<'a>(sink: &Sink, said: &SinkSchema, why: &Unfit, name: impl Fn(usize) -> &'a str) -> Problem {
    let (message, label, help) = match why {
        Unfit::NotARecord(found) => {
            ("rows cannot be written by this schema".to_owned(), format!("it is {found}"), "make the schema a record".to_owned())
        }
        Unfit::Missing { column } => {
            let field = name(*column);
            let help = format!("add a field \"{field}\" to the schema, or leave it out of the rows with a transform");
            (format!("field \"{field}\" of the rows is not in the schema"), "has no such field".to_owned(), help)
        }
        Unfit::Type { column, found, wanted } => {
            let field = name(*column);
            let help = format!("make it {wanted} in the schema, which has a place for every value");
            (format!("field \"{field}\" is of another type in the schema"), format!("here it is {found}"), help)
        }
        Unfit::Null { column, found } => {
            let field = name(*column);
            let help = match said.format {
                Binary::Avro => "make it a union with null in the schema",
                Binary::Protobuf => "write `optional` before it in the schema",
            };
            (format!("field \"{field}\" may be null, and in the schema may not"), format!("here it is {found}"), help.to_owned())
        }
        Unfit::Unfilled { field } => {
            let help = "make it a union with null in the schema, or have the plugin give it".to_owned();
            (format!("the schema has a field \"{field}\" that no row has"), "it may not be null".to_owned(), help)
        }
    };
    let message = format!("sink \"{}\": {message}", *sink.name);
    Problem::at(Code::SchemaUnfit, said.path.span.clone(), message, label)
        .also(sink.input.span.clone(), "the rows of this stream")
        .help(help)
}

fn schema_span(source: &Source) -> Option<Span> {
    match &source.format {
        config::SourceFormat::Bare { schema, .. } => Some(schema.span.clone()),
        config::SourceFormat::Json | config::SourceFormat::Raw | config::SourceFormat::Registry(_) => None,
    }
}
