//! Which titles was a profile shown again and again in a day?
//!
//! Input: impressions, keyed by profile and title, in windows of a day. Output: one row for each pair with at least three impressions
//! (setting `min`), for a page that wants to stop showing them. State: a count and the last time.

use reelflow::prelude::*;

#[derive(Event)]
pub struct Impression {
    event_ts: i64,
}

#[derive(State, Default)]
#[state(version = 1)]
pub struct Shown {
    imps: u64,
    /// Time of the latest impression; `None` before the first one.
    last_ts: Option<i64>,
}

/// `day` is the start of the window.
#[derive(Emit)]
pub struct Capped {
    profile_id: i64,
    title_id: i64,
    day: i64,
    imps: u64,
    last_imp_ts: i64,
}

#[derive(Config)]
pub struct FrequencyCap {
    /// Impressions from which on a pair is reported.
    #[config(default = 3)]
    min: u64,
}

impl Aggregate for FrequencyCap {
    type Event<'a> = Impression;
    type State = Shown;
    type Output<'a> = Capped;

    const KEY: &'static [KeyField] = &[KeyField::i64("profile_id"), KeyField::i64("title_id")];

    fn add(&self, state: &mut Shown, impression: Impression) -> Result<(), Reject> {
        state.imps += 1;
        state.last_ts = state.last_ts.max(Some(impression.event_ts));
        Ok(())
    }

    fn merge(&self, into: &mut Shown, from: Shown) {
        into.imps += from.imps;
        into.last_ts = into.last_ts.max(from.last_ts);
    }

    fn emit<'a>(&self, window: Window, key: Key<'a>, state: &'a Shown, out: &mut Out<Capped>) {
        let Some(last_imp_ts) = state.last_ts.filter(|_| state.imps >= self.min) else { return };
        out.emit(Capped { profile_id: key.i64(), title_id: key.at(1).i64(), day: window.start, imps: state.imps, last_imp_ts });
    }
}

reelflow::export!(FrequencyCap as Aggregate);

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(config: &str, times: &[i64], rows: &[&str]) {
        let plugin = reelflow::testing::configure::<FrequencyCap>(config).unwrap();
        let impressions: String = times.iter().map(|ts| format!(r#"{{"event_ts":{ts}}}"#)).collect();
        let day = Window { start: 0, end: 86_400_000 };
        assert_eq!(reelflow::testing::aggregate(&plugin, day, "[7,70]", &impressions).out("out"), rows);
    }

    #[test]
    fn three_impressions_are_many() {
        check("{}", &[30, 10], &[]);
        check("{}", &[30, 10, 20], &[r#"{"profile_id":7,"title_id":70,"day":0,"imps":3,"last_imp_ts":30}"#]);
    }

    #[test]
    fn how_many_are_many_is_a_setting() {
        check(r#"{"min":1}"#, &[-5], &[r#"{"profile_id":7,"title_id":70,"day":0,"imps":1,"last_imp_ts":-5}"#]);
        let refused = reelflow::testing::configure::<FrequencyCap>(r#"{"minimum":4}"#).err().unwrap();
        assert_eq!(refused, "\"minimum\" is unknown: the settings are \"min\"");
    }
}
