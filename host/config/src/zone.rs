//! Time zones by name, out of the IANA database that is part of the program: no file is read, and every machine knows the same rules.

use std::sync::Arc;

use jiff::{
    Timestamp,
    tz::{TimeZone, TimeZoneDatabase},
};
use reelflow_core::zone::{Change, Zone};

use crate::value::{Wrong, closest};

/// The rules of the zone called `name`, up to the year 9999; after it clocks are not set any more. `None` if no zone is called so, to the letter.
pub fn time_zone(name: &str) -> Option<Arc<Zone>> {
    let zone = TimeZoneDatabase::bundled().get(name).ok()?;
    // The database takes no notice of case, but a name in another case would be another term of the state.
    (zone.iana_name() == Some(name)).then(|| Arc::new(rules(name, &zone)))
}

fn rules(name: &str, zone: &TimeZone) -> Zone {
    let ms = |seconds: i32| i64::from(seconds) * 1000;
    let first_offset_ms = ms(zone.to_offset(Timestamp::MIN).seconds());
    let mut changes: Vec<Change> = Vec::new();
    for transition in zone.following(Timestamp::MIN) {
        let change = Change { at_ms: transition.timestamp().as_millisecond(), offset_ms: ms(transition.offset().seconds()) };
        // Some changes are of the name only.
        if changes.last().map_or(first_offset_ms, |last| last.offset_ms) != change.offset_ms {
            changes.push(change);
        }
    }
    Zone::new(name, first_offset_ms, changes)
}

/// As [`time_zone`], with words for a name that is none.
pub(crate) fn read(name: &str) -> Result<Arc<Zone>, Wrong> {
    time_zone(name).ok_or_else(|| {
        let all: Vec<String> = TimeZoneDatabase::bundled().available().map(|one| one.to_string()).collect();
        let in_other_case = all.iter().find(|one| one.eq_ignore_ascii_case(name));
        let of_city = all.iter().find(|one| one.rsplit('/').next().is_some_and(|city| city.eq_ignore_ascii_case(name)));
        let meant = in_other_case.or(of_city).map(String::as_str).or_else(|| closest(name, all.iter().map(String::as_str)));
        Wrong { why: "no zone of the IANA database is called so".to_owned(), instead: meant.map(str::to_owned) }
    })
}
