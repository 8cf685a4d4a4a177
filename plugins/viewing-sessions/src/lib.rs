//! What did a profile watch in one sitting?
//!
//! Input: plays and the heartbeats of playbacks, keyed by profile, in session windows; `inputs = ["plays", "heartbeats"]` reads both as one.
//! Output: one row for each session, when nothing can join it any more. State: counts, and the ids of playbacks and titles, at most 256 of
//! each: somebody who never stops watching has a session that never ends, and must not fill the memory.

use std::collections::BTreeSet;

use reelflow::prelude::*;

/// Of a session with more playbacks or titles than this, this many are reported.
const IDS_MAX: usize = 256;

#[derive(Event)]
pub struct Watching<'a> {
    event_ts: i64,
    playback_id: &'a str,
    title_id: i64,
    /// What was watched since the event before; a play, which begins it all, has none.
    watched_ms: Option<i64>,
}

#[derive(State, Default)]
#[state(version = 1)]
pub struct Watched {
    events: u64,
    /// `None` before the first event.
    last_ts: Option<i64>,
    playbacks: BTreeSet<String>,
    titles: BTreeSet<i64>,
    watched_ms: i64,
}

/// `session_start` and `session_end` are the times of the first and the last event.
#[derive(Emit)]
pub struct Session {
    profile_id: i64,
    session_start: i64,
    session_end: i64,
    events: u64,
    playbacks: u64,
    titles: u64,
    watched_ms: i64,
}

#[derive(Config)]
pub struct ViewingSessions;

/// Adds ids until the set is full. That the count is exact up to the limit holds after merging, too, whichever ids were kept.
fn add_capped<T: Ord>(to: &mut BTreeSet<T>, ids: impl IntoIterator<Item = T>) {
    for id in ids {
        if to.len() == IDS_MAX {
            return;
        }
        to.insert(id);
    }
}

impl Aggregate for ViewingSessions {
    type Event<'a> = Watching<'a>;
    type State = Watched;
    type Output<'a> = Session;

    const KEY: &'static [KeyField] = &[KeyField::i64("profile_id")];

    fn add(&self, state: &mut Watched, event: Watching<'_>) -> Result<(), Reject> {
        state.events += 1;
        state.last_ts = state.last_ts.max(Some(event.event_ts));
        state.watched_ms += event.watched_ms.unwrap_or(0);
        add_capped(&mut state.titles, [event.title_id]);
        if !state.playbacks.contains(event.playback_id) {
            add_capped(&mut state.playbacks, [event.playback_id.to_owned()]);
        }
        Ok(())
    }

    fn merge(&self, into: &mut Watched, from: Watched) {
        into.events += from.events;
        into.last_ts = into.last_ts.max(from.last_ts);
        into.watched_ms += from.watched_ms;
        add_capped(&mut into.titles, from.titles);
        add_capped(&mut into.playbacks, from.playbacks);
    }

    fn emit<'a>(&self, window: Window, key: Key<'a>, state: &'a Watched, out: &mut Out<Session>) {
        let Some(session_end) = state.last_ts else { return };
        out.emit(Session {
            profile_id: key.i64(),
            session_start: window.start,
            session_end,
            events: state.events,
            playbacks: state.playbacks.len() as u64,
            titles: state.titles.len() as u64,
            watched_ms: state.watched_ms,
        });
    }
}

reelflow::export!(ViewingSessions as Aggregate);

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(events: &[(i64, usize, i64)], row: &str) {
        let line = |(at, playback, watched): &(i64, usize, i64)| {
            format!(r#"{{"event_ts":{at},"playback_id":"p{playback}","title_id":{},"watched_ms":{watched}}}"#, playback % 300)
        };
        let rows: String = events.iter().map(line).collect();
        let window = Window { start: 10, end: 1_000_000 };
        assert_eq!(reelflow::testing::aggregate(&ViewingSessions, window, "[7]", &rows).out("out"), [row]);
    }

    #[test]
    fn a_session_is_from_the_first_to_the_last_event() {
        check(
            &[(20, 1, 5), (10, 1, 6), (15, 2, 0)],
            r#"{"profile_id":7,"session_start":10,"session_end":20,"events":3,"playbacks":2,"titles":2,"watched_ms":11}"#,
        );
    }

    #[test]
    fn a_play_begins_a_session_and_watches_nothing_yet() {
        let play = r#"{"event_ts":10,"playback_id":"p1","title_id":7}"#;
        let beat = r#"{"event_ts":20,"playback_id":"p1","title_id":7,"watched_ms":9}"#;
        let window = Window { start: 10, end: 1_000_000 };
        let run = reelflow::testing::aggregate(&ViewingSessions, window, "[7]", &format!("{beat}{play}"));
        let row = r#"{"profile_id":7,"session_start":10,"session_end":20,"events":2,"playbacks":1,"titles":1,"watched_ms":9}"#;
        assert_eq!(run.out("out"), [row]);
    }

    #[test]
    fn ids_are_counted_up_to_a_limit() {
        let many: Vec<_> = (0..400).map(|idx| (10 + idx as i64, idx, 1)).collect();
        check(
            &many,
            r#"{"profile_id":7,"session_start":10,"session_end":409,"events":400,"playbacks":256,"titles":256,"watched_ms":400}"#,
        );
    }
}
