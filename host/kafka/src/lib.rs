//! The log on Apache Kafka; the only crate that names rdkafka.
//!
//! Translation, nothing else: it never retries an outcome that is unknown, never orders durable writes (I-5), never decodes.
//! After any error of a transaction the session is thrown away, and the next life's `init_transactions` bumps the producer's
//! epoch. That matters because a commit that was sent and never answered may still arrive: at the new epoch it is refused.
//!
//! What librdkafka 2.12.1 speaks of KIP-890: only what a client of the first part does. It registers partitions
//! (AddPartitionsToTxn 0) and ends transactions (EndTxn 0–1) as before; the epoch bump at the end of *every* transaction
//! (EndTxn 5) is not in it. Brokers from 4.0 verify on their side that a produced batch belongs to an open transaction,
//! which closes the hole of hanging transactions for such a client too, so they are required for exactly-once.
//!
//! Modules in reading order: [`config`], `error`, `broker_version`, [`log`], `admin`, `scan`, `session`, `reading`, `sending`, `visible`, and `native`, the only one with unsafe code.

pub mod config;
pub mod log;

mod admin;
mod broker_version;
mod error;
mod native;
mod reading;
mod scan;
mod sending;
mod session;
mod visible;

pub use config::KafkaConfig;
pub use log::KafkaLog;
