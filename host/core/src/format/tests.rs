//! What each format reads, byte by byte, and what it refuses. Against the libraries of both formats: `host/registry/tests`.

use std::sync::Arc;

use proptest::prelude::*;

use self::{
    avro::{REST, avro_of_all, avro_value},
    protobuf::proto_of_all,
};
use super::{Binary, SchemaAnswer, SourceFormat, Unmapped, unmapped};
use crate::{
    column::Value,
    format::decoder::Decoder,
    record::{Record, RecordBatch},
    schema::{Field, FieldType, Schema},
};

mod avro;
mod protobuf;

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
