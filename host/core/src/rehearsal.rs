//! What arrives in a test of a pipeline, and when: written in a manifest, and played on a log in memory.

use std::sync::Arc;

use crate::{
    format::{SourceFormat, writer::SinkFormat},
    plan::{Plan, SourceIdx},
    time::WallTime,
};

/// The input of one test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rehearsal {
    /// As the manifest calls it.
    pub name: Arc<str>,
    /// In the order of their times.
    pub arrivals: Vec<Arrival>,
    /// Where the wall clock goes once all of them are processed.
    pub until: Option<WallTime>,
    /// Whether all partitions end then.
    pub ends: bool,
}

/// A record that comes to a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// In the plan.
    pub source: SourceIdx,
    /// What the wall clock reads then.
    pub at: WallTime,
    /// What the log says of the record's time.
    pub timestamp_ms: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
}

impl Plan {
    /// This plan as tests play it. Records are JSON objects of their fields, however the topic has them, and no source goes idle: whether one
    /// does depends on when a process was started, and a test has one answer.
    pub fn of_rehearsal(&self) -> Plan {
        let mut plan = self.with_json_sinks();
        for source in &mut plan.sources {
            source.idle_after_ms = i64::MAX;
            if source.format != SourceFormat::Raw {
                source.format = SourceFormat::Json;
            }
        }
        plan
    }

    /// This plan with sinks that write JSON, whatever their format is: for who compares their rows, or shows them.
    pub fn with_json_sinks(&self) -> Plan {
        let mut plan = self.clone();
        plan.sinks.iter_mut().for_each(|sink| sink.format = SinkFormat::Json);
        plan
    }
}
