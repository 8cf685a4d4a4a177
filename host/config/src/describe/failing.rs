//! The failure policy of a stage in words.

use reelflow_core::plan::{DeadlineRetry, Failing, OnError};

/// What a stage does otherwise than most.
pub(super) fn lines(failing: &Failing, lines: &mut Vec<String>) {
    match failing.on_error {
        OnError::DeadLetter => {}
        OnError::Skip => lines.push("rows that its plugin fails on are counted, and written nowhere".to_owned()),
        OnError::Fail => lines.push("the pipeline stops at the first row that its plugin fails on".to_owned()),
    }
    if let Some(max) = failing.errors_max {
        lines.push(format!("the pipeline stops when more than {} of {} rows go wrong", max.share_text(), max.of));
    }
    let DeadlineRetry { retries_max, backoff_ms } = failing.retry;
    if failing.retry != Failing::STANDARD.retry {
        lines.push(match retries_max {
            0 => "a row that runs into the deadline is not tried again".to_owned(),
            n => format!("a row that runs into the deadline is tried {n} times more, first after {backoff_ms} ms"),
        });
    }
}
