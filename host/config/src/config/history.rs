//! What a source says of its history.

use reelflow_core::plan::FileFormat;

use crate::problem::At;

/// Records of a source in files.
#[derive(Clone, Debug, PartialEq)]
pub struct History {
    /// A folder, a file or a pattern of names, relative to the manifest.
    pub path: At<String>,
    pub format: FileFormat,
    /// The field with what the log said of a record's time, in ms since 1970; `None`: its event time.
    pub timestamp: Option<At<String>>,
    /// Of a table, the field that says that the key is deleted.
    pub deleted: Option<At<String>>,
    /// The fields with the partition and the offset that a record had in the topic.
    pub position: Option<(At<String>, At<String>)>,
}
