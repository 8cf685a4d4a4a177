//! Which plays count?
//!
//! Input: the topic of play starts. Output: each play with sound values, cut to the fields that datasets use. Trailers are not plays:
//! they are dropped, not refused. Refused (to the dead-letter topic): a time that is not after 1970, an unknown device, an empty
//! playback id. State: none.

use reelflow::{check, prelude::*};

/// What a play start must hold to be judged.
#[derive(Event)]
pub struct PlayStart<'a> {
    event_id: &'a str,
    event_ts: i64,
    profile_id: i64,
    title_id: i64,
    country: Option<&'a str>,
    device: Option<&'a str>,
    playback_id: &'a str,
    offline: Option<bool>,
    trailer: Option<bool>,
}

/// A play. `offline` (watched from a download, reported later) is false when the record does not say.
#[derive(Emit)]
pub struct Play<'a> {
    event_id: &'a str,
    event_ts: i64,
    profile_id: i64,
    title_id: i64,
    country: Option<&'a str>,
    device: Option<&'a str>,
    playback_id: &'a str,
    offline: bool,
}

const DEVICES: [&str; 4] = ["tv", "mobile", "web", "tablet"];

#[reelflow::transform]
pub fn clean_plays<'a>(start: PlayStart<'a>, out: &mut Out<Play<'a>>) -> Result<(), Reject> {
    check::within("event_ts", start.event_ts, 1..=i64::MAX)?;
    check::present("playback_id", start.playback_id)?;
    if let Some(device) = start.device {
        check::one_of("device", device, &DEVICES)?;
    }
    if start.trailer == Some(true) {
        return Ok(());
    }
    out.emit(Play {
        event_id: start.event_id,
        event_ts: start.event_ts,
        profile_id: start.profile_id,
        title_id: start.title_id,
        country: start.country,
        device: start.device,
        playback_id: start.playback_id,
        offline: start.offline.unwrap_or(false),
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: &str = r#"{"v":1,"event_id":"e1","event_ts":5,"profile_id":7,"account_id":3,"device":"tv","country":"IN","title_id":70,
        "playback_id":"p-1","resume_ms":0,"offline":true,"trailer":false}"#;
    const PLAY: &str = r#"{"event_id":"e1","event_ts":5,"profile_id":7,"title_id":70,"country":"IN","device":"tv","playback_id":"p-1","offline":true}"#;

    #[track_caller]
    fn check(from: &str, to: &str, rows: &[&str], rejects: &[&str]) {
        assert!(RECORD.contains(from));
        let run = reelflow::testing::transform(&CleanPlays, &RECORD.replace(from, to));
        assert_eq!(run.out("out"), rows);
        assert_eq!(run.rejects(), rejects);
    }

    #[test]
    fn a_sound_play_passes_with_the_fields_that_are_used() {
        check("", "", &[PLAY], &[]);
        check("\"v\":1", "\"v\":2,\"new\":{}", &[PLAY], &[]);
    }

    #[test]
    fn what_is_optional_may_be_missing() {
        check("\"device\":\"tv\",", "", &[&PLAY.replace("\"tv\"", "null")], &[]);
        check("\"offline\":true,", "", &[&PLAY.replace("true", "false")], &[]);
    }

    #[test]
    fn a_trailer_is_dropped_but_a_broken_one_is_refused() {
        check("\"trailer\":false", "\"trailer\":true", &[], &[]);
        let broken = RECORD.replace("\"trailer\":false", "\"trailer\":true").replace("\"tv\"", "\"fridge\"");
        assert_eq!(reelflow::testing::transform(&CleanPlays, &broken).rejects(), ["row 0: unknown enum device \"fridge\""]);
    }

    #[test]
    fn unsound_values_are_refused() {
        check("\"event_ts\":5", "\"event_ts\":0", &[], &["row 0: event_ts is 0, less than 1"]);
        check("p-1", "", &[], &["row 0: playback_id is empty"]);
        check("\"tv\"", "\"fridge\"", &[], &["row 0: unknown enum device \"fridge\""]);
    }
}
