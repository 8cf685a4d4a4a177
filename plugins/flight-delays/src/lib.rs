//! How late do flights leave each airport?
//!
//! Input: departures, keyed by the airport `origin`, in windows of their scheduled time; `dep_delay` in whole minutes, negative when
//! early. Output: departures, summed and mean delay of each window. State: a count and a sum. Refused: more than a week.

use reelflow::{check, prelude::*};

/// No flight is early or late by more, in minutes; so no sum can overflow either.
const WEEK_MIN: i64 = 7 * 24 * 60;

#[derive(Event)]
pub struct Departure {
    dep_delay: i64,
}

#[derive(State, Default)]
#[state(version = 1)]
pub struct Delays {
    departures: u64,
    sum_min: i64,
}

#[derive(Emit)]
pub struct Airport<'a> {
    origin: &'a str,
    w_start: i64,
    departures: u64,
    delay_sum_min: i64,
    mean_delay: f64,
}

#[derive(Config)]
pub struct FlightDelays;

impl Aggregate for FlightDelays {
    type Event<'a> = Departure;
    type State = Delays;
    type Output<'a> = Airport<'a>;

    const KEY: &'static [KeyField] = &[KeyField::str("origin")];

    fn add(&self, state: &mut Delays, departure: Departure) -> Result<(), Reject> {
        // Judged alone, never against the sum: rows that are split and merged otherwise must be judged the same.
        check::within("dep_delay", departure.dep_delay, -WEEK_MIN..=WEEK_MIN)?;
        state.sum_min += departure.dep_delay;
        state.departures += 1;
        Ok(())
    }

    fn merge(&self, into: &mut Delays, from: Delays) {
        into.departures += from.departures;
        into.sum_min += from.sum_min;
    }

    fn emit<'a>(&self, window: Window, key: Key<'a>, state: &'a Delays, out: &mut Out<Airport<'a>>) {
        if state.departures == 0 {
            return; // its only rows were refused
        }
        out.emit(Airport {
            origin: key.str(),
            w_start: window.start,
            departures: state.departures,
            delay_sum_min: state.sum_min,
            mean_delay: state.sum_min as f64 / state.departures as f64,
        });
    }
}

reelflow::export!(FlightDelays as Aggregate);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_are_counted_and_averaged() {
        let hour = Window { start: 3_600_000, end: 7_200_000 };
        let run = reelflow::testing::aggregate(&FlightDelays, hour, r#"["JFK"]"#, r#"{"dep_delay":-3}{"dep_delay":10}"#);
        assert_eq!(run.out("out"), [r#"{"origin":"JFK","w_start":3600000,"departures":2,"delay_sum_min":7,"mean_delay":3.5}"#]);
    }

    #[test]
    fn a_delay_beyond_all_sense_is_refused_and_changes_nothing() {
        let rows = r#"{"dep_delay":5}{"dep_delay":10081}{"dep_delay":1}"#;
        let run = reelflow::testing::aggregate(&FlightDelays, Window { start: 0, end: 1 }, r#"["JFK"]"#, rows);
        assert_eq!(run.rejects(), ["row 1: dep_delay is 10081, not in -10080..=10080"]);
        assert_eq!(run.out("out"), [r#"{"origin":"JFK","w_start":0,"departures":2,"delay_sum_min":6,"mean_delay":3.0}"#]);
    }
}
