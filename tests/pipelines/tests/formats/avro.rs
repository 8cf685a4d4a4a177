//! Plays as a producer of Avro writes them.

use std::collections::BTreeMap;

use apache_avro::{Schema, types::Value, writer::datum::GenericDatumWriter};
use reelflow_registry_tests::TestRegistry;
use serde_json::{Value as Json, json};

use super::Version;

/// Writes by all versions of a schema.
pub struct Producer {
    /// With the id in a registry.
    schemas: BTreeMap<Version, (u32, Schema)>,
}

/// The schema of a version.
pub fn text(version: Version) -> String {
    let field = |name: &str, field_type: Json| json!({ "name": name, "type": field_type });
    let maybe = |of: &str| json!(["null", of]);
    let time = |unit: &str| json!({ "type": "long", "logicalType": format!("timestamp-{unit}") });
    let mut fields = vec![
        field("event_id", json!("string")),
        field("event_ts", time("millis")),
        field("profile_id", json!("long")),
        field("device", maybe("string")),
        field("country", maybe("string")),
        field("title_id", json!("long")),
        field("playback_id", json!("string")),
        field("offline", maybe("boolean")),
        field("trailer", maybe("boolean")),
    ];
    match version {
        Version::First => {}
        Version::Second => {
            fields[1] = field("event_ts", time("micros"));
            fields[5] = field("title_id", json!("int"));
            fields.reverse();
            fields.insert(4, field("network", json!({ "type": "map", "values": { "type": "array", "items": "double" } })));
        }
        Version::Removed => drop(fields.remove(5)),
        Version::Retyped => fields[5] = field("title_id", json!("string")),
    }
    json!({ "type": "record", "name": "Play", "namespace": "reel", "fields": fields }).to_string()
}

impl Producer {
    pub fn new(registry: Option<&TestRegistry>) -> Producer {
        let versions = [Version::First, Version::Second, Version::Removed, Version::Retyped];
        let schema = |version: Version| {
            let id = registry.map_or(0, |registry| registry.register("plays-value", "AVRO", &text(version), &[]));
            (version, (id, Schema::parse_str(&text(version)).expect("a good schema")))
        };
        Producer { schemas: versions.map(schema).into() }
    }

    /// By `version`, behind its id.
    pub fn framed(&self, version: Version, fields: &Json) -> Option<Vec<u8>> {
        let (id, schema) = &self.schemas[&version];
        Some([&[0][..], &id.to_be_bytes(), &datum(schema, version, fields)?].concat())
    }

    /// By the first version, and nothing else.
    pub fn bare(&self, fields: &Json) -> Vec<u8> {
        datum(&self.schemas[&Version::First].1, Version::First, fields).expect("a play")
    }
}

fn datum(schema: &Schema, version: Version, fields: &Json) -> Option<Vec<u8>> {
    let Schema::Record(record) = schema else { unreachable!("a play is a record") };
    let mut values = Vec::new();
    for field in &record.fields {
        let name = field.name.as_str();
        let found = &fields[name];
        let some = |value: Value| Value::Union(1, value.into());
        let null = || Value::Union(0, Value::Null.into());
        let value = match name {
            "event_id" | "playback_id" => Value::String(found.as_str()?.to_owned()),
            "event_ts" if version == Version::Second => Value::TimestampMicros(found.as_i64()?.checked_mul(1000)? + 999),
            "event_ts" => Value::TimestampMillis(found.as_i64()?),
            "title_id" => match version {
                Version::Second => Value::Int(i32::try_from(found.as_i64()?).ok()?),
                Version::Retyped => Value::String(found.as_str()?.to_owned()),
                _ => Value::Long(found.as_i64()?),
            },
            "profile_id" => Value::Long(found.as_i64()?),
            "device" | "country" => found.as_str().map_or_else(null, |text| some(Value::String(text.to_owned()))),
            "offline" | "trailer" => found.as_bool().map_or_else(null, |value| some(Value::Boolean(value))),
            "network" => Value::Map([("kbit".to_owned(), Value::Array(vec![Value::Double(2.5)]))].into()),
            other => unreachable!("{other} is no field of a play"),
        };
        values.push((name.to_owned(), value));
    }
    let writer = GenericDatumWriter::builder(schema).build().expect("a good schema");
    Some(writer.write_value_to_vec(Value::Record(values)).expect("a value of its schema"))
}
