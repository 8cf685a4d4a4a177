//! Rows that the core writes by a schema are what the libraries read by it, and byte for byte what they write.

use apache_avro::{Schema as AvroSchema, reader::datum::GenericDatumReader, writer::datum::GenericDatumWriter};
use proptest::prelude::*;
use prost_reflect::{DynamicMessage, prost::Message};
use reelflow_core::{
    column::{RowBuilder, Rows, Value},
    format::{
        Binary,
        writer::{RowWriter, written_columns},
    },
    schema::{Field, FieldType, Schema},
    stage::Revision,
};
use serde_json::{Value as Json, json};

use super::{Dice, Plain, avro, protobuf};

const TYPES: [FieldType; 5] = [FieldType::Bool, FieldType::Int, FieldType::Float, FieldType::Text, FieldType::Bytes];

/// Rows with fields `m0`, `m1`, …
fn any_schema(dice: &mut Dice) -> Schema {
    let n_fields = 1 + dice.below(5);
    let field = |idx| Field {
        name: format!("m{idx}"),
        path: format!("m{idx}"),
        field_type: TYPES[dice.below(5) as usize],
        required: dice.below(2) == 0,
    };
    Schema { fields: (0..n_fields).map(field).collect() }
}

fn any_row(dice: &mut Dice, schema: &Schema) -> Vec<Plain> {
    let value = |field: &Field| match (dice.below(4), field.field_type) {
        (0, _) if !field.required => Plain::Null,
        (_, FieldType::Bool) => Plain::Bool(dice.below(2) == 0),
        (_, FieldType::Int) => Plain::Int(dice.long()),
        (1, FieldType::Float) => Plain::Float((-0.0_f64).to_bits()),
        (_, FieldType::Float) => Plain::Float(dice.double().to_bits()),
        (_, FieldType::Text) => Plain::Bytes(dice.text().into_bytes()),
        (_, FieldType::Bytes) => Plain::Bytes(dice.bytes()),
    };
    schema.fields.iter().map(value).collect()
}

fn rows_of(schema: &Schema, row: &[Plain]) -> Rows {
    let mut rows = RowBuilder::new(schema.fields.iter().map(|field| field.field_type.kind()));
    rows.push(row.iter().map(|value| match value {
        Plain::Null => Value::Null,
        Plain::Bool(value) => Value::Bool(*value),
        Plain::Int(value) => Value::Int(*value),
        Plain::Float(bits) => Value::Float(f64::from_bits(*bits)),
        Plain::Bytes(bytes) => Value::Bytes(bytes),
    }));
    rows.finish()
}

/// The fields of the rows and more, in some order.
fn shuffled<T>(fields: impl Iterator<Item = T>, dice: &mut Dice) -> Vec<T> {
    let mut fields: Vec<(u64, T)> = fields.map(|field| (dice.next(), field)).collect();
    fields.sort_by_key(|(place, _)| *place);
    fields.into_iter().map(|(_, field)| field).collect()
}

/// Null before or behind it, or not at all.
fn in_union(one: &str, required: bool, dice: &mut Dice) -> Json {
    match dice.below(if required { 3 } else { 2 }) {
        0 => json!(["null", one]),
        1 => json!([one, "null"]),
        _ => json!(one),
    }
}

fn avro_text(schema: &Schema, has_revisions: bool, dice: &mut Dice) -> String {
    let columns = written_columns(schema, has_revisions);
    let mut fields: Vec<Json> = Vec::new();
    for column in columns {
        let one = match column.field_type {
            FieldType::Bool => "boolean",
            FieldType::Int => "long",
            FieldType::Float => "double",
            FieldType::Text => "string",
            FieldType::Bytes => "bytes",
        };
        fields.push(json!({ "name": column.name, "type": in_union(one, column.required, dice) }));
    }
    fields.push(json!({ "name": "more", "type": ["long", "null"] }));
    fields.push(json!({ "name": "none", "type": "null" }));
    json!({ "type": "record", "name": "Row", "fields": shuffled(fields.into_iter(), dice) }).to_string()
}

fn proto_text(schema: &Schema, has_revisions: bool, dice: &mut Dice) -> String {
    let mut fields = Vec::new();
    for (column, number) in written_columns(schema, has_revisions).into_iter().zip(1..) {
        let one = match column.field_type {
            FieldType::Bool => "bool",
            FieldType::Int => ["int64", "sint64", "sfixed64"][dice.below(3) as usize],
            FieldType::Float => "double",
            FieldType::Text => "string",
            FieldType::Bytes => "bytes",
        };
        let label = if !column.required || dice.below(2) == 0 { "optional " } else { "" };
        fields.push(format!("  {label}{one} {} = {};", column.name, number * (1 + dice.below(40)) + number * 1_000));
    }
    fields.push("  repeated string more = 1;".to_owned());
    let fields = shuffled(fields.into_iter(), dice).join("\n");
    format!("syntax = \"proto3\";\npackage a.b;\nmessage Other {{}}\nmessage Outer {{\nmessage Row {{\n{fields}\n}}\n}}\n")
}

/// What the writer makes of `row`, and the row with its revision.
fn written(writer: &RowWriter, schema: &Schema, row: &[Plain], revision: Option<Revision>) -> (Vec<u8>, Vec<(String, Plain)>) {
    let mut value = Vec::new();
    writer.write(&rows_of(schema, row), 0, revision, &mut value);
    let names = written_columns(schema, revision.is_some()).into_iter().map(|column| column.name.to_owned());
    let of_revision = revision.into_iter().flat_map(|one| [Plain::Int(one.rev.into()), Plain::Bool(one.is_final)]);
    (value, names.zip(row.iter().cloned().chain(of_revision)).collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn avro_is_written_as_the_library_writes_it(seed in any::<u64>()) {
        let dice = &mut Dice(seed);
        let schema = any_schema(dice);
        let revision = (dice.below(2) == 0).then(|| Revision { rev: dice.next() as u32, is_final: dice.below(2) == 0 });
        let text = avro_text(&schema, revision.is_some(), dice);
        let (ours, path) = reelflow_registry::parse_to_write(Binary::Avro, &text, None).expect("a good schema");
        let writer = RowWriter::new(&ours, &path, &written_columns(&schema, revision.is_some())).expect("a schema that fits");
        let library = AvroSchema::parse_str(&text).expect("a good schema");
        let row = any_row(dice, &schema);
        let (value, expected) = written(&writer, &schema, &row, revision);
        let back = GenericDatumReader::builder(&library).build().expect("a good schema").read_value(&mut &value[..]);
        let back = back.expect("a value of its schema");
        for (name, plain) in expected {
            prop_assert_eq!(avro::at(&back, &[&name]), plain, "{} of {}", name, text);
        }
        let again = GenericDatumWriter::builder(&library).build().expect("a good schema").write_value_to_vec(back);
        prop_assert_eq!(again.ok(), Some(value), "{}", text);
    }

    #[test]
    fn protobuf_is_written_as_the_library_writes_it(seed in any::<u64>()) {
        let dice = &mut Dice(seed);
        let schema = any_schema(dice);
        let revision = (dice.below(2) == 0).then(|| Revision { rev: dice.next() as u32, is_final: dice.below(2) == 0 });
        let text = proto_text(&schema, revision.is_some(), dice);
        let (ours, path) = reelflow_registry::parse_to_write(Binary::Protobuf, &text, Some("Row")).expect("a good schema");
        prop_assert_eq!(&path, &[1, 0]);
        let writer = RowWriter::new(&ours, &path, &written_columns(&schema, revision.is_some())).expect("a schema that fits");
        let library = protobuf::pool(&text).get_message_by_name("a.b.Outer.Row").expect("it was just written");
        let row = any_row(dice, &schema);
        let (value, expected) = written(&writer, &schema, &row, revision);
        let back = DynamicMessage::decode(library, &value[..]).expect("a value of its schema");
        for (name, plain) in expected {
            prop_assert_eq!(protobuf::at(&back, &[&name]), Some(plain), "{} of {}", name, text);
        }
        // The library takes -0.0 for the zero that is left out; those in C++ and Java write it, as we do.
        if !row.contains(&Plain::Float((-0.0_f64).to_bits())) {
            prop_assert_eq!(back.encode_to_vec(), value, "{}", text);
        }
    }
}
