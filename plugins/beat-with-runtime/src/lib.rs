//! How long was the title when this heartbeat was sent?
//!
//! Input: heartbeats on the left, looked up in the catalog by title. Output: each heartbeat with the runtime that was valid at its time, null
//! where the catalog had no such title (or not any more). Refused: a runtime that is not positive. State: none of its own.

use reelflow::{check, prelude::*};

#[derive(Event)]
pub struct Heartbeat<'a> {
    event_id: &'a str,
    event_ts: i64,
    profile_id: i64,
    title_id: i64,
    seq: i64,
    pos_ms: i64,
}

#[derive(Event)]
pub struct Title {
    runtime_ms: i64,
}

#[derive(Emit)]
pub struct Position<'a> {
    event_id: &'a str,
    event_ts: i64,
    profile_id: i64,
    title_id: i64,
    seq: i64,
    pos_ms: i64,
    runtime_ms: Option<i64>,
}

#[derive(Config)]
pub struct BeatWithRuntime;

impl Join for BeatWithRuntime {
    type Left<'a> = Heartbeat<'a>;
    type Right<'a> = Title;
    type Output<'a> = Position<'a>;

    fn pair<'a>(&self, beat: Heartbeat<'a>, title: Option<Title>, out: &mut Out<Position<'a>>) -> Result<(), Reject> {
        let runtime_ms = title.map(|title| title.runtime_ms);
        if let Some(runtime_ms) = runtime_ms {
            check::within("runtime_ms", runtime_ms, 1..=i64::MAX)?;
        }
        out.emit(Position {
            event_id: beat.event_id,
            event_ts: beat.event_ts,
            profile_id: beat.profile_id,
            title_id: beat.title_id,
            seq: beat.seq,
            pos_ms: beat.pos_ms,
            runtime_ms,
        });
        Ok(())
    }
}

reelflow::export!(BeatWithRuntime as Join);

#[cfg(test)]
mod tests {
    use super::*;

    const BEAT: &str = r#"{"event_id":"e","event_ts":5,"profile_id":7,"title_id":70,"seq":1,"pos_ms":300}"#;

    #[test]
    fn a_heartbeat_has_its_title_s_runtime_or_none() {
        let run = reelflow::testing::join(&BeatWithRuntime, &BEAT.repeat(2), r#"{"runtime_ms":900} null"#);
        let with = |runtime: &str| BEAT.replace('}', &format!(r#","runtime_ms":{runtime}}}"#));
        assert_eq!(run.out("out"), [with("900"), with("null")]);
    }

    #[test]
    fn a_runtime_is_positive() {
        let run = reelflow::testing::join(&BeatWithRuntime, BEAT, r#"{"runtime_ms":-1}"#);
        assert_eq!(run.rejects(), ["row 0: runtime_ms is -1, less than 1"]);
    }
}
