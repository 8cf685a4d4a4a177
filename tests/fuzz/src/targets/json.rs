//! The JSON scanner against `serde_json`: the same values are JSON, and the same fields are in them.

use reelflow_core::{
    column::{RowBuilder, Rows, Value},
    json::decode::Projector,
    schema::{Field, FieldType, Schema},
};

/// Whether both take it for an object that has what is read. Panics where they differ.
pub fn run(bytes: &[u8]) -> bool {
    let mut is_read = false;
    for required in [false, true] {
        let schema = schema(required);
        let mut projector = Projector::new(&schema);
        let mut rows = projector.rows();
        is_read |= check(&mut projector, &mut rows, &schema, bytes);
    }
    is_read
}

/// Fields that generated documents often have, of any type, at any depth.
fn schema(required: bool) -> Schema {
    let fields = [
        ("a", FieldType::Int),
        ("b", FieldType::Text),
        ("c", FieldType::Float),
        ("d", FieldType::Bool),
        ("e.a", FieldType::Int),
        ("e.é\"", FieldType::Text),
        ("e.e.c", FieldType::Float),
    ];
    let field = |(path, field_type): (&str, FieldType)| Field { name: path.into(), path: path.into(), field_type, required };
    Schema { fields: fields.map(field).into() }
}

enum Judgement {
    NotAnObject,
    Object(serde_json::Value),
    /// A number is too great for `serde_json`, which refuses it even where nobody reads it. No other error was found, but what it
    /// skips it does not check for lone surrogates and the like.
    HugeNumber,
}

fn judge(bytes: &[u8]) -> Judgement {
    match serde_json::from_slice::<serde_json::Value>(bytes) {
        Ok(value) if value.is_object() => Judgement::Object(value),
        Ok(_) => Judgement::NotAnObject,
        Err(error) if error.to_string().starts_with("number out of range") => {
            match serde_json::from_slice::<serde::de::IgnoredAny>(bytes) {
                Ok(_) => Judgement::HugeNumber,
                Err(_) => Judgement::NotAnObject,
            }
        }
        Err(_) => Judgement::NotAnObject,
    }
}

/// Whether `found`, in our column of `field`, is what `serde_json` sees at the field's path.
fn agrees(field: &Field, document: &serde_json::Value, found: Value<'_>) -> bool {
    let mut seen = document;
    for key in field.path.split('.') {
        match seen.get(key) {
            Some(inner) => seen = inner,
            None => return found == Value::Null,
        }
    }
    match found {
        Value::Null => seen.is_null(),
        Value::Bool(value) => seen.as_bool() == Some(value),
        // `serde_json` reads `-0` as a float.
        Value::Int(0) => seen.as_f64() == Some(0.0),
        Value::Int(value) => seen.as_i64() == Some(value),
        // Without its feature `float_roundtrip`, `serde_json` may be off by a little.
        Value::Float(value) => seen.as_f64().is_some_and(|other| (value - other).abs() <= value.abs() * 1e-15),
        Value::Bytes(text) => seen.as_str().map(str::as_bytes) == Some(text),
    }
}

/// Whether what `serde_json` sees at the field's path has no place in a column of the field's type.
fn misfits(field: &Field, document: &serde_json::Value) -> bool {
    let mut seen = document;
    for key in field.path.split('.') {
        match seen.get(key) {
            Some(inner) => seen = inner,
            None => return !seen.is_object() && !seen.is_null(),
        }
    }
    !seen.is_null()
        && match field.field_type {
            FieldType::Bool => !seen.is_boolean(),
            FieldType::Int => !seen.is_i64(),
            FieldType::Float => !seen.is_number(),
            FieldType::Text => !seen.is_string(),
            FieldType::Bytes => unreachable!("the schema has no such field"),
        }
}

fn check(projector: &mut Projector, rows: &mut RowBuilder, schema: &Schema, bytes: &[u8]) -> bool {
    let shown = String::from_utf8_lossy(bytes);
    let n_before = rows.len();
    let result = projector.decode(bytes, rows);
    assert_eq!(rows.len(), n_before + usize::from(result.is_ok()), "{shown}");
    let code = result.as_ref().err().map(|error| error.code());
    let document = match judge(bytes) {
        Judgement::NotAnObject => {
            assert!(matches!(code, Some("json" | "utf8" | "empty")), "{shown}: {result:?}");
            return false;
        }
        Judgement::HugeNumber => return false,
        Judgement::Object(document) => document,
    };
    match code {
        None => {
            let row: Rows = rows.clone().finish();
            for (column_idx, field) in schema.fields.iter().enumerate() {
                let found = row.column(column_idx).at(n_before);
                assert!(agrees(field, &document, found), "{shown}: {} is {found:?}", field.name);
                assert!(found != Value::Null || !field.required, "{shown}: {} is null", field.name);
            }
        }
        Some("type") => assert!(schema.fields.iter().any(|field| misfits(field, &document)), "{shown}: {result:?}"),
        Some("missing") => assert!(schema.fields.iter().any(|field| field.required), "{shown}: {result:?}"),
        Some(_) => panic!("{shown}: {result:?}, but it is an object for serde_json"),
    }
    code.is_none()
}
