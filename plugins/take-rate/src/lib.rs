//! How often is what stands at each position taken?
//!
//! Input: impressions with `click` (1 if the title was taken, else 0), keyed by `position`, in windows of the manifest's choice.
//! Output: impressions, clicks and their ratio. State: two counts. Refused: a click other than 0 and 1.

use reelflow::prelude::*;

#[derive(Event)]
pub struct Shown {
    click: i64,
}

#[derive(State, Default)]
#[state(version = 1)]
pub struct Clicks {
    impressions: u64,
    clicks: u64,
}

#[derive(Emit)]
pub struct Rate {
    position: i64,
    w_start: i64,
    impressions: u64,
    clicks: u64,
    take_rate: f64,
}

#[derive(Config)]
pub struct TakeRate;

impl Aggregate for TakeRate {
    type Event<'a> = Shown;
    type State = Clicks;
    type Output<'a> = Rate;

    const KEY: &'static [KeyField] = &[KeyField::i64("position")];

    fn add(&self, state: &mut Clicks, shown: Shown) -> Result<(), Reject> {
        state.clicks += match shown.click {
            click @ 0..=1 => click as u64,
            click => return Err(format!("click is {click}, not 0 or 1").into()),
        };
        state.impressions += 1;
        Ok(())
    }

    fn merge(&self, into: &mut Clicks, from: Clicks) {
        into.impressions += from.impressions;
        into.clicks += from.clicks;
    }

    fn emit<'a>(&self, window: Window, key: Key<'a>, state: &'a Clicks, out: &mut Out<Rate>) {
        if state.impressions == 0 {
            return; // its only rows were refused
        }
        out.emit(Rate {
            position: key.i64(),
            w_start: window.start,
            impressions: state.impressions,
            clicks: state.clicks,
            take_rate: state.clicks as f64 / state.impressions as f64,
        });
    }
}

reelflow::export!(TakeRate as Aggregate);

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Window = Window { start: 0, end: 3_600_000 };

    #[test]
    fn clicks_are_divided_by_impressions() {
        let run = reelflow::testing::aggregate(&TakeRate, HOUR, "[3]", r#"{"click":0}{"click":1}{"click":0}{"click":0}"#);
        assert_eq!(run.out("out"), [r#"{"position":3,"w_start":0,"impressions":4,"clicks":1,"take_rate":0.25}"#]);
    }

    #[test]
    fn a_click_is_0_or_1() {
        let run = reelflow::testing::aggregate(&TakeRate, HOUR, "[3]", r#"{"click":2}"#);
        assert_eq!(run.rejects(), ["row 0: click is 2, not 0 or 1"]);
        assert!(run.out("out").is_empty());
    }
}
