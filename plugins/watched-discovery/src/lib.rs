//! How long was watched of what an impression led to?
//!
//! Input: where plays were discovered (`plugins/source-of-discovery`, with `join = "inner"`) and how their playbacks ended
//! (`plugins/completion`, with `provisional = false`) as one stream, keyed by profile and playback. Output: for each playback with both, the
//! impression and how long was watched. State: what has come first.

use reelflow::prelude::*;

#[derive(Event)]
pub struct Known<'a> {
    /// Of a discovery.
    imp_id: Option<&'a str>,
    /// Of a playback that has ended.
    watched_ms: Option<i64>,
}

#[derive(State, Default)]
#[state(version = 1)]
pub struct Waiting {
    imp_id: Option<String>,
    watched_ms: Option<i64>,
}

#[derive(Emit)]
pub struct Watched {
    profile_id: i64,
    imp_id: String,
    watched_ms: i64,
}

#[derive(Config)]
pub struct WatchedDiscovery;

impl Process for WatchedDiscovery {
    type Event<'a> = Known<'a>;
    type State = Waiting;
    type Output<'a> = Watched;

    const KEY: &'static [KeyField] = &[KeyField::i64("profile_id"), KeyField::str("playback_id")];

    fn on_event<'a>(&self, ctx: &mut Context<'a, Watched>, state: &mut Waiting, known: Known<'a>) -> Result<(), Reject> {
        if let Some(imp_id) = known.imp_id {
            state.imp_id = Some(imp_id.to_owned());
        }
        state.watched_ms = state.watched_ms.or(known.watched_ms);
        if let (Some(imp_id), Some(watched_ms)) = (&state.imp_id, state.watched_ms) {
            ctx.emit(Watched { profile_id: ctx.key().i64(), imp_id: imp_id.clone(), watched_ms });
            *state = Waiting::default();
        }
        Ok(())
    }
}

reelflow::export!(WatchedDiscovery as Process);

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(rows: &str, expected: &[&str]) {
        let mut key = reelflow::testing::process(&WatchedDiscovery, r#"[7,"p"]"#);
        let times: Vec<i64> = (0..rows.split_whitespace().count() as i64).collect();
        assert_eq!(key.rows(&times, rows).out("out"), expected);
        assert_eq!(key.has_state(), expected.is_empty());
    }

    #[test]
    fn both_are_needed_in_whatever_order() {
        let watched = r#"{"profile_id":7,"imp_id":"i","watched_ms":90}"#;
        check(r#"{"imp_id":"i"} {"watched_ms":90}"#, &[watched]);
        check(r#"{"watched_ms":90} {"imp_id":"i"}"#, &[watched]);
        check(r#"{"watched_ms":90}"#, &[]);
        check(r#"{"imp_id":"i"}"#, &[]);
    }
}
