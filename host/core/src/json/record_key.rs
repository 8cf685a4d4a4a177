//! The values in a record's key, for records that have nothing else: those that delete a key of a table.
//!
//! The inverse of [`super::encode::key`]: one value as plain text, several as a JSON array.

use crate::{
    column::Value,
    json::{
        base64,
        decode::DecodeError,
        found::{Found, leaf},
        scan::{Cursor, Fault},
    },
    schema::FieldType,
};

/// The values of a record key, in the order of its columns.
#[derive(Debug)]
pub struct KeyValues<'a> {
    key: &'a [u8],
    scratch: Vec<u8>,
    found: Vec<Found>,
}

impl<'a> KeyValues<'a> {
    /// The values of `key`, which has columns of `types`. Refuses null and whatever is of another type.
    pub fn decode(types: &[FieldType], key: &'a [u8]) -> Result<KeyValues<'a>, DecodeError> {
        let text = std::str::from_utf8(key)
            .map_err(|error| DecodeError::Key { why: format!("not UTF-8 at byte {}", error.valid_up_to()) })?;
        let mut scratch = Vec::new();
        let found = match types {
            // Plain text, which looks like JSON only by chance.
            [FieldType::Text] => vec![Found::Text { start: 0, end: text.len() as u32 }],
            [FieldType::Bytes] => {
                base64::decode(key, &mut scratch).ok_or(DecodeError::Key { why: "not base64".to_owned() })?;
                vec![Found::Scratch { start: 0, end: scratch.len() as u32 }]
            }
            [one] => {
                let mut cursor = Cursor::new(text);
                value(&mut cursor, *one, &mut scratch).and_then(|found| at_end(cursor, found)).map(|found| vec![found])
            }
            .map_err(fault)?,
            several => array(text, several, &mut scratch).map_err(fault)?,
        };
        for (found, field_type) in found.iter().zip(types) {
            if !found.is_value() {
                return Err(DecodeError::Key { why: format!("{} expected", field_type.name()) });
            }
        }
        Ok(KeyValues { key, scratch, found })
    }

    /// The value of the n-th column of the key.
    pub fn at(&self, n: usize) -> Value<'_> {
        self.found[n].value(self.key, &self.scratch)
    }
}

fn fault(Fault { at, what }: Fault) -> DecodeError {
    DecodeError::Key { why: format!("{what} at byte {at}") }
}

fn value(cursor: &mut Cursor<'_>, field_type: FieldType, scratch: &mut Vec<u8>) -> Result<Found, Fault> {
    let mut found = Found::Absent;
    leaf(cursor, field_type, 0, scratch, &mut found)?;
    Ok(found)
}

fn at_end<T>(cursor: Cursor<'_>, value: T) -> Result<T, Fault> {
    if cursor.at < cursor.text.len() { cursor.fault("something after the key") } else { Ok(value) }
}

fn array(text: &str, types: &[FieldType], scratch: &mut Vec<u8>) -> Result<Vec<Found>, Fault> {
    let mut cursor = Cursor::new(text);
    let mut found = Vec::with_capacity(types.len());
    for (at, field_type) in types.iter().enumerate() {
        cursor.whitespace();
        if cursor.peek() != if at == 0 { b'[' } else { b',' } {
            return cursor.fault("expected an array with a value for each field of the key");
        }
        cursor.at += 1;
        cursor.whitespace();
        found.push(value(&mut cursor, *field_type, scratch)?);
    }
    cursor.whitespace();
    if cursor.peek() != b']' {
        return cursor.fault("expected the end of the array");
    }
    cursor.at += 1;
    at_end(cursor, found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        column::RowBuilder,
        json::encode,
        schema::{Field, Schema},
    };

    fn refused(types: &[FieldType], key: &[u8]) -> String {
        KeyValues::decode(types, key).unwrap_err().to_string()
    }

    #[test]
    fn a_key_that_a_sink_wrote_is_read_back() {
        let rows: [&[Value<'_>]; 5] = [
            &[Value::Int(-7)],
            &[Value::Bytes(b"[\"x\", 1]")],
            &[Value::Bool(true)],
            &[Value::Int(i64::MIN), Value::Bytes("\"\\ \u{e9}".as_bytes())],
            &[Value::Bytes(b""), Value::Bool(false), Value::Int(0)],
        ];
        for row in rows {
            let types: Vec<FieldType> = row
                .iter()
                .map(|value| match value {
                    Value::Int(_) => FieldType::Int,
                    Value::Bool(_) => FieldType::Bool,
                    _ => FieldType::Text,
                })
                .collect();
            let field = |(at, field_type): (usize, &FieldType)| Field {
                name: format!("k{at}"),
                path: format!("k{at}"),
                field_type: *field_type,
                required: true,
            };
            let schema = Schema { fields: types.iter().enumerate().map(field).collect() };
            let mut builder = RowBuilder::new(types.iter().map(|field_type| field_type.kind()));
            builder.push(row.iter().copied());
            let columns: Vec<usize> = (0..types.len()).collect();
            let key = encode::key(&schema, &builder.finish(), &columns, 0).expect("it is not null");
            let values = KeyValues::decode(&types, &key).unwrap();
            for (at, expected) in row.iter().enumerate() {
                assert_eq!(values.at(at), *expected);
            }
        }
    }

    #[test]
    fn other_keys_are_refused() {
        let two = [FieldType::Int, FieldType::Text];
        for (types, key, says) in [
            (&[FieldType::Int][..], &b"x7"[..], "record key is not that of the table: "),
            (&[FieldType::Int], b"7 ", "record key is not that of the table: something after the key at byte 1"),
            (&[FieldType::Int], b"", "record key is not that of the table: "),
            (&[FieldType::Int], b"null", "record key is not that of the table: i64 expected"),
            (&[FieldType::Int], b"1.5", "record key is not that of the table: i64 expected"),
            (&[FieldType::Text], b"\xff", "record key is not that of the table: not UTF-8 at byte 0"),
            (&two, b"7", "record key is not that of the table: expected an array"),
            (&two, b"[7]", "record key is not that of the table: expected an array"),
            (&two, b"[7,\"a\",1]", "record key is not that of the table: expected the end"),
            (&two, b"[7,\"a\"]]", "record key is not that of the table: something after"),
            (&two, b"[7,8]", "record key is not that of the table: string expected"),
        ] {
            let text = refused(types, key);
            assert!(text.starts_with(says), "{text}");
        }
    }
}
