//! `[sink.…]`: a topic, or files.

use schemars::JsonSchema;
use serde_json::{Value, json};

use super::{Columns, Duration, Input, Size, Text, Topic};

/// A topic to write, or files.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, extend("oneOf" = one_target(), "allOf" = format_rules()))]
pub(super) struct Sink {
    input: Input,
    /// One of `topic` and `files`.
    topic: Option<Topic>,
    /// The fields that form the record key: one as plain text, several as a JSON array.
    key: Option<Columns>,
    /// Default: as many as the sources have.
    #[schemars(range(min = 1, max = 100_000))]
    partitions: Option<u32>,
    /// A boolean field: rows in which it is true are written as a record with their key and no value.
    tombstone: Option<Text>,
    /// How values are written. Default `json`. See [formats](formats.md#sinks).
    format: Option<SinkFormat>,
    /// The schema file by which values of Avro and Protobuf are written, relative to the manifest.
    schema: Option<Text>,
    /// Of Protobuf: the message of the schema file that a row is.
    message: Option<Text>,
    /// Where the registry keeps the schema, `<topic>-value` by custom: it is registered there, and its id stands before each value.
    subject: Option<Text>,
    /// Files instead of a topic, each row in one of them. See [files](files.md).
    files: Option<Files>,
}

/// A topic, or files and then nothing that only a topic has.
fn one_target() -> Value {
    let has = |key: &str| json!({ "required": [key] });
    let of_topics = json!({ "anyOf": [has("topic"), has("key"), has("partitions"), has("tombstone"), has("format"), has("schema"), has("message"), has("subject")] });
    json!([{ "required": ["topic"], "not": has("files") }, { "required": ["files"], "not": of_topics }])
}

/// Which of `format`, `schema`, `message` and `subject` go together.
fn format_rules() -> Value {
    let has = |keys: &[&str]| json!({ "required": keys });
    let is = |formats: &[&str]| json!({ "properties": { "format": { "enum": formats } } });
    let both = |one: Value, other: Value| json!({ "allOf": [one, other] });
    json!([
        { "if": both(has(&["format"]), is(&["avro", "protobuf"])), "then": has(&["schema"]) },
        { "if": both(has(&["format"]), is(&["protobuf"])), "then": has(&["message"]) },
        { "if": has(&["schema"]), "then": both(has(&["format"]), is(&["avro", "protobuf"])) },
        { "if": has(&["subject"]), "then": both(has(&["format"]), is(&["avro", "protobuf"])) },
        { "if": has(&["message"]), "then": both(has(&["format"]), is(&["protobuf"])) },
    ])
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
enum SinkFormat {
    /// An object.
    Json,
    /// Apache Avro, in its binary form.
    Avro,
    /// Protocol Buffers.
    Protobuf,
}

/// Files in a folder, divided by event time.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Files {
    /// A folder of this sink alone, relative to the manifest.
    path: Text,
    format: FileFormat,
    /// Default `hour`.
    partition_by: Option<PartitionBy>,
    /// Rows wait for at most this long, in wall time. Default 5m.
    roll_every: Option<Duration>,
    /// A file that has become so long is published at once. Default 128MiB.
    roll_bytes: Option<Size>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
pub(super) enum FileFormat {
    /// One JSON object a line, as a topic would have it.
    Ndjson,
    /// Columns, compressed with zstd.
    Parquet,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
enum PartitionBy {
    /// `dt=YYYY-MM-DD/hr=HH`, in UTC.
    Hour,
    /// `dt=YYYY-MM-DD`, in UTC.
    Day,
    /// All files in one folder.
    None,
}
