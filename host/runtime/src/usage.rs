//! What calls of plugins cost.

use std::{collections::BTreeMap, time::Duration};

use reelflow_core::plugin::{PluginFault, Request, Response};

/// The calls that one stage had its plugin make, in one process and run, committed or not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallUsage {
    pub calls: u64,
    /// Rows or groups that the calls covered: again each time where calls were cut, or made again.
    pub rows: u64,
    /// Calls that were made again because a lone row ran into the deadline.
    pub retries: u64,
    /// Wall time in calls, waits between them aside.
    pub time: Duration,
    /// CPU time in them: less, where the machine had other things to do.
    pub cpu: Duration,
    pub bytes_in: u64,
    /// Of answers that passed every check.
    pub bytes_out: u64,
    /// The most linear memory that an instance had.
    pub memory_bytes_max: u64,
    /// How many calls failed, by [`PluginFault::kind`].
    pub faults: BTreeMap<&'static str, u64>,
}

/// What one call took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Took {
    pub wall: Duration,
    /// Of the thread that made it.
    pub cpu: Duration,
}

impl CallUsage {
    /// A call took `took`.
    pub(crate) fn called(&mut self, request: &Request, result: &Result<Response, PluginFault>, took: Took, memory_bytes: u64) {
        self.calls += 1;
        self.rows += request.n_units() as u64;
        self.time += took.wall;
        self.cpu += took.cpu;
        self.bytes_in += request.n_bytes();
        self.memory_bytes_max = self.memory_bytes_max.max(memory_bytes);
        match result {
            Ok(response) => self.bytes_out += response.n_bytes(),
            Err(fault) => *self.faults.entry(fault.kind()).or_default() += 1,
        }
    }

    pub(crate) fn add(&mut self, other: &CallUsage) {
        self.calls += other.calls;
        self.rows += other.rows;
        self.retries += other.retries;
        self.time += other.time;
        self.cpu += other.cpu;
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
        self.memory_bytes_max = self.memory_bytes_max.max(other.memory_bytes_max);
        for (kind, n) in &other.faults {
            *self.faults.entry(kind).or_default() += n;
        }
    }

    /// Time in calls per row; `None` before there was any.
    pub fn ns_per_row(&self) -> Option<f64> {
        (self.rows > 0).then(|| self.time.as_nanos() as f64 / self.rows as f64)
    }
}
