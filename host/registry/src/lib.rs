//! Where the schemas of values come from: files beside a manifest, and a schema registry over HTTP.
//!
//! This crate alone names the libraries that parse schemas and the one that speaks HTTP (I-3). It turns text into what the core reads by,
//! and decodes no value. It never waits longer than one request may take, and never tries twice: patience is the driver's.
//!
//! Modules in reading order: [`avro`], [`protobuf`], [`client`].

pub mod avro;
pub mod client;
pub mod protobuf;

use reelflow_core::format::{Binary, WriterSchema};

/// Parses the schema file of values that are to be written. Of Protobuf, gives also where the message called `message` stands: its place at the
/// top level of the file, then inside each message. An error says in words what is wrong.
pub fn parse_to_write(format: Binary, text: &str, message: Option<&str>) -> Result<(WriterSchema, Vec<usize>), String> {
    match format {
        Binary::Avro => Ok((avro::parse(text, &[])?, Vec::new())),
        Binary::Protobuf => protobuf::parse_to_write(text, message.unwrap_or_default()),
    }
}

/// Parses the schema file of values without ids: all of them are of the one schema, of Protobuf of the message called `message`. An error
/// says in words what is wrong.
pub fn parse(format: Binary, text: &str, message: Option<&str>) -> Result<WriterSchema, String> {
    match format {
        Binary::Avro => avro::parse(text, &[]),
        Binary::Protobuf => protobuf::parse_message(text, message.unwrap_or_default()),
    }
}
