//! Where does a profile go on watching a title?
//!
//! Input: heartbeats with the runtime of their title, keyed by profile and title. Output: the last position, whenever it changes; `gone` once
//! there is nothing to continue: less than 2 % were watched or at least 90 %, or the catalog does not have the title. A sink with `tombstone =
//! "gone"` deletes these. State: which heartbeat was the last one, by time, sequence number and id.
//!
//! The order of the heartbeats does not matter: an earlier one changes nothing.

use reelflow::prelude::*;

#[derive(Event)]
pub struct Position<'a> {
    event_id: &'a str,
    seq: i64,
    pos_ms: i64,
    runtime_ms: Option<i64>,
}

#[derive(State, Default)]
#[state(version = 1)]
pub struct Last {
    /// Time, sequence number and id of the last heartbeat.
    last: Option<(i64, i64, String)>,
    /// Whether the last row said where to continue.
    is_shown: bool,
}

#[derive(Emit)]
pub struct Continue {
    profile_id: i64,
    title_id: i64,
    pos_ms: i64,
    ts: i64,
    runtime_ms: Option<i64>,
    gone: bool,
}

#[derive(Config)]
pub struct ContinueWatching;

/// Whether somebody who stands at `pos_ms` has begun and has not finished.
fn is_in_between(pos_ms: i64, runtime_ms: i64) -> bool {
    pos_ms * 50 >= runtime_ms && pos_ms * 10 < 9 * runtime_ms
}

impl Process for ContinueWatching {
    type Event<'a> = Position<'a>;
    type State = Last;
    type Output<'a> = Continue;

    const KEY: &'static [KeyField] = &[KeyField::i64("profile_id"), KeyField::i64("title_id")];

    fn on_event<'a>(&self, ctx: &mut Context<'a, Continue>, state: &mut Last, beat: Position<'a>) -> Result<(), Reject> {
        let this = (ctx.time(), beat.seq, beat.event_id.to_owned());
        if state.last.as_ref().is_some_and(|last| *last >= this) {
            return Ok(());
        }
        state.last = Some(this);
        let is_shown = beat.runtime_ms.is_some_and(|runtime_ms| is_in_between(beat.pos_ms, runtime_ms));
        // What was never shown needs not be taken back.
        if is_shown || state.is_shown {
            ctx.emit(Continue {
                profile_id: ctx.key().i64(),
                title_id: ctx.key().at(1).i64(),
                pos_ms: beat.pos_ms,
                ts: ctx.time(),
                runtime_ms: beat.runtime_ms,
                gone: !is_shown,
            });
        }
        state.is_shown = is_shown;
        Ok(())
    }
}

reelflow::export!(ContinueWatching as Process);

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes out of heartbeats (time, sequence number, id, position, runtime) that come in this order: position and `gone` of each row.
    #[track_caller]
    fn check(beats: &[(i64, i64, &str, i64, Option<i64>)], rows: &[(i64, bool)]) {
        let mut key = reelflow::testing::process(&ContinueWatching, "[7,70]");
        let times: Vec<i64> = beats.iter().map(|(at, ..)| *at).collect();
        let json: String = beats
            .iter()
            .map(|(_, seq, id, pos, runtime)| {
                let runtime = runtime.map_or("null".to_owned(), |ms| ms.to_string());
                format!(r#"{{"event_id":"{id}","seq":{seq},"pos_ms":{pos},"runtime_ms":{runtime}}}"#)
            })
            .collect();
        let found = key.rows(&times, &json).out("out");
        let expected = rows.iter().map(|(pos_ms, gone)| (format!(r#""pos_ms":{pos_ms},"#), format!(r#""gone":{gone}}}"#)));
        assert_eq!(found.len(), rows.len(), "{found:?}");
        for (row, (pos, gone)) in found.iter().zip(expected) {
            assert!(row.starts_with(r#"{"profile_id":7,"title_id":70,"#) && row.contains(&pos) && row.ends_with(&gone), "{row}");
        }
    }

    #[test]
    fn from_2_to_90_per_cent_there_is_something_to_continue() {
        let at = |time, pos| (time, time, "x", pos, Some(1000));
        check(&[at(1, 19), at(2, 20), at(3, 899), at(4, 900), at(5, 950)], &[(20, false), (899, false), (900, true)]);
    }

    #[test]
    fn the_last_heartbeat_counts_whatever_the_order() {
        check(&[(5, 2, "a", 500, Some(1000)), (4, 9, "b", 400, Some(1000))], &[(500, false)]);
        check(&[(5, 2, "a", 500, Some(1000)), (5, 3, "a", 400, Some(1000))], &[(500, false), (400, false)]);
        check(&[(5, 2, "b", 500, Some(1000)), (5, 2, "a", 400, Some(1000))], &[(500, false)]);
    }

    #[test]
    fn a_title_that_left_the_catalog_is_gone() {
        check(&[(1, 1, "a", 500, Some(1000)), (2, 2, "b", 600, None), (3, 3, "c", 700, None)], &[(500, false), (600, true)]);
    }
}
