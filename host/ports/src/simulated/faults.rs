//! What may go wrong, and who decides that it does.

/// A call that a [`Faults`] is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Call {
    Join,
    Poll,
    Start,
    GiveUp,
    Append,
    AppendDeltas,
    Drain,
    AddOffsets,
    Commit,
    Abort,
    Leave,
    /// Of the log, not of a session: the member is unknown.
    Committed,
    Scan,
    Offsets,
}

/// What goes wrong with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    None,
    /// It is not done, and fails.
    FailBefore,
    /// It is done, and fails nevertheless: the answer got lost.
    FailAfter,
    /// The process dies before it is done. All further calls of the session fail; see [`super::SimulatedLog::take_crashed`].
    CrashBefore,
    /// The process dies after it is done.
    CrashAfter,
    /// Of a commit: it fails, and is done `ms` later, unless the transaction is over by then.
    DoneLater {
        ms: i64,
    },
    /// Of a poll: it gives nothing and hears nothing of the group, as if its heartbeats and fetches were stuck.
    Deaf,
}

/// Decides on every call, in the order of calls: with a seed, the same run gives the same faults.
pub trait Faults: Send {
    fn decide(&mut self, member: &str, call: Call) -> Fault;

    /// At most how many records the next fetch of one partition gives; may be 0.
    fn fetch_max(&mut self) -> usize {
        500
    }
}

/// Nothing ever goes wrong.
#[derive(Clone, Copy, Debug)]
pub struct NoFaults;

impl Faults for NoFaults {
    fn decide(&mut self, _: &str, _: Call) -> Fault {
        Fault::None
    }
}
