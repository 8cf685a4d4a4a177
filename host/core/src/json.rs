//! JSON in and out, written for exactly what the engine needs.
//!
//! - [`decode`] projects the declared fields of one JSON object into columns and checks the syntax of the rest;
//! - [`encode`] writes rows, record keys and late records as JSON;
//! - [`record_key`] reads the values in a record key.

pub mod base64;
pub mod decode;
pub mod encode;
pub mod record_key;

mod found;
mod keys;
mod scan;
