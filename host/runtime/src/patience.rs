//! How long to go on trying while the log fails: waits that double, and an end.

use std::time::Duration;

use reelflow_core::time::WallTime;
use reelflow_ports::log::LogError;

use crate::{error::RunError, settings::Outage};

/// Counts the failures of one thing that is tried again and again.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    outage: Outage,
    failing: Option<Failing>,
}

/// Since when it fails without a success in between, and how long to wait after the next failure.
#[derive(Clone, Copy, Debug)]
struct Failing {
    since: WallTime,
    backoff: Duration,
}

/// What to do after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    pub failing_for: Duration,
    pub after: Duration,
    /// It has been failing for longer than [`Outage::give_up_after`].
    pub is_over: bool,
}

impl Patience {
    pub fn new(outage: Outage) -> Patience {
        Patience { outage, failing: None }
    }

    pub fn succeeded(&mut self) {
        self.failing = None;
    }

    /// It failed with `error`, at `now`. [`RunError::GaveUp`] if it has been failing for longer than [`Outage::give_up_after`].
    pub fn failed(&mut self, now: WallTime, error: &LogError) -> Result<Wait, RunError> {
        let wait = self.wait(now);
        match wait.is_over {
            true => Err(RunError::GaveUp { failing_for: wait.failing_for, last: error.clone() }),
            false => Ok(wait),
        }
    }

    /// It failed, at `now`; how it failed is the caller's to say.
    pub fn wait(&mut self, now: WallTime) -> Wait {
        let failing = self.failing.get_or_insert(Failing { since: now, backoff: self.outage.backoff_min });
        let after = failing.backoff;
        failing.backoff = (after * 2).min(self.outage.backoff_max);
        let failing_for = Duration::from_millis((now.0 - failing.since.0).max(0) as u64);
        Wait { failing_for, after, is_over: failing_for > self.outage.give_up_after }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_limit_and_a_success_forgets_them() {
        let secs = Duration::from_secs;
        let mut patience = Patience::new(Outage { backoff_min: secs(1), backoff_max: secs(3), give_up_after: secs(10) });
        let error = LogError::Unavailable("nobody answers".to_owned());
        let waits = |patience: &mut Patience, at: &[i64]| -> Vec<u64> {
            at.iter().map(|at| patience.failed(WallTime(*at), &error).expect("not yet").after.as_secs()).collect()
        };
        assert_eq!(waits(&mut patience, &[0, 1_000, 3_000, 10_000]), [1, 2, 3, 3]);
        let gave_up = patience.failed(WallTime(10_001), &error);
        assert!(matches!(gave_up, Err(RunError::GaveUp { .. })), "{gave_up:?}");
        patience.succeeded();
        assert_eq!(waits(&mut patience, &[20_000, 30_000]), [1, 2]);
    }
}
