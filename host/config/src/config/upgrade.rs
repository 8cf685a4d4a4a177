//! How new code is tried.

/// `[upgrade]`, or what holds without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Upgrade {
    /// A trial lasts for so many commit intervals.
    pub trial_intervals: u32,
    /// For so many commit intervals rows gather in front of a trial behind a change of key.
    pub gather_intervals: u32,
    /// Partitions that have passed wait for so many ms for the others.
    pub verdict_wait_ms: u64,
    /// How much more of its rows than the code before the new code may refuse, or break by, in hundredths of a percent.
    pub bad_share_max: u32,
}

impl Upgrade {
    pub const STANDARD: Upgrade = Upgrade { trial_intervals: 3, gather_intervals: 3, verdict_wait_ms: 8_000, bad_share_max: 100 };
}
