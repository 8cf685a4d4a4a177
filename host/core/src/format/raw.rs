//! Values as they are: bytes or text, the record's value and its key.

use super::{FormatError, Unmapped};
use crate::{
    column::{RowBuilder, Value},
    record::Record,
    schema::{Field, FieldType, Schema},
};

/// The fields that raw records have.
const FIELDS: [&str; 2] = ["value", "key"];

/// The fields of `schema` that raw records do not have, or not as their type.
pub(super) fn unmapped(schema: &Schema) -> Vec<Unmapped> {
    let of = |(field_idx, field): (usize, &Field)| match (FIELDS.contains(&field.path.as_str()), field.field_type) {
        (true, FieldType::Text | FieldType::Bytes) => None,
        (true, _) => Some(Unmapped { field_idx, found: Some("bytes".to_owned()) }),
        (false, _) => Some(Unmapped { field_idx, found: None }),
    };
    schema.fields.iter().enumerate().filter_map(of).collect()
}

/// Reads the key and the value of records as they are.
#[derive(Clone, Debug)]
pub(super) struct Raw {
    fields: Vec<Field>,
}

impl Raw {
    /// `schema` has nothing [unmapped].
    pub fn new(schema: &Schema) -> Raw {
        assert!(unmapped(schema).is_empty(), "the plan was checked");
        Raw { fields: schema.fields.clone() }
    }

    pub fn decode(&self, record: &Record<'_>, into: &mut RowBuilder) -> Result<(), FormatError> {
        let part = |field: &Field| if field.path == "key" { record.key } else { record.value };
        for field in &self.fields {
            match part(field) {
                None if field.path == "value" => return Err(FormatError::Empty),
                None if field.required => return Err(FormatError::Null { field: field.name.clone() }),
                Some(text) if field.field_type == FieldType::Text => {
                    let utf8 = simdutf8::compat::from_utf8(text);
                    utf8.map_err(|error| FormatError::Utf8 { what: field.path.clone(), at: error.valid_up_to() })?;
                }
                None | Some(_) => {}
            }
        }
        into.push(self.fields.iter().map(|field| part(field).map_or(Value::Null, Value::Bytes)));
        Ok(())
    }
}
