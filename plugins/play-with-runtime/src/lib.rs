//! How long was the title when this play began?
//!
//! Input: plays on the left, looked up in the catalog by title. Output: each play with the version of the title that was valid when it
//! began; version and runtime are null where the catalog had none. Refused: a runtime that is not positive. State: none of its own.

use reelflow::{check, prelude::*};

#[derive(Event)]
pub struct Play<'a> {
    event_id: &'a str,
    event_ts: i64,
    profile_id: i64,
    title_id: i64,
    playback_id: &'a str,
}

#[derive(Event)]
pub struct Title {
    version: i64,
    runtime_ms: i64,
}

#[derive(Emit)]
pub struct PlayOfTitle<'a> {
    event_id: &'a str,
    event_ts: i64,
    profile_id: i64,
    title_id: i64,
    playback_id: &'a str,
    catalog_version: Option<i64>,
    runtime_ms: Option<i64>,
}

#[derive(Config)]
pub struct PlayWithRuntime;

impl Join for PlayWithRuntime {
    type Left<'a> = Play<'a>;
    type Right<'a> = Title;
    type Output<'a> = PlayOfTitle<'a>;

    fn pair<'a>(&self, play: Play<'a>, title: Option<Title>, out: &mut Out<PlayOfTitle<'a>>) -> Result<(), Reject> {
        if let Some(title) = &title {
            check::within("runtime_ms", title.runtime_ms, 1..=i64::MAX)?;
        }
        out.emit(PlayOfTitle {
            event_id: play.event_id,
            event_ts: play.event_ts,
            profile_id: play.profile_id,
            title_id: play.title_id,
            playback_id: play.playback_id,
            catalog_version: title.as_ref().map(|title| title.version),
            runtime_ms: title.as_ref().map(|title| title.runtime_ms),
        });
        Ok(())
    }
}

reelflow::export!(PlayWithRuntime as Join);

#[cfg(test)]
mod tests {
    use super::*;

    const PLAY: &str = r#"{"event_id":"e","event_ts":5,"profile_id":7,"title_id":70,"playback_id":"p"}"#;

    #[test]
    fn a_play_has_its_title_s_runtime_or_none() {
        let run = reelflow::testing::join(&PlayWithRuntime, &PLAY.repeat(2), r#"{"version":2,"runtime_ms":900} null"#);
        let with = |version: &str, runtime: &str| {
            PLAY.replace('}', &format!(r#","catalog_version":{version},"runtime_ms":{runtime}}}"#))
        };
        assert_eq!(run.out("out"), [with("2", "900"), with("null", "null")]);
    }

    #[test]
    fn a_runtime_is_positive() {
        let run = reelflow::testing::join(&PlayWithRuntime, PLAY, r#"{"version":2,"runtime_ms":0}"#);
        assert_eq!(run.rejects(), ["row 0: runtime_ms is 0, less than 1"]);
    }
}
