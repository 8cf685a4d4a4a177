//! By what the values of a sink are written.

use reelflow_core::format::Binary;

use super::{Sink, SinkTo};
use crate::problem::At;

/// A schema, in a file.
#[derive(Clone, Debug, PartialEq)]
pub struct SinkSchema {
    pub format: Binary,
    /// Relative to the manifest.
    pub path: At<String>,
    /// Of Protobuf: which message of the file.
    pub message: Option<At<String>>,
    /// Where the registry has the schema, whose id then stands before each value.
    pub subject: Option<At<String>>,
}

impl Sink {
    /// `None`: values are JSON, or there are no records.
    pub fn schema(&self) -> Option<&SinkSchema> {
        match &self.to {
            SinkTo::Topic { schema, .. } => schema.as_ref(),
            SinkTo::Files(_) => None,
        }
    }
}
