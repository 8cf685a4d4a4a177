//! How often is what stands at each place of the page taken, of what was shown there in one hour?
//!
//! Input: impressions, and once more those that were taken (`taken`; `plugins/impression-taken` makes them), as one stream, keyed by country,
//! type of row and position, in windows of the time at which they were shown. Output: how many were shown and taken, and their ratio. State:
//! two counts.

use reelflow::prelude::*;

#[derive(Event)]
pub struct Shown {
    /// An impression that was only shown has none.
    taken: Option<bool>,
}

#[derive(State, Default)]
#[state(version = 1)]
pub struct Counts {
    impressions: u64,
    takes: u64,
}

#[derive(Emit)]
pub struct Rate<'a> {
    w_start: i64,
    country: Option<&'a str>,
    row_type: &'a str,
    position: i64,
    impressions: u64,
    takes: u64,
    /// None where nothing is known to have been shown.
    take_rate: Option<f64>,
}

#[derive(Config)]
pub struct TakeRateHourly;

impl Aggregate for TakeRateHourly {
    type Event<'a> = Shown;
    type State = Counts;
    type Output<'a> = Rate<'a>;

    const KEY: &'static [KeyField] = &[KeyField::str("country").optional(), KeyField::str("row_type"), KeyField::i64("position")];

    fn add(&self, state: &mut Counts, shown: Shown) -> Result<(), Reject> {
        if shown.taken == Some(true) {
            state.takes += 1;
        } else {
            state.impressions += 1;
        }
        Ok(())
    }

    fn merge(&self, into: &mut Counts, from: Counts) {
        into.impressions += from.impressions;
        into.takes += from.takes;
    }

    fn emit<'a>(&self, window: Window, key: Key<'a>, state: &'a Counts, out: &mut Out<Rate<'a>>) {
        let Counts { impressions, takes } = *state;
        out.emit(Rate {
            w_start: window.start,
            country: (!key.is_null()).then(|| key.str()),
            row_type: key.at(1).str(),
            position: key.at(2).i64(),
            impressions,
            takes,
            take_rate: (impressions > 0).then(|| takes as f64 / impressions as f64),
        });
    }
}

reelflow::export!(TakeRateHourly as Aggregate);

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(key: &str, rows: &str, result: &str) {
        let hour = Window { start: 3_600_000, end: 7_200_000 };
        assert_eq!(reelflow::testing::aggregate(&TakeRateHourly, hour, key, rows).out("out"), [result]);
    }

    #[test]
    fn takes_are_divided_by_impressions() {
        let row =
            r#"{"w_start":3600000,"country":"NL","row_type":"genre","position":4,"impressions":4,"takes":1,"take_rate":0.25}"#;
        check(r#"["NL","genre",4]"#, r#"{} {} {"taken":true} {} {}"#, row);
    }

    #[test]
    fn an_unknown_country_is_a_group() {
        let row =
            r#"{"w_start":3600000,"country":null,"row_type":"genre","position":4,"impressions":1,"takes":0,"take_rate":0.0}"#;
        check(r#"[null,"genre",4]"#, r#"{"taken":false}"#, row);
    }

    #[test]
    fn what_was_never_shown_has_no_rate() {
        let row =
            r#"{"w_start":3600000,"country":"NL","row_type":"genre","position":4,"impressions":0,"takes":1,"take_rate":null}"#;
        check(r#"["NL","genre",4]"#, r#"{"taken":true}"#, row);
    }
}
