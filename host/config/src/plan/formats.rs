//! How the values of each source are written, and which of the fields that are asked of it they do not have.

use std::{collections::BTreeMap, sync::Arc};

use reelflow_core::format::{self, SourceFormat, Unmapped, WriterSchema};

use super::streams::{Origin, Streams};
use crate::{
    code::Code,
    config::{self, Config, Source},
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

fn schema_span(source: &Source) -> Option<Span> {
    match &source.format {
        config::SourceFormat::Bare { schema, .. } => Some(schema.span.clone()),
        config::SourceFormat::Json | config::SourceFormat::Raw | config::SourceFormat::Registry(_) => None,
    }
}
