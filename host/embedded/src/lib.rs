//! The log on local disk: `reel run` with nothing installed. The only crate that names fjall.
//!
//! One process at a time opens a log; its workers share it. A transaction is buffered by its session and written as one atomic,
//! synced batch: records, positions and metadata together, so there is never a half of it. It holds no policy and never retries.
//!
//! What is where in the store (all integers big-endian in keys, so that keys sort by offset):
//!
//! | keyspace | key | value |
//! | --- | --- | --- |
//! | `topics` | name | id u32, partitions u32 |
//! | `bounds` | topic id u32, partition u32 | earliest offset and end, as two i64 |
//! | `records` | topic id u32, partition u32, last offset of the block i64 | a block, see [`block`] |
//! | `positions` | group, 0, topic, 0, partition u32 | next offset and metadata |
//!
//! Modules in reading order: [`block`], [`store`], [`shared`], [`log`], [`session`].

mod block;
mod log;
mod session;
mod shared;
mod store;

pub use log::EmbeddedLog;
