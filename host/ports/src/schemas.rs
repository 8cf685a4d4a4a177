//! The port to a schema registry: what the values of a source were written by.

use std::collections::BTreeMap;

use reelflow_core::format::SchemaAnswer;

use crate::log::Who;

/// Says what was written by which schema. Shared by all workers; asked again and again, so answers are kept (in bounds).
pub trait Schemas: Send + Sync {
    /// The schema with this id. An error says nothing about the schema: whoever needs it waits and asks again.
    fn writer(&self, id: u32) -> Result<SchemaAnswer, SchemasError>;
}

/// Why a registry gave no answer, by what can be done about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SchemasError {
    #[error("the schema registry does not answer: {0}")]
    Unavailable(String),
    #[error("the schema registry refuses access: {0}")]
    Denied(String),
    #[error("the schema registry has no good address: {0}")]
    BadUrl(String),
}

impl SchemasError {
    pub fn who(&self) -> Who {
        match self {
            SchemasError::Unavailable(_) => Who::Environment,
            SchemasError::Denied(_) | SchemasError::BadUrl(_) => Who::User,
        }
    }
}

/// Schemas that are known beforehand; every other id is unknown. Without any: for pipelines that need none.
#[derive(Clone, Debug, Default)]
pub struct KnownSchemas(pub BTreeMap<u32, SchemaAnswer>);

impl Schemas for KnownSchemas {
    fn writer(&self, id: u32) -> Result<SchemaAnswer, SchemasError> {
        Ok(self.0.get(&id).cloned().unwrap_or(SchemaAnswer::Unknown))
    }
}
