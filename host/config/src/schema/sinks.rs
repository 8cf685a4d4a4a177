//! `[sink.…]`: a topic, or files.

use schemars::JsonSchema;
use serde_json::{Value, json};

use super::{Columns, Duration, Input, Size, Text, Topic};

/// A topic to write, or files.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, extend("oneOf" = one_target()))]
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
    /// Files instead of a topic, each row in one of them. See [files](files.md).
    files: Option<Files>,
}

/// A topic, or files and then nothing that only a topic has.
fn one_target() -> Value {
    let has = |key: &str| json!({ "required": [key] });
    let of_topics = json!({ "anyOf": [has("topic"), has("key"), has("partitions"), has("tombstone")] });
    json!([{ "required": ["topic"], "not": has("files") }, { "required": ["files"], "not": of_topics }])
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
