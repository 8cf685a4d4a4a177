//! What a stage does when rows break its plugin, or are refused by it.

/// The failure policy of a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failing {
    pub on_error: OnError,
    /// Stops the pipeline when too much goes wrong; `None`: nothing is too much.
    pub errors_max: Option<ErrorsMax>,
    pub retry: DeadlineRetry,
}

/// What becomes of a row that breaks the plugin on its own, or that it refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnError {
    /// It is written to the dead-letter topic.
    DeadLetter,
    /// It is counted, and written nowhere.
    Skip,
    /// The pipeline stops, and commits nothing of the open epoch.
    Fail,
}

/// How much may go wrong. Rows are counted in blocks: the rows of the fewest batches in a row that are `of` together, in each task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorsMax {
    /// Of a block, in hundredths of a percent: 1 to 9,999.
    pub share: u32,
    /// Above 0.
    pub of: u64,
}

/// A plugin is a pure function, so only a call that ran into its deadline may end differently the next time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeadlineRetry {
    /// How often a call of one row or group is made again. Longer calls are cut instead.
    pub retries_max: u32,
    /// The wait before the first of them, in ms; doubles each time.
    pub backoff_ms: u64,
}

impl Failing {
    /// Dead letters, however many; three retries, after 20, 40 and 80 ms.
    pub const STANDARD: Failing =
        Failing { on_error: OnError::DeadLetter, errors_max: None, retry: DeadlineRetry { retries_max: 3, backoff_ms: 20 } };
}

impl ErrorsMax {
    /// Whether `n_wrong` things that went wrong are more than a block of `n_rows` may have. A block that is not full is judged as one that is.
    pub fn is_exceeded(self, n_wrong: u64, n_rows: u64) -> bool {
        u128::from(n_wrong) * 10_000 > u128::from(self.share) * u128::from(n_rows.max(self.of))
    }

    /// The share as a manifest writes it: `5%`, `0.25%`.
    pub fn share_text(self) -> String {
        let (whole, part) = (self.share / 100, self.share % 100);
        match part {
            0 => format!("{whole}%"),
            part if part.is_multiple_of(10) => format!("{whole}.{}%", part / 10),
            part => format!("{whole}.{part:02}%"),
        }
    }
}

impl DeadlineRetry {
    /// The wait before retry `nth` (from 0), in ms; `None`: that would be one too many.
    pub fn wait_ms(self, nth: u32) -> Option<u64> {
        (nth < self.retries_max).then(|| self.backoff_ms.saturating_mul(1 << nth.min(32)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_exceeded_by_the_first_one_beyond_it() {
        let max = ErrorsMax { share: 500, of: 1_000 };
        assert!(!max.is_exceeded(50, 50), "the other 950 rows may be well");
        assert!(max.is_exceeded(51, 51));
        assert!(!max.is_exceeded(51, 1_020) && max.is_exceeded(52, 1_020), "of a block that is longer");
        assert!(ErrorsMax { share: 1, of: 1 }.is_exceeded(1, 9_999) && !ErrorsMax { share: 1, of: 1 }.is_exceeded(1, 10_000));
    }

    #[test]
    fn shares_are_written_as_manifests_have_them() {
        for (share, text) in [(500, "5%"), (25, "0.25%"), (1_050, "10.5%"), (1, "0.01%")] {
            assert_eq!(ErrorsMax { share, of: 1 }.share_text(), text);
        }
    }

    #[test]
    fn waits_double_and_end() {
        let retry = DeadlineRetry { retries_max: 3, backoff_ms: 20 };
        assert_eq!([0, 1, 2, 3].map(|nth| retry.wait_ms(nth)), [Some(20), Some(40), Some(80), None]);
        assert_eq!(DeadlineRetry { retries_max: 0, backoff_ms: 20 }.wait_ms(0), None);
    }
}
