//! Which impressions count?
//!
//! An impression is one title shown at one place of the page. Input: the topic of impressions. Output: each one with sound values, cut
//! to the fields that datasets use. Refused (to the dead-letter topic): a time that is not after 1970, a place off the page, an
//! unknown row type or device. State: none.

use reelflow::{check, prelude::*};

/// What an impression must hold to be judged.
#[derive(Event)]
pub struct Shown<'a> {
    event_id: &'a str,
    event_ts: i64,
    profile_id: i64,
    title_id: i64,
    country: Option<&'a str>,
    device: Option<&'a str>,
    row: i64,
    row_type: &'a str,
    position: i64,
    algo: Option<&'a str>,
}

/// An impression with sound values.
#[derive(Emit)]
pub struct Impression<'a> {
    event_id: &'a str,
    event_ts: i64,
    profile_id: i64,
    title_id: i64,
    country: Option<&'a str>,
    device: Option<&'a str>,
    row: i64,
    row_type: &'a str,
    position: i64,
    algo: Option<&'a str>,
}

const DEVICES: [&str; 4] = ["tv", "mobile", "web", "tablet"];
const ROW_TYPES: [&str; 7] =
    ["billboard", "continue_watching", "trending_now", "because_you_watched", "top10", "genre", "new_releases"];

#[reelflow::transform]
pub fn clean_impressions<'a>(shown: Shown<'a>, out: &mut Out<Impression<'a>>) -> Result<(), Reject> {
    check::within("event_ts", shown.event_ts, 1..=i64::MAX)?;
    check::within("row", shown.row, 0..=39)?;
    check::within("position", shown.position, 0..=74)?;
    check::one_of("row_type", shown.row_type, &ROW_TYPES)?;
    if let Some(device) = shown.device {
        check::one_of("device", device, &DEVICES)?;
    }
    out.emit(Impression {
        event_id: shown.event_id,
        event_ts: shown.event_ts,
        profile_id: shown.profile_id,
        title_id: shown.title_id,
        country: shown.country,
        device: shown.device,
        row: shown.row,
        row_type: shown.row_type,
        position: shown.position,
        algo: shown.algo,
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: &str = r#"{"v":1,"event_id":"e1","event_ts":5,"sent_ts":6,"profile_id":7,"account_id":3,"device":"tv","country":"IN",
        "title_id":70,"page":"home","request_id":"r-1","row":39,"row_type":"continue_watching","position":74,"algo":"pvr-4","art_id":2}"#;
    const IMPRESSION: &str = r#"{"event_id":"e1","event_ts":5,"profile_id":7,"title_id":70,"country":"IN","device":"tv","row":39,"row_type":"continue_watching","position":74,"algo":"pvr-4"}"#;

    #[track_caller]
    fn check(from: &str, to: &str, rows: &[&str], rejects: &[&str]) {
        assert!(RECORD.contains(from));
        let run = reelflow::testing::transform(&CleanImpressions, &RECORD.replace(from, to));
        assert_eq!(run.out("out"), rows);
        assert_eq!(run.rejects(), rejects);
    }

    #[test]
    fn a_sound_impression_passes_with_the_fields_that_are_used() {
        check("", "", &[IMPRESSION], &[]);
        check("\"algo\":\"pvr-4\",", "", &[&IMPRESSION.replace("\"pvr-4\"", "null")], &[]);
        check("\"row\":39", "\"row\":0", &[&IMPRESSION.replace("39", "0")], &[]);
    }

    #[test]
    fn places_off_the_page_are_refused() {
        check("\"row\":39", "\"row\":40", &[], &["row 0: row is 40, not in 0..=39"]);
        check("\"row\":39", "\"row\":-1", &[], &["row 0: row is -1, not in 0..=39"]);
        check("\"position\":74", "\"position\":75", &[], &["row 0: position is 75, not in 0..=74"]);
    }

    #[test]
    fn unknown_values_and_times_are_refused() {
        check("\"continue_watching\"", "\"hologram\"", &[], &["row 0: unknown enum row_type \"hologram\""]);
        check("\"tv\"", "\"fridge\"", &[], &["row 0: unknown enum device \"fridge\""]);
        check("\"event_ts\":5", "\"event_ts\":-5", &[], &["row 0: event_ts is -5, less than 1"]);
    }
}
