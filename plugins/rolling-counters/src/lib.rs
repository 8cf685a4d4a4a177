//! How much had a profile played before each play?
//!
//! Input: plays, keyed by profile. Output: for each play the number of plays of the profile in the hour, the day and the week that end
//! with it, itself and others of the same ms included: what a model may know at that moment. State: the times of a week.
//!
//! A play waits until no play before it can come any more: until the watermark is past its time by more than the lateness, which the
//! stage and the setting `lateness_ms` must say alike. The rows of a profile come out in the order of their times, each once.

use std::collections::BTreeMap;

use reelflow::prelude::*;

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
const WEEK_MS: i64 = 7 * DAY_MS;

#[derive(Event)]
pub struct Play<'a> {
    event_id: &'a str,
}

#[derive(State, Default)]
#[state(version = 1)]
pub struct Plays {
    /// Time → number of plays, for all that can still be counted.
    counted: BTreeMap<i64, u64>,
    /// Time → ids of the plays that wait.
    waiting: BTreeMap<i64, Vec<String>>,
}

#[derive(Emit)]
pub struct Counters {
    event_id: String,
    profile_id: i64,
    event_ts: i64,
    plays_1h: u64,
    plays_24h: u64,
    plays_7d: u64,
}

#[derive(Config)]
#[config(check = check)]
pub struct RollingCounters {
    /// The lateness of the stage, in ms.
    lateness_ms: i64,
}

fn check(settings: &RollingCounters) -> Result<(), String> {
    if settings.lateness_ms >= 0 { Ok(()) } else { Err("lateness_ms is negative".to_owned()) }
}

impl RollingCounters {
    /// Fires when a play at `at` is final. A play at exactly `watermark − lateness` is still accepted, so one ms later.
    fn final_at(&self, at: i64) -> Timer {
        Timer::EventTime(at + self.lateness_ms + 1)
    }
}

impl Process for RollingCounters {
    type Event<'a> = Play<'a>;
    type State = Plays;
    type Output<'a> = Counters;

    const KEY: &'static [KeyField] = &[KeyField::i64("profile_id")];

    /// Only the first play that waits has a timer, so a busy profile has no more of them than a quiet one.
    fn on_event<'a>(&self, ctx: &mut Context<'a, Counters>, state: &mut Plays, play: Play<'a>) -> Result<(), Reject> {
        let at = ctx.time();
        let first = state.waiting.keys().next().copied();
        if first.is_none_or(|first| at < first) {
            if let Some(first) = first {
                ctx.delete_timer(self.final_at(first));
            }
            ctx.set_timer(self.final_at(at));
        }
        *state.counted.entry(at).or_default() += 1;
        state.waiting.entry(at).or_default().push(play.event_id.to_owned());
        Ok(())
    }

    fn on_timer(&self, ctx: &mut Context<'_, Counters>, state: &mut Plays, _: Timer) -> Result<(), Reject> {
        let Some((at, ids)) = state.waiting.pop_first() else { return Ok(()) };
        let [plays_1h, plays_24h, plays_7d] =
            [HOUR_MS, DAY_MS, WEEK_MS].map(|span_ms| state.counted.range(at - span_ms + 1..=at).map(|(_, n)| *n).sum());
        let profile_id = ctx.key().i64();
        for event_id in ids {
            ctx.emit(Counters { event_id, profile_id, event_ts: at, plays_1h, plays_24h, plays_7d });
        }
        // What comes or fires next is later than this play.
        state.counted = state.counted.split_off(&(at + 2 - WEEK_MS));
        if let Some(next) = state.waiting.keys().next() {
            ctx.set_timer(self.final_at(*next));
        }
        Ok(())
    }
}

reelflow::export!(RollingCounters as Process);

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes out of plays (time, id) that come in this order, when the watermark has come to `watermark`.
    fn counters(plays: &[(i64, &str)], watermark: i64) -> Vec<String> {
        let plugin = reelflow::testing::configure::<RollingCounters>(r#"{"lateness_ms":10}"#).unwrap();
        let mut key = reelflow::testing::process(&plugin, "[7]");
        let times: Vec<i64> = plays.iter().map(|(at, _)| *at).collect();
        let rows: String = plays.iter().map(|(_, id)| format!(r#"{{"event_id":"{id}"}}"#)).collect();
        assert!(key.rows(&times, &rows).out("out").is_empty(), "a play waits");
        assert_eq!(key.timers().len(), 1);
        key.watermark(watermark).out("out")
    }

    fn row(event_id: &str, event_ts: i64, counts: [u64; 3]) -> String {
        let [hour, day, week] = counts;
        format!(
            r#"{{"event_id":"{event_id}","profile_id":7,"event_ts":{event_ts},"plays_1h":{hour},"plays_24h":{day},"plays_7d":{week}}}"#
        )
    }

    #[test]
    fn spans_are_open_at_their_start_and_closed_at_their_end() {
        let at = WEEK_MS;
        let plays =
            [(at, "now"), (0, "week"), (1, "in"), (at - DAY_MS, "day"), (at - HOUR_MS, "hour"), (at - HOUR_MS + 1, "near")];
        let rows = counters(&plays, i64::MAX);
        assert_eq!(rows.len(), 6);
        assert_eq!(rows[5], row("now", at, [2, 3, 5]));
        assert_eq!(rows[2], row("day", at - DAY_MS, [1, 1, 3]));
    }

    #[test]
    fn plays_come_out_in_the_order_of_their_times_once_they_are_final() {
        let plays = [(30, "c"), (20, "b"), (30, "d"), (40, "e")];
        assert_eq!(counters(&plays, 40), [row("b", 20, [1, 1, 1])]);
        assert_eq!(counters(&plays, 41), [row("b", 20, [1, 1, 1]), row("c", 30, [3, 3, 3]), row("d", 30, [3, 3, 3])]);
    }

    #[test]
    fn what_no_play_can_count_any_more_is_forgotten() {
        let plugin = reelflow::testing::configure::<RollingCounters>(r#"{"lateness_ms":0}"#).unwrap();
        let mut key = reelflow::testing::process(&plugin, "[7]");
        for (at, watermark) in [(0, 1), (WEEK_MS - 1, WEEK_MS), (WEEK_MS, WEEK_MS + 1)] {
            key.rows(&[at], r#"{"event_id":"x"}"#);
            let rows = key.watermark(watermark).out("out");
            assert_eq!(rows.len(), 1);
            assert!(rows[0].ends_with(if at == 0 { r#""plays_7d":1}"# } else { r#""plays_7d":2}"# }), "{rows:?}");
        }
    }

    #[test]
    fn the_lateness_must_be_said() {
        let refused = reelflow::testing::configure::<RollingCounters>("{}").err().unwrap();
        assert!(refused.contains("lateness_ms"), "{refused}");
    }
}
