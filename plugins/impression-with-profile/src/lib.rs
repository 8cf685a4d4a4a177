//! Whom was this shown to, as the profile was then?
//!
//! Input: impressions on the left, looked up in the changes of profiles. Output: each impression with country and plan of the profile at its
//! time, null where there was none (or not any more). Impressions of test profiles are dropped: nobody learns from them. State: none of its
//! own.

use reelflow::prelude::*;

#[derive(Event)]
pub struct Impression<'a> {
    event_id: &'a str,
    event_ts: i64,
    profile_id: i64,
    title_id: i64,
    row: i64,
    position: i64,
    algo: Option<&'a str>,
    device: Option<&'a str>,
}

#[derive(Event)]
pub struct Profile<'a> {
    country: Option<&'a str>,
    plan: Option<&'a str>,
    test: Option<bool>,
}

#[derive(Emit)]
pub struct Shown<'a> {
    imp_id: &'a str,
    event_ts: i64,
    profile_id: i64,
    title_id: i64,
    row: i64,
    position: i64,
    algo: Option<&'a str>,
    device: Option<&'a str>,
    country: Option<&'a str>,
    plan: Option<&'a str>,
}

#[derive(Config)]
pub struct ImpressionWithProfile;

impl Join for ImpressionWithProfile {
    type Left<'a> = Impression<'a>;
    type Right<'a> = Profile<'a>;
    type Output<'a> = Shown<'a>;

    fn pair<'a>(&self, shown: Impression<'a>, profile: Option<Profile<'a>>, out: &mut Out<Shown<'a>>) -> Result<(), Reject> {
        let profile = profile.as_ref();
        if profile.and_then(|profile| profile.test) == Some(true) {
            return Ok(());
        }
        out.emit(Shown {
            imp_id: shown.event_id,
            event_ts: shown.event_ts,
            profile_id: shown.profile_id,
            title_id: shown.title_id,
            row: shown.row,
            position: shown.position,
            algo: shown.algo,
            device: shown.device,
            country: profile.and_then(|profile| profile.country),
            plan: profile.and_then(|profile| profile.plan),
        });
        Ok(())
    }
}

reelflow::export!(ImpressionWithProfile as Join);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_impression_has_the_profile_of_its_time_and_tests_are_dropped() {
        let shown = r#"{"event_id":"i","event_ts":5,"profile_id":7,"title_id":70,"row":3,"position":4,"device":"tv"}"#;
        let profiles = r#"{"country":"NL","plan":"premium","test":false} null {"country":"NL","plan":"premium","test":true}"#;
        let run = reelflow::testing::join(&ImpressionWithProfile, &shown.repeat(3), profiles);
        let common = r#""imp_id":"i","event_ts":5,"profile_id":7,"title_id":70,"row":3,"position":4,"algo":null,"device":"tv""#;
        let rows = [r#""country":"NL","plan":"premium""#, r#""country":null,"plan":null"#];
        assert_eq!(run.out("out"), rows.map(|profile| format!("{{{common},{profile}}}")));
    }
}
