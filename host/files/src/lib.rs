//! File sinks in a local folder: NDJSON and Parquet, divided by event time, each row in one file.
//!
//! A [`sink::LocalSink`] is the [`reelflow_ports::files::FileSink`] of one sink. What is written where stands in `layout`, how a
//! roll is published so that no crash and no rival can publish a row twice stands in `roll` alone.
//!
//! This crate never reads the log, never knows when a roll is due, and decides nothing about event time but into which folder a
//! row goes. No other crate of the host names Arrow or Parquet (I-3).
//!
//! Modules in reading order: `calendar`, `layout`, `disk`, `format`, `columns`, `record`, `roll`, [`sink`].

mod calendar;
mod columns;
mod disk;
mod format;
mod layout;
mod record;
mod roll;
pub mod sink;
#[cfg(test)]
mod tests;
