//! Rows as values of Avro and Protobuf, by the schema that a sink names.
//!
//! A writer is made once for a schema and the columns of the rows. What does not fit is known then; no row can fail later, so a type is taken only
//! where every value of the column has a place in it.
//!
//! | column | Avro | Protobuf |
//! | --- | --- | --- |
//! | `bool` | boolean | bool |
//! | `i64` | long | int64, sint64, sfixed64 |
//! | `f64` | double | double |
//! | `string` | string | string |
//! | `bytes` | bytes | bytes |
//! | optional | a union with null | a field with presence |
//!
//! Fields are found by their names. Each column must have one; a field that no column fills must be able to be null or absent.
//!
//! Sources: Apache Avro 1.12, "Specification"; protobuf.dev, "Encoding".

use super::{WriterSchema, avro, bytes::put_varint, framing, protobuf};
use crate::{
    column::{Rows, Value},
    schema::{Field, FieldType, Schema},
    stage::Revision,
};

/// How the rows of a sink are written.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum SinkFormat {
    /// One object a row.
    #[default]
    Json,
    Binary(RowWriter),
}

/// A column of the rows that are to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrittenColumn<'a> {
    pub name: &'a str,
    pub field_type: FieldType,
    /// Whether it is never null.
    pub required: bool,
}

/// The columns of rows of `schema`; with revisions also `rev` and `final`.
pub fn written_columns(schema: &Schema, has_revisions: bool) -> Vec<WrittenColumn<'_>> {
    fn of_field(field: &Field) -> WrittenColumn<'_> {
        WrittenColumn { name: &field.name, field_type: field.field_type, required: field.required }
    }
    let of_revision = [("rev", FieldType::Int), ("final", FieldType::Bool)];
    let of_revision = of_revision.map(|(name, field_type)| WrittenColumn { name, field_type, required: true });
    schema.fields.iter().map(of_field).chain(of_revision.into_iter().filter(|_| has_revisions)).collect()
}

/// Why rows cannot be written by a schema. A column is said by its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// The schema is this, and no record.
    NotARecord(String),
    /// The schema has no field of the column's name.
    Missing { column: usize },
    /// The field is `found`, and only `wanted` has a place for all values of the column.
    Type { column: usize, found: String, wanted: &'static str },
    /// The column may be null, and the field may not: it is `found`.
    Null { column: usize, found: String },
    /// The schema wants this field, of which no row has a value.
    Unfilled { field: String },
}

/// Writes rows by a schema. See the module's text.
#[derive(Clone, Debug, PartialEq)]
pub struct RowWriter {
    /// What stands before each value.
    head: Vec<u8>,
    parts: Parts,
}

#[derive(Clone, Debug, PartialEq)]
enum Parts {
    Avro(Vec<avro::writing::Part>),
    Protobuf(Vec<protobuf::writing::Part>),
}

impl RowWriter {
    /// Of `schema`, of Protobuf the message at `path` of its file: the place at the top level, then inside each message. Gives all that does
    /// not fit. Panics if there is no such message.
    pub fn new(schema: &WriterSchema, path: &[usize], columns: &[WrittenColumn<'_>]) -> Result<RowWriter, Vec<Unfit>> {
        let mut unfit = Vec::new();
        let parts = match schema {
            WriterSchema::Avro(schema) => Parts::Avro(avro::writing::parts(schema, columns, &mut unfit)),
            WriterSchema::Protobuf(schema) => {
                let message = schema.message_at(path).expect("the message was found by its name");
                Parts::Protobuf(protobuf::writing::parts(schema, message, columns, &mut unfit))
            }
        };
        if unfit.is_empty() { Ok(RowWriter { head: Vec::new(), parts }) } else { Err(unfit) }
    }

    /// The same with the id of its schema in a registry before each value; `path` as in [`RowWriter::new`].
    pub fn framed(self, id: u32, path: &[usize]) -> RowWriter {
        let path = matches!(self.parts, Parts::Protobuf(_)).then_some(path);
        RowWriter { head: framing::head(id, path), ..self }
    }

    /// Appends row `row_idx` of `rows`, whose columns and revision are those of [`written_columns`]. O(bytes).
    pub fn write(&self, rows: &Rows, row_idx: usize, revision: Option<Revision>, out: &mut Vec<u8>) {
        let n_columns = rows.columns().len();
        let value = |column: usize| match (column.checked_sub(n_columns), revision) {
            (None, _) => rows.column(column).at(row_idx),
            (Some(0), Some(revision)) => Value::Int(revision.rev.into()),
            (_, Some(revision)) => Value::Bool(revision.is_final),
            (_, None) => unreachable!("rows with revisions have one each"),
        };
        out.extend_from_slice(&self.head);
        match &self.parts {
            Parts::Avro(parts) => parts.iter().for_each(|part| part.write(value, out)),
            Parts::Protobuf(parts) => parts.iter().for_each(|part| part.write(value, out)),
        }
    }
}

/// How many bytes follow, and they.
pub(super) fn put_bytes(bytes: &[u8], put_len: fn(i64, &mut Vec<u8>), out: &mut Vec<u8>) {
    put_len(i64::try_from(bytes.len()).expect("a value fits in memory"), out);
    out.extend_from_slice(bytes);
}

/// As [`put_varint`], of a length.
pub(super) fn put_plain(len: i64, out: &mut Vec<u8>) {
    put_varint(len as u64, out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::bytes::put_zigzag;

    #[test]
    fn lengths_are_written_as_each_format_has_them() {
        let written = |put: fn(i64, &mut Vec<u8>)| {
            let mut out = Vec::new();
            put_bytes(b"ab", put, &mut out);
            out
        };
        assert_eq!(written(put_plain), [2, b'a', b'b']);
        assert_eq!(written(put_zigzag), [4, b'a', b'b']);
    }
}
