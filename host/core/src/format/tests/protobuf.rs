//! Protobuf, byte by byte.

use std::sync::Arc;

use super::{check, fields};
use crate::{
    format::{
        SourceFormat, WriterSchema,
        decoder::Decoder,
        protobuf::{self, Enum, Field as ProtoField, Kind, Message},
    },
    schema::FieldType,
};

fn proto(name: &str, number: u32, kind: Kind) -> ProtoField {
    ProtoField { name: name.to_owned(), number, kind, is_repeated: false, has_presence: false, oneof: None }
}

/// `All` with a field of many kinds, and inside it `Inner`; a timestamp and a wrapper.
pub(super) fn proto_of_all() -> WriterSchema {
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
