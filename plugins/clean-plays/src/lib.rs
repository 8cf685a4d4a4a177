//! Which plays count?
//!
//! Input: the topic of play starts. Output `out`: each play with sound values, cut to the fields that datasets use. Trailers are
//! not plays: they are dropped, not refused. Refused (to the dead-letter topic): a time before 1970, an empty playback id, a device that does not
//! exist. State: none.

use reelflow::prelude::*;

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

/// A play. `offline` (downloaded, reported later) is false when the record does not say.
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
    if start.event_ts <= 0 {
        return Err("event_ts is not after 1970".into());
    }
    if start.playback_id.is_empty() {
        return Err("playback_id is empty".into());
    }
    if let Some(device) = start.device
        && !DEVICES.contains(&device)
    {
        return Err(format!("unknown enum value of device: \"{device}\"").into());
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

    #[track_caller]
    fn check(change: (&str, &str), rows: &[&str], rejects: &[&str]) {
        let record = r#"{"v":1,"event_id":"e1","event_ts":5,"profile_id":7,"account_id":3,"device":"tv","country":"IN","title_id":70,
            "playback_id":"p-1","resume_ms":0,"offline":true,"trailer":false}"#;
        assert!(record.contains(change.0));
        let run = reelflow::testing::transform(&CleanPlays, &record.replace(change.0, change.1));
        assert_eq!(run.out("out"), rows);
        assert_eq!(run.rejects(), rejects);
    }

    #[test]
    fn a_sound_play_passes() {
        let play = r#"{"event_id":"e1","event_ts":5,"profile_id":7,"title_id":70,"country":"IN","device":"tv","playback_id":"p-1","offline":true}"#;
        check(("", ""), &[play], &[]);
        check(("\"v\":1", "\"v\":2,\"new\":{}"), &[play], &[]);
        let bare = r#"{"event_id":"e1","event_ts":5,"profile_id":7,"title_id":70,"country":"IN","device":null,"playback_id":"p-1","offline":true}"#;
        check(("\"device\":\"tv\",", ""), &[bare], &[]);
    }

    #[test]
    fn a_trailer_is_no_play() {
        check(("\"trailer\":false", "\"trailer\":true"), &[], &[]);
    }

    #[test]
    fn unsound_values_are_refused() {
        check(("\"event_ts\":5", "\"event_ts\":0"), &[], &["row 0: event_ts is not after 1970"]);
        check(("p-1", ""), &[], &["row 0: playback_id is empty"]);
        check(("\"tv\"", "\"fridge\""), &[], &["row 0: unknown enum value of device: \"fridge\""]);
    }
}
