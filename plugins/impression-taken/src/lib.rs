//! Which impressions were taken, and when had they been shown?
//!
//! Input: plays on the left, impressions on the right, matched by profile and title, the latest impression before the play (`match =
//! "latest-before"`, `join = "inner"`). Output: the impression that the play took, with the time at which it was shown, which the stage
//! makes the row's event time; two plays may take one impression. State: none of its own, the host keeps both sides.

use reelflow::prelude::*;

#[derive(Event)]
pub struct Play<'a> {
    playback_id: &'a str,
}

#[derive(Event)]
pub struct Impression<'a> {
    event_id: &'a str,
    event_ts: i64,
    country: Option<&'a str>,
    row_type: &'a str,
    position: i64,
}

/// An impression that was taken. `taken` tells it from one that was only shown, where both are read as one stream.
#[derive(Emit)]
pub struct Taken<'a> {
    event_id: &'a str,
    event_ts: i64,
    country: Option<&'a str>,
    row_type: &'a str,
    position: i64,
    taken: bool,
    playback_id: &'a str,
}

#[derive(Config)]
pub struct ImpressionTaken;

impl Join for ImpressionTaken {
    type Left<'a> = Play<'a>;
    type Right<'a> = Impression<'a>;
    type Output<'a> = Taken<'a>;

    fn pair<'a>(&self, play: Play<'a>, shown: Option<Impression<'a>>, out: &mut Out<Taken<'a>>) -> Result<(), Reject> {
        let Some(shown) = shown else { return Ok(()) };
        out.emit(Taken {
            event_id: shown.event_id,
            event_ts: shown.event_ts,
            country: shown.country,
            row_type: shown.row_type,
            position: shown.position,
            taken: true,
            playback_id: play.playback_id,
        });
        Ok(())
    }
}

reelflow::export!(ImpressionTaken as Join);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_play_takes_its_impression_or_none() {
        let shown = r#"{"event_id":"i","event_ts":200,"row_type":"genre","position":4}"#;
        let run =
            reelflow::testing::join(&ImpressionTaken, r#"{"playback_id":"p"} {"playback_id":"q"}"#, &format!("{shown} null"));
        let row =
            r#"{"event_id":"i","event_ts":200,"country":null,"row_type":"genre","position":4,"taken":true,"playback_id":"p"}"#;
        assert_eq!(run.out("out"), [row]);
    }
}
