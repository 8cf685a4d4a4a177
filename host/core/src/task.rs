//! A task: one fragment on one partition, the unit of ownership, state, watermark and recovery.
//!
//! The driver's contract with [`Task::handle`]:
//! - before each `Records` it gives a `ClockRead`, and one about every second while nothing comes;
//! - it performs effects in the order given; it answers an [`Effect::Call`] by `PluginReturned` before any other input;
//! - `Seal` comes only when no call is open; it answers with exactly one [`Effect::Sealed`].

use std::sync::Arc;

use crate::{
    plan::PluginIdx,
    plugin::{PluginFault, Request, Response},
    record::{Outgoing, RecordBatch},
    time::{WallTime, Watermark},
};

/// Everything that can happen to a task.
#[derive(Debug)]
pub enum Input {
    /// Records came on `input` (an index into the fragment's inputs), in offset order.
    Records { input: usize, batch: Arc<RecordBatch> },
    /// The open call was answered.
    PluginReturned { result: Result<Response, PluginFault> },
    /// Wall time is data, never asked for.
    ClockRead { now: WallTime },
    /// The lowest watermark among the tasks of this partition, of all fragments.
    JobWatermark { watermark: Watermark },
    /// The epoch ends here.
    Seal,
}

/// Everything that a task wants done.
#[derive(Debug)]
pub enum Effect {
    Call { plugin: PluginIdx, request: Request },
    /// Outputs, shuffled rows, late records and dead letters.
    Append(Outgoing),
    Sealed(SealedTask),
}

/// What a task leaves for recovery at the end of an epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedTask {
    /// State changes since the last seal, or the whole state; see [`crate::state`]. May be empty.
    pub chunks: Vec<Vec<u8>>,
    /// Whether `chunks` is the whole state: what was written before is not needed any more.
    pub is_base: bool,
}
