//! The port to a store of bases: bytes under names, beside the log.
//!
//! What is in it is believed only where a committed recovery point names it, so a store needs no order among its objects and no transactions. It may
//! even lose some: that costs a recovery time, and no state.

use crate::log::Who;

/// A store. Shared by all workers of a process, and by all processes that run the pipeline: each must find what the others put.
pub trait BaseStore: Send + Sync {
    /// Keeps `object` under `name`, made of parts with `/` between them. Durable when it returns; nobody ever sees a part of it. What is put under a
    /// name is the same bytes each time; were it not, one of them would stay, whole.
    fn put(&self, name: &str, object: &[u8]) -> Result<(), BaseError>;

    /// What is kept under `name`; `None`: nothing is.
    fn load(&self, name: &str) -> Result<Option<Vec<u8>>, BaseError>;

    /// The names that begin with `folder`, which ends with `/`; in order.
    fn list(&self, folder: &str) -> Result<Vec<String>, BaseError>;

    /// Removes what is kept under `name`, if anything is.
    fn forget(&self, name: &str) -> Result<(), BaseError>;

    /// Where it is, for people. Holds no secret.
    fn describe(&self) -> String;
}

/// Why a store did not do what it was asked to, by what can be done about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BaseError {
    #[error("the store of bases does not answer: {0}")]
    Unavailable(String),
    #[error("the store of bases refuses access: {0}")]
    Denied(String),
    #[error("the store of bases is full: {0}")]
    Full(String),
    #[error("there is no such store of bases: {0}")]
    BadAddress(String),
    /// A pipeline of one name has one log; two would remove each other's bases.
    #[error("pipeline \"{pipeline}\" of {by} keeps its bases there, and this one is of {log}")]
    Taken { pipeline: String, by: String, log: String },
}

impl BaseError {
    pub fn who(&self) -> Who {
        match self {
            BaseError::Unavailable(_) | BaseError::Full(_) => Who::Environment,
            BaseError::Denied(_) | BaseError::BadAddress(_) | BaseError::Taken { .. } => Who::User,
        }
    }

    /// Whether it may be otherwise in a while, with nothing changed.
    pub fn may_pass(&self) -> bool {
        matches!(self, BaseError::Unavailable(_))
    }
}
