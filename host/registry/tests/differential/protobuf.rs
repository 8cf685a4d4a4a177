//! Protobuf: random messages, random values, written and read by `prost_reflect`.

use std::fmt::Write;

use proptest::prelude::*;
use prost_reflect::{DescriptorPool, DynamicMessage, Kind, MessageDescriptor, ReflectMessage, Value};
use protox::{
    Compiler,
    file::{ChainFileResolver, File, FileResolver, GoogleFileResolver},
};
use reelflow_core::schema::FieldType;

use super::{Dice, Plain, damaged, read};

const SCALARS: [&str; 15] = [
    "int32", "int64", "uint32", "uint64", "sint32", "sint64", "fixed32", "fixed64", "sfixed32", "sfixed64", "float", "double",
    "bool", "string", "bytes",
];

/// The text of a message, with messages inside.
fn any_message(dice: &mut Dice, name: &str, depth: u32, to: &mut String) {
    writeln!(to, "message {name} {{").expect("a string takes everything");
    let mut number = 0;
    let mut next = |dice: &mut Dice| {
        number += 1 + dice.below(20);
        number
    };
    for idx in 0..dice.below(6) {
        let number = next(dice);
        let label = ["", "", "optional ", "repeated "][dice.below(4) as usize];
        let line = match dice.below(if depth == 0 { 17 } else { 21 }) {
            scalar @ 0..15 => format!("  {label}{} m{idx} = {number};", SCALARS[scalar as usize]),
            15 => format!("  {label}Level m{idx} = {number};"),
            16 => format!("  map<string, int64> m{idx} = {number};"),
            17 => format!("  google.protobuf.Timestamp m{idx} = {number};"),
            18 => format!("  google.protobuf.Int64Value m{idx} = {number};"),
            _ => {
                any_message(dice, &format!("{name}{idx}"), depth - 1, to);
                let label = label.replace("optional ", "");
                format!("  {label}{name}{idx} m{idx} = {number};")
            }
        };
        writeln!(to, "{line}").expect("a string takes everything");
    }
    if dice.below(2) == 0 {
        let (one, two) = (next(dice), next(dice));
        writeln!(to, "  oneof choice {{ int64 left = {one}; string right = {two}; }}").expect("a string takes everything");
    }
    writeln!(to, "}}").expect("a string takes everything");
}

struct Only(String);

impl FileResolver for Only {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        if name == "all.proto" { File::from_source(name, &self.0) } else { Err(protox::Error::file_not_found(name)) }
    }
}

pub(super) fn pool(text: &str) -> DescriptorPool {
    let mut files = ChainFileResolver::new();
    files.add(Only(text.to_owned()));
    files.add(GoogleFileResolver::new());
    let mut compiler = Compiler::with_file_resolver(files);
    compiler.include_imports(true);
    compiler.open_file("all.proto").expect("a good file");
    compiler.descriptor_pool()
}

fn any_scalar(dice: &mut Dice, kind: &Kind, depth: u32) -> Value {
    match kind {
        Kind::Double => Value::F64(dice.double()),
        Kind::Float => Value::F32(dice.double() as f32),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Value::I32(dice.long() as i32),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Value::I64(dice.long()),
        Kind::Uint32 | Kind::Fixed32 => Value::U32(dice.long() as u32),
        // Beyond i64 is refused: a test of its own.
        Kind::Uint64 | Kind::Fixed64 => Value::U64(dice.next() >> (1 + dice.below(62))),
        Kind::Bool => Value::Bool(dice.below(2) == 0),
        Kind::String => Value::String(dice.text()),
        Kind::Bytes => Value::Bytes(dice.bytes().into()),
        Kind::Enum(_) => Value::EnumNumber([0, 5, -7][dice.below(3) as usize]),
        Kind::Message(message) => Value::Message(any_value(dice, message, depth + 1)),
    }
}

fn any_value(dice: &mut Dice, of: &MessageDescriptor, depth: u32) -> DynamicMessage {
    let mut message = DynamicMessage::new(of.clone());
    if of.full_name() == "google.protobuf.Timestamp" {
        message.set_field_by_name("seconds", Value::I64(dice.long() >> 20));
        message.set_field_by_name("nanos", Value::I32(dice.below(1_000_000_000) as i32));
        return message;
    }
    for field in of.fields() {
        if dice.below(4) == 0 {
            continue;
        }
        let value = if field.is_map() {
            Value::Map([(prost_reflect::MapKey::String(dice.text()), Value::I64(dice.long()))].into())
        } else if field.is_list() {
            Value::List((0..dice.below(3)).map(|_| any_scalar(dice, &field.kind(), depth)).collect())
        } else {
            any_scalar(dice, &field.kind(), depth)
        };
        message.set_field(&field, value);
    }
    message
}

fn paths(of: &MessageDescriptor, path: &str, to: &mut Vec<(String, FieldType)>) {
    for field in of.fields().filter(|field| !field.is_list() && !field.is_map()) {
        let path = if path.is_empty() { field.name().to_owned() } else { format!("{path}.{}", field.name()) };
        let field_type = match field.kind() {
            Kind::Double | Kind::Float => FieldType::Float,
            Kind::Bool => FieldType::Bool,
            Kind::String | Kind::Enum(_) => FieldType::Text,
            Kind::Bytes => FieldType::Bytes,
            Kind::Message(message) if !message.full_name().starts_with("google.") => {
                paths(&message, &path, to);
                continue;
            }
            // Numbers, points in time, and wrapped numbers.
            _ => FieldType::Int,
        };
        to.push((path, field_type));
    }
}

/// What the library's message holds at `path`; `None` if we would refuse it.
pub(super) fn at(message: &DynamicMessage, path: &[&str]) -> Option<Plain> {
    let [name, rest @ ..] = path else { unreachable!("a message is no field") };
    let field = message.descriptor().get_field_by_name(name).expect("the path is of this schema");
    if field.supports_presence() && !message.has_field(&field) {
        return Some(Plain::Null);
    }
    Some(match &*message.get_field(&field) {
        Value::Bool(value) => Plain::Bool(*value),
        Value::I32(value) => Plain::Int((*value).into()),
        Value::I64(value) => Plain::Int(*value),
        Value::U32(value) => Plain::Int((*value).into()),
        Value::U64(value) => Plain::Int(i64::try_from(*value).ok()?),
        Value::F32(value) => Plain::Float(f64::from(*value).to_bits()),
        Value::F64(value) => Plain::Float(value.to_bits()),
        Value::String(text) => Plain::Bytes(text.clone().into_bytes()),
        Value::Bytes(bytes) => Plain::Bytes(bytes.to_vec()),
        Value::EnumNumber(number) => {
            let Kind::Enum(of) = field.kind() else { unreachable!("an enum's number is of an enum") };
            Plain::Bytes(of.get_value(*number)?.name().as_bytes().to_vec())
        }
        Value::Message(inner) => match inner.descriptor().full_name() {
            "google.protobuf.Timestamp" => {
                let part = |name: &str| match &*inner.get_field_by_name(name).expect("a part of a timestamp") {
                    Value::I64(value) => *value,
                    Value::I32(value) => i64::from(*value),
                    other => panic!("{other:?}"),
                };
                Plain::Int(part("seconds").saturating_mul(1000).saturating_add(part("nanos").div_euclid(1_000_000)))
            }
            "google.protobuf.Int64Value" => at(inner, &["value"])?,
            _ => at(inner, rest)?,
        },
        other => panic!("{other:?} at {path:?}"),
    })
}

fn row(message: &DynamicMessage, paths: &[(String, FieldType)]) -> Option<Vec<Plain>> {
    let row: Vec<Plain> =
        paths.iter().map(|(path, _)| at(message, &path.split('.').collect::<Vec<_>>())).collect::<Option<_>>()?;
    let is_finite = |plain: &Plain| !matches!(plain, Plain::Float(bits) if !f64::from_bits(*bits).is_finite());
    row.iter().all(is_finite).then_some(row)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn protobuf_is_read_as_the_library_reads_it(seed in any::<u64>()) {
        let dice = &mut Dice(seed);
        let mut text = "syntax = \"proto3\";\nimport \"google/protobuf/timestamp.proto\";\nimport \"google/protobuf/wrappers.proto\";\nenum Level { NONE = 0; FIVE = 5; LESS = -7; }\n".to_owned();
        any_message(dice, "Root", 2, &mut text);
        let root = pool(&text).get_message_by_name("Root").expect("it is in the file");
        let ours = reelflow_registry::protobuf::parse_message(&text, "Root").expect("a good file");
        let mut all = Vec::new();
        paths(&root, "", &mut all);
        all.retain(|_| dice.below(3) > 0);
        all.sort_by_key(|_| dice.next());
        for _ in 0..4 {
            let value = any_value(dice, &root, 0);
            let bytes = prost_reflect::prost::Message::encode_to_vec(&value);
            let expected = row(&value, &all).expect("nothing in it is refused");
            prop_assert_eq!(read(&ours, &all, &bytes), Ok(expected), "{}{:?}", text, bytes);

            // Fields that come twice: the last value counts, and messages are merged.
            let mut twice = bytes.clone();
            twice.extend(prost_reflect::prost::Message::encode_to_vec(&any_value(dice, &root, 0)));
            // The library takes a map's entry for one whatever its wire type says, so a damaged one may be read there and not here.
            let damaged = Some(damaged(&bytes, dice)).filter(|_| !text.contains("map<"));
            for bytes in damaged.into_iter().chain([twice]) {
                match (DynamicMessage::decode(root.clone(), &bytes[..]), read(&ours, &all, &bytes)) {
                    (Ok(back), found) => match row(&back, &all) {
                        Some(expected) => prop_assert_eq!(found, Ok(expected), "{}{:?}", text, bytes),
                        None => prop_assert_eq!(found, Err("type"), "{}{:?}", text, bytes),
                    },
                    // The library also refuses what nobody asked for and we do not look at.
                    (Err(_), _) => {}
                }
            }
        }
    }
}
