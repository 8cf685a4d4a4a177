//! The declared fields of one JSON object per record, as columns.
//!
//! A [`Projector`] is made once for a schema. It checks the UTF-8 of the whole value, walks over it once, keeps what the schema asks
//! for, and checks the syntax of everything else. Keys come in the same order in nearly all records of a topic, so it remembers
//! the order, compares the expected key first, and rarely has to look one up. A row is written only when the whole value is good.
//!
//! | the value | result |
//! | --- | --- |
//! | no bytes | `empty` |
//! | not UTF-8, anywhere | `utf8` |
//! | not one JSON object and whitespace; control character, unknown escape or half of a surrogate pair in a string; 128 levels deep | `json` |
//! | field absent or `null`, or an object on its path is | required: `missing`; optional: null |
//! | `string` | a JSON string, unescaped; anything else: `type` |
//! | `bool` | `true` or `false`; anything else: `type` |
//! | `i64` | digits with an optional minus (`-0` is 0); a fraction or exponent (`1.0`, `1e3`), and what does not fit 64 bits: `type` |
//! | `f64` | any number, the nearest float; one beyond the greatest float: `type` |
//! | `bytes` | a string of base64 with padding (RFC 4648, section 4); anything else: `type` |
//! | path `a.b`, and `a` is neither an object nor null | `type`, also if optional |
//! | the same key twice | the last one counts, whole: of `{"a":{"b":1},"a":{}}` the field `a.b` is absent |
//! | unknown fields | skipped, of any kind, but their syntax is checked |
//!
//! Errors are found in this order: `empty`, `utf8`, `json`, and then the fields in the schema's order. So a value has the same error
//! whatever its key order, and what is wrong in an overwritten duplicate is no error.

use crate::{
    column::RowBuilder,
    json::{
        found::{Found, leaf},
        keys::{Action, Object},
        scan::{Cursor, Fault},
    },
    schema::{Field, Schema},
};

/// Why a value has no row.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("value is empty")]
    Empty,
    #[error("value is not UTF-8 at byte {at}")]
    Utf8 { at: usize },
    #[error("value is not a JSON object at byte {at}: {what}")]
    Json { at: usize, what: &'static str },
    #[error("field \"{field}\" at byte {at} must be {expected}, not {found}")]
    Type { field: String, at: usize, expected: &'static str, found: &'static str },
    #[error("required field \"{field}\" is missing")]
    Missing { field: String },
    #[error("required field \"{field}\" at byte {at} is null")]
    Null { field: String, at: usize },
    /// Of a record that deletes a key of a table.
    #[error("record key is not that of the table: {why}")]
    Key { why: String },
}

impl DecodeError {
    /// The short code for the dead letter's `reel-reason`.
    pub fn code(&self) -> &'static str {
        match self {
            DecodeError::Empty => "empty",
            DecodeError::Utf8 { .. } => "utf8",
            DecodeError::Json { .. } => "json",
            DecodeError::Type { .. } => "type",
            DecodeError::Missing { .. } | DecodeError::Null { .. } => "missing",
            DecodeError::Key { .. } => "key",
        }
    }
}

/// Decodes JSON objects into rows of one schema. Keeps buffers and the order of keys from record to record.
#[derive(Clone, Debug)]
pub struct Projector {
    fields: Vec<Field>,
    /// The root object is the first.
    objects: Vec<Object>,
    /// What the current value holds, one for each field.
    found: Vec<Found>,
    /// The texts and bytes of the current value that do not stand in it as such.
    scratch: Vec<u8>,
}

/// Keeps positions in a value, and in all that is unescaped from it, within 32 bits. Sources refuse values long before.
const VALUE_BYTES_MAX: usize = 256 * 1024 * 1024;

impl Projector {
    /// A projector for `schema`. Dots in a field's path separate the keys of nested objects; keys that hold dots cannot be reached.
    pub fn new(schema: &Schema) -> Projector {
        Projector {
            fields: schema.fields.clone(),
            objects: Object::tree(schema),
            found: vec![Found::Absent; schema.len()],
            scratch: Vec::new(),
        }
    }

    /// An empty builder for rows of the schema.
    pub fn rows(&self) -> RowBuilder {
        RowBuilder::new(self.fields.iter().map(|field| field.field_type.kind()))
    }

    /// Appends the row of `value` to `into`, or nothing. See the module's text for what is an error. O(bytes).
    ///
    /// Panics if `into` has other columns than [`Projector::rows`] gives; never for any `value`.
    pub fn decode(&mut self, value: &[u8], into: &mut RowBuilder) -> Result<(), DecodeError> {
        let text = checked_text(value)?;
        self.found.fill(Found::Absent);
        self.scratch.clear();
        self.document(text).map_err(|Fault { at, what }| DecodeError::Json { at, what })?;
        for (field, found) in self.fields.iter().zip(&self.found) {
            if !found.is_value() {
                may_be_null(field, *found)?;
            }
        }
        into.push(self.found.iter().map(|found| found.value(value, &self.scratch)));
        Ok(())
    }

    fn document(&mut self, text: &str) -> Result<(), Fault> {
        let mut cursor = Cursor::new(text);
        cursor.whitespace();
        if cursor.peek() != b'{' {
            return cursor.fault("expected an object");
        }
        cursor = self.object(cursor, 0, 0)?;
        cursor.whitespace();
        if cursor.at < text.len() { cursor.fault("something after the object") } else { Ok(()) }
    }

    /// The object that starts at `cursor`, inside `depth` others. Returns what comes after it. Recurses as deep as the schema's paths.
    fn object<'a>(&mut self, mut cursor: Cursor<'a>, object_idx: usize, depth: u32) -> Result<Cursor<'a>, Fault> {
        cursor.open(depth)?;
        if cursor.peek() == b'}' {
            cursor.at += 1;
            return Ok(cursor);
        }
        let mut place = 0;
        loop {
            let action = match self.objects[object_idx].expected(cursor, &mut place) {
                Some((len, action)) => {
                    cursor.at += len;
                    action
                }
                None => {
                    let (after, action) = self.objects[object_idx].unexpected(cursor, place, &mut self.scratch)?;
                    place += 1;
                    cursor = after;
                    action
                }
            };
            cursor.whitespace();
            match action {
                Action::Skip => cursor.skip(depth + 1)?,
                Action::Field { field_idx, field_type } => {
                    leaf(&mut cursor, field_type, depth + 1, &mut self.scratch, &mut self.found[usize::from(field_idx)])?;
                }
                Action::Member { member_idx } => cursor = self.member(cursor, object_idx, member_idx.into(), depth + 1)?,
            }
            if cursor.peek() != b',' {
                cursor.whitespace();
            }
            match cursor.peek() {
                b',' => {
                    cursor.at += 1;
                    cursor.whitespace();
                }
                b'}' => {
                    cursor.at += 1;
                    return Ok(cursor);
                }
                _ => return cursor.fault("expected a comma or the end of the object"),
            }
        }
    }

    /// The value of a member that somebody wants. Returns what comes after it.
    fn member<'a>(&mut self, begin: Cursor<'a>, object_idx: usize, member_idx: usize, depth: u32) -> Result<Cursor<'a>, Fault> {
        let Projector { objects, found, scratch, .. } = self;
        let member = &objects[object_idx].members[member_idx];
        let mut cursor = begin;
        for (field_idx, field_type) in &member.fields {
            cursor = begin;
            leaf(&mut cursor, *field_type, depth, scratch, &mut found[usize::from(*field_idx)])?;
        }
        let Some(child_idx) = member.object else { return Ok(cursor) };
        // A duplicate replaces all of the one before.
        let instead = Found::instead_of_object(begin);
        objects[child_idx].fields.iter().for_each(|field_idx| found[usize::from(*field_idx)] = instead);
        if begin.peek() == b'{' {
            return self.object(begin, child_idx, depth);
        }
        cursor = begin;
        cursor.skip(depth)?;
        Ok(cursor)
    }
}

/// Whether a row may hold null where `found` is not a value of the field's type.
#[cold]
fn may_be_null(field: &Field, found: Found) -> Result<(), DecodeError> {
    let name = || field.name.clone();
    match found {
        Found::Other { at, what } => {
            Err(DecodeError::Type { field: name(), at: at as usize, expected: field.field_type.name(), found: what.name() })
        }
        Found::Absent if field.required => Err(DecodeError::Missing { field: name() }),
        Found::Null { at } if field.required => Err(DecodeError::Null { field: name(), at: at as usize }),
        _ => Ok(()),
    }
}

fn checked_text(value: &[u8]) -> Result<&str, DecodeError> {
    if value.is_empty() {
        return Err(DecodeError::Empty);
    }
    if value.len() > VALUE_BYTES_MAX {
        return Err(DecodeError::Json { at: VALUE_BYTES_MAX, what: "longer than 256 MiB" });
    }
    simdutf8::basic::from_utf8(value).map_err(|_| {
        // The fast check does not say where; the slow one is for dead letters only.
        DecodeError::Utf8 { at: std::str::from_utf8(value).map_or_else(|error| error.valid_up_to(), str::len) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{column::Value, schema::FieldType};

    fn schema(fields: &[(&str, FieldType, bool)]) -> Schema {
        let field = |(path, field_type, required): &(&str, FieldType, bool)| Field {
            name: path.replace('.', "_"),
            path: (*path).to_owned(),
            field_type: *field_type,
            required: *required,
        };
        Schema { fields: fields.iter().map(field).collect() }
    }

    /// Decodes `value` after a good record with another order of keys, and checks that a refused one leaves nothing behind.
    fn decoded(schema: &Schema, value: &[u8]) -> Result<Vec<String>, DecodeError> {
        let mut projector = Projector::new(schema);
        let mut rows = projector.rows();
        let result = projector.decode(value, &mut rows);
        assert_eq!(rows.len(), usize::from(result.is_ok()));
        let mut again = projector.rows();
        assert_eq!(projector.decode(value, &mut again), result, "with the order of keys known");
        let rows = rows.finish();
        assert_eq!(again.finish(), rows);
        assert!(rows.columns().iter().all(|column| column.len() == rows.len()));
        result.map(|()| {
            let text = |value: Value<'_>| match value {
                Value::Null => "null".to_owned(),
                Value::Bool(value) => value.to_string(),
                Value::Int(value) => value.to_string(),
                Value::Float(value) => format!("{value:?}"),
                Value::Bytes(bytes) => format!("{:?}", String::from_utf8_lossy(bytes)),
            };
            rows.columns().iter().map(|column| text(column.at(0))).collect()
        })
    }

    /// `expected`: the value of the optional field `a`, or an error code and a part of its message.
    fn check(field_type: FieldType, value: &str, expected: Result<&str, (&str, &str)>) {
        match (decoded(&schema(&[("a", field_type, false)]), value.as_bytes()), expected) {
            (Ok(values), Ok(expected)) => assert_eq!(values, [expected], "{value}"),
            (Err(error), Err((code, message))) => {
                assert_eq!(error.code(), code, "{value}: {error}");
                assert!(error.to_string().contains(message), "{value}: {error}");
            }
            (result, expected) => panic!("{value}: {result:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn a_field_that_is_absent_or_null() {
        for value in ["{}", r#"{"b":1}"#, r#"{"a":null}"#] {
            check(FieldType::Int, value, Ok("null"));
        }
        let required = schema(&[("a", FieldType::Int, true)]);
        let error = decoded(&required, br#"{"b":1}"#).unwrap_err();
        assert_eq!((error.code(), error.to_string().as_str()), ("missing", "required field \"a\" is missing"));
        let error = decoded(&required, br#"{"a":null}"#).unwrap_err();
        assert_eq!((error.code(), error.to_string().as_str()), ("missing", "required field \"a\" at byte 5 is null"));
    }

    #[test]
    fn integers() {
        for (digits, expected) in [
            ("0", "0"),
            ("-0", "0"),
            ("7", "7"),
            ("12345678", "12345678"),
            ("123456789", "123456789"),
            ("-1767225600000", "-1767225600000"),
            ("123456789012345", "123456789012345"),
            ("1234567890123456", "1234567890123456"),
            ("9223372036854775807", "9223372036854775807"),
            ("-9223372036854775808", "-9223372036854775808"),
        ] {
            check(FieldType::Int, &format!("{{\"a\":{digits}}}"), Ok(expected));
            check(FieldType::Int, &format!("{{\"a\":{digits} , \"b\":[{digits}]}}"), Ok(expected));
        }
        for (other, message) in [
            ("9223372036854775808", "beyond 64 bits"),
            ("-9223372036854775809", "beyond 64 bits"),
            ("123456789012345678901234567890", "beyond 64 bits"),
            ("1.0", "fraction"),
            ("1e3", "exponent"),
            ("12345678.5", "fraction"),
            ("\"1\"", "not a string"),
            ("true", "not a boolean"),
            ("{\"a\":1}", "not an object"),
            ("[1]", "not an array"),
        ] {
            check(FieldType::Int, &format!("{{\"a\":{other}}}"), Err(("type", message)));
        }
        for malformed in
            ["01", "-", "-01", "1.", "+1", ".5", "1e", "1e+", "0x1", "1_000", "12345678901", "--1"].map(|it| format!("{it}x"))
        {
            check(FieldType::Int, &format!("{{\"a\":{malformed}}}"), Err(("json", "at byte")));
        }
        check(FieldType::Int, r#"{"a":007}"#, Err(("json", "leading zero")));
        check(FieldType::Int, r#"{"a":-01}"#, Err(("json", "leading zero")));
    }

    #[test]
    fn floats() {
        for (digits, expected) in [
            ("1", "1.0"),
            ("-0", "-0.0"),
            ("0.1", "0.1"),
            ("1e3", "1000.0"),
            ("1E-2", "0.01"),
            ("9007199254740993", "9007199254740992.0"),
            ("1.7976931348623157e308", "1.7976931348623157e308"),
            ("5e-324", "5e-324"),
            ("1e-400", "0.0"),
        ] {
            check(FieldType::Float, &format!("{{\"a\":{digits}}}"), Ok(expected));
        }
        check(FieldType::Float, r#"{"a":1e309}"#, Err(("type", "greatest float")));
        check(FieldType::Float, r#"{"a":-1e999}"#, Err(("type", "greatest float")));
        check(FieldType::Float, r#"{"a":"1.5"}"#, Err(("type", "f64, not a string")));
        check(FieldType::Float, r#"{"a":NaN}"#, Err(("json", "expected a value")));
    }

    #[test]
    fn strings_and_bools_and_bytes() {
        for (text, expected) in [
            (r#""""#, r#""""#),
            (r#""tv""#, r#""tv""#),
            (r#""with \"quotes\" and \\ and \/""#, r#""with \"quotes\" and \\ and /""#),
            (r#""\b\f\n\r\t""#, "\"\\u{8}\\u{c}\\n\\r\\t\""),
            (r#""caf\u00e9 \u65E5\u672c \ud83d\ude00!""#, "\"café 日本 😀!\""),
            ("\"café 日本 😀 \u{7f}\"", "\"café 日本 😀 \\u{7f}\""),
            (r#""\u0000""#, r#""\0""#),
        ] {
            check(FieldType::Text, &format!("{{\"a\":{text}}}"), Ok(expected));
        }
        check(FieldType::Text, r#"{"a":5}"#, Err(("type", "field \"a\" at byte 5 must be string, not a number")));
        check(FieldType::Bool, r#"{"a":true}"#, Ok("true"));
        check(FieldType::Bool, r#"{"a":false}"#, Ok("false"));
        check(FieldType::Bool, r#"{"a":"true"}"#, Err(("type", "bool, not a string")));
        check(FieldType::Bool, r#"{"a":1}"#, Err(("type", "bool, not a number")));
        check(FieldType::Bytes, r#"{"a":"Zm9vYg=="}"#, Ok("\"foob\""));
        check(FieldType::Bytes, r#"{"a":"Zm9\u0076Yg=="}"#, Ok("\"foob\""));
        check(FieldType::Bytes, r#"{"a":"Zm9vYg"}"#, Err(("type", "at byte 5 must be bytes, not a string that is not base64")));
    }

    #[test]
    fn strings_that_are_not_json_wherever_they_stand() {
        for text in [
            r#""\ud800""#,
            r#""\udc00""#,
            r#""\ud83d\u0041""#,
            r#""\ud83d \ude00""#,
            r#""\ud83d\ud83d""#,
            r#""\x41""#,
            r#""\u12""#,
            r#""\u12g4""#,
            "\"tab\there\"",
            "\"a long string with a line break \n in it\"",
            "\"zero\0\"",
            "\"open",
            "\"open\\",
            "'single'",
        ] {
            for value in [
                format!("{{\"a\":{text}}}"),
                format!("{{\"b\":[{text}]}}"),
                format!("{{{text}:1}}"),
                format!("{{\"b\":{{{text}:1}}}}"),
            ] {
                check(FieldType::Text, &value, Err(("json", "at byte")));
            }
        }
    }

    #[test]
    fn values_that_are_not_one_object() {
        for value in [
            " ",
            "[]",
            "1",
            "null",
            "\"a\"",
            "{",
            "}",
            "{\"a\"",
            "{\"a\":",
            "{\"a\":1",
            "{\"a\":1,",
            "{\"a\":1,}",
            "{,}",
            "{\"a\" 1}",
            "{\"a\":}",
            "{a:1}",
            "{\"a\":1 \"b\":2}",
            "{\"a\":1}}",
            "{\"a\":1}{",
            "{\"a\":1} x",
            "{\"a\":1}\0",
            "\u{feff}{}",
            "{\"b\":[1,]}",
            "{\"b\":[,1]}",
            "{\"b\":[1}",
            "{\"b\":{\"c\":1]}",
            "{\"b\":{1:2}}",
            "{\"b\":{\"c\"}}",
            "{\"b\":tru}",
            "{\"b\":nul",
            "{\"b\":truex}",
            "{\"b\":[1 2]}",
            "{//\n}",
            "{\"b\":undefined}",
        ] {
            check(FieldType::Int, value, Err(("json", "value is not a JSON object at byte")));
        }
        check(FieldType::Int, "", Err(("empty", "value is empty")));
        check(FieldType::Int, " \t\r\n{ \"a\" : 1 , \"b\" : [ ] , \"c\" : { } } \n", Ok("1"));
    }

    #[test]
    fn every_truncation_is_refused() {
        let value = br#"{"v":1,"a":-12.5e3,"b":"x\u00e9\n","c":{"d":[true,false,null,{}]},"e":"caf"}"#;
        for end in 1..value.len() {
            let error =
                decoded(&schema(&[("a", FieldType::Float, false), ("b", FieldType::Text, false)]), &value[..end]).unwrap_err();
            assert_eq!(error.code(), "json", "{end}");
        }
    }

    #[test]
    fn bad_utf8_anywhere() {
        for value in [&b"{\"a\":\"\xff\"}"[..], b"{\"b\":[\"\xc3\"]}", b"{\"\xed\xa0\x80\":1}", b"{\"a\":\"ok\"}\x80", b"\xff"] {
            let error = decoded(&schema(&[("a", FieldType::Text, false)]), value).unwrap_err();
            let at = value.iter().position(|byte| *byte >= 0x80).unwrap();
            assert_eq!(error, DecodeError::Utf8 { at });
        }
    }

    #[test]
    fn nesting_is_bounded() {
        for (n_open, accepted) in [(126, true), (127, false), (100_000, false)] {
            for (open, close) in [("[", "]"), ("{\"b\":", "}")] {
                let inner = if open == "[" { "" } else { "1" };
                let value = format!("{{\"b\":{}{inner}{},\"a\":1}}", open.repeat(n_open), close.repeat(n_open));
                let expected = if accepted { Ok("1") } else { Err(("json", "too deeply")) };
                check(FieldType::Int, &value, expected);
            }
        }
    }

    #[test]
    fn the_last_of_duplicate_keys_counts() {
        check(FieldType::Int, r#"{"a":1,"a":2}"#, Ok("2"));
        check(FieldType::Int, r#"{"a":"wrong","a":2}"#, Ok("2"));
        check(FieldType::Int, r#"{"a":2,"a":null}"#, Ok("null"));
        check(FieldType::Int, r#"{"a":2,"\u0061":3}"#, Ok("3"));
        check(FieldType::Int, r#"{"a":2,"a":"wrong"}"#, Err(("type", "at byte 11")));
        check(FieldType::Text, r#"{"a":"\n","a":"\t"}"#, Ok(r#""\t""#));
        let nested = schema(&[("a.b", FieldType::Int, false), ("a.c", FieldType::Int, false)]);
        assert_eq!(decoded(&nested, br#"{"a":{"b":1,"c":2},"a":{"c":3}}"#).unwrap(), ["null", "3"]);
        assert_eq!(decoded(&nested, br#"{"a":7,"a":{"b":1}}"#).unwrap(), ["1", "null"]);
    }

    #[test]
    fn paths_lead_into_objects() {
        let nested = schema(&[
            ("id", FieldType::Text, true),
            ("a.b", FieldType::Int, false),
            ("a.c.d", FieldType::Text, false),
            ("a.c.e", FieldType::Bool, false),
        ]);
        let value = br#"{"a":{"x":{"b":9},"c":{"e":true,"d":"deep"},"b":1},"b":5,"id":"i"}"#;
        assert_eq!(decoded(&nested, value).unwrap(), ["\"i\"", "1", "\"deep\"", "true"]);
        assert_eq!(decoded(&nested, br#"{"id":"i","a":null}"#).unwrap(), ["\"i\"", "null", "null", "null"]);
        assert_eq!(decoded(&nested, br#"{"id":"i","a":{"b":3,"c":{}}}"#).unwrap(), ["\"i\"", "3", "null", "null"]);
        let error = decoded(&nested, br#"{"id":"i","a":[]}"#).unwrap_err();
        assert_eq!(error.to_string(), "field \"a_b\" at byte 14 must be i64, not an array");
        let required = schema(&[("a.b", FieldType::Int, true)]);
        assert_eq!(decoded(&required, br#"{"a":null}"#).unwrap_err().code(), "missing");
        assert_eq!(decoded(&required, br#"{"a":{}}"#).unwrap_err().code(), "missing");
        assert_eq!(decoded(&required, b"{}").unwrap_err().code(), "missing");
    }

    #[test]
    fn one_path_as_two_fields() {
        let twice = schema(&[("a", FieldType::Int, true), ("a", FieldType::Float, true), ("a", FieldType::Int, false)]);
        assert_eq!(decoded(&twice, br#"{"a":5,"b":1}"#).unwrap(), ["5", "5.0", "5"]);
        let both = schema(&[("a", FieldType::Int, false), ("a.b", FieldType::Int, false)]);
        assert_eq!(decoded(&both, br#"{"a":null}"#).unwrap(), ["null", "null"]);
        assert_eq!(decoded(&both, br#"{"a":{"b":1}}"#).unwrap_err().code(), "type");
        assert_eq!(decoded(&both, br#"{"a":1}"#).unwrap_err().code(), "type");
    }

    /// The order of keys is a guess: whatever came before, the answer is the same.
    #[test]
    fn the_order_of_keys_changes_nothing() {
        let fields = schema(&[
            ("a", FieldType::Int, true),
            ("a_key_longer_than_sixteen", FieldType::Int, false),
            ("b", FieldType::Int, false),
        ]);
        let long = "x".repeat(60);
        let mut projector = Projector::new(&fields);
        let mut rows = projector.rows();
        for n in 0..400_i64 {
            let mut members = [
                format!("\"a\":{n}"),
                format!("\"a_key_longer_than_sixteen\":{}", n + 1),
                format!("\"a_key_longer_than_twenty\":{}", n + 2),
                format!("\"b\" : {}", n + 3),
                format!("\"{long}\":[]"),
                format!("\"unknown{}\":{{}}", n % 90),
            ];
            let len = members.len() as i64;
            members.rotate_left((n % len) as usize);
            members.swap(0, (n / len % len) as usize);
            projector.decode(format!("{{{}}}", members.join(",")).as_bytes(), &mut rows).unwrap();
        }
        let rows = rows.finish();
        for n in 0..400 {
            let row = [0, 1, 2].map(|column_idx| rows.column(column_idx).at(n as usize));
            assert_eq!(row, [Value::Int(n), Value::Int(n + 1), Value::Int(n + 3)]);
        }
    }

    #[test]
    fn a_builder_starts_anew_after_its_rows_are_taken() {
        let mut projector = Projector::new(&schema(&[("a", FieldType::Text, false)]));
        let mut rows = projector.rows();
        projector.decode(br#"{"a":"one"}"#, &mut rows).unwrap();
        projector.decode(b"{}", &mut rows).unwrap();
        projector.decode(b"{", &mut rows).unwrap_err();
        let first = rows.finish();
        assert_eq!((first.len(), first.column(0).at(0), first.column(0).at(1)), (2, Value::Bytes(b"one"), Value::Null));
        projector.decode(br#"{"a":"two"}"#, &mut rows).unwrap();
        let second = rows.finish();
        assert_eq!((second.len(), second.column(0).at(0)), (1, Value::Bytes(b"two")));
        assert!(rows.is_empty());
    }
}
