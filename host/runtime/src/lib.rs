//! The thin driver: waits for an input, calls the core, performs its effects in the stated order.
//!
//! A [`pipeline::Pipeline`] runs some [`worker::Worker`]s, one thread each; a worker is a member of the pipeline's consumer group
//! with one transactional producer, an instance of every plugin, and the tasks of its partitions. What makes an epoch durable, and
//! in which order, stands in `seal` alone (I-5); what a crash leaves behind is read by `recovery`.
//!
//! This crate never decodes a record, never knows which log or plugin engine it drives (I-3), and decides nothing about event time.
//!
//! Modules in reading order: [`settings`], [`error`], [`patience`], [`observe`], `seal`, [`bases`], `recovery`, [`code`], [`worker`],
//! [`control`], [`finish`], [`publish`], [`load`], [`hand_over`], [`pipeline`], [`summary`], [`inspect`], [`rehearsal`],
//! [`retry`], [`shadow`].

pub mod bases;
pub mod code;
pub mod control;
pub mod error;
pub mod finish;
pub mod hand_over;
pub mod inspect;
pub mod load;
pub mod observe;
pub mod patience;
pub mod pipeline;
pub mod publish;
mod recovery;
pub mod rehearsal;
pub mod retry;
mod seal;
pub mod settings;
pub mod shadow;
pub mod summary;
pub mod usage;
pub mod worker;
