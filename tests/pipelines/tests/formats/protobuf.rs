//! Plays as a producer of Protobuf writes them.

use std::collections::BTreeMap;

use prost_reflect::{DynamicMessage, MessageDescriptor, Value, prost::Message};
use protox::{
    Compiler,
    file::{ChainFileResolver, File, FileResolver, GoogleFileResolver},
};
use reelflow_registry_tests::TestRegistry;
use serde_json::Value as Json;

use super::Version;

/// Writes by all versions of a schema.
pub struct Producer {
    /// With the id in a registry.
    messages: BTreeMap<Version, (u32, MessageDescriptor)>,
}

/// The schema of a version.
pub fn text(version: Version) -> String {
    let title = match version {
        Version::First => "int64 title_id = 6;",
        Version::Second => "sint32 title_id = 60; repeated double network = 4;",
        Version::Removed => "",
        Version::Retyped => "string title_id = 6;",
    };
    // In the second version the play is not the first message of the file, and stands inside another one.
    let play = format!(
        "message Play {{ string event_id = 1; google.protobuf.Timestamp event_ts = 2; int64 profile_id = 3; {title} \
         optional string device = 7; optional string country = 8; string playback_id = 9; optional bool offline = 10; \
         optional bool trailer = 11; }}"
    );
    let play = match version {
        Version::Second => format!("message Other {{}} message All {{ message Impression {{}} {play} }}"),
        _ => play,
    };
    format!("syntax = \"proto3\"; package reel; import \"google/protobuf/timestamp.proto\"; {play}")
}

struct Only(String);

impl FileResolver for Only {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        if name == "play.proto" { File::from_source(name, &self.0) } else { Err(protox::Error::file_not_found(name)) }
    }
}

impl Producer {
    pub fn new(registry: Option<&TestRegistry>) -> Producer {
        let versions = [Version::First, Version::Second, Version::Removed, Version::Retyped];
        let message = |version: Version| {
            let id = registry.map_or(0, |registry| registry.register("plays-value", "PROTOBUF", &text(version), &[]));
            let mut files = ChainFileResolver::new();
            files.add(Only(text(version)));
            files.add(GoogleFileResolver::new());
            let mut compiler = Compiler::with_file_resolver(files);
            compiler.include_imports(true);
            compiler.open_file("play.proto").expect("a good file");
            let name = if version == Version::Second { "reel.All.Play" } else { "reel.Play" };
            (version, (id, compiler.descriptor_pool().get_message_by_name(name).expect("it is in the file")))
        };
        Producer { messages: versions.map(message).into() }
    }

    /// By `version`, behind its id and which message of the file it is.
    pub fn framed(&self, version: Version, fields: &Json) -> Option<Vec<u8>> {
        let (id, of) = &self.messages[&version];
        let path: &[u8] = if version == Version::Second { &[4, 2, 2] } else { &[0] };
        Some([&[0][..], &id.to_be_bytes(), path, &message(of, version, fields)?].concat())
    }

    /// By the first version, and nothing else.
    pub fn bare(&self, fields: &Json) -> Vec<u8> {
        message(&self.messages[&Version::First].1, Version::First, fields).expect("a play")
    }
}

fn message(of: &MessageDescriptor, version: Version, fields: &Json) -> Option<Vec<u8>> {
    let mut message = DynamicMessage::new(of.clone());
    for field in of.fields() {
        let found = &fields[field.name()];
        let value = match field.name() {
            "event_id" | "playback_id" => Value::String(found.as_str()?.to_owned()),
            "event_ts" => {
                let at = found.as_i64()?;
                let prost_reflect::Kind::Message(of) = field.kind() else { unreachable!("a timestamp is a message") };
                let mut timestamp = DynamicMessage::new(of);
                timestamp.set_field_by_name("seconds", Value::I64(at.div_euclid(1000)));
                timestamp.set_field_by_name("nanos", Value::I32(at.rem_euclid(1000) as i32 * 1_000_000 + 999));
                Value::Message(timestamp)
            }
            "title_id" => match version {
                Version::Second => Value::I32(i32::try_from(found.as_i64()?).ok()?),
                Version::Retyped => Value::String(found.as_str()?.to_owned()),
                _ => Value::I64(found.as_i64()?),
            },
            "profile_id" => Value::I64(found.as_i64()?),
            "device" | "country" => match found.as_str() {
                Some(text) => Value::String(text.to_owned()),
                None => continue,
            },
            "offline" | "trailer" => match found.as_bool() {
                Some(value) => Value::Bool(value),
                None => continue,
            },
            "network" => Value::List(vec![Value::F64(2.5), Value::F64(1.0)]),
            other => unreachable!("{other} is no field of a play"),
        };
        message.set_field(&field, value);
    }
    Some(message.encode_to_vec())
}
