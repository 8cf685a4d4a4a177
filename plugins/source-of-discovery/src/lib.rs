//! Where on the page was this play discovered?
//!
//! Input: plays on the left, impressions on the right, matched by profile and title, the latest impression before the play (`match =
//! "latest-before"`, `join = "left"`). Output: each play with its place of discovery; all of it null if the title had not been shown:
//! then the play was found by search or by continuing to watch. State: none of its own, the host keeps both sides.

use reelflow::prelude::*;

#[derive(Event)]
pub struct Play<'a> {
    playback_id: &'a str,
    profile_id: i64,
    title_id: i64,
    country: Option<&'a str>,
    event_ts: i64,
    offline: bool,
}

#[derive(Event)]
pub struct Impression<'a> {
    event_id: &'a str,
    event_ts: i64,
    row: i64,
    row_type: &'a str,
    position: i64,
    algo: Option<&'a str>,
}

/// A play and the impression that led to it; `age_ms` from the one to the other.
#[derive(Emit)]
pub struct Discovery<'a> {
    playback_id: &'a str,
    profile_id: i64,
    title_id: i64,
    country: Option<&'a str>,
    play_ts: i64,
    offline: bool,
    imp_id: Option<&'a str>,
    imp_ts: Option<i64>,
    row: Option<i64>,
    row_type: Option<&'a str>,
    position: Option<i64>,
    algo: Option<&'a str>,
    age_ms: Option<i64>,
}

#[derive(Config)]
pub struct SourceOfDiscovery;

impl Join for SourceOfDiscovery {
    type Left<'a> = Play<'a>;
    type Right<'a> = Impression<'a>;
    type Output<'a> = Discovery<'a>;

    fn pair<'a>(&self, play: Play<'a>, seen: Option<Impression<'a>>, out: &mut Out<Discovery<'a>>) -> Result<(), Reject> {
        let seen = seen.as_ref();
        out.emit(Discovery {
            playback_id: play.playback_id,
            profile_id: play.profile_id,
            title_id: play.title_id,
            country: play.country,
            play_ts: play.event_ts,
            offline: play.offline,
            imp_id: seen.map(|seen| seen.event_id),
            imp_ts: seen.map(|seen| seen.event_ts),
            row: seen.map(|seen| seen.row),
            row_type: seen.map(|seen| seen.row_type),
            position: seen.map(|seen| seen.position),
            algo: seen.and_then(|seen| seen.algo),
            age_ms: seen.map(|seen| play.event_ts - seen.event_ts),
        });
        Ok(())
    }
}

reelflow::export!(SourceOfDiscovery as Join);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_play_names_its_impression_or_none() {
        let play = r#"{"playback_id":"p","profile_id":7,"title_id":70,"country":"NL","event_ts":900,"offline":false}"#;
        let seen = r#"{"event_id":"i","event_ts":200,"row":3,"row_type":"genre","position":0}"#;
        let run = reelflow::testing::join(&SourceOfDiscovery, &format!("{play} {play}"), &format!("{seen} null"));
        let common = r#""playback_id":"p","profile_id":7,"title_id":70,"country":"NL","play_ts":900,"offline":false"#;
        let found = r#""imp_id":"i","imp_ts":200,"row":3,"row_type":"genre","position":0,"algo":null,"age_ms":700"#;
        let direct = r#""imp_id":null,"imp_ts":null,"row":null,"row_type":null,"position":null,"algo":null,"age_ms":null"#;
        assert_eq!(run.out("out"), [format!("{{{common},{found}}}"), format!("{{{common},{direct}}}")]);
    }
}
