//! Avro: random schemas, random values, written and read by `apache_avro`.

use apache_avro::{Schema, reader::datum::GenericDatumReader, types::Value, writer::datum::GenericDatumWriter};
use proptest::prelude::*;
use reelflow_core::schema::FieldType;
use serde_json::{Value as Json, json};

use super::{Dice, Plain, damaged, read};

/// A type, and what its values look like.
enum Type {
    Boolean,
    Int,
    Long,
    Micros,
    Millis,
    Float,
    Double,
    Bytes,
    Text,
    Fixed(usize, String),
    Enum(String),
    Array(Box<Type>),
    Map(Box<Type>),
    /// Null before or behind it.
    Maybe(bool, Box<Type>),
    Record(String, Vec<Type>),
}

const SYMBOLS: [&str; 3] = ["LIVE", "LATER", "NEVER"];

fn any_type(dice: &mut Dice, depth: u32, n_names: &mut u32) -> Type {
    let mut name = |of: &str| {
        *n_names += 1;
        format!("{of}{n_names}")
    };
    match dice.below(if depth == 0 { 11 } else { 17 }) {
        0 => Type::Boolean,
        1 => Type::Int,
        2 => Type::Long,
        3 => Type::Micros,
        4 => Type::Millis,
        5 => Type::Float,
        6 => Type::Double,
        7 => Type::Bytes,
        8 => Type::Text,
        9 => Type::Fixed(dice.below(4) as usize + 1, name("Fixed")),
        10 => Type::Enum(name("Enum")),
        11 => Type::Array(any_type(dice, depth - 1, n_names).into()),
        12 => Type::Map(any_type(dice, depth - 1, n_names).into()),
        13 | 14 => loop {
            let inner = any_type(dice, depth - 1, n_names);
            // A union stands not directly in a union.
            if !matches!(inner, Type::Maybe(..)) {
                break Type::Maybe(dice.below(2) == 0, inner.into());
            }
        },
        _ => any_record(dice, depth - 1, n_names),
    }
}

fn any_record(dice: &mut Dice, depth: u32, n_names: &mut u32) -> Type {
    *n_names += 1;
    let name = format!("Record{n_names}");
    Type::Record(name, (0..dice.below(5)).map(|_| any_type(dice, depth, n_names)).collect())
}

fn text_of(one: &Type) -> Json {
    match one {
        Type::Boolean => json!("boolean"),
        Type::Int => json!("int"),
        Type::Long => json!("long"),
        Type::Micros => json!({ "type": "long", "logicalType": "timestamp-micros" }),
        Type::Millis => json!({ "type": "long", "logicalType": "timestamp-millis" }),
        Type::Float => json!("float"),
        Type::Double => json!("double"),
        Type::Bytes => json!("bytes"),
        Type::Text => json!("string"),
        Type::Fixed(size, name) => json!({ "type": "fixed", "name": name, "size": size }),
        Type::Enum(name) => json!({ "type": "enum", "name": name, "symbols": SYMBOLS }),
        Type::Array(items) => json!({ "type": "array", "items": text_of(items) }),
        Type::Map(values) => json!({ "type": "map", "values": text_of(values) }),
        Type::Maybe(true, inner) => json!(["null", text_of(inner)]),
        Type::Maybe(false, inner) => json!([text_of(inner), "null"]),
        Type::Record(name, fields) => {
            let fields =
                fields.iter().enumerate().map(|(idx, field)| json!({ "name": format!("m{idx}"), "type": text_of(field) }));
            json!({ "type": "record", "name": name, "fields": fields.collect::<Vec<_>>() })
        }
    }
}

fn any_value(dice: &mut Dice, of: &Type) -> Value {
    match of {
        Type::Boolean => Value::Boolean(dice.below(2) == 0),
        Type::Int => Value::Int(dice.long() as i32),
        Type::Long => Value::Long(dice.long()),
        Type::Micros => Value::TimestampMicros(dice.long()),
        Type::Millis => Value::TimestampMillis(dice.long()),
        Type::Float => Value::Float(dice.double() as f32),
        Type::Double => Value::Double(dice.double()),
        Type::Bytes => Value::Bytes(dice.bytes()),
        Type::Text => Value::String(dice.text()),
        Type::Fixed(size, _) => Value::Fixed(*size, (0..*size).map(|_| dice.next() as u8).collect()),
        Type::Enum(_) => {
            let at = dice.below(3) as usize;
            Value::Enum(at as u32, SYMBOLS[at].to_owned())
        }
        Type::Array(items) => Value::Array((0..dice.below(3)).map(|_| any_value(dice, items)).collect()),
        Type::Map(values) => Value::Map((0..dice.below(3)).map(|key| (format!("k{key}"), any_value(dice, values))).collect()),
        Type::Maybe(null_first, inner) => {
            let (null, some) = if *null_first { (0, 1) } else { (1, 0) };
            match dice.below(3) {
                0 => Value::Union(null, Value::Null.into()),
                _ => Value::Union(some, any_value(dice, inner).into()),
            }
        }
        Type::Record(_, fields) => {
            Value::Record(fields.iter().enumerate().map(|(idx, field)| (format!("m{idx}"), any_value(dice, field))).collect())
        }
    }
}

/// The paths to all scalars outside of lists, each with the type that holds it.
fn paths(of: &Type, path: &str, to: &mut Vec<(String, FieldType)>) {
    let field_type = match of {
        Type::Boolean => FieldType::Bool,
        Type::Int | Type::Long | Type::Micros | Type::Millis => FieldType::Int,
        Type::Float | Type::Double => FieldType::Float,
        Type::Bytes | Type::Fixed(..) => FieldType::Bytes,
        Type::Text | Type::Enum(_) => FieldType::Text,
        Type::Array(_) | Type::Map(_) => return,
        Type::Maybe(_, inner) => return paths(inner, path, to),
        Type::Record(_, fields) => {
            for (idx, field) in fields.iter().enumerate() {
                let inner = if path.is_empty() { format!("m{idx}") } else { format!("{path}.m{idx}") };
                paths(field, &inner, to);
            }
            return;
        }
    };
    to.push((path.to_owned(), field_type));
}

/// What the library's value holds at `path`.
pub(super) fn at(value: &Value, path: &[&str]) -> Plain {
    match (value, path) {
        (Value::Union(_, inner), _) => at(inner, path),
        (Value::Record(fields), [name, rest @ ..]) => {
            at(&fields.iter().find(|(of, _)| of == name).expect("the path is of this schema").1, rest)
        }
        (Value::Boolean(value), []) => Plain::Bool(*value),
        (Value::Int(value), []) => Plain::Int((*value).into()),
        (Value::Long(value) | Value::TimestampMillis(value), []) => Plain::Int(*value),
        (Value::TimestampMicros(value), []) => Plain::Int(value.div_euclid(1000)),
        (Value::Float(value), []) => Plain::Float(f64::from(*value).to_bits()),
        (Value::Double(value), []) => Plain::Float(value.to_bits()),
        (Value::Bytes(bytes) | Value::Fixed(_, bytes), []) => Plain::Bytes(bytes.clone()),
        (Value::String(text) | Value::Enum(_, text), []) => Plain::Bytes(text.clone().into_bytes()),
        (Value::Null, _) => Plain::Null,
        (other, path) => panic!("{other:?} at {path:?}"),
    }
}

fn row(value: &Value, paths: &[(String, FieldType)]) -> Vec<Plain> {
    paths.iter().map(|(path, _)| at(value, &path.split('.').collect::<Vec<_>>())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn avro_is_read_as_the_library_reads_it(seed in any::<u64>()) {
        let dice = &mut Dice(seed);
        let of = any_record(dice, 3, &mut 0);
        let text = text_of(&of).to_string();
        let library = Schema::parse_str(&text).expect("a good schema");
        let ours = reelflow_registry::avro::parse(&text, &[]).expect("a good schema");
        let reader = GenericDatumReader::builder(&library).build().expect("a good schema");
        let writer = GenericDatumWriter::builder(&library).build().expect("a good schema");
        let mut all = Vec::new();
        paths(&of, "", &mut all);
        // Some of the fields, in another order than they are written.
        all.retain(|_| dice.below(3) > 0);
        all.sort_by_key(|_| dice.next());
        for _ in 0..4 {
            let value = any_value(dice, &of);
            let bytes = writer.write_value_to_vec(value).expect("a value of its schema");
            let back = reader.read_value(&mut &bytes[..]).expect("what was just written");
            prop_assert_eq!(read(&ours, &all, &bytes), Ok(row(&back, &all)), "{}", text);

            let bytes = damaged(&bytes, dice);
            let mut rest = &bytes[..];
            let back = reader.read_value(&mut rest);
            match (back, read(&ours, &all, &bytes)) {
                (Ok(back), Ok(found)) if rest.is_empty() => prop_assert_eq!(found, row(&back, &all), "{} {:?}", text, bytes),
                // Not finite is no number for us.
                (Ok(_), Err("type")) if rest.is_empty() => {}
                // What ends too early is null for the library.
                (Ok(back), Err(code)) if rest.is_empty() => {
                    prop_assert_eq!(code, "avro", "{} {:?}", text, bytes);
                    prop_assert_ne!(writer.write_value_to_vec(back).ok(), Some(bytes), "{}", text);
                }
                (Ok(_), found) => prop_assert_eq!(found, Err("avro"), "{} bytes are left: {} {:?}", rest.len(), text, bytes),
                // The library also refuses what nobody asked for and we do not look at: text that is none.
                (Err(_), _) => {}
            }
        }
    }
}
