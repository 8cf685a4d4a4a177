//! Rows, keys and late records as JSON.
//!
//! | type | JSON |
//! | --- | --- |
//! | `bool`, `i64` | `true`, `false`; all digits, also beyond 2^53 |
//! | `f64` | the shortest number that reads back equal; always with a fraction or an exponent: `1.0`, `1e16`, `-0.0` |
//! | `string` | escaped: quote, backslash and control characters; everything else as UTF-8 |
//! | `bytes` | a string of base64 with padding (RFC 4648, section 4) |
//! | null | `null` |

use std::io::Write;

use crate::{
    column::{Rows, Value},
    json::{base64, scan::plain_len},
    schema::{FieldType, Schema},
    stage::Revision,
    time::{EventTime, Watermark},
};

/// Appends row `row_idx` of `rows` as an object: the fields of `schema` in order, and then `rev` and `final` if it has a revision.
///
/// Panics if `rows` has no such row or fewer columns than `schema`.
pub fn row(schema: &Schema, rows: &Rows, row_idx: usize, revision: Option<Revision>, out: &mut Vec<u8>) {
    let mut before = b'{';
    for (column_idx, field) in schema.fields.iter().enumerate() {
        out.push(before);
        string(field.name.as_bytes(), out);
        out.push(b':');
        value(field.field_type, rows.column(column_idx).at(row_idx), out);
        before = b',';
    }
    if let Some(Revision { rev, is_final }) = revision {
        out.push(before);
        out.extend_from_slice(b"\"rev\":");
        integer(rev.into(), out);
        out.extend_from_slice(if is_final { b",\"final\":true" } else { b",\"final\":false" });
        before = b',';
    }
    if before == b'{' {
        out.push(b'{');
    }
    out.push(b'}');
}

/// The record key of row `row_idx`: the value of the one column of `key` as plain text, or a JSON array of several.
///
/// `None` without key columns, and where the only one is null: a record without a key.
pub fn key(schema: &Schema, rows: &Rows, key: &[usize], row_idx: usize) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    match key {
        [] => return None,
        [column_idx] => match rows.column(*column_idx).at(row_idx) {
            Value::Null => return None,
            Value::Bytes(text) if schema.fields[*column_idx].field_type == FieldType::Text => out.extend_from_slice(text),
            Value::Bytes(bytes) => base64::encode(bytes, &mut out),
            plain @ (Value::Bool(_) | Value::Int(_) | Value::Float(_)) => {
                value(schema.fields[*column_idx].field_type, plain, &mut out)
            }
        },
        columns => {
            for (part_idx, column_idx) in columns.iter().enumerate() {
                out.push(if part_idx == 0 { b'[' } else { b',' });
                value(schema.fields[*column_idx].field_type, rows.column(*column_idx).at(row_idx), &mut out);
            }
            out.push(b']');
        }
    }
    Some(out)
}

/// Appends the value of a late record: the stage, the end of the window it missed (null for a join), the watermark that made it
/// late (ms; [`Watermark::END`] is 9223372036854775807), and the row.
pub fn late(
    stage: &str,
    window_end: Option<EventTime>,
    watermark: Watermark,
    schema: &Schema,
    rows: &Rows,
    row_idx: usize,
    out: &mut Vec<u8>,
) {
    out.extend_from_slice(b"{\"stage\":");
    string(stage.as_bytes(), out);
    out.extend_from_slice(b",\"window_end\":");
    match window_end {
        Some(end) => integer(end.0, out),
        None => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(b",\"watermark\":");
    integer(watermark.0, out);
    out.extend_from_slice(b",\"record\":");
    row(schema, rows, row_idx, None, out);
    out.push(b'}');
}

fn value(field_type: FieldType, value: Value<'_>, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Int(value) => integer(value, out),
        Value::Float(value) => float(value, out),
        Value::Bytes(text) if field_type == FieldType::Text => string(text, out),
        Value::Bytes(bytes) => {
            out.push(b'"');
            base64::encode(bytes, out);
            out.push(b'"');
        }
    }
}

/// By hand: `write!` costs several times as much, and most values are integers.
fn integer(value: i64, out: &mut Vec<u8>) {
    let mut digits = [0_u8; 20];
    let mut first = digits.len();
    let mut rest = value.unsigned_abs();
    loop {
        first -= 1;
        digits[first] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if value < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(&digits[first..]);
}

/// `Debug` and not `Display` of `f64`: it keeps the `.0` and writes `1e300` and not 301 digits. Both read back equal.
fn float(value: f64, out: &mut Vec<u8>) {
    if value.is_finite() {
        write!(out, "{value:?}").expect("a vector takes all bytes");
    } else {
        // JSON has no other word for it; decoders and the check of plugin answers let no such float in.
        out.extend_from_slice(b"null");
    }
}

fn string(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    let mut rest = text;
    loop {
        let at = plain_len(rest);
        out.extend_from_slice(&rest[..at]);
        if at == rest.len() {
            break;
        }
        match rest[at] {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            control => write!(out, "\\u{control:04x}").expect("a vector takes all bytes"),
        }
        rest = &rest[at + 1..];
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{column::RowBuilder, schema::Field};

    fn rows(fields: &[(&str, FieldType)], values: &[&[Value<'_>]]) -> (Schema, Rows) {
        let field = |(name, field_type): &(&str, FieldType)| Field {
            name: (*name).into(),
            path: (*name).into(),
            field_type: *field_type,
            required: false,
        };
        let mut builder = RowBuilder::new(fields.iter().map(|(_, field_type)| field_type.kind()));
        values.iter().for_each(|row| builder.push(row.iter().copied()));
        (Schema { fields: fields.iter().map(field).collect() }, builder.finish())
    }

    fn check(field_type: FieldType, value: Value<'_>, json: &str, plain_key: Option<&str>) {
        let (schema, rows) = rows(&[("a", field_type), ("b", field_type)], &[&[value, Value::Null]]);
        let mut out = b"before ".to_vec();
        row(&schema, &rows, 0, None, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), format!("before {{\"a\":{json},\"b\":null}}"));
        let key = |columns: &[usize]| super::key(&schema, &rows, columns, 0).map(|key| String::from_utf8(key).unwrap());
        assert_eq!(key(&[0]).as_deref(), plain_key);
        assert_eq!(key(&[0, 1]), Some(format!("[{json},null]")));
        assert_eq!(key(&[1, 0, 0]), Some(format!("[null,{json},{json}]")));
        assert_eq!(key(&[1]), None);
        assert_eq!(key(&[]), None);
    }

    #[test]
    fn values_and_keys() {
        check(FieldType::Bool, Value::Bool(true), "true", Some("true"));
        check(FieldType::Bool, Value::Bool(false), "false", Some("false"));
        for (value, text) in
            [(0, "0"), (-1, "-1"), (10, "10"), (i64::MAX, "9223372036854775807"), (i64::MIN, "-9223372036854775808")]
        {
            check(FieldType::Int, Value::Int(value), text, Some(text));
        }
        for (value, text) in
            [(1.0, "1.0"), (-0.0, "-0.0"), (0.1, "0.1"), (1e16, "1e16"), (1e-7, "1e-7"), (f64::MAX, "1.7976931348623157e308")]
        {
            check(FieldType::Float, Value::Float(value), text, Some(text));
        }
        check(FieldType::Float, Value::Float(f64::NAN), "null", Some("null"));
        check(FieldType::Bytes, Value::Bytes(b"\x00\xff\""), "\"AP8i\"", Some("AP8i"));
        check(FieldType::Text, Value::Bytes(b""), "\"\"", Some(""));
        check(FieldType::Text, Value::Bytes("é日\u{7f}/".as_bytes()), "\"é日\u{7f}/\"", Some("é日\u{7f}/"));
        check(
            FieldType::Text,
            Value::Bytes(b"a\"b\\c\n\r\t\x00\x1f"),
            r#""a\"b\\c\n\r\t\u0000\u001f""#,
            Some("a\"b\\c\n\r\t\0\u{1f}"),
        );
    }

    #[test]
    fn a_revision_follows_the_fields() {
        let (schema, built) = rows(&[("n \"x\"", FieldType::Int)], &[&[Value::Int(5)], &[Value::Null]]);
        let json = |schema: &Schema, rows: &Rows, row_idx, revision| {
            let mut out = Vec::new();
            row(schema, rows, row_idx, revision, &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(
            json(&schema, &built, 0, Some(Revision { rev: 0, is_final: false })),
            r#"{"n \"x\"":5,"rev":0,"final":false}"#
        );
        assert_eq!(
            json(&schema, &built, 1, Some(Revision { rev: u32::MAX, is_final: true })),
            r#"{"n \"x\"":null,"rev":4294967295,"final":true}"#
        );
        let (none, built) = rows(&[], &[&[]]);
        assert_eq!(json(&none, &built, 0, None), "{}");
        assert_eq!(json(&none, &built, 0, Some(Revision { rev: 1, is_final: true })), r#"{"rev":1,"final":true}"#);
    }

    #[test]
    fn a_late_record_says_what_it_missed() {
        let (schema, built) = rows(&[("id", FieldType::Text)], &[&[Value::Bytes(b"x")], &[Value::Bytes(b"y")]]);
        let mut out = Vec::new();
        late("trending", Some(EventTime(-60_000)), Watermark(30), &schema, &built, 1, &mut out);
        assert_eq!(out, br#"{"stage":"trending","window_end":-60000,"watermark":30,"record":{"id":"y"}}"#);
        out.clear();
        late("a \"join\"", None, Watermark::END, &schema, &built, 0, &mut out);
        assert_eq!(out, br#"{"stage":"a \"join\"","window_end":null,"watermark":9223372036854775807,"record":{"id":"x"}}"#);
    }
}
