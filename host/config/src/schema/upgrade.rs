//! `[upgrade]`.

use schemars::JsonSchema;

use super::{Duration, failing::Share};

/// How new code is tried before it counts. See [upgrades](upgrades.md#settings).
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Upgrade {
    /// A trial lasts for so many commit intervals, and together they are at most 5s. Default 3.
    #[schemars(range(min = 1, max = 100))]
    trial_intervals: Option<u32>,
    /// For so many commit intervals rows gather in front of a trial, where its plugins read rows behind a change of key; at most 5s. With 0 such plugins
    /// are tried on nothing. Default 3.
    #[schemars(range(min = 0, max = 100))]
    gather_intervals: Option<u32>,
    /// Partitions that have passed wait for so long for the others; then the trial has failed. At most 9s. Default 8s.
    verdict_wait: Option<Duration>,
    /// How much more of its rows than the code before the new code may refuse, or break by; a trial fails where that is surely exceeded, not by chance.
    /// Default 1%.
    bad_share_max: Option<Share>,
}
