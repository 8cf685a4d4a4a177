//! Record formats besides JSON: Avro, Protobuf, and bytes as they are.
//!
//! What wrote a value of Avro or Protobuf is a [`WriterSchema`]; a library parses its text outside of the core. For one writer schema and
//! the declared fields a *program* is made once, and every value runs through it: what is declared lands in columns, the rest is
//! skipped. Where a field cannot be read as it is declared, the program knows that before the first value.
//!
//! | the value | result |
//! | --- | --- |
//! | a tombstone | `empty` |
//! | does not begin with a schema id, where it must; no such message in its schema | `framing` |
//! | its schema is not known to the registry | `unknown-schema` |
//! | its schema cannot be read, or is of another format | `unusable-schema` |
//! | not what its schema says: too short, too long, no such branch | `avro`, `protobuf` |
//! | a declared string that is not UTF-8 | `utf8` |
//! | a field that its schema does not have, or null | required: `missing`; optional: null |
//! | a field of another type | `type`, also if optional |
//!
//! Errors of fields are found in their order, once the whole value is known to be good. A table of the types is in docs/formats.md.
//!
//! Rows are written the other way, by the schema that a sink names: [`writer`].
//!
//! Modules in reading order: [`avro`], [`protobuf`], `wanted`, `layout`, `bytes`, `framing`, `raw`, [`decoder`], [`writer`].

use std::{fmt, sync::Arc};

use crate::json::decode::DecodeError;

pub mod avro;
mod bytes;
pub mod decoder;
mod framing;
mod layout;
pub mod protobuf;
mod raw;
mod wanted;
pub mod writer;

pub use layout::{Unmapped, unmapped};

/// How the values of a source are written.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum SourceFormat {
    #[default]
    Json,
    /// The whole value is the field `value`, the whole key the field `key`.
    Raw,
    /// All by this schema, with nothing around them. Of Protobuf, they are the first top-level message.
    Bare(Arc<WriterSchema>),
    /// Each says the id of its schema in a registry, in the way of Confluent's serializers.
    Registry(Binary),
}

/// The formats that cannot be read without the schema that wrote them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binary {
    Avro,
    Protobuf,
}

impl Binary {
    /// The name that manifests use, and the code of a dead letter.
    pub fn name(self) -> &'static str {
        match self {
            Binary::Avro => "avro",
            Binary::Protobuf => "protobuf",
        }
    }
}

impl fmt::Display for Binary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Binary::Avro => "Avro",
            Binary::Protobuf => "Protobuf",
        })
    }
}

/// What a value was written by.
#[derive(Clone, Debug, PartialEq)]
pub enum WriterSchema {
    Avro(avro::Schema),
    Protobuf(protobuf::Schema),
}

impl WriterSchema {
    pub fn format(&self) -> Binary {
        match self {
            WriterSchema::Avro(_) => Binary::Avro,
            WriterSchema::Protobuf(_) => Binary::Protobuf,
        }
    }
}

/// What a registry says of an id. It never says another schema for the same id.
#[derive(Clone, Debug, PartialEq)]
pub enum SchemaAnswer {
    Known(Arc<WriterSchema>),
    /// It has no such id.
    Unknown,
    /// There is one that cannot be read, and why.
    Unusable(Arc<str>),
}

/// Why a value has no row.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    #[error(transparent)]
    Json(#[from] DecodeError),
    #[error("value is empty")]
    Empty,
    #[error("value is not {format} of its schema at byte {at}: {what}")]
    Malformed { format: Binary, at: usize, what: &'static str },
    #[error("value does not begin with the id of its schema: {why}")]
    Framing { why: String },
    #[error("the registry has no schema {id}")]
    UnknownSchema { id: u32 },
    #[error("schema {id} cannot be used: {why}")]
    UnusableSchema { id: u32, why: String },
    #[error("{what} is not UTF-8 at byte {at}")]
    Utf8 { what: String, at: usize },
    #[error("field \"{field}\" must be {expected}, not {found}")]
    Type { field: String, expected: &'static str, found: String },
    #[error("required field \"{field}\" is missing")]
    Missing { field: String },
    #[error("required field \"{field}\" is null")]
    Null { field: String },
}

impl FormatError {
    /// The short code for the dead letter's `reel-reason`.
    pub fn code(&self) -> &'static str {
        match self {
            FormatError::Json(error) => error.code(),
            FormatError::Empty => "empty",
            FormatError::Malformed { format, .. } => format.name(),
            FormatError::Framing { .. } => "framing",
            FormatError::UnknownSchema { .. } => "unknown-schema",
            FormatError::UnusableSchema { .. } => "unusable-schema",
            FormatError::Utf8 { .. } => "utf8",
            FormatError::Type { .. } => "type",
            FormatError::Missing { .. } | FormatError::Null { .. } => "missing",
        }
    }
}

#[cfg(test)]
mod tests;
