//! Stores of bases: a folder that all processes reach, and a bucket.
//!
//! This crate translates: it never retries, never decides what is kept, and knows nothing of states.

pub mod folder;
pub mod s3;
