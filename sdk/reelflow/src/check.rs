//! Checks that cleaning plugins make again and again, with one wording.

use std::ops::RangeInclusive;

use crate::Reject;

/// Refuses text that is none of `known`: `unknown enum device "fridge"`.
///
/// ```
/// let refused = reelflow::check::one_of("device", "fridge", &["tv", "web"]).unwrap_err();
/// assert_eq!(refused.message(), "unknown enum device \"fridge\"");
/// ```
pub fn one_of(field: &str, value: &str, known: &[&str]) -> Result<(), Reject> {
    if known.contains(&value) { Ok(()) } else { Err(format!("unknown enum {field} \"{value}\"").into()) }
}

/// Refuses a number outside of `range`: `row is 40, not in 0..=39`.
///
/// ```
/// let refused = reelflow::check::within("row", 40, 0..=39).unwrap_err();
/// assert_eq!(refused.message(), "row is 40, not in 0..=39");
/// ```
pub fn within(field: &str, value: i64, range: RangeInclusive<i64>) -> Result<(), Reject> {
    if range.contains(&value) {
        return Ok(());
    }
    Err(match *range.end() {
        i64::MAX => format!("{field} is {value}, less than {}", range.start()),
        end => format!("{field} is {value}, not in {}..={end}", range.start()),
    }
    .into())
}

/// Refuses empty text: `playback_id is empty`.
///
/// ```
/// assert_eq!(reelflow::check::present("playback_id", "").unwrap_err().message(), "playback_id is empty");
/// ```
pub fn present(field: &str, value: &str) -> Result<(), Reject> {
    if value.is_empty() { Err(format!("{field} is empty").into()) } else { Ok(()) }
}
