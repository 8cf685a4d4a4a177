//! What crosses the line to a plugin: its declaration, the calls it answers, and the ways it can fail.
//!
//! The WIT package says the same in its own words (`wit/plugin`); `reelflow-wasm` translates. Everything that comes back is
//! checked here ([`Request::check`]), so that every engine, and every test, has the same rules.

use std::fmt;

use crate::{
    column::{Bitmap, Packed, Rows},
    schema::Schema,
    time::{EventTime, WallTime, Watermark, Window},
};

/// The world that a plugin implements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum World {
    /// Rows in, rows out on named outputs.
    Transform,
    /// Rows into a state per group; states to rows when a window fires.
    Aggregate,
    /// Matched pairs in, rows out.
    Join,
    /// Rows and timers of a key into its state, rows and timers.
    Process,
}

impl World {
    /// Whether its plugins have a state.
    pub fn keeps_state(self) -> bool {
        matches!(self, World::Aggregate | World::Process)
    }

    pub fn name(self) -> &'static str {
        match self {
            World::Transform => "transform",
            World::Aggregate => "aggregate",
            World::Join => "join",
            World::Process => "process",
        }
    }
}

/// What a plugin says of itself: the answer of its `describe`.
#[derive(Clone, Debug, PartialEq)]
pub struct Declaration {
    pub world: World,
    /// What it reads: left and right for `join`, one schema for the others.
    pub inputs: Vec<Schema>,
    /// What it emits, by name. `aggregate` and `join` have exactly one output, called `out`.
    pub outputs: Vec<(String, Schema)>,
    /// The types of the key columns that an aggregate or a process reads, in order; empty: any key.
    pub key: Schema,
    /// Name and version of the state, for an aggregate or a process.
    pub state: Option<StateVersion>,
    /// Whether a join takes right rows without a left one.
    pub takes_right_alone: bool,
    /// The version of the SDK that built it, for messages.
    pub sdk: String,
}

/// The type and version of a plugin's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateVersion {
    pub name: String,
    /// What it writes.
    pub version: u32,
    /// The older versions that it reads as well, by migrating them.
    pub reads: Vec<u32>,
}

impl StateVersion {
    /// Whether the plugin reads what one with `name` and `version` wrote. A migration may come from a type of another name.
    pub fn can_read(&self, name: &str, version: u32) -> bool {
        (self.version == version && self.name == name) || self.reads.contains(&version)
    }
}

impl fmt::Display for StateVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.version)?;
        let reads: Vec<String> = self.reads.iter().map(u32::to_string).collect();
        if reads.is_empty() { Ok(()) } else { write!(f, " and migrates {}", reads.join(", ")) }
    }
}

/// Rows sorted into groups: group `g` is the rows `ends[g-1]..ends[g]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Grouped {
    pub rows: Rows,
    pub ends: Vec<u32>,
}

/// A call of a plugin. The batch is the base case: all lists of a request run over rows or over groups.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// `transform.apply`
    Transform { rows: Rows },
    /// `aggregate.add`: adds the rows of each group to its state; `states[g]` empty = no state yet.
    Add { grouped: Grouped, states: Packed },
    /// `aggregate.merge`: merges the packed states `parts[ends[g-1]..ends[g]]` into one per group. No group is empty.
    Merge { parts: Packed, ends: Vec<u32> },
    /// `aggregate.emit`: one firing per group. `keys` has one row per group.
    Emit { windows: Vec<Window>, keys: Rows, states: Packed },
    /// `join.pair`: row `i` of `left` with row `i` of `right`, whose columns mean nothing unless `matched` has bit `i`. Where `has_left` has
    /// no bit `i`, those of `left` mean nothing; `None`: there always is a left row.
    Pair { left: Rows, right: Rows, matched: Bitmap, has_left: Option<Bitmap> },
    /// `process.take`: the rows of each group, which is a key, in the order in which they came, with their event times. `keys` has one
    /// row per group; `states[g]` empty = no state.
    Take { grouped: Grouped, times: Vec<EventTime>, keys: Rows, states: Packed, time: TimeRead },
    /// `process.fire`: one timer per group.
    Fire { timers: Vec<Timer>, keys: Rows, states: Packed, time: TimeRead },
    /// `migrate.migrate`: states of any version that the plugin reads, none of them empty. Only for a plugin that can
    /// (`Plugin::can_migrate` of the ports).
    Migrate { states: Packed },
}

/// Which clock a timer follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Clock {
    /// The stage's watermark.
    EventTime,
    /// The wall clock.
    WallTime,
}

/// When a key wants to be called again; of each clock and time it has at most one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timer {
    pub clock: Clock,
    /// In ms since 1970, between [`EventTime::MIN`] and [`EventTime::MAX`], whatever the clock.
    pub at: i64,
}

/// A timer that a row or a timer of a call has set, or deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimerChange {
    /// The row (or group) of the request that it came from; never falls.
    pub origin: u32,
    pub is_set: bool,
    pub timer: Timer,
}

/// How far time has come when a call is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeRead {
    pub watermark: Watermark,
    /// The last reading of the wall clock.
    pub now: WallTime,
}

/// What a plugin answers.
#[derive(Clone, Debug, PartialEq)]
pub enum Response {
    /// To `Transform`, `Emit` and `Pair`.
    Rows { outputs: Vec<Routed>, rejects: Vec<Reject> },
    /// To `Add` (one state per group) and `Merge`.
    States { states: Packed, rejects: Vec<Reject> },
    /// To `Take` and `Fire`: one state per group, an empty one for none.
    Processed { states: Packed, outputs: Vec<Routed>, rejects: Vec<Reject>, timers: Vec<TimerChange> },
    /// To `Migrate`: for each state one of the version that the plugin writes, and the version that it had. Both mean nothing where it is refused.
    Migrated { states: Packed, versions: Vec<u32>, rejects: Vec<Reject> },
}

/// Rows for one output, each with the row or group of the request that made it.
#[derive(Clone, Debug, PartialEq)]
pub struct Routed {
    /// Index into [`Declaration::outputs`]; at most one `Routed` per output.
    pub output: u32,
    pub rows: Rows,
    /// For each row: the row (or group) of the request that it came from; never falls.
    pub origins: Vec<u32>,
}

/// A row that the plugin refused: it goes to the dead-letter topic with this reason. In an `Add`, the state is as if it had not come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    /// The row (or group) of the request.
    pub row: u32,
    pub code: u32,
    pub message: String,
}

/// Why a call gave no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PluginFault {
    /// The guest panicked or executed a trap.
    #[error("plugin trapped: {0}")]
    Trap(TrapReport),
    #[error("plugin ran longer than {limit_ms} ms in one call")]
    Deadline { limit_ms: u64 },
    #[error("plugin wanted more than {limit_bytes} bytes of memory")]
    Memory { limit_bytes: u64 },
    #[error("plugin answered with more than {limit_bytes} bytes")]
    Output { limit_bytes: u64 },
    /// The answer does not fit the declaration.
    #[error("plugin gave a malformed answer: {0}")]
    Malformed(String),
    /// The host itself found this: a key may not have more timers.
    #[error("plugin set more than {limit} timers for one key")]
    Timers { limit: usize },
    /// The host itself found this: a key may not have more timers fire before time goes on.
    #[error("more than {limit} timers of one key fired at one time, each setting the next")]
    Runaway { limit: usize },
}

impl PluginFault {
    /// The fault in a word, as dead letters and metrics have it.
    pub fn kind(&self) -> &'static str {
        match self {
            PluginFault::Trap(_) => "trap",
            PluginFault::Deadline { .. } => "deadline",
            PluginFault::Memory { .. } => "memory",
            PluginFault::Output { .. } => "output",
            PluginFault::Malformed(_) => "malformed",
            PluginFault::Timers { .. } | PluginFault::Runaway { .. } => "timers",
        }
    }
}

impl Request {
    /// How many rows (or groups) an answer may point at.
    pub fn n_units(&self) -> usize {
        match self {
            Request::Transform { rows } => rows.len(),
            Request::Add { grouped, .. } => grouped.rows.len(),
            Request::Merge { ends, .. } => ends.len(),
            Request::Emit { windows, .. } => windows.len(),
            Request::Pair { left, .. } => left.len(),
            Request::Take { grouped, .. } => grouped.rows.len(),
            Request::Fire { timers, .. } => timers.len(),
            Request::Migrate { states } => states.len(),
        }
    }

    /// Checks an answer against this request and the plugin's declared outputs.
    ///
    /// Refuses: the wrong kind of answer, an unknown or repeated output, column counts and kinds other than declared, ragged
    /// columns, null in a required field, text that is not UTF-8, NaN or infinite floats, an origin out of range or out of
    /// order, a state count other than the groups', a version count other than the states', a reject out of range, a timer out of range, out of order
    /// or of a refused row.
    pub fn check(&self, response: &Response, outputs: &[(String, Schema)]) -> Result<(), PluginFault> {
        check::response(self, response, outputs).map_err(PluginFault::Malformed)
    }
}

mod check;
pub mod limits;
mod size;
mod trap;

pub use trap::TrapReport;
