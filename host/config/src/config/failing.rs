//! What a stage says of its plugin's failures.

use reelflow_core::plan::Failing;

use crate::problem::Span;

/// What happens when its plugin fails.
#[derive(Clone, Debug, PartialEq)]
pub struct StageFailing {
    pub policy: Failing,
    /// Where the manifest says what becomes of the rows, if it does.
    pub on_error: Option<Span>,
    /// Where it says how many there may be.
    pub errors_max: Option<Span>,
}

impl Default for StageFailing {
    fn default() -> StageFailing {
        StageFailing { policy: Failing::STANDARD, on_error: None, errors_max: None }
    }
}
