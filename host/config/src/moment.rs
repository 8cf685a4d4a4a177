//! Points in time as people write them, in manifests and on the command line.

use jiff::{
    Timestamp,
    civil::{Date, DateTime, Time},
    tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase},
};
use reelflow_core::time::EventTime;

/// What the parts of a time mean that its text leaves open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Calendar {
    /// The day of times without a date; `None`: there must be a date.
    day: Option<Date>,
    /// The zone of times without an offset.
    zone: TimeZone,
}

impl Calendar {
    /// UTC, and no day.
    pub fn utc() -> Calendar {
        Calendar { day: None, zone: TimeZone::UTC }
    }

    /// The same with times alone on this day, given as `2026-03-29`.
    pub(crate) fn on(self, day: &str) -> Result<Calendar, String> {
        let day = day.parse::<Date>().map_err(|_| "a date is year, month and day: \"2026-03-29\"".to_owned())?;
        Ok(Calendar { day: Some(day), ..self })
    }

    /// The same with the clocks of a zone. Panics if no zone is called so.
    pub(crate) fn in_zone(self, name: &str) -> Calendar {
        let zone = TimeZoneDatabase::bundled().get(name).expect("the caller has looked the zone up");
        Calendar { zone, ..self }
    }

    /// Reads a time in RFC 3339, a date, both without an offset, a time alone, or ms since 1970; or says why it is none.
    pub fn read(&self, text: &str) -> Result<EventTime, String> {
        let ms = match (text.parse::<i64>(), text.parse::<Timestamp>(), text.parse::<DateTime>(), text.parse::<Time>()) {
            (Ok(ms), ..) => ms,
            (_, Ok(at), ..) => at.as_millisecond(),
            (_, _, Ok(at), _) => self.local(at)?,
            (_, _, _, Ok(at)) => {
                let day = self.day.ok_or_else(|| "this is a time without a date".to_owned())?;
                self.local(day.to_datetime(at))?
            }
            _ => return Err("a time is \"10:00:05\", \"2026-03-29 02:30\", \"2026-03-29T02:30:00Z\" or ms since 1970".to_owned()),
        };
        EventTime::checked(ms).ok_or_else(|| "this is further from 1970 than event times go".to_owned())
    }

    /// What the clocks of the zone read once, and only once.
    fn local(&self, at: DateTime) -> Result<i64, String> {
        let found = self.zone.to_ambiguous_timestamp(at);
        let zone = self.zone.iana_name().unwrap_or("this zone").to_owned();
        match found.offset() {
            AmbiguousOffset::Unambiguous { .. } => {}
            AmbiguousOffset::Gap { .. } => return Err(format!("the clocks of {zone} are put forward past this time")),
            AmbiguousOffset::Fold { before, after } => {
                return Err(format!("the clocks of {zone} read this twice: say \"{at}{before}\" or \"{at}{after}\""));
            }
        }
        let at = found.unambiguous().map_err(|_| "this is further from 1970 than event times go".to_owned())?;
        Ok(at.as_millisecond())
    }

    /// Writes a time the shortest way that [`Calendar::read`] takes.
    pub fn text(&self, ms: i64) -> String {
        let Ok(at) = Timestamp::from_millisecond(ms) else { return ms.to_string() };
        let local = self.zone.to_datetime(at);
        let text = match self.day == Some(local.date()) {
            true => local.time().to_string(),
            false => format!("{} {}", local.date(), local.time()),
        };
        if self.read(&text) == Ok(EventTime(ms)) { text } else { at.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calendar(day: &str, zone: &str) -> Calendar {
        Calendar::utc().on(day).expect("a date").in_zone(zone)
    }

    #[test]
    fn times_are_told_in_many_ways() {
        let utc = calendar("2026-01-01", "UTC");
        for (text, ms) in [
            ("2026-01-01T00:00:00Z", Some(1_767_225_600_000)),
            ("2026-01-01T01:00:00+01:00", Some(1_767_225_600_000)),
            ("2026-01-01", Some(1_767_225_600_000)),
            ("2026-01-01 00:00", Some(1_767_225_600_000)),
            ("2026-01-01T00:00:00.250", Some(1_767_225_600_250)),
            ("10:00", Some(1_767_261_600_000)),
            ("10:00:05", Some(1_767_261_605_000)),
            ("00:00:00.001", Some(1_767_225_600_001)),
            ("1969-12-31", Some(-86_400_000)),
            ("-5", Some(-5)),
            ("yesterday", None),
            ("10 o'clock", None),
            ("25:00", None),
            ("", None),
            ("2026-13-01", None),
            ("9000000000000000", None),
        ] {
            assert_eq!(utc.read(text).ok().map(|at| at.0), ms, "{text}");
        }
        assert!(Calendar::utc().read("10:00").is_err_and(|why| why.contains("without a date")));
    }

    #[test]
    fn clocks_of_a_zone_skip_some_times_and_read_others_twice() {
        let spring = calendar("2026-03-29", "Europe/Amsterdam");
        assert_eq!(spring.read("01:59:59"), Ok(EventTime(1_774_745_999_000)));
        assert!(spring.read("02:30").is_err_and(|why| why.contains("Europe/Amsterdam are put forward")));
        assert_eq!(spring.read("03:00"), Ok(EventTime(1_774_746_000_000)));
        let autumn = calendar("2026-10-25", "Europe/Amsterdam");
        assert!(autumn.read("02:30").is_err_and(|why| why.contains("twice")));
        assert_eq!(autumn.read("2026-10-25T02:30:00+01:00"), Ok(EventTime(1_792_891_800_000)));
    }

    #[test]
    fn what_is_written_is_read_as_the_same_time() {
        let calendar = calendar("2026-10-25", "Europe/Amsterdam");
        for (ms, text) in [
            (1_792_922_405_000, "11:00:05"),
            (1_792_922_405_007, "11:00:05.007"),
            (1_767_225_600_000, "2026-01-01 01:00:00"),
            // Half past two comes twice that night.
            (1_792_891_800_000, "2026-10-25T01:30:00Z"),
            (i64::MAX, "9223372036854775807"),
        ] {
            assert_eq!(calendar.text(ms), text);
        }
    }
}
