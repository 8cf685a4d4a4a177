//! Rows as messages of Protobuf: their fields by number, each behind its tag. A field without presence is left out when it has the zero of its
//! type, as every serializer does.

use super::{Field, Kind, Schema, wire::Wire};
use crate::{
    column::Value,
    format::{
        bytes::{put_varint, zigzagged},
        writer::{Unfit, WrittenColumn, put_bytes, put_plain},
    },
    schema::FieldType,
};

/// One field of the message that a column fills.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::format) struct Part {
    column: usize,
    tag: Vec<u8>,
    kind: Kind,
    has_presence: bool,
}

/// The parts of the message at `place`, in the order of their numbers. What does not fit goes to `unfit`.
pub(in crate::format) fn parts(
    schema: &Schema,
    place: usize,
    columns: &[WrittenColumn<'_>],
    unfit: &mut Vec<Unfit>,
) -> Vec<Part> {
    let message = &schema.messages[place];
    let is_filled = |field: &Field| columns.iter().any(|column| column.name == field.name);
    let mut parts = Vec::new();
    for (column, WrittenColumn { name, field_type, required }) in columns.iter().copied().enumerate() {
        let Some(field) = message.fields.iter().find(|field| field.name == name) else {
            unfit.push(Unfit::Missing { column });
            continue;
        };
        let is_rival = |other: &&Field| other.number != field.number && other.oneof == field.oneof && is_filled(other);
        let rival = field.oneof.and_then(|_| message.fields.iter().find(is_rival));
        let found = schema.in_words(field);
        if let Some(rival) = rival {
            let found = format!("{found} in a oneof with \"{}\"", rival.name);
            unfit.push(Unfit::Type { column, found, wanted: "a field by itself" });
        } else if field.is_repeated || !takes(field.kind, field_type) {
            unfit.push(Unfit::Type { column, found, wanted: wanted(field_type) });
        } else if !required && !field.has_presence {
            unfit.push(Unfit::Null { column, found: format!("{found} without `optional`") });
        } else {
            let mut tag = Vec::new();
            put_varint(u64::from(field.number) << 3 | Wire::of(field.kind) as u64, &mut tag);
            parts.push((field.number, Part { column, tag, kind: field.kind, has_presence: field.has_presence }));
        }
    }
    parts.sort_by_key(|(number, _)| *number);
    parts.into_iter().map(|(_, part)| part).collect()
}

fn takes(kind: Kind, field_type: FieldType) -> bool {
    match field_type {
        FieldType::Bool => kind == Kind::Bool,
        FieldType::Int => matches!(kind, Kind::Int64 | Kind::Sint64 | Kind::Sfixed64),
        FieldType::Float => kind == Kind::Double,
        FieldType::Text => kind == Kind::String,
        FieldType::Bytes => kind == Kind::Bytes,
    }
}

fn wanted(field_type: FieldType) -> &'static str {
    match field_type {
        FieldType::Bool => "bool",
        FieldType::Int => "int64, sint64 or sfixed64",
        FieldType::Float => "double",
        FieldType::Text => "string",
        FieldType::Bytes => "bytes",
    }
}

impl Part {
    pub fn write<'a>(&self, value: impl Fn(usize) -> Value<'a>, out: &mut Vec<u8>) {
        let value = value(self.column);
        if value == Value::Null || !self.has_presence && is_zero(value) {
            return;
        }
        out.extend_from_slice(&self.tag);
        match value {
            Value::Null => unreachable!("it was left out"),
            Value::Bool(value) => out.push(value.into()),
            Value::Int(value) => match self.kind {
                Kind::Sfixed64 => out.extend_from_slice(&value.to_le_bytes()),
                Kind::Sint64 => put_varint(zigzagged(value), out),
                _ => put_varint(value as u64, out),
            },
            Value::Float(value) => out.extend_from_slice(&value.to_le_bytes()),
            Value::Bytes(bytes) => put_bytes(bytes, put_plain, out),
        }
    }
}

/// Negative zero is not the zero of its type: it would read back as another number.
fn is_zero(value: Value<'_>) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Int(value) => value == 0,
        Value::Float(value) => value.to_bits() == 0,
        Value::Bytes(bytes) => bytes.is_empty(),
    }
}
