//! Avro, byte by byte.

use std::sync::Arc;

use super::{check, fields};
use crate::{
    format::{
        SourceFormat, WriterSchema,
        avro::{self, Type},
        decoder::Decoder,
        unmapped,
    },
    schema::FieldType,
};

/// A record with a field of each type: `all` refers to itself.
pub(super) fn avro_of_all() -> WriterSchema {
    let names = [
        "null", "flag", "int", "long", "micros", "float", "double", "bytes", "text", "fixed", "kind", "list", "map", "maybe",
        "inner",
    ];
    let record = Type::Record {
        name: "All".to_owned(),
        fields: names.iter().enumerate().map(|(place, name)| ((*name).to_owned(), place)).collect(),
    };
    let types = vec![
        Type::Null,
        Type::Boolean,
        Type::Int,
        Type::Long,
        Type::LongPerMs(1000),
        Type::Float,
        Type::Double,
        Type::Bytes,
        Type::String,
        Type::Fixed { name: "Two".to_owned(), len: 2 },
        Type::Enum { name: "Kind".to_owned(), symbols: vec!["live".to_owned(), "later".to_owned()] },
        Type::Array(0),
        Type::Map(3),
        Type::Union(vec![0, 8]),
        Type::Union(vec![0, 15]),
        record,
    ];
    WriterSchema::Avro(avro::Schema::new(types, 15).expect("a whole schema"))
}

fn avro_decoder(of: &[(&str, FieldType, bool)]) -> Decoder {
    Decoder::new(&SourceFormat::Bare(Arc::new(avro_of_all())), &fields(of))
}

/// A value of the record, up to its field `list`.
const HEAD: &[u8] =
    &[1, 0x53, 0x54, 0xc1, 0x3e, 0, 0, 0xc0, 0x3f, 0, 0, 0, 0, 0, 0, 4, 0xc0, 4, 0xff, 0, 6, b'a', 0xc3, 0xa9, b'x', b'y', 2];

pub(super) fn avro_value(tail: &[u8]) -> Vec<u8> {
    [HEAD, tail].concat()
}

pub(super) const REST: &[u8] = &[0, 0, 0, 0];

#[test]
fn avro_of_every_type() {
    let mut decoder = avro_decoder(&[
        ("flag", FieldType::Bool, true),
        ("int", FieldType::Int, true),
        ("long", FieldType::Int, true),
        ("micros", FieldType::Int, true),
        ("float", FieldType::Float, true),
        ("double", FieldType::Float, true),
        ("bytes", FieldType::Bytes, true),
        ("text", FieldType::Text, true),
        ("fixed", FieldType::Bytes, true),
        ("kind", FieldType::Text, true),
        ("maybe", FieldType::Text, false),
        ("null", FieldType::Int, false),
        ("absent", FieldType::Int, false),
        ("inner.kind", FieldType::Text, false),
    ]);
    // micros is -4001 µs: the ms before.
    let row = "true -42 42 -5 1.5 -2.5 \"\u{fffd}\\0\" \"aé\" \"xy\" \"later\" null null null null";
    check(&mut decoder, &avro_value(REST), Ok(row));
    let row = row.replace("\"later\" null null null null", "\"later\" \"z\" null null \"later\"");
    let nested = avro_value(&[&[0, 0, 2, 2, b'z', 2][..], &avro_value(REST)].concat());
    check(&mut decoder, &nested, Ok(&row));
}

#[test]
fn avro_lists_are_skipped_whole() {
    let mut decoder = avro_decoder(&[("maybe", FieldType::Text, true)]);
    // Two blocks of nulls (10¹², then 3 with a size), a map in a block with a size and one without.
    let lists = [0x80, 0xc0, 0x8d, 0xf5, 0xd1, 0x3a, 5, 0, 0, 1, 6, 2, b'k', 2, 2, 2, b'l', 4, 0];
    check(&mut decoder, &avro_value(&[&lists[..], &[2, 2, b'z', 0]].concat()), Ok("\"z\""));
    check(&mut decoder, &avro_value(&[&lists[..], &[0, 0]].concat()), Err(("missing", "required field \"maybe\" is null")));
    // A map of 2⁶² items in no bytes.
    let endless = [0, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
    check(&mut decoder, &avro_value(&endless), Err(("avro", "ends too early")));
}

/// 2⁶⁴ nulls, as 64 records that each hold the next one twice.
#[test]
fn avro_of_nothing_is_skipped_at_once() {
    let of_two = |place: usize| Type::Record {
        name: format!("R{place}"),
        fields: vec![("a".to_owned(), place + 1), ("b".to_owned(), place + 1)],
    };
    let types: Vec<Type> = (0..64).map(of_two).chain([Type::Null]).collect();
    let schema = WriterSchema::Avro(avro::Schema::new(types, 0).expect("a whole schema"));
    let mut decoder = Decoder::new(&SourceFormat::Bare(Arc::new(schema)), &fields(&[("a.b.a", FieldType::Int, false)]));
    check(&mut decoder, &[], Err(("type", "the record \"R3\"")));
}

#[test]
fn avro_that_is_not_of_its_schema() {
    let mut decoder = avro_decoder(&[("long", FieldType::Int, true), ("text", FieldType::Text, false)]);
    let with = |at: usize, byte: u8| {
        let mut value = avro_value(REST);
        value[at] = byte;
        value
    };
    check(&mut decoder, &avro_value(REST), Ok("42 \"aé\""));
    check(&mut decoder, &[], Err(("avro", "byte 0: the value ends too early")));
    check(&mut decoder, &avro_value(&[0, 0, 0]), Err(("avro", "ends too early")));
    check(&mut decoder, &avro_value(&[0, 0, 0, 0, 0]), Err(("avro", "something after the value")));
    check(&mut decoder, &with(0, 2), Err(("avro", "byte 0: a boolean that is neither")));
    check(&mut decoder, &with(20, 5), Err(("avro", "byte 20: a negative length")));
    check(&mut decoder, &with(26, 4), Err(("avro", "byte 26: no such symbol")));
    check(&mut decoder, &with(29, 4), Err(("avro", "no such branch of a union")));
    check(&mut decoder, &with(22, 0xff), Err(("utf8", "field \"text\" is not UTF-8 at byte 22")));
    // Not declared, not looked at.
    check(&mut avro_decoder(&[("long", FieldType::Int, true)]), &with(22, 0xff), Ok("42"));
    let deep = (0..200).fold(avro_value(REST), |inner, _| avro_value(&[&[0, 0, 0, 2][..], &inner].concat()));
    check(&mut decoder, &deep, Err(("avro", "nested too deeply")));
}

#[test]
fn fields_that_no_value_can_have_are_told_before() {
    let asked = fields(&[
        ("flag", FieldType::Int, false),
        ("text", FieldType::Bytes, true),
        ("int", FieldType::Float, true),
        ("list", FieldType::Int, false),
        ("map.key", FieldType::Int, false),
        ("maybe", FieldType::Bool, false),
        ("maybe.more", FieldType::Bool, false),
        ("inner", FieldType::Text, false),
        ("inner.inner.micros", FieldType::Float, true),
        ("gone", FieldType::Int, true),
        ("new", FieldType::Int, false),
        ("double", FieldType::Int, true),
    ]);
    let found: Vec<(usize, Option<String>)> = unmapped(&SourceFormat::Bare(Arc::new(avro_of_all())), &asked)
        .into_iter()
        .map(|one| (one.field_idx, one.found))
        .collect();
    let some = |text: &str| Some(text.to_owned());
    let expected = [
        (0, some("a boolean")),
        (3, some("an array")),
        (4, some("a map")),
        (5, some("a string")),
        (6, some("a string")),
        (7, some("the record \"All\"")),
        (8, some("a long")),
        (9, None),
        (11, some("a double")),
    ];
    assert_eq!(found, expected);
}
