//! What was watched, beat by beat?
//!
//! Input: the topic of playback events (heartbeats, pauses, seeks, stops). Output: each one with sound values, cut to the fields that
//! datasets use. Refused (to the dead-letter topic): a time that is not after 1970, an unknown type, an empty playback id, negative
//! positions or durations, a sequence number before 1. State: none.

use reelflow::{check, prelude::*};

/// What a playback event must hold to be judged.
#[derive(Event)]
pub struct Beat<'a> {
    event_id: &'a str,
    event_ts: i64,
    profile_id: i64,
    title_id: i64,
    playback_id: &'a str,
    seq: i64,
    #[field(name = "type")]
    kind: &'a str,
    pos_ms: i64,
    watched_ms: i64,
}

/// A playback event. `pos_ms` is the position in the title, `watched_ms` what was watched since the event before.
#[derive(Emit)]
pub struct Heartbeat<'a> {
    event_id: &'a str,
    event_ts: i64,
    profile_id: i64,
    title_id: i64,
    playback_id: &'a str,
    seq: i64,
    #[field(name = "type")]
    kind: &'a str,
    pos_ms: i64,
    watched_ms: i64,
}

const KINDS: [&str; 5] = ["HEARTBEAT", "PAUSE", "RESUME", "SEEK", "STOP"];

#[reelflow::transform]
pub fn clean_heartbeats<'a>(beat: Beat<'a>, out: &mut Out<Heartbeat<'a>>) -> Result<(), Reject> {
    check::within("event_ts", beat.event_ts, 1..=i64::MAX)?;
    check::present("playback_id", beat.playback_id)?;
    check::within("seq", beat.seq, 1..=i64::MAX)?;
    check::one_of("type", beat.kind, &KINDS)?;
    check::within("pos_ms", beat.pos_ms, 0..=i64::MAX)?;
    check::within("watched_ms", beat.watched_ms, 0..=i64::MAX)?;
    out.emit(Heartbeat {
        event_id: beat.event_id,
        event_ts: beat.event_ts,
        profile_id: beat.profile_id,
        title_id: beat.title_id,
        playback_id: beat.playback_id,
        seq: beat.seq,
        kind: beat.kind,
        pos_ms: beat.pos_ms,
        watched_ms: beat.watched_ms,
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: &str = r#"{"v":1,"event_id":"e1","event_ts":5,"sent_ts":6,"profile_id":7,"device":"tv","country":"IN","title_id":70,
        "playback_id":"p-1","seq":1,"type":"STOP","pos_ms":0,"watched_ms":0}"#;
    const BEAT: &str = r#"{"event_id":"e1","event_ts":5,"profile_id":7,"title_id":70,"playback_id":"p-1","seq":1,"type":"STOP","pos_ms":0,"watched_ms":0}"#;

    #[track_caller]
    fn check(from: &str, to: &str, rows: &[&str], rejects: &[&str]) {
        assert!(RECORD.contains(from));
        let run = reelflow::testing::transform(&CleanHeartbeats, &RECORD.replace(from, to));
        assert_eq!(run.out("out"), rows);
        assert_eq!(run.rejects(), rejects);
    }

    #[test]
    fn a_sound_event_passes_with_the_fields_that_are_used() {
        check("", "", &[BEAT], &[]);
        for kind in KINDS {
            check("STOP", kind, &[&BEAT.replace("STOP", kind)], &[]);
        }
    }

    #[test]
    fn unsound_values_are_refused() {
        check("\"event_ts\":5", "\"event_ts\":0", &[], &["row 0: event_ts is 0, less than 1"]);
        check("p-1", "", &[], &["row 0: playback_id is empty"]);
        check("\"seq\":1", "\"seq\":0", &[], &["row 0: seq is 0, less than 1"]);
        check("STOP", "hologram", &[], &["row 0: unknown enum type \"hologram\""]);
        check("\"pos_ms\":0", "\"pos_ms\":-1", &[], &["row 0: pos_ms is -1, less than 0"]);
        check("\"watched_ms\":0", "\"watched_ms\":-1", &[], &["row 0: watched_ms is -1, less than 0"]);
    }
}
