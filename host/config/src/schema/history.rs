//! `files` of a source.

use schemars::JsonSchema;

use super::{Text, sinks::FileFormat};

/// Files with records of a source: what its topic held, or would have held.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct History {
    /// A folder with everything below it, a file, or a pattern with `*`; relative to the manifest.
    path: Text,
    format: FileFormat,
    /// The field with the log's timestamp of a record, in ms since 1970. Default: its event time.
    timestamp: Option<Text>,
    /// Of a table: the boolean field that is true in rows whose key is deleted from their event time on.
    deleted: Option<Text>,
    /// The field with the partition that a record had in the topic: with `offset`, where the live topic goes on (`reel backfill --then-live`).
    partition: Option<Text>,
    /// The field with the offset that a record had in that partition.
    offset: Option<Text>,
}
