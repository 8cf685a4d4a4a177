//! What each format reads, byte by byte, and what it refuses. Against the libraries of both formats: `host/registry/tests`.

use proptest::prelude::*;

use super::{
    avro::Type,
    protobuf::{Enum, Field as ProtoField, Kind, Message},
    *,
};
use crate::{
    column::Value,
    format::decoder::Decoder,
    record::{Record, RecordBatch},
    schema::{Field, FieldType, Schema},
};

fn fields(fields: &[(&str, FieldType, bool)]) -> Schema {
    let field = |(path, field_type, required): &(&str, FieldType, bool)| Field {
        name: path.replace('.', "_"),
        path: (*path).to_owned(),
        field_type: *field_type,
        required: *required,
    };
    Schema { fields: fields.iter().map(field).collect() }
}

fn record<'a>(key: Option<&'a [u8]>, value: Option<&'a [u8]>) -> Record<'a> {
    Record { offset: 0, timestamp_ms: 0, key, value, headers: &[] }
}

/// The row of `record` in words, or the code and the message of its refusal. What is refused leaves nothing behind.
fn decoded(decoder: &mut Decoder, record: &Record<'_>) -> Result<String, (&'static str, String)> {
    let mut rows = decoder.rows();
    let result = decoder.decode(record, &mut rows);
    assert_eq!(rows.len(), usize::from(result.is_ok()));
    let rows = rows.finish();
    let text = |value: Value<'_>| match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Float(value) => format!("{value:?}"),
        Value::Bytes(bytes) => format!("{:?}", String::from_utf8_lossy(bytes)),
    };
    match result {
        Ok(()) => Ok(rows.columns().iter().map(|column| text(column.at(0))).collect::<Vec<_>>().join(" ")),
        Err(error) => Err((error.code(), error.to_string())),
    }
}

fn check(decoder: &mut Decoder, value: &[u8], expected: Result<&str, (&str, &str)>) {
    match (decoded(decoder, &record(None, Some(value))), expected) {
        (Ok(row), Ok(expected)) => assert_eq!(row, expected, "{value:?}"),
        (Err((code, message)), Err((expected, part))) => {
            assert_eq!(code, expected, "{value:?}: {message}");
            assert!(message.contains(part), "{value:?}: {message}");
        }
        (found, expected) => panic!("{value:?}: {found:?}, expected {expected:?}"),
    }
}

/// A record with a field of each type: `all` refers to itself.
fn avro_of_all() -> WriterSchema {
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

fn avro_value(tail: &[u8]) -> Vec<u8> {
    [HEAD, tail].concat()
}

const REST: &[u8] = &[0, 0, 0, 0];

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

fn proto(name: &str, number: u32, kind: Kind) -> ProtoField {
    ProtoField { name: name.to_owned(), number, kind, is_repeated: false, has_presence: false, oneof: None }
}

/// `All` with a field of many kinds, and inside it `Inner`; a timestamp and a wrapper.
fn proto_of_all() -> WriterSchema {
    let present = |field| ProtoField { has_presence: true, ..field };
    let either = |field| ProtoField { oneof: Some(12), ..present(field) };
    let message = |name: &str, fields: Vec<ProtoField>, nested: Vec<usize>| Message { name: name.to_owned(), fields, nested };
    let all = vec![
        proto("int", 1, Kind::Int32),
        proto("uint", 2, Kind::Uint64),
        proto("sint", 3, Kind::Sint64),
        proto("flag", 4, Kind::Bool),
        proto("float", 5, Kind::Float),
        proto("text", 6, Kind::String),
        proto("kind", 7, Kind::Enum(0)),
        present(proto("maybe", 8, Kind::Int64)),
        ProtoField { is_repeated: true, ..proto("list", 9, Kind::Int64) },
        present(proto("inner", 10, Kind::Message(1))),
        present(proto("at", 11, Kind::Message(2))),
        either(proto("a", 12, Kind::Int64)),
        either(proto("b", 13, Kind::Message(1))),
        either(proto("when", 14, Kind::Message(2))),
        present(proto("wrapped", 15, Kind::Message(3))),
        present(proto("group", 16, Kind::Group(1))),
    ];
    let messages = vec![
        message("p.All", all, vec![1]),
        message("p.All.Inner", vec![proto("n", 1, Kind::Fixed32), proto("text", 2, Kind::String)], vec![]),
        message("google.protobuf.Timestamp", vec![proto("seconds", 1, Kind::Int64), proto("nanos", 2, Kind::Int32)], vec![]),
        message("google.protobuf.Int64Value", vec![proto("value", 1, Kind::Int64)], vec![]),
    ];
    let kinds = Enum { name: "p.Kind".to_owned(), values: vec![(0, "NONE".to_owned()), (-3, "LIVE".to_owned())] };
    WriterSchema::Protobuf(protobuf::Schema::new(messages, vec![kinds], vec![0]).expect("a whole schema"))
}

fn proto_decoder(of: &[(&str, FieldType, bool)]) -> Decoder {
    Decoder::new(&SourceFormat::Bare(Arc::new(proto_of_all())), &fields(of))
}

#[test]
fn protobuf_fields_that_are_not_written_are_zero_or_null() {
    let mut decoder = proto_decoder(&[
        ("int", FieldType::Int, true),
        ("flag", FieldType::Bool, true),
        ("float", FieldType::Float, true),
        ("text", FieldType::Text, true),
        ("kind", FieldType::Text, true),
        ("maybe", FieldType::Int, false),
        ("inner.n", FieldType::Int, false),
        ("at", FieldType::Int, false),
        ("wrapped", FieldType::Int, false),
        ("group.text", FieldType::Text, false),
    ]);
    check(&mut decoder, &[], Ok("0 false 0.0 \"\" \"NONE\" null null null null null"));
    // Empty messages are there.
    let value = [0x52, 0, 0x5a, 0, 0x7a, 0, 0x83, 1, 0x84, 1];
    check(&mut decoder, &value, Ok("0 false 0.0 \"\" \"NONE\" null 0 0 0 \"\""));
    check(&mut proto_decoder(&[("maybe", FieldType::Int, true)]), &[], Err(("missing", "\"maybe\" is missing")));
}

#[test]
fn protobuf_the_last_value_counts_and_messages_are_merged() {
    let mut decoder = proto_decoder(&[
        ("int", FieldType::Int, true),
        ("inner.n", FieldType::Int, false),
        ("inner.text", FieldType::Text, false),
        ("at", FieldType::Int, false),
        ("kind", FieldType::Text, true),
    ]);
    let value = [
        &[8, 1, 8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1][..], // int: 1, then -1
        &[0x52, 5, 0x0d, 7, 0, 0, 0, 0x52, 3, 0x12, 1, b'z'],                    // inner: n = 7; text = "z"
        &[0x5a, 2, 8, 1, 0x5a, 5, 0x10, 0x80, 0x89, 0x7a, 0x18],                 // at: 1 s; then a part of ns, cut below
    ]
    .concat();
    check(&mut decoder, &value, Err(("protobuf", "ends too early")));
    let value = [
        &value[..25],
        &[0x5a, 2, 8, 1, 0x5a, 5, 0x10, 0x80, 0x89, 0xfa, 0, 0x38, 0xfd, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
    ]
    .concat();
    check(&mut decoder, &value, Ok("-1 7 \"z\" 1002 \"LIVE\""));
}

#[test]
fn protobuf_one_of_several_fields() {
    let of = [
        ("a", FieldType::Int, false),
        ("b.n", FieldType::Int, false),
        ("b.text", FieldType::Text, false),
        ("when", FieldType::Int, false),
    ];
    let mut decoder = proto_decoder(&of);
    let (a, b, when) = ([0x60, 5], [0x6a, 3, 0x12, 1, b'z'], [0x72, 2, 8, 1]);
    check(&mut decoder, &a, Ok("5 null null null"));
    check(&mut decoder, &[&a[..], &b].concat(), Ok("null 0 \"z\" null"));
    check(&mut decoder, &[&b[..], &when].concat(), Ok("null null null 1000"));
    check(&mut decoder, &[&when[..], &a].concat(), Ok("5 null null null"));
    // Also by one that nobody asked for.
    check(&mut proto_decoder(&of[..1]), &[&a[..], &when].concat(), Ok("null"));
}

#[test]
fn protobuf_that_is_not_of_its_schema() {
    let mut decoder = proto_decoder(&[
        ("int", FieldType::Int, true),
        ("uint", FieldType::Int, true),
        ("kind", FieldType::Text, true),
        ("list", FieldType::Int, false),
        ("inner.n", FieldType::Int, false),
        ("text", FieldType::Text, true),
    ]);
    check(&mut decoder, &[], Ok("0 0 \"NONE\" null null \"\""));
    // Unknown fields of every kind.
    let unknown = [0xa2, 6, 1, 7, 0xa0, 6, 1, 0xa5, 6, 0, 0, 0, 0, 0xa1, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0xa3, 6, 8, 1, 0xa4, 6];
    check(&mut decoder, &unknown, Ok("0 0 \"NONE\" null null \"\""));
    for (value, says) in [
        (&[8][..], "ends too early"),
        (&[9, 0, 0, 0, 0, 0, 0, 0, 0], "of another kind than in its schema"),
        (&[0], "number 0"),
        (&[0x0f], "no such kind"),
        (&[0xa4, 6], "the end of a group that was not begun"),
        (&[0xa3, 6, 8, 1], "ends too early"),
        (&[0xa3, 6, 0xac, 6], "the end of a group"),
        (&[0x52, 5, 0x0d], "ends too early"),
        (&[0x52, 2, 0x0d, 7, 0, 0, 0], "longer than its message"),
        (&[0x80, 0x80, 0x80, 0x80, 0x80, 1], "too great"),
        (&[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], "beyond 64 bits"),
    ] {
        check(&mut decoder, value, Err(("protobuf", says)));
    }
    let large = [0x10, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
    check(&mut decoder, &large, Err(("type", "field \"uint\" must be i64, not an integer beyond 64 bits")));
    check(&mut decoder, &[0x38, 9], Err(("type", "field \"kind\" must be string, not a number that the enum does not name")));
    check(&mut decoder, &[0x48, 9], Err(("type", "field \"list\" must be i64, not repeated int64")));
    check(&mut decoder, &[0x4a, 1, 9], Err(("type", "not repeated int64")));
    check(&mut decoder, &[0x32, 1, 0xff], Err(("utf8", "field \"text\" is not UTF-8 at byte 2")));
    let groups = [0xa3, 6].repeat(150);
    check(&mut decoder, &groups, Err(("protobuf", "nested too deeply")));
}

#[test]
fn raw_values_and_keys() {
    let of = |field_type, key_needed| fields(&[("value", field_type, true), ("key", FieldType::Text, key_needed)]);
    let mut text = Decoder::new(&SourceFormat::Raw, &of(FieldType::Text, false));
    assert_eq!(decoded(&mut text, &record(None, Some(b"a"))), Ok("\"a\" null".to_owned()));
    assert_eq!(decoded(&mut text, &record(Some(b"k"), Some(b""))), Ok("\"\" \"k\"".to_owned()));
    let code = |decoder: &mut Decoder, key, value| decoded(decoder, &record(key, value)).expect_err("refused").0;
    assert_eq!(code(&mut text, None, None), "empty");
    assert_eq!(code(&mut text, None, Some(b"\xff")), "utf8");
    assert_eq!(code(&mut text, Some(b"\xff"), Some(b"a")), "utf8");
    let mut bytes = Decoder::new(&SourceFormat::Raw, &of(FieldType::Bytes, true));
    assert_eq!(decoded(&mut bytes, &record(Some(b"k"), Some(b"\xff"))), Ok("\"\u{fffd}\" \"k\"".to_owned()));
    assert_eq!(code(&mut bytes, None, Some(b"a")), "missing");
    let asked = fields(&[("value", FieldType::Int, true), ("n", FieldType::Text, false), ("key", FieldType::Bytes, false)]);
    let found = unmapped(&SourceFormat::Raw, &asked);
    assert_eq!(found, [Unmapped { field_idx: 0, found: Some("bytes".to_owned()) }, Unmapped { field_idx: 1, found: None }]);
}

fn batch(values: &[&[u8]]) -> RecordBatch {
    let mut batch = RecordBatch::default();
    values.iter().for_each(|value| batch.push(record(None, Some(value))));
    batch
}

#[test]
fn schemas_of_a_registry_come_from_outside() {
    let mut decoder = Decoder::new(&SourceFormat::Registry(Binary::Protobuf), &fields(&[("n", FieldType::Int, false)]));
    let values: [&[u8]; 5] = [&[0, 0, 0, 0, 7, 0], &[0, 0, 0, 0, 8, 0], &[1, 0, 0, 0, 9], &[0, 0, 0, 1], &[0, 0, 0, 0, 10, 0]];
    let lacks = |decoder: &Decoder| decoder.lacks(&batch(&values)).into_iter().collect::<Vec<_>>();
    assert_eq!(lacks(&decoder), [7, 8, 10]);
    decoder.learn(7, SchemaAnswer::Known(Arc::new(proto_of_all())));
    decoder.learn(8, SchemaAnswer::Unknown);
    decoder.learn(10, SchemaAnswer::Known(Arc::new(avro_of_all())));
    assert_eq!(lacks(&decoder), [8], "what is unknown may become known");
    check(&mut decoder, &[0, 0, 0, 0, 7, 0], Ok("null"));
    check(&mut decoder, &[0, 0, 0, 0, 7, 4, 0, 0, 0x0d, 7, 0, 0, 0], Ok("7"));
    check(&mut decoder, &[0, 0, 0, 0, 7, 2, 2], Err(("framing", "schema 7 has no message at [1]")));
    check(&mut decoder, &[0, 0, 0, 0, 8, 0], Err(("unknown-schema", "the registry has no schema 8")));
    check(&mut decoder, &[0, 0, 0, 0, 10, 0], Err(("unusable-schema", "schema 10 cannot be used: it is one of Avro")));
    check(&mut decoder, &[1, 0, 0, 0, 9], Err(("framing", "its first byte is 1, not 0")));
    assert_eq!(decoded(&mut decoder, &record(None, None)).expect_err("a tombstone").0, "empty");
    decoder.learn(8, SchemaAnswer::Unusable("it is neither".into()));
    check(&mut decoder, &[0, 0, 0, 0, 8, 0], Err(("unusable-schema", "it is neither")));
}

/// I-9: a source that comes by ever new schemas forgets them between batches.
#[test]
fn i_9_schemas_are_forgotten_between_batches() {
    let mut decoder = Decoder::new(&SourceFormat::Registry(Binary::Avro), &fields(&[]));
    let ids: Vec<[u8; 5]> = (0..1001_u16).map(|id| [0, 0, 0, (id >> 8) as u8, id as u8]).collect();
    let of_all = batch(&ids.iter().map(|id| &id[..]).collect::<Vec<_>>());
    let learn = |decoder: &mut Decoder, n: u32| (0..n).for_each(|id| decoder.learn(id, SchemaAnswer::Unusable("".into())));
    learn(&mut decoder, 1000);
    decoder.batch_ended();
    assert_eq!(decoder.lacks(&of_all).len(), 1);
    learn(&mut decoder, 1001);
    assert_eq!(decoder.lacks(&of_all).len(), 0, "not before the batch has ended");
    decoder.batch_ended();
    assert_eq!(decoder.lacks(&of_all).len(), 1001);
}

/// Bytes as an evil or broken producer might write them: any, and good ones with a byte changed or cut off.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let good = avro_value(&[&[0, 0, 2, 2, b'z', 2][..], &avro_value(REST)].concat());
    let proto = [&[8, 1, 0x52, 5, 0x0d, 7, 0, 0, 0, 0x5a, 2, 8, 1, 0x60, 5, 0x83, 1, 0x12, 1, b'z', 0x84, 1][..]].concat();
    let mutated =
        (prop::sample::select(vec![good, proto]), any::<(usize, u8, usize)>()).prop_map(|(mut value, (at, byte, len))| {
            let at = at % value.len();
            value[at] = byte;
            value.truncate(len % (2 * value.len()));
            value
        });
    prop_oneof![prop::collection::vec(any::<u8>(), 0..80), mutated]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_panic(value in bytes(), framed in any::<bool>()) {
        let of = [
            ("kind", FieldType::Text, false), ("inner.text", FieldType::Text, false), ("inner.inner.micros", FieldType::Int, false),
            ("at", FieldType::Int, false), ("a", FieldType::Float, false), ("list", FieldType::Bytes, false), ("group.n", FieldType::Int, false),
        ];
        for schema in [avro_of_all(), proto_of_all()] {
            let format = schema.format();
            let mut bare = Decoder::new(&SourceFormat::Bare(Arc::new(schema.clone())), &fields(&of));
            let first = decoded(&mut bare, &record(None, Some(&value)));
            prop_assert_eq!(decoded(&mut bare, &record(None, Some(&value))), first, "again");
            let mut registered = Decoder::new(&SourceFormat::Registry(format), &fields(&of));
            let value = if framed { [&[0, 0, 0, 0, 7][..], &value].concat() } else { value.clone() };
            for id in registered.lacks(&batch(&[&value])) {
                registered.learn(id, SchemaAnswer::Known(Arc::new(schema.clone())));
            }
            drop(decoded(&mut registered, &record(None, Some(&value))));
        }
    }
}
