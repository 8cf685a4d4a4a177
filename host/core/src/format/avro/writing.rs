//! Rows as values of an Avro record: its fields one behind the other, in the order of the schema.

use super::{Schema, Type};
use crate::{
    column::Value,
    format::{
        bytes::put_zigzag,
        writer::{Unfit, WrittenColumn, put_bytes},
    },
    schema::FieldType,
};

/// One field of the record.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::format) enum Part {
    /// Of a field that no column fills: nothing, or the branch of null.
    Fixed(Vec<u8>),
    Column {
        column: usize,
        branches: Option<Branches>,
    },
}

/// Which branches of a union are null, if one is, and the column's type.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::format) struct Branches {
    null: Option<usize>,
    value: usize,
}

/// The parts of the record that `schema` is. What does not fit goes to `unfit`.
pub(in crate::format) fn parts(schema: &Schema, columns: &[WrittenColumn<'_>], unfit: &mut Vec<Unfit>) -> Vec<Part> {
    let Type::Record { fields, .. } = schema.at(schema.root) else {
        unfit.push(Unfit::NotARecord(in_words(schema, schema.at(schema.root))));
        return Vec::new();
    };
    let is_missing = |column: &usize| fields.iter().all(|(name, _)| name != columns[*column].name);
    unfit.extend((0..columns.len()).filter(is_missing).map(|column| Unfit::Missing { column }));
    let mut part = |(name, place): &(String, usize)| {
        let part = match columns.iter().position(|column| column.name == name) {
            Some(column) => part_of(schema, *place, column, &columns[column]),
            None => nothing(schema, *place).ok_or_else(|| Unfit::Unfilled { field: name.clone() }),
        };
        part.map_err(|why| unfit.push(why)).ok()
    };
    fields.iter().filter_map(&mut part).collect()
}

fn part_of(schema: &Schema, place: usize, column_idx: usize, column: &WrittenColumn<'_>) -> Result<Part, Unfit> {
    let takes = |place: usize| takes(schema.at(place), column.field_type);
    let found = schema.at(place);
    let differs = || Unfit::Type { column: column_idx, found: in_words(schema, found), wanted: wanted(column) };
    let branches = match found {
        Type::Union(branches) => {
            let value = branches.iter().position(|branch| takes(*branch)).ok_or_else(differs)?;
            Some(Branches { null: null_of(schema, branches), value })
        }
        _ if takes(place) => None,
        _ => return Err(differs()),
    };
    let has_null = branches.as_ref().is_some_and(|branches| branches.null.is_some());
    if !column.required && !has_null {
        return Err(Unfit::Null { column: column_idx, found: in_words(schema, found) });
    }
    Ok(Part::Column { column: column_idx, branches })
}

fn null_of(schema: &Schema, branches: &[usize]) -> Option<usize> {
    branches.iter().position(|branch| *schema.at(*branch) == Type::Null)
}

/// What stands for nothing, where it may.
fn nothing(schema: &Schema, place: usize) -> Option<Part> {
    match schema.at(place) {
        Type::Null => Some(Part::Fixed(Vec::new())),
        Type::Union(branches) => {
            let mut bytes = Vec::new();
            put_zigzag(null_of(schema, branches)? as i64, &mut bytes);
            Some(Part::Fixed(bytes))
        }
        _ => None,
    }
}

fn takes(found: &Type, field_type: FieldType) -> bool {
    matches!(
        (field_type, found),
        (FieldType::Bool, Type::Boolean)
            | (FieldType::Int, Type::Long)
            | (FieldType::Float, Type::Double)
            | (FieldType::Text, Type::String)
            | (FieldType::Bytes, Type::Bytes)
    )
}

fn wanted(column: &WrittenColumn<'_>) -> &'static str {
    match column.field_type {
        FieldType::Bool => "a boolean",
        FieldType::Int => "a long",
        FieldType::Float => "a double",
        FieldType::Text => "a string",
        FieldType::Bytes => "bytes",
    }
}

fn in_words(schema: &Schema, found: &Type) -> String {
    match found {
        Type::Union(branches) => {
            let branches: Vec<String> = branches.iter().map(|branch| schema.at(*branch).in_words()).collect();
            format!("a union of {}", branches.join(", "))
        }
        found => found.in_words(),
    }
}

impl Part {
    pub fn write<'a>(&self, value: impl Fn(usize) -> Value<'a>, out: &mut Vec<u8>) {
        let (column, branches) = match self {
            Part::Fixed(bytes) => return out.extend_from_slice(bytes),
            Part::Column { column, branches } => (column, branches),
        };
        let value = value(*column);
        if let Some(branches) = branches {
            let branch = if value == Value::Null { branches.null } else { Some(branches.value) };
            put_zigzag(branch.expect("a column that is never null has no null") as i64, out);
        }
        match value {
            Value::Null => {}
            Value::Bool(value) => out.push(value.into()),
            Value::Int(value) => put_zigzag(value, out),
            Value::Float(value) => out.extend_from_slice(&value.to_le_bytes()),
            Value::Bytes(bytes) => put_bytes(bytes, put_zigzag, out),
        }
    }
}
