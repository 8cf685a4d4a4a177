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
    time::{Watermark, Window},
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

/// Writes rows as the objects that a source would find their fields in: each at its path, in the order of the paths, those of one path
/// once. Made once for a schema.
#[derive(Clone, Debug)]
pub struct RecordWriter {
    /// What stands before a value, its type, and its column.
    parts: Vec<(Vec<u8>, FieldType, usize)>,
    end: Vec<u8>,
}

impl RecordWriter {
    pub fn new(schema: &Schema) -> RecordWriter {
        let mut paths: Vec<(Vec<&str>, usize)> =
            schema.fields.iter().enumerate().map(|(column_idx, field)| (field.path.split('.').collect(), column_idx)).collect();
        paths.sort();
        paths.dedup_by(|one, other| one.0 == other.0);
        let (mut parts, mut open) = (Vec::new(), Vec::new());
        for (path, column_idx) in paths {
            let (leaf, objects) = path.split_last().expect("a path has a part");
            let n_shared = open.iter().zip(objects).take_while(|(one, other)| one == other).count();
            let mut before = vec![b'}'; open.len() - n_shared];
            before.push(if parts.is_empty() { b'{' } else { b',' });
            for object in &objects[n_shared..] {
                string(object.as_bytes(), &mut before);
                before.extend_from_slice(b":{");
            }
            string(leaf.as_bytes(), &mut before);
            before.push(b':');
            parts.push((before, schema.fields[column_idx].field_type, column_idx));
            open = objects.to_vec();
        }
        let end = if parts.is_empty() { b"{}".to_vec() } else { vec![b'}'; open.len() + 1] };
        RecordWriter { parts, end }
    }

    /// Appends row `row_idx` of `rows`. Panics if `rows` has no such row or fewer columns than the schema.
    pub fn write(&self, rows: &Rows, row_idx: usize, out: &mut Vec<u8>) {
        for (before, field_type, column_idx) in &self.parts {
            out.extend_from_slice(before);
            value(*field_type, rows.column(*column_idx).at(row_idx), out);
        }
        out.extend_from_slice(&self.end);
    }
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

/// Appends the value of a late record: the stage, the window it missed (null where it was judged by itself), the watermark that made it
/// late (ms; [`Watermark::END`] is 9223372036854775807), and the row.
pub fn late(
    stage: &str,
    window: Option<Window>,
    watermark: Watermark,
    schema: &Schema,
    rows: &Rows,
    row_idx: usize,
    out: &mut Vec<u8>,
) {
    out.extend_from_slice(b"{\"stage\":");
    string(stage.as_bytes(), out);
    for (name, at) in [("start", window.map(Window::start)), ("end", window.map(Window::end))] {
        out.extend_from_slice(b",\"window_");
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"\":");
        match at {
            Some(at) => integer(at.0, out),
            None => out.extend_from_slice(b"null"),
        }
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
    use crate::{column::RowBuilder, schema::Field, time::EventTime};

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
    fn a_record_has_each_field_at_its_path_and_is_decoded_to_the_same_row() {
        let (schema, built) = rows(
            &[("b.x", FieldType::Int), ("a", FieldType::Text), ("b.c.y", FieldType::Bool), ("b.c.z", FieldType::Bytes)],
            &[&[Value::Int(7), Value::Bytes(b"\""), Value::Bool(true), Value::Bytes(b"\x00")], &[Value::Null; 4]],
        );
        let mut decoder = crate::json::decode::Projector::new(&schema);
        let mut back = decoder.rows();
        for (row_idx, expected) in
            [r#"{"a":"\"","b":{"c":{"y":true,"z":"AA=="},"x":7}}"#, r#"{"a":null,"b":{"c":{"y":null,"z":null},"x":null}}"#]
                .into_iter()
                .enumerate()
        {
            let mut out = Vec::new();
            RecordWriter::new(&schema).write(&built, row_idx, &mut out);
            assert_eq!(String::from_utf8(out.clone()).unwrap(), expected);
            decoder.decode(&out, &mut back).unwrap();
        }
        assert_eq!(back.finish(), built);
        let (twice, built) = rows(&[("x", FieldType::Int), ("x", FieldType::Int)], &[&[Value::Int(1), Value::Int(1)]]);
        let mut out = Vec::new();
        RecordWriter::new(&twice).write(&built, 0, &mut out);
        assert_eq!(out, br#"{"x":1}"#);
        out.clear();
        RecordWriter::new(&Schema::default()).write(&rows(&[], &[&[]]).1, 0, &mut out);
        assert_eq!(out, b"{}");
    }

    #[test]
    fn a_late_record_says_what_it_missed() {
        let (schema, built) = rows(&[("id", FieldType::Text)], &[&[Value::Bytes(b"x")], &[Value::Bytes(b"y")]]);
        let (mut out, window) = (Vec::new(), Window::new(EventTime(-90_000), EventTime(-60_000)));
        late("trending", Some(window), Watermark(30), &schema, &built, 1, &mut out);
        assert_eq!(out, br#"{"stage":"trending","window_start":-90000,"window_end":-60000,"watermark":30,"record":{"id":"y"}}"#);
        out.clear();
        late("a \"join\"", None, Watermark::END, &schema, &built, 0, &mut out);
        assert_eq!(out, br#"{"stage":"a \"join\"","window_start":null,"window_end":null,"watermark":9223372036854775807,"record":{"id":"x"}}"#);
    }
}
