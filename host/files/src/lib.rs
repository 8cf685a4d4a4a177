//! Files on local disk, NDJSON and Parquet: what sinks publish, divided by event time, each row in one file; and what sources have a
//! history in, read in the order of event time.
//!
//! A [`sink::LocalSink`] is the [`reelflow_ports::files::FileSink`] of one sink. What is written where stands in `layout`, how a
//! roll is published so that no crash and no rival can publish a row twice stands in `roll` alone.
//!
//! A [`history::LocalHistory`] is the [`reelflow_ports::history::History`] of a pipeline: `history::listing` finds its files, `lines` and
//! `rows` read one, `place` says where a record belongs, and `sorter` puts all of them in
//! order on disk.
//!
//! This crate never reads the log, never knows when a roll is due, and decides nothing about event time but into which folder a
//! row goes. No other crate of the host names Arrow or Parquet (I-3).
//!
//! Modules in reading order: `calendar`, `layout`, `disk`, `format`, `columns`, `record`, `roll`, [`sink`], [`history`].

mod calendar;
mod columns;
mod disk;
mod format;
pub mod history;
mod layout;
mod record;
mod roll;
pub mod sink;
#[cfg(test)]
mod tests;
